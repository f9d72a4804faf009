// SPDX-License-Identifier: Apache-2.0
#include "scene.h"

#include "transfer_fixture.h"

// The watchdog of a pull is its own deadline and this much: what a loaded machine takes to notice.
#define LATE_NS (20ull * 1000000000ull)
#define SOURCES_MAX 3

enum subject { SUBJECT_OBJECT, SUBJECT_FILE, SUBJECT_NAME, SUBJECTS };
static const char *const subject_names[SUBJECTS] = {"object", "file by id", "file by name"};
static const char *const codec_names[] = {"auto", "none", "lz4", "zstd"};

typedef struct plan {
    uint64_t seed;
    uint64_t random;
    enum subject subject;
    uint64_t size;
    bool packable;
    bool resume;
    uint16_t codec;
    uint32_t connection_count;
    uint32_t source_count;
    bool has_honest; // the last source is reached directly
    uint64_t timeout_ns;
    fault_odds from_client;
    fault_odds from_server;
} plan;

typedef struct scene {
    plan plan;
    uint8_t *bytes;
    int directory;
    char source_path[128];
    char partial_path[160];
    char journal_path[176];
    char final_path[160];
    char name[32];
    fixture_table table;
    ray_store *there;
    ray_store *here;
    ray_transfer *senders[SOURCES_MAX];
    fault_proxy *proxies[SOURCES_MAX];
    ray_transfer *receiver;
    fixture_pull pull;
} scene;

#define MUST_SAY(s, condition, what)        \
    do {                                    \
        if (!(condition)) {                 \
            complain(s, __LINE__, what);    \
        }                                   \
    } while (0)
#define MUST(s, condition) MUST_SAY(s, condition, #condition)

static void draw_plan(uint64_t seed, plan *p);

void scene_describe(uint64_t seed, char *text, size_t size) {
    plan p;
    draw_plan(seed, &p);
    int at = snprintf(text, size, "seed %" PRIu64 ": %s of %" PRIu64 " bytes (%s), codec %s, %u connections, %u sources%s%s, %.1f s; a MiB from the server:",
                      seed, subject_names[p.subject], p.size, p.packable ? "text" : "noise", codec_names[p.codec], p.connection_count,
                      p.source_count, p.has_honest ? " of which one honest" : "", p.resume ? ", resumable" : "", (double)p.timeout_ns / 1e9);
    for (int kind = 0; kind < FAULT_KINDS && at > 0 && (size_t)at < size; kind++) {
        if (p.from_server.per_mib[kind] > 0) {
            at += snprintf(text + at, size - (size_t)at, " %.1f %s", p.from_server.per_mib[kind], fault_names[kind]);
        }
    }
}

_Noreturn static void complain(scene *s, int line, const char *what) {
    char text[512];
    scene_describe(s->plan.seed, text, sizeof text);
    fprintf(stderr, "%s\nscene.c:%d: does not hold: %s\nthe pull: %s (%s), last error: %s\nrun it again: build/faults 1 %" PRIu64 "\n", text, line, what,
            ray_status_name(s->pull.status), s->pull.message, ray_last_error_message(), s->plan.seed);
    exit(1);
}

// ---- what is drawn -------------------------------------------------------------------------------------------------------

static uint64_t pick(plan *p, uint64_t count) {
    return check_random(&p->random) % count;
}

static void draw_odds(plan *p, fault_odds *odds, double scale) {
    static const double strengths[] = {0.2, 1, 5};
    // One kind alone, or all together.
    uint64_t only = pick(p, FAULT_KINDS + 2);
    double strength = scale * strengths[pick(p, 3)];
    for (uint64_t kind = 0; kind < FAULT_KINDS; kind++) {
        odds->per_mib[kind] = only == kind ? strength : only >= FAULT_KINDS ? strength / (double)FAULT_KINDS : 0;
    }
    odds->spared_bytes = pick(p, 2) == 0 ? 0 : 1000; // beyond the proof, mostly
    odds->delay_max_ms = (uint32_t)(1 + pick(p, 30));
    odds->span_max = (uint32_t)(1 + pick(p, 4096));
}

