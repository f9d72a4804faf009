// SPDX-License-Identifier: Apache-2.0
internal import Logging
internal import RayStore

/// The rooms of a node, for those that work across them.
struct NodeRooms: Sendable {
    let description: NodeDescription
    let store: NodeStore
    let room: RoomQueue
    let files: FileKeeper
    let jobs: Jobs
    let ownership: Ownership
    let control: any ControlStore
    let reports: Reports
    let transfer: BulkTransfer
    let pulls: Pulls
    let restores: Pulls
    let spiller: Spiller
    let catalog: Catalog
    let prefetching: Prefetching
    let metrics: NodeMetrics
    let clock: any NodeClock
    let log: Logger
    /// A client has asked the node to stop.
    let stopRequested: Signal
}
