// SPDX-License-Identifier: Apache-2.0
internal import Logging
internal import RayStore
internal import Synchronization

/// What has come to be of no use and is still noted or stored.
struct UnusedRecords: Sendable {
    var records: [ObjectID] = []
    var files: [String] = []
    var isTidying = false

    mutating func takeRecords() -> [ObjectID] {
        defer { records = [] }
        return records
    }

    mutating func takeFiles() -> [String] {
        defer { files = [] }
        return files
    }
}

// What nobody needs any more.
extension Spiller {
    /// The object has ended, or its record is of no use: the record goes, and with the last one of a file the file.
    nonisolated func forget(_ id: ObjectID) {
        let (hadRecord, emptyFile) = index.forget(id)
        if hadRecord { noteUnused([id], emptyFile) }
    }

    /// A copy has come from elsewhere: a record that could not be used is not needed.
    nonisolated func noteCopy(of id: ObjectID) {
        if index.damage(of: id) != nil { forget(id) }
    }

    nonisolated func noteUnused(_ records: [ObjectID], _ emptyFile: String?) {
        guard !records.isEmpty || emptyFile != nil else { return }
        let begins = unused.withLock { unused in
            unused.records += records
            if let emptyFile { unused.files.append(emptyFile) }
            defer { unused.isTidying = true }
            return !unused.isTidying
        }
        if begins { Task { await self.tidy() } }
    }

    /// Brings manifest and storage up to date with what is not needed, until there is nothing left to do. Files that the storage does not give up
    /// are tried again later.
    func tidy() async {
        activeTidies += 1
        defer {
            activeTidies -= 1
            noteIdle()
        }
        while true {
            let (records, files, isDone) = unused.withLock { unused in
                let taken = (unused.takeRecords(), unused.takeFiles())
                unused.isTidying = !taken.0.isEmpty || !taken.1.isEmpty
                return (taken.0, taken.1, !unused.isTidying)
            }
            keepRoom()
            if isDone { return }
            // What goes as a whole need not go one by one.
            if isStopping { continue }
            // At once: a file that takes the place of one of them takes it out again.
            ending.formUnion(files)
            let (manifest, service) = (manifest, place.service)
            try? await runBlocking(on: threads) { () throws(RayStoreError) in
                if !records.isEmpty { try manifest?.remove(records) }
                for file in files { try manifest?.noteEnding(file, of: service) }
            }
            await deleteEnding(files)
            if !ending.isEmpty { scheduleDeletion() }
        }
    }

    func deleteEnding(_ files: some Collection<String> & Sendable) async {
        await withTaskGroup(of: Void.self) { group in
            for (place, file) in files.enumerated() {
                if place >= 8 { await group.next() }
                group.addTask { await self.deleteFile(file) }
            }
        }
    }

    private func deleteFile(_ file: String) async {
        guard ending.contains(file), !isStopping, names.beginDeletion(of: file) else { return }
        defer { names.endDeletion(of: file) }
        let (manifest, service) = (manifest, place.service)
        do throws(RayStoreError) {
            try await storage.delete(file)
            ending.remove(file)
            try await runBlocking(on: threads) { () throws(RayStoreError) in try manifest?.removeFile(file, of: service) }
        } catch {
            log.debug("a spill file is not deleted yet", metadata: ["file": "\(file)", "reason": "\(error.message)"])
        }
    }

    /// Removes a file that nothing relies on before its name, which is reserved, is used again.
    func discard(_ file: String) async {
        do throws(RayStoreError) {
            try await storage.delete(file)
        } catch {
            ending.insert(file)
            scheduleDeletion()
        }
    }

    /// Tries again with what could not be deleted, ever less often.
    private func scheduleDeletion() {
        guard !isDeletionScheduled, !isStopping else { return }
        isDeletionScheduled = true
        let task = Task {
            var pause = Duration.milliseconds(250)
            while !ending.isEmpty, !Task.isCancelled {
                try? await clock.sleep(for: pause)
                pause = min(pause * 2, .seconds(30))
                await deleteEnding(Array(ending))
            }
            isDeletionScheduled = false
        }
        background.append(task)
    }

    // MARK: Start

    /// Removes what earlier lives of this node left: all their objects have ended. Nothing is spilled before it has been tried, since a file of this
    /// life may have the name of an old one.
    func sweep() async {
        defer { isSwept.fire() }
        guard let manifest else { return }
        var leftovers: Set<String> = []
        do throws(RayStoreError) {
            let place = place
            let known = try await runBlocking(on: threads) { () throws(RayStoreError) in
                try manifest.files().filter { place.has($0.url, of: $0.storage) }
            }
            leftovers = Set(known.map(\.url))
            leftovers.formUnion(try await present(besides: known))
        } catch {
            // What is not known stays until the next start; a storage that cannot be listed now may well take files in a moment.
            log.warning("what earlier lives of this node have spilled is not removed", metadata: ["reason": "\(error.message)"])
        }
        // By itself: one of the two may be refused, or unknown to the service, at every start.
        do throws(RayStoreError) {
            try await storage.removeUnfinished()
        } catch {
            log.warning(
                "what earlier lives of this node did not end writing is not removed", metadata: ["reason": "\(error.message)"])
        }
        ending.formUnion(leftovers)
        await deleteEnding(Array(leftovers))
        counters.sweptFiles += UInt64(leftovers.count - ending.intersection(leftovers).count)
        if !ending.isEmpty { scheduleDeletion() }
    }

    /// What lies in the storage; reports what should and does not.
    private func present(besides known: [SpillManifest.File]) async throws(RayStoreError) -> Set<String> {
        let present = Set(try await storage.files())
        for file in known where !file.isEnding && !present.contains(file.url) {
            counters.missingFiles += 1
            log.warning(
                "what an earlier life of this node had spilled is not there any more; nobody needs it",
                metadata: ["file": "\(file.url)", "objects": "\(file.count)", "bytes": "\(file.bytes)"])
        }
        return present
    }
}
