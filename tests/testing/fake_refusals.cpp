// SPDX-License-Identifier: MIT
//
// The kinds of 429, each raised by a script and by a rule, and compared header by header with what
// was seen of them.
#include <sluice/testing/fake_refusal.hpp>

#include "support/catch.hpp"
#include "support/fake_requests.hpp"

#include <chrono>
#include <optional>
#include <string>

namespace {

using namespace std::chrono_literals;
using namespace sluice::testing;

/// The answer to one request, refused so by a script or by a fault.
FakeResponse raised(bool by_script, const Refusal& refusal) {
    FakeDiscord discord{without_global()};
    if (by_script) {
        discord.script([refusal](const FakeRequest&, Duration now) {
            return std::optional{refused(refusal, now)};
        });
    } else {
        discord.rule(create_message,
                     {.limit = Limit{Algorithm::fixed, 5, 5s},
                      .faults = {{.kind = FaultKind::refusal, .refusal = refusal}}});
    }
    auto answer = discord.receive(post(), 0s);
    CHECK(answer.status == 429);
    return answer;
}

/// Via, scope, global, whether a bucket is described, Retry-After and the type of the body.
std::string signature(const FakeResponse& answer) {
    std::string text = header(answer, "Via") + "|" + header(answer, "X-RateLimit-Scope") + "|" +
                       header(answer, "X-RateLimit-Global") + "|";
    text += header(answer, "X-RateLimit-Bucket") == "-" ? "-" : "bucket";
    return text + "|" + header(answer, "Retry-After") + "|" + header(answer, "Content-Type");
}

} // namespace

TEST_CASE("a user 429 raised on purpose has all six headers and remaining 0", "[F5]") {
    const bool by_script = GENERATE(true, false);
    const auto answer = raised(by_script, {.kind = RefusalKind::user, .wait = 1500ms});
    CHECK(signature(answer) == "1.1 google|user|-|bucket|2|application/json");
    CHECK(line(answer) == "429 0 1.500 1.500 2");
    CHECK(header(answer, "X-RateLimit-Limit") == "5");
    CHECK(answer.body == refusal("1.500"));
}

