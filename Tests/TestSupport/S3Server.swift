// SPDX-License-Identifier: Apache-2.0
package import RayStoreNode

internal import Foundation

/// A real S3 service on loopback that checks signatures: moto's by Tests/S3/server.py, in the virtual environment that `make test` makes.
package final class S3Server: Sendable {
    package let service: S3Service
    private let process: TestProcess

    /// Where the environment is; nil when there is none.
    package static let python: String? = {
        let path =
            ProcessInfo.processInfo.environment["RAYSTORE_S3_PYTHON"] ?? FileManager.default.currentDirectoryPath
            + "/build/s3/bin/python"
        return FileManager.default.isExecutableFile(atPath: path) ? path : nil
    }()

    package convenience init() async throws {
        try await self.init(["server.py"])
    }

    /// Another one: Tests/S3/rclone.py, over a folder. It cannot be shut.
    package convenience init(ofRcloneIn folder: String) async throws {
        try await self.init(["rclone.py", folder])
    }

    private init(_ command: [String]) async throws {
        guard let python = Self.python else { throw Failure.noEnvironment }
        let script = FileManager.default.currentDirectoryPath + "/Tests/S3/" + command[0]
        process = try TestProcess(python, [script] + command.dropFirst())
        guard let words = await process.nextLine()?.split(separator: " ").map(String.init), words.count == 4, words[0] == "READY"
        else {
            process.end()
            throw Failure.didNotStart
        }
        service = S3Service(
            endpoint: "http://127.0.0.1:\(words[1])", region: "us-east-1",
            credentials: S3Service.Credentials(accessKey: words[2], secretKey: words[3]))
    }

    /// What a process needs to find it.
    package var environment: [String: String] {
        [
            "AWS_ACCESS_KEY_ID": service.credentials.accessKey, "AWS_SECRET_ACCESS_KEY": service.credentials.secretKey,
            "AWS_ENDPOINT_URL": service.endpoint, "AWS_REGION": service.region,
        ]
    }

    /// Makes it unreachable, with every connection cut; what it has stays.
    package func shut() async throws { try await tell("shut") }

    /// Makes it reachable again.
    package func open() async throws { try await tell("open") }

    /// Makes it unreachable in the middle of an upload, when so many bytes more have been sent to it. Returns when that has happened.
    package func cut(afterBytes count: Int) async throws { try await tell("cut", " \(count)") }

    private func tell(_ word: String, _ rest: String = "") async throws {
        try process.tell(word + rest)
        guard await process.nextLine() == word else { throw Failure.doesNotObey }
    }

    package func stop() {
        process.end()
    }

    private enum Failure: Error {
        case noEnvironment
        case didNotStart
        case doesNotObey
    }
}
