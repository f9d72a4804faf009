// SPDX-License-Identifier: Apache-2.0
// Files served by name from below a directory, without a node: what is found, what is refused, what a change does.
#include <sys/uio.h>

#include "transfer/connection_internal.h"
#include "transfer/name_internal.h"
#include "transfer/wire_internal.h"
#include "transfer_fixture.h"

#define SIZE (6 * (uint64_t)RAY_CHUNK_SIZE + 99)

typedef struct report {
    ray_status status;
    char name[64];
    char message[256];
    uint64_t size_bytes;
    uint64_t sent_bytes;
} report;

static int directory = -1;
static char served_path[128];
static char target_path[128];
static char journal_path[160];
static ray_transfer *sender;
static ray_transfer *receiver;
static uint8_t *bytes;
static pthread_mutex_t reports_lock = PTHREAD_MUTEX_INITIALIZER;
static uint32_t report_count;
static report last_report;

static ray_status find(void *context, const char *name, const char *peer, ray_answer *answer) {
    CHECK(context == &directory && strncmp(peer, "127.0.0.1:", 10) == 0);
    return ray_answer_beneath(answer, directory, name);
}

static void served(void *context, const ray_served *what) {
    CHECK(context == &directory);
    pthread_mutex_lock(&reports_lock);
    report_count++;
    last_report.status = what->status;
    snprintf(last_report.name, sizeof last_report.name, "%s", what->name);
    snprintf(last_report.message, sizeof last_report.message, "%.255s", what->message);
    last_report.size_bytes = what->size_bytes;
    last_report.sent_bytes = what->sent_bytes;
    pthread_mutex_unlock(&reports_lock);
}

static void path_in(char *path, const char *name) {
    snprintf(path, 256, "%s/%s", served_path, name);
}

static void start(fixture_pull *p, ray_transfer *to, const char *name, ray_pull_options options) {
    options.struct_size = sizeof options;
    options.name = name;
    ray_endpoint from = {.host = "127.0.0.1", .port = ray_transfer_port(sender)};
    fixture_pull_init(p, target_path);
    CHECK_OK(ray_pull_start(to, NULL, &from, 1, &options, &fixture_callbacks, p, &p->handle));
}

static ray_status fetch(fixture_pull *p, const char *name, ray_pull_options options) {
    start(p, receiver, name, options);
    ray_status status = fixture_finish(p);
    if (status != RAY_OK) {
        fprintf(stderr, "    (%s: %s)\n", ray_status_name(status), p->message);
    }
    return status;
}

static void wait_for_reports(uint32_t count) {
    uint64_t deadline = ray__now_ns() + FIXTURE_DEADLINE_NS;
    for (bool there = false; !there;) {
        CHECK(ray__now_ns() < deadline);
        pthread_mutex_lock(&reports_lock);
        there = report_count >= count;
        pthread_mutex_unlock(&reports_lock);
        sched_yield();
    }
}

static void filesOfEverySizeArriveByName(void) {
    static const uint64_t sizes[] = {0, 1, RAY_INLINE_MAX, RAY_INLINE_MAX + 1, RAY_CHUNK_SIZE, SIZE};
    static const uint16_t ways[] = {RAY_RESUME_OFF, RAY_RESUME_KEEP, RAY_RESUME_ANEW};
    char path[256];
    path_in(path, "folder/a file ☂.bin");
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        for (size_t w = 0; w < sizeof ways / sizeof ways[0]; w++) {
            fixture_write_file(path, bytes, sizes[i]);
            fixture_pull p;
            uint32_t before = report_count;
            CHECK_OK(fetch(&p, "folder/a file ☂.bin", (ray_pull_options){.resume = ways[w]}));
            CHECK_EQUAL(p.kind, RAY_KIND_FILE);
            CHECK(fixture_file_is(target_path, bytes, sizes[i]));
            fixture_wait_gone(journal_path);
            wait_for_reports(before + 1);
            CHECK_EQUAL(last_report.status, RAY_OK);
            CHECK_EQUAL(last_report.size_bytes, sizes[i]);
            CHECK_EQUAL(last_report.sent_bytes, sizes[i]);
            CHECK(strcmp(last_report.name, "folder/a file ☂.bin") == 0);
            unlink(target_path);
        }
    }
    unlink(path);
}

