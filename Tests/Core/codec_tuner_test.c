// SPDX-License-Identifier: Apache-2.0
// The tuner in simulated worlds (tuner_world.h): what it brings over in a world, against what the best single rung and raw bring there.
// The tables are what lz4 1.9 and zstd 1.5 do on one core of a Xeon of 2021 with such data.
#include "tuner_world.h"

// In the order of the ladder: none, lz4, zstd -5, -3, -1, 1, 2, 3, 4, 5, 6, 7, 9.
static const world_data training = {"training",
                                    {0, 1.85, 2.15, 2.2, 2.5, 2.7, 3.2, 3.75, 4.5, 7.1, 9.5, 11.5, 15.4},
                                    {0, .37, .6, .55, .62, .75, .8, .75, .75, .8, .78, .78, .78},
                                    {1, .497, .431, .395, .368, .34, .311, .293, .288, .283, .278, .273, .272}};
static const world_data text = {"text",
                                {0, 1.6, 1.6, 1.5, 2.0, 2.2, 2.9, 3.6, 5, 8, 10, 12, 17},
                                {0, .35, .45, .5, .6, .7, .75, .7, .7, .7, .7, .7, .7},
                                {1, .36, .30, .27, .24, .214, .214, .215, .22, .225, .21, .206, .203}};
static const world_data columns = {"columns",
                                   {0, 1.0, 1.5, 1.7, 2.2, 3.2, 4, 5.5, 7.5, 10, 14, 17, 22},
                                   {0, .2, .4, .45, .6, .8, .8, .8, .8, .8, .8, .8, .8},
                                   {1, .98, .93, .92, .88, .84, .82, .8, .8, .79, .79, .785, .78}};
static const world_data zeros = {"zeros",
                                 {0, .157, .196, .184, .162, .162, .157, .161, .168, .183, .275, .35, .5},
                                 {0, .1, .04, .04, .04, .04, .04, .04, .04, .04, .04, .04, .04},
                                 {1, .0039, .0001, .0001, .0001, .0001, .0001, .0001, .0001, .0001, .0001, .0001, .0001}};
static const world_data noise = {"noise",
                                 {0, .15, .4, .4, .5, .5, .6, .8, 1, 2, 3, 4, 5},
                                 {0, .1, .1, .1, .1, .1, .1, .1, .1, .1, .1, .1, .1},
                                 {1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1}};
static const world_data *const all_data[] = {&training, &text, &columns, &zeros, &noise};

static const double unshaped = 10e9;
static const double ten_gigabit = 1.2e9;
static const double gigabit = 119e6;
static const double hundred_megabit = 11.9e6;

static world world_of(const world_data *data, double link_rate, double cores, double peer_cores) {
    return (world){.data = data,
                   .link_rate = link_rate,
                   .cores = cores,
                   .peer_cores = peer_cores,
                   .threads = cores < 1 ? 1 : (uint32_t)cores,
                   .peer_threads = (uint32_t)(peer_cores >= 1 ? peer_cores : peer_cores > 0 ? 1 : cores),
                   .wire_seconds = 0.35e-9};
}

// Twice 1 GiB with one tuner. The first time has the search in it, the second only what was found.
static void compare(world w, double first_part, double settled_part, double raw_part) {
    enum { CHUNKS = 256 };
    uint32_t best = 0;
    double least = world_best_fixed(&w, CHUNKS, &best);
    world unpacked = w;
    double raw = world_bring(&unpacked, 0, NULL, CHUNKS);
    ray__tuner tuner;
    ray__tuner_init(&tuner, (uint16_t)w.threads, (uint16_t)w.peer_threads);
    double first = world_bring(&w, WORLD_AUTO, &tuner, CHUNKS);
    double settled = world_bring(&w, WORLD_AUTO, &tuner, CHUNKS);
    ray__tuner_end(&tuner);
    if (least < first_part * first || least < settled_part * settled || raw < raw_part * first || raw < raw_part * settled) {
        fprintf(stderr, "%s at %.0f MB/s, %.2f and %.2f cores, load %.0f and %.0f: rung %u takes %.3f s, raw %.3f s; automatic %.3f s, then %.3f s\n",
                w.data->name, w.link_rate / 1e6, w.cores, w.peer_cores, w.load, w.peer_load, best, least, raw, first, settled);
        exit(1);
    }
}

