package import Core
import Wire

/// # Tables of attributes: a copy of the catalog that needs no database
///
/// Attributes live in SQLite, which is none of this module's business. What is known of keys is
/// copied from there into sorted, checksummed, immutable files of the same make as the tables of
/// cells (frames bound to file and offset, LZ4, a footer, a tail), so that it serves when the
/// database is lost, also where no peer is up (docs/decisions/0034-attribute-tables.md).
///
/// A table holds all rows of the database as of one of its changes, or those that changed between
/// two. The newest whole one and the changes after it are the copy; of a key that stands in several
/// the newest table's row is the newest. A row without content is a deletion. No digest of cells
/// speaks of these files, and no manifest: their names and footers say all.
///
/// The layout is in docs/formats/attribute-table.md.
package struct AttributeSpan: Hashable, Sendable {
    /// Names the database's file: one that was made anew has another.
    package var nonce: UInt64
    /// Of the database's changes those after this one; 0: all, the table is whole.
    package var after: Int64
    package var through: Int64

    package init(nonce: UInt64, after: Int64, through: Int64) {
        self.nonce = nonce
        self.after = after
        self.through = through
    }

    package var isWhole: Bool { after == 0 }

    /// Whether a later table with this span has all that matters of an earlier one. A whole one
    /// has, whatever file it is of: none is written before its file has what the copy had.
    func replaces(_ earlier: AttributeSpan) -> Bool {
        isWhole || nonce == earlier.nonce && after <= earlier.after
    }
}

/// An open table of attributes: footer and index are in memory and verified, blocks are read and
/// checked as they are asked for. Immutable; it stays readable after its file was removed.
package final class AttributeTable: Sendable {
    package let id: UInt64
    package let span: AttributeSpan
    package let rows: UInt64
    /// Of the file, in bytes.
    package let size: UInt64
    let index: AttributeIndex
    private let source: FramedFile

    package var path: String { source.path }

    /// - Parameter path: the table's own name, which a draft does not have yet.
    /// - Throws: `damaged`, `newerFormat`, or what the file system says.
    package init(
        _ file: any StoredFile, id: UInt64, as path: String
    ) throws(StorageError) {
        let source = FramedFile(file: file, path: path)
        let (footerOffset, footerFrame, size) = try source.footer(of: AttributeFooter.kind)
        let footer = try source.decoded(at: footerOffset) { () throws(DecodeError) in
            try AttributeFooter(
                decoding: SectionFrame.decode(
                    .attributeFooter, footerFrame, table: id, at: footerOffset,
                    rawMax: StorageLimits.sectionRawMax))
        }
        guard footer.id == id, footer.indexOffset <= footerOffset else {
            throw .damaged(
                path: path, offset: footerOffset, what: "the footer is of table \(footer.id)")
        }
        let frame = try source.frame(
            footer.indexOffset, Int(footerOffset - footer.indexOffset),
            checksum: footer.indexChecksum)
        index = try source.decoded(at: footer.indexOffset) { () throws(DecodeError) in
            try AttributeIndex(
                decoding: SectionFrame.decode(
                    .attributeIndex, frame, table: id, at: footer.indexOffset,
                    rawMax: StorageLimits.sectionRawMax), end: footer.indexOffset)
        }
        self.id = id
        self.source = source
        self.size = size
        span = footer.span
        rows = footer.rows
    }

    /// The row of a key, a deletion included; nil where the table has none.
    package func row(of key: [UInt8]) throws(StorageError) -> AttributeRow? {
        guard let block = index.block(of: key) else { return nil }
        return try rows(of: block).first { $0.key == key }
    }

    package var blockCount: Int { index.entries.count }

    /// The rows of a block, ascending by key. A fault is tried once more before it counts.
    package func rows(of block: Int) throws(StorageError) -> [AttributeRow] {
        do {
            return try read(block)
        } catch {
            return try read(block)
        }
    }

    private func read(_ block: Int) throws(StorageError) -> [AttributeRow] {
        let entry = index.entries[block]
        let frame = try source.frame(entry.offset, entry.length, checksum: entry.checksum)
        return try source.decoded(at: entry.offset) { () throws(DecodeError) in
            var reader = ByteReader(
                try SectionFrame.decode(
                    .attributes, frame, table: id, at: entry.offset,
                    rawMax: StorageLimits.attributeBlockRawMax))
            var rows: [AttributeRow] = []
            while !reader.isAtEnd {
                let row = AttributeRow(
                    key: try reader.sized(max: Limits.keyMax), version: try reader.zigzag(),
                    json: try reader.flag()
                        ? try reader.sized(max: StorageLimits.attributeRowMax) : nil)
                guard rows.last.map({ ByteOrder.compare($0.key, row.key) < 0 }) ?? true else {
                    throw reader.fail("keys out of order")
                }
                rows.append(row)
            }
            guard rows.count == entry.rows, rows.first?.key == entry.first else {
                throw reader.fail("\(rows.count) rows where the index has \(entry.rows)")
            }
            return rows
        }
    }

    /// Reads every row again, and holds them against what index and footer say.
    package func verify() throws(StorageError) {
        var found: UInt64 = 0
        var last: [UInt8]?
        for block in 0..<blockCount {
            let rows = try rows(of: block)
            if let last, let first = rows.first, ByteOrder.compare(last, first.key) >= 0 {
                throw .damaged(
                    path: path, offset: index.entries[block].offset, what: "keys out of order")
            }
            last = rows.last?.key
            found += UInt64(rows.count)
        }
        guard found == rows else {
            throw .damaged(
                path: path, offset: size, what: "\(found) rows where the footer has \(rows)")
        }
    }
}

