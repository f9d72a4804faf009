// SPDX-License-Identifier: Apache-2.0
// Pulls that go on with what an earlier one left. A receiver that is killed is this program again, as a process of its own.
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>

#include "codec/bytes_internal.h"
#include "transfer/journal_internal.h"
#include "transfer/wire_internal.h"
#include "transfer_fixture.h"

enum { CHUNKS = 10, NUMBER = 7 };
#define SIZE (CHUNKS * (uint64_t)RAY_CHUNK_SIZE - 12345)

static fixture_table table;
static ray_transfer *sender;
static ray_transfer *receiver;
static char source_path[128];
static char target_path[128];
static char journal_path[160];
static uint8_t *bytes;

static bool exists(const char *path) {
    return access(path, F_OK) == 0;
}

static ray__subject subject_of(uint32_t number, uint64_t size) {
    return (ray__subject){.id = fixture_id(number), .size_bytes = size, .chunk_size = RAY_CHUNK_SIZE};
}

// What a killed pull leaves when these first chunks had come.
static void leave(const ray__subject *subject, uint32_t count) {
    ray__journal journal;
    enum ray__journal_found found;
    CHECK_OK(ray__journal_open(target_path, subject, &journal, &found));
    CHECK_EQUAL(found, RAY__JOURNAL_MADE);
    CHECK_OK(ray__journal_begin(&journal, subject));
    fixture_write_file(target_path, bytes, count * (uint64_t)RAY_CHUNK_SIZE < SIZE ? count * (uint64_t)RAY_CHUNK_SIZE : SIZE);
    CHECK(truncate(target_path, (off_t)subject->size_bytes) == 0);
    for (uint32_t i = 0; i < count; i++) {
        uint64_t checksum = ray__checksum_of(bytes + i * (uint64_t)RAY_CHUNK_SIZE, ray__chunk_raw_size(SIZE, RAY_CHUNK_SIZE, i));
        CHECK_OK(ray__journal_record(&journal, i, checksum));
    }
    ray__journal_close(&journal, false);
}

static void poke(const char *path, uint64_t offset, const void *what, size_t size) {
    int file = open(path, O_WRONLY | O_CLOEXEC);
    CHECK(file >= 0 && pwrite(file, what, size, (off_t)offset) == (ssize_t)size);
    close(file);
}

static ray_status pull_again(fixture_pull *p, uint32_t number, uint16_t resume) {
    ray_pull_options options = {.resume = resume};
    return fixture_pull_now(p, receiver, number, ray_transfer_port(sender), target_path, &options);
}

// Pulls, and checks the file, that nothing else is left, and how many bytes were believed.
static void completes_with(uint32_t number, uint16_t resume, uint64_t resumed_bytes) {
    fixture_pull p;
    uint64_t before = fixture_stats(receiver).received_bytes;
    CHECK_OK(pull_again(&p, number, resume));
    CHECK_EQUAL(p.progress.resumed_bytes, resumed_bytes);
    CHECK_EQUAL(p.progress.done_bytes, SIZE);
    CHECK_EQUAL(fixture_stats(receiver).received_bytes - before, SIZE - resumed_bytes);
    CHECK(fixture_file_is(target_path, bytes, SIZE));
    fixture_wait_gone(journal_path);
    unlink(target_path);
}

// ---- what the journal is worth -------------------------------------------------------------------------------------------

static void onlyWhatIsMissingIsFetched(void) {
    ray__subject subject = subject_of(NUMBER, SIZE);
    for (uint32_t count = 0; count < CHUNKS; count += 3) {
        leave(&subject, count);
        completes_with(NUMBER, RAY_RESUME_KEEP, count * (uint64_t)RAY_CHUNK_SIZE);
    }
}

static void aCompletePartialFileIsOnlyVerified(void) {
    ray__subject subject = subject_of(NUMBER, SIZE);
    leave(&subject, CHUNKS);
    completes_with(NUMBER, RAY_RESUME_KEEP, SIZE);
}

