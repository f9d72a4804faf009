// SPDX-License-Identifier: Apache-2.0

extension Session {
    /// What the node says of itself and its cluster, as JSON.
    ///
    /// - Parameters:
    ///   - what: `status`, `list`, `memory`, `names`, `nodes`, ...
    ///   - arguments: JSON.
    /// - Throws: `invalidArgument` or `unsupported` for what the node does not report.
    package func report(_ what: String, arguments: String = "{}") async throws(RayStoreError) -> String {
        var payload = PayloadWriter()
        payload.append(text: what)
        payload.append(text: arguments)
        return String(decoding: try await ask(.report, payload), as: UTF8.self)
    }

    /// Asks the node to end.
    package func stopNode(flags: UInt32 = 0) async throws(RayStoreError) {
        var payload = PayloadWriter()
        payload.append(flags)
        try await ask(.stop, payload)
    }
}
