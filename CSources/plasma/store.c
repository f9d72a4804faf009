// SPDX-License-Identifier: Apache-2.0
// Making, mapping and leaving a store.
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/shm_internal.h"
#include "plasma/arena_internal.h"

#define CAPACITY_DEFAULT (1ull << 30)
#define ENTRIES_MIN 16384u

ray_status ray__store_refuse(const ray_store *store) {
    if (store->fork_generation != ray__fork_generation()) {
        return ray__fail(RAY_FORKED, "this store was opened by the parent process: open it again after fork");
    }
    return ray__fail(RAY_POISONED, "the store is damaged and must be made anew");
}

ray_status ray__store_enter_node(const ray_store *store, const char *what) {
    RAY_TRY(ray__store_enter(store));
    if (store->slot != RAY_NODE_SLOT) {
        return ray__fail(RAY_INVALID_ARGUMENT, "%s: only the node may, this is slot %u", what, store->slot);
    }
    return RAY_OK;
}

// ---- open and close ----------------------------------------------------------------------------------------------------

static void unmap(ray_store *store) {
    ray__segment_unmap(store->header, store->layout.meta_size);
    ray__segment_unmap((void *)(uintptr_t)store->readable, store->layout.capacity);
    ray__segment_unmap(store->writable, store->layout.capacity);
    ray__segment_unmap(store->counts, store->layout.table_size * sizeof *store->counts);
    ray__segment_unmap(store->touched, ray__touched_size(store));
    ray__fd_close(store->meta_fd);
    ray__fd_close(store->data_fd);
    pthread_mutex_destroy(&store->wait_lock);
    pthread_mutex_destroy(&store->prefault.lock);
    free(store);
}

static ray_store *new_handle(int meta_fd, int data_fd, uint32_t slot) {
    ray_store *store = calloc(1, sizeof *store);
    if (store == NULL) {
        return NULL;
    }
    ray__fork_watch();
    store->fork_generation = ray__fork_generation();
    store->meta_fd = meta_fd;
    store->data_fd = data_fd;
    store->slot = slot;
    store->pin = ray__pin_of(slot);
    store->ref = ray__ref_of(slot);
    pthread_mutex_init(&store->wait_lock, NULL);
    pthread_mutex_init(&store->prefault.lock, NULL);
    return store;
}

// Maps what is not mapped yet, and finds the parts of the meta segment.
static ray_status map_parts(ray_store *store) {
    const ray__layout *layout = &store->layout;
    uint8_t *base = (uint8_t *)store->header;
    store->slots = (ray__slot *)(void *)(base + layout->slots_offset);
    store->buckets = (ray__bucket *)(void *)(base + layout->buckets_offset);
    for (int level = 0; level < 3; level++) {
        store->attention[level] = (uint64_t *)(void *)(base + layout->attention_offset[level]);
    }
    store->arena = (ray__arena *)(void *)(base + layout->arena_offset);
    store->blocks = (ray__block *)(void *)(base + layout->blocks_offset);
    store->used = (uint64_t *)(void *)(base + layout->used_offset);
    store->sealed = (uint64_t *)(void *)(base + layout->sealed_offset);
    store->origins = (ray__origin *)(void *)(base + layout->origins_offset);
    store->table = (ray__entry *)(void *)(base + layout->table_offset);
    store->table_mask = layout->table_size - 1;
    void *mapped;
    RAY_TRY(ray__segment_map(store->data_fd, layout->capacity, false, &mapped));
    store->readable = mapped;
    RAY_TRY(ray__segment_map(store->data_fd, layout->capacity, true, &mapped));
    store->writable = mapped;
    store->counts = ray__private_map(layout->table_size * sizeof *store->counts);
    if (store->counts == NULL) {
        return ray__fail_errno(RAY_OUT_OF_MEMORY, "map the counts of %u entries", layout->table_size);
    }
    store->touched = ray__private_map(ray__touched_size(store));
    if (store->touched == NULL) {
        return ray__fail_errno(RAY_OUT_OF_MEMORY, "map a bit for each huge page of %llu bytes",
                               (unsigned long long)layout->capacity);
    }
    return RAY_OK;
}

