package import Core
package import Wire

/// What stays of a batch at its home: enough to answer for its outcome, to refuse another content
/// under its id, and to list its dead letters.
package struct HistoryEntry: Hashable, Sendable {
    package var header: BatchHeader
    package var home: PartitionID
    package var totals: BatchTotals
    /// Empty where only the outcome was asked for.
    package var letters: [DeadLetter]

    package init(
        header: BatchHeader, home: PartitionID, totals: BatchTotals, letters: [DeadLetter] = []
    ) {
        self.header = header
        self.home = home
        self.totals = totals
        self.letters = letters
    }

    package func segment(_ length: Duration) -> Segment {
        Segment(createdAt: header.createdAt, length: length)
    }

    /// What its letters take, about.
    var letterBytes: Int {
        letters.reduce(0) { $0 + $1.contentBytes + HistoryEntry.letterHead }
    }

    /// Bytes of a letter beside its texts, at most.
    private static let letterHead = 23
}

extension ByteWriter {
    /// The entry without its letters.
    mutating func write(outcome entry: HistoryEntry) {
        write(entry.header)
        write(fixed: entry.home.index)
        write(varint: UInt64(entry.totals.counted))
        write(varint: UInt64(entry.totals.dead))
    }

    package mutating func write(_ entry: HistoryEntry) {
        write(outcome: entry)
        write(count: entry.letters.count)
        for letter in entry.letters { write(letter) }
    }
}

extension ByteReader {
    mutating func outcome() throws(DecodeError) -> HistoryEntry {
        let header = try header()
        let home = try partition()
        let counted = try varint()
        let dead = try varint()
        guard counted <= UInt64(UInt32.max), dead <= UInt64(UInt32.max) - counted else {
            throw fail("totals of \(counted) and \(dead)")
        }
        return HistoryEntry(
            header: header, home: home,
            totals: BatchTotals(
                events: UInt32(counted + dead), counted: UInt32(counted), dead: UInt32(dead)))
    }

    package mutating func historyEntry() throws(DecodeError) -> HistoryEntry {
        var entry = try outcome()
        let count = try count(ofSize: 5)
        guard count == Int(entry.totals.dead) || count == 0 else {
            throw fail("\(count) letters of \(entry.totals.dead)")
        }
        for _ in 0..<count { entry.letters.append(try deadLetter()) }
        return entry
    }
}

/// Where a dead letter stands in the order of all.
package struct LetterPlace: Hashable, Comparable, Sendable {
    package var segment: Segment
    package var id: BatchID
    package var line: UInt32

    package init(segment: Segment, id: BatchID, line: UInt32) {
        self.segment = segment
        self.id = id
        self.line = line
    }

    package static func < (left: LetterPlace, right: LetterPlace) -> Bool {
        (left.segment, left.id, left.line) < (right.segment, right.id, right.line)
    }
}

/// Which dead letters of the history are asked for.
package struct LetterQuery: Hashable, Sendable {
    /// Homes whose batches count.
    package var homes: PartitionSet
    package var filter: LetterFilter
    /// Letters that are left out.
    package var retired: RetiredLetters
    package var after: LetterPlace?
    package var limit: Int
    /// How many match in all is wanted: then every letter is read.
    package var countsAll: Bool

    package init(
        homes: PartitionSet, filter: LetterFilter = .all,
        retired: RetiredLetters = RetiredLetters(), after: LetterPlace? = nil, limit: Int,
        countsAll: Bool = true
    ) {
        self.countsAll = countsAll
        self.homes = homes
        self.filter = filter
        self.retired = retired
        self.after = after
        self.limit = limit
    }

    func selects(_ entry: HistoryEntry) -> Bool {
        homes.contains(entry.home) && filter.selects(entry.header)
    }

    func selects(_ letter: DeadLetter, of batch: BatchID) -> Bool {
        filter.selects(letter)
            && !retired.contains(LetterID(batch: batch, line: letter.line))
    }
}

package struct LetterItem: Hashable, Sendable {
    package var place: LetterPlace
    /// Of its batch.
    package var createdAt: WallTime
    package var letter: DeadLetter

    package init(place: LetterPlace, createdAt: WallTime, letter: DeadLetter) {
        self.place = place
        self.createdAt = createdAt
        self.letter = letter
    }

    package var id: LetterID { LetterID(batch: place.id, line: place.line) }
}
