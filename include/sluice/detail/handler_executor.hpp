// SPDX-License-Identifier: MIT
//
// What handlers complete on. Asio's timer takes any executor, of which execute() and == are all
// that is sure, so its own way to hide a handler's type (any_completion_executor) answers no query.
#ifndef SLUICE_DETAIL_HANDLER_EXECUTOR_HPP
#define SLUICE_DETAIL_HANDLER_EXECUTOR_HPP

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/associated_allocator.hpp>
#include <boost/asio/associated_executor.hpp>
#include <boost/asio/async_result.hpp>
#include <boost/asio/dispatch.hpp>
#include <boost/asio/execution.hpp>
#include <boost/asio/execution_context.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/prefer.hpp>
#include <boost/asio/query.hpp>
#include <boost/asio/require.hpp>
#include <boost/asio/system_executor.hpp>
#include <boost/version.hpp>

#if BOOST_VERSION >= 108200
#include <boost/asio/associated_immediate_executor.hpp>
#include <boost/asio/bind_executor.hpp>
#endif

#include <atomic>
#include <concepts>
#include <cstdint>
#include <type_traits>
#include <utility>

namespace sluice::detail {

/// Can be posted to, and belongs to a context that tells when it ends.
template <class Executor>
concept ContextExecutor =
    std::same_as<Executor, boost::asio::any_io_executor> || // needs no properties instantiated
    (boost::asio::can_require_v<const Executor&, boost::asio::execution::blocking_t::never_t>&&
         boost::asio::can_query_v<const Executor&, boost::asio::execution::context_t>);

/// The execution context behind an executor.
template <class Executor>
boost::asio::execution_context& context_of(const Executor& executor) {
    return boost::asio::query(executor, boost::asio::execution::context);
}

/// An executor that counts the work which will be given to it.
template <class Executor>
auto tracked(const Executor& executor) {
    return boost::asio::prefer(executor, boost::asio::execution::outstanding_work.tracked);
}
template <class Executor>
using Tracked = std::decay_t<decltype(tracked(std::declval<const Executor&>()))>;

/// The executor of a limiter, of which there is none once its context has ended. A template, so
/// that only units that call it compile what Asio needs to hold a system_executor.
template <class = void>
boost::asio::any_io_executor or_system(boost::asio::any_io_executor executor) {
    if (!executor) executor = boost::asio::system_executor();
    return executor;
}

#if BOOST_VERSION >= 108200
/// In the place of the executor that stands in for a handler's own immediate one.
struct NoImmediate {
    template <class Function>
    void execute(Function&&) const {}
    [[nodiscard]] NoImmediate require(boost::asio::execution::blocking_t::never_t) const noexcept {
        return {};
    }
    bool operator==(const NoImmediate&) const noexcept = default;
};

/// Whether a handler says where it may complete before the initiating function returns.
template <class Handler>
inline constexpr bool has_immediate_executor =
    !std::is_same_v<typename boost::asio::associated_immediate_executor<Handler, NoImmediate>::type,
                    NoImmediate>;
#else
template <class Handler>
inline constexpr bool has_immediate_executor = false;
#endif

/// What a handler that waits completes on. One that names no executor completes on its issuer's,
/// who is asked only then: it takes a lock.
template <class Handler>
class HandlerExecutors {
    using Own = boost::asio::associated_executor_t<Handler, boost::asio::any_io_executor>;

public:
    template <class Issuer>
    HandlerExecutors(const Handler& handler, const Issuer& issuer)
        : executor_(tracked(own_of(handler, issuer))) {}

    /// One whose context tells of its end.
    [[nodiscard]] const Tracked<Own>& base() const noexcept { return executor_; }

    template <class Function>
    void post(Function function) const {
        boost::asio::post(executor_, std::move(function));
    }

