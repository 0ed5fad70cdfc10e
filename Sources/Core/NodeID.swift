/// The name of a node, as written in `cluster.conf` (`n1`): unique in the cluster, stable over
/// restarts.
package struct NodeID: Hashable, Comparable, Sendable, CustomStringConvertible {
    package let name: String

    package init(_ name: String) {
        self.name = name
    }

    package var description: String { name }

    package static func < (left: NodeID, right: NodeID) -> Bool {
        left.name < right.name
    }
}

/// One of the P equal arcs of the token ring, `0 ..< P`.
package struct PartitionID: Hashable, Comparable, Sendable, CustomStringConvertible {
    package let index: UInt16

    package init(_ index: Int) {
        self.index = UInt16(index)
    }

    package var description: String { "p\(index)" }

    package static func < (left: PartitionID, right: PartitionID) -> Bool {
        left.index < right.index
    }
}

/// A numbered life of a data directory: a node that recovered a lost disk gets the next number.
/// 0 means that the directory is empty and does not know its number.
package struct Incarnation: Hashable, Comparable, Sendable {
    package let number: UInt32

    package init(_ number: UInt32) {
        self.number = number
    }

    package static let none = Incarnation(0)

    package var next: Incarnation { Incarnation(number + 1) }

    package static func < (left: Incarnation, right: Incarnation) -> Bool {
        left.number < right.number
    }
}

/// Log sequence number: the position of a record in one node's log, counted from 1 in each
/// incarnation.
package struct LSN: Hashable, Comparable, Sendable, CustomStringConvertible {
    package let number: UInt64

    package init(_ number: UInt64) {
        self.number = number
    }

    package static let zero = LSN(0)

    package var next: LSN { LSN(number + 1) }

    package var description: String { "\(number)" }

    package static func < (left: LSN, right: LSN) -> Bool {
        left.number < right.number
    }
}
