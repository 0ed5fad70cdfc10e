/// The names of databases in a node's directory.
enum NodeFiles {
    static let catalog = "catalog.sqlite"
    static let parked = "parked.sqlite"
}
