// SPDX-License-Identifier: MIT
#include <sluice/core/indexed_heap.hpp>

#include "support/catch.hpp"

#include <algorithm>
#include <array>
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

TEST_CASE("the top keeps its place with a greater key only while it is the least") {
    std::mt19937 random(2);
    std::array<int, 2> times{}; // refused, kept
    for (int round = 0; round < 2'000; ++round) {
        CAPTURE(round);
        std::vector<Item> items(1 + random() % 12);
        Heap heap;
        for (Item& item : items) {
            item.key = static_cast<std::int64_t>(random() % 20);
            heap.set(item, item.key);
        }
        Item& top = heap.top();
        const std::int64_t before = top.key;
        top.key += static_cast<std::int64_t>(random() % 20);
        const bool least = top.key == least_key(items);
        REQUIRE(heap.keep_top(top.key) == least);
        REQUIRE(&heap.top() == &top);
        REQUIRE(heap.top_key() == (least ? top.key : before));
        REQUIRE(heap.least() == heap.top_key());
        ++times[least ? 1 : 0];
    }
    CHECK(times[0] > 100);
    CHECK(times[1] > 100);
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
