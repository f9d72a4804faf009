# SPDX-License-Identifier: Apache-2.0
# `make help` lists the targets. `make demo` and `make test` are all that a newcomer needs.

BUILD := build
CC := gcc
WARNINGS := -Wall -Wextra -Wshadow -Wconversion -Wvla -Werror
CFLAGS ?= -O2 -g
CORE_FLAGS := -std=gnu11 -fPIC -fvisibility=hidden -pthread $(WARNINGS) -D_GNU_SOURCE -Iinclude -ICSources
CORE_LIBS := -lzstd -llz4 -lsodium -lpthread
CORE_SOURCES := $(sort $(wildcard CSources/*/*.c))
CORE_OBJECTS := $(CORE_SOURCES:CSources/%.c=$(BUILD)/core/%.o)

# -Xcc -O2 keeps the C core fast in a debug build; without it the checksums alone take most of a test's time.
SWIFT_FLAGS := -Xcc -O2

PACKAGES := gcc libc6-dev pkg-config libzstd-dev liblz4-dev libxxhash-dev libsodium-dev libsqlite3-dev zlib1g-dev iproute2

.DEFAULT_GOAL := help
.PHONY: help setup demo test test-core test-swift test-asan test-lib bench format lint clean

help:
	@echo 'make demo [FILE=path]     two nodes, a 1 GiB file from one to the other, verified, then deleted everywhere'
	@echo 'make test                 every test (under 15 minutes on two cores)'
	@echo 'make lib                  libraystore.so, libraystore.a and raystore.pc for C, C++, Python, Rust, Go'
	@echo 'make bench SUITE=plasma|transfer   figures, one JSON object a line'
	@echo 'make test-core            the C core alone        make test-asan   the same with ASan and UBSan'
	@echo 'make setup                installs the Debian packages that are missing; the others call it'
	@echo 'make format, make lint    swift-format with the checked-in configuration'
	@echo 'make clean                removes build/ and .build/'

# ---- setup ---------------------------------------------------------------------------------------------------------------
# Says what it does and does nothing when nothing is missing.
setup:
	@missing=""; for package in $(PACKAGES); do \
	    dpkg-query -W -f='$${Status}' $$package 2>/dev/null | grep -q 'ok installed' || missing="$$missing $$package"; \
	done; \
	if [ -n "$$missing" ]; then \
	    sudo=""; [ "$$(id -u)" -eq 0 ] || sudo=sudo; \
	    echo "setup: installing Debian packages:$$missing"; \
	    $$sudo apt-get update -q >/dev/null && \
	    $$sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends $$missing >/dev/null || \
	    { echo "setup: apt-get failed; install by hand:$$missing" >&2; exit 1; }; \
	fi; \
	command -v swift >/dev/null || { echo "setup: swift is not on the PATH; install Swift 6.3 from swift.org" >&2; exit 1; }

# ---- the core ------------------------------------------------------------------------------------------------------------
$(BUILD)/core/%.o: CSources/%.c
	@mkdir -p $(@D)
	$(CC) $(CFLAGS) $(CORE_FLAGS) -MMD -MP -c $< -o $@

$(BUILD)/libraystore.a: $(CORE_OBJECTS)
	rm -f $@ && ar rcs $@ $^

-include $(CORE_OBJECTS:.o=.d)

# ---- demo ----------------------------------------------------------------------------------------------------------------
demo: setup
	swift build -c release --product raystore
	.build/release/raystore demo $(if $(FILE),--file "$(FILE)")

# ---- tests ---------------------------------------------------------------------------------------------------------------
test: setup
	$(MAKE) test-core
	$(MAKE) test-lib
	$(MAKE) test-swift

CORE_TESTS := $(patsubst Tests/Core/%.c,$(BUILD)/tests/%,$(sort $(wildcard Tests/Core/*_test.c)))

$(BUILD)/tests/%: Tests/Core/%.c Tests/Core/check.h $(BUILD)/libraystore.a
	@mkdir -p $(@D)
	$(CC) $(CFLAGS) -std=gnu11 -pthread -Wall -Wextra -Wshadow -Werror -D_GNU_SOURCE -Iinclude -ICSources -ITests/Core $< -o $@ \
	    $(BUILD)/libraystore.a $(CORE_LIBS)

test-core: $(CORE_TESTS)
	Tests/Core/run $(CORE_TESTS)

# The same programs with AddressSanitizer and UndefinedBehaviorSanitizer, built apart.
test-asan: setup
	$(MAKE) BUILD=$(BUILD)/asan CFLAGS="-O1 -g -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer" test-core

test-swift:
	swift build --build-tests $(SWIFT_FLAGS)
	swift test --skip-build $(SWIFT_FLAGS)

# ---- form ----------------------------------------------------------------------------------------------------------------
SWIFT_FOLDERS := Package.swift Sources Tests Benchmarks Examples

format:
	swift format --in-place --recursive $(SWIFT_FOLDERS)

lint:
	swift format lint --strict --recursive $(SWIFT_FOLDERS)

clean:
	rm -rf $(BUILD) .build