static void draw_plan(uint64_t seed, plan *p) {
    static const uint64_t sizes[] = {0,      1,           50000,           RAY_INLINE_MAX + 1, RAY_CHUNK_SIZE, RAY_CHUNK_SIZE + 1,
                                     9 * MIB, 12 * MIB + 7, 20 * MIB - 1};
    memset(p, 0, sizeof *p);
    p->seed = seed;
    p->random = seed * 0x2545f4914f6cdd1du;
    p->subject = (enum subject)pick(p, SUBJECTS);
    p->size = sizes[pick(p, sizeof sizes / sizeof sizes[0])];
    p->packable = pick(p, 2) == 0;
    p->resume = p->subject != SUBJECT_OBJECT && pick(p, 2) == 0;
    p->codec = (uint16_t)pick(p, 4);
    p->connection_count = (uint32_t)(1 + pick(p, 3));
    p->source_count = (uint32_t)(1 + pick(p, SOURCES_MAX));
    p->has_honest = p->source_count > 1 && pick(p, 2) == 0;
    p->timeout_ns = (p->has_honest ? 60 : 1 + pick(p, 8)) * 1000000000ull;
    draw_odds(p, &p->from_server, 1);
    if (pick(p, 3) == 0) {
        draw_odds(p, &p->from_client, 500); // it says little
    }
}

// ---- both ends -----------------------------------------------------------------------------------------------------------

static ray_status find_named(void *context, const char *name, const char *peer, ray_answer *answer) {
    (void)peer;
    scene *s = context;
    return ray_answer_beneath(answer, s->directory, name);
}

static ray_status find_by_id(void *context, const ray_object_id *id, ray_answer *answer) {
    scene *s = context;
    return fixture_find(&s->table, id, answer);
}

static ray_store *make_store(void) {
    ray_store_options options = {.struct_size = sizeof options, .capacity_bytes = 32 * MIB, .entry_count_max = 64};
    ray_store *store = NULL;
    CHECK_OK(ray_store_create(&options, &store));
    return store;
}

static ray_transfer *make_transfer(scene *s, ray_store *store, bool listen) {
    ray_transfer_options options = {
        .struct_size = sizeof options,
        .key = fixture_key,
        .store = store,
        .bind_host = listen ? "127.0.0.1" : NULL,
        .find = listen ? find_by_id : NULL,
        .find_named = listen ? find_named : NULL,
        .context = s,
    };
    ray_transfer *transfer = NULL;
    CHECK_OK(ray_transfer_create(&options, &transfer));
    return transfer;
}

static void set_up(scene *s, const char *directory) {
    const plan *p = &s->plan;
    snprintf(s->name, sizeof s->name, "source-%" PRIu64, p->seed);
    snprintf(s->source_path, sizeof s->source_path, "%s/%s", directory, s->name);
    snprintf(s->partial_path, sizeof s->partial_path, "%s/partial-%" PRIu64, directory, p->seed);
    snprintf(s->journal_path, sizeof s->journal_path, "%s%s", s->partial_path, RAY_JOURNAL_SUFFIX);
    snprintf(s->final_path, sizeof s->final_path, "%s/final-%" PRIu64, directory, p->seed);
    s->directory = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    CHECK(s->directory >= 0);
    s->bytes = fixture_bytes(p->size, p->seed, p->packable);
    if (p->subject == SUBJECT_OBJECT) {
        ray_object_id id = fixture_id(1);
        uint32_t state;
        s->there = make_store();
        s->here = make_store();
        CHECK_OK(ray_object_put(s->there, &id, s->bytes, p->size, FIXTURE_METADATA, sizeof FIXTURE_METADATA, 0));
        CHECK_OK(ray_node_adopt(s->here, &id, &state));
        fixture_add(&s->table, 1, RAY_KIND_OBJECT);
    } else {
        fixture_write_file(s->source_path, s->bytes, p->size);
        fixture_add_file(&s->table, 1, s->source_path);
    }
    for (uint32_t i = 0; i < p->source_count; i++) {
        s->senders[i] = make_transfer(s, s->there, true);
        fault_proxy_options options = {
            .to = ray_transfer_port(s->senders[i]), .seed = p->seed + i, .from_client = p->from_client, .from_server = p->from_server};
        if (!p->has_honest || i + 1 < p->source_count) {
            s->proxies[i] = fault_proxy_start(&options);
            CHECK(s->proxies[i] != NULL);
        }
    }
    s->receiver = make_transfer(s, s->here, false);
}

