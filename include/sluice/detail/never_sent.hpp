// SPDX-License-Identifier: MIT
//
// Which failures of a client mean that its request never left: there was no connection. Everything
// else may have happened after the request was sent.
#ifndef SLUICE_DETAIL_NEVER_SENT_HPP
#define SLUICE_DETAIL_NEVER_SENT_HPP

#include <boost/asio/error.hpp>
#include <boost/system/error_code.hpp>
#include <boost/system/system_error.hpp>

#include <exception>

namespace sluice::detail {

/// Linux reports the network's own messages to a connection that is open only when it gives up, a
/// quarter of an hour later (tcp(7), tcp_retries2): all that comes earlier is of a connect.
[[nodiscard]] inline bool never_sent(const boost::system::error_code& code) noexcept {
    namespace error = boost::asio::error;
    return code == error::connection_refused || code == error::host_unreachable ||
           code == error::network_unreachable || code == error::network_down ||
           code.category() == error::get_netdb_category() ||
           code.category() == error::get_addrinfo_category();
}

[[nodiscard]] inline bool never_sent(const std::exception_ptr& thrown) {
    try {
        std::rethrow_exception(thrown);
    } catch (const boost::system::system_error& failure) {
        return never_sent(failure.code());
    } catch (...) {
        return false;
    }
}

} // namespace sluice::detail

#endif
