package import NodeCore
import Replication

/// What takes memory in a node: `quipu_memory_bytes{part="…"}`.
package struct MemoryPart: Sendable {
    let name: String
    let bytes: Int
    /// From where on nothing more is taken; nil where it follows from what lies on the disk.
    let max: Int?
}

extension MetricGauges {
    /// After the gauges of bodies and of the log's backlog.
    package mutating func addMemory(_ view: NodeView) {
        memory = [
            MemoryPart(name: "memtable", bytes: view.memtableBytes, max: view.memtableBytesMax),
            // The one above, once it is being written.
            MemoryPart(name: "flushing", bytes: view.flushingBytes, max: view.memtableBytesMax),
            MemoryPart(
                name: "pending", bytes: view.pendingBytes, max: ReplicationLimits.pendingBytesMax),
            MemoryPart(
                name: "scans", bytes: view.scanBytes, max: ReplicationLimits.scanBytesMax),
            MemoryPart(name: "bodies", bytes: bodiesBytes, max: RuntimeLimits.bodiesBytesMax),
            MemoryPart(name: "log", bytes: logBacklogBytes, max: LogThread.backlogMax),
            MemoryPart(name: "index", bytes: view.indexMemory.total, max: nil),
            MemoryPart(name: "tables", bytes: view.tableIndexBytes, max: nil),
            MemoryPart(name: "history", bytes: view.historyBytes, max: nil),
        ]
    }
}
