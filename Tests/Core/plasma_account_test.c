// SPDX-License-Identifier: Apache-2.0
// Accounting: sums that hold at every moment, fragmentation, who made what, and how long ago.
#include <pthread.h>
#include <stddef.h>
#include <sys/wait.h>

#include "check.h"
#include "plasma/store_internal.h"
#include "plasma_fixture.h"

enum { MIB = 1 << 20 };

static ray_object_info info_of(ray_store *store, uint64_t number) {
    ray_object_id id = id_of(number);
    ray_object_info info;
    CHECK_OK(ray_object_stat(store, &id, &info));
    return info;
}

static uint32_t entry_of(ray_store *store, uint64_t number) {
    RAY__GATE(store);
    ray_object_id id = id_of(number);
    uint32_t index;
    uint64_t word;
    CHECK(ray__table_find(store, &id, ray_object_id_hash(&id), &index, &word));
    return index;
}

// ---- rows of clients -----------------------------------------------------------------------------------------------------

static ray_store_client rows[RAY_CLIENT_ROWS_MAX];
static uint32_t row_count;

static void list_clients(ray_store *store) {
    CHECK_OK(ray_store_clients_list(store, rows, RAY_CLIENT_ROWS_MAX, &row_count));
}

static const ray_store_client *row_of(uint32_t slot) {
    for (uint32_t i = 0; i < row_count; i++) {
        if (rows[i].slot == slot) {
            return &rows[i];
        }
    }
    return NULL;
}

static uint64_t created_sum(void) {
    uint64_t sum = 0;
    for (uint32_t i = 0; i < row_count; i++) {
        sum += rows[i].created_bytes;
    }
    return sum;
}

// ---- fragmentation -------------------------------------------------------------------------------------------------------

static void empty_store_is_one_free_block(void) {
    ray_store *store = make_store(8 * MIB, 64);
    ray_store_stats stats = stats_of(store);
    CHECK_EQUAL(stats.used_bytes, 0);
    CHECK_EQUAL(stats.free_bytes, 8 * MIB);
    CHECK_EQUAL(stats.free_block_count, 1);
    CHECK_EQUAL(stats.unusable_for_1mib_bytes, 0);
    CHECK_EQUAL(stats.struct_size, sizeof stats);
    check_and_close(store);
}

static void holes_between_objects_are_unusable_for_a_mebibyte(void) {
    ray_store *store = make_store(8 * MIB, 64);
    for (uint64_t n = 0; n < 16; n++) {
        put_number(store, n, MIB / 2);
    }
    ray_store_stats stats = stats_of(store);
    CHECK_EQUAL(stats.used_bytes, 8 * MIB);
    CHECK_EQUAL(ray_store_used_bytes(store), 8 * MIB);
    CHECK_EQUAL(stats.free_block_count, 0);
    CHECK_EQUAL(stats.unusable_for_1mib_bytes, 0);
    CHECK_EQUAL(stats.largest_free_bytes, 0);
    for (uint64_t n = 0; n < 16; n += 2) {
        end_number(store, n);
    }
    stats = stats_of(store);
    CHECK_EQUAL(stats.free_bytes, 4 * MIB);
    CHECK_EQUAL(stats.free_block_count, 8);
    CHECK_EQUAL(stats.unusable_for_1mib_bytes, 4 * MIB);
    CHECK_EQUAL(stats.largest_free_bytes, MIB / 2);
    ray_object_id id = id_of(100);
    ray_object_writer writer;
    CHECK_STATUS(ray_object_create(store, &id, MIB, 0, 0, &writer), RAY_STORE_FULL);
    end_number(store, 1); // three in a row become one of 1.5 MiB
    stats = stats_of(store);
    CHECK_EQUAL(stats.free_block_count, 7);
    CHECK_EQUAL(stats.unusable_for_1mib_bytes, 3 * MIB);
    CHECK_EQUAL(stats.largest_free_bytes, 3 * MIB / 2);
    put_number(store, 100, MIB);
    CHECK_EQUAL(stats_of(store).unusable_for_1mib_bytes, 3 * MIB + MIB / 2);
    check_and_close(store);
}

