package import Core
package import Wire

/// Walks the series parts of a raw block (docs/formats/sstable.md), and of each its cells or their
/// sum:
///
///     while try walk.next() { let part = try walk.sum(in: windows) }
///     while try walk.next() { while let cell = try walk.nextCell() { … } }
///
/// What a caller passes over is held to the same rules as what it reads: windows ascend and are
/// plausible, counts and values are possible, each column is used up. Passing over is adding up
/// and forgetting, eight numbers at a time, so that it costs little and no block is believed half.
package struct BlockWalk: Sendable {
    /// Owns what the columns point into.
    private let bytes: BlockBytes
    private let plausible: ClosedRange<Int64>
    private var heads: BlockColumn
    private var lengths: BlockColumn
    private var windows: BlockColumn
    private var counts: BlockColumn
    private var values: BlockColumn
    private var partsLeft: Int
    private var cellsLeft = 0
    private var isFirstCell = true
    private var window: Int64 = 0
    private var isFirstPart = true
    private var keyBytes = KeyBuffer(capacity: Limits.keyMax)
    // By themselves, since another module's are calls.
    private let keyMax = Limits.keyMax
    private let typeMax = Limits.typeMax
    private let partitionsMax = Limits.partitionsMax

    // Of the part that `next` went to.
    package private(set) var partition = PartitionID(0)
    /// It lies in the block: valid as long as the walk.
    nonisolated(unsafe) package private(set) var type = UnsafeRawBufferPointer(start: nil, count: 0)
    /// Whether the part before was of the same partition and key.
    package private(set) var isSameKey = false

    /// Valid until `next`.
    package var key: UnsafeRawBufferPointer { keyBytes.bytes }

    /// Without any series.
    init(empty buckets: TimeBuckets) {
        plausible = buckets.plausibleWindows
        bytes = BlockBytes()
        heads = BlockColumn(of: bytes, from: 0, to: 0)
        lengths = heads
        windows = heads
        counts = heads
        values = heads
        partsLeft = 0
    }

    package init(_ raw: [UInt8], buckets: TimeBuckets) throws(DecodeError) {
        try self.init(try BlockBytes(raw), buckets: buckets)
    }

    init(_ bytes: BlockBytes, buckets: TimeBuckets) throws(DecodeError) {
        self.bytes = bytes
        plausible = buckets.plausibleWindows
        var header = BlockColumn(of: bytes, from: 0, to: bytes.count)
        let parts = header.varint()
        guard header.isSound, parts <= UInt64(header.remaining / 5) else {
            throw DecodeError("a block of \(parts) series", at: header.offset)
        }
        partsLeft = Int(parts)
        var sizes: [Int] = []
        for _ in 0..<5 {
            let size = header.varint()
            guard header.isSound, size <= UInt64(header.remaining) else {
                throw DecodeError("a column of \(size) bytes", at: header.offset)
            }
            sizes.append(Int(size))
        }
        guard sizes.reduce(0, +) == header.remaining else {
            throw DecodeError("a block's columns do not fill it", at: header.offset)
        }
        var columns: [BlockColumn] = []
        var start = header.offset
        for size in sizes {
            columns.append(BlockColumn(of: bytes, from: start, to: start + size))
            start += size
        }
        heads = columns[0]
        lengths = columns[1]
        windows = columns[2]
        counts = columns[3]
        values = columns[4]
    }

    // MARK: Series

    /// Goes to the next part, over what is left of the present one; false at the end.
    package mutating func next() throws(DecodeError) -> Bool {
        if cellsLeft > 0 {
            _ = try passWindows()
            var count: UInt64 = 0
            if !passFew(into: &count) { try passOver() }
        }
        guard partsLeft > 0 else {
            guard heads.isAtEnd, lengths.isAtEnd, windows.isAtEnd, counts.isAtEnd, values.isAtEnd
            else { throw Self.fault(heads, .leftOver) }
            return false
        }
        partsLeft -= 1
        var distance: UInt64
        var shared: UInt64
        var length: UInt64
        // Mostly three bytes.
        if let three = heads.shortNumbers(3) {
            (distance, shared, length) = (three & 0x7f, three >> 8 & 0x7f, three >> 16)
            heads.skip(3)
        } else {
            distance = heads.varint()
            shared = heads.varint()
            length = heads.varint()
        }
        let rest = heads.bytes(length)
        let type = heads.bytes(heads.varint())
        guard heads.isSound else { throw Self.fault(heads, .endsEarly) }
        guard distance < UInt64(partitionsMax - Int(partition.index)) else {
            throw Self.fault(heads, .partition)
        }
        guard shared <= UInt64(keyBytes.count) else { throw Self.fault(heads, .sharedKey) }
        guard rest.count <= keyMax - Int(shared), type.count <= typeMax else {
            throw Self.fault(heads, .longKey)
        }
        let cells = lengths.varint()
        guard lengths.isSound, cells > 0, cells <= UInt64(counts.remaining) else {
            throw Self.fault(lengths, .cells(cells))
        }
        let keepsKey = rest.isEmpty && shared == UInt64(keyBytes.count)
        isSameKey = !isFirstPart && distance == 0 && keepsKey
        if distance > 0 { partition = PartitionID(Int(partition.index) + Int(distance)) }
        if !keepsKey { keyBytes.replace(from: Int(shared), withPadded: rest) }
        self.type = type
        cellsLeft = Int(cells)
        isFirstCell = true
        isFirstPart = false
        return true
    }

    /// The cells of a whole part within a range of windows, added up.
    ///
    /// - Parameter part: what they are put into; whatever it held is gone. (What is returned by
    ///   value is copied as often as it is looked at.)
    package mutating func sum(
        in range: WindowRange, into part: inout SeriesPart
    ) throws(DecodeError) {
        precondition(isFirstCell, "a part is added up from its first cell on")
        let start = windows
        let (first, last) = try passWindows()
        part.clear()
        if range.covers(first, last) {
            part.cells = cellsLeft
            part.firstWindow = first
            part.lastWindow = last
            if passFew(into: &part.total.count) { return }
            try passCounts(cellsLeft, into: &part.total)
        } else {
            var others = Measure.zero
            var before = 0
            if range.overlaps(first, last) { before = select(range, from: start, into: &part) }
            try passCounts(before, into: &others)
            try passCounts(part.cells, into: &part.total)
            try passCounts(cellsLeft, into: &others)
        }
    }

    /// Which of the part's cells lie in a range, as `passWindows` found them sound: so many before
    /// them.
    private mutating func select(
        _ range: WindowRange, from start: BlockColumn, into part: inout SeriesPart
    ) -> Int {
        let from = range.from ?? .min
        let to = range.to ?? .max
        var numbers = start
        var window = numbers.zigzag()
        var before = 0
        var place = 0
        while true {
            if window < from {
                before += 1
            } else {
                guard window < to else { break }
                if part.cells == 0 { part.firstWindow = window }
                part.lastWindow = window
                part.cells += 1
            }
            place += 1
            guard place < cellsLeft else { break }
            window += Int64(numbers.varint())
        }
        return before
    }

    // MARK: Cells

    /// The next cell of the part; nil at its end.
    package mutating func nextCell() throws(DecodeError) -> (window: Int64, measure: Measure)? {
        guard cellsLeft > 0 else { return nil }
        cellsLeft -= 1
        if isFirstCell {
            window = try firstWindow()
            isFirstCell = false
        } else {
            window = try laterWindow(after: window)
        }
        let head = try count()
        guard head & 1 == 1 else { return (window, Measure(count: head >> 1)) }
        return (window, Measure(count: head >> 1, values: try heldValues(of: head >> 1)))
    }

    @inline(__always)
    private mutating func firstWindow() throws(DecodeError) -> Int64 {
        let first = windows.zigzag()
        guard windows.isSound, plausible.contains(first) else {
            throw Self.fault(windows, .window(first))
        }
        return first
    }

    @inline(__always)
    private mutating func laterWindow(after window: Int64) throws(DecodeError) -> Int64 {
        let distance = windows.varint()
        // So that the sum cannot overflow.
        guard windows.isSound, distance > 0, distance <= UInt64(Int64.max / 4) else {
            throw Self.fault(windows, .descending)
        }
        let later = window + Int64(distance)
        guard later <= plausible.upperBound else { throw Self.fault(windows, .window(later)) }
        return later
    }

    /// A cell's count, shifted, and whether values are held.
    @inline(__always)
    private mutating func count() throws(DecodeError) -> UInt64 {
        let head = counts.varint()
        guard counts.isSound, head >> 1 <= StorageLimits.measureCountMax else {
            throw Self.fault(counts, .count(head >> 1))
        }
        return head
    }

    private mutating func heldValues(of count: UInt64) throws(DecodeError) -> Measure.Values {
        let held = Measure.Values(
            count: values.varint(), sum: values.sum(), min: values.zigzag(), max: values.zigzag())
        guard values.isSound, held.arePlausible(for: count) else {
            throw Self.fault(values, .values)
        }
        return held
    }

    // MARK: Many cells at once

    /// Goes over the windows of the cells that are left: the first and the last of them.
    @inline(__always)
    private mutating func passWindows() throws(DecodeError) -> (first: Int64, last: Int64) {
        var left = cellsLeft
        var last = window
        if isFirstCell {
            last = try firstWindow()
            left -= 1
        }
        let first = last
        while left > 0 {
            let step = min(left, 8)
            if let distances = windows.shortNumbers(step) {
                guard !BlockColumn.hasZero(distances, step) else {
                    throw Self.fault(windows, .descending)
                }
                windows.skip(step)
                last += Int64(BlockColumn.sum(distances))
                left -= step
            } else {
                last = try laterWindow(after: last)
                left -= 1
            }
        }
        // They ascend: with the first and the last all of them are plausible.
        guard last <= plausible.upperBound else { throw Self.fault(windows, .window(last)) }
        return (first, last)
    }

    private mutating func passOver() throws(DecodeError) {
        var passed = Measure.zero
        try passCounts(cellsLeft, into: &passed)
    }

    /// Goes over the counts and values of so many cells: with `cellsLeft` to the part's end.
    @inline(__always)
    private mutating func passCounts(
        _ cells: Int, into total: inout Measure
    ) throws(DecodeError) {
        var left = cells
        while left > 0 {
            let step = min(left, 8)
            if let heads = counts.shortNumbers(step), heads & BlockColumn.ones == 0 {
                counts.skip(step)
                total.count += BlockColumn.sum(heads) >> 1
                left -= step
            } else {
                try passCount(into: &total)
                left -= 1
            }
        }
        cellsLeft -= cells
        isFirstCell = isFirstCell && cells == 0
    }

    /// The same for a part of at most eight cells with small counts alone, which most are.
    @inline(__always)
    private mutating func passFew(into count: inout UInt64) -> Bool {
        guard cellsLeft <= 8, let heads = counts.shortNumbers(cellsLeft),
            heads & BlockColumn.ones == 0
        else { return false }
        counts.skip(cellsLeft)
        count += BlockColumn.sum(heads) >> 1
        cellsLeft = 0
        isFirstCell = false
        return true
    }

    @inline(__always)
    private mutating func passCount(into total: inout Measure) throws(DecodeError) {
        let head = try count()
        // Far from overflow: a cell counts at most 2^56, and eight small ones 504.
        guard total.count < 1 << 62 else { throw Self.fault(counts, .overflow) }
        guard head & 1 == 1 else {
            total.count += head >> 1
            return
        }
        try passValues(of: head >> 1, into: &total)
    }

    private mutating func passValues(
        of count: UInt64, into total: inout Measure
    ) throws(DecodeError) {
        let held = try heldValues(of: count)
        if let sum = total.values?.sum, sum.addingReportingOverflow(held.sum).overflow {
            throw Self.fault(values, .overflow)
        }
        total.add(Measure(count: count, values: held))
    }

    // MARK: Faults

    private enum Fault {
        case leftOver
        case endsEarly
        case partition
        case sharedKey
        case longKey
        case cells(UInt64)
        case window(Int64)
        case descending
        case count(UInt64)
        case values
        case overflow
    }

    /// By itself, so that the text of a fault costs those nothing who find none.
    @inline(never)
    private static func fault(_ column: BlockColumn, _ fault: Fault) -> DecodeError {
        let what =
            switch fault {
            case .leftOver: "a block's columns hold more than its series"
            case .endsEarly: "a series ends early"
            case .partition: "a partition beyond \(Limits.partitionsMax)"
            case .sharedKey: "a key shares too much"
            case .longKey: "a key or type is too long"
            case .cells(let count): "a series of \(count) cells"
            case .window(let window): "window \(window)"
            case .descending: "windows do not ascend"
            case .count(let count): "a count of \(count)"
            case .values: "impossible values"
            case .overflow: "a series beyond 2^62 events or 2^127 millionths"
            }
        return DecodeError(what, at: column.offset)
    }
}
