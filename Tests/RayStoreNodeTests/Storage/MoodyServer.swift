// SPDX-License-Identifier: Apache-2.0
import Foundation
import RayStore
import RayStoreNode
import TestSupport
import Testing

/// An S3 service whose buckets each have a fault: Tests/S3/moody.py.
func withMoodyServer(_ body: (TestProcess, S3Service) async throws -> Void) async throws {
    let server = try TestProcess(
        "/usr/bin/env", ["python3", FileManager.default.currentDirectoryPath + "/Tests/S3/moody.py"])
    defer { server.end() }
    let words = try #require(await server.nextLine()?.split(separator: " ").map(String.init))
    try #require(words.count == 2 && words[0] == "READY")
    try await body(
        server,
        S3Service(
            endpoint: "http://127.0.0.1:\(words[1])", region: "us-east-1",
            credentials: S3Service.Credentials(accessKey: "a", secretKey: "b")))
}
