// SPDX-License-Identifier: MIT
//
// A doubly linked list whose items bring their own links, so that any of them leaves in constant
// time and none costs an allocation. boost::intrusive::list is the same, but would be a third of
// the lines that sluice.hpp adds to a unit, and a twelfth of the compiler's work on them.
#ifndef SLUICE_CORE_INTRUSIVE_LIST_HPP
#define SLUICE_CORE_INTRUSIVE_LIST_HPP

#include <cstddef>
#include <iterator>
#include <type_traits>

namespace sluice::core {

/// The links of an item. An item that may be in several lists at once derives from several types of
/// hook, each of which derives from this one.
class ListHook {
public:
    ListHook() = default;
    ListHook(const ListHook&) = delete;
    ListHook& operator=(const ListHook&) = delete;

    [[nodiscard]] bool is_linked() const noexcept { return next_ != nullptr; }
    /// Leaves its list, whichever that is, if it is in one.
    void unlink() noexcept {
        if (!is_linked()) return;
        previous_->next_ = next_;
        next_->previous_ = previous_;
        next_ = previous_ = nullptr;
    }

private:
    template <class Item, class Hook>
    friend class IntrusiveList;

    ListHook* next_ = nullptr;
    ListHook* previous_ = nullptr;
};

/// A hook that leaves its list on destruction, its own or the list's.
class LeavingListHook : public ListHook {
public:
    ~LeavingListHook() { unlink(); }
};

/// `Hook` is a base of `Item`. The list owns nothing; the owner of an item removes it before
/// freeing it.
template <class Item, class Hook = ListHook>
class IntrusiveList {
    template <class Value>
    class Iterator {
    public:
        using iterator_category = std::bidirectional_iterator_tag;
        using value_type = Item;
        using difference_type = std::ptrdiff_t;
        using pointer = Value*;
        using reference = Value&;

        Iterator() = default;
        explicit Iterator(ListHook* at) noexcept : at_(at) {}

        reference operator*() const noexcept { return item(*at_); }
        pointer operator->() const noexcept { return &item(*at_); }
        Iterator& operator++() noexcept {
            at_ = at_->next_;
            return *this;
        }
        Iterator operator++(int) noexcept {
            const Iterator before = *this;
            ++*this;
            return before;
        }
        Iterator& operator--() noexcept {
            at_ = at_->previous_;
            return *this;
        }
        Iterator operator--(int) noexcept {
            const Iterator before = *this;
            --*this;
            return before;
        }
        friend bool operator==(Iterator a, Iterator b) noexcept = default;

    private:
        friend IntrusiveList;
        ListHook* at_ = nullptr;
    };

public:
    using iterator = Iterator<Item>;
    using const_iterator = Iterator<const Item>;

    IntrusiveList() noexcept { ends_.next_ = ends_.previous_ = &ends_; }
    /// Takes all items of the other list.
    IntrusiveList(IntrusiveList&& other) noexcept : IntrusiveList() { splice(other); }
    IntrusiveList& operator=(IntrusiveList&&) = delete;
    ~IntrusiveList() {
        if constexpr (std::is_base_of_v<LeavingListHook, Hook>) clear();
    }

    [[nodiscard]] bool empty() const noexcept { return ends_.next_ == &ends_; }
    [[nodiscard]] bool has_several() const noexcept { return ends_.next_ != ends_.previous_; }
    [[nodiscard]] Item& front() const noexcept { return item(*ends_.next_); }
    [[nodiscard]] Item& back() const noexcept { return item(*ends_.previous_); }

    [[nodiscard]] iterator begin() noexcept { return iterator(ends_.next_); }
    [[nodiscard]] iterator end() noexcept { return iterator(&ends_); }
    [[nodiscard]] const_iterator begin() const noexcept { return const_iterator(ends_.next_); }
    [[nodiscard]] const_iterator end() const noexcept {
        return const_iterator(ends_.next_->previous_);
    }

    /// The item must be in no list through this hook.
    void insert(iterator before, Item& item) noexcept {
        ListHook& hook = static_cast<Hook&>(item);
        hook.next_ = before.at_;
        hook.previous_ = before.at_->previous_;
        before.at_->previous_ = hook.previous_->next_ = &hook;
    }
    void push_back(Item& item) noexcept { insert(end(), item); }
    /// Returns the item's position, whichever list it is in.
    [[nodiscard]] static iterator at(Item& item) noexcept {
        return iterator(&static_cast<Hook&>(item));
    }
    void pop_front() noexcept { ends_.next_->unlink(); }
    /// Constant time, whatever list it is in.
    static void erase(Item& item) noexcept { static_cast<Hook&>(item).unlink(); }
    /// Linear time.
    void clear() noexcept {
        while (!empty())
            pop_front();
    }

    /// Takes all items of the other list, behind its own ones. Constant time.
    void splice(IntrusiveList& other) noexcept { splice(other, other.end()); }
    void splice(IntrusiveList&& other) noexcept { splice(other); }
    /// Takes the items before `end` of the other list. Constant time.
    void splice(IntrusiveList& other, iterator end) noexcept {
        ListHook* const first = other.ends_.next_;
        if (first == end.at_) return;
        ListHook* const last = end.at_->previous_;
        other.ends_.next_ = end.at_;
        end.at_->previous_ = &other.ends_;
        first->previous_ = ends_.previous_;
        ends_.previous_->next_ = first;
        last->next_ = &ends_;
        ends_.previous_ = last;
    }

private:
    [[nodiscard]] static Item& item(ListHook& hook) noexcept {
        return static_cast<Item&>(static_cast<Hook&>(hook));
    }

    ListHook ends_; // before the first and behind the last
};

} // namespace sluice::core

#endif
