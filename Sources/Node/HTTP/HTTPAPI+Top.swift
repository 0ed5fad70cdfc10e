package import Core
package import Replication
internal import Storage

/// `GET /v1/top/{type}`
extension HTTPAPI {
    func top(_ call: HTTPCall, type: String) async throws(Problem) -> HTTPReply {
        try allow(call, ["GET", "HEAD"])
        try call.query.expect(only: ["from", "to", "k", "by", "measure", "consistency"])
        let bounds = try WindowBounds(call.query, window: settings.window, now: clock().wall)
        let k = try call.query.number(
            "k", default: HTTPLimits.topDefault, in: 1...HTTPLimits.topMax)
        let by = call.query["by"] ?? "key"
        let order = try order(call.query["measure"])
        let spec = ScanSpec(
            partitions: PartitionSet(), type: try self.type(type), from: bounds.first,
            to: bounds.end, output: .totalsByKey)
        // By an attribute any key may matter, so all totals come here and are joined by this node's
        // catalog: one table, one answer.
        let spot = by == "key" ? TopSpec(k: k, order: order) : nil
        let answer = try await read(.scan(spec, top: spot), try call.query.consistency())
        try allow(bounds, above: answer.floor)
        guard case .scan(.totals(let totals)) = answer.result else { throw .unexpectedAnswer }
        var known: KnownAttributes?
        var groups: [TopGroup] = []
        var isStale = false
        if by == "key" {
            known = await attributes.attributes(of: totals.map(\.key))
        } else {
            let values = await attributes.values(of: Array(by.utf8), for: totals.map(\.key))
            guard let values else { throw .noCatalog }
            groups = TopGroup.group(totals, by: values.values, k: k, order: order)
            isStale = values.isStale
        }
        return .json { json in
            json.field("type", type)
            json.field("by", by)
            json.field("measure", order == .count ? "count" : "sum")
            bounds.write(to: &json)
            json.field("consistency", answer.consistency.name)
            json.retained(answer.floor, in: bounds, settings.window)
            json.field(
                "rows",
                array: { json in
                    if by == "key" {
                        HTTPAPI.write(totals, known, to: &json)
                    } else {
                        for (rank, group) in groups.enumerated() {
                            json.object { group.write(rank: rank + 1, by: by, to: &$0) }
                        }
                    }
                })
            json.field("exact", true)
            // The counts are; which key belongs to which group may be old.
            if isStale { json.field("attributes_stale", true) }
            json.field("replicas", strings: answer.replicas.map(\.name))
        }
    }

    private func order(_ text: String?) throws(Problem) -> TopSpec.Order {
        switch text {
        case nil, "count"?: return .count
        case "sum"?: return .sum
        case let text?: throw .badRequest("measure=\(text) is neither count nor sum")
        }
    }

    private static func write(
        _ totals: [ScanRows.KeyTotal], _ known: KnownAttributes?, to json: inout JSONWriter
    ) {
        for (rank, total) in totals.enumerated() {
            json.object { json in
                json.field("rank", rank + 1)
                json.key("key")
                json.string(total.key)
                json.measure(total.measure)
                json.attributes(known, of: total.key)
            }
        }
    }
}

/// What the keys with one value of an attribute come to together.
package struct TopGroup: Hashable, Sendable {
    /// nil: keys without the attribute.
    package var value: [UInt8]?
    package var measure: Measure
    package var keys: Int

    /// - Parameter values: of the attribute, in the order of `totals`.
    package static func group(
        _ totals: [ScanRows.KeyTotal], by values: [[UInt8]?], k: Int, order: TopSpec.Order
    ) -> [TopGroup] {
        precondition(values.count == totals.count, "each total has a value or none")
        var groups: [[UInt8]?: TopGroup] = [:]
        for (total, value) in zip(totals, values) {
            groups[value, default: TopGroup(value: value, measure: .zero, keys: 0)].add(total)
        }
        let sorted = groups.values.sorted { left, right in
            let (first, second) = (left.rank(order), right.rank(order))
            if first != second { return first > second }
            return (left.value ?? []).lexicographicallyPrecedes(right.value ?? [])
        }
        return Array(sorted.prefix(k))
    }

    private mutating func add(_ total: ScanRows.KeyTotal) {
        measure.add(total.measure)
        keys += 1
    }

    private func rank(_ order: TopSpec.Order) -> Int128 {
        switch order {
        case .count: Int128(measure.count)
        case .sum: measure.values?.sum ?? .min
        }
    }

    /// - Parameter attribute: by which the group was made, the only one that all its keys share.
    func write(rank: Int, by attribute: String, to json: inout JSONWriter) {
        json.field("rank", rank)
        json.key("key")
        if let value { json.string(value) } else { json.null() }
        json.measure(measure)
        json.field("keys", keys)
        json.field(
            "attributes",
            object: { json in
                guard let value else { return }
                json.key(attribute)
                json.string(value)
            })
    }
}
