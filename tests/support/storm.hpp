// SPDX-License-Identifier: MIT
//
// A bot in a storm: requests that go through execute() and a whole manager to a fake Discord, in
// virtual time, while whatever can go wrong does. The bot keeps its own books of what it was told
// and when, and complains of each thing that a limiter must never do:
//   - a 429 that was avoidable: refused by a limit whose headers an earlier answer had shown;
//   - a request that leaves although a refusal seen before forbids it;
//   - a request that runs twice although nobody had called that safe;
//   - a later request of a lane that goes before an earlier one that waits;
//   - an end that is neither success nor a documented error, or no end at all.
//
// The one invariant: a complaint depends on nothing but what this client had been told, strictly
// before the request left.
#ifndef SLUICE_TESTS_SUPPORT_STORM_HPP
#define SLUICE_TESTS_SUPPORT_STORM_HPP

#include <sluice/execute.hpp>
#include <sluice/testing/fake_discord.hpp>
#include <sluice/testing/fake_hash.hpp>

#include "support/virtual_bot.hpp"

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/error.hpp>
#include <boost/system/system_error.hpp>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <exception>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace sluice::tests {

/// One request of a storm.
struct StormCall {
    Route route;
    std::string target;
    std::string body = {};
    Duration at{0};
    std::uint64_t age_class = 0; ///< of the message to delete, as the limiter will see it
    ExecuteOptions options = {};
    bool bystander = false; ///< no storm ever strikes its route
    bool may_die = false;   ///< the token in its path
    bool may_be_gone = false;
    bool common = false; ///< one counter counts it for all channels, which no answer tells
};

/// How long requests and answers are under way.
struct StormPath {
    Duration least{30ms};
    Duration most{30ms};
    bool marks_sent = false;
    std::uint64_t seed = 1;
};

class ConnectionLost : public std::exception {
public:
    [[nodiscard]] const char* what() const noexcept override { return "connection lost"; }
};

class Storm : public VirtualBot {
public:
    Storm(const Options& options, const testing::FakeOptions& server, const StormPath& path)
        : VirtualBot(options),
          discord(server),
          path_(path),
          bounded_(options.max_wait.has_value()) {}

    [[nodiscard]] Duration passed() const { return clock.now() - start_; }

    void add(StormCall call) {
        Trace& trace = calls_.emplace_back();
        trace.asked = std::move(call);
        trace.number = calls_.size();
        trace.identity = std::to_string(trace.number);
        trace.lane = std::hash<Route>{}(trace.asked.route) + trace.asked.age_class;
        // Arrivals at one moment have no order to be kept.
        trace.asked.at += Duration(static_cast<std::int64_t>(trace.number));
        asio::co_spawn(io, request(trace), asio::detached);
    }

    /// To the end, and looks back on it.
    void run() {
        clock.run(io);
        for (const Trace& call : calls_) {
            if (!call.ended) complain("never ended", call);
            if (!repeatable(call) && discord.executions(call.identity) > 1)
                complain("executed twice", call);
        }
        for (const Overtaking& suspect : suspects_)
            complain("overtaken", *suspect.overtaken);
        const Stats left = limiter.stats();
        if (left.queued != 0 || left.in_flight != 0) complaints_.push_back("places are left");
        clock.run_for(io, 24h);
        limiter.collect(0s);
        if (limiter.stats().lanes != 0) complaints_.push_back("lanes are left");
    }

    [[nodiscard]] const std::vector<std::string>& complaints() const { return complaints_; }

    /// When the last answer came, by lane, of those lanes that no storm strikes.
    [[nodiscard]] std::map<std::uint64_t, Duration> bystanders() const {
        std::map<std::uint64_t, Duration> last;
        for (const Trace& call : calls_) {
            if (call.asked.bystander) last[call.lane] = std::max(last[call.lane], call.ended_at);
        }
        return last;
    }

    testing::FakeDiscord discord;

private:
    struct Trace {
        StormCall asked;
        std::size_t number = 0;
        std::string identity;
        std::uint64_t lane = 0;
        std::uint64_t arrival = 0; ///< the place in its lane that it has a right to
        std::optional<Duration> deadline;
        int tries = 0;
        int failures = 0; ///< tries that ended in a 5xx or without an answer
        bool ended = false;
        Duration ended_at{0};
    };
    /// Closed by a refusal.
    struct Closing {
        Duration since{0};
        Duration until{0};

        void close(Duration now, Duration end) {
            if (now >= until) since = now;
            until = std::max(until, end);
        }
        /// Strictly: what was granted at the very moment was granted before.
        [[nodiscard]] bool forbids(Duration now) const { return since < now && now < until; }
    };
    struct Queue {
        std::map<std::uint64_t, std::pair<Trace*, Duration>> waiting; // since when, by arrival
        Closing closing;
    };
    struct Overtaking {
        const Trace* overtaken;
        Duration at;
    };
    struct Counter {
        std::optional<Duration> shown; ///< when the client first saw its headers
        bool begun = false;
        int forgiven = 0; ///< 429s to come that nobody could avoid
    };
    struct Received {
        testing::FakeResponse answer;
        testing::FakeVerdict verdict{};
        std::uint64_t counter = 0;
    };
    using Naming = std::pair<std::uint64_t, std::string>; ///< of a route: the hash shown

