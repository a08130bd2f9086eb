// SPDX-License-Identifier: MIT
//
// Writes the fake Discord's answers: numbers, dates and the header lists of each kind.
//
// Invariant: a time is rounded up to the next written unit, so a client that waits until the stated
// time is never early.
//
// Sources: Discord docs, "Rate Limits" for the X-RateLimit headers and the body of a 429; RFC 9110
// section 5.6.7 for Date. `Via: 1.1 google` was observed 2023-09 in discord-api-docs#6407 on every
// answer that had reached Discord, and is missing from Cloudflare's answers.
#ifndef SLUICE_TESTING_FAKE_HEADERS_HPP
#define SLUICE_TESTING_FAKE_HEADERS_HPP

#include <sluice/testing/fake_lie.hpp>
#include <sluice/testing/fake_limit.hpp>
#include <sluice/testing/fake_outage.hpp>
#include <sluice/testing/fake_refusal.hpp>
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
    Duration think_time{}; ///< between the arrival and the sending of the answer
    bool cut = false;      ///< the connection is closed without an answer
    bool silent = false;   ///< no answer is sent, and the connection stays open
};

namespace detail {

[[nodiscard]] inline std::string seconds_text(Duration span) {
    return std::to_string(std::chrono::ceil<std::chrono::seconds>(span).count());
}

[[nodiscard]] inline std::string milliseconds_text(Duration span) {
    return std::to_string(std::chrono::ceil<std::chrono::milliseconds>(span).count());
}

/// Returns seconds with exactly three decimals.
[[nodiscard]] inline std::string decimal_text(Duration span) {
    std::string text = milliseconds_text(span);
    if (text.size() < 4) text.insert(0, 4 - text.size(), '0');
    text.insert(text.size() - 3, 1, '.');
    return text;
}

/// Returns the IMF-fixdate. `wall` is the time since 1970.
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

/// Error 1015, "You are being rate limited". Observed 2020-06, discord-api-docs#1771.
inline constexpr std::string_view cloudflare_page =
    "<!DOCTYPE html>\n<html lang=\"en-US\"><head><title>Access denied | discord.com used "
    "Cloudflare "
    "to restrict access</title></head>\n<body><h1>Error 1015</h1><h2>You are being rate limited"
    "</h2>\n<p>The owner of this website (discord.com) has banned you temporarily from accessing "
    "this website.</p></body></html>\n";

[[nodiscard]] constexpr std::string_view content_type(RefusalKind kind) noexcept {
    if (kind == RefusalKind::cloudflare_html) return "text/html; charset=UTF-8";
    if (kind == RefusalKind::cloudflare_text) return "text/plain; charset=UTF-8";
    return "application/json";
}

[[nodiscard]] constexpr std::string_view usual_message(RefusalKind kind) noexcept {
    if (kind == RefusalKind::shared) return "The resource is being rate limited.";
    if (kind == RefusalKind::cloudflare_block)
        return "You are being blocked from accessing our API temporarily due to exceeding our rate "
               "limits frequently.";
    return "You are being rate limited.";
}

/// Writes headers. Caches the Date between calls: simulations often request the same one.
class HeaderWriter {
public:
    explicit HeaderWriter(NumberFormat numbers) : numbers_(numbers) {}

    /// Writes the headers of every answer of Discord.
    void common(FakeResponse& response, Duration wall) {
        response.headers.reserve(12);
        add(response, "Date", date(wall));
        const bool page = response.body.starts_with('<');
        if (!response.body.empty())
            add(response, "Content-Type", page ? "text/html; charset=UTF-8" : "application/json");
        add(response, "Via", "1.1 google");
    }

    /// Writes the headers of Cloudflare's answers that never reached Discord: no Via.
    void edge(FakeResponse& response, Duration wall, std::string_view type) {
        add(response, "Date", date(wall));
        add(response, "Content-Type", std::string{type});
        add(response, "Server", "cloudflare");
    }

    /// Writes the five headers that describe a bucket.
    void bucket(FakeResponse& response, const Description& told, std::string_view hash) const {
        const bool decimals = numbers_ == NumberFormat::decimals;
        const auto text = [&](Duration span) {
            return decimals ? decimal_text(span) : seconds_text(span);
        };
        const Duration reset = std::max(Duration::zero(), told.standing.reset);
        add(response, "X-RateLimit-Limit", std::to_string(told.limit));
        add(response, "X-RateLimit-Remaining", std::to_string(told.standing.remaining));
        add(response, "X-RateLimit-Reset", text(reset));
        add(response, "X-RateLimit-Reset-After", text(told.standing.reset_after));
        add(response, "X-RateLimit-Bucket", std::string{hash});
    }

