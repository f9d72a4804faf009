// SPDX-License-Identifier: Apache-2.0
// Puts a file, prints its ref, and reads it back by the path that the node gives for it.
//
//   cc put_file.c -o put_file $(pkg-config --cflags --libs raystore)
//   ./put_file SOCKET FILE
#include <limits.h>
#include <raystore.h>
#include <stdio.h>
#include <stdlib.h>

static int complain(void) {
    fprintf(stderr, "put_file: %s\n", ray_last_error_message());
    return 1;
}

static int put_and_get(ray_client *client, const char *file) {
    ray_object_id id;
    if (ray_client_put_file(client, file, RAY_FILE_COPY, &id) != RAY_OK) {
        return complain();
    }
    char name[RAY_OBJECT_ID_HEX_SIZE];
    ray_object_id_format(&id, name);
    printf("ref  %s\n", name);

    ray_object_view view;
    char path[RAY_FILE_PATH_MAX + 1];
    if (ray_client_get_file(client, &id, RAY_FOREVER, &view, path, sizeof path) != RAY_OK) {
        return complain();
    }
    printf("path %s\n", path); // read-only, and there until the view is released
    ray_object_release(ray_client_store(client), &view);
    return ray_client_release_ref(client, &id) == RAY_OK ? 0 : complain();
}

int main(int argc, char **argv) {
    if (argc != 3) {
        fprintf(stderr, "usage: put_file SOCKET FILE\n");
        return 2;
    }
    char *file = realpath(argv[2], NULL); // the node has another working directory
    if (file == NULL) {
        perror(argv[2]);
        return 1;
    }
    ray_client_options options = {.struct_size = sizeof options, .socket_path = argv[1]};
    ray_client *client = NULL;
    int result = ray_client_connect(&options, &client) == RAY_OK ? put_and_get(client, file) : complain();
    ray_client_close(client);
    free(file);
    return result;
}
