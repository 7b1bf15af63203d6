// What interop.thrift includes: a struct of another namespace and a service to extend.
namespace go shared
namespace py shared

const string PEER_PROTOCOL = "1"

enum Unit {
    SECONDS = 0
    MILLISECONDS = 3
}

struct Stamp {
    1: i64 amount
    2: Unit unit = Unit.MILLISECONDS
    3: optional string label
}

service Common {
    // Answers PEER_PROTOCOL. Inherited, so its argument types live in this file's namespace.
    string version()
}
