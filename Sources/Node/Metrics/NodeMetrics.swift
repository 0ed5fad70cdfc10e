package import NodeCore
internal import Synchronization

/// All counters of one node.
package final class NodeMetrics: Sendable {
    // Traffic
    package let batchesCounted = Counter()
    package let batchesDuplicate = Counter()
    package let batchesParked = Counter()
    package let eventsCounted = Counter()
    package let eventsDead = Counter()
    package let lettersRetired = Counter()
    package let bytesReceived = Counter()
    package let queries = Counter()
    /// By `OpenConnections.Kind`.
    package let connectionsOpened = [Counter(), Counter()]
    package let connectionsEnded = [Counter(), Counter()]
    package let connectionsGivenWay = Counter()
    package let messagesIn = Counter()
    package let messagesOut = Counter()
    /// HTTP answers by status class: 1xx to 5xx.
    package let answers: [Counter] = (1...5).map { _ in Counter() }

    // Errors
    package let batchesNotCounted = Counter()
    package let batchesNotAttempted = Counter()
    package let batchesUnknown = Counter()
    package let messagesUnreadable = Counter()
    package let messagesDropped = Counter()
    package let messagesExpired = Counter()
    package let messagesUnsent = Counter()
    package let requestsRefused = Counter()
    package let diskFull = Counter()
    package let conflicts = Counter()
    package let incidents = Counter()

    // Latency
    package let write = Histogram()
    package let read = Histogram()
    package let fold = Histogram()
    package let logSync = Histogram()
    package let storageJob = Histogram()
    package let coreTurn = Histogram()

    // Work of the node itself
    package let logGroups = Counter()
    package let logRecords = Counter()
    package let logBytes = Counter()
    package let coreInputs = Counter()
    package let flushes = Counter()
    package let flushesFailed = Counter()
    package let forgotten = Counter()
    package let givenUp = Counter()
    package let copies = Counter()
    package let caughtUp = Counter()
    package let drivenOn = Counter()
    package let attributesReceived = Counter()
    package let attributesMissed = Counter()
    package let catalogsLost = Counter()

    package init() {}

    package func logGroup(records: Int, bytes: Int, took: Duration) {
        logGroups.increment()
        logRecords.increment(by: records)
        logBytes.increment(by: bytes)
        logSync.observe(took)
    }

    package func turn(inputs: Int, took: Duration) {
        coreInputs.increment(by: inputs)
        coreTurn.observe(took)
    }

    package func sent(_ isSent: Bool) {
        (isSent ? messagesOut : messagesUnsent).increment()
    }

    package func answered(status: Int) {
        guard (100..<600).contains(status) else { return }
        answers[status / 100 - 1].increment()
    }

    package func count(_ report: Report) {
        switch report {
        case .flushed: flushes.increment()
        case .caughtUp(_, let batches): caughtUp.increment(by: batches)
        case .drivenOn: drivenOn.increment()
        case .flushFailed: flushesFailed.increment()
        case .forgot(_, let batches, _): forgotten.increment(by: batches)
        case .copied: copies.increment()
        case .gaveUp: givenUp.increment()
        case .conflict: conflicts.increment()
        case .malformed: messagesUnreadable.increment()
        case .dropped(_, let isBound): if isBound { incidents.increment() }
        case .peerUp, .peerDown, .voting, .recovering, .acceptedLoss, .waiting, .inDoubt,
            .generationRefused, .closed, .sealed, .clockDoubted, .clockTrusted, .diskFull,
            .incident, .divergence, .recounted, .recountFailed, .damaged, .parking,
            .compacted, .compactionFailed, .floorRisen, .tablesExpired, .lookedUp, .copying,
            .copyInterrupted, .setAside, .moved, .coldDiskFailed, .unverified,
            .leftOut, .released:
            break
        }
    }
}
