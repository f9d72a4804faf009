// SPDX-License-Identifier: Apache-2.0
internal import Foundation
internal import RayStore
internal import RayStoreNode

/// Two real nodes, a file and an array that go from one to the other, and the proof that nothing is left of them.
struct Demo: Sendable {
    let file: String?
    let size: Int
    let arrayBytes: Int
    let isSilent: Bool

    private enum Names {
        static let a = "A"
        static let b = "B"
    }

    /// Runs it all in a room. What it started is ended and removed however it ends; the room is the caller's.
    func run(in room: DemoRoom) async throws -> DemoReport {
        let network = try await DemoNetwork.make(in: room)
        var nodes: [NodeProcess] = []
        let outcome: Result<DemoReport, any Error>
        do {
            say("Two nodes \(network.description).")
            let a = try await startNode(Names.a, at: network.a, head: nil, in: room)
            nodes.append(a)
            let b = try await startNode(Names.b, at: network.b, head: a.launch, in: room)
            nodes.append(b)
            var report = DemoReport(network: network.description)
            try await run(a.launch, b.launch, network, room, &report)
            outcome = .success(report)
        } catch {
            outcome = .failure(error)
        }
        // The member before the head, as a cluster is taken down.
        var codes: [Int32] = []
        for node in nodes.reversed() {
            await node.child.end(grace: .seconds(15))
            codes.append(node.child.poll() ?? -1)
        }
        await network.remove(room)
        let report = try outcome.get()
        guard codes.allSatisfy({ $0 == 0 }) else {
            throw Failure(
                "a node did not end in order (exit codes of B and A: \(codes)); run the demo with --keep to read its log")
        }
        let left = [Names.a, Names.b].flatMap { DemoRoom.leftovers(in: room.stateDirectory($0).path) }
        guard left.isEmpty else { throw Failure("the nodes left files behind: \(left.joined(separator: ", "))") }
        say("Both nodes have stopped and left no file behind.")
        return report
    }

    private func startNode(
        _ name: String, at end: DemoNetwork.End, head: NodeLaunch?, in room: DemoRoom
    ) async throws -> NodeProcess {
        // Room for the array and what the allocator needs around it.
        let memory = ByteSize(bytes: arrayBytes + arrayBytes / 4 + (64 << 20))
        let directory = room.stateDirectory(name)
        let setup = NodeSetup(
            role: head.map { .member(of: $0.hostPort) } ?? .head, stateDirectory: directory,
            keyFile: head?.keyFile ?? directory.key, memory: memory, port: 0, bulkPort: 0, host: end.host)
        let node = try await NodeProcess.start(setup, wrapper: end.wrapper, leash: .thisProcess)
        say(
            "  node \(name) at \(node.launch.address), process \(node.launch.pid), \(Amounts.bytes(UInt64(memory.bytes))) of memory"
        )
        return node
    }

    private func run(
        _ a: NodeLaunch, _ b: NodeLaunch, _ network: DemoNetwork, _ room: DemoRoom, _ report: inout DemoReport
    ) async throws {
        let onA = try await Session.connect(socket: a.socket)
        let onB: Session
        do {
            onB = try await Session.connect(socket: b.socket)
        } catch {
            await onA.close()
            throw error
        }
        let held = DemoObjects()
        do {
            let source = try await makeSource(in: room, &report)
            try await moveFile(source, from: onA, to: onB, held, &report)
            try await moveArray(from: onA, to: onB, held, &report)
            try await moveFileSlowly(source, from: onA, to: onB, over: network, in: room, held, &report)
            report.isVerified = true
            say("")
            say(report.table)
            say("")
            report.secondsUntilGone = try await letGo(held, asking: onA)
        } catch {
            held.letGo()
            await onB.close()
            await onA.close()
            throw error
        }
        await onB.close()
        await onA.close()
    }

    // MARK: The file

    private func makeSource(in room: DemoRoom, _ report: inout DemoReport) async throws -> String {
        if let file { return file }
        let path = room.path + "/train.jsonl"
        let size = size
        let seconds = try await measure {
            try await runCancellable { (flag) throws(RayStoreError) in
                try TrainingFile.make(at: path, size: size, isCancelled: flag)
            }
        }
        report.steps.append(.init(what: "make the file", bytes: size, seconds: seconds))
        say("Made \(path): \(Amounts.bytes(UInt64(size))) of JSON lines with text and float columns.")
        return path
    }

