// SPDX-License-Identifier: Apache-2.0
internal import ArgumentParser
internal import Foundation
internal import RayStore
internal import RayStoreCluster
internal import RayStoreNode
internal import Synchronization

struct FetchCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "fetch",
        abstract: "Fetch a file from 'raystore serve', without a cluster.",
        discussion: """
              raystore fetch 10.0.0.5:7000/train.jsonl --key-file serve.key
              raystore fetch 10.0.0.5:7000/logs/today.txt --key-file serve.key -o copy.txt
              raystore fetch 10.0.0.5:7000/train.jsonl --key-file serve.key --range 1GiB:64KiB -o part.jsonl

            The file is complete and verified when it appears. A fetch that was interrupted, by Ctrl-C or a crash, goes on where it was when the \
            same command is given again; until then .NAME.raystore-part and .NAME.raystore-part.chunks lie beside the destination. If the file \
            has changed at its source meanwhile, the fetch fails and the next one begins anew. A link that is cut and a server that is \
            started again are waited for, for a minute or as --patience says.
            """)

    @Argument(
        help: ArgumentHelp("Where the file is.", valueName: "host:port/path"),
        transform: { text in try Source(text) })
    var source: Source

    @Option(
        name: .shortAndLong,
        help: ArgumentHelp("Where to put it: a path or a directory. (default: under its own name, here)", valueName: "path"),
        completion: .file())
    var output: String?

    @Option(
        help: ArgumentHelp("The server's key. (default: cluster.key in the standard state directory)", valueName: "file"),
        completion: .file())
    var keyFile: String?

    @Option(
        help: ArgumentHelp(
            "Only so many bytes from there; without a size, to the end. A part is not resumed.", valueName: "offset:size"))
    var range: RangeChoice?

    @Flag(help: "Replace a file that is there.")
    var force = false

    @Flag(name: .customLong("no-resume"), help: "Forget what an interrupted fetch left, and begin anew.")
    var noResume = false

    @Option(
        help: ArgumentHelp(
            "How long a server that answered before is waited for when nothing comes from it any more.", valueName: "seconds"))
    var patience: Double = 60

    @Option(
        help: ArgumentHelp(
            "Give up after so many seconds; what has come is kept for the next fetch. (default: never)", valueName: "seconds"))
    var timeout: Double?

    @OptionGroup(title: "Transfer") var tuning: TuningChoice

    @Flag(help: "Say afterwards how the chunks were packed, and why.")
    var explain = false

    @Flag(help: "Print one JSON document, and no progress.")
    var json = false

    /// A server and a path below what it serves.
    struct Source: Sendable {
        let address: HostPort
        let path: String

        init(_ text: String) throws {
            guard let slash = text.firstIndex(of: "/") else {
                throw ValidationError("'\(text)' names no file: write HOST:PORT/PATH, such as 10.0.0.5:7000/train.jsonl")
            }
            address = try HostPort(String(text[..<slash]))
            path = String(text[text.index(after: slash)...])
            guard !path.isEmpty, !path.hasSuffix("/") else {
                throw ValidationError("'\(text)' names a directory: name a file in it")
            }
        }
    }

    struct Answer: Codable, Sendable {
        var path: String
        var bytes: Int
        /// Of them, those that an interrupted fetch had brought.
        var resumedBytes: Int
        var wireBytes: Int
        var seconds: Double
        var codecs: String
        /// With --explain.
        var explanation: TransferExplanation?
    }

    func validate() throws {
        if let output, output.isEmpty { throw ValidationError("the path after -o is empty") }
        if !(patience >= 0 && patience < 1e9) { throw ValidationError("--patience \(patience) is not a number of seconds") }
        if let timeout, !(timeout > 0 && timeout < 1e9) {
            throw ValidationError("--timeout \(timeout) is not a number of seconds")
        }
        if output == "-" { throw ValidationError("a fetch can be resumed, so it needs a file: -o - is not possible") }
    }

    func run() async throws {
        let name = Paths.name(of: source.path)
        var destination = Paths.absolute(output ?? name)
        if Paths.isDirectory(destination) || destination.hasSuffix("/") {
            while destination.count > 1, destination.hasSuffix("/") { destination.removeLast() }
            destination += (destination == "/" ? "" : "/") + name
        }
        if Paths.isDirectory(destination) { throw Failure("\(destination) is a directory: choose another path with -o") }
        // What can be known to fail fails before anything is fetched.
        try FileWriter.check(destination, force: force)
        let key = try ClusterKey.load(Paths.absolute(keyFile ?? StateDirectory.standard.key))
        var request = FileFetch(
            host: source.address.host, port: source.address.port, name: source.path, destination: destination, key: key)
        request.replaces = force
        request.resumes = !noResume
        request.range = range.map { UInt64($0.positions.lowerBound)..<UInt64($0.positions.upperBound) }
        request.mode = Self.usualMode
        request.tuning = tuning.tuning
        request.patience = .seconds(patience)
        request.timeout = timeout.map { .seconds($0) }
        let fetch = request
        let bar = ProgressBar(name, isSilent: json)
        let watch = Watch(server: source.address)
        do {
            let result = try await interruptible { try await fetch.run { bar.update(watch.state($0)) } }
            bar.update(TransferState(result))
            let state = bar.finish() ?? TransferState()
            guard json else {
                if explain { try Console.say(ExplanationText.block(result.explanation)) }
                return
            }
            try Console.say(
                json: Answer(
                    path: destination, bytes: state.total, resumedBytes: Int(clamping: result.resumed), wireBytes: state.wire,
                    seconds: state.seconds, codecs: state.codecs, explanation: explain ? result.explanation : nil))
        } catch {
            bar.abandon()
            throw Self.explained(error, fetch)
        }
    }

    /// Says that another try goes on where this one ended, if it does.
    private static func explained(_ error: any Error, _ fetch: FileFetch) -> any Error {
        guard let error = error as? RayStoreError, error.code != .inUse, error.code != .exists,
            Paths.exists(fetch.partialPath)
        else { return error }
        return Failure("\(error.message) (what has come is kept: fetch again to go on)")
    }

    /// Notices that the server is gone.
    private final class Watch: Sendable {
        /// A connection that is replaced is nothing to talk about.
        private static let grace = 0.5

        private let server: String
        private let servedAt = Mutex(0.0)

        init(server: HostPort) {
            self.server = "\(server)"
        }

        func state(_ progress: FetchProgress) -> TransferState {
            var state = TransferState(progress)
            let servedAt = servedAt.withLock { last in
                // Before its first answer nothing is known of the file, and no server is waited for.
                if progress.sources > 0 || progress.total == 0 { last = state.seconds }
                return last
            }
            if !state.isComplete, state.seconds - servedAt > Self.grace { state.waitingFor = server }
            return state
        }
    }

    /// What a file of this user's usually has: the process's mask can only be read by setting it.
    private static var usualMode: UInt32 {
        let mask = umask(0o077)
        umask(mask)
        return 0o666 & ~UInt32(mask)
    }
}

extension TransferState {
    init(_ progress: FetchProgress) {
        done = Int(clamping: progress.done)
        total = Int(clamping: progress.total)
        wire = Int(clamping: progress.wire)
        seconds = progress.elapsed / .seconds(1)
        // What was here before came at no rate.
        rate = seconds > 0 ? Double(progress.done - progress.resumed) / seconds : 0
        wireRate = seconds > 0 ? Double(wire) / seconds : 0
        uncompressedChunks = progress.uncompressedChunks
        lz4Chunks = progress.lz4Chunks
        zstdChunks = progress.zstdChunks
        zstdLevel = progress.zstdLevel
        retriedChunks = progress.retriedChunks
    }
}
