// SPDX-License-Identifier: MIT
//
// A proxy between the client and the edge: it drops headers, adds its own, and may say less of a
// global 429 than Discord does.
//
//     FakeDiscord discord{{.proxy = Proxy{}}};                           // nothing has a Via
//     FakeDiscord discord{{.proxy = Proxy{.adds = {{"Via", "1.1 nirn"}}}}};   // everything has one
//
// The one invariant: a proxy changes what is read, never what is decided or counted. It sees all
// answers but those of a script, Cloudflare's included.
//
// RFC 9110, section 7.6.3: a proxy may replace or drop Via. A 429 of Discord without Via is seen
// behind proxies that build their answers anew.
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
    /// Headers that it takes away, spelled as the fake writes them.
    std::set<std::string, std::less<>> drops{"Via"};
    /// Headers that it adds to every answer, after it has dropped those.
    std::vector<std::pair<std::string, std::string>> adds{};
    /// On: a global 429 has the body {"global": true} and neither Retry-After nor X-RateLimit-*.
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
