/// The bounds of a spool.
package enum SpoolLimits {
    /// A segment takes no further record beyond this.
    package static let segmentBytes = 64 << 20
    /// What all segments may hold before sealing waits.
    package static let bytesDefault = 1 << 30
    /// The least that may be asked for: several segments, each with several batches.
    package static let bytesMin = 32 << 20
    /// What ended is given back by copying what is held once it is a segment's worth, and all bytes
    /// divided by this (a quarter): so at most three bytes are copied for each that comes free.
    package static let endedDivisor = 4
    /// A record's body; a greater length is damage and nothing is read for it.
    package static let recordMax = 32 << 20
    /// A batch's bytes: no node takes more.
    package static let batchMax = 16 << 20
    /// The state with which a segment begins: above all the positions of the inputs.
    package static let stateMax = 16 << 20
    /// A path, a content type, a query; bytes.
    package static let textMax = 16 << 10
}
