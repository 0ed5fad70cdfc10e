internal import Ingest
internal import Wire

/// Finds where a long body may be cut so that no event is torn: behind a line, behind a row whose
/// quotes are closed, behind an element of the array. What names the columns, or opens the array,
/// is repeated at the head of each part. Binary batches are cut between each other, and a single
/// event not at all.
struct EventCutter {
    private let format: EventFormat
    /// The header row of CSV and TSV, once it was seen.
    private var header: [UInt8]?

    init(format: EventFormat) {
        self.format = format
    }

    /// Takes the longest part of at most `max` bytes off the front of `buffer`; nil where no event
    /// ends within them.
    mutating func cut(_ buffer: inout [UInt8], max: Int) -> [UInt8]? {
        let end = min(buffer.count, max)
        switch format {
        case .ndjson, .commonLog:
            guard let line = buffer[..<end].lastIndex(of: newline) else { return nil }
            return split(&buffer, at: line + 1)
        case .tsv, .csv:
            let rows = rowEnds(buffer[..<end])
            guard let first = rows.first else { return nil }
            if header == nil { header = Array(buffer[..<first]) }
            // A part of a header alone would go on for ever.
            guard rows.last > first else { return nil }
            let part = split(&buffer, at: rows.last)
            buffer.insert(contentsOf: header ?? [], at: 0)
            return part
        case .jsonArray, .cloudEventBatch:
            // Much may be sent that decodes to nothing.
            guard end > 0, let comma = lastComma(buffer[..<(end - 1)]) else { return nil }
            var part = split(&buffer, at: comma)
            part.append(UInt8(ascii: "]"))
            buffer[0] = UInt8(ascii: "[")
            return part
        case .cloudEvent:
            // It is one event.
            return nil
        case .binary:
            let whole = batchesEnd(buffer, max: end)
            return whole > 0 ? split(&buffer, at: whole) : nil
        }
    }

    private let newline = UInt8(ascii: "\n")

    private func split(_ buffer: inout [UInt8], at place: Int) -> [UInt8] {
        let rest = Array(buffer[place...])
        buffer.removeSubrange(place...)
        let part = buffer
        buffer = rest
        return part
    }

    /// Behind the first and the last row that end in `bytes`.
    private func rowEnds(_ bytes: ArraySlice<UInt8>) -> (first: Int?, last: Int) {
        var first: Int?
        var last = 0
        var isQuoted = false
        for (place, byte) in bytes.enumerated() {
            if byte == UInt8(ascii: "\""), format == .csv {
                isQuoted.toggle()
            } else if byte == newline, !isQuoted {
                if first == nil { first = place + 1 }
                last = place + 1
            }
        }
        return (first, last)
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

    /// The last comma between two elements of the outer array.
    private func lastComma(_ bytes: ArraySlice<UInt8>) -> Int? {
        var depth = 0
        var isString = false
        var isEscaped = false
        var comma: Int?
        for (place, byte) in bytes.enumerated() {
            if isString {
                if isEscaped {
                    isEscaped = false
                } else if byte == UInt8(ascii: "\\") {
                    isEscaped = true
                } else if byte == UInt8(ascii: "\"") {
                    isString = false
                }
                continue
            }
            switch byte {
            case UInt8(ascii: "\""): isString = true
            case UInt8(ascii: "["), UInt8(ascii: "{"): depth += 1
            case UInt8(ascii: "]"), UInt8(ascii: "}"): depth -= 1
            case UInt8(ascii: ","): if depth == 1 { comma = place }
            default: break
            }
        }
        return comma
    }
}
