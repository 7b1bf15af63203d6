// The service whose messages are in vectors.json.
namespace go api

struct Request { 1: string message }
struct Response { 1: string message }
exception MyException { 1: i32 code, 255: string text }

service Echo {
    Response echo(1: Request req)
    Response exc(1: Request req) throws (1: MyException e)
    oneway void fire(1: Request req)
    void none()
    Response bidi(1: Request req) (streaming.mode = "bidirectional")
}

struct Note { 1: string message, 2: i32 type }

service Plain {
    string echo(1: string message)
    void note(1: Note note)
}
