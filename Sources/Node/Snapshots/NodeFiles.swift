/// The names of what the shell keeps in a node's directory, beside the files of the storage engine.
enum NodeFiles {
    static let catalog = "catalog.sqlite"
    static let parked = "parked.sqlite"
    /// The rules that the node has run with.
    static let rules = "RULES"
    /// What the cluster was made with.
    static let cluster = "CLUSTER"
}
