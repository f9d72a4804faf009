// SPDX-License-Identifier: Apache-2.0
// Serves the files below a directory by their names, without a node: what fetch_file.c, or `raystore fetch`, asks for.
//
//   cc serve_file.c -o serve_file $(pkg-config --cflags --libs raystore)
//   ./serve_file KEY-FILE DIRECTORY        ends with its standard input
#include <fcntl.h>
#include <raystore.h>
#include <stdio.h>
#include <unistd.h>

static int complain(void) {
    fprintf(stderr, "serve_file: %s\n", ray_last_error_message());
    return 1;
}

static ray_status find(void *context, const char *name, const char *peer, ray_answer *answer) {
    (void)peer;
    return ray_answer_beneath(answer, *(const int *)context, name); // nothing outside of the directory
}

static void served(void *context, const ray_served *what) {
    (void)context;
    fprintf(stderr, "%s %s: %llu of %llu bytes sent %s\n", what->peer, what->name, (unsigned long long)what->sent_bytes,
            (unsigned long long)what->size_bytes, what->message);
}

int main(int argc, char **argv) {
    if (argc != 3) {
        fprintf(stderr, "usage: serve_file KEY-FILE DIRECTORY\n");
        return 2;
    }
    ray_transfer_options options = {.struct_size = sizeof options, .bind_host = "127.0.0.1", .find_named = find, .served = served};
    if (ray_key_load(argv[1], &options.key) != RAY_OK) {
        return complain();
    }
    int directory = open(argv[2], O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (directory < 0) {
        perror(argv[2]);
        return 1;
    }
    options.context = &directory;
    ray_transfer *transfer = NULL;
    int result = 0;
    if (ray_transfer_create(&options, &transfer) == RAY_OK) {
        printf("127.0.0.1:%u\n", ray_transfer_port(transfer));
        fflush(stdout);
        char byte;
        while (read(STDIN_FILENO, &byte, 1) > 0) {
        }
    } else {
        result = complain();
    }
    ray_transfer_destroy(transfer);
    close(directory);
    return result;
}
