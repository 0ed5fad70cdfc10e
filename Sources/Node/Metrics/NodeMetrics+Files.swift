extension NodeMetrics {
    /// What of the tables and history files is open.
    func openFiles(
        _ disks: [(disk: String, reading: OpenFilesReading)], _ out: inout MetricText
    ) {
        guard !disks.isEmpty else { return }
        out.gauge(
            "quipu_open_files", "Tables and history files that are open.", by: "disk",
            disks.map { ($0.disk, $0.reading.open) })
        out.gauge(
            "quipu_open_files_max", "How many of them stay open.", by: "disk",
            disks.map { ($0.disk, $0.reading.max) })
        out.counter(
            "quipu_files_reopened_total", "Times that one was opened again, to be read.",
            by: "disk", disks.map { ($0.disk, $0.reading.reopened) })
    }
}
