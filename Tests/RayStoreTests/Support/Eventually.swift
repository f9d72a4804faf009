// SPDX-License-Identifier: Apache-2.0
import Testing

/// Polls until the condition holds; records an issue when it does not within a minute, which is far above what it should take: other tests run beside it.
func eventually(
    _ what: Comment, sourceLocation: SourceLocation = #_sourceLocation, _ condition: () throws -> Bool
) async rethrows {
    let deadline = ContinuousClock.now + .seconds(60)
    while ContinuousClock.now < deadline {
        if try condition() { return }
        await Task.yield()
        try? await Task.sleep(for: .milliseconds(1))
    }
    #expect(Bool(false), what, sourceLocation: sourceLocation)
}

/// Runs the body and says which code it threw.
func code(_ body: () async throws -> Void) async -> String? {
    do {
        try await body()
        return nil
    } catch let error as any CodedError {
        return error.codeName
    } catch {
        return "another error: \(error)"
    }
}

protocol CodedError: Error {
    var codeName: String { get }
}
