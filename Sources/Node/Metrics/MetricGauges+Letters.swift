package import NodeCore

extension MetricGauges {
    /// What dead letters take of the disk.
    package mutating func addLetters(_ view: NodeView) {
        core += [
            (
                "quipu_dead_letter_bytes", "Bytes of dead letters in log and history.",
                Int(clamping: view.letterBytes)
            ),
            (
                "quipu_dead_letters_full",
                "1 where batches with dead letters are refused for want of room.",
                view.letterRoom.isFull ? 1 : 0
            ),
        ]
        counters.append(
            (
                "quipu_dead_letter_bytes_freed_total",
                "Bytes of history files that purged, replayed or expired letters gave back.",
                view.counters.letterBytesFreed
            ))
    }
}
