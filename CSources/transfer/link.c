// SPDX-License-Identifier: Apache-2.0
// A link: one connection of a pull to one of its sources, from connecting to the last chunk it can bring.
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>

#include "base/checksum_internal.h"
#include "base/clock_internal.h"
#include "base/error_internal.h"
#include "transfer/explain_internal.h"
#include "transfer/transfer_internal.h"

#define AGAIN_NS (10 * RAY__MS)

// A holder that a card named belongs to the cluster: who does not prove that at its port is not the one that was meant, but has taken the port of one that ended.
static ray_status prove_link(ray__link *link) {
    ray_pull *pull = link->pull;
    ray_status status = ray__connection_prove(&link->connection, &pull->transfer->key, RAY_ROLE_CONNECTING, RAY__PROVE_NS);
    if (status != RAY_KEY_REFUSED && status != RAY_PROTOCOL) {
        return status;
    }
    pthread_mutex_lock(&pull->lock);
    const ray__pull_source *source = &pull->sources[link->source];
    // An answer says that it was the one: what it says now was misheard.
    bool another = source->learned && !source->answered;
    pthread_mutex_unlock(&pull->lock);
    char text[RAY__TEXT_MAX];
    snprintf(text, sizeof text, "%.250s", ray_last_error_message());
    return another ? ray__fail(RAY_UNREACHABLE, "%s", text) : status;
}

static ray_status connect_link(ray__link *link, const ray_endpoint *endpoint, bool fresh, bool *reused) {
    ray_transfer *transfer = link->pull->transfer;
    *reused = !fresh && ray__idle_take(transfer, endpoint, link->pull->stop, &link->connection);
    if (!*reused) {
        RAY_TRY(ray__connection_open(endpoint, RAY__CONNECT_NS, link->pull->stop, transfer->port, &link->connection));
        RAY_TRY(prove_link(link));
    }
    link->connection.silent_ns = RAY__SILENT_NS;
    return RAY_OK;
}

uint32_t ray__link_write_open(ray__link *link, uint8_t *message) {
    ray__open open = {.id = link->pull->id, .token = link->pull->token, .threads = (uint16_t)link->pull->transfer->workers.count,
                       .chunk_size = link->pull->chunk_size, .urgency = (uint16_t)atomic_load(&link->pull->urgency)};
    if (link->pull->name == NULL && link->pull->range_offset == 0 && link->pull->range_size == 0) {
        open.port = link->pull->transfer->advertise_port;
        memcpy(open.host, link->pull->transfer->advertise_host, sizeof open.host);
        pthread_mutex_lock(&link->pull->lock);
        bool is_only = link->pull->source_count == 1;
        pthread_mutex_unlock(&link->pull->lock);
        open.flags = is_only && link->pull->codec == RAY_CODEC_AUTO ? RAY__OPEN_LARGE_CARD : 0;
    }
    if (link->pull->name != NULL) {
        snprintf(open.name, sizeof open.name, "%s", link->pull->name);
    }
    uint32_t size = ray__open_write(&open, message + RAY__MESSAGE_HEADER_SIZE);
    link->stream = ++link->connection.stream_count;
    ray__message_seal(message, RAY__MESSAGE_OPEN, link->stream, size);
    return RAY__MESSAGE_HEADER_SIZE + size;
}

static ray_status send_open(ray__link *link) {
    uint8_t message[RAY__MESSAGE_HEADER_SIZE + RAY__OPEN_BODY_MAX];
    struct iovec part = {message, ray__link_write_open(link, message)};
    return ray__connection_write(&link->connection, &part, 1, false);
}

ray_status ray__link_read_card(ray_transfer *transfer, ray__connection *connection, ray__card_body *body, ray__card_message *card,
                               uint32_t *stream) {
    uint8_t header[RAY__MESSAGE_HEADER_SIZE];
    ray__message message;
    RAY_TRY(ray__connection_read(connection, header, sizeof header));
    RAY_TRY(ray__message_read(header, false, &message));
    if (message.type != RAY__MESSAGE_CARD) {
        return ray__fail(RAY_PROTOCOL, "%s answered an OPEN with a message of type %u", connection->peer, message.type);
    }
    *stream = message.stream;
    RAY_TRY(ray__share_wait(&transfer->cards_received, message.body_size, connection->stop));
    body->size = message.body_size;
    bool is_large = message.body_size >= RAY__CARD_BUFFER_MIN && message.body_size <= RAY__CARD_BUFFER;
    body->bytes = is_large ? atomic_exchange(&transfer->large_card, NULL) : NULL;
    body->is_kept = body->bytes != NULL;
    body->bytes = body->is_kept ? body->bytes : malloc(message.body_size);
    if (body->bytes == NULL) {
        return ray__fail(RAY_OUT_OF_MEMORY, "a card of %u bytes", message.body_size);
    }
    RAY_TRY(ray__connection_read(connection, body->bytes, message.body_size));
    RAY_TRY(ray__message_verify(header, &message, body->bytes));
    return ray__card_read(body->bytes, message.body_size, card);
}

