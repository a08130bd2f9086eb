// SPDX-License-Identifier: MIT
//
// The shared state behind an IdentifyQueue, its permits and its waiters: a GatewayEngine over a
// core::IdentifySchedule.
#ifndef SLUICE_GATEWAY_DETAIL_IDENTIFY_ENGINE_HPP
#define SLUICE_GATEWAY_DETAIL_IDENTIFY_ENGINE_HPP

#include <sluice/core/identify_schedule.hpp>
#include <sluice/core/time.hpp>
#include <sluice/detail/outcome.hpp>
#include <sluice/error.hpp>
#include <sluice/gateway/detail/gateway_engine.hpp>
#include <sluice/gateway/detail/identify_operation.hpp>
#include <sluice/gateway/identify_options.hpp>
#include <sluice/gateway/session_start_limit.hpp>

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/error.hpp>
#include <boost/system/error_code.hpp>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <utility>

namespace sluice::gateway {

/// What an IdentifyQueue has done since it was made, and what it holds now.
struct IdentifyStats {
    core::IdentifyCounters counters = {};
    std::size_t queued = 0;      ///< shards waiting
    std::size_t permits_out = 0; ///< permits neither sent nor given back
    std::int64_t total = 0;      ///< identifies in a day
    std::int64_t remaining = 0;  ///< of these, still to be had, the reserve among them
    std::int64_t max_concurrency = 0;
    /// Until the day's identifies come back, or some of them; nothing if none has to.
    std::optional<std::chrono::nanoseconds> reset_after = std::nullopt;
};

namespace detail {

/// For the GatewayEngine.
struct IdentifyTraits {
    using Issuer = IdentifyIssuer;
    using Operation = IdentifyOperation;
    using Schedule = core::IdentifySchedule;
    using Place = core::IdentifyPlace;
    using WaiterList = core::IdentifyWaiterList;

    [[nodiscard]] static errc code_of(core::IdentifyRefused why) noexcept;
    [[nodiscard]] static sluice::detail::Outcome outcome_of(const Operation& operation) {
        if (operation.state != core::IdentifyState::refused) return {};
        return code_of(operation.why);
    }
};

template <class Clock, class Mutex>
class IdentifyEngine final : public GatewayEngine<IdentifyTraits, Clock, Mutex> {
    using Base = GatewayEngine<IdentifyTraits, Clock, Mutex>;
    using typename Base::Session;

public:
    IdentifyEngine(boost::asio::any_io_executor executor, const SessionStartLimit& limit,
                   const IdentifyQueueOptions& options, Clock clock)
        : Base(std::move(executor), std::move(clock), [&](core::Time now) {
              return core::IdentifySchedule(settings_of(options), limit_of(limit), now);
          }) {}

    /// A permit without waiting, if that overtakes nobody.
    bool try_take(std::uint64_t shard_id, const IdentifyOptions& options,
                  core::IdentifyPlace& place);
    /// What can be said to a shard that has failed with this code.
    Refusal refusal_of(boost::system::error_code code, std::uint64_t shard_id,
                       const IdentifyOptions& options);
    void start(IdentifyOperation& operation,
               std::optional<std::chrono::nanoseconds> max_wait) override;
    bool deliver(IdentifyOperation& operation) override;
    void answered(core::IdentifyPlace& place) override;
    void dropped(core::IdentifyPlace& place) override;
    std::optional<std::chrono::nanoseconds> timeout_for(std::uint64_t shard_id,
                                                        const IdentifyOptions& options);
    void update(const SessionStartLimit& limit);
    IdentifyStats stats();

private:
    /// *Errors*: throws InvalidSessionStartLimit.
    static core::IdentifyLimit limit_of(const SessionStartLimit& limit);

