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
    waiting = 1, ///< a request was queued; `wait` and `obstacle` say how long and why
    granted,     ///< a queued request may go; `wait` is how long it was queued
    answered,    ///< `answer` and `status` say how
    refused,     ///< a 429 of the kind `answer`; `wait` is the wait that it told
    lane_moved,  ///< the hash of a route has changed
    split,       ///< routes with one hash proved to have separate counters
    slowed,      ///< so many invalid requests that sends are spaced
    stopped,     ///< so many invalid requests that acquires are refused
    evicted,     ///< `count` idle buckets were forgotten
    joined,      ///< channels, guilds or webhooks with one hash proved to share a counter
};

[[nodiscard]] constexpr std::string_view to_string(EventKind kind) noexcept {
    constexpr std::string_view names[] = {"",        "waiting",    "granted", "answered",
                                          "refused", "lane moved", "split",   "slowed",
                                          "stopped", "evicted",    "joined"};
    return names[static_cast<std::size_t>(kind)];
}

struct Event {
    EventKind kind{};
    AnswerKind answer{};     ///< for answered and refused
    int status = 0;          ///< for answered and refused
    std::uint64_t route = 0; ///< Route::id(); 0 if the event is about no route
    Major major;             ///< of that request
    std::uint32_t tag = 0;   ///< sublimit
    Duration wait{0};        ///< for waiting: a lower bound, as far as is known
    std::uint64_t count = 1;
    Obstacle obstacle{};     ///< for waiting: what blocks the request for the longest
    std::int64_t limit = 0;  ///< for waiting: of its bucket; 0 while unknown
    std::string_view bucket; ///< for waiting: the hash, valid as long as the limiter; may be empty
    std::string_view text;   ///< Route::text(), valid as long as the program; may be empty
};

} // namespace sluice::core

#endif
