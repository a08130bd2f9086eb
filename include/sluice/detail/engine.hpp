// SPDX-License-Identifier: MIT
//
// The shared state behind a limiter, its tickets and its waiters: a core::Scheduler under one lock,
// with a clock and one alarm. It performs what the scheduler decides and decides nothing itself.
//
// Two functions carry nearly every request, try_take() and update() of a ticket. They are
// flattened, and what they rarely need is kept out of line: of 1,770 instructions 380 were calls.
// They are marked hot, because a compiler takes what lies behind thirty conditions for cold and
// saves bytes there: it divided by 4 instead of shifting.
//
// Rules: no handler, no posting and no freeing of a waiter happens under the lock; finished waiters
// are posted in the order in which they finished, by one thread at a time.
#ifndef SLUICE_DETAIL_ENGINE_HPP
#define SLUICE_DETAIL_ENGINE_HPP

#include <sluice/core/scheduler.hpp>
#include <sluice/core/snapshot.hpp>
#include <sluice/core/time.hpp>
#include <sluice/detail/alarm.hpp>
#include <sluice/detail/context_service.hpp>
#include <sluice/detail/issuer.hpp>
#include <sluice/detail/outbox.hpp>
#include <sluice/detail/outcome.hpp>
#include <sluice/detail/read_answer.hpp>
#include <sluice/detail/route_rules.hpp>
#include <sluice/detail/short_lock.hpp>
#include <sluice/detail/wait_operation.hpp>
#include <sluice/error.hpp>
#include <sluice/options.hpp>
#include <sluice/response.hpp>
#include <sluice/route.hpp>

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/error.hpp>
#include <boost/asio/execution_context.hpp>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <type_traits>
#include <utility>
#include <vector>

namespace sluice {

/// What a limiter has done since it was made, and what it holds now.
struct Stats {
    core::Counters counters = {};
    std::size_t queued = 0;    ///< requests waiting for a ticket
    std::size_t in_flight = 0; ///< tickets out
    std::size_t buckets = 0;
    std::size_t lanes = 0;
    std::int64_t invalid_requests = 0; ///< of the address, within its period
    std::uint64_t observer_failures = 0;
};

namespace detail {

template <class Clock, class Mutex>
class Engine final : public Issuer, public std::enable_shared_from_this<Engine<Clock, Mutex>> {
public:
    Engine(boost::asio::any_io_executor executor, const Options& options, Clock clock)
        : executor_(std::move(executor)),
          context_(context_of(executor_)),
          clock_(std::move(clock)),
          options_(options),
          scheduler_(settings_of(options), gate_of(options)),
          wake_up_(clock_, executor_) {
        if (options.expected_buckets != 0) scheduler_.reserve(options.expected_buckets);
    }
    [[nodiscard]] const Clock& clock() const noexcept { return clock_; }
    void attach() { ContextService::watch(context_, this->shared_from_this()); }

    boost::asio::any_io_executor executor() const override {
        const std::lock_guard lock(mutex_);
        return executor_;
    }
    core::Time now() override {
        return core::Time(
            std::chrono::duration_cast<core::Duration>(clock_.now().time_since_epoch()));
    }

    bool try_take(const Route& route, std::int64_t min_remaining, core::Place& place) override;
    void start(WaitOperation& operation, const WaitRequest& request) override;
    void abort(WaitOperation& operation) override;
    void shut_down(boost::asio::execution_context& context) override;
    Verdict update(core::Place& place, const Response& answer, core::Time sent) override;
    Verdict update(const Route& route, const Response& answer) override;
    core::Backoff backoff() const noexcept override {
        return {options_.first_backoff, options_.max_backoff};
    }
    void lose(core::Place& place) override;
    void cancel(core::Place& place) override;
    std::optional<BucketInfo> find(const Route& route) override;
    std::optional<std::chrono::nanoseconds> timeout_for(const Route& route) override;

    std::size_t collect(std::chrono::nanoseconds idle);
    std::size_t cancel_all();
    void close();
    Stats stats();
    void set_global(const GlobalLimit& global);
    void replace_token();
    /// Told on a clock that goes on across processes.
    core::Snapshot save();
    void restore(const core::Snapshot& saved);
    /// What the alarm calls.
    void ring();

private:
    /// The lock, and the time under it.
    struct Turn {
        std::unique_lock<Mutex> lock;
        core::Time now;
    };
    [[nodiscard]] Turn enter();
    /// A turn in which anything may happen: on the way out it arms the alarm and posts what has
    /// finished.
    class Session;

