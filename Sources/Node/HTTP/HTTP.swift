/// # HTTP: what users and programs speak with a node
///
/// Hummingbird gives bytes, heads and connections; everything else is here. A request goes
///
///     HTTPServer → HTTPCall (method, path decoded once, query, headers, body)
///                → HTTPAPI: one method per resource → HTTPReply (status, type, bytes)
///
/// and only the two ends know the server library, so that every answer can be tested without a
/// socket. There is no router by patterns: the dozen paths are one `switch` over decoded segments,
/// which also decides what Hummingbird leaves open, namely that `%2F` in a key is a character and
/// no separator.
///
/// Answers are written by `JSONWriter`, fields in the documented order, numbers exactly. Errors are
/// `application/problem+json` (RFC 9457); for writes they carry an `outcome` that says whether the
/// same batch may still have been counted. A client never hears "not counted" where that is not
/// certain.
///
/// ## Invariants
///
/// 1. Nothing is read before it is bounded: the body by what may be sent and by what it may decode
///    to, all bodies together by `RuntimeLimits.bodiesBytesMax`, the connections by
///    `ConnectionBounds`.
/// 2. A slow client holds one connection and nothing else: for `HTTPLimits.stallMax` while it sends
///    a body or takes an answer, twice `idleMax` before that.
/// 3. Attributes are decoration: where the catalog fails, counts are answered without them, and say
///    so.
package enum HTTPLimits {
    /// Connections that are open; a new one more closes one that waits for its client.
    package static let connectionsMax = 14 << 10
    /// Of those, connections that have begun a request: all requests that may be under way, and
    /// room for those that come in. A new one more closes the one that waits longest.
    package static let begunMax = 5 << 10
    /// What may be open beside, while others close.
    package static let connectionsSpare = 128
    /// With fewer open, each is looked after at once.
    package static let connectionsFew = 256
    /// A connection whose body goes on by so much has not waited for long.
    package static let ageBytes = 64 << 10
    /// What the kernel holds of answers, for each connection that has begun a request; it doubles
    /// this.
    package static let sendBufferBytes = 256 << 10
    /// What is held of a head before there is a parser for it.
    package static let doorBytesMax = 4 << 10
    /// Connections that the kernel holds until the node takes them.
    package static let backlog = 4096
    /// Bytes of all header fields together.
    package static let headersMax = 64 << 10
    package static let headerCountMax = 200
    /// How long a request for an audit may wait for its report, less than an idle connection lives;
    /// and how far back it may ask for disks that were read.
    package static let auditWaitMaxSeconds = 50
    package static let auditAgeMaxSeconds: Int64 = 3600
    /// How long a request waits for a flush.
    package static let flushWaitMax: Duration = .seconds(60)
    /// How long a request for a compaction waits for its end, less than clients wait for an answer.
    package static let compactionWaitMax: Duration = .seconds(10)
    /// An idle connection is closed; one that never said anything after up to twice as long.
    package static let idleMax: Duration = .seconds(75)
    /// A request of whose body fewer bytes than these come in so long is closed, and so is a client
    /// that takes fewer of an answer twice in a row.
    package static let stallMax: Duration = .seconds(15)
    package static let bodyBytesMin = 2 << 10
    /// How long a connection that ends before its request did is still listened to.
    package static let lingerMax: Duration = .seconds(1)
    package static let topDefault = 10
    package static let topMax = 1_000_000
    /// Keys of a group, and reads for one answer: of each key in each partition that it lies in.
    package static let groupKeysMax = 10_000
    package static let seriesReadsMax = 10_000
    /// Keys of a group of which only the total is asked for.
    package static let groupTotalKeysMax = 1_000_000
    /// What such a key takes of memory beside its bytes: the head of its array, and its places in a
    /// list and in a set.
    package static let groupKeyOverhead = 96
    /// Of the reads for one answer so many at once.
    package static let seriesReadsAtOnce = 32
    /// How often reads are made until all are answered by one floor of retention.
    package static let floorRoundsMax = 4
    package static let pageDefault = 100
    package static let pageMax = 10_000
    /// Windows in one answer; a query for more must choose a coarser step or a shorter range.
    package static let windowsMax = 1 << 20
    /// Dead letters that one request purges or replays, in how long, how many are listed and how
    /// many are under way at once.
    package static let retireMax = 10_000
    package static let retireTimeMax: Duration = .seconds(8)
    package static let retirePage = 500
    package static let retiresAtOnce = 64
    /// Between two looks at a queue of folds that is full.
    package static let foldRetry: Duration = .milliseconds(50)
    package static let idempotencyKeyMax = 255
    package static let attributesBodyMax = 16 << 20
    /// Rows of a load that are read and stored together, in one transaction, or fewer that take so
    /// many bytes of memory or of the body.
    package static let attributeRowsAtOnce = 2000
    package static let attributeBytesAtOnce = 4 << 20
    package static let retryAfterSeconds = 1
    /// A disk is not freed from one second to the next.
    package static let retryAfterDiskSeconds = 10
    /// Contents of one id that are looked at among parked batches.
    package static let parkedAtOnce = 16
}
