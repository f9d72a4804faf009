// SPDX-License-Identifier: Apache-2.0
// First figures of the transfer, one JSON object a line: sender and receiver are two processes over loopback; files lie in /dev/shm,
// objects in two stores. Data is put before, so the sender has hashed it at most once (a run is cold the first time: "first").
// raw: codec none. auto: what the tuner picks. Medians of several runs; verified by the transfer itself (XXH3-64 on arrival).
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "pulling.h"

enum { RUNS = 7, SMALL_RUNS = 2000 };
#define WINDOW_BYTES ((uint64_t)64 << 20) // what window_bytes 0 means

static const ray_key key = {{42}};
static uint64_t size_bytes = 512ull << 20;

static int ascending(const void *a, const void *b) {
    double left = *(const double *)a;
    double right = *(const double *)b;
    return left < right ? -1 : left > right;
}

static void print(const char *name, double value, const char *unit) {
    printf("{\"name\":\"transfer.c.%s\",\"value\":%.6g,\"unit\":\"%s\"}\n", name, value, unit);
    fflush(stdout);
}

static ray_object_id id_of(uint32_t number) {
    ray_task_id task = ray_task_id_driver(1);
    return ray_object_id_make(&task, number);
}

enum { RANDOM = 1, TRAINING = 2, SMALL = 3, OBJECTS = 10 };