static ray_status read_options(const ray_store_options *options, ray__layout *layout) {
    if (options->struct_size < sizeof *options) {
        return ray__fail(RAY_INVALID_ARGUMENT, "ray_store_options.struct_size is %u, not %zu", options->struct_size,
                         sizeof *options);
    }
    uint64_t capacity = options->capacity_bytes == 0 ? CAPACITY_DEFAULT : options->capacity_bytes;
    if (capacity > RAY__CAPACITY_MAX) {
        return ray__fail(RAY_TOO_LARGE, "a store of %llu bytes: the largest has %llu", (unsigned long long)capacity,
                         RAY__CAPACITY_MAX);
    }
    capacity = (capacity + RAY__PAGE - 1) / RAY__PAGE * RAY__PAGE;
    uint64_t entries = options->entry_count_max;
    if (entries == 0) {
        entries = capacity / 4096;
        entries = entries < ENTRIES_MIN ? ENTRIES_MIN : entries;
        entries = entries > RAY__ENTRY_MAX ? RAY__ENTRY_MAX : entries;
    }
    if (entries > RAY__ENTRY_MAX) {
        return ray__fail(RAY_TOO_LARGE, "a table of %llu entries: the largest has %u", (unsigned long long)entries,
                         RAY__ENTRY_MAX);
    }
    ray__layout_make(capacity, (uint32_t)entries, layout);
    return RAY_OK;
}

static ray_status begin_node(ray_store *store) {
    void *mapped;
    RAY_TRY(ray__segment_create("raystore-meta", store->layout.meta_size, &store->meta_fd));
    RAY_TRY(ray__segment_create("raystore-data", store->layout.capacity, &store->data_fd));
    RAY_TRY(ray__segment_map(store->meta_fd, store->layout.meta_size, true, &mapped));
    store->header = mapped;
    RAY_TRY(ray__segment_reserve(store->meta_fd, mapped, 0, store->layout.meta_size));
    RAY_TRY(ray__layout_write(&store->layout, mapped));
    RAY_TRY(map_parts(store));
    ray__arena_begin(store);
    store->slots[RAY_NODE_SLOT].serial = 1;
    store->slots[RAY_NODE_SLOT].pid = getpid();
    store->slots[RAY_NODE_SLOT].came = ray__origin_now();
    store->slot_serial = 1;
    ray__shm_store32(&store->slots[RAY_NODE_SLOT].state, RAY__SLOT_ATTACHED);
    return RAY_OK;
}

ray_status ray_store_create(const ray_store_options *options, ray_store **store) {
    *store = NULL;
    ray__layout layout;
    RAY_TRY(read_options(options, &layout));
    ray_store *made = new_handle(-1, -1, RAY_NODE_SLOT);
    if (made == NULL) {
        return ray__fail(RAY_OUT_OF_MEMORY, "no memory for a store's handle");
    }
    made->layout = layout;
    ray_status status = begin_node(made);
    if (status == RAY_OK) {
        status = ray__store_protect_if_wanted(made);
    }
    if (status != RAY_OK) {
        unmap(made);
        return status;
    }
    *store = made;
    return RAY_OK;
}

// Maps a store that another process made, and checks it.
static ray_status begin_existing(ray_store *store) {
    uint64_t meta_size;
    uint64_t data_size;
    void *mapped;
    RAY_TRY(ray__segment_size(store->meta_fd, &meta_size));
    RAY_TRY(ray__segment_size(store->data_fd, &data_size));
    if (meta_size < RAY__PAGE) {
        return ray__fail(RAY_LAYOUT_MISMATCH, "%llu bytes are too few for a store's table",
                         (unsigned long long)meta_size);
    }
    RAY_TRY(ray__segment_map(store->meta_fd, meta_size, true, &mapped));
    store->header = mapped;
    store->layout.meta_size = meta_size; // so that it is unmapped whatever the header says
    ray__layout layout;
    RAY_TRY(ray__layout_read(mapped, meta_size, data_size, &layout));
    store->layout = layout;
    RAY_TRY(map_parts(store));
    return ray__store_enter(store);
}

