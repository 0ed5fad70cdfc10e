internal import Core
internal import Logging
internal import Storage

extension RunningNode {
    /// The rules that hold here, written down before the node's first word; refuses those that
    /// would change what was in force.
    static func rules(
        _ configuration: ClusterConfiguration, _ files: DirectoryFileSystem, acceptsLoss: Bool,
        at now: WallTime, _ logger: Logger
    ) throws -> RuleMemory {
        let stored = try RuleMemory.load(from: files)
        let isFresh = try !files.list(".").contains(FileNames.manifest)
        let memory = try RuleMemory.resumed(
            stored, with: configuration,
            RuleMemory.Situation(
                now: now, isFresh: isFresh, isAlone: configuration.nodes.count == 1,
                acceptsLoss: acceptsLoss))
        if memory != stored { try memory.store(in: files) }
        for (index, notice) in memory.entries.enumerated() where notice.standing == .late {
            logger.warning(
                """
                rules: version \(ruleVersion(at: index).number) (\(notice.entry)) came less than \
                \(QuantityText.format(RuleLimits.leadMin)) ahead: this node takes batches under it \
                only if most of the others had it in time
                """)
        }
        return memory
    }

    static func ruleService(
        _ memory: RuleMemory, _ configuration: ClusterConfiguration, _ files: DirectoryFileSystem,
        _ state: ServingState, _ logger: Logger
    ) -> RuleService {
        let service = RuleService(
            RuleWatch(memory, members: configuration.nodes.count), logger: logger,
            store: { memory in
                Result { () throws(StorageError) in try memory.store(in: files) }
            },
            onHalt: NodeService.halt, onRefusal: { state.setRules($0) })
        service.advance(to: SystemClock.now)
        return service
    }
}