static void whatLeadsOutOfTheDirectoryIsRefused(void) {
    static const char *const names[] = {"../outside", "folder/../../outside", "/etc/passwd", "link-out", "folder/link-up/outside",
                                        "link-absolute", ".."};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        fixture_pull p;
        uint32_t before = report_count;
        CHECK_STATUS(fetch(&p, names[i], (ray_pull_options){.resume = RAY_RESUME_KEEP}), RAY_INVALID_ARGUMENT);
        CHECK(strstr(p.message, "leads out") != NULL && strstr(p.message, names[i]) != NULL);
        CHECK_EQUAL(p.opened_count, 0);
        wait_for_reports(before + 1);
        CHECK_EQUAL(last_report.status, RAY_INVALID_ARGUMENT);
        CHECK_EQUAL(last_report.sent_bytes, 0);
    }
    // The neighbours that stay inside.
    static const char *const inside[] = {"plain", "./plain", "folder/../plain", "link-in", "folder/link-up-in"};
    for (size_t i = 0; i < sizeof inside / sizeof inside[0]; i++) {
        fixture_pull p;
        CHECK_OK(fetch(&p, inside[i], (ray_pull_options){0}));
        CHECK(fixture_file_is(target_path, bytes, 5000));
        unlink(target_path);
    }
}

static void whatIsNoReadableFileIsRefusedByItsKind(void) {
    fixture_pull p;
    CHECK_STATUS(fetch(&p, "folder", (ray_pull_options){0}), RAY_NOT_A_FILE);
    CHECK(strstr(p.message, "folder is a directory") != NULL);
    CHECK_STATUS(fetch(&p, ".", (ray_pull_options){0}), RAY_NOT_A_FILE);
    CHECK_STATUS(fetch(&p, "pipe", (ray_pull_options){0}), RAY_NOT_A_FILE);
    CHECK_STATUS(fetch(&p, "missing", (ray_pull_options){0}), RAY_FILE_NOT_FOUND);
    CHECK(strstr(p.message, "missing") != NULL);
    CHECK_STATUS(fetch(&p, "plain/below", (ray_pull_options){0}), RAY_FILE_NOT_FOUND);
    CHECK_STATUS(fetch(&p, "link-loop", (ray_pull_options){0}), RAY_FILE_NOT_READABLE);
    char long_name[RAY_NAME_MAX + 2];
    memset(long_name, 'x', sizeof long_name);
    long_name[RAY_NAME_MAX] = '\0';
    CHECK_STATUS(fetch(&p, long_name, (ray_pull_options){0}), RAY_FILE_NOT_FOUND);
}

static void aPullNeedsAnIdOrAName(void) {
    fixture_pull p;
    ray_endpoint from = {.host = "127.0.0.1", .port = ray_transfer_port(sender)};
    ray_pull_options options = {.struct_size = sizeof options};
    ray_object_id id = fixture_id(1);
    char long_name[RAY_NAME_MAX + 2];
    memset(long_name, 'x', sizeof long_name);
    long_name[RAY_NAME_MAX + 1] = '\0';
    const char *const bad[] = {NULL, "", long_name};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        options.name = bad[i];
        CHECK_STATUS(ray_pull_start(receiver, NULL, &from, 1, &options, &fixture_callbacks, &p, &p.handle), RAY_INVALID_ARGUMENT);
    }
    options.name = "plain";
    CHECK_STATUS(ray_pull_start(receiver, &id, &from, 1, &options, &fixture_callbacks, &p, &p.handle), RAY_INVALID_ARGUMENT);
}

static void whoServesNothingByNameSaysSo(void) {
    ray_transfer *other = fixture_transfer(NULL, NULL, true);
    fixture_pull p;
    ray_endpoint from = {.host = "127.0.0.1", .port = ray_transfer_port(other)};
    ray_pull_options options = {.struct_size = sizeof options, .name = "plain"};
    fixture_pull_init(&p, target_path);
    CHECK_OK(ray_pull_start(receiver, NULL, &from, 1, &options, &fixture_callbacks, &p, &p.handle));
    CHECK_STATUS(fixture_finish(&p), RAY_NOT_FOUND);
    CHECK(strstr(p.message, "nothing is served by name") != NULL);
    ray_transfer_destroy(other);
}

