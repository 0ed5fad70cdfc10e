import Core

extension Inspection {
    /// A table's footer, partitions and blocks; every cell is read and recounted. A table of
    /// attributes, known by its name, is described as such.
    ///
    /// - Parameter options: of the cluster; without its digest key the recount cannot agree, and
    ///   only checksums and totals are compared.
    package static func table(
        _ path: String, in fileSystem: any FileSystem, options: StorageOptions?
    ) throws(StorageError) -> InspectReport {
        if FileNames.attributesID(path) != nil { return try attributes(path, in: fileSystem) }
        let file = try fileSystem.open(path, .read)
        let id = tableID(path)
        let used = options ?? StorageOptions(digestKey: SipKey(low: 0, high: 0))
        let handle = try TableHandle.open(file, id: id, as: path, options: used)
        let meta = handle.meta
        let footer = handle.footer
        let fault = soundness(of: handle, knowsKey: options != nil)
        var lines = [
            "table \(meta.id), \(meta.size) bytes, bucket \(meta.bucket), "
                + "windows \(meta.firstWindow) to \(meta.lastWindow)",
            "\(meta.cells) cells, \(footer.series) series, \(footer.keys) keys, "
                + "\(meta.total.count) events",
            "\(handle.index.entries.count) blocks, state digest \(hex(meta.digest.counts))",
            fault.map { "DAMAGED: \($0)" } ?? "every block was read and adds up",
        ]
        for held in footer.partitions {
            lines.append(
                "\(held.partition): \(held.cells) cells, \(held.total.count) events, "
                    + "digest \(hex(held.digest.counts))")
        }
        for entry in handle.index.entries {
            let first = entry.first
            lines.append(
                "byte \(entry.offset): block of \(entry.cells) cells in \(entry.length) bytes, "
                    + "from \(first.partition) \(text(first.key)) \(text(first.type))")
        }
        return InspectReport(
            lines: lines, value: value(handle, isSound: fault == nil), isSound: fault == nil)
    }

    private static func soundness(of handle: TableHandle, knowsKey: Bool) -> String? {
        do throws(StorageError) {
            guard !knowsKey else {
                try handle.verify()
                return nil
            }
            let found = try handle.recount()
            let totals = found.partitions.map(\.total)
            return totals == handle.footer.partitions.map(\.total)
                ? nil : "its cells do not add up to its footer"
        } catch {
            return error.description
        }
    }

    private static func value(_ handle: TableHandle, isSound: Bool) -> InspectValue {
        let meta = handle.meta
        return .object([
            "file": .text(handle.path), "id": .number(meta.id), "bytes": .number(meta.size),
            "sound": .flag(isSound), "bucket": .number(meta.bucket),
            "cells": .number(meta.cells), "series": .number(handle.footer.series),
            "keys": .number(handle.footer.keys), "events": .number(meta.total.count),
            "first_window": .number(meta.firstWindow), "last_window": .number(meta.lastWindow),
            "digest": .text(hex(meta.digest.counts)),
            "partitions": .list(
                handle.footer.partitions.map { held in
                    .object([
                        "partition": .number(held.partition.index), "cells": .number(held.cells),
                        "events": .number(held.total.count),
                        "digest": .text(hex(held.digest.counts)),
                    ])
                }),
            "blocks": .list(
                handle.index.entries.map { entry in
                    .object([
                        "offset": .number(entry.offset), "bytes": .number(entry.length),
                        "cells": .number(entry.cells),
                    ])
                }),
        ])
    }

    /// The id that a table's name says: its blocks are bound to it.
    private static func tableID(_ path: String) -> UInt64 {
        let name = path.split(separator: "/").last ?? ""
        return UInt64(name.prefix { $0 != "." }) ?? 0
    }

    private static func hex(_ number: UInt128) -> String {
        Hash128(number).description
    }

    private static func text(_ bytes: [UInt8]) -> String {
        String(decoding: bytes, as: UTF8.self)
    }
}
