// SPDX-License-Identifier: MIT
//
// What one call costs while n requests wait (1, 1k, 100k, 1M): in its own lane, as retries of its
// own lane, and in buckets of their own, all for the global limit. No call may take longer because
// others wait, but for those that answer for all of them. And the longest handler when they are due
// all at once.
//
//     crowd [most]      leaves out sizes above `most`
#include <sluice/sluice.hpp>

#include "support/report.hpp"
#include "support/timing.hpp"
#include "support/workload.hpp"

#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/io_context.hpp>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <utility>
#include <vector>

namespace {

namespace asio = boost::asio;
using namespace std::chrono_literals;

void require(bool condition) {
    if (condition) return;
    std::fputs("crowd: requests were not where they should be\n", stderr);
    std::exit(1);
}

const auto ignore = [](boost::system::error_code, const sluice::Ticket&) {};

sluice::AcquireOptions at_most(std::chrono::nanoseconds wait) {
    sluice::AcquireOptions options;
    options.max_wait = wait;
    return options;
}

sluice::Response refusal_of(sluice::Scope scope, std::int64_t limit = 5) {
    sluice::Response refusal = bench::answer_of(limit, 0, 1s);
    refusal.status = 429;
    refusal.retry_after = 1s;
    refusal.scope = scope;
    refusal.global = scope == sluice::Scope::global;
    return refusal;
}

sluice::Response bare(int status) {
    sluice::Response answer;
    answer.status = status;
    answer.from_discord = true;
    return answer;
}

/// Reports calls, one by one.
class Calls {
public:
    Calls(bench::Report& report, std::string among) : report_(report), among_(std::move(among)) {}
    template <class Call>
    void once(const std::string& name, Call call) {
        bench::Pauses pause;
        pause.time(call);
        tell(name, pause);
    }
    void tell(const std::string& name, const bench::Pauses& pause) {
        report_.row(name + among_, pause.worst_microseconds(), "us", bench::at_most(1000));
    }

private:
    bench::Report& report_;
    std::string among_;
};

/// All with a bound on their wait, and somebody elsewhere with a tight one.
void measure_lane(bench::Report& report, std::size_t waiters) {
    asio::io_context context{1};
    sluice::BucketManager limiter(context, bench::open_options(2));
    const sluice::Route route = bench::create_message(bench::channel(0));
    const sluice::Route elsewhere = bench::create_message(bench::channel(1));
    auto probe = limiter.try_acquire(route);
    auto other_probe = limiter.try_acquire(elsewhere);
    require(probe.has_value() && other_probe.has_value());
    for (std::size_t i = 0; i < waiters; ++i)
        limiter.async_acquire(route, at_most(100h), ignore);
    limiter.async_acquire(elsewhere, at_most(900ms), ignore);
    require(limiter.stats().queued == waiters + 1);

    Calls calls(report, " among " + std::to_string(waiters) + " waiters");
    calls.once("try_acquire", [&] { static_cast<void>(limiter.try_acquire(route)); });
    calls.once("timeout_for", [&] { static_cast<void>(limiter.timeout_for(route)); });
    calls.once("async_acquire, bounded",
               [&] { limiter.async_acquire(route, at_most(100h), ignore); });
    calls.once("update with a 429 of the bucket",
               [&] { probe->update(refusal_of(sluice::Scope::user)); });
    calls.once("update without a ticket",
               [&] { limiter.update(route, bench::answer_of(5, 0, 1s)); });
    require(limiter.stats().queued == waiters + 2); // nobody has been refused
    limiter.close();
    context.poll();
}

/// Requests that were under way together are refused together and wait again, before a newcomer. By
/// a limit shared with others, because no more than 10,000 refusals of one's own are safe.
void measure_retries(bench::Report& report, std::size_t retries) {
    const auto limit = static_cast<std::int64_t>(retries) + 1;
    asio::io_context context{1};
    sluice::BucketManager limiter(context, bench::open_options(1));
    const sluice::Route route = bench::create_message(bench::channel(0));
    limiter.try_acquire(route).value().update(bench::answer_of(limit, limit - 1, 1h));
    std::vector<sluice::Ticket> tickets;
    for (std::size_t i = 0; i < retries; ++i)
        tickets.push_back(limiter.try_acquire(route).value());
    limiter.async_acquire(route, ignore);
    require(limiter.stats().queued == 1);

    bench::Pauses pause;
    for (sluice::Ticket& ticket : tickets) {
        ticket.update(refusal_of(sluice::Scope::shared, limit));
        pause.time([&] { ticket.async_reacquire([](boost::system::error_code) {}); });
    }
    require(limiter.stats().queued == retries + 1);
    Calls(report, " behind up to " + std::to_string(retries)).tell("async_reacquire", pause);
    limiter.close();
    context.poll();
}

/// Each in a bucket of its own that has room, for the global limit.
void measure_buckets(bench::Report& report, std::size_t waiters) {
    constexpr std::size_t out = 4;
    asio::io_context context{1};
    sluice::Options options = bench::open_options(waiters + 2);
    options.global = {out + 1, 1h};
    sluice::BucketManager limiter(context, options);
    const sluice::Route busy = bench::create_message(bench::channel(waiters));
    limiter.try_acquire(busy).value().update(bench::answer_of(1'000'000, 900'000, 1h));
    std::vector<sluice::Ticket> tickets;
    for (std::size_t i = 0; i < out; ++i)
        tickets.push_back(limiter.try_acquire(busy).value());
    asio::cancellation_signal one;
    for (std::size_t i = 0; i < waiters; ++i) {
        const sluice::Route route = bench::create_message(bench::channel(i));
        limiter.async_acquire(route,
                              asio::bind_cancellation_slot(
                                  i == waiters / 2 ? one.slot() : decltype(one.slot())(), ignore));
    }
    require(limiter.stats().queued == waiters);

    const auto next = [&] {
        sluice::Ticket ticket = std::move(tickets.back());
        tickets.pop_back();
        return ticket;
    };
    const sluice::Route route = bench::create_message(bench::channel(waiters / 3));
    const sluice::Route webhook =
        sluice::route<"POST /webhooks/{webhook.id}/{webhook.token}">(1, "token");
    Calls calls(report, " among " + std::to_string(waiters) + " waiting buckets");
    calls.once("try_acquire", [&] { static_cast<void>(limiter.try_acquire(route)); });
    calls.once("timeout_for", [&] { static_cast<void>(limiter.timeout_for(route)); });
    calls.once("find", [&] { static_cast<void>(limiter.find(route)); });
    calls.once("stats", [&] { static_cast<void>(limiter.stats()); });
    calls.once("set_global", [&] { limiter.set_global({out, 2h}); });
    calls.once("replace_token", [&] { limiter.replace_token(); });
    calls.once("cancelling one", [&] { one.emit(asio::cancellation_type::terminal); });
    calls.once("update with a success", [&] { next().update(bench::answer_of(1'000'000, 1, 1h)); });
    calls.once("update with a global 429",
               [&] { next().update(refusal_of(sluice::Scope::global)); });
    calls.once("update with a 403", [&] { next().update(bare(403)); });
    calls.once("losing one", [&] { tickets.pop_back(); });
    calls.once("the first 404 of a webhook", [&] { limiter.update(webhook, bare(404)); });
    require(limiter.stats().queued == waiters - 1);
    limiter.close();
    context.poll();
}

/// Each in a bucket of its own, all of which open at the same moment.
void measure_due(bench::Report& report, std::size_t waiters) {
    asio::io_context context{1};
    sluice::BucketManager limiter(context, bench::open_options(waiters));
    std::size_t granted = 0;
    const auto end = std::chrono::steady_clock::now() + 1s + waiters * 3us;
    for (std::size_t i = 0; i < waiters; ++i) {
        const sluice::Route route = bench::create_message(bench::channel(i));
        sluice::Ticket probe = limiter.try_acquire(route).value();
        probe.update(bench::answer_of(1, 0, end - std::chrono::steady_clock::now()));
        limiter.async_acquire(route, [&granted](boost::system::error_code, sluice::Ticket ticket) {
            ++granted;
            ticket.cancel();
        });
    }
    require(limiter.stats().queued == waiters && std::chrono::steady_clock::now() < end);
    bench::Pauses pause;
    while (granted < waiters)
        pause.time([&] { return context.run_one(); });
    Calls(report, " of " + std::to_string(waiters) + " due at once").tell("longest handler", pause);
    limiter.close();
    context.poll();
}

} // namespace

int main(int count, char** arguments) {
    const std::size_t most =
        count > 1 ? std::strtoul(arguments[1], nullptr, 10) : std::size_t{1'000'000};
    bench::leave_single_threaded_mode();
    bench::Report report("one call as others wait");
    for (const std::size_t waiters : {1UL, 1'000UL, 100'000UL, 1'000'000UL}) {
        if (waiters > most) continue;
        measure_lane(report, waiters);
        measure_retries(report, waiters);
        measure_buckets(report, waiters);
        measure_due(report, waiters);
    }
    return 0;
}
