// swift-tools-version: 6.2
import PackageDescription

// The storage modules once more, with libFuzzer's coverage and AddressSanitizer, and with checksums
// that are always zero. A package of its own, so that the main build stays as it is.

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
        .target(name: "CRC32C"),
        .target(name: "Core", swiftSettings: settings),
        .target(name: "Wire", dependencies: ["Core", "CLZ4", "CRC32C"], swiftSettings: settings),
        .target(name: "Storage", dependencies: ["Core", "Wire"], swiftSettings: settings),
        .executableTarget(
            name: "fuzz", dependencies: ["Core", "Wire", "Storage"], swiftSettings: settings,
            linkerSettings: [.unsafeFlags(["-sanitize=fuzzer,address", "-use-ld=lld"])]),
    ]
)