static uint64_t next_random(uint64_t *state) {
    uint64_t z = (*state += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    return z ^ (z >> 29);
}

// Random bytes, or what training data looks like: JSON lines, and columns of floats that move slowly.
static void fill(uint8_t *bytes, uint64_t size, int kind) {
    uint64_t state = 7;
    if (kind == RANDOM) {
        for (uint64_t i = 0; i + 8 <= size; i += 8) {
            uint64_t word = next_random(&state);
            memcpy(bytes + i, &word, 8);
        }
        return;
    }
    uint64_t at = 0;
    float value = 0;
    while (at + 4096 < size) {
        if ((at >> 16) % 2 == 0) {
            static const char *const words[] = {"the", "model", "learns", "to", "predict", "tokens", "from", "context", "and", "data"};
            at += (uint64_t)snprintf((char *)bytes + at, 128, "{\"id\":%llu,\"text\":\"", (unsigned long long)(next_random(&state) % 1000000));
            for (int w = 0; w < 12; w++) {
                at += (uint64_t)snprintf((char *)bytes + at, 32, "%s ", words[next_random(&state) % 10]);
            }
            at += (uint64_t)snprintf((char *)bytes + at, 64, "\",\"label\":%d}\n", (int)(next_random(&state) % 10));
        } else {
            for (int f = 0; f < 64; f++) {
                value += (float)((int)(next_random(&state) % 21) - 10) / 64;
                memcpy(bytes + at, &value, 4);
                at += 4;
            }
        }
    }
    memset(bytes + at, 0, size - at);
}

// ---- the sender's process --------------------------------------------------------------------------------------------------

static char directory[64];

static void path_of(char *path, const char *name) {
    snprintf(path, 128, "%s/%s", directory, name);
}

static ray_status find(void *context, const ray_object_id *id, ray_answer *answer) {
    (void)context;
    uint32_t number = ray_object_id_index(id);
    if (number >= OBJECTS) {
        ray_answer_object(answer);
        return RAY_OK;
    }
    char path[128];
    struct stat info;
    path_of(path, number == RANDOM ? "random" : "training");
    if (stat(path, &info) != 0) {
        return RAY_NOT_FOUND;
    }
    ray_answer_file(answer, path, (uint64_t)info.st_size, (int64_t)info.st_mtim.tv_sec * 1000000000 + info.st_mtim.tv_nsec, "", 0, "", 0);
    return RAY_OK;
}

static ray_store *make_store(uint64_t capacity) {
    ray_store_options options = {.struct_size = sizeof options, .capacity_bytes = capacity};
    ray_store *store = NULL;
    must(ray_store_create(&options, &store));
    must(ray_store_prefault(store, capacity));
    return store;
}

static void write_file(const char *name, const uint8_t *bytes) {
    char path[128];
    path_of(path, name);
    int file = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    for (uint64_t at = 0; at < size_bytes;) {
        ssize_t written = write(file, bytes + at, size_bytes - at);
        if (written <= 0) {
            perror(path);
            exit(1);
        }
        at += (uint64_t)written;
    }
    close(file);
}

static void put(ray_store *store, uint32_t number, const uint8_t *bytes, uint64_t size) {
    ray_object_id id = id_of(number);
    must(ray_object_put(store, &id, bytes, size, NULL, 0, 0));
}

static void send_until_told(int ready, int stop) {
    ray_store *store = make_store(2 * size_bytes + (64u << 20));
    uint8_t *bytes = malloc(size_bytes);
    if (bytes == NULL) {
        exit(1);
    }
    fill(bytes, size_bytes, TRAINING);
    write_file("training", bytes);
    put(store, OBJECTS + TRAINING, bytes, size_bytes);
    fill(bytes, size_bytes, RANDOM);
    write_file("random", bytes);
    put(store, OBJECTS + RANDOM, bytes, size_bytes);
    put(store, OBJECTS + SMALL, bytes, 1024);
    free(bytes);
    ray_transfer_options options = {
        .struct_size = sizeof options, .key = key, .store = store, .bind_host = "127.0.0.1", .find = find};
    ray_transfer *transfer = NULL;
    must(ray_transfer_create(&options, &transfer));
    uint16_t port = ray_transfer_port(transfer);
    if (write(ready, &port, sizeof port) != (ssize_t)sizeof port) {
        exit(1);
    }
    // A byte asks how much was sent, the end of the pipe ends it.
    char byte;
    while (read(stop, &byte, 1) == 1) {
        ray_transfer_stats stats = {.struct_size = sizeof stats};
        do {
            ray_transfer_stats_read(transfer, &stats);
        } while (stats.connection_count > 0 && usleep(1000) == 0);
        if (write(ready, &stats.sent_bytes, sizeof stats.sent_bytes) != (ssize_t)sizeof stats.sent_bytes) {
            exit(1);
        }
    }
    ray_transfer_destroy(transfer);
    ray_store_close(store);
}

// ---- the receiver ----------------------------------------------------------------------------------------------------------

typedef struct pulled {
    waiter w;
    bool is_file;
    bool keeps; // can be resumed
} pulled;

static ray_status opened(void *context, ray_pull *pull, const ray_card *card) {
    (void)card;
    const pulled *p = context;
    char path[128];
    path_of(path, "target");
    return p->is_file ? ray_pull_into_file(pull, path) : ray_pull_into_store(pull);
}

// Answers the seconds it took.
static double pull_and_wait(ray_transfer *transfer, uint16_t port, uint32_t number, uint16_t codec, pulled *p) {
    waiter_begin(&p->w);
    ray_endpoint from = {.host = "127.0.0.1", .port = port};
    ray_pull_options options = {
        .struct_size = sizeof options, .codec = codec, .resume = p->keeps ? RAY_RESUME_KEEP : RAY_RESUME_OFF};
    ray_pull_callbacks callbacks = {opened, NULL, waiter_done};
    ray_object_id id = id_of(number);
    ray_pull *pull = NULL;
    double start = now();
    must(ray_pull_start(transfer, &id, &from, 1, &options, &callbacks, p, &pull));
    return waiter_finish(&p->w, pull) - start;
}

// Seconds of one pull. What it brought is removed again.
static double pull_once(ray_transfer *transfer, ray_store *store, uint16_t port, uint32_t number, uint16_t codec, ray_transfer_progress *progress) {
    pulled p = {.is_file = number < OBJECTS};
    ray_object_id id = id_of(number);
    double seconds = pull_and_wait(transfer, port, number, codec, &p);
    *progress = p.w.progress;
    if (p.is_file) {
        char path[128];
        path_of(path, "target");
        unlink(path);
    } else {
        must(ray_object_delete(store, &id, RAY_OBJECT_FREED));
    }
    return seconds;
}

static void measure(ray_transfer *transfer, ray_store *store, uint16_t port, const char *name, uint32_t number, uint16_t codec) {
    double seconds[RUNS];
    char text[96];
    ray_transfer_progress progress;
    for (int i = 0; i < RUNS; i++) {
        seconds[i] = pull_once(transfer, store, port, number, codec, &progress);
    }
    snprintf(text, sizeof text, "%s_first_gbs", name);
    print(text, (double)size_bytes / seconds[0] / 1e9, "GB/s");
    qsort(seconds, RUNS, sizeof seconds[0], ascending);
    snprintf(text, sizeof text, "%s_gbs", name);
    print(text, (double)size_bytes / seconds[RUNS / 2] / 1e9, "GB/s");
    if (codec == RAY_CODEC_AUTO) {
        snprintf(text, sizeof text, "%s_wire_ratio", name);
        print(text, (double)progress.wire_bytes / (double)size_bytes, "stored/raw");
    }
}

// ---- resume ----------------------------------------------------------------------------------------------------------------

// A process of its own, to be killed. Ends with 0 when the file is complete.
static pid_t start_receiver(uint16_t port) {
    pid_t child = fork();
    if (child == 0) {
        ray_transfer_options options = {.struct_size = sizeof options, .key = key};
        ray_transfer *transfer = NULL;
        must(ray_transfer_create(&options, &transfer));
        pulled p = {.is_file = true, .keeps = true};
        pull_and_wait(transfer, port, RANDOM, RAY_CODEC_AUTO, &p);
        ray_transfer_destroy(transfer);
        _exit(0);
    }
    return child;
}

// Chunks that the journal lists: eight bytes each behind a header of 80 (docs/PROTOCOL.md).
static uint64_t recorded_chunks(uint64_t *records, uint64_t count) {
    char path[160];
    snprintf(path, sizeof path, "%s/target%s", directory, RAY_JOURNAL_SUFFIX);
    int file = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t got = file >= 0 ? pread(file, records, count * sizeof records[0], 80) : 0;
    if (file >= 0) {
        close(file);
    }
    uint64_t recorded = 0;
    for (ssize_t i = 0; i < got / (ssize_t)sizeof records[0]; i++) {
        recorded += records[i] != 0;
    }
    return recorded;
}

static uint64_t sent_by(int told, int ask) {
    uint64_t sent = 0;
    if (write(ask, "?", 1) != 1 || read(told, &sent, sizeof sent) != (ssize_t)sizeof sent) {
        exit(1);
    }
    return sent;
}

// Kills a receiver with so many chunks recorded. False when it was complete before.
static bool kill_at(uint16_t port, uint64_t chunks, uint64_t *records, uint64_t count) {
    pid_t pid = start_receiver(port);
    int status = 0;
    bool ended = false;
    while (!ended && recorded_chunks(records, count) < chunks) {
        ended = waitpid(pid, &status, WNOHANG) == pid;
    }
    if (!ended) {
        kill(pid, SIGKILL);
        waitpid(pid, &status, 0);
    }
    char path[160];
    snprintf(path, sizeof path, "%s/target%s", directory, RAY_JOURNAL_SUFFIX);
    return WIFSIGNALED(status) && access(path, F_OK) == 0;
}

// Bytes sent over the file's size, when the receiver is killed with this part of the chunks recorded, and started again.
static double sent_ratio(uint16_t port, int told, int ask, double part) {
    uint64_t count = (size_bytes + RAY_CHUNK_SIZE - 1) / RAY_CHUNK_SIZE;
    uint64_t chunks = (uint64_t)(part * (double)count);
    uint64_t *records = calloc(count, sizeof *records);
    char path[128];
    path_of(path, "target");
    uint64_t before = sent_by(told, ask);
    while (records != NULL && !kill_at(port, chunks < count ? chunks : count - 1, records, count)) {
        unlink(path);
        before = sent_by(told, ask);
    }
    free(records);
    int status = 0;
    waitpid(start_receiver(port), &status, 0);
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
        exit(1);
    }
    unlink(path);
    return (double)(sent_by(told, ask) - before) / (double)size_bytes;
}

