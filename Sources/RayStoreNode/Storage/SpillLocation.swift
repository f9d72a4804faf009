// SPDX-License-Identifier: Apache-2.0
package import RayStore

/// Where a record lies; as text `url?offset=O&size=N&xxh3=H`, which readers that know only offset and size can read too.
package struct SpillLocation: Hashable, Sendable {
    package let file: String
    package let offset: UInt64
    package let size: UInt64
    /// XXH3-64 of the data; nil when whoever spilled it kept none.
    package let checksum: UInt64?

    package init(file: String, offset: UInt64, size: UInt64, checksum: UInt64?) {
        self.file = file
        self.offset = offset
        self.size = size
        self.checksum = checksum
    }

    package var text: String {
        let sum = checksum.map { "&xxh3=" + String($0, radix: 16) } ?? ""
        return "\(file)?offset=\(offset)&size=\(size)\(sum)"
    }

    /// - Throws: `invalidArgument` naming the text.
    package init(_ text: String) throws(RayStoreError) {
        // The last one: a file's name may hold a question mark.
        guard let mark = text.lastIndex(of: "?"), mark != text.startIndex else { throw Self.malformed(text) }
        var items: [Substring: Substring] = [:]
        for item in text[text.index(after: mark)...].split(separator: "&", omittingEmptySubsequences: false) {
            guard let equals = item.firstIndex(of: "="),
                items.updateValue(item[item.index(after: equals)...], forKey: item[..<equals]) == nil
            else { throw Self.malformed(text) }
        }
        guard let offset = items["offset"].flatMap({ UInt64($0) }), let size = items["size"].flatMap({ UInt64($0) }),
            !offset.addingReportingOverflow(size).overflow
        else { throw Self.malformed(text) }
        let checksum = items["xxh3"].map { UInt64($0, radix: 16) }
        if case .some(nil) = checksum { throw Self.malformed(text) }
        self.init(file: String(text[..<mark]), offset: offset, size: size, checksum: checksum ?? nil)
    }

    private static func malformed(_ text: String) -> RayStoreError {
        RayStoreError(.invalidArgument, "'\(text)' is not where something was spilled; that is URL?offset=O&size=N")
    }
}

extension SpillLocation {
    /// What a failure to read an object there means for it; nil when that may pass.
    func damage(to id: ObjectID, _ error: RayStoreError) -> RayStoreError? {
        let place = "\(file), \(size) bytes at byte \(offset)"
        switch error.code {
        case .corrupt:
            return RayStoreError(
                .corrupt, "\(place): what was spilled there of object \(id) is damaged: \(error.message)", object: id)
        case .fileNotFound, .objectLost:
            return RayStoreError(
                .objectLost, "\(place): the file is gone, and object \(id) with it, which was spilled there",
                systemErrno: error.systemErrno, object: id)
        default:
            return nil
        }
    }
}
