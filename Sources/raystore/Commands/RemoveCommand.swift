// SPDX-License-Identifier: Apache-2.0
internal import ArgumentParser
internal import RayStore
internal import RayStoreNode

struct RemoveCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "rm",
        abstract: "Remove what was put with 'raystore put', with its names.",
        discussion: """
              raystore rm train
              raystore rm 00ffffffffffffffffffffffffffffffffffffff0100000001e1f505

            Every copy goes, on every node, once nobody uses it any more.
            """)

    @Argument(help: ArgumentHelp("Refs or names.", valueName: "ref-or-name"))
    var objects: [String]

    @OptionGroup var names: NamespaceChoice
    @OptionGroup var choice: NodeChoice

    @Flag(help: "Print one JSON document.")
    var json = false

    func run() async throws {
        let (choice, namespace, objects) = (choice, names.namespace, objects)
        let removed = try await interruptible {
            try await Connection.with(choice, namespace: namespace) { session in
                // All are looked up before the first goes, so that a mistake in the last removes nothing.
                var found: [(ref: ObjectRef<RayFile>, text: String)] = []
                var stale: [String] = []
                for text in objects {
                    do {
                        let ref: ObjectRef<RayFile> = try await Connection.open(text, in: session, namespace: namespace)
                        if !found.contains(where: { $0.ref == ref }) { found.append((ref, text)) }
                    } catch let error as RayStoreError where Self.isGone(error) && (try? ObjectID(text)) == nil {
                        // The node that owned it died; all that is left is the name.
                        stale.append(text)
                    }
                }
                let known = try await Connection.report("list", as: ObjectsReport.self, from: session).objects
                for (ref, text) in found {
                    if let owned = known.first(where: { $0.object == ref.id && $0.isOwner }), !owned.isDetached {
                        throw Failure("'\(text)' is not detached: it goes by itself when the programs that use it let go of it")
                    }
                }
                var removed: [String] = []
                for (ref, _) in found {
                    try await session.remove(ref)
                    removed.append(ref.id.description)
                }
                for name in stale { removed.append(try await session.unbind(name).description) }
                return removed
            }
        }
        struct Answer: Encodable {
            let removed: [String]
        }
        if json { try Console.say(json: Answer(removed: removed)) }
    }

    private static func isGone(_ error: RayStoreError) -> Bool {
        [.ownerDied, .objectLost, .objectFreed, .nodeDied, .notFound, .unreachable].contains(error.code)
    }
}
