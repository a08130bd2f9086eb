// SPDX-License-Identifier: MIT
//
// A clock for tests that only moves when told to: tests of hours run in milliseconds, and always in
// the same way.
//
//     using sluice::testing::ManualClock;
//
//     boost::asio::io_context io;
//     ManualClock clock;
//     sluice::BasicBucketManager<ManualClock> limiter{io.get_executor(), {}, clock};
//     co_spawn(io, bot(limiter), detached);
//     clock.run(io); // runs all handlers, jumping from one due time to the next
//
// Copies share one time. Alarms that are due at one time fire in the order in which they were set.
//
// Time does not pass unless a test moves the clock. The server's order of requests that were sent
// at the same time is unknown: if two of their answers show different bucket hashes, one is taken
// for the older and ignored. Let a nanosecond pass between requests whose order matters.
#ifndef SLUICE_TESTING_MANUAL_CLOCK_HPP
#define SLUICE_TESTING_MANUAL_CLOCK_HPP

#include <sluice/core/time.hpp>
#include <sluice/detail/context_service.hpp>
#include <sluice/detail/handler_executor.hpp>

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/append.hpp>
#include <boost/asio/associated_cancellation_slot.hpp>
#include <boost/asio/associated_executor.hpp>
#include <boost/asio/async_result.hpp>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/cancellation_type.hpp>
#include <boost/asio/dispatch.hpp>
#include <boost/asio/error.hpp>
#include <boost/asio/execution_context.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/system_executor.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/system/error_code.hpp>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <utility>

namespace sluice::testing {

/// *Threads*: shared objects are safe, but only one thread may be in run().
class ManualClock {
public:
    using duration = std::chrono::nanoseconds;
    using rep = duration::rep;
    using period = duration::period;
    using time_point = std::chrono::time_point<ManualClock>;
    static constexpr bool is_steady = true;

    /// Starts at one hour, so that durations may be subtracted without leaving the time line.
    ManualClock() : state_(std::make_shared<State>()) {}

    [[nodiscard]] time_point now() const {
        const std::lock_guard lock(state_->mutex);
        return state_->now;
    }

    /// Completes when that much of this clock's time has passed, ten years at most. Cancellation of
    /// every type ends the wait with asio::error::operation_aborted.
    [[nodiscard]] boost::asio::awaitable<void> sleep(duration time) const;

    /// Does what sleep() does, with any completion token.
    /// *Completion signature*: void(boost::system::error_code).
    /// *Executor*: the handler's associated executor. A plain function only has the system
    /// executor, whose threads run() does not wait for: bind it to the context's executor with
    /// asio::bind_executor. If the executor cannot be posted to, such as Asio's inline_executor,
    /// the handler is called inside run().
    template <class CompletionToken = sluice::detail::DefaultToken<boost::asio::system_executor>>
    auto async_sleep(duration time, CompletionToken&& token = CompletionToken()) const {
        return boost::asio::async_initiate<CompletionToken, void(boost::system::error_code)>(
            StartSleep(), token, state_, time);
    }

    /// Runs ready handlers, jumps to the next due time, and so on; ends when no handler is ready
    /// and no alarm is due. Returns how many handlers ran.
    std::size_t run(boost::asio::io_context& context) { return run_until(context, std::nullopt); }

    /// Like run(), but only up to `time` from now, where the clock stands afterwards.
    std::size_t run_for(boost::asio::io_context& context, duration time) {
        const time_point from = now();
        return run_until(context,
                         time < time_point::max() - from ? from + time : time_point::max());
    }

    /// Runs one handler; if none is ready, moves the time until one is. Returns 0 when no handler
    /// is ready and no alarm is due. For tests that stop after every handler in turn.
    std::size_t run_one(boost::asio::io_context& context) {
        for (;;) {
            if (context.stopped()) context.restart();
            if (context.poll_one() != 0) return 1;
            const std::unique_ptr<Entry> due = state_->take_next(std::nullopt);
            if (due == nullptr) return 0;
            due->ring({});
        }
    }

    /// Moves the time without running anything: alarms that became due fire at the next run().
    void advance(duration time) {
        const std::lock_guard lock(state_->mutex);
        state_->now += time;
    }

    /// The limiter's timer on this clock.
    class Alarm;

private:
    using Key = std::pair<time_point, std::uint64_t>;

    /// One pending action. It is run or destroyed without the lock.
    class Entry {
    public:
        explicit Entry(boost::asio::execution_context* context) : context_(context) {}
        Entry(const Entry&) = delete;
        Entry& operator=(const Entry&) = delete;
        virtual ~Entry() = default;
        virtual void ring(boost::system::error_code code) = 0;
        /// Returns null if the executor does not reveal its context.
        [[nodiscard]] boost::asio::execution_context* context() const noexcept { return context_; }

    private:
        boost::asio::execution_context* context_;
    };

    struct State : std::enable_shared_from_this<State> {
        std::mutex mutex;
        time_point now{std::chrono::hours(1)};
        std::map<Key, std::unique_ptr<Entry>> entries;
        std::uint64_t sequence = 0;

