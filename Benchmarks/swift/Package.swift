// swift-tools-version:6.2
// SPDX-License-Identifier: Apache-2.0
import PackageDescription

// The Swift layer's figures: make bench SUITE=plasma runs them after the C core's.
let package = Package(
    name: "raystore-benchmarks",
    dependencies: [.package(name: "raystore", path: "../..")],
    targets: [
        .target(name: "CAllocationCount"),
        .executableTarget(
            name: "plasma-swift",
            dependencies: [
                "CAllocationCount",
                .product(name: "RayStore", package: "raystore"),
                .product(name: "RayStoreNode", package: "raystore"),
            ]),
    ],
    swiftLanguageModes: [.v6]
)
