internal import Synchronization

/// The last measured free space, for metrics.
package final class FreeDisk: Sendable {
    private let measured = Atomic<Int>(0)

    package init() {}

    package var bytes: Int {
        get { measured.load(ordering: .relaxed) }
        set { measured.store(newValue, ordering: .relaxed) }
    }
}
