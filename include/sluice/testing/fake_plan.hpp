// SPDX-License-Identifier: MIT
//
// A rule prepared for processing requests: checked once, its hashes computed, its faults counted.
//
// Invariant: the key of a counter is made only of the hash and of what the rule counts by. So two
// routes with one hash draw on one counter without a reference to each other.
#ifndef SLUICE_TESTING_FAKE_PLAN_HPP
#define SLUICE_TESTING_FAKE_PLAN_HPP

#include <sluice/core/major.hpp>
#include <sluice/route.hpp>
#include <sluice/testing/fake_error_answer.hpp>
#include <sluice/testing/fake_fault.hpp>
#include <sluice/testing/fake_hash.hpp>
#include <sluice/testing/fake_indexing.hpp>
#include <sluice/testing/fake_limit.hpp>
#include <sluice/testing/fake_request.hpp>
#include <sluice/testing/fake_rules.hpp>
#include <sluice/testing/fake_second_limit.hpp>

#include <boost/unordered/unordered_flat_map.hpp>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace sluice::testing::detail {

/// Returns when the object with this id was created, since 1970. Discord docs, "Reference",
/// "Snowflakes": the upper 42 bits are milliseconds since the first second of 2015.
[[nodiscard]] constexpr std::chrono::milliseconds made_at(std::uint64_t snowflake) noexcept {
    return std::chrono::milliseconds{1'420'070'400'000 +
                                     static_cast<std::int64_t>(snowflake >> 22U)};
}

/// One ordinary limit of a route; most routes have just one.
struct Face {
    Duration below = Duration::max(); ///< for messages younger than this
    std::optional<Limit> limit{};
    std::string hash{};
    std::uint64_t key = 0; ///< of the hash shown, and of the template if it counts apart
};

class Plan {
public:
    /// Throws std::invalid_argument.
    Plan(const Rule& rule, std::uint64_t route_id) : rule_(rule), faults_(rule.faults.size()) {
        // 1xx are not final answers; a missing status is a fault.
        if (rule_.status < 200 || rule_.status > 599)
            throw std::invalid_argument("sluice::testing::Rule: status is not 200 to 599");
        for (const AgeClass& age : rule_.ages)
            add_face(age.below, age.limit, age.hash, route_id);
        add_face(Duration::max(), rule_.limit, rule_.hash, route_id);
        rule_.hash = faces_.back().hash;
        for (const SecondLimit& second : rule_.second)
            add_second(second, route_id);
        for (const Fault& fault : rule_.faults)
            check(fault);
        for (const ErrorAnswer& error : rule_.errors)
            add_error(error, route_id);
    }

    [[nodiscard]] const Rule& rule() const noexcept { return rule_; }

    /// Returns the limit of the route at `wall` (since 1970), which depends on the age of the
    /// message.
    [[nodiscard]] const Face& face(const Route& route, Duration wall) const noexcept {
        if (faces_.size() == 1) return faces_.front();
        const Duration age = wall - made_at(route.message_id());
        std::size_t at = 0;
        while (at + 1 < faces_.size() && age >= faces_[at].below)
            ++at;
        return faces_[at];
    }

    /// The error that answers the next request of the route, if any, and the limit that applies.
    struct Course {
        const ErrorAnswer* error = nullptr;
        const Face* face = nullptr;
    };

    [[nodiscard]] Course course(const Route& route, const FakeRequest& request,
                                Duration wall) const noexcept {
        for (std::size_t i = 0; i < rule_.errors.size(); ++i) {
            const ErrorAnswer& error = rule_.errors[i];
            if (!concerns(error, request, arrivals_ + 1)) continue;
            const auto& named = error_faces_[i];
            return {&error, named ? &*named : &face(route, wall)};
        }
        return {nullptr, &face(route, wall)};
    }

    /// Counts the request. Call once per request, after `course`.
    void count_arrival() noexcept { ++arrivals_; }

    [[nodiscard]] std::uint64_t counter(const Face& face, const Route& route,
                                        const FakeRequest& request) const noexcept {
        std::uint64_t id = face.key;
        if (rule_.per_individual) id = mixed(id ^ individual(request));
        if (rule_.per_major) id = mixed(id ^ route.major().hash());
        return id;
    }

    /// If a second limit refuses the request: that limit (else null) and its wait. Otherwise the
    /// second limit that describes the answer (else null), and its current state.
    struct Drawn {
        const SecondLimit* spent = nullptr;
        Duration wait{};
        const SecondLimit* shown = nullptr;
        Standing standing{};
    };

    /// Takes one request from every second limit that applies, or from none if one of them refuses.
    [[nodiscard]] Drawn draw_second(const Route& route, const FakeRequest& request,
                                    SecondCounters& counters, Duration wall) const {
        Drawn drawn;
        each_second(route, request, [&](const SecondLimit& second, std::uint64_t id) {
            const Duration wait = counters.at(second, id, wall).wait(wall);
            if (wait > drawn.wait) drawn = {.spent = &second, .wait = wait};
        });
        if (drawn.spent != nullptr) return drawn;
        each_second(route, request, [&](const SecondLimit& second, std::uint64_t id) {
            if (!counters.spend(second, id, wall)) return;
            drawn.shown = &second;
            drawn.standing = counters.standing(second, id, wall);
        });
        return drawn;
    }

