// SPDX-License-Identifier: Apache-2.0
internal import NIOCore

/// Follows the frames of an HTTP/2 connection from its first byte, as far as to know whether one has begun and is not whole yet.
struct FrameWatch {
    private enum Awaited {
        case preface
        case header
        case payload
    }

    private var awaited = Awaited.preface
    /// Of what is awaited.
    private var missing = 24
    private var header: (read: Int, length: Int) = (0, 0)

    /// Whether the peer owes the rest of something. The preface is owed from the beginning.
    private(set) var isOwed = true
    /// How many frames were whole, and the preface.
    private(set) var wholeCount: UInt64 = 0

    mutating func read(_ bytes: ByteBufferView) {
        var left = bytes
        while let byte = left.first {
            if awaited == .header {
                left.removeFirst()
                // The length is in the first three of nine bytes.
                if header.read < 3 { header.length = header.length << 8 | Int(byte) }
                header.read += 1
                if header.read == 9 { begin(.payload, header.length) }
            } else {
                let count = min(missing, left.count)
                left.removeFirst(count)
                missing -= count
            }
            if awaited != .header, missing == 0 {
                wholeCount += 1
                begin(.header, 9)
            }
        }
        isOwed = awaited != .header || header.read > 0
    }

    private mutating func begin(_ next: Awaited, _ size: Int) {
        awaited = next
        missing = size
        if next == .header { header = (0, 0) }
    }
}
