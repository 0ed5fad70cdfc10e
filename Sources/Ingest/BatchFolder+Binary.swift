import Core
import Wire

// Binary batches (docs/formats/binary-batch.md): tables of the types and keys that occur, and
// events that name them by number. A body is any number of batches; events are numbered through
// all.
//
// Texts are judged once each, and the series of a key and type is looked up once in a batch of few
// types, else where a key's type is another than the last time: most events cost the reading of
// three numbers and one addition.

/// The texts of the batch in hand.
struct BinaryTexts: ~Copyable {
    struct Text: BitwiseCopyable {
        var start: UnsafePointer<UInt8>
        var count: Int
        /// A key or type that can be counted under.
        var isSound: Bool
    }

    /// A series that a key was counted in, and its type; `none` at first.
    struct Recent: BitwiseCopyable {
        var type: UInt32
        var series: UInt32
    }

    static let none = UInt32.max
    private static let kept = 1 << 16
    /// With more types, or more of both together, a key has one place and not one for each type.
    private static let typesMax = 8
    private static let placesMax = 1 << 18

    var types = GrowableBuffer<Text>()
    var keys = GrowableBuffer<Text>()
    private(set) var recent = GrowableBuffer<Recent>()
    private var width = 1

    /// All texts are there, and nothing is counted yet.
    mutating func begin() {
        let isSmall =
            types.count <= BinaryTexts.typesMax
            && types.count * keys.count <= BinaryTexts.placesMax
        width = isSmall ? types.count : 1
        recent.refill(Recent(type: BinaryTexts.none, series: 0), count: keys.count * width)
    }

    /// Where the series of this key and type is, if it is known.
    @inline(__always)
    func place(key: Int, type: Int) -> Int {
        width == 1 ? key : key &* width &+ type
    }

    mutating func remember(_ series: Int, key: Int, type: Int) {
        recent[place(key: key, type: type)] = Recent(type: UInt32(type), series: UInt32(series))
    }

    mutating func removeAll() {
        types.shrink(to: BinaryTexts.kept)
        keys.shrink(to: BinaryTexts.kept)
        recent.shrink(to: BinaryTexts.kept)
        types.removeAll()
        keys.removeAll()
        recent.removeAll()
    }
}

/// Reads the numbers of a body.
struct BinaryScanner {
    var cursor: UnsafePointer<UInt8>
    let end: UnsafePointer<UInt8>

    enum Fault: Error {
        case truncated
        case number
        case count
        case text

        var detail: String {
            switch self {
            case .truncated: "a binary batch ends early"
            case .number: "a number is longer than it needs to be, or has more than 64 bits"
            case .count: "a binary batch has more texts or events than bytes, or than are allowed"
            case .text: "an event names a type or key that its batch does not have"
            }
        }
    }

    /// LEB128 in its shortest form.
    @inline(__always)
    mutating func number() throws(Fault) -> UInt64 {
        if cursor < end, cursor.pointee < 0x80 {
            cursor += 1
            return UInt64(cursor[-1])
        }
        return try longNumber()
    }

    private mutating func longNumber() throws(Fault) -> UInt64 {
        var value: UInt64 = 0
        var shift: UInt64 = 0
        while cursor < end {
            let byte = cursor.pointee
            cursor += 1
            value |= UInt64(byte & 0x7f) &<< shift
            if byte < 0x80 {
                guard byte != 0, shift < 63 || byte == 1 else { throw .number }
                return value
            }
            shift &+= 7
            guard shift <= 63 else { throw .number }
        }
        throw .truncated
    }

    @inline(__always)
    mutating func signed() throws(Fault) -> Int64 {
        let raw = try number()
        return Int64(bitPattern: raw >> 1) ^ -Int64(bitPattern: raw & 1)
    }

    /// How many things of at least `size` bytes follow.
    mutating func count(ofSize size: Int, max: Int) throws(Fault) -> Int {
        let value = try number()
        guard value <= UInt64(min(max, (end - cursor) / size)) else { throw .count }
        return Int(value)
    }
}

