// SPDX-License-Identifier: Apache-2.0
internal import ArgumentParser
internal import Foundation
internal import RayStore
internal import RayStoreCluster
internal import RayStoreNode

struct StartCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "start",
        abstract: "Start a node on this machine: the head of a new cluster, or a member of one.",
        discussion: """
            The first node of a cluster is its head. It makes the cluster's key, a file that only you can read, and prints the command for \
            the other machines. Copy the key file to them first, by scp for example; without the key nobody gets anything.

              raystore start --head --host 10.0.0.5
              scp /run/user/1000/raystore/cluster.key other:
              ssh other raystore start --address 10.0.0.5:6380 --key-file cluster.key --host 10.0.0.6

            The node runs on when the command returns. End it with 'raystore stop'.
            """)

    @Flag(help: "Start the head of a new cluster.")
    var head = false

    @Option(
        help: ArgumentHelp("Join the cluster whose head is there.", valueName: "host:port"),
        transform: { text in try HostPort(text) })
    var address: HostPort?

    @Option(
        help: ArgumentHelp(
            "The file with the cluster's key. A head makes it if it is missing. (default: cluster.key in the state directory)",
            valueName: "file"),
        completion: .file())
    var keyFile: String?

    @Option(
        help: ArgumentHelp(
            "Shared memory for objects, such as 512MiB or 8GiB. (default: 2GiB, or a quarter of the machine's if that is less)",
            valueName: "size"),
        transform: { text in try ByteSize.parse(text) })
    var memory: ByteSize?

    @Option(
        help: ArgumentHelp(
            """
            How much of that to take from the machine at once, in the background, so that the first puts are fast, or 'off'. \
            (default: all, or a quarter of what the machine has left if that is less)
            """, valueName: "size|off"),
        transform: { text in text == "off" ? ByteSize(bytes: 0) : try ByteSize.parse(text) })
    var prefault: ByteSize?

    @Option(
        help: ArgumentHelp(
            "Where the node keeps its files, its socket and its log. (default: $XDG_RUNTIME_DIR/raystore, else /tmp/raystore-<uid>)",
            valueName: "directory"),
        completion: .directory)
    var stateDir: String?

    @Option(help: "The port for control messages; 0 for any. (default: 6380 for a head, else any)")
    var port: UInt16?

    @Option(help: "The port that data comes from; 0 for any.")
    var bulkPort: UInt16 = 0

    @Option(
        help: ArgumentHelp(
            "The port that the other machines reach the data by, when a forwarder (NAT, a container) stands before --bulk-port.",
            valueName: "port"))
    var advertiseBulkPort: UInt16?

    @Option(help: "The address to listen at, by which the other machines reach this one.")
    var host = "127.0.0.1"

    @Option(
        help: ArgumentHelp(
            "Let a user, by name or number, read all objects of this node and write none. May be given again.", valueName: "user")
    )
    var allowReader: [String] = []

    @Option(
        help: ArgumentHelp(
            "The socket for such readers, in a directory that they can enter. (default: node.sock in <state directory>-readers)",
            valueName: "file"),
        completion: .file())
    var readerSocket: String?

    @Flag(
        inversion: .prefixedNo,
        help: ArgumentHelp(
            "Compute the checksums of what may be sent before anybody asks, while the machine has nothing else to do."))
    var sumsAhead = true

    @OptionGroup(title: "Limits") var caps: CapsChoice

    @OptionGroup(title: "Limits of the disk") var disk: DiskChoice

    @OptionGroup(title: "Limits of memory") var quotas: QuotaChoice

    @OptionGroup(title: "When memory is short") var spill: SpillChoice

    @Flag(help: "Stay in the foreground; end on Ctrl-C, SIGTERM or 'raystore stop'.")
    var block = false

    @Flag(help: "Print one JSON document.")
    var json = false

    /// Descriptor 3 is a pipe of the parent's, to be told through how the start went.
    @Flag(help: .hidden)
    var readyPipe = false

    /// The node ends when its standard input does; without --block that is the command's own, which the node takes over.
    @Flag(help: .hidden)
    var leash = false

    func validate() throws {
        guard head != (address != nil) else {
            throw ValidationError(
                head ? "a node is the head or joins one: give either --head or --address" : "give --head, or --address HOST:PORT")
        }
        if let memory, memory.bytes < 1 << 20 { throw ValidationError("--memory must be at least 1MiB") }
        if spill.clusterStorage != nil, !head { throw ValidationError("--cluster-storage is the head's to say: give it there") }
        try checkForwarding()
        if ["0.0.0.0", "::", "", "*"].contains(host) {
            throw ValidationError("--host '\(host)' is no address that others could reach this machine by: give one of its own")
        }
    }

    private func checkForwarding() throws {
        guard let advertiseBulkPort else { return }
        guard advertiseBulkPort > 0 else { throw ValidationError("--advertise-bulk-port 0 is no port that others could go to") }
        guard bulkPort > 0 else {
            throw ValidationError("--advertise-bulk-port needs --bulk-port: a forwarder must know where to forward to")
        }
    }

    func run() async throws {
        let setup = try setup()
        if block {
            try await Foreground.run(setup, json: json, tellsParent: readyPipe, isLeashed: leash)
            return
        }
        let node = try await interruptible { try await NodeProcess.start(setup, leash: leash ? .standardInput : .none) }
        try Self.say(node.launch, setup, json: json)
    }

    private func setup() throws -> NodeSetup {
        let directory = stateDir.map { StateDirectory($0) } ?? .standard
        let physical = Int(clamping: ProcessInfo.processInfo.physicalMemory)
        if let memory, memory.bytes > physical {
            throw Failure(
                "--memory \(Amounts.bytes(UInt64(memory.bytes))) is more than this machine's \(Amounts.bytes(UInt64(physical))): give less"
            )
        }
        let usual = ByteSize(bytes: min(2 << 30, physical / 4))
        return NodeSetup(
            role: address.map { .member(of: $0) } ?? .head, stateDirectory: directory,
            keyFile: keyFile.map { Paths.absolute($0) } ?? directory.key, memory: memory ?? usual, prefault: prefault,
            port: port, bulkPort: bulkPort, advertisedBulkPort: advertiseBulkPort, host: host,
            readers: try readers(beside: directory), caps: caps.caps, sumsAhead: sumsAhead, disk: disk.limits,
            quotas: quotas.quotas, spill: try spill.setup())
    }

    private func readers(beside directory: StateDirectory) throws -> ReaderOptions? {
        guard !allowReader.isEmpty else {
            if readerSocket != nil { throw Failure("--reader-socket is for the users of --allow-reader: give one") }
            return nil
        }
        let socket = readerSocket.map { Paths.absolute($0) } ?? directory.path + "-readers/node.sock"
        return ReaderOptions(users: try allowReader.map { try SystemUser.number(of: $0) }, socketPath: socket)
    }

    static func say(_ launch: NodeLaunch, _ setup: NodeSetup, json: Bool) throws {
        if json {
            try Console.say(json: launch)
            return
        }
        var lines = [
            "\(launch.isHead ? "The head" : "A node") of the cluster runs at \(launch.address) "
                + "(process \(launch.pid), \(Amounts.bytes(UInt64(setup.memory.bytes))) of memory).",
            "  state directory  \(launch.stateDirectory)",
            "  key file         \(launch.keyFile)",
        ]
        if let log = launch.log { lines.append("  log              \(log)") }
        if let readers = setup.readers { lines.append("  readers' socket  \(readers.socketPath)") }
        if !launch.leftStorages.isEmpty {
            lines += [""] + launch.leftStorages.map(SpillText.left)
            lines.append("That stays until the node is started with that storage again, or with --forget-storages.")
        }
        if launch.isHead {
            lines += ["", "Copy the key file to the other machines and start there:"]
            lines.append("  raystore start --address \(launch.address) --key-file \(Shell.quoted(launch.keyFile))")
            if setup.host == "localhost" || setup.host.hasPrefix("127.") || setup.host == "::1" {
                lines.append(
                    "This head listens at \(setup.host), which only this machine reaches: --host gives it another address.")
            }
        }
        let isStandard = setup.stateDirectory == .standard
        lines += ["", "Stop it with: raystore stop\(isStandard ? "" : " --state-dir \(Shell.quoted(launch.stateDirectory))")"]
        try Console.say(lines.joined(separator: "\n"))
    }
}
