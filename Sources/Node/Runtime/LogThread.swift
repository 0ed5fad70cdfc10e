package import Core
package import Storage

/// The thread that writes the log: it takes all records that have gathered, writes them together,
/// and pays one fsync for all of them where one of them wants it. While an fsync runs the next
/// group gathers.
package final class LogThread: Sendable {
    package enum Event: Sendable {
        /// All records up to this one are on the disk.
        case synced(through: LSN, records: Int, bytes: Int, took: Duration)
        /// The disk is full: the records wait, and are tried again.
        case full(StorageError)
        /// The log can no longer be trusted.
        case failed(StorageError)
    }

    private struct State {
        var records: [LogAppend] = []
        var bytes = 0
        var wantsSync = false
        var isStopping = false
        var hasEnded = false
    }

    private struct Group {
        var records: [LogAppend]
        var wantsSync: Bool
        var isLast: Bool
    }

    /// Bytes that may wait for a full disk to be freed.
    package static let backlogMax = 512 << 20
    /// How long a full disk is left alone before it is tried again.
    package static let retryInterval: Duration = .seconds(1)

    private let monitor = Monitor(State())

    package init() {}

    /// Bytes that are not written yet.
    package var backlog: Int { monitor.withLock(\.bytes) }

    package func start(
        _ writer: sending LogWriter, onEvent: @escaping @Sendable (Event) -> Void
    ) {
        let handed = OneShot(writer)
        NamedThread.start("log", standing: .prompt) { [monitor] in
            Self.run(monitor, handed.take(), onEvent)
            monitor.broadcast { $0.hasEnded = true }
        }
    }

    /// Appends in order. Nothing is written before a `sync`, or before so much has gathered that
    /// waiting would only make it dearer.
    package func append(_ records: [LogAppend], sync: Bool) {
        if records.isEmpty && !sync { return }
        monitor.signal { state in
            state.records.append(contentsOf: records)
            for record in records { state.bytes += record.header.count + record.payload.count }
            state.wantsSync = state.wantsSync || sync
        }
    }

    /// Writes and syncs what waits, then ends; false where that took longer than until `deadline`.
    @discardableResult
    package func stop(by deadline: Instant) -> Bool {
        monitor.broadcast { $0.isStopping = true }
        return monitor.wait(until: deadline) { $0.hasEnded ? true : nil } ?? false
    }

    /// Records are written without a sync once so many bytes of them wait.
    private static let writeThreshold = 4 << 20

    private static func run(
        _ monitor: Monitor<State>, _ writer: LogWriter, _ onEvent: @Sendable (Event) -> Void
    ) {
        var writer = writer
        var last: LSN?
        while true {
            let next: Group? = monitor.wait { state in
                guard state.wantsSync || state.isStopping || state.bytes >= writeThreshold else {
                    return nil
                }
                let group = Group(
                    records: state.records, wantsSync: state.wantsSync || state.isStopping,
                    isLast: state.isStopping)
                state.records = []
                state.bytes = 0
                state.wantsSync = false
                return group
            }
            guard let group = next else { continue }
            let began = SystemClock.monotonic
            do throws(StorageError) {
                try write(group, with: &writer, monitor, onEvent)
                if group.wantsSync { try writer.sync() }
            } catch {
                onEvent(.failed(error))
                return
            }
            last = group.records.last?.lsn ?? last
            if group.wantsSync, let last {
                let bytes = group.records.reduce(0) { $0 + $1.header.count + $1.payload.count }
                onEvent(
                    .synced(
                        through: last, records: group.records.count, bytes: bytes,
                        took: SystemClock.monotonic - began))
            }
            if group.isLast { return }
        }
    }

    /// Appends file by file, so that after a full disk only what is missing is given again.
    private static func write(
        _ group: Group, with writer: inout LogWriter, _ monitor: Monitor<State>,
        _ onEvent: @Sendable (Event) -> Void
    ) throws(StorageError) {
        var rest = group.records[...]
        var isStopping = false
        while let first = rest.first {
            let run = rest.prefix { $0.position.file == first.position.file }
            do throws(StorageError) {
                try writer.append(Array(run))
                rest = rest.dropFirst(run.count)
            } catch {
                // Whoever stops waits for one more attempt, and for no room to come.
                guard case .diskFull = error, !group.isLast, !isStopping,
                    monitor.withLock(\.bytes) < backlogMax
                else { throw error }
                onEvent(.full(error))
                let retry = SystemClock.monotonic + retryInterval
                isStopping = monitor.wait(until: retry) { $0.isStopping ? true : nil } ?? false
            }
        }
    }
}