extension AttributeTable: Hashable {
    package static func == (left: AttributeTable, right: AttributeTable) -> Bool { left === right }

    package func hash(into hasher: inout Hasher) {
        hasher.combine(ObjectIdentifier(self))
    }
}

/// Where each block lies and with which key it begins.
struct AttributeIndex: Hashable, Sendable {
    struct Entry: Hashable, Sendable {
        var offset: UInt64
        /// Of the whole frame.
        var length: Int
        var rows: Int
        var first: [UInt8]
        /// Of the frame.
        var checksum: UInt32
    }

    private(set) var entries: [Entry] = []

    init() {}

    mutating func append(_ entry: Entry) {
        entries.append(entry)
    }

    /// The block in which the key lies if the table has it.
    func block(of key: [UInt8]) -> Int? {
        let behind = entries.partitionPoint { ByteOrder.compare($0.first, key) <= 0 }
        return behind > 0 ? behind - 1 : nil
    }

    var bytes: [UInt8] {
        var writer = ByteWriter()
        writer.write(count: entries.count)
        for entry in entries {
            writer.write(count: entry.length)
            writer.write(count: entry.rows)
            writer.write(sized: entry.first)
            writer.write(fixed: entry.checksum)
        }
        return writer.bytes
    }

    /// - Parameter end: where the blocks must end, since the index lies behind the last of them.
    init(decoding bytes: [UInt8], end: UInt64) throws(DecodeError) {
        var reader = ByteReader(bytes)
        var offset: UInt64 = 0
        for _ in 0..<(try reader.count(ofSize: 8)) {
            let length = try reader.varint()
            guard length >= UInt64(SectionFrame.size), length <= end - offset else {
                throw reader.fail("a block of \(length) bytes")
            }
            let rows = try reader.varint()
            guard rows > 0, rows <= UInt64(StorageLimits.attributeBlockRawMax) else {
                throw reader.fail("a block of \(rows) rows")
            }
            let first = try reader.sized(max: Limits.keyMax)
            if let last = entries.last, ByteOrder.compare(last.first, first) >= 0 {
                throw reader.fail("blocks out of order")
            }
            entries.append(
                Entry(
                    offset: offset, length: Int(length), rows: Int(rows), first: first,
                    checksum: try reader.fixed()))
            offset += length
        }
        guard offset == end else { throw reader.fail("the blocks end at \(offset), not at \(end)") }
        try reader.finish()
    }
}

/// The end of a table of attributes.
struct AttributeFooter: Hashable, Sendable {
    static let kind = FramedFile.Kind(
        name: "a table of attributes", magic: Array("QUIPUATT".utf8), versions: [1])

    var id: UInt64
    var span: AttributeSpan
    var rows: UInt64
    var indexOffset: UInt64
    /// Of the index's frame.
    var indexChecksum: UInt32

    init(
        id: UInt64, span: AttributeSpan, rows: UInt64, indexOffset: UInt64, indexChecksum: UInt32
    ) {
        self.id = id
        self.span = span
        self.rows = rows
        self.indexOffset = indexOffset
        self.indexChecksum = indexChecksum
    }

    var bytes: [UInt8] {
        var writer = ByteWriter()
        writer.write(fixed: id)
        writer.write(fixed: span.nonce)
        writer.write(fixed: span.after)
        writer.write(fixed: span.through)
        writer.write(varint: rows)
        writer.write(varint: indexOffset)
        writer.write(fixed: indexChecksum)
        return writer.bytes
    }

    init(decoding bytes: [UInt8]) throws(DecodeError) {
        var reader = ByteReader(bytes)
        id = try reader.fixed()
        span = AttributeSpan(
            nonce: try reader.fixed(), after: try reader.fixed(), through: try reader.fixed())
        rows = try reader.varint()
        indexOffset = try reader.varint()
        indexChecksum = try reader.fixed()
        guard span.after >= 0, span.after <= span.through else {
            throw reader.fail("changes \(span.after) to \(span.through)")
        }
        try reader.finish()
    }
}
