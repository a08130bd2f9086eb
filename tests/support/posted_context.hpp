// SPDX-License-Identifier: MIT
//
// An execution context that is destroyed while another thread posts to it.
#ifndef SLUICE_TESTS_SUPPORT_POSTED_CONTEXT_HPP
#define SLUICE_TESTS_SUPPORT_POSTED_CONTEXT_HPP

#include <boost/asio/bind_allocator.hpp>
#include <boost/asio/bind_executor.hpp>
#include <boost/asio/io_context.hpp>

#include <atomic>
#include <chrono>
#include <cstddef>
#include <functional>
#include <memory>
#include <thread>
#include <utility>

namespace sluice::tests {

/// Calls a function before each allocation.
template <class T>
struct ToldAllocator {
    using value_type = T;

    explicit ToldAllocator(const std::function<void()>& function) : tell(&function) {}
    template <class Other>
    ToldAllocator(const ToldAllocator<Other>& other) : tell(other.tell) {}

    T* allocate(std::size_t count) {
        (*tell)();
        return std::allocator<T>().allocate(count);
    }
    void deallocate(T* memory, std::size_t count) noexcept {
        std::allocator<T>().deallocate(memory, count);
    }
    template <class Other>
    bool operator==(const ToldAllocator<Other>& other) const noexcept {
        return tell == other.tell;
    }

    const std::function<void()>* tell;
};

class PostedContext {
public:
    /// The handler completes on this context, and its allocator sees when it is posted.
    template <class Handler>
    auto bind(Handler handler) {
        return boost::asio::bind_allocator(
            ToldAllocator<void>(tell_),
            boost::asio::bind_executor(context_->get_executor(), std::move(handler)));
    }

    /// `grant` posts what was bound, on another thread; the context is destroyed meanwhile. False:
    /// it went before `grant` was done with it.
    template <class Grant>
    [[nodiscard]] bool outlives_posting(Grant grant) {
        armed_ = true;
        std::thread poster(grant);
        while (!posting_)
            std::this_thread::yield();
        context_.reset();
        gone_ = true;
        poster.join();
        return !gone_too_early_;
    }

private:
    /// In real time, because nothing shows that the other thread waits: if it does not, it needs
    /// far less than this.
    static constexpr std::chrono::milliseconds patience{50};

    void linger() {
        if (!armed_) return;
        posting_ = true;
        const auto until = std::chrono::steady_clock::now() + patience;
        while (!gone_ && std::chrono::steady_clock::now() < until)
            std::this_thread::yield();
        gone_too_early_ = gone_.load();
    }

    const std::function<void()> tell_ = [this] { linger(); };
    std::unique_ptr<boost::asio::io_context> context_ = std::make_unique<boost::asio::io_context>();
    std::atomic<bool> armed_ = false;
    std::atomic<bool> posting_ = false;
    std::atomic<bool> gone_ = false;
    std::atomic<bool> gone_too_early_ = false;
};

} // namespace sluice::tests

#endif
