// SPDX-License-Identifier: MIT
//
// What every request of an outgoing address has to pass, whichever token it carries: Cloudflare's
// blocks, and the count of invalid requests that ends in a ban. Also the limit of requests that
// carry no token. Several limiters may share a gate, so unlike the rest of the core it has a lock
// of its own.
#ifndef SLUICE_CORE_GATE_HPP
#define SLUICE_CORE_GATE_HPP

#include <sluice/core/allowance.hpp>
#include <sluice/core/invalid_requests.hpp>
#include <sluice/core/slow_start.hpp>
#include <sluice/core/time.hpp>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <mutex>
#include <optional>

namespace sluice::core {

class Gate {
public:
    /// Discord docs, "Rate Limits": requests without `Authorization` count against the address.
    struct TokenlessLimit {
        std::int64_t limit = 50; ///< 0: none
        Duration period = std::chrono::seconds(1);
    };

    Gate(const InvalidRequestLimits& limits, bool count_shared,
         const TokenlessLimit& tokenless = {50, std::chrono::seconds(1)}) noexcept
        : invalid_(limits), count_shared_(count_shared) {
        tokenless_.limit.configure(tokenless.limit, tokenless.period, Duration(0));
    }

    [[nodiscard]] bool counts_shared() const noexcept { return count_shared_; }

    /// Notes that one more limiter uses this gate, or one fewer. While several do, one of them
    /// cannot hear of the answers to the others, and has to look again by itself.
    void join() noexcept { limiters_.fetch_add(1, std::memory_order_relaxed); }
    void leave() noexcept { limiters_.fetch_sub(1, std::memory_order_relaxed); }
    [[nodiscard]] bool shared() const noexcept {
        return limiters_.load(std::memory_order_relaxed) > 1;
    }

    /// Nothing passes before `until`.
    void block_until(Time now, Time until) {
        const std::lock_guard lock(mutex_);
        if (until > now) start_.close(now, until);
        watched_ = true;
    }

    /// Notes that Cloudflare refused a request. Returns how long nothing passes: what the answer
    /// told, or a minute if it told nothing; see slow_start.hpp for what follows, and for how the
    /// wait grows when it was too short.
    Duration refuse(Time sent, Time now, std::optional<Duration> told) {
        const std::lock_guard lock(mutex_);
        watched_ = true;
        return start_.refuse(sent, now, told.value_or(untold));
    }

    /// Notes that an answer to a request sent then came from behind Cloudflare.
    void accepted(Time sent, Time now) {
        if (untroubled()) return;
        const std::lock_guard lock(mutex_);
        start_.succeed(sent);
        if (start_.idle() && !invalid_.slows(now) && !invalid_.stops(now)) watched_ = false;
    }

    /// Notes an answer of 401, 403 or a 429 that counts.
    void add_invalid(Time now) {
        const std::lock_guard lock(mutex_);
        invalid_.add(now);
        if (invalid_.slows(now) || invalid_.stops(now)) watched_ = true;
        if (invalid_.stops(now)) start_.close(now, invalid_.stops_until(now));
    }

    /// True if nothing is blocked or spaced: the fast path of nearly every request.
    [[nodiscard]] bool untroubled() const noexcept {
        return !watched_.load(std::memory_order_relaxed);
    }

    /// Returns when the next request may pass if no answer comes before, at least `now`.
    [[nodiscard]] Time opens(Time now) {
        if (untroubled()) return now;
        const std::lock_guard lock(mutex_);
        return greater(start_.opens(now), spaced(now));
    }

    /// Returns a lower bound: nothing passes before, whatever is answered meanwhile.
    [[nodiscard]] Time closed_until(Time now) {
        if (untroubled()) return now;
        const std::lock_guard lock(mutex_);
        return greater(start_.closed_until(now), spaced(now));
    }

    /// Notes that a request passes. Call it only when opens(now) == now.
    void pass(Time now) {
        if (untroubled()) return;
        const std::lock_guard lock(mutex_);
        last_ = now;
        start_.pass(now);
    }
    /// Notes that a request that had passed was answered, lost or cancelled.
    void land(Time sent) {
        if (untroubled()) return;
        const std::lock_guard lock(mutex_);
        start_.land(sent);
    }

    /// Calls `use` with the allowance of requests without `Authorization`, under the lock.
    template <class Use>
    decltype(auto) with_tokenless(Use use) {
        const std::lock_guard lock(mutex_);
        return use(tokenless_);
    }

    /// True if acquires are refused rather than delayed.
    [[nodiscard]] bool stopped(Time now) {
        if (untroubled()) return false;
        const std::lock_guard lock(mutex_);
        return invalid_.stops(now);
    }
    [[nodiscard]] bool slowed(Time now) {
        if (untroubled()) return false;
        const std::lock_guard lock(mutex_);
        return invalid_.slows(now);
    }
    [[nodiscard]] Time stopped_until(Time now) {
        const std::lock_guard lock(mutex_);
        return invalid_.stops_until(now);
    }
    [[nodiscard]] std::int64_t invalid(Time now) {
        const std::lock_guard lock(mutex_);
        return invalid_.count(now);
    }

    /// As closed_until(), without the spacing of requests.
    [[nodiscard]] Time blocked_until(Time now) {
        const std::lock_guard lock(mutex_);
        return start_.closed_until(now);
    }
    /// As InvalidRequests::each_slice(). `visit` must not use this gate.
    template <class Visitor>
    void each_invalid(Time now, Visitor visit) {
        const std::lock_guard lock(mutex_);
        invalid_.each_slice(now, visit);
    }
    /// Takes over invalid requests counted before, unless this address has counted some itself:
    /// several limiters share it, and each may have saved what all of them did.
    template <class Slices>
    void restore_invalid(const Slices& slices, Time then, Time now) {
        const std::lock_guard lock(mutex_);
        if (invalid_.count(now) != 0) return;
        invalid_.restore(slices, then);
        if (invalid_.slows(now) || invalid_.stops(now)) watched_ = true;
    }

private:
    /// Observed: Cloudflare's blocks last from minutes to an hour (discord-api-docs#5385, 2022-08).
    static constexpr Duration untold = std::chrono::minutes(1);

    [[nodiscard]] Time spaced(Time now) noexcept {
        const Duration spacing = invalid_.spacing(now);
        return spacing == Duration(0) || last_ == Time::min() ? now : greater(now, last_ + spacing);
    }

    std::mutex mutex_;
    InvalidRequests invalid_;
    SlowStart start_;     // after a block by Cloudflare, or the stop
    Allowance tokenless_; // of requests without `Authorization`
    bool count_shared_;
    Time last_ = Time::min(); // when a request last passed while requests were spaced
    std::atomic<int> limiters_ = 0;
    std::atomic<bool> watched_ = false;
};

} // namespace sluice::core

#endif
