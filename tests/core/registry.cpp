// SPDX-License-Identifier: MIT
//
// Who is who, and who lives how long. Places point at buckets that may be renamed, merged and
// merged again before they come back; the sanitizers watch over what these tests touch.
#include <sluice/core/registry.hpp>

#include "support/catch.hpp"

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <random>
#include <string>
#include <utility>
#include <vector>

namespace {

using namespace sluice::core;
using namespace std::chrono_literals;

constexpr Time start = Time(1h);

Major channel(std::uint64_t id) {
    return {MajorKind::channel, 0, id};
}
LaneKey key(std::uint64_t route, std::uint64_t id = 1) {
    return {route, channel(id), 0};
}

Observation spent(Duration reset_after) {
    Observation seen;
    seen.sent = seen.received = start;
    seen.limit = 5;
    seen.remaining = 0;
    seen.reset_after = reset_after;
    return seen;
}

/// A place as the scheduler holds it.
struct Pin {
    Pin(Registry& its_registry, Bucket& issuer) : registry(its_registry), bucket(&issuer) {
        registry.add_place(issuer);
        ++issuer.in_flight;
    }
    void give_back() {
        --Registry::resolve(bucket).in_flight;
        registry.drop_place(bucket);
        bucket = nullptr;
    }
    Registry& registry;
    Bucket* bucket;
};

} // namespace

TEST_CASE("a lane is made once, on the bucket of its route while no hash is known", "[R1]") {
    Registry registry;
    Lane& lane = registry.lane(key(1), {});
    CHECK(&registry.lane(key(1), {}) == &lane);
    CHECK(registry.find_lane(key(1)) == &lane);
    CHECK(registry.find_lane(key(2)) == nullptr);
    CHECK_FALSE(lane.bucket->key.hash_known);
    CHECK(registry.lane(key(2), {}).bucket != lane.bucket);
    CHECK(registry.lane(key(1, 2), {}).bucket != lane.bucket);
}

TEST_CASE("tags of one route queue apart and draw on one bucket", "[R12]") {
    Registry registry;
    LaneKey tagged = key(1);
    tagged.tag = 3;
    CHECK(&registry.lane(tagged, {}) != &registry.lane(key(1), {}));
    CHECK(registry.lane(tagged, {}).bucket == registry.lane(key(1), {}).bucket);
}

TEST_CASE("routes known to belong together share a bucket before any answer", "[R6]") {
    Registry registry;
    Lane& put = registry.lane(key(1), {.family = 77});
    Lane& erase = registry.lane(key(2), {.family = 77});
    CHECK(put.bucket == erase.bucket);
    registry.learn(77, registry.intern("a"));
    CHECK(registry.lane(key(2, 5), {.family = 77}).bucket->key.hash_known);
}

TEST_CASE("hashes are interned once and found by their text") {
    Registry registry;
    const HashId id = registry.intern("abc");
    CHECK(id != 0);
    CHECK(registry.intern("abc") == id);
    CHECK(registry.find_hash("abc") == id);
    CHECK(registry.hash_text(id) == "abc");
    CHECK(registry.find_hash("abcd") == 0);
    CHECK(registry.intern("") == 0);
    CHECK(registry.hash_text(0).empty());
}

TEST_CASE("a server that sends ever new hashes costs bounded memory", "[R22]") {
    Registry registry;
    for (std::size_t i = 0; i < Registry::most_hashes; ++i)
        REQUIRE(registry.intern("hash " + std::to_string(i)) != 0);
    CHECK(registry.intern("one too many") == 0);
    CHECK(registry.find_hash("hash 0") != 0);
}

TEST_CASE("ever new routes cost bounded memory", "[R22]") {
    Registry registry;
    const HashId hash = registry.intern("a");
    for (std::uint64_t route = 1; route <= Registry::most_routes + 10; ++route)
        registry.learn(route, hash);
    CHECK(registry.learned(1) == hash);
    CHECK(registry.learned(Registry::most_routes + 1) == 0);
    CHECK_FALSE(registry.lane(key(Registry::most_routes + 1), {}).bucket->key.hash_known);
}