// Both ends on the same two cores, as in the benchmarks.
static void onSharedCoresItFindsTheBestForEachLinkAndData(void) {
    const double links[] = {unshaped, ten_gigabit, gigabit, hundred_megabit};
    for (size_t d = 0; d < sizeof all_data / sizeof all_data[0]; d++) {
        for (size_t l = 0; l < sizeof links / sizeof links[0]; l++) {
            // Zeros cost every codec nearly the same; how much the receiver's share differs is only guessed.
            double part = all_data[d] == &zeros ? 0.65 : 0.95;
            compare(world_of(all_data[d], links[l], 2, 0), part - 0.03, part, 0.97);
        }
    }
}

static void betweenTwoMachinesItFindsTheBestForSlowLinks(void) {
    const double links[] = {ten_gigabit, gigabit, hundred_megabit};
    for (size_t d = 0; d < sizeof all_data / sizeof all_data[0]; d++) {
        for (size_t l = 0; l < sizeof links / sizeof links[0]; l++) {
            if (all_data[d] != &zeros) { // a chunk takes the link so short that this simulation's steps are too long
                compare(world_of(all_data[d], links[l], 2, 2), 0.92, 0.95, 0.97);
                compare(world_of(all_data[d], links[l], 8, 8), 0.88, 0.95, 0.97);
            }
        }
    }
}

static void aFastLinkIsNotMuchSlowerThanRawWhateverTheCores(void) {
    const double cores[][2] = {{2, 0}, {2, 2}, {8, 8}, {2, 16}, {1, 1}};
    for (size_t d = 0; d < sizeof all_data / sizeof all_data[0]; d++) {
        for (size_t c = 0; c < sizeof cores / sizeof cores[0]; c++) {
            compare(world_of(all_data[d], unshaped, cores[c][0], cores[c][1]), 0, 0, 0.91);
        }
    }
}

static void coresThatOthersUseMakeItStepDown(void) {
    world w = world_of(&training, gigabit, 2, 2);
    w.load = 4;
    compare(w, 0.92, 0.95, 0.97);
    w.data = &text;
    compare(w, 0.92, 0.94, 0.97);
}

// What the tuner brings after a change, against the best rung there.
static void change(world before, world after, double turning_part) {
    enum { CHUNKS = 256 };
    uint32_t best = 0;
    double least = world_best_fixed(&after, CHUNKS, &best);
    ray__tuner tuner;
    ray__tuner_init(&tuner, (uint16_t)before.threads, (uint16_t)before.peer_threads);
    world_bring(&before, WORLD_AUTO, &tuner, CHUNKS);
    double turning = world_bring(&after, WORLD_AUTO, &tuner, CHUNKS);
    double settled = world_bring(&after, WORLD_AUTO, &tuner, CHUNKS);
    ray__tuner_end(&tuner);
    if (least < turning_part * turning || least < 0.94 * settled) {
        fprintf(stderr, "%s at %.0f MB/s, then %s at %.0f: rung %u takes %.3f s; automatic %.3f s, then %.3f s\n", before.data->name,
                before.link_rate / 1e6, after.data->name, after.link_rate / 1e6, best, least, turning, settled);
        exit(1);
    }
}

static void aLinkThatChangesIsFollowed(void) {
    change(world_of(&training, gigabit, 2, 0), world_of(&training, hundred_megabit, 2, 0), 0.85);
    change(world_of(&training, hundred_megabit, 2, 0), world_of(&training, gigabit, 2, 0), 0.85);
    change(world_of(&training, gigabit, 2, 0), world_of(&training, ten_gigabit, 2, 0), 0.85);
    change(world_of(&training, ten_gigabit, 2, 0), world_of(&training, gigabit, 2, 0), 0.55); // what is under way is raw, and takes ten times as long
}

