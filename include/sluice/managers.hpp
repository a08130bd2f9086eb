// SPDX-License-Identifier: MIT
//
// A limiter for each of many individuals: users whose bearer tokens a site holds, or several bots.
//
//     sluice::Managers users{executor, {.max_managers = 1'000}};
//     sluice::Ticket ticket = co_await users.get(user_id)->acquire(get_current_user());
//
// Discord docs, "Rate Limits": limits belong to whoever the authentication names. All send from one
// address, so that what is counted per address (invalid requests, Cloudflare's blocks) is counted
// together. A bearer's limit belongs to its user and goes on when the token is refreshed (observed
// 2023-10, discordeno#3165): name users by id rather than by token, where the id is known.
//
// The invariant: of what names an individual only a 128-bit digest is kept, never the text; and no
// manager is forgotten while somebody else holds it, or it has requests queued or in flight.
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
    /// Of each manager. Without an address the pool makes one for all.
    Options manager = {};

    /// With more than this many, the one that was asked for least recently is forgotten, first of
    /// all one that has nothing to lose by it. More are kept only while all are in use.
    std::size_t max_managers = 1'000;

    /// One that was not asked for this long is forgotten if it has nothing to lose: no open
    /// window, no block, no refused token.
    std::chrono::nanoseconds idle_time = std::chrono::minutes(15);
};

/// *Threads*: every member but construction and destruction may be called from any thread. Neither
/// copied nor moved.
/// *End*: managers that somebody holds outlive the pool; the pool may outlive its context.
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

    /// The manager of an individual, named by a user's id or by a token: the same one as long as it
    /// is held or in use, and then until it is forgotten. Never null: after close(), and after the
    /// end of the context, one that is closed. Hold it as long as you use a Bucket or a pending
    /// acquire() of it; tickets need no holding.
    [[nodiscard]] std::shared_ptr<Manager> get(std::string_view individual) {
        return pool_->get(individual);
    }

    /// Calls `visitor(manager)` for each, the one asked for last first; the pool is not locked.
    template <std::invocable<Manager&> Visitor>
    void each(Visitor visitor) {
        for (const std::shared_ptr<Manager>& manager : pool_->all())
            visitor(*manager);
    }

    [[nodiscard]] std::size_t size() const { return pool_->size(); }

    /// The address that all of them send from.
    [[nodiscard]] const std::shared_ptr<Address>& address() const noexcept {
        return pool_->options().address;
    }

    /// Closes all of them, and all that are asked for later.
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
