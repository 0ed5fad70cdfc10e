package import Core
package import Wire

/// How far the disk of a node is known to have come: which of its lives, which run of its process,
/// and the last record of that run and the edits of the manifest of which it is known that they
/// are on the disk.
///
/// A disk that was set back to an older state says nothing of it. Only others can tell, so peers
/// keep what they heard of each node, durably, and say it when the node starts
/// (docs/decisions/0022-lives.md).
package struct Standing: Hashable, Sendable {
    package var incarnation: Incarnation
    /// Drawn at each start of the process; 0 where no record of this life is known.
    package var run: UInt64
    package var lsn: LSN
    package var edits: UInt64

    package init(
        incarnation: Incarnation, run: UInt64 = 0, lsn: LSN = .zero, edits: UInt64 = 0
    ) {
        self.incarnation = incarnation
        self.run = run
        self.lsn = lsn
        self.edits = edits
    }

    package static let none = Standing(incarnation: .none)

    /// Takes in what was heard later; false where it says nothing new. A node tells of a new run
    /// only to those whose memory of the ones before it has met.
    package mutating func raise(to other: Standing) -> Bool {
        guard other.incarnation >= incarnation else { return false }
        if other.incarnation == incarnation {
            guard other.run != 0 else { return false }
            if other.run == run {
                guard other.lsn > lsn || other.edits > edits else { return false }
                lsn = max(lsn, other.lsn)
                edits = max(edits, other.edits)
                return true
            }
        }
        self = other
        return true
    }
}

/// The runs of a process that a disk knows of, with the LSN at which each began: the first record
/// of each run says so.
package struct RunHistory: Hashable, Sendable {
    private struct Run: Hashable, Sendable {
        var run: UInt64
        var first: LSN
        /// Of the manifest when it began, its own first one not among them.
        var edits: UInt64
    }

    /// Ascending by where they began.
    private var runs: [Run] = []

    package init() {}

    package var count: Int { runs.count }

    /// The oldest are forgotten beyond `ReplicationLimits.runsMax`. Whoever remembers one of them
    /// takes this disk for an older one, which is safe: it recovers.
    package mutating func begin(_ run: UInt64, at first: LSN, edits: UInt64) {
        precondition(runs.last.map { $0.first < first } ?? true, "runs begin in the log's order")
        if runs.count == ReplicationLimits.runsMax { runs.removeFirst() }
        runs.append(Run(run: run, first: first, edits: edits))
    }

    /// Whether the disk has come as far as the `standing` of this life says: it knows the run, and
    /// the run did not end before.
    package func reaches(_ standing: Standing) -> Bool {
        guard standing.run != 0 else { return true }
        guard let place = runs.lastIndex(where: { $0.run == standing.run }) else { return false }
        // The last one goes on.
        guard place + 1 < runs.count else { return true }
        return runs[place + 1].first > standing.lsn && runs[place + 1].edits >= standing.edits
    }

    func encode(into writer: inout ByteWriter) {
        writer.write(count: runs.count)
        for run in runs {
            writer.write(fixed: run.run)
            writer.write(fixed: run.first.number)
            writer.write(fixed: run.edits)
        }
    }

    init(from reader: inout ByteReader) throws(DecodeError) {
        let count = try reader.count(ofSize: 24)
        guard count <= ReplicationLimits.runsMax else { throw reader.fail("\(count) runs") }
        for _ in 0..<count {
            let run: UInt64 = try reader.fixed()
            let first = LSN(try reader.fixed())
            if let last = runs.last, last.first >= first { throw reader.fail("a run's order") }
            runs.append(Run(run: run, first: first, edits: try reader.fixed()))
        }
    }
}

/// The body of a `run` record: a process began to write here.
package struct RunMark: Hashable, Sendable {
    package var run: UInt64
    /// Of the manifest, as the start found it.
    package var edits: UInt64

    package init(run: UInt64, edits: UInt64) {
        self.run = run
        self.edits = edits
    }

    package var encoded: [UInt8] {
        var writer = ByteWriter()
        writer.write(fixed: run)
        writer.write(fixed: edits)
        return writer.bytes
    }

    package init(decoding bytes: [UInt8]) throws(DecodeError) {
        var reader = ByteReader(bytes)
        run = try reader.fixed()
        edits = try reader.fixed()
        try reader.finish()
    }
}

/// The body of a `peer` record: what this node knows of another, or of itself.
package struct PeerMemory: Hashable, Sendable {
    package var node: NodeID
    package var standing: Standing

    package init(node: NodeID, standing: Standing) {
        self.node = node
        self.standing = standing
    }

    package var encoded: [UInt8] {
        var writer = ByteWriter()
        writer.write(node)
        writer.write(standing)
        return writer.bytes
    }

    package init(decoding bytes: [UInt8]) throws(DecodeError) {
        var reader = ByteReader(bytes)
        node = try reader.node()
        standing = try reader.standing()
        try reader.finish()
    }
}

extension ByteWriter {
    mutating func write(_ standing: Standing) {
        write(fixed: standing.incarnation.number)
        write(fixed: standing.run)
        write(fixed: standing.lsn.number)
        write(fixed: standing.edits)
    }
}

extension ByteReader {
    mutating func standing() throws(DecodeError) -> Standing {
        let incarnation = try incarnation()
        let run: UInt64 = try fixed()
        let lsn: UInt64 = try fixed()
        return Standing(
            incarnation: incarnation, run: run, lsn: LSN(lsn), edits: try fixed())
    }

    mutating func incarnation() throws(DecodeError) -> Incarnation {
        let number: UInt32 = try fixed()
        guard number < ReplicationLimits.incarnationMax else { throw fail("incarnation \(number)") }
        return Incarnation(number)
    }
}
