// SPDX-License-Identifier: Apache-2.0
internal import Foundation

/// The reader of our standard output has gone.
struct OutputClosed: Error {}

/// Standard output carries results, standard error everything said about them.
enum Console {
    /// Prints a result and a line feed.
    ///
    /// - Throws: `OutputClosed`; `Failure` when it cannot be written (the disk behind it is full).
    static func say(_ text: String) throws {
        try write(Array((text + "\n").utf8))
    }

    /// Prints one JSON document.
    static func say(json value: some Encodable) throws {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes]
        try say(String(decoding: encoder.encode(value), as: UTF8.self))
    }

    /// Writes bytes to standard output, whatever they are.
    static func write(_ bytes: some Sequence<UInt8>) throws {
        let bytes = Array(bytes)
        try bytes.withUnsafeBytes { try writeUnsafe($0) }
    }

    static func writeUnsafe(_ bytes: UnsafeRawBufferPointer) throws {
        guard writeAll(bytes, to: STDOUT_FILENO) else {
            if errno == EPIPE { throw OutputClosed() }
            throw Failure("standard output cannot be written: \(String(cString: strerror(errno)))")
        }
    }

    /// Says something on standard error. Nobody may be there to read it; then it is not said.
    static func note(_ text: String) {
        noteRaw(text + "\n")
    }

    static func noteRaw(_ text: String) {
        var text = text
        text.withUTF8 { _ = writeAll(UnsafeRawBufferPointer($0), to: STDERR_FILENO) }
    }

    /// Exactly one line on standard error, with the tool's name before it.
    static func complain(_ message: String) {
        note("raystore: " + message.printable)
    }

    static func writeAll(_ bytes: UnsafeRawBufferPointer, to descriptor: Int32) -> Bool {
        var rest = bytes[...]
        while !rest.isEmpty {
            let count = rest.withUnsafeBytes { Glibc.write(descriptor, $0.baseAddress, $0.count) }
            if count > 0 {
                rest = rest.dropFirst(count)
            } else if count < 0, errno == EINTR {
                continue
            } else if count < 0, errno == EAGAIN {
                var waiting = pollfd(fd: descriptor, events: Int16(POLLOUT), revents: 0)
                poll(&waiting, 1, -1)
            } else {
                return false
            }
        }
        return true
    }
}
