// SPDX-License-Identifier: Apache-2.0
internal import Foundation

/// How the demo's two nodes reach each other: from two network namespaces over a link, where the machine allows it, else on loopback.
final class DemoNetwork: Sendable {
    struct End: Sendable {
        let host: String
        /// What runs a command at this end.
        let wrapper: [String]
    }

    let a: End
    let b: End
    /// In words, for people.
    let description: String
    private let namespaces: [String]
    private let links: [String]

    private init(a: End, b: End, description: String, namespaces: [String] = [], links: [String] = []) {
        self.a = a
        self.b = b
        self.description = description
        self.namespaces = namespaces
        self.links = links
    }

    /// Whether the link is the demo's own, so that it can be made slower.
    var canBeSlowed: Bool { !links.isEmpty }

    /// Gives the link a rate, such as `1gbit`, in both directions.
    func slow(to rate: String, _ room: DemoRoom) async throws {
        for (name, link) in zip(namespaces, links) {
            try await Self.run(
                ["ip", "netns", "exec", name, "tc", "qdisc", "replace", "dev", link, "root", "tbf", "rate", rate]
                    + ["burst", "256kb", "latency", "50ms"], room)
        }
    }

    static func make(in room: DemoRoom) async throws -> DemoNetwork {
        let local = End(host: "127.0.0.1", wrapper: [])
        guard geteuid() == 0 else {
            return DemoNetwork(a: local, b: local, description: "on loopback (network namespaces need root)")
        }
        do {
            return try await joined(room)
        } catch is CancellationError {
            throw CancellationError()
        } catch {
            let reason = (error as? Failure)?.message ?? "\(error)"
            return DemoNetwork(a: local, b: local, description: "on loopback (no network namespaces: \(reason))")
        }
    }

    private static func joined(_ room: DemoRoom) async throws -> DemoNetwork {
        let names = ["a", "b"].map { namespace(room.tag, $0) }
        let links = ["a", "b"].map { "rs\(room.tag)\($0)" }
        // Nobody else sees these addresses: the namespaces hold nothing but this link.
        let hosts = ["10.99.0.1", "10.99.0.2"]
        do {
            for name in names { try await ip(["netns", "add", name], room) }
            try await ip(
                ["link", "add", links[0], "netns", names[0], "type", "veth", "peer", "name", links[1], "netns", names[1]], room)
            for (index, name) in names.enumerated() {
                try await ip(["-n", name, "address", "add", hosts[index] + "/30", "dev", links[index]], room)
                try await ip(["-n", name, "link", "set", links[index], "up"], room)
                try await ip(["-n", name, "link", "set", "lo", "up"], room)
            }
        } catch {
            await remove(names, room.path)
            throw error
        }
        return DemoNetwork(
            a: End(host: hosts[0], wrapper: ["ip", "netns", "exec", names[0]]),
            b: End(host: hosts[1], wrapper: ["ip", "netns", "exec", names[1]]),
            description: "in two network namespaces, joined by a veth pair (\(hosts[0]) and \(hosts[1]))", namespaces: names,
            links: links)
    }

    /// Its links go with the namespaces.
    func remove(_ room: DemoRoom) async {
        await Self.remove(namespaces, room.path)
    }

    /// Removes the namespaces of a demo that was killed.
    static func remove(tag: String, logDirectory: String) async {
        let names = ["a", "b"].map { namespace(tag, $0) }
        await remove(names.filter { Paths.exists("/run/netns/" + $0) }, logDirectory)
    }

    private static func remove(_ names: [String], _ logDirectory: String) async {
        for name in names where Paths.exists("/run/netns/" + name) {
            let child = try? ChildProcess(["ip", "netns", "delete", name], .init(log: logDirectory + "/network.log"))
            _ = await child?.waitForExit(.seconds(10))
        }
    }

    private static func namespace(_ tag: String, _ end: String) -> String { "raystore-demo-\(tag)-\(end)" }

    private static func ip(_ arguments: [String], _ room: DemoRoom) async throws {
        try await run(["ip"] + arguments, room)
    }

    private static func run(_ command: [String], _ room: DemoRoom) async throws {
        try Task.checkCancellation()
        let log = room.path + "/network.log"
        let child = try ChildProcess(command, .init(log: log))
        guard await child.waitForExit(.seconds(10)) else {
            child.send(SIGKILL)
            throw Failure("'\(command.joined(separator: " "))' does not end")
        }
        guard child.poll() == 0 else {
            let said = (try? String(contentsOfFile: log, encoding: .utf8))?.split(separator: "\n").last.map(String.init)
            throw Failure(said ?? "'\(command.joined(separator: " "))' failed")
        }
    }
}
