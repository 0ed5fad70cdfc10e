import Core
import Storage
import Testing

/// Files whose blocks and checksums are all right, and whose totals are not: what a bug would
/// write, not what rots. Who only looks at checksums finds nothing.
@Suite("Forged totals")
struct ForgedTotalsTests {
    /// The last frame of a file with other content, sealed anew; the tail says where it ends.
    ///
    /// - Parameter sections: what lies before it; nil: as it was.
    private static func forged(
        _ bytes: [UInt8], id: UInt64, sections: [UInt8]? = nil, _ change: (inout [UInt8]) -> Void
    ) throws -> [UInt8] {
        let footer = try #require(RotSweep.frames(of: bytes).last)
        var raw = try BitRotTests.raw(bytes[footer])
        change(&raw)
        let before = sections ?? Array(bytes[..<footer.lowerBound])
        let frame = BitRotTests.sealed(bytes[footer], raw[...], id: id, at: before.count)
        var tail = Array(bytes[footer.upperBound...])
        try #require(tail.count == 24)
        for place in 0..<8 {
            tail[place] = UInt8(truncatingIfNeeded: before.count >> (8 * place))
        }
        for place in 0..<4 {
            tail[8 + place] = UInt8(truncatingIfNeeded: frame.count >> (8 * place))
        }
        return before + frame + tail
    }

    /// Each bit of a footer flipped in its turn, but for those of some bytes; those that nobody
    /// finds.
    private static func unfound(
        _ bytes: [UInt8], id: UInt64, but free: Range<Int>, _ verify: ([UInt8]) throws -> Void
    ) throws -> [String] {
        var unfound: [String] = []
        let footer = try #require(RotSweep.frames(of: bytes).last)
        let size = try BitRotTests.raw(bytes[footer]).count
        for place in 0..<size where !free.contains(place) {
            for bit in 0..<8 {
                let changed = try forged(bytes, id: id) { $0[place] ^= 1 << UInt8(bit) }
                do {
                    try verify(changed)
                    unfound.append("byte \(place), bit \(bit)")
                } catch is StorageError {
                    // Found, when it was opened or when it was read.
                }
            }
        }
        return unfound
    }

    // MARK: - Tables

    /// Two keys in two partitions, at two windows.
    private static func table() throws -> (bytes: [UInt8], meta: TableMeta) {
        let files = try LogTests.fresh()
        var memtable = StorageModel.memtable()
        for (number, window) in [(UInt8(3), Int64(61)), (6, 122)] {
            let partition = PartitionID(Int(number))
            let cell = StorageModel.Cell(
                partition: partition, key: [number], type: [1], window: window)
            try memtable.apply(
                RandomSlice(partition: partition, cells: [cell: Measure(count: 5)]))
        }
        let tables = try TableTests.flush(memtable.freeze(through: LSN(1)), to: files, firstID: 7)
        let table = try #require(tables.first)
        try #require(tables.count == 1)
        return (try #require(files.contents[table.path]), table.meta)
    }

    private static func verify(table bytes: [UInt8]) throws {
        let files = MemoryFileSystem()
        let path = FileNames.table(7)
        files.overwrite(path, with: bytes)
        try TableHandle.open(
            try files.open(path, .read), id: 7, as: path, options: StorageModel.options
        ).verify()
    }

    @Test("no total, digest, range or place in a table's footer can be other than its cells say")
    func tableFooter() throws {
        let (bytes, _) = try Self.table()
        try Self.verify(table: bytes)
        try Self.verify(table: Self.forged(bytes, id: 7) { _ in })
        // Byte 8 says of what granularity it is: its cells may be hours that look like minutes.
        let unfound = try Self.unfound(bytes, id: 7, but: 8..<9, Self.verify(table:))
        #expect(unfound.isEmpty)
    }

    @Test("a filter that denies a key is found, whose checksum is right")
    func filter() throws {
        let (bytes, _) = try Self.table()
        let frames = RotSweep.frames(of: bytes)
        let place = frames[frames.count - 2]
        let filter = try BitRotTests.raw(bytes[place])
        let empty = [UInt8](repeating: 0, count: filter.count)
        for (raw, isRight) in [(filter, true), (empty, false)] {
            let frame = BitRotTests.sealed(bytes[place], raw[...], id: 7, at: place.lowerBound)
            let forged = try Self.forged(
                bytes, id: 7, sections: Array(bytes[..<place.lowerBound]) + frame
            ) { footer in
                // The checksum of the filter's frame is the last of it.
                footer.replaceSubrange((footer.count - 4)..., with: frame[12..<16])
            }
            if isRight {
                try Self.verify(table: forged)
            } else {
                #expect {
                    try Self.verify(table: forged)
                } throws: {
                    "\($0)".contains("the filter says that a key of the block is not here")
                }
            }
        }
    }

    // MARK: - History files

    private static func verify(history bytes: [UInt8]) throws {
        let files = MemoryFileSystem()
        let path = FileNames.history(1)
        files.overwrite(path, with: bytes)
        try HistoryHandle.open(try files.open(path, .read), id: 1, as: path).verify()
    }

    @Test("no count, segment or place in a history file's footer can be other than its entries say")
    func historyFooter() throws {
        let files = try LogTests.fresh()
        var plan = HistoryTests.plan(1, 7..<27)
        plan.husks = (31..<34).map { HuskDraft(HistoryTests.husk($0)) }
        let file = try HistoryTests.write(plan, to: files)
        let bytes = try #require(files.contents[file.meta.path])
        try Self.verify(history: bytes)
        try Self.verify(history: Self.forged(bytes, id: 1) { _ in })
        // How often it was merged, and how long a segment is: entries have neither.
        let unfound = try Self.unfound(bytes, id: 1, but: 8..<17, Self.verify(history:))
        #expect(unfound.isEmpty)
    }

    // MARK: - The manifest

    @Test("a manifest that says other sums of a table or history file than these is found")
    func manifest() throws {
        let (bytes, meta) = try Self.table()
        var forged: [TableMeta] = []
        for change: (inout TableMeta) -> Void in [
            { $0.digest = StateDigest(counts: $0.digest.counts &+ 1, sums: $0.digest.sums) },
            { $0.digest = StateDigest(counts: $0.digest.counts, sums: $0.digest.sums &+ 1) },
            { $0.total = Measure(count: 11) }, { $0.cells += 1 }, { $0.lastWindow -= 1 },
            { $0.partitions = PartitionSet([PartitionID(3)]) }, { $0.lastKey = [8] },
        ] {
            var changed = meta
            change(&changed)
            forged.append(changed)
        }
        for (number, said) in ([meta] + forged).enumerated() {
            let files = try LogTests.fresh()
            files.overwrite(meta.path, with: bytes)
            _ = try ManifestTests.commit(
                ManifestEdit(addTables: [said]), to: ManifestTests.runner(files))
            var check = DirectoryCheck(files, options: StorageModel.options)
            let report = try check.run()
            #expect(report.isSound == (number == 0), "\(number)")
            guard number > 0 else { continue }
            let said = "\(meta.path): DAMAGED, "
            #expect(report.lines.contains { $0.hasPrefix(said) }, "\(number)")
            // Nor does a start believe it.
            #expect(try LogTests.recover(files).recovered.damage.count == 1, "\(number)")
        }
    }
}
