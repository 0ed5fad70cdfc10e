/// One dead letter of the cluster, by its batch and its line there.
package struct LetterID: Hashable, Comparable, Sendable, CustomStringConvertible {
    package var batch: BatchID
    package var line: UInt32

    package init(batch: BatchID, line: UInt32) {
        self.batch = batch
        self.line = line
    }

    package static func < (left: LetterID, right: LetterID) -> Bool {
        (left.batch, left.line) < (right.batch, right.line)
    }

    package var description: String { "\(batch) line \(line)" }
}

/// That a dead letter was purged or replayed: a cell like any other, which a batch of its own
/// counts (docs/decisions/0031-retired-letters.md). It lies in the home partition of the letter's
/// batch, beside the letter, under a key and a type that no event can have: they are no UTF-8.
package enum RetirementMark {
    /// Of all marks, and of nothing else. Persisted.
    package static let type: [UInt8] = [0xff]

    /// Whether cells of a type are counted for the cluster's own use, and never shown.
    @inline(__always)
    package static func isHidden(type: UnsafeRawBufferPointer) -> Bool {
        type.first == 0xff
    }

    /// The key's first byte, which sorts behind all keys of events.
    package static let lead: UInt8 = 0xff

    /// 29 bytes: 0xff, producer, sequence and line, each big-endian. Persisted.
    package static func key(of letter: LetterID) -> [UInt8] {
        var key = [lead]
        withUnsafeBytes(of: letter.batch.producer.bigEndian) { key.append(contentsOf: $0) }
        withUnsafeBytes(of: letter.batch.sequence.bigEndian) { key.append(contentsOf: $0) }
        withUnsafeBytes(of: letter.line.bigEndian) { key.append(contentsOf: $0) }
        return key
    }

    /// The letter that a key names; nil for what is no mark's.
    package static func letter(ofKey key: [UInt8]) -> LetterID? {
        guard key.count == 29, key[0] == lead else { return nil }
        func number<Value: FixedWidthInteger>(_ bytes: Range<Int>) -> Value {
            key[bytes].reduce(0) { $0 << 8 | Value($1) }
        }
        return LetterID(
            batch: BatchID(producer: number(1..<17), sequence: number(17..<25)),
            line: number(25..<29))
    }
}

/// The letters that are retired, of some partitions.
package struct RetiredLetters: Hashable, Sendable {
    private var lines: [BatchID: Set<UInt32>] = [:]
    package private(set) var count: UInt64 = 0

    package init() {}

    package mutating func insert(_ letter: LetterID) {
        if lines[letter.batch, default: []].insert(letter.line).inserted { count += 1 }
    }

    package func contains(_ letter: LetterID) -> Bool {
        lines[letter.batch]?.contains(letter.line) ?? false
    }

    package func count(of batch: BatchID) -> Int { lines[batch]?.count ?? 0 }
}

/// Which dead letters are meant; nil is any.
package struct LetterFilter: Hashable, Sendable {
    package var reason: DeadLetterReason?
    /// Only letters whose event is known to have been of this type.
    package var type: [UInt8]?
    package var batch: BatchID?
    package var line: UInt32?
    /// When their batch was created, half open.
    package var from: WallTime?
    package var to: WallTime?

    package init(
        reason: DeadLetterReason? = nil, type: [UInt8]? = nil, batch: BatchID? = nil,
        line: UInt32? = nil, from: WallTime? = nil, to: WallTime? = nil
    ) {
        self.reason = reason
        self.type = type
        self.batch = batch
        self.line = line
        self.from = from
        self.to = to
    }

    package static let all = LetterFilter()

    /// Whether letters of a batch may be meant at all.
    package func selects(_ header: BatchHeader) -> Bool {
        (batch == nil || batch == header.id) && (from.map { $0 <= header.createdAt } ?? true)
            && (to.map { header.createdAt < $0 } ?? true)
    }

    /// Whether a letter of such a batch is meant.
    package func selects(_ letter: DeadLetter) -> Bool {
        (reason == nil || letter.reason == reason) && (type == nil || letter.type == type)
            && (line == nil || letter.line == line)
    }
}
