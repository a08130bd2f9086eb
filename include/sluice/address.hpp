// SPDX-License-Identifier: MIT
//
// The outgoing address that one or several limiters send from. Bans and Cloudflare's blocks apply
// to an address, not to a token, so limiters that send from one address share one of these:
//
//     auto address = std::make_shared<sluice::Address>();
//     sluice::BucketManager first{executor, {.address = address}};
//     sluice::BucketManager second{executor, {.address = address}};
//
// A limiter without one makes its own.
#ifndef SLUICE_ADDRESS_HPP
#define SLUICE_ADDRESS_HPP

#include <sluice/core/gate.hpp>
#include <sluice/core/invalid_requests.hpp>
#include <sluice/core/time.hpp>

#include <chrono>
#include <cstdint>

namespace sluice {

/// Discord docs, "Invalid Request Limit": 10,000 invalid requests in 10 minutes get the address
/// banned.
struct AddressOptions {
    std::int64_t slow_at = 5'000; ///< from this count on requests are spaced
    std::int64_t stop_at =
        9'000; ///< from this count on acquires end with errc::too_many_invalid_requests
    std::chrono::nanoseconds period = std::chrono::minutes(10); ///< over ten years: unlimited
    /// Count 429s of scope `shared`. Discord documents that they are not counted; a report of
    /// 2024-10 doubts it (discord-api-docs#7243).
    bool count_shared = false;
    /// Requests without `Authorization`, such as those to webhooks with a token in their path,
    /// count against the address (Discord docs, "Rate Limits"). 0: no limit.
    std::int64_t global_limit = 50;
    std::chrono::nanoseconds global_period = std::chrono::seconds(1);
};

/// May be used from any thread. All limiters that share an address must use the same clock.
class Address {
public:
    explicit Address(const AddressOptions& options = {})
        : gate_({options.slow_at, options.stop_at, core::in_range(options.period)},
                options.count_shared,
                {options.global_limit, core::in_range(options.global_period)}) {}
    Address(const Address&) = delete;
    Address& operator=(const Address&) = delete;

    /// For use by limiters.
    [[nodiscard]] core::Gate& gate() noexcept { return gate_; }

private:
    core::Gate gate_;
};

} // namespace sluice

#endif
