package import Core

/// One batch's body as it was cut from a file.
package struct CutBatch: Hashable, Sendable {
    package let body: [UInt8]
    package let contentType: String
    package let events: Int
    /// How far its file is cut with it; nil where no positions are kept, and for a pipe.
    package let mark: CutMark?
}

/// When a batch of a pipe is cut before it is full.
package struct CutPause: Sendable {
    /// After no byte came for so long…
    package let patience: Duration
    /// …or once its first byte is so old, at the end of the next line.
    package let age: Duration
    package let now: @Sendable () -> Instant

    package init(patience: Duration, age: Duration, now: @escaping @Sendable () -> Instant) {
        self.patience = patience
        self.age = age
        self.now = now
    }
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
    /// When a batch of whole records of standard input is cut early; nil where the cut must depend
    /// on the bytes alone.
    private let pause: CutPause?
    /// Where files are cut on from; nil where positions are not kept.
    private var book: InputBook?
    private var tracker: CutTracker?
    /// Files of which nothing was left to send, all of it having been sealed by an earlier run.
    package private(set) var finishedBefore: [String] = []
    /// When the batch under way got its first bytes.
    private var begun: Instant?
    private var files: ArraySlice<String>
    private var source: ByteSource?
    private var cutter: any BatchCutter
    private var contentType = ""
    /// Bytes of the current source that the cutter has not taken; valid until its next read.
    private var pending = UnsafeRawBufferPointer(start: nil, count: 0)
    private var bytesOfFilesBefore = 0

    package init(
        files: [String], format: EventFormat?, limits: CutLimits, pause: CutPause? = nil,
        book: InputBook? = nil
    ) {
        self.pause = pause
        self.book = book
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
                    if !isPatient(with: source) { break }
                    pending = try source.read()
                    atEnd = pending.isEmpty
                }
                if try !take() { break }
            }
            if atEnd {
                try cutter.finish()
                bytesOfFilesBefore += source.bytesRead
                self.source = nil
            }
            begun = nil
            if let cut = cutter.cut() {
                let mark = tracker?.mark(preamble: cutter.preamble)
                if let mark { book?.advance(mark) }
                return CutBatch(
                    body: cut.bytes, contentType: contentType, events: cut.events, mark: mark)
            }
            guard atEnd, let tracker else { continue }
            if tracker.start == 0 {
                book?.drop(tracker.input)
            } else if book?.isAtStart(of: tracker) == true {
                finishedBefore.append(source.path)
            }
        }
    }

    /// Gives the cutter what is pending; false where a batch is due and whole.
    private func take() throws(FileFailure) -> Bool {
        if let pause, begun == nil, source?.isStandardInput == true { begun = pause.now() }
        let isDue = isDue
        let line = isDue ? pending.firstIndex(of: UInt8(ascii: "\n")).map { $0 + 1 } : nil
        let offered = UnsafeRawBufferPointer(rebasing: pending[..<(line ?? pending.count)])
        let taken = try cutter.take(offered)
        tracker?.take(UnsafeRawBufferPointer(rebasing: pending[..<taken]))
        pending = UnsafeRawBufferPointer(rebasing: pending[taken...])
        return !(isDue && line != nil && cutter.isBetweenRecords)
    }

    /// The batch under way has come of age.
    private var isDue: Bool {
        guard let pause, let begun else { return false }
        return pause.now() - begun >= pause.age
    }

    /// Whether to read on rather than cut what there is.
    private func isPatient(with source: ByteSource) -> Bool {
        guard let pause, source.isStandardInput, cutter.isBetweenRecords else { return true }
        let left = begun.map { pause.age - (pause.now() - $0) } ?? pause.age
        return left > .zero && source.isReady(within: min(pause.patience, left))
    }

    private func openNext() throws(FileFailure) -> ByteSource? {
        tracker = nil
        guard let path = files.popFirst() else { return nil }
        if let resumed = try resume(path) { return resumed }
        let source = try ByteSource(path: path)
        let head = try source.read()
        let found = format ?? EventFormat.detect(path: path, head: head.dropMark.prefix(4096))
        // A file without a byte needs no format: a cutter of any kind gives nothing.
        guard let format = found ?? (head.isEmpty ? .ndjson : nil) else {
            throw FileFailure(
                path: source.path,
                reason: "cannot tell its format by its name or first byte; "
                    + "say --format ndjson, json, cloudevents, csv, tsv, clf or binary")
        }
        if let identity = source.identity,
            let input = book?.claim(
                nil, path: InputBook.absolute(path), identity: identity, format: format)
        {
            tracker = CutTracker(input, from: CutPosition())
        }
        pending = head.dropMark
        tracker?.take(UnsafeRawBufferPointer(rebasing: head[..<(head.count - pending.count)]))
        cutter = cutter(for: format, path: source.path)
        contentType = format.contentType
        return source
    }

    /// Opens a file that an earlier run has begun, behind its last batch; nil for any other.
    private func resume(_ path: String) throws(FileFailure) -> ByteSource? {
        guard let book, path != "-" else { return nil }
        let absolute = InputBook.absolute(path)
        // Found out without opening it: a pipe that is closed again is broken.
        guard let identity = ByteSource.identity(ofFile: path) else { return nil }
        var isChanged = false
        for known in book.candidates(path: absolute, identity: identity) {
            let source = try ByteSource(path: path)
            guard let rest = try source.skip(to: known.position) else {
                isChanged = isChanged || known.input.path == absolute
                continue
            }
            try goOn(known, at: absolute, of: source, identity, rest)
            return source
        }
        guard !isChanged else {
            throw FileFailure(
                path: path,
                reason: "was begun with other bytes than it has now: it was changed, cut short or "
                    + "replaced; name a file that was renamed before the one that took its "
                    + "place, or send this one with another --spool directory")
        }
        return nil
    }

    private func goOn(
        _ known: InputProgress, at path: String, of source: ByteSource,
        _ identity: CutInput.Identity, _ rest: UnsafeRawBufferPointer
    ) throws(FileFailure) {
        let position = known.position
        let began = known.input.format
        guard format ?? began == began else {
            throw FileFailure(
                path: source.path, reason: "was begun as \(began.rawValue); leave out --format")
        }
        if position.isWithinLine, let next = rest.first, next != 0x0a, next != 0x0d {
            throw FileFailure(
                path: source.path,
                reason: "has grown within its last line, whose beginning was sent as an event of "
                    + "its own; put a line's end at byte \(position.offset) and run again")
        }
        guard let input = book?.claim(known.input, path: path, identity: identity, format: began)
        else { return }
        tracker = CutTracker(input, from: position)
        pending = rest
        contentType = began.contentType
        cutter = cutter(
            for: began, path: source.path, at: position.offset - position.preamble.count,
            resumesArray: !position.preamble.isEmpty)
        let preamble = UnsafeMutableRawBufferPointer.allocate(
            byteCount: position.preamble.count, alignment: 1)
        defer { preamble.deallocate() }
        preamble.copyBytes(from: position.preamble)
        let taken = try cutter.take(UnsafeRawBufferPointer(preamble))
        precondition(taken == preamble.count, "a preamble fills no batch")
    }

    private func cutter(
        for format: EventFormat, path: String, at offset: Int = 0, resumesArray: Bool = false
    ) -> any BatchCutter {
        switch format {
        case .ndjson, .clf: RecordCutter(framing: .lines, limits: limits)
        case .tsv: RecordCutter(framing: .linesAfterHeader, limits: limits)
        case .csv: RecordCutter(framing: .quotedRecordsAfterHeader, limits: limits)
        case .json, .cloudevents:
            ValueCutter(path: path, limits: limits, offset: offset, resumesArray: resumesArray)
        case .binary: BinaryCutter(path: path, limits: limits, offset: offset)
        }
    }
}

extension UnsafeRawBufferPointer {
    /// The bytes without a byte order mark.
    fileprivate var dropMark: UnsafeRawBufferPointer {
        starts(with: [0xef, 0xbb, 0xbf]) ? UnsafeRawBufferPointer(rebasing: self[3...]) : self
    }
}
