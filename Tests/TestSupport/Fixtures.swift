// SPDX-License-Identifier: Apache-2.0
internal import Foundation
package import RayStore
internal import RayStoreNode

/// Where tests make files, without a slash at the end: the runner gives each run a folder of its own and looks what is left in it.
package func temporaryFolder() -> String {
    FileManager.default.temporaryDirectory.standardizedFileURL.path
}

/// A directory of a test's own, removed by `remove`.
package struct Scratch {
    package let path: String

    package init() throws {
        path = temporaryFolder() + "/raystore-test-\(getpid())-\(UInt32.random(in: 0...UInt32.max))"
        try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
    }

    /// A file with bytes that are different for every size and seed.
    package func file(_ name: String, size: Int, seed: UInt64 = 1) throws -> String {
        let file = path + "/" + name
        try Data(pattern(size, seed: seed)).write(to: URL(fileURLWithPath: file))
        return file
    }

    package func remove() {
        try? FileManager.default.removeItem(atPath: path)
    }
}

/// Bytes that can be made again, fast: a megabyte without a pattern over and over, with the place stamped into every 4 KiB, so that no two
/// chunks are alike and one in the wrong place is noticed.
package func pattern(_ size: Int, seed: UInt64 = 1) -> [UInt8] {
    let blockSize = 1 << 20
    var block = [UInt64](repeating: 0, count: min(blockSize, size + 7) / 8)
    var state = seed &* 0x9e37_79b9_7f4a_7c15 &+ UInt64(size)
    for index in block.indices {
        state ^= state << 13
        state ^= state >> 7
        state ^= state << 17
        block[index] = state
    }
    return [UInt8](unsafeUninitializedCapacity: size) { bytes, count in
        let target = UnsafeMutableRawBufferPointer(bytes)
        block.withUnsafeBytes { block in
            for start in stride(from: 0, to: size, by: blockSize) {
                let length = min(blockSize, size - start)
                target[start..<start + length].copyMemory(block, length)
                for stamp in stride(from: start, to: start + length - 7, by: 4096) {
                    target.storeBytes(of: UInt64(stamp), toByteOffset: stamp, as: UInt64.self)
                }
            }
        }
        count = size
    }
}

extension Slice<UnsafeMutableRawBufferPointer> {
    fileprivate func copyMemory(_ source: UnsafeRawBufferPointer, _ length: Int) {
        UnsafeMutableRawBufferPointer(rebasing: self).copyMemory(from: UnsafeRawBufferPointer(rebasing: source.prefix(length)))
    }
}

package func read(_ path: String) throws -> [UInt8] {
    Array(try Data(contentsOf: URL(fileURLWithPath: path)))
}

/// The failure that a piece of work throws.
package func failure(_ body: () async throws -> Void) async -> RayStoreError? {
    do {
        try await body()
        return nil
    } catch {
        return error as? RayStoreError
    }
}

/// Waits until a condition holds; false when it does not within the time.
package func eventually(within limit: Duration = .seconds(60), _ condition: () async throws -> Bool) async rethrows -> Bool {
    let end = ContinuousClock.now + limit
    while ContinuousClock.now < end {
        if try await condition() { return true }
        try? await Task.sleep(for: .milliseconds(10))
    }
    return try await condition()
}

/// What a test's own set-up says when it fails.
package struct SetUpFailure: Error, CustomStringConvertible {
    package let description: String

    package init(_ description: String) {
        self.description = description
    }
}

extension Session {
    /// How many objects the whole cluster holds, and how many files.
    package func census() async throws -> (objects: Int, files: Int) {
        let text = try await report("status")
        let report = try JSONDecoder().decode(ClusterReport.self, from: Data(text.utf8))
        return (report.nodes.reduce(0) { $0 + $1.objectCount }, report.nodes.reduce(0) { $0 + $1.fileCount })
    }
}

/// The same with most of each 4 KiB alike: a codec makes a third of it.
package func packable(_ size: Int, seed: UInt64 = 1) -> [UInt8] {
    var bytes = pattern(size, seed: seed)
    bytes.withUnsafeMutableBytes { bytes in
        for start in stride(from: 1400, to: size, by: 4096) {
            memset(bytes.baseAddress! + start, Int32(start >> 12 & 0x3f), min(2600, size - start))
        }
    }
    return bytes
}
