// The service that Kitex and elanus offer each other in the interop tests.
// Both sides implement every method in the same way, as its comment says.
include "shared.thrift"

namespace go interop
namespace py interop

enum Color {
    RED = 1
    GREEN = 2
    BLUE = 4
}

typedef i64 UserId

struct Request {
    1: string message
    2: binary payload
}

struct Response {
    1: string message
    2: binary payload
}

struct AllTypes {
    1: bool flag
    2: byte tiny
    3: i16 small
    4: i32 medium
    5: i64 large
    6: double ratio
    7: string text
    8: binary blob
    9: Color color
    10: UserId user
    11: required string must
    21: optional bool maybe_flag
    22: optional byte maybe_tiny
    23: optional i16 maybe_small
    24: optional i32 maybe_medium
    25: optional i64 maybe_large
    26: optional double maybe_ratio
    27: optional string maybe_text
    28: optional binary maybe_blob
    29: optional Color maybe_color
    30: optional UserId maybe_user
    // Its id is far from its neighbour's.
    30000: optional string far
}

struct Leaf {
    1: i32 id
    2: string name
    3: optional list<string> tags
}

struct Tree {
    1: string name
    2: list<Tree> children
}

struct Nested {
    1: list<map<string, list<Leaf>>> forest
    2: set<i32> numbers
    3: map<i32, Leaf> leaves
    4: list<list<i64>> matrix
    5: map<string, map<i32, set<string>>> deep
    6: list<binary> blobs
    7: list<bool> flags
    8: map<string, double> ratios
    9: optional Tree tree
    10: list<Color> colors
    11: optional map<string, string> maybe_table
}

struct Defaults {
    1: bool flag = true
    2: i32 number = 42
    3: string text = "plain"
    4: list<i32> numbers = [1, 2, 3]
    5: map<string, i32> table = {"one": 1, "two": 2}
    6: Color color = Color.GREEN
    7: optional string maybe = "perhaps"
    8: double ratio = 0.5
    9: optional i64 unset
}

union Choice {
    1: string text
    2: i64 number
    3: Leaf leaf
}

struct Triple {
    1: i32 a
    2: string b
    3: list<i64> c
}

exception NotFound {
    1: string text
}

exception Conflict {
    1: i32 code
    2: string text
    3: list<string> details
}

// What a handler knows of the time it has.
struct DeadlineReport {
    // Kitex's RPC timeout of the call, as the caller's header gave it; 0 when there was none.
    1: i64 rpc_timeout_ms
    // Whether the handler's own context (Go) or task (Python) ends at a deadline, and in how many milliseconds.
    2: bool has_deadline
    3: i64 remaining_ms
}

struct MetadataRequest {
    // Values that the server sends back to its caller, verbatim.
    1: map<string, string> backward
    // Only for forward: the RPC timeout of the onward call; 0 or absent sets none.
    2: optional i32 timeout_ms
}

// One call as its handler saw it.
struct MetadataReport {
    1: map<string, string> transient_values
    2: map<string, string> persistent_values
    3: string caller_service
    4: string caller_method
    5: string callee_service
    6: string idl_service
    7: string idl_method
    8: map<string, string> string_headers
    9: map<i32, string> int_headers
    // buffered, framed, ttheader-unframed or ttheader-framed
    10: string framing
    11: i32 sequence_id
    12: DeadlineReport deadline
}

struct ForwardReport {
    // What the peer at the far end saw.
    1: MetadataReport seen
    // The backward values that came with its reply.
    2: map<string, string> backward
}

// What a server has seen of the attempts of one call.
struct AttemptReport {
    // The mark of a retry that each attempt so far carried, this one included: "" where it had none.
    1: list<string> marks
    // Whether this one counts as a retry on the server.
    2: bool retried
}

service Interop extends shared.Common {
    // Both fields come back unchanged.
    Response echo(1: Request req)
    AllTypes all_types(1: AllTypes value)
    Nested nested(1: Nested value)
    // What was decoded comes back: a field absent on the wire has its default.
    Defaults defaults(1: Defaults value)
    // A struct on which nothing was set.
    Defaults fresh_defaults()
    shared.Stamp stamp(1: shared.Stamp value)
    Choice choose(1: Choice value)
    void ping()
    Triple multi_args(1: i32 a, 2: string b, 3: list<i64> c)
    // The handler gives nil or None: field 0 is absent from the reply.
    Response nothing()

    // kind: "not_found" or "conflict" (code 409, details ["a", "b"]) raises that exception with text; anything else
    // answers text as the message.
    Response refuse(1: string kind, 2: string text) throws (1: NotFound not_found, 2: Conflict conflict)
    // The same for a method without a result; other kinds return.
    void check(1: string kind, 2: string text) throws (1: NotFound not_found, 2: Conflict conflict)
    // An error that is no declared exception.
    Response fail(1: string text)
    // An application exception with a type id chosen by the handler (Go: remote.NewTransErrorWithMsg).
    Response fail_with_code(1: i32 type_id, 2: string text)
    // Go: panic(text). Python: an exception that is none of elanus's.
    Response panic(1: string text)
    Response biz_status(1: i32 code, 2: string message, 3: map<string, string> extra)

    // Remembers token after that many milliseconds.
    oneway void fire(1: string token, 2: i32 delay_ms)
    // The remembered tokens that start with prefix, in the order in which they came.
    list<string> fired(1: string prefix)
    // Answers token after that many milliseconds, whatever becomes of the caller.
    string sleep(1: i32 milliseconds, 2: string token)

    // The first attempts with this token, as many as unwell says, are late by that many milliseconds, or fail when there
    // are none to be late by.
    AttemptReport flaky(1: string token, 2: i32 unwell, 3: i32 delay_ms)

    DeadlineReport deadline()
    MetadataReport metadata(1: MetadataRequest request)
    // Calls metadata(request) of the peer at address over TTHeader, from within the handler.
    ForwardReport forward(1: string address, 2: MetadataRequest request)
    // "Interop". Other has a method of the same name, so the service name must route it.
    string who()
}

service Other {
    // "Other"
    string who()
    // The message comes back with "other: " before it.
    Response other_echo(1: Request req)
}
