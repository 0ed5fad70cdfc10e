/// Which of two waiting messages goes first.
package enum PeerPriority: Int, Sendable, CaseIterable {
    /// Small and awaited: votes, answers, gossip.
    case prompt
    /// Large and awaited: batches.
    case urgent
    /// Patient: catch-up, copies, attributes.
    case bulk
}

/// Messages that wait for one peer, bounded in bytes. Each priority keeps its order.
package struct PeerQueue: Sendable {
    /// By priority.
    private var lanes = PeerPriority.allCases.map { _ in Lane() }
    private let bytesMax: Int
    /// Waiting here or handed to the connection and not yet written.
    package private(set) var bytes = 0

    /// A first-in-first-out list that gives its memory back as it empties.
    private struct Lane {
        var messages: [[UInt8]?] = []
        var head = 0
        /// Messages that went before others that wait behind this lane, in a row.
        var run = 0

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

    package var isEmpty: Bool { lanes.allSatisfy(\.isEmpty) }

    /// False when the message would pass the bound; an empty queue takes any message.
    package mutating func push(_ message: [UInt8], _ priority: PeerPriority) -> Bool {
        let size = PeerFrameHeader.size + message.count
        guard bytes == 0 || bytes + size <= bytesMax else { return false }
        bytes += size
        lanes[priority.rawValue].append(message)
        return true
    }

    /// The next message to write. Its bytes count until `written`.
    package mutating func pop() -> [UInt8]? {
        for place in lanes.indices where !lanes[place].isEmpty {
            let isLast = lanes[(place + 1)...].allSatisfy(\.isEmpty)
            guard isLast || lanes[place].run < PeerLimits.runMax else { continue }
            lanes[place].run += 1
            for before in lanes[..<place].indices { lanes[before].run = 0 }
            return lanes[place].removeFirst()
        }
        return nil
    }

    package mutating func written(_ count: Int) {
        precondition(count <= bytes, "\(count) bytes written of \(bytes) that were queued")
        bytes -= count
    }
}