static void aDamagedChunkIsFetchedAgain(void) {
    ray__subject subject = subject_of(NUMBER, SIZE);
    leave(&subject, 6);
    uint8_t other = (uint8_t)~bytes[3 * RAY_CHUNK_SIZE + 99];
    poke(target_path, 3 * RAY_CHUNK_SIZE + 99, &other, 1);
    completes_with(NUMBER, RAY_RESUME_KEEP, 5 * (uint64_t)RAY_CHUNK_SIZE);
    // All of it is recorded, none of it is right: what a power cut may leave.
    leave(&subject, CHUNKS);
    CHECK(truncate(target_path, 0) == 0 && truncate(target_path, (off_t)SIZE) == 0);
    completes_with(NUMBER, RAY_RESUME_KEEP, 0);
}

static void aDamagedRecordCostsItsChunk(void) {
    ray__subject subject = subject_of(NUMBER, SIZE);
    leave(&subject, 6);
    poke(journal_path, RAY__JOURNAL_HEADER_SIZE + 8 * 2 + 3, "?", 1);
    completes_with(NUMBER, RAY_RESUME_KEEP, 5 * (uint64_t)RAY_CHUNK_SIZE);
}

static void aTruncatedJournalIsBelievedAsFarAsItGoes(void) {
    ray__subject subject = subject_of(NUMBER, SIZE);
    static const struct {
        off_t size;
        uint32_t believed;
    } cuts[] = {{0, 0}, {5, 0}, {8, 0}, {RAY__JOURNAL_HEADER_SIZE - 1, 0}, {RAY__JOURNAL_HEADER_SIZE, 0},
                {RAY__JOURNAL_HEADER_SIZE + 7, 0}, {RAY__JOURNAL_HEADER_SIZE + 8, 1}, {RAY__JOURNAL_HEADER_SIZE + 8 * 4 + 1, 4}};
    for (size_t i = 0; i < sizeof cuts / sizeof cuts[0]; i++) {
        leave(&subject, 6);
        CHECK(truncate(journal_path, cuts[i].size) == 0);
        completes_with(NUMBER, RAY_RESUME_KEEP, cuts[i].believed * (uint64_t)RAY_CHUNK_SIZE);
    }
}

static void aJournalOfAnotherVersionIsBegunAnew(void) {
    ray__subject subject = subject_of(NUMBER, SIZE);
    leave(&subject, 6);
    uint8_t header[64];
    int file = open(journal_path, O_RDWR | O_CLOEXEC);
    CHECK(pread(file, header, sizeof header, 0) == (ssize_t)sizeof header);
    CHECK_EQUAL(ray__get_u32(header + 8), RAY__JOURNAL_VERSION);
    ray__put_u32(header + 8, RAY__JOURNAL_VERSION + 1);
    uint8_t check[8];
    ray__put_u64(check, ray__checksum_of(header, sizeof header));
    CHECK(pwrite(file, header, sizeof header, 0) == (ssize_t)sizeof header && pwrite(file, check, 8, 64) == 8);
    close(file);
    completes_with(NUMBER, RAY_RESUME_KEEP, 0);
}

static void aJournalOfAnotherFileIsBegunAnew(void) {
    ray__subject other = subject_of(NUMBER + 1, SIZE);
    leave(&other, 6);
    completes_with(NUMBER, RAY_RESUME_KEEP, 0);
    other = subject_of(NUMBER + 1, 3 * SIZE);
    leave(&other, 6);
    completes_with(NUMBER, RAY_RESUME_KEEP, 0);
}

static void aPartialFileOfAnotherSizeIsNotBelieved(void) {
    ray__subject subject = subject_of(NUMBER, SIZE);
    leave(&subject, 6);
    CHECK(truncate(target_path, (off_t)SIZE + 1) == 0);
    completes_with(NUMBER, RAY_RESUME_KEEP, 0);
    leave(&subject, 6);
    unlink(target_path);
    completes_with(NUMBER, RAY_RESUME_KEEP, 0);
}

static void anewForgetsWhatIsThere(void) {
    ray__subject subject = subject_of(NUMBER, SIZE);
    leave(&subject, 6);
    completes_with(NUMBER, RAY_RESUME_ANEW, 0);
    subject.size_bytes += 4096;
    leave(&subject, 6);
    completes_with(NUMBER, RAY_RESUME_ANEW, 0);
}

// ---- what is refused -----------------------------------------------------------------------------------------------------

