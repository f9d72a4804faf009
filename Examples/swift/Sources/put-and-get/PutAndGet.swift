// SPDX-License-Identifier: Apache-2.0
// A node inside this process: an array that is read in place, and a file that is put, passed as text and got.
import RayStore
import RayStoreNode

@main struct PutAndGet {
    static func main() async throws {
        guard let path = CommandLine.arguments.dropFirst().first else {
            print("usage: put-and-get FILE")
            return
        }
        let session = try await Session.start()
        print("sum in place:", try await sum(of: session.put([0.5, 1.5, 2.5] as [Float]), in: session))

        let ref = try await session.put(RayFile(path: path))
        let text = try await ref.shared().text
        let there = try await session.open(text, as: RayFile.self)
        let file = try await session.get(there)
        print("ref:", text)
        print("file:", file.path, "read-only,", file.size.map { "\($0)" } ?? "", "named", file.name)
        await session.close()
    }

    private static func sum(of ref: ObjectRef<[Float]>, in session: Session) async throws -> Float {
        let pinned = try await session.pin(ref)
        let elements = try pinned.elements(as: Float.self)
        var sum: Float = 0
        for index in elements.indices { sum += elements[index] }
        return sum
    }
}
