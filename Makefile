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