    private func moveFile(
        _ source: String, from a: Session, to b: Session, _ held: DemoObjects, _ report: inout DemoReport
    ) async throws {
        let clock = ContinuousClock()
        var start = clock.now
        let ref = try await a.put(RayFile(path: source))
        var step = DemoReport.Step(what: "put the file on A", bytes: 0, seconds: (clock.now - start) / .seconds(1))
        held.hold(ref)
        step.copies = try await copies(of: ref, asking: a)

        let text = try await ref.shared().text
        say("A put \(Paths.name(of: source).printable): ref \(text)")
        let (file, seconds, state) = try await fetch(text, to: b, held)
        let bytes = file.size?.bytes ?? 0
        step.bytes = bytes
        report.steps.append(step)
        report.steps.append(
            .init(
                what: "get the file on B", bytes: bytes, seconds: seconds, wireBytes: state.wire, codecs: state.codecs,
                copies: try await copies(of: ref, asking: a)))

        let path = file.path
        start = clock.now
        try await compare(source, with: path)
        report.steps.append(.init(what: "compare both files", bytes: bytes, seconds: (clock.now - start) / .seconds(1)))
        say("Every byte is the same. B opens \(path):")
        for line in try Self.firstLines(of: path, isOurs: self.file == nil) { say("  " + line) }
    }

    /// The same file once more, over a link of 1 Gbit/s: there compressing is worth it, and the transfer finds that out by itself.
    private func moveFileSlowly(
        _ source: String, from a: Session, to b: Session, over network: DemoNetwork, in room: DemoRoom, _ held: DemoObjects,
        _ report: inout DemoReport
    ) async throws {
        guard network.canBeSlowed else { return }
        do {
            try await network.slow(to: "1gbit", room)
        } catch let failure as Failure {
            say("The link cannot be slowed to 1 Gbit/s here (\(failure.message)); that part is left out.")
            return
        }
        let ref = try await a.put(RayFile(path: source, enableCopy: false))
        held.hold(ref)
        say("The link has 1 Gbit/s from here on; A puts the same file again, where it lies.")
        let (file, seconds, state) = try await fetch(ref.shared().text, to: b, held)
        try await compare(source, with: file.path)
        report.steps.append(
            .init(
                what: "get it at 1 Gbit/s", bytes: file.size?.bytes ?? 0, seconds: seconds, wireBytes: state.wire,
                codecs: state.codecs, copies: try await copies(of: ref, asking: a)))
    }

    /// Gets a file with a progress bar, and says how long that took and what went over the wire.
    private func fetch(
        _ text: String, to session: Session, _ held: DemoObjects
    ) async throws -> (file: RayFile, seconds: Double, state: TransferState) {
        let start = ContinuousClock.now
        let ref = try await session.open(text, as: RayFile.self)
        held.hold(ref)
        let bar = ProgressBar("B gets it", isSilent: isSilent)
        let file: RayFile
        do {
            file = try await session.get(ref) { bar.update($0) }
        } catch {
            bar.abandon()
            throw error
        }
        held.hold(file)
        return (file, (ContinuousClock.now - start) / .seconds(1), bar.finish() ?? TransferState())
    }

    private func compare(_ source: String, with path: String) async throws {
        let difference = try await runCancellable { (flag) throws(RayStoreError) in
            try FileComparison.firstDifference(source, path, isCancelled: flag)
        }
        if let difference { throw Failure("the file on B differs from the source, from byte \(difference) on: \(path)") }
    }

    /// Opens the file as any program would: by its path.
    private static func firstLines(of path: String, isOurs: Bool) throws -> [String] {
        guard let handle = FileHandle(forReadingAtPath: path) else { throw Failure("\(path) cannot be opened") }
        defer { try? handle.close() }
        let start = try handle.read(upToCount: 4096) ?? Data()
        let lines = start.split(separator: 0x0A, maxSplits: 2, omittingEmptySubsequences: true).prefix(2)
        return try lines.map { line in
            guard isOurs else { return String(decoding: line.prefix(80), as: UTF8.self).printable.clipped(to: 76) }
            let example = try JSONDecoder().decode(TrainingFile.Example.self, from: Data(line))
            return "example \(example.id): \(example.features.count) features, \"\(example.text.prefix(50))...\""
        }
    }

