// SPDX-License-Identifier: Apache-2.0
// What is needed of XML: the text of an element whose name is known, in answers that hold no attributes where we look.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "s3_internal.h"

static size_t unescape(const char *from, char *out) {
    static const struct {
        const char *name;
        char character;
    } names[] = {{"&amp;", '&'}, {"&lt;", '<'}, {"&gt;", '>'}, {"&quot;", '"'}, {"&apos;", '\''}};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (strncmp(from, names[i].name, strlen(names[i].name)) == 0) {
            *out = names[i].character;
            return strlen(names[i].name);
        }
    }
    char *end = NULL;
    long code = strncmp(from, "&#x", 3) == 0 ? strtol(from + 3, &end, 16) : strncmp(from, "&#", 2) == 0 ? strtol(from + 2, &end, 10) : 0;
    if (end != NULL && *end == ';' && code > 0 && code < 128) {
        *out = (char)code;
        return (size_t)(end + 1 - from);
    }
    *out = *from;
    return 1;
}

bool ray__s3_element(const char **at, const char *name, char *out, size_t capacity) {
    char open[64];
    char close[64];
    snprintf(open, sizeof open, "<%s>", name);
    snprintf(close, sizeof close, "</%s>", name);
    const char *from = strstr(*at, open);
    const char *end = from == NULL ? NULL : strstr(from, close);
    if (end == NULL) {
        return false;
    }
    size_t length = 0;
    for (from += strlen(open); from < end && length + 1 < capacity; length++) {
        from += unescape(from, &out[length]);
    }
    out[length] = '\0';
    *at = end + strlen(close);
    return from >= end;
}
