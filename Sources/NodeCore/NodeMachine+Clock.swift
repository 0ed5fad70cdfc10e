package import Core
import Gossip
import Storage

// Wall clocks gate whole batches and freezes, and nothing else. A node whose clock is wrong could
// refuse what is in time, admit what is too old, or freeze a segment early; so while most of its
// peers disagree with it, it does none of these.

extension NodeMachine {
    /// Whether this node may admit batches and freeze segments by its wall clock: at most half of
    /// the peers that it heard lately disagree with it. One that hears nobody believes itself; it
    /// can bind nothing alone.
    package func isClockTrusted(_ now: Now) -> Bool {
        clockDisagreement(now) == nil
    }

    /// A freeze cannot be taken back: beyond being trusted, the clock must have been held against
    /// that of a peer, where there are any.
    func mayFreeze(_ now: Now) -> Bool {
        isClockTrusted(now) && (peers.isEmpty || !gossip.clockOffsets(at: now).isEmpty)
    }

    /// The middle one of the peers' differences, where most of them are too large.
    func clockDisagreement(_ now: Now) -> Duration? {
        gossip.clockDisagreement(beyond: configuration.clockSkewMax, at: now)
    }

    mutating func watchClock(_ now: Now, into effects: inout [Effect]) {
        let doubt = clockDisagreement(now)
        if let doubt, clockDoubt == nil {
            effects.append(.report(.clockDoubted(ahead: doubt)))
        } else if doubt == nil, clockDoubt != nil {
            effects.append(.report(.clockTrusted))
        }
        clockDoubt = doubt
        replaceVoidGeneration(now, into: &effects)
    }

    /// A node that first started while its clock was years ahead is refused by all its peers. Once
    /// the clock is right it goes on under a generation that they can believe.
    private mutating func replaceVoidGeneration(_ now: Now, into effects: inout [Effect]) {
        guard identity.generation >= Generation.limit(held: 0, now: now.wall), mayFreeze(now)
        else { return }
        identity.generation = Generation.next(stored: identity.generation, now: now.wall)
        run(
            .commit(ManifestEdit(identity: identity)), .generation(identity.generation),
            into: &effects)
    }

    /// For operators and clients.
    static func clockReason(_ ahead: Duration) -> String {
        let seconds = ahead.components.seconds
        let amount = seconds.magnitude
        return "this node's clock is \(amount) s \(seconds < 0 ? "ahead of" : "behind") those of "
            + "most of its peers; correct it"
    }
}
