// SPDX-License-Identifier: Apache-2.0
public import Foundation
public import RayStore

/// Where an S3 service is, and who asks it.
public struct S3Service: Sendable {
    public struct Credentials: Sendable, Hashable {
        public var accessKey: String
        public var secretKey: String
        public var sessionToken: String?

        public init(accessKey: String, secretKey: String, sessionToken: String? = nil) {
            self.accessKey = accessKey
            self.secretKey = secretKey
            self.sessionToken = sessionToken
        }
    }

    /// `http://HOST:PORT` or `https://HOST`.
    public var endpoint: String
    public var region: String
    public var credentials: Credentials

    public init(endpoint: String, region: String, credentials: Credentials) {
        self.endpoint = endpoint
        self.region = region
        self.credentials = credentials
    }

    /// What the usual environment variables and files say, as the AWS tools read them: first the variables, then the profile `AWS_PROFILE`
    /// (or `default`) of `~/.aws/credentials` and `~/.aws/config`.
    ///
    /// - Throws: `keyUnusable` when there are no credentials, saying where they were looked for.
    public static func fromEnvironment(
        _ environment: [String: String] = ProcessInfo.processInfo.environment
    ) throws(RayStoreError) -> S3Service {
        let home = environment["HOME"] ?? ""
        let profile = environment["AWS_PROFILE"] ?? environment["AWS_DEFAULT_PROFILE"] ?? "default"
        let credentialsPath = environment["AWS_SHARED_CREDENTIALS_FILE"] ?? home + "/.aws/credentials"
        let configPath = environment["AWS_CONFIG_FILE"] ?? home + "/.aws/config"
        let config = section(profile == "default" ? "default" : "profile \(profile)", of: configPath)
        let region = environment["AWS_REGION"] ?? environment["AWS_DEFAULT_REGION"] ?? config["region"] ?? "us-east-1"
        let endpoint =
            environment["AWS_ENDPOINT_URL_S3"] ?? environment["AWS_ENDPOINT_URL"] ?? config["endpoint_url"]
            ?? "https://s3.\(region).amazonaws.com"
        return S3Service(
            endpoint: endpoint.hasSuffix("/") ? String(endpoint.dropLast()) : endpoint, region: region,
            credentials: try credentials(environment, section(profile, of: credentialsPath), config, credentialsPath))
    }

    private static func credentials(
        _ environment: [String: String], _ stored: [String: String], _ config: [String: String], _ path: String
    ) throws(RayStoreError) -> Credentials {
        if let accessKey = environment["AWS_ACCESS_KEY_ID"], let secretKey = environment["AWS_SECRET_ACCESS_KEY"] {
            return Credentials(accessKey: accessKey, secretKey: secretKey, sessionToken: environment["AWS_SESSION_TOKEN"])
        }
        for source in [stored, config] {
            if let accessKey = source["aws_access_key_id"], let secretKey = source["aws_secret_access_key"] {
                return Credentials(accessKey: accessKey, secretKey: secretKey, sessionToken: source["aws_session_token"])
            }
        }
        throw RayStoreError(
            .keyUnusable,
            "there are no credentials for S3: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or write them to \(path)")
    }

    /// The settings of one section of an INI file; none when there is no such file or section.
    private static func section(_ name: String, of path: String) -> [String: String] {
        guard let text = try? String(contentsOfFile: path, encoding: .utf8) else { return [:] }
        var settings: [String: String] = [:]
        var isInside = false
        for line in text.split(whereSeparator: \.isNewline) {
            let line = line.trimmingCharacters(in: .whitespaces)
            if line.hasPrefix("[") {
                isInside = line.dropFirst().prefix { $0 != "]" }.trimmingCharacters(in: .whitespaces) == name
            } else if isInside, !line.hasPrefix("#"), !line.hasPrefix(";"), let equals = line.firstIndex(of: "=") {
                let key = line[..<equals].trimmingCharacters(in: .whitespaces).lowercased()
                settings[key] = line[line.index(after: equals)...].trimmingCharacters(in: .whitespaces)
            }
        }
        return settings
    }
}