    [[nodiscard]] Duration second_wait(const Route& route, const FakeRequest& request,
                                       const SecondCounters& counters, Duration wall) const {
        Duration longest{};
        each_second(route, request, [&](const SecondLimit& second, std::uint64_t id) {
            longest = std::max(longest, counters.wait(second, id, wall));
        });
        return longest;
    }

    void others_spend(const Route& route, const FakeRequest& request, int count,
                      SecondCounters& counters, Duration wall) const {
        each_second(route, request, [&](const SecondLimit& second, std::uint64_t id) {
            if (!second.shared) return;
            Counter& counter = counters.at(second, id, wall);
            for (int n = 0; n < count && counter.wait(wall) == Duration::zero(); ++n)
                counter.spend(wall);
        });
    }

    /// True while the index of a search is not ready. Counts the request: call it once per accepted
    /// request.
    [[nodiscard]] bool indexing(const Route& route, Duration now) {
        if (!rule_.indexing) return false;
        return searches_[route.major().hash()]++ < rule_.indexing->first ||
               now < rule_.indexing->until;
    }

    [[nodiscard]] const Fault* strike(bool executed, Duration now) {
        return rule_.faults.empty() ? nullptr : faults_.strike(rule_.faults, executed, now);
    }

private:
    /// Calls `visit` with every second limit that applies to the request, and the key of its
    /// counter.
    template <class Visit>
    void each_second(const Route& route, const FakeRequest& request, Visit visit) const {
        for (std::size_t i = 0; i < rule_.second.size(); ++i) {
            const SecondLimit& second = rule_.second[i];
            if (!second.field.empty() && !json_member(request.body, second.field)) continue;
            std::uint64_t id = second_keys_[i];
            if (second.per_individual) id = mixed(id ^ individual(request));
            if (second.per == CountedPer::major) id = mixed(id ^ route.major().hash());
            if (second.per == CountedPer::channel) id = mixed(id ^ channel(route, request));
            visit(second, id);
        }
    }

    void add_face(Duration below, const std::optional<Limit>& limit, const std::string& hash,
                  std::uint64_t route_id) {
        if (limit) (void)checked(*limit);
        if (!faces_.empty() && below <= faces_.back().below)
            throw std::invalid_argument("sluice::testing::Rule: ages must ascend");
        const bool last = below == Duration::max();
        // A route keeps its hash when ages are added to its rule: the last face is not numbered.
        const std::uint64_t seed = last ? route_id : mixed(route_id + faces_.size() + 1);
        faces_.push_back(face_of(limit, hash.empty() ? hash_of_template(seed) : hash, route_id));
        faces_.back().below = below;
    }

    void add_error(const ErrorAnswer& error, std::uint64_t route_id) {
        check(error);
        const auto missing = [](const char* what) {
            throw std::invalid_argument(std::string{"sluice::testing::ErrorAnswer: "} + what);
        };
        if (error.age && *error.age >= rule_.ages.size()) missing("the rule has no such age");
        std::optional<Face> named;
        if (error.age) named = faces_[*error.age];
        if (error.limit) named = face_of(error.limit, error.hash, route_id);
        if (!error.limit && !error.hash.empty()) {
            const auto same = [&](const Face& face) { return face.hash == error.hash; };
            const auto found = std::find_if(faces_.begin(), faces_.end(), same);
            if (found == faces_.end()) missing("the rule has no limit with this hash");
            named = *found;
        }
        if (!error.counted) named = Face{};
        error_faces_.push_back(std::move(named));
    }

    [[nodiscard]] Face face_of(const std::optional<Limit>& limit, const std::string& hash,
                               std::uint64_t route_id) const {
        Face face{Duration::max(), limit, hash, mixed(hash)};
        if (rule_.counts_apart) face.key = mixed(face.key ^ route_id);
        return face;
    }

    void add_second(const SecondLimit& second, std::uint64_t route_id) {
        check(second);
        second_keys_.push_back(second.name.empty() ? mixed(route_id + second_keys_.size())
                                                   : mixed(second.name));
    }

    [[nodiscard]] std::uint64_t channel(const Route& route, const FakeRequest& request) const {
        const auto key = [](std::uint64_t id) {
            return core::Major{.kind = core::MajorKind::channel, .low = id}.hash();
        };
        if (rule_.channels.empty()) return route.major().hash();
        const WebhookPath path = webhook_of(request.target);
        for (const std::string_view name : {path.id, path.token}) {
            const auto found = rule_.channels.find(name);
            if (found != rule_.channels.end()) return key(found->second);
        }
        return route.major().hash();
    }

    Rule rule_;
    std::vector<Face> faces_;                      ///< never empty; ascending by age
    std::vector<std::optional<Face>> error_faces_; ///< nullopt: the face of successes
    std::vector<std::uint64_t> second_keys_;
    std::uint64_t arrivals_ = 0;
    boost::unordered_flat_map<std::uint64_t, std::uint64_t> searches_; ///< by major parameter
    FaultCounts faults_;
};

} // namespace sluice::testing::detail

#endif
