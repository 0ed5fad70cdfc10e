package import NodeCore
package import Storage

extension MetricGauges {
    /// What flushes and compactions wrote since the start, and how tables lie now.
    package mutating func addCompactions(_ counted: Counters, _ space: SpaceUse) {
        counters += [
            (
                "quipu_flushed_bytes_total", "Bytes of tables that flushes wrote.",
                counted.flushedBytes
            ),
            ("quipu_compactions_total", "Times that tables became one.", counted.compactions),
            (
                "quipu_compactions_failed_total", "Compactions whose table was not used.",
                counted.compactionsFailed
            ),
            (
                "quipu_rollups_total",
                "Compactions that made hours or days of what was finer.", counted.rollups
            ),
            (
                "quipu_tables_expired_total", "Tables that retention dropped.",
                counted.tablesExpired
            ),
            (
                "quipu_cold_moves_total", "Compactions that moved tables to the cold disk.",
                counted.coldMoves
            ),
            (
                "quipu_cold_moves_failed_total", "Moves that were given up; tried again later.",
                counted.coldMovesFailed
            ),
            (
                "quipu_compaction_read_bytes_total", "Bytes of tables that compactions read.",
                counted.compactionBytesRead
            ),
            (
                "quipu_compaction_written_bytes_total", "Bytes of tables that compactions wrote.",
                counted.compactionBytesWritten
            ),
        ]
        core.append(
            (
                "quipu_write_amplification_percent",
                "What flushes and compactions wrote, in percent of what flushes wrote.",
                counted.flushedBytes == 0
                    ? 100
                    : Int(
                        clamping: (counted.flushedBytes + counted.compactionBytesWritten) * 100
                            / counted.flushedBytes)
            ))
        core.append(
            (
                "quipu_space_amplification_percent",
                "What tables take, in percent of the greatest table of each bucket: at most.",
                space.amplificationPercent
            ))
    }
}
