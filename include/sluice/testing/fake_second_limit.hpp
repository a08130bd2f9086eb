// SPDX-License-Identifier: MIT
//
// Additional limits of a route: hidden from the headers, of a field of the body, of a channel over
// all its webhooks, or of a resource that other users use as well.
//
// Invariant: only its 429 shows such a limit, unless `shown_every` is set. The ordinary limit is
// checked and used first, because observed 429s of second limits had remaining = limit - 1 on a
// bucket just begun (discord-api-docs#1900, 2020-08; Discord docs, "Rate Limits", example of
// `shared`).
//
//     .second = {{.limit = {Algorithm::fixed, 2, 600s}, .field = "name"},
//                {.limit = {Algorithm::fixed, 2, 600s}, .field = "topic"}}
#ifndef SLUICE_TESTING_FAKE_SECOND_LIMIT_HPP
#define SLUICE_TESTING_FAKE_SECOND_LIMIT_HPP

#include <sluice/testing/fake_limit.hpp>

#include <boost/unordered/unordered_flat_map.hpp>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <stdexcept>
#include <string>

namespace sluice::testing {

/// What the requests that draw on one counter have in common.
enum class CountedPer : std::uint8_t {
    major, ///< the major parameter
    /// The channel: of the path, or the one in `Rule::channels` for the webhook or the interaction
    /// token. If there is neither: the major parameter.
    channel,
    nothing, ///< one counter over all major parameters
};

struct SecondLimit {
    Limit limit{Algorithm::fixed, 2, std::chrono::minutes{10}};
    /// Limits with one name share a counter across routes. Empty: for this route alone.
    std::string name{};
    /// Applies only to requests whose JSON body has this member. Empty: every request.
    std::string field{};
    CountedPer per = CountedPer::major;
    bool per_individual = false; ///< true: one counter for each token or address
    /// Its 429 has scope shared, and does not count as invalid.
    bool shared = false;
    /// If not empty, its 429 shows this hash, this limit and remaining 0 instead of the ordinary
    /// bucket's. Observed 2022-11, discord-api-docs#5646: hash and limit differ only at the 429.
    std::string hash{};
    std::string message{};
    std::optional<int> code{}; ///< such as 20028
    /// Added to the stated wait. Observed 2025-09, discord-api-docs#7816: 219 s stated, 145 s true.
    Duration overstated{};
    /// Interval at which another user takes one request, while there is one. Zero: never.
    Duration others_every{};
    /// Every n-th request that passes is answered with this limit's hash and numbers instead of the
    /// ordinary bucket's, so 2 alternates between the two. 0: never. Observed 2025-02,
    /// discord-api-docs#7394: one hash, then another with remaining 0, then the first again.
    std::uint64_t shown_every = 0;
};

namespace detail {

/// The counters of all second limits of a fake.
class SecondCounters {
public:
    /// Returns the counter, after applying the requests of other users until `now`.
    [[nodiscard]] Counter& at(const SecondLimit& second, std::uint64_t id, Duration now) {
        Entry& entry = entries_.try_emplace(id, first_entry(second, now)).first->second;
        catch_up(entry, second, now);
        return entry.counter;
    }

    /// Takes one request. Returns true if its answer shows this limit.
    [[nodiscard]] bool spend(const SecondLimit& second, std::uint64_t id, Duration now) {
        at(second, id, now).spend(now);
        Entry& entry = entries_.find(id)->second;
        return second.shown_every != 0 && ++entry.passed % second.shown_every == 0;
    }

    [[nodiscard]] Standing standing(const SecondLimit& second, std::uint64_t id, Duration now) {
        return at(second, id, now).standing(now);
    }

    [[nodiscard]] Duration wait(const SecondLimit& second, std::uint64_t id, Duration now) const {
        const auto found = entries_.find(id);
        Entry entry = found != entries_.end() ? found->second : first_entry(second, now);
        catch_up(entry, second, now);
        return entry.counter.wait(now);
    }

    void forget_full(Duration now) {
        erase_if(entries_, [&](const auto& entry) { return entry.second.counter.full(now); });
    }

    [[nodiscard]] std::size_t size() const noexcept { return entries_.size(); }

private:
    struct Entry {
        Counter counter;
        Duration others_next;
        std::uint64_t passed = 0;
    };

    /// Other users were active before the first request: only the last period matters.
    [[nodiscard]] static Entry first_entry(const SecondLimit& second, Duration now) {
        return {Counter{second.limit}, others_from(second, now - second.limit.period)};
    }

    /// Returns the next use by others after a multiple of the period at or before `time`. Counted
    /// from any other time, a fixed window would end exactly when it is checked.
    [[nodiscard]] static Duration others_from(const SecondLimit& second, Duration time) {
        const Duration begin = std::max(Duration::zero(), time - time % second.limit.period);
        const Duration every = std::max(Duration{1}, second.others_every);
        return begin + (every - begin % every) % every;
    }

    static void catch_up(Entry& entry, const SecondLimit& second, Duration now) {
        entry.counter.adapt(second.limit);
        const Duration every = second.others_every;
        if (every <= Duration::zero()) return;
        // Requests more than two periods ago affect no counter, and may be very many.
        if ((now - entry.others_next) / 3 > second.limit.period)
            entry.others_next = others_from(second, now - 2 * second.limit.period);
        for (; entry.others_next <= now; entry.others_next += every)
            if (entry.counter.wait(entry.others_next) == Duration::zero())
                entry.counter.spend(entry.others_next);
    }

    boost::unordered_flat_map<std::uint64_t, Entry> entries_;
};

/// Throws std::invalid_argument.
inline void check(const SecondLimit& second) {
    (void)checked(second.limit);
    if (second.overstated < Duration::zero() || second.others_every < Duration::zero())
        throw std::invalid_argument("sluice::testing::SecondLimit: a duration is negative");
    if (second.shown_every != 0 && second.hash.empty())
        throw std::invalid_argument("sluice::testing::SecondLimit: without a hash none is shown");
}

} // namespace detail
} // namespace sluice::testing

#endif
