// SPDX-License-Identifier: Apache-2.0
internal import Synchronization

/// Which names are being written, and which files deleted, so that no deletion hits a file that has come in the place of the deleted one.
///
/// A name comes again: ids repeat in the next cluster, and a batch whose file could not be entered is written once more. A file's URL is known
/// only when it is written, so a file counts as one of a name when its URL holds the id that the name begins with.
final class SpillNames: Sendable {
    private struct Contents {
        var writing: Set<Substring> = []
        var deleting: Set<String> = []
        var waiters: [CheckedContinuation<Void, Never>] = []
    }

    private let contents = Mutex(Contents())

    private static func key(_ name: String) -> Substring { name.prefix { $0 != "-" } }

    static func isFile(_ url: String, of name: String) -> Bool { url.contains(key(name)) }

    /// Returns when nobody deletes a file of this name; nobody does from then on, until it is released. One batch at a time has a name.
    func reserve(_ name: String) async {
        let key = Self.key(name)
        while true {
            let isReserved = contents.withLock { contents in
                guard !contents.deleting.contains(where: { $0.contains(key) }) else { return false }
                contents.writing.insert(key)
                return true
            }
            if isReserved { return }
            await withCheckedContinuation { continuation in
                let isOver = contents.withLock { contents in
                    guard contents.deleting.contains(where: { $0.contains(key) }) else { return true }
                    contents.waiters.append(continuation)
                    return false
                }
                if isOver { continuation.resume() }
            }
        }
    }

    func release(_ name: String) {
        contents.withLock { _ = $0.writing.remove(Self.key(name)) }
    }

    /// False when a file of that name is being written, or this one deleted already: then another time.
    func beginDeletion(of file: String) -> Bool {
        contents.withLock { contents in
            guard !contents.writing.contains(where: { file.contains($0) }) else { return false }
            return contents.deleting.insert(file).inserted
        }
    }

    func endDeletion(of file: String) {
        let waiters = contents.withLock { contents in
            contents.deleting.remove(file)
            defer { contents.waiters = [] }
            return contents.waiters
        }
        for waiter in waiters { waiter.resume() }
    }
}