static void anIdThatIsNotTheNamesEndsTheConnection(void) {
    ray_endpoint to = {.host = "127.0.0.1", .port = ray_transfer_port(sender)};
    for (int wrong = 0; wrong < 2; wrong++) {
        ray__connection connection;
        CHECK_OK(ray__connection_open(&to, FIXTURE_DEADLINE_NS, -1, 0, &connection));
        CHECK_OK(ray__connection_prove(&connection, &fixture_key, RAY_ROLE_CONNECTING, FIXTURE_DEADLINE_NS));
        connection.silent_ns = FIXTURE_DEADLINE_NS;
        static uint8_t message[RAY__MESSAGE_HEADER_SIZE + RAY__OPEN_BODY_MAX];
        ray__open open = {.id = ray__name_id("plain"), .token = 1, .threads = 1, .chunk_size = RAY_CHUNK_SIZE, .name = "plain"};
        open.id.bytes[0] ^= (uint8_t)wrong;
        uint32_t size = ray__open_write(&open, message + RAY__MESSAGE_HEADER_SIZE);
        ray__message_seal(message, RAY__MESSAGE_OPEN, 1, size);
        struct iovec part = {message, RAY__MESSAGE_HEADER_SIZE + size};
        CHECK_OK(ray__connection_write(&connection, &part, 1, false));
        uint8_t header[RAY__MESSAGE_HEADER_SIZE];
        CHECK_STATUS(ray__connection_read(&connection, header, sizeof header), wrong ? RAY_PEER_CLOSED : RAY_OK);
        ray__connection_close(&connection);
    }
}

// ---- files that change ---------------------------------------------------------------------------------------------------

static void aFileThatChangesWhileItIsFetchedIsAnError(void) {
    char path[256];
    path_in(path, "changing");
    for (int how = 0; how < 2; how++) {
        fixture_write_file(path, bytes, SIZE);
        fixture_pull p;
        uint32_t before = report_count;
        start(&p, receiver, "changing", (ray_pull_options){.resume = RAY_RESUME_KEEP, .rate_max_bytes = 12 * MIB});
        fixture_wait_bytes(&p, 1);
        int file = open(path, O_WRONLY | O_CLOEXEC);
        CHECK(file >= 0);
        CHECK(how == 0 ? pwrite(file, "other", 5, (off_t)SIZE - 10) == 5 : ftruncate(file, 4096) == 0);
        close(file);
        CHECK_STATUS(fixture_finish(&p), RAY_SOURCE_CHANGED);
        CHECK(strstr(p.message, "changing was changed while it was fetched") != NULL);
        CHECK(access(target_path, F_OK) != 0 && access(journal_path, F_OK) != 0);
        wait_for_reports(before + 1);
        CHECK_EQUAL(last_report.status, RAY_SOURCE_CHANGED);
        unlink(path);
    }
}

static void aFileThatIsReplacedWhileItIsFetchedArrivesAsItWas(void) {
    char path[256];
    char other[256];
    path_in(path, "replaced");
    path_in(other, "other");
    fixture_write_file(path, bytes, SIZE);
    fixture_write_file(other, bytes + 1000, SIZE - 1000);
    fixture_pull p;
    start(&p, receiver, "replaced", (ray_pull_options){.rate_max_bytes = 24 * MIB});
    fixture_wait_bytes(&p, 1);
    CHECK(rename(other, path) == 0);
    CHECK_OK(fixture_finish(&p));
    CHECK(fixture_file_is(target_path, bytes, SIZE));
    unlink(target_path);
    unlink(path);
}

// Cancels a pull in the middle, changes the file or not, and pulls again.
static void aFileThatChangedBetweenTwoPullsIsAnError(void) {
    char path[256];
    path_in(path, "between");
    for (int how = 0; how < 3; how++) {
        fixture_write_file(path, bytes, SIZE);
        fixture_pull p;
        start(&p, receiver, "between", (ray_pull_options){.resume = RAY_RESUME_KEEP, .rate_max_bytes = 12 * MIB});
        fixture_wait_bytes(&p, 1);
        ray_pull_cancel(p.handle);
        CHECK_STATUS(fixture_finish(&p), RAY_CANCELLED);
        uint64_t done = p.progress.done_bytes;
        CHECK(done > 0 && access(target_path, F_OK) == 0 && access(journal_path, F_OK) == 0);
        struct timespec times[2] = {{0, UTIME_OMIT}, {1000000000, 0}};
        if (how == 1) {
            CHECK(utimensat(AT_FDCWD, path, times, 0) == 0); // the same size at another time
        } else if (how == 2) {
            fixture_write_file(path, bytes + 1000, SIZE - 1000);
        }
        ray_status second = fetch(&p, "between", (ray_pull_options){.resume = RAY_RESUME_KEEP});
        CHECK_STATUS(second, how == 0 ? RAY_OK : RAY_SOURCE_CHANGED);
        if (how == 0) {
            CHECK_EQUAL(p.progress.resumed_bytes, done);
            CHECK(fixture_file_is(target_path, bytes, SIZE));
            unlink(target_path);
        } else {
            CHECK(access(target_path, F_OK) != 0 && access(journal_path, F_OK) != 0);
            CHECK_OK(fetch(&p, "between", (ray_pull_options){.resume = RAY_RESUME_KEEP}));
            CHECK_EQUAL(p.progress.resumed_bytes, 0);
            unlink(target_path);
        }
        unlink(path);
    }
}

