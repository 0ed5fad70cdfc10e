import Core
import Wire

/// Describes files without changing them: `quipu inspect`.
package enum Inspection {
    /// Every record of a log file: LSN, kind, place, length.
    package static func log(
        _ path: String, in fileSystem: any FileSystem
    ) throws(StorageError) -> InspectReport {
        let bytes = try fileSystem.readAll(path)
        let name = path.split(separator: "/").last.map(String.init) ?? path
        let number = FileNames.logNumber(name) ?? 0
        var lines = ["log file \(number), \(bytes.count) bytes"]
        var records: [InspectValue] = []
        var isSound = true
        var chain = RecordScan.Chain(next: LSN(1), previousChecksum: 0)
        var start = LogFileHeader.size
        switch LogFileHeader.read(bytes, file: number) {
        case .header(let header):
            chain = RecordScan.Chain(
                next: header.first, previousChecksum: header.previousChecksum)
            lines.append("first LSN \(header.first)")
        case .newer(let version):
            throw .newerFormat(path: path, version: version, known: LogFileHeader.version)
        case .invalid:
            lines.append("byte 0: the file's header is damaged or of another file")
            isSound = false
            start = 0
        }
        var scan = RecordScan(bytes, from: start, chain: chain, isSealed: false)
        while let event = scan.next() {
            switch event {
            case .record(let header, let offset):
                lines.append(
                    "byte \(offset): LSN \(header.lsn), kind \(header.kind), \(header.length) bytes"
                )
                records.append(record(header, at: offset))
            case .damage(let offset, let what, let missing):
                lines.append("byte \(offset): DAMAGED, \(what); missing from LSN \(missing)")
                isSound = false
            case .tornTail(let offset):
                lines.append("byte \(offset): torn tail of \(bytes.count - offset) bytes")
            case .end(let offset):
                lines.append("byte \(offset): end")
            }
        }
        let value = InspectValue.object([
            "file": .text(path), "number": .number(number), "bytes": .number(bytes.count),
            "sound": .flag(isSound), "records": .list(records),
        ])
        return InspectReport(lines: lines, value: value, isSound: isSound)
    }

    private static func record(_ header: RecordFrame.Header, at offset: Int) -> InspectValue {
        .object([
            "offset": .number(offset), "lsn": .number(header.lsn.number),
            "kind": .number(header.kind), "bytes": .number(header.length),
            "synced": .number(header.synced.number),
        ])
    }

    /// The present state and every edit that led to it.
    package static func manifest(
        _ path: String, in fileSystem: any FileSystem
    ) throws(StorageError) -> InspectReport {
        let bytes = try fileSystem.readAll(path)
        let reading = try ManifestFile.read(bytes, path: path)
        let state = reading.state
        var lines = ["manifest, \(bytes.count) bytes"]
        if let identity = state.identity {
            lines.append(
                "host \(UUIDText.format(identity.hostID)), incarnation "
                    + "\(identity.incarnation.number), generation \(identity.generation)")
        }
        lines.append(
            "covered through LSN \(state.coveredThrough), log from file \(state.logStart), "
                + "next table \(state.nextTableID)")
        for table in state.tables { lines.append(line(table)) }
        for file in state.history {
            lines.append(
                "history \(file.id): \(file.outcomes) outcomes, \(file.letters) with dead "
                    + "letters, segments \(file.firstSegment) to \(file.lastSegment)")
        }
        if state.base != .none {
            lines.append("forgotten as of LSN \(state.base.through)")
        }
        if state.retention != .none { lines.append(line(state.retention)) }
        for (offset, header, content) in reading.edits {
            lines.append("byte \(offset): edit \(header.lsn), " + describe(content))
        }
        if reading.end < UInt64(bytes.count) {
            lines.append("byte \(reading.end): torn tail")
        }
        let value = InspectValue.object([
            "file": .text(path), "bytes": .number(bytes.count),
            "covered_through": .number(state.coveredThrough.number),
            "log_start": .number(state.logStart), "next_table": .number(state.nextTableID),
            "edits": .number(reading.edits.count),
            "tables": .list(state.tables.map { describe($0) }),
            "hours_before": edge(state.retention.floor.hours),
            "days_before": edge(state.retention.floor.days),
            "expired_before": edge(state.retention.floor.expired),
            "expired_events": .number(state.retention.events),
        ])
        return InspectReport(lines: lines, value: value, isSound: true)
    }

    private static func describe(_ content: ManifestFile.Content) -> String {
        switch content {
        case .snapshot(let state):
            return "snapshot of \(state.tables.count) tables"
        case .edit(let edit):
            var parts: [String] = []
            if !edit.addTables.isEmpty { parts.append("+ \(edit.addTables.map(\.id))") }
            if !edit.removeTables.isEmpty { parts.append("- \(edit.removeTables)") }
            if let covered = edit.coveredThrough { parts.append("covered through \(covered)") }
            if let identity = edit.identity {
                parts.append("incarnation \(identity.incarnation.number)")
            }
            if let start = edit.logStart { parts.append("log from file \(start)") }
            if let retention = edit.retention { parts.append(line(retention)) }
            return parts.isEmpty ? "nothing" : parts.joined(separator: ", ")
        }
    }

    /// In windows of the base length; nil: nowhere.
    private static func edge(_ window: Int64) -> InspectValue {
        window == .min ? .text("never") : .number(window)
    }

    private static func line(_ retention: Retention) -> String {
        let edges = [
            ("hours", retention.floor.hours), ("days", retention.floor.days),
            ("expired", retention.floor.expired),
        ].filter { $0.1 > .min }.map { "\($0.0) before window \($0.1)" }
        return "retention: "
            + (edges + ["\(retention.events) events have expired"])
            .joined(separator: ", ")
    }

    private static func line(_ table: TableMeta) -> String {
        "\(table.path): \(table.location), bucket \(table.bucket), by \(table.granularity), "
            + "\(table.cells) cells, \(table.total.count) events, \(table.size) bytes"
    }

    private static func describe(_ table: TableMeta) -> InspectValue {
        .object([
            "id": .number(table.id), "location": .text("\(table.location)"),
            "bucket": .number(table.bucket),
            "granularity": .text("\(table.granularity)"),
            "cells": .number(table.cells), "events": .number(table.total.count),
            "bytes": .number(table.size), "partitions": .number(table.partitions.count),
            "first_window": .number(table.firstWindow), "last_window": .number(table.lastWindow),
        ])
    }
}