static void anotherSizeOfTheSameObjectIsAChangedSource(void) {
    ray__subject subject = subject_of(NUMBER, SIZE + 1);
    leave(&subject, 6);
    fixture_pull p;
    CHECK_STATUS(pull_again(&p, NUMBER, RAY_RESUME_KEEP), RAY_SOURCE_CHANGED);
    CHECK(strstr(p.message, target_path) != NULL);
    CHECK(!exists(target_path) && !exists(journal_path));
    completes_with(NUMBER, RAY_RESUME_KEEP, 0);
}

static void aFileWithoutAJournalIsNotOverwritten(void) {
    fixture_write_file(target_path, (const uint8_t *)"mine", 4);
    fixture_pull p;
    CHECK_STATUS(pull_again(&p, NUMBER, RAY_RESUME_KEEP), RAY_EXISTS);
    CHECK_STATUS(pull_again(&p, NUMBER, RAY_RESUME_ANEW), RAY_EXISTS);
    CHECK(fixture_file_is(target_path, (const uint8_t *)"mine", 4) && !exists(journal_path));
    CHECK_OK(ray_pull_discard(target_path));
    CHECK(exists(target_path));
    unlink(target_path);
}

static void whatIsNoJournalIsNotOverwritten(void) {
    fixture_write_file(journal_path, (const uint8_t *)"somebody's notes", 16);
    fixture_pull p;
    CHECK_STATUS(pull_again(&p, NUMBER, RAY_RESUME_KEEP), RAY_EXISTS);
    CHECK(strstr(p.message, journal_path) != NULL);
    CHECK(fixture_file_is(journal_path, (const uint8_t *)"somebody's notes", 16) && !exists(target_path));
    unlink(journal_path);
    ray__subject subject = subject_of(NUMBER, SIZE);
    leave(&subject, 2);
    unlink(target_path);
    CHECK(symlink("/dev/null", target_path) == 0);
    CHECK(pull_again(&p, NUMBER, RAY_RESUME_KEEP) != RAY_OK);
    unlink(target_path);
    CHECK_OK(ray_pull_discard(target_path));
    CHECK(!exists(journal_path));
}

static void leave_anew(const ray__subject *subject) {
    unlink(target_path);
    unlink(journal_path);
    leave(subject, 2);
}

static void whatAPullCanGoOnWithIsSaid(void) {
    ray_object_id id = fixture_id(NUMBER);
    ray_object_id other = fixture_id(NUMBER + 1);
    ray__subject subject = subject_of(NUMBER, SIZE);
    CHECK_STATUS(ray_pull_can_resume(target_path, &id), RAY_NOT_FOUND);
    leave_anew(&subject);
    CHECK_OK(ray_pull_can_resume(target_path, &id));
    CHECK_STATUS(ray_pull_can_resume(target_path, &other), RAY_NOT_FOUND);
    // Any byte of the header but those of the process: magic, version, chunk size, size, id, edition, check.
    static const uint32_t places[] = {0, 8, 12, 16, 24, 51, 56, 64, 71};
    for (size_t i = 0; i < sizeof places / sizeof places[0]; i++) {
        leave_anew(&subject);
        poke(journal_path, places[i], "\xaa", 1);
        CHECK_STATUS(ray_pull_can_resume(target_path, &id), RAY_NOT_FOUND);
    }
    leave_anew(&subject);
    CHECK(truncate(journal_path, RAY__JOURNAL_HEADER_SIZE - 1) == 0);
    CHECK_STATUS(ray_pull_can_resume(target_path, &id), RAY_NOT_FOUND);
    leave_anew(&subject);
    CHECK(truncate(target_path, SIZE - 1) == 0);
    CHECK_STATUS(ray_pull_can_resume(target_path, &id), RAY_NOT_FOUND);
    leave_anew(&subject);
    CHECK(unlink(journal_path) == 0);
    CHECK_STATUS(ray_pull_can_resume(target_path, &id), RAY_NOT_FOUND);
    unlink(target_path);
}

