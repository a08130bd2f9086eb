// SPDX-License-Identifier: MIT
//
// What the limiter is measured against in the same run, so that a ratio survives a slower machine:
// a counter per channel in a locked standard map, touched at acquire and at update, as a plain
// call and behind an awaitable that is ready at once; and for waiters the least thing that can be
// waited for, whose handlers are called one after the other without an executor.
#ifndef SLUICE_TESTS_BENCH_SUPPORT_YARDSTICKS_HPP
#define SLUICE_TESTS_BENCH_SUPPORT_YARDSTICKS_HPP

#include <boost/asio/async_result.hpp>
#include <boost/asio/awaitable.hpp>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <unordered_map>
#include <utility>
#include <vector>

namespace bench {

class LockedCounters {
public:
    void reserve(std::size_t count) { in_flight_.reserve(count); }

    std::int64_t acquire(std::uint64_t channel) {
        const std::lock_guard lock(mutex_);
        return ++in_flight_[channel];
    }
    std::int64_t update(std::uint64_t channel) {
        const std::lock_guard lock(mutex_);
        return --in_flight_[channel];
    }
    boost::asio::awaitable<std::int64_t> async_acquire(std::uint64_t channel) {
        co_return acquire(channel);
    }

private:
    std::mutex mutex_;
    std::unordered_map<std::uint64_t, std::int64_t> in_flight_;
};

/// No order, no cancellation, no lock: what is left is the cost of whoever waits.
class BareWaiters {
public:
    template <class CompletionToken>
    auto async_wait(CompletionToken&& token) {
        return boost::asio::async_initiate<CompletionToken, void()>(
            [this](auto handler) {
                waiting_.push_back(std::make_unique<Held<decltype(handler)>>(std::move(handler)));
            },
            token);
    }
    [[nodiscard]] std::size_t size() const noexcept { return waiting_.size(); }
    void wake_all() {
        for (const std::unique_ptr<Waiting>& each : std::exchange(waiting_, {}))
            each->wake();
    }

private:
    struct Waiting {
        Waiting() = default;
        Waiting(const Waiting&) = delete;
        Waiting& operator=(const Waiting&) = delete;
        virtual ~Waiting() = default;
        virtual void wake() = 0;
    };
    template <class Handler>
    struct Held final : Waiting {
        explicit Held(Handler&& given) : handler(std::move(given)) {}
        void wake() override { std::move(handler)(); }
        Handler handler;
    };

    std::vector<std::unique_ptr<Waiting>> waiting_;
};

} // namespace bench

#endif
