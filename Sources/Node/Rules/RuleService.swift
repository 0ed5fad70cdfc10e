package import Core
package import Logging
package import Storage
internal import Synchronization

/// The rules of a running node, for all threads: what it tells its peers, what it heard of theirs.
package final class RuleService: Sendable {
    private let watch: Mutex<RuleWatch>
    private let refusal = Mutex<String?>(nil)
    /// One attempt at a time writes the file.
    private let isWriting = Mutex(false)
    private let store: @Sendable (RuleMemory) -> Result<Void, StorageError>
    private let onRefusal: @Sendable (String?) -> Void
    private let onHalt: @Sendable (String) -> Void
    private let logger: Logger

    /// - Parameter onRefusal: told when it changes why no batches are to be taken.
    package init(
        _ watch: RuleWatch, logger: Logger,
        store: @escaping @Sendable (RuleMemory) -> Result<Void, StorageError>,
        onHalt: @escaping @Sendable (String) -> Void,
        onRefusal: @escaping @Sendable (String?) -> Void
    ) {
        self.watch = Mutex(watch)
        self.logger = logger
        self.store = store
        self.onHalt = onHalt
        self.onRefusal = onRefusal
    }

    /// The entries with what this node can say of them.
    package var notices: [RuleNotice] { memory.entries }
    package var memory: RuleMemory { watch.withLock(\.memory) }

    package func heard(_ notices: [RuleNotice], of peer: NodeID, at now: Now) {
        watch.withLock { $0.heard(notices, of: peer) }
        advance(to: now)
    }

    package func refused(_ rejection: PeerRejection, heard: Bool, by peer: NodeID, at now: Now) {
        watch.withLock { $0.refused(rejection.sentence(heard: heard), by: peer) }
        advance(to: now)
    }

    package func advance(to now: Now) {
        let (next, reason) = watch.withLock {
            ($0.toStore(at: now.monotonic), $0.refusal(at: now.wall))
        }
        if let next { begin(next) }
        let hasChanged = refusal.withLock { refusal in
            defer { refusal = reason }
            return refusal != reason
        }
        guard hasChanged else { return }
        if let reason {
            logger.error("no batches are taken: \(reason)")
        } else {
            logger.notice("batches are taken: the rules agree with most of the nodes")
        }
        onRefusal(reason)
    }

    private func begin(_ next: RuleMemory) {
        let isFirst = isWriting.withLock { isWriting in
            defer { isWriting = true }
            return !isWriting
        }
        // Whoever is not first is asked again.
        guard isFirst else { return }
        NamedThread.start("rules") { [self] in
            write(next)
            isWriting.withLock { $0 = false }
        }
    }

    private func write(_ memory: RuleMemory) {
        do throws(StorageError) {
            try store(memory).get()
        } catch {
            if case .syncFailed = error { return onHalt("rules: \(error)") }
            // Asked for again after `storeRetry`; until then nothing rests on it.
            logger.error("rules: \(error)")
            return
        }
        watch.withLock { $0.stored(memory) }
        for (index, notice) in memory.entries.enumerated() where notice.standing == .confirmed {
            logger.notice(
                "rules: version \(ruleVersion(at: index).number) is confirmed: \(notice.entry)")
        }
    }
}
