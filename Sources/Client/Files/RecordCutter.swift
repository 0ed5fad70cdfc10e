internal import Core
internal import Foundation

/// Cuts line formats: NDJSON and logs (a record is a line), TSV (lines after a header) and CSV
/// (records after a header, RFC 4180: a quoted field may hold newlines).
///
/// The header goes in front of every batch. Blank lines travel along but are not events. A line
/// longer than `Limits.lineMax` is a dead letter by that alone; of such a line only as many bytes
/// are kept as prove its length, so that memory stays bounded whatever a file holds.
///
/// Rows of CSV end where the node takes them to end (`RowQuotes`): of one that cannot be read, with
/// its first line. A record longer than a line may be, over several lines, is most often a quote
/// without its mate: the batch ends at that line's end and reading begins anew behind it. No byte
/// is lost by that, and the node sees a quote that is never closed, so that it costs one dead
/// letter and not the rest of the file.
package struct RecordCutter: BatchCutter {
    package enum Framing: Sendable {
        case lines
        case linesAfterHeader
        case quotedRecordsAfterHeader
    }

    private enum Header {
        case none
        case awaited
        case known([UInt8])
    }

    private let limits: CutLimits
    private let quotes: Bool
    // Here it costs a load for each line, in its module a call.
    private let lineMax = Limits.lineMax
    private var header: Header
    /// Where in the CSV record under way the last byte left off.
    private var quote = RowQuotes.start
    /// The same where the line under way began one: it does where the record turns out to be broken
    /// in it, and so to end with its first line.
    private var lineQuote = RowQuotes.start
    private var body: [UInt8] = []
    private var events = 0
    /// Of the line under way; stays at `lineMax + 1` once it is longer.
    private var lineLength = 0
    /// Of the lines of the CSV record under way before this one, with their ends: bytes, and how
    /// many are not empty.
    private var linesBefore = 0
    private var eventsBefore = 0
    package private(set) var isFull = false

    package init(framing: Framing, limits: CutLimits) {
        self.limits = limits
        quotes = framing == .quotedRecordsAfterHeader
        header = framing == .lines ? .none : .awaited
        // What the node skips at the head of a body.
        if quotes { quote = .mark(0) }
    }

    package mutating func take(_ input: UnsafeRawBufferPointer) -> Int {
        guard let base = input.baseAddress else { return 0 }
        var position = 0
        // Bytes from here to `position` are taken but not yet copied: one copy per call, not per
        // line.
        var start = 0
        while position < input.count, !isFull {
            if let end = skipPiece(input, from: start, at: position) {
                position = end
                continue
            }
            // memchr reads `input.count - position` bytes from `position`: all within `input`.
            let found = memchr(base + position, 0x0a, input.count - position)
            let newline = found.map { UnsafeRawPointer($0) - base }
            let end = newline ?? input.count
            let room = lineMax + 1 - lineLength
            if end - position > room {
                body.append(contentsOf: input[start..<(position + room)])
                start = end
                lineLength = lineMax + 1
            } else {
                lineLength += end - position
            }
            if quotes { follow(UnsafeRawBufferPointer(rebasing: input[position..<end])) }
            guard let newline else {
                position = end
                break
            }
            position = newline + 1
            if quotes, quote == .quoted, linesBefore + lineLength <= lineMax {
                linesBefore += lineLength + 1
                eventsBefore += lineLength > 0 ? 1 : 0
                lineLength = 0
                lineQuote = .fieldStart
                continue
            }
            endRecord(input, &start, position)
        }
        body.append(contentsOf: input[start..<position])
        return position
    }

    /// Bytes that are looked at together.
    private static let pieceBytes = 1 << 10

    /// Takes a piece of the input whole, where no limit can be reached and no empty line lies in
    /// it: then its lines need only be counted. Nil where each must be looked at.
    private mutating func skipPiece(
        _ input: UnsafeRawBufferPointer, from start: Int, at position: Int
    ) -> Int? {
        let size = RecordCutter.pieceBytes
        guard !quotes, !isAwaitingHeader, input.count - position >= size,
            lineLength + size <= lineMax,
            body.count + position - start + size < limits.bytes,
            let base = input.baseAddress
        else { return nil }
        let piece = base + position
        // A line feed at once would end an empty line, or begin no event.
        if lineLength == 0, piece.load(as: UInt8.self) == 0x0a { return nil }
        let count = LineCount(piece, count: size)
        guard !count.hasEmpty, events + count.lines < limits.events else { return nil }
        events += count.lines
        if count.lines == 0 {
            lineLength += size
        } else {
            lineLength = 0
            // A line feed is in the piece, and ends the walk.
            while piece.load(fromByteOffset: size - lineLength - 1, as: UInt8.self) != 0x0a {
                lineLength += 1
            }
        }
        return position + size
    }

    private var isAwaitingHeader: Bool {
        if case .awaited = header { true } else { false }
    }

    /// A record ends before `position`; its bytes from `start` on are not copied yet.
    private mutating func endRecord(
        _ input: UnsafeRawBufferPointer, _ start: inout Int, _ position: Int
    ) {
        let length = linesBefore + lineLength
        // One that is still open is broken by its length.
        if quote == .quoted { breakRecord() }
        let isEvent = linesBefore + lineLength > 0
        linesBefore = 0
        eventsBefore = 0
        lineLength = 0
        quote = .start
        if case .awaited = header {
            body.append(contentsOf: input[start..<position])
            start = position
            // The node takes the first line that is not empty for the header: where an empty one
            // went in front of every batch, that would be an event from the second on.
            if RecordCutter.emptyLines.contains(body) {
                body = []
                if quotes { quote = .mark(0) }
            } else {
                header = .known(body)
            }
        } else if length > 0 {
            events += isEvent ? 1 : 0
            isFull =
                events >= limits.events || body.count + position - start >= limits.bytes
                || (quotes && length > lineMax)
        }
    }

    /// Follows the quotes of CSV over bytes without a newline.
    private mutating func follow(_ bytes: UnsafeRawBufferPointer) {
        quote.advance(over: bytes)
        guard linesBefore > 0 else { return }
        lineQuote.advance(over: bytes)
        if quote == .broken { breakRecord() }
    }

    /// The record under way ended with its first line. The lines behind that are rows of their own,
    /// since in a quoted field all quotes but the last are doubled; the one under way begins
    /// another. (A header that is broken is refused by the node, wherever it ends.)
    private mutating func breakRecord() {
        guard linesBefore > 0, !isAwaitingHeader else { return }
        events += eventsBefore
        eventsBefore = 0
        linesBefore = 0
        quote = lineQuote
    }

    /// With either line end, also behind a byte order mark.
    private static let emptyLines: [[UInt8]] = [
        [0x0a], [0x0d, 0x0a], [0xef, 0xbb, 0xbf, 0x0a], [0xef, 0xbb, 0xbf, 0x0d, 0x0a],
    ]

    package var isBetweenRecords: Bool { events > 0 && linesBefore + lineLength == 0 }

    package var preamble: [UInt8] {
        if case .known(let bytes) = header { bytes } else { [] }
    }

    package mutating func finish() {
        guard linesBefore + lineLength > 0 else { return }
        if case .awaited = header { return }
        if quote == .quoted { breakRecord() }
        events += linesBefore + lineLength > 0 ? 1 : 0
        linesBefore = 0
        eventsBefore = 0
        lineLength = 0
        isFull = true
    }

    package mutating func cut() -> CutBody? {
        let result = events > 0 ? CutBody(bytes: body, events: events) : nil
        let capacity = body.count
        body = []
        body.reserveCapacity(capacity + capacity / 8)
        if case .known(let bytes) = header { body.append(contentsOf: bytes) }
        events = 0
        isFull = false
        return result
    }
}
