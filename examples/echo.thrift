namespace go echo

struct Request {
    1: string message
}

struct Response {
    1: string message
    // Which process answered.
    2: optional i32 pid
}

service EchoService {
    Response echo(1: Request request)
}
