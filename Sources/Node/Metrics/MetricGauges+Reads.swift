package import NodeCore

extension MetricGauges {
    /// How this coordinator's reads went, and what other nodes' reads asked of this voter.
    package mutating func addReads(_ counted: Counters) {
        roundTrips = [
            ("1", counted.readsInOne), ("2", counted.readsInTwo), ("more", counted.readsInMore),
        ]
        counters += [
            (
                "quipu_reads_met_total",
                "Reads whose voters differed by their newest batches, closed in the first round.",
                counted.readsMet
            ),
            (
                "quipu_reads_united_total",
                "Reads whose voters differed by their newest batches, closed in a second round.",
                counted.readsUnited
            ),
            (
                "quipu_reads_converged_total", "Reads whose voters had to compare their sets.",
                counted.readsFellBack
            ),
            (
                "quipu_reads_speculated_total", "Spare voters that were asked for a late one.",
                counted.readsSpeculated
            ),
            (
                "quipu_reads_widened_total",
                "Spare voters that were asked since one of the others lags.",
                counted.readsWidened
            ),
            (
                "quipu_batches_ensured_total", "Batches that a read made this voter apply.",
                counted.batchesEnsured
            ),
        ]
    }
}
