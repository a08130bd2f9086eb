// SPDX-License-Identifier: MIT
//
// Hashes that move: routes with several of them, hashes that show at a 429 only, deletes by age,
// reactions, and one hash for counters that are apart. What is known before any answer, and that
// each such rule can be switched off.
#include <sluice/bucket_manager.hpp>
#include <sluice/detail/route_rules.hpp>

#include "support/catch.hpp"
#include "support/virtual_bot.hpp"

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace {

using namespace sluice::tests;
using sluice::BucketHash;
using sluice::EventKind;
using sluice::Options;
using sluice::Response;
using sluice::Route;
using sluice::Ticket;
using sluice::Verdict;
using sluice::detail::age_class;
using sluice::detail::created_at;

inline constexpr auto delete_message =
    sluice::route<"DELETE /channels/{channel.id}/messages/{message.id}">;
inline constexpr auto edit_message =
    sluice::route<"PATCH /channels/{channel.id}/messages/{message.id}">;
inline constexpr auto get_bans = sluice::route<"GET /guilds/{guild.id}/bans">;
inline constexpr auto add_reaction =
    sluice::route<"PUT /channels/{channel.id}/messages/{message.id}/reactions/{emoji}/@me">;
inline constexpr auto remove_reaction =
    sluice::route<"DELETE /channels/{channel.id}/messages/{message.id}/reactions/{emoji}/@me">;
inline constexpr auto clear_reactions =
    sluice::route<"DELETE /channels/{channel.id}/messages/{message.id}/reactions">;
inline constexpr auto get_reactions =
    sluice::route<"GET /channels/{channel.id}/messages/{message.id}/reactions/{emoji}">;

/// Discord's clock in these tests.
constexpr std::chrono::sys_seconds server_now{1'750'000'000s};

/// A message of that age.
std::uint64_t message_aged(std::chrono::milliseconds age) {
    const auto discord_epoch = 1'420'070'400'000ms;
    const std::chrono::milliseconds created = server_now.time_since_epoch() - age - discord_epoch;
    return static_cast<std::uint64_t>(created.count()) << 22U;
}

struct Bot : VirtualBot {
    explicit Bot(const Options& options = {}) : VirtualBot(options) {}

    /// Shows the limiter what time it is at Discord.
    void tell_time() {
        Response response = answer(5, 4, 1s, "clock");
        response.reset = server_now + 1s;
        limiter.update(create_message(999), response);
    }
    Verdict request(const Route& route, const Response& response) {
        auto ticket = limiter.try_acquire(route);
        REQUIRE(ticket);
        pass(10ms);
        return ticket->update(response);
    }
    [[nodiscard]] bool goes(const Route& route) {
        auto ticket = limiter.try_acquire(route);
        if (ticket) ticket->cancel();
        return ticket.has_value();
    }
    [[nodiscard]] std::string hash(const Route& route) {
        const auto found = limiter.find(route);
        return found && found->hash ? std::string(found->hash->view()) : std::string();
    }
};

/// Counts what it is told.
struct Seen {
    std::vector<EventKind> kinds;
    [[nodiscard]] Options options() {
        return {.observer = [this](const sluice::Event& event) { kinds.push_back(event.kind); }};
    }
    [[nodiscard]] long count(EventKind kind) const {
        return std::count(kinds.begin(), kinds.end(), kind);
    }
};

} // namespace

TEST_CASE("a hash first seen in a 429 never becomes the route's", "[R5]") {
    Bot bot;
    const Route bans = get_bans(1);
    SECTION("when an answer has named another before") {
        bot.request(bans, answer(2000, 1999, 60s, "wide"));
        bot.request(bans, user_429(5s, 30, "narrow")); // discord-api-docs#7394
        CHECK(bot.hash(bans) == "wide");
        CHECK(!bot.goes(bans));
        bot.pass(5s + 1ms); // a digit of the header is what a wait may be too short by
        CHECK(bot.goes(bans));
        CHECK(bot.limiter.find(bans)->remaining == 1999);
        CHECK(bot.limiter.stats().counters.moved == 0);
    }
    SECTION("when it is the first answer of all") {
        bot.request(bans, user_429(5s, 30, "narrow"));
        CHECK(bot.hash(bans).empty());
        CHECK(bot.goes(get_bans(2)));
        CHECK(bot.hash(get_bans(2)).empty());
        bot.pass(6s);
        bot.request(bans, answer(2000, 1999, 60s, "wide"));
        CHECK(bot.hash(bans) == "wide");
    }
}

TEST_CASE("a tighter limit that answers in its own name blocks the lane, not the bucket", "[R5]") {
    Bot bot;
    bot.request(create_message(1), answer(1000, 999, 60s, "wide"));
    bot.request(get_message(1, 2), answer(1000, 998, 60s, "wide"));
    bot.request(get_message(1, 2), user_429(4s, 5, "tight")); // discord-api-docs#8161
    CHECK(!bot.goes(get_message(1, 2)));
    CHECK(bot.goes(create_message(1)));
    bot.pass(4s + 1ms);
    CHECK(bot.goes(get_message(1, 2)));
}

TEST_CASE("a 429 that names a bucket which is known spends that one", "[R5]") {
    Bot bot;
    bot.request(create_message(1), answer(5, 4, 60s, "a"));
    bot.request(get_message(1, 2), answer(5, 4, 60s, "b"));
    bot.request(get_message(1, 2), user_429(60s, 5, "a"));
    CHECK(!bot.goes(get_message(1, 2)));
    CHECK(!bot.goes(create_message(1)));
}

TEST_CASE("one route may show several hashes: each success moves it, and no request is lost",
          "[R5][R4]") {
    Seen seen;
    Bot bot(seen.options());
    const Route bans = get_bans(1);
    bot.request(bans, answer(5, 4, 60s, "small"));
    Ticket out = *bot.limiter.try_acquire(bans);
    std::string order;
    std::vector<Ticket> held;
    const auto wait = [&](char name) {
        bot.limiter.async_acquire(bans, [&order, &held, name](error_code, Ticket ticket) {
            order += name;
            held.push_back(std::move(ticket));
        });
    };
    for (const char name : {'a', 'b', 'c', 'd', 'e', 'f'})
        wait(name);
    bot.turn();
    CHECK(order == "abc");
    out.update(answer(3, 2, 5s, "large"));
    CHECK(bot.hash(bans) == "large");
    CHECK(seen.count(EventKind::lane_moved) == 1);
    for (int i = 0; i < 3; ++i)
        held[static_cast<std::size_t>(i)].update(answer(3, 2 - i, 5s, "large"));
    bot.pass(60s);
    CHECK(order == "abcdef");
    CHECK(bot.limiter.stats().queued == 0);
}

TEST_CASE("an answer that is older than the hash change does not undo it", "[R5]") {
    Bot bot;
    const Route bans = get_bans(1);
    bot.request(bans, answer(5, 4, 60s, "first"));
    Ticket early = *bot.limiter.try_acquire(bans);
    bot.pass(10ms);
    Ticket late = *bot.limiter.try_acquire(bans);
    late.update(answer(5, 4, 60s, "second"));
    early.update(answer(5, 3, 60s, "first"));
    CHECK(bot.hash(bans) == "second");
    CHECK(bot.limiter.stats().counters.moved == 1);
}

TEST_CASE("the age of a message is read from its id", "[R6]") {
    CHECK(created_at(0) == 1'420'070'400'000ms);
    CHECK(created_at(175'928'847'299'117'063U) == 1'462'015'105'796ms); // Discord docs, example
    const auto now = server_now.time_since_epoch();
    CHECK(age_class(message_aged(-5s), now) == 0); // its clock is ahead of ours
    CHECK(age_class(message_aged(9'999ms), now) == 0);
    CHECK(age_class(message_aged(10s), now) == 1);
    CHECK(age_class(message_aged(std::chrono::days(14)), now) == 1);
    CHECK(age_class(message_aged(std::chrono::days(14) + 1ms), now) == 2);
    CHECK(age_class(~std::uint64_t{0}, now) == 0);
}

TEST_CASE("deletes of young, older and very old messages are limited apart from the start",
          "[R6]") {
    Bot bot;
    bot.tell_time();
    const Route young = delete_message(1, message_aged(1s));
    const Route older = delete_message(1, message_aged(1min));
    const Route ancient = delete_message(1, message_aged(std::chrono::days(15)));
    bot.request(young, answer(5, 0, 60s, "young"));
    CHECK(!bot.goes(young));
    bot.request(older, answer(3, 0, 60s, "older"));
    CHECK(!bot.goes(older));
    bot.request(ancient, answer(30, 0, 60s, "ancient"));
    CHECK(bot.hash(young) == "young");
    CHECK(bot.hash(older) == "older");
    CHECK(bot.hash(ancient) == "ancient");
    CHECK(bot.limiter.stats().counters.moved == 0);
    CHECK(bot.goes(delete_message(2, message_aged(1s))));
    CHECK(bot.hash(delete_message(2, message_aged(2min))).empty());
}

TEST_CASE("a message grows older by Discord's clock, not by this machine's", "[R6]") {
    Bot bot;
    bot.tell_time();
    const std::uint64_t message = message_aged(9s); // 9.01 s when it is answered
    bot.request(delete_message(1, message), answer(5, 0, 60s, "young"));
    CHECK(!bot.goes(delete_message(1, message)));
    bot.pass(1s);
    CHECK(bot.goes(delete_message(1, message)));
}

TEST_CASE("the split of deletes by age can be switched off", "[R6]") {
    Bot bot({.split_deletes_by_age = false});
    bot.tell_time();
    bot.request(delete_message(1, message_aged(1s)), answer(5, 0, 60s, "any"));
    CHECK(!bot.goes(delete_message(1, message_aged(1min))));
    CHECK(!bot.goes(delete_message(1, message_aged(std::chrono::days(15)))));
}

TEST_CASE("adding and removing reactions draws on one bucket before any answer", "[R6]") {
    Bot bot;
    Ticket probe = *bot.limiter.try_acquire(add_reaction(1, 2, "a"));
    CHECK(!bot.goes(remove_reaction(1, 2, "b")));
    CHECK(!bot.goes(clear_reactions(1, 3)));
    CHECK(bot.goes(get_reactions(1, 2, "a")));
    CHECK(bot.goes(add_reaction(2, 2, "a")));
    probe.update(answer(1, 0, 250ms, "reactions"));
    CHECK(!bot.goes(remove_reaction(1, 2, "b")));
    CHECK(bot.hash(remove_reaction(1, 2, "b")) == "reactions");
    bot.pass(300ms);
    CHECK(bot.goes(remove_reaction(1, 2, "b")));
}

TEST_CASE("joining reactions can be switched off", "[R6]") {
    Bot bot({.join_reactions = false});
    Ticket probe = *bot.limiter.try_acquire(add_reaction(1, 2, "a"));
    CHECK(bot.goes(remove_reaction(1, 2, "b")));
    probe.cancel();
}

TEST_CASE("routes of one hash whose answers contradict each other get buckets of their own, once",
          "[R8]") {
    Seen seen;
    Bot bot(seen.options());
    const Route post = create_message(1);
    const Route edit = edit_message(1, 2);
    const auto each_once = [&](std::int64_t left) {
        bot.request(post, answer(5, left, 5s));
        bot.request(edit, answer(5, left, 5s)); // as before 2026-01, discord-api-docs#8073
    };
    each_once(4);
    each_once(3);
    CHECK(bot.limiter.stats().counters.split == 1);
    CHECK(seen.count(EventKind::split) == 1);
    bot.request(post, answer(5, 0, 4s));
    CHECK(!bot.goes(post));
    CHECK(bot.goes(edit));
    CHECK(bot.limiter.find(edit)->remaining == 3);

    SECTION("in other channels too, and without another report") {
        bot.request(create_message(2), answer(5, 4, 5s));
        bot.request(edit_message(2, 2), answer(5, 4, 5s));
        bot.request(create_message(2), answer(5, 0, 5s));
        CHECK(!bot.goes(create_message(2)));
        CHECK(bot.goes(edit_message(2, 2)));
        CHECK(bot.limiter.stats().counters.split == 1);
        CHECK(seen.count(EventKind::split) == 1);
    }
}

TEST_CASE("an answer that proves the split counts for its own route's bucket", "[R8]") {
    for (const bool post_last : {false, true}) {
        Bot bot;
        Route first = create_message(1);
        Route last = edit_message(1, 2);
        if (post_last) std::swap(first, last);
        bot.request(create_message(1), answer(5, 4, 5s));
        bot.request(edit_message(1, 2), answer(5, 3, 5s));
        bot.request(first, answer(5, 2, 5s));
        bot.request(last, answer(5, 3, 5s)); // later, and yet less is used
        REQUIRE(bot.limiter.stats().counters.split == 1);
        CHECK(bot.limiter.find(last)->remaining == 3);
    }
}

TEST_CASE("the split of hashes that lie can be switched off", "[R8]") {
    Bot bot({.split_lying_hashes = false});
    for (const std::int64_t left : {4, 3, 2}) {
        bot.request(create_message(1), answer(5, left, 5s));
        bot.request(edit_message(1, 2), answer(5, left, 5s));
    }
    CHECK(bot.limiter.stats().counters.split == 0);
}
