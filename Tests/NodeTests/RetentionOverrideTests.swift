import Core
import Node
import Testing

@Suite("Retention from the environment") struct RetentionOverrideTests {
    @Test("overrides each length, whether the file has the map or not")
    func overrides() throws {
        let environment = [
            "QUIPU_RETENTION_1M": "90d", "QUIPU_RETENTION_1H": "400d",
            "QUIPU_RETENTION_1D": "forever",
        ]
        let nodes = "nodes: {n1: {http: 127.0.0.1:1, peer: 127.0.0.1:2}}"
        for map in ["", "retention: {1m: 30d}", "retention: {1d: 1000d}"] {
            let configuration = try ClusterConfiguration.parse(
                "cluster_name: demo\n\(map)\n\(nodes)\n", file: "/etc/cluster.conf",
                environment: environment)
            let days = configuration.retention.map { $0.keep.map { $0 / .seconds(86_400) } }
            #expect(days == [90, 400, nil], "\(map)")
        }
        #expect(throws: ConfigurationError.self) {
            try ClusterConfiguration.parse(
                "cluster_name: demo\n\(nodes)\n", file: "/etc/cluster.conf",
                environment: ["QUIPU_RETENTION_1M": "long"])
        }
    }
}
