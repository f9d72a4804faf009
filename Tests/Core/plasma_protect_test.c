// SPDX-License-Identifier: Apache-2.0
// Goal: with ray_store_protect, the metadata can be touched inside the library's calls only, by whatever thread, and everything else is as
// without. Method: children that write into it where they must not, and say by their exit how that ended; the rights of the thread after
// each call. That every call works is shown by all programs of this room under RAYSTORE_PROTECT=1: make test-protect.
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>

#include "plasma_fixture.h"
#include "plasma/store_internal.h"

#ifndef SEGV_PKUERR
#define SEGV_PKUERR 4
#endif

enum { FAULTED = 42, WENT_ON = 43 };

static ray_store *make_protected(void) {
    ray_store *store = make_store(1 << 20, 64);
    ray_object_id id = id_of(1);
    CHECK_OK(ray_store_protect(store));
    CHECK_OK(ray_object_put(store, &id, "value", 5, NULL, 0, 0));
    return store;
}

static bool is_shut(const ray_store *store) {
    return store->gate_bits != 0 && (ray__pkey_rights() & store->gate_bits) != 0;
}

// ---- stray writes --------------------------------------------------------------------------------------------------------

static void on_fault(int number, siginfo_t *info, void *context) {
    (void)number;
    (void)context;
    _exit(info->si_code == SEGV_PKUERR ? FAULTED : 1);
}

static void write_astray(ray_store *store) {
    ray__shm_add(&store->table[5].pins[0], 1);
    _exit(WENT_ON);
}

static void *write_astray_on_a_thread(void *store) {
    write_astray(store);
    return NULL;
}

static void after_a_call(void) {
    write_astray(make_protected());
}

static void between_get_and_release(void) {
    ray_store *store = make_protected();
    ray_object_id id = id_of(1);
    ray_object_view view;
    CHECK_OK(ray_object_get(store, &id, 0, &view));
    write_astray(store);
}

static void read_astray(void) {
    ray_store *store = make_protected();
    _exit(ray__shm_load(&store->table[5].state) == 0 ? WENT_ON : 1);
}

// It waits in a pipe until there is something to write to.
static int thread_pipe[2];

static void *wait_and_write_astray(void *argument) {
    (void)argument;
    ray_store *store;
    CHECK_EQUAL(read(thread_pipe[0], &store, sizeof store), sizeof store);
    write_astray(store);
    return NULL;
}

static void on_a_thread_from_before(void) {
    pthread_t thread;
    CHECK_EQUAL(pipe(thread_pipe), 0);
    CHECK_EQUAL(pthread_create(&thread, NULL, wait_and_write_astray, NULL), 0);
    ray_store *store = make_protected();
    CHECK_EQUAL(write(thread_pipe[1], &store, sizeof store), sizeof store);
    pthread_join(thread, NULL);
}

static void on_a_thread_from_after(void) {
    pthread_t thread;
    CHECK_EQUAL(pthread_create(&thread, NULL, write_astray_on_a_thread, make_protected()), 0);
    pthread_join(thread, NULL);
}

static void waited(void *store, ray_status status) {
    CHECK_OK(status);
    write_astray(store);
}

// The waiter's thread is the library's own, and what it calls is not.
static void in_a_completion(void) {
    ray_store *store = make_protected();
    ray_waiter *waiter;
    ray_object_id id = id_of(2);
    uint64_t ticket;
    CHECK_OK(ray_waiter_create(store, &waiter));
    CHECK_OK(ray_waiter_add(waiter, &id, 0, RAY_FOREVER, waited, store, &ticket));
    CHECK(ticket != 0);
    CHECK_OK(ray_object_put(store, &id, "x", 1, NULL, 0, 0));
    pause();
}

static int exit_of(void (*body)(void)) {
    fflush(stderr);
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        struct sigaction action = {.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO};
        sigaction(SIGSEGV, &action, NULL);
        alarm(20);
        body();
        _exit(2);
    }
    int status;
    CHECK_EQUAL(waitpid(child, &status, 0), child);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

static void a_stray_access_faults_in_the_culprit(void) {
    CHECK_EQUAL(exit_of(after_a_call), FAULTED);
    CHECK_EQUAL(exit_of(between_get_and_release), FAULTED);
    CHECK_EQUAL(exit_of(read_astray), FAULTED);
    CHECK_EQUAL(exit_of(on_a_thread_from_before), FAULTED);
    CHECK_EQUAL(exit_of(on_a_thread_from_after), FAULTED);
    CHECK_EQUAL(exit_of(in_a_completion), FAULTED);
}

static void without_protection(void) {
    write_astray(make_store(1 << 20, 64));
}

static void without_protection_nothing_faults(void) {
    unsetenv("RAYSTORE_PROTECT");
    CHECK_EQUAL(exit_of(without_protection), WENT_ON);
}

static void by_the_environment(void) {
    setenv("RAYSTORE_PROTECT", "1", 1);
    write_astray(make_store(1 << 20, 64));
}

static void the_environment_protects_every_store(void) {
    CHECK_EQUAL(exit_of(by_the_environment), FAULTED);
}

// ---- calls ---------------------------------------------------------------------------------------------------------------

