// SPDX-License-Identifier: Apache-2.0
import Foundation

/// Where tests make files, without a slash at the end: the runner gives each run a folder of its own and looks what is left in it.
func temporaryFolder() -> String {
    FileManager.default.temporaryDirectory.standardizedFileURL.path
}
