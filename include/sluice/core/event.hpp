// SPDX-License-Identifier: MIT
//
// What happened in a limiter, as data.
#ifndef SLUICE_CORE_EVENT_HPP
#define SLUICE_CORE_EVENT_HPP

#include <sluice/core/answer.hpp>
#include <sluice/core/major.hpp>
#include <sluice/core/obstacle.hpp>
#include <sluice/core/time.hpp>

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace sluice::core {

enum class EventKind : std::uint8_t {
    waiting = 1, ///< a request was queued; `wait` and `obstacle` say how long and what for
    granted,     ///< a request that had been queued may go; `wait` is how long it had been
    answered,    ///< `answer` and `status` say how
    refused,     ///< a 429 of the kind `answer`; `wait` is what it told to wait
    lane_moved,  ///< the hash of a route has changed
    split,       ///< routes with one hash turned out to have counters of their own
    slowed,      ///< so many invalid requests that requests are spaced
    stopped,     ///< so many that acquires are refused
    evicted,     ///< `count` idle buckets were forgotten
    joined,      ///< channels, guilds or webhooks with one hash turned out to share a counter
};

[[nodiscard]] constexpr std::string_view to_string(EventKind kind) noexcept {
    constexpr std::string_view names[] = {"",        "waiting",    "granted", "answered",
                                          "refused", "lane moved", "split",   "slowed",
                                          "stopped", "evicted",    "joined"};
    return names[static_cast<std::size_t>(kind)];
}

struct Event {
    EventKind kind{};
    AnswerKind answer{};     ///< of answered and refused
    int status = 0;          ///< of answered and refused
    std::uint64_t route = 0; ///< Route::id(); 0 where no route is meant
    Major major;             ///< of that request
    std::uint32_t tag = 0;   ///< sublimit
    Duration wait{0};        ///< of waiting: as far as is known, at least
    std::uint64_t count = 1;
    Obstacle obstacle{};     ///< of waiting: what is in the way for the longest
    std::int64_t limit = 0;  ///< of waiting: of its bucket; 0 while unknown
    std::string_view bucket; ///< of waiting: the hash, as long as the limiter lives; may be empty
    std::string_view text;   ///< Route::text(), for ever; may be empty
};

} // namespace sluice::core

#endif
