// SPDX-License-Identifier: Apache-2.0
package import RayStore

/// Which texts can be names and namespaces: those that fit on a line and in a message.
package enum NameRules {
    package static let maximumBytes = 128

    /// - Throws: `invalidArgument` saying what is wrong with the text.
    package static func check(_ text: String, _ kind: Kind) throws(RayStoreError) {
        let size = text.utf8.count
        if size == 0 {
            throw RayStoreError(.invalidArgument, "a \(kind.rawValue) cannot be empty; give one of 1 to \(maximumBytes) bytes")
        }
        if size > maximumBytes {
            throw RayStoreError(
                .invalidArgument,
                "the \(kind.rawValue) '\(text.prefix(32))...' has \(size) bytes of UTF-8; at most \(maximumBytes) are allowed")
        }
        if text.unicodeScalars.contains(where: { $0.properties.generalCategory == .control }) {
            let shown = text.unicodeScalars.map { $0.properties.generalCategory == .control ? "?" : String($0) }.joined()
            throw RayStoreError(
                .invalidArgument, "the \(kind.rawValue) '\(shown)' holds control characters; use printable ones")
        }
    }

    /// The namespace of a job that asked for none.
    package static func privateNamespace(of job: JobID) -> String { "job-\(job)" }

    /// Whether only one job may have this namespace.
    package static func isPrivate(_ namespace: String) -> Bool {
        let digits = namespace.utf8.dropFirst(4)
        return namespace.hasPrefix("job-") && !digits.isEmpty && digits.allSatisfy { (0x30...0x39).contains($0) }
    }

    package enum Kind: String {
        case name
        case namespace
    }
}
