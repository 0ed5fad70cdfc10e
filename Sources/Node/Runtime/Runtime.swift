/// # Runtime: the threads around the core
///
/// `NodeMachine` is a synchronous value: an input and the time go in, effects come out. This folder
/// is the thin shell that owns it.
///
///     HTTP tasks ─┐                            ┌─▶ peers (NIO loops)
///     peers ──────┤   CoreInbox   NodeRuntime  ├─▶ LogThread: write, one fdatasync per group
///     log thread ─┼──────────────▶ one thread ─┼─▶ storage pool: tables, manifest, reads
///     file threads┘   (batches)                └─▶ ReplyBook: whoever waits for an answer
///
/// The storage pool is four: what somebody waits for has threads of its own, and so has what asks
/// anything of the cold disk. No order is kept between jobs that are under way: the core asks for
/// the second of two when it has the first one's result.
///
/// ## One thread, one inbox
///
/// Exactly one thread holds the core, takes *all* inputs that have gathered, runs the machine over
/// them and carries the effects out in their order. It is a thread of its own and not an event loop
/// because what arrives together is then handled together: while the core works or the log syncs,
/// inputs gather, and one wakeup, one write and one fsync serve them all. An event loop would pay a
/// task per input and would let the core's work delay sockets, and sockets the core.
///
/// Whatever is expensive and pure happens before the inbox: messages are decoded on the loops that
/// received them, bodies are hashed and folded by a pool (`FoldPool`) that is as wide as the
/// machine, small ones by who answers their request. Whatever blocks happens behind it, on threads
/// that may block.
///
/// ## Invariants
///
/// 1. Effects are carried out in the order in which the core gave them.
/// 2. `logSynced(n)` is posted only after an fsync that began after record n was written. A failed
///    write or fsync ends the process: it is never retried (Rebello et al., ATC 2020).
/// 3. Every queue has a bound in `RuntimeLimits`. At the bound a client hears "overloaded", a
///    peer's message is dropped (all exchanges repeat); completions are always taken, they are
///    bounded by what the core asked for.
/// 4. Each request is answered exactly once: by the core, or by `ReplyBook` when its time is over.
package enum RuntimeLimits {
    /// Seconds until a start looks once more at what seems to be damaged.
    package static let secondLookAfter = 2.0
    /// Inputs of clients and peers that may wait for the core.
    package static let inboxMax = 1 << 16
    /// Bytes of peers' messages that may wait for the core.
    package static let inboxBytesMax = 256 << 20
    /// Requests under way at once on this node.
    package static let requestsMax = 4096
    /// Batches that may wait for a folding thread; one more is told to come back.
    package static let foldsMax = 128
    /// Batches of no more bytes are folded at once, by who answers their request: some 50 us.
    package static let smallFoldBytes = 16 << 10
    /// Batches of more bytes are folded apart, so many of them waiting.
    package static let largeFoldBytes = 8 << 20
    package static let largeFoldsMax = 16
    /// Bytes of bodies that requests may hold at once.
    package static let bodiesBytesMax = 512 << 20
    /// Storage jobs that may wait; the core asks for few, so that reaching it is a bug.
    package static let storageJobsMax = 1 << 16
    /// Catalog calls that may wait.
    package static let catalogJobsMax = 1024
    /// Requests for snapshots that may wait.
    package static let snapshotJobsMax = 16
    /// Batches that may wait to be parked, read or removed.
    package static let parkingJobsMax = 1024
    /// Threads for what somebody waits for, and for what is written in the background.
    package static let readThreads = 2
    package static let fileThreads = 2
    /// Beside them, for what asks anything of the cold disk: a mount that hangs holds no others.
    package static let coldReadThreads = 2
    package static let coldFileThreads = 1
    /// Reads of the cold disk that may wait; one more fails.
    package static let coldReadsMax = 1024
    /// How long a stop waits for them: a read has nobody to wait for it, and a draft does not
    /// count.
    package static let coldStopMax: Duration = .seconds(2)
    /// Questions for the keys of an attribute's value that may wait.
    package static let catalogPassesMax = 8
    /// How long after its deadline a request that the core forgot is ended by the shell.
    package static let replyGrace: Duration = .seconds(2)
    /// The exit status after a failure of the disk (EX_SOFTWARE of sysexits.h).
    package static let haltStatus: Int32 = 70
}