    /// What others complete on too, perhaps.
    [[nodiscard]] const boost::asio::any_io_executor* shared() const noexcept {
        if constexpr (std::is_same_v<Tracked<Own>, boost::asio::any_io_executor>) {
            return &executor_;
        } else {
            return nullptr;
        }
    }

private:
    template <class Issuer>
    static Own own_of(const Handler& handler, const Issuer& issuer) {
        Own own = boost::asio::get_associated_executor(handler, boost::asio::any_io_executor());
        if constexpr (std::is_same_v<Own, boost::asio::any_io_executor>) {
            if (!own) own = or_system(issuer.executor());
        }
        return own;
    }

    Tracked<Own> executor_;
};

/// Dispatches a function when it is called. bind_executor() does so too, in 400 lines.
template <class Executor, class Function>
struct Dispatched {
    using allocator_type = boost::asio::associated_allocator_t<Function>;

    Executor executor;
    Function function;

    [[nodiscard]] allocator_type get_allocator() const noexcept {
        return boost::asio::get_associated_allocator(function);
    }
    void operator()() { boost::asio::dispatch(executor, std::move(function)); }
};

/// Through an executor that cannot be posted to, or hides its context, a handler is dispatched from
/// the issuer's: as Asio's own operations do.
template <class Handler>
requires(!ContextExecutor<boost::asio::associated_executor_t<
             Handler, boost::asio::any_io_executor>>) class HandlerExecutors<Handler> {
    using Own = boost::asio::associated_executor_t<Handler, boost::asio::any_io_executor>;

public:
    template <class Issuer>
    HandlerExecutors(const Handler& handler, const Issuer& issuer)
        : base_(tracked(or_system(issuer.executor()))),
          executor_(tracked(boost::asio::get_associated_executor(handler, base_))) {}

    [[nodiscard]] const boost::asio::any_io_executor& base() const noexcept { return base_; }

    template <class Function>
    void post(Function function) const {
        boost::asio::post(base_,
                          Dispatched<Tracked<Own>, Function>{executor_, std::move(function)});
    }

    [[nodiscard]] const boost::asio::any_io_executor* shared() const noexcept { return nullptr; }

private:
    boost::asio::any_io_executor base_;
    Tracked<Own> executor_;
};

#if BOOST_VERSION >= 108200
/// Calls what `function()` makes of the handler on its immediate executor, and there on its own one
/// if it has one. The issuer, who takes a lock to tell his executor, is asked only for a hidden
/// handler, which may turn out to have no immediate executor.
template <class Handler, class Issuer, class Function>
void complete_at_once(const Handler& handler, const Issuer& issuer, Function function) {
    using Immediate =
        typename boost::asio::associated_immediate_executor<Handler,
                                                            boost::asio::any_io_executor>::type;
    boost::asio::any_io_executor base;
    if constexpr (requires(const Immediate& erased) { erased.target_type(); })
        base = or_system(issuer.executor());
    const Immediate immediate = boost::asio::get_associated_immediate_executor(handler, base);
    const auto own = boost::asio::get_associated_executor(handler, immediate);
    if constexpr (std::is_same_v<Immediate, boost::asio::system_executor>) {
        boost::asio::dispatch(own, function()); // which would call it here
    } else {
        boost::asio::dispatch(immediate, boost::asio::bind_executor(own, function()));
    }
}
#endif

/// Who completes an operation that may finish before its initiating function returns: whoever
/// finished it leaves it to the starter, who must then do it, as long as the starter is there.
class StartPhase {
public:
    [[nodiscard]] bool leave_to_starter() noexcept {
        return phase_.exchange(finished, std::memory_order_acq_rel) == starting;
    }
    [[nodiscard]] bool is_left() noexcept {
        return phase_.exchange(started, std::memory_order_acq_rel) == finished;
    }

private:
    enum Phase : std::uint8_t { starting, started, finished };
    std::atomic<Phase> phase_ = starting;
};
struct NoStartPhase {};

/// Tells the options of a call from its completion token, so that either may be left out.
template <class Token, class Options>
concept TokenBeside = !std::convertible_to<Token, Options>;

/// What Asio's own operations complete with when a call names no token: of an executor, the token
/// that as_default_on() gave it; else `deferred`, but nothing on Boost 1.83 and older.
template <class Executor>
using DefaultToken = boost::asio::default_completion_token_t<Executor>;

} // namespace sluice::detail

#endif
