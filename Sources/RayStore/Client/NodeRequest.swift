// SPDX-License-Identifier: Apache-2.0
internal import CRayStore

/// What can be asked of a node; client.h has the payloads.
package struct NodeRequest: RawRepresentable, Hashable, Sendable {
    package let rawValue: UInt16

    package init(rawValue: UInt16) {
        self.rawValue = rawValue
    }

    private init(_ constant: Int) {
        rawValue = UInt16(constant)
    }

    package static let get = Self(RAY_REQUEST_GET)
    package static let wait = Self(RAY_REQUEST_WAIT)
    package static let openRef = Self(RAY_REQUEST_OPEN_REF)
    package static let shareRef = Self(RAY_REQUEST_SHARE_REF)
    package static let contain = Self(RAY_REQUEST_CONTAIN)
    package static let free = Self(RAY_REQUEST_FREE)
    package static let putFile = Self(RAY_REQUEST_PUT_FILE)
    package static let detach = Self(RAY_REQUEST_DETACH)
    package static let remove = Self(RAY_REQUEST_REMOVE)
    package static let bindName = Self(RAY_REQUEST_BIND_NAME)
    package static let findName = Self(RAY_REQUEST_FIND_NAME)
    package static let unbindName = Self(RAY_REQUEST_UNBIND_NAME)
    package static let report = Self(RAY_REQUEST_REPORT)
    package static let stop = Self(RAY_REQUEST_STOP)
    package static let prefetch = Self(RAY_REQUEST_PREFETCH)
    package static let read = Self(RAY_REQUEST_READ)
    package static let create = Self(RAY_REQUEST_CREATE)
    package static let pin = Self(RAY_REQUEST_PIN)
    package static let look = Self(RAY_REQUEST_LOOK)
    package static let holdRef = Self(RAY_REQUEST_HOLD_REF)
}
