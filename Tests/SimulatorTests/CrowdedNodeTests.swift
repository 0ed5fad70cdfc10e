import Core
import NodeCore
import Replication
import Storage
import Testing

@Suite("A node with as much under way as it takes")
struct CrowdedNodeTests {
    @Test("refuses questions as too many, and not as if it could not answer any")
    func questions() throws {
        let node = try SoloNode(sessionsMax: 0)
        let types = ScanSpec(partitions: node.mine, output: .types)
        let requests: [ClientRequest] = [
            .read(.scan(types, top: nil), consistency: .one),
            .status(BatchID(producer: 1, sequence: 1), createdAt: nil),
        ]
        for (number, request) in requests.enumerated() {
            let id = UInt64(100 + number)
            try node.ask(request, id, within: .seconds(5))
            guard case .failed(.overloaded) = node.replies[RequestID(id)] else {
                Issue.record("\(request): \(String(describing: node.replies[RequestID(id)]))")
                continue
            }
        }
    }
}
