// SPDX-License-Identifier: MIT
//
// Requests to a fake Discord and its answers in one line of text, for tests that compare whole
// conversations. Nothing here decides anything: a wrong line is the fake's.
#ifndef SLUICE_TESTS_SUPPORT_FAKE_REQUESTS_HPP
#define SLUICE_TESTS_SUPPORT_FAKE_REQUESTS_HPP

#include <sluice/testing/fake_discord.hpp>

#include <chrono>
#include <optional>
#include <string>
#include <string_view>

namespace sluice::testing {

inline constexpr std::string_view create_message = "POST /channels/{channel.id}/messages";
inline constexpr std::string_view edit_message =
    "PATCH /channels/{channel.id}/messages/{message.id}";

inline FakeRequest post(std::string_view target = "/channels/1/messages",
                        std::string_view token = "Bot a") {
    return {.method = "POST", .target = target, .token = token, .address = "10.0.0.1"};
}

inline FakeRequest patch(std::string_view target = "/channels/1/messages/2") {
    return {.method = "PATCH", .target = target, .token = "Bot a", .address = "10.0.0.1"};
}

/// The value of a header, or "-".
inline std::string header(const FakeResponse& response, std::string_view name) {
    for (const auto& [key, value] : response.headers)
        if (key == name) return value;
    return "-";
}

/// status remaining reset reset-after retry-after
inline std::string line(const FakeResponse& response) {
    return std::to_string(response.status) + " " + header(response, "X-RateLimit-Remaining") + " " +
           header(response, "X-RateLimit-Reset") + " " +
           header(response, "X-RateLimit-Reset-After") + " " + header(response, "Retry-After");
}

inline std::string refusal(std::string_view retry_after, std::string_view global = "false") {
    std::string body = R"({"message": "You are being rate limited.", "retry_after": )";
    return body.append(retry_after).append(", \"global\": ").append(global).append("}");
}

inline FakeOptions without_global() {
    return {.global = std::nullopt, .epoch = std::chrono::seconds{0}};
}

inline int accepted_of(FakeDiscord& discord, const FakeRequest& request, int tries, Duration now) {
    int accepted = 0;
    for (int i = 0; i < tries; ++i)
        accepted += discord.receive(request, now).status == 200 ? 1 : 0;
    return accepted;
}

} // namespace sluice::testing

#endif
