import Core
import NodeCore
import Replication

/// What nodes report of themselves counts as coverage.
extension VirtualCluster {
    func note(_ report: Report, of node: VirtualNode) throws(Violation) {
        switch report {
        case .inDoubt: checks.hit(.inDoubt)
        case .caughtUp: checks.hit(.caughtUp)
        case .flushed: checks.hit(.flushed)
        case .drivenOn: checks.hit(.drivenOn)
        case .malformed(let peer, let what):
            throw Violation("S13", "\(node.id) cannot read \(peer): \(what)")
        case .closed(let below, let agreed):
            node.closed = max(node.closed, below)
            try checkClosed(below, node)
            try checkAgreed(agreed, node, "closes")
        case .sealed(let below, let agreed):
            node.sealed = max(node.sealed, below)
            try checkSealed(below, node)
            try checkAgreed(agreed, node, "seals")
        case .dropped(let id, let isBound):
            checks.hit(.dropped)
            guard !isBound else {
                throw Violation(
                    "S15", "\(node.id) knows \(id) as bound, its home closed without it")
            }
        case .recovering: checks.hit(.recovering)
        case .peerDown: checks.hit(.peerDown)
        case .peerUp, .voting, .waiting, .conflict:
            break
        case .flushFailed(let what):
            throw Violation("S4", "\(node.id) cannot flush to a healthy disk: \(what)")
        case .generationRefused(let peer, let generation):
            throw Violation("S12", "\(node.id) refuses \(peer)'s generation \(generation)")
        }
    }
}