    static core::Settings settings_of(const Options& options);
    /// An alias: the gate lives in the address.
    static std::shared_ptr<core::Gate> gate_of(const Options& options) {
        if (!options.address) return nullptr;
        return {options.address, &options.address->gate()};
    }
    [[nodiscard]] core::LaneKey key_of(const Route& route) const;
    [[nodiscard]] core::LaneTraits traits_of(const Route& route, const core::LaneKey& key) const;
    [[nodiscard]] std::chrono::nanoseconds wall_time() const;
    [[nodiscard]] static std::chrono::nanoseconds calendar(core::Time now);
    void learn_wall_time(const Response& answer, const core::Observation& seen, core::Time now);
    void tell(const std::vector<core::Event>& events) noexcept;
    void claim_barred(WaitOperation& operation, core::Lane& lane, core::Refused why,
                      core::Time now);
    static errc code_of(core::Refused why) noexcept;
    core::Lane* find_lane(const Route& route, const core::LaneKey& key, core::Time now);
    core::Lane& lane_of(const Route& route, core::Time now);
    bool try_take_any(const Route& route, core::Lane* known, std::int64_t min_remaining,
                      core::Place& place, Turn turn);
    Verdict verdict_of(core::AnswerKind kind, const core::Place& place, core::Lane& lane,
                       int status, core::Time now);
    Verdict update_any(core::Place& place, const Response& answer, const core::Observation& seen,
                       core::Time sent, Turn turn);
    Verdict update_unplaced(core::Place& place, core::Lane& lane, core::Answer& answer,
                            core::Time now);
    Refusal refusal_of(core::Lane& lane, core::Refused why, core::Time now,
                       std::optional<std::chrono::nanoseconds> wait);
    static std::optional<Scope> scope_of(core::Obstacle obstacle) noexcept;
    void claim(WaitOperation& operation, Outcome outcome);
    void start_again(WaitOperation& operation, const WaitRequest& request, core::Time now);
    void queue_again(WaitOperation& operation, const WaitRequest& request, core::Time now);
    void enqueue(WaitOperation& operation, core::Lane& lane,
                 std::optional<std::chrono::nanoseconds> max_wait, core::Time now);
    void sort_out_finished(core::Time now);
    std::size_t end_waiters(Outcome outcome, core::Time now);
    core::WaiterList take_out(const boost::asio::execution_context& context, core::Time now);

    boost::asio::any_io_executor executor_; // under the lock: its context may end at any time
    boost::asio::execution_context& context_;
    [[no_unique_address]] Clock clock_;
    Options options_;
    mutable Mutex mutex_;                   // guards all that follows
    core::Time latest_ = core::Time::min(); // now, as it was told last
    core::Scheduler scheduler_;
    WakeUp<Clock> wake_up_;
    Outbox<WaitOperation, core::WaiterList> outbox_;
    std::optional<std::chrono::nanoseconds> wall_offset_; // Discord's clock less ours
    std::atomic<std::uint64_t> observer_failures_ = 0;
    bool closed_ = false;
};

template <class Clock, class Mutex>
class Engine<Clock, Mutex>::Session {
public:
    explicit Session(Engine& engine) : Session(engine, engine.enter()) {}
    Session(Engine& engine, Turn turn) noexcept : engine_(engine), turn_(std::move(turn)) {}
    Session(const Session&) = delete;
    Session& operator=(const Session&) = delete;
    ~Session() { finish(); }

    [[nodiscard]] core::Time now() const noexcept { return turn_.now; }

private:
    [[gnu::noinline]] void finish() {
        core::Scheduler& scheduler = engine_.scheduler_;
        if (scheduler.has_finished()) engine_.sort_out_finished(now());
        const core::Time wake = scheduler.next_wake();
        if (wake != engine_.wake_up_.at()) engine_.wake_up_.set(wake, now(), engine_);
        std::vector<core::Event> events;
        if (scheduler.has_events()) events = scheduler.take_events();
        if (!engine_.outbox_.empty()) engine_.outbox_.post(turn_.lock);
        if (events.empty()) return;
        turn_.lock.unlock();
        engine_.tell(events);
    }

