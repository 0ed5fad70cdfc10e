internal import Foundation

/// Where in a row of CSV the last byte left off, as the node that folds it sees it (`RowScanner` in
/// Ingest): a second opinion about a stray quote would cut a row in two.
enum RowQuotes: Equatable {
    /// At the head of a body: so many bytes of a byte order mark.
    case mark(Int)
    case fieldStart
    case bare
    case quoted
    /// After a quote within a quoted field: its end, or the first half of an escaped quote.
    case maybeEnd
    /// After a carriage return behind a quoted field: only a line feed may follow.
    case lineEnd
    /// The row cannot be read: a quote inside a field that is not quoted, or text behind a quoted
    /// one. It ends with its first line.
    case broken

    static let start = RowQuotes.fieldStart

    private static let byteOrderMark: [UInt8] = [0xef, 0xbb, 0xbf]
    private static let quoteMark = UInt8(ascii: "\"")
    private static let comma = UInt8(ascii: ",")

    /// - Parameter bytes: without a line feed.
    mutating func advance(over bytes: UnsafeRawBufferPointer) {
        var position = 0
        while position < bytes.count, self != .broken {
            switch self {
            case .quoted:
                guard let mark = Self.mark(in: bytes, from: position) else { return }
                self = .maybeEnd
                position = mark + 1
            case .bare, .fieldStart:
                let mark = Self.mark(in: bytes, from: position)
                let end = mark ?? bytes.count
                if end > position {
                    self = bytes[end - 1] == Self.comma ? .fieldStart : .bare
                }
                guard mark != nil else { return }
                self = self == .fieldStart ? .quoted : .broken
                position = end + 1
            case .mark(let count):
                guard bytes[position] == Self.byteOrderMark[count] else {
                    self = count == 0 ? .fieldStart : .bare
                    continue
                }
                self = count == 2 ? .fieldStart : .mark(count + 1)
                position += 1
            case .maybeEnd:
                switch bytes[position] {
                case Self.quoteMark: self = .quoted
                case Self.comma: self = .fieldStart
                case 0x0d: self = .lineEnd
                default: self = .broken
                }
                position += 1
            case .lineEnd, .broken:
                self = .broken
            }
        }
    }

    private static func mark(in bytes: UnsafeRawBufferPointer, from position: Int) -> Int? {
        guard let base = bytes.baseAddress else { return nil }
        // memchr reads `bytes.count - position` bytes from `position`: all within `bytes`.
        return memchr(base + position, Int32(quoteMark), bytes.count - position).map {
            UnsafeRawPointer($0) - base
        }
    }
}
