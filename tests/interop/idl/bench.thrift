// What the benchmarks call; small, so that the framework is measured and not the codec.
namespace go bench
namespace py bench

struct Request {
    1: string message
}

struct Response {
    1: string message
}

service Bench {
    Response echo(1: Request req)
}