void ray__card_body_free(ray_transfer *transfer, ray__card_body *body) {
    if (body->is_kept) {
        atomic_store(&transfer->large_card, body->bytes);
    } else {
        free(body->bytes);
    }
    if (body->size > 0) {
        ray__share_give(&transfer->cards_received, body->size);
    }
}

static void add_holders(ray_pull *pull, const ray__card_message *card) {
    uint32_t cursor = 0;
    ray_endpoint holder;
    pthread_mutex_lock(&pull->lock);
    while (ray__card_holder(card, &cursor, &holder)) {
        ray__pull_named_locked(pull, &holder);
    }
    pthread_mutex_unlock(&pull->lock);
}

// Lets the caller choose a sink. The link that gets here first does so, the others wait for it.
static ray_status open_sink(ray_pull *pull, const ray__card_message *message) {
    ray_card card = {
        .kind = message->kind,
        .metadata_size = message->metadata_size,
        .metadata = message->metadata_size == 0 ? NULL : message->metadata,
        .size_bytes = message->size_bytes,
        .descriptor = message->descriptor_size == 0 ? NULL : message->descriptor,
        .descriptor_size = message->descriptor_size,
        .holder_count = message->holder_count,
    };
    pull->card = &card;
    pull->kind = message->kind;
    pull->size_bytes = message->size_bytes;
    pull->edition = message->edition;
    pthread_mutex_lock(&pull->callback_lock);
    ray_status status = pull->callbacks.opened(pull->context, pull, &card);
    pthread_mutex_unlock(&pull->callback_lock);
    pull->card = NULL;
    RAY_TRY(status);
    if (pull->sink.kind != RAY__SINK_MEMORY) {
        RAY_TRY(ray__partial_keep_card(pull, &card));
    }
    return ray__sink_begin(pull);
}

static void verify_locked(ray_pull *pull) {
    if (ray__link_queue_push(pull, RAY__SOURCE_DISK) == RAY_OK) {
        pull->active++;
    } else {
        ray__pull_end_locked(pull, RAY_OUT_OF_MEMORY, ray_last_error_message());
    }
}

// True when the pull has a sink of the card's shape; false when the pull ended, or the card does not fit (*fits).
static bool ensure_opened(ray_pull *pull, const ray__card_message *card, bool *fits) {
    pthread_mutex_lock(&pull->lock);
    while (pull->opening && !atomic_load(&pull->ended)) {
        pthread_cond_wait(&pull->opened_changed, &pull->lock);
    }
    bool mine = !pull->opened && !atomic_load(&pull->ended);
    pull->opening = pull->opening || mine;
    pthread_mutex_unlock(&pull->lock);
    ray_status status = mine ? open_sink(pull, card) : RAY_OK;
    pthread_mutex_lock(&pull->lock);
    if (mine) {
        pull->opening = false;
        if (status != RAY_OK) {
            ray__pull_end_locked(pull, status, ray_last_error_message());
        } else {
            pull->opened = true;
            pull->chunk_count = ray__sink_chunk_count(pull);
            // What lies before a range counts as here.
            pull->here_count = ray__sink_skipped_count(pull);
            memset(pull->chunks, RAY__CHUNK_HERE, pull->here_count);
            uint32_t recorded = ray__resume_mark_locked(pull);
            pull->missing_count = pull->chunk_count - pull->here_count - recorded;
            pull->progress.total_bytes = pull->sink.range_end - pull->sink.range_begin;
            if (pull->chunk_count == 0) {
                ray__pull_end_locked(pull, RAY_OK, "");
            } else if (recorded > 0) {
                verify_locked(pull);
            }
        }
        pthread_cond_broadcast(&pull->opened_changed);
    }
    *fits = pull->opened && pull->kind == card->kind && pull->size_bytes == card->size_bytes && pull->edition == card->edition;
    bool go_on = pull->opened && !atomic_load(&pull->ended);
    pthread_mutex_unlock(&pull->lock);
    return go_on;
}

