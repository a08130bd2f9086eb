// SPDX-License-Identifier: MIT
//
// A proxy between the client and the edge: it drops headers, adds its own, and may shorten a global
// 429.
//
//     FakeDiscord discord{{.proxy = Proxy{}}};                           // nothing has a Via
//     FakeDiscord discord{{.proxy = Proxy{.adds = {{"Via", "1.1 nirn"}}}}};   // everything has one
//
// Invariant: a proxy changes what the client reads, never what is decided or counted. It processes
// all answers except those of a script, including Cloudflare's.
//
// RFC 9110, section 7.6.3: a proxy may replace or drop Via. 429s of Discord without Via are seen
// behind proxies that rebuild answers.
#ifndef SLUICE_TESTING_FAKE_PROXY_HPP
#define SLUICE_TESTING_FAKE_PROXY_HPP

#include <algorithm>
#include <functional>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace sluice::testing {

struct Proxy {
    /// Headers that it removes, spelled as the fake writes them.
    std::set<std::string, std::less<>> drops{"Via"};
    /// Headers that it adds to every answer, after removing those.
    std::vector<std::pair<std::string, std::string>> adds{};
    /// True: a global 429 has the body {"global": true} and neither Retry-After nor X-RateLimit-*.
    bool bare_global = false;
};

namespace detail {

template <class Response>
void pass_through(const Proxy& proxy, Response& response) {
    const auto is_global = [](const auto& header) { return header.first == "X-RateLimit-Global"; };
    auto& headers = response.headers;
    const bool bare = proxy.bare_global && std::any_of(headers.begin(), headers.end(), is_global);
    if (bare) response.body = R"({"global": true})";
    std::erase_if(headers, [&](const auto& header) {
        const std::string_view name = header.first;
        if (bare && (name == "Retry-After" || name.starts_with("X-RateLimit-"))) return true;
        return proxy.drops.find(name) != proxy.drops.end();
    });
    headers.insert(headers.end(), proxy.adds.begin(), proxy.adds.end());
}

} // namespace detail
} // namespace sluice::testing

#endif
