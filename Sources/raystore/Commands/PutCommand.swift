// SPDX-License-Identifier: Apache-2.0
internal import ArgumentParser
internal import Foundation
internal import RayStore

struct PutCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "put",
        abstract: "Put a file into the store; print its ref.",
        discussion: """
            The ref is the only thing on standard output. Any node of the cluster gets the file by it, or by its name:

              raystore put train.jsonl --name train
              raystore get train -o .

            The file stays in the store until 'raystore rm'.
            """)

    @Argument(help: ArgumentHelp("The file.", valueName: "path"), completion: .file())
    var path: String

    @Flag(help: "Refer to the file where it lies instead of copying it. It must not be changed.")
    var noCopy = false

    @Flag(help: "Move the file into the store instead of copying it.")
    var adopt = false

    @Option(help: "A name to get it by.")
    var name: String?

    @OptionGroup var names: NamespaceChoice
    @OptionGroup var choice: NodeChoice

    @Flag(help: "Print one JSON document.")
    var json = false

    func validate() throws {
        if noCopy, adopt { throw ValidationError("--no-copy leaves the file where it is, --adopt moves it: give one of them") }
        if path.isEmpty { throw ValidationError("the path is empty: name a file") }
        if let name, (try? ObjectID(name)) != nil {
            throw ValidationError("the name '\(name)' reads as a ref: choose one that is not 56 hex digits")
        }
    }

    func run() async throws {
        let path = Paths.absolute(path)
        let file = adopt ? RayFile.adopting(path: path) : RayFile(path: path, enableCopy: !noCopy)
        let (choice, namespace, name) = (choice, names.namespace, name)
        let ref = try await interruptible {
            try await Connection.with(choice, namespace: namespace, puts: true) { session in
                // Looked at before the file is taken: an adopted one would have to be put back.
                if let name { try await Self.checkFree(name, in: session, namespace: namespace) }
                let ref = try await session.put(file)
                // Until it is detached the object goes with this session, so a failure or Ctrl-C leaves nothing.
                if let name { try await session.bind(name, to: ref) }
                try await session.detach(ref)
                return ref.id.description
            }
        }
        struct Answer: Encodable {
            let ref: String
            let path: String
            let name: String?
            let namespace: String?
        }
        do {
            try json
                ? Console.say(json: Answer(ref: ref, path: path, name: name, namespace: name == nil ? nil : namespace))
                : Console.say(ref)
        } catch {
            // Whoever asked must hear the ref somehow: nobody else knows it.
            let reason = (error as? Failure)?.message ?? "standard output is closed"
            throw Failure("\(reason); the file is in the store as \(ref)")
        }
    }

    private static func checkFree(_ name: String, in session: Session, namespace: String) async throws {
        do throws(RayStoreError) {
            let holder: ObjectRef<RayFile> = try await session.find(name)
            throw RayStoreError(
                .nameInUse,
                "the name '\(name)' is in use in the namespace '\(namespace)' for \(holder.id): choose another, or remove it with 'raystore rm \(Shell.quoted(name))'"
            )
        } catch {
            guard error.code == .nameUnknown else { throw error }
        }
    }
}
