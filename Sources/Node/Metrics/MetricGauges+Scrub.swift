package import NodeCore
package import Replication

extension MetricGauges {
    /// What was read of this node's files since the start to hold them against their own sums.
    package mutating func addScrub(_ view: NodeView) {
        counters += [
            (
                "quipu_scrub_read_bytes_total", "Bytes of files that the scrubber read again.",
                view.counters.scrubbedBytes
            ),
            (
                "quipu_scrub_files_total", "Files that the scrubber read to their end.",
                view.counters.scrubbedFiles
            ),
            (
                "quipu_verify_read_bytes_total",
                "Bytes of files that verifications and audits read again.",
                view.counters.verifiedBytes
            ),
        ]
        core.append(
            (
                "quipu_verify_progress_percent",
                "How far the verification under way is; 100 where there is none.",
                Self.percent(view.audit.verification)
            ))
    }

    /// How far a verification is; 100 where there is none.
    package static func percent(_ state: VerificationState?) -> Int {
        guard let state else { return 100 }
        return Int(min(100, Double(state.doneBytes) * 100 / Double(max(1, state.totalBytes))))
    }
}
