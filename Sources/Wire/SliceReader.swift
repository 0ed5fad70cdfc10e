package import Core

/// One cell as it stands in a slice. The buffers point into the slice's bytes: they are valid as
/// long as those are, and no longer.
package struct SliceCell {
    package var key: UnsafeRawBufferPointer
    package var type: UnsafeRawBufferPointer
    package var window: Int64
    package var measure: Measure
    /// True for the first cell of its series: what depends on key and type alone need be looked up
    /// only then.
    package var startsSeries: Bool
}

/// What is wrong with a slice, and at which byte of it. A slice comes from a peer or a disk, so
/// that none of these is a reason to stop a process.
package enum SliceError: Error, Hashable, CustomStringConvertible {
    /// A number, key or type runs beyond the last byte.
    case truncated(offset: Int)
    /// A number of more than 64 (for sums 128) bits, or one written with more bytes than it needs.
    case badNumber(offset: Int)
    case badKeyLength(offset: Int)
    case badTypeLength(offset: Int)
    /// A series without cells, or with more than bytes are left for.
    case badCellCount(offset: Int)
    /// A window outside the years 1 to 9999.
    case badWindow(offset: Int)
    /// A cell of no event, or of more than a batch can hold.
    case badCount(offset: Int)
    /// Values that no events can have: more of them than events, a minimum above the maximum, or a
    /// sum that such a minimum and maximum exclude.
    case badValues(offset: Int)

    package var description: String {
        switch self {
        case .truncated(let offset): "slice, byte \(offset): it ends in the middle of a series"
        case .badNumber(let offset): "slice, byte \(offset): a number is too long"
        case .badKeyLength(let offset): "slice, byte \(offset): a key of impossible length"
        case .badTypeLength(let offset): "slice, byte \(offset): a type of impossible length"
        case .badCellCount(let offset): "slice, byte \(offset): an impossible number of cells"
        case .badWindow(let offset): "slice, byte \(offset): a window outside the years 1 to 9999"
        case .badCount(let offset): "slice, byte \(offset): an impossible number of events"
        case .badValues(let offset): "slice, byte \(offset): values that contradict each other"
        }
    }
}

