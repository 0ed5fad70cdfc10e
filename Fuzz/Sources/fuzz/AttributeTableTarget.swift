import Core
import Storage

/// A whole table of attributes, from its tail on.
enum AttributeTableTarget {
    static func read(_ bytes: [UInt8]) throws {
        let files = MemoryFileSystem()
        try files.createDirectory(FileNames.attributeDirectory)
        let path = FileNames.attributes(1)
        files.overwrite(path, with: bytes)
        let table = try AttributeTable(try files.open(path, .read), id: 1, as: path)
        var failure: (any Error)?
        do {
            try table.verify()
            try readAll(table)
        } catch {
            failure = error
        }
        for key in ["", "k000000", "k000001", "zzz"] {
            do { _ = try table.row(of: Array(key.utf8)) } catch { failure = error }
        }
        let tables = try AttributeTables.open(in: files)
        _ = try tables.verify(in: files)
        _ = try tables.forEach { _ in true }
        if let failure { throw failure }
    }

    /// Of a table that is sound.
    private static func readAll(_ table: AttributeTable) throws {
        var last: [UInt8]?
        var rows: UInt64 = 0
        for block in 0..<table.blockCount {
            for row in try table.rows(of: block) {
                precondition(
                    last.map { $0.lexicographicallyPrecedes(row.key) } ?? true,
                    "keys out of order in a table that is sound")
                let found = try table.row(of: row.key)
                precondition(found == row, "a row is found as another")
                last = row.key
                rows += 1
            }
        }
        precondition(rows == table.rows, "a sound table has other rows than it says")
    }

    static func seed(_ number: Int) throws -> [UInt8] {
        let files = MemoryFileSystem()
        try files.createDirectory(FileNames.attributeDirectory)
        var writer = try AttributeTableWriter(id: 1, in: files)
        let size = number % 3 == 2 ? StorageLimits.blockTarget / 2 : 10
        for row in 0..<1 + number {
            let text = String(repeating: "x", count: size)
            try writer.add(
                AttributeRow(
                    key: Array("k0000\(row / 10)\(row % 10)".utf8), version: Int64(row - 3),
                    json: row % 3 == 1 ? nil : Array("{\"t\":\"\(text)\"}".utf8)))
        }
        let after: Int64 = number % 2 == 0 ? 0 : 5
        _ = try writer.publish(AttributeSpan(nonce: 7, after: after, through: 40))
        return try files.readAll(FileNames.attributes(1))
    }
}
