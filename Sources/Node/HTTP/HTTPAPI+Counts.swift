package import Core
internal import Ingest
internal import Replication
package import Storage

/// `GET /v1/counts/{type}/{key}`, and with `by` `GET /v1/counts/{type}/{value of an attribute}`
extension HTTPAPI {
    func counts(_ call: HTTPCall, type: String, key: String) async throws(Problem) -> HTTPReply {
        try allow(call, ["GET", "HEAD"])
        try call.query.expect(only: ["from", "to", "step", "consistency", "by"])
        let now = clock().wall
        let bounds = try WindowBounds(call.query, window: settings.window, now: now)
        let step = try WindowStep(call.query["step"], base: settings.window)
        let consistency = try call.query.consistency()
        let wanted = try self.type(type)
        var group: GroupName?
        var keys: [[UInt8]]
        var held = 0
        defer { bodies.give(back: held) }
        if let by = call.query["by"], by != "key" {
            let found = try await self.keys(with: key, of: by, step: step, &held)
            keys = found.keys
            group = GroupName(by: by, keys: keys.count, isStale: found.isStale)
        } else {
            keys = [try self.key(key)]
        }
        let read = try await read(keys, wanted, bounds, step: step, consistency)
        try allow(bounds, above: read.floor)
        let counts = CountsAnswer(
            type: type, key: key, rows: read.rows, bounds: bounds, step: step,
            base: settings.window, floor: read.floor, now: now,
            finalBefore: finalBefore(read.frontier), replicas: read.replicas.sorted(),
            consistency: consistency, group: group)
        guard counts.windows.count <= HTTPLimits.windowsMax else {
            throw .badRequest(
                "the answer has \(counts.windows.count) windows, the limit is "
                    + "\(HTTPLimits.windowsMax); ask for a coarser step or a shorter range")
        }
        if call.header("Accept").map({ $0.lowercased().hasPrefix("text/csv") }) == true {
            return counts.csv
        }
        // A group has no attributes of its own.
        if let group { return counts.json(KnownAttributes([:], isStale: group.isStale), of: []) }
        return counts.json(await attributes.attributes(of: keys), of: keys[0])
    }
}

extension HTTPAPI {
    /// Windows that end by then get no more events but those of letters that are replayed and of
    /// batches that were parked for long: every other batch that could bring one is decided.
    private func finalBefore(_ frontier: WallTime?) -> WallTime? {
        frontier.flatMap { settings.rules.earliestEvent(after: $0) }
    }

    /// A range of which nothing is kept has no count, not even nought; nor has one that lies within
    /// an hour or day of which no parts are kept.
    func allow(_ bounds: WindowBounds, above floor: RetentionFloor) throws(Problem) {
        guard floor != .none, let end = bounds.end else { return }
        if end <= floor.expired {
            let start = TimeText.format(settings.window.start(of: floor.expired))
            throw Problem(
                410, "expired", "The range has expired",
                "windows before \(start) are no longer kept; ask for later ones")
        }
        let range = WindowRange(from: bounds.first, to: bounds.end)
        let read = floor.windows(shownIn: range, TimeBuckets(window: settings.window))
        guard let first = bounds.first, first < end, let from = read.from, let to = read.to,
            from >= to
        else { return }
        let length = floor.granularity(of: first) == .day ? "day" : "hour"
        throw Problem(
            410, "expired", "Windows as short as the range are no longer kept",
            "what is asked for lies within one \(length), and only whole \(length)s are kept of "
                + "then; ask for the whole \(length)")
    }
}

extension JSONWriter {
    /// Says where part of the range is kept in longer windows, or no longer.
    mutating func retained(
        _ floor: RetentionFloor, in bounds: WindowBounds, _ window: WindowLength
    ) {
        let isTouched = { (edge: Int64) in
            edge > .min && bounds.first.map { $0 < edge } ?? true
        }
        let edges = [("1d", floor.days), ("1h", floor.hours)].filter { isTouched($0.1) }
        if !edges.isEmpty {
            field(
                "rolled_up",
                array: { json in
                    for (step, edge) in edges {
                        json.object { json in
                            json.field("before", TimeText.format(window.start(of: edge)))
                            json.field("step", step)
                        }
                    }
                })
        }
        guard isTouched(floor.expired) else { return }
        field(
            "expired",
            object: { $0.field("before", TimeText.format(window.start(of: floor.expired))) })
    }
}