static void tear_down(scene *s, scene_report *report) {
    ray_transfer_destroy(s->receiver);
    for (uint32_t i = 0; i < s->plan.source_count; i++) {
        ray_transfer_destroy(s->senders[i]);
        if (s->proxies[i] != NULL) {
            fault_counts counts;
            fault_proxy_counts(s->proxies[i], &counts);
            for (int kind = 0; kind < FAULT_KINDS; kind++) {
                report->faults[kind] += counts.faults[kind];
            }
            fault_proxy_stop(s->proxies[i]);
        }
    }
    ray_store_close(s->here);
    ray_store_close(s->there);
    unlink(s->source_path);
    close(s->directory);
    free(s->bytes);
}

// ---- the pull ------------------------------------------------------------------------------------------------------------

static void done(void *context, ray_status status, const char *message, const ray_transfer_progress *progress) {
    scene *s = context;
    // As `raystore fetch` does: only what is whole gets its name.
    if (status == RAY_OK && s->plan.subject != SUBJECT_OBJECT) {
        MUST(s, rename(s->partial_path, s->final_path) == 0);
    }
    fixture_done(&s->pull, status, message, progress);
}

static ray_status opened(void *context, ray_pull *pull, const ray_card *card) {
    scene *s = context;
    MUST(s, card->size_bytes == s->plan.size);
    MUST(s, s->plan.subject == SUBJECT_NAME || (card->metadata_size == sizeof FIXTURE_METADATA &&
                                                memcmp(card->metadata, FIXTURE_METADATA, sizeof FIXTURE_METADATA) == 0));
    return fixture_opened(&s->pull, pull, card);
}

static void progressed(void *context, const ray_transfer_progress *progress) {
    scene *s = context;
    MUST(s, progress->done_bytes <= s->plan.size);
    fixture_progressed(&s->pull, progress);
}

static ray_status pull_from(scene *s, const uint16_t *ports, uint32_t port_count, uint64_t timeout_ns) {
    static const ray_pull_callbacks callbacks = {opened, progressed, done};
    ray_endpoint endpoints[SOURCES_MAX];
    memset(endpoints, 0, sizeof endpoints);
    for (uint32_t i = 0; i < port_count; i++) {
        snprintf(endpoints[i].host, sizeof endpoints[i].host, "127.0.0.1");
        endpoints[i].port = ports[i];
    }
    const plan *p = &s->plan;
    bool by_name = p->subject == SUBJECT_NAME;
    ray_pull_options options = {
        .struct_size = sizeof options,
        .connection_count = p->connection_count,
        .timeout_ns = timeout_ns,
        .codec = p->codec,
        .resume = p->resume ? RAY_RESUME_KEEP : RAY_RESUME_OFF,
        .name = by_name ? s->name : NULL,
    };
    ray_object_id id = fixture_id(1);
    fixture_pull_init(&s->pull, p->subject == SUBJECT_OBJECT ? NULL : s->partial_path);
    CHECK_OK(ray_pull_start(s->receiver, by_name ? NULL : &id, endpoints, port_count, &options, &callbacks, s, &s->pull.handle));
    uint64_t deadline = ray__now_ns() + timeout_ns + LATE_NS;
    struct timespec until = {(time_t)(deadline / 1000000000u), (long)(deadline % 1000000000u)};
    pthread_mutex_lock(&s->pull.lock);
    while (s->pull.done_count == 0) {
        int waited = pthread_cond_timedwait(&s->pull.changed, &s->pull.lock, &until);
        MUST_SAY(s, waited == 0, "it ends in time");
    }
    pthread_mutex_unlock(&s->pull.lock);
    MUST(s, s->pull.done_count == 1);
    ray_pull_release(s->pull.handle);
    return s->pull.status;
}

