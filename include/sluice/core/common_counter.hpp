// SPDX-License-Identifier: MIT
//
// Does one hash have a single counter for all major parameters? Discord says that it never does
// ("Rate Limits": by bucket and top-level resource), yet some routes do: GET and PATCH of a
// channel, GET of a guild's channels (discord-api-docs#971, 2019-06; #6753, 2024-03).
//
// An answer is strange if it shows more spent in a bucket than this client has sent there. Another
// user of the token, or an earlier process, leaves the same trace. So strange answers are believed
// only if they follow one another as those of one counter do. Each shows one more spent than an
// answer for another major did, in the same window, one slot later, or one arrival later. A refusal
// names the same end as the answer that spent the last slot.
//
// One contradiction as in sharing.hpp ends it: a contradiction is always certain. Invariant: no
// join without four strange answers for four majors whose windows are still open.
#ifndef SLUICE_CORE_COMMON_COUNTER_HPP
#define SLUICE_CORE_COMMON_COUNTER_HPP

#include <sluice/core/bucket.hpp>
#include <sluice/core/major.hpp>
#include <sluice/core/sharing.hpp>
#include <sluice/core/time.hpp>
#include <sluice/core/window.hpp>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>

namespace sluice::core {

/// One answer that has all numbers.
struct MajorSample {
    Major major;
    Observation seen;
    bool refused = false;
    bool strange = false;

    [[nodiscard]] std::int64_t used() const noexcept { return *seen.limit - *seen.remaining; }
};

/// What answers for several majors have shown about one hash.
class CommonEvidence {
public:
    enum class Verdict : std::uint8_t { open, by_major, common };
    /// How many answers are remembered. An answer that shows more spent than these and one more
    /// account for proves nothing.
    static constexpr std::size_t most = 16;

    Verdict add(const MajorSample& sample) noexcept {
        if (size_ != 0 && *sample.seen.limit != *newest().seen.limit) *this = CommonEvidence();
        if (sample.strange)
            strange_until_ = sample.seen.received + lasting(*sample.seen.reset_after);
        const bool lies = !sample.refused && contradicts(sample);
        recent_[size_ % recent_.size()] = sample;
        ++size_;
        if (lies) return Verdict::by_major;
        return sample.strange && suffices(sample.seen.received) ? Verdict::common : Verdict::open;
    }

    /// True if a strange answer is so recent that all other answers are of interest.
    [[nodiscard]] bool is_fresh(Time now) const noexcept { return now < strange_until_; }

    /// Visits all but the newest, in order of arrival.
    template <class Visitor>
    void each_earlier(Visitor visit) const {
        for (std::size_t i = size_ - count(); i + 1 < size_; ++i)
            visit(recent_[i % recent_.size()]);
    }

private:
    static constexpr std::size_t enough = 4;

    static Duration lasting(Duration reset_after) noexcept {
        constexpr Duration least = std::chrono::seconds(10);
        return std::max(least, 2 * reset_after);
    }
    [[nodiscard]] std::size_t count() const noexcept { return std::min(size_, recent_.size()); }
    [[nodiscard]] const MajorSample& newest() const noexcept {
        return recent_[(size_ - 1) % recent_.size()];
    }
    bool contradicts(const MajorSample& sample) noexcept {
        const Observation& seen = sample.seen;
        const SharingSample one{seen.sent, seen.received, *seen.reset_after, seen.unit,
                                sample.used()};
        const bool lies = sharing_.contradicts(one);
        sharing_.add(one);
        return lies;
    }
    [[nodiscard]] static bool within(Duration number, Duration low, Duration high) noexcept {
        return number >= low && number <= high;
    }
    [[nodiscard]] static bool follows(const MajorSample& before, const MajorSample& after) noexcept;
    [[nodiscard]] bool follows_any(const MajorSample& sample) const noexcept;
    [[nodiscard]] static bool is_open(const MajorSample& sample, Time now) noexcept {
        return sample.seen.received + *sample.seen.reset_after > now;
    }
    /// True if a contradiction could show that a join was a mistake. In a very short window none
    /// ever would; see sharing.hpp.
    [[nodiscard]] static bool could_contradict(const Observation& seen) noexcept {
        constexpr Duration least = std::chrono::milliseconds(200);
        return least + 2 * (seen.received - seen.sent) < *seen.reset_after;
    }
    [[nodiscard]] bool has_twins(Time now) const noexcept;
    [[nodiscard]] bool suffices(Time now) const noexcept;

