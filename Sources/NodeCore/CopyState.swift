import Core
import Replication
import Storage

/// A whole copy under way: as the one that gives it, or as the one that takes it.
struct CopyState {
    var source: CopySource?
}

struct CopySource {
    var peer: NodeID
}
