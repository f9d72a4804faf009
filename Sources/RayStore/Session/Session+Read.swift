// SPDX-License-Identifier: Apache-2.0
internal import CRayStore

extension Session {
    /// Reads a part of an object's data or of a file's contents, without fetching the rest.
    ///
    /// Of an object on another node only the 4 MiB chunks that the range touches are transferred, straight into shared memory, and each is
    /// verified whole. They are not kept for others: whoever reads much of an object does better to get it. What is on this node is read where
    /// it lies; of a file a copy is made.
    ///
    /// ```swift
    /// let header = try await session.read(ref, 0..<4096)
    /// ```
    ///
    /// A guarded reader gets the whole object and reads its part there.
    ///
    /// - Parameters:
    ///   - range: positions of bytes. As with `pread` there are fewer bytes, or none, where it goes beyond the end.
    ///   - timeout: nil waits as long as it takes.
    ///   - tuning: how what has to come from another node is fetched. A read shares no transfer with others.
    ///   - progress: as in `get`; the total is the range's.
    /// - Throws: what `get` throws; `invalidArgument` for a negative position and for a tuning that is not possible; `storeFull` when this node's memory has no room for the part.
    nonisolated(nonsending) public func read(
        _ ref: AnyObjectRef, _ range: Range<Int>, timeout: Duration? = nil, tuning: TransferTuning = .init(),
        progress: (@Sendable (TransferProgress) -> Void)? = nil
    ) async throws(RayStoreError) -> Bytes {
        try ref.checkUsable(over: handle)
        try tuning.check()
        guard range.lowerBound >= 0 else {
            throw RayStoreError(.invalidArgument, "an object has no byte \(range.lowerBound)", object: ref.id)
        }
        if handle.isGuarded {
            return try await part(range, of: handle.pin([ref], timeout: timeout, tuning: tuning, progress: progress)[0], ref)
        }
        let deadline = timeout.map { ContinuousClock.now + $0 }
        // 0 bytes would be all of them to the node.
        let wanted = range.isEmpty ? range.lowerBound..<(range.lowerBound + 1) : range
        var reason: RayStoreError?
        // The node says that it is here, and it was evicted before it could be pinned: not for ever.
        for _ in 0..<100 {
            if let pin = try handle.pinNow(ref.id, reason: &reason) {
                return try await part(range, of: SharedPin(pin), ref)
            }
            let left = deadline.map { max(Duration.zero, ContinuousClock.now.duration(to: $0)) }
            let read = RangeRead(ref.id, over: handle)
            let request = try await whenAccepted { () throws(RayStoreError) in
                try read.send(wanted, timeout: left, tuning: tuning, progress: progress)
            }
            let answer = await request.answer(onCancel: .abandon, limit: left.map { $0 + .seconds(1) })
            if let error = answer.error { throw error.about(ref.id) }
            if case .fetched(let pin) = try read.take() {
                try checkIsValue(pin, ref)
                return Bytes(.pinned(pin), 0..<range.count)
            }
        }
        throw reason ?? RayStoreError(.fetchTimedOut, "object \(ref.id) comes and goes", object: ref.id)
    }

    /// The part of what is on this node.
    nonisolated(nonsending) private func part(
        _ range: Range<Int>, of pin: SharedPin, _ ref: AnyObjectRef
    ) async throws(RayStoreError) -> Bytes {
        try checkIsValue(pin, ref)
        guard pin.pin.unsafeMetadata.first == ObjectKind.file.rawValue else { return Bytes(.pinned(pin), range) }
        let block = try await runBlocking { () throws(RayStoreError) in
            // Looked at before and after: a file that the store only refers to may be written to meanwhile.
            let file = try FetchedFile(pin: pin, ref: ref)
            let inside = range.clamped(to: 0..<file.size.bytes)
            let block = try ByteBlock(capacity: inside.count) { start throws(RayStoreError) in
                var count = 0
                try RayStoreError.check(object: ref.id) {
                    ray_file_read(file.path, UInt64(inside.lowerBound), start, inside.count, &count).rawValue
                }
                return count
            }
            if !file.isCopy { _ = try FetchedFile(pin: pin, ref: ref) }
            return block
        }
        return Bytes(.owned(block), 0..<range.count)
    }

    /// - Throws: the failure that the object is, if it is one.
    private func checkIsValue(_ pin: SharedPin, _ ref: AnyObjectRef) throws(RayStoreError) {
        guard pin.pin.unsafeMetadata.first == ObjectKind.error.rawValue else { return }
        do throws(RayStoreError) {
            _ = try pin.pin.metadata()
        } catch {
            throw error.about(ref.id)
        }
    }
}
