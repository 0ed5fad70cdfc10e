import Core
import Storage
import Testing
import Wire

/// A disk that returns other bytes than were written, in a file of every kind: each byte changed,
/// each sector zeroed, exchanged or old, each length. Whatever is read then is what was written,
/// or an error; never another number.
@Suite struct BitRotTests {
    /// How often each verdict was given.
    private struct Tally {
        var counts: [RotWitness.Verdict: Int] = [:]

        subscript(verdict: RotWitness.Verdict) -> Int { counts[verdict, default: 0] }

        var cases: Int { counts.values.reduce(0, +) }
    }

    private static func paths(_ witness: RotWitness, _ directory: String) -> [String] {
        witness.files.contents.keys.filter { $0.hasPrefix(directory) }.sorted()
    }

    private static func judge(
        _ witness: RotWitness, _ path: String, _ bytes: [UInt8], _ what: String,
        _ tally: inout Tally
    ) {
        let verdict = witness.verdict(on: path, bytes)
        tally.counts[verdict, default: 0] += 1
        #expect(verdict != .wrong, "\(path), \(what)")
    }

    private static func sweep(_ witness: RotWitness, _ path: String) throws -> RotSweep {
        RotSweep(
            try #require(witness.files.contents[path]), old: witness.before.contents[path] ?? [])
    }

    private static func rot(_ witness: RotWitness, _ paths: [String]) throws -> Tally {
        var tally = Tally()
        for path in paths {
            let sweep = try sweep(witness, path)
            sweep.flips { judge(witness, path, $0, $1, &tally) }
            sweep.lengths { judge(witness, path, $0, $1, &tally) }
            sweep.sectors { judge(witness, path, $0, $1, &tally) }
        }
        return tally
    }

    @Test("in the log: damage, or a tail that is torn in the last group, and never another record")
    func log() throws {
        let witness = try RotWitness(seed: 291)
        let paths = Self.paths(witness, "log/")
        #expect(paths.count >= 2)
        let tally = try Self.rot(witness, paths)
        #expect(tally.cases >= 13_800, "\(tally)")
        #expect(tally[.reported] > tally[.shortened] * 5, "\(tally)")
    }

    @Test("in a table: an error of the start or of the read")
    func table() throws {
        let witness = try RotWitness(seed: 292)
        let paths = Self.paths(witness, "sstables/")
        #expect(paths.count == 2)
        let tally = try Self.rot(witness, paths)
        #expect(tally.cases >= 5000, "\(tally)")
        #expect(tally[.shortened] == 0, "\(tally)")
    }

    @Test("in a history file: an error of the start or of the read")
    func history() throws {
        let witness = try RotWitness(seed: 293)
        let paths = Self.paths(witness, "history/")
        #expect(paths.count == 3)
        let tally = try Self.rot(witness, paths)
        #expect(tally.cases >= 5000, "\(tally)")
        #expect(tally[.shortened] == 0, "\(tally)")
    }

    @Test("in the manifest: the start is refused, or begins one edit before, and says so")
    func manifest() throws {
        var tally = Tally()
        let acts: [@Sendable (inout StoreLife) throws -> Void] = [
            { life in try life.flush() },
            { life in try life.compact() },
            { life in
                try life.flush()
                try life.releaseLog()
            },
            { life in try life.forget(5) },
        ]
        for (number, act) in acts.enumerated() {
            let witness = try RotWitness(seed: 294, last: act)
            let path = FileNames.manifest
            let sweep = try Self.sweep(witness, path)
            sweep.flips(from: number == 0 ? 0 : sweep.bytes.count / 2) {
                Self.judge(witness, path, $0, $1, &tally)
            }
            sweep.lengths { Self.judge(witness, path, $0, $1, &tally) }
            sweep.sectors { Self.judge(witness, path, $0, $1, &tally) }
        }
        #expect(tally.cases >= 6000, "\(tally)")
        #expect(tally[.refused] > tally[.shortened], "\(tally)")
    }

    /// Two files of the log at least have indexes.
    private static func indexed(seed: UInt64) throws -> (witness: RotWitness, paths: [String]) {
        let witness = try RotWitness(seed: seed) { life in
            for _ in 0..<2 {
                try life.append(40)
                try life.flush()
            }
            try life.indexLogs()
        }
        let paths = paths(witness, "log/").filter { $0.hasSuffix(FileNames.logIndexSuffix) }
        try #require(paths.count >= 2)
        return (witness, paths)
    }

    @Test("in the index of a log file: it is not used, and the start is the same without")
    func logIndex() throws {
        let (witness, paths) = try Self.indexed(seed: 296)
        let (whole, records) = try LogTests.recover(witness.files.clone())
        #expect(whole.indexed.count == paths.count && whole.remarks.isEmpty)
        var cases = 0
        /// Only what the log says can depend on it.
        func check(_ rotten: MemoryFileSystem, _ path: String, _ what: String) throws {
            cases += 1
            let (recovered, found) = try LogTests.recover(rotten)
            #expect(
                found == records && recovered.damage.isEmpty && recovered.cursor == whole.cursor,
                "\(what)")
            let others = whole.indexed.filter { FileNames.logIndex($0) != path }
            #expect(recovered.indexed == others, "\(what)")
        }
        for (path, other) in [(paths[0], paths[1]), (paths[1], paths[0])] {
            let old = try #require(witness.files.contents[other])
            let sweep = RotSweep(try #require(witness.files.contents[path]), old: old)
            func judge(_ bytes: [UInt8], _ what: String) throws {
                // A sector may hold zeros alone as it is.
                guard bytes != sweep.bytes else { return }
                let rotten = witness.files.clone()
                rotten.overwrite(path, with: bytes)
                try check(rotten, path, "\(path), \(what)")
            }
            try sweep.flips(judge)
            try sweep.lengths(judge)
            try sweep.sectors(judge)
            try sweep.frames(judge)
            for place in stride(from: 0, to: sweep.bytes.count, by: RotSweep.sector) {
                let rotten = witness.files.clone()
                rotten.makeUnreadable(path, at: place)
                try check(rotten, path, "\(path), byte \(place) cannot be read")
            }
            let exchanged = witness.files.clone()
            exchanged.overwrite(path, with: old)
            let found = try LogTests.recover(exchanged).recovered
            #expect(found.indexed.count == whole.indexed.count - 1)
            #expect(found.remarks.count == 1 && found.remarks[0].hasPrefix(path))
        }
        #expect(cases >= 3000)
    }

    @Test("in a log file whose index a start reads: nothing is another number")
    func indexedLog() throws {
        let (witness, _) = try Self.indexed(seed: 297)
        let path = FileNames.log(1)
        var tally = Tally()
        let sweep = try Self.sweep(witness, path)
        sweep.sectors { Self.judge(witness, path, $0, $1, &tally) }
        for place in stride(from: 0, to: sweep.bytes.count, by: 13) {
            var bent = sweep.bytes
            bent[place] ^= 0x10
            Self.judge(witness, path, bent, "byte \(place)", &tally)
        }
        // Its header and its last record are looked at.
        #expect(tally[.reported] > 0 && tally[.unchanged] > 0, "\(tally)")
        #expect(tally[.shortened] == 0, "\(tally)")
    }

    @Test("a sector that the disk cannot read is damage, in a file of every kind")
    func unreadable() throws {
        let witness = try RotWitness(seed: 295)
        var tally = Tally()
        for (path, bytes) in witness.files.contents {
            for place in stride(from: 0, to: bytes.count, by: RotSweep.sector) {
                let verdict = witness.verdict(on: path, unreadableAt: place)
                tally.counts[verdict, default: 0] += 1
                let expected: RotWitness.Verdict =
                    path == FileNames.manifest ? .refused : .reported
                #expect(verdict == expected, "\(path), byte \(place)")
            }
        }
        #expect(tally[.reported] >= 7 && tally[.refused] >= 1, "\(tally)")
    }

    // MARK: - Old blocks

    /// All frames of `mine` but those of `places`, which are the ones of `theirs`.
    private static func mix(
        _ mine: [UInt8], _ theirs: [UInt8], _ places: [Int]
    ) -> [UInt8] {
        var bytes = mine
        for place in places {
            let range = RotSweep.frames(of: mine)[place]
            bytes.replaceSubrange(range, with: theirs[range])
        }
        return bytes
    }

    /// A table of four cells, of the same layout whatever its second key is and counts.
    private static func table(
        _ second: UInt8, counting count: UInt64
    ) throws -> (bytes: [UInt8], files: MemoryFileSystem, handle: TableHandle) {
        let files = try LogTests.fresh()
        var memtable = StorageModel.memtable()
        for key in [10, second, 30, 40] {
            let cell = StorageModel.Cell(
                partition: PartitionID(0), key: [key], type: [1], window: 5)
            let measure = Measure(count: key == second ? count : 9)
            try memtable.apply(RandomSlice(partition: PartitionID(0), cells: [cell: measure]))
        }
        let tables = try TableTests.flush(memtable.freeze(through: LSN(1)), to: files, firstID: 7)
        return (try #require(files.contents[tables[0].path]), files, tables[0])
    }

    @Test("an older block of the same table, at its own place, is refused")
    func olderTableBlock() throws {
        let (mine, files, handle) = try Self.table(20, counting: 6)
        let query = SeriesQuery(partition: PartitionID(0), key: [20])
        var cases = 0
        // A flush whose process ended before its edit, and the one that took its number again.
        for (second, count) in [(20, 5), (21, 6), (21, 5)] as [(UInt8, UInt64)] {
            let theirs = try Self.table(second, counting: count).bytes
            #expect(RotSweep.frames(of: theirs) == RotSweep.frames(of: mine))
            // Block, index, filter; the footer is named by the manifest.
            for frames in [[0], [1], [2], [0, 1], [0, 2], [0, 1, 2]] {
                let mixed = Self.mix(mine, theirs, frames)
                guard mixed != mine else { continue }
                cases += 1
                files.overwrite(handle.path, with: mixed)
                #expect(throws: StorageError.self, "\(second), \(count), frames \(frames)") {
                    var rows: [SeriesRow] = []
                    try TableHandle.open(handle.meta, in: files, options: StorageModel.options)
                        .series(query, into: &rows)
                }
            }
        }
        #expect(cases >= 10)
    }

    /// A history file of one batch, of the same layout whatever became of it.
    private static func history(counting count: UInt32) throws -> (MemoryFileSystem, HistoryHandle)
    {
        let files = try LogTests.fresh()
        var plan = HistoryTests.plan(7, 1..<2)
        plan.drafts[0].totals = BatchTotals(events: count, counted: count, dead: 0)
        return (files, try HistoryTests.write(plan, to: files))
    }

    @Test("an older block of the same history file, at its own place, is refused")
    func olderHistoryBlock() throws {
        let (oldFiles, old) = try Self.history(counting: 5)
        let (files, new) = try Self.history(counting: 6)
        let theirs = try #require(oldFiles.contents[old.path])
        let mine = try #require(files.contents[new.path])
        #expect(theirs.count == mine.count && theirs != mine)
        for frames in [[0], [1], [0, 1]] where Self.mix(mine, theirs, frames) != mine {
            files.overwrite(new.path, with: Self.mix(mine, theirs, frames))
            #expect(throws: StorageError.self, "frames \(frames)") {
                try HistoryHandle.open(new.meta, in: files).lookUp(HistoryTests.header(1).id)
            }
        }
    }

