// SPDX-License-Identifier: Apache-2.0
#include "check.h"

static void first_put_of_first_driver_prints_as_in_ray(void) {
    ray_task_id driver = ray_task_id_driver(1);
    ray_object_id id = ray_object_id_make(&driver, RAY_FIRST_PUT_INDEX + 1);
    char text[RAY_OBJECT_ID_HEX_SIZE];
    ray_object_id_format(&id, text);
    CHECK(strcmp(text, "00ffffffffffffffffffffffffffffffffffffff0100000001e1f505") == 0);
    CHECK_EQUAL(ray_object_id_job(&id), 1);
    CHECK_EQUAL(ray_object_id_index(&id), 100000001);
    CHECK(ray_object_id_is_driver_put(&id));
}

static void parse_reads_what_format_wrote(void) {
    ray_task_id task = ray_task_id_session(7, 3, 41);
    ray_object_id id = ray_object_id_make(&task, 5);
    char text[RAY_OBJECT_ID_HEX_SIZE];
    ray_object_id_format(&id, text);
    ray_object_id parsed;
    CHECK_OK(ray_object_id_parse(text, strlen(text), &parsed));
    CHECK(ray_object_id_equal(&id, &parsed));
    CHECK_EQUAL(ray_object_id_node_number(&parsed), 3);
    CHECK(!ray_object_id_is_driver_put(&parsed));
    for (char *c = text; *c != '\0'; c++) {
        *c = (char)(*c >= 'a' ? *c - 32 : *c);
    }
    CHECK_OK(ray_object_id_parse(text, strlen(text), &parsed));
    CHECK(ray_object_id_equal(&id, &parsed));
}

static void parse_refuses_what_is_not_a_ref_and_quotes_it(void) {
    ray_object_id id;
    const char *bad[] = {"", "abc", "00ffffffffffffffffffffffffffffffffffffff0100000001e1f50",
                         "00ffffffffffffffffffffffffffffffffffffff0100000001e1f5055", "zzffffffffffffffffffffffffffffffffffffff0100000001e1f505"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        CHECK_STATUS(ray_object_id_parse(bad[i], strlen(bad[i]), &id), RAY_BAD_REF);
        CHECK(strstr(ray_last_error_message(), bad[i]) != NULL);
    }
}

static void every_status_has_a_name_and_a_text(void) {
#define SAME_NAME(name, value, swift, text) CHECK(strcmp(ray_status_name(RAY_##name), #name) == 0 && ray_status_text(value)[0] != '\0');
    RAY_STATUS_TABLE(SAME_NAME)
#undef SAME_NAME
    CHECK(strcmp(ray_status_name(255), "UNKNOWN") == 0);
    CHECK(strcmp(ray_status_name(RAY_SYSTEM | (2 << 8)), "SYSTEM") == 0);
}

int main(void) {
    RUN(first_put_of_first_driver_prints_as_in_ray);
    RUN(parse_reads_what_format_wrote);
    RUN(parse_refuses_what_is_not_a_ref_and_quotes_it);
    RUN(every_status_has_a_name_and_a_text);
    return 0;
}
