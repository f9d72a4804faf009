// SPDX-License-Identifier: Apache-2.0
import Foundation
import RayStore
import RayStoreNode
import Synchronization

/// A storage that a test makes fail.
@dynamicMemberLookup final class SwitchedStorage: Sendable {
    struct Switches: Sendable {
        var isFull = false
        var isStuck = false
        var stuckCount = 0
        var failingRestores = 0
        /// How long each file takes beyond what the disk needs.
        var writeTime = Duration.zero
        /// Reads wait until it is false again.
        var isHoldingRestores = false
        /// Which files were read, as they were asked for.
        var restoredFiles: [String] = []
        var failingDeletions = 0
        /// Reads fail as those of a disk with a block that cannot be read.
        var isUnreadable = false
        /// How many have failed so.
        var unreadableCount = 0
        /// Reads are refused, as by a server that does not know the credentials any more.
        var isRefusing = false
    }

    private let switches = Mutex(Switches())

    subscript<Value: Sendable>(dynamicMember path: WritableKeyPath<Switches, Value>) -> Value {
        get { switches.withLock { $0[keyPath: path] } }
        set { switches.withLock { $0[keyPath: path] = newValue } }
    }

    func over(_ storage: any ExternalStorage) -> any ExternalStorage { Storage(storage: storage, switched: self) }

    private func waitWhileStuck() async {
        switches.withLock { $0.stuckCount += 1 }
        while switches.withLock({ $0.isStuck }) { try? await Task.sleep(for: .milliseconds(5)) }
        switches.withLock { $0.stuckCount -= 1 }
    }

    private func noteRestore(of file: String) async {
        switches.withLock { $0.restoredFiles.append(file) }
        while switches.withLock({ $0.isHoldingRestores }) { try? await Task.sleep(for: .milliseconds(5)) }
    }

    private func takeFailure(_ which: WritableKeyPath<Switches, Int>) -> Bool {
        switches.withLock { switches in
            guard switches[keyPath: which] > 0 else { return false }
            if switches[keyPath: which] < .max { switches[keyPath: which] -= 1 }
            return true
        }
    }

    private struct Storage: ExternalStorage {
        let storage: any ExternalStorage
        let switched: SwitchedStorage

        var typeName: String { "switched" }
        var canSpill: Bool { true }
        var takesBytesByRange: Bool { storage.takesBytesByRange }

        func validate() async throws(RayStoreError) { try await storage.validate() }

        func spill(_ batch: SpillBatch) async throws(RayStoreError) -> SpilledFile {
            if switched.isFull { throw RayStoreError(.outOfDisk, "the test has filled this storage") }
            await switched.waitWhileStuck()
            try? await Task.sleep(for: switched.writeTime)
            return try await storage.spill(batch)
        }

        func restore(_ file: String, from offset: UInt64, into memory: SpillMemory) async throws(RayStoreError) {
            await switched.noteRestore(of: file)
            if switched.takeFailure(\.failingRestores) { throw RayStoreError(.system, "the test lets this restore fail") }
            if switched.isUnreadable {
                switched.switches.withLock { $0.unreadableCount += 1 }
                throw RayStoreError(.system, "reading \(file) at byte \(offset): Input/output error", systemErrno: EIO)
            }
            if switched.isRefusing { throw RayStoreError(.keyRefused, "reading \(file): the credentials are refused") }
            try await storage.restore(file, from: offset, into: memory)
        }

        func delete(_ file: String) async throws(RayStoreError) {
            if switched.takeFailure(\.failingDeletions) { throw RayStoreError(.system, "the test lets this deletion fail") }
            try await storage.delete(file)
        }

        func files() async throws(RayStoreError) -> [String] { try await storage.files() }

        func destroy() async throws(RayStoreError) { try await storage.destroy() }
    }
}