static void dataThatChangesIsFollowed(void) {
    change(world_of(&text, gigabit, 2, 0), world_of(&columns, gigabit, 2, 0), 0.85);
    change(world_of(&columns, gigabit, 2, 0), world_of(&text, gigabit, 2, 0), 0.85);
    change(world_of(&text, gigabit, 2, 0), world_of(&noise, gigabit, 2, 0), 0.85);
    change(world_of(&training, hundred_megabit, 2, 0), world_of(&columns, hundred_megabit, 2, 0), 0.85);
}

// What shrinks a little is sent raw where cores are short, so nothing of it is packed that would show what comes after it.
static void dataThatShrinksMoreThanBeforeIsNoticedBehindRawChunks(void) {
    const world_data *others[] = {&text, &training};
    for (size_t o = 0; o < 2; o++) {
        for (int load = 4; load <= 8; load += 4) {
            world before = world_of(&columns, load == 4 ? 240e6 : gigabit, 2, 2);
            before.load = load;
            world after = before;
            after.data = others[o];
            world looked = before;
            ray__tuner tuner;
            ray__tuner_init(&tuner, 2, 2);
            world_bring(&looked, WORLD_AUTO, &tuner, 256);
            CHECK(looked.counts[0] > 190);
            ray__tuner_end(&tuner);
            change(before, after, 0.8);
        }
    }
}

static void dataThatBeginsToShrinkIsNoticedInTime(void) {
    world w = world_of(&noise, gigabit, 2, 0);
    ray__tuner tuner;
    ray__tuner_init(&tuner, 2, 2);
    world_bring(&w, WORLD_AUTO, &tuner, 300);
    memset(w.counts, 0, sizeof w.counts);
    w.data = &text;
    world_bring(&w, WORLD_AUTO, &tuner, 200);
    CHECK(w.counts[0] <= 66);
    ray__tuner_end(&tuner);
}

static void loadThatComesAndGoesIsFollowed(void) {
    world loaded = world_of(&training, gigabit, 2, 2);
    loaded.load = 4;
    change(world_of(&training, gigabit, 2, 2), loaded, 0.8);
    change(loaded, world_of(&training, gigabit, 2, 2), 0.8);
}

static const world_data *const shrinking[] = {&training, &text, &columns};

// Where a receiver's part of a core is the limit, and where it is nearly, so that what it unpacks takes from what it receives.
static void aWeakReceiverGetsWhatItCanUnpack(void) {
    const double links[] = {ten_gigabit, 300e6, gigabit, hundred_megabit};
    const double cores[] = {0.1, 0.25, 0.5};
    for (size_t d = 0; d < 3; d++) {
        for (size_t l = 0; l < sizeof links / sizeof links[0]; l++) {
            for (size_t c = 0; c < sizeof cores / sizeof cores[0]; c++) {
                // Of faster links mixes of rungs are the best, and the backlogs swing.
                bool is_fast = links[l] > gigabit;
                compare(world_of(shrinking[d], links[l], 2, cores[c]), is_fast ? 0.85 : 0.92, is_fast ? 0.87 : 0.95, 0.85);
            }
        }
    }
}

static void aReceiverWhoseMachineIsBusyGetsWhatItCanUnpack(void) {
    const double links[] = {300e6, gigabit};
    for (size_t d = 0; d < 3; d++) {
        for (size_t l = 0; l < sizeof links / sizeof links[0]; l++) {
            for (int load = 2; load <= 8; load *= 4) {
                world w = world_of(shrinking[d], links[l], 2, 2);
                w.peer_load = load;
                compare(w, 0.9, links[l] > gigabit ? 0.93 : 0.95, 0.95);
            }
        }
    }
}

static void aReceiverThatGetsBusyInTheMiddleIsFollowed(void) {
    for (size_t d = 0; d < 3; d++) {
        world idle = world_of(shrinking[d], gigabit, 2, 2);
        world busy = idle;
        busy.peer_load = 12;
        change(idle, busy, 0.85);
        change(busy, idle, 0.85);
        world weak = world_of(shrinking[d], gigabit, 2, 0.25); // a quota was set
        weak.peer_threads = 2;
        change(idle, weak, 0.85);
        change(weak, idle, 0.85);
    }
}

