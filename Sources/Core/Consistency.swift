/// How many voters must have an answer before it counts. Persisted and sent: do not change the
/// numbers.
package enum Consistency: UInt8, Sendable, CaseIterable {
    case one = 1
    case quorum = 2
    case all = 3
    /// ONE and QUORUM among the voters of the coordinator's data centre: nothing waits for a
    /// distant one, and nothing is promised of what only distant ones hold.
    case localOne = 5
    case localQuorum = 6

    package func required(of voters: Int) -> Int {
        switch self {
        case .one, .localOne: 1
        case .quorum, .localQuorum: voters / 2 + 1
        case .all: voters
        }
    }

    /// One voter is enough: it speaks for itself alone.
    package var isWeak: Bool {
        switch self {
        case .one, .localOne: true
        case .quorum, .localQuorum, .all: false
        }
    }

    /// Only voters of the coordinator's data centre count.
    package var isLocal: Bool {
        switch self {
        case .localOne, .localQuorum: true
        case .one, .quorum, .all: false
        }
    }

    package var name: String {
        switch self {
        case .one: "ONE"
        case .quorum: "QUORUM"
        case .all: "ALL"
        case .localOne: "LOCAL_ONE"
        case .localQuorum: "LOCAL_QUORUM"
        }
    }

    package init?(name: some StringProtocol) {
        let upper = name.uppercased()
        guard let level = Self.allCases.first(where: { $0.name == upper }) else { return nil }
        self = level
    }
}
