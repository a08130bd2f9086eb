// SPDX-License-Identifier: MIT
//
// Random worlds and request schedules for the simulation suite: what a bot meets, drawn from a
// seed. A seed gives the same run for ever, so a failing test names all that is needed to replay
// it.
#ifndef SLUICE_TESTS_SUPPORT_SIMULATION_RANDOM_HPP
#define SLUICE_TESTS_SUPPORT_SIMULATION_RANDOM_HPP

#include "support/simulation_world.hpp"

#include <algorithm>
#include <array>
#include <chrono>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <random>
#include <vector>

namespace sluice::tests {

/// Not <random>'s distributions: their results differ from one standard library to the next.
class Dice {
public:
    explicit Dice(std::uint64_t seed) : random_(seed * 7919 + 1) {}

    std::size_t below(std::size_t end) { return static_cast<std::size_t>(random_() % end); }
    bool one_in(std::size_t n) { return below(n) == 0; }
    double share() { return static_cast<double>(random_() >> 11U) / 9007199254740992.0; }
    Duration between(Duration low, Duration high) {
        return low + Duration(static_cast<std::int64_t>(share() *
                                                        static_cast<double>((high - low).count())));
    }
    /// One of three ranges is a single value.
    Range range(Duration low, Duration high) {
        const Duration a = between(low, high);
        const Duration b = one_in(3) ? a : between(low, high);
        return {std::min(a, b), std::max(a, b)};
    }
    template <class Item, std::size_t Size>
    Item of(const std::array<Item, Size>& items) {
        return items[below(Size)];
    }

private:
    std::mt19937_64 random_;
};

inline constexpr std::array algorithms{testing::Algorithm::fixed, testing::Algorithm::gcra,
                                       testing::Algorithm::sliding_log};
inline constexpr std::array global_algorithms{testing::Algorithm::fixed,
                                              testing::Algorithm::aligned, testing::Algorithm::gcra,
                                              testing::Algorithm::sliding_log};

/// Steady, mildly or heavily jittering.
inline void draw_delays(World& world, Dice& dice) {
    switch (dice.below(3)) {
    case 0: {
        const Duration forward = dice.between(5ms, 150ms);
        const Duration backward = dice.between(5ms, 150ms);
        world.forward = {forward, forward};
        world.backward = {backward, backward};
        break;
    }
    case 1:
        world.forward = dice.range(10ms, 300ms);
        world.backward = dice.range(10ms, 300ms);
        break;
    default:
        world.forward = world.backward = {10ms, 300ms};
    }
    if (dice.one_in(2)) {
        world.connect = dice.range(0ms, 300ms);
        world.connection_life = dice.range(5s, 60s);
    }
    if (dice.one_in(3)) world.upload = dice.range(0ms, 500ms);
    world.marks_sent = dice.one_in(4);
}

/// Half of all worlds have one route, the others up to three hashes shared by up to five routes.
inline void draw_limits(World& world, Dice& dice) {
    constexpr std::array<Duration, 8> periods{250ms, 500ms, 1s, 2s, 5s, 10s, 60s, 600s};
    const bool simple = dice.one_in(2);
    const std::size_t hashes = simple ? 1 : 1 + dice.below(3);
    const std::size_t routes = simple ? 1 : hashes + dice.below(3);
    world.limits.clear();
    world.routes.clear();
    for (std::size_t i = 0; i < hashes; ++i) {
        const auto limit = static_cast<std::int64_t>(1 + dice.below(50));
        world.limits.push_back({dice.of(algorithms), limit, dice.of(periods)});
    }
    for (std::size_t i = 0; i < routes; ++i)
        world.routes.push_back(i < hashes ? i : dice.below(hashes));
    world.channels = dice.one_in(3) ? 1 + dice.below(4) : 1;
}

inline World random_world(std::uint64_t seed) {
    Dice dice(seed);
    World world;
    world.seed = seed;
    draw_limits(world, dice);
    draw_delays(world, dice);
    if (dice.one_in(2)) world.skew = dice.between(0ms, 20ms);
    if (dice.one_in(4)) {
        world.global_limit = 50;
        world.global_algorithm = dice.of(global_algorithms);
    }
    return world;
}

inline double seconds(Duration duration) {
    return std::chrono::duration<double>(duration).count();
}
inline Duration from_seconds(double count) {
    return Duration(static_cast<std::int64_t>(count * 1e9));
}

/// What all counters of the world together allow.
inline double requests_per_second(const World& world) {
    double rate = 0;
    for (const testing::Limit& limit : world.limits)
        rate += static_cast<double>(limit.limit) / seconds(limit.period);
    return rate * static_cast<double>(world.channels);
}

/// Arrivals at random moments, `load` times as many as the limits allow.
inline std::vector<Request> poisson(const World& world, std::size_t count, double load,
                                    Dice& dice) {
    std::vector<Request> requests(count);
    double at = 0;
    for (Request& request : requests) {
        at -= std::log(1 - dice.share()) / (load * requests_per_second(world));
        request = {dice.below(world.routes.size()), dice.below(world.channels), from_seconds(at)};
    }
    return requests;
}

/// Bursts of eight on average, up to two of the shortest periods apart.
inline std::vector<Request> bursts(const World& world, std::size_t count, Dice& dice) {
    Duration period = world.limits.front().period;
    for (const testing::Limit& limit : world.limits)
        period = std::min(period, limit.period);
    std::vector<Request> requests(count);
    Duration at{0};
    for (Request& request : requests) {
        if (dice.one_in(8)) at += dice.between(0ns, 2 * period);
        request = {dice.below(world.routes.size()), dice.below(world.channels), at};
    }
    return requests;
}

/// From half to twice of what is allowed.
inline std::vector<Request> random_requests(const World& world) {
    Dice dice(world.seed + 0x5eed);
    const std::size_t count = 20 + dice.below(180);
    if (dice.one_in(2)) return bursts(world, count, dice);
    return poisson(world, count, 0.5 + 1.5 * dice.share(), dice);
}

} // namespace sluice::tests

#endif