        Key add(time_point at, std::unique_ptr<Entry> entry) {
            if (boost::asio::execution_context* context = entry->context())
                sluice::detail::BasicContextService<State>::watch(*context, shared_from_this());
            const std::lock_guard lock(mutex);
            const Key key{at, ++sequence};
            entries.emplace(key, std::move(entry));
            return key;
        }
        std::unique_ptr<Entry> take(const Key& key) {
            const std::lock_guard lock(mutex);
            auto node = entries.extract(key);
            return node ? std::move(node.mapped()) : nullptr;
        }
        /// Returns the first entry that is due by `limit`, and moves the clock to its time.
        std::unique_ptr<Entry> take_next(std::optional<time_point> limit) {
            const std::lock_guard lock(mutex);
            if (entries.empty() || (limit && entries.begin()->first.first > *limit)) return nullptr;
            if (entries.begin()->first.first > now) now = entries.begin()->first.first;
            return std::move(entries.extract(entries.begin()).mapped());
        }
        void shut_down(boost::asio::execution_context& context) {
            std::map<Key, std::unique_ptr<Entry>> doomed;
            const std::lock_guard lock(mutex);
            for (auto at = entries.begin(); at != entries.end();) {
                const auto next = std::next(at);
                if (at->second->context() == &context) doomed.insert(entries.extract(at));
                at = next;
            }
            // `doomed` is destroyed after `lock`: destroying handlers may call this clock again.
        }
    };

    template <class Handler>
    class Sleeper final : public Entry {
        // Otherwise Boost 1.90 would assume inline_executor for a handler without an executor.
        using Own = boost::asio::associated_executor_t<Handler, boost::asio::system_executor>;

    public:
        explicit Sleeper(Handler&& handler)
            : Sleeper(boost::asio::get_associated_executor(handler, boost::asio::system_executor()),
                      std::move(handler)) {}
        void ring(boost::system::error_code code) override {
            // The slot keeps its key, which is no longer found; the signal may already be
            // destroyed.
            if constexpr (sluice::detail::ContextExecutor<Own>) {
                boost::asio::post(executor_, boost::asio::append(std::move(handler_), code));
            } else {
                boost::asio::dispatch(executor_, boost::asio::append(std::move(handler_), code));
            }
        }

    private:
        Sleeper(const Own& executor, Handler&& handler)
            : Entry(context_behind(executor)),
              executor_(sluice::detail::tracked(executor)),
              handler_(std::move(handler)) {}
        static boost::asio::execution_context* context_behind(const Own& executor) {
            if constexpr (sluice::detail::ContextExecutor<Own>) {
                return &sluice::detail::context_of(executor);
            } else {
                return nullptr;
            }
        }

        sluice::detail::Tracked<Own> executor_;
        Handler handler_;
    };

    struct StartSleep {
        using executor_type = boost::asio::system_executor;

        [[nodiscard]] static executor_type get_executor() noexcept { return {}; }
        template <class Handler>
        void operator()(Handler&& handler, std::shared_ptr<State> state, duration time) const {
            auto slot = boost::asio::get_associated_cancellation_slot(handler);
            auto entry = std::make_unique<Sleeper<std::decay_t<Handler>>>(std::move(handler));
            time_point at;
            {
                const std::lock_guard lock(state->mutex);
                at = state->now + std::clamp(time, -core::longest_setting, core::longest_setting);
            }
            const Key key = state->add(at, std::move(entry));
            if (!slot.is_connected()) return;
            slot.assign([weak = std::weak_ptr<State>(state), key](auto type) {
                if (type == boost::asio::cancellation_type::none) return;
                const auto alive = weak.lock();
                if (!alive) return;
                if (const auto taken = alive->take(key)) {
                    taken->ring(boost::asio::error::operation_aborted);
                }
            });
        }
    };

    std::size_t run_until(boost::asio::io_context& context, std::optional<time_point> limit) {
        std::size_t ran = 0;
        for (;;) {
            if (context.stopped()) context.restart();
            ran += context.poll();
            const std::unique_ptr<Entry> due = state_->take_next(limit);
            if (due == nullptr) break;
            due->ring({});
        }
        if (limit) {
            const std::lock_guard lock(state_->mutex);
            if (state_->now < *limit) state_->now = *limit;
        }
        return ran;
    }

    template <class>
    friend class sluice::detail::BasicContextService;

    std::shared_ptr<State> state_;
};

inline boost::asio::awaitable<void> ManualClock::sleep(duration time) const {
    co_await async_sleep(time, boost::asio::use_awaitable);
}

/// Holds at most one entry of the clock.
class ManualClock::Alarm {
public:
    Alarm(const ManualClock& clock, boost::asio::any_io_executor executor)
        : state_(clock.state_), executor_(std::move(executor)) {}
    Alarm(const Alarm&) = delete;
    Alarm& operator=(const Alarm&) = delete;
    ~Alarm() { clear(); }

    template <class Ring>
    void set(time_point at, Ring ring) {
        clear();
        if (!state_) return;
        key_ = state_->add(at, std::make_unique<Bell<Ring>>(executor_, std::move(ring)));
    }
    void clear() {
        if (state_ && key_) state_->take(*key_);
        key_.reset();
    }
    void shut_down() noexcept {
        clear();
        state_.reset();
        executor_ = {};
    }

private:
    template <class Ring>
    class Bell final : public Entry {
    public:
        Bell(const boost::asio::any_io_executor& executor, Ring ring)
            : Entry(&sluice::detail::context_of(executor)),
              executor_(executor),
              ring_(std::move(ring)) {}
        void ring(boost::system::error_code) override {
            boost::asio::post(executor_, std::move(ring_));
        }

    private:
        boost::asio::any_io_executor executor_;
        Ring ring_;
    };

    std::shared_ptr<State> state_;
    boost::asio::any_io_executor executor_;
    std::optional<Key> key_;
};

} // namespace sluice::testing

#endif
