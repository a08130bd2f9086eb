// SPDX-License-Identifier: MIT
//
// A pool of limiters, one for each individual: users whose bearer tokens a site holds, or several
// bots.
//
//     sluice::Managers users{executor, {.max_managers = 1'000}};
//     sluice::Ticket ticket = co_await users.get(user_id)->acquire(get_current_user());
//
// Discord docs, "Rate Limits": limits belong to the individual that the authentication names. All
// managers of a pool send from one address, so what is counted per address (invalid requests,
// Cloudflare's blocks) is counted together. The limit of a bearer token belongs to its user and
// continues when the token is refreshed (observed 2023-10, discordeno#3165): where the id is known,
// name users by id rather than by token.
//
// Invariants: of the name of an individual only a 128-bit digest is kept, never the text. A manager
// is not evicted while a caller holds it, or while it has requests queued or in flight.
#ifndef SLUICE_MANAGERS_HPP
#define SLUICE_MANAGERS_HPP

#include <sluice/address.hpp>
#include <sluice/bucket_manager.hpp>
#include <sluice/core/time.hpp>
#include <sluice/detail/context_service.hpp>
#include <sluice/detail/manager_pool.hpp>
#include <sluice/options.hpp>

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/execution_context.hpp>

#include <chrono>
#include <concepts>
#include <cstddef>
#include <memory>
#include <mutex>
#include <string_view>
#include <utility>

namespace sluice {

struct ManagersOptions {
    /// Options of each manager. Without an address, the pool makes one for all managers.
    Options manager = {};

    /// Above this number the least recently requested manager is evicted; managers with no state to
    /// lose are evicted first. The pool only exceeds this number while all managers are in use.
    std::size_t max_managers = 1'000;

    /// A manager that was not requested for this long is evicted if it has no state to lose: no
    /// open window, no block, no refused token.
    std::chrono::nanoseconds idle_time = std::chrono::minutes(15);
};

/// *Threads*: every member except construction and destruction may be called from any thread.
/// Neither copied nor moved.
/// *End*: managers that a caller holds outlive the pool. The pool may outlive its context.
template <class Clock, class Mutex = std::mutex>
class BasicManagers {
public:
    using Manager = BasicBucketManager<Clock, Mutex>;

    explicit BasicManagers(boost::asio::any_io_executor executor,
                           const ManagersOptions& options = {}, Clock clock = Clock())
        : pool_(std::make_shared<Pool>(executor, with_address(options.manager),
                                       options.max_managers, core::in_range(options.idle_time),
                                       std::move(clock))) {
        detail::BasicContextService<Pool>::watch(detail::context_of(executor), pool_);
    }
    template <class Context>
    requires std::derived_from<Context, boost::asio::execution_context>
    explicit BasicManagers(Context& context, const ManagersOptions& options = {},
                           Clock clock = Clock())
        : BasicManagers(context.get_executor(), options, std::move(clock)) {}
    BasicManagers(const BasicManagers&) = delete;
    BasicManagers& operator=(const BasicManagers&) = delete;

    /// Returns the manager of an individual, named by a user's id or by a token. Creates it if
    /// necessary. Returns the same manager as long as it is held or in use, and after that until it
    /// is evicted. Never null: after close(), and after the end of the context, the manager is
    /// closed. Hold the manager as long as a Bucket or a pending acquire() of it is in use. Tickets
    /// need no held manager.
    [[nodiscard]] std::shared_ptr<Manager> get(std::string_view individual) {
        return pool_->get(individual);
    }

    /// Calls `visitor(manager)` for each manager, the most recently requested first. The pool is
    /// not locked meanwhile.
    template <std::invocable<Manager&> Visitor>
    void each(Visitor visitor) {
        for (const std::shared_ptr<Manager>& manager : pool_->all())
            visitor(*manager);
    }

    [[nodiscard]] std::size_t size() const { return pool_->size(); }

    /// Returns the address that all managers send from.
    [[nodiscard]] const std::shared_ptr<Address>& address() const noexcept {
        return pool_->options().address;
    }

    /// Closes all managers, and all that are requested later.
    void close() { pool_->close(); }

private:
    using Pool = detail::ManagerPool<Manager, Clock, Mutex>;

    [[nodiscard]] static Options with_address(Options options) {
        if (!options.address) options.address = std::make_shared<Address>();
        return options;
    }

    std::shared_ptr<Pool> pool_;
};

using Managers = BasicManagers<std::chrono::steady_clock>;

} // namespace sluice

#endif
