// What a client knows of a service whose server is older: one more method, and one more field that must be there.
namespace go echo

struct Request { 1: string message }
struct Response { 1: string message, 2: required i64 at }

service Echo {
    Response echo(1: Request request)
    Response shout(1: Request request)
}
