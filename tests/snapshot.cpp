// SPDX-License-Identifier: MIT
//
// limiter.snapshot() and limiter.restore(): the text between two processes, and what becomes of
// texts that are none. What goes on and how is tested in core/snapshot.cpp.
#include <sluice/bucket_manager.hpp>

#include "support/catch.hpp"
#include "support/virtual_bot.hpp"

#include <nlohmann/json.hpp>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <limits>
#include <random>
#include <string>
#include <vector>

namespace {

using namespace sluice;
using namespace sluice::tests;
using nlohmann::json;

inline constexpr auto execute_webhook = route<"POST /webhooks/{webhook.id}/{webhook.token}">;

/// One that has met all that a snapshot can hold.
json full_snapshot() {
    VirtualBot bot({.global = {.limit = 50, .period = 10s}});
    const auto meet = [&](const Route& route, const Response& with) {
        auto ticket = bot.limiter.try_acquire(route);
        REQUIRE(ticket.has_value());
        bot.pass(50ms);
        ticket->update(with);
    };
    meet(create_message(1), answer(5, 2, 10min));
    meet(create_message(2), user_429(5min));
    meet(get_message(3, 4), {.status = 200});
    meet(create_message(4).sublimit("name"), shared_429(10min));
    Response gone{.status = 404};
    gone.code = 10015; // Unknown Webhook
    meet(execute_webhook(7, "secret-token"), gone);
    meet(get_message(5, 4), {.status = 403, .from_discord = true});
    for (int left = 3; left > 0; --left) { // routes of one hash that count apart
        meet(create_message(6), answer(4, left, 30s, "lies"));
        meet(get_message(6, 1), answer(4, left, 30s, "lies"));
    }
    meet(create_message(8), global_429(5s));
    auto under_way = bot.limiter.try_acquire(callback(9, "secret-token"));
    REQUIRE(under_way.has_value());
    return bot.limiter.snapshot();
}

/// Every value of it, the deepest first.
void each_value(json& value, const std::function<void(json&)>& visit) {
    if (value.is_structured()) {
        for (json& part : value)
            each_value(part, visit);
    }
    visit(value);
}

} // namespace

TEST_CASE("a snapshot passes through its text and tells all there is", "[R25]") {
    const json state = json::parse(full_snapshot().dump());
    CHECK(state["sluice"] == 1);
    CHECK(state["routes"].size() == 2);
    CHECK(state["apart"] == json{"lies"});
    CHECK(state["buckets"].size() >= 6);
    CHECK(state["lanes"].size() >= 1);
    CHECK(state["gone_webhooks"].size() == 1);
    CHECK(state["global"]["slots"].size() >= 8);
    CHECK(state["global"]["blocked_for"].get<std::int64_t>() > 0);
    CHECK(state["address"]["invalid"].size() == 1);
    CHECK(state.dump().find("secret") == std::string::npos);
}

TEST_CASE("a limiter goes on where another stopped, on the time that passed between") {
    VirtualBot before;
    auto ticket = before.limiter.try_acquire(create_message(1));
    ticket->update(answer(5, 0, 10s));
    const json state = before.limiter.snapshot();
    before.pass(4s);

    Manager next(before.io, {}, before.clock);
    next.restore(state);
    CHECK(!next.try_acquire(create_message(1)));
    CHECK(next.timeout_for(create_message(1)) == 6s + 1ms);
    CHECK(next.find(create_message(1))->hash == BucketHash::parse("abc"));
    before.pass(6s + 1ms);
    CHECK(next.try_acquire(create_message(1)).has_value());
}

TEST_CASE("on the steady clock the calendar tells how long ago a snapshot was taken") {
    asio::io_context io;
    BucketManager before(io);
    auto ticket = before.try_acquire(create_message(1));
    ticket->update(answer(5, 0, 1h));
    json state = before.snapshot();

    BucketManager next(io);
    next.restore(state);
    const auto wait = next.timeout_for(create_message(1)).value();
    CHECK(wait > 59min);
    CHECK(wait < 61min);

    const std::chrono::nanoseconds half_an_hour = 30min;
    state["taken"] = state["taken"].get<std::int64_t>() - half_an_hour.count();
    BucketManager later(io);
    later.restore(state);
    const auto rest = later.timeout_for(create_message(1)).value();
    CHECK(rest > 29min);
    CHECK(rest < 31min);

    state["taken"] = std::numeric_limits<std::int64_t>::max(); // a calendar that was set back
    BucketManager earlier(io);
    earlier.restore(state);
    CHECK(earlier.timeout_for(create_message(1)).value() > 59min);
}

