// SPDX-License-Identifier: Apache-2.0
import RayStoreNode
import Testing

@Suite struct ClusterKeyTests {
    @Test func aKeyDoesNotShowItsBytes() {
        let key = ClusterKey.random()
        var dumped = ""
        dump(key, to: &dumped)
        #expect("\(key)" == "cluster key (not shown)")
        #expect(!dumped.contains("bytes"))
    }
}
