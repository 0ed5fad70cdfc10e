package import Core

// # Folding
//
// This module turns the bytes of one batch into what the cluster stores of it: per partition a
// slice of cells (key, type, window) → measure, and the dead letters. It is a pure function of the
// bytes, the parse parameters, `createdAt` and the rules; it reads no clock, and the seed of its
// hash tables decides only how fast it is. Two nodes that are sent the same batch produce the same
// bytes, which is what lets a retry through another node be recognised as the same content
// (docs/formats/events.md has the formats, docs/formats/slice.md the result).
//
// ## The way of an event
//
//     bytes ─ JSON, row or log scanner ─▶ fields ─▶ key, type, time, value ─▶ cell table
//                                │                            │
//                                └────────▶ dead letter ◀─────┘
//
// A scanner walks the bytes once. It validates everything, the parts that nobody asked for as well,
// and copies nothing: a field is a pointer into the batch, unless an escape makes a copy necessary.
// What it cannot read is a dead letter with its line, its reason and its bytes. The checks that
// follow are the same for all formats and run in a fixed order: key, type, time, value, then late
// and future. The first that fails names the reason.
//
// The cell table is two open-addressing tables: key and type → series, series and window → cell.
// Most events meet the series' latest or first cell and never see the second table. At the end the
// series are sorted by partition, counting, so that within a partition they stay in the order of
// their first appearance. That order depends on the bytes alone, and saves sorting keys.
//
// ## Where speed comes from
//
// Strings are scanned eight bytes at a time with the tests of *Bit Twiddling Hacks* (Anderson) for
// "a byte in this word that ends the run"; this is the idea of simdjson (Langdale and Lemire,
// *Parsing Gigabytes of JSON per Second*, 2019) without its first stage, which events of sixty
// bytes do not repay. The scanner remembers which member stood where in the line before; the time
// parser remembers the day it parsed last; the window is divided for only when the event leaves the
// last one. Nothing is allocated per event.
//
// ## Invariants
//
// - counted + dead = events, for every input.
// - A malformed event never changes what its neighbours count.
// - Every key and type in a slice is valid UTF-8 of 1 to `keyMax` (`typeMax`) bytes.
// - The fold of two batches is the sum of their folds; the order of events changes only the order
//   of series and cells.
// - Memory is bounded by `FoldBounds` and the size of the batch; beyond it the whole batch is
//   refused.

/// The rules under which a batch folds, as its rule version fixes them.
package struct FoldRules: Hashable, Sendable {
    package var version: RuleVersion
    package var window: WindowLength
    /// How far after `createdAt` an event may lie.
    package var futureLimit: Duration
    /// How far before `createdAt` an event may lie; nil: history of any age.
    package var lateness: Duration?

    package init(
        version: RuleVersion = .first, window: WindowLength = .minute,
        futureLimit: Duration = Limits.futureLimitDefault, lateness: Duration? = nil
    ) {
        self.version = version
        self.window = window
        self.futureLimit = futureLimit
        self.lateness = lateness
    }
}

/// Where cells lie, as the ring says it.
package struct CellPartitioner: Sendable {
    /// Where only the windows of one UTC day are sure to lie together; nil: all of a key's do.
    package var windowsPerDay: Int64?
    /// Takes the bytes of a key and the index of a window. Called once for a series, with any of
    /// its windows, and once more for each day.
    package var partition: @Sendable (UnsafeRawBufferPointer, Int64) -> PartitionID

    package init(
        windowsPerDay: Int64? = nil,
        partition: @escaping @Sendable (UnsafeRawBufferPointer, Int64) -> PartitionID
    ) {
        self.windowsPerDay = windowsPerDay
        self.partition = partition
    }
}

/// The part of a folded batch that falls in one partition: a range of the body.
package struct SliceEntry: Sendable, Hashable {
    package var partition: PartitionID
    package var offset: Int
    package var length: Int
    package var cells: Int

    package init(partition: PartitionID, offset: Int, length: Int, cells: Int) {
        self.partition = partition
        self.offset = offset
        self.length = length
        self.cells = cells
    }
}

/// What a batch comes to.
package struct FoldedBatch: Sendable, Hashable {
    package var totals: BatchTotals
    /// Ascending by partition, adjacent in the body, none empty.
    package var slices: [SliceEntry]
    package var body: [UInt8]
    /// Ascending by line.
    package var deadLetters: [DeadLetter]
}

/// How large a batch may become in memory. The standard holds for every node of a cluster, since a
/// batch that one node refuses for its size must be refused by all; tests use smaller ones.
package struct FoldBounds: Hashable, Sendable {
    /// Distinct (key, type, window) of one batch.
    package var cellsMax: Int
    package var deadLettersMax: Int
    /// Cells and dead letters, encoded.
    package var bytesMax: Int

    package init(cellsMax: Int, deadLettersMax: Int, bytesMax: Int) {
        self.cellsMax = cellsMax
        self.deadLettersMax = deadLettersMax
        self.bytesMax = bytesMax
    }

    package static let standard = FoldBounds(
        cellsMax: 1 << 21, deadLettersMax: 1 << 18, bytesMax: Limits.recordBodyMax)
}

/// Bounds of what a batch may ask of its parser.
package enum ParseLimits {
    /// Objects and arrays inside each other.
    package static let nestingMax = 64
    /// Bytes of a field's name or dotted path.
    package static let fieldNameMax = 256
    /// Types and keys in the tables of one binary batch.
    package static let binaryTypesMax = 1 << 16
    package static let binaryKeysMax = 1 << 21
    /// Columns of a table.
    package static let columnsMax = 4096
    /// Columns that an error message lists.
    package static let columnsShownMax = 20
    /// Bytes of an event that a dead letter's detail quotes.
    package static let quotedMax = 48
}
