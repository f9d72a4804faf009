// SPDX-License-Identifier: Apache-2.0
internal import ArgumentParser
internal import Foundation
internal import RayStore

/// Sessions of the tool.
enum Connection {
    /// Where the tool's names are unless said otherwise: its sessions come and go, so they must share a namespace.
    static let defaultNamespace = "default"

    /// Connects to a node of this machine, runs the body and ends the session, however the body ends.
    ///
    /// - Parameter puts: the body puts something. Only then is a job begun, which needs the head: a node whose head is away can still be
    ///   looked at and stopped.
    static func with<Value: Sendable>(
        _ choice: NodeChoice, namespace: String = defaultNamespace, puts: Bool = false,
        _ body: @Sendable (Session) async throws -> Value
    ) async throws -> Value {
        let session: Session
        do throws(RayStoreError) {
            session = try await Session.connect(socket: choice.socket, job: puts ? nil : JobID.none, namespace: namespace)
        } catch {
            guard error.code == .notRunning else { throw error }
            throw Failure(
                "no node is running at \(choice.socket): start one with 'raystore start --head', or say with --state-dir where it is"
            )
        }
        do {
            let value = try await body(session)
            await session.close()
            return value
        } catch {
            await session.close()
            throw error
        }
    }

    /// Opens an object by the text of its ref, or by its name.
    ///
    /// - Throws: `Failure` naming the text when it is neither; why the object cannot be opened.
    static func open<Value>(
        _ text: String, in session: Session, namespace: String, as type: Value.Type = Value.self
    ) async throws -> ObjectRef<Value> {
        if let id = try? ObjectID(text) {
            do throws(RayStoreError) {
                return try await session.open(id, as: type)
            } catch {
                guard error.code == .notFound else { throw error }
                throw Failure("no object \(text) is known to the cluster: 'raystore list' shows those that are")
            }
        }
        do throws(RayStoreError) {
            return try await session.find(text, as: type)
        } catch {
            guard error.code == .nameUnknown || error.code == .invalidArgument else { throw error }
            throw Failure(
                "'\(text)' is neither a ref (56 hex digits) nor a name in the namespace '\(namespace)': 'raystore list' shows what there is"
            )
        }
    }

    /// Reads a report of the node.
    static func report<Report: Decodable>(_ what: String, as type: Report.Type, from session: Session) async throws -> Report {
        let text = try await session.report(what)
        do {
            return try JSONDecoder().decode(type, from: Data(text.utf8))
        } catch {
            throw Failure("the node's answer cannot be read: is it of another version? Restart it with this one")
        }
    }
}

/// The option that says where names are looked up.
struct NamespaceChoice: ParsableArguments {
    @Option(help: ArgumentHelp("Where names are looked up.", valueName: "namespace"))
    var namespace = Connection.defaultNamespace
}
