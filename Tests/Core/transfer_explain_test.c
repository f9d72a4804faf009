// SPDX-License-Identifier: Apache-2.0
// Why a pull went as it did: what ray_pull_explain and its numbers say of transfers whose course is known.
#include "transfer_fixture.h"

static char source_path[128];
static char target_path[128];

typedef struct scene {
    fixture_table table;
    ray_transfer *sender;
    ray_transfer *receiver;
    uint8_t *bytes;
    uint64_t size;
} scene;

static void set_up(scene *s, uint64_t size, bool packable, uint16_t sender_codec) {
    memset(s, 0, sizeof *s);
    s->size = size;
    s->bytes = fixture_bytes(size, 7, packable);
    fixture_write_file(source_path, s->bytes, size);
    fixture_add_file(&s->table, 1, source_path);
    ray_transfer_options options = {.struct_size = sizeof options, .key = fixture_key, .bind_host = "127.0.0.1", .codec = sender_codec,
                                    .level = 2, .find = fixture_find, .context = &s->table};
    CHECK_OK(ray_transfer_create(&options, &s->sender));
    s->receiver = fixture_transfer(NULL, NULL, false);
}

static void tear_down(scene *s) {
    ray_transfer_destroy(s->receiver);
    ray_transfer_destroy(s->sender);
    unlink(target_path);
    unlink(source_path);
    free(s->bytes);
}

// The pull's handle stays open, for what is asked of it afterwards.
static void bring(scene *s, fixture_pull *p, ray_pull_options *options) {
    fixture_pull_init(p, target_path);
    uint16_t port = ray_transfer_port(s->sender);
    fixture_start(p, s->receiver, 1, &port, 1, options);
    fixture_wait_bytes(p, UINT64_MAX);
    CHECK_STATUS(p->status, RAY_OK);
    CHECK(fixture_file_is(target_path, s->bytes, s->size));
}

static ray_source_explanation only_source(const scene *s, fixture_pull *p) {
    ray_source_explanation source = {.struct_size = sizeof source};
    CHECK_OK(ray_pull_explain_source(p->handle, 0, &source));
    CHECK_EQUAL(source.struct_size, sizeof source);
    CHECK_EQUAL(source.endpoint.port, ray_transfer_port(s->sender));
    CHECK(strcmp(source.endpoint.host, "127.0.0.1") == 0);
    ray_source_explanation second = {.struct_size = sizeof second};
    CHECK_STATUS(ray_pull_explain_source(p->handle, 1, &second), RAY_NOT_FOUND);
    return source;
}

static const ray_choice_explanation *choice_of(const ray_source_explanation *source, uint16_t codec, int level) {
    for (uint32_t i = 0; i < source->choice_count; i++) {
        if (source->choices[i].codec == codec && source->choices[i].level == level) {
            return &source->choices[i];
        }
    }
    return NULL;
}

// What arrived, as the choices say, is what the progress says.
static void check_sums(const ray_source_explanation *source, const ray_transfer_progress *progress) {
    uint32_t none = 0;
    uint32_t lz4 = 0;
    uint32_t zstd = 0;
    uint64_t raw = 0;
    uint64_t wire = 0;
    for (uint32_t i = 0; i < source->choice_count; i++) {
        const ray_choice_explanation *choice = &source->choices[i];
        none += choice->codec == RAY_CODEC_NONE ? choice->chunk_count : 0;
        lz4 += choice->codec == RAY_CODEC_LZ4 ? choice->chunk_count : 0;
        zstd += choice->codec == RAY_CODEC_ZSTD ? choice->chunk_count : 0;
        raw += choice->raw_bytes;
        wire += choice->wire_bytes;
    }
    CHECK_EQUAL(none, progress->none_count);
    CHECK_EQUAL(lz4, progress->lz4_count);
    CHECK_EQUAL(zstd, progress->zstd_count);
    CHECK_EQUAL(raw, progress->done_bytes);
    CHECK_EQUAL(wire, progress->wire_bytes);
    CHECK_EQUAL(source->chunk_count, none + lz4 + zstd);
    CHECK_EQUAL(source->raw_bytes, raw);
    CHECK_EQUAL(source->wire_bytes, wire);
}

static void expect_text(fixture_pull *p, const char *const *parts) {
    char text[4096];
    size_t size = ray_pull_explain(p->handle, text, sizeof text);
    CHECK(size < sizeof text && strlen(text) == size);
    for (; *parts != NULL; parts++) {
        if (strstr(text, *parts) == NULL) {
            fprintf(stderr, "\"%s\" is not in:\n%s", *parts, text);
            exit(1);
        }
    }
    CHECK(text[size - 1] == '\n');
}

