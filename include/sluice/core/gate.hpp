// SPDX-License-Identifier: MIT
//
// What every request of an outgoing address has to pass, whichever token it carries: Cloudflare's
// blocks, and the count of invalid requests that ends in a ban. Several limiters may share one, so
// unlike the rest of the core it has a lock of its own.
#ifndef SLUICE_CORE_GATE_HPP
#define SLUICE_CORE_GATE_HPP

#include <sluice/core/invalid_requests.hpp>
#include <sluice/core/time.hpp>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <mutex>

namespace sluice::core {

class Gate {
public:
    Gate(const InvalidRequestLimits& limits, bool count_shared) noexcept
        : invalid_(limits), count_shared_(count_shared) {}

    [[nodiscard]] bool counts_shared() const noexcept { return count_shared_; }

    void block_until(Time until) {
        const std::lock_guard lock(mutex_);
        blocked_until_ = std::max(blocked_until_, until);
        watched_ = true;
    }

    /// How long a block lasts that told no time: a minute, doubling with each refusal of a request
    /// sent since the one before. Requests refused together count as one.
    [[nodiscard]] Duration back_off(Time sent, Time now) {
        const std::lock_guard lock(mutex_);
        if (sent > refused_) {
            if (refused_ != Time::min()) doublings_ = std::min(doublings_ + 1, most_doublings);
            refused_ = now;
        }
        watched_ = true;
        return first_back_off * (1 << doublings_);
    }

    /// Something from behind Cloudflare answered a request sent then.
    void accepted(Time sent) {
        if (untroubled()) return;
        const std::lock_guard lock(mutex_);
        if (sent <= refused_) return;
        refused_ = Time::min();
        doublings_ = 0;
    }

    /// An answer of 401, 403 or a 429 that counts.
    void add_invalid(Time now) {
        const std::lock_guard lock(mutex_);
        invalid_.add(now);
        if (invalid_.slows(now) || invalid_.stops(now)) watched_ = true;
    }

    /// Nothing has ever been in the way: the cheap answer that nearly every request gets.
    [[nodiscard]] bool untroubled() const noexcept {
        return !watched_.load(std::memory_order_relaxed);
    }

    /// When the next request may pass, at least `now`.
    [[nodiscard]] Time opens(Time now) {
        if (untroubled()) return now;
        const std::lock_guard lock(mutex_);
        return std::max({now, blocked_until_, spaced(now)});
    }

    /// A request passes. Call it only when opens(now) == now.
    void pass(Time now) {
        if (untroubled()) return;
        const std::lock_guard lock(mutex_);
        last_ = now;
    }

    /// Acquires are refused rather than delayed.
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

    /// Until when the address is blocked, at least `now`.
    [[nodiscard]] Time blocked_until(Time now) {
        const std::lock_guard lock(mutex_);
        return std::max(now, blocked_until_);
    }
    /// As InvalidRequests::each_slice(). `visit` must not use this gate.
    template <class Visitor>
    void each_invalid(Time now, Visitor visit) {
        const std::lock_guard lock(mutex_);
        invalid_.each_slice(now, visit);
    }
    /// Unless this address has counted invalid requests itself: several limiters share it, and each
    /// may have saved what all of them did.
    template <class Slices>
    void restore_invalid(const Slices& slices, Time then, Time now) {
        const std::lock_guard lock(mutex_);
        if (invalid_.count(now) != 0) return;
        invalid_.restore(slices, then);
        if (invalid_.slows(now) || invalid_.stops(now)) watched_ = true;
    }

private:
    /// Observed: Cloudflare's blocks last from minutes to an hour (discord-api-docs#5385, 2022-08).
    static constexpr Duration first_back_off = std::chrono::minutes(1);
    static constexpr int most_doublings = 6;

    [[nodiscard]] Time spaced(Time now) noexcept {
        const Duration spacing = invalid_.spacing(now);
        return spacing == Duration(0) || last_ == Time::min() ? now : last_ + spacing;
    }

    std::mutex mutex_;
    InvalidRequests invalid_;
    bool count_shared_;
    Time blocked_until_ = Time::min();
    Time last_ = Time::min();    // when a request last passed while requests were spaced
    Time refused_ = Time::min(); // the last refusal that told no time, if none passed since
    int doublings_ = 0;
    std::atomic<bool> watched_ = false;
};

} // namespace sluice::core

#endif
