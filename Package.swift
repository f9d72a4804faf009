// swift-tools-version:6.2
// SPDX-License-Identifier: Apache-2.0
import Foundation
import PackageDescription

// CI sets RAYSTORE_WERROR so that a warning fails there, while a user's build of a newer compiler does not break.
let strict = ProcessInfo.processInfo.environment["RAYSTORE_WERROR"] != nil

let swiftSettings: [SwiftSetting] =
    [
        .swiftLanguageMode(.v6),
        .enableUpcomingFeature("ExistentialAny"),
        .enableUpcomingFeature("InternalImportsByDefault"),
        .enableUpcomingFeature("MemberImportVisibility"),
        .enableExperimentalFeature("Lifetimes"),
    ] + (strict ? [.treatAllWarnings(as: .error)] : [])

let package = Package(
    name: "raystore",
    platforms: [.macOS(.v15)],
    products: [
        .library(name: "RayStore", targets: ["RayStore"]),
        .library(name: "RayStoreNode", targets: ["RayStoreNode"]),
        .library(name: "RayStoreCluster", targets: ["RayStoreCluster"]),
        .executable(name: "raystore", targets: ["raystore"]),
    ],
    dependencies: [
        .package(url: "https://github.com/apple/swift-argument-parser.git", from: "1.8.0"),
        .package(url: "https://github.com/apple/swift-log.git", from: "1.16.0"),
        .package(url: "https://github.com/apple/swift-metrics.git", from: "2.13.0"),
        .package(url: "https://github.com/apple/swift-nio.git", from: "2.101.0"),
        .package(url: "https://github.com/groue/GRDB.swift.git", from: "7.10.0"),
        .package(url: "https://github.com/grpc/grpc-swift-2.git", from: "2.4.0"),
        .package(url: "https://github.com/grpc/grpc-swift-nio-transport.git", from: "2.9.0"),
    ],
    targets: [
        .target(
            name: "CRayStore",
            path: ".",
            exclude: [
                "Benchmarks", "Examples", "LICENSE", "Makefile", "README.md", "Sources", "Tests", "docs",
            ],
            sources: ["CSources"],
            publicHeadersPath: "include",
            cSettings: [.headerSearchPath("CSources"), .define("_GNU_SOURCE")],
            linkerSettings: [
                .linkedLibrary("zstd"), .linkedLibrary("lz4"), .linkedLibrary("sodium"),
                .linkedLibrary("pthread"),
            ]),
        .target(name: "RayStore", dependencies: ["CRayStore"], swiftSettings: swiftSettings),
        .target(
            name: "CRayStoreS3",
            dependencies: ["CRayStore"],
            cSettings: [.headerSearchPath("../../CSources"), .define("_GNU_SOURCE")],
            linkerSettings: [.linkedLibrary("curl")]),
        .target(
            name: "RayStoreNode",
            dependencies: [
                "CRayStore", "CRayStoreS3", "RayStore",
                .product(name: "Logging", package: "swift-log"),
                .product(name: "Metrics", package: "swift-metrics"),
                .product(name: "GRDB", package: "GRDB.swift"),
            ],
            swiftSettings: swiftSettings),
        .target(
            name: "RayStoreCluster",
            dependencies: [
                "CRayStore", "RayStore", "RayStoreNode",
                .product(name: "GRPCCore", package: "grpc-swift-2"),
                .product(name: "GRPCNIOTransportHTTP2Posix", package: "grpc-swift-nio-transport"),
                .product(name: "NIOCore", package: "swift-nio"),
                .product(name: "Logging", package: "swift-log"),
            ],
            swiftSettings: swiftSettings),
        .executableTarget(
            name: "raystore",
            dependencies: [
                "RayStore", "RayStoreNode", "RayStoreCluster",
                .product(name: "ArgumentParser", package: "swift-argument-parser"),
                .product(name: "Logging", package: "swift-log"),
            ],
            swiftSettings: swiftSettings),
        .testTarget(name: "RayStoreTests", dependencies: ["CRayStore", "RayStore"], swiftSettings: swiftSettings),
        .testTarget(
            name: "RayStoreNodeTests",
            dependencies: [
                "CRayStore", "RayStore", "RayStoreNode", "CTestSupport",
                .product(name: "GRDB", package: "GRDB.swift"),
                .product(name: "Metrics", package: "swift-metrics"), "TestSupport",
            ],
            swiftSettings: swiftSettings),
        .testTarget(
            name: "RayStoreClusterTests",
            dependencies: [
                "CRayStore", "RayStore", "RayStoreNode", "RayStoreCluster",
                .product(name: "GRPCCore", package: "grpc-swift-2"),
                .product(name: "NIOCore", package: "swift-nio"),
                .product(name: "NIOPosix", package: "swift-nio"),
            ],
            swiftSettings: swiftSettings),
        .target(
            name: "TestSupport",
            dependencies: [
                "CTestSupport", "RayStore", "RayStoreNode", .product(name: "Metrics", package: "swift-metrics"),
            ],
            path: "Tests/TestSupport",
            swiftSettings: swiftSettings),
        .target(name: "CTestSupport", dependencies: ["CRayStore"], path: "Tests/CTestSupport"),
        .executableTarget(
            name: "raystore-test-client", dependencies: ["CRayStore", "RayStore", "TestSupport"], path: "Tests/TestClient",
            swiftSettings: swiftSettings),
        .testTarget(
            name: "IntegrationTests",
            dependencies: ["CRayStore", "RayStore", "RayStoreNode", "TestSupport", "raystore", "raystore-test-client"],
            swiftSettings: swiftSettings),
        .testTarget(
            name: "CommandLineTests",
            dependencies: [
                "raystore", "RayStore", "RayStoreNode", "RayStoreCluster",
                .product(name: "ArgumentParser", package: "swift-argument-parser"), "TestSupport",
            ],
            swiftSettings: swiftSettings),
    ],
    cLanguageStandard: .gnu11
)
