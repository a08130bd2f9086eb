// SPDX-License-Identifier: MIT
//
// A Discord that does no I/O: a request and its time of arrival go in, the answer comes out. It
// enforces the limits of its rules and of the token, answers with the headers that Discord sends,
// and records every arrival. `FakeDiscordServer` puts it behind a socket.
//
// The one invariant: limits are enforced on arrival times, whatever the headers say; and a refused
// request spends nothing, neither of its route's limit nor of the global one.
//
//     FakeDiscord discord;
//     discord.rule("POST /channels/{channel.id}/messages", {.limit = Limit{Algorithm::gcra, 5,
//     5s}}); auto answer = discord.receive({.method = "POST", .target = "/channels/1/messages"},
//     0ns); discord.at(10s, [](FakeDiscord& later) { later.global(std::nullopt); });
//
// Server time is the time since the fake was made, virtual or real, and never runs backwards.
// Distinct objects may be used from several threads, one object from one at a time.
#ifndef SLUICE_TESTING_FAKE_DISCORD_HPP
#define SLUICE_TESTING_FAKE_DISCORD_HPP

#include <sluice/route.hpp>
#include <sluice/testing/fake_headers.hpp>
#include <sluice/testing/fake_limit.hpp>
#include <sluice/testing/fake_rules.hpp>

#include <boost/unordered/unordered_flat_map.hpp>

#include <algorithm>
#include <array>
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

struct FakeRequest {
    std::string_view method{};
    std::string_view target{};
    std::string_view token{};   ///< the Authorization header as it was sent; may be empty
    std::string_view address{}; ///< of the client; counts only when there is no token
    std::string_view user_agent{};
    std::string_view body{};
};

enum class FakeVerdict : std::uint8_t {
    accepted,
    user_limit,    ///< refused by the limit of its route
    global_limit,  ///< refused by the limit of its token or address
    unknown_route, ///< 404
    scripted,      ///< answered by the script
};

/// One line of the log.
struct Arrival {
    Duration at{};
    std::string token{};
    std::string address{};
    Route route{}; ///< not valid when the target is none of Discord's
    std::string target{};
    std::int64_t in_flight = 0; ///< requests received and not yet answered, this one included
    FakeVerdict verdict = FakeVerdict::accepted;
    int status = 0;
    Duration retry_after{};    ///< zero unless refused
    std::uint64_t counter = 0; ///< equal for requests that draw on one counter; 0 without one
};

class FakeDiscord {
public:
    using Change = std::function<void(FakeDiscord&)>;
    using Script = std::function<std::optional<FakeResponse>(const FakeRequest&, Duration now)>;

    explicit FakeDiscord(FakeOptions options = {});

    [[nodiscard]] FakeResponse receive(const FakeRequest& request, Duration now);
    /// The same for a request whose route is known: simulations need not parse it each time.
    [[nodiscard]] FakeResponse receive(const Route& route, const FakeRequest& request,
                                       Duration now);

    /// An answer reached its client or was given up. Counts under `InFlight::until_delivered` only.
    void delivered() noexcept { flying_ = std::max<std::int64_t>(0, flying_ - 1); }

    /// What such a request would be told to wait if it arrived now; zero: it would be accepted.
    /// Spends nothing, and knows nothing of the script nor of changes that are still to come.
    [[nodiscard]] Duration retry_after(const FakeRequest& request, Duration now) const;

    /// Sets the rule of a template, "POST /channels/{channel.id}/messages", now. What was spent
    /// stays spent as long as the hash is the same. Throws std::invalid_argument.
    void rule(std::string_view route_template, Rule rule);
    void rule(const Route& any_of_template, Rule rule);
    [[nodiscard]] const Rule& rule(std::string_view route_template) const;

    void global(const std::optional<Limit>& limit);
    void count_in_flight(InFlight mode) noexcept { options_.in_flight = mode; }

    /// Applies `change` before the first request that arrives at `time` or later.
    void at(Duration time, Change change) { changes_.emplace(time, std::move(change)); }

    /// Asked first about every request; an answer it gives is sent as it is and spends nothing.
    void script(Script script) { script_ = std::move(script); }

    /// The newest arrivals, oldest first.
    [[nodiscard]] const std::deque<Arrival>& log() const noexcept { return log_; }
    void clear_log() noexcept { log_.clear(); }
    /// Since the fake was made, whatever the log holds.
    [[nodiscard]] std::uint64_t count(FakeVerdict verdict) const noexcept {
        return counts_[static_cast<std::size_t>(verdict)];
    }

