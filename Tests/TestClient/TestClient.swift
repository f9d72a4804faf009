// SPDX-License-Identifier: Apache-2.0
import Glibc
import RayStore
import TestSupport

/// A client process for tests to kill. It does what its first argument says, prints a line when it is ready, and lives until it is killed
/// or its standard input ends.
///
///     raystore-test-client hold SOCKET COUNT SIZE        puts objects, shares their refs, prints them
///     raystore-test-client open SOCKET REF...            opens and gets refs
///     raystore-test-client file SOCKET REF               opens and gets a file, prints its path
///     raystore-test-client read SOCKET REF FROM TO       opens and reads a part, which it keeps
///     raystore-test-client churn SOCKET JOB SEED         puts, pins, reads and drops at random; prints a line for every 1,000
///     raystore-test-client late SOCKET COUNT SIZE        makes objects, prints their refs; seals the one whose number it reads
///     raystore-test-client nodes COUNT                   starts nodes; prints their directory and their processes
@main struct TestClient {
    static func main() async throws {
        let arguments = Array(CommandLine.arguments.dropFirst())
        guard arguments.count >= 2 else { exit(64) }
        switch arguments[0] {
        case "hold": try await hold(arguments[1], count: Int(arguments[2])!, size: Int(arguments[3])!)
        case "open": try await open(arguments[1], Array(arguments[2...]))
        case "file": try await file(arguments[1], arguments[2])
        case "read": try await read(arguments[1], arguments[2], Int(arguments[3])!..<Int(arguments[4])!)
        case "churn": try await churn(arguments[1], job: UInt32(arguments[2])!, seed: UInt64(arguments[3])!)
        case "late": try LateObjects(arguments[1]).run(count: Int(arguments[2])!, size: Int(arguments[3])!)
        case "nodes": try await nodes(count: Int(arguments[1])!)
        default: exit(64)
        }
    }

    private static func nodes(count: Int) async throws {
        let cluster = try await TestCluster(nodes: count, memory: "16MiB")
        say(cluster.directory)
        for member in cluster.members { say(member.process.pid) }
        say("ready")
        untilInputEnds()
        cluster.end()
    }

    private static func hold(_ socket: String, count: Int, size: Int) async throws {
        let session = try await Session.connect(socket: socket)
        var refs: [ObjectRef<Bytes>] = []
        for number in 0..<count {
            let ref = try session.put(bytes: [UInt8](repeating: UInt8(truncatingIfNeeded: number), count: size))
            say(try await ref.shared().text)
            refs.append(ref)
        }
        say("ready")
        untilInputEnds()
        withExtendedLifetime(refs) {}
    }

    private static func open(_ socket: String, _ texts: [String]) async throws {
        let session = try await Session.connect(socket: socket)
        var refs: [ObjectRef<Bytes>] = []
        for text in texts {
            let ref = try await session.open(text, as: Bytes.self)
            _ = try await session.get(ref)
            refs.append(ref)
        }
        say("ready")
        untilInputEnds()
        withExtendedLifetime(refs) {}
    }

    private static func file(_ socket: String, _ text: String) async throws {
        let session = try await Session.connect(socket: socket)
        let ref = try await session.open(text, as: RayFile.self)
        let file = try await session.get(ref)
        say(file.path)
        say("ready")
        untilInputEnds()
        withExtendedLifetime(file) {}
    }

    private static func read(_ socket: String, _ text: String, _ range: Range<Int>) async throws {
        let session = try await Session.connect(socket: socket)
        let ref = try await session.open(text, as: Bytes.self)
        let part = try await session.read(ref, range)
        say("ready")
        untilInputEnds()
        withExtendedLifetime(part) {}
    }

    /// Every object holds one byte over and over, which its reader checks.
    private static func churn(_ socket: String, job: UInt32, seed: UInt64) async throws {
        let session = try await Session.connect(socket: socket, job: JobID(rawValue: job))
        var state = seed
        func random(below limit: Int) -> Int {
            state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
            return Int(state >> 33) % limit
        }
        var held: [(ref: ObjectRef<Bytes>, byte: UInt8)] = []
        var done = 0
        while true {
            switch random(below: 4) {
            case 0 where held.count < 40:
                let byte = UInt8(random(below: 256))
                do throws(RayStoreError) {
                    held.append((try session.put(bytes: [UInt8](repeating: byte, count: random(below: 60_000))), byte))
                } catch {
                    // Others may fill the store; that is an answer, anything else is not.
                    guard error.code == .storeFull else { throw error }
                }
            case 1, 2:
                guard let some = held.isEmpty ? nil : held[random(below: held.count)] else { break }
                let pinned = try await session.pin(some.ref)
                let isRight = pinned.withUnsafeBytes { $0.allSatisfy { $0 == some.byte } }
                guard isRight else {
                    say("wrong bytes in \(some.ref.id)")
                    exit(1)
                }
                pinned.release()
            default:
                if !held.isEmpty { held.remove(at: random(below: held.count)) }
            }
            done += 1
            if done % 1000 == 0 { say(done) }
        }
    }

    /// One line, at once: who reads it waits for it.
    static func say(_ item: some CustomStringConvertible) {
        var line = "\(item)\n"
        line.withUTF8 { _ = write(STDOUT_FILENO, $0.baseAddress, $0.count) }
    }

    private static func untilInputEnds() {
        while getchar() != EOF {}
    }
}