    Sharing sharing_;
    std::array<MajorSample, most> recent_{};
    std::size_t size_ = 0; // of all that were added
    Time strange_until_ = Time::min();
};

/// True if one counter, of any algorithm, would have shown this answer next.
inline bool CommonEvidence::follows(const MajorSample& before, const MajorSample& after) noexcept {
    if (before.refused || before.major == after.major) return false;
    const Duration left = *after.seen.reset_after;
    // Less in a short window, where chance would be enough otherwise.
    const Duration doubt = std::min(Window::clock_difference, left / 32);
    const Duration moved = *after.seen.reset - *before.seen.reset;
    const std::int64_t used = after.used();
    if (after.refused) return before.used() == used && within(moved, -doubt, doubt);
    if (before.used() + 1 != used) return false;
    if (within(moved, -doubt, doubt)) return true; // a fixed window
    if (within(moved, left / used - doubt, left / (used - 1) + doubt)) return true; // leaky
    const Duration unit = 2 * after.seen.unit;
    return moved > Duration(0) && within(left - *before.seen.reset_after, -unit, unit); // a log
}

inline bool CommonEvidence::follows_any(const MajorSample& sample) const noexcept {
    return std::any_of(recent_.begin(), recent_.begin() + static_cast<std::ptrdiff_t>(count()),
                       [&](const MajorSample& other) { return follows(other, sample); });
}

/// True if two answers show the same number with the same end: they are not of one counter.
inline bool CommonEvidence::has_twins(Time now) const noexcept {
    const auto twins = [](const MajorSample& one, const MajorSample& other) {
        if (one.refused || other.refused || one.major == other.major) return false;
        const Duration apart = *one.seen.reset - *other.seen.reset;
        return one.used() == other.used() &&
               within(apart, -Window::reset_rounding, Window::reset_rounding);
    };
    for (std::size_t i = 0; i < count(); ++i) {
        for (std::size_t j = 0; j < i && is_open(recent_[i], now); ++j) {
            if (twins(recent_[i], recent_[j])) return true;
        }
    }
    return false;
}

/// True if there is enough evidence for one counter. Counts the strange answers of open windows
/// that follow another: each major once, and of accepted ones each number once. They must not show
/// more than this client can have spent: all that it has seen, and one answer that was no reason to
/// look.
inline bool CommonEvidence::suffices(Time now) const noexcept {
    if (!could_contradict(newest().seen) || has_twins(now)) return false;
    std::array<const MajorSample*, most> found{};
    std::int64_t accepted = 0;
    for (std::size_t i = 0; i < count(); ++i) {
        if (is_open(recent_[i], now) && !recent_[i].refused) ++accepted;
    }
    const std::int64_t spent_at_most = accepted + 1;
    std::size_t size = 0;
    std::int64_t accepted_found = 0;
    for (std::size_t i = 0; i < count(); ++i) {
        const MajorSample& one = recent_[i];
        if (!one.strange || !is_open(one, now) || one.used() > spent_at_most) continue;
        const bool known = std::any_of(
            found.begin(), found.begin() + static_cast<std::ptrdiff_t>(size),
            [&](const MajorSample* other) {
                const bool both = !one.refused && !other->refused;
                return other->major == one.major || (both && other->used() == one.used());
            });
        if (known || !follows_any(one)) continue;
        found[size++] = &one;
        if (!one.refused) ++accepted_found;
    }
    const std::int64_t least_accepted = std::min<std::int64_t>(*newest().seen.limit - 1, 2);
    return size >= enough && accepted_found >= least_accepted;
}

/// The evidence for a few hashes: those most recently of interest.
class CommonSuspects {
public:
    struct Suspect {
        HashId hash = 0;
        Time used = Time::min();
        CommonEvidence evidence;
    };

    /// Returns the entry of this hash, or the one unused for the longest, which then still has
    /// another hash.
    [[nodiscard]] Suspect& find(HashId hash) noexcept {
        Suspect* oldest = suspects_.data();
        for (Suspect& one : suspects_) {
            if (one.hash == hash) return one;
            if (one.used < oldest->used) oldest = &one;
        }
        return *oldest;
    }

private:
    std::array<Suspect, 8> suspects_{};
};

} // namespace sluice::core

#endif
