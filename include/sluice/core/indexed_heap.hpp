// SPDX-License-Identifier: MIT
//
// A 4-ary min-heap of pointers to items that store their own position, so that any of them can be
// moved or removed in O(log n). It carries the wake times of buckets, the buckets that wait for the
// global limit, and the waiters with a bound.
// Boost.Heap offers the same with one allocation per item; here an item costs 16 bytes and none.
#ifndef SLUICE_CORE_INDEXED_HEAP_HPP
#define SLUICE_CORE_INDEXED_HEAP_HPP

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <utility>
#include <vector>

namespace sluice::core {

/// An item's position in one heap; `nowhere` while it is in none.
using HeapPosition = std::uint32_t;
inline constexpr HeapPosition nowhere = UINT32_MAX;

template <class Item, class Key, HeapPosition Item::*Position>
class IndexedHeap {
public:
    [[nodiscard]] bool empty() const noexcept { return entries_.empty(); }
    [[nodiscard]] std::size_t size() const noexcept { return entries_.size(); }
    [[nodiscard]] Item& top() const noexcept { return *entries_.front().item; }
    [[nodiscard]] const Key& top_key() const noexcept { return entries_.front().key; }
    /// Returns the top key, or the greatest possible key while the heap is empty. Stored, because
    /// it is asked for far more often than it changes.
    [[nodiscard]] const Key& least() const noexcept { return least_; }
    [[nodiscard]] static bool contains(const Item& item) noexcept {
        return item.*Position != nowhere;
    }
    /// The item must be in the heap.
    [[nodiscard]] const Key& key_of(const Item& item) const noexcept {
        return entries_[item.*Position].key;
    }

    /// Inserts the item, or moves it to its new key.
    void set(Item& item, Key key) {
        if (contains(item)) {
            const std::size_t at = item.*Position;
            entries_[at].key = key;
            sift_down(sift_up(at));
        } else {
            entries_.push_back({key, &item});
            item.*Position = static_cast<HeapPosition>(entries_.size() - 1);
            sift_up(entries_.size() - 1);
        }
        least_ = entries_.front().key;
    }

    /// Gives the top a greater key and returns true, if it stays the top; otherwise changes
    /// nothing.
    [[nodiscard]] bool keep_top(Key key) noexcept {
        const std::size_t end = std::min<std::size_t>(entries_.size(), 5);
        for (std::size_t child = 1; child < end; ++child) {
            if (entries_[child].key < key) return false;
        }
        entries_.front().key = key;
        least_ = key;
        return true;
    }

    void erase(Item& item) noexcept {
        if (!contains(item)) return;
        const std::size_t at = item.*Position;
        item.*Position = nowhere;
        const Entry last = entries_.back();
        entries_.pop_back();
        if (at != entries_.size()) {
            place(at, last);
            sift_down(sift_up(at));
        }
        least_ = entries_.empty() ? greatest : entries_.front().key;
    }

    /// Visits at most so many, the top first, then in no order: visit(item, key).
    template <class Visitor>
    void each_of_first(std::size_t most, Visitor visit) const {
        for (std::size_t i = 0; i < std::min(most, entries_.size()); ++i)
            visit(*entries_[i].item, entries_[i].key);
    }

    void reserve(std::size_t items) { entries_.reserve(items); }

private:
    struct Entry {
        Key key;
        Item* item;
    };

    void place(std::size_t at, const Entry& entry) noexcept {
        entries_[at] = entry;
        entry.item->*Position = static_cast<HeapPosition>(at);
    }

    std::size_t sift_up(std::size_t at) noexcept {
        const Entry moving = entries_[at];
        while (at > 0) {
            const std::size_t parent = (at - 1) / 4;
            if (!(moving.key < entries_[parent].key)) break;
            place(at, entries_[parent]);
            at = parent;
        }
        place(at, moving);
        return at;
    }

    void sift_down(std::size_t at) noexcept {
        const Entry moving = entries_[at];
        for (;;) {
            const std::size_t first = 4 * at + 1;
            if (first >= entries_.size()) break;
            const std::size_t end = first + 4 < entries_.size() ? first + 4 : entries_.size();
            std::size_t least = first;
            for (std::size_t child = first + 1; child < end; ++child) {
                if (entries_[child].key < entries_[least].key) least = child;
            }
            if (!(entries_[least].key < moving.key)) break;
            place(at, entries_[least]);
            at = least;
        }
        place(at, moving);
    }

    static constexpr Key greatest = [] {
        if constexpr (requires { Key::max(); }) {
            return Key::max();
        } else {
            return std::numeric_limits<Key>::max();
        }
    }();

    std::vector<Entry> entries_;
    Key least_ = greatest;
};

} // namespace sluice::core

#endif
