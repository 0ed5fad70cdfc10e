internal import Wire

extension SpoolJournal {
    /// Reads what is there, cuts what a crash tore, and makes the rest durable: bytes that are only
    /// in memory can be read as well, and would be acted on.
    mutating func recover() throws(SpoolError) {
        let numbers = try files.names().compactMap(SpoolJournal.number).sorted()
        for (number, next) in zip(numbers, numbers.dropFirst()) where next != number + 1 {
            throw .damaged(
                file: SpoolJournal.name(number + 1), offset: 0, detail: "the file is missing")
        }
        for number in numbers {
            try read(number, isLast: number == numbers.last)
        }
        guard let last = segments.last else { return try beginSegment() }
        try last.file.sync()
        synced = last.length
        if last.number == numbers.last {
            try files.syncNames()
        } else {
            try beginSegment()
        }
        try drop()
    }

    private mutating func read(_ number: UInt64, isLast: Bool) throws(SpoolError) {
        let name = SpoolJournal.name(number)
        let file = try files.open(name, creating: false)
        let bytes = try file.read(at: 0, count: try file.size())
        let isFirst = segments.isEmpty
        let previous = segments.last?.length
        if isLast, try wasNeverUsed(bytes, number) {
            try files.remove(name)
            return
        }
        segments.append(Segment(number: number, length: 0, beginning: 0, held: 0, file: file))
        var offset = 0
        while offset < bytes.count {
            guard let frame = SpoolFrame(in: bytes, at: offset, segment: number) else {
                try expectTear(in: bytes, at: offset, number, isLast: isLast)
                try file.truncate(to: offset)
                break
            }
            do {
                let record = try frame.record(in: bytes)
                if case .begin(let start) = record {
                    try begin(start, at: offset, isFirst: isFirst, previousLength: previous)
                    segments[segments.count - 1].beginning = frame.end
                } else if offset == 0 {
                    throw SpoolState.Contradiction("a segment without its beginning")
                }
                try apply(record, in: number, offset..<frame.end)
            } catch let error as DecodeError {
                throw SpoolError.damaged(file: name, offset: offset, detail: "\(error)")
            } catch let error as SpoolState.Contradiction {
                throw SpoolError.damaged(file: name, offset: offset, detail: error.reason)
            } catch {
                preconditionFailure("an error of an unknown kind: \(error)")
            }
            offset = frame.end
        }
        segments[segments.count - 1].length = offset
    }

    /// The last segment has its beginning at most: its name may not be durable, not even by another
    /// fsync of the directory where one had failed. It is made again, with nothing lost.
    private func wasNeverUsed(
        _ bytes: [UInt8], _ number: UInt64
    ) throws(SpoolError) -> Bool {
        // The first of all, or one whose predecessor is there.
        let isReplaceable = number == 1 || !segments.isEmpty
        if let frame = SpoolFrame(in: bytes, at: 0, segment: number) {
            return isReplaceable && frame.end == bytes.count
        }
        if SpoolFrame.voucher(for: 0, in: bytes, segment: number) != nil { return false }
        guard isReplaceable else {
            throw .damaged(
                file: SpoolJournal.name(number), offset: 0, detail: "its beginning cannot be read")
        }
        return true
    }

    private func expectTear(
        in bytes: [UInt8], at offset: Int, _ number: UInt64, isLast: Bool
    ) throws(SpoolError) {
        let name = SpoolJournal.name(number)
        guard isLast else {
            throw .damaged(file: name, offset: offset, detail: "a record cannot be read")
        }
        if SpoolFrame.voucher(for: offset, in: bytes, segment: number) != nil {
            throw .damaged(
                file: name, offset: offset,
                detail: "a record cannot be read, and a later one says that it was durable")
        }
    }

    private mutating func begin(
        _ start: SpoolRecord.Start, at offset: Int, isFirst: Bool, previousLength: Int?
    ) throws(SpoolState.Contradiction) {
        guard offset == 0 else { throw SpoolState.Contradiction("a beginning in the middle") }
        if isFirst {
            // Segments before it may be gone.
            state = try SpoolState(start)
        } else if start.previousLength != previousLength.map({ UInt64($0) }) {
            throw SpoolState.Contradiction(
                "the segment before has \(previousLength ?? 0) bytes, not those that it had")
        }
    }
}
