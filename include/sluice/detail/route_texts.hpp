// SPDX-License-Identifier: MIT
//
// Keeps the texts of templates that were first seen in raw request targets, so that a Route can
// point at its text and stay trivially copyable.
//
// Invariant: the table is bounded and never drops an entry. A proxy that receives random paths
// fills it once. After that new templates have no text; their identity does not depend on the
// table, and neither does any decision of the limiter.
#ifndef SLUICE_DETAIL_ROUTE_TEXTS_HPP
#define SLUICE_DETAIL_ROUTE_TEXTS_HPP

#include <sluice/detail/route_segment.hpp>

#include <cstddef>
#include <cstdint>
#include <map>
#include <mutex>
#include <new>
#include <string>
#include <string_view>
#include <utility>

namespace sluice::detail {

class RouteTexts {
public:
    explicit RouteTexts(std::size_t capacity) : capacity_{capacity} {}

    /// Returns the text of the template `id`, whose address never changes; empty if the table is
    /// full. Adds the text if it is new. For a known template it costs a look-up and no allocation.
    [[nodiscard]] std::string_view intern(std::uint64_t id, std::string_view method,
                                          Segments segments) {
        const std::lock_guard lock{mutex_};
        // Node-based: strings never move, including short ones.
        if (const auto known = texts_.find(id); known != texts_.end()) return known->second;
        if (texts_.size() >= capacity_) return {};
        std::string text;
        text.reserve(normalised_size(method, segments));
        write_normalised(method, segments, [&](std::string_view piece) { text += piece; });
        return texts_.emplace(id, std::move(text)).first->second;
    }

private:
    const std::size_t capacity_;
    std::mutex mutex_;
    std::map<std::uint64_t, std::string> texts_;
};

/// Returns the text from the table of this program. Some 230 routes are documented.
[[nodiscard]] inline std::string_view interned_text(std::uint64_t id, std::string_view method,
                                                    Segments segments) noexcept {
    // Never destroyed: a Route in another static object may outlive any static object here.
    static auto* const texts = new (std::nothrow) RouteTexts{4096};
    if (texts == nullptr) return {};
    try {
        return texts->intern(id, method, segments);
    } catch (...) { // out of memory: the text is only for display, the identity suffices
        return {};
    }
}

} // namespace sluice::detail

#endif
