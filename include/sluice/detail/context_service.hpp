// SPDX-License-Identifier: MIT
//
// Tells limiters that an execution context is being destroyed, so that they let go of the handlers
// and timers that live on it while that is still possible. Without it, waiters queued when an
// io_context dies are freed after it: a use after free that was seen on Boost 1.81.
#ifndef SLUICE_DETAIL_CONTEXT_SERVICE_HPP
#define SLUICE_DETAIL_CONTEXT_SERVICE_HPP

#include <boost/asio/execution_context.hpp>

#include <algorithm>
#include <memory>
#include <mutex>
#include <utility>
#include <vector>

namespace sluice::detail {

/// `Watcher` has `shut_down(execution_context&)`.
template <class Watcher>
class BasicContextService : public boost::asio::execution_context::service {
public:
    static inline boost::asio::execution_context::id id;

    explicit BasicContextService(boost::asio::execution_context& context)
        : service(context), context_(context) {}

    /// `watcher` will hear of the end of `context` if it still exists then. Cheap to repeat.
    static void watch(boost::asio::execution_context& context,
                      const std::shared_ptr<Watcher>& watcher) {
        boost::asio::use_service<BasicContextService>(context).add(watcher);
    }

private:
    void add(const std::shared_ptr<Watcher>& watcher) {
        const std::lock_guard lock(mutex_);
        if (watcher.get() == last_ && !watchers_.empty()) return;
        last_ = watcher.get();
        const auto same = [&](const std::weak_ptr<Watcher>& known) {
            return !known.owner_before(watcher) && !watcher.owner_before(known);
        };
        if (std::any_of(watchers_.begin(), watchers_.end(), same)) return;
        std::erase_if(watchers_, [](const auto& known) { return known.expired(); });
        watchers_.push_back(watcher);
    }

    void shutdown() override {
        std::vector<std::weak_ptr<Watcher>> watchers;
        {
            const std::lock_guard lock(mutex_);
            watchers.swap(watchers_);
        }
        for (const auto& known : watchers) {
            if (const std::shared_ptr<Watcher> watcher = known.lock()) watcher->shut_down(context_);
        }
    }

    boost::asio::execution_context& context_;
    std::mutex mutex_;
    std::vector<std::weak_ptr<Watcher>> watchers_;
    /// The one added last: nearly always the one that comes again. No other can have its address:
    /// make_shared's memory lasts as long as the weak pointer in `watchers_`.
    const Watcher* last_ = nullptr;
};

class Issuer;
using ContextService = BasicContextService<Issuer>;

} // namespace sluice::detail

#endif