TEST_CASE("any type that reads as nlohmann::json does will do") {
    VirtualBot before;
    auto ticket = before.limiter.try_acquire(create_message(1));
    ticket->update(answer(5, 0, 10s));
    const auto state = before.limiter.snapshot<nlohmann::ordered_json>();
    Manager next(before.io, {}, before.clock);
    next.restore(state);
    CHECK(!next.try_acquire(create_message(1)));
}

TEST_CASE("what is no snapshot is refused with a code, and nothing has changed") {
    std::vector<json> strange{nullptr, 1, "text", json::array(), json::object(), {{"sluice", 2}}};
    const auto with = [&](const char* pointer, json value) {
        json state = full_snapshot();
        state[json::json_pointer(pointer)] = std::move(value);
        strange.push_back(std::move(state));
    };
    with("/sluice", "1");
    with("/taken", 1.5);
    with("/routes", json::object());
    with("/routes/0", 7);
    with("/routes/0/hash", 7);
    with("/apart/0", 7);
    with("/buckets/0/major", nullptr);
    with("/buckets/0/major/kind", "city");
    with("/buckets/0/major/low", -1);
    with("/buckets/0/answered", 1);
    with("/lanes/0/bucket", "abc");
    with("/global", json::array());
    with("/global/slots/0", "soon");
    with("/address/invalid/0", json::array());
    for (const json& state : strange) {
        CAPTURE(state.dump());
        VirtualBot bot;
        error_code error;
        bot.limiter.restore(state, error);
        CHECK(error == errc::invalid_snapshot);
        CHECK(bot.limiter.stats().buckets == 0);
        CHECK(bot.limiter.stats().invalid_requests == 0);
        CHECK(bot.limiter.try_acquire(create_message(1)).has_value());
        CHECK_THROWS_AS(bot.limiter.restore(state), Error);
    }
}

TEST_CASE("whatever stands in a snapshot, the limiter that read it works on") {
    const json original = full_snapshot();
    std::size_t values = 0;
    json counted = original;
    each_value(counted, [&](json&) { ++values; });
    REQUIRE(values > 100);
    const std::vector<json> numbers{-1,
                                    0,
                                    1,
                                    1'000,
                                    std::numeric_limits<std::int64_t>::min(),
                                    std::numeric_limits<std::int64_t>::max(),
                                    std::numeric_limits<std::uint64_t>::max()};
    const std::vector<json> others{nullptr, true, 1e300, "", "abc", json::array(), json::object()};
    std::mt19937_64 random(1);
    std::size_t read = 0;
    for (int i = 0; i < 3'000; ++i) {
        json state = original;
        for (std::size_t changes = 1 + random() % 4; changes > 0; --changes) {
            std::size_t left = random() % values;
            each_value(state, [&](json& value) {
                if (left-- != 0) return;
                const bool number = value.is_number() && random() % 20 != 0;
                const auto& choices = number ? numbers : others;
                value = choices[random() % choices.size()];
            });
        }
        CAPTURE(i, state.dump());
        VirtualBot bot;
        error_code error;
        bot.limiter.restore(state, error);
        if (!error) ++read;
        REQUIRE((!error || error == errc::invalid_snapshot));

        std::vector<Ending> endings(4);
        bot.limiter.async_acquire(create_message(1), into(endings[0]));
        bot.limiter.async_acquire(create_message(6), into(endings[1]));
        bot.limiter.async_acquire(create_message(4).sublimit("name"), into(endings[2]));
        bot.limiter.async_acquire(create_message(99), into(endings[3]));
        bot.pass(std::chrono::years(11)); // no wait is longer than the longest setting
        for (Ending& ending : endings) {
            REQUIRE(ending.times == 1);
            if (ending.granted()) ending.ticket.update(answer(5, 4, 1s));
        }
        REQUIRE(json::parse(bot.limiter.snapshot().dump())["sluice"] == 1);
    }
    CHECK(read > 300);
}
