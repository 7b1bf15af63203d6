// Everything that an IDL may say. Comments of all three kinds are skipped.
include "shared.thrift"
include "far/units.thrift"

namespace go acme.platform.types
namespace py acme_types

# Constants.
const i32 LIMIT = 10
const i64 BIG = -9000000000
const i32 HEXADECIMAL = 0xff
const string GREETING = "hello \"you\""
const bool YES = true
const double HALF = 0.5
const list<i32> PRIMES = [2, 3, 5]
const map<string, i32> AGES = {"ann": 3, "bob": 4}
const set<string> NAMES = ["ann", "bob"]

typedef i64 UserId
typedef list<Leaf> Leaves
typedef Leaf Blade
typedef Color Paint
typedef map<UserId, Leaves> Garden

/* An enum whose first
   number is not 0. */
enum Color {
    RED = 1
    GREEN
    BLUE = 4
}

// Unlike a type, a value has to be declared before it is used.
const Color FAVOURITE = Color.GREEN

struct Leaf {
    1: i32 id
    2: string name
    3: optional list<string> tags
}

struct Scalars {
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
    11: i8 eight
}

struct Options {
    1: optional bool flag
    2: optional i8 tiny
    3: optional string text
    4: optional binary blob
    5: optional Leaf leaf
    6: optional list<i32> numbers
    7: optional map<string, string> table
    30000: optional string far
}

struct Demanding {
    1: required string name
    2: required i32 count
    3: optional string note
    4: list<Leaf> leaves
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
    10: list<Paint> colors
    11: set<Leaf> leaf_set
    12: map<bool, bool> logic
    13: map<Color, string> paints
    14: map<i64, i64> pairs
    15: Garden garden
    16: map<binary, bool> blob_flags
}

// Refers to itself, and to what is declared further down.
struct Tree {
    1: string name
    2: list<Tree> children
    3: optional Later later
    4: map<string, Tree> named
}

struct Later {
    1: list<Latest> items
    2: Choice choice
}

struct Latest {
    1: i32 number
}

struct Defaults {
    1: bool flag = true
    2: i32 number = 42
    3: string text = "plain"
    4: list<i32> numbers = [1, 2, 3]
    5: map<string, i32> table = {"one": 1, "two": 2}
    6: Color color = Color.GREEN
    7: optional string maybe = "perhaps"
    8: double ratio = 1
    9: optional i64 unset
    10: set<string> names = ["x", "y"]
    11: binary blob = "bytes"
    12: Leaf leaf = {"id": 7, "name": "seven"}
    13: list<Leaf> leaves = [{"id": 1, "name": "one"}]
    14: shared.Level level = shared.Level.HIGH
    15: list<double> weights = [1, 2]
}

// Fixed-size fields come first in what Kitex writes.
struct Mixed {
    1: string first
    2: i32 second
    3: list<i64> third
    4: bool fourth
    5: double fifth
    6: optional string sixth
}

union Choice {
    1: string text
    2: i64 number
    3: Leaf leaf
}

// Small and flat: these have a short way of their own.
struct Word {
    1: string text
}

struct Small {
    1: i32 number
    2: string text
    3: bool flag
    4: binary blob
    5: double ratio
    6: Color color
}

struct Numbers {
    -3: i8 tiny
    2: i16 small
    300: i64 large = 9
}

struct Empty {}

// Field names that are reserved somewhere, Python among others.
struct Range {
    1: i32 from
    2: i32 end
    3: bool None = true
    4: string self
    5: i32 read
    6: i32 write
}

struct NoIds {
    i32 one,
    string two;
}

exception NotFound {
    1: string what
    2: i32 code = 404
}

exception Broken {
    255: string text
}

service Everything extends shared.Common {
    Scalars scalars(1: Scalars value)
    Options options(1: Options value)
    Nested nested(1: Nested value)
    Tree tree(1: Tree value)
    Mixed mixed(1: Mixed value)
    Demanding demanding(1: Demanding value)
    Defaults defaults(1: Defaults value)
    Choice choose(1: Choice value)
    Word word(1: Word value)
    Small small(7: Small value)
    Numbers numbers(1: Numbers value)
    Empty empty(1: Empty value)
    Range range(1: Range value)
    NoIds no_ids(1: NoIds value)

    void ping()
    string join(1: string left, 2: i32 right = 5, 3: list<string> rest)
    list<Leaf> leaves(1: set<i32> ids, 2: map<string, Leaf> known)
    Color paint(1: Color color)
    shared.Stamp stamp(2: shared.Stamp at)
    units.Metre measure(1: units.Metre metre)
    Leaf find(1: i32 id) throws (1: NotFound missing, 2: Broken broken)
    void check(1: i32 id) throws (1: NotFound missing)
    oneway void fire(1: string message)
    Leaf once(1: i32 id) (idempotent = "true")
}

service Streams {
    Leaf chat(1: Leaf leaf) (streaming.mode = "bidirectional")
    Leaf collect(1: Leaf leaf) (streaming.mode = "client")
    Leaf list_all(1: Leaf leaf) (streaming.mode = "server")
    Leaf single(1: Leaf leaf) (streaming.mode = "unary")
}
