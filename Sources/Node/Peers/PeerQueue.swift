/// Which of two waiting messages goes first.
package enum PeerPriority: Sendable {
    /// Small and awaited: votes, answers, gossip.
    case urgent
    /// Large or patient: slices, catch-up, copies.
    case bulk
}

/// Messages that wait for one peer, bounded in bytes. Each priority keeps its order.
package struct PeerQueue: Sendable {
    private var urgent = Lane()
    private var bulk = Lane()
    private var urgentRun = 0
    private let bytesMax: Int
    /// Waiting here or handed to the connection and not yet written.
    package private(set) var bytes = 0

    /// A first-in-first-out list that gives its memory back as it empties.
    private struct Lane {
        var messages: [[UInt8]?] = []
        var head = 0

        var isEmpty: Bool { head == messages.count }

        mutating func append(_ message: [UInt8]) {
            messages.append(message)
        }

        mutating func removeFirst() -> [UInt8] {
            guard let message = messages[head].take() else {
                preconditionFailure("a lane's message was taken twice")
            }
            head += 1
            if head == messages.count {
                messages.removeAll(keepingCapacity: head <= 1024)
                head = 0
            } else if head > 1024, head * 2 > messages.count {
                messages.removeFirst(head)
                head = 0
            }
            return message
        }
    }

    package init(bytesMax: Int = PeerLimits.queuedBytesMax) {
        self.bytesMax = bytesMax
    }

    package var isEmpty: Bool { urgent.isEmpty && bulk.isEmpty }

    /// False when the message would pass the bound; an empty queue takes any message.
    package mutating func push(_ message: [UInt8], _ priority: PeerPriority) -> Bool {
        let size = PeerFrameHeader.size + message.count
        guard bytes == 0 || bytes + size <= bytesMax else { return false }
        bytes += size
        switch priority {
        case .urgent: urgent.append(message)
        case .bulk: bulk.append(message)
        }
        return true
    }

    /// The next message to write. Its bytes count until `written`.
    package mutating func pop() -> [UInt8]? {
        if !urgent.isEmpty, bulk.isEmpty || urgentRun < PeerLimits.urgentRunMax {
            urgentRun += 1
            return urgent.removeFirst()
        }
        urgentRun = 0
        return bulk.isEmpty ? nil : bulk.removeFirst()
    }

    package mutating func written(_ count: Int) {
        precondition(count <= bytes, "\(count) bytes written of \(bytes) that were queued")
        bytes -= count
    }
}
