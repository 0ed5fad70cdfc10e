/// The rooms of the house and what may be imported where. An arrow never points up, nor sideways
/// except as listed.
enum House {
    struct Room {
        /// Modules of ours that it may import.
        let ours: Set<String>
        /// Modules of others that only this room needs.
        var theirs: Set<String> = []
        /// Synchronous and free of clocks, sockets, files, threads and chance.
        var isPure = true
    }

    static let rooms: [String: Room] = [
        "Core": Room(ours: []),
        "Ring": Room(ours: ["Core"]),
        "Gossip": Room(ours: ["Core"]),
        "Wire": Room(ours: ["Core", "CLZ4", "CZlib", "CRC32C"]),
        "Ingest": Room(ours: ["Core", "Wire"]),
        // Its jobs run on the shell's I/O threads and share files, behind a mutex.
        "Storage": Room(
            ours: ["Core", "Wire", "CLZ4", "CRC32C"], theirs: ["Synchronization"]),
        "Replication": Room(ours: ["Core", "Ring", "Storage", "Wire"]),
        "NodeCore": Room(ours: core),
        "Simulator": Room(ours: core.union(["NodeCore"])),
        "Catalog": Room(ours: ["Core"], isPure: false),
        "Node": Room(ours: core.union(["NodeCore", "Catalog", "CFiles", "CSched"]), isPure: false),
        "Client": Room(ours: ["Core", "Wire"], isPure: false),
        "Commands": Room(ours: everything, isPure: false),
        // The program takes the runtime in; whatever a test may want lies in `Commands`.
        "quipu": Room(ours: ["Commands"], isPure: false),
        "quipu-bench": Room(ours: everything, isPure: false),
    ]

    /// What `NodeCore` composes.
    private static let core: Set<String> = [
        "Core", "Ring", "Gossip", "Ingest", "Wire", "Storage", "Replication",
    ]

    static let everything: Set<String> = core.union([
        "NodeCore", "Simulator", "Catalog", "Node", "Client", "CLZ4", "CZlib", "CRC32C", "CMalloc",
        "CFiles", "CSched", "Commands",
    ])

    /// Modules of others that are as pure as ours; `Core` does without.
    static let pureLibraries: Set<String> = [
        "Collections", "BasicContainers", "BitCollections", "DequeModule", "HashTreeCollections",
        "HeapModule", "OrderedCollections",
    ]
}

/// Words that a file must not contain, with what to write instead.
struct BannedWord {
    enum Scope {
        /// Modules that are synchronous and free of clocks, sockets, files, threads and chance.
        case pureModules
        case sources
        case sourcesAndTests
    }

    let word: String
    let scope: Scope
    let instead: String

    static let all: [BannedWord] = [
        BannedWord(word: "Date(", scope: .pureModules, instead: "take `Now` as an input"),
        BannedWord(word: "ContinuousClock", scope: .pureModules, instead: "take `Now` as an input"),
        BannedWord(word: "SuspendingClock", scope: .pureModules, instead: "take `Now` as an input"),
        BannedWord(word: ".random(", scope: .pureModules, instead: "draw from a `RandomSource`"),
        BannedWord(
            word: ".shuffled(", scope: .pureModules, instead: "use `RandomSource.shuffle`"),
        BannedWord(word: "randomElement", scope: .pureModules, instead: "use `RandomSource.pick`"),
        BannedWord(
            word: "SystemRandomNumberGenerator", scope: .pureModules,
            instead: "draw from a `RandomSource`"),
        BannedWord(word: "Task {", scope: .pureModules, instead: "append an effect"),
        BannedWord(word: "Task.", scope: .pureModules, instead: "append an effect"),
        BannedWord(word: "async", scope: .pureModules, instead: "append an effect"),
        BannedWord(word: "await", scope: .pureModules, instead: "take the completion as an input"),
        BannedWord(word: "DispatchQueue", scope: .pureModules, instead: "append an effect"),
        BannedWord(word: "Thread", scope: .pureModules, instead: "append an effect"),
        BannedWord(word: "print(", scope: .pureModules, instead: "append an effect"),
        BannedWord(word: "try?", scope: .sources, instead: "catch the error and say what follows"),
        BannedWord(word: "try!", scope: .sourcesAndTests, instead: "throw, or catch the error"),
        BannedWord(word: "as!", scope: .sourcesAndTests, instead: "`as?` and an error"),
        BannedWord(word: "@testable", scope: .sourcesAndTests, instead: "`package` access"),
    ]
}