static void betweenTwoWeakMachinesItFindsWhatBothCanDo(void) {
    const double links[] = {ten_gigabit, gigabit};
    for (size_t d = 0; d < 3; d++) {
        for (size_t l = 0; l < sizeof links / sizeof links[0]; l++) {
            for (double cores = 0.25; cores <= 0.5; cores *= 2) {
                compare(world_of(shrinking[d], links[l], cores, cores), 0.92, 0.93, 0.93);
            }
        }
    }
}

// The same link and data: what the receiver says is all that differs.
static void whatTheReceiverSaysDecides(void) {
    for (int is_weak = 0; is_weak < 2; is_weak++) {
        ray__tuner tuner;
        ray__tuner_init(&tuner, 2, 2);
        ray__tuner_sampled(&tuner, RAY_TUNER_SAMPLE, RAY_TUNER_SAMPLE / 4, 160000);
        ray__tuner_link(&tuner, gigabit);
        ray__tuner_packed(&tuner, ray__ladder_choice(RAY_TUNER_SAMPLED), WORLD_CHUNK, WORLD_CHUNK / 4, WORLD_CHUNK * 2);
        ray__receiver receiver = {.cores = is_weak ? 0.06 : 2, .free = is_weak ? 0.06 : 2, .waiting = 8, .zstd_seconds = 0.7e-9};
        ray__tuner_receiver(&tuner, &receiver);
        ray__backlog backlog = {.under_way = 8, .ready = 3, .ready_bytes = 3 * WORLD_CHUNK / 4, .chunk_size = WORLD_CHUNK};
        ray__choice choice = ray__tuner_choose(&tuner, &backlog);
        ray__tuner_description description;
        ray__tuner_describe(&tuner, &description);
        CHECK_EQUAL(choice.codec == RAY_CODEC_NONE, is_weak);
        CHECK_EQUAL(description.reason == RAY__REASON_RECEIVER, is_weak);
        ray__tuner_end(&tuner);
    }
}

// A quota leaves two threads a tenth of a core: what they can pack is what that can.
static void aQuotaOfTheSenderMakesItStepDown(void) {
    uint32_t counts[2];
    for (int has_quota = 0; has_quota < 2; has_quota++) {
        world w = world_of(&text, gigabit, has_quota ? 0.1 : 2, 2);
        w.threads = 2;
        ray__tuner tuner;
        ray__tuner_init(&tuner, 2, 2);
        world_bring(&w, WORLD_AUTO, &tuner, 128);
        counts[has_quota] = w.counts[0];
        ray__tuner_end(&tuner);
    }
    CHECK(counts[1] > counts[0] + 32);
}

static void theFirstChunkOfAnUnknownLinkIsPackedLightlyIfItPlainlyShrinks(void) {
    world w = world_of(&text, hundred_megabit, 2, 2);
    ray__tuner tuner;
    ray__tuner_init(&tuner, 2, 2);
    CHECK_EQUAL(ray__tuner_places(&tuner), 1);
    world_bring(&w, WORLD_AUTO, &tuner, 1);
    CHECK_EQUAL(w.counts[RAY_TUNER_SAMPLED], 1);
    ray__tuner_end(&tuner);
    world dense = world_of(&noise, hundred_megabit, 2, 2);
    ray__tuner_init(&tuner, 2, 2);
    world_bring(&dense, WORLD_AUTO, &tuner, 1);
    CHECK_EQUAL(dense.counts[0], 1);
    CHECK_EQUAL(ray__tuner_places(&tuner), UINT32_MAX);
    ray__tuner_end(&tuner);
}

static void whatNearlyVanishesIsPackedFromTheFirstChunkOn(void) {
    world w = world_of(&zeros, hundred_megabit, 2, 2);
    ray__tuner tuner;
    ray__tuner_init(&tuner, 2, 2);
    world_bring(&w, WORLD_AUTO, &tuner, 100);
    CHECK_EQUAL(w.counts[0], 0);
    ray__tuner_end(&tuner);
}

