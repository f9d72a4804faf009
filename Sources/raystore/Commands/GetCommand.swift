// SPDX-License-Identifier: Apache-2.0
internal import ArgumentParser
internal import Foundation
internal import RayStore

struct GetCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "get",
        abstract: "Fetch an object or a file to this machine.",
        discussion: """
              raystore get train -o .                  under its own name, here
              raystore get train -o data/copy.jsonl    under another name
              raystore get train -o - | head           to standard output
              raystore get train --range 0:4KiB -o -   the first 4 KiB, without fetching the rest

            The file is complete and verified when it appears. An existing file is replaced only with --force. Without -o the file is \
            fetched and verified, and not kept: the store's copy on this machine goes when nobody here uses it.
            """)

    @Argument(help: ArgumentHelp("A ref or a name.", valueName: "ref-or-name"))
    var object: String

    @Option(
        name: .shortAndLong, help: ArgumentHelp("Where to put it: a path, a directory, or '-'.", valueName: "path"),
        completion: .file())
    var output: String?

    @Option(
        help: ArgumentHelp(
            "Only so many bytes from there, which have to fit into this node's memory; without a size, to the end.",
            valueName: "offset:size"))
    var range: RangeChoice?

    @Flag(help: "Replace a file that is there.")
    var force = false

    @Option(help: ArgumentHelp("Give up after so many seconds. (default: never)", valueName: "seconds"))
    var timeout: Double?

    @OptionGroup(title: "Transfer") var tuning: TuningChoice
    @OptionGroup var names: NamespaceChoice
    @OptionGroup var choice: NodeChoice

    @Flag(help: "Say afterwards how the chunks were packed, and why; on standard error with -o -.")
    var explain = false

    @Flag(help: "Print one JSON document, and no progress.")
    var json = false

    struct Answer: Codable, Sendable {
        var ref: String
        var kind: String
        var name: String?
        var bytes: Int
        /// Where it was put; nil without -o.
        var path: String?
        /// Of the transfer; zeros when the object was here.
        var seconds: Double
        var wireBytes: Int
        var codecs: String
        /// With --explain, if something was transferred.
        var explanation: TransferExplanation?
    }

    func validate() throws {
        if let output, output.isEmpty { throw ValidationError("the path after -o is empty") }
        if output == "-", json { throw ValidationError("-o - and --json both want standard output: give one of them") }
        if let timeout, !(timeout >= 0 && timeout < 1e9) {
            throw ValidationError("--timeout \(timeout) is not a number of seconds")
        }
    }

    func run() async throws {
        let command = self
        let answer = try await interruptible {
            try await Connection.with(command.choice, namespace: command.names.namespace) { try await command.get(from: $0) }
        }
        if json {
            try Console.say(json: answer)
            return
        }
        if output == nil {
            try Console.say("\((answer.name ?? answer.ref).printable): \(Amounts.bytes(UInt64(answer.bytes))), verified")
            Console.note("It is not kept: give -o PATH to have it as a file, or -o . under its own name.")
        }
        guard explain else { return }
        let text = ExplanationText.block(answer.explanation)
        if output == "-" { Console.note(text) } else { try Console.say(text) }
    }

    /// Nil when it was here: what an earlier transfer did is not this one's.
    private func explanation(of ref: ObjectRef<RayFile>, _ state: TransferState?, in session: Session) async throws
        -> TransferExplanation?
    {
        explain && state != nil ? try await session.transferExplanation(of: ref) : nil
    }

    private func get(from session: Session) async throws -> Answer {
        // What can be known to fail fails before anything is fetched.
        let destination = output.map { $0 == "-" ? $0 : Paths.absolute($0) }
        if let destination, destination != "-", !Paths.isDirectory(destination), !destination.hasSuffix("/") {
            try FileWriter.check(destination, force: force)
        }
        let ref: ObjectRef<RayFile> = try await Connection.open(object, in: session, namespace: names.namespace)
        let isRef = (try? ObjectID(object)) != nil
        if let range { return try await read(range, of: ref, from: session, at: destination) }
        let bar = ProgressBar(isRef ? String(object.prefix(8)) : object, isSilent: json)
        let pinned: PinnedValue
        do {
            pinned = PinnedValue(
                try await session.pin(ref, timeout: timeout.map { .seconds($0) }, tuning: tuning.tuning) { bar.update($0) })
        } catch {
            bar.abandon()
            throw error
        }
        let kind = pinned.object.kind
        let shown = bar.finish()
        let state = shown ?? TransferState()
        var answer = Answer(
            ref: ref.id.description, kind: kind.word, name: nil, bytes: 0, path: nil, seconds: state.seconds,
            wireBytes: state.wire, codecs: state.codecs, explanation: try await explanation(of: ref, shown, in: session))
        if kind == .file {
            let file = try await session.get(ref)
            answer.name = file.name
            answer.bytes = file.size?.bytes ?? 0
            answer.path = try await place(.file(path: file.path), called: file.name, at: destination)
            withExtendedLifetime(file) {}
        } else {
            answer.bytes = pinned.object.byteCount
            answer.path = try await place(.memory(pinned), called: nil, at: destination)
        }
        return answer
    }

    /// What is read has no name of its own and is no file: `kind` is that of bytes.
    private func read(
        _ range: RangeChoice, of ref: ObjectRef<RayFile>, from session: Session, at destination: String?
    ) async throws -> Answer {
        let bar = ProgressBar(String(object.prefix(30)), isSilent: json)
        let bytes: Bytes
        do {
            bytes = try await session.read(
                ref, range.positions, timeout: timeout.map { .seconds($0) }, tuning: tuning.tuning
            ) { bar.update($0) }
        } catch {
            bar.abandon()
            throw error
        }
        let shown = bar.finish()
        let state = shown ?? TransferState()
        let why = try await explanation(of: ref, shown, in: session)
        return Answer(
            ref: ref.id.description, kind: ObjectKind.bytes.word, name: nil, bytes: bytes.count,
            path: try await place(.bytes(bytes), called: nil, at: destination), seconds: state.seconds, wireBytes: state.wire,
            codecs: state.codecs, explanation: why)
    }

    private func place(_ source: FileWriter.Source, called name: String?, at destination: String?) async throws -> String? {
        guard var destination else { return nil }
        if destination == "-" {
            switch source {
            case .file(let path): try await FileWriter.copy(path, to: STDOUT_FILENO)
            case .memory(let value): try value.object.withUnsafeBytes { bytes throws in try Console.writeUnsafe(bytes) }
            case .bytes(let value): try value.withUnsafeBytes { bytes throws in try Console.writeUnsafe(bytes) }
            }
            return nil
        }
        if Paths.isDirectory(destination) || destination.hasSuffix("/") {
            guard let name else {
                throw Failure("\(destination) is a directory and the object has no name of its own: give -o a file's path")
            }
            while destination.count > 1, destination.hasSuffix("/") { destination.removeLast() }
            destination += (destination == "/" ? "" : "/") + name
            try FileWriter.check(destination, force: force)
        }
        if Paths.isDirectory(destination) { throw Failure("\(destination) is a directory: choose another path with -o") }
        try await FileWriter.write(source, to: destination, force: force)
        return destination
    }
}

extension ObjectKind {
    /// One word for documents.
    var word: String {
        switch self {
        case .bytes: "bytes"
        case .array: "array"
        case .json: "json"
        case .file: "file"
        default: "unknown"
        }
    }
}
