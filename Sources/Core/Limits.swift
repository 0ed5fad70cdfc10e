/// Every bound of the system, by name. A test reaches each.
package enum Limits {
    // Events
    package static let keyMax = 1024
    package static let typeMax = 64
    package static let lineMax = 1 << 20
    /// Of an event that could not be counted so many bytes are kept: all of any that is not too
    /// long by itself.
    package static let deadLetterRawMax = lineMax
    /// Earlier releases kept so many. One of theirs with at least the second number may be cut.
    package static let deadLetterRawMaxBefore = 1 << 12
    package static let deadLetterRawDoubtful = deadLetterRawMaxBefore - 3
    package static let deadLetterDetailMax = 256

    /// A record's decompressed body: cells and dead letters of one batch. With its directory it
    /// fits into a frame and a log record even where nothing can be compressed.
    package static let recordBodyMax = 80 << 20
    /// Up to so many bytes a body stays uncompressed beside the record that was made of it, until
    /// it is applied where it was made.
    package static let madeBodyMax = 1 << 20
    /// Of so many batches one is read back where it was made, as others read it.
    package static let madeBodyReadBack: UInt64 = 64

    // Requests
    package static let bodySentMax = 16 << 20
    package static let bodyDecodedMax = 64 << 20
    package static let errorsInAnswerMax = 10
    package static let admissionAheadMax: Duration = .seconds(300)
    package static let horizonDefault: Duration = .seconds(3600)
    package static let futureLimitDefault: Duration = .seconds(86_400)

    // Peers: a frame is refused by its header, before anything is allocated for it.
    package static let frameMax = 96 << 20
    package static let partitionsMax = 4096
    package static let nodesMax = 1024
}