static void aFileWithOtherContentsIsNotSentWithOldChecksums(void) {
    char path[256];
    path_in(path, "again");
    for (int i = 0; i < 3; i++) {
        fixture_write_file(path, bytes + i, SIZE - 100);
        fixture_pull p;
        CHECK_OK(fetch(&p, "again", (ray_pull_options){0}));
        CHECK_EQUAL(p.progress.retried_count, 0);
        CHECK(fixture_file_is(target_path, bytes + i, SIZE - 100));
        unlink(target_path);
        unlink(path);
    }
}

static void make_folder(void) {
    char path[256];
    snprintf(served_path, sizeof served_path, "%s/served", fixture_directory);
    CHECK(mkdir(served_path, 0700) == 0);
    path_in(path, "folder");
    CHECK(mkdir(path, 0700) == 0);
    path_in(path, "plain");
    fixture_write_file(path, bytes, 5000);
    path_in(path, "pipe");
    CHECK(mkfifo(path, 0600) == 0);
    snprintf(path, sizeof path, "%s/outside", fixture_directory);
    fixture_write_file(path, (const uint8_t *)"secret", 6);
    directory = open(served_path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    CHECK(directory >= 0);
    CHECK(symlinkat("../outside", directory, "link-out") == 0 && symlinkat("/etc/passwd", directory, "link-absolute") == 0);
    CHECK(symlinkat("../..", directory, "folder/link-up") == 0 && symlinkat("link-loop", directory, "link-loop") == 0);
    CHECK(symlinkat("plain", directory, "link-in") == 0 && symlinkat("../plain", directory, "folder/link-up-in") == 0);
}

static void remove_folder(void) {
    static const char *const names[] = {"folder/link-up", "folder/link-up-in", "link-out", "link-absolute", "link-loop", "link-in", "pipe", "plain"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        CHECK(unlinkat(directory, names[i], 0) == 0);
    }
    CHECK(unlinkat(directory, "folder", AT_REMOVEDIR) == 0 && unlinkat(directory, "../outside", 0) == 0);
    close(directory);
    CHECK(rmdir(served_path) == 0);
}

int main(void) {
    fixture_make_directory();
    fixture_path(target_path, "target");
    snprintf(journal_path, sizeof journal_path, "%s%s", target_path, RAY_JOURNAL_SUFFIX);
    bytes = fixture_bytes(SIZE, 5, false);
    make_folder();
    ray_transfer_options options = {.struct_size = sizeof options, .key = fixture_key, .bind_host = "127.0.0.1", .find_named = find,
                                    .served = served, .context = &directory};
    CHECK_OK(ray_transfer_create(&options, &sender));
    receiver = fixture_transfer(NULL, NULL, false);
    RUN(filesOfEverySizeArriveByName);
    RUN(whatLeadsOutOfTheDirectoryIsRefused);
    RUN(whatIsNoReadableFileIsRefusedByItsKind);
    RUN(aPullNeedsAnIdOrAName);
    RUN(whoServesNothingByNameSaysSo);
    RUN(anIdThatIsNotTheNamesEndsTheConnection);
    RUN(aFileThatChangesWhileItIsFetchedIsAnError);
    RUN(aFileThatIsReplacedWhileItIsFetchedArrivesAsItWas);
    RUN(aFileThatChangedBetweenTwoPullsIsAnError);
    RUN(aFileWithOtherContentsIsNotSentWithOldChecksums);
    ray_transfer_destroy(receiver);
    ray_transfer_destroy(sender);
    remove_folder();
    free(bytes);
    fixture_remove_directory();
    return 0;
}
