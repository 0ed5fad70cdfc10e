import Core

/// Merges the cells of tables of one bucket into a writer, some at a time: equal cells add up, and
/// finer ones than the output's granularity add up to its hours or days. It holds one block of each
/// input, and of the output what a table holds in memory anyway.
struct TableMerge: Sendable {
    private var cursors: [TableCursor]
    private var writer: TableWriter
    private let inputs: [TableHandle]
    private let fault: CompactionFault?
    private let buckets: TimeBuckets
    private let granularity: Granularity
    /// Those that stand in the series that is being written.
    private var members: [Int] = []

    init(
        _ inputs: [TableHandle], into file: any StoredFile, id: UInt64,
        as granularity: Granularity, fault: CompactionFault?
    ) throws(StorageError) {
        guard let first = inputs.first else { preconditionFailure("a merge of nothing") }
        precondition(
            inputs.allSatisfy { $0.meta.bucket == first.meta.bucket },
            "tables of several buckets are no table")
        precondition(
            inputs.allSatisfy { $0.meta.granularity.rawValue <= granularity.rawValue },
            "days and hours cannot be taken apart")
        let keys = inputs.reduce(0) { $0 + $1.footer.keys }
        writer = TableWriter(
            file: file, id: id, granularity: granularity, bucket: first.meta.bucket,
            keysMax: Int(clamping: keys), options: first.options)
        cursors = []
        for input in fault == .dropsInput ? Array(inputs.dropLast()) : inputs {
            cursors.append(try TableCursor(input, windowsBy: granularity, checksFilter: false))
        }
        self.inputs = inputs
        self.fault = fault
        self.granularity = granularity
        buckets = first.options.buckets
    }

    /// Of the inputs' files.
    var bytesRead: UInt64 { cursors.reduce(0) { $0 + $1.bytesRead } }

    var bytesWritten: UInt64 { writer.written }

    /// Goes on until about so many bytes more of the inputs were read; true when all were.
    mutating func run(_ bytes: Int) throws(StorageError) -> Bool {
        let end = bytesRead + UInt64(bytes)
        while let lead = leastSeries() {
            // Before it, and not within: a hot key may have many cells.
            guard bytesRead < end else { return false }
            writer.begin(
                cursors[lead].partition, key: cursors[lead].key, type: cursors[lead].type,
                known: cursors[lead].statistics.terms)
            if members.count == 1, inputs[lead].meta.granularity == granularity {
                try copySeries(lead)
            } else {
                try mergeSeries()
            }
        }
        return true
    }

    /// The table is complete and synced; what came out must be what went in.
    mutating func finish(_ path: String) throws(StorageError) -> TableStatistics {
        let found = try writer.finish()
        if fault != .losesCell { try check(found, path) }
        return found
    }

    private func check(_ found: TableStatistics, _ path: String) throws(StorageError) {
        // What was read is what the footers say, each of them alone; else a file is to blame.
        for cursor in cursors { try cursor.table.check(cursor.statistics) }
        var windows = WindowDigest()
        for cursor in cursors { windows.merge(cursor.statistics.windows) }
        var sums: [PartitionID: TablePartition] = [:]
        for held in inputs.flatMap(\.footer.partitions) {
            sums[held.partition, default: .none(of: held.partition)].add(held)
        }
        guard found.windows == windows else {
            throw .digestMismatch(path: path, what: "cells changed their windows in a merge")
        }
        guard found.partitions.count == sums.count else {
            throw .digestMismatch(path: path, what: "a merge has other partitions than its inputs")
        }
        for held in found.partitions where !held.isSame(as: sums[held.partition]) {
            throw .digestMismatch(
                path: path, what: "\(held.partition) does not hold the sum of its inputs")
        }
    }

    // MARK: - Series

    /// Which input stands at the least series, and in `members` all that do; nil at the end.
    private mutating func leastSeries() -> Int? {
        members.removeAll(keepingCapacity: true)
        for place in cursors.indices where !cursors[place].isAtEnd {
            guard let lead = members.first else {
                members.append(place)
                continue
            }
            let order = compare(place, lead)
            if order > 0 { continue }
            if order < 0 { members.removeAll(keepingCapacity: true) }
            members.append(place)
        }
        return members.first
    }

    /// Field by field, since a cursor is much to copy.
    private func compare(_ left: Int, _ right: Int) -> Int {
        if cursors[left].partition != cursors[right].partition {
            return cursors[left].partition < cursors[right].partition ? -1 : 1
        }
        let keys = ByteOrder.compare(cursors[left].key, cursors[right].key)
        return keys != 0 ? keys : ByteOrder.compare(cursors[left].type, cursors[right].type)
    }

    /// The series of one input alone.
    private mutating func copySeries(_ place: Int) throws(StorageError) {
        repeat {
            try writer.add(window: cursors[place].window, cursors[place].measure)
        } while try cursors[place].step()
    }

    /// All cells of the next window that any has, then of the one after it.
    private mutating func mergeSeries() throws(StorageError) {
        var cells = 0
        while let first = members.first {
            var window = shown(first)
            for member in 1..<members.count { window = min(window, shown(members[member])) }
            var measure = Measure.zero
            var left = 0
            // By number: an iterator would hold the list, and each change copy it.
            for member in 0..<members.count {
                let place = members[member]
                var isIn = true
                while isIn, shown(place) == window {
                    measure.add(cursors[place].measure)
                    isIn = try cursors[place].step()
                }
                if isIn {
                    members[left] = place
                    left += 1
                }
            }
            members.removeLast(members.count - left)
            if fault == .losesCell, members.isEmpty, cells > 0 { continue }
            try writer.add(window: window, measure)
            cells += 1
        }
    }

    /// The window as which the cell comes out at which an input stands.
    private func shown(_ place: Int) -> Int64 {
        buckets.start(of: cursors[place].window, granularity)
    }
}

/// A planted bug.
package enum CompactionFault: Hashable, Sendable {
    /// One input is left out.
    case dropsInput
    /// The last of equal series loses a cell, and nobody compares the sums.
    case losesCell
    /// The table counts before its name is durable.
    case leavesUnsynced
}

extension TablePartition {
    fileprivate static func none(of partition: PartitionID) -> TablePartition {
        TablePartition(partition: partition, cells: 0, total: .zero, digest: .zero)
    }

    fileprivate mutating func add(_ other: TablePartition) {
        cells += other.cells
        total.add(other.total)
        digest.merge(other.digest)
    }

    /// Cells that were equal are one now.
    fileprivate func isSame(as sum: TablePartition?) -> Bool {
        guard let sum else { return false }
        return total == sum.total && digest == sum.digest && cells <= sum.cells
    }
}
