// SPDX-License-Identifier: MIT
//
// How long the way to Discord and back takes at least, and so how much earlier than "answer
// received plus Reset-After" a request may leave and still arrive after the reset.
//
// credit = least warm round trip - unsteadiness, never below 0. With steady delays that is the
// whole round trip, and a window costs exactly its period. With heavy jitter it is 0, and the wait
// is merely safe. Unsteadiness is the larger of two. The first is 4 times RFC 6298's mean
// deviation, quick to notice a change. The second is 40 / (samples - 5) times the mean excess over
// the least, which does not depend on the order of the samples: the answers to one burst come back
// sorted by their delay, and smoothing alone takes the first of them for a steady path. Found by
// simulation: with 10-300 ms each way 21 of 258,000 requests left too early without the second, 78
// of 59,500,000 with 40 / samples, 2 with what is here. Only warm samples count: a round trip that
// included a connect, a TLS handshake or a long upload proves nothing for the next request, which
// may not need them. The same holds for the first request on any connection: the kernel completes a
// connect before the server accepts it.
//
// On one connection that keeps everything in order, such as HTTP/2's, the requests of a burst wait
// for each other (head of line), and all of them take about as long as the slowest. While no answer
// has overtaken another, only round trips that did not overlap count in the number of samples; with
// steady delays that makes no difference. Without this rule, 31 of 150,000 requests of a global
// limit left too early, by up to 47 ms, with 20-100 ms each way in order.
//
// A round trip that is measured from the ticket's issue includes whatever the client does before it
// sends: two requests that always wait for one connection take twice as long as either alone, and
// as steadily. So only those requests count in the number of samples that had the client to
// themselves: nothing else was in flight when they were issued. Where answers overtake each other
// that proves nothing, because each of several connections may have such a queue.
#ifndef SLUICE_CORE_LATENCY_HPP
#define SLUICE_CORE_LATENCY_HPP

#include <sluice/core/time.hpp>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>

namespace sluice::core {

/// Counts connections that an answer has just left idle, so that the next request finds one open.
class IdleConnections {
public:
    /// HTTP servers and clients keep an idle connection at least this long in practice (nginx 75 s,
    /// Node 5 s): a younger one can be taken for open.
    static constexpr Duration open_for = std::chrono::seconds(5);
    /// If the user reports when a request was sent, a connection idle for this long is taken for
    /// open: most windows last 5 s, and the request that opens the next one finds connections idle
    /// for a little more.
    static constexpr Duration kept_for = std::chrono::seconds(15);

    void add(Time now) noexcept {
        idle_[next_ % idle_.size()] = now;
        ++next_;
        count_ = lesser(count_ + 1, idle_.size());
    }

    /// Takes the youngest connection; returns false if none is young enough.
    bool take(Time now, Duration within = open_for) noexcept {
        if (count_ == 0 || idle_[(next_ - 1) % idle_.size()] + within < now) return false;
        --next_;
        --count_;
        return true;
    }
    /// Returns since when the connection taken last was idle.
    [[nodiscard]] Time taken() const noexcept { return idle_[next_ % idle_.size()]; }

private:
    std::array<Time, 64> idle_{}; // a ring; more idle connections than this need no counting
    std::size_t next_ = 0;
    std::size_t count_ = 0;
};

/// The start of a measured round trip.
enum class MeasuredFrom : std::uint8_t {
    sent,        ///< when the request was sent
    issue_alone, ///< when its ticket was issued; the client had nothing else to send
    issue        ///< when its ticket was issued; the request may have waited in the client
};

class Latency {
public:
    explicit Latency(Duration cap) noexcept : cap_(cap), trusted_(cap) {}

    /// Adds a sample. `order` tells which of two requests that were sent at one moment went first.
    void sample(Duration round_trip, Time now, std::uint64_t order = 0,
                MeasuredFrom from = MeasuredFrom::sent) noexcept;

    [[nodiscard]] Duration credit(Time now) const noexcept;
    /// Returns by when the credit is 0 at the latest, unless there are new samples.
    [[nodiscard]] Time valid_until() const noexcept { return epoch_end_ + epoch; }

    /// Returns the smoothed round trip; 0 before the first sample.
    [[nodiscard]] Duration mean() const noexcept { return mean_; }

