// SPDX-License-Identifier: MIT
//
// The shared state behind a SendLimiter, its permits and its waiters: a GatewayEngine over a
// core::SendSchedule.
#ifndef SLUICE_GATEWAY_DETAIL_SEND_ENGINE_HPP
#define SLUICE_GATEWAY_DETAIL_SEND_ENGINE_HPP

#include <sluice/core/send_schedule.hpp>
#include <sluice/core/time.hpp>
#include <sluice/detail/outcome.hpp>
#include <sluice/error.hpp>
#include <sluice/gateway/detail/gateway_engine.hpp>
#include <sluice/gateway/detail/send_operation.hpp>
#include <sluice/gateway/rate_limited.hpp>
#include <sluice/gateway/send_options.hpp>

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/error.hpp>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <utility>

namespace sluice::gateway {

/// What a SendLimiter has done since it was made, and what it holds now.
struct SendStats {
    core::SendCounters counters = {};
    std::uint64_t payloads_too_large = 0;
    std::uint64_t malformed = 0; ///< RATE_LIMITED dispatches that could not be read
    std::size_t queued = 0;      ///< events waiting
    std::int64_t held = 0;       ///< slots in use
    std::int64_t reserved = 0;   ///< slots kept for heartbeats and a new session
    std::int64_t room = 0;       ///< ordinary events that could go at once
};

namespace detail {

/// For the GatewayEngine.
struct SendTraits {
    using Issuer = SendIssuer;
    using Operation = SendOperation;
    using Schedule = core::SendSchedule;
    using Place = core::SendPlace;
    using WaiterList = core::SendWaiterList;

    [[nodiscard]] static sluice::detail::Outcome outcome_of(const Operation& operation) {
        if (operation.state != core::SendState::superseded) return {};
        return errc::superseded;
    }
};

template <class Clock, class Mutex>
class SendEngine final : public GatewayEngine<SendTraits, Clock, Mutex> {
    using Base = GatewayEngine<SendTraits, Clock, Mutex>;
    using typename Base::Session;

public:
    SendEngine(boost::asio::any_io_executor executor, const SendLimiterOptions& options,
               Clock clock)
        : Base(std::move(executor), std::move(clock),
               [&](core::Time) {
                   return core::SendSchedule(settings_of(options),
                                             options.member_lists
                                                 ? options.member_lists
                                                 : std::make_shared<MemberListLimit>());
               }),
          max_queued_(options.max_queued.value_or(SIZE_MAX)) {}

    /// A permission without waiting, if that overtakes nobody.
    bool try_take(const core::SendRequest& request, std::size_t bytes, core::SendPlace& place);
    std::optional<std::chrono::nanoseconds> timeout_for(const core::SendRequest& request,
                                                        std::size_t bytes);
    void start(SendOperation& operation) override;
    bool deliver(SendOperation& operation) override;

    void set_heartbeat_interval(std::chrono::nanoseconds interval);
    void on_rate_limited(std::optional<RateLimited>& refused);
    void reset();
    void hold(bool held);
    SendStats stats();

private:
    [[nodiscard]] sluice::detail::Outcome refusal_of(const SendOperation& operation,
                                                     core::Time now);

    using Base::claim;
    using Base::closed_;
    using Base::schedule_;

    const std::size_t max_queued_;
    std::uint64_t payloads_too_large_ = 0;
    std::uint64_t malformed_ = 0;
};

template <class Clock, class Mutex>
bool SendEngine<Clock, Mutex>::try_take(const core::SendRequest& request, std::size_t bytes,
                                        core::SendPlace& place) {
    const Session session(*this);
    if (closed_) return false;
    if (bytes > max_payload_bytes) {
        ++payloads_too_large_;
        return false;
    }
    return schedule_.try_admit(request, session.now(), place);
}

template <class Clock, class Mutex>
std::optional<std::chrono::nanoseconds>
SendEngine<Clock, Mutex>::timeout_for(const core::SendRequest& request, std::size_t bytes) {
    const Session session(*this);
    if (closed_ || bytes > max_payload_bytes) return std::nullopt;
    schedule_.advance(session.now());
    const core::Time at = schedule_.forecast(request, session.now());
    if (at == core::never) return std::nullopt;
    return at - session.now();
}

/// Why an operation is not even queued, if there is a reason.
template <class Clock, class Mutex>
sluice::detail::Outcome SendEngine<Clock, Mutex>::refusal_of(const SendOperation& operation,
                                                             core::Time now) {
    if (operation.aborted) return boost::asio::error::operation_aborted;
    if (closed_) return errc::closed;
    if (operation.bytes > max_payload_bytes) {
        ++payloads_too_large_;
        return errc::payload_too_large;
    }
    const core::SendRequest& request = operation.place.request;
    const bool full = schedule_.queued() >= max_queued_;
    if (full && !schedule_.replaces(request) && !schedule_.admits(request, now))
        return errc::queue_full;
    return {};
}

template <class Clock, class Mutex>
void SendEngine<Clock, Mutex>::start(SendOperation& operation) {
    const Session session(*this);
    schedule_.advance(session.now());
    if (const auto outcome = refusal_of(operation, session.now())) return claim(operation, outcome);
    schedule_.enqueue(operation, session.now());
}

template <class Clock, class Mutex>
bool SendEngine<Clock, Mutex>::deliver(SendOperation& operation) {
    const Session session(*this);
    if (operation.state != core::SendState::granted) return true;
    schedule_.delivered();
    if (!operation.aborted) return true;
    schedule_.cancel(operation.place, session.now());
    return false;
}

template <class Clock, class Mutex>
void SendEngine<Clock, Mutex>::set_heartbeat_interval(std::chrono::nanoseconds interval) {
    const Session session(*this);
    schedule_.set_heartbeat_interval(interval);
    schedule_.advance(session.now());
}

template <class Clock, class Mutex>
void SendEngine<Clock, Mutex>::on_rate_limited(std::optional<RateLimited>& refused) {
    const Session session(*this);
    if (!refused) {
        ++malformed_;
        return;
    }
    core::SendRefusal refusal;
    refusal.kind = kind_of(refused->opcode);
    refusal.opcode = static_cast<std::uint8_t>(refused->opcode);
    refusal.retry_after = refused->retry_after;
    refusal.guild = refused->guild;
    refusal.nonce = refused->nonce;
    refused->matched = schedule_.refuse(refusal, session.now());
}

template <class Clock, class Mutex>
void SendEngine<Clock, Mutex>::reset() {
    const Session session(*this);
    schedule_.reset(session.now());
}

template <class Clock, class Mutex>
void SendEngine<Clock, Mutex>::hold(bool held) {
    const Session session(*this);
    schedule_.hold(held, session.now());
}

template <class Clock, class Mutex>
SendStats SendEngine<Clock, Mutex>::stats() {
    const Session session(*this);
    schedule_.advance(session.now());
    SendStats stats;
    stats.counters = schedule_.counters();
    stats.payloads_too_large = payloads_too_large_;
    stats.malformed = malformed_;
    stats.queued = schedule_.queued();
    stats.held = schedule_.held();
    stats.reserved = schedule_.reserved();
    stats.room = schedule_.room();
    return stats;
}

} // namespace detail
} // namespace sluice::gateway

#endif
