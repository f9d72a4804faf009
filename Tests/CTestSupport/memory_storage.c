// SPDX-License-Identifier: Apache-2.0
#include "memory_storage.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "raystore.h"

typedef struct file {
    struct file *next;
    char name[RAY_SPILL_NAME_SIZE];
    size_t size;
    uint8_t bytes[];
} file;

typedef struct storage {
    pthread_mutex_t lock;
    file *files;
} storage;

static ray_status validate(void *context, char *message, size_t capacity) {
    (void)message;
    (void)capacity;
    return context == NULL ? RAY_INVALID_ARGUMENT : RAY_OK;
}

static const char *name_of(const char *url) {
    return strncmp(url, "memory:", 7) == 0 ? url + 7 : "";
}

static file **find(storage *s, const char *url) {
    file **place = &s->files;
    while (*place != NULL && strcmp((*place)->name, name_of(url)) != 0) {
        place = &(*place)->next;
    }
    return place;
}

static ray_status spill(void *context, const char *name, const ray_spill_part *parts, uint32_t record_count, char *url,
                        size_t url_capacity, uint32_t *written_count, char *message, size_t message_capacity) {
    storage *s = context;
    size_t size = 0;
    for (uint32_t i = 0; i < record_count * RAY_SPILL_PARTS; i++) {
        size += parts[i].size;
    }
    file *made = malloc(sizeof *made + size);
    if (made == NULL) {
        snprintf(message, message_capacity, "no memory for %zu bytes", size);
        return RAY_OUT_OF_DISK;
    }
    made->size = 0;
    snprintf(made->name, sizeof made->name, "%s", name);
    for (uint32_t i = 0; i < record_count * RAY_SPILL_PARTS; i++) {
        if (parts[i].size > 0) {
            memcpy(made->bytes + made->size, parts[i].bytes, parts[i].size);
        }
        made->size += parts[i].size;
    }
    pthread_mutex_lock(&s->lock);
    made->next = s->files;
    s->files = made;
    pthread_mutex_unlock(&s->lock);
    snprintf(url, url_capacity, "memory:%s", name);
    *written_count = record_count;
    return RAY_OK;
}

static ray_status restore(void *context, const char *url, uint64_t offset, const ray_spill_part *parts, uint32_t part_count, char *message,
                          size_t message_capacity) {
    storage *s = context;
    ray_status status = RAY_OK;
    pthread_mutex_lock(&s->lock);
    const file *from = *find(s, url);
    if (from == NULL) {
        snprintf(message, message_capacity, "there is no %s", url);
        status = RAY_FILE_NOT_FOUND;
    }
    for (uint32_t i = 0; i < part_count && status == RAY_OK; i++) {
        if (offset > from->size || parts[i].size > from->size - offset) {
            snprintf(message, message_capacity, "%s ends at byte %zu", url, from->size);
            status = RAY_CORRUPT;
        } else if (parts[i].size > 0) {
            memcpy(parts[i].bytes, from->bytes + offset, parts[i].size);
            offset += parts[i].size;
        }
    }
    pthread_mutex_unlock(&s->lock);
    return status;
}

static ray_status remove_file(void *context, const char *url, char *message, size_t capacity) {
    (void)message;
    (void)capacity;
    storage *s = context;
    pthread_mutex_lock(&s->lock);
    file **place = find(s, url);
    file *gone = *place;
    if (gone != NULL) {
        *place = gone->next;
        free(gone);
    }
    pthread_mutex_unlock(&s->lock);
    return RAY_OK;
}

static ray_status list(void *context, void (*listed)(void *, const char *), void *listed_context, char *message, size_t capacity) {
    (void)message;
    (void)capacity;
    storage *s = context;
    pthread_mutex_lock(&s->lock);
    for (const file *one = s->files; one != NULL; one = one->next) {
        char url[RAY_SPILL_NAME_SIZE + 8];
        snprintf(url, sizeof url, "memory:%s", one->name);
        listed(listed_context, url);
    }
    pthread_mutex_unlock(&s->lock);
    return RAY_OK;
}

static ray_status destroy(void *context, char *message, size_t capacity) {
    (void)message;
    (void)capacity;
    storage *s = context;
    pthread_mutex_lock(&s->lock);
    while (s->files != NULL) {
        file *gone = s->files;
        s->files = gone->next;
        free(gone);
    }
    pthread_mutex_unlock(&s->lock);
    return RAY_OK;
}

static void release(void *context) {
    char nothing[1];
    (void)destroy(context, nothing, sizeof nothing);
    free(context);
}

void *test_memory_storage(void) {
    storage *s = calloc(1, sizeof *s);
    ray_storage *table = malloc(sizeof *table);
    pthread_mutex_init(&s->lock, NULL);
    *table = (ray_storage){
        .struct_size = sizeof *table,
        .type_name = "memory",
        .context = s,
        .validate = validate,
        .spill = spill,
        .restore = restore,
        .remove = remove_file,
        .list = list,
        .destroy = destroy,
        .release = release,
    };
    return table;
}
