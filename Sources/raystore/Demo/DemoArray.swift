// SPDX-License-Identifier: Apache-2.0
internal import Foundation
internal import RayStore

/// The demo's array: a walk in steps of 1/64, as a sensor's readings are. The same length gives the same elements.
enum DemoArray {
    /// Writes all elements where they will lie.
    static func fill(_ span: inout OutputSpan<Float>, count: Int) {
        span.withUnsafeMutableBufferPointer { elements, initialized in
            var random: UInt32 = 0x1234_5678
            var value: Int32 = 0
            for index in 0..<count {
                random ^= random << 13
                random ^= random >> 17
                random ^= random << 5
                value &+= Int32(random & 15) &- 7
                value &= 0xFFFF
                elements.initializeElement(at: index, to: Float(value) / 64)
            }
            initialized = count
        }
    }

    /// Reads every element in place.
    static func sum(_ object: borrowing PinnedObject) throws(RayStoreError) -> Double {
        let elements = try object.elements(as: Float.self)
        return elements.withUnsafeBufferPointer { elements in
            var sum = 0.0
            for element in elements { sum += Double(element) }
            return sum
        }
    }

    static func areSame(_ a: PinnedValue, _ b: PinnedValue) -> Bool {
        a.object.withUnsafeBytes { a in
            b.object.withUnsafeBytes { b in
                a.count == b.count && (a.isEmpty || memcmp(a.baseAddress!, b.baseAddress!, a.count) == 0)
            }
        }
    }
}