TEST_CASE("a renamed bucket is found by its new name only and keeps its lanes", "[R1]") {
    Registry registry;
    Lane& lane = registry.lane(key(1), {});
    Bucket& bucket = *lane.bucket;
    const BucketKey before = bucket.key;
    const BucketKey after = registry.key_of(registry.intern("a"), lane);
    registry.rename(bucket, after);
    CHECK(registry.find_bucket(after) == &bucket);
    CHECK(registry.find_bucket(before) == nullptr);
    CHECK(lane.bucket == &bucket);
    CHECK(registry.hash_of(bucket) == "a");
    CHECK(registry.next_unknown(1) == nullptr);
}

TEST_CASE("the unknown buckets of a route are found until each has its hash", "[R1]") {
    Registry registry;
    const HashId hash = registry.intern("a");
    for (std::uint64_t id = 1; id <= 10; ++id)
        registry.lane(key(1, id), {});
    registry.lane(key(2), {});
    std::size_t renamed = 0;
    while (Bucket* unknown = registry.next_unknown(1)) {
        registry.rename(*unknown, registry.key_of(hash, unknown->lanes.front()));
        ++renamed;
    }
    CHECK(renamed == 10);
    CHECK(registry.next_unknown(2) != nullptr);
}

TEST_CASE("a merged bucket's lanes, queues and places count in the other one", "[R8]") {
    Registry registry;
    Lane& one = registry.lane(key(1), {});
    Lane& two = registry.lane(key(2), {});
    Bucket& from = *one.bucket;
    Bucket& to = *two.bucket;
    one.queued = from.queued = 3;
    Pin pin(registry, from);
    from.lose(start, 2);
    registry.merge(from, to);
    CHECK(one.bucket == &to);
    CHECK(to.queued == 3);
    CHECK(to.out(start) == 3);
    CHECK(&Registry::resolve(pin.bucket) == &to);
    pin.give_back();
    CHECK(to.out(start) == 2);
    CHECK(to.places == 0);
    one.queued = to.queued = 0;
}

TEST_CASE("a merged bucket lives as long as places point at it, through any number of merges") {
    Registry registry;
    std::vector<Pin> pins;
    std::vector<Bucket*> buckets;
    for (std::uint64_t route = 1; route <= 4; ++route) {
        buckets.push_back(registry.lane(key(route), {}).bucket);
        pins.emplace_back(registry, *buckets.back());
    }
    for (std::size_t i = 0; i + 1 < buckets.size(); ++i)
        registry.merge(*buckets[i], *buckets[i + 1]);
    CHECK(buckets.back()->in_flight == 4);
    CHECK(registry.bucket_count() == 1);
    for (const std::size_t i : {1UL, 0UL, 3UL, 2UL}) // in no particular order
        pins[i].give_back();
    CHECK(buckets.back()->in_flight == 0);
    CHECK(buckets.back()->places == 0);
}

TEST_CASE("places survive random merges, in whatever order they come back") {
    for (std::uint64_t seed = 0; seed < 200; ++seed) {
        CAPTURE(seed);
        std::mt19937_64 random(seed);
        Registry registry;
        std::vector<Bucket*> roots;
        std::vector<Pin> pins;
        for (std::uint64_t route = 1; route <= 12; ++route)
            roots.push_back(registry.lane(key(route), {}).bucket);
        while (roots.size() > 1) {
            for (std::size_t i = random() % 4; i > 0; --i)
                pins.emplace_back(registry, *roots[random() % roots.size()]);
            const std::size_t from = random() % roots.size();
            std::swap(roots[from], roots.back());
            registry.merge(*roots.back(), *roots[random() % (roots.size() - 1)]);
            roots.pop_back();
            if (pins.empty() || random() % 2 == 0) continue;
            pins.back().give_back();
            pins.pop_back();
        }
        REQUIRE(roots[0]->in_flight == pins.size());
        for (Pin& pin : pins)
            pin.give_back();
        REQUIRE(roots[0]->in_flight == 0);
        REQUIRE(roots[0]->places == 0);
        REQUIRE(registry.bucket_count() == 1);
        registry.set_idle(*roots[0], start);
        REQUIRE(registry.collect(start, start) == 1);
        REQUIRE(registry.lane_count() == 0);
    }
}

TEST_CASE("a moved lane takes its queue along", "[R4]") {
    Registry registry;
    Lane& lane = registry.lane(key(1), {});
    Bucket& from = *lane.bucket;
    Bucket& to = *registry.lane(key(2), {}).bucket;
    lane.queued = from.queued = 4;
    registry.move_lane(lane, to);
    CHECK(from.queued == 0);
    CHECK(from.lanes.empty());
    CHECK(to.queued == 4);
    CHECK(lane.bucket == &to);
    lane.queued = to.queued = 0;
}