    /// Makes the answer a 429 of Discord, without the bucket's and the common headers.
    void refusal(FakeResponse& response, const Refusal& refusal) const {
        response.status = 429;
        response.body = R"({"message": ")";
        response.body.append(message(refusal)).append("\"");
        if (!refusal.wait_text.empty())
            response.body.append(R"(, "retry_after": )").append(refusal.wait_text);
        else if (refusal.wait)
            response.body.append(R"(, "retry_after": )").append(body_text(*refusal.wait));
        const bool global = refusal.kind == RefusalKind::global;
        response.body.append(R"(, "global": )").append(global ? "true" : "false");
        if (refusal.code) response.body.append(R"(, "code": )" + std::to_string(*refusal.code));
        response.body.append("}");
        const auto told = refusal.header_wait ? refusal.header_wait : refusal.wait;
        const bool v6 = numbers_ == NumberFormat::milliseconds;
        if (told) add(response, "Retry-After", v6 ? milliseconds_text(*told) : seconds_text(*told));
        if (refusal.kind == RefusalKind::headerless) return;
        if (global) add(response, "X-RateLimit-Global", "true");
        add(response, "X-RateLimit-Scope", scope_text(refusal.kind));
    }

    /// Writes a complete 429 of Cloudflare.
    void cloudflare(FakeResponse& response, const Refusal& refusal, Duration wall) {
        response.status = 429;
        response.body = cloudflare_page;
        if (refusal.kind == RefusalKind::cloudflare_text) response.body = "error code: 1015";
        if (refusal.kind == RefusalKind::cloudflare_block)
            response.body = R"({"code": )" + std::to_string(refusal.code.value_or(0)) +
                            R"(, "message": ")" + std::string{message(refusal)} + "\"}";
        edge(response, wall, content_type(refusal.kind));
        const bool static_page = refusal.kind == RefusalKind::cloudflare_block;
        const auto told = refusal.header_wait || static_page ? refusal.header_wait : refusal.wait;
        // Cloudflare's Retry-After was in seconds even when Discord's was in milliseconds.
        if (told) add(response, "Retry-After", seconds_text(*told));
    }

    /// Writes a complete answer during an outage. The load balancer's own pages have no Via either.
    void outage(FakeResponse& response, const Outage& outage, Duration wall) {
        response.status = outage.status;
        response.think_time = outage.think_time;
        const std::string code = std::to_string(outage.status);
        if (outage.status >= 520) {
            response.body = "error code: " + code;
            return edge(response, wall, "text/plain; charset=UTF-8");
        }
        response.body = page(code);
        add(response, "Date", date(wall));
        add(response, "Content-Type", "text/html; charset=UTF-8");
    }

    [[nodiscard]] static std::string page(const std::string& code) {
        return "<html><head><title>" + code + "</title></head><body>" + code + "</body></html>";
    }

private:
    static void add(FakeResponse& response, const char* name, std::string value) {
        response.headers.emplace_back(name, std::move(value));
    }

    [[nodiscard]] static std::string_view message(const Refusal& refusal) noexcept {
        return refusal.message.empty() ? usual_message(refusal.kind)
                                       : std::string_view{refusal.message};
    }

    [[nodiscard]] static const char* scope_text(RefusalKind kind) noexcept {
        if (kind == RefusalKind::global) return "global";
        return kind == RefusalKind::shared ? "shared" : "user";
    }

    [[nodiscard]] const std::string& date(Duration wall) {
        const auto second = std::chrono::floor<std::chrono::seconds>(wall);
        if (date_.empty() || second != dated_) {
            dated_ = second;
            date_ = http_date(second);
        }
        return date_;
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

/// Applies the lie's replacements of headers that no other member of `Lie` covers.
inline void replace_headers(const Lie& lie, FakeResponse& response) {
    for (const auto& [name, value] : lie.headers) {
        std::erase_if(response.headers, [&](const auto& header) { return header.first == name; });
        if (!value.empty()) response.headers.emplace_back(name, value);
    }
}

/// Discord docs, "HTTP": 502 comes from the load balancer, which sends no JSON.
[[nodiscard]] inline std::string server_error_body(int status) {
    const std::string code = std::to_string(status);
    if (status == 500) return R"({"message": "500: Internal Server Error", "code": 0})";
    return HeaderWriter::page(code);
}

} // namespace detail

/// Returns a complete answer, for scripts. `wall` is the server's wall clock, since 1970.
[[nodiscard]] inline FakeResponse refused(const Refusal& refusal,
                                          Duration wall = FakeOptions{}.epoch,
                                          NumberFormat numbers = NumberFormat::decimals) {
    detail::HeaderWriter writer{numbers};
    FakeResponse response;
    if (from_cloudflare(refusal.kind)) {
        writer.cloudflare(response, refusal, wall);
        return response;
    }
    writer.refusal(response, refusal);
    if (describes_bucket(refusal.kind)) {
        const auto shown = refusal.bucket.value_or(detail::typical_bucket(refusal));
        const Standing standing{shown.remaining, wall + shown.reset_after, shown.reset_after};
        writer.bucket(response, {shown.limit, standing}, shown.hash);
    }
    writer.common(response, wall);
    return response;
}

} // namespace sluice::testing

#endif
