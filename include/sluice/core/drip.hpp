// SPDX-License-Identifier: MIT
//
// Does a bucket give its slots back one by one (GCRA, "leaky bucket"), and how fast?
//
// Discord does not say which of its windows slide (discord-api-docs#7680, 2025-07). GCRA is the
// only known algorithm whose Reset-After GROWS within one window, so growth is the proof. Until
// growth has been seen a bucket counts as fixed, which is safe for every algorithm: at its Reset
// all is back. Invariant: `interval()` never exceeds the true time between two slots, so counting
// slots back from the full bucket with it can only wait too long, never too short.
#ifndef SLUICE_CORE_DRIP_HPP
#define SLUICE_CORE_DRIP_HPP

#include <sluice/core/time.hpp>

#include <algorithm>
#include <chrono>
#include <cstdint>

namespace sluice::core {

/// One answer as the proof needs it.
struct DripSample {
    Time sent{};
    Time received{};
    Duration reset_after{};
    std::int32_t remaining = 0;
};

class DripDetector {
public:
    /// Clocks of Discord's API nodes differ; growth below this proves nothing.
    static constexpr Duration least_growth = std::chrono::milliseconds(50);

    [[nodiscard]] bool drips() const noexcept { return bounds_.drips; }
    /// True if a single interval could have led to all answers.
    [[nodiscard]] bool may_drip() const noexcept { return bounds_.least <= bounds_.greatest; }

    /// Returns the largest time between two slots that every answer so far allows; 0 before the
    /// first.
    [[nodiscard]] Duration interval() const noexcept { return bounds_.least; }

    /// All that a window leaves behind when it is over.
    struct Bounds {
        Duration least{0};                   // max of (A - unit) / used
        Duration greatest = Duration::max(); // min of (A + unit) / (used - 1)
        bool drips = false;
    };
    [[nodiscard]] const Bounds& bounds() const noexcept { return bounds_; }

    DripDetector() = default;
    explicit DripDetector(const Bounds& bounds) noexcept : bounds_(bounds) {}

    /// `used` is limit - remaining, `unit` one unit of the last digit of Reset-After as written.
    void observe(const DripSample& sample, std::int64_t used, Duration unit) noexcept;

private:
    /// True if both requests were decided in one window, whatever the delays were.
    static bool surely_same_window(const DripSample& a, const DripSample& b) noexcept {
        return a.received < b.sent + b.reset_after && b.received < a.sent + a.reset_after;
    }
    static bool surely_later(const DripSample& a, const DripSample& than) noexcept {
        return a.remaining < than.remaining || than.received <= a.sent;
    }
    static bool grew(const DripSample& from, const DripSample& to, Duration step) noexcept {
        return to.reset_after > from.reset_after + step && surely_later(to, from) &&
               surely_same_window(from, to);
    }
    void narrow(Duration reset_after, std::int64_t used, Duration unit) noexcept;
    void look_for_growth(DripSample sample, Duration interval) noexcept;
    void keep(const DripSample& sample) noexcept;

    /// A sample as it is stored, two in every bucket: the round trip in units of 1,024 ns, rounded
    /// up, which proves less and never too much.
    class Kept {
    public:
        void set(const DripSample& sample) noexcept {
            sent_ = sample.sent;
            reset_after_ = sample.reset_after;
            const auto trip = static_cast<std::uint64_t>((sample.received - sample.sent).count());
            round_trip_ = static_cast<std::uint32_t>(
                lesser<std::uint64_t>((trip >> unit_bits) + 1, UINT32_MAX));
            remaining_ = sample.remaining;
        }
        [[nodiscard]] DripSample sample() const noexcept {
            const auto trip = static_cast<std::int64_t>(round_trip_) << unit_bits;
            return {sent_, sent_ + Duration(trip), reset_after_, remaining_};
        }
        [[nodiscard]] Duration reset_after() const noexcept { return reset_after_; }
        [[nodiscard]] bool over(Time now) const noexcept { return sent_ + reset_after_ <= now; }

    private:
        static constexpr int unit_bits = 10;
        Time sent_{};
        Duration reset_after_{};
        std::uint32_t round_trip_ = 0;
        std::int32_t remaining_ = 0;
    };

    // The two extremes of the window are the best evidence: all growth is from the least or to the
    // greatest. Two samples find the proof as often as eight did in simulation.
    Kept shortest_;
    Kept longest_;
    [[no_unique_address]] Bounds bounds_;
};

inline void DripDetector::observe(const DripSample& sample, std::int64_t used,
                                  Duration unit) noexcept {
    const Duration before = bounds_.least;
    narrow(sample.reset_after, used, unit);
    // Growth below the least step proves nothing, whatever the interval is.
    if (sample.reset_after > shortest_.reset_after() + least_growth ||
        longest_.reset_after() > sample.reset_after + least_growth) [[unlikely]] {
        look_for_growth(sample, before > Duration(0) ? before : bounds_.least);
    }
    if (bounds_.least > bounds_.greatest) bounds_.drips = false;
    keep(sample);
}

[[gnu::noinline]] inline void DripDetector::look_for_growth(DripSample sample,
                                                            Duration interval) noexcept {
    const Duration step = std::max(interval / 2, least_growth);
    for (const DripSample& known : {shortest_.sample(), longest_.sample()}) {
        if (grew(known, sample, step) || grew(sample, known, step)) bounds_.drips = true;
    }
}

/// Narrows the bounds. Divisions are slow, and most answers of a window name bounds that are known.
inline void DripDetector::narrow(Duration reset_after, std::int64_t used, Duration unit) noexcept {
    const auto reaches = [](Duration each, std::int64_t times, Duration sum) {
        std::int64_t product = 0;
        return __builtin_mul_overflow(each.count(), times, &product) || product >= sum.count();
    };
    const Duration least = reset_after - unit;
    const Duration most = reset_after + unit;
    if (used > 0 && !reaches(bounds_.least, used, least)) bounds_.least = least / used;
    if (used > 1 && reaches(bounds_.greatest, used - 1, most + Duration(1))) {
        bounds_.greatest = most / (used - 1);
    }
}

inline void DripDetector::keep(const DripSample& sample) noexcept {
    const Time now = sample.received;
    const bool shortest = sample.reset_after <= shortest_.reset_after() || shortest_.over(now);
    const bool longest = sample.reset_after >= longest_.reset_after() || longest_.over(now);
    if (shortest) shortest_.set(sample);
    if (longest) longest_.set(sample);
}

} // namespace sluice::core

#endif