// A create of 1 MiB starts at a page: what lies before the first page of a free block is of no use to it. So a free block of 1 MiB from the
// second unit on cannot take it, and neither can a larger one until the part behind the first page is 1 MiB.
static void block_that_only_misses_its_alignment_is_unusable(void) {
    enum { SPARE = 4096 - 64 };
    for (int enough = 0; enough < 2; enough++) {
        // One object before and one behind leave a block of the wanted size in between.
        ray_store *store = make_store(2 * MIB, 64);
        RAY__GATE(store);
        uint64_t hole = MIB + SPARE - (enough ? 0 : 64);
        put_number(store, 1, 64);
        CHECK_EQUAL(store->table[entry_of(store, 1)].place >> 24, 0);
        uint64_t behind = 2 * MIB - 64 - hole;
        for (uint64_t n = 2; n < 22; n++) { // from the front: less than 1 MiB each, so none is moved to a page
            put_number(store, n, hole / 20 / 64 * 64 + (n == 21 ? hole - hole / 20 / 64 * 64 * 20 : 0));
        }
        put_number(store, 30, behind);
        CHECK_EQUAL(stats_of(store).free_bytes, 0);
        for (uint64_t n = 2; n < 22; n++) {
            end_number(store, n);
        }
        ray_store_stats stats = stats_of(store);
        CHECK_EQUAL(stats.free_block_count, 1);
        CHECK_EQUAL(stats.largest_free_bytes, hole);
        CHECK_EQUAL(stats.unusable_for_1mib_bytes, enough ? 0 : hole);
        ray_object_id id = id_of(40);
        ray_object_writer writer;
        CHECK_STATUS(ray_object_create(store, &id, MIB, 0, 0, &writer), enough ? RAY_OK : RAY_STORE_FULL);
        if (enough) {
            ray_object_abort(store, &writer);
        }
        check_and_close(store);
    }
}

// After random creates and deletes the sums the arena keeps are those of its blocks (A7), and a create of 1 MiB is refused exactly when
// all free memory is called unusable for it.
static void unusable_says_whether_a_mebibyte_can_be_had(void) {
    enum { IDS = 200 };
    ray_store *store = make_store(16 * MIB, 512);
    uint64_t random = check_seed();
    uint32_t refused = 0;
    uint32_t taken = 0;
    for (int i = 0; i < 4000; i++) {
        uint64_t n = check_random(&random) % IDS;
        ray_object_id id = id_of(n);
        ray_object_writer writer;
        if (state_of(store, n) != RAY_STATE_EMPTY) {
            end_number(store, n);
        } else if (ray_object_create(store, &id, check_random(&random) % (300 << 10), 0, 0, &writer) == RAY_OK) {
            CHECK_OK(ray_object_seal(store, &writer));
        }
        ray_store_stats stats = stats_of(store);
        id = id_of(IDS);
        ray_status status = ray_object_create(store, &id, MIB, 0, 0, &writer);
        CHECK_EQUAL(status == RAY_STORE_FULL, stats.unusable_for_1mib_bytes == stats.free_bytes);
        refused += status == RAY_STORE_FULL;
        taken += status == RAY_OK;
        if (status == RAY_OK) {
            ray_object_abort(store, &writer);
        }
        CHECK(stats.largest_free_bytes <= stats.free_bytes);
        if (i % 64 == 0) {
            CHECK_OK(ray_plasma_check(store, 2));
        }
    }
    CHECK(refused > 0 && taken > 0);
    check_and_close(store);
}

