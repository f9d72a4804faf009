# SPDX-License-Identifier: Apache-2.0
# make help lists the targets.

BUILD := build
CC := gcc
WARNINGS := -Wall -Wextra -Wshadow -Wconversion -Wvla -Werror
CFLAGS ?= -O2 -g
CORE_FLAGS := -std=gnu11 -fPIC -fvisibility=hidden -pthread $(WARNINGS) -D_GNU_SOURCE -Iinclude -ICSources
CORE_LIBS := -lzstd -llz4 -lsodium -lpthread
CORE_SOURCES := $(sort $(wildcard CSources/*/*.c))
CORE_OBJECTS := $(CORE_SOURCES:CSources/%.c=$(BUILD)/core/%.o)

.DEFAULT_GOAL := help

$(BUILD)/core/%.o: CSources/%.c
	@mkdir -p $(@D)
	$(CC) $(CFLAGS) $(CORE_FLAGS) -MMD -MP -c $< -o $@

$(BUILD)/libraystore.a: $(CORE_OBJECTS)
	rm -f $@ && ar rcs $@ $^

-include $(CORE_OBJECTS:.o=.d)

# ---- tests of the core -------------------------------------------------------------------------------------------------
CORE_TESTS := $(patsubst Tests/Core/%.c,$(BUILD)/tests/%,$(sort $(wildcard Tests/Core/*_test.c)))

$(BUILD)/tests/%: Tests/Core/%.c Tests/Core/check.h $(BUILD)/libraystore.a
	@mkdir -p $(@D)
	$(CC) $(CFLAGS) -std=gnu11 -pthread -Wall -Wextra -Wshadow -Werror -D_GNU_SOURCE -Iinclude -ICSources -ITests/Core $< -o $@ \
	    $(BUILD)/libraystore.a $(CORE_LIBS)

.PHONY: test-core test-asan
test-core: $(CORE_TESTS)
	Tests/Core/run $(CORE_TESTS)

# The same programs with AddressSanitizer and UndefinedBehaviorSanitizer, built apart.
test-asan:
	$(MAKE) BUILD=$(BUILD)/asan CFLAGS="-O1 -g -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer" test-core
