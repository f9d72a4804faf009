// SPDX-License-Identifier: Apache-2.0
internal import ArgumentParser
internal import Foundation
internal import RayStore
internal import RayStoreCluster
internal import RayStoreNode

struct ServeCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "serve",
        abstract: "Serve the files of a directory, without a cluster.",
        discussion: """
            Whoever has the key file fetches any file below the directory, and nothing outside of it:

              raystore serve data --bind 10.0.0.5 --port 7000 --make-key serve.key
              scp serve.key other:
              ssh other raystore fetch 10.0.0.5:7000/train.jsonl --key-file serve.key

            What is sent is authenticated and verified, not encrypted. Each fetch is one line on standard error when it is over. Ends on \
            Ctrl-C or SIGTERM.
            """)

    @Argument(help: ArgumentHelp("The directory.", valueName: "dir"), completion: .directory)
    var directory: String

    @Option(help: "The port to listen at; 0 for any.")
    var port: UInt16 = 0

    @Option(help: ArgumentHelp("The address to listen at; 0.0.0.0 for all of them.", valueName: "host"))
    var bind = "127.0.0.1"

    @Option(
        help: ArgumentHelp(
            "The file with the key that a fetch needs. (default: cluster.key in the standard state directory)", valueName: "file"),
        completion: .file())
    var keyFile: String?

    @Option(help: ArgumentHelp("Make a key in this new file, and use it.", valueName: "file"), completion: .file())
    var makeKey: String?

    @OptionGroup(title: "Limits") var caps: CapsChoice

    func validate() throws {
        if keyFile != nil, makeKey != nil { throw ValidationError("give either --key-file or --make-key") }
        if bind.isEmpty { throw ValidationError("the address after --bind is empty") }
    }

    func run() async throws {
        // From before the start: what is told to end while it starts ends too.
        let (signals, told) = AsyncStream.makeStream(of: Int32.self)
        let watch = SignalWatch { told.yield($0) }
        defer { watch.cancel() }
        let path = Paths.absolute(directory)
        let keyPath = Paths.absolute(makeKey ?? keyFile ?? StateDirectory.standard.key)
        // A key that was made for a server that does not come up would be in the way of the next try.
        let key = try makeKey == nil ? ClusterKey.load(keyPath) : ClusterKey.create(keyPath)
        let server: FileServer
        do {
            server = try FileServer(directory: path, host: bind, port: port, key: key, caps: caps.caps) {
                Console.note(Self.line($0))
            }
        } catch {
            if makeKey != nil { unlink(keyPath) }
            throw error
        }
        let address = HostPort(host: bind, port: server.port)
        do {
            try Console.say("Serving \(path.printable) at \(address), key file \(keyPath.printable)")
            for await _ in signals { break }
        } catch {
            await server.stop()
            throw error
        }
        await server.stop()
    }

    /// One fetch, for a log: nothing in a name may break the line.
    static func line(_ report: FileServer.Report) -> String {
        let start = "\(report.peer) \(report.name)".printable
        if let failure = report.failure { return "\(start): not served: \(failure.message.printable)" }
        let size = Amounts.bytes(report.size)
        let sent = report.sent == report.size ? size : "\(Amounts.bytes(report.sent)) of \(size)"
        return "\(start): \(sent) sent, wire \(Amounts.bytes(report.wire)), in \(Amounts.seconds(report.elapsed / .seconds(1)))"
    }
}
