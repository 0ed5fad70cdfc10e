package import Core

/// Why a whole batch cannot be folded: nothing of it can be attributed to single events, or it
/// would grow beyond bounds. A pure function of the batch, so that every node refuses it alike.
package enum IngestError: Error, Hashable, CustomStringConvertible {
    /// The first byte that is no white space is not `[`; nil for a body that is empty.
    case notAnArray(found: UInt8?)
    /// The body ends inside the array.
    case arrayNotClosed(opened: Int)
    case bytesAfterArray(offset: Int)
    /// A body that is one event, and empty.
    case noEvent
    /// Bytes that are no binary batch, or a damaged one.
    case badBatch(offset: Int, detail: String)
    /// The header names no column for `role`; `wanted` are those looked for.
    case missingColumn(role: String, wanted: [String], columns: [String])
    /// The first row is no header.
    case badHeader(detail: String)
    /// A field that lines of this format do not have.
    case unknownField(name: String, known: [String])
    /// A default type or field name of impossible length.
    case badParameter(name: String, detail: String)
    case bodyTooLarge(bytes: Int)
    case tooManyCells(max: Int)
    case tooManyDeadLetters(max: Int, first: DeadLetter)
    /// Cells and dead letters together.
    case resultTooLarge(max: Int)

    package var description: String {
        switch self {
        case .notAnArray(let found?):
            "the body is no JSON array: it begins with \(Self.quote(found)); events one per line"
                + " are sent as application/x-ndjson"
        case .notAnArray(nil):
            "the body is no JSON array: it is empty; send [] for no events"
        case .arrayNotClosed(let opened):
            "the JSON array that begins at byte \(opened) is not closed: the body seems cut off"
        case .bytesAfterArray(let offset):
            "bytes follow the JSON array, from byte \(offset) on; send one array per request"
        case .noEvent:
            "the body is empty; a CloudEvent is a JSON object"
        case .badBatch(let offset, let detail):
            "\(detail), at byte \(offset): the body is damaged or cut off"
        case .missingColumn(let role, let wanted, let columns):
            "no column for the \(role): looked for \(Self.list(wanted)), the header has"
                + " \(Self.list(columns)); name the column with \(role)_field"
        case .badHeader(let detail):
            "the first row is no header: \(detail)"
        case .unknownField(let name, let known):
            "lines of a web server's log have no field \(name); they have \(Self.list(known))"
        case .badParameter(let name, let detail):
            "\(name): \(detail)"
        case .bodyTooLarge(let bytes):
            "the body has \(bytes) bytes, \(Limits.bodyDecodedMax) are allowed; "
                + "send smaller batches"
        case .tooManyCells(let max):
            "the batch has more than \(max) distinct keys and windows; send smaller batches"
        case .tooManyDeadLetters(let max, let first):
            "more than \(max) events cannot be counted, the first of them line \(first.line)"
                + " (\(first.reason.name): \(first.detail)): is the format right?"
                + " If so, send smaller batches"
        case .resultTooLarge(let max):
            "the batch folds to more than \(max) bytes; send smaller batches"
        }
    }

    private static func list(_ names: [String]) -> String {
        let shown = names.prefix(ParseLimits.columnsShownMax).joined(separator: ", ")
        let more = names.count - ParseLimits.columnsShownMax
        return more > 0 ? "\(shown) and \(more) more" : shown
    }

    private static func quote(_ byte: UInt8) -> String {
        byte > 0x20 && byte < 0x7f
            ? "'\(UnicodeScalar(byte))'" : "byte 0x\(String(byte, radix: 16))"
    }
}
