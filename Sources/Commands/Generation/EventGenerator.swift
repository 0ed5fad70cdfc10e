package import Client
import Core

/// Makes events: the same settings and seed give the same bytes.
///
/// An event is `{"type":"view","key":"k0000012345","time":"2026-01-01T00:12:34Z"}`. Times rise
/// evenly through the range, keys are drawn by Zipf's law, types alike. A share of the lines is
/// broken, in turn by a cut line, a time that is none, a missing key and a missing time, so that
/// all of them must become dead letters. In binary batches, which hold no broken lines, the same
/// events have in turn a key that is no UTF-8, a time beyond the year 9999, no key, and a time
/// before the year 1.
package struct EventGenerator: Sendable {
    package struct Settings: Sendable {
        package var events: Int
        package var keys = 10_000
        package var skew = 1.0
        package var types = ["view"]
        package var from = Timestamp(milliseconds: 1_767_225_600_000)
        package var to = Timestamp(milliseconds: 1_767_229_200_000)
        package var seed: UInt64 = 1
        /// Broken lines in a billion.
        package var badPerBillion = 0

        package init(events: Int) {
            self.events = events
        }
    }

    private enum Fault: Int, CaseIterable {
        case cut
        case time
        case key
        case noTime
    }

    private static let keyDigits = 10
    private static let timeLength = 20
    private static let zero = UInt8(ascii: "0")

    private let settings: Settings
    private let zipf: ZipfTable
    /// A whole line for each type, its key k0000000000 and its time the current one: an event is a
    /// copy with the digits of its key put in.
    private var lines: [[UInt8]]
    /// Of the lines: where the key's last digit and the time begin, counted from the end.
    private let keyFromEnd: Int
    private let timeFromEnd: Int
    private var random: RandomSource
    private var event = 0
    private var faults = 0
    /// Milliseconds from the range's start to the event's time, and the remainder of `events`.
    private var offset: Int64 = 0
    private var remainder: Int64 = 0
    /// The second that the lines show.
    private var second = Int64.min

    package init(_ settings: Settings) {
        precondition(!settings.types.isEmpty, "an event has a type")
        precondition(settings.from < settings.to, "a range has a length")
        self.settings = settings
        zipf = ZipfTable(count: settings.keys, skew: settings.skew)
        let time = String(repeating: " ", count: EventGenerator.timeLength)
        let tail = "\"}\n"
        let between = "\",\"time\":\""
        lines = settings.types.map { type in
            let head = "{\"type\":\(JSONValue.string(type)),\"key\":\"k"
            let key = String(repeating: "0", count: EventGenerator.keyDigits)
            return Array((head + key + between + time + tail).utf8)
        }
        timeFromEnd = tail.utf8.count + EventGenerator.timeLength
        keyFromEnd = timeFromEnd + between.utf8.count + 1
        random = RandomSource(seed: settings.seed)
    }

    /// Appends lines until all are made or `bytes` holds at least `limit`; false at the end.
    package mutating func fill(_ bytes: inout [UInt8], upTo limit: Int) -> Bool {
        while event < settings.events {
            if bytes.count >= limit { return true }
            appendEvent(&bytes)
            event += 1
        }
        return false
    }

    /// The next `count` events as a binary batch; fewer at the end, nil behind it.
    package mutating func nextBatch(of count: Int) -> BinaryBatch? {
        let end = min(event + count, settings.events)
        guard event < end else { return nil }
        var writer = BinaryBatchWriter()
        let types = settings.types.map { Array($0.utf8) }
        var key = Array("k0000000000".utf8)
        while event < end {
            let drawn = draw()
            EventGenerator.write(drawn.key, endingAt: key.count - 1, of: &key)
            var (name, time) = (key, second * 1000)
            switch drawn.fault {
            case nil: break
            case .cut: name[0] = 0xff
            case .time: time = Int64.max
            case .key: name = []
            case .noTime: time = Int64.min
            }
            writer.append(
                type: types[drawn.type], key: name, time: Timestamp(milliseconds: time))
            event += 1
        }
        return writer.finish()
    }

    private struct Drawn {
        var type: Int
        var key: Int
        var fault: Fault?
    }

    private mutating func draw() -> Drawn {
        let type = lines.count == 1 ? 0 : random.below(lines.count)
        let key = zipf.draw(&random)
        let fault = drawFault()
        moveTime()
        return Drawn(type: type, key: key, fault: fault)
    }

    private mutating func appendEvent(_ bytes: inout [UInt8]) {
        let drawn = draw()
        let start = bytes.count
        bytes.append(contentsOf: lines[drawn.type])
        EventGenerator.write(drawn.key, endingAt: bytes.count - keyFromEnd, of: &bytes)
        if let fault = drawn.fault { spoil(&bytes, from: start, by: fault) }
    }

    /// Writes the digits of a key over the zeros, and what else there was, before it.
    private static func write(_ key: Int, endingAt end: Int, of bytes: inout [UInt8]) {
        var rest = key
        for position in stride(from: end, to: end - keyDigits, by: -1) {
            bytes[position] = zero + UInt8(rest % 10)
            rest /= 10
        }
    }

    /// Breaks the line that begins at `start`.
    private func spoil(_ bytes: inout [UInt8], from start: Int, by fault: Fault) {
        let time = bytes.count - timeFromEnd
        let timeName = "\",\"time\":\"".utf8.count
        switch fault {
        case .cut:
            bytes.removeSubrange((time - timeName + 1)..<(bytes.count - 1))
        case .time:
            bytes.replaceSubrange(
                time..<(time + EventGenerator.timeLength), with: Array("yesterday".utf8))
        case .key:
            let key = bytes.count - keyFromEnd - EventGenerator.keyDigits
            let keyName = "\"key\":\"".utf8.count
            bytes.removeSubrange((key - keyName)..<(time - timeName + 2))
        case .noTime:
            bytes.removeSubrange((time - timeName + 1)..<(bytes.count - 2))
        }
    }

    private mutating func drawFault() -> Fault? {
        guard settings.badPerBillion > 0 else { return nil }
        guard random.chance(settings.badPerBillion, in: 1_000_000_000) else { return nil }
        defer { faults += 1 }
        return Fault(rawValue: faults % Fault.allCases.count)
    }

    /// Event n's time lies n / events into the range; added up without rounding.
    private mutating func moveTime() {
        let now = floorDivide(settings.from.milliseconds + offset, 1000)
        if now != second {
            second = now
            let text = Array(Timestamp(milliseconds: now * 1000).description.utf8)
            for type in lines.indices {
                let start = lines[type].count - timeFromEnd
                lines[type].replaceSubrange(start..<(start + text.count), with: text)
            }
        }
        let range = settings.to.milliseconds - settings.from.milliseconds
        let (step, rest) = range.quotientAndRemainder(dividingBy: Int64(settings.events))
        offset += step
        remainder += rest
        if remainder >= Int64(settings.events) {
            offset += 1
            remainder -= Int64(settings.events)
        }
    }
}
