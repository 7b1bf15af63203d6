namespace go acme.shared
namespace py acme_shared

enum Level { LOW = 1, HIGH = 3 }

struct Stamp {
    1: i64 seconds
    2: optional string zone
}

exception Denied {
    1: string reason
}

service Common {
    Stamp now()
    void forbid(1: string reason) throws (1: Denied denied)
}
