package import Core

/// What the records of a spool add up to.
package struct SpoolState: Hashable, Sendable {
    /// A batch without a final outcome, and where its record lies.
    package struct Held: Hashable, Sendable {
        package fileprivate(set) var segment: UInt64
        package fileprivate(set) var offset: Int
        package fileprivate(set) var length: Int
        package let createdAt: WallTime
        package let events: Int
        package let bodyBytes: Int
    }

    /// A record that cannot follow those before it.
    package struct Contradiction: Error, Hashable, Sendable {
        package let reason: String

        package init(_ reason: String) {
            self.reason = reason
        }
    }

    package let producer: UInt128
    package private(set) var nextSequence: UInt64 = 0
    package private(set) var totals = SpoolTotals()
    /// By number.
    package private(set) var inputs: [InputProgress] = []
    /// The batches without a final outcome, by sequence.
    package private(set) var held: [UInt64: Held] = [:]
    /// Bytes of their bodies.
    package private(set) var heldBytes = 0

    package init(producer: UInt128) {
        self.producer = producer
    }

    package init(_ start: SpoolRecord.Start) throws(Contradiction) {
        producer = start.producer
        nextSequence = start.nextSequence
        totals = start.totals
        inputs = start.inputs
        guard inputs.enumerated().allSatisfy({ $0.offset == $0.element.input.number }) else {
            throw Contradiction("inputs out of order")
        }
    }

    /// What a new segment begins with.
    package func start(previousLength: Int?) -> SpoolRecord.Start {
        SpoolRecord.Start(
            previousLength: previousLength.map { UInt64($0) }, producer: producer,
            nextSequence: nextSequence, totals: totals, inputs: inputs)
    }

    /// The batches to send again, in the order of their sealing.
    package var heldSequences: [UInt64] { held.keys.sorted() }

    package var oldestHeld: Held? { held.min { $0.key < $1.key }?.value }

    /// A segment's first record repeats what is known from those before it.
    package func agrees(with start: SpoolRecord.Start) -> Bool {
        start.producer == producer && start.nextSequence == nextSequence && start.totals == totals
            && start.inputs == inputs
    }

    package mutating func apply(_ input: CutInput) throws(Contradiction) {
        if input.number == inputs.count {
            inputs.append(InputProgress(input: input))
        } else if inputs.indices.contains(input.number) {
            inputs[input.number].input = input
        } else {
            throw Contradiction("input \(input.number) of \(inputs.count)")
        }
    }

    package mutating func apply(
        _ sealed: SpoolRecord.Sealed, segment: UInt64, offset: Int, length: Int
    ) throws(Contradiction) {
        guard sealed.sequence == nextSequence, nextSequence < .max else {
            throw Contradiction("batch \(sealed.sequence) where \(nextSequence) is next")
        }
        if let cut = sealed.cut {
            guard inputs.indices.contains(cut.input),
                inputs[cut.input].position.offset <= cut.end.offset
            else { throw Contradiction("a batch of input \(cut.input) that goes back") }
            inputs[cut.input].position = cut.end
        }
        if let replaced = sealed.replaces {
            guard replaced < sealed.sequence else {
                throw Contradiction("batch \(sealed.sequence) in the place of a later one")
            }
            release(replaced)
        }
        nextSequence += 1
        heldBytes += sealed.body.count
        held[sealed.sequence] = Held(
            segment: segment, offset: offset, length: length, createdAt: sealed.createdAt,
            events: sealed.events, bodyBytes: sealed.body.count)
    }

    /// A batch that is found twice is one, and lies where it lay first: only who wrote the copy
    /// knows that it is durable. Where the first is gone with its segment, the copy is it.
    package mutating func applyCopy(
        _ carried: SpoolRecord.Sealed, segment: UInt64, offset: Int, length: Int
    ) throws(Contradiction) {
        guard carried.sequence < nextSequence, carried.replaces == nil, carried.cut == nil else {
            throw Contradiction("a copy of batch \(carried.sequence) that was not sealed so")
        }
        let copy = Held(
            segment: segment, offset: offset, length: length, createdAt: carried.createdAt,
            events: carried.events, bodyBytes: carried.body.count)
        guard let first = held[carried.sequence] else {
            heldBytes += copy.bodyBytes
            held[carried.sequence] = copy
            return
        }
        guard
            (first.createdAt, first.events, first.bodyBytes)
                == (copy.createdAt, copy.events, copy.bodyBytes)
        else { throw Contradiction("a copy of batch \(carried.sequence) that is another") }
    }

    /// From now on a batch lies where its copy does, which is durable.
    mutating func move(_ sequence: UInt64, to segment: UInt64, offset: Int, length: Int) {
        held[sequence]?.segment = segment
        held[sequence]?.offset = offset
        held[sequence]?.length = length
    }

    /// The batch's own record may be gone with its segment, before the one of its outcome.
    package mutating func settle(
        _ sequence: UInt64, _ outcome: SpoolOutcome
    ) throws(Contradiction) {
        guard sequence < nextSequence else {
            throw Contradiction("an outcome of batch \(sequence) before it was sealed")
        }
        release(sequence)
        totals.add(outcome)
    }

    /// About as many bytes as it takes at the beginning of a segment, and not fewer.
    package var size: Int {
        inputs.reduce(128) { $0 + $1.input.size + $1.position.preamble.count }
    }

    private mutating func release(_ sequence: UInt64) {
        guard let batch = held.removeValue(forKey: sequence) else { return }
        heldBytes -= batch.bodyBytes
    }
}

extension CutInput {
    /// Its bytes in a record with its position, but for the preamble; rounded up.
    var size: Int { path.utf8.count + format.rawValue.utf8.count + 80 }
}
