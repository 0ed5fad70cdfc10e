import Core
import Ingest
import Wire

/// Batches of events. The first byte says how they are to be read.
enum FoldTarget {
    /// Used for every input, as a node uses one: nothing may pass from batch to batch.
    nonisolated(unsafe) private static var used = BatchFolder(seed: 7, bounds: bounds)
    private static let bounds = FoldBounds(
        cellsMax: 1 << 16, deadLettersMax: 1 << 12, bytesMax: 1 << 22)

    static func fold(_ bytes: [UInt8], _ format: EventFormat) throws {
        let options = bytes.first ?? 0
        var parameters = ParseParameters(format: format)
        if options & 1 != 0 { parameters.defaultType = "t" }
        if options & 2 != 0 { parameters.keyField = "data.k" }
        if options & 4 != 0 { parameters.valueField = "v" }
        if options & 8 != 0 { parameters.timeField = "k" }
        var rules = FoldRules(window: options & 16 != 0 ? .minute : WindowLength(milliseconds: 1))
        if options & 32 != 0 { rules.lateness = .seconds(3600) }
        try check(Array(bytes.dropFirst()), parameters, rules)
    }

    /// The text of a time, as the field of a row.
    static func time(_ bytes: [UInt8]) throws {
        let text = bytes.filter { $0 != 0x0a && $0 != 0x09 }
        let row = [0x6b, 0x09, 0x74, 0x09] + text + [0x0a]
        let header = Array("key\ttype\ttime\n".utf8)
        let rules = FoldRules(
            window: WindowLength(milliseconds: 1), futureLimit: .seconds(400_000_000_000))
        let parameters = ParseParameters(format: .tsv)
        let batch = try check(header + row + row, parameters, rules)
        precondition(batch.totals.counted == 2 || batch.totals.dead == 2, "a time means two things")
        precondition(batch.slices.first.map { $0.cells == 1 } ?? true, "a time means two times")
    }

    @discardableResult
    private static func check(
        _ bytes: [UInt8], _ parameters: ParseParameters, _ rules: FoldRules
    ) throws -> FoldedBatch {
        // A folder that has seen nothing must come to the same as one that has.
        var fresh = BatchFolder(seed: 1, bounds: bounds)
        let first = result(&fresh, bytes, parameters, rules)
        let second = result(&used, bytes, parameters, rules)
        precondition(first == second, "the same batch folds to something else")
        let batch = try first.get()
        precondition(batch.totals.counted + batch.totals.dead == batch.totals.events)
        precondition(batch.deadLetters.count == Int(batch.totals.dead))
        var line: UInt32 = 0
        for letter in batch.deadLetters {
            precondition(letter.line >= line && letter.line > 0, "letters out of order")
            line = letter.line
            precondition(letter.raw.count <= Limits.deadLetterRawMax)
            precondition(letter.detail.utf8.count <= Limits.deadLetterDetailMax)
            precondition((letter.key ?? [1]).count <= Limits.keyMax)
            precondition((letter.type ?? [1]).count <= Limits.typeMax)
        }
        try readSlices(of: batch, rules)
        return batch
    }

    /// In memory of exactly this size, so that a read beyond it is seen.
    private static func result(
        _ folder: inout BatchFolder, _ bytes: [UInt8], _ parameters: ParseParameters,
        _ rules: FoldRules
    ) -> Result<FoldedBatch, IngestError> {
        let memory = UnsafeMutableRawBufferPointer.allocate(byteCount: bytes.count, alignment: 1)
        defer { memory.deallocate() }
        memory.copyBytes(from: bytes)
        return Result { () throws(IngestError) in
            try folder.fold(
                UnsafeRawBufferPointer(memory), parameters: parameters,
                createdAt: WallTime(milliseconds: 1_780_272_000_000), rules: rules,
                partitioner: CellPartitioner(windowsPerDay: 1440) { key, window in
                    let day = Int(truncatingIfNeeded: floorDivide(window, 1440))
                    return PartitionID(key.reduce(day) { $0 &* 31 &+ Int($1) } & 7)
                })
        }
    }

    private static func readSlices(of batch: FoldedBatch, _ rules: FoldRules) throws {
        var counted: UInt64 = 0
        var end = 0
        batch.body.withUnsafeBytes { body in
            for slice in batch.slices {
                precondition(slice.offset == end, "slices are adjacent")
                end += slice.length
                var reader = SliceReader(
                    UnsafeRawBufferPointer(rebasing: body[slice.offset..<end]),
                    length: rules.window)
                var cells = 0
                do throws(SliceError) {
                    while let cell = try reader.next() {
                        cells += 1
                        counted += cell.measure.count
                        for text in [cell.key, cell.type] {
                            precondition(String(validating: text, as: UTF8.self) != nil)
                        }
                    }
                } catch {
                    fatalError("a slice that does not read: \(error)")
                }
                precondition(cells == slice.cells && cells > 0)
            }
        }
        precondition(end == batch.body.count)
        precondition(counted == UInt64(batch.totals.counted), "cells and totals differ")
    }
}
