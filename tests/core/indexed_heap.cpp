// SPDX-License-Identifier: MIT
#include <sluice/core/indexed_heap.hpp>

#include "support/catch.hpp"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <random>
#include <vector>

namespace {

using sluice::core::HeapPosition;
using sluice::core::IndexedHeap;
using sluice::core::nowhere;

struct Item {
    HeapPosition position = nowhere;
    HeapPosition other_position = nowhere;
    std::int64_t key = 0; // what a reference would sort by
};

using Heap = IndexedHeap<Item, std::int64_t, &Item::position>;
using OtherHeap = IndexedHeap<Item, std::int64_t, &Item::other_position>;

std::int64_t least_key(const std::vector<Item>& items) {
    std::int64_t least = INT64_MAX;
    for (const Item& item : items) {
        if (Heap::contains(item)) least = std::min(least, item.key);
    }
    return least;
}

} // namespace

TEST_CASE("the least key is on top, however items come, move and go") {
    std::mt19937 random(1);
    std::vector<Item> items(100);
    Heap heap;
    std::size_t size = 0;
    for (int step = 0; step < 50'000; ++step) {
        CAPTURE(step);
        Item& item = items[random() % items.size()];
        const bool was_in = Heap::contains(item);
        if (random() % 3 == 0) {
            heap.erase(item);
            size -= was_in ? 1 : 0;
        } else {
            item.key = static_cast<std::int64_t>(random() % 50); // many are equal
            heap.set(item, item.key);
            size += was_in ? 0 : 1;
        }
        REQUIRE(heap.size() == size);
        REQUIRE(heap.empty() == (size == 0));
        if (size == 0) continue;
        REQUIRE(heap.top_key() == least_key(items));
        REQUIRE(heap.top().key == heap.top_key());
    }
}

TEST_CASE("items leave a heap in the order of their keys") {
    std::mt19937 random(2);
    std::vector<Item> items(1000);
    std::vector<std::int64_t> keys;
    Heap heap;
    heap.reserve(items.size());
    for (Item& item : items) {
        keys.push_back(static_cast<std::int64_t>(random()));
        heap.set(item, keys.back());
    }
    std::sort(keys.begin(), keys.end());
    for (const std::int64_t key : keys) {
        REQUIRE(heap.top_key() == key);
        heap.erase(heap.top());
    }
    CHECK(heap.empty());
}

TEST_CASE("taking out what is in no heap changes nothing") {
    std::vector<Item> items(2);
    Heap heap;
    heap.set(items[0], 5);
    heap.erase(items[1]);
    CHECK(heap.size() == 1);
    heap.erase(items[0]);
    heap.erase(items[0]);
    CHECK(heap.empty());
    CHECK_FALSE(Heap::contains(items[0]));
}

TEST_CASE("an item can be in two heaps at once") {
    std::vector<Item> items(3);
    Heap heap;
    OtherHeap other;
    for (std::size_t i = 0; i < items.size(); ++i) {
        heap.set(items[i], static_cast<std::int64_t>(i));
        other.set(items[i], -static_cast<std::int64_t>(i));
    }
    CHECK(&heap.top() == &items[0]);
    CHECK(&other.top() == &items[2]);
    heap.erase(items[2]);
    CHECK(OtherHeap::contains(items[2]));
    CHECK(&other.top() == &items[2]);
}