static void rebuilt_arena_has_the_same_sums(void) {
    ray_store *node = make_store(8 * MIB, 64);
    RAY__GATE(node);
    for (uint64_t n = 0; n < 16; n++) {
        put_number(node, n, MIB / 2 - 100 * n);
    }
    for (uint64_t n = 0; n < 16; n += 3) {
        end_number(node, n);
    }
    ray_store_stats before = stats_of(node);
    pid_t child = fork();
    if (child == 0) {
        pthread_mutex_lock(&node->header->lock);
        node->arena->free = 1;
        node->arena->small_free = 2;
        node->arena->free_count = 3;
        _exit(0);
    }
    CHECK(child > 0);
    CHECK_EQUAL(waitpid(child, NULL, 0), child);
    ray_store_stats after = stats_of(node); // takes the lock of the dead, and repairs
    CHECK_EQUAL(node->header->repair_count, 1);
    CHECK_EQUAL(after.free_bytes, before.free_bytes);
    CHECK_EQUAL(after.free_block_count, before.free_block_count);
    CHECK_EQUAL(after.unusable_for_1mib_bytes, before.unusable_for_1mib_bytes);
    CHECK_EQUAL(after.largest_free_bytes, before.largest_free_bytes);
    check_and_close(node);
}

static void wrong_sum_is_found_by_the_check(void) {
    ray_store *store = make_store(8 * MIB, 64);
    RAY__GATE(store);
    put_number(store, 1, 100);
    store->arena->free++;
    CHECK_STATUS(ray_plasma_check(store, 1), RAY_POISONED);
    CHECK(strstr(ray_last_error_message(), "C2") != NULL);
    store->arena->free--;
    store->arena->small_free++;
    CHECK_STATUS(ray_plasma_check(store, 2), RAY_POISONED);
    CHECK(strstr(ray_last_error_message(), "A7") != NULL);
    store->arena->small_free--;
    check_and_close(store);
}

// ---- sizes of the structure ----------------------------------------------------------------------------------------------

static void caller_with_the_first_structure_gets_what_it_knows(void) {
    ray_store *store = make_store(8 * MIB, 64);
    put_number(store, 1, 100);
    ray_store_stats stats;
    memset(&stats, 0xee, sizeof stats);
    stats.struct_size = offsetof(ray_store_stats, free_block_count);
    CHECK_OK(ray_store_stats_read(store, &stats));
    CHECK_EQUAL(stats.struct_size, offsetof(ray_store_stats, free_block_count));
    CHECK_EQUAL(stats.used_bytes, 128);
    CHECK_EQUAL(stats.sealed_count, 1);
    const uint8_t *behind = (const uint8_t *)&stats.free_block_count;
    for (size_t i = 0; i < sizeof stats - offsetof(ray_store_stats, free_block_count); i++) {
        CHECK_EQUAL(behind[i], 0xee);
    }
    stats.struct_size = offsetof(ray_store_stats, free_block_count) - 1;
    CHECK_STATUS(ray_store_stats_read(store, &stats), RAY_INVALID_ARGUMENT);
    struct {
        ray_store_stats stats;
        uint64_t later;
    } newer = {.stats = {.struct_size = sizeof newer}, .later = 77};
    CHECK_OK(ray_store_stats_read(store, &newer.stats));
    CHECK_EQUAL(newer.stats.struct_size, sizeof(ray_store_stats));
    CHECK_EQUAL(newer.later, 77);
    CHECK_STATUS(ray_store_clients_list(store, rows, RAY_CLIENT_ROWS_MAX - 1, &row_count), RAY_INVALID_ARGUMENT);
    check_and_close(store);
}

// ---- who and when ----------------------------------------------------------------------------------------------------------

