// SPDX-License-Identifier: Apache-2.0
// Getting one object, blocking. What is here is pinned at once, for anything else the node is asked. It answers when it has told others of the new
// copy and has put its own things in order; but the object can be seen in shared memory as soon as it is sealed, so a get waits for
// whatever comes first.
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock_internal.h"
#include "client/client_internal.h"
#include "plasma/store_internal.h"

// How often an object is asked for again that went away between the node's answer and our hold on it. Each time is a race lost against an
// eviction; a hundred in a row mean that it cannot work.
#define ATTEMPTS_MAX 100

// The node keeps the timeout of a get itself and says more than "timed out" when it ends; it gets this much longer to do so.
#define ANSWER_GRACE_NS UINT64_C(250000000)
#define PIN_GRACE_NS UINT64_C(2000000000)

#define REQUEST_HEAD (8u + 4u + RAY_OBJECT_ID_SIZE) // GET: u64 timeout_ns, ids, tuning

// Belongs to who waits and to the answer; whoever comes last frees it.
typedef struct pending_get {
    atomic_uint holder_count;
    atomic_bool is_answered;
    ray_store *store;
    ray_status status;
    char text[RAY_MESSAGE_MAX];
} pending_get;

// Whether the node can do something about what a local look answered.
static bool is_worth_asking(ray_status status) {
    switch (status) {
    case RAY_NOT_FOUND:
    case RAY_NOT_SEALED:
    case RAY_NOT_LOCAL:
    case RAY_OBJECT_LOST: // another copy may have come up
    case RAY_FETCH_TIMED_OUT:
        return true;
    default:
        return false;
    }
}

static uint64_t longer(uint64_t timeout_ns, uint64_t grace_ns) {
    return timeout_ns > RAY_FOREVER - grace_ns ? RAY_FOREVER : timeout_ns + grace_ns;
}

static void let_go(pending_get *asked) {
    if (atomic_fetch_sub_explicit(&asked->holder_count, 1, memory_order_acq_rel) == 1) {
        free(asked);
    }
}

// On the reader, which ends before the store is closed.
static void take_answer(void *context, ray_status status, const char *message, const void *payload, size_t payload_size) {
    (void)payload;
    (void)payload_size;
    pending_get *asked = context;
    asked->status = status;
    snprintf(asked->text, sizeof asked->text, "%s", message);
    atomic_store_explicit(&asked->is_answered, true, memory_order_release);
    if (atomic_load_explicit(&asked->holder_count, memory_order_relaxed) > 1) {
        ray__object_tell(asked->store);
    }
    let_go(asked);
}

// RAY_OK and not pinned: the node says that it is here, and it is not any more.
static ray_status fetch(ray_client *client, const ray_object_id *id, const void *payload, size_t payload_size, uint64_t deadline_ns,
                        ray_object_view *view, bool *is_pinned) {
    pending_get *asked = calloc(1, sizeof *asked);
    if (asked == NULL) {
        return ray__fail(RAY_OUT_OF_MEMORY, "no memory for a get");
    }
    asked->holder_count = 2;
    asked->store = client->store;
    uint64_t number;
    ray_status status = ray__client_send_patiently(client, RAY_REQUEST_GET, payload, payload_size, take_answer, asked, deadline_ns, &number);
    if (status != RAY_OK) {
        free(asked);
        return status;
    }
    status = ray__object_get_or_told(client->store, id, &asked->is_answered, deadline_ns, view);
    *is_pinned = status == RAY_OK;
    if (status == RAY_TIMED_OUT) {
        ray_client_cancel(client, number);
        status = ray__fail(RAY_TIMED_OUT, "the node at %s did not answer a get in time", client->socket_path);
    } else if (status == RAY_AGAIN) {
        status = asked->status;
        if (status != RAY_OK) {
            ray__fail(status, "%s", asked->text[0] != '\0' ? asked->text : ray_status_text(status));
        }
    }
    let_go(asked);
    return status;
}

// Asks the node, and pins what comes if that can be seen.
static ray_status ask(ray_client *client, const ray_object_id *id, uint64_t timeout_ns, const uint8_t *tuning, ray_object_view *view,
                      bool *is_pinned) {
    uint8_t payload[REQUEST_HEAD + RAY_TUNING_SIZE];
    size_t size = tuning != NULL ? sizeof payload : REQUEST_HEAD;
    uint32_t count = 1;
    memcpy(payload, &timeout_ns, 8);
    memcpy(payload + 8, &count, 4);
    memcpy(payload + 12, id->bytes, RAY_OBJECT_ID_SIZE);
    if (tuning != NULL) {
        memcpy(payload + REQUEST_HEAD, tuning, RAY_TUNING_SIZE);
    }
    uint64_t patience_ns = longer(timeout_ns, ANSWER_GRACE_NS);
    *is_pinned = false;
    if (client->store != NULL) {
        return fetch(client, id, payload, size, ray__deadline_ns(patience_ns), view, is_pinned);
    }
    return ray_client_call(client, RAY_REQUEST_GET, payload, size, patience_ns == RAY_FOREVER ? 0 : patience_ns, NULL, NULL);
}

// What is here is pinned: in shared memory, or by the node for a guarded reader.
static ray_status get_now(ray_client *client, const ray_object_id *id, uint64_t timeout_ns, ray_object_view *view) {
    if (client->store != NULL) {
        return ray_object_get(client->store, id, 0, view);
    }
    // The node answers at once; a get that is not to wait must not fail because the machine is busy.
    uint64_t patience_ns = longer(timeout_ns, PIN_GRACE_NS);
    return ray__guarded_get(client, id, patience_ns == RAY_FOREVER ? 0 : patience_ns, view);
}

// tuning: RAY_TUNING_SIZE bytes, or NULL.
static ray_status get(ray_client *client, const ray_object_id *id, uint64_t timeout_ns, const uint8_t *tuning, ray_object_view *view) {
    ray_status status = get_now(client, id, timeout_ns, view);
    if (status == RAY_OK || timeout_ns == 0 || !is_worth_asking(status)) {
        return status;
    }
    uint64_t deadline_ns = ray__deadline_ns(timeout_ns);
    for (int attempt = 0; attempt < ATTEMPTS_MAX; attempt++) {
        uint64_t now = ray__now_ns();
        uint64_t left_ns = timeout_ns == RAY_FOREVER ? RAY_FOREVER : now < deadline_ns ? deadline_ns - now : 0;
        if (left_ns == 0) {
            break;
        }
        bool is_pinned;
        RAY_TRY(ask(client, id, left_ns, tuning, view, &is_pinned));
        status = is_pinned ? RAY_OK : get_now(client, id, left_ns, view);
        if (status == RAY_OK || !is_worth_asking(status)) {
            return status;
        }
    }
    char text[RAY_OBJECT_ID_HEX_SIZE];
    ray_object_id_format(id, text);
    return ray__fail(RAY_FETCH_TIMED_OUT, "object %s was fetched and went again before it could be pinned; the store may be too small", text);
}

ray_status ray_client_get(ray_client *client, const ray_object_id *id, uint64_t timeout_ns, ray_object_view *view) {
    return get(client, id, timeout_ns, NULL, view);
}

ray_status ray_client_get_tuned(ray_client *client, const ray_object_id *id, uint64_t timeout_ns, const ray_client_tuning *tuning,
                                ray_object_view *view) {
    uint8_t packed[RAY_TUNING_SIZE];
    RAY_TRY(ray_client_tuning_pack(tuning, packed));
    return get(client, id, timeout_ns, packed, view);
}