// What is one byte over and over is packed without being asked for; it says that nothing can be wrong with the next ones, and nothing more.
static void whatWasPackedWithoutAChoiceLetsOthersBegin(void) {
    ray__tuner tuner;
    ray__tuner_init(&tuner, 2, 2);
    CHECK_EQUAL(ray__tuner_places(&tuner), 1);
    ray__tuner_vanishes(&tuner, (ray__choice){RAY_CODEC_ZSTD, 1});
    CHECK_EQUAL(ray__tuner_places(&tuner), UINT32_MAX);
    CHECK(ray__tuner_wants_sample(&tuner, WORLD_CHUNK));
    CHECK(!ray__tuner_knows_link(&tuner));
    ray__backlog backlog = {.under_way = 1, .chunk_size = WORLD_CHUNK};
    (void)ray__tuner_choose(&tuner, &backlog);
    CHECK_EQUAL(ray__tuner_places(&tuner), 1);
    ray__tuner_end(&tuner);
}

// Two transfers of the same data, each with a tuner of its own, the second with what the first one left.
static void theNextTransferBeginsWithWhatTheLastOneFound(void) {
    const double links[] = {unshaped, ten_gigabit, gigabit, hundred_megabit};
    for (size_t l = 0; l < sizeof links / sizeof links[0]; l++) {
        ray__past past = {0};
        double seconds[2];
        for (int round = 0; round < 2; round++) {
            world w = world_of(&training, links[l], 2, 0);
            ray__tuner tuner;
            ray__tuner_init(&tuner, 2, 2);
            ray__tuner_recall(&tuner, &past);
            // Few until the link is seen to be as it was; one until it is seen what the data is, unless the link outruns all packing.
            CHECK_EQUAL(ray__tuner_places(&tuner), round == 1 && links[l] > gigabit ? 3 : 1);
            seconds[round] = world_bring(&w, WORLD_AUTO, &tuner, 64);
            ray__tuner_remember(&tuner, &past);
            ray__tuner_end(&tuner);
        }
        CHECK(past.link_rate > 0);
        if (seconds[1] > 1.01 * seconds[0]) {
            fprintf(stderr, "at %.0f MB/s the first takes %.3f s, the second %.3f s\n", links[l] / 1e6, seconds[0], seconds[1]);
            exit(1);
        }
    }
}

// A sample of 64 KiB takes some 0.16 ms. Over a link that takes the whole object in less there is nothing to be won by it.
static void aLittleThingOverAFastLinkThatIsKnownGoesRawUnseen(void) {
    static const struct {
        double link; // 0: not known
        uint64_t bytes;
        bool sampled;
    } cases[] = {{0, 200 << 10, true},        {unshaped, 200 << 10, false}, {ten_gigabit, 200 << 10, false},
                 {gigabit, 200 << 10, true}, {unshaped, 4 << 20, true},    {hundred_megabit, 120 << 10, true}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        ray__past past = {.link_rate = cases[i].link};
        ray__tuner tuner;
        ray__tuner_init(&tuner, 2, 2);
        ray__tuner_recall(&tuner, &past);
        CHECK_EQUAL(ray__tuner_wants_sample(&tuner, cases[i].bytes), cases[i].sampled);
        ray__backlog backlog = {.under_way = 1, .chunk_size = WORLD_CHUNK};
        CHECK_EQUAL(ray__ladder_find(ray__tuner_choose(&tuner, &backlog)), 0);
        ray__tuner_description seen;
        ray__tuner_describe(&tuner, &seen);
        CHECK_EQUAL(seen.reason, cases[i].link > 0 ? RAY__REASON_FAST : RAY__REASON_START);
        ray__tuner_end(&tuner);
    }
}