static ray_status place_inline(ray__link *link, const ray__card_message *card) {
    ray_pull *pull = link->pull;
    uint32_t index;
    // None is left for us if another source was faster.
    while (ray__pull_take_inline(pull, &index)) {
        uint64_t offset = (uint64_t)index * pull->chunk_size;
        uint32_t size = ray__chunk_raw_size(pull->size_bytes, pull->chunk_size, index);
        ray_status status = ray__sink_write(pull, card->inline_data + offset, size, offset);
        if (status != RAY_OK) {
            ray__pull_end(pull, status, ray_last_error_message());
            return status;
        }
        ray_chunk_header header = {.index = index, .raw_size = size, .stored_size = size, .codec = RAY_CODEC_NONE};
        atomic_fetch_add(&pull->transfer->received_wire_bytes, size);
        ray__flow_came(&pull->transfer->receiving, atomic_load(&pull->urgency), size, ray__now_ns());
        ray__pull_chunk_arrived(pull, link->source, &header);
        pthread_mutex_lock(&pull->lock);
        pull->sources[link->source].card_bytes += size;
        pthread_mutex_unlock(&pull->lock);
    }
    return RAY_OK;
}

// The source has no memory for it beside what else was opened on the connection.
static void try_again_alone(ray__link *link) {
    ray_pull *pull = link->pull;
    pthread_mutex_lock(&pull->lock);
    pull->goes_alone = true;
    pull->sources[link->source].retry_at_ns = ray__now_ns() + AGAIN_NS;
    pthread_mutex_unlock(&pull->lock);
    ray__transfer_wake_supervisor(pull->transfer);
}

// An equal part of the window, by the connections that the source gets.
static void set_depth_locked(ray__link *link) {
    const ray_pull *pull = link->pull;
    uint64_t depth = pull->window_bytes / ray__pull_connections_locked(pull, link->source) / pull->chunk_size;
    uint64_t depth_max = sizeof link->due / sizeof link->due[0];
    link->depth = (uint32_t)(depth < 2 ? 2 : depth > depth_max ? depth_max : depth);
}

// The source is not asked again: what its card says is of no use to this pull. The text begins with the source's name.
__attribute__((format(printf, 3, 4))) static bool give_up_source(ray__link *link, ray_status status, const char *format, ...) {
    char text[RAY__TEXT_MAX];
    int named = snprintf(text, sizeof text, "%s", link->connection.peer);
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text + named, sizeof text - (size_t)named, format, arguments);
    va_end(arguments);
    ray__pull_source_failed(link->pull, link->source, status, text, true);
    return false;
}

bool ray__link_answer(ray__link *link, const ray__card_message *card) {
    ray_pull *pull = link->pull;
    if (card->status == RAY_AGAIN) {
        try_again_alone(link);
        return false;
    }
    add_holders(pull, card);
    if (card->status != RAY_OK) {
        return give_up_source(link, card->status, ": %.220s", card->text[0] != '\0' ? card->text : ray_status_text(card->status));
    }
    if ((card->flags & RAY__CARD_HERE) == 0) {
        ray__pull_source_guides(pull, link->source);
        return false;
    }
    if (card->chunk_size != pull->chunk_size) {
        return give_up_source(link, RAY_PROTOCOL, " answers with chunks of %u bytes, asked for were %u", card->chunk_size, pull->chunk_size);
    }
    bool fits = false;
    if (!ensure_opened(pull, card, &fits)) {
        return false;
    }
    if (!fits && pull->name != NULL) {
        return give_up_source(link, RAY_SOURCE_CHANGED, ": %.200s was changed while it was fetched", pull->name);
    }
    if (!fits) {
        return give_up_source(link, RAY_PROTOCOL, " says the object has %llu bytes, another source says %llu",
                              (unsigned long long)card->size_bytes, (unsigned long long)pull->size_bytes);
    }
    if ((card->flags & RAY__CARD_INLINE) != 0 && card->size_bytes > 0) {
        ray_status placed = place_inline(link, card);
        (void)placed; // a failure has ended the pull
        return false;
    }
    pthread_mutex_lock(&pull->lock);
    ray__pull_source *source = &pull->sources[link->source];
    uint64_t round_trip_ns = ray__connection_round_trip_ns(&link->connection);
    // What a busy link adds is not distance.
    source->round_trip_ns = !source->answered || round_trip_ns < source->round_trip_ns ? round_trip_ns : source->round_trip_ns;
    source->answered = true;
    source->guides = false;
    set_depth_locked(link);
    ray__account_open_locked(&source->account);
    source->partial = (card->flags & RAY__CARD_PARTIAL) != 0;
    ray__pull_schedule_locked(pull, 0);
    pthread_mutex_unlock(&pull->lock);
    return true;
}