static void withoutResumeNothingIsKept(void) {
    ray__subject subject = subject_of(NUMBER, SIZE);
    leave(&subject, 6);
    fixture_pull p;
    CHECK_STATUS(pull_again(&p, NUMBER, RAY_RESUME_OFF), RAY_EXISTS);
    CHECK_OK(ray_pull_discard(target_path));
    CHECK(!exists(target_path) && !exists(journal_path));
    ray_pull_options options = {.rate_max_bytes = 40 * MIB};
    uint16_t port = ray_transfer_port(sender);
    fixture_pull_init(&p, target_path);
    fixture_start(&p, receiver, NUMBER, &port, 1, &options);
    fixture_wait_bytes(&p, 1);
    CHECK(!exists(journal_path));
    ray_pull_cancel(p.handle);
    CHECK_STATUS(fixture_finish(&p), RAY_CANCELLED);
    CHECK(!exists(target_path));
    options = (ray_pull_options){.struct_size = sizeof options, .resume = 3};
    ray_object_id id = fixture_id(NUMBER);
    ray_endpoint from = {.host = "127.0.0.1", .port = port};
    CHECK_STATUS(ray_pull_start(receiver, &id, &from, 1, &options, &fixture_callbacks, &p, &p.handle), RAY_INVALID_ARGUMENT);
}

static void twoAtOnceAreRefused(void) {
    fixture_pull first;
    fixture_pull second;
    ray_pull_options options = {.resume = RAY_RESUME_KEEP, .rate_max_bytes = 40 * MIB};
    uint16_t port = ray_transfer_port(sender);
    fixture_pull_init(&first, target_path);
    fixture_start(&first, receiver, NUMBER, &port, 1, &options);
    fixture_wait_bytes(&first, 1);
    CHECK_STATUS(pull_again(&second, NUMBER, RAY_RESUME_KEEP), RAY_IN_USE);
    char pid[24];
    snprintf(pid, sizeof pid, "process %d ", (int)getpid());
    CHECK(strstr(second.message, target_path) != NULL && strstr(second.message, pid) != NULL);
    CHECK_STATUS(pull_again(&second, NUMBER, RAY_RESUME_ANEW), RAY_IN_USE);
    CHECK_STATUS(ray_pull_discard(target_path), RAY_IN_USE);
    CHECK_OK(fixture_finish(&first));
    CHECK(fixture_file_is(target_path, bytes, SIZE));
    fixture_wait_gone(journal_path);
    unlink(target_path);
}

// ---- how a pull ends -----------------------------------------------------------------------------------------------------

static void aCancelledPullCanBeResumed(void) {
    fixture_pull p;
    ray_pull_options options = {.resume = RAY_RESUME_KEEP, .rate_max_bytes = 20 * MIB};
    uint16_t port = ray_transfer_port(sender);
    fixture_pull_init(&p, target_path);
    fixture_start(&p, receiver, NUMBER, &port, 1, &options);
    fixture_wait_bytes(&p, RAY_CHUNK_SIZE);
    ray_pull_cancel(p.handle);
    CHECK_STATUS(fixture_finish(&p), RAY_CANCELLED);
    uint64_t done = p.progress.done_bytes;
    CHECK(done >= RAY_CHUNK_SIZE && done < SIZE);
    CHECK(exists(target_path) && exists(journal_path));
    completes_with(NUMBER, RAY_RESUME_KEEP, done);
}

static void aPullThatCannotReachItsSourceCanBeResumed(void) {
    ray__subject subject = subject_of(NUMBER, SIZE);
    leave(&subject, 6);
    fixture_pull p;
    ray_pull_options options = {.resume = RAY_RESUME_KEEP};
    CHECK_STATUS(fixture_pull_now(&p, receiver, NUMBER, 1, target_path, &options), RAY_UNREACHABLE);
    completes_with(NUMBER, RAY_RESUME_KEEP, 6 * (uint64_t)RAY_CHUNK_SIZE);
}

