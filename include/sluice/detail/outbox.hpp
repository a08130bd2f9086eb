// SPDX-License-Identifier: MIT
//
// Operations that are claimed and not yet posted. They are posted in the order in which they were
// claimed, by one thread at a time, and never under their owner's lock.
#ifndef SLUICE_DETAIL_OUTBOX_HPP
#define SLUICE_DETAIL_OUTBOX_HPP

#include <sluice/detail/drain.hpp>
#include <sluice/detail/short_lock.hpp>

#include <boost/asio/execution_context.hpp>

#include <mutex>
#include <utility>

namespace sluice::detail {

/// `Operation` is as waiter.hpp says, and a node of the intrusive `List`. Guarded by the owner's
/// lock, which `lock` holds where it is passed.
template <class Operation, class List>
class Outbox {
public:
    [[nodiscard]] bool empty() const noexcept { return waiting_.empty(); }
    void push_back(Operation& operation) noexcept { waiting_.push_back(operation); }
    void splice(List& operations) noexcept { waiting_.splice(operations); }

    /// Posts until nothing is left, unless some thread is at it already, which then goes on.
    template <class Mutex>
    void post(std::unique_lock<Mutex>& lock) {
        if (posting_) return;
        posting_ = true;
        poster_ = this_thread();
        while (!waiting_.empty()) {
            List batch = std::move(waiting_);
            lock.unlock();
            Drain<Operation, List>::post_all(batch);
            lock.lock();
        }
        posting_ = false;
    }

    /// Takes out those that were to complete on the context.
    [[nodiscard]] List take_out(const boost::asio::execution_context& context) {
        List taken;
        for (auto at = waiting_.begin(); at != waiting_.end();) {
            auto& operation = static_cast<Operation&>(*at++);
            if (&operation.context() != &context) continue;
            List::erase(operation);
            taken.push_back(operation);
        }
        return taken;
    }

    /// Whatever had left before the call has been posted afterwards: a context that ends must not
    /// go while another thread still posts there.
    template <class Mutex>
    void wait_for_poster(std::unique_lock<Mutex>& lock) {
        constexpr int pauses = 256; // contexts end rarely, and posting takes microseconds
        while (posting_ && poster_ != this_thread()) {
            lock.unlock();
            for (int i = 0; i < pauses; ++i)
                pause();
            lock.lock();
        }
    }

private:
    /// Tells threads apart; <thread> would add 1,300 lines to every unit that includes us.
    [[nodiscard]] static const void* this_thread() noexcept {
        static thread_local const char own = 0;
        return &own;
    }

    List waiting_;
    const void* poster_ = nullptr;
    bool posting_ = false; // by poster_
};

} // namespace sluice::detail

#endif
