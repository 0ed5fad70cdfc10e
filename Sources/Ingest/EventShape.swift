import Core

/// How the events of a batch are put together: the bytes between their values, `{"type":` and
/// `,"key":` and so on to `}`, as one event had them that was read and found right.
///
/// Events of one source mostly differ in nothing but their values. Where the bytes between two
/// values are those of a right event, at the same place in the order of its members, they are right
/// here as well and mean the same fields: names need not be scanned nor looked up.
struct EventShape: ~Copyable {
    /// The bytes before a value, or behind the last.
    struct Piece: BitwiseCopyable {
        /// Its first eight bytes, or all of them with zeros behind.
        var head: UInt64
        var headMask: UInt64
        var start: UInt32
        var count: UInt32
        /// What the value that follows is.
        var match: FieldMatch
    }

    private static let membersMax = 32
    /// Of all pieces together.
    private static let bytesMax = 1 << 11
    /// After so many events of other shapes at most the shape is that of the next event. It begins
    /// at one, and doubles with each new shape: what pays for a new one is that many events have
    /// it.
    private static let patienceMax = 64

    private var pieces = GrowableBuffer<Piece>(capacity: membersMax + 1)
    private var bytes = GrowableBuffer<UInt8>(capacity: bytesMax)
    private var misses = 0
    private var patience = 1

    /// Of the event's values; the piece behind the last one follows. Negative: no shape is known.
    var members: Int { pieces.count - 1 }

    subscript(position: Int) -> Piece {
        @inline(__always) get { pieces[position] }
    }

    /// Before another batch: its fields may have other names.
    mutating func forget() {
        clear()
        misses = 0
        patience = 1
    }

    private mutating func clear() {
        pieces.removeAll()
        bytes.removeAll()
    }

    /// Whether a piece stands at `cursor`.
    @inline(__always)
    func stands(
        _ piece: Piece, at cursor: UnsafePointer<UInt8>, _ end: UnsafePointer<UInt8>
    ) -> Bool {
        let count = Int(piece.count)
        // Eight bytes are compared at once. The last event of a batch may end too soon for that: it
        // is read like one of another shape.
        guard end - cursor >= max(8, count), ByteScan.word(cursor) & piece.headMask == piece.head
        else { return false }
        // `bytes` holds all of each piece.
        return count <= 8
            || ByteScan.areEqual(bytes.base + Int(piece.start) + 8, cursor + 8, count - 8)
    }

    // MARK: - Learning

    /// An event of another shape, or the first one, was read: it reaches from `start` to `end`.
    mutating func differs(
        _ start: UnsafePointer<UInt8>, _ end: UnsafePointer<UInt8>, plan: FieldPlan
    ) {
        misses += 1
        guard misses >= patience else { return }
        misses = 0
        patience = min(patience * 2, EventShape.patienceMax)
        do throws(JSONFault) {
            clear()
            try learn(start, end, plan)
        } catch {
            // It has more members or longer names than pay.
            clear()
        }
    }

    private mutating func learn(
        _ start: UnsafePointer<UInt8>, _ end: UnsafePointer<UInt8>, _ plan: FieldPlan
    ) throws(JSONFault) {
        // The event was read before, with line feeds only where they may be.
        var json = JSONScanner(cursor: start, end: end, acrossLines: true)
        var from = start
        json.cursor += 1
        json.skipSpace()
        while json.byte == UInt8(ascii: "\"") {
            let name = try json.scanString()
            guard !name.isEscaped else { throw .name }
            json.skipSpace()
            json.cursor += 1
            json.skipSpace()
            let match = plan.match(name.start, name.count, level: 0, active: plan.allMask)
            try append(from, json.cursor, match)
            try json.skipValue(depth: 1)
            from = json.cursor
            json.skipSpace()
            guard json.byte == UInt8(ascii: ",") else { break }
            json.cursor += 1
            json.skipSpace()
        }
        try append(from, end, FieldMatch())
    }

    private mutating func append(
        _ start: UnsafePointer<UInt8>, _ end: UnsafePointer<UInt8>, _ match: FieldMatch
    ) throws(JSONFault) {
        let count = end - start
        guard pieces.count <= EventShape.membersMax, bytes.count + count <= EventShape.bytesMax
        else { throw .tooLong }
        var head: UInt64 = 0
        for offset in 0..<min(count, 8) { head |= UInt64(start[offset]) << UInt64(offset * 8) }
        pieces.append(
            Piece(
                head: head, headMask: count >= 8 ? .max : 1 << UInt64(count * 8) - 1,
                start: UInt32(bytes.count), count: UInt32(count), match: match))
        bytes.append(from: start, count: count)
    }
}
