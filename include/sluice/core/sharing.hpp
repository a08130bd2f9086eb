// SPDX-License-Identifier: MIT
//
// Do two routes that show one bucket hash really share a counter? Until 2026-01 message routes did
// not (discord-api-docs#1442, #8073); treating them as one is safe but wastes half of what is
// allowed.
//
// If they share, then of several answers decided in one window the one decided last shows all of
// them as used, whichever it was. If none shows that many, they do not share, provided that this
// follows under every window algorithm: a fixed window gives nothing back before its end, GCRA one
// slot per interval, and a sliding log one period after each request. Invariant: true sharing is
// never contradicted, whatever the delays and the order of answers.
#ifndef SLUICE_CORE_SHARING_HPP
#define SLUICE_CORE_SHARING_HPP

#include <sluice/core/time.hpp>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>

namespace sluice::core {

/// One answer to an accepted request.
struct SharingSample {
    Time sent{};
    Time received{};
    Duration reset_after{};
    Duration unit{};
    std::int64_t used = 0; ///< limit - remaining
};

class Sharing {
public:
    /// `interval` is the least time between two slots that is possible. True: this answer cannot
    /// come from the counter that the answers before it were counted on.
    [[nodiscard]] bool contradicts(const SharingSample& now, Duration interval) const noexcept;

    void add(const SharingSample& sample) noexcept {
        recent_[next_ % recent_.size()] = sample;
        ++next_;
    }

private:
    std::array<SharingSample, 16> recent_{}; // a ring
    std::size_t next_ = 0;
};

namespace detail {

/// A set of answers that, if their counter is a fixed window or a sliding log, were decided while
/// it gave nothing back. Two fixed windows end at least as far apart as any Reset-After of the
/// later one, and whatever is decided after the end of the earlier one is decided at least its
/// Reset-After later; a sliding log's Reset-After is what it holds each request for.
class OneWindow {
public:
    /// API nodes' clocks differ (simulated: 20 ms), and with them what they take for the end.
    static constexpr Duration clock_doubt = std::chrono::milliseconds(100);

    explicit OneWindow(const SharingSample& first) noexcept : of_(first) {
        of_.reset_after -= first.unit;
        earliest_end_ = first.sent + of_.reset_after;
        latest_end_ = first.received + first.reset_after + first.unit;
    }

    /// False, and nothing has changed: it may have been decided in another window.
    bool add(const SharingSample& sample) noexcept {
        OneWindow with(sample);
        with.of_.sent = std::min(of_.sent, sample.sent);
        with.of_.received = std::max(of_.received, sample.received);
        with.of_.reset_after = std::min(of_.reset_after, with.of_.reset_after);
        with.of_.used = std::max(of_.used, sample.used);
        with.earliest_end_ = std::min(earliest_end_, with.earliest_end_);
        with.latest_end_ = std::max(latest_end_, with.latest_end_);
        with.size_ = size_ + 1;
        const Duration apart = std::max(with.span(), with.latest_end_ - with.earliest_end_);
        if (apart >= with.of_.reset_after - clock_doubt) return false;
        *this = with;
        return true;
    }

    /// All were decided within this time.
    [[nodiscard]] Duration span() const noexcept { return of_.received - of_.sent; }
    [[nodiscard]] std::int64_t size() const noexcept { return size_; }
    [[nodiscard]] std::int64_t most_used() const noexcept { return of_.used; }

private:
    SharingSample of_; // the extremes
    Time earliest_end_{};
    Time latest_end_{};
    std::int64_t size_ = 1;
};

} // namespace detail

inline bool Sharing::contradicts(const SharingSample& now, Duration interval) const noexcept {
    // Nothing used: this server counts after it reports, and all others show one too few, which
    // they cannot without such an answer at the start of their window.
    if (now.used <= 0) return false;
    auto others = recent_;
    const auto known = others.begin() + static_cast<std::ptrdiff_t>(std::min(next_, others.size()));
    // The latest first: each set so far spans as little time as its size allows.
    std::sort(others.begin(), known, [](const auto& a, const auto& b) { return a.sent > b.sent; });
    const auto slot = std::max<std::int64_t>(1, interval.count());
    detail::OneWindow decided(now);
    for (auto other = others.begin(); other != known; ++other) {
        if (other->used <= 0 || !decided.add(*other)) continue;
        const std::int64_t given_back = decided.span().count() / slot;
        if (decided.most_used() < decided.size() - given_back) return true;
    }
    return false;
}

} // namespace sluice::core

#endif
