import Core
import Ring

/// Members and measures that the tests of the ring share.
enum Rings {
    /// `n<number>` in rack `r<number mod racks>`.
    static func member(_ number: Int, racks: Int = 1) -> RingMember {
        RingMember(node: NodeID("n\(number)"), dc: "dc1", rack: "r\(number % racks)")
    }

    static func members(_ count: Int, racks: Int = 1) -> [RingMember] {
        (0..<count).map { member($0, racks: racks) }
    }

    /// Pairs of arcs less than `span` apart, across the end too, whose owners look alike.
    static func conflicts(
        _ ownership: Ownership, span: Int, by label: (NodeID) -> String = \.name
    ) -> Int {
        let labels = ownership.owners.map(label)
        var count = 0
        for arc in labels.indices {
            for distance in 1..<max(1, span) {
                let other = (arc + distance) % labels.count
                if other != arc && labels[arc] == labels[other] { count += 1 }
            }
        }
        return count
    }

    /// Whether the larger share of `members` in this ring leaves room for `span` arcs between two.
    static func canSpread(partitions: Int, members: Int, span: Int) -> Bool {
        members > span && (partitions + members - 1) / members * span <= partitions
    }

    /// Whether every member owns ⌊P/N⌋ or ⌈P/N⌉ arcs.
    static func isBalanced(_ ownership: Ownership, _ members: [RingMember]) -> Bool {
        var counts: [NodeID: Int] = [:]
        for owner in ownership.owners { counts[owner, default: 0] += 1 }
        let share = ownership.partitioning.count / members.count
        let larger = ownership.partitioning.count % members.count
        return counts.count == members.count
            && counts.values.allSatisfy { $0 == share || $0 == share + 1 }
            && counts.values.count { $0 == share + 1 } == larger
    }

    /// What may move beyond the fewest. Where N = RF + 1 every arc has at most two possible owners,
    /// and keeping owners apart, which comes first, was seen to cost up to as much again.
    static func movesAllowance(partitions: Int, members: Int, span: Int) -> Int {
        let allowance = Ownership.movesAllowance(partitions: partitions)
        return members == span + 1 ? 2 * allowance : allowance
    }
}
