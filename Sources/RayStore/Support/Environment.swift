// SPDX-License-Identifier: Apache-2.0
#if canImport(Musl)
    internal import Musl
#else
    internal import Glibc
#endif

/// The process's current directory; nil when it was removed.
func currentDirectory() -> String? {
    guard let path = getcwd(nil, 0) else { return nil }
    defer { free(path) }
    return String(cString: path)
}

/// An environment variable that is set and not empty.
func environment(_ name: String) -> String? {
    guard let value = getenv(name) else { return nil }
    let text = String(cString: value)
    return text.isEmpty ? nil : text
}

/// The user that this process acts as.
func effectiveUser() -> UInt32 { geteuid() }
