internal import Core
internal import Ingest
internal import Wire

/// Finds where a long body may be cut so that its events come to the same counts and dead letters
/// as in one piece: behind a line, behind a row, behind an element of the array, each as folding
/// reads them. What names the columns, or opens the array, is repeated at the head of each part.
/// Binary batches are cut between each other, and a single event not at all.
///
/// A byte order mark says nothing at the head of a body and is part of its line elsewhere. Each
/// part is read as a body: where a later one begins with a mark it gets another, which is skipped
/// in its place.
///
/// Of a line that does not end, as much is kept as proves that it is too long. A quotation mark
/// that is still open after a whole part ends with its line, as one does that is never closed.
struct EventCutter {
    enum Cut {
        case part([UInt8])
        /// No event ends yet; what is kept of it stays bounded.
        case more
        /// Nothing can be cut off, now or later.
        case never
    }

    private let format: EventFormat
    /// Within a line that is too long: its bytes are dropped.
    private var isSkipping = false
    /// A part was cut off before.
    private var isLater = false
    /// The buffer begins with a mark that was put there.
    private var isMarked = false

    init(format: EventFormat) {
        self.format = format
    }

    /// Takes the longest part of at most `max` bytes off the front of `buffer`, or of a line where
    /// that is more.
    mutating func cut(_ buffer: inout [UInt8], max: Int) -> Cut {
        keepMark(&buffer)
        let end = min(buffer.count, Swift.max(max, partMin))
        switch format {
        case .ndjson, .commonLog:
            guard let feed = buffer[..<end].lastIndex(of: newline) else {
                return shorten(&buffer, behind: 0, max: max)
            }
            return .part(split(&buffer, at: feed + 1))
        case .tsv, .csv:
            return cutTable(&buffer, end, max: max)
        case .jsonArray, .cloudEventBatch:
            switch buffer[..<end].withUnsafeBytes({ EventFraming.elements($0) }) {
            case .notAnArray: return .part(split(&buffer, at: end))
            case .whole(let spaces):
                if buffer.count < keptMax { return .more }
                guard drop(spaces, from: &buffer) else { return .never }
                return cut(&buffer, max: max)
            case .comma(let comma):
                var part = split(&buffer, at: comma)
                part.append(UInt8(ascii: "]"))
                buffer[0] = UInt8(ascii: "[")
                return .part(part)
            }
        case .cloudEvent:
            // It is one event.
            return .never
        case .binary:
            let whole = batchesEnd(buffer, max: min(buffer.count, max))
            return whole > 0 ? .part(split(&buffer, at: whole)) : .never
        }
    }

    /// Makes a mark at the head of a later part one that is read: to be called with all of the last
    /// part in `buffer`.
    mutating func keepMark(_ buffer: inout [UInt8]) {
        guard isLater, !isMarked, buffer.starts(with: mark) else { return }
        buffer.insert(contentsOf: mark, at: 0)
        isMarked = true
    }

    /// Drops what came from `place` on of a line that is too long.
    mutating func skip(_ buffer: inout [UInt8], from place: Int) {
        guard isSkipping else { return }
        let feed = buffer[place...].firstIndex(of: newline)
        let stop = feed ?? buffer.count
        let text = buffer[place..<stop].firstIndex { $0 != 0x20 && $0 != 0x09 && $0 != 0x0d }
        // Whatever was kept, a line with this byte is none of white space.
        if let text { buffer[place - 1] = buffer[text] }
        if feed != nil, format == .csv {
            // This closes a quotation that is open, and is a stray mark where none is: either way
            // the row ends with its line, too long.
            buffer[place - 2] = UInt8(ascii: "x")
            buffer[place - 1] = UInt8(ascii: "\"")
        }
        buffer.removeSubrange(place..<stop)
        isSkipping = feed == nil
    }