static void whatThePullAsksForIsTheReason(void) {
    scene s;
    fixture_pull p;
    set_up(&s, 41 * MIB, true, RAY_CODEC_AUTO);
    ray_pull_options options = {.codec = RAY_CODEC_ZSTD, .level = -1};
    bring(&s, &p, &options);
    ray_source_explanation source = only_source(&s, &p);
    check_sums(&source, &p.progress);
    const ray_choice_explanation *choice = choice_of(&source, RAY_CODEC_ZSTD, -1);
    CHECK(choice != NULL);
    CHECK_EQUAL(choice->chunk_count, 11);
    CHECK_EQUAL(choice->reason, RAY_REASON_ASKED);
    CHECK(choice->wire_bytes < choice->raw_bytes);
    // The last chunk has a NOTE in front of it.
    CHECK_EQUAL(source.is_told, 1);
    CHECK_EQUAL(source.reason, RAY_REASON_ASKED);
    CHECK(source.codec == RAY_CODEC_ZSTD && source.level == -1 && source.thread_count > 0);
    CHECK(choice->core_rate > 0 && choice->ratio_permille > 0 && choice->ratio_permille < 1000);
    expect_text(&p, (const char *const[]){"127.0.0.1:", ": 11 chunks, 41 MiB as ", "zstd -1 11 (to 0.", "/s a core",
                                          "chose zstd -1 for 100 % of the chunks because it was asked for\n", NULL});
    fixture_finish(&p);
    tear_down(&s);
}

static void whatDoesNotGetSmallerIsSaidToBeSo(void) {
    scene s;
    fixture_pull p;
    set_up(&s, 9 * MIB, false, RAY_CODEC_AUTO);
    ray_pull_options options = {.codec = RAY_CODEC_LZ4};
    bring(&s, &p, &options);
    ray_source_explanation source = only_source(&s, &p);
    check_sums(&source, &p.progress);
    const ray_choice_explanation *choice = choice_of(&source, RAY_CODEC_NONE, 0);
    CHECK(choice != NULL);
    CHECK_EQUAL(choice->chunk_count, 3);
    CHECK_EQUAL(choice->reason, RAY_REASON_NOT_SMALLER);
    expect_text(&p, (const char *const[]){"3 chunks, 9 MiB; ", "raw 3\n", "chose raw for 100 % of the chunks because packing did not", NULL});
    fixture_finish(&p);
    tear_down(&s);
}

static void whatTheSourceIsSetToIsTheReason(void) {
    scene s;
    fixture_pull p;
    set_up(&s, 20 * MIB, true, RAY_CODEC_ZSTD);
    bring(&s, &p, NULL);
    ray_source_explanation source = only_source(&s, &p);
    check_sums(&source, &p.progress);
    const ray_choice_explanation *choice = choice_of(&source, RAY_CODEC_ZSTD, 2);
    CHECK(choice != NULL);
    CHECK_EQUAL(choice->chunk_count, 5);
    CHECK_EQUAL(choice->reason, RAY_REASON_FIXED);
    expect_text(&p, (const char *const[]){"chose zstd 2 for 100 % of the chunks because the source is set to it\n", NULL});
    fixture_finish(&p);
    tear_down(&s);
}

// The source counts what it chose, and tells why.
static void whatTheTunerChoseIsToldWithItsReason(void) {
    for (int packable = 0; packable < 2; packable++) {
        scene s;
        fixture_pull p;
        set_up(&s, 80 * MIB, packable != 0, RAY_CODEC_AUTO);
        ray_pull_options options = {.connection_count = 1};
        bring(&s, &p, &options);
        ray_source_explanation source = only_source(&s, &p);
        check_sums(&source, &p.progress);
        CHECK_EQUAL(source.is_told, 1);
        CHECK(source.link_rate > 0);
        CHECK(source.idle_permille <= 1000);
        // Over one connection the last NOTE leaves when every chunk has its codec.
        uint32_t chosen = 0;
        for (uint32_t i = 0; i < source.choice_count; i++) {
            const ray_choice_explanation *choice = &source.choices[i];
            chosen += choice->chosen_count;
            CHECK(choice->chosen_count == 0 || (choice->reason >= RAY_REASON_START && choice->reason <= RAY_REASON_TRIAL));
            // What was chosen to be packed may have stayed as it was, never the other way round.
            CHECK(choice->codec == RAY_CODEC_NONE || choice->chunk_count <= choice->chosen_count);
        }
        CHECK_EQUAL(chosen, 20);
        const ray_choice_explanation *raw = choice_of(&source, RAY_CODEC_NONE, 0);
        if (packable == 0) {
            CHECK(raw != NULL && raw->chunk_count == 20);
            CHECK_EQUAL(raw->reason, RAY_REASON_HOPELESS);
            expect_text(&p, (const char *const[]){"chose raw for 100 % of the chunks because the data does not shrink\n", NULL});
        } else {
            expect_text(&p, (const char *const[]){"20 chunks, 80 MiB", "; link ", "cores free; ", " of the chunks because ", NULL});
        }
        fixture_finish(&p);
        tear_down(&s);
    }
}

