# SPDX-License-Identifier: Apache-2.0
# `make help` lists the targets. `make demo` and `make test` are all that a newcomer needs.

BUILD := build
CC := gcc
WARNINGS := -Wall -Wextra -Wshadow -Wconversion -Wvla -Werror
CFLAGS ?= -O2 -g
CORE_FLAGS := -std=gnu11 -fPIC -fvisibility=hidden -pthread $(WARNINGS) -D_GNU_SOURCE -Iinclude -ICSources
# How many compilers run at a time where many programs are built.
JOBS ?= $(shell nproc)
CORE_LIBS := -lzstd -llz4 -lsodium -lpthread
CORE_SOURCES := $(sort $(wildcard CSources/*/*.c))
CORE_OBJECTS := $(CORE_SOURCES:CSources/%.c=$(BUILD)/core/%.o)

# -Xcc -O2 keeps the C core fast in a debug build; without it the checksums alone take most of a test's time.
SWIFT_FLAGS := -Xcc -O2

PACKAGES := gcc libc6-dev pkg-config python3 libzstd-dev liblz4-dev libxxhash-dev libsodium-dev libsqlite3-dev zlib1g-dev libcurl4-openssl-dev python3-venv iproute2

.DEFAULT_GOAL := help
.PHONY: help setup demo test test-watch test-docs test-bench test-core test-swift test-asan test-crash test-lib bench format lint clean

help:
	@echo 'make demo [FILE=path]     two nodes, a 1 GiB file from one to the other, verified, then deleted everywhere'
	@echo 'make test                 every test (under 15 minutes on two cores)'
	@echo 'make lib                  libraystore.so, libraystore.a and raystore.pc for C, C++, Python, Rust, Go'
	@echo 'make bench SUITE=plasma|transfer|matrix|spill   figures, one JSON object a line'
	@echo 'make bench-peers SUITE=plasma|transfer|spill   the same with its peers beside it (downloads them)'
	@echo 'make test-core            the C core alone        make test-asan   the same with ASan and UBSan'
	@echo 'make test-crash           a client killed, or stopped, at every crash point of the store, and the reaper after it'
	@echo 'make test-protect         the store with its metadata shut outside the calls (protection keys)'
	@echo 'make test-kill KILLS=20000   processes killed at random while they work on one store'
	@echo 'make test-faults SEEDS=1000  transfers over wires that delay, drop, repeat, flip, truncate, stall and cut'
	@echo 'make test-transfer-kill KILLS=1000  either end of a transfer killed at random'
	@echo 'make test-spill-kill KILLS=500  a node that spills, and its clients, killed at random'
	@echo 'make test-disk-faults      a node whose disks fail or are full, one of two and both'
	@echo 'make test-flood FLOOD_MB=4096  objects of all sizes by several clients through a store of 512 MiB'
	@echo 'make check-model           every interleaving of the store'"'"'s protocol; MODEL=small for the short form'
	@echo 'make fuzz FUZZ_SECONDS=60 each fuzz target of Tests/Fuzz for so long'
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
	    echo "setup: installing Debian packages:$$missing" >&2; \
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
	$(MAKE) test-watch test-docs test-bench
	$(MAKE) test-core
	$(MAKE) test-protect
	$(MAKE) test-crash
	$(MAKE) test-faults SEEDS=150
	$(MAKE) test-transfer-kill KILLS=40
	$(MAKE) test-lib
	$(MAKE) test-swift

# Whatever runs tests ends what hangs, and says where it hung: shown with a command that does.
test-watch:
	python3 Tests/Watch/watched_test

# What the pages name is there: tests, targets, links, flags of the tool.
test-docs:
	python3 Tests/Docs/names_test

# What the benchmarks do on a machine that is shared.
test-bench:
	python3 Tests/Bench/measuring_test

# The wire that fails, for any of them.
PROXY := $(BUILD)/libfault_proxy.a
PROXY_SOURCES := Tests/Faults/fault_proxy.c Tests/Faults/fault_way.c
$(BUILD)/fault_proxy/%.o: Tests/Faults/%.c $(wildcard Tests/Faults/*.h)
	@mkdir -p $(@D)
	$(CC) $(CFLAGS) -std=gnu11 -pthread $(WARNINGS) -D_GNU_SOURCE -c $< -o $@

$(PROXY): $(PROXY_SOURCES:Tests/Faults/%.c=$(BUILD)/fault_proxy/%.o)
	rm -f $@ && ar rcs $@ $^

CORE_TESTS := $(patsubst Tests/Core/%.c,$(BUILD)/tests/%,$(sort $(wildcard Tests/Core/*_test.c)))

$(BUILD)/tests/%: Tests/Core/%.c $(wildcard Tests/Core/*.h) $(PROXY) $(BUILD)/libraystore.a
	@mkdir -p $(@D)
	$(CC) $(CFLAGS) -std=gnu11 -pthread -Wall -Wextra -Wshadow -Werror -D_GNU_SOURCE -Iinclude -ICSources -ITests/Core -ITests/Faults $< -o $@ \
	    $(PROXY) $(BUILD)/libraystore.a $(CORE_LIBS)

test-core:
	@$(MAKE) --no-print-directory -j$(JOBS) -Otarget $(CORE_TESTS)
	Tests/Core/run $(CORE_TESTS)

# The store's and the clients' programs with the metadata shut outside the library's calls.
PROTECT_TESTS := $(filter $(BUILD)/tests/plasma_% $(BUILD)/tests/client_%,$(CORE_TESTS))
.PHONY: test-protect
test-protect: $(PROTECT_TESTS)
	@if grep -qw ospke /proc/cpuinfo; then RAYSTORE_PROTECT=1 Tests/Core/run $(PROTECT_TESTS); \
	else echo "skipped: this processor or kernel has no protection keys"; fi

# The same programs with AddressSanitizer and UndefinedBehaviorSanitizer, built apart.
test-asan: setup
	$(MAKE) BUILD=$(BUILD)/asan CFLAGS="-O1 -g -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer" test-core

# A client killed, or stopped, at every numbered point between two stores to shared memory, then the store checked and used on; and the
# reaper killed at its own points after each.
CRASH_TESTS := plasma_crash_test plasma_reaper_crash_test plasma_stop_test
test-crash: setup
	$(MAKE) -j$(JOBS) -Otarget BUILD=$(BUILD)/crash CFLAGS="-O1 -g -DRAY_CRASH_POINTS" $(CRASH_TESTS:%=$(BUILD)/crash/tests/%)
	Tests/Core/run $(CRASH_TESTS:%=$(BUILD)/crash/tests/%)

# Processes killed at random moments, KILLS times: what leaked, who hung, which bytes were wrong. 20,000 take about two minutes.
KILLS ?= 20000
KILL_SOURCES := $(sort $(wildcard Tests/Kill/*.c))
.PHONY: test-kill
$(BUILD)/kills: $(KILL_SOURCES) Tests/Kill/worker.h Tests/Core/check.h Tests/Core/plasma_fixture.h $(BUILD)/libraystore.a
	$(CC) $(CFLAGS) -std=gnu11 -pthread $(WARNINGS) -D_GNU_SOURCE -Iinclude -ICSources -ITests/Core -ITests/Kill $(KILL_SOURCES) -o $@ \
	    $(BUILD)/libraystore.a $(CORE_LIBS)

test-kill: setup
	@$(MAKE) -s $(BUILD)/kills >&2
	@$(BUILD)/kills $(KILLS)

# Transfers over wires that delay, drop, repeat, flip, truncate, stall and cut, SEEDS of them. FIRST=n begins at that seed.
SEEDS ?= 1000
FIRST ?=
FAULT_SOURCES := Tests/Faults/faults.c Tests/Faults/scene.c
.PHONY: test-faults
$(BUILD)/faults: $(FAULT_SOURCES) $(wildcard Tests/Faults/*.h) Tests/Core/check.h Tests/Core/transfer_fixture.h $(PROXY) $(BUILD)/libraystore.a
	$(CC) $(CFLAGS) -std=gnu11 -pthread -Wall -Wextra -Wshadow -Werror -D_GNU_SOURCE -Iinclude -ICSources -ITests/Core -ITests/Faults $(FAULT_SOURCES) -o $@ \
	    $(PROXY) $(BUILD)/libraystore.a $(CORE_LIBS)

test-faults: setup
	@$(MAKE) -s $(BUILD)/faults >&2
	@$(BUILD)/faults $(SEEDS) $(FIRST)

# Either end of a transfer killed at random, until each file is whole.
.PHONY: test-transfer-kill
$(BUILD)/transfer_kills: Tests/Faults/transfer_kills.c Tests/Core/check.h Tests/Core/transfer_fixture.h $(PROXY) $(BUILD)/libraystore.a
	$(CC) $(CFLAGS) -std=gnu11 -pthread -Wall -Wextra -Wshadow -Werror -D_GNU_SOURCE -Iinclude -ICSources -ITests/Core -ITests/Faults $< -o $@ \
	    $(PROXY) $(BUILD)/libraystore.a $(CORE_LIBS)

test-transfer-kill: KILLS = 1000
test-transfer-kill: setup
	@$(MAKE) -s $(BUILD)/transfer_kills >&2
	@$(BUILD)/transfer_kills $(KILLS)

# Clients of a node that spills, and the node, killed at random: what is wrong, lost, or left behind. RAYSTORE is the tool to start nodes with.
RAYSTORE ?= .build/debug/raystore
.PHONY: test-spill-kill
$(BUILD)/spill_worker: Tests/SpillKill/spill_worker.c Tests/SpillKill/spill_client.h $(BUILD)/libraystore.a
	$(CC) $(CFLAGS) -std=gnu11 -pthread $(WARNINGS) -D_GNU_SOURCE -Iinclude $< -o $@ $(BUILD)/libraystore.a $(CORE_LIBS)

test-spill-kill: KILLS = 500
test-spill-kill: setup
	@$(MAKE) -s $(BUILD)/spill_worker >&2
	@[ $(RAYSTORE) != .build/debug/raystore ] || swift build $(SWIFT_FLAGS) --product raystore >&2
	@python3 Tests/SpillKill/spill_kills.py $(KILLS) $(RAYSTORE) $(BUILD)/spill_worker

# A node whose disks fail, one of two and both: errors and torn writes put between it and the kernel, and small file systems that are full.
# FAULTS="eio full" is for some of the kinds.
FAULTS ?=
.PHONY: test-disk-faults test-flood
$(BUILD)/disk_client: Tests/Disk/disk_client.c Tests/SpillKill/spill_client.h $(BUILD)/libraystore.a
	$(CC) $(CFLAGS) -std=gnu11 -pthread $(WARNINGS) -D_GNU_SOURCE -Iinclude -ITests/SpillKill $< -o $@ $(BUILD)/libraystore.a $(CORE_LIBS)

$(BUILD)/failing_disk.so: Tests/Disk/failing_disk.c
	@mkdir -p $(@D)
	$(CC) $(CFLAGS) -std=gnu11 -fPIC -shared $(WARNINGS) -D_GNU_SOURCE $< -o $@ -ldl

test-disk-faults: setup
	@$(MAKE) -s $(BUILD)/disk_client $(BUILD)/failing_disk.so >&2
	@[ $(RAYSTORE) != .build/debug/raystore ] || swift build $(SWIFT_FLAGS) --product raystore >&2
	@python3 Tests/Disk/disk_faults.py $(RAYSTORE) $(BUILD)/disk_client $(BUILD)/failing_disk.so $(FAULTS)

# FLOOD_MB of objects of all sizes by several clients through a store of 512 MiB, or an eighth of them if that is less. FLOOD_PLACE must be on a disk.
FLOOD_MB ?= 4096
FLOOD_PLACE ?= $(BUILD)/flood
test-flood: setup
	@$(MAKE) -s $(BUILD)/disk_client >&2
	@[ $(RAYSTORE) != .build/debug/raystore ] || swift build $(SWIFT_FLAGS) --product raystore >&2
	@python3 Tests/Disk/flood.py $(FLOOD_MB) $(RAYSTORE) $(BUILD)/disk_client $(FLOOD_PLACE)

# So many tests at a time: with all at once, each waits for a core for longer than nodes and tests wait for each other.
SWIFT_ABREAST := --experimental-maximum-parallelization-width
# Those that start nodes as processes run by themselves.
PROCESS_TESTS := IntegrationTests|CommandLineTests
# Those that cut a link or end a process in the middle of a transfer: beside the others the middle would be over before they see it. They wait more than
# they work.
OUTAGE_TESTS := LinkCutTests|FetchPatienceTests|HolderTests|IntegrationTests.ResumeTests
# Those that fill stores and disks, too: they keep both cores at copying and comparing.
PRESSURE_TESTS := RayStoreNodeTests.(Spill|PackedSpill|Replica|Room|DiskRoom|MovedFile|LeftPartial)
test-swift: setup
	Tests/S3/environment build/s3
	swift build --build-tests $(SWIFT_FLAGS)
	Tests/run_swift units --skip-build $(SWIFT_FLAGS) $(SWIFT_ABREAST) 12 --skip '$(PROCESS_TESTS)|$(PRESSURE_TESTS)'
	Tests/run_swift pressure --skip-build $(SWIFT_FLAGS) $(SWIFT_ABREAST) 12 --filter '$(PRESSURE_TESTS)'
	Tests/run_swift processes --skip-build $(SWIFT_FLAGS) $(SWIFT_ABREAST) 6 --filter '$(PROCESS_TESTS)' --skip '$(OUTAGE_TESTS)'
	Tests/run_swift outages --skip-build $(SWIFT_FLAGS) $(SWIFT_ABREAST) 5 --filter '$(OUTAGE_TESTS)'

# ---- fuzzing -------------------------------------------------------------------------------------------------------------
# libFuzzer over what strangers may send or write, with AddressSanitizer and UndefinedBehaviorSanitizer: every Tests/Fuzz/fuzz_NAME.c for
# FUZZ_SECONDS from its corpus, FUZZ_JOBS at a time, and it fails on the first finding, which it leaves in build/fuzz/findings.
# `make fuzz FUZZ_TARGETS=segment` runs one. The clang that comes with Swift has all of it. What a run learns stays in build/fuzz/corpus
# and is used by the next.
FUZZ_SECONDS ?= 60
FUZZ_JOBS ?= 1
FUZZ_CLANG ?= clang
FUZZ_TARGETS ?= $(patsubst Tests/Fuzz/fuzz_%.c,%,$(sort $(wildcard Tests/Fuzz/fuzz_*.c)))
FUZZ := $(BUILD)/fuzz
FUZZ_FLAGS := -O1 -g -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer
FUZZ_BUILD = $(FUZZ_CLANG) $(FUZZ_FLAGS) -std=gnu11 -pthread $(WARNINGS) -D_GNU_SOURCE -Iinclude -ICSources -ITests/Fuzz -fuse-ld=lld
# The longest input of each: beyond it nothing new happens, only more slowly.
FUZZ_LENGTH_ref := 128
FUZZ_LENGTH_descriptor := 4500
FUZZ_LENGTH_chunk := 4096
FUZZ_LENGTH_auth := 256
FUZZ_LENGTH_client := 2048
FUZZ_LENGTH_segment := 512
FUZZ_LENGTH_spill := 4096
FUZZ_LENGTH_wire := 4096
FUZZ_LENGTH_serve := 4096
FUZZ_LENGTH_pull := 4096

.PHONY: fuzz fuzz-run fuzz-core
fuzz: setup
	$(MAKE) fuzz-core
	$(MAKE) fuzz-run

fuzz-core:
	$(MAKE) BUILD=$(FUZZ) CC=$(FUZZ_CLANG) CFLAGS="$(FUZZ_FLAGS) -fsanitize=fuzzer-no-link" $(FUZZ)/libraystore.a

# --wrap: fuzz_segment.c puts guard pages around mappings.
$(FUZZ)/fuzz_%: Tests/Fuzz/fuzz_%.c Tests/Fuzz/fuzz.h Tests/Fuzz/script.h $(FUZZ)/libraystore.a
	$(FUZZ_BUILD) -fsanitize=fuzzer $(if $(filter segment,$*),-Wl$(comma)--wrap=mmap$(comma)--wrap=munmap) $< -o $@ \
	    $(FUZZ)/libraystore.a $(CORE_LIBS)

$(FUZZ)/seeds: Tests/Fuzz/seeds.c Tests/Fuzz/seeds_client.c Tests/Fuzz/seeds_script.c Tests/Fuzz/seeds.h Tests/Fuzz/fuzz.h $(FUZZ)/libraystore.a
	$(FUZZ_BUILD) $(filter %.c,$^) -o $@ $(FUZZ)/libraystore.a $(CORE_LIBS)

comma := ,
fuzz-run: $(FUZZ)/seeds $(FUZZ_TARGETS:%=$(FUZZ)/fuzz_%)
	@mkdir -p $(FUZZ)/corpus $(FUZZ)/findings
	@$(FUZZ)/seeds $(FUZZ)/corpus
	@$(MAKE) -s -j$(FUZZ_JOBS) $(FUZZ_TARGETS:%=fuzz-run-%)
	@echo "fuzz: no findings"

fuzz-run-%:
	@Tests/Fuzz/run $(FUZZ) $* $(FUZZ_SECONDS) $(FUZZ_LENGTH_$*)

# ---- the library for other languages -------------------------------------------------------------------------------------
# From the same sources, with no Swift in it. What it exports is checked against the headers.
LIB_VERSION := $(shell sed -nE 's/^\#define RAY_VERSION_(MAJOR|MINOR|PATCH) ([0-9]+)/\2/p' include/raystore/version.h | paste -sd.)
LIB_HEADERS := include/raystore.h $(sort $(wildcard include/raystore/*.h))
LIB_SHARED := libraystore.so.$(LIB_VERSION)
LIB_SONAME := libraystore.so.0
PREFIX ?= /usr/local
DESTDIR ?=

# $(1): prefix, $(2): headers, $(3): libraries
pc = sed -e 's|@PREFIX@|$(1)|' -e 's|@INCLUDEDIR@|$(2)|' -e 's|@LIBDIR@|$(3)|' -e 's|@VERSION@|$(LIB_VERSION)|' raystore.pc.in

$(BUILD)/$(LIB_SHARED): $(CORE_OBJECTS) libraystore.map
	$(CC) $(CFLAGS) -shared -Wl,-soname,$(LIB_SONAME) -Wl,--version-script=libraystore.map -Wl,-z,defs -o $@ $(CORE_OBJECTS) $(CORE_LIBS)
	ln -sf $(LIB_SHARED) $(BUILD)/$(LIB_SONAME)
	ln -sf $(LIB_SONAME) $(BUILD)/libraystore.so

# For use in place: PKG_CONFIG_PATH=build pkg-config --cflags --libs raystore
$(BUILD)/raystore.pc: raystore.pc.in include/raystore/version.h Makefile
	@mkdir -p $(@D)
	$(call pc,$(CURDIR),$(CURDIR)/include,$(abspath $(BUILD))) >$@

$(BUILD)/symbols-checked: $(BUILD)/$(LIB_SHARED) $(BUILD)/libraystore.a libraystore.map $(LIB_HEADERS) Tests/Lib/check_symbols
	Tests/Lib/check_symbols $(BUILD)/$(LIB_SHARED) $(BUILD)/libraystore.a libraystore.map $(LIB_HEADERS)
	@touch $@

.PHONY: lib lib-built install uninstall
lib-built: $(BUILD)/symbols-checked $(BUILD)/raystore.pc
lib: setup
	$(MAKE) lib-built

install: lib-built
	install -d $(DESTDIR)$(PREFIX)/include/raystore $(DESTDIR)$(PREFIX)/lib/pkgconfig
	install -m 644 include/raystore.h $(DESTDIR)$(PREFIX)/include/
	install -m 644 include/raystore/*.h $(DESTDIR)$(PREFIX)/include/raystore/
	install -m 755 $(BUILD)/$(LIB_SHARED) $(DESTDIR)$(PREFIX)/lib/
	install -m 644 $(BUILD)/libraystore.a $(DESTDIR)$(PREFIX)/lib/
	ln -sf $(LIB_SHARED) $(DESTDIR)$(PREFIX)/lib/$(LIB_SONAME)
	ln -sf $(LIB_SONAME) $(DESTDIR)$(PREFIX)/lib/libraystore.so
	$(call pc,$(PREFIX),$(PREFIX)/include,$(PREFIX)/lib) >$(DESTDIR)$(PREFIX)/lib/pkgconfig/raystore.pc

uninstall:
	rm -rf $(DESTDIR)$(PREFIX)/include/raystore.h $(DESTDIR)$(PREFIX)/include/raystore $(DESTDIR)$(PREFIX)/lib/pkgconfig/raystore.pc
	rm -f $(DESTDIR)$(PREFIX)/lib/libraystore.so* $(DESTDIR)$(PREFIX)/lib/libraystore.a

# The C examples against what `make lib` makes and `make install` installs.
test-lib: lib-built
	Tests/Lib/examples_test $(BUILD)

# ---- benchmarks ----------------------------------------------------------------------------------------------------------
# Medians, one JSON object a line on standard output; everything else goes to standard error.
SUITE ?= plasma

$(BUILD)/bench/%: Benchmarks/core/%.c Benchmarks/core/measuring.h Benchmarks/core/pulling.h $(BUILD)/libraystore.a
	@mkdir -p $(@D)
	$(CC) $(CFLAGS) -std=gnu11 -pthread $(WARNINGS) -D_GNU_SOURCE -Iinclude $< -o $@ $(BUILD)/libraystore.a $(CORE_LIBS)

bench: setup
	@$(MAKE) -s bench-$(SUITE)

# The store's is of several files.
PLASMA_BENCH := $(sort $(wildcard Benchmarks/core/plasma/*.c))

$(BUILD)/bench/plasma: $(PLASMA_BENCH) Benchmarks/core/plasma/bench.h $(BUILD)/libraystore.a
	@mkdir -p $(@D)
	$(CC) $(CFLAGS) -std=gnu11 -pthread $(WARNINGS) -D_GNU_SOURCE -Iinclude -ICSources $(PLASMA_BENCH) -o $@ $(BUILD)/libraystore.a $(CORE_LIBS)

.PHONY: bench-plasma bench-transfer
bench-plasma: $(BUILD)/bench/plasma
	@swift build -c release --package-path Benchmarks/swift >&2
	@$<
	@Benchmarks/swift/.build/release/plasma-swift

# What fails costs its own figures, and the run's status. LINKS="--only 10g" is for one part of what goes over links, MATRIX="--only 100m"
# or "--quick" for one of the matrix. BENCH_BUILD=debug takes the nodes that `make test` has built, instead of ten minutes for a release
# build: the C core, which moves the bytes, is compiled with -O2 in both.
LINKS ?=
MATRIX ?=
BENCH_BUILD ?= release
BENCH_SWIFT := $(if $(filter debug,$(BENCH_BUILD)),$(SWIFT_FLAGS),-c release)
bench-transfer: $(BUILD)/bench/transfer $(BUILD)/bench/fetches $(BUILD)/bench/mover $(BUILD)/bench/delay $(BUILD)/bench/far $(BUILD)/bench/crowd
	@swift build $(BENCH_SWIFT) --product raystore >&2
	@status=0; \
	$(BUILD)/bench/transfer || status=1; \
	python3 Benchmarks/links/fetching.py $(LINKS) .build/$(BENCH_BUILD)/raystore $(BUILD)/bench/fetches || status=1; \
	python3 Benchmarks/links/broadcast.py $(BUILD)/bench/crowd || status=1; \
	python3 Benchmarks/links/delayed.py $(BUILD)/bench/mover $(BUILD)/bench/delay || status=1; \
	python3 Benchmarks/links/far.py $(BUILD)/bench/mover $(BUILD)/bench/far || status=1; \
	python3 Benchmarks/links/matrix.py $(MATRIX) $(BUILD)/bench/mover || status=1; \
	exit $$status

# The matrix alone: four speeds, four kinds of data, automatic and each fixed codec.
.PHONY: bench-matrix
bench-matrix: $(BUILD)/bench/mover
	@python3 Benchmarks/links/matrix.py $(MATRIX) $(BUILD)/bench/mover

# A node of 512 MB that spills, our S3 client alone, and the kill loop. SPILL_PLACE must be on a disk: one in memory says nothing.
# SPILL="--only 1mb" is for one part of it.
S3_SOURCES := $(sort $(wildcard Sources/CRayStoreS3/*.c))
S3_PYTHON := $(BUILD)/s3/bin/python
SPILL_PLACE ?= $(BUILD)/spill-bench
SPILL ?=
$(BUILD)/bench/s3_client: Benchmarks/spill/s3_client.c Benchmarks/core/measuring.h $(S3_SOURCES) $(wildcard Sources/CRayStoreS3/*.h Sources/CRayStoreS3/include/*.h) $(BUILD)/libraystore.a
	@mkdir -p $(@D)
	$(CC) $(CFLAGS) -std=gnu11 -pthread $(WARNINGS) -D_GNU_SOURCE -Iinclude -ICSources -IBenchmarks/core -ISources/CRayStoreS3/include $< $(S3_SOURCES) -o $@ \
	    $(BUILD)/libraystore.a $(CORE_LIBS) -lcurl

$(BUILD)/bench/node_client $(BUILD)/bench/records: $(BUILD)/bench/%: Benchmarks/spill/%.c Benchmarks/core/measuring.h $(BUILD)/libraystore.a
	@mkdir -p $(@D)
	$(CC) $(CFLAGS) -std=gnu11 -pthread $(WARNINGS) -D_GNU_SOURCE -Iinclude -IBenchmarks/core $< -o $@ $(BUILD)/libraystore.a $(CORE_LIBS)

.PHONY: bench-spill
bench-spill: $(BUILD)/bench/node_client $(BUILD)/bench/records $(BUILD)/bench/s3_client
	@Tests/S3/environment $(BUILD)/s3 >&2
	@swift build $(BENCH_SWIFT) --product raystore >&2
	@status=0; \
	python3 Benchmarks/spill/spill.py --s3 $(S3_PYTHON) $(SPILL) .build/$(BENCH_BUILD)/raystore $(BUILD)/bench/node_client $(SPILL_PLACE) || status=1; \
	$(BUILD)/bench/records $(SPILL_PLACE) || status=1; \
	python3 Benchmarks/spill/s3.py $(BUILD)/bench/s3_client $(S3_PYTHON) || status=1; \
	$(MAKE) -s test-spill-kill RAYSTORE=.build/$(BENCH_BUILD)/raystore || status=1; \
	exit $$status

# ---- model ---------------------------------------------------------------------------------------------------------------
# Every interleaving of the table's protocol, and each mutation of it found; MODEL=small is what CI runs. See docs/MODEL.md.
MODEL ?= full

.PHONY: check-model
MODEL_SOURCES := $(sort $(wildcard Tests/Model/*.c))
$(BUILD)/model/table: $(MODEL_SOURCES) Tests/Model/model.h
	@mkdir -p $(@D)
	$(CC) $(CFLAGS) -std=gnu11 $(WARNINGS) $(MODEL_SOURCES) -o $@

check-model: $(BUILD)/model/table
	Tests/Model/run $< $(MODEL)

# ---- peers ---------------------------------------------------------------------------------------------------------------
# Arrow Plasma and Ray beside ours, in turns, with ratios. The virtual environments stay in build/peers, whatever BUILD is.
PEERS := build/peers

.PHONY: bench-peers bench-peers-plasma bench-peers-transfer
bench-peers: setup
	@$(MAKE) -s bench-peers-$(SUITE)

bench-peers-plasma: $(BUILD)/bench/plasma
	@Benchmarks/peers/plasma $< $(PEERS)

# What people move files and memory with, over the same links; as root, since the links are network namespaces. A package that cannot be
# installed costs the peers that need it, nothing else.
PEER_PACKAGES := nginx-light curl rsync socat iperf3 zstd lz4 iproute2 libibverbs1
bench-peers-transfer: $(BUILD)/bench/fetches
	@swift build $(BENCH_SWIFT) --product raystore >&2
	@$(MAKE) -s setup PACKAGES="$(PEER_PACKAGES)" >&2 || echo "bench-peers: some of $(PEER_PACKAGES) cannot be installed" >&2
	@Benchmarks/peers/transfer $(PEERS) $(LINKS) .build/$(BENCH_BUILD)/raystore $(BUILD)/bench/fetches

# Ray on the same disk, boto3's transfer manager against the same S3 server.
.PHONY: bench-peers-spill
bench-peers-spill: $(BUILD)/bench/node_client $(BUILD)/bench/s3_client
	@Tests/S3/environment $(BUILD)/s3 >&2
	@swift build $(BENCH_SWIFT) --product raystore >&2
	@Benchmarks/peers/spill $(PEERS) $(S3_PYTHON) .build/$(BENCH_BUILD)/raystore $(BUILD)/bench $(SPILL_PLACE) $(SPILL)

# ---- form ----------------------------------------------------------------------------------------------------------------
SWIFT_FOLDERS := Package.swift Sources Tests Benchmarks Examples

format:
	swift format --in-place --recursive $(SWIFT_FOLDERS)

lint:
	swift format lint --strict --recursive $(SWIFT_FOLDERS)

clean:
	rm -rf $(BUILD) .build
