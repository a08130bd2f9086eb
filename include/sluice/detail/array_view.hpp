// SPDX-License-Identifier: MIT
//
// Some items of an array that lives elsewhere. std::span is the same, but asks <ranges> whether an
// array is a range, which costs the compiler of every unit as much as a std::map would.
#ifndef SLUICE_DETAIL_ARRAY_VIEW_HPP
#define SLUICE_DETAIL_ARRAY_VIEW_HPP

#include <array>
#include <cstddef>

namespace sluice::detail {

template <class Item>
class ArrayView {
public:
    constexpr ArrayView() = default;
    template <std::size_t count>
    constexpr ArrayView(const std::array<Item, count>& items) noexcept // to pass an array as it is
        : first_(items.data()), size_(count) {}

    [[nodiscard]] constexpr const Item* begin() const noexcept { return first_; }
    [[nodiscard]] constexpr const Item* end() const noexcept { return first_ + size_; }
    [[nodiscard]] constexpr std::size_t size() const noexcept { return size_; }
    [[nodiscard]] constexpr bool empty() const noexcept { return size_ == 0; }
    [[nodiscard]] constexpr const Item& operator[](std::size_t index) const noexcept {
        return first_[index];
    }
    [[nodiscard]] constexpr const Item& front() const noexcept { return *first_; }
    [[nodiscard]] constexpr const Item& back() const noexcept { return first_[size_ - 1]; }
    /// Both must lie within.
    [[nodiscard]] constexpr ArrayView subview(std::size_t first, std::size_t count) const noexcept {
        ArrayView some;
        some.first_ = first_ + first;
        some.size_ = count;
        return some;
    }

private:
    const Item* first_ = nullptr;
    std::size_t size_ = 0;
};

} // namespace sluice::detail

#endif
