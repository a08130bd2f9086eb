// SPDX-License-Identifier: MIT
//
// Fixed amounts of work for callgrind: instructions.sh runs this under valgrind and reads what each
// measured_...() function cost. Time is counted, not measured, so that the counts repeat exactly;
// a look at the real clock comes on top, twice per cycle (about 20 ns each).
//
//     instructions            runs everything once and prints "<function> <operations>" per line
//     instructions <name>     only that, for a profile of its own
#include <sluice/sluice.hpp>

#include "support/workload.hpp"
#include "support/yardsticks.hpp"

#include <boost/asio/awaitable.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/deferred.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/use_awaitable.hpp>

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <mutex>
#include <optional>
#include <string_view>
#include <vector>

namespace {

namespace asio = boost::asio;

constexpr std::size_t buckets = 10'000;
constexpr std::size_t operations = 30'000;

/// What has been computed for nothing must not be optimised away.
void consume(std::int64_t value) {
    asm volatile("" : : "r"(value) : "memory");
}

void require(bool condition) {
    if (condition) return;
    std::fputs("instructions: a limit was in the way\n", stderr);
    std::exit(1);
}

inline constexpr auto edit_message =
    sluice::route<"PATCH /channels/{channel.id}/messages/{message.id}">;

/// Whether two routes show one hash, so that each answer is compared with those of the other.
enum class Routes { one, two };

/// A limiter whose buckets all exist and have answers.
template <class Mutex>
struct Bench {
    using Manager = sluice::BasicBucketManager<bench::StepClock, Mutex>;

    asio::io_context context{1};
    Manager limiter{context, bench::open_options(buckets)};
    bench::LockedCounters counters;
    bench::Reply reply = bench::full_reply();
    sluice::Response answer = sluice::response_from(reply);

    explicit Bench(Routes routes) {
        counters.reserve(buckets);
        for (std::size_t i = 0; i < buckets; ++i) {
            const std::uint64_t channel = bench::channel(i);
            use(bench::create_message(channel));
            if (routes == Routes::two) use(edit_message(channel, 1));
            counters.acquire(channel);
        }
    }

    void use(const sluice::Route& route) {
        auto ticket = limiter.try_acquire(route);
        require(ticket.has_value());
        ticket->update(answer);
    }

    void try_acquire(std::size_t count) {
        bench::Wander channels(buckets);
        for (std::size_t i = 0; i < count; ++i)
            use(bench::create_message(channels.next()));
    }

    void try_acquire_and_parse(std::size_t count) {
        bench::Wander channels(buckets);
        for (std::size_t i = 0; i < count; ++i) {
            auto ticket = limiter.try_acquire(bench::create_message(channels.next()));
            require(ticket.has_value());
            ticket->update(sluice::response_from(reply));
        }
    }

    asio::awaitable<void> acquire(std::size_t count) {
        bench::Wander channels(buckets);
        for (std::size_t i = 0; i < count; ++i) {
            const sluice::Route route = bench::create_message(channels.next());
            sluice::Ticket ticket = co_await limiter.acquire(route);
            ticket.update(answer);
        }
    }

    asio::awaitable<void> async_acquire(std::size_t count) {
        bench::Wander channels(buckets);
        for (std::size_t i = 0; i < count; ++i) {
            const sluice::Route route = bench::create_message(channels.next());
            sluice::Ticket ticket = co_await limiter.async_acquire(route, asio::deferred);
            ticket.update(answer);
        }
    }

    asio::awaitable<void> ready_awaitable(std::size_t count) {
        bench::Wander channels(buckets);
        for (std::size_t i = 0; i < count; ++i) {
            const std::uint64_t channel = channels.next();
            consume(co_await counters.async_acquire(channel));
            consume(counters.update(channel));
        }
    }

    void run(asio::awaitable<void> work) {
        asio::co_spawn(context, std::move(work), asio::detached);
        context.restart();
        context.run();
    }
};

using Locked = Bench<std::mutex>;
using Unlocked = Bench<sluice::NullMutex>;

/// Requests that queue up in one bucket, to be let go together.
class Waiting {
public:
    explicit Waiting(std::size_t count) {
        probe_ = limiter_.try_acquire(route_);
        require(probe_.has_value());
        tickets_.reserve(count);
        for (std::size_t i = 0; i < count; ++i)
            asio::co_spawn(context_, wait(), asio::detached);
        context_.restart();
        context_.poll();
        require(limiter_.stats().queued == count);
    }
    void wake() {
        probe_->update(open_);
        context_.restart();
        context_.poll();
    }
    [[nodiscard]] std::size_t woken() const noexcept { return tickets_.size(); }

private:
    asio::awaitable<void> wait() { tickets_.push_back(co_await limiter_.acquire(route_)); }

