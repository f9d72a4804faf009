// SPDX-License-Identifier: Apache-2.0
import Testing

/// Tests with real sockets and real time. They run one after the other: beside forty others that want the same two threads a
/// heartbeat is late, and a late heartbeat is a dead node.
@Suite(.serialized) enum OverLoopback {}
