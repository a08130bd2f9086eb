// SPDX-License-Identifier: MIT
//
// First in, first out, in one vector whose used-up front is cut off when the vector is full: once
// grown it allocates no more. std::deque would allocate once for every few dozen items, and it or
// boost::circular_buffer would add 2,200 or 4,500 lines to every unit that includes us.
#ifndef SLUICE_CORE_FIFO_HPP
#define SLUICE_CORE_FIFO_HPP

#include <algorithm>
#include <cstddef>
#include <utility>
#include <vector>

namespace sluice::core {

/// Constant time for each operation on average. References hold until the next push_back().
template <class Item>
class Fifo {
public:
    [[nodiscard]] bool empty() const noexcept { return first_ == items_.size(); }
    /// True if the next push_back() moves items or allocates.
    [[nodiscard]] bool full() const noexcept { return items_.size() == items_.capacity(); }
    [[nodiscard]] std::size_t size() const noexcept { return items_.size() - first_; }
    [[nodiscard]] const Item& front() const noexcept { return items_[first_]; }
    [[nodiscard]] const Item& back() const noexcept { return items_.back(); }
    [[nodiscard]] Item& operator[](std::size_t index) noexcept { return items_[first_ + index]; }
    [[nodiscard]] const Item& operator[](std::size_t index) const noexcept {
        return items_[first_ + index];
    }

    void push_back(Item item) {
        // Only if at least half is used up: then the moves are paid for by the pops before.
        if (full() && 2 * first_ >= items_.size()) {
            std::move(items_.data() + first_, items_.data() + items_.size(), items_.data());
            for (; first_ > 0; --first_)
                items_.pop_back();
        }
        items_.push_back(std::move(item));
    }
    void pop_front() noexcept { ++first_; }

private:
    std::vector<Item> items_;
    std::size_t first_ = 0;
};

} // namespace sluice::core

#endif