extension BatchFolder {
    mutating func foldBinary(
        _ start: UnsafePointer<UInt8>, _ end: UnsafePointer<UInt8>
    ) throws(IngestError) {
        var cursor = start
        var position = 0
        while cursor < end {
            let offset = cursor - start
            let head: BinaryBatchHead
            do throws(DecodeError) {
                head = try BinaryBatchHead(
                    UnsafeRawBufferPointer(start: cursor, count: end - cursor))
            } catch {
                throw .badBatch(offset: offset + error.offset, detail: error.what)
            }
            let body = cursor + BinaryBatchHead.size
            guard Int(head.length) <= end - body else {
                throw .badBatch(
                    offset: offset, detail: "a binary batch of \(head.length) bytes is cut off")
            }
            let bytes = UnsafeRawBufferPointer(start: body, count: Int(head.length))
            guard head.sum(of: bytes) == head.checksum else {
                throw .badBatch(
                    offset: offset, detail: "a binary batch does not match its checksum")
            }
            var scanner = BinaryScanner(cursor: body, end: body + bytes.count)
            try foldBatch(&scanner, events: head.events, position: &position, origin: start)
            cursor = scanner.end
        }
        texts.removeAll()
    }

    private mutating func foldBatch(
        _ scanner: inout BinaryScanner, events: UInt32, position: inout Int,
        origin: UnsafePointer<UInt8>
    ) throws(IngestError) {
        texts.removeAll()
        do throws(BinaryScanner.Fault) {
            try BatchFolder.readTexts(
                &scanner, into: &texts.types, max: ParseLimits.binaryTypesMax,
                length: Limits.typeMax)
            try BatchFolder.readTexts(
                &scanner, into: &texts.keys, max: ParseLimits.binaryKeysMax, length: Limits.keyMax)
            // An event takes at least three bytes.
            guard Int(events) <= (scanner.end - scanner.cursor) / 3 else { throw .count }
        } catch {
            throw .badBatch(offset: scanner.cursor - origin, detail: error.detail)
        }
        texts.begin()
        var time: Int64 = 0
        for _ in 0..<events {
            position &+= 1
            let event: BinaryEvent
            let first = scanner.cursor
            do throws(BinaryScanner.Fault) {
                event = try readEvent(&scanner, time: &time)
            } catch {
                throw .badBatch(offset: scanner.cursor - origin, detail: error.detail)
            }
            let raw = Raw(line: position, start: first, count: scanner.cursor - first)
            try admit(event, raw)
        }
        guard scanner.cursor == scanner.end else {
            throw .badBatch(
                offset: scanner.cursor - origin, detail: "bytes follow a binary batch's last event")
        }
    }

    private static func readTexts(
        _ scanner: inout BinaryScanner, into texts: inout GrowableBuffer<BinaryTexts.Text>,
        max: Int, length: Int
    ) throws(BinaryScanner.Fault) {
        for _ in 0..<(try scanner.count(ofSize: 1, max: max)) {
            let count = try scanner.count(ofSize: 1, max: .max)
            let start = scanner.cursor
            let isSound =
                count > 0 && count <= length && UTF8Check.firstFault(start, count) == nil
            texts.append(BinaryTexts.Text(start: start, count: count, isSound: isSound))
            scanner.cursor += count
        }
    }

    private struct BinaryEvent {
        var type: Int
        var key: Int
        var time: Int64
        var value: Int64?
    }

    @inline(__always)
    private func readEvent(
        _ scanner: inout BinaryScanner, time: inout Int64
    ) throws(BinaryScanner.Fault) -> BinaryEvent {
        let head = try scanner.number()
        let key = try scanner.number()
        guard head >> 1 < UInt64(texts.types.count), key < UInt64(texts.keys.count) else {
            throw .text
        }
        // Modulo 2^64, so that any two times have a difference; what comes of it is judged.
        time &+= try scanner.signed()
        let value = head & 1 == 1 ? try scanner.signed() : nil
        return BinaryEvent(type: Int(head >> 1), key: Int(key), time: time, value: value)
    }