static void ofAFastLinkThatIsKnownNotEvenTheFirstChunkIsPacked(void) {
    ray__past past = {0};
    for (int round = 0; round < 2; round++) {
        world w = world_of(&training, unshaped, 2, 0);
        ray__tuner tuner;
        ray__tuner_init(&tuner, 2, 2);
        ray__tuner_recall(&tuner, &past);
        world_bring(&w, WORLD_AUTO, &tuner, 64);
        CHECK_EQUAL(w.counts[0], round == 0 ? 63u : 64u);
        ray__tuner_remember(&tuner, &past);
        ray__tuner_end(&tuner);
    }
}

static void aPastThatIsWrongCostsLittle(void) {
    enum { CHUNKS = 128 };
    const double links[] = {unshaped, ten_gigabit, gigabit, hundred_megabit};
    for (size_t from = 0; from < sizeof links / sizeof links[0]; from++) {
        for (size_t to = 0; to < sizeof links / sizeof links[0]; to++) {
            ray__past past = {0};
            ray__tuner tuner;
            ray__tuner_init(&tuner, 2, 2);
            world before = world_of(&training, links[from], 2, 0);
            world_bring(&before, WORLD_AUTO, &tuner, CHUNKS);
            ray__tuner_remember(&tuner, &past);
            ray__tuner_end(&tuner);
            world after = world_of(&training, links[to], 2, 0);
            uint32_t best = 0;
            double least = world_best_fixed(&after, CHUNKS, &best);
            ray__tuner_init(&tuner, 2, 2);
            ray__tuner_recall(&tuner, &past);
            double turned = world_bring(&after, WORLD_AUTO, &tuner, CHUNKS);
            ray__tuner_end(&tuner);
            // At worst the first chunks are packed for a link a thousand times slower.
            if (least < 0.6 * turned) {
                fprintf(stderr, "from %.0f to %.0f MB/s: rung %u takes %.3f s, automatic %.3f s\n", links[from] / 1e6, links[to] / 1e6, best,
                        least, turned);
                exit(1);
            }
        }
    }
}

// Short transfers over a link that is not any more what it was: each learns a little, and what was wrong does not stay.
static void shortTransfersForgetAPastThatIsWrong(void) {
    enum { CHUNKS = 12, TRANSFERS = 4 };
    const world_data *kinds[] = {&text, &training};
    const double links[] = {unshaped, ten_gigabit, gigabit};
    for (size_t k = 0; k < 2; k++) {
        for (size_t l = 0; l < sizeof links / sizeof links[0]; l++) {
            ray__past past = {0};
            double took = 0;
            for (uint32_t i = 0; i < 2 * TRANSFERS; i++) {
                ray__tuner tuner;
                ray__tuner_init(&tuner, 2, 2);
                ray__tuner_recall(&tuner, &past);
                world w = world_of(kinds[k], i < TRANSFERS ? links[l] : hundred_megabit, 2, 0);
                took = world_bring(&w, WORLD_AUTO, &tuner, CHUNKS);
                ray__tuner_remember(&tuner, &past);
                ray__tuner_end(&tuner);
            }
            world w = world_of(kinds[k], hundred_megabit, 2, 0);
            uint32_t best = 0;
            double least = world_best_fixed(&w, CHUNKS, &best);
            if (least < 0.9 * took) {
                fprintf(stderr, "%s, from %.0f MB/s: rung %u takes %.3f s, automatic %.3f s\n", kinds[k]->name, links[l] / 1e6, best, least, took);
                exit(1);
            }
        }
    }
}