// Before this process has threads, since it forks.
static void measure_resume(uint16_t port, int told, int ask) {
    static const double parts[] = {0.5, 0.99};
    double worst = 0;
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++) {
        double ratio = sent_ratio(port, told, ask, parts[i]);
        printf("{\"name\":\"transfer.resume.killed_at_%.0f_sent_ratio\",\"value\":%.6g,\"unit\":\"sent/size\"}\n", parts[i] * 100, ratio);
        worst = ratio > worst ? ratio : worst;
    }
    // What is in flight when it is killed is sent again: the default window at most.
    printf("{\"name\":\"transfer.resume.sent_ratio\",\"value\":%.6g,\"unit\":\"sent/size\",\"limit\":%.6g}\n", worst,
           1 + (double)WINDOW_BYTES / (double)size_bytes);
    fflush(stdout);
}

static void receive_all(uint16_t port) {
    ray_store *store = make_store(size_bytes + (64u << 20));
    ray_transfer_options options = {.struct_size = sizeof options, .key = key, .store = store};
    ray_transfer *transfer = NULL;
    must(ray_transfer_create(&options, &transfer));
    measure(transfer, store, port, "file.random_raw", RANDOM, RAY_CODEC_NONE);
    measure(transfer, store, port, "file.random", RANDOM, RAY_CODEC_AUTO);
    measure(transfer, store, port, "file.training_raw", TRAINING, RAY_CODEC_NONE);
    measure(transfer, store, port, "file.training", TRAINING, RAY_CODEC_AUTO);
    measure(transfer, store, port, "file.training_lz4", TRAINING, RAY_CODEC_LZ4);
    measure(transfer, store, port, "object.random_raw", OBJECTS + RANDOM, RAY_CODEC_NONE);
    measure(transfer, store, port, "object.random", OBJECTS + RANDOM, RAY_CODEC_AUTO);
    measure(transfer, store, port, "object.training", OBJECTS + TRAINING, RAY_CODEC_AUTO);
    double *seconds = calloc(SMALL_RUNS, sizeof *seconds);
    ray_transfer_progress progress;
    for (int i = 0; seconds != NULL && i < SMALL_RUNS; i++) {
        seconds[i] = pull_once(transfer, store, port, OBJECTS + SMALL, RAY_CODEC_AUTO, &progress);
    }
    if (seconds != NULL) {
        qsort(seconds, SMALL_RUNS, sizeof *seconds, ascending);
        print("object.small_us", seconds[SMALL_RUNS / 2] * 1e6, "us");
        free(seconds);
    }
    ray_transfer_destroy(transfer);
    ray_store_close(store);
}

