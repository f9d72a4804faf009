// SPDX-License-Identifier: Apache-2.0
internal import RayStore
internal import RayStoreCluster
internal import RayStoreNode

/// How a node is to be started; the arguments of `raystore start`, checked.
struct NodeSetup: Sendable {
    enum Role: Sendable {
        case head
        case member(of: HostPort)
    }

    var role: Role
    var stateDirectory: StateDirectory
    var keyFile: String
    var memory: ByteSize
    /// How much of it is taken at once; nil for the usual share.
    var prefault: ByteSize? = nil
    /// For control messages; nil for the standard one of a head, any of another node.
    var port: UInt16?
    var bulkPort: UInt16
    /// The port of a forwarder to `bulkPort`; nil when the others reach it directly.
    var advertisedBulkPort: UInt16?
    var host: String
    /// Users who may read, and the socket that they come to; nil for none.
    var readers: ReaderOptions? = nil
    /// What it may take of the network.
    var caps = TransferCaps()
    /// Whether checksums are computed before anybody asks.
    var sumsAhead = true
    var disk = DiskSetup()
    var quotas = QuotaSetup()
    /// Where objects go when memory is short.
    var spill = SpillSetup()

    /// What starts the same node in the foreground of another process.
    var arguments: [String] {
        var words = ["start", "--block"]
        switch role {
        case .head: words += ["--head"]
        case .member(let head): words += ["--address", head.description]
        }
        words += ["--state-dir", stateDirectory.path, "--key-file", keyFile, "--memory", String(memory.bytes)]
        if let prefault { words += ["--prefault", String(prefault.bytes)] }
        if let port { words += ["--port", String(port)] }
        if let readers {
            words += readers.users.flatMap { ["--allow-reader", String($0)] } + ["--reader-socket", readers.socketPath]
        }
        if let advertisedBulkPort { words += ["--advertise-bulk-port", String(advertisedBulkPort)] }
        if !sumsAhead { words.append("--no-sums-ahead") }
        words += caps.arguments + disk.arguments + quotas.arguments + spill.arguments
        return words + ["--bulk-port", String(bulkPort), "--host", host]
    }
}
