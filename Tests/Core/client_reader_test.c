// SPDX-License-Identifier: Apache-2.0
// Goal: a guarded reader reads what is here and what the node fetches, and can write nothing, as another user too; its end, however it
// comes, leaves nothing. And: with full access a view cannot be written through. Method: a host in this process; readers in this process and
// in children that become user 65534, and try each way to memory that could be written.
#include <sys/mman.h>

#include "client/client_internal.h"
#include "client_host.h"

#define STRANGER 65534u
#define OTHER_STRANGER 65533u

static struct node node;
static char reader_path[120];
static const ray_object_id here = {{1, 2, 3}};
static const ray_object_id remote = {{4, 5, 6, [27] = 77}};

static void node_begin(void) {
    node_prepare(&node);
    CHECK_EQUAL(chmod(node.directory, 0755), 0); // so that strangers find the readers' directory
    snprintf(reader_path, sizeof reader_path, "%s/readers/socket", node.directory);
    ray_store_options options = {.struct_size = sizeof options, .capacity_bytes = 16 << 20};
    CHECK_OK(ray_store_create(&options, &node.store));
    static const uint32_t uids[] = {STRANGER};
    ray_host_options host = node_host_options(&node);
    host.reader_socket_path = reader_path;
    host.reader_uids = uids;
    host.reader_uid_count = 1;
    host.reader_count_max = 3;
    CHECK_OK(ray_host_start(&host, &node.host));
    CHECK_OK(ray_object_put(node.store, &here, "some bytes", 10, "Bmeta", 5, 0));
}

static void node_end(void) {
    char directory[100];
    snprintf(directory, sizeof directory, "%s/readers", node.directory);
    ray_host_stop(node.host);
    CHECK_EQUAL(access(reader_path, F_OK), -1);
    CHECK_EQUAL(access(directory, F_OK), -1); // the host made it and took it away
    node.host = NULL;
    node_stop(&node);
}

static ray_status try_attach(const char *path, uint32_t access_kind, ray_client **client) {
    ray_client_options options = {
        .struct_size = sizeof options, .socket_path = path, .timeout_ns = 10 * SECOND, .access = access_kind};
    return ray_client_connect(&options, client);
}

static ray_client *attach_reader(const char *path) {
    ray_client *client = NULL;
    CHECK_OK(try_attach(path, RAY_ACCESS_GUARDED_READER, &client));
    return client;
}

static uint32_t pinning_slots(void) {
    ray_object_info info;
    CHECK_OK(ray_object_stat(node.store, &here, &info));
    return info.pin_slot_count;
}

static uint32_t clients(void) {
    ray_store_stats stats = {.struct_size = sizeof stats};
    CHECK_OK(ray_store_stats_read(node.store, &stats));
    return stats.client_count;
}

// ---- full access ---------------------------------------------------------------------------------------------------------

static void write_through_a_view(const char *path, int say) {
    ray_client *client = connect_to(path);
    ray_object_view view;
    CHECK_OK(ray_client_get(client, &here, 0, &view));
    child_say(say, 'p');
    signal(SIGSEGV, SIG_DFL); // a sanitizer would report it and exit instead
    *(volatile uint8_t *)(uintptr_t)view.data = 'X';
    child_say(say, 'w');
}

static void a_write_through_a_view_kills_the_culprit_alone(void) {
    struct child child = spawn(write_through_a_view, node.path);
    child_go(&child);
    CHECK_EQUAL(child_hear(&child), 'p');
    int ended = child_end(&child);
    CHECK(WIFSIGNALED(ended));
    CHECK_EQUAL(WTERMSIG(ended), SIGSEGV);
    EVENTUALLY(pinning_slots() == 0 && clients() == 1);
    ray_object_view view;
    CHECK_OK(ray_object_get(node.store, &here, 0, &view));
    CHECK_EQUAL(memcmp(view.data, "some bytes", 10), 0);
    ray_object_release(node.store, &view);
    CHECK_OK(ray_plasma_check(node.store, 2));
}

// ---- what a reader can ---------------------------------------------------------------------------------------------------

