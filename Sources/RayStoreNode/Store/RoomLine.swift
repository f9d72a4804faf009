// SPDX-License-Identifier: Apache-2.0

/// Whose requests for room are served one after the other. All lines take turns.
///
/// What a client makes and what comes here for its gets stand in two lines: a large put of it holds up none of its gets.
enum RoomLine: Hashable, Sendable {
    case creates(of: ClientSlot)
    /// Nil: the node's own, for other nodes and for prefetches.
    case gets(of: ClientSlot?)
}
