// SPDX-License-Identifier: Apache-2.0
// The store's figures, one JSON object a line: `make bench SUITE=plasma`. Each is the median of 7 runs (5 where a store is made for
// each), after a warm-up that is left out. Nothing is checked here; Tests/Core does that.
//
//   get_release_ops, _2proc_ops, _2proc_ratio   get and release of a random one of 100,000 sealed objects of 1 KiB, in a client; then two
//                                               clients together, the sum; the ratio is of neighbouring runs. Bytes are not read.
//   get_release_2proc_core_ratio                the same ratio with rates for a second of processor time: if it is good and the other is
//                                               not, the two had no core each.
//   get_release_protected_ops, _ratio           the same in a client that has the metadata shut outside the calls (ray_store_protect); over one
//                                               that has it open, in turns.
//   create_seal_delete_ops                      create, write 1 KiB, seal, delete, in the node's process.
//   get_other_process_p50_ns, _p99_ns           ray_object_get of an object that another process sealed a moment before, with the clock
//                                               read before and after; nothing is subtracted. p50 and p99 are of 10,000 gets each. A core each.
//   clock_ns                                    what reading the clock costs, once. A measured get contains one of it.
//   wake_seal_ns, wake_futex_ns, wake_ratio     from before ray_object_seal until a process that slept in ray_object_get has the object; from
//                                               before the change of a shared word until a process that slept on it runs. They take turns;
//                                               the ratio is of medians of 200, in the same run. Each has a core of its own.
//   wake_one_core_...                           the same with both on one core, where the wake-up itself costs a quarter.
//   memcpy_100mb_gbs_1t, _2t                    the limit: 100 MiB from private memory to private memory, all touched before.
//   memcpy_100mb_shared_gbs_1t, _2t             the same to shared memory outside the store, whose pages are not huge.
//   put_100mb_warm_1t_gbs, _ratio_1t            create, memcpy by the caller, seal; over memcpy. Into memory touched before.
//   put_100mb_warm_gbs, _ratio_2t               ray_object_put, which copies with two threads; over memcpy with two.
//   put_100mb_hashed_gbs, _ratio_2t             the same with the checksums of its chunks, as ray_client_put makes them; over memcpy with two.
//   put_100mb_first_ratio                       the first put in a store that was up and idle for 5 s, over warm ones in the same place: 1 is
//                                               as fast. What touches memory ahead is only what ray_store_create itself sets to work.
//   put_100mb_cold_gbs                          the first put in a store just made.
//
// GB is 10^9 bytes, a put of "100 MB" is 100 MiB.
#include "bench.h"

#define CAPACITY (512ull << 20)

int main(void) {
    ray_store *node = make_store(CAPACITY);
    must(ray_store_prefault(node, CAPACITY));
    bench_small(node);
    bench_across(node);
    bench_large(node);
    ray_store_close(node);
    return 0;
}
