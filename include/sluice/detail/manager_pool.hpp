// SPDX-License-Identifier: MIT
//
// The container behind managers.hpp: managers by the digest of their individual's name, in the
// order of the last request. Each call examines a few of the least recently used ones, so no call
// takes long.
//
// Invariant: no observer runs under the lock. Candidates for eviction are therefore collected under
// the lock, examined without it, and evicted under it unless they were requested meanwhile.
#ifndef SLUICE_DETAIL_MANAGER_POOL_HPP
#define SLUICE_DETAIL_MANAGER_POOL_HPP

#include <sluice/core/time.hpp>
#include <sluice/detail/route_major.hpp>
#include <sluice/options.hpp>
#include <sluice/route.hpp>

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/execution_context.hpp>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <list>
#include <memory>
#include <mutex>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

namespace sluice::detail {

template <class Manager, class Clock, class Mutex>
class ManagerPool {
public:
    ManagerPool(boost::asio::any_io_executor executor, const Options& options, std::size_t most,
                core::Duration idle_time, Clock clock)
        : options_(options),
          most_(most),
          idle_time_(idle_time),
          clock_(std::move(clock)),
          closed_one_(std::make_shared<Manager>(executor, options_, clock_)),
          executor_(std::move(executor)) {
        closed_one_->close();
    }

    [[nodiscard]] const Options& options() const noexcept { return options_; }

    [[nodiscard]] std::shared_ptr<Manager> get(std::string_view individual) {
        const WideId name = digest_within({}, individual);
        std::shared_ptr<Manager> found;
        std::vector<Candidate> oldest;
        bool too_many = false;
        {
            const std::lock_guard lock(mutex_);
            if (closed_) return find_or_closed(name);
            const auto now = clock_.now();
            found = find_or_make(name, now);
            too_many = entries_.size() > most_;
            oldest = take_oldest(now, too_many);
        }
        if (!oldest.empty()) forget_some(oldest, too_many);
        return found;
    }

    [[nodiscard]] std::vector<std::shared_ptr<Manager>> all() const {
        const std::lock_guard lock(mutex_);
        std::vector<std::shared_ptr<Manager>> managers;
        managers.reserve(entries_.size());
        for (const Entry& entry : entries_)
            managers.push_back(entry.manager);
        return managers;
    }

    [[nodiscard]] std::size_t size() const {
        const std::lock_guard lock(mutex_);
        return entries_.size();
    }

    void close() {
        {
            const std::lock_guard lock(mutex_);
            closed_ = true;
        }
        for (const auto& manager : all())
            manager->close();
    }

    /// Called by the context at its end: from then on no manager can be made.
    void shut_down(boost::asio::execution_context&) {
        const std::lock_guard lock(mutex_);
        closed_ = true;
        executor_ = {}; // a strand must not outlive its context
    }

private:
    struct Entry {
        WideId name;
        std::shared_ptr<Manager> manager;
        typename Clock::time_point used; ///< requested, or observed in use
        std::uint64_t asked = 0;         ///< number of requests, to detect one in between
    };
    /// A manager that no caller holds. Only get() can give it to a caller.
    struct Candidate {
        WideId name;
        std::shared_ptr<Manager> manager;
        std::uint64_t asked;
    };
    using Entries = std::list<Entry>;
    using Position = typename Entries::iterator;

    struct HashName { // a digest is well mixed already
        std::size_t operator()(const WideId& name) const noexcept {
            return static_cast<std::size_t>(name.low);
        }
    };
    struct SameName {
        bool operator()(const WideId& a, const WideId& b) const noexcept {
            return a.low == b.low && a.high == b.high;
        }
    };

    [[nodiscard]] std::shared_ptr<Manager> find_or_closed(const WideId& name) const {
        const auto known = index_.find(name);
        return known == index_.end() ? closed_one_ : known->second->manager;
    }

    void touch(Position entry, typename Clock::time_point now) {
        entry->used = now;
        entries_.splice(entries_.begin(), entries_, entry);
    }

    [[nodiscard]] std::shared_ptr<Manager> find_or_make(const WideId& name,
                                                        typename Clock::time_point now) {
        if (const auto known = index_.find(name); known != index_.end()) {
            touch(known->second, now);
        } else {
            entries_.push_front(
                {name, std::make_shared<Manager>(executor_, options_, clock_), now});
            index_.emplace(name, entries_.begin());
        }
        ++entries_.front().asked;
        return entries_.front().manager;
    }

    /// Returns the least recently used managers that no caller holds: several to choose from if
    /// there are too many, else two that have been idle for long. Moves held ones to the front, so
    /// that others are examined next.
    [[nodiscard]] std::vector<Candidate> take_oldest(typename Clock::time_point now,
                                                     bool too_many) {
        std::vector<Candidate> oldest;
        Position at = std::prev(entries_.end());
        for (int looks = too_many ? 16 : 2; looks > 0 && at != entries_.begin(); --looks) {
            if (!too_many && now - at->used < idle_time_) break;
            const Position entry = at--;
            const bool held = entry->manager.use_count() > 1;
            if (!held) oldest.push_back({entry->name, entry->manager, entry->asked});
            if (held || !too_many) touch(entry, now);
        }
        return oldest;
    }

    [[nodiscard]] static bool has_requests(Manager& manager) {
        const auto stats = manager.stats();
        return stats.queued != 0 || stats.in_flight != 0;
    }

    /// True if there is no block of the whole individual, no refused token, and no bucket with a
    /// window or a block. Collects the manager's idle buckets.
    [[nodiscard]] static bool has_nothing_to_lose(Manager& manager) {
        constexpr auto any_route = sluice::route<"GET /users/@me">;
        if (manager.timeout_for(any_route()) != core::Duration(0)) return false;
        manager.collect(core::Duration(0));
        return manager.stats().buckets == 0;
    }

    /// Evicts managers that have no state to lose: one if there are too many. If that finds none,
    /// the least recently used one without requests.
    void forget_some(const std::vector<Candidate>& oldest, bool too_many) {
        const Candidate* least = nullptr;
        for (const Candidate& candidate : oldest) {
            if (has_requests(*candidate.manager)) {
                settle(candidate, false);
            } else if (has_nothing_to_lose(*candidate.manager)) {
                settle(candidate, true);
                if (too_many) return;
            } else if (least == nullptr) {
                least = &candidate;
            }
        }
        if (too_many && least != nullptr) settle(*least, true);
    }

    /// Evicts the manager, or moves it to the front because it is in use. Does nothing if it was
    /// requested since it was collected. The candidate keeps it alive until the lock is released.
    void settle(const Candidate& candidate, bool forget) {
        const std::lock_guard lock(mutex_);
        const auto known = index_.find(candidate.name);
        if (known == index_.end()) return;
        const Position entry = known->second;
        if (entry->manager != candidate.manager || entry->asked != candidate.asked) return;
        if (!forget) return touch(entry, clock_.now());
        index_.erase(known);
        entries_.erase(entry);
    }

    const Options options_;
    const std::size_t most_;
    const core::Duration idle_time_;
    const Clock clock_;
    const std::shared_ptr<Manager> closed_one_; ///< returned by get() when none can be made
    mutable Mutex mutex_;                       // guards all that follows
    boost::asio::any_io_executor executor_;
    Entries entries_; ///< most recently requested first
    std::unordered_map<WideId, Position, HashName, SameName> index_;
    bool closed_ = false;
};

} // namespace sluice::detail

#endif
