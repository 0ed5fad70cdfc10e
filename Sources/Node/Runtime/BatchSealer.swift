package import Core
internal import Synchronization

/// Gives ids to batches whose clients send none. The producer is drawn anew at each start, so that
/// a sequence that begins at 0 again never meets an earlier one.
package final class BatchSealer: Sendable {
    private let producer: UInt128
    private let sequence = Atomic<UInt64>(0)

    package init(producer: UInt128) {
        self.producer = producer
    }

    package func next() -> BatchID {
        BatchID(
            producer: producer,
            sequence: sequence.wrappingAdd(1, ordering: .relaxed).oldValue)
    }
}
