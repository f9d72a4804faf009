// SPDX-License-Identifier: Apache-2.0
internal import FoundationEssentials

extension Session {
    /// What the node says of itself and its cluster, as JSON.
    ///
    /// - Parameters:
    ///   - what: `status`, `list`, `memory`, `names`, `nodes`, `explain`, ...
    ///   - arguments: JSON.
    /// - Throws: `unsupported` for what the node does not report.
    package func report(_ what: String, arguments: String = "{}") async throws(RayStoreError) -> String {
        var payload = PayloadWriter()
        payload.append(text: what)
        payload.append(text: arguments)
        return String(decoding: try await ask(.report, payload), as: UTF8.self)
    }

    /// The objects that the nodes know, one row for each node that knows it.
    ///
    /// - Throws: `protocolError` when the node's answer cannot be read; `closed`, `nodeDied`.
    public func list() async throws(RayStoreError) -> [ObjectSummary] {
        struct Report: Decodable {
            let objects: [ObjectSummary]
        }
        return try decode(Report.self, of: await report("list")).objects
    }

    /// The memory of the nodes. A node that does not answer is not in the list.
    ///
    /// - Throws: `protocolError` when the node's answer cannot be read; `closed`, `nodeDied`.
    public func memory() async throws(RayStoreError) -> [NodeMemory] {
        struct Report: Decodable {
            let nodes: [NodeMemory]
        }
        return try decode(Report.self, of: await report("memory")).nodes
    }

    /// Why the latest transfer of the object to this node went as it did: what came from where, how it was packed, and why.
    ///
    /// - Returns: nil when nothing was transferred, or the node has forgotten it: it keeps the latest 64.
    /// - Throws: `protocolError` when the node's answer cannot be read; `closed`, `nodeDied`.
    public func transferExplanation(of ref: AnyObjectRef) async throws(RayStoreError) -> TransferExplanation? {
        try decode(TransferExplanation?.self, of: await report("explain", arguments: #"{"object":"\#(ref.id)"}"#))
    }

    private func decode<Report: Decodable>(_ type: Report.Type, of json: String) throws(RayStoreError) -> Report {
        do {
            return try JSONDecoder().decode(type, from: Data(json.utf8))
        } catch {
            throw RayStoreError(.protocolError, "the node's report cannot be read; is it of another version? \(error)")
        }
    }

    /// Asks the node to end.
    package func stopNode(flags: UInt32 = 0) async throws(RayStoreError) {
        var payload = PayloadWriter()
        payload.append(flags)
        try await ask(.stop, payload)
    }
}
