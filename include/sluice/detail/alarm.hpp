// SPDX-License-Identifier: MIT
//
// The one timer of a limiter. Real clocks get an Asio timer; a clock with an `Alarm` of its own,
// such as testing::ManualClock, brings it along, because Asio timers on a manual clock never fire.
#ifndef SLUICE_DETAIL_ALARM_HPP
#define SLUICE_DETAIL_ALARM_HPP

#include <sluice/core/time.hpp>

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/basic_waitable_timer.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/wait_traits.hpp>
#include <boost/system/error_code.hpp>

#include <chrono>
#include <optional>
#include <utility>

namespace sluice::detail {

/// Not thread-safe: the limiter's lock serialises the calls.
template <class Clock>
class TimerAlarm {
public:
    TimerAlarm(const Clock&, const boost::asio::any_io_executor& executor)
        : timer_(std::in_place, executor) {}

    /// Calls `ring` once, on the executor, unless it is set or cleared again before.
    template <class Ring>
    void set(typename Clock::time_point at, Ring ring) {
        if (!timer_) return;
        timer_->expires_at(at);
        timer_->async_wait([ring = std::move(ring)](boost::system::error_code code) mutable {
            if (!code) ring();
        });
    }
    void clear() {
        if (timer_) timer_->cancel();
    }
    /// The execution context is being destroyed; the timer must not outlive it.
    void shut_down() noexcept { timer_.reset(); }

private:
    using Timer = boost::asio::basic_waitable_timer<Clock, boost::asio::wait_traits<Clock>,
                                                    boost::asio::any_io_executor>;
    std::optional<Timer> timer_;
};

template <class Clock>
struct AlarmOf {
    using type = TimerAlarm<Clock>;
};
template <class Clock>
requires requires {
    typename Clock::Alarm;
}
struct AlarmOf<Clock> {
    using type = typename Clock::Alarm;
};

/// When a limiter looks again by itself, and the alarm that is set for it. Not thread-safe either.
template <class Clock>
class WakeUp {
public:
    WakeUp(const Clock& clock, const boost::asio::any_io_executor& executor)
        : alarm_(clock, executor) {}

    /// When it rings at the latest; `never` if not at all.
    [[nodiscard]] core::Time at() const noexcept { return at_; }

    /// Calls engine.ring() at `wake` or before, if the engine still lives, unless it is set again.
    template <class Engine>
    void set(core::Time wake, core::Time now, Engine& engine) {
        if (wake == core::never) {
            if (at_ != core::never) alarm_.clear();
            at_ = core::never;
            return;
        }
        if (at_ <= wake && at_ > now) return; // early is fine: it looks again and goes on
        at_ = wake;
        // Rounded up: an alarm on a coarser clock must not ring before the moment it stands for.
        alarm_.set(typename Clock::time_point(
                       std::chrono::ceil<typename Clock::duration>(wake.time_since_epoch())),
                   [weak = engine.weak_from_this()] {
                       if (const auto owner = weak.lock()) owner->ring();
                   });
    }
    /// It has rung, and is not set any more.
    void done() noexcept { at_ = core::never; }
    void shut_down() { alarm_.shut_down(); }

private:
    typename AlarmOf<Clock>::type alarm_;
    core::Time at_ = core::never;
};

/// Completes when that much of the clock's time has passed.
template <class Clock>
boost::asio::awaitable<void> sleep(Clock clock, std::chrono::nanoseconds time) {
    if constexpr (requires { clock.sleep(time); }) {
        co_await clock.sleep(time);
    } else {
        boost::asio::basic_waitable_timer<Clock> timer(co_await boost::asio::this_coro::executor);
        timer.expires_at(clock.now() + std::chrono::ceil<typename Clock::duration>(time));
        co_await timer.async_wait(boost::asio::use_awaitable);
    }
}

} // namespace sluice::detail

#endif
