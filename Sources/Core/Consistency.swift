/// How many voters must have an answer before it counts. Persisted and sent: do not change the
/// numbers.
package enum Consistency: UInt8, Sendable, CaseIterable {
    case one = 1
    case quorum = 2
    case all = 3

    package func required(of voters: Int) -> Int {
        switch self {
        case .one: 1
        case .quorum: voters / 2 + 1
        case .all: voters
        }
    }

    package var name: String {
        switch self {
        case .one: "ONE"
        case .quorum: "QUORUM"
        case .all: "ALL"
        }
    }

    package init?(name: some StringProtocol) {
        switch name.uppercased() {
        case "ONE": self = .one
        case "QUORUM": self = .quorum
        case "ALL": self = .all
        default: return nil
        }
    }
}
