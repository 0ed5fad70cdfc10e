package import Core
package import Wire

/// The kinds of records in a node's log. Persisted: do not change the numbers.
package enum LogKind: UInt8, Sendable {
    /// A home record (`BatchRecord` of kind home). It makes nothing visible: a mark does.
    case home = 1
    /// Slices of a bound batch, at a node that held no home record of this content.
    case slices = 2
    /// The fold contains these partitions of a batch from here on: written in the same step in
    /// which the memtable takes them, so that a flush covers exactly the marks up to an LSN.
    case applied = 3
    /// A batch is bound, or finished: spares work after a restart.
    case progress = 4
    /// How far a peer has come (`PeerMemory`): its incarnation, remembered before it voted, and the
    /// last record that it is known to have.
    case peer = 5
    /// No id that is new to this home is taken into the segments below.
    case frozen = 6
    /// The segments below are closed at the homes of this node.
    case closed = 7
    /// The segments below are sealed in the partitions of this node.
    case sealed = 8
    /// A home record that was not bound when its segment closed: it is none any more.
    case dropped = 9
    /// A process began to write here.
    case run = 10
    /// What of the log's head is still needed, said again before the head is let go of.
    case state = 11
    /// What is decided about members that are left out, and what was promised (`AbsenceRegister`).
    case absence = 12
}

/// The body of a `state` record: everything that a log says but of batches.
package struct LogState: Hashable, Sendable {
    package var marks: Watermarks
    /// Ascending by name.
    package var peers: [PeerMemory]
    package var runs: RunHistory
    package var register: AbsenceRegister

    package init(
        marks: Watermarks, peers: [PeerMemory], runs: RunHistory,
        register: AbsenceRegister = AbsenceRegister()
    ) {
        self.marks = marks
        self.peers = peers
        self.runs = runs
        self.register = register
    }

    package var encoded: [UInt8] {
        var writer = ByteWriter()
        writer.write(fixed: marks.frozen.number)
        writer.write(fixed: marks.closed.number)
        writer.write(fixed: marks.sealed.number)
        writer.write(count: peers.count)
        for peer in peers { writer.write(sized: peer.encoded) }
        runs.encode(into: &writer)
        register.encode(into: &writer)
        return writer.bytes
    }

    package init(decoding bytes: [UInt8]) throws(DecodeError) {
        var reader = ByteReader(bytes)
        marks = Watermarks()
        marks.frozen = Segment(try reader.fixed())
        marks.closed = Segment(try reader.fixed())
        marks.sealed = Segment(try reader.fixed())
        peers = []
        for _ in 0..<(try reader.count(ofSize: 2)) {
            peers.append(try PeerMemory(decoding: try reader.sized()))
        }
        runs = try RunHistory(from: &reader)
        // Earlier builds ended here.
        register = reader.isAtEnd ? AbsenceRegister() : try AbsenceRegister(from: &reader)
        try reader.finish()
    }
}

/// The body of a `frozen`, `closed` or `sealed` record.
package struct SegmentMark: Hashable, Sendable {
    package var below: Segment
    /// What was agreed on: of the home sets, of the applied sets; empty for a freeze.
    package var digest: SetDigest

    package init(below: Segment, digest: SetDigest = .empty) {
        self.below = below
        self.digest = digest
    }

    package var encoded: [UInt8] {
        var writer = ByteWriter()
        writer.write(fixed: below.number)
        writer.write(digest)
        return writer.bytes
    }

    package init(decoding bytes: [UInt8]) throws(DecodeError) {
        var reader = ByteReader(bytes)
        below = Segment(try reader.fixed())
        digest = try reader.digest()
        try reader.finish()
    }
}

/// How far a node has come with its segments; each mark covers those below it, and never goes back.
package struct Watermarks: Hashable, Sendable {
    /// Nothing new is taken.
    package var frozen = Segment.first
    /// Decided at this node's homes: what was not bound never will be.
    package var closed = Segment.first
    /// The same on all replicas of this node's partitions.
    package var sealed = Segment.first

    package init() {}

    package mutating func raise(to other: Watermarks) {
        frozen = max(frozen, other.frozen)
        closed = max(closed, other.closed)
        sealed = max(sealed, other.sealed)
    }
}

extension LogKind {
    /// The greatest number that this build knows.
    package static let newest = LogKind.absence

    /// Their payloads are batch records, of which an index keeps the heads.
    package static let batchRecords = [LogKind.home.rawValue, LogKind.slices.rawValue]

    /// It says something of one batch.
    package var isOfBatch: Bool {
        switch self {
        case .home, .slices, .applied, .progress, .dropped: true
        case .peer, .frozen, .closed, .sealed, .state, .run, .absence: false
        }
    }
}

/// The body of an `applied` mark.
package struct AppliedMark: Hashable, Sendable {
    package var id: BatchID
    package var partitions: PartitionSet

    package init(id: BatchID, partitions: PartitionSet) {
        self.id = id
        self.partitions = partitions
    }

    package var encoded: [UInt8] {
        var writer = ByteWriter()
        writer.write(id)
        writer.write(partitions)
        return writer.bytes
    }

    package init(decoding bytes: [UInt8]) throws(DecodeError) {
        var reader = ByteReader(bytes)
        id = try reader.batchID()
        partitions = try reader.partitions()
        try reader.finish()
    }
}

/// The body of a `progress` mark.
package struct ProgressMark: Hashable, Sendable {
    package var id: BatchID
    package var contentHash: Hash128
    package var isFinished: Bool

    package init(id: BatchID, contentHash: Hash128, isFinished: Bool) {
        self.id = id
        self.contentHash = contentHash
        self.isFinished = isFinished
    }

    package var encoded: [UInt8] {
        var writer = ByteWriter()
        writer.write(id)
        writer.write(contentHash)
        writer.write(flag: isFinished)
        return writer.bytes
    }

    package init(decoding bytes: [UInt8]) throws(DecodeError) {
        var reader = ByteReader(bytes)
        id = try reader.batchID()
        contentHash = try reader.hash()
        isFinished = try reader.flag()
        try reader.finish()
    }
}
