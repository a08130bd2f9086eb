// SPDX-License-Identifier: MIT
//
// Waiting in a coroutine's own frame: the operation lies there, so it takes no memory by itself,
// and its result arrives there, so no ticket is moved from hand to hand. The frame outlives the
// operation: only the operation's handler can resume or destroy it.
#ifndef SLUICE_DETAIL_FRAME_WAIT_HPP
#define SLUICE_DETAIL_FRAME_WAIT_HPP

#include <sluice/detail/wait_operation.hpp>

#include <cstddef>
#include <memory>
#include <utility>

namespace sluice::detail {

class FrameWait {
public:
    FrameWait() = default;
    FrameWait(const FrameWait&) = delete;
    FrameWait& operator=(const FrameWait&) = delete;

    /// Before acquire() waits, its issuer; afterwards how the wait ended.
    WaitResult result;

    /// For one object, the operation. One that is larger than the room goes to the heap.
    template <class T>
    class Allocator {
    public:
        using value_type = T;

        explicit Allocator(FrameWait& wait) noexcept : wait_(&wait) {}
        template <class U>
        explicit Allocator(const Allocator<U>& other) noexcept : wait_(other.wait_) {}

        [[nodiscard]] T* allocate(std::size_t count) {
            if constexpr (fits()) {
                return reinterpret_cast<T*>(wait_->room_);
            } else {
                return std::allocator<T>().allocate(count);
            }
        }
        void deallocate([[maybe_unused]] T* memory, [[maybe_unused]] std::size_t count) noexcept {
            if constexpr (!fits()) std::allocator<T>().deallocate(memory, count);
        }

    private:
        template <class>
        friend class Allocator;
        static constexpr bool fits() noexcept {
            return sizeof(T) <= room && alignof(T) <= alignof(std::max_align_t);
        }

        FrameWait* wait_;
    };

private:
    /// What the operation of an awaiting coroutine takes with Boost 1.81 on 64 bits.
    static constexpr std::size_t room = 208;

    alignas(std::max_align_t) std::byte room_[room];
};

/// Leaves the result where the coroutine finds it.
struct DeliverToFrame {
    FrameWait* wait;

    template <class Handler>
    void operator()(Handler& handler, WaitResult& result) const {
        wait->result = std::move(result);
        std::move(handler)();
    }
    [[nodiscard]] FrameWait::Allocator<std::byte> get_allocator() const noexcept {
        return FrameWait::Allocator<std::byte>(*wait);
    }
};

} // namespace sluice::detail

#endif
