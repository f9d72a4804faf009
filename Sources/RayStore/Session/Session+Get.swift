// SPDX-License-Identifier: Apache-2.0

/// Getting waits until the object is on this node, fetching it from where it is, and gives its value.
///
/// What is here already is given without a suspension, and on the caller's actor. All throw:
/// - `timedOut`, naming what did not arrive; a failed or cancelled get leaves no pin behind;
/// - `objectLost`, `objectFreed`, `ownerDied`, `fetchTimedOut`, `nodeDied`: why there is no value;
/// - `wrongKind`, naming what was put and what was asked for;
/// - `cancelled`, `closed`;
/// - the failure that the object is, if it is one.
///
/// `timeout` nil waits as long as it takes, zero does not wait. `tuning` says how it is transferred; nobody needs to: see ``TransferTuning``. A
/// value that is not possible throws `invalidArgument`, if there is something to transfer. `progress` is called from a thread of the library, at most ten times a second
/// and only while something is transferred; it must not block.
extension Session {
    /// The decoded value.
    nonisolated(nonsending) public func get<Value: Codable & Sendable>(
        _ ref: ObjectRef<Value>, timeout: Duration? = nil, tuning: TransferTuning = .init(),
        progress: (@Sendable (TransferProgress) -> Void)? = nil
    ) async throws(RayStoreError) -> Value {
        try await get(ref, timeout, tuning, progress, .codable)
    }

    /// A copy of the array; ``pin(_:timeout:tuning:progress:)`` reads it in place.
    nonisolated(nonsending) public func get<Element: BitwiseCopyable & Sendable>(
        _ ref: ObjectRef<[Element]>, timeout: Duration? = nil, tuning: TransferTuning = .init(),
        progress: (@Sendable (TransferProgress) -> Void)? = nil
    ) async throws(RayStoreError) -> [Element] {
        try await get(ref, timeout, tuning, progress, .array())
    }

    /// A copy of the array; ``pin(_:timeout:tuning:progress:)`` reads it in place.
    nonisolated(nonsending) public func get<Element: BitwiseCopyable & Codable & Sendable>(
        _ ref: ObjectRef<[Element]>, timeout: Duration? = nil, tuning: TransferTuning = .init(),
        progress: (@Sendable (TransferProgress) -> Void)? = nil
    ) async throws(RayStoreError) -> [Element] {
        try await get(ref, timeout, tuning, progress, .arrayOrCodable())
    }

    /// The bytes, read in place: they are pinned as long as the value exists.
    nonisolated(nonsending) public func get(
        _ ref: ObjectRef<Bytes>, timeout: Duration? = nil, tuning: TransferTuning = .init(),
        progress: (@Sendable (TransferProgress) -> Void)? = nil
    ) async throws(RayStoreError) -> Bytes {
        try await get(ref, timeout, tuning, progress, .bytes)
    }

    /// The file, complete and verified on this node; it stays there as long as the value exists.
    ///
    /// - Throws: also `sourceChanged` for a file that the store only refers to, `outOfDisk` saying needed and free.
    nonisolated(nonsending) public func get(
        _ ref: ObjectRef<RayFile>, timeout: Duration? = nil, tuning: TransferTuning = .init(),
        progress: (@Sendable (TransferProgress) -> Void)? = nil
    ) async throws(RayStoreError) -> RayFile {
        try await get(ref, timeout, tuning, progress, .file)
    }
}

/// Lists: all values in the order of the refs, or the first failure. All missing objects are fetched at the same time, within one timeout.
extension Session {
    nonisolated(nonsending) public func get<Value: Codable & Sendable>(
        _ refs: [ObjectRef<Value>], timeout: Duration? = nil, tuning: TransferTuning = .init(),
        progress: (@Sendable (TransferProgress) -> Void)? = nil
    ) async throws(RayStoreError) -> [Value] {
        try await get(refs, timeout, tuning, progress, .codable)
    }

    nonisolated(nonsending) public func get<Element: BitwiseCopyable & Sendable>(
        _ refs: [ObjectRef<[Element]>], timeout: Duration? = nil, tuning: TransferTuning = .init(),
        progress: (@Sendable (TransferProgress) -> Void)? = nil
    ) async throws(RayStoreError) -> [[Element]] {
        try await get(refs, timeout, tuning, progress, .array())
    }

    nonisolated(nonsending) public func get<Element: BitwiseCopyable & Codable & Sendable>(
        _ refs: [ObjectRef<[Element]>], timeout: Duration? = nil, tuning: TransferTuning = .init(),
        progress: (@Sendable (TransferProgress) -> Void)? = nil
    ) async throws(RayStoreError) -> [[Element]] {
        try await get(refs, timeout, tuning, progress, .arrayOrCodable())
    }

    nonisolated(nonsending) public func get(
        _ refs: [ObjectRef<Bytes>], timeout: Duration? = nil, tuning: TransferTuning = .init(),
        progress: (@Sendable (TransferProgress) -> Void)? = nil
    ) async throws(RayStoreError) -> [Bytes] {
        try await get(refs, timeout, tuning, progress, .bytes)
    }

    nonisolated(nonsending) public func get(
        _ refs: [ObjectRef<RayFile>], timeout: Duration? = nil, tuning: TransferTuning = .init(),
        progress: (@Sendable (TransferProgress) -> Void)? = nil
    ) async throws(RayStoreError) -> [RayFile] {
        try await get(refs, timeout, tuning, progress, .file)
    }

    // One object that is here is the case that must be fast: no lists, no task switch.
    nonisolated(nonsending) private func get<Value>(
        _ ref: ObjectRef<Value>, _ timeout: Duration?, _ tuning: TransferTuning,
        _ progress: (@Sendable (TransferProgress) -> Void)?, _ reader: ValueReader<Value>
    ) async throws(RayStoreError) -> Value {
        try ref.checkUsable(over: handle)
        var reason: RayStoreError?
        guard let pin = try handle.pinNow(ref.id, reason: &reason) else {
            return try await get([ref], timeout, tuning, progress, reader)[0]
        }
        let collector = RefCollector(over: handle)
        let value = try reader.read(SharedPin(pin), ref, collector)
        await collector.openAll()
        return value
    }

    nonisolated(nonsending) private func get<Value>(
        _ refs: [ObjectRef<Value>], _ timeout: Duration?, _ tuning: TransferTuning,
        _ progress: (@Sendable (TransferProgress) -> Void)?, _ reader: ValueReader<Value>
    ) async throws(RayStoreError) -> [Value] {
        let pins = try await handle.pin(refs, timeout: timeout, tuning: tuning, progress: progress)
        let (values, collector) = try reader.readAll(pins, refs, over: handle)
        await collector.openAll()
        return values
    }
}

extension ValueReader {
    func readAll(
        _ pins: [SharedPin], _ refs: [ObjectRef<Value>], over handle: ClientHandle
    ) throws(RayStoreError) -> ([Value], RefCollector) {
        let collector = RefCollector(over: handle)
        var values: [Value] = []
        values.reserveCapacity(refs.count)
        for (pin, ref) in zip(pins, refs) {
            values.append(try read(pin, ref, collector))
        }
        return (values, collector)
    }
}
