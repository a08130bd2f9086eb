// SPDX-License-Identifier: MIT
//
// Maps route templates to bucket hashes, hashes plus major parameters to buckets, and routes plus
// major parameters to lanes. It makes, renames, merges and evicts; it makes no decision about time.
//
// A bucket is named by its route until an answer names its hash. Then it is renamed in place; or,
// if a bucket of that hash and major parameter exists already, everything in it moves there: both
// are the same counter at Discord. Both cost O(1) per lane.
//
// A bucket that has not been used for a while becomes dormant: it keeps only what its window leaves
// behind, a third of the memory. The next look-up wakes it, in the state that it had.
#ifndef SLUICE_CORE_REGISTRY_HPP
#define SLUICE_CORE_REGISTRY_HPP

#include <sluice/core/bucket.hpp>
#include <sluice/core/crowd.hpp>
#include <sluice/core/intrusive_list.hpp>
#include <sluice/core/lane.hpp>
#include <sluice/core/time.hpp>

#include <boost/unordered/unordered_flat_set.hpp>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace sluice::core {

/// When idle buckets become dormant, and when they are evicted.
struct IdleLimits {
    Duration dormant_after{};  ///< at most evict_after
    Duration evict_after{};    ///< may take dormant_after longer
    std::size_t most_idle = 0; ///< server wall clock; orders windows, times nothing
};

/// Routes that share a bucket before any answer: nearly always one route.
struct Family {
    HashId hash = 0;      ///< the hash learned last; 0: none so far
    bool webhook = false; ///< its lanes have a token in their path, as in LaneTraits
    IntrusiveList<Bucket, GroupHook> unknown;
    std::unique_ptr<Crowd> crowd; ///< present once a limit shared with others has refused one
};

class Registry {
public:
    /// A server that keeps sending new hashes must not take memory without bound; real hashes
    /// number a few hundred. Hashes beyond this are treated as absent.
    static constexpr std::size_t most_hashes = 65'536;
    /// The bit of a family whose requests are sent with another authorisation than is usual for
    /// their routes: they count against another individual, so they never share a bucket with the
    /// others.
    static constexpr std::uint64_t other_individual = std::uint64_t{1} << 63U;
    /// Templates can come from raw URLs; beyond this their hashes are not remembered.
    static constexpr std::size_t most_routes = 16'384;

    Registry() = default;
    Registry(const Registry&) = delete;
    Registry& operator=(const Registry&) = delete;
    ~Registry();

    void reserve(std::size_t buckets);

    [[nodiscard]] Lane* find_lane(const LaneKey& key) const noexcept;
    /// Returns the bucket, or null. Wakes a dormant bucket, for which memory may run out.
    [[nodiscard]] Bucket* find_bucket(const BucketKey& key);

    /// Finds the lane, or makes it on the bucket that its route is known to draw on.
    Lane& lane(const LaneKey& key, const LaneTraits& traits);
    Bucket& bucket(const BucketKey& key);

    /// Returns the id of a hash, new if need be; 0 if the text is empty or there are too many
    /// hashes.
    HashId intern(std::string_view hash);
    /// Returns the id of a hash; 0 if it has never been interned.
    [[nodiscard]] HashId find_hash(std::string_view hash) const noexcept;
    [[nodiscard]] std::string_view hash_text(HashId id) const noexcept {
        return id == 0 ? std::string_view() : std::string_view(hashes_[id - 1]->first);
    }
    [[nodiscard]] std::string_view hash_of(const BucketEntry& bucket) const noexcept {
        return bucket.key.hash_known ? hash_text(static_cast<HashId>(bucket.key.name))
                                     : std::string_view();
    }
    /// True if this is the bucket's own hash.
    [[nodiscard]] bool hash_is(const Bucket& bucket, std::string_view hash) const noexcept {
        return !hash.empty() && hash == hash_of(bucket);
    }

