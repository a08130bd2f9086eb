// SPDX-License-Identifier: MIT
//
// Waiting, whatever is waited for: an operation that is queued somewhere, claimed exactly once
// under its owner's lock, posted by whoever claimed it, alone or together with others (drain.hpp),
// and called exactly once on its executor.
// From the claim it lives until it runs, or until the executor throws the posted function away. It
// frees itself before it calls the handler.
//
// An operation type derives from BasicWaitOperation and adds what it waits for:
//     Result finish();               it runs now: asks the owner whether the grant still stands,
//                                    and moves out what the handler will be given
//     void give_back() noexcept;     it will never run: what it was granted goes back
// Its owner has executor(), and abort(operation), which may come from any thread at any time before
// the operation has run, and shut_down(context), which destroys what waits on that context.
#ifndef SLUICE_DETAIL_WAITER_HPP
#define SLUICE_DETAIL_WAITER_HPP

#include <sluice/detail/context_service.hpp>
#include <sluice/detail/handler_executor.hpp>
#include <sluice/detail/outcome.hpp>

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/associated_allocator.hpp>
#include <boost/asio/associated_cancellation_slot.hpp>
#include <boost/asio/associated_executor.hpp>
#include <boost/asio/cancellation_type.hpp>
#include <boost/asio/dispatch.hpp>
#include <boost/asio/execution_context.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/recycling_allocator.hpp>

#include <atomic>
#include <memory>
#include <type_traits>
#include <utility>

namespace sluice::detail {

/// The part that does not know its handler. `Node` is what queues it. Fields are guarded by the
/// owner's lock until the operation has been posted, and belong to it afterwards, except `aborted`.
template <class Issuer, class Node>
class BasicWaitOperation : public Node {
public:
    using Owner = Issuer;

    explicit BasicWaitOperation(std::shared_ptr<Owner> from) : issuer(std::move(from)) {}
    BasicWaitOperation(const BasicWaitOperation&) = delete;
    BasicWaitOperation& operator=(const BasicWaitOperation&) = delete;

    virtual void post() = 0;
    /// Frees the operation and calls its handler.
    virtual void run() = 0;
    /// Frees the operation, which will never run, and gives back what it was granted.
    virtual void throw_away() noexcept = 0;
    /// The executor that it completes on, if others may complete there in one posted function.
    [[nodiscard]] virtual const boost::asio::any_io_executor* shared_executor() const noexcept = 0;
    /// What it completes on.
    [[nodiscard]] virtual const boost::asio::execution_context& context() const noexcept = 0;
    /// Frees the operation and its handler; what it holds must have been given back.
    virtual void destroy() noexcept = 0;

    // The small ones first: they fit behind those of the node.
    Outcome outcome;
    std::atomic<bool> aborted = false; // after the claim, or before the operation was published
    bool connected = false;            // while the cancellation slot holds a reference to it
    std::shared_ptr<Owner> issuer;

protected:
    ~BasicWaitOperation() = default;
};

/// Whose memory an operation takes: its delivery's, or else its handler's, or else what its thread
/// has just let go of, as Asio's own operations do.
template <class Handler, class Deliver>
auto memory_of(const Handler& handler, const Deliver& deliver) noexcept {
    if constexpr (requires { deliver.get_allocator(); }) {
        return deliver.get_allocator();
    } else {
        return boost::asio::get_associated_allocator(handler,
                                                     boost::asio::recycling_allocator<void>());
    }
}

/// `Deliver` makes the handler's arguments: deliver(handler, result) calls it, as an rvalue, and
/// moves out of the result.
template <class Operation, class Handler, class Deliver>
class HandlerOperation final : public Operation {
    using Owner = typename Operation::Owner;
    using Executors = HandlerExecutors<Handler>;
    using Allocator = typename std::allocator_traits<decltype(memory_of(
        std::declval<const Handler&>(),
        std::declval<const Deliver&>()))>::template rebind_alloc<HandlerOperation>;

public:
    static HandlerOperation& make(std::shared_ptr<Owner> issuer, Handler handler, Deliver deliver) {
        Allocator allocator(memory_of(handler, deliver));
        Executors executors(handler, *issuer);
        BasicContextService<Owner>::watch(context_of(executors.base()), issuer);
        HandlerOperation* memory = std::allocator_traits<Allocator>::allocate(allocator, 1);
        try {
            return *new (memory) HandlerOperation(std::move(issuer), std::move(handler),
                                                  std::move(deliver), std::move(executors));
        } catch (...) {
            std::allocator_traits<Allocator>::deallocate(allocator, memory, 1);
            throw;
        }
    }

