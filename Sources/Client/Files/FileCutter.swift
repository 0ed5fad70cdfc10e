/// One batch's body as it was cut from a file.
package struct CutBatch: Hashable, Sendable {
    package let body: [UInt8]
    package let contentType: String
    package let events: Int
}

/// Cuts files, in order, into batches; no batch spans two files.
///
/// A file that fails (it breaks off, its array is broken) fails at the batch where it happens: the
/// batches before it are out, and the bytes since then are not sent, so that the mended file gives
/// the same batches under the same ids from there on.
package final class FileCutter {
    private let limits: CutLimits
    /// The format that the user named; nil to find out for each file.
    private let format: EventFormat?
    /// A batch of whole records is cut early where standard input pauses for so long; nil where the
    /// cut must depend on the bytes alone.
    private let patience: Duration?
    private var files: ArraySlice<String>
    private var source: ByteSource?
    private var cutter: any BatchCutter
    private var contentType = ""
    /// Bytes of the current source that the cutter has not taken; valid until its next read.
    private var pending = UnsafeRawBufferPointer(start: nil, count: 0)
    private var bytesOfFilesBefore = 0

    package init(
        files: [String], format: EventFormat?, limits: CutLimits, patience: Duration? = nil
    ) {
        self.patience = patience
        self.files = files[...]
        self.format = format
        self.limits = limits
        cutter = RecordCutter(framing: .lines, limits: limits)
    }

    /// Bytes read so far, of all files.
    package var bytesRead: Int { bytesOfFilesBefore + (source?.bytesRead ?? 0) }

    /// The next batch, nil at the end of the last file.
    package func next() throws(FileFailure) -> CutBatch? {
        while true {
            if source == nil { source = try openNext() }
            guard let source else { return nil }
            var atEnd = false
            while !cutter.isFull, !atEnd {
                if pending.isEmpty {
                    if let patience, source.isStandardInput, cutter.isBetweenRecords,
                        !source.isReady(within: patience)
                    {
                        break
                    }
                    pending = try source.read()
                    atEnd = pending.isEmpty
                }
                let taken = try cutter.take(pending)
                pending = UnsafeRawBufferPointer(rebasing: pending[taken...])
            }
            if atEnd {
                try cutter.finish()
                bytesOfFilesBefore += source.bytesRead
                self.source = nil
            }
            if let cut = cutter.cut() {
                return CutBatch(body: cut.bytes, contentType: contentType, events: cut.events)
            }
        }
    }

    private func openNext() throws(FileFailure) -> ByteSource? {
        guard let path = files.popFirst() else { return nil }
        let source = try ByteSource(path: path)
        pending = try source.read()
        if pending.starts(with: [0xef, 0xbb, 0xbf]) {
            pending = UnsafeRawBufferPointer(rebasing: pending[3...])
        }
        let found = format ?? EventFormat.detect(path: path, head: pending.prefix(4096))
        // A file without a byte needs no format: a cutter of any kind gives nothing.
        guard let format = found ?? (pending.isEmpty ? .ndjson : nil) else {
            throw FileFailure(
                path: source.path,
                reason: "cannot tell its format by its name or first byte; "
                    + "say --format ndjson, json, cloudevents, csv, tsv, clf or binary")
        }
        cutter = cutter(for: format, path: source.path)
        contentType = format.contentType
        return source
    }

    private func cutter(for format: EventFormat, path: String) -> any BatchCutter {
        switch format {
        case .ndjson, .clf: RecordCutter(framing: .lines, limits: limits)
        case .tsv: RecordCutter(framing: .linesAfterHeader, limits: limits)
        case .csv: RecordCutter(framing: .quotedRecordsAfterHeader, limits: limits)
        case .json, .cloudevents: ValueCutter(path: path, limits: limits)
        case .binary: BinaryCutter(path: path, limits: limits)
        }
    }
}
