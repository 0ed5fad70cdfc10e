import Core
import Storage

extension RecoveredLog {
    /// In what another reading of the same log, which was replayed as well, came to something else;
    /// empty where both came to the same. Indexes of log files must change nothing.
    package borrowing func differences(from other: borrowing RecoveredLog) -> [String] {
        var found = index.differences(from: other.index)
        if peers != other.peers { found.append("peers") }
        if runs != other.runs { found.append("runs") }
        if register != other.register { found.append("absence") }
        if marks != other.marks { found.append("marks") }
        if lastMark != other.lastMark { found.append("last mark") }
        if letters != other.letters { found.append("letters") }
        if malformed != other.malformed { found.append("malformed records") }
        if unknownKind != other.unknownKind { found.append("unknown kind") }
        if memtable.bytes != other.memtable.bytes { found.append("bytes of the memtable") }
        for partition in index.partitions
        where memtable.stateDigest(of: partition) != other.memtable.stateDigest(of: partition) {
            found.append("cells of \(partition)")
        }
        return found
    }
}

extension BatchIndex {
    /// The same of two indexes: of each entry all that it says, places in the log too.
    package func differences(from other: BatchIndex) -> [String] {
        var found: [String] = []
        if ids != other.ids { found.append("ids") }
        for id in ids where self[id] != other[id] { found.append("\(id)") }
        if unsettledIDs != other.unsettledIDs { found.append("what is settled") }
        if heldSegments != other.heldSegments { found.append("segments") }
        if digests != other.digests { found.append("digests") }
        if homeTotals != other.homeTotals { found.append("totals of homes") }
        if base != other.base { found.append("base") }
        if logStart != other.logStart { found.append("first file") }
        for partition in partitions
        where recent(partition, since: .zero) != other.recent(partition, since: .zero) {
            found.append("newest batches of \(partition)")
        }
        return found
    }

    fileprivate var partitions: [PartitionID] { homeTotals.indices.map { PartitionID($0) } }
}