    @inline(__always)
    private mutating func admit(_ event: BinaryEvent, _ raw: Raw) throws(IngestError) {
        let recent = texts.recent[texts.place(key: event.key, type: event.type)]
        guard recent.type == UInt32(event.type), isSound(event.time) else {
            return try admitNew(event, raw)
        }
        // Its key and type were judged before.
        let window = window(of: event.time)
        try count(Int(recent.series), in: window, event.value)
    }

    @inline(__always)
    private func isSound(_ time: Int64) -> Bool {
        TimeParser.range.contains(time) && time >= earliest && time <= latest
    }

    private mutating func admitNew(_ event: BinaryEvent, _ raw: Raw) throws(IngestError) {
        let key = texts.keys[event.key]
        guard key.count > 0 else { return try bury(event, raw, .missingKey, "the key is empty") }
        guard key.isSound else {
            let text = FieldText(start: key.start, count: key.count, kind: .text)
            let fault = BatchFolder.fault(text, max: Limits.keyMax, isText: false) ?? .tooLong
            return try bury(
                event, raw, FoldDetail.keyReason(fault),
                FoldDetail.name("key", fault, text, Limits.keyMax))
        }
        guard let type = type(of: event) else {
            return try bury(event, raw, .missingType, "the type is empty, and no type is given")
        }
        if texts.types[event.type].count > 0, !texts.types[event.type].isSound {
            let fault = BatchFolder.fault(type, max: Limits.typeMax, isText: false) ?? .tooLong
            return try bury(
                event, raw, FoldDetail.typeReason(fault),
                FoldDetail.name("type", fault, type, Limits.typeMax))
        }
        guard TimeParser.range.contains(event.time) else {
            return try bury(event, raw, .badTime, FoldDetail.time(milliseconds: event.time))
        }
        guard event.time >= earliest else {
            return try bury(event, raw, .tooLate, FoldDetail.tooLate("\(event.time) ms"))
        }
        guard event.time <= latest else {
            return try bury(event, raw, .inTheFuture, FoldDetail.future("\(event.time) ms"))
        }
        let window = window(of: event.time)
        let name = FieldText(start: key.start, count: key.count, kind: .text)
        let series = table.series(key: name, type: type, window: window)
        texts.remember(series, key: event.key, type: event.type)
        try count(series, in: window, event.value)
    }

    /// The type that an event names, else the default one, which is sound.
    private mutating func type(of event: BinaryEvent) -> FieldText? {
        let named = texts.types[event.type]
        if named.count > 0 {
            return FieldText(start: named.start, count: named.count, kind: .text)
        }
        fields.clear()
        guard let bytes = plan.defaultType, let room = fields.room(for: bytes.count) else {
            return nil
        }
        for position in bytes.indices { room[position] = bytes[position] }
        return FieldText(start: UnsafePointer(room), count: bytes.count, kind: .text)
    }

    /// Buries an event with what of it is sound by itself.
    private mutating func bury(
        _ event: BinaryEvent, _ raw: Raw, _ reason: DeadLetterReason, _ detail: String
    ) throws(IngestError) {
        let named = texts.types[event.type]
        let isInRange = TimeParser.range.contains(event.time)
        try bury(
            raw, reason, detail, type: named.count > 0 ? named.sound : plan.defaultType,
            key: texts.keys[event.key].sound,
            time: isInRange ? WallTime(milliseconds: event.time) : nil)
    }
}

extension BinaryTexts.Text {
    /// Its bytes, if it can be counted under.
    fileprivate var sound: [UInt8]? {
        isSound ? [UInt8](UnsafeBufferPointer(start: start, count: count)) : nil
    }
}
