package import Core
package import Wire

/// How far a whole copy is: what is given next, in this order.
package struct CopyCursor: Hashable, Sendable {
    package enum Stage: UInt8, Hashable, Sendable, CaseIterable {
        /// Cells: a table and a block of it.
        case cells = 1
        /// Outcomes of forgotten batches: a history file and a block of it.
        case outcomes = 2
        /// The same with their dead letters.
        case letters = 3
        /// Sealed batches whose outcomes are still in the log.
        case sealed = 4
        /// Younger batches whose payload is no longer in the log: a history file and a block of it.
        case husks = 5
        /// Younger batches, by what was applied of them.
        case list = 6
        case end = 7
    }

    package var stage: Stage
    package var file: UInt32
    package var place: UInt32

    package init(_ stage: Stage, file: UInt32 = 0, place: UInt32 = 0) {
        self.stage = stage
        self.file = file
        self.place = place
    }

    package static let start = CopyCursor(.cells)

    /// The beginning of what comes behind this stage.
    package var nextStage: CopyCursor {
        CopyCursor(Stage(rawValue: stage.rawValue + 1) ?? .end)
    }
}

extension ByteWriter {
    package mutating func write(_ cursor: CopyCursor) {
        write(cursor.stage.rawValue)
        write(fixed: cursor.file)
        write(fixed: cursor.place)
    }
}

extension ByteReader {
    package mutating func copyCursor() throws(DecodeError) -> CopyCursor {
        let number = try byte()
        guard let stage = CopyCursor.Stage(rawValue: number) else {
            throw fail("stage \(number) of a copy")
        }
        return CopyCursor(stage, file: try fixed(), place: try fixed())
    }
}

/// Reads pieces of a snapshot for another replica: as much as fits into one answer.
struct CopyReader {
    let options: StorageOptions

    /// Raw blocks with the cells of `partitions`, from a place on, and where to go on.
    func cells(
        _ tables: [TableHandle], _ partitions: PartitionSet, from start: CopyCursor
    ) throws(StorageError) -> (blocks: [[UInt8]], next: CopyCursor) {
        var blocks: [[UInt8]] = []
        var bytes = 0
        var cursor = start
        while Int(cursor.file) < tables.count {
            let table = tables[Int(cursor.file)]
            let isWanted = !table.meta.partitions.intersection(partitions).isEmpty
            guard isWanted, Int(cursor.place) < table.index.entries.count else {
                cursor = CopyCursor(.cells, file: cursor.file + 1)
                continue
            }
            guard bytes < StorageLimits.copyPartTarget else { return (blocks, cursor) }
            let block = try filtered(table, Int(cursor.place), partitions)
            if !block.isEmpty { blocks.append(block) }
            bytes += block.count
            cursor.place += 1
        }
        return (blocks, start.nextStage)
    }

    private func filtered(
        _ table: TableHandle, _ number: Int, _ partitions: PartitionSet
    ) throws(StorageError) -> [UInt8] {
        var reader = try table.block(number)
        let offset = table.index.entries[number].offset
        return try table.source.decoded(at: offset) { () throws(DecodeError) in
            var builder = TableBlockBuilder()
            while try reader.next() {
                guard partitions.contains(reader.partition) else { continue }
                var isOpen = false
                while let cell = try reader.nextCell() {
                    if isOpen {
                        builder.add(window: cell.window, cell.measure)
                        continue
                    }
                    builder.begin(
                        reader.partition, key: reader.key, type: reader.type, window: cell.window,
                        cell.measure)
                    isOpen = true
                }
            }
            return builder.cells == 0 ? [] : builder.finish()
        }
    }

    /// Entries of one region of history files whose homes are wanted.
    func history(
        _ files: [HistoryHandle], _ homes: PartitionSet, from start: CopyCursor
    ) throws(StorageError) -> (items: [HistoryEntry], next: CopyCursor) {
        let region: HistoryRegion = start.stage == .outcomes ? .outcomes : .letters
        return try part(of: files, from: start, region.blocks, size: \.letterBytes) {
            file, block throws(StorageError) in
            try file.entries(block, region).filter { homes.contains($0.home) }
        }
    }

    /// Husks that concern replicas of these partitions.
    func husks(
        _ files: [HistoryHandle], _ partitions: PartitionSet, from start: CopyCursor
    ) throws(StorageError) -> (items: [Husk], next: CopyCursor) {
        try part(of: files, from: start, \.husks, size: { _ in 0 }) {
            file, block throws(StorageError) in
            try file.husks(block).compactMap { $0.part(of: partitions) }
        }
    }

    /// Outcomes of sealed batches with their letters, until they are enough: one at least.
    static func sealed(
        _ drafts: [HistoryDraft], in fileSystem: any FileSystem
    ) throws(StorageError) -> [HistoryEntry] {
        var entries: [HistoryEntry] = []
        var bytes = 0
        for draft in drafts {
            let entry = try draft.entry(from: fileSystem)
            // Letters of two large batches would be more than one frame.
            bytes += entry.letterBytes
            entries.append(entry)
            if bytes >= StorageLimits.copyPartTarget { break }
        }
        return entries
    }

    /// Whole blocks of history files, until they are enough.
    private func part<Item>(
        of files: [HistoryHandle], from start: CopyCursor,
        _ blocks: (HistoryIndex) -> [HistoryBlock], size: (Item) -> Int,
        _ read: (HistoryHandle, HistoryBlock) throws(StorageError) -> [Item]
    ) throws(StorageError) -> (items: [Item], next: CopyCursor) {
        var items: [Item] = []
        var bytes = 0
        var cursor = start
        while Int(cursor.file) < files.count {
            let file = files[Int(cursor.file)]
            let blocks = blocks(file.index)
            guard Int(cursor.place) < blocks.count else {
                cursor = CopyCursor(start.stage, file: cursor.file + 1)
                continue
            }
            guard bytes < StorageLimits.copyPartTarget else { return (items, cursor) }
            let block = blocks[Int(cursor.place)]
            let found = try read(file, block)
            // Of a block that was closed by its length no more than the target is raw; letters may
            // be much more than they take in the file, and a piece is one frame.
            bytes += max(
                block.length, StorageLimits.blockTarget, found.reduce(0) { $0 + size($1) })
            items += found
            cursor.place += 1
        }
        return (items, start.nextStage)
    }
}

extension Memtable {
    /// Adds the cells of a block that another replica gave; all of them or, if it is malformed,
    /// none.
    package mutating func add(
        block raw: [UInt8], of partitions: PartitionSet
    ) throws(DecodeError) {
        try walk(raw, of: partitions) { _, _, _, _, _ in }
        try walk(raw, of: partitions) { table, partition, key, type, cell in
            table.insert(partition, key: key, type: type, window: cell.window, cell.measure)
        }
    }

    private mutating func walk(
        _ raw: [UInt8], of partitions: PartitionSet,
        _ visit: (
            inout Memtable, PartitionID, [UInt8], [UInt8], (window: Int64, measure: Measure)
        ) -> Void
    ) throws(DecodeError) {
        var reader = try BlockWalk(raw, buckets: buckets)
        while try reader.next() {
            let key = Array(reader.key)
            let type = Array(reader.type)
            guard partitions.contains(reader.partition), !key.isEmpty, !type.isEmpty
            else { throw DecodeError("cells of \(reader.partition)", at: 0) }
            while let cell = try reader.nextCell() {
                visit(&self, reader.partition, key, type, cell)
            }
        }
    }
}