TEST_CASE("a sublimit 429 describes the ordinary bucket and waits far longer", "[F5]") {
    const bool by_script = GENERATE(true, false);
    const ShownBucket shown{.limit = 5, .remaining = 4, .reset_after = 15s, .hash = "ordinary"};
    const auto answer =
        raised(by_script, {.kind = RefusalKind::sublimit, .wait = 582'019ms, .bucket = shown});
    CHECK(signature(answer) == "1.1 google|user|-|bucket|583|application/json");
    CHECK(line(answer) == "429 4 15.000 15.000 583");
    CHECK(answer.body == refusal("582.019"));
    CHECK(line(refused({.kind = RefusalKind::sublimit}, 0s)) == "429 4 15.000 15.000 1");
}

TEST_CASE("a shared 429 speaks of the resource, with a bucket unrelated to the wait", "[F5]") {
    const bool by_script = GENERATE(true, false);
    const ShownBucket shown{.limit = 10, .remaining = 9, .reset_after = 64'570ms};
    const auto answer =
        raised(by_script,
               {.kind = RefusalKind::shared, .wait = 1'336'570ms, .code = 20028, .bucket = shown});
    CHECK(signature(answer) == "1.1 google|shared|-|bucket|1337|application/json");
    CHECK(line(answer) == "429 9 64.570 64.570 1337");
    CHECK(answer.body == R"({"message": "The resource is being rate limited.", )"
                         R"("retry_after": 1336.570, "global": false, "code": 20028})");
}

TEST_CASE("a refusal by a rule that names no bucket shows the route's own", "[F5]") {
    const auto answer = raised(false, {.kind = RefusalKind::shared, .wait = 9s});
    CHECK(line(answer) == "429 5 0.000 0.000 9");
    CHECK(header(answer, "X-RateLimit-Bucket") ==
          detail::hash_of_template(detail::route_of_template(create_message).id()));
}

TEST_CASE("a global 429 raised on purpose has no bucket headers", "[F5]") {
    const bool by_script = GENERATE(true, false);
    const auto answer = raised(by_script, {.kind = RefusalKind::global, .wait = 64'570ms});
    CHECK(signature(answer) == "1.1 google|global|true|-|65|application/json");
    CHECK(answer.body == refusal("64.570", "true"));
}

TEST_CASE("a headerless 429 has Discord's body alone, and possibly no wait at all", "[F5]") {
    const bool by_script = GENERATE(true, false);
    const auto told = raised(by_script, {.kind = RefusalKind::headerless, .wait = 5s});
    CHECK(signature(told) == "1.1 google|-|-|-|5|application/json");
    CHECK(told.body == refusal("5.000"));
    const auto mute = raised(by_script, {.kind = RefusalKind::headerless, .wait = std::nullopt});
    CHECK(signature(mute) == "1.1 google|-|-|-|-|application/json");
    CHECK(mute.body == R"({"message": "You are being rate limited.", "global": false})");
}

TEST_CASE("Cloudflare's 1015 is a page or a line of text, without Via", "[F5]") {
    const bool by_script = GENERATE(true, false);
    const auto page = raised(by_script, {.kind = RefusalKind::cloudflare_html, .wait = 1h});
    CHECK(signature(page) == "-|-|-|-|3600|text/html; charset=UTF-8");
    CHECK(header(page, "Server") == "cloudflare");
    CHECK(page.body.starts_with("<!DOCTYPE html>"));
    CHECK(page.body.find("1015") != std::string::npos);
    const auto text =
        raised(by_script, {.kind = RefusalKind::cloudflare_text, .wait = std::nullopt});
    CHECK(signature(text) == "-|-|-|-|-|text/plain; charset=UTF-8");
    CHECK(text.body == "error code: 1015");
}

TEST_CASE("Cloudflare's block page is JSON that tells no wait", "[F5]") {
    const bool by_script = GENERATE(true, false);
    const auto answer = raised(by_script, {.kind = RefusalKind::cloudflare_block, .wait = 1h});
    CHECK(signature(answer) == "-|-|-|-|-|application/json");
    CHECK(answer.body.starts_with(R"({"code": 0, "message": "You are being blocked)"));
    CHECK(answer.body.find("rate limits frequently") != std::string::npos);
    CHECK(answer.body.find("retry_after") == std::string::npos);
    CHECK(answer.body.find("global") == std::string::npos);
}

TEST_CASE("a refusal raised on purpose spends nothing and does not run", "[F5]") {
    FakeDiscord discord{without_global()};
    discord.rule(create_message, {.limit = Limit{Algorithm::fixed, 5, 5s},
                                  .faults = {{.kind = FaultKind::refusal, .skip = 1, .times = 2}}});
    CHECK(line(discord.receive(post(), 0s)) == "200 4 5.000 5.000 -");
    CHECK(discord.receive(post(), 0s).status == 429);
    CHECK(discord.receive(post(), 0s).status == 429);
    CHECK(discord.log().back().verdict == FakeVerdict::faulted);
    CHECK(discord.log().back().retry_after == 1s);
    CHECK_FALSE(discord.log().back().executed);
    CHECK(line(discord.receive(post(), 0s)) == "200 3 5.000 5.000 -");
}

TEST_CASE("a wait may differ between header and body of one answer", "[F5]") {
    const auto answer = refused({.wait = 1'163'097ms, .header_wait = 1s});
    CHECK(header(answer, "Retry-After") == "1");
    CHECK(answer.body == refusal("1163.097"));
}

TEST_CASE("Cloudflare counts in seconds even where Discord counts in milliseconds", "[F5]") {
    const Refusal of_discord{.kind = RefusalKind::global, .wait = 1500ms};
    const Refusal of_cloudflare{.kind = RefusalKind::cloudflare_text, .wait = 1500ms};
    const auto v6 = NumberFormat::milliseconds;
    CHECK(header(refused(of_discord, 0s, v6), "Retry-After") == "1500");
    CHECK(header(refused(of_cloudflare, 0s, v6), "Retry-After") == "2");
}

TEST_CASE("a refusal of any kind can tell a wait that never suffices", "[F5]") {
    const auto kind = GENERATE(RefusalKind::user, RefusalKind::shared, RefusalKind::global,
                               RefusalKind::headerless);
    const bool by_script = GENERATE(true, false);
    const auto answer = raised(by_script, {.kind = kind, .wait = 0s, .wait_text = "0.000000001"});
    CHECK(header(answer, "Retry-After") == "0");
    CHECK(answer.body.find("\"retry_after\": 0.000000001,") != std::string::npos);
}
