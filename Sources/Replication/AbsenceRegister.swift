package import Core
package import Wire

/// A round of one proposer.
package struct Ballot: Hashable, Comparable, Sendable {
    package var number: UInt32
    package var node: NodeID

    package init(number: UInt32, node: NodeID) {
        self.number = number
        self.node = node
    }

    package static func < (left: Ballot, right: Ballot) -> Bool {
        (left.number, left.node) < (right.number, right.node)
    }
}

/// Members without which the others decide, each with the life that it must begin first; ascending
/// by name. It replaces all earlier decisions.
package struct AbsenceDecision: Hashable, Sendable {
    package var number: UInt64
    package var leftOut: [Vote.Successor]

    package init(number: UInt64, leftOut: [Vote.Successor]) {
        self.number = number
        self.leftOut = leftOut
    }

    package static let none = AbsenceDecision(number: 0, leftOut: [])
}

/// What one member knows of the decisions about who is left out, and what it promised of the next:
/// an acceptor and learner of Paxos (Lamport, *Paxos Made Simple*, 2001), one instance for each
/// decision. Whoever writes to it keeps it durably before anybody hears of it.
///
/// Without it two members could each be left out by some of the others, and would wait for each
/// other for ever: both need what the other one holds.
package struct AbsenceRegister: Hashable, Sendable {
    package struct Proposal: Hashable, Sendable {
        package var ballot: Ballot
        package var leftOut: [Vote.Successor]

        package init(ballot: Ballot, leftOut: [Vote.Successor]) {
            self.ballot = ballot
            self.leftOut = leftOut
        }
    }

    package private(set) var decided = AbsenceDecision.none
    /// Of the decision that follows.
    package private(set) var promised: Ballot?
    package private(set) var accepted: Proposal?

    package init() {}

    /// No ballot below is taken any more.
    package mutating func promise(_ ballot: Ballot, of number: UInt64) -> Bool {
        guard number == decided.number + 1, promised.map({ $0 < ballot }) ?? true else {
            return false
        }
        promised = ballot
        return true
    }

    package mutating func accept(_ proposal: Proposal, of number: UInt64) -> Bool {
        guard number == decided.number + 1, promised.map({ $0 <= proposal.ballot }) ?? true else {
            return false
        }
        promised = proposal.ballot
        accepted = proposal
        return true
    }

    /// False where it is known.
    package mutating func learn(_ decision: AbsenceDecision) -> Bool {
        guard decision.number > decided.number else { return false }
        decided = decision
        promised = nil
        accepted = nil
        return true
    }

    /// A disk that was lost may have promised and accepted what others did. With what so many
    /// others know that any majority, less this member, contains one of them, nothing is missing.
    package mutating func merge(_ other: AbsenceRegister) {
        if other.decided.number > decided.number {
            self = other
        } else if other.decided.number == decided.number {
            if let theirs = other.promised { promised = promised.map { max($0, theirs) } ?? theirs }
            if let theirs = other.accepted,
                accepted.map({ $0.ballot < theirs.ballot }) ?? true
            {
                accepted = theirs
            }
        }
    }
}

/// How members agree on who is left out.
package enum AbsenceMessage: Hashable, Sendable {
    /// Only a member that finds `away` away as well promises, or one that accepted something.
    case prepare(UInt64, Ballot, away: [NodeID])
    case promise(UInt64, Ballot, AbsenceRegister.Proposal?)
    case accept(UInt64, AbsenceRegister.Proposal)
    case accepted(UInt64, Ballot)
    case decided(AbsenceDecision)
}

// MARK: - Codec

extension AbsenceRegister {
    package var encoded: [UInt8] {
        var writer = ByteWriter()
        encode(into: &writer)
        return writer.bytes
    }

    package init(decoding bytes: [UInt8]) throws(DecodeError) {
        var reader = ByteReader(bytes)
        try self.init(from: &reader)
        try reader.finish()
    }

    package func encode(into writer: inout ByteWriter) {
        writer.write(decided)
        writer.write(flag: promised != nil)
        if let promised { writer.write(promised) }
        writer.write(accepted)
    }

    package init(from reader: inout ByteReader) throws(DecodeError) {
        decided = try reader.absenceDecision()
        promised = try reader.flag() ? try reader.ballot() : nil
        accepted = try reader.absenceProposal()
    }
}

extension AbsenceMessage {
    package func encode(into writer: inout ByteWriter) {
        switch self {
        case .prepare(let number, let ballot, let away):
            writer.write(1)
            writer.write(fixed: number)
            writer.write(ballot)
            writer.write(UInt8(away.count))
            for node in away { writer.write(node) }
        case .promise(let number, let ballot, let proposal):
            writer.write(2)
            writer.write(fixed: number)
            writer.write(ballot)
            writer.write(proposal)
        case .accept(let number, let proposal):
            writer.write(3)
            writer.write(fixed: number)
            writer.write(proposal)
        case .accepted(let number, let ballot):
            writer.write(4)
            writer.write(fixed: number)
            writer.write(ballot)
        case .decided(let decision):
            writer.write(5)
            writer.write(decision)
        }
    }

    package init(from reader: inout ByteReader) throws(DecodeError) {
        let kind = try reader.byte()
        switch kind {
        case 1:
            let number: UInt64 = try reader.fixed()
            let ballot = try reader.ballot()
            var away: [NodeID] = []
            for _ in 0..<(try reader.byte()) { away.append(try reader.node()) }
            self = .prepare(number, ballot, away: away)
        case 2:
            let number: UInt64 = try reader.fixed()
            let ballot = try reader.ballot()
            self = .promise(number, ballot, try reader.absenceProposal())
        case 3:
            let number: UInt64 = try reader.fixed()
            guard let proposal = try reader.absenceProposal() else {
                throw reader.fail("an empty proposal")
            }
            self = .accept(number, proposal)
        case 4:
            let number: UInt64 = try reader.fixed()
            self = .accepted(number, try reader.ballot())
        case 5: self = .decided(try reader.absenceDecision())
        default: throw reader.fail("a word of kind \(kind) about absence")
        }
    }
}

extension ByteWriter {
    fileprivate mutating func write(_ ballot: Ballot) {
        write(fixed: ballot.number)
        write(ballot.node)
    }

    fileprivate mutating func write(_ decision: AbsenceDecision) {
        write(fixed: decision.number)
        write(decision.leftOut)
    }

    fileprivate mutating func write(_ proposal: AbsenceRegister.Proposal?) {
        write(flag: proposal != nil)
        guard let proposal else { return }
        write(proposal.ballot)
        write(proposal.leftOut)
    }
}

extension ByteReader {
    fileprivate mutating func ballot() throws(DecodeError) -> Ballot {
        let number: UInt32 = try fixed()
        return Ballot(number: number, node: try node())
    }

    fileprivate mutating func absenceDecision() throws(DecodeError) -> AbsenceDecision {
        let number: UInt64 = try fixed()
        return AbsenceDecision(number: number, leftOut: try successors())
    }

    fileprivate mutating func absenceProposal() throws(DecodeError) -> AbsenceRegister.Proposal? {
        guard try flag() else { return nil }
        let ballot = try ballot()
        return AbsenceRegister.Proposal(ballot: ballot, leftOut: try successors())
    }
}
