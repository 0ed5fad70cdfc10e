// swift-tools-version: 6.2
import PackageDescription

let package = Package(
    name: "SendEvents",
    platforms: [.macOS(.v15)],
    dependencies: [.package(name: "quipu", path: "../..")],
    targets: [
        .executableTarget(
            name: "SendEvents", dependencies: [.product(name: "Client", package: "quipu")])
    ])