    /// From now on, new lanes of this family of routes draw on buckets of this hash.
    void learn(std::uint64_t family, HashId hash);
    [[nodiscard]] HashId learned(std::uint64_t family) const noexcept;
    /// Returns the key of the bucket that a lane draws on under this hash.
    [[nodiscard]] BucketKey key_of(HashId hash, const Lane& lane) const noexcept {
        return key_of(hash, lane.major(), lane.traits.family);
    }
    [[nodiscard]] BucketKey key_of(HashId hash, const Major& major,
                                   std::uint64_t family) const noexcept {
        const auto digest = static_cast<std::uint32_t>(family ^ (family >> 32U));
        const std::uint32_t own = (family & other_individual) != 0 ? 1 : 0;
        return {hash, major_of(hash, major), counts_apart(hash) ? digest : own, true};
    }
    /// From now on, routes of this hash have separate counters. Returns false if they had already.
    bool split(HashId hash) noexcept {
        any_odd_ = true;
        return !std::exchange(hashes_[hash - 1]->second.apart, true);
    }
    /// From now on and until part(), all majors of this hash draw on one bucket. Returns false if
    /// they do already, or must not.
    bool join(HashId hash) noexcept;
    /// The majors of this hash have separate counters after all; they are not joined again before
    /// `until`.
    void part(HashId hash, Time until) noexcept;
    [[nodiscard]] bool may_join(HashId hash, Time now) const noexcept {
        return hashes_[hash - 1]->second.parted_until <= now;
    }
    [[nodiscard]] bool is_common(HashId hash) const noexcept {
        return any_joined_ && hashes_[hash - 1]->second.common;
    }
    /// While a hash is suspected, confirm() is false, so that all of its answers are examined.
    void suspect(HashId hash, bool suspected) noexcept;
    [[nodiscard]] bool is_suspected(HashId hash) const noexcept {
        return any_odd_ && hashes_[hash - 1]->second.suspected;
    }
    [[nodiscard]] bool any_joined() const noexcept { return any_joined_; }
    /// True if the lane does not draw on the bucket that its hash is known to count on since join()
    /// or part().
    [[nodiscard]] bool is_outdated(const Lane& lane) const noexcept {
        return any_joined_ && differs(lane);
    }
    /// Forgets a few unused lanes of a common bucket, which never becomes idle itself; stops at
    /// `but`.
    void drop_idle_lanes(Lane& but, Time now, Duration idle) noexcept;
    /// Returns the buckets that have waiters, and perhaps some that had, one with each call; null
    /// if there is none.
    [[nodiscard]] Bucket* next_waiting() noexcept;
    /// Returns the key of the bucket that a new lane draws on.
    [[nodiscard]] BucketKey home_of(const Major& major, std::uint64_t family) const noexcept {
        const HashId hash = learned(family);
        return hash != 0 ? key_of(hash, major, family) : BucketKey{family, major, 0, false};
    }
    /// Returns one bucket of the family whose own hash has not been seen yet, or null.
    [[nodiscard]] Bucket* next_unknown(std::uint64_t family) noexcept;
    /// Notes that the lane's bucket has shown its hash once more. Returns false if that is news to
    /// others of its family, or if the hash is split, joined or suspected.
    [[nodiscard]] bool confirm(const Lane& lane) const noexcept {
        const auto hash = static_cast<HashId>(lane.bucket->key.name);
        if (any_odd_ && hashes_[hash - 1]->second.odd()) return false;
        if (lane.family == nullptr || !lane.family->unknown.empty()) return false;
        lane.family->hash = hash;
        return true;
    }

    void rename(Bucket& bucket, const BucketKey& key);
    /// From now on everything in `from` counts in `to`. `from` lives on while places point at it.
    void merge(Bucket& from, Bucket& to);
    void move_lane(Lane& lane, Bucket& to) noexcept;

    static Bucket& resolve(Bucket* bucket) noexcept {
        while (bucket->merged_into != nullptr)
            bucket = bucket->merged_into;
        return *bucket;
    }
    void add_place(Bucket& bucket) noexcept {
        ++bucket.places;
        set_busy(bucket);
    }
    /// Call when a place no longer points at this bucket.
    void drop_place(Bucket* bucket) noexcept {
        if (--bucket->places == 0 && bucket->merged_into != nullptr) drop_merged(bucket);
    }

