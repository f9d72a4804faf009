// SPDX-License-Identifier: Apache-2.0
internal import RayStore
internal import RayStoreNode

enum RayStoreVersion {
    static var text: String { "raystore \(libraryVersion)" }
}