static void aFailureForGoodRemovesBoth(void) {
    ray__subject subject = subject_of(NUMBER, SIZE);
    leave(&subject, 6);
    poke(source_path, 0, "another", 7);
    fixture_pull p;
    CHECK_STATUS(pull_again(&p, NUMBER, RAY_RESUME_KEEP), RAY_SOURCE_CHANGED);
    // The source refused before the pull had a sink, so what is here is untouched.
    CHECK(exists(target_path) && exists(journal_path));
    CHECK_OK(ray_pull_discard(target_path));
    // Now in the middle.
    fixture_write_file(source_path, bytes, SIZE);
    table.count = 0;
    fixture_add_file(&table, NUMBER, source_path);
    ray_pull_options options = {.resume = RAY_RESUME_KEEP, .rate_max_bytes = 20 * MIB};
    uint16_t port = ray_transfer_port(sender);
    fixture_pull_init(&p, target_path);
    fixture_start(&p, receiver, NUMBER, &port, 1, &options);
    fixture_wait_bytes(&p, 1);
    CHECK(exists(target_path) && exists(journal_path));
    poke(source_path, 0, "another", 7);
    CHECK_STATUS(fixture_finish(&p), RAY_SOURCE_CHANGED);
    CHECK(!exists(target_path) && !exists(journal_path));
    fixture_write_file(source_path, bytes, SIZE);
    table.count = 0;
    fixture_add_file(&table, NUMBER, source_path);
}

// ---- killed --------------------------------------------------------------------------------------------------------------

#define KILL_CHUNKS 48u
#define KILL_SIZE (KILL_CHUNKS * (uint64_t)RAY_CHUNK_SIZE + 777)
#define KILL_WINDOW (2 * (uint64_t)RAY_CHUNK_SIZE)

// The receiving process: one connection with the smallest window, slow enough to be hit in the middle.
static int receive(const char *port_text, const char *path) {
    uint16_t port = (uint16_t)atoi(port_text);
    ray_transfer_options options = {
        .struct_size = sizeof options, .key = fixture_key, .connection_count = 1, .window_bytes = KILL_WINDOW};
    ray_transfer *transfer = NULL;
    CHECK_OK(ray_transfer_create(&options, &transfer));
    fixture_pull p;
    ray_pull_options pull = {.resume = RAY_RESUME_KEEP, .rate_max_bytes = 400 * MIB};
    ray_status status = fixture_pull_now(&p, transfer, NUMBER + 50, port, path, &pull);
    ray_transfer_destroy(transfer);
    return status == RAY_OK ? 0 : 1;
}

static pid_t start_receiver(void) {
    char port[16];
    snprintf(port, sizeof port, "%u", ray_transfer_port(sender));
    char *arguments[] = {"transfer_resume_test", "receive", port, target_path, NULL};
    extern char **environ;
    pid_t pid;
    CHECK(posix_spawn(&pid, "/proc/self/exe", NULL, NULL, arguments, environ) == 0);
    return pid;
}

static uint32_t recorded_chunks(void) {
    static uint64_t records[KILL_CHUNKS + 1];
    memset(records, 0, sizeof records);
    int file = open(journal_path, O_RDONLY | O_CLOEXEC);
    if (file >= 0) {
        CHECK(pread(file, records, sizeof records, RAY__JOURNAL_HEADER_SIZE) >= 0);
        close(file);
    }
    uint32_t count = 0;
    for (uint32_t i = 0; i <= KILL_CHUNKS; i++) {
        count += records[i] != 0;
    }
    return count;
}

static void nap(void) {
    struct timespec moment = {0, 100000};
    nanosleep(&moment, NULL);
}

// What the sender has sent, once nobody is connected.
static uint64_t sent_in_all(void) {
    uint64_t deadline = ray__now_ns() + FIXTURE_DEADLINE_NS;
    while (fixture_stats(sender).connection_count > 0) {
        CHECK(ray__now_ns() < deadline);
        nap();
    }
    return fixture_stats(sender).sent_bytes;
}

// Kills it when about so many more bytes have left the sender; false when it was done before.
static bool kill_after(pid_t pid, uint64_t amount) {
    uint64_t until = fixture_stats(sender).sent_bytes + amount;
    uint64_t deadline = ray__now_ns() + FIXTURE_DEADLINE_NS;
    int status = 0;
    while (fixture_stats(sender).sent_bytes < until) {
        CHECK(ray__now_ns() < deadline);
        if (waitpid(pid, &status, WNOHANG) == pid) {
            CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
            return false;
        }
        nap();
    }
    kill(pid, SIGKILL);
    CHECK(waitpid(pid, &status, 0) == pid);
    return WIFSIGNALED(status);
}

