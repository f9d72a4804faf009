// SPDX-License-Identifier: Apache-2.0

/// A storage that reads what it writes, and makes the checksums of it on the way: its `spill` gives the bytes to the batch's `summing`, and calls
/// `finishSums` before it returns.
package protocol SummingStorage: ExternalStorage {}