    // MARK: - Before

    /// A frame of another content, sealed anew as docs/formats/sstable.md says.
    static func sealed(
        _ frame: ArraySlice<UInt8>, _ raw: ArraySlice<UInt8>, id: UInt64, at offset: Int
    ) -> [UInt8] {
        func fixed(_ number: some FixedWidthInteger) -> [UInt8] {
            withUnsafeBytes(of: number.littleEndian) { Array($0) }
        }
        let length = fixed(UInt32(raw.count))
        // Its kind; stored as it is.
        let head = Array(frame.prefix(1)) + [0, 0, 0] + length + length
        let place = fixed(id) + fixed(UInt64(offset))
        return head + fixed(TestChecksum.crc32c(place + head + raw)) + raw
    }

    static func raw(_ frame: ArraySlice<UInt8>) throws -> [UInt8] {
        let head = Array(frame.prefix(16))
        let stored = Array(frame.dropFirst(16))
        guard head[1] == 1 else { return stored }
        let count = (0..<4).reduce(0) { $0 | Int(head[4 + $1]) << ($1 * 8) }
        return try stored.withUnsafeBytes { try LZ4Block.decompress($0, count: count) }
    }

    /// A table of one cell whose index was changed, sealed anew as a file of some version.
    private static func forged(
        version: UInt8, index change: (inout [UInt8]) -> Void
    ) throws -> TableHandle {
        let files = try LogTests.fresh()
        var memtable = StorageModel.memtable()
        let cell = StorageModel.Cell(partition: PartitionID(0), key: [7], type: [1], window: 5)
        try memtable.apply(
            RandomSlice(partition: PartitionID(0), cells: [cell: Measure(count: 3)]))
        let handle = try TableTests.flush(memtable.freeze(through: LSN(1)), to: files, firstID: 7)[
            0]
        let bytes = try #require(files.contents[handle.path])
        let frames = RotSweep.frames(of: bytes)
        try #require(frames.count == 4 && frames[1].upperBound < 128)
        let raw = try frames.map { try Self.raw(bytes[$0]) }
        var index = raw[1]
        change(&index)
        var footer = Array(raw[3].dropLast(8))
        // Where index and filter lie, of which the latter moves with the former's size.
        let offsets = [UInt8(frames[1].lowerBound), UInt8(frames[2].lowerBound)]
        let place = try #require(
            footer.indices.dropLast().last { Array(footer[$0...$0 + 1]) == offsets })
        var old = Array(bytes[..<frames[1].lowerBound])
        let sections = try [(1, index), (2, raw[2])].map { number, content in
            if number == 2 { footer[place + 1] = try #require(UInt8(exactly: old.count)) }
            let frame = Self.sealed(bytes[frames[number]], content[...], id: 7, at: old.count)
            old += frame
            return frame
        }
        if version > 1 { footer += sections.flatMap { $0[12..<16] } }
        let start = old.count
        let frame = Self.sealed(bytes[frames[3]], footer[...], id: 7, at: start)
        var tail = Array(bytes.suffix(24))
        tail[0] = UInt8(start)
        tail[8] = UInt8(frame.count)
        tail[12] = version
        old += frame + tail
        files.overwrite(handle.path, with: old)
        var meta = handle.meta
        meta.size = UInt64(old.count)
        meta.footerChecksum = TestChecksum.crc32c(frame)
        return try TableHandle.open(meta, in: files, options: StorageModel.options)
    }

