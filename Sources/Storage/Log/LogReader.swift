package import Core

/// A record as it was read back.
package struct LogRecord: Hashable, Sendable {
    package let kind: UInt8
    package let lsn: LSN
    package let position: LogPosition
    /// Where it `isHead`, of a batch record what stands before the body: it came from an index.
    package let payload: [UInt8]
    package let isHead: Bool

    init(
        kind: UInt8, lsn: LSN, position: LogPosition, payload: [UInt8], isHead: Bool = false
    ) {
        self.kind = kind
        self.lsn = lsn
        self.position = position
        self.payload = payload
        self.isHead = isHead
    }
}

/// Reads single records at known places: what peers lack is served from here.
package enum LogReader {
    /// The record at `position`, checked whole.
    package static func read(
        _ position: LogPosition, expecting lsn: LSN?, from fileSystem: any FileSystem
    ) throws(StorageError) -> LogRecord {
        let file = try fileSystem.open(FileNames.log(position.file), .read)
        return try read(position, expecting: lsn, in: file)
    }

    /// The records at `positions`, in their order, each file opened once.
    package static func read(
        _ positions: [LogPosition], from fileSystem: any FileSystem
    ) throws(StorageError) -> [LogRecord] {
        var files: [UInt32: any StoredFile] = [:]
        var records: [LogRecord] = []
        for position in positions {
            let file: any StoredFile
            if let opened = files[position.file] {
                file = opened
            } else {
                file = try fileSystem.open(FileNames.log(position.file), .read)
                files[position.file] = file
            }
            records.append(try read(position, expecting: nil, in: file))
        }
        return records
    }

    private static func read(
        _ position: LogPosition, expecting lsn: LSN?, in file: any StoredFile
    ) throws(StorageError) -> LogRecord {
        let size = Int(position.length)
        guard size >= RecordFrame.size, size <= StorageLimits.logPayloadMax + RecordFrame.size
        else {
            throw .damaged(
                path: file.path, offset: position.offset, what: "a position of \(size) bytes")
        }
        var flaw = "a record is cut off"
        // A read that fails its checksum is tried once more: the fault may lie on the way.
        for _ in 0..<2 {
            let bytes = try file.read(at: position.offset, count: size)
            guard bytes.count == size else { continue }
            switch bytes.withUnsafeBytes({ RecordFrame.parse($0, at: 0) }) {
            case .failure(let found):
                flaw = found.what
            case .success(let header):
                guard header.length + RecordFrame.size == size, lsn == nil || header.lsn == lsn
                else {
                    flaw = "record \(header.lsn) of \(header.length) bytes stands here"
                    continue
                }
                return LogRecord(
                    kind: header.kind, lsn: header.lsn, position: position,
                    payload: Array(bytes[RecordFrame.size...]))
            }
        }
        throw .damaged(path: file.path, offset: position.offset, what: flaw)
    }
}
