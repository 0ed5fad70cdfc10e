import Foundation
import Node
import Testing

@Suite("The API as a machine reads it") struct OpenAPITests {
    private typealias Object = [String: Any]

    private static func document() throws -> Object {
        let json = try JSONSerialization.jsonObject(with: Data(OpenAPI.document.utf8))
        return try #require(json as? Object)
    }

    /// The names of the query's parameters in lists of them, which may refer to shared ones.
    private static func names(_ lists: [Any?], _ shared: Object) -> Set<String> {
        var names: Set<String> = []
        for parameter in lists.compactMap({ $0 as? [Object] }).joined() {
            let reference = (parameter["$ref"] as? String)?.split(separator: "/").last
            let known = reference.flatMap { shared[String($0)] as? Object } ?? parameter
            if known["in"] as? String == "query", let name = known["name"] as? String {
                names.insert(name)
            }
        }
        return names
    }

    @Test("names for each resource just the parameters that it takes")
    func parameters() async throws {
        let fixture = try APIFixture()
        let root = try Self.document()
        let shared = (root["components"] as? Object)?["parameters"] as? Object ?? [:]
        let paths = try #require(root["paths"] as? [String: Object])
        var compared = 0
        for (path, operations) in paths {
            let target = path.replacing("{", with: "").replacing("}", with: "") + "?zz=1"
            for (method, operation) in operations where method != "parameters" {
                let told = Self.names(
                    [operations["parameters"], (operation as? Object)?["parameters"]], shared)
                let reply = await fixture.call(method.uppercased(), target)
                #expect(reply.status != 404 && reply.status != 405, "\(method) \(path)")
                // Who takes none may not say so.
                let parts = reply.text.components(separatedBy: "this resource takes ")
                let list = parts.count > 1 ? String(parts[1].prefix { $0 != "\"" }) : "none"
                let taken = list == "none" ? [] : Set(list.components(separatedBy: ", "))
                #expect(told == taken, "\(method) \(path)")
                compared += parts.count - 1
            }
        }
        #expect(compared >= 20)
    }

    @Test("has the page for people and itself")
    func complete() throws {
        let paths = try #require(try Self.document()["paths"] as? Object)
        #expect(paths["/"] != nil && paths["/openapi.json"] != nil)
    }
}
