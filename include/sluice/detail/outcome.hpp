// SPDX-License-Identifier: MIT
//
// How a wait ended, in one byte: an error_code takes 24 in each of what may be a million waiters.
#ifndef SLUICE_DETAIL_OUTCOME_HPP
#define SLUICE_DETAIL_OUTCOME_HPP

#include <sluice/error.hpp>

#include <boost/asio/error.hpp>
#include <boost/system/error_code.hpp>

#include <cassert>
#include <cstdint>

namespace sluice::detail {

class Outcome {
public:
    /// Granted.
    Outcome() = default;
    Outcome(errc why) noexcept : value_(static_cast<std::uint8_t>(why)) {}
    /// Of Asio's own codes there is one that ends a wait.
    Outcome([[maybe_unused]] boost::asio::error::basic_errors why) noexcept : value_(aborted) {
        assert(why == boost::asio::error::operation_aborted);
    }

    /// Whether it is an error.
    [[nodiscard]] explicit operator bool() const noexcept { return value_ != 0; }
    [[nodiscard]] boost::system::error_code code() const noexcept {
        if (value_ == 0) return {};
        if (value_ == aborted) return boost::asio::error::operation_aborted;
        return static_cast<errc>(value_);
    }

private:
    static constexpr std::uint8_t aborted = 255; // the library's own codes are few
    std::uint8_t value_ = 0;
};

} // namespace sluice::detail

#endif
