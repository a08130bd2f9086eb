// SPDX-License-Identifier: MIT
//
// Permission for one shard to identify. While it is held and not yet sent, no other shard of its
// key may identify, so acquire it when hello has come, and write at once:
//
//     IdentifyPermit permit = co_await identifies.acquire(shard_id);
//     co_await socket.async_write(identify, use_awaitable);
//     permit.sent();
//     ... READY or Invalid Session comes:
//     permit.answered();
//
// Dropped counts as sent at that moment: an identify may have gone out, and one that was counted
// twice costs little, one that was not counted may cost the token. One that is only held counts as
// sent when IdentifyQueueOptions::permit_timeout is over: its key is not closed for ever, and to
// drop it later, at the end of its session, say, changes nothing any more.
#ifndef SLUICE_GATEWAY_IDENTIFY_PERMIT_HPP
#define SLUICE_GATEWAY_IDENTIFY_PERMIT_HPP

#include <sluice/core/identify_schedule.hpp>

#include <cstdint>
#include <memory>
#include <utility>

namespace sluice::gateway {

namespace detail {

/// What a permit needs from the queue that gave it, whatever its clock, its mutex or the place
/// where its state lives.
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

/// Move-only; not for two threads at once. An empty, moved-from or settled permit accepts every
/// call. It may outlive its queue.
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

    /// The write has finished: the identify is on its way, and is spent. The five seconds of its
    /// key run from here, also when it comes so late that the permit has been counted before.
    void sent() {
        if (place_.taken) settler_->sent(place_);
    }

    /// READY or Invalid Session has come, which proves that the identify has arrived: the next of
    /// its key need not allow for a slow network. Optional. Says sent() as well.
    void answered() {
        if (settler_ != nullptr) std::exchange(settler_, nullptr)->answered(place_);
    }

    /// It will not be sent: the identify comes back at once and the next of its key may go. Does
    /// nothing after sent(): what was sent stays spent, also if it ended in Invalid Session. When
    /// it comes so late that the permit has been counted and another of its key has gone, the
    /// identify stays spent, too.
    void cancel() {
        if (place_.taken) settler_->cancel(place_);
    }

    /// Holds an identify that is still to be sent.
    [[nodiscard]] explicit operator bool() const noexcept { return place_.taken; }
    [[nodiscard]] std::uint64_t shard_id() const noexcept { return place_.shard; }

private:
    friend detail::IdentifyPermitAccess;

    std::shared_ptr<detail::IdentifySettler> settler_;
    core::IdentifyPlace place_;
};

namespace detail {

/// Makes permits on behalf of the queue.
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
