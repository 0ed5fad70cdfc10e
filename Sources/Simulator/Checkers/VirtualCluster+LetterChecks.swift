import Core
import Replication
import Storage

/// S14: the letters of a content are there all or none, as they were made, but for those that were
/// retired: these are gone once that is acknowledged, and only then may one be missing.
extension VirtualCluster {
    func checkLetters(
        _ items: [DeadLetterItem], _ total: UInt64, _ retired: UInt64, _ check: ReadCheck
    ) throws(Violation) {
        let found = try makers(of: items, check)
        // At ONE a replica may hold a mark before its letter.
        guard total == UInt64(items.count) || (check.level == .one && retired > 0) else {
            throw Violation("S14", "\(items.count) dead letters, said to be \(total)")
        }
        var seen = ContentSet(found.keys)
        // Those of which letters must be there, whoever purges.
        var scope = ContentSet()
        for content in ledger.contents where !content.deadLetters.isEmpty {
            let lines = found[content.number]
            var isOwed = false
            for letter in content.deadLetters {
                let retirers = ledger.retirers(
                    of: LetterID(batch: content.id, line: letter.line)
                ).filter(ledger.submitted.contains)
                if retirers.isEmpty { isOwed = true }
                guard let lines, !lines.contains(letter.line) else { continue }
                guard !retirers.isEmpty else {
                    throw Violation(
                        "S14",
                        "\(lines.count) of \(content.deadLetters.count) dead letters of "
                            + "c\(content.number)")
                }
                checks.hit(.letterHidden)
                if retirers.count == 1 { seen.insert(retirers[0]) }
            }
            if isOwed { scope.insert(content.number) }
        }
        try checkFinal(found, check)
        var homes = check
        homes.floors = [check.letterFloor]
        try checkSet(seen, in: scope, PartitionID(0), homes, "the list of dead letters")
        if check.level != .one { checks.letterFloor.formUnion(seen) }
    }

    /// The lines that are listed, by content. None of them may be retired.
    private func makers(
        of items: [DeadLetterItem], _ check: ReadCheck
    ) throws(Violation) -> [Int: Set<UInt32>] {
        var found: [Int: Set<UInt32>] = [:]
        var gone = check.acknowledged
        if check.level != .one { gone.formUnion(check.letterFloor) }
        for item in items {
            let maker = ledger.rivals(of: item.place.id).first { number in
                let createdAt = ledger.createdAt(number, as: item.place.id)
                return ledger.contents[number].deadLetters.contains(item.letter)
                    && createdAt == item.createdAt
                    && Segment(createdAt: createdAt, length: swarm.segmentLength)
                        == item.place.segment
            }
            guard let maker, item.place.line == item.letter.line,
                found[maker, default: []].insert(item.place.line).inserted
            else { throw Violation("S14", "dead letter \(item.place), which nobody made") }
            if let retirer = ledger.retirers(of: item.id).first(where: gone.contains) {
                throw Violation("S14", "dead letter \(item.id), which c\(retirer) retired")
            }
        }
        return found
    }

    private func checkFinal(
        _ found: [Int: Set<UInt32>], _ check: ReadCheck
    ) throws(Violation) {
        guard check.isFinal, let final = checks.final else { return }
        var expected: [Int: Set<UInt32>] = [:]
        for number in final.members {
            let content = ledger.contents[number]
            for letter in content.deadLetters {
                let id = LetterID(batch: content.id, line: letter.line)
                guard !ledger.retirers(of: id).contains(where: final.contains) else { continue }
                expected[number, default: []].insert(letter.line)
            }
        }
        guard found == expected else {
            throw Violation(
                "L4",
                "dead letters of \(ContentSet(found.keys)), not of \(ContentSet(expected.keys))")
        }
    }
}
