import Core
import Replication
import Ring
import Storage
import Wire

/// S4: what was acknowledged before a quorum read began is in it; what is in it was sent before it
/// ended; it never goes back. At any level: whole contents only, and never a number that is no
/// fold.
extension VirtualCluster {
    func finish(
        _ check: ReadCheck, _ response: ClientResponse, _ node: Int
    ) throws(Violation) {
        guard case .read(let answer) = response else {
            guard case .failed(let failure) = response else {
                throw Violation("S4", "a read was answered by \(response)")
            }
            checks.hit(.readFailed)
            if isHealed, swarm.budget == .beyond, check.level == .quorum {
                checks.hit(.refusedBeyondBudget)
            }
            if case .storage(let what) = failure, !check.mayMeetRot,
                !nodes.contains(where: \.maySeeRot)
            {
                throw Violation("S4", "a healthy disk cannot be read: \(what)")
            }
            guard check.isFinal else { return }
            throw Violation(
                "L4", "\(nodes[node].id) cannot read after the heal: \(check.query): \(failure)")
        }
        if check.level != .one { checks.hit(.quorumRead) }
        do throws(Violation) {
            switch (check.query, answer.result) {
            case (.series(let query), .series(let rows)):
                try checkSeries(rows, query, check, by: answer.floor)
            case (.scan(let spec, let top), .scan(let rows)):
                try checkScan(rows, spec, top, check, by: answer.floor)
            case (.deadLetters, .deadLetters(let items, let total, let retired)):
                try checkLetters(items, total, retired, check)
            case (.series, _), (.scan, _), (.deadLetters, _):
                throw Violation("S4", "an answer of another kind")
            }
        } catch {
            let through =
                "read at \(check.level.name) through \(nodes[node].id) from "
                + answer.replicas.map(\.name).joined(separator: " ")
            throw Violation(error.invariant, "\(error.detail); \(through)")
        }
    }

    // MARK: - One key

    private func checkSeries(
        _ rows: [SeriesRow], _ query: SeriesQuery, _ check: ReadCheck, by floor: RetentionFloor
    ) throws(Violation) {
        let seen = try ledger.decode(rows, query, by: floor)
        let selected = ledger.contents(touching: query.key).members.filter { number in
            ledger.contents[number].cells.contains { query.selects($0, by: floor, ledger) }
        }
        let scope = ContentSet(selected)
        if check.isFinal, let final = checks.final {
            let expected = final.intersection(scope)
            guard seen == expected || seen.members == expected.members else {
                throw Violation("L4", "\(query) shows \(seen), not \(expected)")
            }
        }
        try checkSet(seen, in: scope, query.partition, check, "\(query)")
        if check.level != .one { checks.raiseFloor(query.partition, seen) }
    }

    func checkSet(
        _ seen: ContentSet, in scope: ContentSet, _ partition: PartitionID, _ check: ReadCheck,
        _ what: @autoclosure () -> String
    ) throws(Violation) {
        let phantoms = seen.subtracting(ledger.submitted)
        guard phantoms.isEmpty else {
            throw Violation("S4", "\(what()) shows \(phantoms), never sent")
        }
        var denied = ledger.refused
        denied.formUnion(checks.closedOut)
        let refused = seen.intersection(denied)
        guard refused.isEmpty else {
            throw Violation("S15", "\(what()) shows \(refused), finally not counted")
        }
        let lost = check.acknowledged.intersection(scope).subtracting(seen)
        guard lost.isEmpty else {
            throw Violation("S4", "\(what()) lacks \(lost), acknowledged before")
        }
        let gone = check.floor(partition).intersection(scope).subtracting(seen)
        guard gone.isEmpty else {
            throw Violation("S4", "\(what()) lacks \(gone), which an earlier read showed")
        }
        for number in seen.members {
            try decide(number, "a read")
        }
    }

    // MARK: - Scans

    /// What of the contents is kept adds up to, by key, over one type or all.
    private func totals(
        _ set: ContentSet, _ spec: ScanSpec, _ floor: RetentionFloor
    ) -> [[UInt8]: UInt64] {
        var totals: [[UInt8]: UInt64] = [:]
        for number in set.members {
            guard ledger.contents[number].retires == nil else { continue }
            for cell in ledger.contents[number].cells
            where spec.type ?? cell.name.type == cell.name.type
                && spec.selects(cell, by: floor, ledger)
            {
                totals[cell.name.key, default: 0] += cell.measure.count
            }
        }
        return totals
    }