TEST_CASE("only what is idle is evicted, the longest idle first", "[R23]") {
    Registry registry;
    for (std::uint64_t id = 1; id <= 3; ++id)
        registry.set_idle(*registry.lane(key(1, id), {}).bucket, start + id * 1s);
    registry.lane(key(1, 4), {}); // never rested
    CHECK(registry.collect(start + 1h, start + 2s) == 2);
    CHECK(registry.find_lane(key(1, 1)) == nullptr);
    CHECK(registry.find_lane(key(1, 2)) == nullptr);
    CHECK(registry.find_lane(key(1, 3)) != nullptr);
    CHECK(registry.idle_count() == 1);
    CHECK(registry.bucket_count() == 2);
}

TEST_CASE("nothing is evicted that could be lost", "[R23]") {
    Registry registry;
    Lane& lane = registry.lane(key(1), {});
    Bucket& bucket = *lane.bucket;
    registry.set_idle(bucket, start);
    const auto evicted_at = [&](Time now) { return registry.collect(now, start); };

    SECTION("an open window") {
        bucket.window.accept(spent(10s), Duration(0));
        CHECK(evicted_at(start + 5s) == 0);
        CHECK(evicted_at(start + 11s) == 1);
    }
    SECTION("a lost request that may have counted") {
        bucket.lose(start);
        CHECK(evicted_at(start + 999ms) == 0);
        CHECK(evicted_at(start + 1s) == 1);
    }
    SECTION("a blocked bucket") {
        bucket.window.block_until(start + 10s);
        CHECK(evicted_at(start + 5s) == 0);
        CHECK(evicted_at(start + 10s) == 1);
    }
    SECTION("a blocked lane") {
        lane.blocked_until = start + 10s;
        CHECK(evicted_at(start + 5s) == 0);
        CHECK(evicted_at(start + 10s) == 1);
    }
    SECTION("a lane that somebody holds, if only to retry") {
        ++lane.holders;
        CHECK(evicted_at(start + 1h) == 0);
        --lane.holders;
        CHECK(evicted_at(start + 1h) == 1);
    }
}

TEST_CASE("only buckets with waiters are visited, however many there are") {
    Registry registry;
    for (std::uint64_t id = 1; id <= 100; ++id)
        registry.set_idle(*registry.lane(key(1, id), {}).bucket, start);
    Lane& used = registry.lane(key(1, 7), {});
    Lane& merged = registry.lane(key(2, 8), {});
    registry.set_waiting(*used.bucket);
    merged.queued = merged.bucket->queued = 1;
    registry.set_waiting(*merged.bucket);
    registry.merge(*merged.bucket, *registry.lane(key(1, 9), {}).bucket); // which was idle
    std::vector<Lane*> visited;
    registry.each_waiting_lane([&](Lane& lane) {
        visited.push_back(&lane);
        lane.bucket->queued -= std::exchange(lane.queued, 0);
        registry.set_idle(*lane.bucket, start); // allowed, and disturbs nobody
    });
    REQUIRE(visited.size() == 3);
    CHECK(visited[0] == &used);
    CHECK(std::count(visited.begin(), visited.end(), &merged) == 1);
    CHECK(registry.idle_count() == 100);
}

TEST_CASE("a sweep takes a few steps and no more", "[R23]") {
    Registry registry;
    for (std::uint64_t id = 1; id <= 100; ++id)
        registry.set_idle(*registry.lane(key(1, id), {}).bucket, start);
    CHECK(registry.sweep(start + 1h, {1h, 1h, 1000}, 2) == 2);
    CHECK(registry.sweep(start + 1h, {1h + 1s, 1h + 1s, 1000}, 2) == 0); // none is idle that long
    CHECK(registry.sweep(start + 1h, {1h + 1s, 1h + 1s, 50}, 20) == 20); // but there are too many
    CHECK(registry.idle_count() == 78);
}

