internal import Catalog
package import Core
package import Wire

/// What nodes say to each other about attributes. The first byte tells these messages from the
/// core's, which begin with 1 or 2.
package enum AttributeMessage: Hashable, Sendable {
    /// What changed in your file `nonce` after `since`? Another file answers from its beginning.
    case ask(nonce: UInt64, since: Int64)
    case changes(Changes)
    /// Something is new here: ask soon.
    case nudge

    package struct Changes: Hashable, Sendable {
        /// Of the file that answers.
        package var nonce: UInt64
        package var rows: [AttributeRow]
        package var next: Int64
        package var isComplete: Bool

        package init(nonce: UInt64, rows: [AttributeRow], next: Int64, isComplete: Bool) {
            self.nonce = nonce
            self.rows = rows
            self.next = next
            self.isComplete = isComplete
        }
    }

    /// The first byte of each message.
    package static let family: UInt8 = 3

    package var encoded: [UInt8] {
        var writer = ByteWriter(capacity: 64)
        writer.write(AttributeMessage.family)
        switch self {
        case .ask(let nonce, let since):
            writer.write(UInt8(1))
            writer.write(fixed: nonce)
            writer.write(fixed: since)
        case .changes(let changes):
            writer.write(UInt8(2))
            writer.write(fixed: changes.nonce)
            writer.write(fixed: changes.next)
            writer.write(flag: changes.isComplete)
            writer.write(count: changes.rows.count)
            for row in changes.rows {
                writer.write(sized: row.key)
                writer.write(fixed: row.version)
                writer.write(flag: row.json != nil)
                if let json = row.json { writer.write(sized: json) }
            }
        case .nudge:
            writer.write(UInt8(3))
        }
        return writer.bytes
    }

    package init(decoding bytes: [UInt8]) throws(DecodeError) {
        var reader = ByteReader(bytes)
        guard try reader.byte() == AttributeMessage.family else { throw reader.fail("a family") }
        switch try reader.byte() {
        case 1:
            self = .ask(nonce: try reader.fixed(), since: try reader.fixed())
        case 2:
            self = .changes(try AttributeMessage.changes(&reader))
        case 3:
            self = .nudge
        default:
            throw reader.fail("an attribute message of an unknown kind")
        }
        try reader.finish()
    }

    private static func changes(_ reader: inout ByteReader) throws(DecodeError) -> Changes {
        let nonce: UInt64 = try reader.fixed()
        let next: Int64 = try reader.fixed()
        let isComplete = try reader.flag()
        let count = try reader.count(ofSize: 11)
        guard count <= AttributeLimits.rowsMax else { throw reader.fail("\(count) rows") }
        var rows: [AttributeRow] = []
        for _ in 0..<count {
            let key = try reader.sized(max: Limits.keyMax)
            let version: Int64 = try reader.fixed()
            let json = try reader.flag() ? try reader.sized(max: CatalogLimits.rowMax) : nil
            rows.append(AttributeRow(key: key, version: version, json: json))
        }
        return Changes(nonce: nonce, rows: rows, next: next, isComplete: isComplete)
    }
}
