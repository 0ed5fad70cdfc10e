import Core
import Wire

/// The greatest keys of sorted tables, without a table of all keys: the tables are merged like
/// sorted lists, so that the total of a key is known once it has passed, and of those only the
/// greatest are kept. What memtables hold of a key comes in no order and is looked up.
struct TopScan {
    private var sources: [KeyTotals] = []
    /// Places in `sources` that are not at their end: a heap, the least key first.
    private var order: [Int] = []
    private var partition = PartitionID(0)
    private var key = KeyBuffer(capacity: Limits.keyMax)
    private var total = Measure.zero

    /// Before the first key of a zone.
    init(
        _ tables: [TableHandle], _ spec: ScanSpec, _ zone: KeyZone
    ) throws(StorageError) {
        for table in tables {
            var source = try KeyTotals(table, spec, zone)
            guard try source.next() else { continue }
            sources.append(source)
            order.append(order.count)
        }
        for place in order.indices.reversed() { siftDown(place) }
    }

    /// Offers every key with its total over all tables.
    mutating func run(
        _ offer: (UnsafeRawBufferPointer, inout Measure) -> Void
    ) throws(StorageError) {
        while let least = order.first {
            if order.count == 1 { return try finish(least, offer) }
            partition = sources[least].partition
            key.set(padded: sources[least].key)
            total = sources[least].total
            try advance()
            while let next = order.first, isAtKey(next) {
                total.add(sources[next].total)
                try advance()
            }
            offer(key.bytes, &total)
        }
    }

    /// The last source alone.
    private mutating func finish(
        _ last: Int, _ offer: (UnsafeRawBufferPointer, inout Measure) -> Void
    ) throws(StorageError) {
        var source = sources[last]
        sources = []
        order = []
        repeat { offer(source.key, &source.total) } while try source.next()
    }

    private func isAtKey(_ place: Int) -> Bool {
        sources[place].partition.index == partition.index
            && ByteOrder.areEqual(sources[place].key, key.bytes)
    }

    /// Moves the source that stands first.
    private mutating func advance() throws(StorageError) {
        if try !sources[order[0]].next() {
            order.swapAt(0, order.count - 1)
            order.removeLast()
        }
        siftDown(0)
    }

    private mutating func siftDown(_ start: Int) {
        var parent = start
        while true {
            var least = parent
            for child in [2 * parent + 1, 2 * parent + 2] where child < order.count {
                if precedes(order[child], order[least]) { least = child }
            }
            guard least != parent else { return }
            order.swapAt(parent, least)
            parent = least
        }
    }

    private func precedes(_ left: Int, _ right: Int) -> Bool {
        let mine = sources[left].partition.index
        let theirs = sources[right].partition.index
        return mine != theirs
            ? mine < theirs : ByteOrder.compare(sources[left].key, sources[right].key) < 0
    }
}

/// Goes through a table key by key: what a spec selects of each, added up.
private struct KeyTotals {
    private let table: TableHandle
    private let spec: ScanSpec
    private let windows: WindowRange
    /// nil: all types. Not an array, whose references would be counted with every part.
    private let type: KeyBuffer?
    /// Where the zone ends, and its blocks.
    private let to: TablePoint?
    private let end: Int
    private var block: BlockWalk
    private var number: Int
    /// Whether the walk stands at a part, which was not added yet.
    private var hasPart = false
    private var part = SeriesPart()
    /// Of the partition, if it is known.
    private var isWanted = false
    private var isKnown = false
    private var keyBytes = KeyBuffer(capacity: Limits.keyMax)
    private(set) var partition = PartitionID(0)
    /// The caller's to add to.
    var total = Measure.zero

    /// Valid until `next`.
    var key: UnsafeRawBufferPointer { keyBytes.bytes }

    /// Before the first key.
    init(_ table: TableHandle, _ spec: ScanSpec, _ zone: KeyZone) throws(StorageError) {
        self.table = table
        self.spec = spec
        to = zone.to
        let blocks = table.index.blocks(of: zone)
        number = blocks.lowerBound - 1
        end = blocks.upperBound
        windows = spec.windows
        type = spec.type.map { wanted in
            var buffer = KeyBuffer(capacity: wanted.count)
            wanted.withUnsafeBytes { buffer.set($0) }
            return buffer
        }
        block = BlockWalk(empty: table.options.buckets)
        hasPart = try nextBlock()
        guard let from = zone.from else { return }
        while hasPart, from.isBehind(block.partition, block.key) { _ = try goesOn() }
    }

    /// Goes to the next key that the spec selects cells of; false at the end.
    mutating func next() throws(StorageError) -> Bool {
        while hasPart {
            if !isKnown || block.partition.index != partition.index {
                partition = block.partition
                isWanted = spec.partitions.contains(partition)
                isKnown = true
            }
            keyBytes.set(padded: block.key)
            if number == end - 1, let to, !to.isBehind(partition, key) { return false }
            total.count = 0
            total.values = nil
            var cells = 0
            repeat {
                if isWanted { cells += try addPart() }
            } while try goesOn()
            if cells > 0 { return true }
        }
        return false
    }

    /// Its cells.
    private mutating func addPart() throws(StorageError) -> Int {
        if let type {
            if !ByteOrder.areEqual(type.bytes, block.type) { return 0 }
        } else if RetirementMark.isHidden(type: block.type) {
            return 0
        }
        do throws(DecodeError) {
            try block.sum(in: windows, into: &part)
        } catch {
            throw table.damaged(number, error)
        }
        if part.total.values == nil {
            total.count += part.total.count
        } else {
            total.add(part.total)
        }
        return part.cells
    }

    /// Goes to the next part; whether it is of the same key.
    private mutating func goesOn() throws(StorageError) -> Bool {
        do throws(DecodeError) {
            if try block.next() { return block.isSameKey }
        } catch {
            throw table.damaged(number, error)
        }
        hasPart = try nextBlock()
        return hasPart && block.partition.index == partition.index
            && ByteOrder.areEqual(block.key, keyBytes.bytes)
    }

    /// To the first part of the next block that may hold what is wanted.
    private mutating func nextBlock() throws(StorageError) -> Bool {
        while number + 1 < end {
            number += 1
            guard table.isWanted(number, spec) else { continue }
            block = try table.block(number)
            do throws(DecodeError) {
                if try block.next() { return true }
            } catch {
                throw table.damaged(number, error)
            }
        }
        return false
    }
}
