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
        var damage: [InspectValue] = []
        var end = 0
        var chain = RecordScan.Chain(next: LSN(1), previousChecksum: 0)
        var start = LogFileHeader.size
        var first = LSN.zero
        switch LogFileHeader.read(bytes, file: number) {
        case .header(let header):
            chain = RecordScan.Chain(header)
            first = header.first
            lines.append("first LSN \(first)")
        case .newer(let version):
            throw .newerFormat(path: path, version: version, known: LogFileHeader.version)
        case .invalid:
            let what = "the file's header is damaged or of another file"
            lines.append("byte 0: \(what)")
            damage.append(.object(["offset": .number(0), "what": .text(what)]))
            start = 0
        }
        var scan = RecordScan(bytes, from: start, chain: chain, isSealed: false)
        while let event = scan.next() {
            switch event {
            case .record(let header, let offset):
                lines.append(
                    "byte \(offset): LSN \(header.lsn), kind \(header.kind), "
                        + "\(header.length) bytes, synced through \(header.synced)")
                records.append(record(header, at: offset))
            case .damage(let offset, let what, let missing):
                lines.append("byte \(offset): DAMAGED, \(what); missing from LSN \(missing)")
                damage.append(
                    .object([
                        "offset": .number(offset), "what": .text(what),
                        "missing_from": .number(missing.number),
                    ]))
            case .tornTail(let offset):
                end = offset
                lines.append("byte \(offset): torn tail of \(bytes.count - offset) bytes")
            case .end(let offset):
                end = offset
                lines.append("byte \(offset): end")
            }
        }
        let value = InspectValue.object([
            "file": .text(path), "number": .number(number), "bytes": .number(bytes.count),
            "sound": .flag(damage.isEmpty), "first_lsn": .number(first.number),
            "end": .number(end), "torn_bytes": .number(bytes.count - end),
            "damage": .list(damage), "records": .list(records),
        ])
        return InspectReport(lines: lines, value: value, isSound: damage.isEmpty)
    }

    private static func record(_ header: RecordFrame.Header, at offset: Int) -> InspectValue {
        .object([
            "offset": .number(offset), "lsn": .number(header.lsn.number),
            "kind": .number(header.kind), "bytes": .number(header.length),
            "synced": .number(header.synced.number),
        ])
    }
}
