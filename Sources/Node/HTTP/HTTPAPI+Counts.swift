package import Core
internal import Replication
internal import Ring
package import Storage

/// `GET /v1/counts/{type}/{key}`
extension HTTPAPI {
    func counts(_ call: HTTPCall, type: String, key: String) async throws(Problem) -> HTTPReply {
        try allow(call, ["GET", "HEAD"])
        try call.query.expect(only: ["from", "to", "step", "consistency"])
        let now = clock()
        let bounds = try WindowBounds(call.query, window: settings.window, now: now.wall)
        let step = try WindowStep(call.query["step"], base: settings.window)
        let consistency = try call.query.consistency()
        let keyBytes = try self.key(key)
        let partition = partitioning.partition(of: Murmur3.token(of: keyBytes))
        let query = SeriesQuery(
            partition: partition, key: keyBytes, type: try self.type(type), from: bounds.first,
            to: bounds.end)
        let answer = try await read(.series(query), consistency)
        guard case .series(let rows) = answer.result else { throw .unexpectedAnswer }
        let counts = CountsAnswer(
            type: type, key: key, rows: rows, bounds: bounds, step: step, base: settings.window,
            now: now.wall, finalBefore: finalBefore(answer.frontier), replicas: answer.replicas,
            consistency: answer.consistency)
        guard counts.windows.count <= HTTPLimits.windowsMax else {
            throw .badRequest(
                "the answer has \(counts.windows.count) windows, the limit is "
                    + "\(HTTPLimits.windowsMax); ask for a coarser step or a shorter range")
        }
        if call.header("Accept").map({ $0.lowercased().hasPrefix("text/csv") }) == true {
            return counts.csv
        }
        let known = await attributes.attributes(of: [keyBytes])
        return counts.json(attributes: known.map { $0[keyBytes] })
    }
}

extension HTTPAPI {
    /// Windows that end by then get no more events: every batch that could bring one is decided.
    private func finalBefore(_ frontier: WallTime?) -> WallTime? {
        // Beyond this nothing has become final since the epoch.
        let latenessMax: Duration = .seconds(100 * 366 * 86_400)
        guard let frontier, let lateness = settings.lateness, lateness < latenessMax else {
            return nil
        }
        return frontier - lateness
    }
}

/// The windows of one key, folded to the asked step.
package struct CountsAnswer: Sendable {
    package struct Window: Hashable, Sendable {
        package var start: WallTime
        package var measure: Measure
        package var state: State
    }

    package enum State: String, Sendable {
        /// Now lies in it.
        case open
        /// Events for it may still come.
        case closing
        /// Its count will not change any more.
        case final
    }

    package let type: String
    package let key: String
    package let bounds: WindowBounds
    package let step: WindowStep
    package let replicas: [NodeID]
    package let consistency: Consistency
    package private(set) var total = Measure.zero
    package private(set) var windows: [Window] = []

    /// Adds up what lies in one window, over all types that were asked for. The rows are those of
    /// the base windows in the range, whatever the step: the total is the same for each.
    package init(
        type: String, key: String, rows: [SeriesRow], bounds: WindowBounds, step: WindowStep,
        base: WindowLength, now: WallTime, finalBefore: WallTime?, replicas: [NodeID],
        consistency: Consistency
    ) {
        self.type = type
        self.key = key
        self.bounds = bounds
        self.step = step
        self.replicas = replicas
        self.consistency = consistency
        for row in rows { total.add(row.measure) }
        guard case .windows(let length, _) = step else { return }
        var cells: [Int64: Measure] = [:]
        for row in rows {
            let index = length.window(of: base.start(of: row.window))
            cells[index, default: .zero].add(row.measure)
        }
        let current = length.window(of: now)
        windows = cells.sorted { $0.key < $1.key }.map { index, measure in
            let isFinal = finalBefore.map { length.start(of: index + 1) <= $0 } ?? false
            return Window(
                start: length.start(of: index), measure: measure,
                state: isFinal ? .final : index == current ? .open : .closing)
        }
    }

    /// `attributes`: nil where the catalog did not answer, `.some(nil)` where it knows none.
    package func json(attributes: [UInt8]??) -> HTTPReply {
        .json { json in
            json.field("type", type)
            json.field("key", key)
            json.attributes(attributes)
            bounds.write(to: &json)
            json.field("step", step.name)
            json.field("consistency", consistency.name)
            json.field("total", object: { $0.measure(total) })
            json.field(
                "windows",
                array: { json in
                    for window in windows {
                        json.object { json in
                            json.field("start", TimeText.format(window.start))
                            json.measure(window.measure)
                            json.field("state", window.state.rawValue)
                        }
                    }
                })
            json.field("replicas", strings: replicas.map(\.name))
        }
    }

    package var csv: HTTPReply {
        var text = "start,count,sum,min,max,avg,state\r\n"
        for window in windows {
            var fields = [TimeText.format(window.start), "\(window.measure.count)"]
            if let values = window.measure.values {
                fields += [
                    DecimalValue.text(millionths: values.sum),
                    DecimalValue.text(millionths: Int128(values.min)),
                    DecimalValue.text(millionths: Int128(values.max)),
                    DecimalValue.text(
                        millionths: DecimalValue.average(sum: values.sum, count: values.count)),
                ]
            } else {
                fields += ["", "", "", ""]
            }
            fields.append(window.state.rawValue)
            text += fields.joined(separator: ",") + "\r\n"
        }
        return .text(text, type: "text/csv; charset=utf-8; header=present")
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

    /// The attributes of a key, as the JSON object that the catalog keeps.
    mutating func attributes(_ known: [UInt8]??) {
        key("attributes")
        if let json = known ?? nil {
            raw(String(decoding: json, as: UTF8.self))
        } else {
            raw("{}")
        }
        if known == nil { field("attributes_unavailable", true) }
    }
}