    /// Call when the bucket has waiters or places.
    void set_busy(Bucket& bucket) noexcept {
        if (!bucket.idle) return;
        bucket.idle = false;
        --idle_count_;
    }
    /// Call when the bucket has waiters, so that each_waiting_lane() visits it.
    void set_waiting(Bucket& bucket) noexcept;
    /// Call when the bucket has neither waiters nor places. If it had no waiters before, as is
    /// nearly always so, this touches nothing but the bucket.
    void set_idle(Bucket& bucket, Time now) noexcept {
        bucket.last_used = now;
        if (bucket.filed == Time::min()) bucket.filed = now;
        if (bucket.idle) return;
        bucket.idle = true;
        ++idle_count_;
        if (bucket.waits) stop_waiting(bucket, now);
    }
    /// Looks at a few idle buckets, the oldest first, and makes them dormant or evicts them. Evicts
    /// nothing that is in use or still counts. Returns how many were evicted. Call it with the same
    /// limits each time.
    std::size_t sweep(Time now, const IdleLimits& limits, std::size_t steps) {
        const bool none = now < due_ && idle_count_ <= limits.most_idle;
        return none ? 0 : sweep_some(now, limits, steps);
    }
    /// Evicts every bucket that has been idle since `before`, dormant ones too. Returns how many.
    std::size_t collect(Time now, Time before);

    [[nodiscard]] std::size_t bucket_count() const noexcept { return buckets_.size(); }
    [[nodiscard]] std::size_t lane_count() const noexcept { return lanes_.size(); }
    [[nodiscard]] std::size_t idle_count() const noexcept { return idle_count_; }

    template <class Visitor>
    void each_lane(Visitor visit) const {
        for (Lane* lane : lanes_)
            visit(*lane);
    }
    /// Visits all buckets, dormant ones too, in no order.
    template <class Visitor>
    void each_bucket(Visitor visit) const {
        for (BucketEntry* entry : buckets_)
            visit(*entry);
    }
    /// Visits the families of routes whose hash is known: visit(family, hash).
    template <class Visitor>
    void each_learned(Visitor visit) const {
        for (const auto& [family, known] : families_) {
            if (known.hash != 0) visit(family, hash_text(known.hash));
        }
    }
    /// Visits the hashes whose routes have separate counters.
    template <class Visitor>
    void each_split(Visitor visit) const {
        for (const auto& [text, known] : hash_ids_) {
            if (known.apart) visit(std::string_view(text));
        }
    }
    /// Visits the hashes whose majors draw on one bucket.
    template <class Visitor>
    void each_joined(Visitor visit) const {
        for (const auto& [text, known] : hash_ids_) {
            if (known.common) visit(std::string_view(text));
        }
    }
    /// Visits all lanes that have waiters, and others of their buckets. `visit` may empty queues
    /// and make the lane's own bucket idle, and must not touch other buckets.
    template <class Visitor>
    void each_waiting_lane(Visitor visit) {
        for (auto at = waiting_.begin(); at != waiting_.end();) {
            auto& bucket = static_cast<Bucket&>(*at++);
            for (Lane& lane : bucket.lanes)
                visit(lane);
        }
    }

    /// Visits the lanes of this webhook that draw on the bucket known for their routes. One step
    /// for each family of webhook routes. `visit` as above.
    template <class Visitor>
    void each_lane_of_webhook(const Major& major, Visitor visit) {
        const auto visit_all = [&](const BucketKey& key) {
            const auto at = buckets_.find(key);
            if (at == buckets_.end() || (*at)->dormant) return;
            for (Lane& lane : static_cast<Bucket*>(*at)->lanes) {
                if (lane.major() == major) visit(lane);
            }
        };
        for (const std::uint64_t family : webhook_families_) {
            if (const HashId hash = learned(family)) visit_all(key_of(hash, major, family));
            visit_all({family, major, 0, false});
        }
    }

private:
    static LaneKey key_of(const Lane* lane) noexcept {
        return {lane->route, lane->major(), lane->tag};
    }
    static const BucketKey& key_of(const BucketEntry* bucket) noexcept { return bucket->key; }
    static bool has_key(const Lane* lane, const LaneKey& key) noexcept {
        return lane->route == key.route && lane->tag == key.tag && lane->major() == key.major;
    }
    static bool has_key(const BucketEntry* bucket, const BucketKey& key) noexcept {
        return bucket->key == key;
    }

