// SPDX-License-Identifier: Apache-2.0
internal import GRPCCore
internal import RayStore
internal import RayStoreNode

/// The head's control store, served to the other nodes.
struct ControlService: RegistrableRPCService {
    let store: any ControlStore

    func registerMethods<Transport: ServerTransport>(with router: inout RPCRouter<Transport>) {
        let store = store
        router.register(ControlMethods.cluster) { _ throws(RayStoreError) in try await store.clusterInfo() }
        router.register(ControlMethods.join) { node throws(RayStoreError) in try await store.join(node) }
        router.register(ControlMethods.leave) { node throws(RayStoreError) in
            try await store.leave(node)
            return Nothing()
        }
        router.register(ControlMethods.heartbeat) { node throws(RayStoreError) in try await store.heartbeat(node) }
        router.register(ControlMethods.nodes) { _ throws(RayStoreError) in try await store.nodes() }
        registerJobs(with: &router)
        registerNames(with: &router)
        registerEvents(with: &router)
    }

    private func registerJobs<Transport: ServerTransport>(with router: inout RPCRouter<Transport>) {
        let store = store
        router.register(ControlMethods.beginJob) { request throws(RayStoreError) in
            try await store.beginJob(driverNode: request.driverNode, namespace: request.namespace)
        }
        router.register(ControlMethods.endJob) { job throws(RayStoreError) in
            try await store.endJob(job)
            return Nothing()
        }
        router.register(ControlMethods.job) { job throws(RayStoreError) in JobAnswer(job: try await store.job(job)) }
    }

    private func registerNames<Transport: ServerTransport>(with router: inout RPCRouter<Transport>) {
        let store = store
        router.register(ControlMethods.bind) { record throws(RayStoreError) in
            try await store.bind(record.name, in: record.namespace, to: record.object)
            return Nothing()
        }
        router.register(ControlMethods.find) { request throws(RayStoreError) in
            try await store.find(request.name, in: request.namespace)
        }
        router.register(ControlMethods.unbind) { request throws(RayStoreError) in
            try await store.unbind(request.name, in: request.namespace)
        }
        router.register(ControlMethods.unbindAll) { object throws(RayStoreError) in
            try await store.unbindAll(of: object)
            return Nothing()
        }
        router.register(ControlMethods.names) { request throws(RayStoreError) in
            try await store.names(in: request.namespace)
        }
    }

    private func registerEvents<Transport: ServerTransport>(with router: inout RPCRouter<Transport>) {
        let store = store
        router.registerHandler(
            forMethod: ControlMethods.events.descriptor, deserializer: JSONDeserializer<Nothing>(),
            serializer: EncodedSerializer()
        ) { _, context in
            // Before the answer begins: a listener that sees it begin misses nothing from then on.
            let events = store.events()
            return StreamingServerResponse { writer in
                try await withThrowingTaskGroup { group in
                    group.addTask {
                        for await event in events { try await writer.write(try JSONCoding.encode(event)) }
                    }
                    // The listener going away does not wake a loop that has nothing to write.
                    group.addTask { try await context.cancellation.cancelled }
                    defer { group.cancelAll() }
                    try await group.next()
                }
                return [:]
            }
        }
    }
}