    /// Until a limiter has understood a counter over all channels, and those then under way.
    static constexpr int most_common = 24;
    static constexpr Duration patience = 10s; ///< of this bot, with a connection that says nothing

    asio::awaitable<void> request(Trace& call) {
        co_await clock.sleep(call.asked.at);
        call.arrival = ++arrivals_;
        queues_[call.lane].waiting.emplace(call.arrival, std::pair(&call, passed()));
        if (call.asked.options.total) call.deadline = passed() + *call.asked.options.total;
        auto send = [this, &call](Ticket& ticket) { return attempt(call, ticket); };
        try {
            const Response reply =
                co_await execute(limiter, call.asked.route, send, call.asked.options);
            judge_reply(call, reply.status);
        } catch (const ConnectionLost&) {
            if (!gave_up(call)) complain("gave up on a lost connection", call);
        } catch (const boost::system::system_error& error) {
            const bool timed_out = error.code() == asio::error::timed_out && call.deadline;
            const bool too_long = error.code() == errc::wait_too_long && bounded(call);
            const bool dead = error.code() == errc::invalid_webhook_token && call.asked.may_die;
            if (!timed_out && !too_long && !dead)
                complain("ended with " + error.code().message(), call);
        }
        call.ended = true;
        call.ended_at = passed();
        queues_[call.lane].waiting.erase(call.arrival);
        // It left the queue at this moment, perhaps before the other was granted.
        std::erase_if(suspects_, [&](const Overtaking& suspect) {
            return suspect.overtaken == &call && suspect.at == call.ended_at;
        });
    }

    asio::awaitable<Response> attempt(Trace& call, Ticket& ticket) {
        leave(call);
        if (path_.marks_sent) ticket.sent();
        const Duration sent = passed();
        const Duration out = delay(call, 0);
        const Duration back = delay(call, 1);
        ++call.tries;
        // What is cancelled on its way arrives all the same.
        if (call.deadline && sent + out >= *call.deadline)
            asio::co_spawn(io, arrive(call, sent, out), asio::detached);
        co_await clock.sleep(out);
        const Received got = receive(call, sent);
        const bool lost = got.answer.silent || got.answer.cut;
        co_await clock.sleep(got.answer.silent ? patience : got.answer.think_time + back);
        if (lost || got.answer.status >= 500) ++call.failures;
        if (lost) throw ConnectionLost();
        const auto response =
            Response::parse(got.answer.status, got.answer.headers, got.answer.body);
        learn(call, got, response);
        co_return response;
    }

    asio::awaitable<void> arrive(const Trace& call, Duration sent, Duration out) {
        co_await clock.sleep(out);
        (void)receive(call, sent);
    }

    /// A request leaves, so it has been granted at this moment.
    void leave(const Trace& call) {
        const Duration now = passed();
        Queue& queue = queues_[call.lane];
        queue.waiting.erase(call.arrival);
        for (const auto& [arrival, waiting] : queue.waiting) {
            if (arrival < call.arrival && waiting.second < now)
                suspects_.push_back({waiting.first, now});
        }
        if (queue.closing.forbids(now)) complain("left a closed lane", call);
        if (closing_of(call).forbids(now)) complain("left during a global block", call);
        if (address_.forbids(now)) complain("left during a block of the address", call);
    }

    Received receive(const Trace& call, Duration sent) {
        Received got{discord.receive({.method = call.asked.route.method(),
                                      .target = call.asked.target,
                                      .token = has_token(call) ? "Bot t" : "",
                                      .address = "a",
                                      .body = call.asked.body,
                                      .identity = call.identity},
                                     passed())};
        const testing::Arrival& arrival = discord.log().back();
        got.verdict = arrival.verdict;
        got.counter = arrival.counter;
        if (got.verdict == testing::FakeVerdict::global_limit && honest_global)
            complain("avoidable 429 of the global limit", call);
        if (got.counter != 0) judge(call, got, sent);
        return got;
    }

    void judge(const Trace& call, const Received& got, Duration sent) {
        Counter& counter = counters_[got.counter];
        const bool first = !std::exchange(counter.begun, true);
        const bool shown = counter.shown && *counter.shown < sent;
        const auto naming = namings_.find({name_of(call), bucket_of(got.answer)});
        const auto own = lane_names_.find(call.lane);
        const bool named = naming != namings_.end() && naming->second < sent &&
                           (own == lane_names_.end() || own->second == bucket_of(got.answer));
        if (got.verdict == testing::FakeVerdict::user_limit) {
            if (!shown || !named) return;
            if (call.asked.common && ++common_refusals_ <= most_common) return;
            if (counter.forgiven == 0) return complain("avoidable 429", call);
            --counter.forgiven;
        } else if (first && got.verdict == testing::FakeVerdict::faulted) {
            ++counter.forgiven; // it was spent, and no answer will tell
        } else if (got.verdict == testing::FakeVerdict::shared_limit) {
            ++counter.forgiven; // refused, and spent: such a refusal never lowers what remains
        } else if (got.verdict == testing::FakeVerdict::hidden_limit && spent(got.answer)) {
            ++counter.forgiven; // nothing tells which of the two limits set the wait
        } else if (shown && !named && got.verdict != testing::FakeVerdict::faulted) {
            ++counter.forgiven; // who knows the counter cannot know of this one's route
        }
    }

