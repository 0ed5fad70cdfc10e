import Core
import Storage

extension ReadResult {
    /// One answer from those of disjoint sets of partitions: exact, since each cell (and each home)
    /// lives in one partition. Where keys lie in several, no part of a top list was cut short. Nil
    /// where the kinds differ.
    package static func merge(_ parts: [ReadResult], query: ReadQuery) -> ReadResult? {
        switch query {
        case .series:
            guard parts.count == 1, case .series = parts[0] else { return nil }
            return parts[0]
        case .scan(let spec, let top):
            var rows: [ScanRows] = []
            for part in parts {
                guard case .scan(let scan) = part else { return nil }
                rows.append(scan)
            }
            return ScanRows.merge(rows, spec: spec, top: top).map { .scan($0) }
        case .deadLetters(let query):
            var items: [DeadLetterItem] = []
            var total: UInt64 = 0
            var retired: UInt64 = 0
            for part in parts {
                guard case .deadLetters(let some, let count, let gone) = part else { return nil }
                items.append(contentsOf: some)
                let (sum, isOver) = total.addingReportingOverflow(count)
                let (sumGone, isGoneOver) = retired.addingReportingOverflow(gone)
                guard !isOver, !isGoneOver else { return nil }
                total = sum
                retired = sumGone
            }
            let list = LetterList(limit: query.limit, of: items)
            return .deadLetters(list.items, total: total, retired: retired)
        }
    }

    /// For the mutant that takes the larger of two answers.
    var weight: UInt64 {
        switch self {
        case .series(let rows): rows.reduce(0) { $0 + $1.measure.count }
        case .scan(.totals(let rows)): rows.reduce(0) { $0 + $1.measure.count }
        case .scan(.types(let rows)), .scan(.keys(let rows)): UInt64(rows.count)
        case .deadLetters(_, let total, _): total
        }
    }
}

extension ScanRows {
    static func merge(_ parts: [ScanRows], spec: ScanSpec, top: TopSpec?) -> ScanRows? {
        var totals: [KeyTotal] = []
        var names: [[UInt8]] = []
        for part in parts {
            switch part {
            case .totals(let rows): totals.append(contentsOf: rows)
            case .types(let rows), .keys(let rows): names.append(contentsOf: rows)
            }
        }
        switch spec.output {
        case .totalsByKey:
            guard names.isEmpty else { return nil }
            if parts.count > 1 { totals = combined(totals) }
            guard let top else { return .totals(totals) }
            // Where one voter ranks, keys without values have no sum either.
            if top.order == .sum { totals.removeAll { $0.measure.values == nil } }
            return .totals(Array(totals.sorted { precedes($0, $1, top.order) }.prefix(top.k)))
        case .types, .statistics:
            guard totals.isEmpty else { return nil }
            return .types(Set(names).sorted { $0.lexicographicallyPrecedes($1) })
        case .keys(_, _, let limit):
            guard totals.isEmpty else { return nil }
            let sorted = Set(names).sorted { $0.lexicographicallyPrecedes($1) }
            return .keys(Array(sorted.prefix(limit)))
        }
    }

    /// Ascending, each key once.
    private static func combined(_ totals: [KeyTotal]) -> [KeyTotal] {
        var combined: [KeyTotal] = []
        combined.reserveCapacity(totals.count)
        for total in totals.sorted(by: { $0.key.lexicographicallyPrecedes($1.key) }) {
            if combined.last?.key == total.key {
                combined[combined.count - 1].measure.add(total.measure)
            } else {
                combined.append(total)
            }
        }
        return combined
    }

    /// Greater first; ties by key, so that every coordinator ranks alike.
    package static func precedes(
        _ left: KeyTotal, _ right: KeyTotal, _ order: TopSpec.Order
    ) -> Bool {
        switch order {
        case .count where left.measure.count != right.measure.count:
            return left.measure.count > right.measure.count
        case .sum where left.measure.values?.sum != right.measure.values?.sum:
            return (left.measure.values?.sum ?? 0) > (right.measure.values?.sum ?? 0)
        case .count, .sum:
            return left.key.lexicographicallyPrecedes(right.key)
        }
    }
}