static void each_client_has_a_row_with_what_it_made_pins_and_refers_to(void) {
    ray_store *node = make_store(8 * MIB, 64);
    uint32_t slots[2];
    ray_store *clients[2];
    for (int i = 0; i < 2; i++) {
        CHECK_OK(ray_store_slot_claim(node, 1000 + i, &slots[i]));
        clients[i] = attach_slot(ray_store_meta_fd(node), ray_store_data_fd(node), slots[i]);
    }
    put_number(node, 1, 64);
    put_number(clients[0], 2, 1000);
    put_number(clients[0], 3, 2 * MIB);
    ray_object_id id = id_of(4);
    ray_object_writer writer;
    CHECK_OK(ray_object_create(clients[1], &id, 300, 10, 0, &writer)); // 320 and 10, rounded up: 384
    ray_object_view views[3];
    id = id_of(2);
    CHECK_OK(ray_object_get(clients[0], &id, 0, &views[0]));
    CHECK_OK(ray_object_get(clients[1], &id, 0, &views[1]));
    CHECK_OK(ray_ref_acquire(clients[1], &id));
    id = id_of(3);
    CHECK_OK(ray_object_get(clients[1], &id, 0, &views[2]));
    list_clients(clients[0]); // any client may ask
    CHECK_EQUAL(row_count, 3);
    const ray_store_client *row = row_of(RAY_NODE_SLOT);
    CHECK_EQUAL(row->pid, getpid());
    CHECK_EQUAL(row->created_bytes, 64);
    row = row_of(slots[0]);
    CHECK_EQUAL(row->pid, 1000);
    CHECK_EQUAL(row->serial, ray_store_slot_serial(node, slots[0]));
    CHECK_EQUAL(row->created_count, 2);
    CHECK_EQUAL(row->created_bytes, 1024 + 2 * MIB);
    CHECK_EQUAL(row->unsealed_bytes, 0);
    CHECK_EQUAL(row->pinned_count, 1);
    CHECK_EQUAL(row->pinned_bytes, 1024);
    CHECK_EQUAL(row->ref_count, 0);
    row = row_of(slots[1]);
    CHECK_EQUAL(row->created_bytes, 384);
    CHECK_EQUAL(row->unsealed_bytes, 384);
    CHECK_EQUAL(row->pinned_count, 2);
    CHECK_EQUAL(row->pinned_bytes, 1024 + 2 * MIB);
    CHECK_EQUAL(row->ref_count, 1);
    CHECK_EQUAL(row->ref_bytes, 1024);
    CHECK_EQUAL(created_sum(), stats_of(node).used_bytes);
    CHECK_EQUAL(info_of(node, 2).creator_pid, 1000);
    CHECK_EQUAL(info_of(node, 4).creator_pid, 1001);
    CHECK_EQUAL(info_of(node, 4).memory_bytes, 384);
    CHECK_EQUAL(info_of(node, 1).creator_pid, getpid());
    for (int i = 0; i < 3; i++) {
        ray_object_release(i == 0 ? clients[0] : clients[1], &views[i]);
    }
    ray_object_abort(clients[1], &writer);
    ray_store_close(clients[0]);
    ray_store_close(clients[1]);
    check_and_close(node);
}

