// swift-tools-version:6.2
// SPDX-License-Identifier: Apache-2.0
import PackageDescription

// swift run --package-path Examples/swift put-and-get FILE
let package = Package(
    name: "raystore-examples",
    dependencies: [.package(name: "raystore", path: "../..")],
    targets: [
        .executableTarget(
            name: "put-and-get",
            dependencies: [
                .product(name: "RayStore", package: "raystore"),
                .product(name: "RayStoreNode", package: "raystore"),
            ])
    ]
)
