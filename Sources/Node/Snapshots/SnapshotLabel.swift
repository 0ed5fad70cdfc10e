package import Core
internal import Foundation

/// What a snapshot says of itself, as JSON in its file `SNAPSHOT`: whose it is, so that it is not
/// put in another node's place, and what it holds.
package struct SnapshotLabel: Hashable, Sendable, Codable {
    package var name: String
    package var cluster: String
    package var node: String
    /// RFC 3339.
    package var created: String
    /// Of the release that took it.
    package var version: String
    package var tables: Int
    /// Of these, on the cold disk: in a directory of their own there.
    package var coldTables: Int
    /// Log, tables, history and manifest, and tables of attributes.
    package var files: Int
    /// Of those files.
    package var bytes: UInt64
    /// Files of attributes and of parked batches.
    package var databases: [String]

    private enum CodingKeys: String, CodingKey {
        case name, cluster, node, created, version, tables, files, bytes, databases
        case coldTables = "cold_tables"
    }

    package var encoded: [UInt8] {
        var json = JSONWriter()
        json.object { write(to: &$0) }
        return json.bytes
    }

    func write(to json: inout JSONWriter) {
        json.field("name", name)
        json.field("cluster", cluster)
        json.field("node", node)
        json.field("created", created)
        json.field("version", version)
        json.field("tables", tables)
        json.field("cold_tables", coldTables)
        json.field("files", files)
        json.field("bytes", bytes)
        json.field("databases", strings: databases)
    }

    /// nil where the bytes are no label.
    package init?(_ bytes: [UInt8]) {
        do {
            self = try JSONDecoder().decode(SnapshotLabel.self, from: Data(bytes))
        } catch {
            return nil
        }
    }

    package init(name: String, cluster: String, node: String, created: WallTime, version: String) {
        self.name = name
        self.cluster = cluster
        self.node = node
        self.created = TimeText.format(created)
        self.version = version
        tables = 0
        coldTables = 0
        files = 0
        bytes = 0
        databases = []
    }
}
