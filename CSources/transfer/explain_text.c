// SPDX-License-Identifier: Apache-2.0
// An explanation in words.
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "raystore/transfer.h"

// A text that is counted to its end, whether it fits or not.
typedef struct text {
    char *bytes;
    size_t capacity;
    size_t size;
} text;

__attribute__((format(printf, 2, 3))) static void say(text *t, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    size_t room = t->size < t->capacity ? t->capacity - t->size : 0;
    int size = vsnprintf(room > 0 ? t->bytes + t->size : NULL, room, format, arguments);
    va_end(arguments);
    t->size += size > 0 ? (size_t)size : 0;
}

// "1.2 GiB", "310 MiB", "7 bytes": as ByteCount.swift writes them.
static void say_bytes(text *t, uint64_t bytes) {
    static const char *const units[] = {"KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
    if (bytes < 1024) {
        say(t, bytes == 1 ? "%u byte" : "%u bytes", (uint32_t)bytes);
        return;
    }
    uint32_t unit = 0;
    double tenths = (double)(uint64_t)((double)bytes / 1024 * 10 + 0.5);
    while (tenths >= 10240 && unit + 1 < sizeof units / sizeof units[0]) {
        tenths = (double)(uint64_t)(tenths / 1024 + 0.5);
        unit++;
    }
    uint64_t whole = (uint64_t)tenths / 10;
    uint32_t tenth = (uint32_t)((uint64_t)tenths % 10);
    if (tenth == 0) {
        say(t, "%" PRIu64 " %s", whole, units[unit]);
    } else {
        say(t, "%" PRIu64 ".%u %s", whole, tenth, units[unit]);
    }
}

static void say_codec(text *t, const ray_choice_explanation *choice) {
    if (choice->codec == RAY_CODEC_ZSTD) {
        say(t, "zstd %d", choice->level);
    } else {
        say(t, "%s", choice->codec == RAY_CODEC_LZ4 ? "lz4" : "raw");
    }
}

static const char *words_of(uint16_t reason) {
    switch (reason) {
    case RAY_REASON_START:
        return "nothing was known of the link yet";
    case RAY_REASON_HOPELESS:
        return "the data does not shrink";
    case RAY_REASON_FAST:
        return "the link takes more than the free cores can pack";
    case RAY_REASON_STRONGEST:
        return "the link is the limit and nothing stronger pays";
    case RAY_REASON_BALANCE:
        return "with it the link and the cores are both full";
    case RAY_REASON_RECEIVER:
        return "the receiver is the limit and unpacks it quickly";
    case RAY_REASON_NO_GAIN:
        return "packing was tried and brought less than raw";
    case RAY_REASON_TRIAL:
        return "its cost was to be known";
    case RAY_REASON_ASKED:
        return "it was asked for";
    case RAY_REASON_FIXED:
        return "the source is set to it";
    case RAY_REASON_SMALL:
        return "so little comes with the first answer";
    case RAY_REASON_NOT_SMALLER:
        return "packing did not make them smaller, or found no memory";
    case RAY_REASON_UNIFORM:
        return "they are one byte over and over";
    default:
        return NULL;
    }
}

static const char *plural(uint32_t count) {
    return count == 1 ? "" : "s";
}

// Never "100 %" of what is not all, nor "0 %" of what is something.
static uint32_t percent_of(uint32_t part, uint32_t whole) {
    uint32_t percent = whole == 0 ? 0 : (uint32_t)(((uint64_t)part * 100 + whole / 2) / whole);
    percent = percent == 100 && part < whole ? 99 : percent;
    return percent == 0 && part > 0 ? 1 : percent;
}

static void say_choice(text *t, const ray_choice_explanation *choice) {
    say_codec(t, choice);
    say(t, " %u", choice->chunk_count);
    if (choice->codec == RAY_CODEC_NONE || choice->raw_bytes == 0) {
        return;
    }
    say(t, " (to %.2f%s", (double)choice->wire_bytes / (double)choice->raw_bytes, choice->filter != 0 ? ", filtered" : "");
    if (choice->core_rate > 0) {
        say(t, ", ");
        say_bytes(t, choice->core_rate);
        say(t, "/s a core");
    }
    say(t, ")");
}

static void say_source(text *t, const ray_source_explanation *source) {
    say(t, "%s:%u: %u chunk%s, ", source->endpoint.host, source->endpoint.port, source->chunk_count, plural(source->chunk_count));
    say_bytes(t, source->raw_bytes);
    if (source->wire_bytes != source->raw_bytes) {
        say(t, " as ");
        say_bytes(t, source->wire_bytes);
    }
    if (source->link_rate > 0) {
        say(t, "; link ");
        say_bytes(t, source->link_rate);
        say(t, "/s");
    }
    if (source->is_told != 0 && source->idle_permille <= 1000) {
        say(t, "; %u %% of its cores free", (source->idle_permille + 5) / 10);
    }
    const char *before = "; ";
    for (uint32_t i = 0; i < source->choice_count; i++) {
        if (source->choices[i].chunk_count > 0) {
            say(t, "%s", before);
            say_choice(t, &source->choices[i]);
            before = ", ";
        }
    }
    say(t, "\n");
}

// What most chunks got, over all sources, and why most of those.
typedef struct sums {
    uint32_t chunk_count;
    uint32_t counts[RAY_CODEC_ZSTD + 1][RAY_ZSTD_LEVEL_MAX - RAY_ZSTD_LEVEL_MIN + 1]; // by codec and level
    uint32_t reasons[RAY_CODEC_ZSTD + 1][RAY_ZSTD_LEVEL_MAX - RAY_ZSTD_LEVEL_MIN + 1][RAY_REASON_COUNT];
} sums;

static void add(sums *s, const ray_source_explanation *source) {
    for (uint32_t i = 0; i < source->choice_count; i++) {
        const ray_choice_explanation *choice = &source->choices[i];
        s->chunk_count += choice->chunk_count;
        s->counts[choice->codec][choice->level - RAY_ZSTD_LEVEL_MIN] += choice->chunk_count;
        s->reasons[choice->codec][choice->level - RAY_ZSTD_LEVEL_MIN][choice->reason] += choice->chunk_count;
    }
}

static void say_sums(text *t, const sums *s) {
    ray_choice_explanation most = {.codec = RAY_CODEC_NONE};
    uint32_t count = 0;
    for (uint32_t codec = RAY_CODEC_NONE; codec <= RAY_CODEC_ZSTD; codec++) {
        for (int level = RAY_ZSTD_LEVEL_MIN; level <= RAY_ZSTD_LEVEL_MAX; level++) {
            if (s->counts[codec][level - RAY_ZSTD_LEVEL_MIN] > count) {
                count = s->counts[codec][level - RAY_ZSTD_LEVEL_MIN];
                most = (ray_choice_explanation){.codec = (uint16_t)codec, .level = (int16_t)level};
            }
        }
    }
    if (count == 0) {
        say(t, "nothing was transferred\n");
        return;
    }
    const uint32_t *reasons = s->reasons[most.codec][most.level - RAY_ZSTD_LEVEL_MIN];
    uint16_t reason = 0;
    for (uint16_t i = 1; i < RAY_REASON_COUNT; i++) {
        reason = reasons[i] > reasons[reason] ? i : reason;
    }
    say(t, "chose ");
    say_codec(t, &most);
    say(t, " for %u %% of the chunks", percent_of(count, s->chunk_count));
    if (words_of(reason) != NULL) {
        say(t, " because %s\n", words_of(reason));
    } else {
        say(t, "; the source has not said why\n");
    }
}

size_t ray_pull_explain(ray_pull *pull, char *bytes, size_t capacity) {
    text t = {.bytes = bytes, .capacity = capacity};
    if (capacity > 0) {
        bytes[0] = '\0';
    }
    sums s;
    memset(&s, 0, sizeof s);
    ray_source_explanation source = {.struct_size = sizeof source};
    for (uint32_t i = 0; ray_pull_explain_source(pull, i, &source) == RAY_OK; i++) {
        say_source(&t, &source);
        add(&s, &source);
        source.struct_size = sizeof source;
    }
    say_sums(&t, &s);
    return t.size;
}
