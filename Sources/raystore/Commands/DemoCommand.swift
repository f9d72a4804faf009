// SPDX-License-Identifier: Apache-2.0
internal import ArgumentParser
internal import Foundation
internal import RayStore

struct DemoCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "demo",
        abstract: "Watch a file and an array cross from one node to another, verified, and go everywhere at the end.",
        discussion: """
              raystore demo
              raystore demo --file model.bin
              sudo raystore demo                two network namespaces instead of loopback

            Starts two nodes of its own with separate memory and directories, puts a file on one, gets it on the other, compares the bytes, \
            does the same with an array that is read in place, drops the refs, shows that nothing is left, and stops the nodes. It uses \
            $TMPDIR, else /var/tmp, and touches no other node.
            """)

    @Option(
        help: ArgumentHelp("The file to send. (default: one that is made for the demo)", valueName: "path"), completion: .file())
    var file: String?

    @Option(
        help: ArgumentHelp("The size of the file that is made. (default: 1GiB)", valueName: "size"),
        transform: { text in try ByteSize.parse(text) })
    var size = ByteSize(bytes: 1 << 30)

    @Option(
        help: ArgumentHelp("The size of the array. (default: 256MiB)", valueName: "size"),
        transform: { text in try ByteSize.parse(text) })
    var arraySize = ByteSize(bytes: 256 << 20)

    @Flag(help: "Leave the demo's directory, with its file, keys and logs.")
    var keep = false

    @Flag(help: "Print one JSON document, and nothing of what happens.")
    var json = false

    func validate() throws {
        if arraySize.bytes < 4 { throw ValidationError("--array-size must be at least 4 bytes") }
    }

    func run() async throws {
        let source = file.map { Paths.absolute($0) }
        var bytes = size.bytes
        if let source {
            var info = stat()
            guard stat(source, &info) == 0 else {
                throw Failure("\(source) cannot be sent: \(String(cString: strerror(errno))); give --file the path of a file")
            }
            guard info.st_mode & S_IFMT == S_IFREG else {
                throw Failure(
                    "\(source) is \(Paths.isDirectory(source) ? "a directory" : "not a regular file"); give --file a file")
            }
            bytes = Int(info.st_size)
        }
        let (json, keep) = (json, keep)
        let demo = Demo(file: source, size: size.bytes, arrayBytes: arraySize.bytes, isSilent: json)
        // The source, and a copy on each node; and some for the nodes' own files.
        let needed = bytes * (source == nil ? 3 : 2) + (128 << 20)
        let report = try await interruptible {
            for tag in DemoRoom.sweep() { await DemoNetwork.remove(tag: tag, logDirectory: "/tmp") }
            let room = try DemoRoom(neededBytes: needed)
            do {
                let report = try await demo.run(in: room)
                Self.finish(room, keep: keep, json: json)
                return report
            } catch {
                Self.finish(room, keep: keep, json: json)
                throw error
            }
        }
        if json {
            try Console.say(json: report)
        } else {
            try Console.say("The demo has passed.")
        }
    }

    private static func finish(_ room: DemoRoom, keep: Bool, json: Bool) {
        if keep {
            room.keep()
            Console.note("The demo's directory is kept: \(room.path)")
        } else {
            room.remove()
        }
    }
}