    private let newline = UInt8(ascii: "\n")
    private let mark: [UInt8] = [0xef, 0xbb, 0xbf]
    /// Of a line that is too long: one byte more than is allowed, and a byte order mark.
    private let keptMax = Limits.lineMax + 4
    /// In a part of so many bytes such a line has room below a header, however small parts are.
    private let partMin = 2 * (Limits.lineMax + 4) + 1

    /// Takes white space out of an array; false where there was none. Of each stretch a byte stays,
    /// so that a byte order mark behind it does not come to stand at the head.
    private func drop(_ spaces: [Range<Int>], from buffer: inout [UInt8]) -> Bool {
        let count = buffer.count
        // From the end, so that the places before stay right.
        for space in spaces.reversed() { buffer.removeSubrange(space.dropFirst()) }
        return buffer.count < count
    }

    /// No line ends behind `start`, within what a part may hold.
    private mutating func shorten(_ buffer: inout [UInt8], behind start: Int, max: Int) -> Cut {
        let kept = start + keptMax
        guard buffer.count > kept else { return .more }
        isSkipping = true
        skip(&buffer, from: kept)
        return isSkipping ? .more : cut(&buffer, max: max)
    }

    private mutating func cutTable(_ buffer: inout [UInt8], _ end: Int, max: Int) -> Cut {
        switch table(buffer[..<end]) {
        case .empty(let place):
            return place > mark.count ? .part(split(&buffer, at: place)) : .more
        // Empty lines above a row that is open go first: nothing but it counts against its bound.
        case .noHeader(let start, isOpen: true) where start > mark.count:
            return .part(split(&buffer, at: start))
        case .noHeader(let start, isOpen: true) where buffer.count - start < keptMax:
            return .more
        case .noHeader:
            // It is refused by who reads it, with its reason.
            return .part(split(&buffer, at: end))
        case .rows(let header, let place) where place > header.upperBound:
            return .part(split(&buffer, at: place, below: header))
        case .rows(let header, let start):
            if header.lowerBound > mark.count {
                return .part(split(&buffer, at: header.lowerBound))
            }
            guard buffer.count - start > keptMax else { return .more }
            guard buffer[start..<end].contains(newline),
                case .rows(_, let place) = table(buffer[..<end], breaksFirst: true)
            else { return shorten(&buffer, behind: start, max: max) }
            return .part(split(&buffer, at: place, below: header))
        }
    }

    private func table(
        _ bytes: ArraySlice<UInt8>, breaksFirst: Bool = false
    ) -> EventFraming.Table {
        bytes.withUnsafeBytes {
            EventFraming.table($0, isQuoted: format == .csv, breaksFirst: breaksFirst)
        }
    }

    private mutating func split(_ buffer: inout [UInt8], at place: Int) -> [UInt8] {
        isLater = true
        isMarked = false
        let rest = Array(buffer[place...])
        buffer.removeSubrange(place...)
        let part = buffer
        buffer = rest
        return part
    }

    /// What is left has the header as well.
    private mutating func split(
        _ buffer: inout [UInt8], at place: Int, below header: Range<Int>
    ) -> [UInt8] {
        let columns = Array(buffer[header])
        let part = split(&buffer, at: place)
        buffer.insert(contentsOf: columns, at: 0)
        return part
    }

    /// Behind the last binary batch that ends within `max` bytes. What begins no batch is handed
    /// on, up to the end, to who refuses it with its reason.
    private func batchesEnd(_ bytes: [UInt8], max: Int) -> Int {
        bytes.withUnsafeBytes { bytes in
            var end = 0
            while end + BinaryBatchHead.size <= max {
                do throws(DecodeError) {
                    let rest = UnsafeRawBufferPointer(rebasing: bytes[end..<max])
                    let length = BinaryBatchHead.size + Int(try BinaryBatchHead(rest).length)
                    guard end + length <= max else { return end }
                    end += length
                } catch {
                    return end > 0 ? end : max
                }
            }
            return end
        }
    }
}
