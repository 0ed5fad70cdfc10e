import Synchronization

/// What waits for one peer, shared between the threads that send and the event loop that writes.
package final class PeerOutbox: Sendable {
    private struct State {
        var queue = PeerQueue()
        /// Counts the connections, so that a late word of an old one is not believed.
        var epoch = 0
        var isConnected = false
        /// The event loop was told and has not come yet.
        var isWakePending = false
        var sent = PeerTraffic()
        var dropped: UInt64 = 0
    }

    package enum Offer: Hashable, Sendable {
        /// Not connected, or the queue is full.
        case dropped
        /// The event loop knows already.
        case queued
        /// The event loop is to be told.
        case queuedFirst
    }

    private let state = Mutex(State())

    package init() {}

    package func offer(_ message: [UInt8], _ priority: PeerPriority) -> Offer {
        state.withLock { state in
            guard state.isConnected, state.queue.push(message, priority) else {
                state.dropped += 1
                return .dropped
            }
            if state.isWakePending { return .queued }
            state.isWakePending = true
            return .queuedFirst
        }
    }

    /// A connection is open: messages are taken from now on. Returns its epoch.
    package func connect() -> Int {
        state.withLock { state in
            state.queue = PeerQueue()
            state.epoch += 1
            state.isConnected = true
            state.isWakePending = false
            return state.epoch
        }
    }

    /// The connection ended: what waited is dropped.
    package func disconnect() {
        state.withLock { state in
            state.queue = PeerQueue()
            state.epoch += 1
            state.isConnected = false
            state.isWakePending = false
        }
    }

    /// The event loop came; the next offer tells it anew.
    package func wake() {
        state.withLock { $0.isWakePending = false }
    }

    /// The next messages to write, about `bytes` of them and at least one; empty when none waits.
    package func take(bytes: Int) -> [[UInt8]] {
        state.withLock { state in
            var batch: [[UInt8]] = []
            var size = 0
            while size < bytes, let message = state.queue.pop() {
                size += PeerFrameHeader.size + message.count
                state.sent.frames += 1
                batch.append(message)
            }
            return batch
        }
    }

    package func written(_ bytes: Int, epoch: Int) {
        state.withLock { state in
            guard state.epoch == epoch else { return }
            state.queue.written(bytes)
            state.sent.bytes += UInt64(bytes)
        }
    }

    package var isConnected: Bool { state.withLock { $0.isConnected } }

    package var queuedBytes: Int { state.withLock { $0.queue.bytes } }

    package var sent: PeerTraffic { state.withLock { $0.sent } }

    package var dropped: UInt64 { state.withLock { $0.dropped } }
}

/// Frames and bytes of one direction since the start.
package struct PeerTraffic: Hashable, Sendable {
    package var frames: UInt64 = 0
    package var bytes: UInt64 = 0

    package init() {}
}