    [[nodiscard]] const FakeOptions& options() const noexcept { return options_; }

private:
    /// A rule as requests need it.
    struct Plan {
        Rule rule;
        std::uint64_t hash = 0; ///< of the hash shown, and of the template if it counts apart
    };
    using Counters = boost::unordered_flat_map<std::uint64_t, Counter>;

    [[nodiscard]] static Plan plan_of(const Rule& rule, std::uint64_t route_id);
    [[nodiscard]] static std::uint64_t individual(const FakeRequest& request) noexcept;
    [[nodiscard]] static std::uint64_t counter_of(const Plan& plan, const Route& route,
                                                  const FakeRequest& request) noexcept;
    [[nodiscard]] static Counter& find_or_make(Counters& counters, std::uint64_t id,
                                               const Limit& limit);
    [[nodiscard]] static Duration wait_of(const Counters& counters, std::uint64_t id,
                                          const Limit& limit, Duration wall);

    void apply_changes();
    void sweep(Duration wall);
    [[nodiscard]] const Plan& plan(const Route& route);
    [[nodiscard]] bool global_applies(const Route& route, const FakeRequest& request) const;
    [[nodiscard]] Duration draw_skew() noexcept;
    [[nodiscard]] FakeResponse answer(const FakeRequest& request, Arrival& arrival);
    [[nodiscard]] FakeResponse decide(const FakeRequest& request, Arrival& arrival, Duration skew);
    void run_rule(const FakeRequest& request, Arrival& arrival, Duration skew,
                  FakeResponse& response);
    [[nodiscard]] std::int64_t take_off() noexcept;
    void record(Arrival&& arrival);

    FakeOptions options_;
    detail::HeaderWriter writer_;
    Script script_;
    std::multimap<Duration, Change> changes_;
    boost::unordered_flat_map<std::uint64_t, Plan> plans_; ///< by route id
    Counters globals_;                                     ///< by individual
    Counters counters_;                                    ///< by `counter_of`
    std::size_t sweep_at_ = first_sweep;
    Duration now_{};
    std::uint64_t draws_ = 0;
    std::int64_t flying_ = 0;
    std::priority_queue<Duration, std::vector<Duration>, std::greater<>> thinking_;
    std::deque<Arrival> log_;
    std::array<std::uint64_t, 5> counts_{};

    static constexpr std::size_t first_sweep = 4096;
};

inline FakeDiscord::FakeDiscord(FakeOptions options)
    : options_(std::move(options)), writer_(options_.numbers), draws_(options_.seed) {
    global(options_.global);
    if (options_.fallback.limit) detail::checked(*options_.fallback.limit);
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
    ++counts_[static_cast<std::size_t>(arrival.verdict)];
    if (options_.log_capacity != 0) {
        arrival.token = request.token;
        arrival.address = request.address;
        arrival.target = request.target;
        record(std::move(arrival));
    }
    return response;
}

inline FakeResponse FakeDiscord::answer(const FakeRequest& request, Arrival& arrival) {
    if (script_) {
        if (auto scripted = script_(request, now_)) {
            arrival.verdict = FakeVerdict::scripted;
            return *std::move(scripted);
        }
    }
    const Duration skew = draw_skew();
    FakeResponse response = decide(request, arrival, skew);
    writer_.common(response, options_.epoch + now_ + response.think_time + skew);
    return response;
}

inline FakeResponse FakeDiscord::decide(const FakeRequest& request, Arrival& arrival,
                                        Duration skew) {
    const Duration wall = options_.epoch + now_;
    sweep(wall);
    FakeResponse response;
    Counter* global = nullptr;
    if (global_applies(arrival.route, request)) {
        global = &find_or_make(globals_, individual(request), *options_.global);
        arrival.retry_after = global->wait(wall);
    }
    if (arrival.retry_after > Duration::zero()) {
        // Discord docs, "Rate Limits": this 429 says nothing of the route's own limit.
        arrival.verdict = FakeVerdict::global_limit;
        writer_.refusal(response, arrival.retry_after, true);
        return response;
    }
    if (arrival.route.valid()) {
        run_rule(request, arrival, skew, response);
    } else {
        arrival.verdict = FakeVerdict::unknown_route;
        response.status = 404;
        response.body = R"({"message": "404: Not Found", "code": 0})";
    }
    if (global != nullptr && arrival.verdict != FakeVerdict::user_limit) global->spend(wall);
    return response;
}