static void aReceiverThatIsKilledTwentyTimesCompletes(void) {
    uint64_t seed = check_seed();
    uint8_t *content = fixture_bytes(KILL_SIZE, 99, false);
    char path[128];
    fixture_path(path, "killed-source");
    fixture_write_file(path, content, KILL_SIZE);
    fixture_add_file(&table, NUMBER + 50, path);
    uint64_t before = sent_in_all();
    uint64_t sent = before;
    uint32_t kills = 0;
    bool killed = true;
    while (killed && kills < 20) {
        uint32_t had = recorded_chunks();
        killed = kill_after(start_receiver(), check_random(&seed) % (3 * RAY_CHUNK_SIZE));
        uint64_t now = sent_in_all();
        uint32_t has = recorded_chunks();
        if (!killed) {
            break;
        }
        kills++;
        CHECK(has >= had);
        // Nothing that was recorded is sent again, and what was sent is recorded but for one window.
        uint64_t gained = (has - had) * (uint64_t)RAY_CHUNK_SIZE;
        if (now - sent > gained + KILL_WINDOW) {
            fprintf(stderr, "    run %u: sent %llu, gained %llu\n", kills, (unsigned long long)(now - sent), (unsigned long long)gained);
        }
        CHECK(now - sent <= gained + KILL_WINDOW);
        sent = now;
    }
    if (killed) {
        int status = 0;
        pid_t pid = start_receiver();
        CHECK(waitpid(pid, &status, 0) == pid && WIFEXITED(status) && WEXITSTATUS(status) == 0);
    }
    fprintf(stderr, "    %u kills, %.3f of the size sent\n", kills, (double)(sent_in_all() - before) / (double)KILL_SIZE);
    CHECK(kills >= 10);
    CHECK(sent_in_all() - before <= KILL_SIZE + kills * KILL_WINDOW);
    CHECK(fixture_file_is(target_path, content, KILL_SIZE));
    CHECK(!exists(journal_path));
    unlink(target_path);
    unlink(path);
    free(content);
}

int main(int count, char **arguments) {
    if (count == 4 && strcmp(arguments[1], "receive") == 0) {
        return receive(arguments[2], arguments[3]);
    }
    fixture_make_directory();
    fixture_path(source_path, "source");
    fixture_path(target_path, "target");
    snprintf(journal_path, sizeof journal_path, "%s%s", target_path, RAY_JOURNAL_SUFFIX);
    bytes = fixture_bytes(SIZE, 5, false);
    fixture_write_file(source_path, bytes, SIZE);
    fixture_add_file(&table, NUMBER, source_path);
    sender = fixture_transfer(&table, NULL, true);
    receiver = fixture_transfer(NULL, NULL, false);
    RUN(onlyWhatIsMissingIsFetched);
    RUN(aCompletePartialFileIsOnlyVerified);
    RUN(aDamagedChunkIsFetchedAgain);
    RUN(aDamagedRecordCostsItsChunk);
    RUN(aTruncatedJournalIsBelievedAsFarAsItGoes);
    RUN(aJournalOfAnotherVersionIsBegunAnew);
    RUN(aJournalOfAnotherFileIsBegunAnew);
    RUN(aPartialFileOfAnotherSizeIsNotBelieved);
    RUN(anewForgetsWhatIsThere);
    RUN(anotherSizeOfTheSameObjectIsAChangedSource);
    RUN(aFileWithoutAJournalIsNotOverwritten);
    RUN(whatIsNoJournalIsNotOverwritten);
    RUN(whatAPullCanGoOnWithIsSaid);
    RUN(withoutResumeNothingIsKept);
    RUN(twoAtOnceAreRefused);
    RUN(aCancelledPullCanBeResumed);
    RUN(aPullThatCannotReachItsSourceCanBeResumed);
    RUN(aFailureForGoodRemovesBoth);
    ray_transfer_destroy(receiver);
    RUN(aReceiverThatIsKilledTwentyTimesCompletes);
    ray_transfer_destroy(sender);
    unlink(source_path);
    free(bytes);
    fixture_remove_directory();
    return 0;
}
