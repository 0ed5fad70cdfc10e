internal import CSched
internal import Core
internal import Foundation

/// How the threads of this node share the processors where they are too few.
///
/// A query passes through a dozen threads of several processes. Where folding, flushing and the
/// like keep every processor busy, each of these hops waits for whoever runs: on Linux some 3 ms,
/// and longer behind several. So who only passes things on asks for short turns, which come sooner
/// (EEVDF, Linux 6.12 and later; before it nothing changes), and who has much to do stands back.
package enum ThreadStanding: Sendable {
    /// Somebody waits for each of its steps.
    case prompt
    case usual
    /// Much work at a time. It gets a tenth of a processor beside a thread that is not bulk, and
    /// all of one that nobody else wants.
    case bulk

    private static let promptTurn: Duration = .microseconds(100)
    private static let bulkTurn: Duration = .milliseconds(10)
    /// As of nice(1), on top of what the process was started with.
    private static let bulkNice: Int32 = 10
    private static let niceMax: Int32 = 19

    /// For the calling thread. A kernel that refuses leaves it as all others: only time is lost.
    package func take() {
        let nice = getpriority(Self.which, 0)
        switch self {
        case .usual: break
        case .prompt: _ = quipu_set_turn(nice, UInt64(Self.promptTurn.nanoseconds))
        case .bulk:
            let stepsBack = min(nice + Self.bulkNice, Self.niceMax)
            if quipu_set_turn(stepsBack, UInt64(Self.bulkTurn.nanoseconds)) != 0 {
                setpriority(Self.which, 0, stepsBack)
            }
        }
    }

    /// For threads that others make, at every chance: the first one counts.
    package func takeOnce() {
        if quipu_is_first_meeting() != 0 { take() }
    }

    #if canImport(Glibc)
        /// Linux keeps both for each thread; 0 is the one that calls.
        private static let which = Int32(PRIO_PROCESS.rawValue)
    #else
        private static let which = PRIO_PROCESS
    #endif
}