static void remove_directory(void) {
    static const char *const names[] = {"random", "training", "target", ("target" RAY_JOURNAL_SUFFIX)};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        char path[128];
        path_of(path, names[i]);
        unlink(path);
    }
    rmdir(directory);
}

// Usage: transfer [MEBIBYTES]
int main(int count, char **arguments) {
    if (count > 1) {
        size_bytes = strtoull(arguments[1], NULL, 10) << 20;
    }
    snprintf(directory, sizeof directory, "/dev/shm/raybench.XXXXXX");
    int ready[2];
    int stop[2];
    if (mkdtemp(directory) == NULL || pipe(ready) != 0 || pipe(stop) != 0) {
        perror(directory);
        return 1;
    }
    pid_t child = fork();
    if (child == 0) {
        // It outlives the other, whatever ends that one, and takes the files away.
        signal(SIGINT, SIG_IGN);
        signal(SIGTERM, SIG_IGN);
        close(stop[1]);
        send_until_told(ready[1], stop[0]);
        remove_directory();
        _exit(0);
    }
    close(stop[0]);
    close(ready[1]);
    uint16_t port;
    int code = 1;
    if (read(ready[0], &port, sizeof port) == (ssize_t)sizeof port) {
        measure_resume(port, ready[0], stop[1]);
        receive_all(port);
        code = 0;
    }
    close(stop[1]);
    waitpid(child, NULL, 0);
    return code;
}