    void post() override {
        if constexpr (has_immediate_executor<Handler>) {
            if (phase_.leave_to_starter()) return;
        }
        executors_.post(Posted(this));
    }

    /// Calls `start()`, which publishes the operation. What has finished before that returns is
    /// completed here if the handler has an immediate executor, and else was posted as always.
    template <class Start>
    void begin(Start start) {
        connect_cancellation();
        start(*this);
        if constexpr (has_immediate_executor<Handler>) {
            if (phase_.is_left())
                complete_at_once(handler_, *this->issuer, [&] { return Posted(this); });
        }
    }

    void run() override {
        // The result leaves this memory before it is freed, and it is freed before the handler
        // runs.
        auto result = this->finish();
        Deliver deliver = std::move(deliver_);
        // Work is released only after the handler has run: a context must not stop in between.
        [[maybe_unused]] const Executors keep_running = std::move(executors_);
        Handler handler = release();
        deliver(handler, result);
    }

    void throw_away() noexcept override {
        const std::shared_ptr<Owner> from = this->issuer; // must outlive its own call
        this->give_back();
        destroy();
    }

    /// A handler with an allocator of its own wants its posted function to be allocated there.
    [[nodiscard]] const boost::asio::any_io_executor* shared_executor() const noexcept override {
        constexpr bool ordinary =
            std::is_same_v<boost::asio::associated_allocator_t<Handler>, std::allocator<void>> &&
            !has_immediate_executor<Handler>;
        if constexpr (ordinary) {
            return executors_.shared();
        } else {
            return nullptr;
        }
    }

    [[nodiscard]] const boost::asio::execution_context& context() const noexcept override {
        return context_of(executors_.base());
    }

    void destroy() noexcept override {
        [[maybe_unused]] const Handler handler = release(); // dies last: this memory is free again
    }

private:
    /// Must come before the operation is published.
    void connect_cancellation() {
        auto slot = boost::asio::get_associated_cancellation_slot(handler_);
        if (slot.is_connected()) slot.template emplace<Canceller>(*this);
    }

    /// What the slot holds. A signal may go before the operation (when an io_context is destroyed
    /// last, they usually do), and then the slot must not be touched any more.
    class Canceller {
    public:
        explicit Canceller(HandlerOperation& operation) noexcept : operation_(operation) {
            operation.connected = true;
        }
        Canceller(const Canceller&) = delete;
        Canceller& operator=(const Canceller&) = delete;
        ~Canceller() { operation_.connected = false; }

        void operator()(boost::asio::cancellation_type type) const {
            if (type == boost::asio::cancellation_type::none) return;
            const std::shared_ptr<Owner> from = operation_.issuer; // must outlive its own call
            from->abort(operation_);
        }

    private:
        HandlerOperation& operation_;
    };

    HandlerOperation(std::shared_ptr<Owner> from, Handler&& handler, Deliver&& deliver,
                     Executors&& executors)
        : Operation(std::move(from)),
          executors_(std::move(executors)),
          handler_(std::move(handler)),
          deliver_(std::move(deliver)) {}
    ~HandlerOperation() = default;

    /// What the executor holds. Thrown away without being run, it gives back what was granted.
    class Posted {
    public:
        using allocator_type = boost::asio::associated_allocator_t<Handler>;

        explicit Posted(HandlerOperation* operation) noexcept : operation_(operation) {}
        Posted(Posted&& other) noexcept : operation_(std::exchange(other.operation_, nullptr)) {}
        Posted& operator=(Posted&&) = delete;
        ~Posted() {
            if (operation_ != nullptr) operation_->throw_away();
        }

        [[nodiscard]] allocator_type get_allocator() const noexcept {
            return boost::asio::get_associated_allocator(operation_->handler_);
        }
        void operator()() { std::exchange(operation_, nullptr)->run(); }

    private:
        HandlerOperation* operation_;
    };

    /// Disconnects, frees the memory and hands out the handler.
    Handler release() noexcept {
        if (this->connected) boost::asio::get_associated_cancellation_slot(handler_).clear();
        Handler handler = std::move(handler_);
        Allocator allocator(memory_of(handler, deliver_));
        this->~HandlerOperation();
        std::allocator_traits<Allocator>::deallocate(allocator, this, 1);
        return handler;
    }

    // First, because to make it may fail: the handler must not be in here then. It may own the
    // frame that this lies in.
    Executors executors_;
    Handler handler_;
    [[no_unique_address]] Deliver deliver_;
    [[no_unique_address]] std::conditional_t<has_immediate_executor<Handler>, StartPhase,
                                             NoStartPhase>
        phase_;
};

} // namespace sluice::detail

#endif
