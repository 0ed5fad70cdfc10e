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
        bytes = BlockBytes([])
        heads = BlockColumn(of: bytes, from: 0, to: 0)
        lengths = heads
        windows = heads
        counts = heads
        values = heads
        partsLeft = 0
    }

    package init(_ raw: [UInt8], buckets: TimeBuckets) throws(DecodeError) {
        plausible = buckets.plausibleWindows
        var reader = ByteReader(raw)
        partsLeft = try reader.count(ofSize: 5)
        var sizes: [Int] = []
        for _ in 0..<5 { sizes.append(try reader.count(ofSize: 1)) }
        guard sizes.reduce(0, +) == reader.remaining else {
            throw reader.fail("a block's columns do not fill it")
        }
        bytes = BlockBytes(raw)
        var columns: [BlockColumn] = []
        var start = reader.offset
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
            var passed = Measure.zero
            _ = try passWindows()
            try passCounts(into: &passed)
        }
        guard partsLeft > 0 else {
            guard heads.isAtEnd, lengths.isAtEnd, windows.isAtEnd, counts.isAtEnd, values.isAtEnd
            else { throw fault(heads, .leftOver) }
            return false
        }
        partsLeft -= 1
        let distance = heads.varint()
        let shared = heads.varint()
        let rest = heads.bytes(heads.varint())
        let type = heads.bytes(heads.varint())
        guard heads.isSound else { throw fault(heads, .endsEarly) }
        guard distance < UInt64(partitionsMax - Int(partition.index)) else {
            throw fault(heads, .partition)
        }
        guard shared <= UInt64(keyBytes.count) else { throw fault(heads, .sharedKey) }
        guard rest.count <= keyMax - Int(shared), type.count <= typeMax else {
            throw fault(heads, .longKey)
        }
        let cells = lengths.varint()
        guard lengths.isSound, cells > 0, cells <= UInt64(counts.remaining) else {
            throw fault(lengths, .cells(cells))
        }
        let keepsKey = rest.isEmpty && shared == UInt64(keyBytes.count)
        isSameKey = !isFirstPart && distance == 0 && keepsKey
        if distance > 0 { partition = PartitionID(Int(partition.index) + Int(distance)) }
        if !keepsKey { keyBytes.replace(from: Int(shared), with: rest) }
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
            try passCounts(into: &part.total)
        } else if range.overlaps(first, last) {
            // Some of them: once more, one by one.
            windows = start
            try sumCells(in: range, into: &part)
        } else {
            try passCounts(into: &part.total)
            part.clear()
        }
    }

    private mutating func sumCells(
        in range: WindowRange, into part: inout SeriesPart
    ) throws(DecodeError) {
        var others = Measure.zero
        while cellsLeft > 0 {
            window = isFirstCell ? try firstWindow() : try laterWindow(after: window)
            isFirstCell = false
            if range.contains(window) {
                part.cells += 1
                part.firstWindow = min(part.firstWindow, window)
                part.lastWindow = window
                try passCount(into: &part.total)
            } else {
                try passCount(into: &others)
            }
            cellsLeft -= 1
        }
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
            throw fault(windows, .window(first))
        }
        return first
    }

    @inline(__always)
    private mutating func laterWindow(after window: Int64) throws(DecodeError) -> Int64 {
        let distance = windows.varint()
        // So that the sum cannot overflow.
        guard windows.isSound, distance > 0, distance <= UInt64(Int64.max / 4) else {
            throw fault(windows, .descending)
        }
        let later = window + Int64(distance)
        guard later <= plausible.upperBound else { throw fault(windows, .window(later)) }
        return later
    }

    /// A cell's count, shifted, and whether values are held.
    @inline(__always)
    private mutating func count() throws(DecodeError) -> UInt64 {
        let head = counts.varint()
        guard counts.isSound, head >> 1 <= StorageLimits.measureCountMax else {
            throw fault(counts, .count(head >> 1))
        }
        return head
    }

    private mutating func heldValues(of count: UInt64) throws(DecodeError) -> Measure.Values {
        let held = Measure.Values(
            count: values.varint(), sum: values.sum(), min: values.zigzag(), max: values.zigzag())
        guard values.isSound, held.arePlausible(for: count) else {
            throw fault(values, .values)
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
                    throw fault(windows, .descending)
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
        guard last <= plausible.upperBound else { throw fault(windows, .window(last)) }
        return (first, last)
    }

    /// Goes over the counts and values of the cells that are left, and so to the part's end.
    @inline(__always)
    private mutating func passCounts(into total: inout Measure) throws(DecodeError) {
        while cellsLeft > 0 {
            let step = min(cellsLeft, 8)
            if let heads = counts.shortNumbers(step), heads & BlockColumn.ones == 0 {
                counts.skip(step)
                total.count += BlockColumn.sum(heads) >> 1
                cellsLeft -= step
            } else {
                try passCount(into: &total)
                cellsLeft -= 1
            }
        }
        isFirstCell = false
    }

    @inline(__always)
    private mutating func passCount(into total: inout Measure) throws(DecodeError) {
        let head = try count()
        // Far from overflow: a cell counts at most 2^56, and eight small ones 504.
        guard total.count < 1 << 62 else { throw fault(counts, .overflow) }
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
            throw fault(values, .overflow)
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
    private func fault(_ column: BlockColumn, _ fault: Fault) -> DecodeError {
        let what =
            switch fault {
            case .leftOver: "a block's columns hold more than its series"
            case .endsEarly: "a series ends early"
            case .partition: "a partition beyond \(partitionsMax)"
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
