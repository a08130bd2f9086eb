// SPDX-License-Identifier: MIT
//
// Buckets with room and waiters: what is missing is a slot of the individual that they count
// against, or the address or the server is blocked. One queue for each individual, because one that
// has to wait must not hold up the others. Within a queue the earliest arrival goes first.
#ifndef SLUICE_CORE_READY_QUEUE_HPP
#define SLUICE_CORE_READY_QUEUE_HPP

#include <sluice/core/bucket.hpp>
#include <sluice/core/indexed_heap.hpp>
#include <sluice/core/lane.hpp>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>

namespace sluice::core {

class ReadyQueue {
public:
    using Heap = IndexedHeap<Bucket, std::uint64_t, &Bucket::ready_position>;

    [[nodiscard]] bool empty() const noexcept { return size_ == 0; }
    [[nodiscard]] const Heap& of(Individual individual) const noexcept { return at(individual); }
    /// True if buckets of other individuals are among them.
    [[nodiscard]] bool has_others(Individual individual) const noexcept {
        return size_ > at(individual).size();
    }
    [[nodiscard]] static bool contains(const Bucket& bucket) noexcept {
        return Heap::contains(bucket);
    }

    /// Adds the bucket to the queue of the individual, or moves it.
    void set(Bucket& bucket, Individual individual, std::uint64_t arrival) {
        if (contains(bucket) && bucket.ready_for != individual) erase(bucket);
        size_ += contains(bucket) ? 0 : 1;
        bucket.ready_for = individual;
        at(individual).set(bucket, arrival);
    }
    /// As IndexedHeap::keep_top().
    [[nodiscard]] bool keep_top(Individual individual, std::uint64_t arrival) noexcept {
        return at(individual).keep_top(arrival);
    }
    void erase(Bucket& bucket) noexcept {
        if (!contains(bucket)) return;
        at(bucket.ready_for).erase(bucket);
        --size_;
    }
    void reserve(std::size_t buckets) { at(Individual::token).reserve(buckets); }

private:
    [[nodiscard]] Heap& at(Individual individual) noexcept {
        return heaps_[static_cast<std::size_t>(individual)];
    }
    [[nodiscard]] const Heap& at(Individual individual) const noexcept {
        return heaps_[static_cast<std::size_t>(individual)];
    }

    std::array<Heap, individuals.size()> heaps_;
    std::size_t size_ = 0;
};

} // namespace sluice::core

#endif