// The next client in a slot has not made what the one before it left, though the entries name the slot only.
static void successor_in_a_slot_does_not_inherit_objects(void) {
    ray_store *node = make_store(8 * MIB, 64);
    RAY__GATE(node);
    uint32_t slot;
    CHECK_OK(ray_store_slot_claim(node, 2000, &slot));
    ray_store *client = attach_slot(ray_store_meta_fd(node), ray_store_data_fd(node), slot);
    put_number(client, 1, 1000);
    ray_store_close(client);
    list_clients(node);
    CHECK_EQUAL(row_of(slot)->created_bytes, 1024); // detached, not gone
    CHECK(row_of(RAY_CLIENT_GONE) == NULL);
    ray_reap_report report;
    CHECK_OK(ray_store_slot_reap(node, slot, &report));
    list_clients(node);
    CHECK(row_of(slot) == NULL);
    CHECK_EQUAL(row_of(RAY_CLIENT_GONE)->created_bytes, 1024);
    uint32_t again;
    CHECK_OK(ray_store_slot_claim(node, 2001, &again));
    CHECK_EQUAL(again, slot);
    client = attach_slot(ray_store_meta_fd(node), ray_store_data_fd(node), slot);
    put_number(client, 2, 100);
    list_clients(node);
    CHECK_EQUAL(row_of(slot)->created_bytes, 128);
    CHECK_EQUAL(row_of(RAY_CLIENT_GONE)->created_bytes, 1024);
    CHECK_EQUAL(created_sum(), stats_of(node).used_bytes);
    CHECK_EQUAL(info_of(node, 1).creator_pid, 2000);
    CHECK_EQUAL(info_of(node, 2).creator_pid, 2001);
    // The same process number once more, as after a wrap of process numbers: it came after the object was made.
    ray_store_close(client);
    CHECK_OK(ray_store_slot_reap(node, slot, &report));
    CHECK_OK(ray_store_slot_claim(node, 2000, &again));
    CHECK_EQUAL(again, slot);
    node->slots[slot].came = node->origins[entry_of(node, 1)].created + 1;
    list_clients(node);
    CHECK_EQUAL(row_of(slot)->created_bytes, 0);
    CHECK_EQUAL(row_of(RAY_CLIENT_GONE)->created_bytes, 1024 + 128);
    check_and_close(node);
}

static void age_counts_from_the_create_and_not_from_the_last_access(void) {
    ray_store *store = make_store(8 * MIB, 64);
    RAY__GATE(store);
    put_number(store, 1, 100);
    put_number(store, 2, 100);
    CHECK(info_of(store, 1).age_ns < 3600ull * 1000000000u);
    store->origins[entry_of(store, 1)].created -= 25; // made 2.5 s earlier
    uint64_t old = info_of(store, 1).age_ns;
    CHECK(old >= 2500000000u);
    CHECK(info_of(store, 2).age_ns <= old - 2500000000u + 200000000u);
    ray_object_id id = id_of(1);
    ray_object_view view;
    CHECK_OK(ray_object_get(store, &id, 0, &view));
    ray_object_release(store, &view);
    CHECK(info_of(store, 1).age_ns >= old);
    end_number(store, 1);
    put_number(store, 1, 100); // another object of the same id, in the same place
    CHECK(info_of(store, 1).age_ns < old);
    store->origins[entry_of(store, 1)].created += 1000; // a damaged one lies in the future
    CHECK_EQUAL(info_of(store, 1).age_ns, 0);
    check_and_close(store);
}

static void evicted_object_takes_no_memory_and_is_as_old_as_its_next_value(void) {
    ray_store *node = make_store(8 * MIB, 64);
    RAY__GATE(node);
    ray_object_id id = id_of(1);
    uint32_t state;
    CHECK_OK(ray_node_adopt(node, &id, &state));
    CHECK_EQUAL(info_of(node, 1).memory_bytes, 0);
    put_number(node, 1, 1000);
    CHECK_EQUAL(info_of(node, 1).memory_bytes, 1024);
    node->origins[entry_of(node, 1)].created -= 100;
    CHECK_OK(ray_node_evict(node, &id, NULL));
    CHECK_EQUAL(info_of(node, 1).state, RAY_STATE_REMOTE);
    CHECK_EQUAL(info_of(node, 1).memory_bytes, 0);
    CHECK(info_of(node, 1).age_ns >= 10000000000u);
    uint64_t old = info_of(node, 1).age_ns;
    put_number(node, 1, 1000);
    CHECK(info_of(node, 1).age_ns < old);
    list_clients(node);
    CHECK_EQUAL(created_sum(), 1024);
    check_and_close(node);
}

// ---- under churn -----------------------------------------------------------------------------------------------------------

enum { CHURNERS = 3, CHURN_IDS = 40, READINGS = 3000 };

static ray_store *churned;
static uint32_t stop;

