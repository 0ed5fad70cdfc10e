package import Core
internal import Crypto
package import Ring
package import Wire

/// Seals the batches that retire dead letters (docs/decisions/0031-retired-letters.md).
///
/// A letter is retired by one batch, whose id is a function of the letter alone: whoever binds it
/// first decides whether the letter is purged or counted after all, and under which mapping. The
/// batch holds the letter's mark and, of a replay, the event: both are counted, or neither.
package struct LetterSealer: Sendable {
    private let partitioning: Partitioning
    private let window: WindowLength

    package init(partitioning: Partitioning, window: WindowLength) {
        self.partitioning = partitioning
        self.window = window
    }

    /// The id of the batch that retires a letter. Persisted: in the marks that replays left.
    package static func id(of letter: LetterID) -> BatchID {
        let digest = Array(SHA256.hash(data: Array("quipu retires a letter 1".utf8) + key(letter)))
        return BatchID(
            producer: digest[0..<16].reduce(0) { $0 << 8 | UInt128($1) },
            sequence: digest[16..<24].reduce(0) { $0 << 8 | UInt64($1) })
    }

    private static func key(_ letter: LetterID) -> [UInt8] { RetirementMark.key(of: letter) }

    /// The batch that retires a letter, of a batch created at `createdAt`, and counts nothing else.
    package func purge(
        _ letter: LetterID, of createdAt: WallTime, at now: WallTime
    ) -> BatchRecord {
        seal(letter, [mark(of: letter, since: createdAt, at: now)], content: "purge", at: now)
    }

    /// The batch that retires a letter and counts what its event was folded to.
    package func replay(
        _ letter: LetterID, of createdAt: WallTime, as event: BatchRecord, at now: WallTime
    ) throws(DecodeError) -> BatchRecord {
        let body = try event.body()
        var parts = event.slices.map { slice in
            Part(
                partition: slice.partition, cells: slice.cells,
                bytes: Array(body[slice.offset..<slice.offset + slice.length]))
        }
        let mark = mark(of: letter, since: createdAt, at: now)
        if let place = parts.firstIndex(where: { $0.partition == mark.partition }) {
            parts[place].cells += mark.cells
            parts[place].bytes += mark.bytes
        } else {
            parts.append(mark)
            parts.sort { $0.partition < $1.partition }
        }
        return seal(letter, parts, content: "replay \(event.header.contentHash)", at: now)
    }

    private struct Part {
        var partition: PartitionID
        var cells: Int
        var bytes: [UInt8]
    }

    /// Never in a window before its letter's: it must not expire earlier, and producers' clocks may
    /// be ahead of this one.
    private func mark(of letter: LetterID, since createdAt: WallTime, at now: WallTime) -> Part {
        var writer = SliceWriter(capacity: 64)
        Self.key(letter).withUnsafeBytes { key in
            RetirementMark.type.withUnsafeBytes { type in
                writer.beginSeries(key: key, type: type, cells: 1)
            }
        }
        writer.append(window: window.window(of: max(now, createdAt)), count: 1)
        return Part(
            partition: partitioning.home(of: letter.batch), cells: 1, bytes: writer.bytes())
    }

    private func seal(
        _ letter: LetterID, _ parts: [Part], content: String, at now: WallTime
    ) -> BatchRecord {
        var cells: [UInt8] = []
        var slices: [(partition: PartitionID, offset: Int, length: Int, cells: Int)] = []
        for part in parts {
            slices.append((part.partition, cells.count, part.bytes.count, part.cells))
            cells += part.bytes
        }
        let id = Self.id(of: letter)
        // With the time: the same intent at another time is another content, as of any batch.
        let digest = SHA256.hash(data: Array("\(content) \(now.milliseconds)".utf8))
        let events = UInt32(parts.reduce(0) { $0 + $1.cells })
        return BatchRecord.home(
            header: BatchHeader(
                id: id, createdAt: now, contentHash: Hash128(ContentHash.first128(digest)),
                rule: .retirement),
            home: partitioning.home(of: id),
            totals: BatchTotals(events: events, counted: events, dead: 0), slices: slices,
            cells: cells, deadLetters: [])
    }
}
