// What the matrix of cancellation calls: each method does what its argument says.
exception Declared {
    1: string text
}

service Subject {
    string work(1: string what) throws (1: Declared declared)
    oneway void fire(1: string what)
}