    // MARK: The array

    private func moveArray(
        from a: Session, to b: Session, _ held: DemoObjects, _ report: inout DemoReport
    ) async throws {
        let clock = ContinuousClock()
        let count = arrayBytes / MemoryLayout<Float>.stride
        let bytes = count * MemoryLayout<Float>.stride
        var start = clock.now
        let ref = try a.create(shape: [count], of: Float.self) { DemoArray.fill(&$0, count: count) }
        var step = DemoReport.Step(what: "put the array on A", bytes: bytes, seconds: (clock.now - start) / .seconds(1))
        held.hold(ref)
        step.copies = try await copies(of: ref, asking: a)
        report.steps.append(step)

        let text = try await ref.shared().text
        say("A put an array of \(count) floats: ref \(text)")
        start = clock.now
        let opened = try await b.open(text, as: [Float].self)
        held.hold(opened)
        let bar = ProgressBar("B gets it", isSilent: isSilent)
        let there: PinnedValue
        do {
            there = PinnedValue(try await b.pin(opened) { bar.update($0) })
        } catch {
            bar.abandon()
            throw error
        }
        let seconds = (clock.now - start) / .seconds(1)
        let state = bar.finish() ?? TransferState()
        report.steps.append(
            .init(
                what: "get the array on B", bytes: bytes, seconds: seconds, wireBytes: state.wire, codecs: state.codecs,
                copies: try await copies(of: ref, asking: a)))

        start = clock.now
        let sumThere = try DemoArray.sum(there.object)
        report.steps.append(.init(what: "read it in place on B", bytes: bytes, seconds: (clock.now - start) / .seconds(1)))
        let here = PinnedValue(try await a.pin(ref))
        let sumHere = try DemoArray.sum(here.object)
        guard sumHere == sumThere, DemoArray.areSame(here, there) else {
            throw Failure("the array on B differs from the one on A (sums \(sumThere) and \(sumHere))")
        }
        held.hold(here, there)
        say("Both nodes' processes read the same \(count) floats in place; their sum is \(sumHere).")
    }

    // MARK: What the nodes hold

    private func copies(of ref: AnyObjectRef, asking session: Session) async throws -> [String] {
        let report = try await Connection.report("list", as: ObjectsReport.self, from: session)
        let names = Dictionary(
            uniqueKeysWithValues: zip(
                report.nodes.sorted { $0.node.number < $1.node.number }.map(\.node.id.short), [Names.a, Names.b]))
        return report.objects.filter { $0.object == ref.id && $0.state == "sealed" }.map { names[$0.node] ?? $0.node }.sorted()
    }

    /// Drops every ref and waits until both nodes hold nothing.
    private func letGo(_ held: DemoObjects, asking session: Session) async throws -> Double {
        let clock = ContinuousClock()
        let start = clock.now
        held.letGo()
        while true {
            let report = try await Connection.report("status", as: ClusterReport.self, from: session)
            let isClear =
                report.nodes.count == 2
                && report.nodes.allSatisfy { $0.objectCount == 0 && $0.fileCount == 0 && $0.fileBytes == 0 && $0.usedBytes == 0 }
            let seconds = (clock.now - start) / .seconds(1)
            if isClear {
                say("The refs are dropped: \(Amounts.seconds(seconds)) later both nodes hold nothing.")
                say(StatusCommand.text(report))
                return seconds
            }
            guard seconds < 10 else {
                throw Failure(
                    "10 s after the last ref was dropped the nodes still hold: "
                        + report.nodes.map {
                            "\($0.node.id.short) \($0.objectCount) objects, \($0.usedBytes) bytes, \($0.fileCount) files"
                        }.joined(separator: "; "))
            }
            try await Task.sleep(for: .milliseconds(20))
        }
    }

    private func measure(_ body: () async throws -> Void) async rethrows -> Double {
        let start = ContinuousClock.now
        try await body()
        return (ContinuousClock.now - start) / .seconds(1)
    }

    private func say(_ text: String) {
        guard !isSilent else { return }
        // A reader that has gone does not end the demo before it has cleaned up.
        try? Console.say(text)
    }
}
