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
        /// The same in a plain shape.
        var role = Role.none
    }

    /// Of a value in a plain shape: the only one for its role, and nothing else.
    enum Role: Int {
        case none
        case key
        case type
        case time
    }

    /// A value's text between its quotation marks.
    struct Text: BitwiseCopyable {
        var start: UnsafePointer<UInt8>
        var count: Int

        @inline(__always)
        var field: FieldText { FieldText(start: start, count: count, kind: .text) }
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
    /// All values are strings, one each for key, type and time and none for any other role: such an
    /// event is counted without the choice between candidates.
    private(set) var isPlain = false
    /// The texts of a plain event, by role.
    private var texts = GrowableBuffer<Text>(capacity: 4)

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
        isPlain = false
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

    // MARK: - Plain events

    /// Of the event that was read last.
    @inline(__always)
    func text(of role: Role) -> Text { texts[role.rawValue] }

    /// Reads an event of the plain shape that is known: its texts, and where it ends. Nil if it has
    /// another shape, or a value that is no string or one with escapes.
    @inline(__always)
    mutating func readPlain(
        _ start: UnsafePointer<UInt8>, _ end: UnsafePointer<UInt8>
    ) -> UnsafePointer<UInt8>? {
        let members = members
        var cursor = start
        var position = 0
        while true {
            let piece = pieces[position]
            guard stands(piece, at: cursor, end) else { return nil }
            cursor += Int(piece.count)
            if position == members { return cursor }
            guard cursor < end, cursor.pointee == UInt8(ascii: "\"") else { return nil }
            let text = cursor + 1
            var stop = ByteScan.plainEnd(text, end)
            if stop < end, stop.pointee != UInt8(ascii: "\"") {
                guard let found = EventShape.endBeyondASCII(text, end) else { return nil }
                stop = found
            }
            guard stop < end else { return nil }
            texts[piece.role.rawValue] = Text(start: text, count: stop - text)
            cursor = stop + 1
            position &+= 1
        }
    }

    /// The closing quotation mark of a string that may have more than ASCII; nil if it has escapes,
    /// or is none.
    private static func endBeyondASCII(
        _ text: UnsafePointer<UInt8>, _ end: UnsafePointer<UInt8>
    ) -> UnsafePointer<UInt8>? {
        var json = JSONScanner(cursor: text - 1, end: end, acrossLines: false)
        do throws(JSONFault) {
            return try json.scanString().isEscaped ? nil : json.cursor - 1
        } catch {
            return nil
        }
    }

    /// Finds out whether the shape that was learnt is plain.
    private mutating func assignRoles(_ plan: FieldPlan) -> Bool {
        var keys = 0
        var types = 0
        var times = 0
        for position in 0..<members {
            let match = pieces[position].match
            let isKey = match.leaf & plan.keyMask != 0
            let isType = match.leaf & plan.typeMask != 0
            let isTime = match.leaf & plan.timeMask != 0
            keys += isKey ? 1 : 0
            types += isType ? 1 : 0
            times += isTime ? 1 : 0
            pieces[position].role = isKey ? .key : isType ? .type : isTime ? .time : .none
            // One value may be that of two roles.
            let roles = (isKey ? 1 : 0) + (isType ? 1 : 0) + (isTime ? 1 : 0)
            if roles > 1 || match.leaf & plan.valueMask | match.inner != 0 { return false }
        }
        return keys == 1 && types == 1 && times == 1 && plan.attributes.isEmpty
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
        var areStrings = true
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
            areStrings = areStrings && json.byte == UInt8(ascii: "\"")
            try json.skipValue(depth: 1)
            from = json.cursor
            json.skipSpace()
            guard json.byte == UInt8(ascii: ",") else { break }
            json.cursor += 1
            json.skipSpace()
        }
        try append(from, end, FieldMatch())
        texts.refill(Text(start: start, count: 0), count: 4)
        isPlain = areStrings && assignRoles(plan)
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
