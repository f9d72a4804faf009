// SPDX-License-Identifier: Apache-2.0

/// The element types that generic code is recognised by: where a value is known only as Codable, an array of these is still stored as
/// an array. (BitwiseCopyable cannot be asked for at run time.)
protocol NumberElement: BitwiseCopyable {}

extension Int: NumberElement {}
extension Int8: NumberElement {}
extension Int16: NumberElement {}
extension Int32: NumberElement {}
extension Int64: NumberElement {}
extension UInt: NumberElement {}
extension UInt8: NumberElement {}
extension UInt16: NumberElement {}
extension UInt32: NumberElement {}
extension UInt64: NumberElement {}
extension Float: NumberElement {}
extension Double: NumberElement {}
extension Bool: NumberElement {}

protocol NumberArray {
    static func copy(of pin: borrowing Pin) throws(RayStoreError) -> Self
    func store(over handle: ClientHandle) throws(RayStoreError) -> ObjectID
    nonisolated(nonsending) func store(over handle: ClientHandle, within limit: Duration?) async throws(RayStoreError) -> ObjectID
}

extension Array: NumberArray where Element: NumberElement {
    static func copy(of pin: borrowing Pin) throws(RayStoreError) -> [Element] {
        Array(try pin.unsafeElements(as: Element.self))
    }

    func store(over handle: ClientHandle) throws(RayStoreError) -> ObjectID {
        try handle.put(array: self, shape: [count])
    }

    nonisolated(nonsending) func store(over handle: ClientHandle, within limit: Duration?) async throws(RayStoreError) -> ObjectID
    {
        try await handle.put(array: self, shape: [count], within: limit)
    }
}