    void learn(const Trace& call, const Received& got, const Response& response) {
        const Duration now = passed();
        const bool refused = response.status == 429;
        Counter& counter = counters_[got.counter];
        if (got.counter != 0 && response.limit && !counter.shown) counter.shown = now;
        if (!refused && response.bucket) {
            namings_.try_emplace({name_of(call), bucket_of(got.answer)}, now);
            lane_names_[call.lane] = bucket_of(got.answer);
        }
        if (!refused) return;
        queues_[call.lane].waiting.emplace(call.arrival, std::pair(&calls_[call.number - 1], now));
        const Duration until = now + response.retry_after.value_or(0ns);
        if (!response.from_discord)
            address_.close(now, until);
        else if (response.global)
            closing_of(call).close(now, until);
        else if (got.verdict != testing::FakeVerdict::user_limit)
            queues_[call.lane].closing.close(now, until);
    }

    void judge_reply(const Trace& call, int status) {
        if (status >= 500 && gave_up(call)) return;
        if (status == 429 && bounded(call)) return;
        if (status == 401 && call.asked.may_die) return;
        if (status == 404 && call.asked.may_be_gone) return;
        const bool ran = discord.executions(call.identity) > 0;
        if (status / 100 != 2 || !ran) complain("ended with " + std::to_string(status), call);
    }

    [[nodiscard]] static bool has_token(const Trace& call) {
        return call.asked.route.authorization() == Authorization::bot;
    }
    /// Of whoever the request counts against: interactions, requests without a token, the bot.
    [[nodiscard]] Closing& closing_of(const Trace& call) {
        if (call.asked.route.exempt_from_global()) return individuals_[0];
        return individuals_[has_token(call) ? 2 : 1];
    }

    [[nodiscard]] static bool repeatable(const Trace& call) {
        const std::string_view method = call.asked.route.method();
        return call.asked.options.safe || method == "GET" || method == "PUT" || method == "DELETE";
    }
    /// Whether a time limit of any kind may end this call.
    [[nodiscard]] bool bounded(const Trace& call) const {
        return bounded_ || call.deadline || call.asked.options.max_wait;
    }
    /// Whether a call may end with a failure that was not its own.
    [[nodiscard]] bool gave_up(const Trace& call) const {
        return !repeatable(call) || bounded(call) || call.failures >= call.asked.options.max_tries;
    }

    [[nodiscard]] static std::uint64_t name_of(const Trace& call) {
        return call.asked.route.id() + call.asked.age_class;
    }
    [[nodiscard]] static std::string bucket_of(const testing::FakeResponse& answer) {
        for (const auto& [name, value] : answer.headers)
            if (name == "X-RateLimit-Bucket") return value;
        return {};
    }

    [[nodiscard]] static bool spent(const testing::FakeResponse& answer) {
        const auto& shown = answer.headers;
        return std::any_of(shown.begin(), shown.end(), [](const auto& header) {
            return header.first == "X-RateLimit-Remaining" && header.second == "0";
        });
    }

    /// Equal for equal tries, whatever happens beside them: two runs can be compared.
    [[nodiscard]] Duration delay(const Trace& call, std::uint64_t way) const {
        const auto draw = testing::detail::mixed(
            path_.seed + testing::detail::mixed(call.number * 1000 +
                                                static_cast<std::uint64_t>(call.tries) * 2 + way));
        const auto spread = static_cast<std::uint64_t>((path_.most - path_.least).count()) + 1;
        return path_.least + Duration(static_cast<std::int64_t>(draw % spread));
    }

    void complain(std::string_view what, const Trace& call) {
        const double at = std::chrono::duration<double>(passed()).count();
        complaints_.push_back(std::to_string(at) + " s: " + std::string(what) + ": " +
                              call.identity + " " + std::string(call.asked.route.method()) + " " +
                              call.asked.target + " (try " + std::to_string(call.tries) + ")");
    }

public:
    bool honest_global = true; ///< the global limit is what the client was told

private:
    Clock::time_point start_ = clock.now();
    StormPath path_;
    bool bounded_;
    std::deque<Trace> calls_;
    std::map<std::uint64_t, Queue> queues_; ///< by lane
    std::map<std::uint64_t, Counter> counters_;
    std::map<Naming, Duration> namings_;              ///< since when the client knows
    std::map<std::uint64_t, std::string> lane_names_; ///< the hash shown last, by lane
    std::vector<Overtaking> suspects_;
    std::vector<std::string> complaints_;
    int common_refusals_ = 0;
    std::array<Closing, 3> individuals_;
    Closing address_;
    std::uint64_t arrivals_ = 0;
};

} // namespace sluice::tests

#endif
