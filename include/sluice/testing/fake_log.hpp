// SPDX-License-Identifier: MIT
//
// A fake Discord's log of the requests that arrived: when, with which outcome, and how often each
// one was executed.
//
// Invariant: every request is recorded exactly once, on arrival, whatever happens to its answer.
#ifndef SLUICE_TESTING_FAKE_LOG_HPP
#define SLUICE_TESTING_FAKE_LOG_HPP

#include <sluice/route.hpp>
#include <sluice/testing/fake_limit.hpp>
#include <sluice/testing/fake_request.hpp>

#include <array>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <utility>

namespace sluice::testing {

enum class FakeVerdict : std::uint8_t {
    accepted,
    user_limit,    ///< refused by the limit of its route
    global_limit,  ///< refused by the limit of its token or address
    unknown_route, ///< 404
    scripted,      ///< answered by the script
    hidden_limit,  ///< refused by a second limit of its route
    shared_limit,  ///< refused by a second limit that other users draw on as well
    faulted,       ///< hit by a fault, before or after it ran
    denied,        ///< 401, or 404 because its webhook is gone
    blocked,       ///< stopped by Cloudflare: a ban, or an unknown client
};

/// One line of the log.
struct Arrival {
    Duration at{};
    std::string token{};
    std::string address{};
    Route route{}; ///< invalid if the target is not a route of Discord
    std::string target{};
    std::int64_t in_flight = 0; ///< requests received and not yet answered, including this one
    FakeVerdict verdict = FakeVerdict::accepted;
    int status = 0;            ///< of the answer, even if it is not sent
    Duration retry_after{};    ///< zero unless refused; the true wait, whatever was stated
    std::uint64_t counter = 0; ///< equal for requests that draw on one counter; 0 without one
    bool executed = false;     ///< the request was executed
    std::string identity{};
};

namespace detail {

class ArrivalLog {
public:
    /// Records an arrival. Keeps the newest `capacity` arrivals; 0: none. Counting continues.
    void record(const FakeRequest& request, Arrival&& arrival, std::size_t capacity) {
        ++counts_[static_cast<std::size_t>(arrival.verdict)];
        const std::string_view identity = identity_of(request);
        if (arrival.executed && !identity.empty()) ++executed(identity);
        if (capacity == 0) return;
        arrival.identity = identity;
        arrival.token = request.token;
        arrival.address = request.address;
        arrival.target = request.target;
        while (arrivals_.size() >= capacity)
            arrivals_.pop_front();
        arrivals_.push_back(std::move(arrival));
    }

    [[nodiscard]] const std::deque<Arrival>& arrivals() const noexcept { return arrivals_; }
    void clear() noexcept { arrivals_.clear(); }

    [[nodiscard]] std::uint64_t count(FakeVerdict verdict) const noexcept {
        return counts_[static_cast<std::size_t>(verdict)];
    }

    [[nodiscard]] std::uint64_t executions(std::string_view identity) const {
        const auto found = executions_.find(identity);
        return found == executions_.end() ? 0 : found->second;
    }

private:
    /// Discord docs, "Create Message": `nonce` identifies a message to its sender.
    [[nodiscard]] static std::string_view identity_of(const FakeRequest& request) noexcept {
        if (!request.identity.empty() || request.body.empty()) return request.identity;
        return json_member(request.body, "nonce").value_or(std::string_view{});
    }

    [[nodiscard]] std::uint64_t& executed(std::string_view identity) {
        const auto found = executions_.find(identity);
        if (found != executions_.end()) return found->second;
        return executions_.emplace(std::string{identity}, 0).first->second;
    }

    std::deque<Arrival> arrivals_;
    std::map<std::string, std::uint64_t, std::less<>> executions_; ///< by identity
    std::array<std::uint64_t, static_cast<std::size_t>(FakeVerdict::blocked) + 1> counts_{};
};

} // namespace detail
} // namespace sluice::testing

#endif
