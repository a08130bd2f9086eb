// SPDX-License-Identifier: MIT
//
// core::Snapshot as JSON and back, for whatever type has the members of nlohmann::json.
//
// Format 1: an object whose "sluice" is 1 and whose "taken" is when, in nanoseconds of the Unix
// epoch. Every other time is in nanoseconds too, and told from then on. What is absent is 0, empty
// or false. Ids are unsigned numbers of 64 bits, which a reader that turns numbers into doubles
// would spoil.
//
// A reader that meets another type than it expects believes nothing of the whole text. A number
// that makes no sense is brought into its range: what comes out is safe to reckon with.
//
// `Saved` is core::Snapshot: a parameter so that a unit that saves nothing compiles next to nothing
// of this.
#ifndef SLUICE_DETAIL_SNAPSHOT_JSON_HPP
#define SLUICE_DETAIL_SNAPSHOT_JSON_HPP

#include <sluice/core/snapshot.hpp>
#include <sluice/core/time.hpp>
#include <sluice/core/window.hpp>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace sluice::detail {

inline constexpr std::int64_t snapshot_format = 1;
inline constexpr std::array<std::string_view, 6> major_kinds{
    "none", "channel", "guild", "webhook", "webhook_token", "interaction"};

// --- To JSON -----------------------------------------------------------------------------------

template <class Json, class Saved = core::Snapshot>
class SnapshotWriter {
public:
    static Json write(const Saved& saved) {
        Json all = Json::object();
        all["sluice"] = snapshot_format;
        all["taken"] = saved.taken.count();
        all["routes"] = list(saved.routes, [](const auto& route) {
            return Json{{"family", route.family}, {"hash", route.hash}};
        });
        all["apart"] = saved.apart;
        all["common"] = saved.common;
        all["buckets"] = list(saved.buckets, bucket);
        all["lanes"] = list(saved.lanes, lane);
        all["gone_webhooks"] = list(saved.gone_webhooks, major);
        all["global"] = Json::object();
        put(all["global"], "blocked_for", saved.globally_blocked_for);
        all["global"]["slots"] = list(saved.slots, [](auto slot) { return Json(slot.count()); });
        all["address"] = Json::object();
        put(all["address"], "blocked_for", saved.address_blocked_for);
        all["address"]["invalid"] = list(saved.invalid, [](const auto& slice) {
            return Json{{"age", slice.age.count()}, {"count", slice.count}};
        });
        return all;
    }

private:
    template <class Items, class Function>
    static Json list(const Items& items, Function function) {
        Json array = Json::array();
        for (const auto& item : items)
            array.push_back(function(item));
        return array;
    }
    template <class Number>
    static void put(Json& object, const char* name, Number number) {
        if (number != Number{}) object[name] = number;
    }
    static void put(Json& object, const char* name, core::Duration time) {
        put(object, name, time.count());
    }

    static Json major(const core::Major& major) {
        Json object = Json::object();
        object["kind"] = std::string(major_kinds[static_cast<std::size_t>(major.kind)]);
        put(object, "high", major.high);
        put(object, "low", major.low);
        return object;
    }
    static void put_name(Json& object, const typename Saved::BucketName& name) {
        if (!name.hash.empty()) object["hash"] = name.hash;
        put(object, "family", name.family);
        put(object, "apart", name.apart);
    }
    static Json bucket(const typename Saved::SavedBucket& saved) {
        const auto& window = saved.window;
        const auto& remains = window.remains;
        Json object = Json::object();
        put_name(object, saved.name);
        object["major"] = major(saved.major);
        put(object, "limit", remains.limit);
        put(object, "remaining", window.left);
        if (window.full_in) object["full_in"] = (*window.full_in).count();
        put(object, "blocked_for", window.blocked_for);
        put(object, "out", saved.out);
        put(object, "period", remains.period);
        put(object, "width", remains.told);
        put(object, "drips", remains.drip.drips);
        put(object, "interval_at_least", remains.drip.least);
        if (remains.drip.greatest != core::Duration::max())
            object["interval_at_most"] = remains.drip.greatest.count();
        put(object, "clocks_agree", static_cast<int>(remains.agreement));
        put(object, "slides", static_cast<int>(remains.slides));
        put(object, "answered", remains.answered);
        put(object, "narrowed", remains.narrowed);
        put(object, "counts_late", remains.counts_late);
        return object;
    }
    static Json lane(const typename Saved::SavedLane& saved) {
        Json object = Json::object();
        object["route"] = saved.key.route;
        object["major"] = major(saved.key.major);
        put(object, "tag", saved.key.tag);
        object["bucket"] = Json::object();
        put_name(object["bucket"], saved.bucket);
        put(object, "family", saved.traits.family);
        put(object, "exempt", saved.traits.exempt);
        put(object, "idempotent", saved.traits.idempotent);
        put(object, "tokenless", saved.traits.tokenless);
        put(object, "webhook", saved.traits.webhook);
        put(object, "merges", saved.traits.merges);
        put(object, "of_others", !saved.traits.bots);
        put(object, "blocked_for", saved.blocked_for);
        put(object, "strikes", static_cast<int>(saved.strikes));
        put(object, "narrow", static_cast<int>(saved.narrow));
        put(object, "shared", saved.shared);
        return object;
    }
};