    template <class Item, class Key>
    struct KeyHash {
        using is_transparent = void;
        using is_avalanching = void; // the keys' own hashes are mixed well enough
        std::size_t operator()(const Key& key) const noexcept { return key.hash(); }
        std::size_t operator()(const Item* item) const noexcept { return key_of(item).hash(); }
    };
    template <class Item, class Key>
    struct KeyEqual {
        using is_transparent = void;
        bool operator()(const Item* a, const Item* b) const noexcept { return a == b; }
        bool operator()(const Key& a, const Item* b) const noexcept { return has_key(b, a); }
        bool operator()(const Item* a, const Key& b) const noexcept { return has_key(a, b); }
    };
    template <class Item, class Key>
    using Set = boost::unordered_flat_set<Item*, KeyHash<Item, Key>, KeyEqual<Item, Key>>;
    struct KnownHash {
        HashId id = 0;
        bool apart = false;  ///< its routes do not share a counter
        bool common = false; ///< its majors share a counter
        bool suspected = false;
        Time parted_until = Time::min(); ///< they are not joined before this
        [[nodiscard]] bool odd() const noexcept { return apart || common || suspected; }
    };

    Family* entry(std::uint64_t family);
    [[nodiscard]] bool differs(const Lane& lane) const noexcept;
    void add_webhook_family(std::uint64_t family);
    [[nodiscard]] bool counts_apart(HashId hash) const noexcept {
        return any_odd_ && hashes_[hash - 1]->second.apart;
    }
    /// Returns the major parameter of the bucket on which a lane of this major draws.
    [[nodiscard]] Major major_of(HashId hash, const Major& major) const noexcept {
        return is_common(hash) ? Major() : major;
    }
    static void drop_merged(Bucket* bucket) noexcept;
    void stop_waiting(Bucket& bucket, Time now) noexcept;
    void file(Bucket& bucket, Time now) noexcept;
    static bool over(Bucket& bucket, Time now) noexcept;
    static bool evictable(Bucket& bucket, Time now) noexcept;
    static void forget_draws_on(Bucket& bucket, Time now) noexcept;
    [[nodiscard]] bool may_sleep(const Bucket& bucket) const noexcept;
    bool put_to_sleep(Bucket& bucket) noexcept;
    Bucket& wake(DormantBucket& dormant);
    void replace(BucketEntry& entry, BucketEntry& by) noexcept;
    void drop_lanes(Bucket& bucket) noexcept;
    void evict(Bucket& bucket) noexcept;
    void evict(DormantBucket& dormant) noexcept;
    bool evict_dormant(Time now, const IdleLimits& limits) noexcept;
    std::size_t sweep_some(Time now, const IdleLimits& limits, std::size_t steps);
    [[nodiscard]] Time next_sweep(Time now, const IdleLimits& limits) const noexcept;

    Set<Lane, LaneKey> lanes_;
    Set<BucketEntry, BucketKey> buckets_;
    // Two tables that stay small and are asked only when something is new.
    std::map<std::uint64_t, Family> families_;
    std::vector<std::uint64_t> webhook_families_; // those of webhooks among families_
    std::map<std::string, KnownHash, std::less<>> hash_ids_;
    std::vector<std::pair<const std::string, KnownHash>*> hashes_; // by id - 1
    bool any_odd_ = false;                                         // some hash is or was odd()
    bool any_joined_ = false;                                      // some hash was joined once
    // Every bucket is in one of three lists. Use does not move it, which would touch its
    // neighbours; the search for old buckets puts those at the end that have been used since.
    using UseList = IntrusiveList<BucketEntry, UseHook>;
    UseList filed_; // ascending by Bucket::filed, more or less
    UseList waiting_;
    UseList merged_;  // in no table any more: some of their places are still out
    UseList dormant_; // in the order in which they became dormant
    std::size_t idle_count_ = 0;
    Time due_ = Time::min(); // before that no bucket is due for its age
};

inline Registry::~Registry() {
    // Places that outlive the registry are not used any more; the owner of both drops them first.
    for (Lane* lane : lanes_)
        delete lane;
    while (!merged_.empty()) {
        auto* bucket = static_cast<Bucket*>(&merged_.front());
        merged_.pop_front();
        delete bucket;
    }
    for (BucketEntry* entry : buckets_) {
        if (entry->dormant) {
            delete static_cast<DormantBucket*>(entry);
            continue;
        }
        auto* bucket = static_cast<Bucket*>(entry);
        delete bucket;
    }
}

