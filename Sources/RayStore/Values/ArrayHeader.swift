// SPDX-License-Identifier: Apache-2.0

/// The metadata of an array, read where it lies: nothing is allocated unless asked for. docs/VALUES.md has the layout.
struct ArrayHeader {
    static let maximumRank = 32

    let category: UInt8
    let stride: Int
    let rank: Int
    private let shapeAndName: UnsafeRawBufferPointer

    /// The header in this metadata, which must stay as it is while the header is used. Nil unless it is well formed.
    init?(unsafe metadata: UnsafeRawBufferPointer) {
        guard metadata.count >= 8, metadata[0] == ObjectKind.array.rawValue, metadata[1] == ValueMetadata.version else {
            return nil
        }
        category = metadata[2]
        rank = Int(metadata[3])
        stride = Int(UInt32(littleEndian: metadata.loadUnaligned(fromByteOffset: 4, as: UInt32.self)))
        guard stride > 0, rank >= 1, rank <= Self.maximumRank, metadata.count >= 8 + 8 * rank + 2 else { return nil }
        let nameLength = UInt16(littleEndian: metadata.loadUnaligned(fromByteOffset: 8 + 8 * rank, as: UInt16.self))
        guard metadata.count >= 8 + 8 * rank + 2 + Int(nameLength) else { return nil }
        shapeAndName = UnsafeRawBufferPointer(rebasing: metadata[8..<8 + 8 * rank + 2 + Int(nameLength)])
        for axis in 0..<rank where extent(axis) < 0 { return nil }
    }

    /// Slowest axis first.
    func extent(_ axis: Int) -> Int {
        Int(clamping: Int64(littleEndian: shapeAndName.loadUnaligned(fromByteOffset: 8 * axis, as: Int64.self)))
    }

    var shape: [Int] { (0..<rank).map { extent($0) } }

    /// All elements, or nil when that is more than any memory holds.
    var count: Int? {
        var product = 1
        for axis in 0..<rank {
            let (next, overflow) = product.multipliedReportingOverflow(by: extent(axis))
            guard !overflow else { return nil }
            product = next
        }
        return product
    }

    private var nameBytes: UnsafeRawBufferPointer {
        UnsafeRawBufferPointer(rebasing: shapeAndName[(8 * rank + 2)...])
    }

    var name: String { String(decoding: nameBytes, as: UTF8.self) }

    func describes(_ type: ElementType) -> Bool {
        category == type.category && stride == type.stride && nameBytes.elementsEqual(type.name.utf8)
    }

    /// - Parameter shape: nil for one axis.
    static func encode(_ type: ElementType, shape: [Int]) -> [UInt8] {
        var writer = PayloadWriter()
        writer.append(ObjectKind.array.rawValue)
        writer.append(ValueMetadata.version)
        writer.append(type.category)
        writer.append(UInt8(shape.count))
        writer.append(UInt32(type.stride))
        for extent in shape {
            writer.append(UInt64(extent))
        }
        writer.append(UInt16(type.name.utf8.count))
        writer.append(raw: type.name.utf8)
        return writer.bytes
    }
}
