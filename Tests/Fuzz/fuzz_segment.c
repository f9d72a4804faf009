// SPDX-License-Identifier: Apache-2.0
// A store whose shared memory somebody writes into: every call must answer, and touch nothing outside the segments.
//
// The first byte says how it is opened: 1 attaches to a segment that the input itself fills; else a small store with some objects
// is made. Then the input is a program. A byte with bit 7 writes into the segment: bits 0-2 name the part, bits 3-4 the width, and a place
// (u8), an offset (u8) and a value (u64) follow. Any other byte is a call, modulo their number, and the byte behind it an object.
//
// The bytes of the lock are left alone: they are glibc's, whose robust mutex believes them. It may be said to have lost its owner.
// AddressSanitizer knows nothing of mapped memory, so this program puts an unreachable page before and behind each mapping.
#include "fuzz.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "plasma/store_internal.h"

#define CAPACITY (1u << 16)
#define ENTRIES 16u
#define STEPS_MAX 100
#define OBJECTS 8u

// ---- guarded mappings ------------------------------------------------------------------------------------------------------

#define GUARD RAY__PAGE
#define MAPPINGS_MAX 32

static struct {
    uint8_t *address;
    size_t size;
} mappings[MAPPINGS_MAX];

void *__real_mmap(void *address, size_t size, int protection, int flags, int fd, off_t offset);
int __real_munmap(void *address, size_t size);
void *__wrap_mmap(void *address, size_t size, int protection, int flags, int fd, off_t offset);
int __wrap_munmap(void *address, size_t size);

