include "../shared.thrift"

struct Metre {
    1: double length
    2: shared.Stamp taken
}
