import Core
import Wire

extension Inspection {
    /// The present state and every edit that led to it.
    package static func manifest(
        _ path: String, in fileSystem: any FileSystem
    ) throws(StorageError) -> InspectReport {
        let bytes = try fileSystem.readAll(path)
        let reading = try ManifestFile.read(bytes, path: path)
        let state = reading.state
        var lines = ["manifest, \(bytes.count) bytes"]
        if let identity = state.identity { lines.append(line(identity)) }
        lines.append(
            "covered through LSN \(state.coveredThrough), log from file \(state.logStart), "
                + "next table \(state.nextTableID), next history \(state.nextHistoryID)")
        for table in state.tables { lines.append(line(table)) }
        for file in state.history {
            lines.append(
                "\(file.path): level \(file.level), \(file.outcomes) outcomes, "
                    + "\(file.letters) with dead letters, segments \(file.firstSegment) to "
                    + "\(file.lastSegment), \(file.size) bytes")
        }
        if state.base != .none { lines += self.lines(state.base) }
        if state.voidThrough > .zero {
            lines.append("void: records of batches through LSN \(state.voidThrough)")
        }
        if state.retention != .none { lines.append(line(state.retention)) }
        var edits: [InspectValue] = []
        for (offset, header, content) in reading.edits {
            let parts = parts(of: content)
            lines.append(
                "byte \(offset): edit \(header.lsn), "
                    + (parts.isEmpty ? "nothing" : parts.map(\.text).joined(separator: ", ")))
            let place: [InspectValue.Field] = [
                .init(name: "offset", value: .number(offset)),
                .init(name: "number", value: .number(header.lsn.number)),
            ]
            edits.append(.object(place + parts.map(\.field)))
        }
        let torn = UInt64(bytes.count) - reading.end
        if torn > 0 { lines.append("byte \(reading.end): torn tail of \(torn) bytes") }
        let value = InspectValue.object([
            "file": .text(path), "bytes": .number(bytes.count), "end": .number(reading.end),
            "torn_bytes": .number(torn), "identity": describe(state.identity),
            "covered_through": .number(state.coveredThrough.number),
            "log_start": .number(state.logStart), "next_table": .number(state.nextTableID),
            "next_history": .number(state.nextHistoryID),
            "tables": .list(state.tables.map { describe($0) }),
            "history": .list(state.history.map { describe($0) }),
            "base": describe(state.base), "void_through": .number(state.voidThrough.number),
            "hours_before": edge(state.retention.floor.hours),
            "days_before": edge(state.retention.floor.days),
            "expired_before": edge(state.retention.floor.expired),
            "expired_events": .number(state.retention.events), "edits": .list(edits),
        ])
        return InspectReport(lines: lines, value: value, isSound: true)
    }

    // MARK: - Edits

    /// One thing that an edit changes, for people and for programs.
    private struct Part {
        let text: String
        let field: InspectValue.Field

        init(_ text: String, _ name: String, _ value: InspectValue) {
            self.text = text
            field = InspectValue.Field(name: name, value: value)
        }
    }

    private static func parts(of content: ManifestFile.Content) -> [Part] {
        switch content {
        case .snapshot(let state):
            let tables = state.tables.count
            return [Part("snapshot of \(tables) tables", "snapshot_tables", .number(tables))]
        case .edit(let edit):
            return parts(of: edit)
        }
    }

    private static func parts(of edit: ManifestEdit) -> [Part] {
        func ids(_ ids: [UInt64]) -> InspectValue { .list(ids.map { .number($0) }) }
        var parts: [Part] = []
        let added = edit.addTables.map(\.id)
        if !added.isEmpty { parts.append(Part("+ \(added)", "add_tables", ids(added))) }
        if !edit.removeTables.isEmpty {
            parts.append(
                Part("- \(edit.removeTables)", "remove_tables", ids(edit.removeTables)))
        }
        if let covered = edit.coveredThrough {
            parts.append(
                Part("covered through \(covered)", "covered_through", .number(covered.number)))
        }
        if let identity = edit.identity {
            parts.append(
                Part(
                    "incarnation \(identity.incarnation.number)", "identity", describe(identity)))
        }
        if let start = edit.logStart {
            parts.append(Part("log from file \(start)", "log_start", .number(start)))
        }
        let history = edit.addHistory.map(\.id)
        if !history.isEmpty {
            parts.append(Part("+ history \(history)", "add_history", ids(history)))
        }
        if !edit.removeHistory.isEmpty {
            parts.append(
                Part(
                    "- history \(edit.removeHistory)", "remove_history", ids(edit.removeHistory)))
        }
        if let base = edit.base {
            parts.append(Part("forgotten as of LSN \(base.through)", "base", describe(base)))
        }
        if let void = edit.voidThrough {
            parts.append(Part("void through \(void)", "void_through", .number(void.number)))
        }
        if let retention = edit.retention {
            parts.append(Part(line(retention), "retention", describe(retention)))
        }
        return parts
    }

    // MARK: - Parts of the state

    private static func line(_ identity: NodeIdentity) -> String {
        "host \(UUIDText.format(identity.hostID)), incarnation \(identity.incarnation.number), "
            + "generation \(identity.generation), start \(identity.startNonce)"
            + (identity.mustRecover ? ", must recover" : "")
    }

    /// Empty where the directory has none yet.
    private static func describe(_ identity: NodeIdentity?) -> InspectValue {
        guard let identity else { return .object([]) }
        return .object([
            "host": .text(UUIDText.format(identity.hostID)),
            "incarnation": .number(identity.incarnation.number),
            "generation": .number(identity.generation),
            "start": .text("\(identity.startNonce)"),
            "must_recover": .flag(identity.mustRecover),
        ])
    }

    private static func describe(_ file: HistoryMeta) -> InspectValue {
        .object([
            "id": .number(file.id), "level": .number(file.level), "bytes": .number(file.size),
            "outcomes": .number(file.outcomes), "letters": .number(file.letters),
            "first_segment": segment(file.firstSegment),
            "last_segment": segment(file.lastSegment),
        ])
    }

    /// Of partitions of which something is forgotten, one line each.
    private static func lines(_ base: HistoryBase) -> [String] {
        ["forgotten as of LSN \(base.through), outcomes from segment \(base.outcomesFrom)"]
            + base.partitions.enumerated().filter { $0.element != .none }.map { number, held in
                "p\(number): forgotten below segment \(held.floor), \(held.events) events of its "
                    + "batches, \(held.counted) counted, \(held.dead) dead"
            }
    }

    private static func describe(_ base: HistoryBase) -> InspectValue {
        let held = base.partitions.enumerated().filter { $0.element != .none }
        return .object([
            "through": .number(base.through.number), "outcomes_from": segment(base.outcomesFrom),
            "partitions": .list(
                held.map { number, held in
                    .object([
                        "partition": .number(number), "below": segment(held.floor),
                        "events": .number(held.events), "counted": .number(held.counted),
                        "dead": .number(held.dead),
                    ])
                }),
        ])
    }

    /// "none": before every other.
    private static func segment(_ segment: Segment) -> InspectValue {
        segment == .first ? .text("\(segment)") : .number(segment.number)
    }

    private static func describe(_ retention: Retention) -> InspectValue {
        .object([
            "hours_before": edge(retention.floor.hours),
            "days_before": edge(retention.floor.days),
            "expired_before": edge(retention.floor.expired),
            "expired_events": .number(retention.events),
        ])
    }

    /// In windows of the base length.
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
