package import Core
package import NodeCore

/// What `NodeRuntime` drives. `NodeMachine` is the one in production; tests put another in its
/// place.
package protocol CoreMachine: ~Copyable, SendableMetatype {
    mutating func handle(_ input: Input, at now: Now, into effects: inout [Effect])
    var nextDeadline: Instant { get }
    func view(at now: Now) -> NodeView
    /// Says farewell to the peers.
    mutating func leave(into effects: inout [Effect])
}

extension NodeMachine: CoreMachine {}
