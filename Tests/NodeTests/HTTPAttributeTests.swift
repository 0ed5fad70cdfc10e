import Catalog
import Core
import Node
import Synchronization
import Testing

/// `PUT /v1/attributes`: what a load may take of a node.
@Suite struct HTTPAttributeTests {
    private static let csv = ["Content-Type": "text/csv"]

    @Test("A load of any number of rows is stored, in bounded transactions")
    func rows() async throws {
        let count = 300_000
        let attributes = ScriptedAttributes()
        let budget = ByteBudget(max: RuntimeLimits.bodiesBytesMax)
        let fixture = try APIFixture(attributes: attributes, bodies: budget)
        let body = "key\n" + String(repeating: "a\n", count: count)
        let reply = await fixture.call("PUT", "/v1/attributes", Self.csv, body: body)
        #expect(reply.status == 200)
        #expect(
            reply.text.hasPrefix(#"{"rows":\#(count),"written":\#(count),"unchanged":0,"#),
            "\(reply.text)")
        let rows = HTTPLimits.attributeRowsAtOnce
        #expect(attributes.sizes == Array(repeating: rows, count: count / rows))
        #expect(budget.inUse == 0)
    }

    @Test("A media type is read without the white space around it, and its parameters")
    func mediaType() async throws {
        let fixture = try APIFixture()
        for type in ["text/csv ; charset=utf-8", " Text/CSV", "application/x-ndjson\t;a=b"] {
            let body = type.contains("json") ? #"{"key":"a"}"# : "key\na\n"
            let reply = await fixture.call(
                "PUT", "/v1/attributes", ["Content-Type": type], body: body)
            #expect(reply.status == 200, "\(reply.text)")
        }
    }

    @Test("A CSV whose names are longer than any row may be is refused, not read row by row")
    func longNames() async throws {
        let attributes = ScriptedAttributes()
        let budget = ByteBudget(max: RuntimeLimits.bodiesBytesMax)
        let fixture = try APIFixture(attributes: attributes, bodies: budget)
        let body =
            "key,\(String(repeating: "n", count: 4 << 20))\n"
            + String(repeating: "a,\n", count: 100)
        let reply = await fixture.call("PUT", "/v1/attributes", Self.csv, body: body)
        #expect(reply.status == 400)
        #expect(reply.text.contains("names of the CSV's columns take \(4 << 20) bytes"))
        #expect(reply.text.utf8.count < 1000)
        #expect(attributes.sizes.isEmpty && budget.inUse == 0)
    }

    @Test("Rows that are many times their text are stored in slices that take bounded memory")
    func wideRows() async throws {
        let names = (0..<1000).map { "a column with a long name, number \($0)" }
        let body =
            "key," + names.map { "\"\($0)\"" }.joined(separator: ",") + "\n"
            + String(repeating: "k" + String(repeating: ",", count: 1000) + "\n", count: 400)
        let attributes = ScriptedAttributes()
        let fixture = try APIFixture(attributes: attributes)
        let reply = await fixture.call("PUT", "/v1/attributes", Self.csv, body: body)
        #expect(reply.text.hasPrefix(#"{"rows":400,"written":400,"#), "\(reply.text)")
        // Its 1 KB is some 43 KB of JSON.
        #expect(attributes.sizes.count > 3)
        #expect(attributes.sizes.allSatisfy { $0 < 200 })
        #expect(attributes.sizes.reduce(0, +) == 400)
    }

    @Test("Entries count against the budget of all bodies, as the body does while it is stored")
    func budget() async throws {
        let body = "key\n" + String(repeating: "a\n", count: 100)
        let entry = AttributeEntry(key: [0x61], json: Array("{}".utf8)).footprint
        let needed = body.utf8.count + 100 * entry
        for (max, status) in [(needed, 200), (needed - 1, 429), (body.utf8.count - 1, 429)] {
            let budget = ByteBudget(max: max)
            let attributes = ScriptedAttributes()
            let fixture = try APIFixture(attributes: attributes, bodies: budget)
            let reply = await fixture.call("PUT", "/v1/attributes", Self.csv, body: body)
            #expect(reply.status == status, "\(max): \(reply.text)")
            #expect(!reply.text.contains("outcome"))
            #expect(attributes.sizes == (status == 200 ? [100] : []))
            #expect(budget.inUse == 0)
        }
    }

    @Test("A load under way waits where the queue of folds is full, one that begins does not")
    func fullQueue() async throws {
        let attributes = ScriptedAttributes()
        let fixture = try APIFixture(attributes: attributes, foldsMax: 1)
        let folds = fixture.folds
        attributes.beforePut.withLock { before in
            before = {
                let isHeld = Monitor(false)
                let pause = Monitor(())
                // The one thread is busy until the load has found the queue full.
                Task {
                    _ = await folds.run(bytes: 0) {
                        isHeld.broadcast { $0 = true }
                        while folds.meters[0].reading.refused == 0 {
                            let _: Bool? = pause.wait(
                                until: SystemClock.monotonic + .milliseconds(1)
                            ) { _ in nil }
                        }
                    }
                }
                while !isHeld.withLock({ $0 }) { await Task.yield() }
                Task { _ = await folds.run(bytes: 0) {} }
                while folds.waiting == 0 { await Task.yield() }
            }
        }
        let rows = HTTPLimits.attributeRowsAtOnce
        let body = "key\n" + String(repeating: "a\n", count: rows + 1)
        let reply = await fixture.call("PUT", "/v1/attributes", Self.csv, body: body)
        #expect(reply.status == 200, "\(reply.text)")
        #expect(attributes.sizes == [rows, 1])
        #expect(folds.meters[0].reading.refused > 0)

        let full = try APIFixture(attributes: attributes, foldsMax: 0)
        let refused = await full.call("PUT", "/v1/attributes", Self.csv, body: body)
        #expect(refused.status == 429)
        #expect(refused.headers.contains { $0.name == "Retry-After" })
        #expect(attributes.sizes.count == 2)
    }

    @Test("A load that breaks off says how many of its rows are stored")
    func brokenOff() async throws {
        let attributes = ScriptedAttributes(putsMax: 1)
        let fixture = try APIFixture(attributes: attributes)
        let rows = HTTPLimits.attributeRowsAtOnce
        let reply = await fixture.call(
            "PUT", "/v1/attributes", Self.csv,
            body: "key\n" + String(repeating: "a\n", count: rows + 1))
        #expect(reply.status == 503)
        #expect(
            reply.text.contains("the first \(rows) rows are stored, send all of them again"),
            "\(reply.text)")
        let whole = try APIFixture(attributes: ScriptedAttributes(putsMax: 0))
        let nothing = await whole.call("PUT", "/v1/attributes", Self.csv, body: "key\na\n")
        #expect(nothing.status == 503 && !nothing.text.contains("are stored"))
    }
}
