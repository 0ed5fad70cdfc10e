package import Core
internal import Wire

/// The files of a spool and what they add up to: a journal in segments that are only appended to.
///
/// **Order.** A batch is durable, together with how far it takes its input, before `seal` returns:
/// one record, one fsync. So the batches that are found after a crash and the positions that are
/// found with them cover each input without a gap and without an overlap. Outcomes are written and
/// made durable by the next fsync: one that is lost means that its batch is sent again, under the
/// same id, and answered as a duplicate.
///
/// **Space.** Each segment begins with the whole state but for the batches that are held. So the
/// oldest one can go as soon as all of its batches have their outcome, always the oldest first,
/// since later ones tell the outcomes of its batches. Where one has none for long, it is copied
/// (`carry`).
///
/// **Failure.** After the first call of the disk that fails nothing more is written: what an fsync
/// that failed left behind cannot be known, and trying again would prove nothing (Rebello et al.,
/// *Can applications recover from fsync failures?*, 2020). It is cut off, since none of it was
/// sent.
///
/// Invariant: a batch that was handed out for sending is durable. A tail that a crash tore was not.
package struct SpoolJournal {
    /// Where a new segment begins and what may precede it.
    package struct Bounds: Hashable, Sendable {
        package var segmentBytes = SpoolLimits.segmentBytes
        package var stateMax = SpoolLimits.stateMax

        package init() {}
    }

    struct Segment {
        let number: UInt64
        var length: Int
        /// Bytes of its first record.
        var beginning: Int
        /// Of its batches those without an outcome.
        var held: Int
        let file: any SpoolFile
    }

    package internal(set) var state: SpoolState
    let files: any SpoolFiles
    let bounds: Bounds
    /// Ascending without a gap; the last one is written.
    var segments: [Segment] = []
    /// Bytes of the last segment that are durable.
    var synced = 0
    private var failure: SpoolError?

    /// Bytes of all segments.
    package var bytes: Int { segments.reduce(0) { $0 + $1.length } }

    /// Makes or finds a spool. `producer` is who a new one speaks for.
    package init(
        _ files: any SpoolFiles, producer: UInt128, bounds: Bounds = Bounds()
    ) throws(SpoolError) {
        self.files = files
        self.bounds = bounds
        state = SpoolState(producer: producer)
        try recover()
    }

    /// Writes a batch down, durably. It may be sent when this returns.
    package mutating func seal(
        _ draft: BatchDraft, target: String, createdAt: WallTime
    ) throws(SpoolError) -> SealedBatch {
        let mark = draft.mark
        let sealed = SpoolRecord.Sealed(
            sequence: state.nextSequence, createdAt: createdAt, contentType: draft.contentType,
            target: target, events: draft.events, replaces: nil,
            cut: mark.map { SpoolRecord.Cut(input: $0.input.number, end: $0.end) },
            body: draft.body)
        return try seal(sealed, input: mark.flatMap { isKnown($0.input) ? nil : $0.input })
    }

    /// Seals the events of a batch anew that is finally not counted, in its place and in one step.
    package mutating func reseal(
        _ sequence: UInt64, createdAt: WallTime
    ) throws(SpoolError) -> SealedBatch {
        let old = try load(sequence)
        let sealed = SpoolRecord.Sealed(
            sequence: state.nextSequence, createdAt: createdAt, contentType: old.contentType,
            target: old.target, events: old.events, replaces: sequence, cut: nil, body: old.body)
        return try seal(sealed, input: nil)
    }

    /// Notes a final outcome, after which the batch's bytes may go.
    package mutating func settle(
        _ sequence: UInt64, _ outcome: SpoolOutcome
    ) throws(SpoolError) {
        guard state.held[sequence] != nil else { return }
        try write([.settled(sequence: sequence, outcome)])
        try drop()
    }

    /// The batch as it was sealed, read from disk.
    package func load(_ sequence: UInt64) throws(SpoolError) -> SealedBatch {
        SealedBatch(try record(of: sequence), producer: state.producer)
    }

    func record(of sequence: UInt64) throws(SpoolError) -> SpoolRecord.Sealed {
        // What a failed fsync left behind may be read and not be durable.
        if let failure { throw failure }
        guard let held = state.held[sequence],
            let segment = segments.first(where: { $0.number == held.segment })
        else { preconditionFailure("batch \(sequence) is not held") }
        let bytes = try segment.file.read(at: held.offset, count: held.length)
        let name = SpoolJournal.name(segment.number)
        // The record is checked in its place, as at the start.
        guard
            let frame = SpoolFrame(
                in: bytes, at: 0, base: held.offset, segment: segment.number),
            frame.end == bytes.count
        else {
            throw .damaged(file: name, offset: held.offset, detail: "a batch cannot be read")
        }
        do {
            switch try frame.record(in: bytes) {
            case .sealed(let sealed), .carried(let sealed): return sealed
            case .begin, .input, .settled: break
            }
        } catch {
            throw .damaged(file: name, offset: held.offset, detail: "\(error)")
        }
        throw .damaged(file: name, offset: held.offset, detail: "no batch lies there")
    }

    /// Makes everything durable that was written.
    package mutating func sync() throws(SpoolError) {
        try attempt { journal throws(SpoolError) in
            try journal.syncLast()
        }
    }

    /// Gives back the space of what ended, where it is worth it: all but the state if no batch is
    /// held.
    package mutating func compact() throws(SpoolError) {
        try sync()
        guard state.held.isEmpty, let last = segments.last else {
            // Each call removes at least one of the segments that were there: so many calls are
            // enough.
            for _ in 0..<segments.count {
                guard try carry() else { return }
            }
            return
        }
        guard segments.count > 1 || last.length > bounds.segmentBytes / 64 else { return }
        try attempt { journal throws(SpoolError) in try journal.beginSegment() }
        try drop()
    }

    // MARK: - Writing

    private func isKnown(_ input: CutInput) -> Bool {
        state.inputs.indices.contains(input.number) && state.inputs[input.number].input == input
    }

    private mutating func seal(
        _ sealed: SpoolRecord.Sealed, input: CutInput?
    ) throws(SpoolError) -> SealedBatch {
        guard sealed.body.count <= SpoolLimits.batchMax else {
            throw .batchTooLarge(bytes: sealed.body.count, limit: SpoolLimits.batchMax)
        }
        if let input {
            precondition(
                input.number <= state.inputs.count, "input \(input.number) before those between")
            let preamble = sealed.cut?.end.preamble.count ?? 0
            guard state.size + input.size + preamble <= bounds.stateMax else {
                throw .tooManyInputs(limit: bounds.stateMax)
            }
        }
        try endSegment()
        try drop()
        try write((input.map { [.input($0)] } ?? []) + [.sealed(sealed)])
        try sync()
        // What was replaced may have been the last of its segment.
        if sealed.replaces != nil { try drop() }
        return SealedBatch(sealed, producer: state.producer)
    }

    /// Appends records by one write and makes them part of the state.
    mutating func write(_ records: [SpoolRecord]) throws(SpoolError) {
        try attempt { journal throws(SpoolError) in
            let last = journal.segments.count - 1
            let segment = journal.segments[last]
            var writer = ByteWriter()
            var places: [Range<Int>] = []
            for record in records {
                switch record {
                case .sealed(let sealed), .carried(let sealed):
                    writer.bytes.reserveCapacity(writer.bytes.count + sealed.body.count + 2048)
                case .begin, .input, .settled: break
                }
                let start = writer.bytes.count
                SpoolFrame.encode(
                    record, segment: segment.number, offset: segment.length + start,
                    synced: journal.synced, into: &writer)
                places.append((segment.length + start)..<(segment.length + writer.bytes.count))
            }
            try segment.file.write(writer.bytes, at: segment.length)
            journal.segments[last].length += writer.bytes.count
            for (record, place) in zip(records, places) {
                do throws(SpoolState.Contradiction) {
                    try journal.apply(record, in: segment.number, place)
                } catch {
                    preconditionFailure("the spool wrote what it cannot read: \(error.reason)")
                }
            }
        }
    }

    /// Makes a record part of the state.
    mutating func apply(
        _ record: SpoolRecord, in segment: UInt64, _ place: Range<Int>
    ) throws(SpoolState.Contradiction) {
        switch record {
        case .begin(let start):
            guard state.agrees(with: start) else {
                throw SpoolState.Contradiction("a segment that begins with another state")
            }
        case .input(let input):
            try state.apply(input)
        case .sealed(let sealed):
            let replaced = sealed.replaces.flatMap { state.held[$0]?.segment }
            try state.apply(
                sealed, segment: segment, offset: place.lowerBound, length: place.count)
            count(segment, 1)
            if let replaced { count(replaced, -1) }
        case .carried(let sealed):
            let isFirst = state.held[sealed.sequence] == nil
            try state.applyCopy(
                sealed, segment: segment, offset: place.lowerBound, length: place.count)
            if isFirst { count(segment, 1) }
        case .settled(let sequence, let outcome):
            let ended = state.held[sequence]?.segment
            try state.settle(sequence, outcome)
            if let ended { count(ended, -1) }
        }
    }

    mutating func count(_ segment: UInt64, _ change: Int) {
        guard let index = segments.firstIndex(where: { $0.number == segment }) else { return }
        segments[index].held += change
    }

    private mutating func syncLast() throws(SpoolError) {
        guard let last = segments.last, synced < last.length else { return }
        do {
            try last.file.sync()
        } catch {
            cut(last.file)
            throw error
        }
        synced = last.length
    }

    /// After an fsync that failed the bytes that it was for can still be read, and the next fsync
    /// may call them durable though they are not. Nothing of them was acted on: the next process
    /// must not see them.
    private func cut(_ file: any SpoolFile) {
        do {
            try file.truncate(to: synced)
        } catch {
            // The failure of the fsync is what is reported; the next process checks what is left.
            return
        }
    }

    /// Begins the next segment where the last one is full.
    mutating func endSegment() throws(SpoolError) {
        guard let last = segments.last, last.length >= bounds.segmentBytes else { return }
        try attempt { journal throws(SpoolError) in try journal.beginSegment() }
    }

    /// Begins the next segment; the one before is durable then, and so is the name of this one.
    mutating func beginSegment() throws(SpoolError) {
        try syncLast()
        let number = (segments.last?.number ?? 0) + 1
        var writer = ByteWriter()
        let start = state.start(previousLength: segments.last?.length)
        SpoolFrame.encode(.begin(start), segment: number, offset: 0, synced: 0, into: &writer)
        let file = try files.open(SpoolJournal.name(number), creating: true)
        try file.truncate(to: 0)
        try file.write(writer.bytes, at: 0)
        try file.sync()
        try files.syncNames()
        let length = writer.bytes.count
        segments.append(
            Segment(number: number, length: length, beginning: length, held: 0, file: file))
        synced = writer.bytes.count
    }

    /// Removes the oldest segments that hold nothing that is still to be sent. The outcomes of
    /// their batches are durable first: without them the totals would lack what is gone.
    mutating func drop() throws(SpoolError) {
        while segments.count > 1, segments[0].held == 0 {
            try sync()
            try attempt { journal throws(SpoolError) in
                try journal.files.remove(SpoolJournal.name(journal.segments[0].number))
                try journal.files.syncNames()
                journal.segments.removeFirst()
            }
        }
    }

    /// Runs a step; after one that failed none is run again.
    mutating func attempt(
        _ step: (inout SpoolJournal) throws(SpoolError) -> Void
    ) throws(SpoolError) {
        if let failure { throw failure }
        do {
            try step(&self)
        } catch {
            failure = error
            throw error
        }
    }

    // MARK: - Names

    private static let suffix = ".spool"

    package static func name(_ number: UInt64) -> String {
        let digits = String(number, radix: 16)
        return String(repeating: "0", count: 16 - digits.count) + digits + suffix
    }

    /// The number of a segment's name, nil for any other name.
    package static func number(_ name: String) -> UInt64? {
        guard name.hasSuffix(suffix), name.utf8.count == 16 + suffix.utf8.count,
            let number = UInt64(name.dropLast(suffix.utf8.count), radix: 16),
            SpoolJournal.name(number) == name
        else { return nil }
        return number
    }
}

extension SealedBatch {
    init(_ sealed: SpoolRecord.Sealed, producer: UInt128) {
        self.init(
            id: BatchID(producer: producer, sequence: sealed.sequence),
            createdAt: sealed.createdAt, contentType: sealed.contentType, target: sealed.target,
            body: sealed.body, events: sealed.events)
    }
}
