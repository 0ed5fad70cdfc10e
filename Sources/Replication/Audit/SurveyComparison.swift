import Core
import Storage

/// The lines of all members of one round, held against each other.
///
/// Members give their lines at slightly different moments. That never makes a false difference:
/// where two sets are equal, the folds and totals must be, whenever they were taken; and where sets
/// differ, it is only called lag. Input against output needs all members at *one* moment: sets only
/// grow, so when no digest has changed since the round before, everything between the two rounds is
/// that moment.
struct SurveyComparison {
    private(set) var differences: [AuditDifference] = []
    private(set) var lagging: [NodeID: Int] = [:]
    private(set) var input = HomeTotals()
    private(set) var output: UInt64 = 0
    private let isBlind: Bool

    /// - Parameters:
    ///   - replies: of this round; nil for a member that did not answer.
    ///   - replicas: by partition.
    init(
        _ replies: [(node: NodeID, reply: SurveyReply?)], partitions: [PartitionID],
        replicas: (PartitionID) -> [NodeID], isBlind: Bool
    ) {
        self.isBlind = isBlind
        var lines: [NodeID: [PartitionID: SurveyLine]] = [:]
        for (node, reply) in replies {
            guard let reply, reply.isSettled else { continue }
            lines[node] = Dictionary(reply.lines.map { ($0.line.partition, $0) }) { $1 }
        }
        let answered = Set(replies.filter { $0.reply != nil }.map(\.node))
        for partition in partitions {
            let all = replicas(partition).sorted()
            var held: [(node: NodeID, line: SurveyLine)] = []
            for node in all {
                if let line = lines[node]?[partition] {
                    held.append((node: node, line: line))
                } else if answered.contains(node) {
                    // It recovers, or settles what it holds in doubt.
                    lagging[node, default: 0] += 1
                }
            }
            compare(partition, held)
        }
    }

    private mutating func compare(
        _ partition: PartitionID, _ held: [(node: NodeID, line: SurveyLine)]
    ) {
        guard let fullest = held.max(by: { Self.fullness($0.line) < Self.fullness($1.line) })
        else { return }
        input.merge(fullest.line.home)
        output &+= fullest.line.events
        for (node, line) in held where !line.line.sum.hasSameSets(as: fullest.line.line.sum) {
            lagging[node, default: 0] += 1
        }
        let sets = Self.groups(held) { $0.line.sum.applied }
        for group in sets where !isBlind {
            let folds = Self.groups(group) {
                PartitionSum(state: $0.line.sum.state, events: $0.events)
            }
            guard folds.count > 1 else { continue }
            let counts = group.map { "\($0.node) holds \($0.line.events) events" }
            note(.state, Self.suspects(folds), partition, counts.joined(separator: ", "))
        }
        for group in Self.groups(held, by: { $0.line.sum.home }) {
            let accounts = Self.groups(group) { $0.home }
            guard accounts.count > 1 else { continue }
            let totals = group.map { "\($0.node) says \($0.line.home.events) events" }
            note(.totals, Self.suspects(accounts), partition, totals.joined(separator: ", "))
        }
        for (node, line) in held where !line.home.isBalanced {
            let home = line.home
            note(
                .balance, [(node: node, line: line)], partition,
                "\(home.counted) counted and \(home.dead) dead are not \(home.events) events")
        }
    }

    private mutating func note(
        _ kind: AuditDifference.Kind, _ group: [(node: NodeID, line: SurveyLine)],
        _ partition: PartitionID, _ detail: String
    ) {
        differences.append(
            AuditDifference(
                kind: kind, nodes: group.map(\.node), partition: partition, detail: detail))
    }

    /// Whoever is not with the majority; all, where there is none.
    private static func suspects(
        _ groups: [[(node: NodeID, line: SurveyLine)]]
    ) -> [(node: NodeID, line: SurveyLine)] {
        let all = groups.reduce(0) { $0 + $1.count }
        let rest = groups.filter { 2 * $0.count <= all }.flatMap { $0 }
        return rest.sorted { $0.node < $1.node }
    }

    private static func fullness(_ line: SurveyLine) -> UInt64 {
        line.line.sum.applied.count &+ line.line.sum.home.count
    }

    /// Members that agree, in the order of their first.
    private static func groups<Value: Hashable>(
        _ held: [(node: NodeID, line: SurveyLine)], by value: (SurveyLine) -> Value
    ) -> [[(node: NodeID, line: SurveyLine)]] {
        var order: [Value: Int] = [:]
        var groups: [[(node: NodeID, line: SurveyLine)]] = []
        for member in held {
            let key = value(member.line)
            if let place = order[key] {
                groups[place].append(member)
            } else {
                order[key] = groups.count
                groups.append([member])
            }
        }
        return groups
    }
}
