// swift-tools-version: 6.2
import PackageDescription

// The house (docs/architecture.md): an arrow never points up. `NodeCore` and everything below it is
// synchronous and free of clocks, sockets, files and threads; `Node`, `Client`, `Commands` are
// shells.

let strict: [SwiftSetting] = [
    .treatAllWarnings(as: .error),
    .enableUpcomingFeature("ExistentialAny"),
    .enableUpcomingFeature("MemberImportVisibility"),
    .enableUpcomingFeature("InternalImportsByDefault"),
]

// The program takes the language's runtime in where `scripts/build` found it as archives: calls of
// it go straight and not through a table, which is a seventh of the simulator's time, and it runs
// where no Swift is installed. Tests cannot: their framework brings the shared one.
let runtime: [LinkerSetting] =
    Context.environment["QUIPU_STATIC_RUNTIME"] == "1"
    ? [
        .unsafeFlags(["-static-stdlib"]),
        .linkedLibrary("CoreFoundation"),
        .linkedLibrary("_FoundationICU"),
        .linkedLibrary("_FoundationCShims"),
        .linkedLibrary("_FoundationCollections"),
    ] : []

let argumentParser = Target.Dependency.product(
    name: "ArgumentParser", package: "swift-argument-parser")
let asyncHTTPClient = Target.Dependency.product(
    name: "AsyncHTTPClient", package: "async-http-client")
let crypto = Target.Dependency.product(name: "Crypto", package: "swift-crypto")
let grdb = Target.Dependency.product(name: "GRDB", package: "GRDB.swift")
let hummingbird = Target.Dependency.product(name: "Hummingbird", package: "hummingbird")
let hummingbirdCore = Target.Dependency.product(
    name: "HummingbirdCore", package: "hummingbird")
let logging = Target.Dependency.product(name: "Logging", package: "swift-log")
let nio = Target.Dependency.product(name: "NIO", package: "swift-nio")
let nioCore = Target.Dependency.product(name: "NIOCore", package: "swift-nio")
let nioHTTP1 = Target.Dependency.product(name: "NIOHTTP1", package: "swift-nio")
let nioPosix = Target.Dependency.product(name: "NIOPosix", package: "swift-nio")
let serviceLifecycle = Target.Dependency.product(
    name: "ServiceLifecycle", package: "swift-service-lifecycle")
let yams = Target.Dependency.product(name: "Yams", package: "Yams")

func room(_ name: String, _ dependencies: [Target.Dependency]) -> Target {
    .target(name: name, dependencies: dependencies, swiftSettings: strict)
}

func tests(_ name: String, _ dependencies: [Target.Dependency]) -> Target {
    .testTarget(name: name, dependencies: dependencies, swiftSettings: strict)
}

let package = Package(
    name: "quipu",
    platforms: [.macOS(.v15)],
    products: [
        .executable(name: "quipu", targets: ["quipu"]),
        .library(name: "Client", targets: ["Client"]),
    ],
    dependencies: [
        .package(url: "https://github.com/apple/swift-nio", from: "2.101.0"),
        .package(url: "https://github.com/apple/swift-crypto", from: "4.5.0"),
        .package(url: "https://github.com/apple/swift-log", from: "1.16.0"),
        .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.0"),
        .package(url: "https://github.com/hummingbird-project/hummingbird", from: "2.28.0"),
        .package(url: "https://github.com/groue/GRDB.swift", from: "7.10.0"),
        .package(url: "https://github.com/jpsim/Yams", from: "6.2.0"),
        .package(url: "https://github.com/swift-server/swift-service-lifecycle", from: "2.13.0"),
        .package(url: "https://github.com/swift-server/async-http-client", from: "1.37.0"),
    ],
    targets: [
        .systemLibrary(name: "CLZ4", providers: [.apt(["liblz4-dev"])]),
        .systemLibrary(name: "CZlib", providers: [.apt(["zlib1g-dev"])]),
        .systemLibrary(name: "CFiles"),
        .systemLibrary(name: "CMalloc"),
        .systemLibrary(name: "CSched"),
        .target(name: "CRC32C"),
        room("Core", []),
        room("Ring", ["Core"]),
        room("Gossip", ["Core"]),
        room("Wire", ["Core", "CLZ4", "CRC32C", "CZlib"]),
        room("Ingest", ["Core", "Wire"]),
        room("Storage", ["Core", "Wire"]),
        room("Replication", ["Core", "Ring", "Storage", "Wire"]),
        room("NodeCore", ["Core", "Ring", "Gossip", "Wire", "Storage", "Replication"]),
        room("Catalog", ["Core", grdb]),
        room(
            "Node",
            [
                "Core", "Ring", "Gossip", "Ingest", "Wire", "Storage", "Replication", "NodeCore",
                "Catalog", "CFiles", "CSched", crypto, hummingbird, hummingbirdCore, logging,
                nioCore, nioHTTP1, nioPosix,
                serviceLifecycle, yams,
            ]),
        room("Client", ["Core", "Wire", asyncHTTPClient, nioCore, nioHTTP1, nioPosix]),
        room(
            "Simulator",
            ["Core", "Ring", "Gossip", "Ingest", "Wire", "Storage", "Replication", "NodeCore"]),
        room(
            "Commands",
            [
                "Core", "Client", "Ingest", "Node", "NodeCore", "Ring", "Simulator", "Storage",
                "Wire", "CMalloc", argumentParser, yams,
            ]),
        .executableTarget(
            name: "quipu", dependencies: ["Commands"], swiftSettings: strict,
            linkerSettings: runtime),
        tests("CoreTests", ["Core"]),
        tests("RingTests", ["Core", "Ring"]),
        tests("GossipTests", ["Core", "Gossip"]),
        tests("WireTests", ["Core", "Wire", "CLZ4"]),
        tests("IngestTests", ["Core", "Wire", "Ingest"]),
        tests("StorageTests", ["Core", "Wire", "Storage"]),
        tests("ReplicationTests", ["Core", "Wire", "Storage", "Replication"]),
        tests("CatalogTests", ["Core", "Catalog", grdb]),
        tests(
            "NodeTests",
            [
                "Core", "Ring", "Ingest", "Wire", "Storage", "Replication", "NodeCore", "Catalog",
                "Node", crypto, grdb, hummingbirdCore, logging, nio, nioCore, nioPosix,
            ]),
        tests(
            "ClientTests",
            [
                "Core", "Wire", "Storage", "Client", "Ingest", "Commands", nioCore, nioPosix,
                nioHTTP1,
            ]),
        tests(
            "SimulatorTests",
            ["Core", "Gossip", "NodeCore", "Replication", "Ring", "Simulator", "Storage", "Wire"]),
        tests("TidyTests", []),
    ]
)
