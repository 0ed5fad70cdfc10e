package import Core

// Gossip: who is in the cluster, what each says of itself, and who is alive.
//
// Every node owns one endpoint state: a generation (the number of its life), a heartbeat, and a
// small ordered map of values (status, addresses, ring epoch, ...). One counter per node numbers
// the heartbeat and all values, so that "the greatest version I hold of you" says all that I hold.
//
// Once an interval a node beats, picks a random live peer, perhaps a dead one (so that healed cuts
// are noticed) and perhaps a seed (so that islands meet), and exchanges what differs:
//
//     A                                   B
//     |- SYN   digests (node, gen, ver) -->|
//     |<- ACK  deltas A lacks, requests ---|
//     |- ACK2  deltas B asked for -------->|
//
// News needs about log2(n) intervals to reach all. The algorithm is that of Apache Cassandra's
// `gms/Gossiper` before its transactional metadata; failure detection is Hayashibara et al., "The
// phi accrual failure detector" (2004), in the exponential form that Cassandra uses.
//
// Where it differs from Cassandra:
//
// - A delta names the version above which it speaks (`after`). A receiver that lost its memory in
//   between ignores a delta that would leave a hole under a high version. States of one endpoint
//   are thus applied as one unit or not at all.
// - An endpoint that a SYN does not mention is answered whole; an empty SYN therefore asks for
//   everything and changes nothing.
// - UP lasts only as long as the peer answers our own probes, and not only begins so: under a cut
//   in one direction the relayed heartbeats of a peer that cannot answer us prove nothing of use.
// - Silence is measured in time during which this node listened, never across a pause of its own
//   (`ListeningClock`).
// - The mean of arrivals is never taken below the interval (`ArrivalWindow`): a heartbeat is made
//   once per interval, so a smaller mean is an artefact of bursts.
// - An answer to a probe carries the answerer's wall clock, so that a node whose own clock is wrong
//   can know it (`PeerClock`). It is told to the asker and to nobody else: nothing that changes all
//   the time is gossiped.
// - A node that others know under a higher generation than its own (a disk lost, the clock set
//   back) is told so and takes a higher one, instead of being ignored for ever.
//
// Invariants:
//
// - What is held of an endpoint, (generation, version), never goes back, nor does a single value.
// - No generation is taken that lies beyond what that node would get if it restarted now, plus an
//   allowance (`Generation`).
// - UP and DOWN are opinions of this node; they are not gossiped, and nobody is removed for them.
// - All is a function of the inputs, `now` and the seed. Lists leave in order of node names.

/// The bounds of gossip. A test reaches each.
package enum GossipLimits {
    /// Bytes of a node's or the cluster's name.
    package static let nameMax = 255
    /// Values of one endpoint.
    package static let valuesMax = 32
    /// Bytes of one value.
    package static let valueMax = 1024
    /// Bytes of one message. What does not fit is told in later exchanges.
    package static let messageMax = 1 << 20
    /// Arrivals that the failure detector remembers of a peer.
    package static let arrivalsMax = 1000
    /// Probes of one peer whose answers are still taken.
    package static let probesMax = 16
    /// For how long a peer's clock is remembered after it was last read.
    package static let clockAgeMax: Duration = .seconds(30)
    /// A reading that was longer on its way says too little of the peer's clock.
    package static let clockRoundTripMax: Duration = .seconds(10)
    /// How far ahead of a restart now a generation may lie: clocks may be wrong, but not absurd.
    package static let generationAheadMax: Duration = .seconds(365 * 86_400)
}

/// The constants of failure detection; intervals are gossip intervals.
package enum GossipDetection {
    /// Conviction above this phi, in thousandths: silence of 18.4 mean arrival times.
    package static let phiMax = 8000
    /// Arrivals further apart than this many intervals are not learnt.
    package static let arrivalIntervalsMax = 2
    /// A step of the clock longer than this many intervals is a pause of our own.
    package static let pauseIntervals = 5
    /// For this many intervals after a pause nobody is convicted.
    package static let graceIntervals = 5
    /// Two-way evidence: this many probes in a row unanswered, over at least `silenceIntervals`.
    package static let unansweredMax = 16
    package static let silenceIntervals = 20
    /// An answer to a probe counts as proof of life for this many intervals.
    package static let proofIntervals = 2
    /// Probes per interval: all peers up to this many, beyond it a quarter of them.
    package static let probesPerIntervalMin = 8
    package static let probeRounds = 4
}

/// What the shell must do, and what happened.
package enum GossipEffect: Equatable, Sendable {
    case send(GossipMessage, to: NodeID)
    /// The peer answered our probe: requests may go to it.
    case peerUp(NodeID)
    /// The peer was convicted, restarted, or said farewell.
    case peerDown(NodeID)
    /// The peer lives under a new generation; what it held in memory is gone.
    case peerRestarted(NodeID, generation: Int64)
    /// The peer says something else of itself than before, or speaks for the first time.
    case statesChanged(NodeID)
    /// A generation from the future was refused; said once per generation. A clock is wrong.
    case generationRefused(NodeID, generation: Int64)
    /// Others know this node under this generation, and ours does not outrank it. The shell stores
    /// a greater one and then calls `takeGeneration`. Where it comes again, a second process
    /// runs under our name.
    case outranked(by: Int64)
    /// A node of another cluster sent a SYN; it got no answer.
    case foreignCluster(NodeID, name: String)
}
