// SPDX-License-Identifier: MIT
//
// How long a bot takes over a real HTTP connection to a server with Discord's limits, and how many
// 429s it gets: the five scenarios of the peers' comparison and one more, in real time, because
// that is what they measure. Delay 20-40 ms each way, global limit 50 per second (fixed window).
//
//     makespan [runs] [scenario ...]        e.g. makespan 3 S1 S3; prints medians and writes JSON
//     to
//                                           the file named by SLUICE_BENCH_JSON
//
// The optimum is that of a client which knows the server's algorithm and clock.
#include <sluice/adapters/beast.hpp>
#include <sluice/sluice.hpp>
#include <sluice/testing/fake_discord_server.hpp>

#include "../../examples/support/http_client.hpp"

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/io_context.hpp>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <fstream>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace {

namespace asio = boost::asio;
namespace fake = sluice::testing;
using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;

inline constexpr auto create_message = sluice::route<"POST /channels/{channel.id}/messages">;
inline constexpr auto add_reaction =
    sluice::route<"PUT /channels/{channel.id}/messages/{message.id}/reactions/{emoji.id}/@me">;
inline constexpr auto remove_reaction =
    sluice::route<"DELETE /channels/{channel.id}/messages/{message.id}/reactions/{emoji.id}/@me">;
inline constexpr auto get_user = sluice::route<"GET /users/{user.id}">;

struct Call {
    sluice::Route route;
    std::string path;
};

struct Scenario {
    std::string_view name;
    std::string_view what;
    double optimum; // seconds
    double bound;   // makespan / optimum that must be reached
    std::vector<Call> calls;
    fake::FakeDiscord server;
};

std::vector<Scenario> scenarios() {
    constexpr std::string_view messages = "POST /channels/{channel.id}/messages";
    const fake::Limit fixed{fake::Algorithm::fixed, 5, 5s};
    std::vector<Scenario> all;

    auto& burst = all.emplace_back(
        Scenario{"S1", "50 POSTs, fixed 5 / 5 s", 45.06, 1.01, {}, fake::FakeDiscord()});
    burst.server.rule(messages, {.limit = fixed});
    for (int i = 0; i < 50; ++i)
        burst.calls.push_back({create_message(1), create_message.path(1)});

    auto& fan = all.emplace_back(Scenario{
        "S2", "20 channels x 10 POSTs, fixed 5 / 5 s each", 6.06, 1.04, {}, fake::FakeDiscord()});
    fan.server.rule(messages, {.limit = fixed});
    for (int i = 0; i < 200; ++i) {
        fan.calls.push_back({create_message(i / 10 + 1), create_message.path(i / 10 + 1)});
    }

    auto& sliding = all.emplace_back(
        Scenario{"S3", "30 POSTs, GCRA 5 / 5 s", 25.06, 1.005, {}, fake::FakeDiscord()});
    sliding.server.rule(messages, {.limit = fake::Limit{fake::Algorithm::gcra, 5, 5s}});
    for (int i = 0; i < 30; ++i) {
        sliding.calls.push_back({create_message(1), create_message.path(1)});
    }

    auto& unlimited = all.emplace_back(
        Scenario{"S4", "200 GETs without any headers", 3.06, 1.10, {}, fake::FakeDiscord()});
    unlimited.server.rule("GET /users/{user.id}", {.limit = std::nullopt, .headers = false});
    for (int i = 0; i < 200; ++i)
        unlimited.calls.push_back({get_user(i + 1), get_user.path(i + 1)});

    auto& shared = all.emplace_back(Scenario{"S5",
                                             "20 PUT + 20 DELETE, one fixed bucket 10 / 10 s",
                                             30.06,
                                             1.008,
                                             {},
                                             fake::FakeDiscord()});
    const fake::Rule one{.limit = fake::Limit{fake::Algorithm::fixed, 10, 10s},
                         .hash = "reactions"};
    shared.server.rule("PUT /channels/{c}/messages/{m}/reactions/{e}/@me", one);
    shared.server.rule("DELETE /channels/{c}/messages/{m}/reactions/{e}/@me", one);
    for (int i = 0; i < 20; ++i) {
        shared.calls.push_back({add_reaction(1, 2, "x"), add_reaction.path(1, 2, "x")});
        shared.calls.push_back({remove_reaction(1, 2, "x"), remove_reaction.path(1, 2, "x")});
    }

    auto& spread =
        all.emplace_back(Scenario{"S6",
                                  "20 channels x 40 POSTs in turn, sliding log 20 / 10 s",
                                  17.06,
                                  1.05,
                                  {},
                                  fake::FakeDiscord()});
    spread.server.rule(messages, {.limit = fake::Limit{fake::Algorithm::sliding_log, 20, 10s}});
    for (int i = 0; i < 800; ++i)
        spread.calls.push_back({create_message(i % 20 + 1), create_message.path(i % 20 + 1)});
    return all;
}

struct Result {
    double makespan = 0; // seconds
    std::size_t refused = 0;
    std::size_t received = 0;
};

asio::awaitable<void> perform(sluice::BucketManager& limiter, examples::HttpClient& client,
                              const Call& call, Result& result, Clock::time_point start) {
    sluice::Ticket ticket = co_await limiter.acquire(call.route);
    for (;;) {
        const auto method = examples::http::string_to_verb(call.route.method());
        examples::Request request{method, "/api/v10" + call.path, 11};
        request.set(examples::http::field::authorization, "Bot token");
        const examples::Reply reply = co_await client.send(std::move(request), ticket);
        const sluice::Verdict verdict = ticket.update(sluice::response_from(reply));
        result.makespan = std::chrono::duration<double>(Clock::now() - start).count();
        if (!verdict.retry) break;
        co_await ticket.reacquire();
    }
}

Result run(const Scenario& scenario, std::uint64_t seed) {
    fake::FakeServerOptions options;
    options.forward = options.backward = {20ms, 40ms};
    options.seed = seed;
    fake::FakeDiscordThread server(scenario.server, options);
    asio::io_context context(1);
    sluice::BucketManager limiter(context);
    examples::HttpClient client(
        [&] { return std::make_unique<examples::PlainConnection>(context.get_executor()); },
        "127.0.0.1", std::to_string(server->port()));
    Result result;
    std::exception_ptr failure;
    const Clock::time_point start = Clock::now();
    for (const Call& call : scenario.calls) {
        asio::co_spawn(context, perform(limiter, client, call, result, start),
                       [&](std::exception_ptr e) { failure = failure ? failure : e; });
    }
    context.run();
    if (failure) std::rethrow_exception(failure);
    server->with([&](fake::FakeDiscord& discord) {
        result.received = discord.log().size();
        result.refused = result.received - discord.count(fake::FakeVerdict::accepted);
    });
    return result;
}

double median(std::vector<double> values) {
    std::sort(values.begin(), values.end());
    return values[values.size() / 2];
}

} // namespace

