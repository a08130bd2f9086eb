// SPDX-License-Identifier: MIT
//
// The one timer of a limiter. Real clocks get an Asio timer; a clock with an `Alarm` of its own,
// such as testing::ManualClock, brings it along, because Asio timers on a manual clock never fire.
#ifndef SLUICE_DETAIL_ALARM_HPP
#define SLUICE_DETAIL_ALARM_HPP

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
