import Core

/// One value as it was written, with its name and its place, to be read as what it should be.
struct Setting {
    let key: String
    let text: String
    let place: SettingPlace

    func bad(_ problem: String, remedy: String) -> ConfigurationError {
        .badValue(key: key, at: place, problem: problem, remedy: remedy)
    }

    func string(max: Int) throws(ConfigurationError) -> String {
        guard !text.isEmpty else {
            throw bad("has no value", remedy: "write one, or remove the key")
        }
        guard text.utf8.count <= max, text.allSatisfy({ !$0.isNewline }) else {
            throw bad("is too long", remedy: "use at most \(max) bytes on one line")
        }
        return text
    }

    /// A name that serves as a folder, a column and part of an address.
    func name() throws(ConfigurationError) -> String {
        try Setting.checkName(text, key: key, at: place)
        return text
    }

    static func checkName(
        _ text: String, key: String, at place: SettingPlace
    ) throws(ConfigurationError) {
        let isPlain = text.allSatisfy {
            $0.isASCII && ($0.isLetter || $0.isNumber || $0 == "-" || $0 == "_" || $0 == ".")
        }
        let first = text.first.map { $0.isLetter || $0.isNumber } ?? false
        guard isPlain, first, text.utf8.count <= ConfigurationLimits.nameMax else {
            throw .badValue(
                key: key, at: place, problem: "\"\(text)\" is no name",
                remedy: "use up to \(ConfigurationLimits.nameMax) letters, digits, -, _ and ., "
                    + "the first a letter or digit")
        }
    }

    func integer(in range: ClosedRange<Int>) throws(ConfigurationError) -> Int {
        guard let number = Int(text) else {
            throw bad("\"\(text)\" is no whole number", remedy: "write one in \(shown(range))")
        }
        guard range.contains(number) else {
            throw bad("\(number) is out of bounds", remedy: "choose one in \(shown(range))")
        }
        return number
    }

    func duration(in range: ClosedRange<Duration>) throws(ConfigurationError) -> Duration {
        guard let duration = QuantityText.duration(text) else {
            throw bad(
                "\"\(text)\" is no duration",
                remedy: "write a whole number with its unit, as 200ms, 5s, 1m, 1h or 1d")
        }
        guard range.contains(duration) else {
            let low = QuantityText.format(range.lowerBound)
            let high = QuantityText.format(range.upperBound)
            throw bad("\(text) is out of bounds", remedy: "choose from \(low) to \(high)")
        }
        return duration
    }

    /// Nil for one of the words that mean no limit.
    func durationUnless(
        _ words: [String], in range: ClosedRange<Duration>
    ) throws(ConfigurationError) -> Duration? {
        words.contains(text) ? nil : try duration(in: range)
    }

    /// A point in time: none that is relative to the moment at which the file is read.
    func time() throws(ConfigurationError) -> WallTime {
        guard text.first.map({ $0.isASCII && $0.isNumber }) ?? false,
            let time = TimeText.parse(text, now: WallTime(milliseconds: 0))
        else {
            throw bad(
                "\"\(text)\" is no time", remedy: "write one in UTC, as 2030-01-01T00:00:00Z")
        }
        return time
    }

    func bytes(in range: ClosedRange<Int>) throws(ConfigurationError) -> Int {
        guard let bytes = QuantityText.bytes(text) else {
            throw bad(
                "\"\(text)\" is no size", remedy: "write a whole number of B, KiB, MiB or GiB")
        }
        guard range.contains(bytes) else {
            let low = QuantityText.format(bytes: range.lowerBound)
            let high = QuantityText.format(bytes: range.upperBound)
            throw bad("\(text) is out of bounds", remedy: "choose from \(low) to \(high)")
        }
        return bytes
    }

    func choice(_ words: [String]) throws(ConfigurationError) -> String {
        if words.contains(text) { return text }
        let nearest = NameDistance.nearest(to: text, among: words)
        throw bad(
            "\"\(text)\" is not one of \(words.joined(separator: ", "))",
            remedy: nearest.map { "did you mean \($0)?" } ?? "choose one of them")
    }

    func endpoint() throws(ConfigurationError) -> Endpoint {
        guard let endpoint = Endpoint(text) else {
            throw bad(
                "\"\(text)\" is no address",
                remedy: "write host:port with a port from 1 to 65535, as 127.0.0.1:7181")
        }
        return endpoint
    }

    private func shown(_ range: ClosedRange<Int>) -> String {
        "\(range.lowerBound)…\(range.upperBound)"
    }
}
