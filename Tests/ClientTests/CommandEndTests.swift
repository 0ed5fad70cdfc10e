import Client
import Commands
import Core
import Foundation
import Storage
import Testing

/// What the process exits with, and what it says of it, whatever form the result has.
@Suite("The end of a command", .timeLimit(.minutes(1)))
struct CommandEndTests {
    private func end(_ arguments: [String], at node: ScriptedNode) async -> Program.Outcome {
        await Program.outcome(of: arguments + ["--node", "\(node.address)"])
    }

    @Test("a damaged file is a failure that says which and what to do")
    func inspect() async throws {
        try await withFolder { folder in
            let file = folder.appendingPathComponent("0000000001.log").path
            try Data("no log at all".utf8).write(to: URL(fileURLWithPath: file))
            for more in [[], ["--json"]] {
                let outcome = await Program.outcome(of: ["inspect", "log", file] + more)
                #expect(outcome.code == 1)
                #expect(outcome.line?.hasPrefix("inspect: \(file): damaged, ") == true)
                #expect(outcome.line?.contains("docs/operating.md") == true)
            }
        }
    }

    @Test("so is a damaged directory, and a sound one says nothing")
    func verify() async throws {
        try await withFolder { folder in
            let data = folder.appendingPathComponent("n1")
            let disk = MemoryFileSystem()
            let options = StorageOptions(digestKey: SipKey(low: 1, high: 2))
            _ = try Recovery.open(disk, options: options) { _, _ in }
            for name in FileNames.dataDirectories {
                try FileManager.default.createDirectory(
                    at: data.appendingPathComponent(name), withIntermediateDirectories: true)
            }
            for (path, bytes) in disk.contents {
                try Data(bytes).write(to: data.appendingPathComponent(path))
            }
            let config = folder.appendingPathComponent("cluster.conf")
            let text = """
                cluster_name: demo
                nodes:
                  n1: {http: 127.0.0.1:8181, peer: 127.0.0.1:7181}
                """
            try Data(text.utf8).write(to: config)
            let arguments = ["verify", "--data", data.path, "--config", config.path]
            #expect(await Program.outcome(of: arguments) == Program.Outcome(code: 0, line: nil))
            // A process found the data wrong, and said so.
            try Data("its sums are wrong".utf8)
                .write(to: data.appendingPathComponent("CONDEMNED"))
            for more in [[], ["--json"]] {
                let outcome = await Program.outcome(of: arguments + more)
                #expect(outcome.code == 1)
                #expect(outcome.line?.hasPrefix("verify: \(data.path): damaged, ") == true)
                #expect(outcome.line?.contains("docs/operating.md") == true)
            }
        }
    }

    @Test("a batch without dead letters is a failure as text and as JSON")
    func showNone() async throws {
        let node = try await ScriptedNode { _, _ in
            ScriptedNode.json(200, #"{"items": [], "next": null, "total": 0}"#)
        }
        let arguments = ["dlq", "show", "919656ae-d2df-b7e0-453e-58b47ae36180", "3"]
        for more in [[], ["--json"]] {
            let outcome = await end(arguments + more, at: node)
            #expect(outcome.code == 1, "\(more)")
            #expect(outcome.line?.contains("has no dead letter") == true, "\(more)")
        }
        try await node.close()
    }

    @Test("more dead letters than a page has come page by page, as many as asked")
    func manyLetters() async throws {
        let parking = try await ScriptedNode { _, _ in
            ScriptedNode.json(200, #"{"batches": 0, "items": []}"#)
        }
        let address = parking.address
        let node = try await ScriptedNode { request, _ in
            if request == "GET /v1/cluster" {
                return ScriptedNode.json(
                    200, #"{"nodes": [{"name": "n1", "state": "UN", "http": "\#(address)"}]}"#)
            }
            // As where letters are large: a page has fewer than there is room for.
            return request.contains("page=")
                ? ScriptedNode.json(200, #"{"items": [{"line": 4}], "next": null}"#)
                : ScriptedNode.json(
                    200, #"{"items": [{"line": 1}, {"line": 2}, {"line": 3}], "next": "t"}"#)
        }
        let outcome = await end(["dlq", "list", "--limit", "10002"], at: node)
        #expect(outcome == Program.Outcome(code: 0, line: nil))
        #expect(parking.asked == ["GET /v1/parked?limit=10000"])
        #expect(
            node.asked.dropFirst() == [
                "GET /v1/dead-letters?limit=10000", "GET /v1/dead-letters?limit=9999&page=t",
            ])
        try await node.close()
        try await parking.close()
    }

    @Test("a parked batch is discarded by its name, where nobody is there to be asked")
    func discard() async throws {
        let name = "919656ae-d2df-b7e0-453e-58b47ae36180/3"
        let keeping = try await ScriptedNode { _, _ in
            ScriptedNode.json(200, #"{"discarded": true}"#)
        }
        let address = keeping.address
        let node = try await ScriptedNode { _, _ in
            ScriptedNode.json(
                200, #"{"nodes": [{"name": "n1", "state": "UN", "http": "\#(address)"}]}"#)
        }
        let outcome = await end(["dlq", "purge", "--parked", name, "--yes"], at: node)
        #expect(outcome == Program.Outcome(code: 0, line: nil))
        #expect(keeping.asked == ["DELETE /v1/parked/\(name)"])
        #expect(node.asked == ["GET /v1/cluster"])
        try await node.close()
        try await keeping.close()
    }

    @Test("what no answer can hold is refused before anything is asked")
    func tooMany() async throws {
        let node = try await ScriptedNode { _, _ in ScriptedNode.json(200, "{}") }
        let lines = [
            ["dlq", "list", "--limit", "10001", "--json"], ["dlq", "list", "--limit", "100001"],
            ["dlq", "list", "--limit", "0"], ["types", "--page", "x"],
        ]
        for line in lines {
            let outcome = await end(line, at: node)
            #expect(outcome.code == 2, "\(line)")
        }
        #expect(node.asked.isEmpty)
        try await node.close()
    }

    @Test("types are asked for once, without a page")
    func types() async throws {
        let node = try await ScriptedNode { _, _ in
            ScriptedNode.json(200, #"{"items": [{"type": "view"}], "next": null}"#)
        }
        for more in [[], ["--json"]] {
            let outcome = await end(["types"] + more, at: node)
            #expect(outcome == Program.Outcome(code: 0, line: nil))
        }
        #expect(node.asked == ["GET /v1/types", "GET /v1/types"])
        try await node.close()
    }
}