// Gives the connection to the next pull, if it is between two messages.
static void keep_connection(ray__link *link, const ray_endpoint *endpoint) {
    uint8_t message[RAY__MESSAGE_HEADER_SIZE];
    ray__message_seal(message, RAY__MESSAGE_CLOSE, link->stream, 0);
    struct iovec part = {message, sizeof message};
    if (ray__connection_write(&link->connection, &part, 1, false) == RAY_OK) {
        ray__idle_give(link->pull->transfer, endpoint, &link->connection);
        link->connection.socket = -1;
    }
}

void ray__link_note_failure(ray__link *link, ray_status status) {
    // What the parsers say does not name the peer.
    char text[RAY__TEXT_MAX];
    bool named = strstr(ray_last_error_message(), link->connection.peer) != NULL;
    snprintf(text, sizeof text, "%s%s%.200s", named ? "" : link->connection.peer, named ? "" : ": ", ray_last_error_message());
    pthread_mutex_lock(&link->pull->lock);
    bool known = atomic_load(&link->pull->ended) || link->pull->sources[link->source].ended || link->kicked;
    // A receiver that broke is not waited for: who referred to it has what it was to bring.
    bool referred = link->pull->sources[link->source].referred;
    // One that has proved that it holds the key, and refuses now, was misheard: a wire that flips a bit of a proof costs that connection.
    bool strange = status == RAY_KEY_REFUSED && !link->pull->sources[link->source].answered;
    pthread_mutex_unlock(&link->pull->lock);
    if (known) {
        return;
    }
    bool final = referred || strange || status == RAY_VERSION_MISMATCH || status == RAY_EXISTS;
    if (status == RAY_CORRUPT) {
        ray__pull_chunk_corrupt(link->pull, link->source, UINT32_MAX, text);
    }
    ray__pull_source_failed(link->pull, link->source, status, text, final);
}

// One connection's worth. Answers why it broke, or RAY_OK when there is nothing more to do on it.
static ray_status run_once(ray__link *link, const ray_endpoint *endpoint, bool fresh, bool *stale) {
    bool reused = false;
    *stale = false;
    if (!ray__link_may_open(link)) {
        return RAY_OK;
    }
    RAY_TRY(connect_link(link, endpoint, fresh, &reused));
    ray__card_message card;
    ray__card_body body = {0};
    ray_status status = send_open(link);
    if (status == RAY_OK) {
        uint32_t stream = 0;
        status = ray__link_read_card(link->pull->transfer, &link->connection, &body, &card, &stream);
        if (status == RAY_OK && stream != link->stream) {
            status = ray__fail(RAY_PROTOCOL, "%s sent a card that nobody asked for", link->connection.peer);
        }
    }
    *stale = reused && status != RAY_OK && status != RAY_CANCELLED;
    bool fetches = status == RAY_OK && ray__link_answer(link, &card);
    ray__card_body_free(link->pull->transfer, &body);
    if (fetches) {
        status = ray__link_receive(link);
    }
    if (status == RAY_OK) {
        keep_connection(link, endpoint);
    }
    return status;
}

void ray__link_begin(ray__link *link, ray_pull *pull, uint32_t source) {
    link->pull = pull;
    link->source = source;
    pthread_mutex_lock(&pull->lock);
    set_depth_locked(link);
    pthread_mutex_unlock(&pull->lock);
    link->due_count = 0;
    link->kicked = false;
    link->noted = false;
    link->yields = false;
}

bool ray__link_run(ray_pull *pull, uint32_t source) {
    if (atomic_load(&pull->ended) || ray__pull_make_stop(pull) != RAY_OK) {
        return false;
    }
    ray__link *link = calloc(1, sizeof *link);
    if (link == NULL) {
        ray__pull_end(pull, RAY_OUT_OF_MEMORY, "no memory for a connection");
        return false;
    }
    pthread_mutex_lock(&pull->lock);
    ray_endpoint endpoint = pull->sources[source].endpoint;
    pthread_mutex_unlock(&pull->lock);
    link->connection.socket = -1;
    ray__link_begin(link, pull, source);
    ray__link_enlist(link);
    atomic_fetch_add(&pull->transfer->open_links, 1);
    bool stale = false;
    ray_status status = run_once(link, &endpoint, false, &stale);
    if (stale) {
        // The peer had closed it while it was idle, which says nothing about the peer.
        ray__connection_close(&link->connection);
        status = run_once(link, &endpoint, true, &stale);
    }
    if (status != RAY_OK) {
        ray__link_note_failure(link, status);
    }
    ray__link_return_due(link);
    ray__connection_close(&link->connection);
    ray__link_gives_up(link);
    atomic_fetch_sub(&pull->transfer->open_links, 1);
    bool yielded = link->yields;
    ray__memory_free(&pull->transfer->memory, link->held, RAY__HELD_MAX);
    free(link);
    return yielded;
}
