// SPDX-License-Identifier: MIT
//
// The six kinds of 429 and what is none, told apart by the fields of one answer. The examples are
// those of the documentation and of the reports that core/answer.hpp names.
#include <sluice/core/answer.hpp>

#include "support/catch.hpp"

#include <chrono>
#include <cstdint>
#include <optional>

namespace {

using namespace std::chrono_literals;
using sluice::core::Answer;
using sluice::core::AnswerKind;
using sluice::core::classify;
using sluice::core::Duration;

/// A 429 with the headers of a bucket.
Answer refused(std::int64_t remaining, Duration reset_after, std::optional<Duration> retry_after) {
    Answer answer;
    answer.status = 429;
    answer.retry_after = retry_after;
    answer.hash = "abc";
    answer.seen.limit = 5;
    answer.seen.remaining = remaining;
    answer.seen.reset_after = reset_after;
    return answer;
}

Answer with_status(int status) {
    Answer answer;
    answer.status = status;
    return answer;
}

} // namespace

TEST_CASE("whatever is no 429 and below 500 was decided and counted") {
    for (const int status : {200, 204, 304, 400, 401, 403, 404, 405})
        CHECK(classify(with_status(status)) == AnswerKind::success);
}

TEST_CASE("of a 5xx nobody knows whether it was counted, whatever else it says") {
    for (const int status : {500, 502, 503, 504, 520, 529}) {
        Answer answer = refused(0, 5s, 5s);
        answer.status = status;
        CHECK(classify(answer) == AnswerKind::server_error);
    }
}

TEST_CASE("a 429 of a bucket that is spent is one of the user's limit", "[R12]") {
    CHECK(classify(refused(0, 5s, 5s)) == AnswerKind::user_limit);
    CHECK(classify(refused(0, 500ms, 1s)) == AnswerKind::user_limit); // rounded up to seconds
    CHECK(classify(refused(0, 4500ms, 500ms)) ==
          AnswerKind::user_limit); // GCRA: one is back sooner
    CHECK(classify(refused(0, 5s, std::nullopt)) == AnswerKind::user_limit);
}

TEST_CASE("a 429 while requests remain is one of a limit that no header shows", "[R12]") {
    CHECK(classify(refused(1, 5s, 5s)) == AnswerKind::sublimit);
    CHECK(classify(refused(4, 15s, 582'019ms)) == AnswerKind::sublimit); // discord-api-docs#1900
}

TEST_CASE("a 429 whose wait exceeds Reset-After by more than a second is a sublimit's", "[R12]") {
    CHECK(classify(refused(0, 5s, 6s)) == AnswerKind::user_limit);
    CHECK(classify(refused(0, 5s, 6s + 1ns)) == AnswerKind::sublimit);
}

TEST_CASE("scope shared outweighs what the headers say of the caller's own bucket", "[R13]") {
    // Discord docs, "Rate Limits": remaining 9, reset-after 64.57, retry after 1337.
    Answer answer = refused(9, 64'570ms, 1336'570ms);
    answer.shared = true;
    CHECK(classify(answer) == AnswerKind::shared_limit);
    answer.seen.remaining = 0;
    CHECK(classify(answer) == AnswerKind::shared_limit);
}

TEST_CASE("a global 429 is global with and without the headers of a bucket", "[R14]") {
    Answer bare = with_status(429);
    bare.global = true;
    CHECK(classify(bare) == AnswerKind::global_limit);
    Answer dressed = refused(4, 1s, 1s);
    dressed.global = dressed.shared = true;
    CHECK(classify(dressed) == AnswerKind::global_limit);
}

TEST_CASE("a 429 that never reached Discord is Cloudflare's, whatever its body claims", "[R17]") {
    Answer answer = with_status(429);
    answer.from_discord = false;
    CHECK(classify(answer) == AnswerKind::cloudflare);
    answer.global = answer.shared = true;
    CHECK(classify(answer) == AnswerKind::cloudflare);
}

TEST_CASE("a 429 of Discord that names no bucket is headerless, with and without a wait") {
    Answer answer = with_status(429);
    CHECK(classify(answer) == AnswerKind::headerless);
    answer.retry_after = 5s; // discord-api-docs#5161
    CHECK(classify(answer) == AnswerKind::headerless);
}

TEST_CASE("a hash alone is enough to say which bucket is spent") {
    Answer answer = with_status(429);
    answer.hash = "abc";
    CHECK(classify(answer) == AnswerKind::user_limit);
}