static void every_call_leaves_it_shut_also_when_it_fails(void) {
    ray_store *store = make_protected();
    ray_store *client = attach_client(store);
    ray_object_id here = id_of(1);
    ray_object_id nowhere = id_of(9);
    ray_object_view view;
    ray_object_info info;
    CHECK_OK(ray_store_protect(client));
    CHECK_OK(ray_store_protect(client)); // again does nothing
    CHECK(is_shut(client));
    CHECK_EQUAL(client->gate_bits, store->gate_bits); // one key, however many stores
    CHECK_OK(ray_object_get(client, &here, 0, &view));
    CHECK(is_shut(client));
    CHECK_EQUAL(memcmp(view.data, "value", 5), 0);
    ray_object_release(client, &view);
    CHECK(is_shut(client));
    CHECK_STATUS(ray_object_get(client, &nowhere, 1000, &view), RAY_TIMED_OUT);
    CHECK(is_shut(client));
    CHECK_STATUS(ray_object_put(client, &here, "x", 1, NULL, 0, 0), RAY_EXISTS);
    CHECK(is_shut(client));
    CHECK_STATUS(ray_object_stat(client, &nowhere, &info), RAY_NOT_FOUND);
    CHECK(is_shut(client));
    CHECK(!ray_object_contains(client, &nowhere));
    CHECK(is_shut(client));
    CHECK_OK(ray_plasma_check(client, 2));
    CHECK(is_shut(client));
    ray_store_close(client);
    CHECK(is_shut(store));
    check_and_close(store);
}

static ray_store *handled_store;
static volatile int handled;

static void get_in_a_handler(int number) {
    (void)number;
    ray_object_id id = id_of(1);
    handled = ray_object_contains(handled_store, &id) && is_shut(handled_store) ? 1 : 2;
}

// A handler runs without the rights of what it interrupts, and that goes on with them.
static void a_call_in_a_signal_handler_opens_and_shuts_by_itself(void) {
    handled_store = make_protected();
    struct sigaction action = {.sa_handler = get_in_a_handler};
    struct sigaction before;
    sigaction(SIGUSR1, &action, &before);
    {
        RAY__GATE(handled_store); // as if it came in the middle of a call
        raise(SIGUSR1);
        CHECK_EQUAL(handled, 1);
        CHECK_EQUAL(ray__word_state(ray__shm_load(&handled_store->table[0].state)) <= RAY_STATE_DELETING, 1);
    }
    CHECK(is_shut(handled_store));
    sigaction(SIGUSR1, &before, NULL);
    check_and_close(handled_store);
}

static void a_forks_child_is_refused_and_attaches_anew(void) {
    ray_store *store = make_protected();
    uint32_t slot;
    CHECK_OK(ray_store_slot_claim(store, getpid(), &slot));
    fflush(stderr);
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        ray_object_id id = id_of(1);
        ray_object_view view;
        CHECK_STATUS(ray_object_get(store, &id, 0, &view), RAY_FORKED);
        ray_store *own = attach_slot(ray_store_meta_fd(store), ray_store_data_fd(store), slot);
        ray_store_close(store);
        CHECK_OK(ray_store_protect(own));
        CHECK_OK(ray_object_get(own, &id, 0, &view));
        CHECK(is_shut(own));
        ray_store_close(own);
        _exit(0);
    }
    int status;
    CHECK_EQUAL(waitpid(child, &status, 0), child);
    CHECK_EQUAL(status, 0);
    ray_reap_report report;
    CHECK_OK(ray_store_slot_reap(store, slot, &report));
    check_and_close(store);
}

static void with_all_keys_taken(void) {
    while (pkey_alloc(0, 0) >= 0) {
    }
    CHECK_EQUAL(errno, ENOSPC);
    ray_store *store = make_store(1 << 20, 64);
    CHECK_STATUS(ray_store_protect(store), RAY_IN_USE);
    ray_object_id id = id_of(1);
    CHECK_OK(ray_object_put(store, &id, "value", 5, NULL, 0, 0)); // as before
    check_and_close(store);
    setenv("RAYSTORE_PROTECT", "1", 1);
    ray_store_options options = {.struct_size = sizeof options, .capacity_bytes = 1 << 20};
    CHECK_STATUS(ray_store_create(&options, &store), RAY_IN_USE);
    CHECK(store == NULL);
    _exit(0);
}

static void a_process_without_a_free_key_is_told(void) {
    CHECK_EQUAL(exit_of(with_all_keys_taken), 0);
}

int main(void) {
    unsetenv("RAYSTORE_PROTECT");
    // No key is made in this process until the children have been: each has its own. This one leaves no rights behind.
    int key = pkey_alloc(0, PKEY_DISABLE_ACCESS);
    if (key < 0) {
        ray_store *store = make_store(1 << 20, 64);
        CHECK_STATUS(ray_store_protect(store), RAY_UNSUPPORTED);
        check_and_close(store);
        SKIP("this processor or kernel has no protection keys; ray_store_protect says so");
    }
    pkey_free(key);
    RUN(a_stray_access_faults_in_the_culprit);
    RUN(without_protection_nothing_faults);
    RUN(the_environment_protects_every_store);
    RUN(a_process_without_a_free_key_is_told);
    RUN(every_call_leaves_it_shut_also_when_it_fails);
    RUN(a_call_in_a_signal_handler_opens_and_shuts_by_itself);
    RUN(a_forks_child_is_refused_and_attaches_anew);
    return 0;
}
