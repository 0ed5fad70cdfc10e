/// One batch without an outcome keeps its segment, and so every later one, however much of them has
/// ended. Where that is much, the batches of the oldest segment are written once more behind all
/// others, and the segment goes.
///
/// Invariant: a batch lies where it lay until its copy is durable. A crash before leaves the first,
/// and perhaps the copy as well, which is the same batch; one after leaves the copy alone.
extension SpoolJournal {
    /// Copies what the oldest segment holds and removes it, if what ended is worth it; false where
    /// nothing is to be had. One segment at a time: each call writes at most what one holds.
    package mutating func carry() throws(SpoolError) -> Bool {
        guard endedBytes >= max(bounds.segmentBytes, bytes / SpoolLimits.endedDivisor) else {
            return false
        }
        try endSegment()
        try drop()
        guard let oldest = segments.first?.number, oldest != segments.last?.number else {
            return true
        }
        var copies: [(sequence: UInt64, segment: UInt64, place: Range<Int>)] = []
        for sequence in state.heldSequences where state.held[sequence]?.segment == oldest {
            try endSegment()
            let record = try record(of: sequence)
            let last = segments.count - 1
            let start = segments[last].length
            try write([
                .carried(
                    SpoolRecord.Sealed(
                        sequence: sequence, createdAt: record.createdAt,
                        contentType: record.contentType, target: record.target,
                        events: record.events, replaces: nil, cut: nil, body: record.body))
            ])
            copies.append((sequence, segments[last].number, start..<segments[last].length))
        }
        try sync()
        for copy in copies {
            state.move(
                copy.sequence, to: copy.segment, offset: copy.place.lowerBound,
                length: copy.place.count)
            count(oldest, -1)
            count(copy.segment, 1)
        }
        try drop()
        return true
    }

    /// Bytes that carrying would give back: records of segments that are not written any more, but
    /// for those of held batches. What each begins with stays, in another.
    private var endedBytes: Int {
        let written = segments.last.flatMap {
            $0.length < bounds.segmentBytes ? $0.number : nil
        }
        var ended = 0
        for segment in segments where segment.number != written {
            ended += segment.length - segment.beginning
        }
        for held in state.held.values where held.segment != written {
            ended -= held.length
        }
        return ended
    }
}
