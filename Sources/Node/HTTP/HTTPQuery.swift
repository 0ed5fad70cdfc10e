package import Core

/// The parameters behind the `?`, decoded once, read by name. A parameter given twice, or one that
/// the resource does not know, is an error: a misspelt `form=` must not silently mean all time.
package struct HTTPQuery: Hashable, Sendable {
    private var values: [String: String]

    package init(_ text: String?) throws(Problem) {
        values = [:]
        for pair in (text ?? "").split(separator: "&") {
            let parts = pair.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
            guard let name = PercentText.text(parts[0]),
                let value = PercentText.text(parts.count > 1 ? parts[1] : "")
            else { throw .badRequest("the query \(pair) is not percent-encoded UTF-8") }
            guard values.updateValue(value, forKey: name) == nil else {
                throw .badRequest("the query gives \(name) twice; give it once")
            }
        }
    }

    package subscript(_ name: String) -> String? {
        values[name]
    }

    /// - Parameter outcome: what a batch came to whose request has another parameter.
    package func expect(only known: [String], outcome: Outcome? = nil) throws(Problem) {
        for name in values.keys.sorted() where !known.contains(name) {
            let list = known.isEmpty ? "takes none" : "takes \(known.joined(separator: ", "))"
            throw .badRequest(
                "the query has no parameter \(name); this resource \(list)", outcome: outcome)
        }
    }

    package func number(
        _ name: String, default standard: Int, in range: ClosedRange<Int>
    ) throws(Problem) -> Int {
        guard let text = values[name] else { return standard }
        guard let number = Int(text), range.contains(number) else {
            throw .badRequest(
                "\(name)=\(text) is not a number from \(range.lowerBound) to \(range.upperBound)")
        }
        return number
    }

    package func time(_ name: String, now: WallTime) throws(Problem) -> WallTime? {
        guard let text = values[name], !text.isEmpty else { return nil }
        guard let time = TimeText.parse(text, now: now) else {
            throw .badRequest(
                "\(name)=\(text) is no time; write RFC 3339 (2026-01-01T00:00:00Z), YYYY-MM-DD, "
                    + "epoch seconds or milliseconds, or relative (-15m, now)")
        }
        return time
    }

    /// Level ANY: counted at QUORUM, or else parked.
    package var isAny: Bool { values["consistency"]?.uppercased() == "ANY" }

    package func consistency(outcome: Outcome? = nil) throws(Problem) -> Consistency {
        guard let text = values["consistency"] else { return .quorum }
        guard let consistency = Consistency(name: text) else {
            let levels = Consistency.allCases.map(\.name).joined(separator: ", ")
            guard text.uppercased() == "ANY" else {
                throw .badRequest(
                    "consistency=\(text) is none of \(levels)", outcome: outcome)
            }
            throw .badRequest(
                "consistency=ANY is for writes alone; use one of \(levels)", outcome: outcome)
        }
        return consistency
    }
}

/// The windows that a query asks for: those whose start lies in `[from, to)`.
package struct WindowBounds: Hashable, Sendable {
    package var from: WallTime?
    package var to: WallTime?
    /// Window indexes, half open.
    package var first: Int64?
    package var end: Int64?

    package init(_ query: HTTPQuery, window: WindowLength, now: WallTime) throws(Problem) {
        from = try query.time("from", now: now)
        to = try query.time("to", now: now)
        if let from, let to, from > to {
            throw .badRequest(
                "from (\(TimeText.format(from))) lies after to (\(TimeText.format(to)))")
        }
        first = from.map { Self.ceiling($0, window) }
        end = to.map { Self.ceiling($0, window) }
    }

    /// The first window that starts at or after a time.
    private static func ceiling(_ time: WallTime, _ window: WindowLength) -> Int64 {
        let index = window.window(of: time)
        return window.start(of: index) == time ? index : index + 1
    }

    /// `from` and `to` as asked; null for no bound.
    package func write(to json: inout JSONWriter) {
        json.field("from", from.map(TimeText.format))
        json.field("to", to.map(TimeText.format))
    }
}

/// What the windows of an answer are: base windows, folded into coarser ones or into the total
/// alone.
package enum WindowStep: Hashable, Sendable {
    case windows(WindowLength, name: String)
    case all

    /// - Parameter text: As asked; nil for minutes, or the cluster's own windows where they are
    ///   longer.
    package init(_ text: String?, base: WindowLength) throws(Problem) {
        var names: [(String, Int64)] = [("1m", 60_000), ("1h", 3_600_000), ("1d", 86_400_000)]
        let baseName = Self.name(ofBase: base)
        if !names.contains(where: { $0.0 == baseName }) {
            names.insert((baseName, base.milliseconds), at: 0)
        }
        switch text {
        case nil where WindowLength.minute.milliseconds % base.milliseconds == 0:
            self = .windows(.minute, name: "1m")
        case nil:
            // No minute is made of such windows: the nearest that can be shown.
            self = .windows(base, name: baseName)
        case "all"?:
            self = .all
        case let text?:
            guard let (name, length) = names.first(where: { $0.0 == text }) else {
                let known = names.map(\.0).joined(separator: ", ")
                throw .badRequest("step=\(text) is none of \(known), all")
            }
            guard length >= base.milliseconds, length % base.milliseconds == 0 else {
                throw .badRequest(
                    "step=\(name) is no multiple of this cluster's windows of \(baseName)")
            }
            self = .windows(WindowLength(milliseconds: length), name: name)
        }
    }

    /// As cluster.conf writes it: `10s`, `5m`, `1h`.
    private static func name(ofBase base: WindowLength) -> String {
        for (unit, length) in [("h", Int64(3_600_000)), ("m", 60_000), ("s", 1000)]
        where base.milliseconds % length == 0 {
            return "\(base.milliseconds / length)\(unit)"
        }
        return "\(base.milliseconds)ms"
    }

    /// Of a length that retention keeps.
    static func name(of length: WindowLength) -> String {
        length.milliseconds == 3_600_000 ? "1h" : "1d"
    }

    package var name: String {
        switch self {
        case .windows(_, let name): name
        case .all: "all"
        }
    }
}
