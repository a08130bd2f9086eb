// SPDX-License-Identifier: MIT
//
// How the fake Discord writes an answer: numbers, dates and the header lists of each kind.
//
// The one invariant: a moment is rounded up to the next unit that is written, so that a client that
// waits until the moment it was told is never early.
//
// Sources: Discord docs, "Rate Limits" for the X-RateLimit headers and the body of a 429; RFC 9110
// section 5.6.7 for Date; `Via: 1.1 google` was observed 2023-09 in discord-api-docs#6407 on every
// answer that had reached Discord, and is missing from those of Cloudflare.
#ifndef SLUICE_TESTING_FAKE_HEADERS_HPP
#define SLUICE_TESTING_FAKE_HEADERS_HPP

#include <sluice/testing/fake_limit.hpp>
#include <sluice/testing/fake_rules.hpp>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace sluice::testing {

struct FakeResponse {
    int status = 200;
    std::vector<std::pair<std::string, std::string>> headers{};
    std::string body{};
    Duration think_time{}; ///< between arrival and the moment the answer leaves
    bool cut = false;      ///< the connection is closed instead
};

namespace detail {

[[nodiscard]] inline std::string seconds_text(Duration span) {
    return std::to_string(std::chrono::ceil<std::chrono::seconds>(span).count());
}

[[nodiscard]] inline std::string milliseconds_text(Duration span) {
    return std::to_string(std::chrono::ceil<std::chrono::milliseconds>(span).count());
}

/// Seconds with exactly three decimals.
[[nodiscard]] inline std::string decimal_text(Duration span) {
    std::string text = milliseconds_text(span);
    if (text.size() < 4) text.insert(0, 4 - text.size(), '0');
    text.insert(text.size() - 3, 1, '.');
    return text;
}

/// IMF-fixdate. `wall` is the time since 1970.
[[nodiscard]] inline std::string http_date(std::chrono::seconds wall) {
    namespace chrono = std::chrono;
    constexpr std::string_view weekdays = "SunMonTueWedThuFriSat";
    constexpr std::string_view months = "JanFebMarAprMayJunJulAugSepOctNovDec";
    const chrono::sys_days day{chrono::floor<chrono::days>(wall)};
    const chrono::year_month_day date{day};
    const chrono::hh_mm_ss time{wall - day.time_since_epoch()};
    const auto two = [](auto number) {
        const auto value = static_cast<unsigned>(number);
        return std::string{static_cast<char>('0' + value / 10),
                           static_cast<char>('0' + value % 10)};
    };
    std::string text{weekdays.substr(chrono::weekday{day}.c_encoding() * 3, 3)};
    text.append(", ").append(two(static_cast<unsigned>(date.day()))).append(" ");
    text.append(months.substr((static_cast<unsigned>(date.month()) - 1) * 3, 3)).append(" ");
    text.append(std::to_string(static_cast<int>(date.year()))).append(" ");
    text.append(two(time.hours().count())).append(":").append(two(time.minutes().count()));
    return text.append(":").append(two(time.seconds().count())).append(" GMT");
}

/// Writes headers. The Date is kept from call to call: simulations ask for the same one often.
class HeaderWriter {
public:
    explicit HeaderWriter(NumberFormat numbers) : numbers_(numbers) {}

    /// What every answer of Discord has.
    void common(FakeResponse& response, Duration wall) {
        const auto second = std::chrono::floor<std::chrono::seconds>(wall);
        if (date_.empty() || second != dated_) {
            dated_ = second;
            date_ = http_date(second);
        }
        response.headers.reserve(12);
        add(response, "Date", date_);
        if (!response.body.empty()) add(response, "Content-Type", "application/json");
        add(response, "Via", "1.1 google");
    }

    /// The five that describe a bucket. `skew` is how far the clock of this node is ahead.
    void bucket(FakeResponse& response, const Limit& limit, const Standing& standing,
                std::string_view hash, Duration skew) const {
        const bool decimals = numbers_ == NumberFormat::decimals;
        const auto text = [&](Duration span) {
            return decimals ? decimal_text(span) : seconds_text(span);
        };
        add(response, "X-RateLimit-Limit", std::to_string(limit.limit));
        add(response, "X-RateLimit-Remaining", std::to_string(standing.remaining));
        add(response, "X-RateLimit-Reset", text(std::max(Duration::zero(), standing.reset + skew)));
        add(response, "X-RateLimit-Reset-After", text(standing.reset_after));
        add(response, "X-RateLimit-Bucket", std::string{hash});
    }

    /// Makes the answer a 429 that is over in `wait`.
    void refusal(FakeResponse& response, Duration wait, bool global) const {
        response.status = 429;
        response.body = R"({"message": "You are being rate limited.", "retry_after": )";
        response.body.append(body_text(wait)).append(R"(, "global": )");
        response.body.append(global ? "true}" : "false}");
        const bool v6 = numbers_ == NumberFormat::milliseconds;
        add(response, "Retry-After", v6 ? milliseconds_text(wait) : seconds_text(wait));
        if (global) add(response, "X-RateLimit-Global", "true");
        add(response, "X-RateLimit-Scope", global ? "global" : "user");
    }

private:
    static void add(FakeResponse& response, const char* name, std::string value) {
        response.headers.emplace_back(name, std::move(value));
    }

    [[nodiscard]] std::string body_text(Duration wait) const {
        if (numbers_ == NumberFormat::decimals) return decimal_text(wait);
        if (numbers_ == NumberFormat::integers) return seconds_text(wait);
        return milliseconds_text(wait);
    }

    NumberFormat numbers_;
    std::chrono::seconds dated_{};
    std::string date_;
};

} // namespace detail
} // namespace sluice::testing

#endif