static void ofEachKindOfDataSomethingElseIsKept(void) {
    ray__past past = {0};
    const world_data *kinds[] = {&training, &text, &columns};
    double ratios[3];
    for (size_t k = 0; k < 3; k++) {
        world w = world_of(kinds[k], gigabit, 2, 0);
        ray__tuner tuner;
        ray__tuner_init(&tuner, 2, 2);
        ray__tuner_recall(&tuner, &past);
        world_bring(&w, WORLD_AUTO, &tuner, 64);
        ray__tuner_remember(&tuner, &past);
        ray__tuner_end(&tuner);
        ratios[k] = kinds[k]->ratio[RAY_TUNER_SAMPLED];
    }
    for (size_t k = 0; k < 3; k++) {
        ray__tuner tuner;
        ray__tuner_init(&tuner, 2, 2);
        ray__tuner_recall(&tuner, &past);
        ray__tuner_sampled(&tuner, RAY_TUNER_SAMPLE, (uint32_t)(ratios[k] * RAY_TUNER_SAMPLE), 1000);
        uint32_t known = 0;
        for (uint32_t rung = 1; rung < RAY_TUNER_RUNGS; rung++) {
            bool is_right = tuner.rungs[rung].ratio > 0.9 * kinds[k]->ratio[rung] && tuner.rungs[rung].ratio < 1.1 * kinds[k]->ratio[rung];
            CHECK(!tuner.rungs[rung].is_measured || is_right);
            known += tuner.rungs[rung].is_measured;
        }
        CHECK(known > 0);
        ray__tuner_end(&tuner);
    }
    // More kinds than there is room for push out the oldest.
    for (uint32_t i = 0; i < RAY__LESSONS_MAX; i++) {
        ray__tuner tuner;
        ray__tuner_init(&tuner, 2, 2);
        ray__tuner_sampled(&tuner, 1000, 100 + 100 * i, 1000);
        ray__tuner_link(&tuner, 1e8);
        ray__tuner_packed(&tuner, ray__ladder_choice(3), 1000, 100 + 100 * i, 1000);
        ray__tuner_remember(&tuner, &past);
        ray__tuner_end(&tuner);
    }
    for (uint32_t i = 0; i < RAY__LESSONS_MAX; i++) {
        CHECK(past.lessons[i].sample_ratio != ratios[2]);
    }
}

static void dataThatDoesNotShrinkIsSentRawAndRarelyLookedAt(void) {
    world w = world_of(&noise, gigabit, 2, 2);
    ray__tuner tuner;
    ray__tuner_init(&tuner, 2, 2);
    world_bring(&w, WORLD_AUTO, &tuner, 500);
    CHECK_EQUAL(w.counts[0], 500);
    CHECK(w.samples < 15);
    ray__tuner_end(&tuner);
}

static void aSlowLinkGetsTheStrongestThatGains(void) {
    world w = world_of(&training, hundred_megabit, 2, 2);
    ray__tuner tuner;
    ray__tuner_init(&tuner, 2, 2);
    world_bring(&w, WORLD_AUTO, &tuner, 200);
    CHECK(w.counts[11] + w.counts[12] > 150);
    ray__tuner_end(&tuner);
}

static bool is_on_hull(const ray__tuner *tuner, uint32_t rung) {
    bool is = false;
    for (uint32_t i = 0; i < tuner->hull_length; i++) {
        is = is || tuner->hull[i] == rung;
    }
    return is;
}

// Between neighbours that were measured well one bad moment would put a rung above the hull, where it is not used and so not measured again.
static void aColdMeasurementDoesNotKeepARungOutOfUse(void) {
    enum { RAW = 1000000 };
    static const struct {
        uint32_t rung;
        uint32_t stored;
        uint64_t core_ns;
        uint32_t times;
    } measured[] = {{5, 481500, 5800000, 1}, {4, 564500, 3900000, 5}, {6, 463000, 5030000, 5}};
    ray__tuner tuner;
    ray__tuner_init(&tuner, 2, 2);
    ray__tuner_sampled(&tuner, RAY_TUNER_SAMPLE, RAY_TUNER_SAMPLE / 2, 300000);
    ray__tuner_link(&tuner, gigabit);
    for (size_t i = 0; i < sizeof measured / sizeof measured[0]; i++) {
        for (uint32_t n = 0; n < measured[i].times; n++) {
            ray__tuner_packed(&tuner, ray__ladder_choice(measured[i].rung), RAW, measured[i].stored, measured[i].core_ns);
        }
    }
    CHECK(is_on_hull(&tuner, 5));
    // What is measured again and again is believed.
    for (uint32_t n = 0; n < 3; n++) {
        ray__tuner_packed(&tuner, ray__ladder_choice(5), RAW, 481500, 5800000);
    }
    CHECK(!is_on_hull(&tuner, 5));
    ray__tuner_end(&tuner);
}