static bool file_is_whole(const scene *s, const char *path) {
    struct stat info;
    int file = open(path, O_RDONLY | O_CLOEXEC);
    bool whole = file >= 0 && fstat(file, &info) == 0 && (uint64_t)info.st_size == s->plan.size;
    uint8_t *read_bytes = malloc(s->plan.size + 1);
    CHECK(read_bytes != NULL);
    for (uint64_t at = 0; whole && at < s->plan.size;) {
        ssize_t got = read(file, read_bytes + at, s->plan.size - at);
        CHECK(got > 0);
        at += (uint64_t)got;
    }
    whole = whole && memcmp(read_bytes, s->bytes, s->plan.size) == 0;
    free(read_bytes);
    close(file);
    return whole;
}

static void check_arrived(scene *s) {
    if (s->plan.subject != SUBJECT_OBJECT) {
        MUST(s, file_is_whole(s, s->final_path));
        unlink(s->final_path);
        fixture_wait_gone(s->journal_path);
        MUST(s, access(s->partial_path, F_OK) != 0);
        return;
    }
    ray_object_id id = fixture_id(1);
    ray_object_view view;
    MUST(s, ray_object_get(s->here, &id, 0, &view) == RAY_OK);
    MUST(s, view.data_size == s->plan.size && (view.data_size == 0 || memcmp(view.data, s->bytes, view.data_size) == 0));
    ray_object_release(s->here, &view);
}

static void check_failed(scene *s, ray_status status) {
    static const ray_status allowed[] = {RAY_UNREACHABLE, RAY_TIMED_OUT, RAY_CORRUPT, RAY_PROTOCOL, RAY_KEY_REFUSED, RAY_VERSION_MISMATCH};
    bool is_allowed = false;
    for (size_t i = 0; i < sizeof allowed / sizeof allowed[0]; i++) {
        is_allowed = is_allowed || status == allowed[i];
    }
    MUST(s, is_allowed);
    MUST(s, s->pull.message[0] != '\0');
    MUST(s, access(s->final_path, F_OK) != 0);
    ray_object_id id = fixture_id(1);
    if (s->plan.subject == SUBJECT_OBJECT) {
        ray_store_stats stats = {.struct_size = sizeof stats};
        MUST(s, !ray_object_contains(s->here, &id));
        MUST(s, ray_store_stats_read(s->here, &stats) == RAY_OK && stats.used_bytes == 0);
    } else if (!s->plan.resume || status == RAY_CORRUPT) {
        MUST(s, access(s->partial_path, F_OK) != 0);
        fixture_wait_gone(s->journal_path);
    }
}

void scene_play(const char *directory, uint64_t seed, scene_report *report) {
    scene *s = calloc(1, sizeof *s);
    CHECK(s != NULL);
    memset(report, 0, sizeof *report);
    draw_plan(seed, &s->plan);
    set_up(s, directory);
    uint16_t ports[SOURCES_MAX];
    for (uint32_t i = 0; i < s->plan.source_count; i++) {
        ports[i] = s->proxies[i] != NULL ? fault_proxy_port(s->proxies[i]) : ray_transfer_port(s->senders[i]);
    }
    report->status = pull_from(s, ports, s->plan.source_count, s->plan.timeout_ns);
    report->retried_count = s->pull.progress.retried_count;
    report->had_honest = s->plan.has_honest;
    if (report->status == RAY_OK) {
        check_arrived(s);
    } else {
        MUST_SAY(s, !s->plan.has_honest, "an honest source was there, so it succeeds");
        check_failed(s, report->status);
        // Whatever the first try left, the next one over a good wire brings the whole.
        uint16_t good = ray_transfer_port(s->senders[0]);
        MUST(s, pull_from(s, &good, 1, FIXTURE_DEADLINE_NS) == RAY_OK);
        report->resumed = s->pull.progress.resumed_bytes > 0;
        check_arrived(s);
    }
    tear_down(s, report);
    free(s);
}