static void *churn(void *argument) {
    uint64_t me = (uintptr_t)argument;
    uint64_t random = me * 7919 + 1;
    while (__atomic_load_n(&stop, __ATOMIC_ACQUIRE) == 0) {
        ray_object_id id = id_of(me * CHURN_IDS + check_random(&random) % CHURN_IDS);
        ray_object_writer writer;
        ray_object_view view;
        uint64_t size = check_random(&random) % 8 == 0 ? MIB + check_random(&random) % 5000 : check_random(&random) % 60000;
        ray_status status = ray_object_create(churned, &id, size, 0, 0, &writer);
        if (status == RAY_OK) {
            CHECK_OK(ray_object_seal(churned, &writer));
        } else if (ray_object_get(churned, &id, 0, &view) == RAY_OK) {
            CHECK_OK(ray_object_delete(churned, &id, RAY_OBJECT_FREED));
            ray_object_release(churned, &view);
        }
    }
    return NULL;
}

static void every_reading_adds_up_while_others_create_and_delete(void) {
    ray_store *node = make_store(12 * MIB, 256);
    churned = attach_client(node);
    pthread_t threads[CHURNERS];
    for (uintptr_t i = 0; i < CHURNERS; i++) {
        CHECK_EQUAL(pthread_create(&threads[i], NULL, churn, (void *)i), 0);
    }
    uint64_t least = UINT64_MAX;
    uint64_t most = 0;
    for (int i = 0; i < READINGS || (least == most && i < 100 * READINGS); i++) {
        ray_store_stats stats = stats_of(node); // checks used + free = capacity
        CHECK(stats.largest_free_bytes <= stats.free_bytes);
        CHECK(stats.unusable_for_1mib_bytes <= stats.free_bytes);
        CHECK((stats.free_block_count == 0) == (stats.free_bytes == 0));
        // Whatever is large enough is not called unusable, so the largest counts as such only when all do.
        CHECK(stats.largest_free_bytes < MIB + 4096 || stats.unusable_for_1mib_bytes <= stats.free_bytes - stats.largest_free_bytes);
        CHECK(stats.used_bytes % 64 == 0);
        least = stats.used_bytes < least ? stats.used_bytes : least;
        most = stats.used_bytes > most ? stats.used_bytes : most;
        list_clients(node);
        CHECK_EQUAL(row_count - (row_of(RAY_CLIENT_GONE) != NULL), 2);
    }
    CHECK(least < most); // something moved, or the sums were of a still store
    __atomic_store_n(&stop, 1, __ATOMIC_RELEASE);
    for (int i = 0; i < CHURNERS; i++) {
        pthread_join(threads[i], NULL);
    }
    list_clients(node);
    CHECK(row_of(RAY_CLIENT_GONE) == NULL);
    CHECK_EQUAL(created_sum(), stats_of(node).used_bytes);
    CHECK_EQUAL(row_of(ray_store_slot(churned))->created_bytes, stats_of(node).used_bytes);
    CHECK_EQUAL(stats_of(node).pinned_bytes, 0);
    ray_store_close(churned);
    check_and_close(node);
}

int main(void) {
    RUN(empty_store_is_one_free_block);
    RUN(holes_between_objects_are_unusable_for_a_mebibyte);
    RUN(block_that_only_misses_its_alignment_is_unusable);
    RUN(unusable_says_whether_a_mebibyte_can_be_had);
    RUN(rebuilt_arena_has_the_same_sums);
    RUN(wrong_sum_is_found_by_the_check);
    RUN(caller_with_the_first_structure_gets_what_it_knows);
    RUN(each_client_has_a_row_with_what_it_made_pins_and_refers_to);
    RUN(successor_in_a_slot_does_not_inherit_objects);
    RUN(age_counts_from_the_create_and_not_from_the_last_access);
    RUN(evicted_object_takes_no_memory_and_is_as_old_as_its_next_value);
    RUN(every_reading_adds_up_while_others_create_and_delete);
    return 0;
}
