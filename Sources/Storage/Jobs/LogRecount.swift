import Core
import Wire

/// Counts again what the log says a partition must hold. It reads slices cell by cell and computes
/// each term anew, so that neither the memtable's tables nor its cached terms are believed.
struct LogRecount {
    let fileSystem: any FileSystem
    let options: StorageOptions

    /// The sum over the slices of `partition` in the records at `positions`; a record without such
    /// a slice adds nothing.
    func sum(
        of partition: PartitionID, in positions: [LogPosition]
    ) throws(StorageError) -> PartitionSum {
        var sum = PartitionSum.zero
        for record in try LogReader.read(positions, from: fileSystem) {
            do {
                sum.merge(try slice(of: partition, in: record.payload))
            } catch {
                let path = FileNames.log(record.position.file)
                throw .damaged(path: path, offset: record.position.offset, what: "\(error)")
            }
        }
        return sum
    }

    private func slice(
        of partition: PartitionID, in payload: [UInt8]
    ) throws(DecodeError) -> PartitionSum {
        let record = try BatchRecord(decoding: payload)
        guard let slice = record.slice(of: partition) else { return .zero }
        let body = try record.body()
        let result = body.withUnsafeBytes { buffer in
            Result { () throws(SliceError) in
                try add(
                    UnsafeRawBufferPointer(
                        rebasing: buffer[slice.offset..<slice.offset + slice.length]))
            }
        }
        switch result {
        case .success(let sum): return sum
        case .failure(let error): throw DecodeError("\(error)", at: slice.offset)
        }
    }

    private func add(_ bytes: UnsafeRawBufferPointer) throws(SliceError) -> PartitionSum {
        let buckets = options.buckets
        var sum = PartitionSum.zero
        var terms: SeriesTerms?
        var reader = SliceReader(bytes, length: buckets.window)
        while let cell = try reader.next() {
            if cell.startsSeries || terms == nil {
                terms = SeriesTerms(key: cell.key, type: cell.type, digestKey: options.digestKey)
            }
            guard let terms else { continue }
            sum.add(cell.measure, term: terms.term(day: buckets.day(of: cell.window)))
        }
        return sum
    }
}
