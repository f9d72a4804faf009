// SPDX-License-Identifier: Apache-2.0
internal import Foundation

/// Users of this machine.
enum SystemUser {
    /// The number of a user given by number or by name.
    static func number(of text: String) throws -> UInt32 {
        if let number = UInt32(text), number != .max { return number }
        guard let user = getpwnam(text) else {
            throw Failure("this machine has no user '\(text)': give a name or a number that 'getent passwd' lists")
        }
        return user.pointee.pw_uid
    }
}