static void smallDataIsSaidToHaveComeWithTheAnswer(void) {
    scene s;
    fixture_pull p;
    set_up(&s, 1000, true, RAY_CODEC_AUTO);
    bring(&s, &p, NULL);
    ray_source_explanation source = only_source(&s, &p);
    check_sums(&source, &p.progress);
    CHECK_EQUAL(source.is_told, 0);
    CHECK_EQUAL(source.choice_count, 1);
    CHECK_EQUAL(source.choices[0].reason, RAY_REASON_SMALL);
    expect_text(&p, (const char *const[]){"1 chunk, 1000 bytes; raw 1\n", "because so little comes with the first answer\n", NULL});
    fixture_finish(&p);
    tear_down(&s);
}

static void aTextThatDoesNotFitIsCutAndCounted(void) {
    scene s;
    fixture_pull p;
    set_up(&s, 9 * MIB, true, RAY_CODEC_AUTO);
    bring(&s, &p, NULL);
    char whole[4096];
    size_t size = ray_pull_explain(p.handle, whole, sizeof whole);
    CHECK_EQUAL(ray_pull_explain(p.handle, NULL, 0), size);
    for (size_t capacity = 1; capacity <= size + 1; capacity++) {
        char cut[4096];
        memset(cut, 'x', sizeof cut);
        CHECK_EQUAL(ray_pull_explain(p.handle, cut, capacity), size);
        CHECK_EQUAL(strlen(cut), capacity - 1);
        CHECK(memcmp(cut, whole, capacity - 1) == 0 && cut[capacity] == 'x');
    }
    fixture_finish(&p);
    tear_down(&s);
}

static void aShorterStructGetsTheBeginning(void) {
    scene s;
    fixture_pull p;
    set_up(&s, 9 * MIB, true, RAY_CODEC_AUTO);
    bring(&s, &p, NULL);
    ray_source_explanation source;
    memset(&source, 0xa5, sizeof source);
    source.struct_size = offsetof(ray_source_explanation, endpoint);
    CHECK_OK(ray_pull_explain_source(p.handle, 0, &source));
    CHECK_EQUAL(source.chunk_count, 3);
    CHECK_EQUAL((uint8_t)source.endpoint.host[0], 0xa5);
    fixture_finish(&p);
    tear_down(&s);
}

// While it runs, from another thread, and of one that fails.
static void aPullCanBeAskedAtAnyTime(void) {
    scene s;
    fixture_pull p;
    set_up(&s, 120 * MIB, true, RAY_CODEC_AUTO);
    fixture_pull_init(&p, target_path);
    uint16_t port = ray_transfer_port(s.sender);
    fixture_start(&p, s.receiver, 1, &port, 1, NULL);
    char text[4096];
    bool is_done = false;
    while (!is_done) {
        CHECK(ray_pull_explain(p.handle, text, sizeof text) > 0);
        pthread_mutex_lock(&p.lock);
        is_done = p.done_count > 0 || p.done_bytes > 60 * MIB;
        pthread_mutex_unlock(&p.lock);
    }
    ray_pull_cancel(p.handle);
    fixture_wait_bytes(&p, UINT64_MAX);
    CHECK(p.status == RAY_OK || p.status == RAY_CANCELLED);
    CHECK(strstr(text, "chose ") != NULL || strstr(text, "nothing was transferred") != NULL);
    ray_source_explanation source = only_source(&s, &p);
    CHECK(source.chunk_count > 0);
    fixture_finish(&p);
    tear_down(&s);
}

int main(void) {
    fixture_make_directory();
    fixture_path(source_path, "source");
    fixture_path(target_path, "target");
    RUN(whatThePullAsksForIsTheReason);
    RUN(whatDoesNotGetSmallerIsSaidToBeSo);
    RUN(whatTheSourceIsSetToIsTheReason);
    RUN(whatTheTunerChoseIsToldWithItsReason);
    RUN(smallDataIsSaidToHaveComeWithTheAnswer);
    RUN(aTextThatDoesNotFitIsCutAndCounted);
    RUN(aShorterStructGetsTheBeginning);
    RUN(aPullCanBeAskedAtAnyTime);
    fixture_remove_directory();
    return 0;
}
