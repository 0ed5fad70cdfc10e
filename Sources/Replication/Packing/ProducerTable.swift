package import Core

/// Producers by number, so that a row names one in two or three bytes. A number is free again when
/// no row names it.
///
/// A producer that is met with sequence 0 gets none: ids that stand for an `Idempotency-Key` are
/// all of that kind, each with a producer of its own, and a row holds one in less than a number
/// would cost.
package struct ProducerTable: Sendable {
    private struct Producer: Sendable {
        var producer: UInt128
        /// What its rows' sequences are written against.
        var first: UInt64
        var rows: Int
    }

    private var numbers: [UInt128: Int] = [:]
    private var producers: [Producer] = []
    /// The last one is taken first.
    private var free: [Int] = []

    package init() {}

    package func number(of producer: UInt128) -> Int? { numbers[producer] }

    func firstSequence(of number: Int) -> UInt64 { producers[number].first }

    package func id(_ number: Int, after distance: Int64) -> BatchID {
        BatchID(
            producer: producers[number].producer,
            sequence: producers[number].first &+ UInt64(bitPattern: distance))
    }

    /// The number under which a row of this id names the producer; nil: it writes it out.
    package mutating func retain(_ id: BatchID) -> Int? {
        if let number = numbers[id.producer] {
            producers[number].rows += 1
            return number
        }
        guard id.sequence > 0 else { return nil }
        let producer = Producer(producer: id.producer, first: id.sequence, rows: 1)
        let number = free.popLast() ?? producers.count
        if number < producers.count {
            producers[number] = producer
        } else {
            producers.append(producer)
        }
        numbers[id.producer] = number
        return number
    }

    package mutating func release(_ number: Int?) {
        guard let number else { return }
        producers[number].rows -= 1
        guard producers[number].rows == 0 else { return }
        numbers[producers[number].producer] = nil
        free.append(number)
    }

    package var byteCount: Int {
        DictionaryBytes.of(numbers) + ArrayBytes.of(producers) + ArrayBytes.of(free)
    }
}
