// SPDX-License-Identifier: MIT
//
// A simulated Discord without I/O: it takes a request and its time of arrival, and returns the
// answer. It enforces the limits of its rules and of the token, answers with the headers that
// Discord sends, and records every arrival. `FakeDiscordServer` puts it behind a socket.
//
// Invariant: limits are enforced on arrival times, whatever the headers say. A request that is
// refused by its route's ordinary limit or by the global limit uses neither quota.
//
//     FakeDiscord discord;
//     discord.rule("GET /users/{user.id}", {.limit = Limit{Algorithm::gcra, 5, 5s}});
//     auto answer = discord.receive({.method = "GET", .target = "/users/1"}, 0ns);
//     discord.at(10s, [](FakeDiscord& later) { later.global(std::nullopt); });
//
// A request passes, in this order: script, bans, outages, gate (tokens, webhooks), faults that
// strike before it runs, global limit, limits of the route, faults that strike after it ran.
//
// Server time is the time since the fake was made, virtual or real, and never runs backwards.
// Distinct objects may be used from several threads, one object from one at a time.
#ifndef SLUICE_TESTING_FAKE_DISCORD_HPP
#define SLUICE_TESTING_FAKE_DISCORD_HPP

#include <sluice/route.hpp>
#include <sluice/testing/fake_error_answer.hpp>
#include <sluice/testing/fake_fault.hpp>
#include <sluice/testing/fake_gate.hpp>
#include <sluice/testing/fake_hash.hpp>
#include <sluice/testing/fake_headers.hpp>
#include <sluice/testing/fake_indexing.hpp>
#include <sluice/testing/fake_lie.hpp>
#include <sluice/testing/fake_limit.hpp>
#include <sluice/testing/fake_log.hpp>
#include <sluice/testing/fake_outage.hpp>
#include <sluice/testing/fake_plan.hpp>
#include <sluice/testing/fake_proxy.hpp>
#include <sluice/testing/fake_refusal.hpp>
#include <sluice/testing/fake_request.hpp>
#include <sluice/testing/fake_rules.hpp>
#include <sluice/testing/fake_second_limit.hpp>
#include <sluice/testing/fake_tokens.hpp>

#include <boost/unordered/unordered_flat_map.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <optional>
#include <queue>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace sluice::testing {

class FakeDiscord {
public:
    using Change = std::function<void(FakeDiscord&)>;
    using Script = std::function<std::optional<FakeResponse>(const FakeRequest&, Duration now)>;

    explicit FakeDiscord(FakeOptions options = {});

    [[nodiscard]] FakeResponse receive(const FakeRequest& request, Duration now);
    /// Like receive() above, for a request whose route is known: simulations need not parse it each
    /// time.
    [[nodiscard]] FakeResponse receive(const Route& route, const FakeRequest& request,
                                       Duration now);

    /// An answer reached its client or was given up. Has an effect only with
    /// `InFlight::until_delivered`.
    void delivered() noexcept { flying_ = std::max<std::int64_t>(0, flying_ - 1); }

    /// Returns the wait that such a request would get if it arrived now; zero: it would be
    /// accepted. Uses no quota. Ignores the script and changes that are scheduled for later.
    [[nodiscard]] Duration retry_after(const FakeRequest& request, Duration now) const;

    /// Sets the rule of a template, such as "POST /channels/{channel.id}/messages", now. Used quota
    /// stays used as long as the hash is the same. Throws std::invalid_argument.
    void rule(std::string_view route_template, Rule rule);
    void rule(const Route& any_of_template, Rule rule);
    [[nodiscard]] const Rule& rule(std::string_view route_template) const;

    void global(const std::optional<Limit>& limit);
    /// Sets `FakeOptions::address_global`.
    void address_global(const std::optional<Limit>& limit);
    void count_in_flight(InFlight mode) noexcept { options_.in_flight = mode; }

    /// Applies `change` before the first request that arrives at `time` or later.
    void at(Duration time, Change change) { changes_.emplace(time, std::move(change)); }

    /// Called first for every request. If it returns an answer, that is sent unchanged and uses no
    /// quota.
    void script(Script script) { script_ = std::move(script); }