    using Base::claim;
    using Base::closed_;
    using Base::schedule_;
    using Base::sort_out_finished;
};

template <class Clock, class Mutex>
core::IdentifyLimit IdentifyEngine<Clock, Mutex>::limit_of(const SessionStartLimit& limit) {
    if (const auto problem = limit.problem()) {
        throw InvalidSessionStartLimit(problem->field, problem->problem);
    }
    return {limit.total, limit.remaining, limit.reset_after,
            static_cast<std::uint64_t>(limit.max_concurrency)};
}

inline errc IdentifyTraits::code_of(core::IdentifyRefused why) noexcept {
    switch (why) {
    case core::IdentifyRefused::wait_too_long:
        return errc::wait_too_long;
    case core::IdentifyRefused::sessions_exhausted:
        return errc::sessions_exhausted;
    case core::IdentifyRefused::ended:
        break;
    }
    return errc::closed;
}

template <class Clock, class Mutex>
bool IdentifyEngine<Clock, Mutex>::try_take(std::uint64_t shard_id, const IdentifyOptions& options,
                                            core::IdentifyPlace& place) {
    const Session session(*this);
    return !closed_ && schedule_.try_admit(shard_id, options.use_reserve, session.now(), place);
}

template <class Clock, class Mutex>
Refusal IdentifyEngine<Clock, Mutex>::refusal_of(boost::system::error_code code,
                                                 std::uint64_t shard_id,
                                                 const IdentifyOptions& options) {
    Refusal refusal;
    if (code != errc::wait_too_long && code != errc::sessions_exhausted) return refusal;
    const Session session(*this);
    const core::Time at = schedule_.earliest(shard_id, options.use_reserve, session.now());
    if (at != core::never) refusal.retry_after = at - session.now();
    return refusal;
}

template <class Clock, class Mutex>
void IdentifyEngine<Clock, Mutex>::start(IdentifyOperation& operation,
                                         std::optional<std::chrono::nanoseconds> max_wait) {
    const Session session(*this);
    const core::Time now = session.now();
    if (operation.aborted) return claim(operation, boost::asio::error::operation_aborted);
    if (closed_) return claim(operation, errc::closed);
    if (max_wait && *max_wait < core::never - now) {
        operation.bound = now + std::max(core::Duration(0), *max_wait);
        // What this grants to others goes out before.
        if (const auto why = schedule_.hopeless(operation, now)) {
            sort_out_finished();
            return claim(operation, IdentifyTraits::code_of(*why));
        }
    }
    schedule_.enqueue(operation, now);
}

template <class Clock, class Mutex>
bool IdentifyEngine<Clock, Mutex>::deliver(IdentifyOperation& operation) {
    const Session session(*this);
    if (!operation.place.taken || !operation.aborted) return true;
    schedule_.cancel(operation.place, session.now());
    return false;
}

template <class Clock, class Mutex>
void IdentifyEngine<Clock, Mutex>::answered(core::IdentifyPlace& place) {
    const Session session(*this);
    schedule_.answered(place, session.now());
}

template <class Clock, class Mutex>
void IdentifyEngine<Clock, Mutex>::dropped(core::IdentifyPlace& place) {
    const Session session(*this);
    schedule_.dropped(place, session.now());
}

template <class Clock, class Mutex>
std::optional<std::chrono::nanoseconds>
IdentifyEngine<Clock, Mutex>::timeout_for(std::uint64_t shard_id, const IdentifyOptions& options) {
    const Session session(*this);
    if (closed_) return std::nullopt;
    schedule_.advance(session.now());
    const core::Time at = schedule_.forecast(shard_id, options.use_reserve, session.now());
    if (at == core::never) return std::nullopt;
    return at - session.now();
}

template <class Clock, class Mutex>
void IdentifyEngine<Clock, Mutex>::update(const SessionStartLimit& limit) {
    const core::IdentifyLimit checked = limit_of(limit);
    const Session session(*this);
    schedule_.update(checked, session.now());
}

template <class Clock, class Mutex>
IdentifyStats IdentifyEngine<Clock, Mutex>::stats() {
    const Session session(*this);
    schedule_.advance(session.now());
    IdentifyStats stats;
    stats.counters = schedule_.counters();
    stats.queued = schedule_.queued();
    stats.permits_out = schedule_.permits_out();
    stats.total = schedule_.total();
    stats.remaining = schedule_.remaining();
    stats.max_concurrency = static_cast<std::int64_t>(schedule_.max_concurrency());
    const core::Time reset = schedule_.reset_at();
    if (reset != core::never) stats.reset_after = reset - session.now();
    return stats;
}

} // namespace detail
} // namespace sluice::gateway

#endif