TEST_CASE("a bucket that is used again and again is not evicted for its age", "[R23]") {
    Registry registry;
    for (std::uint64_t id = 1; id <= 10; ++id)
        registry.set_idle(*registry.lane(key(1, id), {}).bucket, start);
    Bucket& used = *registry.lane(key(1, 3), {}).bucket;
    for (int second = 1; second <= 100; ++second) {
        registry.set_idle(used, start + second * 1s);
        registry.sweep(start + second * 1s, {30s, 30s, 1000}, 2);
    }
    CHECK(registry.bucket_count() == 1);
    CHECK(registry.find_lane(key(1, 3)) != nullptr);
    CHECK(registry.sweep(start + 160s, {30s, 30s, 1000}, 2) == 1); // twice that time at the latest
}

TEST_CASE("however many buckets come and are used, no more stay than there may be", "[R23]") {
    Registry registry;
    std::size_t most = 0;
    for (std::uint64_t id = 1; id <= 10'000; ++id) {
        const Time now = start + id * 1ms;
        for (std::uint64_t again : {id, id * 7 % 40, id / 2}) { // new, hot and halfway back
            registry.set_idle(*registry.lane(key(1, again), {}).bucket, now);
            registry.sweep(now, {1h, 1h, 100}, 2);
        }
        most = std::max(most, registry.idle_count());
    }
    CHECK(most <= 120); // those used again are looked at twice
}

TEST_CASE("a bucket that nobody has used for a while sleeps, and wakes as it was", "[R23]") {
    Registry registry;
    Bucket& bucket = *registry.lane(key(1), {}).bucket;
    const HashId hash = registry.intern("a");
    registry.learn(1, hash);
    registry.rename(bucket, registry.key_of(hash, channel(1), 1));
    bucket.window.accept(spent(10s), Duration(0));
    registry.set_idle(bucket, start);
    const IdleLimits limits{30s, 1h, 1000};
    CHECK(registry.sweep(start + 29s, limits, 2) == 0);
    CHECK(registry.lane_count() == 1);
    CHECK(registry.sweep(start + 30s, limits, 2) == 0); // nothing is gone
    CHECK(registry.lane_count() == 0);
    CHECK(registry.bucket_count() == 1);
    CHECK(registry.idle_count() == 1);

    SECTION("for a lane") {
        const Lane& lane = registry.lane(key(1), {});
        CHECK(registry.hash_of(*lane.bucket) == "a");
        CHECK_FALSE(lane.bucket->has_several_lanes());
    }
    SECTION("for its name") {
        Bucket* const found = registry.find_bucket(registry.key_of(hash, channel(1), 1));
        REQUIRE(found != nullptr);
        CHECK(found->lanes.empty());
    }
    Bucket& woken = *registry.lane(key(1), {}).bucket;
    CHECK(woken.window.limit() == 5);
    CHECK(woken.window.period() == 10s);
    CHECK(woken.window.available(start + 30s, 0, Duration(0)) == 5);
    CHECK(woken.last_used == start);
    CHECK(registry.bucket_count() == 1);
    CHECK(registry.idle_count() == 1);
    registry.sweep(start + 1min, limits, 2); // nobody took a place
    CHECK(registry.lane_count() == 0);
}

TEST_CASE("a bucket of which more is known than its window does not sleep", "[R23]") {
    Registry registry;
    Lane& lane = registry.lane(key(1), {});
    Bucket& bucket = *lane.bucket;
    registry.set_idle(bucket, start);
    const auto lanes_at = [&](Time now) {
        registry.sweep(now, {30s, 24h, 1000}, 10);
        return registry.lane_count();
    };
    SECTION("an open window") {
        bucket.window.accept(spent(1h), Duration(0));
        CHECK(lanes_at(start + 30min) == 1);
        CHECK(lanes_at(start + 61min) == 0);
    }
    SECTION("a place") {
        Pin pin(registry, bucket);
        CHECK(lanes_at(start + 1h) == 1);
        pin.give_back();
        registry.set_idle(bucket, start + 1h);
        CHECK(lanes_at(start + 1h + 30s) == 0);
    }
    SECTION("somebody who may retry") {
        ++lane.holders;
        CHECK(lanes_at(start + 1h) == 1);
        --lane.holders;
        CHECK(lanes_at(start + 2h) == 0);
    }
    SECTION("refusals that its route alone has met") {
        lane.strikes = 1;
        CHECK(lanes_at(start + 1h) == 1);
        lane.strikes = 0;
        CHECK(lanes_at(start + 2h) == 0);
    }
    SECTION("an exemption from the global limit that its key does not show") {
        lane.traits.exempt = true;
        CHECK(lanes_at(start + 1h) == 1);
        lane.traits.exempt = false;
        CHECK(lanes_at(start + 2h) == 0);
    }
    SECTION("how its routes share it") {
        static_cast<void>(bucket.sharing());
        CHECK(lanes_at(start + 1h) == 1);
        bucket.forget_sharing();
        CHECK(lanes_at(start + 2h) == 0);
    }
    SECTION("a lane that would look for it elsewhere") {
        registry.learn(1, registry.intern("a"));
        CHECK(lanes_at(start + 1h) == 1);
        registry.rename(bucket, registry.key_of(registry.intern("a"), lane));
        CHECK(lanes_at(start + 2h) == 0);
    }
}

