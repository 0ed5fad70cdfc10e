import Catalog
import Core
import Node
import NodeCore
import Ring
import Storage
import Synchronization
import Testing

/// `PUT` and `DELETE` of attributes: when a node takes them, and what is deleted.
@Suite struct HTTPAttributeGateTests {
    private static let csv = ["Content-Type": "text/csv"]

    private func write(_ fixture: APIFixture) async -> [HTTPReply] {
        [
            await fixture.call("PUT", "/v1/attributes", Self.csv, body: "key\na\n"),
            await fixture.call("DELETE", "/v1/attributes/a"),
        ]
    }

    /// A core that has just begun, as it shows itself.
    private func view() throws -> NodeView {
        let member = CoreConfiguration.Member(
            node: NodeID("n1"), http: "n1:80", peer: "n1:70", dc: "dc1", rack: "r1")
        let key = SipKey(low: 1, high: 2)
        let configuration = CoreConfiguration(
            node: NodeID("n1"), clusterName: "test", members: [member], partitions: 4,
            replication: .everywhere(1), digestKey: key)
        var start = try NodeStart(
            configuration, ring: configuration.ring(), fileSystem: MemoryFileSystem(),
            options: StorageOptions(digestKey: key, logFileMax: 1 << 20), hostID: 1, nonce: 2,
            wall: APIFixture.now.wall)
        var effects: [Effect] = []
        let core = NodeMachine(
            configuration, start: &start, seed: 3, now: APIFixture.now, into: &effects)
        return core.view(at: APIFixture.now)
    }

    @Test("Below the disk's reserve nothing is written, and again when there is room")
    func reserve() async throws {
        let attributes = ScriptedAttributes(["a": "{}"])
        let fixture = try APIFixture(attributes: attributes)
        fixture.state.setReadOnly("the disk is nearly full")
        for reply in await write(fixture) {
            #expect(reply.status == 503)
            #expect(reply.text.contains("the disk is nearly full"), "\(reply.text)")
            #expect(!reply.text.contains("outcome"))
            #expect(reply.headers.contains { $0.name == "Retry-After" })
        }
        #expect(attributes.sizes.isEmpty)
        #expect(await fixture.get("/v1/attributes/a").status == 200)
        fixture.state.setReadOnly(nil)
        for reply in await write(fixture) { #expect(reply.status == 200, "\(reply.text)") }
        #expect(attributes.sizes == [1])
    }

    @Test("While most peers' clocks differ from this node's it gives no versions")
    func clock() async throws {
        let attributes = ScriptedAttributes(["a": "{}"])
        let fixture = try APIFixture(attributes: attributes)
        var view = try view()
        view.clockDoubt = .seconds(-360)
        fixture.core.shown.withLock { $0 = view }
        for reply in await write(fixture) {
            #expect(reply.status == 503)
            #expect(reply.text.contains("clock is 360 s ahead of"), "\(reply.text)")
            #expect(!reply.text.contains("outcome"))
        }
        #expect(attributes.sizes.isEmpty)
        view.clockDoubt = nil
        fixture.core.shown.withLock { $0 = view }
        for reply in await write(fixture) { #expect(reply.status == 200, "\(reply.text)") }
    }

    @Test("A load ends where the disk becomes full under it, and says what is stored")
    func fillsUp() async throws {
        let attributes = ScriptedAttributes()
        let fixture = try APIFixture(attributes: attributes)
        let state = fixture.state
        attributes.beforePut.withLock { $0 = { state.setReadOnly("the disk is nearly full") } }
        let rows = HTTPLimits.attributeRowsAtOnce
        let body = "key\n" + String(repeating: "a\n", count: rows + 1)
        let reply = await fixture.call("PUT", "/v1/attributes", Self.csv, body: body)
        #expect(reply.status == 503)
        #expect(reply.text.contains("the first \(rows) rows are stored"), "\(reply.text)")
        #expect(attributes.sizes == [rows])
    }

    @Test("What is deleted is named with its tombstone's version; again it is no deletion")
    func deletes() async throws {
        let fixture = try APIFixture(attributes: ScriptedAttributes(["a/b": "{}"]))
        let first = await fixture.call("DELETE", "/v1/attributes/a%2Fb")
        #expect(first.status == 200)
        #expect(first.text == #"{"key":"a/b","version":9,"deleted":true}"#)
        let again = await fixture.call("DELETE", "/v1/attributes/a%2Fb")
        #expect(again.text == #"{"key":"a/b","version":9,"deleted":false}"#)
        let broken = try APIFixture(attributes: ScriptedAttributes(isBroken: true))
        #expect(await broken.call("DELETE", "/v1/attributes/a").status == 503)
        #expect(await fixture.call("POST", "/v1/attributes/a").status == 405)
    }
}