    /// Other users take `count` requests, or what is left, from the shared limits that such a
    /// request draws on.
    void others_spend(const FakeRequest& request, int count, Duration now);

    /// Cloudflare answers every request from this address until `until`. `tells` is the wait that
    /// each answer states; nullopt: the remaining time (or `InvalidLimit::tells`).
    void ban(std::string_view address, Duration until,
             std::optional<Duration> tells = std::nullopt) {
        gate_.invalid().ban(address, until, tells);
    }
    /// Every request with this Authorization header is answered with 401.
    void revoke_token(std::string_view token) { gate_.revoke_token(token); }
    /// From `when` on, requests with this Authorization header are answered with 401, code 50025.
    /// Codes: Discord docs, "Opcodes and Status Codes"; such 401s: discord-api-docs#6769, 2024-03.
    void expire_bearer(std::string_view token, Duration when = Duration::zero()) {
        gate_.expire_bearer(token, when);
    }
    /// Every request to this webhook is answered with 404.
    void remove_webhook(std::string_view id) { gate_.remove_webhook(id); }
    /// From `when` on, every request with this token in its path (an interaction's or a webhook's)
    /// is answered with 401, code 50027.
    void expire_token(std::string_view path_token, Duration when = Duration::zero()) {
        gate_.tokens().expire(path_token, when);
    }
    /// Every request to a webhook with this thread_id is answered with 404, code 10003.
    void remove_thread(std::string_view id) { gate_.tokens().remove_thread(id); }
    /// Adds an outage to those of `FakeOptions::outages`. Throws std::invalid_argument.
    void outage(const Outage& outage) { outages_.add(outage); }
    void outage(Duration from, Duration until, int status = 502) {
        outage({.from = from, .until = until, .status = status});
    }
    /// Sets `FakeOptions::proxy`.
    void proxy(std::optional<Proxy> proxy) { options_.proxy = std::move(proxy); }
    /// Sets the offset of the clock behind Date and Reset.
    void clock_offset(Duration offset) noexcept { options_.clock_offset = offset; }

    /// The newest arrivals, oldest first.
    [[nodiscard]] const std::deque<Arrival>& log() const noexcept { return log_.arrivals(); }
    void clear_log() noexcept { log_.clear(); }
    /// Returns the number since construction, whether or not the log still holds them.
    [[nodiscard]] std::uint64_t count(FakeVerdict verdict) const noexcept {
        return log_.count(verdict);
    }
    /// Returns how often the request of this identity was executed, whatever was answered.
    [[nodiscard]] std::uint64_t executions(std::string_view identity) const {
        return log_.executions(identity);
    }
    /// Returns the invalid requests that count towards a ban of this address now.
    [[nodiscard]] std::int64_t invalid_requests(std::string_view address) const {
        return options_.invalid ? gate_.invalid().counted(*options_.invalid, address, now_) : 0;
    }

    [[nodiscard]] const FakeOptions& options() const noexcept { return options_; }

private:
    /// A request that is being processed.
    struct Exchange {
        const FakeRequest& request;
        Arrival& arrival;
        Duration wall; ///< since 1970
        Duration skew; ///< how far the shown clock is ahead of it
        FakeResponse response{};
        const Lie* lie = nullptr;
        bool complete = false; ///< the answer has all common headers
    };
    using Counters = boost::unordered_flat_map<std::uint64_t, Counter>;

    [[nodiscard]] static Counter& find_or_make(Counters& counters, std::uint64_t id,
                                               const Limit& limit);
    [[nodiscard]] static Duration wait_of(const Counters& counters, std::uint64_t id,
                                          const Limit& limit, Duration wall);

