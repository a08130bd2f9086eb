// SPDX-License-Identifier: MIT
#include <sluice/gateway/session_start_limit.hpp>
#include <sluice/testing/fake_gateway.hpp>

#include "support/catch.hpp"

#include <nlohmann/json.hpp>

#include <chrono>
#include <cstdint>
#include <stdexcept>
#include <string>
#include <utility>

namespace {

using namespace std::chrono_literals;
using sluice::gateway::Opcode;
using sluice::testing::Algorithm;
using sluice::testing::Duration;
using sluice::testing::FakeGateway;
using sluice::testing::FakeGatewayOptions;
using sluice::testing::GatewayComplaints;
using sluice::testing::GatewayEvent;
using sluice::testing::GatewayOutcome;
using sluice::testing::GatewayReply;

struct Bot {
    explicit Bot(const FakeGatewayOptions& options = {}) : gateway(options) {}

    GatewayReply identify(std::uint64_t shard, Duration now) {
        return gateway.receive(gateway.open(now), {.opcode = Opcode::identify, .shard = shard},
                               now);
    }
    /// A connection with a session.
    FakeGateway::ConnectionId connect(Duration now = 0s) {
        const auto connection = gateway.open(now);
        const auto reply = gateway.receive(connection, {.opcode = Opcode::identify}, now);
        REQUIRE(reply.outcome == GatewayOutcome::ready);
        return connection;
    }
    GatewayOutcome send(FakeGateway::ConnectionId connection, Opcode opcode, Duration now) {
        return gateway.receive(connection, {.opcode = opcode}, now).outcome;
    }

    FakeGateway gateway;
};

} // namespace

