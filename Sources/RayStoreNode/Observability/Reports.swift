// SPDX-License-Identifier: Apache-2.0
internal import CRayStore
internal import Foundation
internal import RayStore

/// Answers questions about this node, and about the cluster by asking every node for its part.
final class Reports: Sendable {
    private let description: NodeDescription
    private let store: NodeStore
    private let files: FileKeeper
    private let transfer: BulkTransfer
    private let ownership: Ownership
    private let links: PeerLinks
    private let peers: Peers
    private let control: any ControlStore
    private let storage: NodeStorage
    private let leftStorages: [LeftStorage]
    private let spiller: Spiller?

    init(
        description: NodeDescription, store: NodeStore, files: FileKeeper, transfer: BulkTransfer, ownership: Ownership,
        links: PeerLinks, peers: Peers, control: any ControlStore, storage: NodeStorage, leftStorages: [LeftStorage],
        spiller: Spiller?
    ) {
        self.description = description
        self.store = store
        self.files = files
        self.transfer = transfer
        self.ownership = ownership
        self.links = links
        self.peers = peers
        self.control = control
        self.storage = storage
        self.leftStorages = leftStorages
        self.spiller = spiller
    }

    /// Answers a client: `status`, `list`, `memory`, `names`, `nodes`; `explain` of the latest transfer of an object, null if there is none.
    ///
    /// - Throws: `unsupported` for any other question.
    func answer(_ what: String, arguments: String, namespace: String) async throws(RayStoreError) -> String {
        switch what {
        case "status":
            let (nodes, silent) = try await nodeReports()
            return try encode(ClusterReport(node: description.id, nodes: nodes, silent: silent))
        case "list", "memory":
            let (nodes, silent) = try await nodeReports()
            let objects = try await everywhere("objects", as: [ObjectReport].self, own: localObjects()).answers.flatMap(\.self)
            let names = try await control.names(in: nil)
            var clients: [ClientReport]?
            if what == "memory" {
                clients = try await everywhere("clients", as: [ClientReport].self, own: localClients()).answers.flatMap(\.self)
            }
            return try encode(ObjectsReport(objects: objects, names: names, clients: clients, nodes: nodes, silent: silent))
        case "names":
            return try encode(try await control.names(in: namespace))
        case "nodes":
            return try encode(peers.all)
        case "explain":
            let question = try decode(ExplainQuestion.self, of: arguments)
            return try encode(transfer.explanations.explanation(of: question.object))
        default:
            throw RayStoreError(.unsupported, "there is no report '\(what)': status, list, memory, names, nodes and explain are")
        }
    }

    /// Answers another node about this one.
    func answerPeer(_ what: String) async throws(RayStoreError) -> String {
        switch what {
        case "node": return try encode(try await localNode())
        case "objects": return try encode(try await localObjects())
        case "clients": return try encode(try await localClients())
        default: throw RayStoreError(.unsupported, "there is no report '\(what)' between nodes")
        }
    }

    private func nodeReports() async throws(RayStoreError) -> (nodes: [NodeReport], silent: [NodeDescription]) {
        let (nodes, silent) = try await everywhere("node", as: NodeReport.self, own: try await localNode())
        return (nodes.sorted { $0.node.number < $1.node.number }, silent)
    }

    /// This node's own answer, and what the others give; the silent ones are named and not waited for longer than the transport does.
    private func everywhere<Answer: Decodable & Sendable>(
        _ what: String, as type: Answer.Type, own: Answer
    ) async throws(RayStoreError) -> (answers: [Answer], silent: [NodeDescription]) {
        let links = links
        let others = peers.all.filter { $0.id != description.id }
        return await withTaskGroup(of: (NodeDescription, Answer?).self) { group in
            for node in others {
                group.addTask {
                    guard case .report(let text)? = try? await links.askAside(node.id, .report(what, arguments: "")) else {
                        return (node, nil)
                    }
                    return (node, try? JSONDecoder().decode(type, from: Data(text.utf8)))
                }
            }
            var answers = [own]
            var silent: [NodeDescription] = []
            for await (node, answer) in group {
                if let answer { answers.append(answer) } else { silent.append(node) }
            }
            return (answers, silent)
        }
    }

