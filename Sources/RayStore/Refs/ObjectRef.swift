// SPDX-License-Identifier: Apache-2.0
internal import Synchronization

/// A reference to an object whose value is a `Value`.
///
/// The object lives as long as a ref of it exists, in this process or any other. When the last one goes, every copy goes, on
/// every node; dropping a ref never blocks.
///
/// A ref may be part of a value that is put: the new object then keeps the inner one alive, and whoever gets it finds an open
/// ref. An inner ref that cannot be opened (its object is gone) fails when it is used, with the reason; the rest of the value is
/// there. Anywhere else a ref has to be shared first, see ``shared()``: encoding it outside of a put throws an `EncodingError`.
///
/// A ref ends with the session that it came from.
public final class ObjectRef<Value>: AnyObjectRef, @unchecked Sendable {}

/// The refs met while a value is coded.
final class RefCollector: Sendable {
    let handle: ClientHandle
    private let refs = Mutex<[AnyObjectRef]>([])

    init(over handle: ClientHandle) {
        self.handle = handle
    }

    func add(_ ref: AnyObjectRef) {
        refs.withLock { $0.append(ref) }
    }

    var all: [AnyObjectRef] { refs.withLock { $0 } }

    var isEmpty: Bool { refs.withLock { $0.isEmpty } }

    /// Opens what was decoded, all at the same time.
    nonisolated(nonsending) func openAll() async {
        guard !isEmpty else { return }
        await withTaskGroup(of: Void.self) { group in
            for ref in all {
                group.addTask { await ref.open() }
            }
        }
    }

    func openAllBlocking() {
        for ref in all {
            ref.openBlocking()
        }
    }

    static let key = CodingUserInfoKey(rawValue: "raystore.refs")!
}

extension ObjectRef: Codable {
    /// Works inside `get` only.
    public convenience init(from decoder: any Decoder) throws {
        let container = try decoder.singleValueContainer()
        let id = try container.decode(ObjectID.self)
        guard let collector = decoder.userInfo[RefCollector.key] as? RefCollector else {
            throw DecodingError.dataCorruptedError(
                in: container,
                debugDescription: "a ref can be decoded only by Session.get: decode a SharedRef and open it with Session.open")
        }
        self.init(id: id, handle: collector.handle, isOpen: false)
        collector.add(self)
    }

    /// Works inside `put` only.
    public func encode(to encoder: any Encoder) throws {
        guard let collector = encoder.userInfo[RefCollector.key] as? RefCollector else {
            throw EncodingError.invalidValue(
                self,
                EncodingError.Context(
                    codingPath: encoder.codingPath,
                    debugDescription: "a ref can be encoded only by Session.put: its object must be held for whoever reads the "
                        + "text. Encode what `await ref.shared()` returns"))
        }
        try checkUsable(over: collector.handle)
        collector.add(self)
        var container = encoder.singleValueContainer()
        try container.encode(id)
    }
}