TEST_CASE("the first thing a gateway says is its heartbeat interval", "[F15]") {
    const Bot bot;
    CHECK(bot.gateway.hello()["op"] == 10);
    CHECK(bot.gateway.hello()["d"]["heartbeat_interval"] == 41'250);
}

TEST_CASE("session_start_limit counts identifies down and says when they are back", "[F15]") {
    Bot bot({.total = 10, .remaining = 4, .reset_after = 1h, .max_concurrency = 2});
    bot.identify(0, 1s);
    bot.identify(1, 1s);
    auto limit = sluice::gateway::SessionStartLimit::parse(bot.gateway.bot_info(2s));
    CHECK(limit.total == 10);
    CHECK(limit.remaining == 2);
    CHECK(limit.reset_after == 1h - 2s);
    CHECK(limit.max_concurrency == 2);
    limit = sluice::gateway::SessionStartLimit::parse(bot.gateway.bot_info(1h));
    CHECK(limit.remaining == 10);
    CHECK(limit.reset_after == 24h);
}

TEST_CASE("a day can begin with its first identify", "[F15]") {
    Bot bot({.total = 10, .reset_after = 1h, .day_by_clock = false});
    bot.identify(0, 3h);
    CHECK(bot.gateway.bot_info(4h)["session_start_limit"]["remaining"] == 9);
    CHECK(bot.gateway.bot_info(27h)["session_start_limit"]["remaining"] == 10);
}

TEST_CASE("one key identifies once in five seconds, different keys at once", "[F15]") {
    Bot bot({.max_concurrency = 16});
    CHECK(bot.identify(3, 0s).outcome == GatewayOutcome::ready);
    CHECK(bot.identify(4, 0s).outcome == GatewayOutcome::ready);
    CHECK(bot.identify(19, 5s).outcome == GatewayOutcome::ready);
    CHECK(bot.gateway.complaints() == GatewayComplaints());
}

TEST_CASE("an identify that comes too early is an invalid session, and spent", "[F15]") {
    Bot bot({.remaining = 10, .max_concurrency = 16});
    bot.identify(3, 0s);
    CHECK(bot.identify(19, 5s - 1ns).outcome == GatewayOutcome::invalid_session);
    CHECK(bot.gateway.complaints().invalid_sessions == 1);
    CHECK(bot.gateway.bot_info(6s)["session_start_limit"]["remaining"] == 8);
}

TEST_CASE("while max_concurrency changes only what is too early either way is refused", "[F15]") {
    Bot bot({.max_concurrency = 16});
    bot.identify(0, 0s);
    bot.gateway.set_max_concurrency(1, 1s);
    CHECK(bot.identify(1, 2s).outcome == GatewayOutcome::ready);
    CHECK(bot.identify(16, 3s).outcome == GatewayOutcome::invalid_session);
    CHECK(bot.identify(5, 7s).outcome == GatewayOutcome::invalid_session);
}

TEST_CASE("of several changes within an interval none is forgotten", "[F15]") {
    Bot bot({.max_concurrency = 16});
    bot.identify(0, 0s);
    bot.gateway.set_max_concurrency(4, 1s);
    bot.gateway.set_max_concurrency(1, 2s);
    CHECK(bot.identify(4, 3s).outcome == GatewayOutcome::ready); // another key of the first 16
}

TEST_CASE("one identify more than the day has ends all sessions and resets the token", "[F15]") {
    Bot bot({.remaining = 2, .max_concurrency = 4});
    const auto connection = bot.connect();
    CHECK(bot.identify(1, 0s).outcome == GatewayOutcome::ready);
    CHECK(bot.identify(2, 0s).close_code == 4004);
    CHECK(bot.gateway.complaints().daily_overruns == 1);
    CHECK_FALSE(bot.gateway.is_open(connection));
    CHECK_FALSE(bot.gateway.token_is_valid());
    CHECK(bot.identify(3, 25h).close_code == 4004);
}

TEST_CASE("a session can be resumed on a new connection, which takes no identify", "[F15]") {
    Bot bot({.remaining = 5});
    const auto first = bot.gateway.open(0s);
    const auto ready = bot.gateway.receive(first, {.opcode = Opcode::identify}, 0s);
    bot.gateway.close(first);
    const GatewayEvent resume{.opcode = Opcode::resume, .session = ready.session};
    CHECK(bot.gateway.receive(bot.gateway.open(1s), resume, 1s).outcome == GatewayOutcome::resumed);
    const GatewayEvent other{.opcode = Opcode::resume, .session = "unheard of"};
    CHECK(bot.gateway.receive(bot.gateway.open(1s), other, 1s).outcome ==
          GatewayOutcome::invalid_session);
    CHECK(bot.gateway.bot_info(1s)["session_start_limit"]["remaining"] == 4);
}

TEST_CASE("the 121st event of a minute closes the connection, heartbeats included", "[F15]") {
    Bot bot;
    const auto connection = bot.connect();
    for (int i = 0; i < 119; ++i) {
        const auto outcome = bot.send(connection, Opcode::heartbeat, 1s);
        REQUIRE(outcome == GatewayOutcome::heartbeat_ack);
    }
    const auto last = bot.gateway.receive(connection, {.opcode = Opcode::heartbeat}, 60s - 1ns);
    CHECK(last.close_code == 4008);
    CHECK(bot.gateway.complaints().closes_4008 == 1);
    CHECK_FALSE(bot.gateway.is_open(connection));
}

TEST_CASE("events that left the minute make room, on each connection by itself", "[F15]") {
    Bot bot({.max_concurrency = 2, .events = {Algorithm::sliding_log, 2, 60s}});
    const auto connection = bot.connect();
    CHECK(bot.send(connection, Opcode::heartbeat, 1s) == GatewayOutcome::heartbeat_ack);
    CHECK(bot.send(connection, Opcode::heartbeat, 60s) == GatewayOutcome::heartbeat_ack);
    const auto other = bot.gateway.open(60s);
    CHECK(bot.send(other, Opcode::heartbeat, 60s) == GatewayOutcome::heartbeat_ack);
    CHECK(bot.send(connection, Opcode::heartbeat, 60s) == GatewayOutcome::closed);
}

TEST_CASE("the sixth presence update in twenty seconds is dropped without a word", "[F15]") {
    Bot bot;
    const auto connection = bot.connect();
    for (int i = 0; i < 5; ++i) {
        CHECK(bot.send(connection, Opcode::presence_update, 1s) == GatewayOutcome::accepted);
    }
    CHECK(bot.send(connection, Opcode::presence_update, 20s) == GatewayOutcome::dropped);
    CHECK(bot.gateway.complaints().presences_dropped == 1);
    CHECK(bot.gateway.is_open(connection));
    CHECK(bot.send(connection, Opcode::presence_update, 21s) == GatewayOutcome::accepted);
}

TEST_CASE("a second member list of a guild is RATE_LIMITED, over all connections", "[F15]") {
    Bot bot({.max_concurrency = 2});
    const auto connection = bot.connect();
    const auto other = bot.gateway.open(0s);
    bot.gateway.receive(other, {.opcode = Opcode::identify, .shard = 1}, 0s);
    const GatewayEvent list{.opcode = Opcode::request_guild_members, .guild = 7, .nonce = "n"};
    CHECK(bot.gateway.receive(connection, list, 0s).outcome == GatewayOutcome::accepted);
    const auto refused = bot.gateway.receive(other, list, 12s);
    CHECK(refused.outcome == GatewayOutcome::rate_limited);
    CHECK(refused.retry_after == 18s);
    const auto told = refused.payload(list)["d"];
    CHECK(told["opcode"] == 8);
    CHECK(told["retry_after"] == 18.0);
    CHECK(told["meta"]["guild_id"] == "7");
    CHECK(told["meta"]["nonce"] == "n");
    GatewayEvent prefix = list;
    prefix.whole_list = false;
    CHECK(bot.gateway.receive(other, prefix, 12s).outcome == GatewayOutcome::accepted);
    CHECK(bot.gateway.receive(other, list, 30s).outcome == GatewayOutcome::accepted);
}

TEST_CASE("what a gateway does not accept closes the connection with its code", "[F15]") {
    Bot bot;
    const auto code = [&](const GatewayEvent& event) {
        const auto connection = bot.connect(bot.gateway.identifies() * 5s);
        return bot.gateway.receive(connection, event, bot.gateway.identifies() * 5s).close_code;
    };
    CHECK(code({.opcode = Opcode::presence_update, .bytes = 4097}) == 4002);
    CHECK(code({.opcode = Opcode::presence_update, .bytes = 4096}) == 0);
    CHECK(code({.opcode = Opcode::identify}) == 4005);
    CHECK(code({.opcode = Opcode::hello}) == 4001);
    CHECK(bot.gateway.receive(bot.gateway.open(60s), {.opcode = Opcode::presence_update}, 60s)
              .close_code == 4003);
    const GatewayEvent unreadable{.decodable = false};
    CHECK(bot.gateway.receive(bot.gateway.open(60s), unreadable, 60s).close_code == 4002);
    const GatewayEvent beyond{.opcode = Opcode::identify, .shard = 4, .shards = 4};
    CHECK(bot.gateway.receive(bot.gateway.open(60s), beyond, 60s).close_code == 4010);
}

TEST_CASE("only the bot's token is accepted, and after a reset only the new one", "[F15]") {
    Bot bot({.remaining = 1, .token = "old"});
    const auto code = [&](const std::string& token, Duration now) {
        const GatewayEvent identify{.opcode = Opcode::identify, .token = token};
        return bot.gateway.receive(bot.gateway.open(now), identify, now).close_code;
    };
    CHECK(code("another", 0s) == 4004);
    CHECK(code("old", 0s) == 0);
    CHECK(code("old", 5s) == 4004);
    CHECK(bot.gateway.complaints().daily_overruns == 1);
    CHECK(code("old", 25h) == 4004);
    bot.gateway.set_token("new");
    CHECK(code("old", 25h) == 4004);
    CHECK(code("new", 25h) == 0);
}

TEST_CASE("a connection whose heartbeats stop is closed, and its session is over", "[F15]") {
    Bot bot({.heartbeat_interval = 40s, .heartbeat_grace = 20s});
    const auto connection = bot.gateway.open(0s);
    const auto ready = bot.gateway.receive(connection, {.opcode = Opcode::identify}, 1s);
    bot.send(connection, Opcode::heartbeat, 50s);
    CHECK(bot.gateway.heartbeat_deadline(connection) == 110s);
    CHECK(bot.gateway.expire(connection, 110s - 1ns).outcome == GatewayOutcome::accepted);
    CHECK(bot.gateway.expire(connection, 110s).close_code == 4009);
    CHECK_FALSE(bot.gateway.heartbeat_deadline(connection));
    CHECK(bot.gateway.sessions() == 0);
}

TEST_CASE("a session ends with the client's 1000 or 1001, and with no other code", "[F15]") {
    for (const int code : {1000, 1001, 1006, 4000}) {
        CAPTURE(code);
        Bot bot;
        bot.gateway.close(bot.connect(), code);
        CHECK(bot.gateway.sessions() == (code < 1002 ? 0U : 1U));
    }
}

TEST_CASE("a resume that claims to have seen more than was sent needs a new session", "[F15]") {
    Bot bot;
    const auto first = bot.gateway.open(0s);
    const auto ready = bot.gateway.receive(first, {.opcode = Opcode::identify}, 0s);
    CHECK(ready.sequence == 1);
    bot.gateway.close(first);
    GatewayEvent resume{.opcode = Opcode::resume, .session = ready.session, .sequence = 1};
    const auto second = bot.gateway.open(1s);
    CHECK(bot.gateway.receive(second, resume, 1s).sequence == 2);
    bot.gateway.close(second);
    resume.sequence = 3;
    CHECK(bot.gateway.receive(bot.gateway.open(2s), resume, 2s).close_code == 4007);
    CHECK(bot.gateway.sessions() == 0);
}

TEST_CASE("every span of a gateway can be divided, so that a day is over in minutes", "[F15]") {
    const FakeGatewayOptions fast = FakeGatewayOptions().faster(100);
    CHECK(fast.day == 864s);
    CHECK(fast.reset_after == 864s);
    CHECK(fast.identify_interval == 50ms);
    CHECK(fast.heartbeat_interval == 412'500us);
    CHECK(fast.events.period == 600ms);
    CHECK(fast.events.limit == 120);
    CHECK_THROWS_AS(FakeGatewayOptions().faster(0), std::invalid_argument);
}

TEST_CASE("events are read from what a client writes, and nothing from what is no payload") {
    const auto identify =
        GatewayEvent::parse(R"({"op": 2, "d": {"token": "t", "shard": [3, 16]}})");
    CHECK(identify.decodable);
    CHECK(identify.opcode == Opcode::identify);
    CHECK(identify.shard == 3);
    CHECK(identify.shards == 16);
    CHECK(identify.token == "t");
    CHECK(identify.bytes == 48);
    const auto members = GatewayEvent::parse(
        R"({"op": 8, "d": {"guild_id": "7", "query": "", "limit": 0, "nonce": "n"}})");
    CHECK(members.guild == 7);
    CHECK(members.nonce == "n");
    CHECK(members.whole_list);
    const auto prefix = GatewayEvent::parse(R"({"op": 8, "d": {"query": "a", "limit": "x"}})");
    CHECK_FALSE(prefix.whole_list);
    for (const auto* bad : {"", "{", "[]", R"({"op": "2"})", R"({"op": -1})"}) {
        CAPTURE(bad);
        CHECK_FALSE(GatewayEvent::parse(bad).decodable);
    }
    CHECK(GatewayEvent::parse(R"({"op": 258})").opcode == static_cast<Opcode>(255));
}

TEST_CASE("a gateway without keys is refused") {
    CHECK_THROWS_AS(FakeGateway(FakeGatewayOptions{.max_concurrency = 0}), std::invalid_argument);
    FakeGateway gateway;
    CHECK_THROWS_AS(gateway.set_max_concurrency(0, 0s), std::invalid_argument);
    CHECK(gateway.options().max_concurrency == 1);
}
