// SPDX-License-Identifier: MIT
//
// Permission to send one event over a gateway connection. It holds a slot of the 120 from the grant
// until a minute after the event was written, so send the event without delay:
//
//     SendPermit permit = co_await sends.acquire(Opcode::voice_state_update);
//     co_await socket.async_write(buffer(text), use_awaitable);
//     permit.sent();
//
// A permit may be dropped instead if the event is written at once: it then counts as sent at the
// time of the drop.
#ifndef SLUICE_GATEWAY_SEND_PERMIT_HPP
#define SLUICE_GATEWAY_SEND_PERMIT_HPP

#include <sluice/core/send_request.hpp>
#include <sluice/gateway/opcode.hpp>

#include <cstdint>
#include <memory>
#include <utility>

namespace sluice::gateway {

namespace detail {

/// The interface that a permit needs from its limiter, independent of clock and mutex.
class SendSettler {
public:
    SendSettler() = default;
    SendSettler(const SendSettler&) = delete;
    SendSettler& operator=(const SendSettler&) = delete;
    virtual ~SendSettler() = default;

    virtual void sent(core::SendPlace& place) = 0;
    virtual void cancel(core::SendPlace& place) = 0;
};

struct SendPermitAccess;

} // namespace detail

/// Move-only; one thread at a time. An empty, moved-from or settled permit accepts every call. It
/// may outlive its limiter.
class SendPermit {
public:
    SendPermit() noexcept = default;
    SendPermit(SendPermit&& other) noexcept
        : settler_(std::move(other.settler_)),
          place_(std::exchange(other.place_, core::SendPlace())) {}
    SendPermit& operator=(SendPermit&& other) noexcept {
        SendPermit taken(std::move(other));
        std::swap(settler_, taken.settler_);
        std::swap(place_, taken.place_);
        return *this;
    }
    ~SendPermit() { sent(); }

    /// Call when the write has finished. The event's minute starts here.
    void sent() {
        if (place_.taken) settler_->sent(place_);
    }

    /// Call when the event will not be sent: its slot is released at once.
    void cancel() {
        if (place_.taken) settler_->cancel(place_);
    }

    /// True if it holds a slot that is still to be used.
    [[nodiscard]] explicit operator bool() const noexcept { return place_.taken; }
    [[nodiscard]] Opcode opcode() const noexcept {
        return static_cast<Opcode>(place_.request.opcode);
    }

private:
    friend detail::SendPermitAccess;

    std::shared_ptr<detail::SendSettler> settler_;
    core::SendPlace place_;
};

namespace detail {

/// Creates permits on behalf of the limiter.
struct SendPermitAccess {
    static SendPermit make(std::shared_ptr<SendSettler> settler, const core::SendPlace& place) {
        SendPermit permit;
        permit.settler_ = std::move(settler);
        permit.place_ = place;
        return permit;
    }
};

} // namespace detail
} // namespace sluice::gateway

#endif
