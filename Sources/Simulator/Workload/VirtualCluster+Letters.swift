import Core
import Replication

/// The clients: operators who purge dead letters, or count them after all. Either is a batch that
/// holds the letter's mark, under an id that is a function of the letter.
extension VirtualCluster {
    /// Sometimes: one more batch retires a letter of one that was acknowledged, and sometimes
    /// another one tries to retire it as well, at another time.
    func retireSome() {
        guard swarm.retires, letterRandom.chance(1, in: 2) else { return }
        let known = ledger.answered.filter {
            !ledger.contents[$0].deadLetters.isEmpty && !ledger.renewed.contains($0)
        }
        guard !known.isEmpty else { return }
        let maker = ledger.contents[letterRandom.pick(known)]
        let letter = LetterID(
            batch: maker.id, line: letterRandom.pick(maker.deadLetters).line)
        guard swarm.retiresTwice || ledger.retirers(of: letter).isEmpty else { return }
        retire(letter, of: maker.number)
        if swarm.retiresTwice, letterRandom.chance(1, in: 3) { retire(letter, of: maker.number) }
    }

    /// What was retired is on no list any more, whoever is asked.
    func listLetters() {
        guard !isHealed else { return }
        for node in nodes.indices {
            _ = read(
                .deadLetters(DeadLetterQuery(limit: 10_000)), .quorum, swarm.requestTimeout,
                reader: nil, through: node)
        }
    }

    private func retire(_ letter: LetterID, of maker: Int) {
        let createdAt = wall - .milliseconds(letterRandom.below(1000))
        let id = BatchID(producer: UInt128(1) << 96 | UInt128(maker), sequence: UInt64(letter.line))
        let content = workload.maker.makeMark(
            ledger.contents.count, of: letter, id: id, createdAt: createdAt)
        ledger.add(content)
        log("c\(content.number) = \(id) retires \(letter)")
        checks.hit(.letterRetired)
        begin(
            .init(
                content: content.number, level: .quorum, patience: .max, since: now,
                first: letterRandom.below(nodes.count)), after: clientDelay())
    }
}

extension Ledger {
    /// The contents that would retire a letter: of several, one may count.
    func retirers(of letter: LetterID) -> [Int] { retiring[letter] ?? [] }
}
