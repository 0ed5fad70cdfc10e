internal import Core
package import Wire

extension SpoolRecord {
    private enum Kind: UInt8 {
        case begin = 1
        case input = 2
        case sealed = 3
        case settled = 4
        case carried = 5
    }

    private static let version: UInt16 = 1

    package var kind: UInt8 {
        switch self {
        case .begin: Kind.begin.rawValue
        case .input: Kind.input.rawValue
        case .sealed: Kind.sealed.rawValue
        case .settled: Kind.settled.rawValue
        case .carried: Kind.carried.rawValue
        }
    }

    package func encode(into writer: inout ByteWriter) {
        switch self {
        case .begin(let start):
            writer.write(fixed: SpoolRecord.version)
            writer.write(optional: start.previousLength)
            writer.write(fixed: start.producer)
            writer.write(varint: start.nextSequence)
            writer.write(count: start.totals.batches)
            writer.write(count: start.totals.events)
            writer.write(count: start.totals.counted)
            writer.write(count: start.totals.dead)
            writer.write(count: start.totals.parked)
            writer.write(count: start.inputs.count)
            for progress in start.inputs {
                writer.write(progress.input)
                writer.write(progress.position)
            }
        case .input(let input):
            writer.write(input)
        case .sealed(let sealed), .carried(let sealed):
            writer.write(varint: sealed.sequence)
            writer.write(zigzag: sealed.createdAt.milliseconds)
            writer.write(sized: sealed.contentType)
            writer.write(sized: sealed.target)
            writer.write(count: sealed.events)
            writer.write(optional: sealed.replaces)
            writer.write(flag: sealed.cut != nil)
            if let cut = sealed.cut {
                writer.write(count: cut.input)
                writer.write(cut.end)
            }
            writer.write(sized: sealed.body)
        case .settled(let sequence, let outcome):
            writer.write(varint: sequence)
            switch outcome {
            case .counted(let counts):
                writer.write(UInt8(1))
                writer.write(count: counts.events)
                writer.write(count: counts.counted)
                writer.write(count: counts.dead)
            case .parked(let events):
                writer.write(UInt8(2))
                writer.write(count: events)
            }
        }
    }

    package init(kind: UInt8, from reader: inout ByteReader) throws(DecodeError) {
        switch Kind(rawValue: kind) {
        case .begin:
            self = .begin(try SpoolRecord.start(from: &reader))
        case .input:
            self = .input(try reader.cutInput())
        case .sealed:
            self = .sealed(try SpoolRecord.sealed(from: &reader))
        case .carried:
            self = .carried(try SpoolRecord.sealed(from: &reader))
        case .settled:
            let sequence = try reader.varint()
            switch try reader.byte() {
            case 1:
                let events = try reader.number()
                let counted = try reader.number()
                let dead = try reader.number()
                let counts = BatchCounts(events: events, counted: counted, dead: dead)
                self = .settled(sequence: sequence, .counted(counts))
            case 2:
                self = .settled(sequence: sequence, .parked(events: try reader.number()))
            case let other:
                throw reader.fail("an outcome of kind \(other)")
            }
        case nil:
            throw reader.fail("a record of kind \(kind)")
        }
        try reader.finish()
    }

    private static func start(from reader: inout ByteReader) throws(DecodeError) -> Start {
        let version: UInt16 = try reader.fixed()
        guard version == SpoolRecord.version else {
            throw reader.fail("format version \(version); this program knows \(self.version)")
        }
        let previousLength = try reader.optional()
        let producer: UInt128 = try reader.fixed()
        let nextSequence = try reader.varint()
        var totals = SpoolTotals()
        totals.batches = try reader.number()
        totals.events = try reader.number()
        totals.counted = try reader.number()
        totals.dead = try reader.number()
        totals.parked = try reader.number()
        var inputs: [InputProgress] = []
        // An input takes at least the bytes of its six lengths and its checksum.
        for _ in 0..<(try reader.count(ofSize: 11)) {
            let input = try reader.cutInput()
            inputs.append(InputProgress(input: input, position: try reader.cutPosition()))
        }
        return Start(
            previousLength: previousLength, producer: producer, nextSequence: nextSequence,
            totals: totals, inputs: inputs)
    }

    private static func sealed(from reader: inout ByteReader) throws(DecodeError) -> Sealed {
        let sequence = try reader.varint()
        let createdAt = WallTime(milliseconds: try reader.zigzag())
        let contentType = try reader.text(max: SpoolLimits.textMax)
        let target = try reader.text(max: SpoolLimits.textMax)
        let events = try reader.number()
        let replaces = try reader.optional()
        var cut: Cut?
        if try reader.flag() {
            let input = try reader.number()
            cut = Cut(input: input, end: try reader.cutPosition())
        }
        return Sealed(
            sequence: sequence, createdAt: createdAt, contentType: contentType, target: target,
            events: events, replaces: replaces, cut: cut, body: try reader.sized())
    }
}

extension ByteWriter {
    fileprivate mutating func write(optional value: UInt64?) {
        write(flag: value != nil)
        if let value { write(varint: value) }
    }

    fileprivate mutating func write(_ input: CutInput) {
        write(count: input.number)
        write(varint: input.identity.device)
        write(varint: input.identity.inode)
        write(sized: input.path)
        write(sized: input.format.rawValue)
    }

    fileprivate mutating func write(_ position: CutPosition) {
        write(count: position.offset)
        write(fixed: position.checksum)
        write(sized: position.preamble)
        write(flag: position.isWithinLine)
    }
}

extension ByteReader {
    fileprivate mutating func optional() throws(DecodeError) -> UInt64? {
        try flag() ? try varint() : nil
    }

    fileprivate mutating func number() throws(DecodeError) -> Int {
        let value = try varint()
        guard let number = Int(exactly: value) else { throw fail("a number of \(value)") }
        return number
    }

    fileprivate mutating func cutInput() throws(DecodeError) -> CutInput {
        let number = try number()
        let identity = CutInput.Identity(device: try varint(), inode: try varint())
        let path = try text(max: SpoolLimits.textMax)
        let name = try text(max: SpoolLimits.textMax)
        guard let format = EventFormat(rawValue: name) else { throw fail("a format '\(name)'") }
        return CutInput(number: number, path: path, identity: identity, format: format)
    }

    fileprivate mutating func cutPosition() throws(DecodeError) -> CutPosition {
        let offset = try number()
        let checksum: UInt32 = try fixed()
        let preamble = try sized()
        return CutPosition(
            offset: offset, checksum: checksum, preamble: preamble, isWithinLine: try flag())
    }
}
