// SPDX-License-Identifier: Apache-2.0
// Puts an object into the store of the node on this machine and reads it in place.
//
//   cc put_get.c -o put_get $(pkg-config --cflags --libs raystore)
//   ./put_get SOCKET        or with RAYSTORE_SOCKET set
#include <raystore.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int complain(void) {
    fprintf(stderr, "put_get: %s\n", ray_last_error_message());
    return 1;
}

static int put_and_get(ray_client *client) {
    static const char text[] = "immutable, shared, read in place";
    static const char metadata[] = {RAY_VALUE_BYTES};
    ray_object_id id;
    if (ray_client_put(client, text, strlen(text), metadata, sizeof metadata, &id) != RAY_OK) {
        return complain();
    }
    ray_object_view view;
    if (ray_client_get(client, &id, 1000000000, &view) != RAY_OK) {
        return complain();
    }
    char name[RAY_OBJECT_ID_HEX_SIZE];
    ray_object_id_format(&id, name);
    printf("%s: %llu bytes: %.*s\n", name, (unsigned long long)view.data_size, (int)view.data_size, (const char *)view.data);

    ray_object_release(ray_client_store(client), &view); // the memory may move or go from here on
    return ray_client_release_ref(client, &id) == RAY_OK ? 0 : complain(); // nobody else has a ref: it goes
}

int main(int argc, char **argv) {
    const char *socket_path = argc > 1 ? argv[1] : getenv("RAYSTORE_SOCKET");
    if (socket_path == NULL) {
        fprintf(stderr, "usage: put_get SOCKET (or set RAYSTORE_SOCKET)\n");
        return 2;
    }
    ray_client_options options = {.struct_size = sizeof options, .socket_path = socket_path};
    ray_client *client;
    if (ray_client_connect(&options, &client) != RAY_OK) {
        return complain();
    }
    int result = put_and_get(client);
    ray_client_close(client);
    return result;
}
