// SPDX-License-Identifier: MIT
//
// A busy bot: messages to three channels, reactions on and off, look-ups of users. By default it
// talks to a fake Discord in this process; with DISCORD_TOKEN set and --channel ID it sends a few
// messages to that channel of the real one, over TLS. It shows what waits and until when, and ends
// with a table.
//
//     demo                                    less than 30 s, needs no network
//     DISCORD_TOKEN=... demo --channel ID     really sends messages
#include <sluice/adapters/beast.hpp>
#include <sluice/sluice.hpp>
#include <sluice/testing/fake_limit.hpp>

#include "support/embedded_discord.hpp"
#include "support/tls_connection.hpp"

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unistd.h>
#include <utility>
#include <vector>

namespace {

namespace asio = boost::asio;
namespace http = boost::beast::http;
using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;

inline constexpr auto create_message = sluice::route<"POST /channels/{channel.id}/messages">;
inline constexpr auto add_reaction =
    sluice::route<"PUT /channels/{channel.id}/messages/{message.id}/reactions/{emoji.id}/@me">;
inline constexpr auto remove_reaction =
    sluice::route<"DELETE /channels/{channel.id}/messages/{message.id}/reactions/{emoji.id}/@me">;
inline constexpr auto get_user = sluice::route<"GET /users/{user.id}">;

/// Calls of one kind, with the limit that the embedded server sets for them.
struct Task {
    std::string name;
    std::vector<std::pair<sluice::Route, std::string>> calls;
    std::optional<sluice::testing::Limit> limit;
    std::size_t requests = 0;
    std::size_t refusals = 0;
    double seconds = 0;

    [[nodiscard]] double optimum(double round_trip) const {
        if (!limit) return static_cast<double>((calls.size() - 1) / 50) + round_trip;
        const auto windows =
            static_cast<double>((calls.size() - 1) / static_cast<std::size_t>(limit->limit));
        const double period = std::chrono::duration<double>(limit->period).count();
        if (limit->algorithm == sluice::testing::Algorithm::fixed)
            return windows * period + round_trip;
        const auto over = std::max<std::int64_t>(0, std::ssize(calls) - limit->limit);
        return static_cast<double>(over) * period / static_cast<double>(limit->limit) + round_trip;
    }
};

std::vector<Task> embedded_tasks() {
    using sluice::testing::Algorithm;
    using sluice::testing::Limit;
    std::vector<Task> tasks;
    for (int channel = 1; channel <= 3; ++channel) {
        Task task{
            "messages, channel " + std::to_string(channel), {}, Limit{Algorithm::fixed, 5, 5s}};
        for (int i = 0; i < 20; ++i) {
            task.calls.emplace_back(create_message(channel), create_message.path(channel));
        }
        tasks.push_back(std::move(task));
    }
    Task reactions{"reactions on and off", {}, Limit{Algorithm::gcra, 10, 10s}};
    for (int i = 0; i < 12; ++i) {
        reactions.calls.emplace_back(add_reaction(1, 2, "👍"), add_reaction.path(1, 2, "👍"));
        reactions.calls.emplace_back(remove_reaction(1, 2, "👍"), remove_reaction.path(1, 2, "👍"));
    }
    tasks.push_back(std::move(reactions));
    Task users{"users, no limit shown", {}, std::nullopt};
    for (int i = 1; i <= 120; ++i)
        users.calls.emplace_back(get_user(i), get_user.path(i));
    tasks.push_back(std::move(users));
    return tasks;
}

std::vector<Task> real_tasks(const std::string& channel) {
    // What the optimum is, only Discord knows: 5 / 5 s was observed (discord-api-docs#2761,
    // 2021-04).
    Task task{"messages, channel " + channel, {}, sluice::testing::Limit{}};
    for (int i = 0; i < 8; ++i) {
        task.calls.emplace_back(create_message(channel), create_message.path(channel));
    }
    return {std::move(task)};
}

class Bot {
public:
    Bot(asio::io_context& context, examples::HttpClient client, std::string token,
        std::vector<Task> tasks)
        : context_(context),
          limiter_(context),
          client_(std::move(client)),
          token_(std::move(token)),
          tasks_(std::move(tasks)),
          progress_(context) {}

    void run() {
        for (Task& task : tasks_) {
            for (const auto& [route, path] : task.calls) {
                ++left_;
                asio::co_spawn(context_, perform(task, route, path), [this](std::exception_ptr e) {
                    if (e && !failure_) failure_ = e;
                    if (--left_ == 0) progress_.cancel();
                });
            }
        }
        asio::co_spawn(context_, show_progress(), [](std::exception_ptr) {});
        context_.run();
        if (failure_) std::rethrow_exception(failure_);
    }