    /// Takes the store's lock, which may be waited for, and looks at its whole table.
    func localNode() async throws(RayStoreError) -> NodeReport {
        let store = store
        let memory = try await runBlocking { () throws(RayStoreError) in try store.stats() }
        let (room, dropped, moved) = (files.room, files.dropped, files.moved.counts)
        let left = files.left
        let disk = try? await runBlocking { () throws(RayStoreError) in try room.look() }
        let partial = (try? await runBlocking { left.counts }) ?? (files: 0, bytes: 0)
        let traffic = transfer.stats
        let kept = files.all
        return NodeReport(
            node: description, capacityBytes: memory.capacity_bytes, usedBytes: memory.used_bytes,
            freeBytes: memory.free_bytes, largestFreeBytes: memory.largest_free_bytes,
            freeBlockCount: memory.free_block_count, unusableForMebibyteBytes: memory.unusable_for_1mib_bytes,
            pinnedBytes: memory.pinned_bytes,
            reservedBytes: memory.reserved_bytes, objectCount: Int(memory.sealed_count),
            clientCount: Int(memory.client_count) - 1, fileCount: files.count,
            fileBytes: kept.values.reduce(0) { $0 + ($1.origin == .reference ? 0 : $1.size) },
            sentBytes: traffic.sent_bytes, sentWireBytes: traffic.sent_wire_bytes, receivedBytes: traffic.received_bytes,
            receivedWireBytes: traffic.received_wire_bytes, refusedConnections: traffic.refused_count,
            corruptChunks: traffic.corrupt_count, retriedChunks: traffic.retried_count,
            sums: SumsReport(
                hashedBytes: traffic.hashed_bytes, aheadBytes: traffic.ahead_bytes, givenBytes: traffic.given_bytes,
                pendingCount: traffic.ahead_pending_count, pendingBytes: traffic.ahead_pending_bytes,
                sendfileBytes: traffic.sendfile_bytes),
            storage: storage.typeName,
            canSpill: storage.canSpill, spill: storage.canSpill ? await spiller?.snapshot() : nil,
            leftStorages: leftStorages,
            disk: disk.map {
                DiskReport(
                    totalBytes: $0.total, freeBytes: $0.free, keptBytes: $0.kept, waitingCount: room.waitingCount,
                    droppedFileCount: dropped.count, droppedFileBytes: dropped.bytes,
                    movedFileCount: moved.files, movedFileBytes: moved.bytes, moves: moved.moved, returns: moved.returned,
                    partialFileCount: partial.files, partialFileBytes: partial.bytes)
            })
    }

    private func localObjects() async throws(RayStoreError) -> [ObjectReport] {
        let kept = files.all
        let records = await ownership.owned
        let (store, spilled) = (store, spiller?.index)
        return try await runBlocking { () throws(RayStoreError) in try store.entries() }.map { entry in
            let location = spilled?.record(of: entry.id)
            let record = records[entry.id]
            let moved = files.moved[entry.id]?.descriptor
            let file = kept[entry.id] ?? moved
            let isSpilled = location != nil && entry.state == .remote
            let state = moved != nil ? "moved" : isSpilled ? "spilled" : "\(entry.state)"
            return ObjectReport(
                object: entry.id, node: description.id.short, kind: file == nil ? "object" : "file",
                state: state,
                creatorProcess: entry.creatorProcess, ageSeconds: entry.age / .seconds(1),
                memoryBytes: entry.memoryBytes, size: file?.size ?? location?.dataSize ?? entry.dataSize,
                spilledBytes: location?.location.size ?? 0, job: entry.id.job,
                // An object that never left its processes has no record and is this node's.
                isOwner: record != nil || !entry.nodeHasRef, isDetached: record?.isDetached ?? false,
                referringClients: entry.referringClients, pinningClients: entry.pinningClients,
                borrowers: record?.borrowers.count ?? 0, holders: record?.holders.count ?? 0,
                shares: record?.shares.values.reduce(0) { $0 + $1.count } ?? 0, path: kept[entry.id]?.path)
        }
    }

    /// Takes the store's lock, which may be waited for.
    private func localClients() async throws(RayStoreError) -> [ClientReport] {
        let (store, name) = (store, description.id.short)
        return try await runBlocking { () throws(RayStoreError) in try store.clients().map { ClientReport($0, node: name) } }
    }

    private struct ExplainQuestion: Decodable {
        let object: ObjectID
    }

    private func decode<Question: Decodable>(_ type: Question.Type, of json: String) throws(RayStoreError) -> Question {
        do {
            return try JSONDecoder().decode(type, from: Data(json.utf8))
        } catch {
            throw RayStoreError(.invalidArgument, "a report's arguments cannot be read: \(error)")
        }
    }

    private func encode(_ value: some Encodable) throws(RayStoreError) -> String {
        do {
            let encoder = JSONEncoder()
            encoder.outputFormatting = [.sortedKeys]
            return String(decoding: try encoder.encode(value), as: UTF8.self)
        } catch {
            throw RayStoreError(.system, "a report cannot be coded: \(error)")
        }
    }
}
