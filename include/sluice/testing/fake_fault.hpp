// SPDX-License-Identifier: MIT
//
// Failures that have no cause in the request: server errors, closed connections, missing answers,
// unfounded refusals.
//
// Invariant: which requests a fault hits is decided by counting, never by chance, so a test can
// name the request.
//
//     .faults = {{.kind = FaultKind::cut, .executes = true, .skip = 2, .times = 1}}  // the third
//
// Discord docs, "HTTP": 502 means that no gateway was available, so the request did not run. After
// 500 and 504 it may have run; observed 2018-07, discordjs/discord.js#2655: messages sent twice.
#ifndef SLUICE_TESTING_FAKE_FAULT_HPP
#define SLUICE_TESTING_FAKE_FAULT_HPP

#include <sluice/testing/fake_limit.hpp>
#include <sluice/testing/fake_refusal.hpp>

#include <cstddef>
#include <cstdint>
#include <stdexcept>
#include <vector>

namespace sluice::testing {

enum class FaultKind : std::uint8_t {
    server_error, ///< `status`, without bucket headers
    refusal,      ///< a 429 without a limit behind it
    cut,          ///< the connection is closed instead of an answer
    silence,      ///< the connection stays open, without an answer
};

struct Fault {
    FaultKind kind = FaultKind::server_error;
    int status = 502;
    Refusal refusal{};
    /// False: the fault hits before any limit is checked; no quota is used and nothing is executed.
    /// True: the request is limited, uses quota and is executed, and only its answer is lost or
    /// replaced.
    bool executes = false;
    /// Of the requests that it may hit, this number passes first, ...
    std::uint64_t skip = 0;
    std::uint64_t every = 1;          ///< ... of the following ones each `every`-th is hit, ...
    std::uint64_t times = 0;          ///< ... this many in all. 0: unlimited.
    Duration from{};                  ///< server time
    Duration until = Duration::max(); ///< no more hits from then on
};

namespace detail {

/// Throws std::invalid_argument.
inline void check(const Fault& fault) {
    if (fault.every == 0) throw std::invalid_argument("sluice::testing::Fault: every is 0");
    if (fault.kind == FaultKind::server_error && (fault.status < 500 || fault.status > 599))
        throw std::invalid_argument("sluice::testing::Fault: status is not 500 to 599");
    if (fault.kind == FaultKind::refusal && fault.executes)
        throw std::invalid_argument("sluice::testing::Fault: a refused request does not execute");
}

/// The counts of each fault of one rule.
class FaultCounts {
public:
    explicit FaultCounts(std::size_t faults) : counts_(faults) {}

    /// Returns the fault that hits this request, or null. Counts the request: call it once per
    /// request and stage.
    [[nodiscard]] const Fault* strike(const std::vector<Fault>& faults, bool executed,
                                      Duration now) {
        for (std::size_t i = 0; i < faults.size(); ++i) {
            const Fault& fault = faults[i];
            if (fault.executes != executed || now < fault.from || now >= fault.until) continue;
            Count& count = counts_[i];
            if (count.seen++ < fault.skip) continue;
            if ((count.seen - fault.skip - 1) % fault.every != 0) continue;
            if (fault.times != 0 && count.struck == fault.times) continue;
            ++count.struck;
            return &fault;
        }
        return nullptr;
    }

private:
    struct Count {
        std::uint64_t seen = 0;
        std::uint64_t struck = 0;
    };

    std::vector<Count> counts_; ///< in the order of the faults
};

} // namespace detail
} // namespace sluice::testing

#endif