    void apply_changes();
    void sweep(Duration wall);
    [[nodiscard]] detail::Plan& plan(const Route& route);
    /// The global limit that a request draws on (null: none), and the individual that it belongs
    /// to.
    struct Global {
        const Limit* limit = nullptr;
        std::uint64_t individual = 0;
    };
    [[nodiscard]] Global global_of(const Route& route, const FakeRequest& request) const;
    [[nodiscard]] Duration draw_skew() noexcept;
    [[nodiscard]] FakeResponse answer(const FakeRequest& request, Arrival& arrival);
    void decide(Exchange& exchange);
    [[nodiscard]] bool stop(Exchange& exchange);
    void limit_globally(Exchange& exchange, detail::Plan* plan);
    void run_rule(Exchange& exchange, detail::Plan& plan);
    static void write_body(FakeResponse& response, const Rule& rule, const ErrorAnswer* error);
    [[nodiscard]] bool run_second(Exchange& exchange, const detail::Plan& plan);
    [[nodiscard]] bool refuse_second(Exchange& exchange, const SecondLimit& second);
    void describe(Exchange& exchange, detail::Description told, std::string_view hash,
                  const Lie* lie);
    void refuse(Exchange& exchange, FakeVerdict verdict, Refusal refusal);
    void strike(Exchange& exchange, const detail::Plan& plan, const Fault& fault);
    void strike_with_refusal(Exchange& exchange, const detail::Plan& plan, const Refusal& refusal);
    [[nodiscard]] std::int64_t take_off() noexcept;

    FakeOptions options_;
    detail::HeaderWriter writer_;
    detail::Gate gate_;
    detail::Outages outages_;
    Script script_;
    std::multimap<Duration, Change> changes_;
    boost::unordered_flat_map<std::uint64_t, detail::Plan> plans_; ///< by route id
    Counters globals_;                                             ///< by individual
    Counters counters_;                                            ///< by `Plan::counter`
    detail::SecondCounters second_counters_;
    std::size_t sweep_at_ = first_sweep;
    Duration now_{};
    std::uint64_t draws_ = 0;
    std::int64_t flying_ = 0;
    std::priority_queue<Duration, std::vector<Duration>, std::greater<>> thinking_;
    detail::ArrivalLog log_;

    static constexpr std::size_t first_sweep = 4096;
};

inline FakeDiscord::FakeDiscord(FakeOptions options)
    : options_(std::move(options)), writer_(options_.numbers), draws_(options_.seed) {
    global(options_.global);
    address_global(options_.address_global);
    (void)detail::Plan{options_.fallback, 0};
    if (options_.invalid) detail::check(*options_.invalid);
    if (options_.interaction_tokens) detail::check(*options_.interaction_tokens);
    for (const Outage& outage : options_.outages)
        outages_.add(outage);
}

inline FakeResponse FakeDiscord::receive(const FakeRequest& request, Duration now) {
    return receive(Route::parse(request.method, request.target).value_or(Route{}), request, now);
}

inline FakeResponse FakeDiscord::receive(const Route& route, const FakeRequest& request,
                                         Duration now) {
    now_ = std::max(now_, now);
    apply_changes();
    Arrival arrival{.at = now_, .route = route, .in_flight = take_off()};
    FakeResponse response = answer(request, arrival);
    if (options_.in_flight == InFlight::until_thought && response.think_time > Duration::zero())
        thinking_.push(now_ + response.think_time);
    arrival.status = response.status;
    log_.record(request, std::move(arrival), options_.log_capacity);
    return response;
}

inline void FakeDiscord::others_spend(const FakeRequest& request, int count, Duration now) {
    now_ = std::max(now_, now);
    apply_changes();
    const Route route = Route::parse(request.method, request.target).value_or(Route{});
    if (route.valid())
        plan(route).others_spend(route, request, count, second_counters_, options_.epoch + now_);
}

inline Duration FakeDiscord::retry_after(const FakeRequest& request, Duration now) const {
    const Duration wall = options_.epoch + std::max(now_, now);
    const Route route = Route::parse(request.method, request.target).value_or(Route{});
    Duration wait{};
    const Global global = global_of(route, request);
    if (global.limit != nullptr) wait = wait_of(globals_, global.individual, *global.limit, wall);
    if (!route.valid()) return wait;
    const auto known = plans_.find(route.id());
    const detail::Plan plan =
        known != plans_.end() ? known->second : detail::Plan{options_.fallback, route.id()};
    const auto course = plan.course(route, request, wall);
    const detail::Face& face = *course.face;
    if (face.limit) {
        const auto id = plan.counter(face, route, request);
        wait = std::max(wait, wait_of(counters_, id, *face.limit, wall));
    }
    if (course.error != nullptr && !course.error->counted) return wait;
    return std::max(wait, plan.second_wait(route, request, second_counters_, wall));
}

