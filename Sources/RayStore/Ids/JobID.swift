// SPDX-License-Identifier: Apache-2.0

/// A job of the cluster: what one driver session and those that joined it do together. Objects and names belong to jobs.
public struct JobID: RawRepresentable, Hashable, Sendable, Codable, CustomStringConvertible {
    public let rawValue: UInt32

    public init(rawValue: UInt32) {
        self.rawValue = rawValue
    }

    /// No job: a session of it looks, opens refs and can stop its node, but puts nothing. It works while the head is away.
    public static let none = JobID(rawValue: .max)

    public var description: String { self == .none ? "none" : String(rawValue) }
}
