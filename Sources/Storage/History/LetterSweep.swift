package import Core

/// Which dead letters nobody can see any more, so that a history file may be written anew without
/// their bytes (docs/decisions/0035-dead-letter-room.md).
///
/// A batch of which all letters are gone is left out of the letters; its outcome stays. Of another
/// those that are gone keep their line and their reason, so that the batch has as many letters as
/// its totals say, in the same format as ever.
package struct LetterSweep: Hashable, Sendable {
    /// Their marks are counted here, which is final.
    package var retired: RetiredLetters
    /// Letters of batches that were created before have expired; nil: none has.
    package var from: WallTime?
    /// A file is written anew where at least one in so many bytes of its letters goes: at `.max`
    /// where any does.
    package var partMin: UInt64

    package init(retired: RetiredLetters, from: WallTime? = nil, partMin: UInt64 = .max) {
        self.retired = retired
        self.from = from
        self.partMin = partMin
    }

    private func isGone(_ letter: DeadLetter, of header: BatchHeader) -> Bool {
        from.map { header.createdAt < $0 } ?? false
            || retired.contains(LetterID(batch: header.id, line: letter.line))
    }

    /// What of an entry is written; nil: nothing.
    func kept(of entry: HistoryEntry) -> HistoryEntry? {
        var kept = entry
        var isAnyLeft = false
        for place in kept.letters.indices {
            guard isGone(kept.letters[place], of: entry.header) else {
                isAnyLeft = true
                continue
            }
            kept.letters[place] = kept.letters[place].emptied
        }
        return isAnyLeft ? kept : nil
    }

    /// Whether enough of a file would go.
    func isWorth(_ file: HistoryHandle) throws(StorageError) -> Bool {
        var gone: UInt64 = 0
        var all: UInt64 = 0
        for block in file.index.letters {
            for entry in try file.entries(block, .letters) {
                var isAnyLeft = false
                for letter in entry.letters {
                    all += UInt64(letter.contentBytes)
                    if isGone(letter, of: entry.header) {
                        gone += UInt64(letter.contentBytes)
                    } else {
                        isAnyLeft = true
                    }
                }
                // What an entry takes beside its letters.
                if !isAnyLeft { gone += 1 }
            }
        }
        return gone > 0 && gone >= all / partMin
    }
}

/// What became of a file that was to be swept.
package enum HistorySweep: Equatable, Sendable {
    /// Too little of it would go.
    case left
    /// Without what went; nil where nothing would be in it.
    case rewritten(HistoryHandle?)
}

extension DeadLetter {
    /// That it was there, and why.
    fileprivate var emptied: DeadLetter {
        DeadLetter(line: line, reason: reason, detail: "", raw: [])
    }
}
