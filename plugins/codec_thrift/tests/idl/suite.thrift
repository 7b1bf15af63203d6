struct Tree {
    1: string name
    2: list<Tree> children
}

struct Item {
    1: required string name
    2: list<string> tags
    3: map<i32, Tree> by_id
    4: binary raw
    5: set<i16> kinds
    6: double weight
    7: optional Tree tree
}

exception Missing {
    1: string key
    2: list<string> near
}

service Store {
    Item get(1: string key, 2: i32 version) throws (1: Missing missing)
    void put(1: Item item)
    void flush()
    i64 count(1: set<string> keys)
    Tree chat(1: Item item) (streaming.mode = "bidirectional")
}
