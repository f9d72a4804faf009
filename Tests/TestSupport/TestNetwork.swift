// SPDX-License-Identifier: Apache-2.0
internal import Foundation

/// Places for nodes that a test can part: network namespaces, each joined to each other by a link of its own. Needs root.
///
/// A place has one address, on its loopback, which the others reach over their link to it. So a link that is down parts two places and
/// no others.
package final class TestNetwork: Sendable {
    private let names: [String]

    /// Whether this machine lets the test make one.
    package static var isPossible: Bool { geteuid() == 0 }

    package init(places count: Int) throws {
        let tag = String(UInt32.random(in: 0...UInt32.max), radix: 36)
        names = (0..<count).map { "raystore-it-\(tag)-\($0)" }
        do {
            for (place, name) in names.enumerated() {
                try Self.ip("netns", "add", name)
                try Self.ip("-n", name, "link", "set", "lo", "up")
                try Self.ip("-n", name, "address", "add", "\(host(place))/32", "dev", "lo")
            }
            for a in 0..<count {
                for b in (a + 1)..<max(count, a + 1) {
                    try Self.ip(
                        "link", "add", "to\(b)", "netns", names[a], "type", "veth", "peer", "name", "to\(a)", "netns", names[b])
                    try mend(a, b)
                }
            }
        } catch {
            remove()
            throw error
        }
    }

    package func host(_ place: Int) -> String { "10.98.7.\(place + 1)" }

    package func wrapper(_ place: Int) -> [String] { ["ip", "netns", "exec", names[place]] }

    /// Takes the link between two places down; what is on its way is lost, and nobody is told.
    package func cut(_ a: Int, _ b: Int) throws {
        try Self.ip("-n", names[a], "link", "set", "to\(b)", "down")
    }

    /// Takes the link up.
    package func mend(_ a: Int, _ b: Int) throws {
        for (here, there) in [(a, b), (b, a)] {
            try Self.ip("-n", names[here], "link", "set", "to\(there)", "up")
            // A link that goes down takes its routes along.
            try Self.ip("-n", names[here], "route", "replace", host(there), "dev", "to\(there)", "src", host(here))
        }
    }

    /// Gives the link between two places a rate, such as `400mbit`, both ways.
    package func slow(_ a: Int, _ b: Int, to rate: String) throws {
        for (here, there) in [(a, b), (b, a)] {
            try Self.run(
                "tc", "-n", names[here], "qdisc", "replace", "dev", "to\(there)", "root", "tbf", "rate", rate, "burst", "256kb",
                "latency", "50ms")
        }
    }

    /// The links go with the places.
    package func remove() {
        for name in names { try? Self.ip("netns", "delete", name) }
    }

    private static func ip(_ arguments: String...) throws {
        try run(["ip"] + arguments)
    }

    private static func run(_ command: String...) throws {
        try run(command)
    }

    private static func run(_ command: [String]) throws {
        let process = try SpawnedProcess("/usr/bin/env", command)
        process.waitUntilExit()
        guard process.terminationStatus == 0 else {
            throw SetUpFailure("'\(command.joined(separator: " "))' failed with \(process.terminationStatus)")
        }
    }
}
