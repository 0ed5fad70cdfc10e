internal import Core
internal import NodeCore
internal import Replication
internal import Storage

/// Snapshots of this node's files.
extension HTTPAPI {
    func snapshots(_ call: HTTPCall) async throws(Problem) -> HTTPReply {
        if call.method == "POST" { return try await takeSnapshot(call) }
        try allow(call, ["GET", "HEAD", "POST"])
        try call.query.expect(only: [])
        let labels = try await snapshotService.list()
        return .json { json in
            json.field(
                "items",
                array: { json in
                    for label in labels { json.object { label.write(to: &$0) } }
                })
            json.field("next", nil as String?)
        }
    }

    private func takeSnapshot(_ call: HTTPCall) async throws(Problem) -> HTTPReply {
        try call.query.expect(only: ["name"])
        let now = clock()
        let name = try snapshotName(call.query["name"] ?? TimeText.stamp(now.wall))
        let service = try snapshotService
        if let reason = state.readOnlyReason {
            throw RequestFailure.notReady(reason).problem(consistency: nil)
        }
        guard try await !service.list().contains(where: { $0.name == name }) else {
            throw Problem(
                409, "snapshot-exists", "There is a snapshot of this name",
                "\(name) is there already; remove it, or choose another name")
        }
        // What is in memory is in the log as well; in tables it is restored faster.
        try await flushed()
        let taken = try await service.take(
            SnapshotLabel(
                name: name, cluster: settings.clusterName, node: settings.node.name,
                created: now.wall, version: settings.version))
        return .json { taken.write(to: &$0) }
    }

    func snapshot(_ call: HTTPCall, name: String) async throws(Problem) -> HTTPReply {
        try allow(call, ["DELETE"])
        try call.query.expect(only: [])
        let name = try snapshotName(name)
        guard try await snapshotService.remove(name) else {
            throw Problem(
                404, "not-found", "No such snapshot",
                "\(settings.node.name) has no snapshot \(name); GET /v1/snapshots lists them")
        }
        return .json { $0.field("removed", name) }
    }

    private var snapshotService: SnapshotService {
        get throws(Problem) {
            guard let keeper else { throw .notInThisVersion("snapshots of a node without files") }
            return keeper
        }
    }

    private func snapshotName(_ name: String) throws(Problem) -> String {
        guard Snapshots.isName(name) else {
            throw .badRequest(
                "\"\(name)\" is no name of a snapshot: use up to "
                    + "\(StorageLimits.snapshotNameMax) letters, digits, -, _ and ., "
                    + "the first no dot")
        }
        return name
    }
}
