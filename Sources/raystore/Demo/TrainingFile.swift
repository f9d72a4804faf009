// SPDX-License-Identifier: Apache-2.0
internal import Foundation
internal import RayStore

/// A file such as training jobs read: a line of JSON for each example, with text and columns of floats. The same size gives the same bytes.
///
/// It compresses about as such files do (3 to 5 times with zstd), and is made faster than most disks write.
enum TrainingFile {
    /// One example, as the demo's reader decodes it.
    struct Example: Decodable {
        let id: Int
        let text: String
        let features: [Double]
    }

    /// Writes the file at a path that must not exist.
    static func make(at path: String, size: Int, isCancelled: CancelFlag) throws(RayStoreError) {
        let output = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0o644)
        guard output >= 0 else { throw failure(path) }
        defer { close(output) }
        var writer = ExampleWriter()
        let room = UnsafeMutableRawBufferPointer.allocate(byteCount: 4 << 20, alignment: 4096)
        defer { room.deallocate() }
        var left = size
        while left > 0 {
            try isCancelled.check()
            let count = writer.fill(UnsafeMutableRawBufferPointer(rebasing: room[..<min(left, room.count)]))
            guard Console.writeAll(UnsafeRawBufferPointer(rebasing: room[..<count]), to: output) else { throw failure(path) }
            left -= count
        }
    }

    private static func failure(_ path: String) -> RayStoreError {
        let number = errno
        return RayStoreError(
            number == ENOSPC ? .outOfDisk : .system, "\(path) cannot be written: \(String(cString: strerror(number)))",
            systemErrno: number)
    }
}

/// Makes the lines. A struct of plain numbers and tables, so that a debug build is not too slow either.
struct ExampleWriter {
    /// No line is longer.
    static let lineMax = 1024

    private var id = 0
    private var random: UInt64 = 0x9E37_79B9_7F4A_7C15
    private var walk = [Int](repeating: 5000, count: 16)
    private let phrases: [[UInt8]]

    init() {
        let subjects = [
            "the model", "a small network", "the first layer", "every sample", "this batch", "our dataset", "the reader",
            "one worker",
        ]
        let verbs = ["learns from", "is trained on", "reads", "predicts", "compares", "writes", "remembers", "skips"]
        let objects = [
            "the next token", "a long document", "many short lines", "noisy labels", "the same features", "old checkpoints",
            "images of streets", "recorded speech",
        ]
        phrases = subjects.flatMap { subject in
            verbs.flatMap { verb in objects.map { Array("\(subject) \(verb) \($0). ".utf8) } }
        }
    }

    /// Fills all of the room with whole lines; what is left at its end is a line of spaces.
    mutating func fill(_ room: UnsafeMutableRawBufferPointer) -> Int {
        var cursor = Cursor(room.baseAddress!)
        let end = room.baseAddress! + room.count
        while end - cursor.place >= Self.lineMax { line(&cursor) }
        let rest = end - cursor.place
        if rest > 0 {
            memset(cursor.place, 0x20, rest)
            (end - 1).storeBytes(of: 0x0A, as: UInt8.self)
        }
        return room.count
    }

    private mutating func line(_ cursor: inout Cursor) {
        id += 1
        cursor.write("{\"id\":")
        cursor.write(id)
        cursor.write(",\"split\":\"train\",\"lang\":\"en\",\"text\":\"")
        let count = 2 + Int(next() & 7)
        for _ in 0..<count {
            let phrase = phrases[Int(next() >> 55)]
            cursor.write(phrase)
        }
        cursor.write("\",\"features\":[")
        for column in walk.indices {
            if column > 0 { cursor.write(",") }
            // A walk: neighbours in a column are alike, as measurements are.
            let step = Int(next() >> 56)
            walk[column] = (walk[column] + step - 127 + 10_000) % 10_000
            cursor.write("0.")
            cursor.writeFourDigits(walk[column])
        }
        cursor.write("]}\n")
    }

    // xorshift64*: the demo's file must be the same everywhere.
    private mutating func next() -> UInt64 {
        random ^= random >> 12
        random ^= random << 25
        random ^= random >> 27
        return random &* 0x2545_F491_4F6C_DD1D
    }

    /// Where the next byte goes. The caller has made sure that a line fits.
    private struct Cursor {
        var place: UnsafeMutableRawPointer

        init(_ place: UnsafeMutableRawPointer) {
            self.place = place
        }

        mutating func write(_ text: StaticString) {
            place.copyMemory(from: text.utf8Start, byteCount: text.utf8CodeUnitCount)
            place += text.utf8CodeUnitCount
        }

        mutating func write(_ bytes: [UInt8]) {
            bytes.withUnsafeBytes { place.copyMemory(from: $0.baseAddress!, byteCount: $0.count) }
            place += bytes.count
        }

        mutating func write(_ number: Int) {
            var power = 1
            while number / power >= 10 { power *= 10 }
            while power > 0 {
                place.storeBytes(of: UInt8(0x30 + number / power % 10), as: UInt8.self)
                place += 1
                power /= 10
            }
        }

        mutating func writeFourDigits(_ number: Int) {
            var digits = UInt32(0x30 + number / 1000 % 10)
            digits |= UInt32(0x30 + number / 100 % 10) << 8
            digits |= UInt32(0x30 + number / 10 % 10) << 16
            digits |= UInt32(0x30 + number % 10) << 24
            place.storeBytes(of: digits.littleEndian, as: UInt32.self)
            place += 4
        }
    }
}