// While it is packed the link would stand still, and at the end everything would be that much later.
static void theFirstChunkDoesNotKeepALinkWaiting(void) {
    enum { RAW = 1000000 };
    static const struct {
        uint32_t rung;
        uint32_t stored;
        uint64_t core_ns;
    } measured[] = {{5, 403000, 10000000}, {7, 337000, 13000000}, {11, 304000, 43000000}};
    ray__tuner tuner;
    ray__tuner_init(&tuner, 2, 2);
    ray__tuner_sampled(&tuner, RAY_TUNER_SAMPLE, RAY_TUNER_SAMPLE * 2 / 5, 300000);
    ray__tuner_link(&tuner, hundred_megabit);
    for (size_t i = 0; i < sizeof measured / sizeof measured[0]; i++) {
        for (uint32_t n = 0; n < 4; n++) {
            ray__tuner_packed(&tuner, ray__ladder_choice(measured[i].rung), RAW, measured[i].stored, measured[i].core_ns);
        }
    }
    tuner.price = 8e5;
    // 41 ms a MB of packing and sending, one after the other; what the price alone takes has 69.
    ray__backlog first = {.under_way = 1, .chunk_size = RAY_CHUNK_SIZE};
    CHECK_EQUAL(ray__tuner_choose(&tuner, &first).level, 3);
    ray__backlog beside = {.under_way = 2, .chunk_size = RAY_CHUNK_SIZE};
    CHECK_EQUAL(ray__tuner_choose(&tuner, &beside).level, 7);
    ray__backlog later = {.under_way = 6, .ready = 2, .ready_bytes = RAY_CHUNK_SIZE * 6 / 10, .chunk_size = RAY_CHUNK_SIZE};
    CHECK_EQUAL(ray__tuner_choose(&tuner, &later).level, 7);
    ray__tuner_end(&tuner);
}

int main(void) {
    RUN(onSharedCoresItFindsTheBestForEachLinkAndData);
    RUN(betweenTwoMachinesItFindsTheBestForSlowLinks);
    RUN(aFastLinkIsNotMuchSlowerThanRawWhateverTheCores);
    RUN(coresThatOthersUseMakeItStepDown);
    RUN(aLinkThatChangesIsFollowed);
    RUN(dataThatChangesIsFollowed);
    RUN(dataThatShrinksMoreThanBeforeIsNoticedBehindRawChunks);
    RUN(dataThatBeginsToShrinkIsNoticedInTime);
    RUN(loadThatComesAndGoesIsFollowed);
    RUN(aWeakReceiverGetsWhatItCanUnpack);
    RUN(aReceiverWhoseMachineIsBusyGetsWhatItCanUnpack);
    RUN(aReceiverThatGetsBusyInTheMiddleIsFollowed);
    RUN(betweenTwoWeakMachinesItFindsWhatBothCanDo);
    RUN(whatTheReceiverSaysDecides);
    RUN(aQuotaOfTheSenderMakesItStepDown);
    RUN(theFirstChunkOfAnUnknownLinkIsPackedLightlyIfItPlainlyShrinks);
    RUN(whatNearlyVanishesIsPackedFromTheFirstChunkOn);
    RUN(whatWasPackedWithoutAChoiceLetsOthersBegin);
    RUN(theNextTransferBeginsWithWhatTheLastOneFound);
    RUN(aLittleThingOverAFastLinkThatIsKnownGoesRawUnseen);
    RUN(ofAFastLinkThatIsKnownNotEvenTheFirstChunkIsPacked);
    RUN(aPastThatIsWrongCostsLittle);
    RUN(shortTransfersForgetAPastThatIsWrong);
    RUN(ofEachKindOfDataSomethingElseIsKept);
    RUN(dataThatDoesNotShrinkIsSentRawAndRarelyLookedAt);
    RUN(aSlowLinkGetsTheStrongestThatGains);
    RUN(aColdMeasurementDoesNotKeepARungOutOfUse);
    RUN(theFirstChunkDoesNotKeepALinkWaiting);
    return 0;
}