// --- From JSON ---------------------------------------------------------------------------------

template <class Json, class Saved = core::Snapshot>
class SnapshotReader {
public:
    /// Nothing when the text is no snapshot of this format.
    static std::optional<Saved> read(const Json& all) {
        SnapshotReader reader;
        Saved saved;
        if (reader.number(all, "sluice", 0, INT64_MAX) != snapshot_format) return std::nullopt;
        saved.taken = core::Duration(reader.number(all, "taken", 0, INT64_MAX));
        reader.read(all, saved);
        if (reader.strange_) return std::nullopt;
        return saved;
    }

private:
    static constexpr std::int64_t most_counted = 100'000; ///< of what costs memory or a loop each

    void read(const Json& all, Saved& saved) {
        each(all, "routes", [&](const Json& route) {
            saved.routes.push_back({id(route, "family"), text(route, "hash")});
        });
        texts(all, "apart", saved.apart);
        texts(all, "common", saved.common);
        each(all, "buckets", [&](const Json& item) { saved.buckets.push_back(bucket(item)); });
        each(all, "lanes", [&](const Json& item) { saved.lanes.push_back(lane(item)); });
        each(all, "gone_webhooks",
             [&](const Json& item) { saved.gone_webhooks.push_back(major(item)); });
        const Json& global = object(all, "global");
        saved.globally_blocked_for = time(global, "blocked_for");
        for (const Json& slot : items(global, "slots")) {
            saved.slots.push_back(
                core::in_range(core::Duration(number_of(slot, 0, core::longest_setting.count()))));
        }
        std::sort(saved.slots.begin(), saved.slots.end());
        const Json& address = object(all, "address");
        saved.address_blocked_for = time(address, "blocked_for");
        each(address, "invalid", [&](const Json& slice) {
            saved.invalid.push_back({time(slice, "age"), number(slice, "count", 0, INT32_MAX)});
        });
        std::sort(saved.invalid.begin(), saved.invalid.end(),
                  [](const auto& a, const auto& b) { return a.age > b.age; });
    }

