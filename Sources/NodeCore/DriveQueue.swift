import Core

/// Batches that this home voter watches until they are finished, by the time when it drives them
/// on.
struct DriveQueue {
    private struct Due: Comparable {
        var at: Instant
        var id: BatchID

        static func < (left: Due, right: Due) -> Bool {
            (left.at, left.id) < (right.at, right.id)
        }
    }

    /// When each waits to be driven; nil while a drive runs.
    private var waiting: [BatchID: Instant] = [:]
    private var active: Set<BatchID> = []
    /// Ascending; entries whose time is no longer that of `waiting` are stale and skipped.
    private var queue: [Due] = []
    private var head = 0

    var count: Int { waiting.count + active.count }
    var running: Int { active.count }
    /// All that are watched, in no order.
    var ids: [BatchID] { Array(waiting.keys) + active }

    mutating func insert(_ id: BatchID, at time: Instant) {
        guard waiting[id] == nil, !active.contains(id) else { return }
        enqueue(id, at: time)
    }

    /// Finished: it waits no more. A drive that runs keeps its place until its session ends, else
    /// the number of sessions would have no bound.
    mutating func finish(_ id: BatchID) {
        waiting[id] = nil
    }

    mutating func takeDue(_ now: Instant) -> BatchID? {
        while head < queue.count, queue[head].at <= now {
            let due = queue[head]
            head += 1
            if head > 1024, head * 2 > queue.count {
                queue.removeFirst(head)
                head = 0
            }
            guard waiting[due.id] == due.at else { continue }
            waiting[due.id] = nil
            active.insert(due.id)
            return due.id
        }
        return nil
    }

    mutating func ended(_ id: BatchID, isFinished: Bool, retryAt: Instant) {
        guard active.remove(id) != nil, !isFinished else { return }
        enqueue(id, at: retryAt)
    }

    private mutating func enqueue(_ id: BatchID, at time: Instant) {
        waiting[id] = time
        let due = Due(at: time, id: id)
        // Nearly always the latest: delays are constant.
        var place = queue.count
        while place > head, due < queue[place - 1] { place -= 1 }
        queue.insert(due, at: place)
    }
}
