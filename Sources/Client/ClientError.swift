/// Why a request brought no result.
public enum ClientError: Error, Hashable, Sendable, CustomStringConvertible {
    /// No node answered; each with what went wrong there.
    case unreachable([String])
    /// A node refused the request.
    case refused(status: Int, detail: String, node: NodeAddress)
    /// A node was asked for work of its own, and whether it is done, or was begun, is not known.
    case uncertain(detail: String, node: NodeAddress)
    /// A node answered something that this client does not understand.
    case unintelligible(detail: String, node: NodeAddress)

    /// What happened, where, and what to do, on one line.
    public var description: String {
        switch self {
        case .unreachable(let attempts):
            "no node answered: \(attempts.joined(separator: "; ")); "
                + "check that a node runs there, or name others with --node"
        case .refused(let status, let detail, let node):
            "\(node) refused (\(status)): \(detail)"
        case .uncertain(let detail, let node):
            "\(node): \(detail); it may be done there all the same, now or later, and no other "
                + "node was asked: ask again with --node \(node)"
        case .unintelligible(let detail, let node):
            "\(node) answered what this version does not understand (\(detail)); "
                + "check that it is a Quipu node of the same version"
        }
    }
}