static ray_status begin_client(ray_store *store) {
    ray__slot *slot = &store->slots[store->slot];
    uint32_t claimed = RAY__SLOT_CLAIMED;
    if (!ray__shm_swap_if32(&slot->state, &claimed, RAY__SLOT_ATTACHED)) {
        return ray__fail(claimed == RAY__SLOT_FREE ? RAY_INVALID_ARGUMENT : RAY_IN_USE,
                         claimed == RAY__SLOT_FREE ? "slot %u was not given out by the node" : "slot %u is in use",
                         store->slot);
    }
    RAY_CRASH_POINT();
    store->slot_serial = ray__shm_load32(&slot->serial);
    return RAY_OK;
}

static ray_status attach(int meta_fd, int data_fd, uint32_t slot, ray_status (*begin)(ray_store *), ray_store **store) {
    ray_store *made = new_handle(meta_fd, data_fd, slot);
    if (made == NULL) {
        ray__fd_close(meta_fd);
        ray__fd_close(data_fd);
        return ray__fail(RAY_OUT_OF_MEMORY, "no memory for a store's handle");
    }
    // First of all: a client that cannot be protected leaves its slot as it was.
    ray_status status = begin_existing(made);
    if (status == RAY_OK) {
        status = ray__store_protect_if_wanted(made);
    }
    RAY__GATE(made);
    if (status == RAY_OK) {
        status = begin(made);
    }
    if (status != RAY_OK) {
        unmap(made);
        return status;
    }
    *store = made;
    return RAY_OK;
}

ray_status ray_store_attach(int meta_fd, int data_fd, uint32_t slot, ray_store **store) {
    *store = NULL;
    if (slot == RAY_NODE_SLOT || slot > RAY_CLIENTS_MAX) {
        ray__fd_close(meta_fd);
        ray__fd_close(data_fd);
        return ray__fail(RAY_INVALID_ARGUMENT, "slot %u: a client's slot is 1 to %u", slot, RAY_CLIENTS_MAX);
    }
    return attach(meta_fd, data_fd, slot, begin_client, store);
}

ray_status ray__store_take_over(int meta_fd, int data_fd, ray_store **store) {
    *store = NULL;
    return attach(meta_fd, data_fd, RAY_NODE_SLOT, ray__node_succeed, store);
}

void ray_store_close(ray_store *store) {
    if (store == NULL) {
        return;
    }
    RAY__GATE(store);
    ray_store_prefault_stop(store);
    // A fork's child has nothing in the store; a slot that was reaped may be another's by now.
    ray__slot *slot = &store->slots[store->slot];
    if (ray__store_enter(store) == RAY_OK && ray__shm_load32(&slot->serial) == store->slot_serial &&
        ray__shm_load32(&slot->state) == RAY__SLOT_ATTACHED) {
        ray_reap_report report;
        (void)ray__slot_sweep(store, store->slot, &report);
        RAY_CRASH_POINT();
        uint32_t attached = RAY__SLOT_ATTACHED;
        ray__shm_swap_if32(&slot->state, &attached, RAY__SLOT_CLAIMED);
    }
    unmap(store);
}

int ray_store_meta_fd(const ray_store *store) {
    return store->meta_fd;
}

int ray_store_data_fd(const ray_store *store) {
    return store->data_fd;
}

uint64_t ray__store_offset_of(const ray_store *store, const uint8_t *data) {
    return (uint64_t)(data - store->readable);
}

uint32_t ray_store_slot(const ray_store *store) {
    return store->slot;
}
