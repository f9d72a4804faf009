// SPDX-License-Identifier: Apache-2.0
internal import CRayStore

/// What went wrong, in a form that a program can act on and a person can read.
///
/// The code says which kind of failure it is, the message names the thing and what to do. Codes are an open set: a later
/// library may throw codes that this one has no name for, so a `switch` over codes needs a `default`.
public struct RayStoreError: Error, Sendable {
    public let code: Code
    public let message: String
    /// The `errno` that the operating system gave, where there was one.
    public let systemErrno: Int32?
    /// The object that the failure is about, where it is about one.
    public let object: ObjectID?

    public init(_ code: Code, _ message: String, systemErrno: Int32? = nil, object: ObjectID? = nil) {
        self.code = code
        self.message = message.isEmpty ? code.text : message
        self.systemErrno = systemErrno
        self.object = object
    }

    /// The kind of a failure. Pattern matching works: `catch let error where error.code == .objectLost`.
    public struct Code: RawRepresentable, Hashable, Sendable, Codable {
        public let rawValue: Int32

        public init(rawValue: Int32) {
            self.rawValue = rawValue
        }

        /// The constant's name in the C interface, such as `STORE_FULL`.
        public var name: String { String(cString: ray_status_name(ray_status(rawValue: rawValue))) }

        /// What the code means, in words.
        public var text: String { String(cString: ray_status_text(ray_status(rawValue: rawValue))) }
    }
}

extension RayStoreError: CustomStringConvertible {
    public var description: String { message }
}

extension RayStoreError: Equatable {
    /// Two errors are equal when they say the same of the same object.
    public static func == (a: Self, b: Self) -> Bool {
        a.code == b.code && a.message == b.message && a.object == b.object
    }
}

extension RayStoreError.Code {
    private init(_ status: ray_status) {
        self.init(rawValue: status.rawValue)
    }

    public static let invalidArgument = Self(.invalidArgument)
    public static let outOfMemory = Self(.outOfMemory)
    public static let system = Self(.system)
    public static let unsupported = Self(.unsupported)
    public static let timedOut = Self(.timedOut)
    public static let cancelled = Self(.cancelled)
    public static let closed = Self(.closed)
    public static let again = Self(.again)
    public static let forked = Self(.forked)
    public static let notFound = Self(.notFound)
    public static let exists = Self(.exists)
    public static let notSealed = Self(.notSealed)
    public static let notLocal = Self(.notLocal)
    public static let inUse = Self(.inUse)
    public static let objectLost = Self(.objectLost)
    public static let objectFreed = Self(.objectFreed)
    public static let ownerDied = Self(.ownerDied)
    public static let retriesExhausted = Self(.retriesExhausted)
    public static let fetchTimedOut = Self(.fetchTimedOut)
    public static let noHolder = Self(.noHolder)
    public static let storeFull = Self(.storeFull)
    public static let outOfDisk = Self(.outOfDisk)
    public static let tableFull = Self(.tableFull)
    public static let tooManyClients = Self(.tooManyClients)
    public static let tooLarge = Self(.tooLarge)
    public static let corrupt = Self(.corrupt)
    public static let sourceChanged = Self(.sourceChanged)
    public static let poisoned = Self(.poisoned)
    public static let layoutMismatch = Self(.layoutMismatch)
    public static let keyRefused = Self(.keyRefused)
    public static let versionMismatch = Self(.versionMismatch)
    public static let peerClosed = Self(.peerClosed)
    public static let protocolError = Self(.protocolError)
    public static let unreachable = Self(.unreachable)
    public static let nodeDied = Self(.nodeDied)
    public static let notRunning = Self(.notRunning)
    public static let taskFailed = Self(.taskFailed)
    public static let actorDied = Self(.actorDied)
    public static let nameInUse = Self(.nameInUse)
    public static let nameUnknown = Self(.nameUnknown)
    public static let fileNotFound = Self(.fileNotFound)
    public static let fileNotReadable = Self(.fileNotReadable)
    public static let notAFile = Self(.notAFile)
    public static let badRef = Self(.badRef)
    public static let addressInUse = Self(.addressInUse)
    public static let keyUnusable = Self(.keyUnusable)
    public static let wrongKind = Self(.wrongKind)
}

extension RayStoreError {
    /// The failure that a C call has just answered on this thread.
    package init(status: Int32, object: ObjectID? = nil) {
        let number = ray_last_error_errno()
        self.init(
            Code(rawValue: status), String(cString: ray_last_error_message()),
            systemErrno: number == 0 ? nil : number, object: object)
    }

    /// Runs a C call and throws what it answers, unless that is success.
    @inline(__always)
    package static func check(object: ObjectID? = nil, _ call: () -> Int32) throws(RayStoreError) {
        let status = call()
        if status != 0 {
            throw RayStoreError(status: status, object: object)
        }
    }
}