static void read_everything(ray_client *client) {
    ray_object_view view;
    ray_object_view copy;
    CHECK(ray_client_store(client) == NULL);
    CHECK(ray_client_info(client)->is_guarded_reader);
    CHECK_OK(ray_client_get(client, &here, 0, &view));
    CHECK_EQUAL(view.data_size, 10);
    CHECK_EQUAL(memcmp(view.data, "some bytes", 10), 0);
    CHECK_EQUAL(view.metadata_size, 5);
    CHECK_EQUAL(memcmp(view.metadata, "Bmeta", 5), 0);
    ray_object_info info;
    CHECK_OK(ray_client_stat(client, &here, &info));
    CHECK_EQUAL(info.state, RAY_STATE_SEALED);
    CHECK_EQUAL(info.pin_slot_count, 1);
    CHECK_EQUAL(info.data_size, 10);
    ray_client_view_copy(client, &view, &copy);
    ray_client_release(client, &view);
    CHECK(view.data == NULL);
    ray_client_release(client, &view); // a void view is ignored
    CHECK_OK(ray_client_stat(client, &here, &info)); // after the release on the same socket: it would show
    CHECK_EQUAL(info.pin_slot_count, 1);
    CHECK_EQUAL(memcmp(copy.data, "some bytes", 10), 0);
    ray_client_release(client, &copy);
    CHECK_OK(ray_client_stat(client, &here, &info));
    CHECK_EQUAL(info.pin_slot_count, 0);
    bool is_here = false;
    CHECK_OK(ray_client_contains(client, &here, &is_here));
    CHECK(is_here);
    uint64_t cursor = 0;
    ray_object_info infos[8];
    uint32_t count;
    CHECK_OK(ray_client_list(client, &cursor, infos, 8, &count));
    CHECK_EQUAL(count, 1);
    CHECK_EQUAL(memcmp(&infos[0].id, &here, sizeof here), 0);
    CHECK_OK(ray_client_list(client, &cursor, infos, 8, &count));
    CHECK_EQUAL(count, 0);
}

static void refuse_to_write(ray_client *client) {
    ray_object_id id;
    CHECK_STATUS(ray_client_put(client, "x", 1, "B", 1, &id), RAY_UNSUPPORTED);
    CHECK(strstr(ray_last_error_message(), "a guarded reader cannot write") != NULL);
    CHECK_STATUS(ray_client_next_id(client, &id), RAY_UNSUPPORTED);
    CHECK_STATUS(ray_client_put_file(client, "/etc/passwd", RAY_FILE_COPY, &id), RAY_UNSUPPORTED);
    CHECK_STATUS(ray_client_share_ref(client, &here), RAY_UNSUPPORTED);
    // The node does not rely on the reader's library: every number but those that look is refused before it comes to the node.
    for (uint16_t request = 0; request < 64; request++) {
        bool may = request == RAY_REQUEST_GET || request == RAY_REQUEST_WAIT || request == RAY_REQUEST_OPEN_REF ||
                   request == RAY_REQUEST_FIND_NAME || request == RAY_REQUEST_REPORT ||
                   (request >= RAY_REQUEST_PIN && request <= RAY_REQUEST_HOLD_REF);
        if (!may) {
            CHECK_STATUS(ray_client_call(client, request, here.bytes, sizeof here, 0, NULL, NULL), RAY_UNSUPPORTED);
        }
    }
    uint8_t *large = calloc(1, RAY_READER_PAYLOAD_MAX + 1);
    CHECK_STATUS(ray_client_call(client, RAY_REQUEST_LOOK, large, RAY_READER_PAYLOAD_MAX + 1, 0, NULL, NULL), RAY_TOO_LARGE);
    CHECK_STATUS(ray_client_call(client, RAY_REQUEST_LOOK, large, RAY_READER_PAYLOAD_MAX, 0, NULL, NULL), RAY_PROTOCOL);
    free(large);
}

static void a_reader_of_the_same_user_reads_at_either_socket(void) {
    const char *paths[] = {node.path, reader_path};
    for (int i = 0; i < 2; i++) {
        ray_client *client = attach_reader(paths[i]);
        read_everything(client);
        refuse_to_write(client);
        ray_client_close(client);
        EVENTUALLY(clients() == 1);
    }
}

static void the_readers_socket_gives_no_full_access(void) {
    ray_client *client;
    CHECK_STATUS(try_attach(reader_path, RAY_ACCESS_FULL, &client), RAY_UNREACHABLE);
    CHECK_STATUS(try_attach(reader_path, RAY_ACCESS_PROTECTED, &client), RAY_UNREACHABLE);
    CHECK_STATUS(try_attach(reader_path, 3, &client), RAY_INVALID_ARGUMENT);
    EVENTUALLY(clients() == 1);
}

