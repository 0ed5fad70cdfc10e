import Core
import Replication
import Testing

/// Members decide one after the other who is left out, while messages come late, twice or never,
/// and disks are lost: no two ever know different decisions of one number.
@Suite("Who is left out")
struct AbsenceRegisterTests {
    /// A member with what its disk holds, and a proposal of its own.
    struct Member {
        var register = AbsenceRegister()
        /// It lost its disk, and votes again when it has heard of enough others.
        var heard: Set<Int>?
        var ballot = Ballot(number: 0, node: NodeID("n"))
        var number: UInt64 = 0
        var promises: Set<Int> = []
        var found: AbsenceRegister.Proposal?
        var proposal: AbsenceRegister.Proposal?
        var acceptances: Set<Int> = []
    }

    enum Letter {
        case message(AbsenceMessage)
        case register(AbsenceRegister)
    }

    struct World {
        var random: RandomSource
        var members: [Member]
        var letters: [(from: Int, to: Int, what: Letter)] = []
        var decisions: [UInt64: [Vote.Successor]] = [:]
        var losesPromises = false

        init(seed: UInt64, count: Int) {
            random = RandomSource(seed: seed)
            members = Array(repeating: Member(), count: count)
        }

        var majority: Int { members.count / 2 + 1 }

        mutating func run(steps: Int) {
            for _ in 0..<steps {
                switch random.below(12) {
                case 0: propose(random.below(members.count))
                case 1 where random.chance(1, in: 3): lose(random.below(members.count))
                default: deliver()
                }
            }
        }

        /// Any member at any time, for whatever reason.
        private mutating func propose(_ place: Int) {
            guard members[place].heard == nil else { return }
            let highest = max(
                members[place].ballot.number, members[place].register.promised?.number ?? 0)
            members[place].ballot = Ballot(number: highest + 1, node: NodeID("n\(place)"))
            members[place].number = members[place].register.decided.number + 1
            members[place].promises = []
            members[place].acceptances = []
            members[place].found = nil
            members[place].proposal = nil
            send(.prepare(members[place].number, members[place].ballot, away: []), from: place)
        }

        private mutating func send(_ message: AbsenceMessage, from place: Int) {
            for other in members.indices {
                letters.append((from: place, to: other, what: .message(message)))
            }
        }

        /// One at a time: another disk is lost only when the first one is restored.
        private mutating func lose(_ place: Int) {
            guard members.allSatisfy({ $0.heard == nil }) else { return }
            members[place] = Member()
            if losesPromises { return }
            members[place].heard = []
            // What was told to the disk that is gone never arrives.
            letters.removeAll { $0.to == place }
            for other in members.indices where other != place {
                letters.append(
                    (from: other, to: place, what: .register(members[other].register)))
            }
        }

        private mutating func deliver() {
            guard !letters.isEmpty else { return }
            let place = random.below(letters.count)
            let letter = letters[place]
            if !random.chance(1, in: 6) { letters.remove(at: place) }
            if random.chance(1, in: 8), case .message = letter.what { return }
            switch letter.what {
            case .register(let register):
                guard var heard = members[letter.to].heard else { return }
                members[letter.to].register.merge(register)
                heard.insert(letter.from)
                let needed = members.count - majority + 1
                members[letter.to].heard = heard.count >= needed ? nil : heard
            case .message(let message):
                guard members[letter.to].heard == nil else { return }
                receive(message, at: letter.to, from: letter.from)
            }
        }

        private mutating func receive(_ message: AbsenceMessage, at place: Int, from other: Int) {
            switch message {
            case .prepare(let number, let ballot, _):
                guard members[place].register.promise(ballot, of: number) else { return }
                let answer = AbsenceMessage.promise(
                    number, ballot, members[place].register.accepted)
                letters.append((from: place, to: other, what: .message(answer)))
            case .promise(let number, let ballot, let found):
                guard members[place].number == number, members[place].ballot == ballot,
                    members[place].proposal == nil
                else { return }
                members[place].promises.insert(other)
                if let found, members[place].found.map({ $0.ballot < found.ballot }) ?? true {
                    members[place].found = found
                }
                guard members[place].promises.count >= majority else { return }
                // A value of its own: no two are alike.
                let own = [
                    Vote.Successor(
                        node: ballot.node, incarnation: Incarnation(ballot.number + 1))
                ]
                let proposal = AbsenceRegister.Proposal(
                    ballot: ballot, leftOut: members[place].found?.leftOut ?? own)
                members[place].proposal = proposal
                send(.accept(number, proposal), from: place)
            case .accept(let number, let proposal):
                guard members[place].register.accept(proposal, of: number) else { return }
                letters.append(
                    (
                        from: place, to: other,
                        what: .message(.accepted(number, proposal.ballot))
                    ))
            case .accepted(let number, let ballot):
                guard members[place].number == number, members[place].ballot == ballot,
                    let proposal = members[place].proposal
                else { return }
                members[place].acceptances.insert(other)
                guard members[place].acceptances.count == majority else { return }
                let decision = AbsenceDecision(number: number, leftOut: proposal.leftOut)
                note(decision)
                send(.decided(decision), from: place)
            case .decided(let decision):
                _ = members[place].register.learn(decision)
            }
        }

        var isBroken = false

        private mutating func note(_ decision: AbsenceDecision) {
            if let known = decisions[decision.number], known != decision.leftOut {
                isBroken = true
            }
            decisions[decision.number] = decision.leftOut
        }
    }

    @Test("two members never know different decisions of one number")
    func agreement() {
        var decided = 0
        for seed in 1...600 {
            var world = World(seed: UInt64(seed), count: 3 + seed % 3)
            world.run(steps: 1500)
            #expect(!world.isBroken, "seed \(seed)")
            decided += world.decisions.count
        }
        // It is not idle.
        #expect(decided > 2000)
    }

    @Test("with disks that forget their promises they do")
    func forgetting() {
        let broken = (1...600).contains { seed in
            var world = World(seed: UInt64(seed), count: 3)
            world.losesPromises = true
            world.run(steps: 1500)
            return world.isBroken
        }
        #expect(broken)
    }

    @Test("what was promised and accepted comes back from the log")
    func codec() throws {
        for register in [AbsenceRegister(), MessageCodecTests.register] {
            #expect(try AbsenceRegister(decoding: register.encoded) == register)
        }
    }
}
