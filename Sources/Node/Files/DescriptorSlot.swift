internal import Synchronization

/// The descriptor of one file: open, with a count of those who use it, or closed. To use one that
/// is open takes no lock.
///
/// Only whoever holds the lock of the `DescriptorPool` closes one or fills it again, so that there
/// an open one stays open. It is closed where nobody uses it, in one step with the look at that; so
/// no use ever meets a number that the system has given to another file.
final class DescriptorSlot: Sendable {
    /// Negative where it is closed.
    private let users: Atomic<Int>
    private let descriptor: Atomic<Int32>
    /// It was used since somebody looked for one to close.
    private let isWarm = Atomic(true)

    private static let closed = -1

    /// - Parameter descriptor: an open one, which the slot owns from here on.
    init(_ descriptor: Int32) {
        users = Atomic(0)
        self.descriptor = Atomic(descriptor)
    }

    /// The descriptor, open until `leave`; nil where it is closed.
    func enter() -> Int32? {
        var seen = users.load(ordering: .relaxed)
        while seen >= 0 {
            let (isMine, now) = users.weakCompareExchange(
                expected: seen, desired: seen + 1, successOrdering: .acquiring,
                failureOrdering: .relaxed)
            if isMine {
                if !isWarm.load(ordering: .relaxed) { isWarm.store(true, ordering: .relaxed) }
                return descriptor.load(ordering: .relaxed)
            }
            seen = now
        }
        return nil
    }

    func leave() {
        users.wrappingSubtract(1, ordering: .releasing)
    }

    /// Whether it was used since this was asked before.
    func cool() -> Bool {
        isWarm.exchange(false, ordering: .relaxed)
    }

    /// What is to be closed; nil where somebody uses it, or it is closed. Under the pool's lock.
    func close() -> Int32? {
        let (isMine, _) = users.compareExchange(
            expected: 0, desired: Self.closed, ordering: .acquiringAndReleasing)
        return isMine ? descriptor.load(ordering: .relaxed) : nil
    }

    /// Opens it again, with one user. Under the pool's lock.
    func fill(_ opened: Int32) {
        descriptor.store(opened, ordering: .relaxed)
        isWarm.store(true, ordering: .relaxed)
        users.store(1, ordering: .releasing)
    }

    /// What is to be closed with the last reference to the file; nil where it is closed.
    func end() -> Int32? {
        let last = users.exchange(Self.closed, ordering: .acquiringAndReleasing)
        return last >= 0 ? descriptor.load(ordering: .relaxed) : nil
    }
}
