// SPDX-License-Identifier: Apache-2.0
import Foundation
import RayStore
import RayStoreNode
import TestSupport
import Testing

/// The configuration that Ray's users have, and what is wrong with others.
@Suite struct StorageConfigurationTests {
    private static let credentials = [
        "AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b", "AWS_ENDPOINT_URL": "http://127.0.0.1:1",
    ]

    private func node(clusterStorage: String? = nil, environment: [String: String] = credentials) -> StorageConfiguration.Node {
        StorageConfiguration.Node(
            stateDirectory: "/state", owner: "me", session: "session_7", clusterStorage: clusterStorage, environment: environment)
    }

    @Test(
        arguments: [
            (nil, "filesystem"), ("  ", "filesystem"), ("{}", "none"),
            (#"{"type": "filesystem", "params": {"directory_path": "/tmp/spill"}}"#, "filesystem"),
            (#"{"type": "filesystem", "params": {"directory_path": ["/a", "/b"], "buffer_size": 1000000}}"#, "filesystem"),
            (#"{"type": "unstable_fs", "params": {"directory_path": "/a"}}"#, "unstable_fs"),
            (#"{"type": "slow_fs", "params": {"directory_path": "/a"}}"#, "slow_fs"),
            (#"{"type": "smart_open", "params": {"uri": "s3://bucket/path"}}"#, "smart_open"),
            (
                #"{"type": "smart_open", "params": {"uri": ["s3://a", "s3://b/c"], "prefix": "p", "buffer_size": 104857600}}"#,
                "smart_open"
            ),
        ] as [(String?, String)])
    func whatIsConfiguredIsMade(_ json: String?, _ typeName: String) throws {
        let storage = try StorageConfiguration(json: json).storage(for: node())
        #expect(storage.typeName == typeName)
        #expect(storage.canSpill == (typeName != "none"))
    }

    @Test(arguments: [
        ("{", "not JSON"), ("[]", "not an object"), (#"{"kind": "filesystem"}"#, "'kind'"),
        (#"{"params": {}}"#, "type:"), (#"{"type": 7}"#, "type:"), (#"{"type": "tape"}"#, "'tape'"),
        (#"{"type": "filesystem", "params": []}"#, "params:"), (#"{"type": "filesystem"}"#, "directory_path:"),
        (#"{"type": "unstable_fs", "params": {}}"#, "directory_path:"),
        (#"{"type": "slow_fs", "params": {"buffer_size": 1}}"#, "directory_path:"),
        (#"{"type": "filesystem", "params": {"directory_path": ""}}"#, "directory_path:"),
        (#"{"type": "filesystem", "params": {"directory_path": []}}"#, "directory_path:"),
        (#"{"type": "filesystem", "params": {"directory_path": ["/a", 3]}}"#, "directory_path:"),
        (#"{"type": "filesystem", "params": {"directory_path": {"a": 1}}}"#, "directory_path:"),
        (#"{"type": "filesystem", "params": {"directory": "/a"}}"#, "directory:"),
        (#"{"type": "filesystem", "params": {"buffer_size": 0}}"#, "buffer_size:"),
        (#"{"type": "filesystem", "params": {"buffer_size": "1"}}"#, "buffer_size:"),
        (#"{"type": "filesystem", "params": {"buffer_size": true}}"#, "buffer_size:"),
        (#"{"type": "filesystem", "params": {"compression": "zstd"}}"#, "compression:"),
        (#"{"type": "smart_open", "params": {"uri": "s3://a", "compression": 1}}"#, "compression:"),
        (#"{"type": "smart_open"}"#, "uri:"), (#"{"type": "smart_open", "params": {"uri": "gs://a"}}"#, "gs://a"),
        (#"{"type": "smart_open", "params": {"uri": "s3:///x"}}"#, "s3:///x"),
        (#"{"type": "smart_open", "params": {"uri": "s3://a", "prefix": 1}}"#, "prefix:"),
        (#"{"type": "ray_storage"}"#, "ray_storage"),
    ])
    func whatIsWrongIsNamed(_ json: String, _ name: String) {
        let error = #expect(throws: RayStoreError.self) { _ = try StorageConfiguration(json: json).storage(for: node()) }
        #expect(error?.code == .invalidArgument)
        #expect(error?.message.contains(name) == true, "\(error?.message ?? "")")
    }

    @Test(
        arguments: [
            (nil, nil), (#"{"type": "filesystem", "params": {"directory_path": "/a", "compression": "on"}}"#, .on),
            (#"{"type": "smart_open", "params": {"uri": "s3://a", "compression": "off"}}"#, .off),
            (#"{"type": "slow_fs", "params": {"directory_path": "/a", "compression": "auto"}}"#, .auto),
        ] as [(String?, SpillCompression?)])
    func compressionIsConfigured(_ json: String?, _ compression: SpillCompression?) throws {
        let configuration = try StorageConfiguration(json: json)
        #expect(configuration.compression == compression)
        _ = try configuration.storage(for: node())
    }

    @Test func theClustersStorageIsADirectoryOrABucket() throws {
        let configuration = try StorageConfiguration(json: #"{"type": "ray_storage"}"#)
        for (uri, typeName) in [("/shared", "filesystem"), ("file:///shared", "filesystem"), ("s3://bucket/x", "smart_open")] {
            #expect(try configuration.storage(for: node(clusterStorage: uri)).typeName == typeName)
        }
    }

    @Test func aDirectoryThatCannotBeWrittenIsRefusedByName() async throws {
        let scratch = try Scratch()
        defer { scratch.remove() }
        let file = try scratch.file("taken", size: 1)
        let json = #"{"type": "filesystem", "params": {"directory_path": ["\#(scratch.path)/good", "\#(file)/below"]}}"#
        let storage = try StorageConfiguration(json: json).storage(for: node())
        let error = await failure { try await storage.validate() }
        #expect(error?.code == .invalidArgument)
        #expect(error?.message.contains("directory_path") == true && error?.message.contains(file) == true)
        // What was made in the first is taken back.
        #expect(!FileManager.default.fileExists(atPath: scratch.path + "/good/ray_spilled_objects"))
    }

    @Test func credentialsComeFromVariablesThenFiles() throws {
        let scratch = try Scratch()
        defer { scratch.remove() }
        let credentials = scratch.path + "/credentials"
        try
            "[default]\naws_access_key_id = one\naws_secret_access_key= first\n\n[other]\naws_access_key_id=two\naws_secret_access_key=a=b\naws_session_token = t\n"
            .write(toFile: credentials, atomically: true, encoding: .utf8)
        let config = scratch.path + "/config"
        try "[default]\nregion = eu-north-1\n[profile other]\nregion=ap-south-1\nendpoint_url = http://here:9000/\n"
            .write(toFile: config, atomically: true, encoding: .utf8)
        var environment = ["AWS_SHARED_CREDENTIALS_FILE": credentials, "AWS_CONFIG_FILE": config]
        var service = try S3Service.fromEnvironment(environment)
        #expect(service.credentials == S3Service.Credentials(accessKey: "one", secretKey: "first"))
        #expect(service.region == "eu-north-1" && service.endpoint == "https://s3.eu-north-1.amazonaws.com")
        environment["AWS_PROFILE"] = "other"
        service = try S3Service.fromEnvironment(environment)
        #expect(service.credentials == S3Service.Credentials(accessKey: "two", secretKey: "a=b", sessionToken: "t"))
        #expect(service.region == "ap-south-1" && service.endpoint == "http://here:9000")
        environment["AWS_ACCESS_KEY_ID"] = "three"
        environment["AWS_SECRET_ACCESS_KEY"] = "third"
        environment["AWS_REGION"] = "us-west-2"
        environment["AWS_ENDPOINT_URL_S3"] = "http://there:1"
        service = try S3Service.fromEnvironment(environment)
        #expect(service.credentials == S3Service.Credentials(accessKey: "three", secretKey: "third"))
        #expect(service.region == "us-west-2" && service.endpoint == "http://there:1")
        let none = #expect(throws: RayStoreError.self) {
            _ = try S3Service.fromEnvironment([
                "AWS_SHARED_CREDENTIALS_FILE": "/nowhere/credentials", "AWS_CONFIG_FILE": "/nowhere/config",
            ])
        }
        #expect(none?.code == .keyUnusable)
        #expect(none?.message.contains("/nowhere/credentials") == true)
    }

    @Test(arguments: [
        ("/a/b-multi-3?offset=0&size=24", SpillLocation(file: "/a/b-multi-3", offset: 0, size: 24, checksum: nil)),
        ("s3://b/k?offset=7&size=9&xxh3=ff", SpillLocation(file: "s3://b/k", offset: 7, size: 9, checksum: 255)),
        ("/what?/x?offset=1&size=2", SpillLocation(file: "/what?/x", offset: 1, size: 2, checksum: nil)),
        // Whoever reads only offset and size, reads past what else there is.
        ("/a?offset=1&size=2&codec=lz4", SpillLocation(file: "/a", offset: 1, size: 2, checksum: nil)),
    ])
    func aLocationIsReadAndWritten(_ text: String, _ location: SpillLocation) throws {
        #expect(try SpillLocation(text) == location)
        #expect(try SpillLocation(location.text) == location)
    }

    @Test(arguments: [
        "", "/a", "?offset=1&size=2", "/a?offset=1", "/a?size=1", "/a?offset=-1&size=2", "/a?offset=1&size=2&offset=3",
        "/a?offset&size=1",
        "/a?offset=18446744073709551615&size=2", "/a?offset=1&size=2&xxh3=zz", "/a?offset=1&size=99999999999999999999",
    ])
    func whatIsNoLocationIsRefused(_ text: String) {
        #expect(throws: RayStoreError.self) { _ = try SpillLocation(text) }
    }
}