    typename Saved::SavedBucket bucket(const Json& item) {
        typename Saved::SavedBucket saved;
        saved.name = name(item);
        saved.major = major(object(item, "major"));
        auto& remains = saved.window.remains;
        remains.limit = static_cast<std::int32_t>(number(item, "limit", 0, INT32_MAX));
        saved.window.left = number(item, "remaining", 0, INT32_MAX);
        if (item.contains("full_in")) saved.window.full_in = time(item, "full_in");
        saved.window.blocked_for = time(item, "blocked_for");
        saved.out = static_cast<std::uint32_t>(number(item, "out", 0, most_counted));
        remains.period = time(item, "period");
        remains.told = static_cast<std::int32_t>(number(item, "width", 1, INT32_MAX));
        remains.drip.least = time(item, "interval_at_least");
        remains.drip.drips = flag(item, "drips") && remains.drip.least > core::Duration(0);
        if (item.contains("interval_at_most"))
            remains.drip.greatest = std::max(remains.drip.least, time(item, "interval_at_most"));
        remains.agreement = static_cast<std::int8_t>(
            number(item, "clocks_agree", core::Window::clocks_stray, core::Window::clocks_agree));
        remains.slides = static_cast<core::Window::Slides>(
            number(item, "slides", 0, static_cast<int>(core::Window::Slides::refuted)));
        remains.answered = flag(item, "answered");
        remains.narrowed = flag(item, "narrowed");
        remains.counts_late = flag(item, "counts_late");
        if (remains.limit > 0) remains.told = remains.limit;
        return saved;
    }
    typename Saved::SavedLane lane(const Json& item) {
        typename Saved::SavedLane saved;
        saved.key = {id(item, "route"), major(object(item, "major")),
                     static_cast<std::uint32_t>(number(item, "tag", 0, UINT32_MAX))};
        saved.bucket = name(object(item, "bucket"));
        saved.traits.family = id(item, "family");
        saved.traits.exempt = flag(item, "exempt");
        saved.traits.idempotent = flag(item, "idempotent");
        saved.traits.tokenless = flag(item, "tokenless");
        saved.traits.webhook = flag(item, "webhook");
        saved.traits.merges = flag(item, "merges");
        saved.traits.bots = !flag(item, "of_others");
        saved.traits.path_token = saved.key.major.family() == core::MajorKind::webhook_token;
        saved.blocked_for = time(item, "blocked_for");
        saved.strikes = static_cast<std::uint8_t>(number(item, "strikes", 0, INT8_MAX));
        saved.narrow = static_cast<std::uint16_t>(number(item, "narrow", 0, UINT16_MAX));
        saved.shared = flag(item, "shared");
        return saved;
    }
    typename Saved::BucketName name(const Json& item) {
        return {text(item, "hash"), id(item, "family"),
                static_cast<std::uint32_t>(number(item, "apart", 0, UINT32_MAX))};
    }
    core::Major major(const Json& item) {
        const std::string kind = text(item, "kind");
        const auto at = std::find(major_kinds.begin(), major_kinds.end(), kind);
        if (at == major_kinds.end()) {
            strange_ = true;
            return {};
        }
        return {static_cast<core::MajorKind>(at - major_kinds.begin()), id(item, "high"),
                id(item, "low")};
    }

    /// The member, or an empty object in its place.
    const Json& object(const Json& parent, const char* name) {
        const Json& found = member(parent, name, empty_object_);
        if (found.is_object()) return found;
        strange_ = true;
        return empty_object_;
    }
    const Json& items(const Json& parent, const char* name) {
        const Json& found = member(parent, name, empty_array_);
        if (found.is_array()) return found;
        strange_ = true;
        return empty_array_;
    }
    template <class Function>
    void each(const Json& parent, const char* name, Function function) {
        for (const Json& item : items(parent, name)) {
            if (!item.is_object()) strange_ = true;
            if (strange_) return;
            function(item);
        }
    }
    static const Json& member(const Json& parent, const char* name, const Json& otherwise) {
        const auto at = parent.find(name);
        return at == parent.end() ? otherwise : *at;
    }

    void texts(const Json& parent, const char* name, std::vector<std::string>& into) {
        for (const Json& item : items(parent, name)) {
            if (!item.is_string()) {
                strange_ = true;
                return;
            }
            into.push_back(item.template get<std::string>());
        }
    }
    std::string text(const Json& parent, const char* name) {
        const auto at = parent.find(name);
        if (at == parent.end()) return {};
        if (at->is_string()) return at->template get<std::string>();
        strange_ = true;
        return {};
    }
    bool flag(const Json& parent, const char* name) {
        const auto at = parent.find(name);
        if (at == parent.end()) return false;
        if (at->is_boolean()) return at->template get<bool>();
        strange_ = true;
        return false;
    }
    std::uint64_t id(const Json& parent, const char* name) {
        const auto at = parent.find(name);
        if (at == parent.end()) return 0;
        if (at->is_number_unsigned()) return at->template get<std::uint64_t>();
        strange_ = true;
        return 0;
    }
    std::int64_t number(const Json& parent, const char* name, std::int64_t least,
                        std::int64_t most) {
        const auto at = parent.find(name);
        return at == parent.end() ? std::clamp<std::int64_t>(0, least, most)
                                  : number_of(*at, least, most);
    }
    std::int64_t number_of(const Json& item, std::int64_t least, std::int64_t most) {
        if (item.is_number_unsigned()) {
            const auto value = item.template get<std::uint64_t>();
            if (value > static_cast<std::uint64_t>(INT64_MAX)) return most;
            return std::clamp(static_cast<std::int64_t>(value), least, most);
        }
        if (item.is_number_integer())
            return std::clamp(item.template get<std::int64_t>(), least, most);
        strange_ = true;
        return least;
    }
    core::Duration time(const Json& parent, const char* name) {
        return core::Duration(number(parent, name, 0, core::longest_setting.count()));
    }

    const Json empty_object_ = Json::object();
    const Json empty_array_ = Json::array();
    bool strange_ = false;
};

} // namespace sluice::detail

#endif
