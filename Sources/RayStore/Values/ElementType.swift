// SPDX-License-Identifier: Apache-2.0

/// How the elements of an array in the store are named, so that every language reads the same name.
struct ElementType: Hashable, Sendable {
    /// `i` signed, `u` unsigned, `f` IEEE floating point, `b` Bool (one byte, 0 or 1), `o` other: bytes whose meaning the name tells.
    let category: UInt8
    /// `int32`, `float64`, ... as NumPy calls them; for other types the Swift name with its module.
    let name: String
    /// From one element to the next.
    let stride: Int

    init(category: UInt8, name: String, stride: Int) {
        self.category = category
        self.name = name
        self.stride = stride
    }

    init<Element: BitwiseCopyable>(_ type: Element.Type) {
        stride = MemoryLayout<Element>.stride
        if let number = Self.number(type) {
            (category, name) = number
        } else {
            (category, name) = (UInt8(ascii: "o"), String(reflecting: type))
        }
    }

    private static func number(_ type: Any.Type) -> (UInt8, String)? {
        let (i, u, f, b) = (UInt8(ascii: "i"), UInt8(ascii: "u"), UInt8(ascii: "f"), UInt8(ascii: "b"))
        if type == Float.self { return (f, "float32") }
        if type == Double.self { return (f, "float64") }
        if type == UInt8.self { return (u, "uint8") }
        if type == Int.self { return (i, "int\(Int.bitWidth)") }
        if type == UInt.self { return (u, "uint\(UInt.bitWidth)") }
        if type == Int8.self { return (i, "int8") }
        if type == Int16.self { return (i, "int16") }
        if type == Int32.self { return (i, "int32") }
        if type == Int64.self { return (i, "int64") }
        if type == UInt16.self { return (u, "uint16") }
        if type == UInt32.self { return (u, "uint32") }
        if type == UInt64.self { return (u, "uint64") }
        if type == Bool.self { return (b, "bool") }
        #if !(os(macOS) && arch(x86_64))
            if type == Float16.self { return (f, "float16") }
        #endif
        return nil
    }
}
