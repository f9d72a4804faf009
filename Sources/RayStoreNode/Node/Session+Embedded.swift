// SPDX-License-Identifier: Apache-2.0
internal import CRayStore
internal import Foundation
public import RayStore

extension Session {
    /// Starts a node inside this process and attaches to it: no daemon, no network port.
    ///
    /// Other processes of the same user can attach too, at the node's socket in the state directory. The node ends with the session; so do
    /// its objects and the copies of files that it made.
    ///
    /// - Parameters:
    ///   - capacity: bytes of shared memory for objects.
    ///   - stateDirectory: where files and the socket are; nil for a temporary one that is removed at the end.
    ///   - namespace: where names are; nil for the session's own.
    ///   - storage: where objects go when memory is short; nil for the folder `spill` of the state directory, `NoExternalStorage` for nowhere. It is
    ///     destroyed when the session ends.
    /// - Throws: `inUse` when another node has the state directory; `storeFull` or `outOfMemory` when the machine lacks memory; what
    ///   the storage refuses.
    public static func start(
        capacity: UInt64 = 1 << 30, stateDirectory: String? = nil, namespace: String? = nil,
        storage: (any ExternalStorage)? = nil
    ) async throws(RayStoreError) -> Session {
        let isTemporary = stateDirectory == nil
        let directory =
            stateDirectory
            ?? FileManager.default.temporaryDirectory.path + "/raystore-\(getpid())-\(UInt32.random(in: 0...UInt32.max))"
        let options = NodeOptions(stateDirectory: directory, capacity: capacity)
        let id = NodeID.random()
        let control = try await EmbeddedControlStore.open(path: nil, ownNode: id)
        let node: Node
        do throws(RayStoreError) {
            node = try await Node.start(
                options, id: id, advertisedHost: "127.0.0.1", controlPort: 0, key: .random(), control: control,
                transport: NoTransport(), clock: SystemClock(),
                storage: storage ?? FilesystemStorage(directories: [directory + "/spill"], owner: "node"))
        } catch {
            await control.close()
            throw error
        }
        @Sendable func end() async {
            await node.stop()
            await control.close()
            if isTemporary {
                _ = try? await runBlocking {
                    _ = ray_directory_clear(directory)
                    _ = ray_directory_remove_empty(directory)
                }
            }
        }
        do throws(RayStoreError) {
            let session = try await Session.connect(socket: node.socketPath, namespace: namespace)
            session.onClose(end)
            return session
        } catch {
            await end()
            throw error
        }
    }
}
