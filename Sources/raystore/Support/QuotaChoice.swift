// SPDX-License-Identifier: Apache-2.0
internal import ArgumentParser
internal import RayStoreNode

/// The options of `start` that say how much of the memory one client, or one job, may have when it is short.
struct QuotaChoice: ParsableArguments {
    @Option(
        help: ArgumentHelp(
            """
            When memory is short, let nobody make more objects whose own take more than this. While there is room for all nobody is \
            counted. (default: no limit)
            """, valueName: "size"),
        transform: { text in try ByteSize.parse(text) })
    var clientQuota: ByteSize?

    @Option(
        help: ArgumentHelp("The same for all objects of one job. (default: no limit)", valueName: "size"),
        transform: { text in try ByteSize.parse(text) })
    var jobQuota: ByteSize?

    var quotas: QuotaSetup {
        QuotaSetup(client: clientQuota, job: jobQuota)
    }
}

/// What one client or job may have of the memory; nil for as much as there is.
struct QuotaSetup: Sendable {
    var client: ByteSize?
    var job: ByteSize?

    /// The options that say the same.
    var arguments: [String] {
        var words: [String] = []
        if let client { words += ["--client-quota", String(client.bytes)] }
        if let job { words += ["--job-quota", String(job.bytes)] }
        return words
    }

    func set(_ options: inout NodeOptions) {
        options.clientQuota = client.map { UInt64($0.bytes) }
        options.jobQuota = job.map { UInt64($0.bytes) }
    }
}
