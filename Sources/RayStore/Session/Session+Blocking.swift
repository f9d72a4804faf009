// SPDX-License-Identifier: Apache-2.0

/// The same as `get` and `pin` for code without concurrency: they block the thread.
extension Session {
    @available(*, noasync, message: "use get")
    public func getBlocking<Value: Codable & Sendable>(
        _ ref: ObjectRef<Value>, timeout: Duration? = nil, tuning: TransferTuning = .init()
    ) throws(RayStoreError) -> Value {
        try getBlocking([ref], timeout, tuning, .codable)[0]
    }

    @available(*, noasync, message: "use get")
    public func getBlocking<Element: BitwiseCopyable & Sendable>(
        _ ref: ObjectRef<[Element]>, timeout: Duration? = nil, tuning: TransferTuning = .init()
    ) throws(RayStoreError) -> [Element] {
        try getBlocking([ref], timeout, tuning, .array())[0]
    }

    @available(*, noasync, message: "use get")
    public func getBlocking<Element: BitwiseCopyable & Codable & Sendable>(
        _ ref: ObjectRef<[Element]>, timeout: Duration? = nil, tuning: TransferTuning = .init()
    ) throws(RayStoreError) -> [Element] {
        try getBlocking([ref], timeout, tuning, .arrayOrCodable())[0]
    }

    @available(*, noasync, message: "use get")
    public func getBlocking(
        _ ref: ObjectRef<Bytes>, timeout: Duration? = nil, tuning: TransferTuning = .init()
    ) throws(RayStoreError) -> Bytes {
        try getBlocking([ref], timeout, tuning, .bytes)[0]
    }

    @available(*, noasync, message: "use get")
    public func getBlocking(
        _ ref: ObjectRef<RayFile>, timeout: Duration? = nil, tuning: TransferTuning = .init()
    ) throws(RayStoreError) -> RayFile {
        try getBlocking([ref], timeout, tuning, .file)[0]
    }

    @available(*, noasync, message: "use get")
    public func getBlocking<Value: Codable & Sendable>(
        _ refs: [ObjectRef<Value>], timeout: Duration? = nil, tuning: TransferTuning = .init()
    ) throws(RayStoreError) -> [Value] {
        try getBlocking(refs, timeout, tuning, .codable)
    }

    @available(*, noasync, message: "use get")
    public func getBlocking<Element: BitwiseCopyable & Sendable>(
        _ refs: [ObjectRef<[Element]>], timeout: Duration? = nil, tuning: TransferTuning = .init()
    ) throws(RayStoreError) -> [[Element]] {
        try getBlocking(refs, timeout, tuning, .array())
    }

    @available(*, noasync, message: "use get")
    public func getBlocking<Element: BitwiseCopyable & Codable & Sendable>(
        _ refs: [ObjectRef<[Element]>], timeout: Duration? = nil, tuning: TransferTuning = .init()
    ) throws(RayStoreError) -> [[Element]] {
        try getBlocking(refs, timeout, tuning, .arrayOrCodable())
    }

    @available(*, noasync, message: "use get")
    public func getBlocking(
        _ refs: [ObjectRef<Bytes>], timeout: Duration? = nil, tuning: TransferTuning = .init()
    ) throws(RayStoreError) -> [Bytes] {
        try getBlocking(refs, timeout, tuning, .bytes)
    }

    @available(*, noasync, message: "use get")
    public func getBlocking(
        _ refs: [ObjectRef<RayFile>], timeout: Duration? = nil, tuning: TransferTuning = .init()
    ) throws(RayStoreError) -> [RayFile] {
        try getBlocking(refs, timeout, tuning, .file)
    }

    private func getBlocking<Value>(
        _ refs: [ObjectRef<Value>], _ timeout: Duration?, _ tuning: TransferTuning, _ reader: ValueReader<Value>
    ) throws(RayStoreError) -> [Value] {
        let pins = try handle.pinBlocking(refs, timeout: timeout, tuning: tuning, progress: nil)
        let (values, collector) = try reader.readAll(pins, refs, over: handle)
        collector.openAllBlocking()
        return values
    }
}
