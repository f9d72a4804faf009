// SPDX-License-Identifier: Apache-2.0

extension Session {
    /// Puts a file. The node takes its copy, or notes where the file lies, or moves it in; see ``RayFile``.
    ///
    /// Putting what a get returned copies that file into a new object.
    ///
    /// - Throws: `fileNotFound`, `fileNotReadable`, `notAFile`, `outOfDisk` saying needed and free, `sourceChanged` when the file was
    ///   written to meanwhile; `cancelled`, `closed`, `nodeDied`.
    public func put(_ file: RayFile) async throws(RayStoreError) -> ObjectRef<RayFile> {
        let (id, payload) = try putRequest(file)
        let request = try await whenAccepted { () throws(RayStoreError) in
            try PendingRequest.send(.putFile, payload, over: handle)
        }
        _ = try await request.answer(onCancel: .ask).get()
        return try withExtendedLifetime(file) { () throws(RayStoreError) in try ref(taking: id) }
    }

    /// The same for code without concurrency; blocks the thread.
    @available(*, noasync, message: "use put")
    public func putBlocking(_ file: RayFile) throws(RayStoreError) -> ObjectRef<RayFile> {
        let (id, payload) = try putRequest(file)
        let request = try whenAcceptedBlocking { () throws(RayStoreError) in
            try PendingRequest.send(.putFile, payload, over: handle)
        }
        _ = try request.answerBlocking().get()
        return try withExtendedLifetime(file) { () throws(RayStoreError) in try ref(taking: id) }
    }

    private func putRequest(_ file: RayFile) throws(RayStoreError) -> (ObjectID, PayloadWriter) {
        let (path, mode): (String, RayFile.Mode) =
            switch file.storage {
            case .source(let path, let mode): (path, mode)
            case .fetched(let fetched): (fetched.path, .copy)
            }
        guard path.hasPrefix("/") else {
            throw RayStoreError(.invalidArgument, "'\(path)' is relative to a directory that is gone: give an absolute path")
        }
        let id = try handle.nextID()
        var payload = PayloadWriter()
        payload.append(mode.rawValue)
        payload.append(UInt32(0))
        payload.append(id)
        payload.append(text: path)
        return (id, payload)
    }

    // The node has set this process's ref bit; taking the ref makes it one that is counted and dropped.
    private func ref(taking id: ObjectID) throws(RayStoreError) -> ObjectRef<RayFile> {
        try handle.acquireRef(id)
        return ObjectRef(id: id, handle: handle, isOpen: true)
    }
}
