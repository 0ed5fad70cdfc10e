/// Cuts a stream of bytes into the bodies of batches, each of whole records.
///
/// The bytes of a record are never changed, only where the file's framing asks for it they get a
/// new frame: a header line repeated, an array's brackets. What is cut depends on the bytes and the
/// limits alone, not on how the bytes arrive, so that a run can be repeated under the same ids.
package protocol BatchCutter {
    /// Takes bytes until they end or a batch is full; returns how many.
    mutating func take(_ input: UnsafeRawBufferPointer) throws(FileFailure) -> Int

    /// No more bytes follow.
    mutating func finish() throws(FileFailure)

    /// The batch has reached its limits: `cut` before taking more.
    var isFull: Bool { get }

    /// Records were taken and none is half taken: `cut` may come early, for input that pauses.
    var isBetweenRecords: Bool { get }

    /// What a new cutter must take first to cut what follows as this one would, between a cut and
    /// the next byte: no record, but what the last cut left behind it, a table's header or an
    /// array's bracket.
    var preamble: [UInt8] { get }

    /// The records so far as one body, nil where there are none; the next batch begins.
    mutating func cut() -> CutBody?
}

/// When a batch is full.
package struct CutLimits: Hashable, Sendable {
    package let events: Int
    package let bytes: Int

    package init(events: Int, bytes: Int) {
        precondition(events > 0 && bytes > 0, "a batch holds at least one event")
        self.events = events
        self.bytes = bytes
    }
}

/// The body of one batch and how many records it holds.
package struct CutBody: Hashable, Sendable {
    package let bytes: [UInt8]
    package let events: Int
}

/// Why a file could not be read to its end.
package struct FileFailure: Error, Hashable, Sendable, CustomStringConvertible {
    package let path: String
    package let reason: String

    package init(path: String, reason: String) {
        self.path = path
        self.reason = reason
    }

    package var description: String { "\(path): \(reason)" }
}
