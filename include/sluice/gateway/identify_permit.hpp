// SPDX-License-Identifier: MIT
//
// Permission for one shard to identify. While it is held and not yet sent, no other shard of its
// key may identify. Acquire it after hello has arrived, and write the identify at once:
//
//     IdentifyPermit permit = co_await identifies.acquire(shard_id);
//     co_await socket.async_write(identify, use_awaitable);
//     permit.sent();
//     ... READY or Invalid Session comes:
//     permit.answered();
//
// A dropped permit counts as sent at that moment, because the identify may have been sent: counting
// an identify twice costs little, not counting one may cost the token. A permit that is only held
// counts as sent after IdentifyQueueOptions::permit_timeout, so that its key does not stay closed.
// Dropping it after that, such as at the end of its session, changes nothing.
#ifndef SLUICE_GATEWAY_IDENTIFY_PERMIT_HPP
#define SLUICE_GATEWAY_IDENTIFY_PERMIT_HPP

#include <sluice/core/identify_schedule.hpp>

#include <cstdint>
#include <memory>
#include <utility>

namespace sluice::gateway {

namespace detail {

/// The interface that a permit needs from its queue, independent of the clock, the mutex and where
/// the queue's state is stored.
class IdentifySettler {
public:
    IdentifySettler() = default;
    IdentifySettler(const IdentifySettler&) = delete;
    IdentifySettler& operator=(const IdentifySettler&) = delete;
    virtual ~IdentifySettler() = default;

    virtual void sent(core::IdentifyPlace& place) = 0;
    virtual void answered(core::IdentifyPlace& place) = 0;
    virtual void cancel(core::IdentifyPlace& place) = 0;
    virtual void dropped(core::IdentifyPlace& place) = 0;
};

struct IdentifyPermitAccess;

} // namespace detail

/// Move-only; one thread at a time. An empty, moved-from or settled permit accepts every call. It
/// may outlive its queue.
class IdentifyPermit {
public:
    IdentifyPermit() noexcept = default;
    IdentifyPermit(IdentifyPermit&& other) noexcept
        : settler_(std::move(other.settler_)),
          place_(std::exchange(other.place_, core::IdentifyPlace())) {}
    IdentifyPermit& operator=(IdentifyPermit&& other) noexcept {
        IdentifyPermit taken(std::move(other));
        std::swap(settler_, taken.settler_);
        std::swap(place_, taken.place_);
        return *this;
    }
    ~IdentifyPermit() {
        if (place_.taken) settler_->dropped(place_);
    }

    /// Call when the write has finished: the identify counts as used. The five seconds of its key
    /// start here, even if permit_timeout has already counted the permit as sent.
    void sent() {
        if (place_.taken) settler_->sent(place_);
    }

    /// Call when READY or Invalid Session has arrived. This proves that the identify has arrived,
    /// so the next of its key need not allow for a slow network. Optional. Implies sent().
    void answered() {
        if (settler_ != nullptr) std::exchange(settler_, nullptr)->answered(place_);
    }

    /// Call when the identify will not be sent: it is returned to the day's quota at once, and the
    /// next of its key may go. Does nothing after sent(): a sent identify stays used, even if it
    /// ended in Invalid Session. If permit_timeout has counted the permit as sent and another
    /// identify of its key has gone since, the identify stays used, too.
    void cancel() {
        if (place_.taken) settler_->cancel(place_);
    }

    /// True if it holds an identify that is still to be sent.
    [[nodiscard]] explicit operator bool() const noexcept { return place_.taken; }
    [[nodiscard]] std::uint64_t shard_id() const noexcept { return place_.shard; }

private:
    friend detail::IdentifyPermitAccess;

    std::shared_ptr<detail::IdentifySettler> settler_;
    core::IdentifyPlace place_;
};

namespace detail {

/// Creates permits on behalf of the queue.
struct IdentifyPermitAccess {
    static IdentifyPermit make(std::shared_ptr<IdentifySettler> settler,
                               const core::IdentifyPlace& place) {
        IdentifyPermit permit;
        permit.settler_ = std::move(settler);
        permit.place_ = place;
        return permit;
    }
};

} // namespace detail
} // namespace sluice::gateway

#endif
