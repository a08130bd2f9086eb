// SPDX-License-Identifier: MIT
//
// detail/frame_wait.hpp: where the operation of an awaiting coroutine lies. That it waits, ends and
// is cancelled as any other is tested with acquire() and reacquire().
#include <sluice/sluice.hpp>

#include "support/catch.hpp"

#include <boost/asio/any_io_executor.hpp>

#include <array>
#include <cstddef>
#include <functional>

namespace {

namespace asio = boost::asio;
using sluice::detail::DeliverToFrame;
using sluice::detail::FrameWait;

/// As much as a coroutine's own handler is: a pointer and an executor that it finds there.
struct Resume {
    using executor_type = asio::any_io_executor;

    [[nodiscard]] executor_type get_executor() const noexcept { return {}; }
    void operator()() const {}

    void* coroutine = nullptr;
};
using Operation =
    sluice::detail::HandlerOperation<sluice::detail::WaitOperation, Resume, DeliverToFrame>;

template <class T>
bool lies_in(const FrameWait& wait, const T* memory) {
    const auto* first = reinterpret_cast<const std::byte*>(&wait);
    const auto* at = reinterpret_cast<const std::byte*>(memory);
    return !std::less<>()(at, first) && !std::less<>()(first + sizeof wait, at + sizeof(T));
}

} // namespace

TEST_CASE("the operation of an awaiting coroutine lies in its frame") {
    FrameWait wait;
    FrameWait::Allocator<Operation> allocator(DeliverToFrame{&wait}.get_allocator());
    Operation* const memory = allocator.allocate(1);
    CHECK(lies_in(wait, memory));
    allocator.deallocate(memory, 1);
    CHECK(allocator.allocate(1) == memory); // the room is free again
}

TEST_CASE("an operation that is too large for the frame lies on the heap") {
    using Large = std::array<std::byte, 1'000>;
    FrameWait wait;
    FrameWait::Allocator<Large> allocator(wait);
    Large* const memory = allocator.allocate(1);
    CHECK_FALSE(lies_in(wait, memory));
    memory->fill(std::byte{1}); // all of it is ours
    allocator.deallocate(memory, 1);
}
