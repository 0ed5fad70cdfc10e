package import Core

/// Decides between two processes that speak under one name.
///
/// The one that came first keeps the name as long as it is heard. A process that was killed and
/// started again is not a twin: its old connections end with it, or fall silent.
package enum PeerTwins {
    /// An open connection, of either direction, of the name in question.
    package struct Link: Hashable, Sendable {
        package var startNonce: UInt64
        package var lastHeard: Instant

        package init(startNonce: UInt64, lastHeard: Instant) {
            self.startNonce = startNonce
            self.lastHeard = lastHeard
        }
    }

    package enum Verdict: Hashable, Sendable {
        /// Admit, and end all connections of other nonces: their process is dead or will be.
        case admit
        /// The name is defended by a live process.
        case twin
    }

    package static func judge(
        startNonce: UInt64, against links: [Link], silence: Duration, at now: Instant
    ) -> Verdict {
        let defended = links.contains {
            $0.startNonce != startNonce && now - $0.lastHeard < silence
        }
        return defended ? .twin : .admit
    }
}