    asio::io_context context_{1};
    sluice::BucketManager limiter_{context_, bench::open_options(1)};
    sluice::Route route_ = bench::create_message(bench::channel(0));
    sluice::Response open_ = sluice::response_from(bench::full_reply());
    std::optional<sluice::Ticket> probe_;
    std::vector<sluice::Ticket> tickets_;
};

std::optional<Waiting> waiting;
std::optional<Locked> locked;
std::optional<Unlocked> unlocked;
std::optional<Locked> shared;

} // namespace

// C names, so that instructions.sh finds them in the profile whatever the compiler.
extern "C" {

#define SLUICE_MEASURED [[gnu::noinline]] void

SLUICE_MEASURED measured_try_acquire() {
    locked->try_acquire(operations);
}
SLUICE_MEASURED measured_try_acquire_unlocked() {
    unlocked->try_acquire(operations);
}
SLUICE_MEASURED measured_try_acquire_shared() {
    shared->try_acquire(operations);
}
SLUICE_MEASURED measured_try_acquire_and_parse() {
    locked->try_acquire_and_parse(operations);
}
SLUICE_MEASURED measured_acquire() {
    locked->run(locked->acquire(operations));
}
SLUICE_MEASURED measured_acquire_unlocked() {
    unlocked->run(unlocked->acquire(operations));
}
SLUICE_MEASURED measured_async_acquire() {
    locked->run(locked->async_acquire(operations));
}

SLUICE_MEASURED measured_wake() {
    waiting->wake();
}

SLUICE_MEASURED measured_parse() {
    for (std::size_t i = 0; i < operations; ++i) {
        consume(sluice::response_from(locked->reply).remaining.value_or(0));
    }
}

SLUICE_MEASURED measured_route() {
    bench::Wander channels(buckets);
    for (std::size_t i = 0; i < operations; ++i) {
        const sluice::Route route = bench::create_message(channels.next());
        consume(static_cast<std::int64_t>(std::hash<sluice::Route>()(route)));
    }
}

SLUICE_MEASURED measured_ready_awaitable() {
    locked->run(locked->ready_awaitable(operations));
}

SLUICE_MEASURED measured_locked_map() {
    bench::Wander channels(buckets);
    for (std::size_t i = 0; i < operations; ++i) {
        const std::uint64_t channel = channels.next();
        consume(locked->counters.acquire(channel));
        consume(locked->counters.update(channel));
    }
}

#undef SLUICE_MEASURED
}

namespace {

/// Only the waking is measured: update() of the probe until the last coroutine has run.
void queue_and_wake() {
    constexpr std::size_t together = 1'000;
    for (std::size_t woken = 0; woken < operations; woken += together) {
        waiting.emplace(together);
        measured_wake();
        require(waiting->woken() == together);
    }
}

struct Measured {
    std::string_view name;
    void (*run)();
};

constexpr std::array<Measured, 12> all{{
    {"try_acquire", measured_try_acquire},
    {"try_acquire_unlocked", measured_try_acquire_unlocked},
    {"try_acquire_shared", measured_try_acquire_shared},
    {"try_acquire_and_parse", measured_try_acquire_and_parse},
    {"acquire", measured_acquire},
    {"acquire_unlocked", measured_acquire_unlocked},
    {"async_acquire", measured_async_acquire},
    {"wake", queue_and_wake},
    {"parse", measured_parse},
    {"route", measured_route},
    {"ready_awaitable", measured_ready_awaitable},
    {"locked_map", measured_locked_map},
}};

} // namespace

int main(int count, char** arguments) {
    const std::string_view wanted = count > 1 ? arguments[1] : "";
    bench::leave_single_threaded_mode();
    locked.emplace(Routes::one);
    unlocked.emplace(Routes::one);
    shared.emplace(Routes::two);
    for (const Measured& each : all) {
        if (!wanted.empty() && each.name != wanted) continue;
        each.run();
        std::printf("%s %zu\n", each.name.data(), operations);
    }
    waiting.reset();
    shared.reset();
    unlocked.reset();
    locked.reset();
    return 0;
}
