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
        let version = try handle.source.version(ofSize: handle.meta.size)
        let fault = soundness(of: handle, knowsKey: options != nil)
        return InspectReport(
            lines: lines(handle, version, fault), value: value(handle, version, fault),
            isSound: fault == nil)
    }

    private static func lines(
        _ handle: TableHandle, _ version: UInt16, _ fault: String?
    ) -> [String] {
        let meta = handle.meta
        let footer = handle.footer
        let bounds = handle.index.bounds
        var lines = [
            "table \(meta.id), \(meta.size) bytes, bucket \(meta.bucket), "
                + "windows \(meta.firstWindow) to \(meta.lastWindow)",
            "format \(version), by \(meta.granularity), windows of \(footer.windowMilliseconds) ms",
            "\(meta.cells) cells, \(footer.series) series, \(footer.keys) keys, "
                + "\(meta.total.count) events",
            "keys \(text(meta.firstKey)) to \(text(meta.lastKey))",
            "filter of \(handle.filter.byteCount) bytes at byte \(footer.filterOffset), "
                + "index at byte \(footer.indexOffset)",
            bounds.map { "bounds of all types and of \($0.types.map(text))" } ?? "no bounds",
            "\(handle.index.entries.count) blocks, state digest \(hex(meta.digest.counts))",
            fault.map { "DAMAGED: \($0)" } ?? "every block was read and adds up",
        ]
        for held in footer.partitions {
            lines.append(
                "\(held.partition): \(held.cells) cells, \(held.total.count) events, "
                    + "digest \(hex(held.digest.counts))")
        }
        for (number, entry) in handle.index.entries.enumerated() {
            let first = entry.first
            let weight = bounds.map { ", no key above \(heaviest(number, $0)) events" }
            lines.append(
                "byte \(entry.offset): block of \(entry.cells) cells in \(entry.length) bytes, "
                    + "from \(first.partition) \(text(first.key)) \(text(first.type))"
                    + (weight ?? ""))
        }
        return lines
    }

    /// What a key of the block has at most in the whole table, of all types.
    private static func heaviest(_ block: Int, _ bounds: TableBounds) -> UInt64 {
        bounds[block, TableBounds.all]?.count ?? 0
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

    private static func value(
        _ handle: TableHandle, _ version: UInt16, _ fault: String?
    ) -> InspectValue {
        let meta = handle.meta
        let footer = handle.footer
        return .object([
            "file": .text(handle.path), "id": .number(meta.id), "bytes": .number(meta.size),
            "sound": .flag(fault == nil),
            "damage": .list([fault].compactMap(\.self).map { .text($0) }),
            "format": .number(version), "granularity": .text("\(meta.granularity)"),
            "window_ms": .number(footer.windowMilliseconds), "bucket": .number(meta.bucket),
            "cells": .number(meta.cells), "series": .number(footer.series),
            "keys": .number(footer.keys), "events": .number(meta.total.count),
            "first_window": .number(meta.firstWindow), "last_window": .number(meta.lastWindow),
            "first_key": .text(text(meta.firstKey)), "last_key": .text(text(meta.lastKey)),
            "digest": .text(hex(meta.digest.counts)),
            "index_offset": .number(footer.indexOffset),
            "filter_offset": .number(footer.filterOffset),
            "filter_bytes": .number(handle.filter.byteCount),
            "bounded": .flag(handle.index.bounds != nil),
            "bound_types": .list((handle.index.bounds?.types ?? []).map { .text(text($0)) }),
            "partitions": .list(
                footer.partitions.map { held in
                    .object([
                        "partition": .number(held.partition.index), "cells": .number(held.cells),
                        "events": .number(held.total.count),
                        "digest": .text(hex(held.digest.counts)),
                    ])
                }),
            "blocks": .list(handle.index.entries.indices.map { block($0, of: handle) }),
        ])
    }

    private static func block(_ number: Int, of handle: TableHandle) -> InspectValue {
        let entry = handle.index.entries[number]
        var fields: [InspectValue.Field] = [
            .init(name: "offset", value: .number(entry.offset)),
            .init(name: "bytes", value: .number(entry.length)),
            .init(name: "cells", value: .number(entry.cells)),
            .init(name: "partition", value: .number(entry.first.partition.index)),
            .init(name: "first_key", value: .text(text(entry.first.key))),
            .init(name: "first_type", value: .text(text(entry.first.type))),
        ]
        if let bounds = handle.index.bounds {
            fields.append(
                .init(name: "heaviest_events", value: .number(heaviest(number, bounds))))
        }
        return .object(fields)
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
