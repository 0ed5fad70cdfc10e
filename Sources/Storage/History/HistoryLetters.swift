import Core

/// Lists dead letters over several history files, in the order of all.
enum HistoryLetters {
    /// The first letters behind `after`, as many as a list takes, and how many match in all, where
    /// that is wanted: else of each file only the blocks from there on are read, as many as it
    /// takes.
    static func list(
        _ query: LetterQuery, in files: [HistoryHandle]
    ) throws(StorageError) -> (items: [LetterItem], total: UInt64) {
        var list = LetterList(limit: query.limit)
        var total: UInt64 = 0
        var seen: Set<BatchID> = []
        for file in files {
            var found = LetterList(limit: query.limit)
            for block in query.countsAll
                ? file.index.letters[...] : file.letters(after: query.after)
            {
                if !query.countsAll, found.isFull { break }
                for entry in try file.entries(block, .letters)
                where query.selects(entry) {
                    // One batch may be in two files while they are being merged.
                    guard seen.insert(entry.header.id).inserted else { continue }
                    let segment = entry.segment(file.segmentLength)
                    let id = entry.header.id
                    for letter in entry.letters where query.selects(letter, of: id) {
                        total += 1
                        let place = LetterPlace(segment: segment, id: id, line: letter.line)
                        if let after = query.after, place <= after { continue }
                        found.add(
                            LetterItem(
                                place: place, createdAt: entry.header.createdAt, letter: letter))
                    }
                }
            }
            list = LetterList(limit: query.limit, of: list.items + found.items)
        }
        return (list.items, total)
    }
}

extension HistoryHandle {
    /// The blocks in which letters behind a place may be.
    fileprivate func letters(after place: LetterPlace?) -> ArraySlice<HistoryBlock> {
        guard let place else { return index.letters[...] }
        let behind = index.letters.partitionPoint {
            ($0.segment, $0.id) <= (place.segment, place.id)
        }
        // The one before the first that begins behind it may hold it.
        return index.letters[max(0, behind - 1)...]
    }
}