/// The windows of one key, folded to the asked step.
package struct CountsAnswer: Sendable {
    package struct Window: Hashable, Sendable {
        package var start: WallTime
        package var measure: Measure
        package var state: State
        /// Its length, where it is longer than was asked for: no shorter ones are kept.
        package var step: String?
    }

    package enum State: String, Sendable {
        /// Now lies in it.
        case open
        /// Events for it may still come.
        case closing
        /// No batch that is sent can change its count any more.
        case final
    }

    package let type: String
    package let key: String
    package let bounds: WindowBounds
    package let step: WindowStep
    package let replicas: [NodeID]
    package let consistency: Consistency
    private let base: WindowLength
    private let floor: RetentionFloor
    private let group: GroupName?
    package private(set) var total = Measure.zero
    package private(set) var windows: [Window] = []

    /// Adds up what lies in one window, over all types that were asked for. The rows are those of
    /// the base windows in the range, whatever the step: the total is the same for each.
    package init(
        type: String, key: String, rows: [SeriesRow], bounds: WindowBounds, step: WindowStep,
        base: WindowLength, floor: RetentionFloor = .none, now: WallTime, finalBefore: WallTime?,
        replicas: [NodeID], consistency: Consistency, group: GroupName? = nil
    ) {
        self.base = base
        self.group = group
        self.floor = floor
        self.type = type
        self.key = key
        self.bounds = bounds
        self.step = step
        self.replicas = replicas
        self.consistency = consistency
        for row in rows { total.add(row.measure) }
        guard case .windows(let asked, _) = step else { return }
        // By start; no two lengths share one, since floors lie between days.
        var cells: [WallTime: (length: WindowLength, measure: Measure)] = [:]
        for row in rows {
            let time = base.start(of: row.window)
            let length = Self.length(of: row.window, asked, base, floor)
            let start = length.start(of: length.window(of: time))
            cells[start, default: (length, .zero)].measure.add(row.measure)
        }
        windows = cells.sorted { $0.key < $1.key }.map { start, cell in
            let end = start + .milliseconds(cell.length.milliseconds)
            let isFinal = finalBefore.map { end <= $0 } ?? false
            return Window(
                start: start, measure: cell.measure,
                state: isFinal ? .final : start <= now && now < end ? .open : .closing,
                step: cell.length == asked ? nil : WindowStep.name(of: cell.length))
        }
    }

    /// As asked, or as long as what is kept.
    private static func length(
        of window: Int64, _ asked: WindowLength, _ base: WindowLength, _ floor: RetentionFloor
    ) -> WindowLength {
        let kept: Int64 =
            switch floor.granularity(of: window) {
            case .base: base.milliseconds
            case .hour: 3_600_000
            case .day: 86_400_000
            }
        return WindowLength(milliseconds: max(kept, asked.milliseconds))
    }

    /// - Parameters:
    ///   - known: as the catalog or its copy told; nil where neither did.
    ///   - bytes: of the key.
    package func json(_ known: KnownAttributes?, of bytes: [UInt8]) -> HTTPReply {
        .json { json in
            json.field("type", type)
            json.field("key", key)
            if let group {
                json.field("by", group.by)
                json.field("keys", group.keys)
            }
            json.attributes(known, of: bytes)
            bounds.write(to: &json)
            json.field("step", step.name)
            json.field("consistency", consistency.name)
            json.retained(floor, in: bounds, base)
            json.field("total", object: { $0.measure(total) })
            json.field(
                "windows",
                array: { json in
                    for window in windows {
                        json.object { json in
                            json.field("start", TimeText.format(window.start))
                            json.measure(window.measure)
                            json.field("state", window.state.rawValue)
                            if let step = window.step { json.field("step", step) }
                        }
                    }
                })
            json.field("replicas", strings: replicas.map(\.name))
        }
    }

    /// With a column for the length of each window where some are longer than was asked for. Where
    /// the total alone was asked for it is the only row: it starts where the range does, and has
    /// no state.
    package var csv: HTTPReply {
        let hasSteps = windows.contains { $0.step != nil }
        var text = "start,count,sum,min,max,avg,state" + (hasSteps ? ",step" : "") + "\r\n"
        if step == .all {
            let start = bounds.from.map(TimeText.format) ?? ""
            let row = [start] + Self.fields(total) + [""]
            text += row.joined(separator: ",") + "\r\n"
        }
        for window in windows {
            var fields = [TimeText.format(window.start)] + Self.fields(window.measure)
            fields.append(window.state.rawValue)
            if hasSteps { fields.append(window.step ?? step.name) }
            text += fields.joined(separator: ",") + "\r\n"
        }
        return .text(text, type: "text/csv; charset=utf-8; header=present")
    }

    /// The count, and sum, least, greatest and average of values, empty where there are none.
    private static func fields(_ measure: Measure) -> [String] {
        guard let values = measure.values else { return ["\(measure.count)", "", "", "", ""] }
        let average = DecimalValue.average(sum: values.sum, count: values.count)
        return ["\(measure.count)"]
            + [values.sum, Int128(values.min), Int128(values.max), average].map {
                DecimalValue.text(millionths: $0)
            }
    }
}

extension JSONWriter {
    /// `count`, and where events carried values `sum`, `min`, `max`, `avg` as decimal strings.
    mutating func measure(_ measure: Measure) {
        field("count", measure.count)
        guard let values = measure.values else { return }
        field("sum", DecimalValue.text(millionths: values.sum))
        field("min", DecimalValue.text(millionths: Int128(values.min)))
        field("max", DecimalValue.text(millionths: Int128(values.max)))
        field(
            "avg",
            DecimalValue.text(
                millionths: DecimalValue.average(sum: values.sum, count: values.count)))
    }

    /// The attributes of a key, as the JSON object that the catalog keeps: `{}` where it has none,
    /// null where that is not known. A second field says so, or that they may be old.
    mutating func attributes(_ known: KnownAttributes?, of bytes: [UInt8]) {
        key("attributes")
        if let json = known?.rows[bytes] {
            raw(String(decoding: json, as: UTF8.self))
        } else {
            raw(known?.isStale == false ? "{}" : "null")
        }
        if known == nil {
            field("attributes_unavailable", true)
        } else if known?.isStale == true {
            field("attributes_stale", true)
        }
    }
}
