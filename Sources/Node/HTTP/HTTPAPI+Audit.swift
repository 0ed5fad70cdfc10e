internal import Core
internal import NodeCore
internal import Replication

/// The audit of the whole cluster, through any node.
extension HTTPAPI {
    /// 200 with the report, or 202 while disks are still being read: asked again with the `since`
    /// of that answer, the audit goes on where it is instead of reading them once more.
    func audit(_ call: HTTPCall) async throws(Problem) -> HTTPReply {
        try allow(call, ["GET", "HEAD"])
        try call.query.expect(only: ["since", "wait"])
        let now = clock()
        let (since, age, deadline) = try verificationTimes(call, now)
        let response = await core.request(.audit(age: age), deadline: deadline)
        switch response {
        case .audit(.report(let report)):
            let retired = await retiredLetters()
            return .json {
                HTTPAPI.write(report, retired: retired, by: settings.node.name, to: &$0)
            }
        case .audit(.verifying(let doneBytes, let totalBytes)):
            let state = VerificationState(doneBytes: doneBytes, totalBytes: totalBytes)
            return Self.reading(state, since: since)
        case .failed(let failure): throw failure.problem(consistency: nil)
        case .write, .status, .read, .flushed, .compacted, .verified, .parked:
            throw .unexpectedAnswer
        }
    }

    /// Dead letters that were purged or replayed; nil where that cannot be told now.
    private func retiredLetters() async -> UInt64? {
        do throws(Problem) {
            return try await letters(DeadLetterQuery(limit: 1), .quorum).retired
        } catch {
            return nil
        }
    }

    /// What is asked for again with the `since` of an earlier answer, and for how long.
    private func verificationTimes(
        _ call: HTTPCall, _ now: Now
    ) throws(Problem) -> (since: WallTime, age: Duration, deadline: Instant) {
        let limit = HTTPLimits.auditWaitMaxSeconds
        let wait = try call.query.number("wait", default: limit, in: 1...limit)
        let since = min(try call.query.time("since", now: now.wall) ?? now.wall, now.wall)
        let age = Duration.milliseconds(now.wall.milliseconds - since.milliseconds)
        guard age <= .seconds(HTTPLimits.auditAgeMaxSeconds) else {
            throw .badRequest(
                "since lies more than \(HTTPLimits.auditAgeMaxSeconds) s back; leave it out")
        }
        return (since: since, age: age, deadline: now.monotonic + .seconds(Int64(wait)))
    }

    private static func write(
        _ report: AuditReport, retired: UInt64?, by name: String, to json: inout JSONWriter
    ) {
        // Marks of retired letters are counted like events, on both sides; nobody sent them.
        let marks = retired ?? 0
        let shown = { (count: UInt64) in count - min(count, marks) }
        json.field("clean", report.isClean)
        json.field("lagging", report.lagging)
        json.field("healed", report.healed)
        json.field(
            "differences",
            array: { json in
                for difference in report.differences {
                    json.object { write(difference, to: &$0) }
                }
            })
        json.field("as_seen_by", name)
        json.field("balance", report.balance.state.rawValue)
        json.field(
            "input",
            object: { json in
                json.field("events", shown(report.balance.input.events))
                json.field("counted", shown(report.balance.input.counted))
                json.field("dead", report.balance.input.dead)
            })
        json.field("output", shown(report.balance.output))
        json.key("retired")
        if let retired { json.number(retired) } else { json.null() }
        json.field(
            "nodes",
            array: { json in
                for member in report.members { json.object { write(member, to: &$0) } }
            })
    }

    private static func write(_ difference: AuditDifference, to json: inout JSONWriter) {
        json.field("kind", difference.kind.rawValue)
        json.field("nodes", strings: difference.nodes.map(\.name))
        json.key("partition")
        if let partition = difference.partition {
            json.number(partition.index)
        } else {
            json.null()
        }
        json.field("detail", difference.detail)
    }

    /// This node's files against their own sums: as the audit, of one node alone.
    func verify(_ call: HTTPCall) async throws(Problem) -> HTTPReply {
        try allow(call, ["POST"])
        try call.query.expect(only: ["since", "wait"])
        let (since, age, deadline) = try verificationTimes(call, clock())
        switch await core.request(.verify(age: age), deadline: deadline) {
        case .verified(let report):
            guard report.state.isDone else { return Self.reading(report.state, since: since) }
            return .json { json in
                json.field("node", settings.node.name)
                json.field("clean", report.damage.isEmpty)
                json.field("tables", report.state.tables)
                json.field("verified_bytes", report.state.doneBytes)
                json.field("damage", strings: report.damage.map(\.detail))
            }
        case .failed(let failure): throw failure.problem(consistency: nil)
        case .write, .status, .read, .flushed, .compacted, .parked, .audit: throw .unexpectedAnswer
        }
    }

    private static func reading(_ state: VerificationState, since: WallTime) -> HTTPReply {
        .json(status: 202) { json in
            json.field("verifying", true)
            json.field("verified_bytes", state.doneBytes)
            json.field("total_bytes", state.totalBytes)
            json.field("since", since.milliseconds)
        }
    }

    private static func write(_ member: AuditMember, to json: inout JSONWriter) {
        json.field("name", member.node.name)
        json.field("settled", member.isSettled)
        json.field("partitions", member.partitions)
        json.field("lagging", member.lagging)
        json.field("tables", member.tables)
        json.field("verified_bytes", member.verifiedBytes)
        json.field("healed", member.healed)
        json.field("incidents", member.incidents)
    }
}
