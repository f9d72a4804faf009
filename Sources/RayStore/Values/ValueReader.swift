// SPDX-License-Identifier: Apache-2.0
internal import FoundationEssentials

/// Makes a value of a pinned object: one for each form of value, so that getting is written once.
struct ValueReader<Value>: Sendable {
    /// - Parameter collector: takes the refs that are met in the value; they are opened afterwards.
    let read: @Sendable (SharedPin, AnyObjectRef, RefCollector) throws(RayStoreError) -> Value
}

extension Pin {
    /// What the metadata says.
    ///
    /// - Throws: the failure that the object is, if it is one; `unsupported`, `corrupt`.
    func metadata() throws(RayStoreError) -> ValueMetadata {
        let metadata: ValueMetadata
        do throws(RayStoreError) {
            metadata = try ValueMetadata(unsafe: unsafeMetadata)
        } catch {
            throw error.about(id)
        }
        if case .error(let failure) = metadata { throw failure.about(id) }
        return metadata
    }

    func wrongKind(_ metadata: ValueMetadata, wanted: String) -> RayStoreError {
        RayStoreError(.wrongKind, "\(id) is \(metadata.text), not \(wanted)", object: id)
    }

    /// The elements, checked for type, size and place.
    ///
    /// - Throws: `wrongKind` naming both types, `corrupt` when the size does not match the shape; the failure that the object is.
    func unsafeElements<Element: BitwiseCopyable>(as type: Element.Type) throws(RayStoreError) -> UnsafeBufferPointer<Element> {
        let wanted = ElementType(type)
        guard let header = ArrayHeader(unsafe: unsafeMetadata), header.describes(wanted) else {
            throw wrongKind(try metadata(), wanted: "an array of \(wanted.name)")
        }
        let data = unsafeData
        guard let count = header.count, count <= data.count, count * header.stride == data.count else {
            throw RayStoreError(
                .corrupt, "\(id) has \(data.count) bytes, which is not what its shape \(header.shape) of \(wanted.name) takes",
                object: id)
        }
        guard count > 0 else { return UnsafeBufferPointer(start: nil, count: 0) }
        guard Int(bitPattern: data.baseAddress) % MemoryLayout<Element>.alignment == 0 else {
            throw RayStoreError(
                .unsupported,
                "\(wanted.name) wants memory aligned to \(MemoryLayout<Element>.alignment) bytes; the store gives 64",
                object: id)
        }
        return data.assumingMemoryBound(to: type)
    }
}

extension ValueReader where Value: Decodable & Sendable {
    /// What was put as a Codable value. Where the type is an array of numbers, an array as well.
    static var codable: ValueReader {
        ValueReader { pin, ref, collector throws(RayStoreError) in
            let metadata = try pin.pin.metadata()
            if case .array = metadata, let type = Value.self as? any NumberArray.Type {
                return try type.copy(of: pin.pin) as! Value
            }
            guard case .json = metadata else {
                throw pin.pin.wrongKind(metadata, wanted: "JSON of \(Value.self)")
            }
            let decoder = JSONDecoder.raystore(collector)
            do {
                return try decoder.decode(Value.self, from: Data(unsafeNoCopy: pin.pin.unsafeData))
            } catch let error as RayStoreError {
                throw error.about(ref.id)
            } catch {
                throw RayStoreError(
                    .wrongKind, "\(ref.id) is \(metadata.text), which does not read as \(Value.self): \(error)", object: ref.id)
            }
        }
    }
}

extension ValueReader {
    static func array<Element: BitwiseCopyable & Sendable>() -> ValueReader where Value == [Element] {
        ValueReader { pin, _, _ throws(RayStoreError) in
            try withExtendedLifetime(pin) { () throws(RayStoreError) in Array(try pin.pin.unsafeElements(as: Element.self)) }
        }
    }

    /// An array that may have been put as JSON, by code that knew it only as Codable.
    static func arrayOrCodable<Element: BitwiseCopyable & Decodable & Sendable>() -> ValueReader where Value == [Element] {
        ValueReader { pin, ref, collector throws(RayStoreError) in
            guard case .json = try pin.pin.metadata() else {
                return try ValueReader<[Element]>.array().read(pin, ref, collector)
            }
            return try ValueReader<[Element]>.codable.read(pin, ref, collector)
        }
    }
}

extension ValueReader<Bytes> {
    static var bytes: ValueReader {
        ValueReader { pin, _, _ throws(RayStoreError) in
            let metadata = try pin.pin.metadata()
            guard case .bytes = metadata else { throw pin.pin.wrongKind(metadata, wanted: "bytes") }
            return Bytes(pin)
        }
    }
}

extension ValueReader<RayFile> {
    static var file: ValueReader {
        ValueReader { pin, ref, _ throws(RayStoreError) in
            let metadata = try pin.pin.metadata()
            guard case .file = metadata else { throw pin.pin.wrongKind(metadata, wanted: "a file") }
            return RayFile(try FetchedFile(pin: pin, ref: ref))
        }
    }
}

extension Data {
    fileprivate init(unsafeNoCopy bytes: UnsafeRawBufferPointer) {
        guard let base = bytes.baseAddress else {
            self.init()
            return
        }
        // Reading only; the pin that owns the memory outlives the decoding.
        self.init(bytesNoCopy: UnsafeMutableRawPointer(mutating: base), count: bytes.count, deallocator: .none)
    }
}