int main(int count, char** arguments) {
    const int runs = count > 1 ? std::max(1, std::atoi(arguments[1])) : 3;
    const std::vector<std::string_view> wanted(arguments + std::min(count, 2), arguments + count);
    nlohmann::json table = nlohmann::json::array();
    bool reached = true;
    std::printf("%-4s %-48s %8s %9s %7s %6s %5s %9s\n", "", "scenario", "optimum", "makespan",
                "ratio", "bound", "429s", "requests");
    for (const Scenario& scenario : scenarios()) {
        if (!wanted.empty() &&
            std::find(wanted.begin(), wanted.end(), scenario.name) == wanted.end()) {
            continue;
        }
        std::vector<double> makespans;
        std::size_t refused = 0;
        std::size_t received = 0;
        for (int i = 0; i < runs; ++i) {
            const Result result = run(scenario, static_cast<std::uint64_t>(i) + 1);
            makespans.push_back(result.makespan);
            refused += result.refused;
            received = result.received;
        }
        const double makespan = median(makespans);
        const double ratio = makespan / scenario.optimum;
        reached = reached && ratio <= scenario.bound && refused == 0;
        std::printf("%-4s %-48s %7.2fs %8.3fs %7.4f %6.3f %5zu %9zu\n", scenario.name.data(),
                    scenario.what.data(), scenario.optimum, makespan, ratio, scenario.bound,
                    refused, received);
        std::fflush(stdout);
        table.push_back({{"scenario", scenario.name},
                         {"optimum_seconds", scenario.optimum},
                         {"makespan_seconds", makespan},
                         {"ratio", ratio},
                         {"bound", scenario.bound},
                         {"refused", refused},
                         {"runs", runs}});
    }
    if (const char* path = std::getenv("SLUICE_BENCH_JSON")) std::ofstream(path) << table.dump(2);
    return reached ? 0 : 1;
}
