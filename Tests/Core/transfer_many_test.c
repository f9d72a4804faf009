// SPDX-License-Identifier: Apache-2.0
// Many receivers of the same data, and many sources of it: several transfers in one process, on loopback.
#include "fault_proxy.h"
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

// Node 0 has the data; the others only listen.
static uint8_t *make_nodes(uint32_t count, uint64_t size, bool in_stores, uint64_t seed) {
    uint8_t *bytes = fixture_bytes(size, seed, false);
    memset(nodes, 0, sizeof nodes);
    for (uint32_t i = 0; i < count; i++) {
        node *n = &nodes[i];
        if (in_stores) {
            n->store = fixture_store(size + 8 * MIB);
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
    char path[sizeof n->path];
    memcpy(path, n->path, sizeof path);
    fixture_pull_init(&n->pull, n->store != NULL ? NULL : path);
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

static void anObjectOfOneChunkIsPassedOnToo(void) {
    broadcast(8, MIB, true);
    broadcast(8, 3 * MIB + 5, true);
}

// ---- partial holders that fail, sources that die or are slow --------------------------------------------------------------

static void aReceiverThatIsCancelledHurtsNobody(bool in_stores) {
    uint64_t size = 64 * MIB + 77;
    uint8_t *bytes = make_nodes(5, size, in_stores, 5);
    ray_pull_options slow = {.rate_max_bytes = 60 * MIB};
    for (uint32_t i = 1; i < 5; i++) {
        start_from_0(i, &slow);
    }
    fixture_wait_bytes(&nodes[1].pull, 12 * MIB);
    ray_pull_cancel(nodes[1].pull.handle);
    CHECK_STATUS(fixture_finish(&nodes[1].pull), RAY_CANCELLED);
    for (uint32_t i = 2; i < 5; i++) {
        finish_pull(i, bytes, size);
    }
    end_nodes(5, bytes);
}

static void aCancelledReceiverOfAFileHurtsNobody(void) {
    aReceiverThatIsCancelledHurtsNobody(false);
}

static void aCancelledReceiverOfAnObjectHurtsNobody(void) {
    aReceiverThatIsCancelledHurtsNobody(true);
}

static void aReceiverThatDiesHurtsNobody(void) {
    uint64_t size = 64 * MIB;
    uint8_t *bytes = make_nodes(5, size, true, 6);
    ray_pull_options slow = {.rate_max_bytes = 60 * MIB};
    for (uint32_t i = 1; i < 5; i++) {
        start_from_0(i, &slow);
    }
    fixture_wait_bytes(&nodes[2].pull, 12 * MIB);
    ray_transfer_destroy(nodes[2].transfer);
    CHECK_STATUS(fixture_finish(&nodes[2].pull), RAY_CANCELLED);
    nodes[2].transfer = NULL;
    for (uint32_t i = 1; i < 5; i++) {
        if (i != 2) {
            finish_pull(i, bytes, size);
        }
    }
    end_nodes(5, bytes);
}

static void aLatecomerIsReferredToThoseWhoHaveIt(void) {
    uint64_t size = 64 * MIB;
    uint8_t *bytes = make_nodes(4, size, false, 7);
    ray_pull_options slow = {.rate_max_bytes = 40 * MIB};
    start_from_0(1, &slow);
    start_from_0(2, &slow);
    uint64_t deadline = ray__now_ns() + FIXTURE_DEADLINE_NS;
    while (fixture_stats(nodes[0].transfer).sent_bytes < 24 * MIB) {
        CHECK(ray__now_ns() < deadline);
        usleep(1000);
    }
    start_from_0(3, &slow);
    for (uint32_t i = 1; i < 4; i++) {
        finish_pull(i, bytes, size);
    }
    // From the source comes what is missing when the others end, since nobody serves here then: with 40 of 64 MiB on its way at most.
    uint64_t sent = fixture_stats(nodes[0].transfer).sent_bytes;
    fprintf(stderr, "    the source sent %.2f copies\n", (double)sent / (double)size);
    CHECK(sent <= size + size * 3 / 4);
    end_nodes(4, bytes);
}

// All that the source would send arrives at one of them only after its death.
static void receiversHelpEachOtherWhenTheSourceDies(void) {
    uint64_t size = 48 * MIB;
    uint8_t *bytes = make_nodes(3, size, false, 8);
    ray_pull_options slow = {.rate_max_bytes = 30 * MIB};
    start_from_0(1, NULL);
    start_from_0(2, &slow);
    fixture_wait_bytes(&nodes[1].pull, size);
    finish_pull(1, bytes, size);
    // It has all of it now, and serves it as its own.
    fixture_add_file(&nodes[1].table, 1, nodes[1].path);
    ray_endpoint other = {.host = "127.0.0.1", .port = ray_transfer_port(nodes[1].transfer)};
    CHECK_OK(ray_pull_add_source(nodes[2].pull.handle, &other));
    ray_transfer_destroy(nodes[0].transfer);
    nodes[0].transfer = NULL;
    finish_pull(2, bytes, size);
    end_nodes(3, bytes);
}

static void aSlowSourceHoldsFewChunks(void) {
    uint64_t size = 64 * MIB;
    uint8_t *bytes = make_nodes(2, size, false, 9);
    fault_proxy_options options = {.to = ray_transfer_port(nodes[0].transfer), .seed = 1, .bytes_per_second = 200u << 10};
    fault_proxy *narrow = fault_proxy_start(&options);
    CHECK(narrow != NULL);
    uint16_t ports[2] = {fault_proxy_port(narrow), ray_transfer_port(nodes[0].transfer)};
    ray_pull_options pull_options = {.codec = RAY_CODEC_NONE};
    start_pull(1, ports, 2, &pull_options);
    finish_pull(1, bytes, size);
    fault_counts counts;
    fault_proxy_counts(narrow, &counts);
    // A chunk takes 20 s there.
    CHECK(counts.passed_bytes < 4 * MIB);
    CHECK(nodes[1].pull.progress.retried_count > 0);
    fault_proxy_stop(narrow);
    end_nodes(2, bytes);
}

// Receivers that come, are cancelled and die at random, of files and objects. Those that were left alone get all of it.
static void nobodyWaitsInACircle(void) {
    uint64_t seed = check_seed();
    for (uint32_t turn = 0; turn < 6; turn++) {
        bool in_stores = (turn & 1) != 0;
        uint64_t size = (8 + check_random(&seed) % 24) * MIB + check_random(&seed) % MIB;
        uint8_t *bytes = make_nodes(NODES_MAX, size, in_stores, seed);
        bool left_alone[NODES_MAX];
        ray_pull_options options[NODES_MAX];
        memset(options, 0, sizeof options);
        for (uint32_t i = 1; i < NODES_MAX; i++) {
            options[i].rate_max_bytes = (20 + check_random(&seed) % 100) * MIB;
            options[i].chunk_size = 1u << 20;
            left_alone[i] = i > 4 || check_random(&seed) % 2 == 0;
            start_from_0(i, &options[i]);
        }
        for (uint32_t i = 1; i < NODES_MAX; i++) {
            if (!left_alone[i]) {
                fixture_wait_bytes(&nodes[i].pull, check_random(&seed) % (size / 2));
                if (check_random(&seed) % 2 == 0) {
                    ray_pull_cancel(nodes[i].pull.handle);
                } else {
                    ray_transfer_destroy(nodes[i].transfer);
                    nodes[i].transfer = NULL;
                }
                (void)fixture_finish(&nodes[i].pull);
            }
        }
        for (uint32_t i = 1; i < NODES_MAX; i++) {
            if (left_alone[i]) {
                finish_pull(i, bytes, size);
            }
        }
        end_nodes(NODES_MAX, bytes);
    }
}

int main(void) {
    fixture_make_directory();
    fixture_path(source_path, "source");
    RUN(eightReceiversOfAFileTakeAboutOneCopyFromTheSource);
    RUN(fourReceiversOfAnObjectTakeAboutOneCopyFromTheSource);
    RUN(anObjectOfOneChunkIsPassedOnToo);
    RUN(aCancelledReceiverOfAFileHurtsNobody);
    RUN(aCancelledReceiverOfAnObjectHurtsNobody);
    RUN(aReceiverThatDiesHurtsNobody);
    RUN(aLatecomerIsReferredToThoseWhoHaveIt);
    RUN(receiversHelpEachOtherWhenTheSourceDies);
    RUN(aSlowSourceHoldsFewChunks);
    RUN(nobodyWaitsInACircle);
    fixture_remove_directory();
    return 0;
}