    /// What must be in an answer and what may be.
    private func bounds(_ check: ReadCheck) -> (least: ContentSet, most: ContentSet) {
        if check.isFinal, let final = checks.final { return (final, final) }
        return (check.acknowledged, ledger.submitted)
    }

    private func checkScan(
        _ rows: ScanRows, _ spec: ScanSpec, _ top: TopSpec?, _ check: ReadCheck,
        by floor: RetentionFloor
    ) throws(Violation) {
        let (least, most) = bounds(check)
        switch rows {
        case .totals(let rows):
            try checkTotals(rows, top, totals(least, spec, floor), totals(most, spec, floor))
        case .keys(let keys):
            try checkNames(
                keys, Array(totals(least, spec, floor).keys),
                Array(totals(most, spec, floor).keys))
        case .types(let types):
            let names = { (set: ContentSet) in
                set.members.filter { self.ledger.contents[$0].retires == nil }.flatMap { number in
                    self.ledger.contents[number].cells
                        .filter { spec.selects($0, by: floor, self.ledger) }.map(\.name.type)
                }
            }
            try checkNames(types, names(least), names(most))
        }
    }

    private func checkTotals(
        _ rows: [ScanRows.KeyTotal], _ top: TopSpec?, _ least: [[UInt8]: UInt64],
        _ most: [[UInt8]: UInt64]
    ) throws(Violation) {
        for (row, next) in zip(rows, rows.dropFirst()) where row.measure.count < next.measure.count
        {
            throw Violation("S4", "a top list that does not fall")
        }
        var shown: Set<[UInt8]> = []
        for row in rows {
            guard shown.insert(row.key).inserted, row.measure.count >= least[row.key] ?? 0,
                row.measure.count <= most[row.key] ?? 0
            else {
                throw Violation(
                    "S4",
                    "key \(String(decoding: row.key, as: UTF8.self)) has \(row.measure.count) in a "
                        + "top list, not \(least[row.key] ?? 0) to \(most[row.key] ?? 0)")
            }
        }
        let isFull = rows.count == top?.k ?? .max
        let last = isFull ? rows.last?.measure.count ?? 0 : 0
        for (key, count) in least.sorted(by: { $0.key.lexicographicallyPrecedes($1.key) })
        where !shown.contains(key) && count > last {
            throw Violation(
                "S4", "key \(String(decoding: key, as: UTF8.self)) is missing from a top list")
        }
    }

    private func checkNames(
        _ names: [[UInt8]], _ least: [[UInt8]], _ most: [[UInt8]]
    ) throws(Violation) {
        guard names == names.sorted(by: { $0.lexicographicallyPrecedes($1) }),
            Set(names).count == names.count, Set(least).isSubset(of: names),
            Set(names).isSubset(of: most)
        else {
            throw Violation(
                "S4", "a list of \(names.count) names, \(Set(least).count) to \(Set(most).count)")
        }
    }

    // MARK: - Outcomes

    /// S14: totals are those that were sealed. What is said to be counted stays so.
    func checkStatus(_ response: ClientResponse, of number: Int) throws(Violation) {
        if case .status(.notCounted) = response {
            try finallyNotCounted(number, "a status")
            return
        }
        guard case .status(.counted(let totals)) = response else {
            try checkUndecided(number)
            return
        }
        let candidates = ledger.rivals(of: ledger.contents[number].id).filter {
            ledger.submitted.contains($0) && ledger.contents[$0].record.totals == totals
                && !ledger.refused.contains($0)
        }
        guard !candidates.isEmpty else {
            throw Violation(
                "S14", "\(ledger.contents[number].id) is said to be counted with \(totals)")
        }
        if candidates.count == 1 {
            ledger.confirm(candidates[0])
            try decide(candidates[0], "a status")
        }
    }

    /// After the last seal nothing is undecided any more.
    private func checkUndecided(_ number: Int) throws(Violation) {
        let segment = segment(of: ledger.contents[number])
        guard checks.final != nil, nodes.allSatisfy({ segment < $0.closed }) else { return }
        throw Violation("L3", "c\(number) is undecided, though its segment is closed")
    }

    /// A conflict is final: this content may be nowhere.
    func checkRefused(_ number: Int) throws(Violation) {
        let content = ledger.contents[number]
        guard !isDecided(number) else {
            throw Violation("S15", "c\(number) is refused, but it was decided")
        }
        guard ledger.rivals(of: content.id).contains(where: { $0 != number }) else {
            throw Violation("S6", "c\(number) is refused, but its id has no other content")
        }
    }
}