    /// Of the type [1] and of all: one key of three events.
    private static let bounds: [UInt8] = [1, 1, 1] + [2 << 1] + [0 << 1, 3] + [2 << 1, 3]

    @Test("a table of version 1, without checksums of its blocks, or 2, without bounds, is read")
    func olderVersions() throws {
        for (version, missing) in [(4, 0), (2, Self.bounds.count), (1, Self.bounds.count + 4)] {
            let table = try Self.forged(version: UInt8(version)) { index in
                #expect(Array(index.suffix(Self.bounds.count)) == Self.bounds)
                index.removeLast(missing)
            }
            try table.verify()
            var rows: [SeriesRow] = []
            try table.series(SeriesQuery(partition: PartitionID(0), key: [7]), into: &rows)
            #expect(rows == [SeriesRow(type: [1], window: 5, measure: Measure(count: 3))])
        }
    }

    @Test("an index that says of a key that it weighs less, or more, than it does, is damage")
    func wrongBounds() throws {
        // Events of the type and of all; another slot; more slots; a sum; a block that goes on.
        let changes = [
            (1, 2), (1, 4), (3, 2), (3, 4), (2, 1 << 1), (5, 9), (4, 1), (5, 2 << 1 | 1),
        ]
        for (place, byte) in changes {
            #expect(throws: StorageError.self, "byte \(place) from the end: \(byte)") {
                try Self.forged(version: 4) { $0[$0.count - place] = UInt8(byte) }.verify()
            }
        }
    }
}