TEST_CASE("an interaction's bucket wakes with its exemption from the global limit", "[R16]") {
    Registry registry;
    const LaneKey callback{1, {MajorKind::interaction, 0, 42}, 0};
    registry.set_idle(*registry.lane(callback, {.exempt = true}).bucket, start);
    registry.sweep(start + 30s, {30s, 1h, 1000}, 2);
    REQUIRE(registry.lane_count() == 0);
    registry.lane({2, callback.major, 0}, {});
    CHECK(registry.lane(callback, {}).traits.exempt);
}

TEST_CASE("who sleeps is not told the hash of its route, and asks for itself", "[R1]") {
    Registry registry;
    registry.set_idle(*registry.lane(key(1, 1), {}).bucket, start);
    registry.set_idle(*registry.lane(key(1, 2), {}).bucket, start);
    registry.sweep(start + 30s, {30s, 1h, 1000}, 2);
    REQUIRE(registry.lane_count() == 0);
    CHECK(registry.next_unknown(1) == nullptr);
    const Bucket* const awake = registry.lane(key(1, 1), {}).bucket;
    CHECK(registry.next_unknown(1) == awake);
    registry.learn(1, registry.intern("a"));
    CHECK(registry.lane(key(1, 2), {}).bucket->key.hash_known);
}

TEST_CASE("buckets that sleep are evicted for their age and number all the same", "[R23]") {
    Registry registry;
    for (std::uint64_t id = 1; id <= 10; ++id)
        registry.set_idle(*registry.lane(key(1, id), {}).bucket, start + id * 1s);
    registry.sweep(start + 1min, {30s, 5min, 1000}, 100);
    REQUIRE(registry.lane_count() == 0);
    REQUIRE(registry.bucket_count() == 10);
    SECTION("the oldest first") {
        CHECK(registry.sweep(start + 5min + 2s, {30s, 5min, 1000}, 100) == 2);
        CHECK(registry.find_bucket(registry.home_of(channel(2), 1)) == nullptr);
        CHECK(registry.find_bucket(registry.home_of(channel(3), 1)) != nullptr);
    }
    SECTION("when there are too many") {
        CHECK(registry.sweep(start + 1min, {30s, 5min, 6}, 100) == 4);
        CHECK(registry.idle_count() == 6);
    }
    SECTION("when asked to") {
        CHECK(registry.collect(start + 1min, start + 3s) == 3);
        CHECK(registry.idle_count() == 7);
    }
    SECTION("not when they have been used since") {
        registry.set_idle(*registry.lane(key(1, 1), {}).bucket, start + 2min);
        CHECK(registry.sweep(start + 6min, {30s, 5min, 1000}, 100) == 9);
        CHECK(registry.find_lane(key(1, 1)) == nullptr);
        CHECK(registry.find_bucket(registry.home_of(channel(1), 1)) != nullptr);
    }
}

TEST_CASE("a bucket in use is not among the idle ones") {
    Registry registry;
    Bucket& bucket = *registry.lane(key(1), {}).bucket;
    registry.set_idle(bucket, start);
    Pin pin(registry, bucket);
    CHECK(registry.idle_count() == 0);
    CHECK(registry.collect(start + 1h, start + 1h) == 0);
    pin.give_back();
}

TEST_CASE("a hash whose routes count apart names a bucket for each of them", "[R8]") {
    Registry registry;
    Lane& one = registry.lane(key(1), {});
    Lane& two = registry.lane(key(2), {});
    const HashId hash = registry.intern("a");
    CHECK(registry.key_of(hash, one) == registry.key_of(hash, two));
    CHECK(registry.split(hash));
    CHECK_FALSE(registry.split(hash)); // once
    CHECK_FALSE(registry.key_of(hash, one) == registry.key_of(hash, two));
}
