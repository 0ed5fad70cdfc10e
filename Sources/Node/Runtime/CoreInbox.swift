package import Core
package import NodeCore

/// What waits for the core, in the order of its arrival; only the words of reads, and what is on
/// disk now, overtake the rest, since they take the core microseconds, and batches milliseconds.
/// Peers' messages may come in any order, so nothing depends on theirs.
package final class CoreInbox: Sendable {
    package enum Entry: Sendable {
        case input(Input)
        /// A message that its sender waits for until then: dropped where it was not reached by
        /// then.
        case awaited(Input, until: Instant)
        /// Give the core's view of the cluster to whoever asks.
        case view(@Sendable (NodeView) -> Void)
        /// Say farewell to the peers, then say that it is done.
        case leave(@Sendable () -> Void)
        /// Nothing is taken after this.
        case stop

        var overtakes: Bool {
            switch self {
            case .input(let input), .awaited(let input, _): input.overtakes
            case .view, .leave, .stop: false
            }
        }
    }

    private struct State {
        var urgent: [Entry] = []
        var entries: [Entry] = []
        /// When the first of each came: one clock for a turn, not one for each entry.
        var urgentSince = Instant.zero
        var since = Instant.zero
        var bytes = 0
        var isStopped = false

        mutating func add(_ entry: Entry) {
            if entries.isEmpty { since = SystemClock.monotonic }
            entries.append(entry)
        }

        mutating func addUrgent(_ entry: Entry) {
            if urgent.isEmpty { urgentSince = SystemClock.monotonic }
            urgent.append(entry)
        }
    }

    private let entriesMax: Int
    private let bytesMax: Int
    private let monitor = Monitor(State())
    /// Of each turn the wait of the entry that waited longest.
    private let turns = QueueMeter("core")
    private let urgentTurns = QueueMeter("core-reads")

    package var meters: [QueueMeter] { [turns, urgentTurns] }

    package init(
        entriesMax: Int = RuntimeLimits.inboxMax, bytesMax: Int = RuntimeLimits.inboxBytesMax
    ) {
        self.entriesMax = entriesMax
        self.bytesMax = bytesMax
    }

    /// It takes nothing any more.
    package var isStopped: Bool { monitor.withLock(\.isStopped) }

    package var waiting: Int { monitor.withLock { $0.entries.count + $0.urgent.count } }

    /// Offers an input that may be refused at the bound: a request, or a message of a peer, of
    /// `bytes` bytes.
    package func offer(_ input: Input, bytes: Int = 0, until: Instant? = nil) -> Bool {
        monitor.signal { state in
            guard !state.isStopped else { return false }
            guard state.entries.count + state.urgent.count < entriesMax,
                state.bytes == 0 || state.bytes + bytes <= bytesMax
            else {
                (input.overtakes ? urgentTurns : turns).refuse()
                return false
            }
            let entry: Entry = until.map { .awaited(input, until: $0) } ?? .input(input)
            if input.overtakes {
                state.addUrgent(entry)
            } else {
                state.add(entry)
            }
            state.bytes += bytes
            return true
        }
    }

    /// Posts what must not be lost and is bounded by its cause: a completion, a change of a link.
    package func post(_ entry: Entry) {
        monitor.signal { state in
            if state.isStopped { return }
            if case .input(let input) = entry, input.overtakes {
                state.addUrgent(entry)
                return
            }
            state.add(entry)
            if case .stop = entry { state.isStopped = true }
        }
    }

    /// Asks for the core's view; false where the core takes nothing any more. Whoever is taken
    /// before the stop is answered.
    package func ask(_ receive: @escaping @Sendable (NodeView) -> Void) -> Bool {
        ask(.view(receive))
    }

    /// Asks the core to say farewell.
    package func leave(_ receive: @escaping @Sendable () -> Void) -> Bool {
        ask(.leave(receive))
    }

    private func ask(_ entry: Entry) -> Bool {
        monitor.signal { state in
            guard !state.isStopped else { return false }
            state.add(entry)
            return true
        }
    }

    /// The words of reads that wait, else everything; empty only when `deadline` came first.
    package func take(until deadline: Instant) -> [Entry] {
        monitor.wait(until: deadline) { state in
            if !state.urgent.isEmpty { return takeUrgent(&state) }
            if state.entries.isEmpty { return nil }
            turns.take(since: state.since)
            state.bytes = 0
            var taken: [Entry] = []
            // Both arrays keep growing to the same size, so nothing is copied or reallocated for
            // long.
            taken.reserveCapacity(state.entries.count)
            swap(&taken, &state.entries)
            return taken
        } ?? []
    }

    /// The words of reads that came since: taken between two other inputs.
    package func takeUrgent() -> [Entry] {
        monitor.withLock { takeUrgent(&$0) }
    }

    private func takeUrgent(_ state: inout State) -> [Entry] {
        if state.urgent.isEmpty { return [] }
        urgentTurns.take(since: state.urgentSince)
        var taken: [Entry] = []
        swap(&taken, &state.urgent)
        return taken
    }
}
