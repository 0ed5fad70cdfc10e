package import Core

// An operator gives up what this node will never count: the one place where it is decided what
// may go.

extension ParkingLot {
    /// A batch that goes by an operator's word, until it is gone from the disk.
    struct Discarding {
        /// What it was when it was given up.
        let item: ParkedItem
        /// Operators who wait until it is gone; none, where the disk took too long or failed.
        var waiters: [Waiter]
    }

    func state(of entry: Entry) -> ParkedState {
        if let given = discarding[entry.note.key] { return given.item.state }
        return switch entry.phase {
        case .storing, .waiting, .loading, .submitting, .removing: .waiting
        case .damaged: .damaged
        case .forgotten: .forgotten
        }
    }

    /// An operator gives up what lies here under an id, which must be what this node will never
    /// count: of two contents the one that is listed first.
    ///
    /// Answered by what lies here: by nothing; by one that may still be counted, which stays; or,
    /// once it is gone from the disk, by what was discarded.
    package mutating func discard(
        _ id: BatchID, for request: RequestID, deadline: Instant, into effects: inout [Effect]
    ) {
        let items = items(among: entries.values.filter { $0.note.key.id == id }, limit: .max)
        // One that goes already is given up once; another content takes another word.
        let given =
            items.first { $0.state.mayBeDiscarded && discarding[$0.note.key] == nil }
            ?? items.first { $0.state.mayBeDiscarded }
        guard let given else {
            return effects.append(.answer(request, .parked(listing(Array(items.prefix(1))))))
        }
        let key = given.note.key
        let waiter = Waiter(request: request, deadline: deadline)
        guard discarding[key] == nil else {
            discarding[key]?.waiters.append(waiter)
            return
        }
        discarding[key] = Discarding(item: given, waiters: [waiter])
        effects.append(.report(.discarded(key)))
        // It may have been counted after all, under its id or a renewal's, and who asks for it
        // must not hear that it was not.
        let createdAt = given.note.createdAt
        memory.forget(until: createdAt)
        remove(key, by: .discard(key, createdAt: createdAt), into: &effects)
    }

    /// - Parameter failure: why it may not be gone; it is tried again.
    mutating func answerDiscards(
        of key: ParkedKey, _ failure: String?, into effects: inout [Effect]
    ) {
        guard let given = discarding[key] else { return }
        discarding[key]?.waiters = []
        if failure == nil { discarding[key] = nil }
        let answer: ClientResponse =
            failure.map { .failed(.storage($0)) } ?? .parked(listing([given.item]))
        for waiter in given.waiters { effects.append(.answer(waiter.request, answer)) }
    }

    private func listing(_ items: [ParkedItem]) -> ParkedListing {
        ParkedListing(count: entries.count, bytes: byteCount, items: items)
    }

    var hasWaitingOperators: Bool { discarding.values.contains { !$0.waiters.isEmpty } }

    /// A disk that hangs must not keep an operator waiting; it is discarded later.
    mutating func expireDiscards(_ now: Instant, into effects: inout [Effect]) {
        for key in discarding.keys.sorted() {
            for waiter in discarding[key]?.waiters ?? [] where waiter.deadline <= now {
                effects.append(
                    .answer(waiter.request, .failed(.timedOut(required: 1, answered: 0))))
            }
            discarding[key]?.waiters.removeAll { $0.deadline <= now }
        }
    }
}
