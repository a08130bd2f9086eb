// SPDX-License-Identifier: MIT
//
// What every benchmark of the limiter does: requests of one route on many channels, each channel a
// bucket of its own, answered as Discord answers, with so much allowance left that nobody waits.
//
// The limits are large, not absent: windows, places and the global limit are all counted.
#ifndef SLUICE_TESTS_BENCH_SUPPORT_WORKLOAD_HPP
#define SLUICE_TESTS_BENCH_SUPPORT_WORKLOAD_HPP

#include <sluice/adapters/beast.hpp>
#include <sluice/options.hpp>
#include <sluice/response.hpp>
#include <sluice/route.hpp>

#include <boost/asio/any_io_executor.hpp>
#include <boost/beast/http/fields.hpp>
#include <boost/beast/http/message.hpp>
#include <boost/beast/http/string_body.hpp>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <numeric>
#include <thread>

namespace bench {

namespace http = boost::beast::http;
using Reply = http::response<http::string_body>;

inline constexpr auto create_message = sluice::route<"POST /channels/{channel.id}/messages">;

/// Snowflakes are milliseconds shifted by 22 bits: ids of a bot's channels are far apart.
[[nodiscard]] constexpr std::uint64_t channel(std::uint64_t index) noexcept {
    return (std::uint64_t{1} << 60) + index * 4'194'304'123;
}

/// Visits all of `count` channels, over and over, each far from the one before.
class Wander {
public:
    explicit Wander(std::uint64_t count) noexcept : count_(count), step_(count * 618 / 1000 + 1) {
        while (std::gcd(step_, count_) != 1)
            ++step_;
    }
    [[nodiscard]] std::uint64_t next() noexcept {
        at_ += step_;
        while (at_ >= count_)
            at_ -= count_;
        return channel(at_);
    }

private:
    std::uint64_t count_;
    std::uint64_t step_;
    std::uint64_t at_ = 0;
};

/// A success with the headers that Discord sends, in its order. `remaining` and `limit` leave a
/// million requests; the reset is whole seconds ahead, so that answers of one run agree about it.
[[nodiscard]] inline Reply full_reply() {
    Reply reply(http::status::ok, 11);
    reply.set(http::field::date, "Sun, 22 Nov 2026 12:00:00 GMT");
    reply.set(http::field::content_type, "application/json");
    reply.set(http::field::content_length, "742");
    reply.set(http::field::connection, "keep-alive");
    reply.set(http::field::set_cookie, "__dcfduid=6f5b0b3ac7a111f0a8d1; Path=/; Secure; HttpOnly");
    reply.set(http::field::strict_transport_security, "max-age=31536000; includeSubDomains");
    reply.set("x-ratelimit-bucket", "80c17d2f203122d936070c88c8d10f33");
    reply.set("x-ratelimit-limit", "1000000");
    reply.set("x-ratelimit-remaining", "900000");
    reply.set("x-ratelimit-reset", "1795352400.000");
    reply.set("x-ratelimit-reset-after", "3600.000");
    reply.set(http::field::vary, "Accept-Encoding");
    reply.set(http::field::via, "1.1 google");
    reply.set("alt-svc", "h3=\":443\"; ma=86400");
    reply.set("cf-cache-status", "DYNAMIC");
    reply.set("x-content-type-options", "nosniff");
    reply.set("report-to", "{\"endpoints\":[{\"url\":\"https://a.nel.cloudflare.com/report\"}]}");
    reply.set("nel", "{\"success_fraction\":0,\"report_to\":\"cf-nel\",\"max_age\":604800}");
    reply.set(http::field::server, "cloudflare");
    reply.set("cf-ray", "9a2b3c4d5e6f7a8b-FRA");
    reply.body() = "{}";
    return reply;
}

/// An answer whose window ends that far ahead.
[[nodiscard]] inline sluice::Response answer_of(std::int64_t limit, std::int64_t remaining,
                                                std::chrono::nanoseconds reset_after) {
    sluice::Response answer = sluice::response_from(full_reply());
    answer.limit = limit;
    answer.remaining = remaining;
    answer.reset.reset(); // the end of the window is what reset_after says, and nothing else
    answer.reset_after = reset_after;
    answer.reset_after_unit = std::chrono::milliseconds(1);
    return answer;
}

/// Limits that bind nobody. The period of the global one is short so that the slots on their way
/// back stay few, as they are for a bot that sends 50 per second.
[[nodiscard]] inline sluice::Options open_options(std::size_t buckets) {
    sluice::Options options;
    options.global = {1'000'000'000, std::chrono::microseconds(10)};
    options.max_idle_buckets = buckets * 2 + 100;
    options.expected_buckets = buckets;
    return options;
}

/// Before the first thread of a process the C++ library leaves out atomic operations; no bot with
/// a resolver runs like that.
inline void leave_single_threaded_mode() {
    std::thread([] {}).join();
}

/// Time that passes evenly per look at the clock, so that instruction counts repeat exactly, and
/// that leaps when told to. Copies share one time.
class StepClock {
public:
    using duration = std::chrono::nanoseconds;
    using rep = duration::rep;
    using period = duration::period;
    using time_point = std::chrono::time_point<StepClock>;
    static constexpr bool is_steady = true;

    [[nodiscard]] time_point now() const noexcept { return *now_ += std::chrono::nanoseconds(100); }
    void leap(duration time) const noexcept { *now_ += time; }

    /// Nobody waits, so nothing rings.
    class Alarm {
    public:
        Alarm(const StepClock&, const boost::asio::any_io_executor&) noexcept {}
        template <class Ring>
        void set(time_point, Ring&&) noexcept {}
        void clear() noexcept {}
        void shut_down() noexcept {}
    };

private:
    std::shared_ptr<time_point> now_ =
        std::make_shared<time_point>(std::chrono::duration_cast<duration>(std::chrono::hours(1)));
};

} // namespace bench

#endif