inline void FakeDiscord::run_rule(const FakeRequest& request, Arrival& arrival, Duration skew,
                                  FakeResponse& response) {
    const Duration wall = options_.epoch + now_;
    const Plan& plan = this->plan(arrival.route);
    const Rule& rule = plan.rule;
    response.think_time = rule.think_time;
    response.status = rule.status;
    if (rule.limit) {
        arrival.counter = counter_of(plan, arrival.route, request);
        Counter& counter = find_or_make(counters_, arrival.counter, *rule.limit);
        arrival.retry_after = counter.wait(wall);
        if (arrival.retry_after > Duration::zero()) {
            arrival.verdict = FakeVerdict::user_limit;
            writer_.refusal(response, arrival.retry_after, false);
        } else {
            counter.spend(wall);
        }
        if (rule.headers)
            writer_.bucket(response, *rule.limit, counter.standing(wall), rule.hash, skew);
    }
    if (arrival.verdict == FakeVerdict::accepted && rule.status != 204) response.body = rule.body;
}

inline Duration FakeDiscord::retry_after(const FakeRequest& request, Duration now) const {
    const Duration wall = options_.epoch + std::max(now_, now);
    const Route route = Route::parse(request.method, request.target).value_or(Route{});
    Duration wait{};
    if (global_applies(route, request))
        wait = wait_of(globals_, individual(request), *options_.global, wall);
    if (!route.valid()) return wait;
    const auto known = plans_.find(route.id());
    const Plan plan =
        known != plans_.end() ? known->second : plan_of(options_.fallback, route.id());
    if (!plan.rule.limit) return wait;
    return std::max(wait,
                    wait_of(counters_, counter_of(plan, route, request), *plan.rule.limit, wall));
}

inline void FakeDiscord::rule(std::string_view route_template, Rule rule) {
    this->rule(detail::route_of_template(route_template), std::move(rule));
}

inline void FakeDiscord::rule(const Route& any_of_template, Rule rule) {
    if (rule.limit) detail::checked(*rule.limit);
    plans_.insert_or_assign(any_of_template.id(), plan_of(rule, any_of_template.id()));
}

inline const Rule& FakeDiscord::rule(std::string_view route_template) const {
    const auto found = plans_.find(detail::route_of_template(route_template).id());
    return found != plans_.end() ? found->second.rule : options_.fallback;
}

inline void FakeDiscord::global(const std::optional<Limit>& limit) {
    if (limit) detail::checked(*limit);
    options_.global = limit;
}

inline FakeDiscord::Plan FakeDiscord::plan_of(const Rule& rule, std::uint64_t route_id) {
    Plan plan{.rule = rule};
    if (plan.rule.hash.empty()) plan.rule.hash = detail::hash_of_template(route_id);
    plan.hash = detail::mixed(std::hash<std::string_view>{}(plan.rule.hash));
    if (rule.counts_apart) plan.hash = detail::mixed(plan.hash ^ route_id);
    return plan;
}

inline const FakeDiscord::Plan& FakeDiscord::plan(const Route& route) {
    const auto known = plans_.find(route.id());
    if (known != plans_.end()) return known->second;
    return plans_.emplace(route.id(), plan_of(options_.fallback, route.id())).first->second;
}

inline std::uint64_t FakeDiscord::individual(const FakeRequest& request) noexcept {
    const bool anonymous = request.token.empty();
    const std::string_view name = anonymous ? request.address : request.token;
    return detail::mixed(std::hash<std::string_view>{}(name) + (anonymous ? 1U : 0U));
}

inline std::uint64_t FakeDiscord::counter_of(const Plan& plan, const Route& route,
                                             const FakeRequest& request) noexcept {
    std::uint64_t id = plan.hash;
    if (plan.rule.per_individual) id = detail::mixed(id ^ individual(request));
    if (plan.rule.per_major) id = detail::mixed(id ^ route.major().hash());
    return id;
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
        // Out of the map first: a change may schedule the next one.
        const auto due = changes_.extract(changes_.begin());
        due.mapped()(*this);
    }
}

// A counter that is full again is as good as none. Interaction tokens come without end, and a long
// simulation must not keep a counter for each.
inline void FakeDiscord::sweep(Duration wall) {
    if (counters_.size() + globals_.size() < sweep_at_) return;
    const auto full = [&](const auto& entry) { return entry.second.full(wall); };
    erase_if(counters_, full);
    erase_if(globals_, full);
    sweep_at_ = std::max(first_sweep, 2 * (counters_.size() + globals_.size()));
}

inline bool FakeDiscord::global_applies(const Route& route, const FakeRequest& request) const {
    if (!options_.global) return false;
    if (!route.exempt_from_global()) return true;
    return !options_.exempt_interactions && !request.token.empty();
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

inline void FakeDiscord::record(Arrival&& arrival) {
    while (log_.size() >= options_.log_capacity)
        log_.pop_front();
    log_.push_back(std::move(arrival));
}

} // namespace sluice::testing

#endif
