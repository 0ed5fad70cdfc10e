import Core

extension StorageJob {
    /// Whether it may ask anything of the cold disk, which takes as long as a mount hangs: what
    /// asks nothing of it must not stand behind what does. What tables hold in memory tells; a
    /// question about yesterday asks nothing of last year's tables, though it names them.
    package var touchesCold: Bool {
        switch self {
        case .series(let query, let snapshot, _):
            snapshot.tables.contains { $0.isCold && $0.mayHold(query) }
        case .scan(let snapshot, let base):
            snapshot.tables.contains { $0.isCold && $0.mayHold(base.spec) }
        case .compact(let compaction, _), .abandonCompaction(let compaction):
            compaction.destination.location == .cold || compaction.inputs.contains(where: \.isCold)
        case .removeTables(let paths):
            paths.contains { FileNames.isCold($0) }
        case .verify(let verification, _):
            verification.file.isCold
        case .copyCells(let tables, _, let cursor):
            // A piece goes on in the next tables where the first has too little.
            tables.dropFirst(Int(cursor.file)).contains(where: \.isCold)
        case .writeTables, .commit, .readLog, .keepAside, .removeLogs, .indexLog, .writeHistory,
            .sweepHistory, .lookUp, .letters, .copyHistory, .copySealed, .removeHistory, .recount:
            false
        }
    }
}

extension TableHandle {
    var isCold: Bool { meta.location == .cold }

    /// False where a scan certainly reads no block.
    func mayHold(_ spec: ScanSpec) -> Bool {
        guard spec.windows.overlaps(meta.firstWindow, meta.lastWindow) else { return false }
        if let bounds = index.bounds, spec.type != RetirementMark.type,
            bounds.slot(of: spec.type) == nil
        {
            return false
        }
        return footer.partitions.contains { spec.partitions.contains($0.partition) }
    }
}
