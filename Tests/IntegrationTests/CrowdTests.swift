// SPDX-License-Identifier: Apache-2.0
import Foundation
import RayStore
import TestSupport
import Testing

/// A thousand transfers at once between two nodes, asked for by one client.
@Suite(.serialized) struct CrowdTests {
    /// 64 KiB to 1 MiB, small ones more often.
    private static let sizes = (0..<1000).map { index in (64 << 10) + (index % 25 == 0 ? 960 << 10 : (index % 7) << 14) }
    /// Far less than what moves, so that who keeps it in buffers of its own is noticed; the engine's buffers may take 512 MiB.
    private static let bound = sizes.reduce(0, +) / 2

    /// What the process has of its own, without the store's shared memory.
    private func ownMemory(_ process: TestProcess) throws -> Int {
        let status = try String(contentsOfFile: "/proc/\(process.pid)/status", encoding: .utf8)
        let line = try #require(status.split(separator: "\n").first { $0.hasPrefix("RssAnon:") })
        return try #require(Int(line.split(whereSeparator: \.isWhitespace)[1])) << 10
    }

    @Test(.timeLimit(.minutes(10))) func aThousandGetsAtOnceAllArrive() async throws {
        try await withCluster(2, memory: "320MiB") { cluster in
            let owner = try await cluster.session(0)
            let reader = try await cluster.session(1)
            var refs: [ObjectRef<Bytes>] = []
            var there: [ObjectRef<Bytes>] = []
            for (index, size) in Self.sizes.enumerated() {
                let ref = try owner.put(bytes: pattern(size, seed: UInt64(index + 1)))
                refs.append(ref)
                there.append(try await reader.open(ref.shared()))
            }
            let before = try cluster.members.map { try ownMemory($0.process) }
            let wanted = there
            let get = Task { try await reader.get(wanted, timeout: .seconds(120)) }
            let ended = Task { _ = await get.result }
            var most = [0, 0]
            let watch = Task {
                var most = [0, 0]
                while !Task.isCancelled {
                    most = zip(most, try cluster.members.map { try ownMemory($0.process) }).map(max)
                    try? await Task.sleep(for: .milliseconds(5))
                }
                return most
            }
            await ended.value
            watch.cancel()
            most = try await watch.value
            for (index, bytes) in try await get.value.enumerated() {
                let expected = pattern(Self.sizes[index], seed: UInt64(index + 1))
                let isSame = bytes.withUnsafeBytes { bytes in
                    expected.withUnsafeBytes {
                        bytes.count == $0.count && memcmp(bytes.baseAddress!, $0.baseAddress!, $0.count) == 0
                    }
                }
                #expect(isSame, "object \(index)")
            }
            for (most, before) in zip(most, before) {
                #expect(most > 0 && most - before < Self.bound, "\(most - before) bytes more than before")
            }
            withExtendedLifetime(refs) {}
            await reader.close()
            await owner.close()
        }
    }
}
