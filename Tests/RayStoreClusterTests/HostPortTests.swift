// SPDX-License-Identifier: Apache-2.0
import RayStore
import RayStoreCluster
import Testing

@Suite struct HostPortTests {
    @Test(arguments: [
        ("10.0.0.5:6380", "10.0.0.5", 6380), ("head:1", "head", 1), ("[::1]:65535", "::1", 65535),
        ("head.example.org:443", "head.example.org", 443),
    ])
    func anAddressIsReadAndWrittenTheSame(_ text: String, _ host: String, _ port: Int) throws {
        let place = try HostPort(text)
        #expect(place.host == host)
        #expect(Int(place.port) == port)
        #expect(place.description == text)
    }

    @Test(arguments: [
        "", "head", "head:", ":6380", "head:0", "head:65536", "head:-1", "head:+5", "head:6380x", "::1:6380", "[::1]",
        "[::1:6380",
        "[head]:6380", "a b:1", "http://head:6380", "head:٣", "[]:1",
    ])
    func whatIsNoAddressIsRefusedAndQuoted(_ text: String) {
        do {
            let place = try HostPort(text)
            Issue.record("read as \(place)")
        } catch {
            #expect(error.code == .invalidArgument)
            #expect(error.message.contains("'\(text)'"))
            #expect(error.message.contains("HOST:PORT"))
        }
    }
}