static void what_is_not_here_is_fetched_and_a_ref_keeps_it(void) {
    ray_client *client = attach_reader(node.path);
    ray_object_view view;
    CHECK_STATUS(ray_client_get(client, &remote, 0, &view), RAY_NOT_FOUND);
    CHECK_OK(ray_client_open_ref(client, &remote));
    CHECK_STATUS(ray_client_get(client, &remote, 0, &view), RAY_NOT_LOCAL);
    uint8_t ready;
    uint32_t count;
    CHECK_STATUS(ray_client_wait_many(client, &remote, 1, 1, 0, &ready, &count), RAY_TIMED_OUT);
    CHECK_OK(ray_client_get(client, &remote, 5 * SECOND, &view)); // the test's host "fetches" 1000 bytes
    CHECK_EQUAL(view.data_size, 1000);
    CHECK_EQUAL(view.data[999], 77);
    CHECK_OK(ray_client_wait_many(client, &remote, 1, 1, 0, &ready, &count));
    CHECK_EQUAL(count, 1);
    ray_client_release(client, &view);
    CHECK_OK(ray_client_release_ref(client, &remote));
    EVENTUALLY(!ray_object_contains(node.store, &remote)); // it was the last
    ray_client_close(client);
}

static void a_deleted_object_stays_readable_until_the_reader_lets_go(void) {
    static const ray_object_id id = {{8}};
    CHECK_OK(ray_object_put(node.store, &id, "doomed", 6, "B", 1, 0));
    ray_client *client = attach_reader(node.path);
    ray_object_view view;
    CHECK_OK(ray_client_get(client, &id, 0, &view));
    CHECK_OK(ray_object_delete(node.store, &id, RAY_OBJECT_FREED));
    ray_object_view second;
    CHECK_STATUS(ray_client_get(client, &id, 0, &second), RAY_OBJECT_FREED);
    CHECK_EQUAL(memcmp(view.data, "doomed", 6), 0);
    ray_client_release(client, &view);
    ray_object_info info;
    EVENTUALLY(ray_object_stat(node.store, &id, &info) == RAY_NOT_FOUND);
    ray_client_close(client);
}

static void one_reader_too_many_is_told_so(void) {
    ray_client *readers[3];
    ray_client *client;
    EVENTUALLY(clients() == 1);
    for (int i = 0; i < 3; i++) {
        readers[i] = attach_reader(i % 2 == 0 ? node.path : reader_path);
    }
    CHECK_STATUS(try_attach(node.path, RAY_ACCESS_GUARDED_READER, &client), RAY_TOO_MANY_CLIENTS);
    CHECK(strstr(ray_last_error_message(), "3 guarded readers") != NULL);
    ray_client_close(connect_to(node.path)); // others are not kept out
    for (int i = 0; i < 3; i++) {
        ray_client_close(readers[i]);
    }
    EVENTUALLY(clients() == 1);
    ray_client_close(attach_reader(node.path));
}

static void pins_have_a_limit_and_go_with_the_connection(void) {
    ray_client *client = attach_reader(node.path);
    uint32_t count = 2048;
    size_t size = 4 + count * sizeof here;
    uint8_t *payload = malloc(size);
    memcpy(payload, &count, 4);
    for (uint32_t i = 0; i < count; i++) {
        memcpy(payload + 4 + i * sizeof here, &here, sizeof here);
    }
    ray_object_view view;
    for (uint32_t round = 0; round <= RAY__READER_PINS_MAX / count; round++) { // one more than fit
        void *answer;
        size_t answer_size;
        CHECK_OK(ray_client_call(client, RAY_REQUEST_PIN, payload, size, 0, &answer, &answer_size));
        CHECK_EQUAL(answer_size, count * sizeof(struct ray__pinned));
        ray_status expected = round < RAY__READER_PINS_MAX / count ? RAY_OK : RAY_TOO_LARGE;
        CHECK_STATUS(ray_client_pin_take(client, answer, answer_size, count - 1, &view), expected);
        CHECK_STATUS(ray_client_pin_take(client, answer, answer_size, count, &view), RAY_INVALID_ARGUMENT);
        ray_client_free(answer);
    }
    free(payload);
    CHECK_EQUAL(pinning_slots(), 1);
    ray_client_close(client);
    EVENTUALLY(pinning_slots() == 0 && clients() == 1);
}