    /// Call when a request came too early: its refusal told to wait less than a round trip. The
    /// path has become shorter than its least sample, so half as much is trusted for the next
    /// minutes.
    void distrust(Time now) noexcept;

private:
    /// Half of the time for which a least round trip is trusted: it ages out after one to two
    /// epochs.
    static constexpr Duration epoch = std::chrono::minutes(2);
    /// Fewer samples can all lie close together by chance, even on a path that is not steady.
    static constexpr std::int64_t least_samples = 6;
    /// A burst in order whose first request is the slowest looks steady.
    static constexpr std::int64_t least_independent = 2;

    Duration cap_;
    Duration trusted_; // what distrust() has left of the cap; doubles with each epoch
    Duration mean_{0};
    Duration deviation_{0};
    struct Epoch {
        Duration least = Duration::max();
        Duration sum{0};
        std::int64_t count = 0;
        std::int64_t unqueued = 0; ///< of those: could not have waited in the client
        std::int64_t apart = 0;    ///< of those: sent when all earlier answers had come
        bool overtaken = false;    ///< an answer has overtaken another
    };
    /// Returns how many samples are independent of each other.
    [[nodiscard]] std::int64_t independent() const noexcept {
        const bool overtaken = current_.overtaken || before_.overtaken;
        return overtaken ? current_.unqueued + before_.unqueued : current_.apart + before_.apart;
    }
    /// Returns how far below the least sample the least possible round trip may lie. A few
    /// independent samples prove little, however many samples there are: two bursts in order may
    /// each be led by a slow request.
    [[nodiscard]] Duration uncertainty(Duration least) const noexcept {
        const auto count = static_cast<double>(current_.count + before_.count);
        const auto sum = static_cast<double>((current_.sum + before_.sum).count());
        const double excess = sum - count * static_cast<double>(least.count()); // of all together
        const std::int64_t beyond = independent() - (least_samples - 1);
        const double factor = beyond > 0 ? 40.0 / static_cast<double>(beyond) : 400.0;
        return Duration(static_cast<std::int64_t>(factor * excess / count));
    }

    void note_order(Time sent, Time now, std::uint64_t order, MeasuredFrom from) noexcept;

    Epoch current_;
    Epoch before_; // the epoch before, if it was adjacent
    Time epoch_end_ = Time::min();
    Time newest_sent_ = Time::min(); // of the requests answered so far
    std::uint64_t newest_order_ = 0;
    Time flight_end_ = Time::min(); // requests sent later are apart from those before
};

inline void Latency::sample(Duration round_trip, Time now, std::uint64_t order,
                            MeasuredFrom from) noexcept {
    if (round_trip < Duration(0)) return;
    if (now >= epoch_end_) [[unlikely]] {
        const bool adjacent = epoch_end_ != Time::min() && now < epoch_end_ + epoch;
        before_ = adjacent ? current_ : Epoch();
        current_ = Epoch();
        epoch_end_ = now + epoch;
        trusted_ = std::min(cap_, trusted_ * 2);
    }
    current_.least = lesser(current_.least, round_trip);
    current_.sum += round_trip;
    ++current_.count;
    if (from != MeasuredFrom::issue) note_order(now - round_trip, now, order, from);
    if (mean_ == Duration(0)) [[unlikely]] {
        mean_ = round_trip;
        deviation_ = round_trip / 2;
        return;
    }
    const Duration error = round_trip > mean_ ? round_trip - mean_ : mean_ - round_trip;
    deviation_ += (error - deviation_) / 4;
    mean_ += (round_trip - mean_) / 8;
}

/// Only for a request that has not waited in the client.
inline void Latency::note_order(Time sent, Time now, std::uint64_t order,
                                MeasuredFrom from) noexcept {
    ++current_.unqueued;
    if (sent >= flight_end_ || from == MeasuredFrom::issue_alone) {
        ++current_.apart;
        flight_end_ = now;
    }
    if (sent < newest_sent_ || (sent == newest_sent_ && order < newest_order_)) {
        current_.overtaken = true;
    } else {
        newest_sent_ = sent;
        newest_order_ = order;
    }
}

inline Duration Latency::credit(Time now) const noexcept {
    if (current_.count + before_.count < least_samples || now >= valid_until()) return Duration(0);
    if (independent() < least_independent) return Duration(0);
    const Duration least = std::min(current_.least, before_.least);
    const Duration unsteady = std::max(4 * deviation_, uncertainty(least));
    return std::clamp(least - unsteady, Duration(0), trusted_);
}

inline void Latency::distrust(Time now) noexcept {
    const Duration half = std::max(Duration(std::chrono::milliseconds(1)), credit(now) / 2);
    trusted_ = std::min(cap_, half);
}

} // namespace sluice::core

#endif
