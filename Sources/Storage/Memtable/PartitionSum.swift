package import Core

/// What a partition holds in one place or, merged, in all: the state digest, which tells replicas
/// apart, and the plain number of events, which is held against what went in.
package struct PartitionSum: Hashable, Sendable {
    package var state: StateDigest
    package var events: UInt64

    package init(state: StateDigest = .zero, events: UInt64 = 0) {
        self.state = state
        self.events = events
    }

    package static let zero = PartitionSum()

    package mutating func add(_ measure: Measure, term: UInt128) {
        state.add(measure, term: term)
        events &+= measure.count
    }

    package mutating func merge(_ other: PartitionSum) {
        state.merge(other.state)
        events &+= other.events
    }
}

/// The sums of all tables of a node by partition, and of what retention dropped of them, added up
/// once per change of the tables, so that an audit costs no pass over their footers.
package struct TableSums: Sendable {
    private var sums: [PartitionSum]

    package init(
        _ tables: [TableHandle], dropped: [PartitionID: PartitionSum] = [:], partitions: Int
    ) {
        sums = Array(repeating: .zero, count: partitions)
        for (partition, sum) in dropped where Int(partition.index) < partitions {
            sums[Int(partition.index)] = sum
        }
        for table in tables {
            for held in table.partitions where Int(held.partition.index) < partitions {
                sums[Int(held.partition.index)].merge(
                    PartitionSum(state: held.digest, events: held.total.count))
            }
        }
    }

    package subscript(partition: PartitionID) -> PartitionSum {
        sums[Int(partition.index)]
    }
}