static void a_pin_that_is_not_his_ends_a_reader(void) {
    ray_client *client = attach_reader(node.path);
    ray_object_view view;
    CHECK_OK(ray_client_get(client, &here, 0, &view));
    struct ray__pin_name pin = {.serial = view.generation + 1, .place = view.entry};
    ray__client_tell(client, RAY__TELL_UNPIN, &pin, sizeof pin);
    EVENTUALLY(pinning_slots() == 0 && clients() == 1);
    CHECK_STATUS(ray_client_get(client, &here, SECOND, &view), RAY_NODE_DIED);
    ray_client_close(client);
}

// ---- another user --------------------------------------------------------------------------------------------------------

static void become(uint32_t uid) {
    CHECK_EQUAL(setresgid(uid, uid, uid), 0);
    CHECK_EQUAL(setresuid(uid, uid, uid), 0);
    CHECK_EQUAL(geteuid(), uid);
}

// The descriptor that the node gives, taken by hand as somebody hostile would.
static int steal_descriptor(const char *path) {
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(address.sun_path, sizeof address.sun_path, "%s", path);
    CHECK_EQUAL(connect(fd, (const struct sockaddr *)&address, sizeof address), 0);
    struct {
        struct ray__message header;
        struct ray__attach attach;
    } message = {
        .header = {.magic = RAY__MESSAGE_MAGIC, .type = RAY__ATTACH, .body_size = sizeof(struct ray__attach)},
        .attach = {.version = RAY__SESSION_VERSION, .layout = RAY__SESSION_LAYOUT, .job = RAY_JOB_NONE, .access = RAY_ACCESS_GUARDED_READER},
    };
    CHECK_EQUAL(send(fd, &message, sizeof message, MSG_NOSIGNAL), sizeof message);
    uint8_t bytes[256];
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(4 * sizeof(int))];
    } control;
    struct iovec into = {bytes, sizeof bytes};
    struct msghdr got = {.msg_iov = &into, .msg_iovlen = 1, .msg_control = control.bytes, .msg_controllen = sizeof control.bytes};
    CHECK(recvmsg(fd, &got, MSG_CMSG_CLOEXEC) > 0);
    struct cmsghdr *part = CMSG_FIRSTHDR(&got);
    CHECK(part != NULL && part->cmsg_type == SCM_RIGHTS);
    CHECK_EQUAL(part->cmsg_len, CMSG_LEN(sizeof(int))); // one: the data. The metadata stays with the node.
    int data_fd;
    memcpy(&data_fd, CMSG_DATA(part), sizeof data_fd);
    close(fd);
    return data_fd;
}

static void try_to_write(int fd, bool is_stranger) {
    CHECK(mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0) == MAP_FAILED);
    CHECK_EQUAL(errno, EACCES);
    void *mapped = mmap(NULL, 4096, PROT_READ, MAP_SHARED, fd, 0);
    CHECK(mapped != MAP_FAILED);
    CHECK_EQUAL(mprotect(mapped, 4096, PROT_READ | PROT_WRITE), -1);
    CHECK_EQUAL(errno, EACCES);
    CHECK_EQUAL(madvise(mapped, 4096, MADV_REMOVE), -1);
    munmap(mapped, 4096);
    CHECK_EQUAL(pwrite(fd, "X", 1, 0), -1);
    CHECK_EQUAL(errno, EBADF);
    CHECK_EQUAL(ftruncate(fd, 0), -1);
    CHECK_EQUAL(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 4096), -1);
    if (is_stranger) { // root may all
        char path[40];
        snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
        CHECK_EQUAL(open(path, O_RDWR | O_CLOEXEC), -1);
        CHECK_EQUAL(errno, EACCES);
        CHECK_EQUAL(open(path, O_WRONLY | O_CLOEXEC), -1);
        CHECK_EQUAL(fchmod(fd, 0666), -1);
        CHECK_EQUAL(errno, EPERM);
    }
}

static void read_as_a_stranger(const char *path, int say) {
    become(STRANGER);
    ray_client *client;
    CHECK_STATUS(try_attach(node.path, RAY_ACCESS_GUARDED_READER, &client), RAY_UNREACHABLE); // 0700 is in the way
    CHECK_STATUS(try_attach(path, RAY_ACCESS_FULL, &client), RAY_UNREACHABLE);
    client = attach_reader(path);
    read_everything(client);
    refuse_to_write(client);
    int fd = steal_descriptor(path);
    try_to_write(fd, true);
    close(fd);
    ray_object_view view;
    CHECK_OK(ray_client_get(client, &here, 0, &view));
    child_say(say, 'p');
    pause();
}