    /// `round_trip` in seconds.
    void print_table(double round_trip) const {
        std::printf("\n%-26s %9s %5s %10s %9s\n", "", "requests", "429s", "makespan", "optimum");
        for (const Task& task : tasks_) {
            std::printf("%-26s %9zu %5zu %9.2fs %8.2fs\n", task.name.c_str(), task.requests,
                        task.refusals, task.seconds, task.optimum(round_trip));
        }
    }

private:
    asio::awaitable<void> perform(Task& task, sluice::Route route, std::string path) {
        sluice::Ticket ticket = co_await limiter_.acquire(route);
        for (;;) {
            const auto verb = http::string_to_verb(route.method());
            examples::Request request{verb, "/api/v10" + path, 11};
            request.set(http::field::authorization, "Bot " + token_);
            request.set(http::field::user_agent, "DiscordBot (https://example.org/sluice, 1.0)");
            if (verb == http::verb::post) {
                request.set(http::field::content_type, "application/json");
                request.body() = R"({"content": "sent through sluice"})";
            }
            const examples::Reply reply = co_await client_.send(std::move(request), ticket);
            const sluice::Verdict verdict = ticket.update(sluice::response_from(reply));
            ++task.requests;
            if (reply.result_int() == 429) ++task.refusals;
            task.seconds = std::chrono::duration<double>(Clock::now() - start_).count();
            if (!verdict.retry) co_return;
            co_await ticket.reacquire();
        }
    }

    asio::awaitable<void> show_progress() {
        const bool terminal = ::isatty(STDOUT_FILENO) == 1;
        while (left_ != 0) {
            progress_.expires_after(terminal ? 100ms : 2s);
            boost::system::error_code code;
            co_await progress_.async_wait(asio::redirect_error(asio::use_awaitable, code));
            print_progress(terminal);
        }
        if (terminal) std::printf("\n");
    }

    void print_progress(bool terminal) {
        const auto stats = limiter_.stats();
        std::string line;
        for (const Task& task : tasks_) {
            const auto bucket = limiter_.find(task.calls.front().first);
            if (!bucket || bucket->queued == 0) continue;
            line += "  | " + task.name + ": " + std::to_string(bucket->queued) + " wait";
            if (bucket->reset_after && bucket->reset_after->count() > 0) {
                const double seconds = std::chrono::duration<double>(*bucket->reset_after).count();
                char text[32];
                std::snprintf(text, sizeof text, ", full in %.1f s", seconds);
                line += text;
            }
        }
        const double elapsed = std::chrono::duration<double>(Clock::now() - start_).count();
        std::printf("%s%5.1f s  %3zu queued %2zu in flight%s%s", terminal ? "\r\x1b[K" : "",
                    elapsed, stats.queued, stats.in_flight, line.c_str(), terminal ? "" : "\n");
        std::fflush(stdout);
    }

    asio::io_context& context_;
    sluice::BucketManager limiter_;
    examples::HttpClient client_;
    std::string token_;
    std::vector<Task> tasks_;
    asio::steady_timer progress_;
    std::size_t left_ = 0;
    std::exception_ptr failure_;
    Clock::time_point start_ = Clock::now();
};

int run_embedded() {
    examples::EmbeddedDiscord discord;
    asio::io_context context(1);
    Bot bot(context, discord.client(context.get_executor()), "token", embedded_tasks());
    bot.run();
    bot.print_table(0.06);
    std::printf("\nThe server received %zu requests and refused %zu.\n", discord.requests(),
                discord.refusals());
    return discord.refusals() == 0 ? 0 : 1;
}

int run_real(const std::string& token, const std::string& channel) {
    asio::io_context context(1);
    auto tls = examples::make_tls_context();
    const auto make = [&] {
        return std::make_unique<examples::TlsConnection>(context.get_executor(), tls);
    };
    Bot bot(context, examples::HttpClient(make, "discord.com", "443"), token, real_tasks(channel));
    bot.run();
    bot.print_table(0);
    return 0;
}

} // namespace

int main(int count, char** arguments) {
    std::string channel;
    for (int i = 1; i < count; ++i) {
        if (std::string_view(arguments[i]) == "--channel" && i + 1 < count)
            channel = arguments[++i];
    }
    const char* token = std::getenv("DISCORD_TOKEN");
    if (channel.empty() != (token == nullptr)) {
        std::fputs("The real API needs both DISCORD_TOKEN and --channel ID.\n", stderr);
        if (token == nullptr) return 2;
    }
    try {
        return token != nullptr && !channel.empty() ? run_real(token, channel) : run_embedded();
    } catch (const std::exception& error) {
        std::fprintf(stderr, "%s\n", error.what());
        return 1;
    }
}