    Engine& engine_;
    Turn turn_;
};

/// The clock is read before the lock is had, so that threads do not wait for each other's look.
/// Under the lock time never runs backwards all the same.
template <class Clock, class Mutex>
typename Engine<Clock, Mutex>::Turn Engine<Clock, Mutex>::enter() {
    const core::Time read = now();
    lock_for_short(mutex_);
    latest_ = core::greater(latest_, read);
    return {std::unique_lock(mutex_, std::adopt_lock), latest_};
}

template <class Clock, class Mutex>
core::Settings Engine<Clock, Mutex>::settings_of(const Options& options) {
    core::Settings settings;
    settings.global_limit = options.global.limit;
    settings.global_period = core::in_range(options.global.period);
    settings.longest_global_hold =
        core::in_range(options.longest_global_hold.value_or(core::Duration(0)));
    settings.headerless_width = std::max<std::int64_t>(1, options.headerless_width);
    settings.credit_cap = core::in_range(options.max_credit);
    settings.retry_margin = core::in_range(options.retry_margin);
    settings.backoff = {options.first_backoff, options.max_backoff};
    settings.idle.evict_after = core::in_range(options.idle_time);
    settings.idle.dormant_after = std::min(settings.idle.dormant_after, settings.idle.evict_after);
    settings.idle.most_idle = options.max_idle_buckets;
    settings.split_lying_hashes = options.split_lying_hashes;
    settings.join_common_counters = options.join_common_counters;
    settings.record_events = static_cast<bool>(options.observer);
    return settings;
}

/// Which queue a request belongs to. Deletes of messages are limited by age.
template <class Clock, class Mutex>
core::LaneKey Engine<Clock, Mutex>::key_of(const Route& route) const {
    core::LaneKey key{route.id(), route.major(), route.tag()};
    if (route.message_id() != 0 && options_.split_deletes_by_age) {
        key.route += age_class(route.message_id(), wall_time()) * age_class_stride;
    }
    if (is_unusual(route)) [[unlikely]]
        key.route ^= unusual_authorization;
    return key;
}

template <class Clock, class Mutex>
core::LaneTraits Engine<Clock, Mutex>::traits_of(const Route& route,
                                                 const core::LaneKey& key) const {
    core::LaneTraits traits;
    traits.family = options_.join_reactions && writes_reaction(route) ? reactions : key.route;
    traits.family &= ~core::Registry::other_individual;
    if (is_unusual(route)) traits.family |= core::Registry::other_individual;
    traits.text = route.text();
    traits.exempt = route.exempt_from_global();
    traits.idempotent = is_idempotent(route.method());
    traits.path_token = route.major().family() == core::MajorKind::webhook_token;
    traits.tokenless = route.authorization() == Authorization::none;
    traits.webhook = traits.path_token && names_webhook(route);
    traits.bots = speaks_of_bot_token(route);
    traits.merges = merges_accounts(route);
    return traits;
}

template <class Clock, class Mutex>
core::Lane* Engine<Clock, Mutex>::find_lane(const Route& route, const core::LaneKey& key,
                                            core::Time now) {
    core::Lane* known = scheduler_.find(key, now);
    if (known != nullptr && route.exempt_from_global()) known->traits.exempt = true;
    return known;
}

template <class Clock, class Mutex>
core::Lane& Engine<Clock, Mutex>::lane_of(const Route& route, core::Time now) {
    const core::LaneKey key = key_of(route);
    if (core::Lane* known = find_lane(route, key, now)) return *known;
    return scheduler_.lane(key, traits_of(route, key), now);
}

/// Discord's clock as its answers show it; this machine's until the first of them.
template <class Clock, class Mutex>
std::chrono::nanoseconds Engine<Clock, Mutex>::wall_time() const {
    if (wall_offset_) return const_cast<Engine*>(this)->now().time_since_epoch() + *wall_offset_;
    return std::chrono::system_clock::now().time_since_epoch();
}

template <class Clock, class Mutex>
void Engine<Clock, Mutex>::learn_wall_time(const Response& answer, const core::Observation& seen,
                                           core::Time now) {
    const auto reset = answer.reset.value_or(std::chrono::sys_time<core::Duration>::min());
    if (reset.time_since_epoch() < core::Duration(0) || !seen.reset_after) return;
    wall_offset_ = reset.time_since_epoch() - *seen.reset_after - now.time_since_epoch();
}

template <class Clock, class Mutex>
[[gnu::hot, gnu::flatten]] bool
Engine<Clock, Mutex>::try_take(const Route& route, std::int64_t min_remaining, core::Place& place) {
    if (!route.valid()) [[unlikely]]
        return false;
    Turn turn = enter();
    core::Lane* lane = nullptr;
    if (!closed_ && min_remaining <= 1 && scheduler_.calm(turn.now)) [[likely]] {
        lane = find_lane(route, key_of(route), turn.now);
        if (lane != nullptr && scheduler_.admit_plain(*lane, turn.now, place)) [[likely]]
            return true;
    }
    return try_take_any(route, lane, min_remaining, place, std::move(turn));
}

template <class Clock, class Mutex>
[[gnu::noinline]] bool Engine<Clock, Mutex>::try_take_any(const Route& route, core::Lane* known,
                                                          std::int64_t min_remaining,
                                                          core::Place& place, Turn turn) {
    const Session session(*this, std::move(turn));
    if (closed_) return false;
    core::Lane& lane = known != nullptr ? *known : lane_of(route, session.now());
    if (scheduler_.try_admit(lane, session.now(), place, min_remaining)) return true;
    scheduler_.leave(lane, session.now());
    return false;
}

/// What the observer throws is its own affair.
template <class Clock, class Mutex>
void Engine<Clock, Mutex>::tell(const std::vector<core::Event>& events) noexcept {
    for (const core::Event& event : events) {
        try {
            options_.observer(event);
        } catch (...) {
            observer_failures_.fetch_add(1, std::memory_order_relaxed);
        }
    }
}

template <class Clock, class Mutex>
[[gnu::noinline]] Verdict
Engine<Clock, Mutex>::verdict_of(core::AnswerKind kind, const core::Place& place, core::Lane& lane,
                                 int status, core::Time now) {
    if (status != 429 && place.failures == 0) return {kind, false, {}};
    const auto at = scheduler_.predict(lane, now, place.arrival);
    return {kind, true,
            core::greater(at.value_or(scheduler_.opens(lane, now)), place.not_before()) - now};
}

template <class Clock, class Mutex>
[[gnu::hot, gnu::flatten]] Verdict
Engine<Clock, Mutex>::update(core::Place& place, const Response& answer, core::Time sent) {
    constexpr int least_invalid = 401;
    constexpr int accepted = 202; // perhaps to be repeated
    core::Observation seen = read_observation(answer);
    seen.sent = place.sent;
    Turn turn = enter();
    seen.received = turn.now;
    learn_wall_time(answer, seen, turn.now);
    if (answer.status < least_invalid && answer.status != accepted && place.taken() &&
        scheduler_.answer_plain(place, hash_in(answer), seen, sent)) [[likely]]
        return {};
    return update_any(place, answer, seen, sent, std::move(turn));
}

template <class Clock, class Mutex>
[[gnu::hot, gnu::flatten, gnu::noinline]] Verdict
Engine<Clock, Mutex>::update_any(core::Place& place, const Response& response,
                                 const core::Observation& seen, core::Time sent, Turn turn) {
    const Session session(*this, std::move(turn));
    core::Answer answer = read_answer(response, seen);
    if (!place.taken()) return update_unplaced(place, *place.lane, answer, session.now());
    const core::AnswerKind kind = scheduler_.answer(place, answer, sent, session.now());
    return verdict_of(kind, place, *place.lane, response.status, session.now());
}

template <class Clock, class Mutex>
[[gnu::noinline]] Verdict
Engine<Clock, Mutex>::update_unplaced(core::Place& place, core::Lane& lane, core::Answer& answer,
                                      core::Time now) {
    const core::AnswerKind kind = scheduler_.answer_unplaced(lane, answer, now);
    scheduler_.judge(place, lane, answer, now);
    return verdict_of(kind, place, lane, answer.status, now);
}

template <class Clock, class Mutex>
Verdict Engine<Clock, Mutex>::update(const Route& route, const Response& answer) {
    if (!route.valid()) return {};
    core::Answer seen = read_answer(answer);
    const Session session(*this);
    core::Lane& lane = lane_of(route, session.now());
    learn_wall_time(answer, seen.seen, session.now());
    core::Place last;
    last.arrival = UINT64_MAX;
    lane.holders.fetch_add(1, std::memory_order_relaxed);
    const Verdict verdict = update_unplaced(last, lane, seen, session.now());
    lane.holders.fetch_sub(1, std::memory_order_release);
    return verdict;
}

template <class Clock, class Mutex>
void Engine<Clock, Mutex>::lose(core::Place& place) {
    const Session session(*this);
    scheduler_.lose(place, session.now());
}

template <class Clock, class Mutex>
void Engine<Clock, Mutex>::cancel(core::Place& place) {
    const Session session(*this);
    scheduler_.cancel(place, session.now());
}

template <class Clock, class Mutex>
std::optional<BucketInfo> Engine<Clock, Mutex>::find(const Route& route) {
    const Session session(*this);
    const core::LaneKey key = key_of(route);
    core::Bucket* bucket = scheduler_.find_bucket(key, traits_of(route, key).family);
    if (bucket == nullptr) return std::nullopt;
    const core::BucketState state = scheduler_.describe(*bucket, session.now());
    BucketInfo info;
    info.hash = BucketHash::parse(scheduler_.registry().hash_of(*bucket));
    info.limit = state.limit;
    info.remaining = state.remaining;
    info.reset_after = state.reset_after;
    info.in_flight = static_cast<std::uint64_t>(state.out);
    info.queued = bucket->queued;
    info.latency = scheduler_.latency().mean();
    return info;
}

template <class Clock, class Mutex>
std::optional<std::chrono::nanoseconds> Engine<Clock, Mutex>::timeout_for(const Route& route) {
    if (!route.valid()) return std::nullopt;
    const Session session(*this);
    if (closed_) return std::nullopt;
    const core::Time now = session.now();
    core::Lane& lane = lane_of(route, now);
    const auto barred = scheduler_.barred(lane, now);
    std::optional<core::Time> at;
    if (!barred) at = scheduler_.predict(lane, now);
    if (barred == core::Refused::too_many_invalid) at = scheduler_.gate().stopped_until(now);
    scheduler_.leave(lane, now);
    return at ? std::optional<std::chrono::nanoseconds>(*at - now) : std::nullopt;
}

template <class Clock, class Mutex>
std::size_t Engine<Clock, Mutex>::collect(std::chrono::nanoseconds idle) {
    const Session session(*this);
    return scheduler_.collect(session.now(), core::in_range(idle));
}

template <class Clock, class Mutex>
Stats Engine<Clock, Mutex>::stats() {
    const Session session(*this);
    return {scheduler_.counters(),
            scheduler_.queued(),
            scheduler_.in_flight(),
            scheduler_.registry().bucket_count(),
            scheduler_.registry().lane_count(),
            scheduler_.gate().invalid(session.now()),
            observer_failures_.load(std::memory_order_relaxed)};
}

template <class Clock, class Mutex>
void Engine<Clock, Mutex>::replace_token() {
    const Session session(*this);
    scheduler_.replace_token();
}

/// The steady clock's origin is the start of the machine. Any other clock is taken to have one that
/// both processes share.
template <class Clock, class Mutex>
std::chrono::nanoseconds Engine<Clock, Mutex>::calendar(core::Time now) {
    if constexpr (std::is_same_v<Clock, std::chrono::steady_clock>) {
        return std::chrono::system_clock::now().time_since_epoch();
    } else {
        return now.time_since_epoch();
    }
}

template <class Clock, class Mutex>
core::Snapshot Engine<Clock, Mutex>::save() {
    const Session session(*this);
    core::Snapshot saved = scheduler_.save(session.now());
    saved.taken = calendar(session.now());
    return saved;
}

template <class Clock, class Mutex>
void Engine<Clock, Mutex>::restore(const core::Snapshot& saved) {
    const Session session(*this);
    const auto age = core::in_range(calendar(session.now()) - saved.taken);
    scheduler_.restore(saved, session.now() - age, session.now());
}

template <class Clock, class Mutex>
void Engine<Clock, Mutex>::set_global(const GlobalLimit& global) {
    const Session session(*this);
    scheduler_.set_global(global.limit, core::in_range(global.period), session.now());
}

} // namespace detail
} // namespace sluice

#include <sluice/detail/engine_waiting.hpp>

#endif