static void an_allowed_user_reads_and_can_write_nothing(void) {
    struct child child = spawn(read_as_a_stranger, reader_path);
    child_go(&child);
    CHECK_EQUAL(child_hear(&child), 'p');
    CHECK_EQUAL(pinning_slots(), 1);
    pthread_mutex_lock(&node.lock);
    CHECK(node.last_attach.is_guarded_reader);
    CHECK_EQUAL(node.last_attach.uid, STRANGER);
    pthread_mutex_unlock(&node.lock);
    CHECK_EQUAL(kill(child.pid, SIGKILL), 0);
    CHECK(WIFSIGNALED(child_end(&child)));
    EVENTUALLY(pinning_slots() == 0 && clients() == 1); // its death gives back what it had
    CHECK_OK(ray_plasma_check(node.store, 2));
    int fd = steal_descriptor(reader_path);
    try_to_write(fd, false);
    close(fd);
}

static void knock_as_a_stranger(const char *path, int say) {
    become(OTHER_STRANGER);
    ray_client *client;
    CHECK_STATUS(try_attach(path, RAY_ACCESS_GUARDED_READER, &client), RAY_UNREACHABLE);
    CHECK(strstr(ray_last_error_message(), "does not allow user 65533") != NULL);
    child_say(say, 'r');
    _exit(0); // what the host's thread was about at the fork is a leak in this copy, which a sanitizer would report
}

static void a_user_who_is_not_allowed_is_refused(void) {
    struct child child = spawn(knock_as_a_stranger, reader_path);
    child_go(&child);
    CHECK_EQUAL(child_hear(&child), 'r');
    int ended = child_end(&child);
    CHECK(WIFEXITED(ended) && WEXITSTATUS(ended) == 0);
    CHECK_EQUAL(clients(), 1);
}

static void meet_a_false_node(const char *path, int say) {
    become(STRANGER);
    ray_client *client;
    CHECK_STATUS(try_attach(path, RAY_ACCESS_GUARDED_READER, &client), RAY_UNREACHABLE);
    CHECK(strstr(ray_last_error_message(), "in a directory of user") != NULL);
    child_say(say, 'r');
    _exit(0); // what the host's thread was about at the fork is a leak in this copy, which a sanitizer would report
}

// Whose directory it is, and that nobody else can write there, is all that a reader knows of a node of another user.
static void a_node_in_a_directory_that_is_not_its_own_is_not_believed(void) {
    char directory[100];
    snprintf(directory, sizeof directory, "%s/readers", node.directory);
    for (int i = 0; i < 2; i++) {
        CHECK_EQUAL(i == 0 ? chown(directory, OTHER_STRANGER, OTHER_STRANGER) : chmod(directory, 0777), 0);
        struct child child = spawn(meet_a_false_node, reader_path);
        child_go(&child);
        CHECK_EQUAL(child_hear(&child), 'r');
        int ended = child_end(&child);
        CHECK(WIFEXITED(ended) && WEXITSTATUS(ended) == 0);
        CHECK_EQUAL(i == 0 ? chown(directory, 0, 0) : chmod(directory, 0711), 0);
    }
}

int main(void) {
    node_begin();
    RUN(a_write_through_a_view_kills_the_culprit_alone);
    RUN(a_reader_of_the_same_user_reads_at_either_socket);
    RUN(the_readers_socket_gives_no_full_access);
    RUN(what_is_not_here_is_fetched_and_a_ref_keeps_it);
    RUN(a_deleted_object_stays_readable_until_the_reader_lets_go);
    RUN(one_reader_too_many_is_told_so);
    RUN(pins_have_a_limit_and_go_with_the_connection);
    RUN(a_pin_that_is_not_his_ends_a_reader);
    if (geteuid() == 0) {
        RUN(an_allowed_user_reads_and_can_write_nothing);
        RUN(a_user_who_is_not_allowed_is_refused);
        RUN(a_node_in_a_directory_that_is_not_its_own_is_not_believed);
    }
    CHECK_OK(ray_object_delete(node.store, &here, RAY_OBJECT_FREED));
    node_check_empty(&node);
    node_end();
    if (geteuid() != 0) {
        SKIP("only root can become another user; the other cases passed");
    }
    return 0;
}
