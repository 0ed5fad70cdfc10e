import Core
import Storage

/// History files on their way to be written anew without dead letters that are gone.
struct LetterSweepState {
    enum Phase {
        case idle
        /// The marks are read that say which letters are retired.
        case scanning
        /// Between two files: others may change the history.
        case resting(LetterSweep, rest: [UInt64])
        case writing(LetterSweep, file: UInt64, rest: [UInt64])
        case committing(LetterSweep, file: UInt64, by: HistoryHandle?, rest: [UInt64])
    }

    var phase = Phase.idle
    /// Letters may have gone since the last look: some were retired or have expired. At a start
    /// nobody knows.
    var isDue = true
    var began: Instant
    var nextAt: Instant

    init(at now: Instant) {
        began = now
        nextAt = now
    }

    var isIdle: Bool {
        if case .idle = phase { true } else { false }
    }

    /// Nothing of it is under way that a change of the history would disturb.
    var yields: Bool {
        switch phase {
        case .idle, .scanning, .resting: true
        case .writing, .committing: false
        }
    }
}