inline void FakeDiscord::rule(std::string_view route_template, Rule rule) {
    this->rule(detail::route_of_template(route_template), std::move(rule));
}

inline void FakeDiscord::rule(const Route& any_of_template, Rule rule) {
    plans_.insert_or_assign(any_of_template.id(), detail::Plan{rule, any_of_template.id()});
}

inline const Rule& FakeDiscord::rule(std::string_view route_template) const {
    const auto found = plans_.find(detail::route_of_template(route_template).id());
    return found != plans_.end() ? found->second.rule() : options_.fallback;
}

inline void FakeDiscord::global(const std::optional<Limit>& limit) {
    if (limit) detail::checked(*limit);
    options_.global = limit;
}

inline void FakeDiscord::address_global(const std::optional<Limit>& limit) {
    if (limit) detail::checked(*limit);
    options_.address_global = limit;
}

inline detail::Plan& FakeDiscord::plan(const Route& route) {
    const auto known = plans_.find(route.id());
    if (known != plans_.end()) return known->second;
    const detail::Plan plan{options_.fallback, route.id()};
    return plans_.emplace(route.id(), plan).first->second;
}

inline Counter& FakeDiscord::find_or_make(Counters& counters, std::uint64_t id,
                                          const Limit& limit) {
    Counter& counter = counters.try_emplace(id, limit).first->second;
    counter.adapt(limit);
    return counter;
}

inline Duration FakeDiscord::wait_of(const Counters& counters, std::uint64_t id, const Limit& limit,
                                     Duration wall) {
    const auto found = counters.find(id);
    if (found == counters.end()) return Duration::zero();
    Counter counter = found->second;
    counter.adapt(limit);
    return counter.wait(wall);
}

inline void FakeDiscord::apply_changes() {
    while (!changes_.empty() && changes_.begin()->first <= now_) {
        // Extracted before it is called: a change may schedule the next one.
        const auto due = changes_.extract(changes_.begin());
        due.mapped()(*this);
    }
}

// A full counter is equivalent to a new one. Interaction tokens are unlimited in number, and a long
// simulation must not keep a counter for each.
inline void FakeDiscord::sweep(Duration wall) {
    const auto size = [&] { return counters_.size() + globals_.size() + second_counters_.size(); };
    if (size() < sweep_at_) return;
    const auto full = [&](const auto& entry) { return entry.second.full(wall); };
    erase_if(counters_, full);
    erase_if(globals_, full);
    second_counters_.forget_full(wall);
    sweep_at_ = std::max(first_sweep, 2 * size());
}

inline FakeDiscord::Global FakeDiscord::global_of(const Route& route,
                                                  const FakeRequest& request) const {
    const Limit* const of_token = options_.global ? &*options_.global : nullptr;
    const Limit* const of_address = options_.address_global ? &*options_.address_global : of_token;
    const bool anonymous = request.token.empty();
    const bool exempt = route.exempt_from_global() && (options_.exempt_interactions || anonymous);
    if (exempt && !options_.interactions_per_address) return {};
    if (exempt || anonymous) return {of_address, detail::address_of(request)};
    return {of_token, detail::individual(request)};
}

inline Duration FakeDiscord::draw_skew() noexcept {
    if (options_.nodes < 2) return Duration::zero();
    const auto node = static_cast<std::int64_t>(detail::mixed(draws_++) % options_.nodes);
    return node * options_.node_skew / (options_.nodes - 1) - options_.node_skew / 2;
}

inline std::int64_t FakeDiscord::take_off() noexcept {
    if (options_.in_flight == InFlight::until_delivered) return ++flying_;
    while (!thinking_.empty() && thinking_.top() <= now_)
        thinking_.pop();
    return static_cast<std::int64_t>(thinking_.size()) + 1;
}

} // namespace sluice::testing

#include <sluice/testing/detail/fake_discord_answers.hpp>

#endif
