import Core

extension Inspection {
    /// A table of attributes: which changes it holds, and its blocks; every row is read.
    package static func attributes(
        _ path: String, in fileSystem: any FileSystem
    ) throws(StorageError) -> InspectReport {
        let file = try fileSystem.open(path, .read)
        let table = try AttributeTable(file, id: FileNames.attributesID(path) ?? 0, as: path)
        var fault: String?
        do throws(StorageError) {
            try table.verify()
        } catch {
            fault = error.description
        }
        let span = table.span
        var lines = [
            "table of attributes \(table.id), \(table.size) bytes",
            "\(table.rows) keys, "
                + (span.isWhole ? "all" : "those that changed after change \(span.after)")
                + " as of change \(span.through) of the database with the nonce \(span.nonce)",
            fault.map { "DAMAGED: \($0)" } ?? "every block was read",
        ]
        for entry in table.index.entries {
            lines.append(
                "byte \(entry.offset): block of \(entry.rows) keys in \(entry.length) bytes, from "
                    + String(decoding: entry.first, as: UTF8.self))
        }
        let value = InspectValue.object([
            "file": .text(path), "id": .number(table.id), "bytes": .number(table.size),
            "sound": .flag(fault == nil),
            "damage": .list([fault].compactMap(\.self).map { .text($0) }),
            "keys": .number(table.rows), "nonce": .number(span.nonce),
            "whole": .flag(span.isWhole), "after": .number(span.after),
            "through": .number(span.through),
            "blocks": .list(
                table.index.entries.map { entry in
                    .object([
                        "offset": .number(entry.offset), "bytes": .number(entry.length),
                        "keys": .number(entry.rows),
                        "first_key": .text(String(decoding: entry.first, as: UTF8.self)),
                    ])
                }),
        ])
        return InspectReport(lines: lines, value: value, isSound: fault == nil)
    }
}