/// Reads the cells of one slice, one after the other (docs/formats/slice.md).
///
///     var reader = SliceReader(bytes)
///     while let cell = try reader.next() { … }
///
/// It checks every length and number, allocates nothing, and never traps. What follows an error
/// means nothing; what came before it was read already, so that whoever applies a slice that was
/// not covered by a checksum calls `validate` first.
package struct SliceReader {
    private let bytes: UnsafeRawBufferPointer
    private let windows: ClosedRange<Int64>
    // Here, since each look at another module's constant asks whether it is made already.
    private let keyMax = Limits.keyMax
    private let typeMax = Limits.typeMax
    private var offset = 0
    private var cellsLeft: UInt64 = 0
    private var key = UnsafeRawBufferPointer(start: nil, count: 0)
    private var type = UnsafeRawBufferPointer(start: nil, count: 0)
    private var window: Int64 = 0

    /// A batch counts its events in 32 bits, and so no cell of it has more.
    package static let countMax = UInt64(UInt32.max)

    /// The first and the last millisecond of the years 1 to 9999.
    private static let times: ClosedRange<Int64> = -62_135_596_800_000...253_402_300_799_999

    /// - Parameter length: of the cluster's windows; nil where it is not known, and windows are
    ///   then held against the widest range that any length allows.
    package init(_ bytes: UnsafeRawBufferPointer, length: WindowLength? = nil) {
        self.init(bytes, windows: SliceReader.windows(of: length))
    }

    /// For those who read many slices of one length.
    package init(_ bytes: UnsafeRawBufferPointer, windows: ClosedRange<Int64>) {
        self.bytes = bytes
        self.windows = windows
    }

    /// All windows of a length that a slice may name.
    package static func windows(of length: WindowLength?) -> ClosedRange<Int64> {
        let milliseconds = length?.milliseconds ?? 1
        let first = floorDivide(SliceReader.times.lowerBound, milliseconds)
        return first...floorDivide(SliceReader.times.upperBound, milliseconds)
    }

    /// Reads all cells and forgets them; the number of cells.
    package static func validate(
        _ bytes: UnsafeRawBufferPointer, windows: ClosedRange<Int64>
    ) throws(SliceError) -> Int {
        var reader = SliceReader(bytes, windows: windows)
        var cells = 0
        while try reader.next() != nil { cells += 1 }
        return cells
    }

    /// The next cell; nil at the end.
    package mutating func next() throws(SliceError) -> SliceCell? {
        var starts = false
        if cellsLeft == 0 {
            guard offset < bytes.count else { return nil }
            try readHead()
            starts = true
        }
        try readWindow()
        let measure = try readMeasure()
        cellsLeft &-= 1
        return SliceCell(
            key: key, type: type, window: window, measure: measure, startsSeries: starts)
    }

    private mutating func readHead() throws(SliceError) {
        key = try readText(max: keyMax, fault: .badKeyLength(offset: offset))
        type = try readText(max: typeMax, fault: .badTypeLength(offset: offset))
        let start = offset
        let cells = try readNumber()
        // A cell takes at least two bytes: a false number ends here and not after a long walk.
        guard cells > 0, cells <= UInt64((bytes.count &- offset) / 2) else {
            throw .badCellCount(offset: start)
        }
        cellsLeft = cells
        window = 0
    }

    private mutating func readText(
        max: Int, fault: SliceError
    ) throws(SliceError) -> UnsafeRawBufferPointer {
        let length = try readNumber()
        guard length > 0, length <= UInt64(max) else { throw fault }
        guard length <= UInt64(bytes.count &- offset) else { throw .truncated(offset: offset) }
        let start = offset
        offset &+= Int(length)
        return UnsafeRawBufferPointer(rebasing: bytes[start..<offset])
    }

    private mutating func readWindow() throws(SliceError) {
        let start = offset
        let (sum, overflow) = window.addingReportingOverflow(try readSigned())
        guard !overflow, windows.contains(sum) else { throw .badWindow(offset: start) }
        window = sum
    }

    private mutating func readMeasure() throws(SliceError) -> Measure {
        let start = offset
        let head = try readNumber()
        let count = head >> 1
        guard count > 0, count <= SliceReader.countMax else { throw .badCount(offset: start) }
        guard head & 1 == 1 else { return Measure(count: count) }
        let valueCount = try readNumber()
        let raw = try readWideNumber()
        let sum = Int128(truncatingIfNeeded: raw >> 1) ^ -Int128(truncatingIfNeeded: raw & 1)
        let minimum = try readSigned()
        let maximum = try readSigned()
        // 32 bits times 64 bits: the products fit.
        guard valueCount > 0, valueCount <= count, minimum <= maximum,
            sum >= Int128(minimum) * Int128(valueCount), sum <= Int128(maximum) * Int128(valueCount)
        else { throw .badValues(offset: start) }
        let values = Measure.Values(count: valueCount, sum: sum, min: minimum, max: maximum)
        return Measure(count: count, values: values)
    }

    private mutating func readSigned() throws(SliceError) -> Int64 {
        let raw = try readNumber()
        return Int64(bitPattern: raw >> 1) ^ -Int64(bitPattern: raw & 1)
    }

    /// LEB128 of at most 64 bits, in its shortest form, so that a slice has one encoding only.
    @inline(__always)
    private mutating func readNumber() throws(SliceError) -> UInt64 {
        // Most numbers have one byte.
        if offset < bytes.count, bytes[offset] < 0x80 {
            offset &+= 1
            return UInt64(bytes[offset &- 1])
        }
        return try readLongNumber()
    }

    private mutating func readLongNumber() throws(SliceError) -> UInt64 {
        var value: UInt64 = 0
        var shift: UInt64 = 0
        let start = offset
        while true {
            guard offset < bytes.count else { throw .truncated(offset: start) }
            let byte = bytes[offset]
            offset &+= 1
            value |= UInt64(byte & 0x7f) &<< shift
            if byte < 0x80 {
                guard byte != 0 || shift == 0, shift < 63 || byte == 1 else {
                    throw .badNumber(offset: start)
                }
                return value
            }
            shift &+= 7
            guard shift <= 63 else { throw .badNumber(offset: start) }
        }
    }

    /// The same of at most 128 bits. Most sums are small: they are read in 64.
    private mutating func readWideNumber() throws(SliceError) -> UInt128 {
        let start = offset
        var low: UInt64 = 0
        var shift: UInt64 = 0
        while shift < 63, offset < bytes.count {
            let byte = bytes[offset]
            offset &+= 1
            low |= UInt64(byte & 0x7f) &<< shift
            if byte < 0x80 {
                guard byte != 0 || shift == 0 else { throw .badNumber(offset: start) }
                return UInt128(low)
            }
            shift &+= 7
        }
        return try readWideRest(low: low, start: start)
    }

    /// The bytes behind the ninth, which has another behind it.
    private mutating func readWideRest(low: UInt64, start: Int) throws(SliceError) -> UInt128 {
        var value = UInt128(low)
        var shift: UInt128 = 63
        while true {
            guard offset < bytes.count else { throw .truncated(offset: start) }
            let byte = bytes[offset]
            offset &+= 1
            value |= UInt128(byte & 0x7f) &<< shift
            if byte < 0x80 {
                guard byte != 0, shift < 126 || byte < 4 else {
                    throw .badNumber(offset: start)
                }
                return value
            }
            shift &+= 7
            guard shift <= 126 else { throw .badNumber(offset: start) }
        }
    }
}
