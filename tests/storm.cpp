// SPDX-License-Identifier: MIT
//
// Thousands of short runs of a bot on Discord's special routes while everything goes wrong at once:
// limits that no header shows, other users, hashes that change, blocks of the token and of the
// address, server errors, connections that are cut. What must hold in each run is in
// support/storm.hpp; here the weather is made.
//
// Even seeds spare the token and the address, and run a second time in calm weather: what the storm
// does not strike must be as fast as without it.
#include "support/storm.hpp"

#include <sluice/testing/fake_discord.hpp>

#include "support/catch.hpp"
#include "support/share.hpp"

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <random>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace {

using namespace sluice::tests;
using sluice::Options;
using sluice::route;
using sluice::testing::Algorithm;
using sluice::testing::CountedPer;
using sluice::testing::FakeDiscord;
using sluice::testing::FakeOptions;
using sluice::testing::Fault;
using sluice::testing::FaultKind;
using sluice::testing::Lie;
using sluice::testing::Limit;
using sluice::testing::Refusal;
using sluice::testing::RefusalKind;
using sluice::testing::Rule;
using sluice::testing::SecondLimit;

constexpr auto edit_message = route<"PATCH /channels/{channel.id}/messages/{message.id}">;
constexpr auto get_messages = route<"GET /channels/{channel.id}/messages">;
constexpr auto delete_message = route<"DELETE /channels/{channel.id}/messages/{message.id}">;
constexpr auto add_reaction =
    route<"PUT /channels/{channel.id}/messages/{message.id}/reactions/{emoji}/@me">;
constexpr auto remove_reaction =
    route<"DELETE /channels/{channel.id}/messages/{message.id}/reactions/{emoji}/@me">;
constexpr auto edit_channel = route<"PATCH /channels/{channel.id}">;
constexpr auto create_thread = route<"POST /channels/{channel.id}/threads">;
constexpr auto create_emoji = route<"POST /guilds/{guild.id}/emojis">;
constexpr auto get_bans = route<"GET /guilds/{guild.id}/bans">;
constexpr auto create_role = route<"POST /guilds/{guild.id}/roles">;
constexpr auto add_member_role = route<"PUT /guilds/{guild.id}/members/{user.id}/roles/{role.id}">;
constexpr auto execute_webhook = route<"POST /webhooks/{webhook.id}/{webhook.token}">;
constexpr auto edit_original =
    route<"PATCH /webhooks/{application.id}/{interaction.token}/messages/@original">;
constexpr auto get_channel = route<"GET /channels/{channel.id}">;
constexpr auto get_me = route<"GET /users/@me">;
constexpr auto trigger_typing = route<"POST /channels/{channel.id}/typing">;
constexpr auto pin_message = route<"PUT /channels/{channel.id}/pins/{message.id}">;

/// Not <random>'s distributions: their results differ from one standard library to the next.
class Dice {
public:
    explicit Dice(std::uint64_t seed) : random_(seed) {}

    std::uint64_t below(std::uint64_t end) { return random_() % end; }
    bool one_in(std::uint64_t n) { return below(n) == 0; }
    std::int64_t from_to(std::int64_t low, std::int64_t high) {
        return low + static_cast<std::int64_t>(below(static_cast<std::uint64_t>(high - low) + 1));
    }
    template <class Item, std::size_t Size>
    Item of(const std::array<Item, Size>& items) {
        return items[below(Size)];
    }

private:
    std::mt19937_64 random_;
};

constexpr std::array algorithms{Algorithm::fixed, Algorithm::gcra, Algorithm::sliding_log};

enum class Scene : std::uint8_t {
    messages,
    history,
    deletes,
    reactions,
    channel,
    threads,
    emojis,
    bans,
    roles,
    webhooks,
    channels,
    interactions,
};
constexpr std::array scenes{Scene::messages, Scene::history,  Scene::deletes,  Scene::reactions,
                            Scene::channel,  Scene::threads,  Scene::emojis,   Scene::bans,
                            Scene::roles,    Scene::webhooks, Scene::channels, Scene::interactions};

constexpr auto discord_epoch = 1'420'070'400s; // Discord docs, "Reference", "Snowflakes"

std::uint64_t snowflake(Duration created, std::uint64_t number) {
    const auto since = std::chrono::duration_cast<std::chrono::milliseconds>(created);
    return static_cast<std::uint64_t>((since - discord_epoch).count()) << 22U | number;
}

std::string interaction_token(std::uint64_t number) {
    return "aW50ZXJhY3Rpb246" + std::to_string(number); // "interaction:" and what follows
}

template <class Template, class... Ids>
StormCall call_of(const Template& made, const Ids&... ids) {
    return {.route = made(ids...), .target = "/api/v10" + made.path(ids...)};
}

// --- Requests -----------------------------------------------------------------------------------

StormCall draw_delete(std::uint64_t channel, Duration at, Dice& dice) {
    constexpr std::array<Duration, 3> ages{100ms, 24h, 20 * 24h};
    const std::uint64_t age_class = dice.below(3);
    const Duration made = FakeOptions().epoch + at - ages[age_class];
    StormCall call = call_of(delete_message, channel, snowflake(made, dice.below(4096)));
    call.age_class = age_class;
    call.may_be_gone = true;
    return call;
}

/// Discord docs and discord-api-docs#1900 (2020): name and topic have limits of their own.
StormCall draw_channel_edit(std::uint64_t channel, bool tagged, Dice& dice) {
    StormCall call = call_of(edit_channel, channel);
    const std::string_view field = dice.of(std::array{"name", "topic", "nsfw"});
    call.body = R"({")" + std::string(field) + R"(": "x"})";
    if (tagged && field != "nsfw") call.route = call.route.sublimit(field);
    return call;
}

StormCall draw_call(Scene scene, Duration at, bool tagged, Dice& dice) {
    const std::uint64_t place = 1 + dice.below(2);
    switch (scene) {
    case Scene::messages:
        if (dice.one_in(3)) return call_of(edit_message, place, 7);
        return call_of(create_message, place);
    case Scene::history:
        return call_of(get_messages, place);
    case Scene::deletes:
        return draw_delete(place, at, dice);
    case Scene::reactions:
        if (dice.one_in(2)) return call_of(add_reaction, place, 7, "x");
        return call_of(remove_reaction, place, 7, "x");
    case Scene::channel:
        return draw_channel_edit(place, tagged, dice);
    case Scene::threads:
        return call_of(create_thread, place);
    case Scene::emojis:
        return call_of(create_emoji, place);
    case Scene::bans:
        return call_of(get_bans, place);
    case Scene::roles:
        if (dice.one_in(3)) return call_of(create_role, place);
        return call_of(add_member_role, place, 7, 8);
    case Scene::webhooks:
        return call_of(execute_webhook, 100 + dice.below(3), "secret");
    case Scene::channels: {
        StormCall call = call_of(get_channel, 1 + dice.below(12));
        call.common = true;
        return call;
    }
    case Scene::interactions:
        break;
    }
    const std::string token = interaction_token(dice.below(4));
    StormCall call = dice.one_in(3)   ? call_of(callback, 9, token)
                     : dice.one_in(2) ? call_of(edit_original, 5, token)
                                      : call_of(execute_webhook, 5, token);
    call.may_die = true;
    return call;
}

void draw_bounds(StormCall& call, Dice& dice) {
    call.options.safe = dice.one_in(3);
    if (dice.one_in(5)) call.options.total = 1s * dice.from_to(3, 90);
    if (dice.one_in(6)) call.options.max_wait = 1s * dice.from_to(0, 40);
}

/// A few kinds of request at a time, so that each meets its limits.
void draw_storm_calls(Storm& storm, Dice& dice) {
    const std::array some{dice.of(scenes), dice.of(scenes), dice.of(scenes)};
    const bool tagged = dice.one_in(2);
    const std::int64_t count = dice.from_to(14, 36);
    const Duration spread = 1ms * dice.from_to(1, 30'000);
    // Until an answer has shown Discord's clock nobody knows how old a message is.
    storm.add(call_of(get_me));
    for (std::int64_t i = 0; i < count; ++i) {
        const Duration at = 2s + spread * dice.from_to(0, 100) / 100;
        StormCall call = draw_call(dice.of(some), at, tagged, dice);
        call.at = at;
        draw_bounds(call, dice);
        storm.add(std::move(call));
    }
}

/// One lane in a channel that the storm does not know, one beside it.
void draw_bystanders(Storm& storm, Dice& dice) {
    const auto add = [&](StormCall call, Duration at) {
        call.at = at;
        call.bystander = true;
        storm.add(std::move(call));
    };
    for (std::int64_t i = dice.from_to(6, 14); i > 0; --i)
        add(call_of(trigger_typing, 99), 1ms * dice.from_to(0, 2000));
    for (std::int64_t i = dice.from_to(0, 10); i > 0; --i)
        add(call_of(pin_message, 1, 7), 1ms * dice.from_to(0, 2000));
}

// --- Limits and weather -------------------------------------------------------------------------

/// Two routes with one limit (observed 2018 and later, discord-api-docs).
const std::array<std::string, 2> reaction_rules{
    "PUT /channels/{c}/messages/{m}/reactions/{e}/@me",
    "DELETE /channels/{c}/messages/{m}/reactions/{e}/@me"};

/// The rules of one run, by template, so that the weather can be laid over them.
using Rules = std::map<std::string, Rule>;

Rule limited(std::int64_t limit, Duration period, Dice& dice) {
    Rule rule{.limit = Limit{dice.of(algorithms), limit, period}};
    if (dice.one_in(4)) rule.think_time = 1ms * dice.from_to(0, 400);
    return rule;
}

/// Figures as they were seen, discord-rate-limits; those that no short run would reach are scaled.
Rules draw_rules(Dice& dice) {
    Rules rules;
    rules["POST /channels/{c}/messages"] = limited(5, 5s, dice);
    rules["PATCH /channels/{c}/messages/{m}"] = limited(5, 5s, dice);
    rules["GET /channels/{c}/messages"] = limited(5, 5s, dice);
    Rule deletes = limited(30, 120s, dice);
    deletes.ages = {{.below = 10s, .limit = Limit{dice.of(algorithms), 5, 5s}},
                    {.below = 14 * 24h + 1ms, .limit = Limit{dice.of(algorithms), 3, 1s}}};
    rules["DELETE /channels/{c}/messages/{m}"] = deletes;
    const Rule reactions{.limit = Limit{dice.of(algorithms), 1, 250ms}, .hash = "reactions"};
    for (const std::string& name : reaction_rules)
        rules[name] = reactions;
    rules["PATCH /channels/{c}"] = limited(10, 15s, dice);
    rules["GET /channels/{c}"] = limited(5, 5s, dice);
    rules["GET /channels/{c}"].per_major = false; // discord-api-docs#971
    rules["POST /channels/{c}/threads"] = {.limit = std::nullopt};
    rules["POST /guilds/{g}/emojis"] = {.limit = std::nullopt};
    rules["GET /guilds/{g}/bans"] = limited(5, 60s, dice);
    rules["POST /guilds/{g}/roles"] = {.limit = Limit{Algorithm::fixed, 4, 1h}};
    rules["PUT /guilds/{g}/members/{u}/roles/{r}"] = {.limit = Limit{Algorithm::fixed, 10, 10s}};
    rules["POST /webhooks/{w}/{t}"] = limited(5, 2s, dice);
    rules["PATCH /webhooks/{a}/{t}/messages/@original"] = limited(5, 2s, dice);
    rules["POST /interactions/{i}/{t}/callback"] = {.limit = std::nullopt, .status = 204};
    return rules;
}

Rules draw_bystander_rules(Dice& dice) {
    Rules rules;
    const auto limit = [&] { return Limit{dice.of(algorithms), dice.from_to(2, 5), 5s}; };
    rules["POST /channels/{c}/typing"] = {.limit = limit()};
    rules["PUT /channels/{c}/pins/{m}"] = {.limit = limit()};
    rules["GET /users/@me"] = {};
    return rules;
}

/// What no header shows, and what others spend.
void hide_limits(Rules& rules, Dice& dice) {
    const auto fixed = [](std::int64_t limit, Duration period) {
        return Limit{Algorithm::fixed, limit, period};
    };
    rules["PATCH /channels/{c}"].second = {{.limit = fixed(2, 600s), .field = "name"},
                                           {.limit = fixed(2, 600s), .field = "topic"}};
    Rule& history = rules["GET /channels/{c}/messages"];
    history.second = {{.limit = *history.limit, .hash = "tighter"}};
    history.limit = Limit{Algorithm::fixed, 1000, 600s};
    rules["POST /channels/{c}/threads"].second = {{.limit = fixed(3, 150s),
                                                   .shared = true,
                                                   .overstated = 1s * dice.from_to(0, 70),
                                                   .others_every = 1s * dice.from_to(20, 90)}};
    rules["POST /guilds/{g}/emojis"].second = {{.limit = fixed(4, 120s),
                                                .shared = true,
                                                .code = 20028,
                                                .others_every = 1s * dice.from_to(20, 90)}};
    Rule& bans = rules["GET /guilds/{g}/bans"];
    bans.second = {
        {.limit = fixed(5, 60s), .shared = true, .others_every = 1s * dice.from_to(9, 40)}};
    if (dice.one_in(2)) bans.lie = Lie{.remaining = 0};
    const SecondLimit crowd{.limit = fixed(6, 20s),
                            .name = "webhooks",
                            .per = CountedPer::channel,
                            .shared = dice.one_in(2)};
    for (const auto* name :
         {"POST /webhooks/{w}/{t}", "PATCH /webhooks/{a}/{t}/messages/@original"}) {
        rules[name].second = {crowd};
        for (std::uint64_t i = 0; i < 4; ++i) {
            rules[name].channels[std::to_string(100 + i)] = 1;
            rules[name].channels[interaction_token(i)] = 2;
        }
    }
    if (!dice.one_in(2)) return;
    for (const std::string& name : reaction_rules) {
        rules[name].second = {{.limit = *rules[name].limit, .name = "reactions"}};
        rules[name].limit = Limit{Algorithm::fixed, 200, 270s};
    }
}

Refusal draw_refusal(Dice& dice) {
    constexpr std::array kinds{RefusalKind::user, RefusalKind::sublimit, RefusalKind::shared,
                               RefusalKind::headerless};
    Refusal refusal{.kind = dice.of(kinds), .wait = 1ms * dice.from_to(1, 20'000)};
    if (refusal.kind == RefusalKind::user)
        refusal.bucket = {.limit = 30, .reset_after = *refusal.wait, .hash = "unheard-of"};
    if (dice.one_in(5)) refusal.header_wait = 1s;
    return refusal;
}

Fault draw_fault(Dice& dice) {
    Fault fault{.executes = dice.one_in(2),
                .skip = dice.below(6),
                .every = 1 + dice.below(3),
                .times = 1 + dice.below(3)};
    switch (dice.below(5)) {
    case 0:
        fault.executes = false; // Discord docs, "HTTP": such a request did not run
        fault.status = dice.of(std::array{502, 503});
        break;
    case 1:
        fault.status = dice.of(std::array{500, 504});
        break;
    case 2:
        fault.kind = FaultKind::cut;
        break;
    case 3:
        fault.kind = FaultKind::silence;
        break;
    default:
        fault.kind = FaultKind::refusal;
        fault.executes = false;
        fault.refusal = draw_refusal(dice);
    }
    return fault;
}

/// Of the token, or of the address.
Fault draw_block(Dice& dice) {
    constexpr std::array kinds{RefusalKind::global, RefusalKind::cloudflare_html,
                               RefusalKind::cloudflare_text, RefusalKind::cloudflare_block};
    Fault fault{.kind = FaultKind::refusal, .skip = dice.below(4), .times = 1 + dice.below(2)};
    fault.refusal = {.kind = dice.of(kinds), .wait = 1ms * dice.from_to(1, 30'000)};
    if (dice.one_in(4) && from_cloudflare(fault.refusal.kind)) fault.refusal.wait.reset();
    return fault;
}

/// From some moment on a route has another hash, and with it another counter, which it may share
/// with others that changed as well.
void change_hash(Storm& storm, const std::string& name, Rule rule, Dice& dice) {
    const std::int64_t limit = dice.from_to(1, 8);
    const Algorithm algorithm = dice.of(algorithms);
    rule.hash = "changed" + std::to_string(limit) + std::to_string(static_cast<int>(algorithm));
    if (rule.limit) rule.limit = Limit{algorithm, limit, 5s};
    rule.faults.clear();
    const Duration when = 1ms * dice.from_to(2000, 30'000);
    storm.discord.at(when, [name, rule](FakeDiscord& later) {
        later.rule(name, rule);
        if (name == reaction_rules[0]) later.rule(reaction_rules[1], rule);
    });
}

/// A message that is gone is answered in the name of young ones (discord-api-docs#8330), and some
/// successes show the tighter limit instead of their own.
void change_names(Rules& rules, Dice& dice) {
    rules["DELETE /channels/{c}/messages/{m}"].errors = {{.code = 10008, .share = 0.3, .age = 0}};
    for (SecondLimit& tighter : rules["GET /channels/{c}/messages"].second)
        if (dice.one_in(2)) tighter.shown_every = 2 + dice.below(3);
}

/// What strikes the whole bot.
void draw_blocks(Storm& storm, Rules& rules, Dice& dice) {
    for (auto& [name, rule] : rules) {
        if (dice.one_in(6)) rule.faults.push_back(draw_block(dice));
    }
    const Duration from = 1ms * dice.from_to(2000, 20'000);
    if (dice.one_in(3))
        storm.discord.at(from, [end = from + 1s * dice.from_to(1, 60)](FakeDiscord& later) {
            later.ban("a", end);
        });
    if (dice.one_in(3)) {
        const int status = dice.of(std::array{500, 502, 503, 504, 520, 524, 530});
        const Duration until = from + 1s * dice.from_to(1, 40);
        storm.discord.outage(
            {.from = from, .until = until, .status = status, .interactions = dice.one_in(2)});
    }
    if (!dice.one_in(2)) return;
    storm.honest_global = false;
    const Limit lowered{dice.of(algorithms), dice.from_to(1, 10), 1s};
    storm.discord.at(from, [lowered](FakeDiscord& later) { later.global(lowered); });
}

void draw_weather(Storm& storm, Rules& rules, bool blocks, Dice& dice) {
    if (!dice.one_in(3)) hide_limits(rules, dice);
    if (!dice.one_in(3)) change_names(rules, dice);
    for (std::uint64_t i = 0; i < 4; ++i)
        if (dice.one_in(4))
            storm.discord.expire_token(interaction_token(i), 1s * dice.from_to(2, 30));
    if (blocks) draw_blocks(storm, rules, dice);
    for (auto& [name, rule] : rules) {
        if (dice.one_in(3)) rule.faults.push_back(draw_fault(dice));
        if (dice.one_in(3)) rule.faults.push_back(draw_fault(dice));
        if (dice.one_in(4) && name != reaction_rules[1]) change_hash(storm, name, rule, dice);
    }
}

// --- Runs ---------------------------------------------------------------------------------------

StormPath draw_path(std::uint64_t seed, Dice& dice) {
    const Duration least = 1ms * dice.from_to(5, 60);
    const Duration jitter = dice.one_in(2) ? 0ms : 1ms * dice.from_to(0, 60);
    return {least, least + jitter, dice.one_in(2), seed};
}

FakeOptions draw_server(std::uint64_t seed, Dice& dice) {
    FakeOptions server{.nodes = dice.one_in(2) ? 3U : 1U,
                       .node_skew = 1ms * dice.from_to(0, 20),
                       .seed = seed,
                       .log_capacity = 1};
    server.global->algorithm = dice.of(algorithms);
    server.invalid->answer = dice.of(std::array{
        RefusalKind::cloudflare_html, RefusalKind::cloudflare_text, RefusalKind::cloudflare_block});
    server.invalid->tells_wait = !dice.one_in(3);
    return server;
}

Options draw_options(Dice& dice) {
    Options options;
    if (dice.one_in(4)) options.max_wait = 1s * dice.from_to(30, 600);
    return options;
}

struct StormOutcome {
    std::vector<std::string> complaints;
    std::map<std::uint64_t, Duration> bystanders;
    std::uint64_t splits = 0;
};

/// Others who come back just when a wait ends would keep a request out for ever.
void clear_up(Storm& storm, Rules rules) {
    for (auto& [name, rule] : rules) {
        rule.faults.clear();
        for (SecondLimit& second : rule.second)
            second.others_every = 0s;
    }
    storm.discord.at(10min, [rules = std::move(rules)](FakeDiscord& later) {
        for (const auto& [name, rule] : rules)
            later.rule(name, rule);
    });
}

/// The requests and the server are the same in every weather.
StormOutcome run_storm(std::uint64_t seed, bool calm) {
    Dice bot(4 * seed);
    Dice server(4 * seed + 1);
    Dice weather(4 * seed + 2);
    const Options options = draw_options(bot);
    const FakeOptions served = draw_server(seed, server);
    Storm storm(options, served, draw_path(seed, server));
    Rules rules = draw_rules(server);
    if (!calm) draw_weather(storm, rules, seed % 2 != 0, weather);
    for (const auto& [name, rule] : draw_bystander_rules(server))
        storm.discord.rule(name, rule);
    for (const auto& [name, rule] : rules)
        storm.discord.rule(name, rule);
    clear_up(storm, std::move(rules));
    draw_storm_calls(storm, bot);
    draw_bystanders(storm, bot);
    storm.run();
    return {storm.complaints(), storm.bystanders(), storm.limiter.stats().counters.split};
}

} // namespace

TEST_CASE("in any storm nothing is refused that need not be, runs twice, overtakes or never ends",
          "[simulation]") {
    for (std::uint64_t seed = 1; seed <= 2000 / share; ++seed) {
        CAPTURE(seed);
        const StormOutcome outcome = run_storm(seed, false);
        CHECK(outcome.complaints == std::vector<std::string>());
        CHECK(outcome.splits == 0);
    }
}

TEST_CASE("a storm on other routes costs a route at most a fiftieth of its throughput",
          "[simulation]") {
    // While a first request to a route is out, it may turn out to draw on any counter beside it.
    constexpr Duration longest_probe = 2s;
    Duration in_storms{0};
    Duration in_calm{0};
    for (std::uint64_t seed = 2; seed <= 2000 / share; seed += 2) {
        CAPTURE(seed);
        const StormOutcome stormy = run_storm(seed, false);
        const StormOutcome calm = run_storm(seed, true);
        for (const auto& [lane, last] : calm.bystanders) {
            const Duration in_storm = stormy.bystanders.at(lane);
            CAPTURE(lane, in_storm.count(), last.count());
            CHECK(in_storm <= last + longest_probe);
            in_storms += in_storm;
            in_calm += last;
        }
    }
    CAPTURE(in_storms.count(), in_calm.count());
    CHECK(in_storms.count() * 50 <= in_calm.count() * 51);
}
