// swift-tools-version: 6.2
import PackageDescription

// What reads the disk and what users and other nodes send once more, with libFuzzer's coverage and
// AddressSanitizer, and with checksums that are always zero. A package of its own, so that the main
// build stays as it is.

let settings: [SwiftSetting] = [
    .unsafeFlags(["-sanitize=fuzzer,address"]),
    .treatAllWarnings(as: .error),
    .enableUpcomingFeature("ExistentialAny"),
    .enableUpcomingFeature("MemberImportVisibility"),
    .enableUpcomingFeature("InternalImportsByDefault"),
]

let package = Package(
    name: "quipu-fuzz",
    platforms: [.macOS(.v15)],
    targets: [
        .systemLibrary(name: "CLZ4", providers: [.apt(["liblz4-dev"])]),
        .systemLibrary(name: "CZlib", providers: [.apt(["zlib1g-dev"])]),
        .target(name: "CRC32C"),
        .target(name: "Core", swiftSettings: settings),
        .target(
            name: "Wire", dependencies: ["Core", "CLZ4", "CRC32C", "CZlib"],
            swiftSettings: settings),
        .target(name: "Ingest", dependencies: ["Core", "Wire"], swiftSettings: settings),
        // Only the parser of attributes: the database has fuzzers of its own.
        .target(name: "Catalog", dependencies: ["Core"], swiftSettings: settings),
        .target(name: "Storage", dependencies: ["Core", "Wire"], swiftSettings: settings),
        .target(name: "Ring", dependencies: ["Core"], swiftSettings: settings),
        .target(name: "Gossip", dependencies: ["Core"], swiftSettings: settings),
        .target(
            name: "Replication", dependencies: ["Core", "Ring", "Storage", "Wire"],
            swiftSettings: settings),
        .target(
            name: "NodeCore",
            dependencies: ["Core", "Ring", "Gossip", "Wire", "Storage", "Replication"],
            swiftSettings: settings),
        // Of the node and the client only what reads bytes, without sockets and files.
        .target(name: "Peers", dependencies: ["Core", "Wire"], swiftSettings: settings),
        .target(name: "Spooling", dependencies: ["Core", "Wire"], swiftSettings: settings),
        .executableTarget(
            name: "fuzz",
            dependencies: [
                "Core", "Wire", "Storage", "Ingest", "Catalog", "Gossip", "Replication",
                "NodeCore", "Peers", "Spooling", "CLZ4", "CZlib",
            ],
            swiftSettings: settings,
            linkerSettings: [.unsafeFlags(["-sanitize=fuzzer,address", "-use-ld=lld"])]),
    ]
)
