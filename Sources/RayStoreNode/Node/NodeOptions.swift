// SPDX-License-Identifier: Apache-2.0

/// How a node is set up.
public struct NodeOptions: Sendable {
    /// Where the node keeps files, catalogues and its socket. Made with mode 0700 if missing; one node at a time uses it.
    public var stateDirectory: String
    /// Bytes of shared memory for objects.
    public var capacity: UInt64
    /// Bytes of `capacity` that the node takes in the background at its start, so that who puts first need not wait for the
    /// machine to find and clear memory; 0 for none. Nil: all of it, or a quarter of the memory that is left if that is less.
    public var prefault: UInt64?
    /// The Unix socket of its clients; nil for `node.sock` in the state directory.
    public var socketPath: String?
    /// Other users who may read; nil for none.
    public var readers: ReaderOptions?
    /// The address that chunks are served at; nil for a node that serves no other.
    public var bindHost: String?
    /// The port that chunks are served at; 0 for any free one.
    public var bulkPort: UInt16
    /// The port that other nodes fetch chunks by, when something forwards it to `bulkPort`; nil for the port itself.
    public var advertisedBulkPort: UInt16?
    /// What the node may take of the network.
    public var caps: TransferCaps
    /// Whether the checksums of what may be sent are computed before anybody asks, while nobody else wants a core. Else the first transfer of each
    /// computes them.
    public var sumsAhead: Bool
    /// How long a ref that was passed on is kept for whoever opens it. Its session's end ends it earlier.
    public var shareLease: Duration
    /// Free bytes that files must leave on their disk.
    public var diskReserve: UInt64
    /// The part of the disk that may be full, with all that others have there, when files come; 1 for all of it. Together with the reserve
    /// the stricter of the two counts.
    public var diskWatermark: Double
    /// How long files that an earlier node of the state directory had got in part are kept for whoever wants them again, from the
    /// start on. They go earlier when the disk is short, or their objects have ended.
    public var partialLifetime: Duration
    /// When objects go to the storage.
    public var spill: SpillOptions
    /// Whether to forget what earlier lives left in storages that are not configured any more. It stays where it is, and nobody hears of it again.
    public var forgetsOtherStorages: Bool
    /// Whether files that this node owns may go to its storage when the disk is short. They are brought back when they are got. The
    /// storage should be on another disk.
    public var movesFiles: Bool
    /// How long who waits for room in the store without a limit of its own, a put or a pull, goes on while nothing at all comes free.
    public var roomGrace: Duration
    /// How long a get without a limit of its own waits, while nothing comes, for somebody who has the object. In the package, for tests.
    package var holderPatience: Duration
    /// Bytes that one client's objects may take of the store when memory is short; nil for as many as there are. While there is room for all
    /// nobody is counted.
    public var clientQuota: UInt64?
    /// The same for all objects of one job.
    public var jobQuota: UInt64?
    /// How often the node's levels and totals are reported to the metrics system.
    public var metricsEvery: Duration

    public init(stateDirectory: String, capacity: UInt64 = 1 << 30) {
        self.stateDirectory = stateDirectory
        self.capacity = capacity
        prefault = nil
        socketPath = nil
        readers = nil
        bindHost = nil
        bulkPort = 0
        advertisedBulkPort = nil
        caps = TransferCaps()
        sumsAhead = true
        shareLease = .seconds(600)
        diskReserve = 64 << 20
        diskWatermark = 0.95
        partialLifetime = LeftPartials.lifetime
        spill = SpillOptions()
        forgetsOtherStorages = false
        movesFiles = false
        roomGrace = .seconds(10)
        holderPatience = .seconds(60)
        clientQuota = nil
        jobQuota = nil
        metricsEvery = .seconds(5)
    }

    var resolvedSocketPath: String { socketPath ?? stateDirectory + "/node.sock" }
}
