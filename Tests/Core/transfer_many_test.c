// SPDX-License-Identifier: Apache-2.0
// Many receivers of the same data, and many sources of it: several transfers in one process, on loopback.
#include "transfer_fixture.h"

#define NODES_MAX 9

static char source_path[128];

typedef struct node {
    ray_store *store;
    ray_transfer *transfer;
    fixture_table table;
    fixture_pull pull;
    char path[128];
} node;

static node nodes[NODES_MAX];

static ray_store *make_store(uint64_t capacity) {
    ray_store_options options = {.struct_size = sizeof options, .capacity_bytes = capacity};
    ray_store *store = NULL;
    CHECK_OK(ray_store_create(&options, &store));
    return store;
}

// Node 0 has the data; the others only listen.
static uint8_t *make_nodes(uint32_t count, uint64_t size, bool in_stores, uint64_t seed) {
    uint8_t *bytes = fixture_bytes(size, seed, false);
    memset(nodes, 0, sizeof nodes);
    for (uint32_t i = 0; i < count; i++) {
        node *n = &nodes[i];
        if (in_stores) {
            n->store = make_store(size + 8 * MIB);
        } else if (i == 0) {
            fixture_write_file(source_path, bytes, size);
            fixture_add_file(&n->table, 1, source_path);
        }
        char name[24];
        snprintf(name, sizeof name, "target%u", i);
        fixture_path(n->path, name);
        n->transfer = fixture_transfer(in_stores ? NULL : &n->table, n->store, true);
    }
    if (in_stores) {
        ray_object_id id = fixture_id(1);
        CHECK_OK(ray_object_put(nodes[0].store, &id, bytes, size, "m", 1, 0));
    }
    return bytes;
}

static void start_pull(uint32_t at, const uint16_t *ports, uint32_t port_count, ray_pull_options *options) {
    node *n = &nodes[at];
    if (n->store != NULL) {
        ray_object_id id = fixture_id(1);
        uint32_t state;
        CHECK_OK(ray_node_adopt(n->store, &id, &state));
    }
    fixture_pull_init(&n->pull, n->store != NULL ? NULL : n->path);
    fixture_start(&n->pull, n->transfer, 1, ports, port_count, options);
}

static void start_from_0(uint32_t at, ray_pull_options *options) {
    uint16_t port = ray_transfer_port(nodes[0].transfer);
    start_pull(at, &port, 1, options);
}

static void check_arrived(uint32_t at, const uint8_t *bytes, uint64_t size) {
    node *n = &nodes[at];
    if (n->store == NULL) {
        CHECK(fixture_file_is(n->path, bytes, size));
        return;
    }
    ray_object_id id = fixture_id(1);
    ray_object_view view;
    CHECK_OK(ray_object_get(n->store, &id, 0, &view));
    CHECK(view.data_size == size && memcmp(view.data, bytes, size) == 0 && view.metadata_size == 1);
    ray_object_release(n->store, &view);
}

static void finish_pull(uint32_t at, const uint8_t *bytes, uint64_t size) {
    ray_status status = fixture_finish(&nodes[at].pull);
    if (status != RAY_OK) {
        fprintf(stderr, "    node %u: %s: %s\n", at, ray_status_name(status), nodes[at].pull.message);
    }
    CHECK_STATUS(status, RAY_OK);
    check_arrived(at, bytes, size);
}

static void end_nodes(uint32_t count, uint8_t *bytes) {
    for (uint32_t i = 0; i < count; i++) {
        ray_transfer_destroy(nodes[i].transfer);
        if (nodes[i].store != NULL) {
            CHECK_OK(ray_plasma_check(nodes[i].store, 2));
            ray_store_close(nodes[i].store);
        } else {
            unlink(nodes[i].path);
        }
    }
    unlink(source_path);
    free(bytes);
}

static void broadcast(uint32_t receivers, uint64_t size, bool in_stores) {
    uint8_t *bytes = make_nodes(receivers + 1, size, in_stores, size + receivers);
    for (uint32_t i = 1; i <= receivers; i++) {
        start_from_0(i, NULL);
    }
    for (uint32_t i = 1; i <= receivers; i++) {
        finish_pull(i, bytes, size);
    }
    uint64_t sent = fixture_stats(nodes[0].transfer).sent_bytes;
    fprintf(stderr, "    the source sent %.2f copies to %u\n", (double)sent / (double)size, receivers);
    CHECK(sent <= 2 * size);
    end_nodes(receivers + 1, bytes);
}

static void eightReceiversOfAFileTakeAboutOneCopyFromTheSource(void) {
    broadcast(8, 96 * MIB + 12345, false);
}

static void fourReceiversOfAnObjectTakeAboutOneCopyFromTheSource(void) {
    broadcast(4, 64 * MIB + 1, true);
}

int main(void) {
    fixture_make_directory();
    fixture_path(source_path, "source");
    RUN(eightReceiversOfAFileTakeAboutOneCopyFromTheSource);
    RUN(fourReceiversOfAnObjectTakeAboutOneCopyFromTheSource);
    fixture_remove_directory();
    return 0;
}