void *__wrap_mmap(void *address, size_t size, int protection, int flags, int fd, off_t offset) {
    size_t pages = (size + GUARD - 1) / GUARD * GUARD;
    for (size_t i = 0; i < MAPPINGS_MAX && address == NULL; i++) {
        if (mappings[i].address != NULL) {
            continue;
        }
        uint8_t *whole = __real_mmap(NULL, pages + 2 * GUARD, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (whole == MAP_FAILED) {
            return MAP_FAILED;
        }
        void *mapped = __real_mmap(whole + GUARD, size, protection, flags | MAP_FIXED, fd, offset);
        if (mapped == MAP_FAILED) {
            __real_munmap(whole, pages + 2 * GUARD);
            return MAP_FAILED;
        }
        mappings[i].address = mapped;
        mappings[i].size = pages;
        return mapped;
    }
    MUST(address != NULL); // else a mapping was left behind by each of the inputs before
    return __real_mmap(address, size, protection, flags, fd, offset);
}

int __wrap_munmap(void *address, size_t size) {
    for (size_t i = 0; i < MAPPINGS_MAX; i++) {
        if (mappings[i].address != NULL && mappings[i].address == address) {
            mappings[i].address = NULL;
            return __real_munmap((uint8_t *)address - GUARD, mappings[i].size + 2 * GUARD);
        }
    }
    return __real_munmap(address, size);
}

// ---- the store that is written into ------------------------------------------------------------------------------------------

static ray_store *node;
static ray_store *client;
static uint32_t client_slot;
static uint32_t check_level; // 1 when attention was written into: a check would wait 200 ms for it to come right

static ray_object_id object(uint64_t number) {
    ray_task_id task = ray_task_id_driver(1);
    return ray_object_id_make(&task, RAY_FIRST_PUT_INDEX + (uint32_t)(number % OBJECTS));
}

static bool begin_store(void) {
    ray_store_options options = {.struct_size = sizeof options, .capacity_bytes = CAPACITY, .entry_count_max = ENTRIES};
    if (ray_store_create(&options, &node) != RAY_OK) {
        return false; // the machine is short of memory
    }
    static const uint8_t bytes[5000] = {1, 2, 3};
    uint32_t state;
    ray_object_id ids[5];
    for (uint32_t i = 0; i < 5; i++) {
        ids[i] = object(i);
    }
    ray_object_writer writer;
    bool made = ray_object_put(node, &ids[0], bytes, 100, bytes, 10, RAY_CREATE_WITH_REF) == RAY_OK &&
                ray_object_put(node, &ids[1], bytes, sizeof bytes, NULL, 0, 0) == RAY_OK &&
                ray_object_create(node, &ids[2], 300, 0, 0, &writer) == RAY_OK &&
                ray_node_adopt(node, &ids[3], &state) == RAY_OK && ray_node_adopt(node, &ids[4], &state) == RAY_OK &&
                ray_node_fail(node, &ids[4], RAY_OWNER_DIED) == RAY_OK &&
                ray_store_slot_claim(node, 1, &client_slot) == RAY_OK;
    if (!made) {
        ray_store_close(node);
    }
    return made;
}

static ray_store *attach(void) {
    if (client == NULL) {
        int meta_fd = fcntl(ray_store_meta_fd(node), F_DUPFD_CLOEXEC, 0);
        int data_fd = fcntl(ray_store_data_fd(node), F_DUPFD_CLOEXEC, 0);
        MUST(meta_fd >= 0 && data_fd >= 0);
        ray_status status = ray_store_attach(meta_fd, data_fd, client_slot, &client);
        MUST((status == RAY_OK) == (client != NULL));
    }
    return client;
}

static void write_part(uint32_t part, uint32_t width, uint64_t place, uint64_t offset, uint64_t value) {
    static const size_t widths[] = {8, 4, 1, 8};
    size_t size = widths[width];
    uint8_t *parts[] = {(uint8_t *)node->header,       (uint8_t *)node->slots, (uint8_t *)node->buckets,
                        (uint8_t *)node->attention[0], (uint8_t *)node->arena, (uint8_t *)node->blocks,
                        (uint8_t *)node->table,        (uint8_t *)node->arena->heads};
    static const size_t steps[] = {0, sizeof(ray__slot), sizeof(ray__bucket), 8, 8, sizeof(ray__block), sizeof(ray__entry), 128};
    const uint8_t *end = (const uint8_t *)node->header + node->layout.meta_size;
    uint8_t *at = parts[part] + steps[part] * place + offset;
    const uint8_t *lock = (const uint8_t *)&node->header->lock;
    if (at + size <= end && (at + size <= lock || at >= lock + sizeof(pthread_mutex_t))) {
        memcpy(at, &value, size);
        bool attention = at + size > (uint8_t *)node->attention[0] && at < (uint8_t *)node->arena;
        check_level = attention ? 1 : check_level;
    }
}

// What glibc and the kernel leave in a lock whose owner ended with it: the next one repairs the store from its table.
static void lose_lock_owner(void) {
    uint32_t word = 0x40000000; // FUTEX_OWNER_DIED
    memcpy(&node->header->lock, &word, sizeof word);
}

// ---- calls -------------------------------------------------------------------------------------------------------------------

static void call_get(ray_store *store, const ray_object_id *id) {
    ray_object_view view;
    if (ray_object_get(store, id, 0, &view) == RAY_OK) {
        MUST(view.data_size <= CAPACITY && view.metadata_size <= CAPACITY);
        read_all(view.data, view.data_size);
        read_all(view.metadata, view.metadata_size);
        ray_object_view second;
        ray_object_view_copy(store, &view, &second);
        ray_object_release(store, &second);
    }
    ray_object_release(store, &view);
}

static void call_create(ray_store *store, const ray_object_id *id, uint64_t size, bool seal) {
    ray_object_writer writer;
    uint32_t flags = (size & 1) != 0 ? RAY_CREATE_WITH_REF : 0;
    if (ray_object_create(store, id, size, (uint32_t)size & 15, flags, &writer) == RAY_OK) {
        if (writer.data != NULL) {
            memset(writer.data, 0xa5, writer.data_size);
        }
        if (writer.metadata != NULL) {
            memset(writer.metadata, 0x5a, writer.metadata_size);
        }
    }
    if (seal) {
        (void)!ray_object_seal(store, &writer);
    }
    ray_object_abort(store, &writer);
}

static void call_list(ray_store *store) {
    ray_object_info infos[5];
    uint64_t cursor = 0;
    uint32_t count;
    for (uint32_t turns = 0; ray_store_list(store, &cursor, infos, 5, &count) == RAY_OK && count != 0; turns++) {
        MUST(turns <= node->layout.table_size);
    }
}

static void call_wait(ray_store *store, const ray_object_id *id) {
    ray_object_id ids[2] = {*id, object(0)};
    uint8_t ready[2];
    uint32_t count;
    (void)!ray_object_wait(store, ids, 2, 2, 0, ready, &count);
    MUST(count <= 2);
}

static void call_stats(ray_store *store) {
    ray_store_stats stats = {.struct_size = sizeof stats};
    if (ray_store_stats_read(store, &stats) == RAY_OK) {
        MUST(stats.capacity_bytes == CAPACITY);
    }
}

static void call_either(ray_store *store, uint32_t number, const ray_object_id *id, uint64_t argument) {
    ray_object_info info;
    switch (number) {
    case 0: call_get(store, id); break;
    case 1: (void)ray_object_contains(store, id); break;
    case 2: (void)!ray_object_stat(store, id, &info); break;
    case 3: call_list(store); break;
    case 4: (void)!ray_plasma_check(store, check_level); break;
    case 5: (void)!ray_ref_acquire(store, id); break;
    case 6: (void)ray_ref_release(store, id); break;
    case 7: call_create(store, id, argument * 257, true); break;
    case 8: call_create(store, id, argument * 64, false); break;
    case 9: (void)!ray_object_delete(store, id, RAY_OBJECT_FREED); break;
    case 10: call_wait(store, id); break;
    default: call_stats(store); break;
    }
}

static void call_node(uint32_t number, const ray_object_id *id) {
    uint32_t state;
    uint32_t count;
    ray_object_info infos[4];
    ray_reap_report report;
    switch (number) {
    case 0: (void)!ray_node_adopt(node, id, &state); break;
    case 1: (void)ray_node_disown(node, id); break;
    case 2: (void)!ray_node_evict(node, id, NULL); break;
    case 3: (void)!ray_node_fail(node, id, RAY_OWNER_DIED); break;
    case 4: (void)!ray_node_unfail(node, id); break;
    case 5: (void)!ray_node_watch(node, id); break;
    case 6: (void)!ray_node_attention_wait(node, 0, infos, 4, &count); MUST(count <= 4); break;
    case 7: (void)!ray_node_ref_for(node, id, client_slot, 0); break;
    default: // the client has died
        (void)!ray_store_slot_reap(node, client_slot, &report);
        break;
    }
}

static void run_program(fuzz_input *input) {
    for (int step = 0; input->size != 0 && step < STEPS_MAX; step++) {
        uint32_t what = (uint32_t)take(input, 1);
        if ((what & 0x80) != 0) {
            uint64_t place = take(input, 1);
            uint64_t offset = take(input, 1);
            write_part(what & 7, what >> 3 & 3, place, offset, take(input, 8));
            continue;
        }
        uint64_t argument = take(input, 1);
        ray_object_id id = object(argument);
        uint32_t number = what & 63;
        if (number < 12) {
            if (attach() != NULL) {
                call_either(client, number, &id, argument);
            }
        } else if (number < 24) {
            call_either(node, number - 12, &id, argument);
        } else if (number < 33) {
            call_node(number - 24, &id);
        } else if (number == 33) {
            ray_store_close(client);
            client = NULL;
        } else if (number == 34) {
            lose_lock_owner();
        } else if (attach() != NULL) {
            call_get(client, &id);
        }
    }
}

// A segment of any content and any small size.
static void attach_raw(const uint8_t *bytes, size_t size) {
    int fds[2];
    for (int i = 0; i < 2; i++) {
        fds[i] = memfd_create("fuzz", MFD_CLOEXEC | MFD_ALLOW_SEALING);
        MUST(fds[i] >= 0);
    }
    MUST(write(fds[0], bytes, size) == (ssize_t)size);
    MUST(ftruncate(fds[0], (off_t)(size * 64)) == 0 && ftruncate(fds[1], RAY__PAGE) == 0);
    for (int i = 0; i < 2 && (size & 1) == 0; i++) {
        MUST(fcntl(fds[i], F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW) == 0);
    }
    ray_store *opened;
    ray_status status = ray_store_attach(fds[0], fds[1], 1 + (uint32_t)size % 300, &opened);
    MUST(status != RAY_OK && opened == NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    fuzz_input input = {data, size};
    if (take(&input, 1) == 1) {
        attach_raw(input.data, input.size);
        return 0;
    }
    if (!begin_store()) {
        return 0;
    }
    client = NULL;
    check_level = 2;
    run_program(&input);
    ray_store_close(client);
    client = NULL;
    ray_store_close(node);
    return 0;
}