inline void Registry::reserve(std::size_t buckets) {
    buckets_.reserve(buckets);
    lanes_.reserve(buckets);
}

inline Lane* Registry::find_lane(const LaneKey& key) const noexcept {
    const auto at = lanes_.find(key);
    return at == lanes_.end() ? nullptr : *at;
}

inline Bucket* Registry::find_bucket(const BucketKey& key) {
    const auto at = buckets_.find(key);
    if (at == buckets_.end()) return nullptr;
    return (*at)->dormant ? &wake(static_cast<DormantBucket&>(**at)) : static_cast<Bucket*>(*at);
}

inline Family* Registry::entry(std::uint64_t family) {
    const auto at = families_.find(family);
    if (at != families_.end()) return &at->second;
    return families_.size() < most_routes ? &families_[family] : nullptr;
}

inline void Registry::add_webhook_family(std::uint64_t family) {
    Family* known = entry(family);
    if (known == nullptr || known->webhook) return;
    webhook_families_.push_back(family);
    known->webhook = true;
}

inline Bucket& Registry::bucket(const BucketKey& key) {
    if (Bucket* known = find_bucket(key)) return *known;
    auto made = std::make_unique<Bucket>();
    made->key = key;
    Family* const route = key.hash_known ? nullptr : entry(key.name);
    buckets_.insert(made.get()); // after everything else that may run out of memory
    filed_.push_back(*made);
    if (route != nullptr) route->unknown.push_back(*made);
    return *made.release();
}

[[gnu::noinline]] inline Lane& Registry::lane(const LaneKey& key, const LaneTraits& traits) {
    if (Lane* known = find_lane(key)) return *known;
    auto made = std::make_unique<Lane>();
    made->route = key.route;
    made->own_major = key.major;
    made->tag = key.tag;
    made->traits = traits;
    if (made->traits.family == 0) made->traits.family = key.route;
    const std::uint64_t family = made->traits.family;
    made->bucket = &bucket(home_of(key.major, family));
    // A token does not always show that it belongs to an interaction.
    if (made->major().kind == MajorKind::interaction) made->traits.exempt = true;
    made->family = entry(family);
    if (traits.webhook || traits.path_token) add_webhook_family(family);
    lanes_.insert(made.get());
    made->bucket->lanes.push_back(*made);
    return *made.release();
}

inline HashId Registry::find_hash(std::string_view hash) const noexcept {
    const auto at = hash_ids_.find(hash);
    return at == hash_ids_.end() ? 0 : at->second.id;
}

[[gnu::noinline]] inline HashId Registry::intern(std::string_view hash) {
    if (hash.empty()) return 0;
    if (const HashId known = find_hash(hash)) return known;
    if (hashes_.size() >= most_hashes) return 0;
    hashes_.push_back(nullptr); // before it has an id, so that an exception loses nothing
    const auto id = static_cast<HashId>(hashes_.size());
    hashes_.back() = &*hash_ids_.emplace(hash, KnownHash{id}).first;
    return id;
}

inline void Registry::learn(std::uint64_t family, HashId hash) {
    if (Family* known = entry(family)) known->hash = hash;
}

inline HashId Registry::learned(std::uint64_t family) const noexcept {
    const auto at = families_.find(family);
    return at == families_.end() ? 0 : at->second.hash;
}

inline Bucket* Registry::next_unknown(std::uint64_t family) noexcept {
    const auto at = families_.find(family);
    if (at == families_.end() || at->second.unknown.empty()) return nullptr;
    return &at->second.unknown.front();
}

inline void Registry::set_waiting(Bucket& bucket) noexcept {
    set_busy(bucket);
    if (bucket.waits) return;
    bucket.waits = true;
    bucket.UseHook::unlink();
    waiting_.push_back(bucket);
}

[[gnu::noinline]] inline void Registry::stop_waiting(Bucket& bucket, Time now) noexcept {
    bucket.waits = false;
    file(bucket, now);
}

} // namespace sluice::core

#include <sluice/core/detail/registry_aging.hpp>
#include <sluice/core/detail/registry_joining.hpp>

#endif
