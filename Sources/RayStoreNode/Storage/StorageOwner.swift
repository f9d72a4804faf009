// SPDX-License-Identifier: Apache-2.0
internal import CRayStore
internal import Foundation
public import RayStore

/// The name of a node's own folder wherever it spills to: the same in each of its lives, and no other node's, wherever that is.
public enum StorageOwner {
    /// Reads the name from the state directory, where the first life of the node leaves it. Blocks on the disk.
    public static func name(in stateDirectory: String) throws(RayStoreError) -> String {
        try RayStoreError.check { ray_directory_make_private(stateDirectory).rawValue }
        let path = stateDirectory + "/storage-owner"
        if let text = try? String(contentsOfFile: path, encoding: .utf8), isName(text) { return text }
        let name = "node-" + NodeID.random().description.prefix(16)
        do {
            // Whole or not at all: half a name would be another one in the next life.
            try Data(name.utf8).write(to: URL(fileURLWithPath: path), options: .atomic)
        } catch {
            throw RayStoreError(.system, "\(path) cannot be written: \(error)")
        }
        return name
    }

    private static func isName(_ text: String) -> Bool {
        text.count == 21 && text.hasPrefix("node-") && text.dropFirst(5).allSatisfy(\.isHexDigit)
    }
}
