package import Core
import Wire

/// Folds batches, one after the other. It keeps its tables between batches; nothing else passes
/// from one to the next. One folder serves one thread at a time.
package struct BatchFolder: ~Copyable, @unchecked Sendable {
    // Sendable: all memory behind the pointers inside has one owner, this value, which cannot be
    // copied.
    var table: CellTable
    var fields = EventFields()
    var scanner = EventScanner()
    var times = TimeParser()
    var texts = BinaryTexts()
    private var writer = SliceWriter(capacity: 1 << 16)
    private let bounds: FoldBounds
    /// Memory beyond this many bytes of cells is given back after a batch.
    private static let writerKept = 8 << 20
    // Here they cost a load for each event, in their module a call.
    let lineMax = Limits.lineMax
    let keyMax = Limits.keyMax
    let typeMax = Limits.typeMax

    // Of the batch in hand.
    var plan: FieldPlan
    var earliest: Int64 = 0
    var latest: Int64 = 0
    private var windowLength: Int64 = 60_000
    private var window: Int64 = 0
    private var windowStart: Int64 = 0
    private var deadLetters: [DeadLetter] = []
    private var deadLetterBytes = 0
    private var counted = 0

    /// - Parameter seed: of the hash tables. It shows in no result; a secret one keeps a sender
    ///   from
    ///   choosing keys that collide.
    package init(seed: UInt64 = 0, bounds: FoldBounds = .standard) {
        // One more than that is in the table when the batch is refused.
        precondition(bounds.cellsMax < CellTable.numberMax, "more cells than a slot can number")
        table = CellTable(seed: seed)
        self.bounds = bounds
        plan = FieldPlan()
    }

    /// Folds one batch. The result depends on nothing but the arguments.
    ///
    /// - Parameter partitioner: tells the partitions of cells.
    package mutating func fold(
        _ bytes: UnsafeRawBufferPointer, parameters: ParseParameters, createdAt: WallTime,
        rules: FoldRules, partitioner: CellPartitioner
    ) throws(IngestError) -> FoldedBatch {
        guard bytes.count <= Limits.bodyDecodedMax else { throw .bodyTooLarge(bytes: bytes.count) }
        plan = try FieldPlan(parameters)
        begin(createdAt: createdAt, rules: rules)
        if let base = bytes.baseAddress, bytes.count > 0 {
            let first = base.assumingMemoryBound(to: UInt8.self)
            let end = first + bytes.count
            let start = ByteScan.afterMark(first, end)
            switch parameters.format {
            case .ndjson: try foldLines(start, end)
            case .jsonArray, .cloudEventBatch: try foldArray(start, end)
            case .csv: try foldRows(start, end, dialect: .csv, parameters: parameters)
            case .tsv: try foldRows(start, end, dialect: .tsv, parameters: parameters)
            case .commonLog: try foldLog(start, end)
            case .cloudEvent: try foldCloudEvent(start, end)
            case .binary: try foldBinary(start, end)
            }
        } else {
            switch parameters.format {
            case .jsonArray, .cloudEventBatch: throw .notAnArray(found: nil)
            case .cloudEvent: throw .noEvent
            case .ndjson, .csv, .tsv, .commonLog, .binary: break
            }
        }
        return try finish(partitioner)
    }

    private mutating func begin(createdAt: WallTime, rules: FoldRules) {
        table.reset()
        scanner.forget()
        windowLength = rules.window.milliseconds
        window = 0
        windowStart = 0
        let created = createdAt.milliseconds
        let (last, isLate) = created.addingReportingOverflow(
            BatchFolder.milliseconds(rules.futureLimit))
        latest = isLate ? .max : last
        earliest = .min
        if let lateness = rules.lateness {
            let (first, isEarly) = created.subtractingReportingOverflow(
                BatchFolder.milliseconds(lateness))
            earliest = isEarly ? .min : first
        }
        deadLetters = []
        deadLetterBytes = 0
        counted = 0
    }

    /// A limit of any length, such as ten thousand years, which nanoseconds would not hold.
    private static func milliseconds(_ limit: Duration) -> Int64 {
        let (seconds, attoseconds) = limit.components
        let (whole, isLong) = seconds.multipliedReportingOverflow(by: 1000)
        return isLong ? .max : whole + attoseconds / 1_000_000_000_000_000
    }

    private mutating func finish(
        _ partitioner: CellPartitioner
    ) throws(IngestError) -> FoldedBatch {
        let room = bounds.bytesMax - deadLetterBytes
        guard room >= 0,
            let slices = table.write(into: &writer, bytesMax: room, partitioner: partitioner)
        else { throw .resultTooLarge(max: bounds.bytesMax) }
        let letters = deadLetters
        deadLetters = []
        // Every event takes at least one byte of a body far below 2^32.
        let totals = BatchTotals(
            events: UInt32(counted + letters.count), counted: UInt32(counted),
            dead: UInt32(letters.count))
        let body = writer.bytes()
        writer.shrink(to: BatchFolder.writerKept)
        return FoldedBatch(totals: totals, slices: slices, body: body, deadLetters: letters)
    }

    // MARK: - One event

    /// An event's bytes, for a dead letter.
    struct Raw {
        var line: Int
        var start: UnsafePointer<UInt8>
        var count: Int
    }

    /// Judges the fields of an event and counts it, or buries it. The checks run in a fixed order,
    /// so that an event with several faults has the same reason everywhere.
    ///
    /// - Parameter isText: true where the scanner has proved that all text is UTF-8.
    @inline(__always)
    mutating func admit(_ raw: Raw, isText: Bool) throws(IngestError) {
        guard raw.count <= lineMax else { return try buryLong(raw) }
        if !plan.attributes.isEmpty, let fault = attributeFault() {
            return try buryRead(raw, .badJSON, fault)
        }
        guard let keyField = fields.best(plan.keyMask) else {
            return try buryRead(raw, .missingKey, "no \(FoldDetail.wanted(plan, plan.keyMask))")
        }
        guard let key = fields.plain(keyField) else { return try buryLong(raw) }
        if let fault = BatchFolder.fault(key, max: keyMax, isText: isText) {
            return try buryRead(
                raw, FoldDetail.keyReason(fault), FoldDetail.name("key", fault, key, Limits.keyMax))
        }
        guard let type = fields.best(plan.typeMask) else {
            return try admitDefaultType(raw, key: key)
        }
        guard let type = fields.plain(type) else { return try buryLong(raw) }
        if let fault = BatchFolder.fault(type, max: typeMax, isText: isText) {
            return try buryRead(
                raw, FoldDetail.typeReason(fault),
                FoldDetail.name("type", fault, type, Limits.typeMax))
        }
        try admit(raw, key: key, type: type)
    }

    private mutating func admitDefaultType(
        _ raw: Raw, key: FieldText
    ) throws(IngestError) {
        guard let bytes = plan.defaultType else {
            return try buryRead(raw, .missingType, "no \(FoldDetail.wanted(plan, plan.typeMask))")
        }
        guard let room = fields.room(for: bytes.count) else { return try buryLong(raw) }
        for position in bytes.indices { room[position] = bytes[position] }
        let type = FieldText(start: UnsafePointer(room), count: bytes.count, kind: .text)
        try admit(raw, key: key, type: type)
    }

    @inline(__always)
    private mutating func admit(
        _ raw: Raw, key: FieldText, type: FieldText
    ) throws(IngestError) {
        guard let field = fields.best(plan.timeMask) else {
            return try buryRead(raw, .missingTime, "no \(FoldDetail.wanted(plan, plan.timeMask))")
        }
        guard let text = fields.plain(field) else { return try buryLong(raw) }
        guard text.kind == .text || text.kind == .number,
            let time = times.parse(text.start, text.count)
        else { return try buryRead(raw, .badTime, FoldDetail.time(text)) }
        var value: Int64?
        if let field = fields.best(plan.valueMask) {
            guard let text = fields.plain(field) else { return try buryLong(raw) }
            switch BatchFolder.value(text) {
            case .exact(let number): value = number
            case .notExact: return try buryRead(raw, .valueNotExact, FoldDetail.notExact(text))
            case .tooLarge: return try buryRead(raw, .badValue, FoldDetail.tooLarge(text))
            case nil: return try buryRead(raw, .badValue, FoldDetail.value(text))
            }
        }
        guard time >= earliest else {
            return try buryRead(raw, .tooLate, FoldDetail.tooLate(FoldDetail.quote(text)))
        }
        guard time <= latest else {
            return try buryRead(raw, .inTheFuture, FoldDetail.future(FoldDetail.quote(text)))
        }
        let window = window(of: time)
        try count(table.series(key: key, type: type, window: window), in: window, value)
    }

    /// Counts an event.
    @inline(__always)
    mutating func count(
        _ series: Int, in window: Int64, _ value: Int64?
    ) throws(IngestError) {
        table.add(to: series, window: window, value: value)
        counted &+= 1
        guard table.cellCount <= bounds.cellsMax else {
            throw .tooManyCells(max: bounds.cellsMax)
        }
        // They stand in the slices as well: a binary batch names a long key in a byte, many times.
        guard table.textBytes <= bounds.bytesMax else {
            throw .resultTooLarge(max: bounds.bytesMax)
        }
    }

    @inline(__always)
    mutating func window(of time: Int64) -> Int64 {
        if time < windowStart || time >= windowStart &+ windowLength { enterWindow(of: time) }
        return window
    }

    private mutating func enterWindow(of time: Int64) {
        window = floorDivide(time, windowLength)
        windowStart = window * windowLength
    }

    /// What is wrong with a key or a type.
    enum NameFault {
        case composite
        case tooLong
        case notUTF8(Int)
    }

    @inline(__always)
    static func fault(_ text: FieldText, max: Int, isText: Bool) -> NameFault? {
        if text.kind == .composite { return .composite }
        if text.count > max { return .tooLong }
        if isText { return nil }
        return UTF8Check.firstFault(text.start, text.count).map { .notUTF8($0) }
    }

    /// Nil for what is no number.
    private static func value(_ text: FieldText) -> DecimalText.Scaled? {
        guard text.kind == .text || text.kind == .number else { return nil }
        return DecimalText(text.start, text.count)?.scaled(places: 6)
    }

    // MARK: - Dead letters

    mutating func buryLong(_ raw: Raw) throws(IngestError) {
        try bury(
            raw, .lineTooLong, "the event has \(raw.count) bytes, \(Limits.lineMax) are allowed")
    }

    /// Buries an event whose fields have been read: its letter says what it would have been, where
    /// that is sound by itself.
    mutating func buryRead(
        _ raw: Raw, _ reason: DeadLetterReason, _ detail: String
    ) throws(IngestError) {
        var key: [UInt8]?
        if let field = fields.best(plan.keyMask) { key = soundName(field, max: Limits.keyMax) }
        var type = plan.defaultType
        if let field = fields.best(plan.typeMask) {
            type = soundName(field, max: Limits.typeMax)
        }
        try bury(raw, reason, detail, type: type, key: key, time: soundTime())
    }

    private mutating func soundName(_ field: FieldText, max: Int) -> [UInt8]? {
        guard let text = fields.plain(field),
            BatchFolder.fault(text, max: max, isText: false) == nil
        else { return nil }
        return [UInt8](UnsafeBufferPointer(start: text.start, count: text.count))
    }

    private mutating func soundTime() -> WallTime? {
        guard let field = fields.best(plan.timeMask), let text = fields.plain(field),
            text.kind == .text || text.kind == .number,
            let time = times.parse(text.start, text.count)
        else { return nil }
        return WallTime(milliseconds: time)
    }

    mutating func bury(
        _ raw: Raw, _ reason: DeadLetterReason, _ detail: String, type: [UInt8]? = nil,
        key: [UInt8]? = nil, time: WallTime? = nil
    ) throws(IngestError) {
        let kept = UTF8Check.cut(raw.start, raw.count, to: Limits.deadLetterRawMax)
        let letter = DeadLetter(
            line: UInt32(raw.line), reason: reason, detail: FoldDetail.cut(detail),
            raw: [UInt8](UnsafeBufferPointer(start: raw.start, count: kept)),
            isWhole: kept == raw.count, type: type, key: key, time: time)
        guard deadLetters.count < bounds.deadLettersMax else {
            throw .tooManyDeadLetters(
                max: bounds.deadLettersMax, first: deadLetters.first ?? letter)
        }
        // Line, reason and two lengths take at most eleven bytes; flags, two more lengths and the
        // time twelve.
        deadLetterBytes += letter.raw.count + letter.detail.utf8.count + 23
        deadLetterBytes += (type?.count ?? 0) + (key?.count ?? 0)
        guard deadLetterBytes <= bounds.bytesMax else {
            throw .resultTooLarge(max: bounds.bytesMax)
        }
        deadLetters.append(letter)
    }
}
