// SPDX-License-Identifier: MIT
//
// Locks a mutex that nobody holds for longer than some 100 ns. std::mutex lets a thread that finds
// it taken sleep at once, and going to sleep and being woken take ten times as long as whoever has
// it needs. So a thread looks again a few times first, after pauses that grow, and sleeps when that
// was in vain: the one that has the mutex may have lost its processor.
//
// Threads that do little else than lock should not take turns request by request, each of which
// moves what the mutex guards from one processor to the other: some twenty cache lines, as long as
// ten requests take. Whoever has to wait again and again leaves the mutex alone for longer and
// longer, in which the other has everything in its own cache.
#ifndef SLUICE_DETAIL_SHORT_LOCK_HPP
#define SLUICE_DETAIL_SHORT_LOCK_HPP

#include <algorithm>
#include <chrono>
#include <mutex>

namespace sluice::detail {

/// Tells the processor that this thread only waits.
inline void pause() noexcept {
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    asm volatile("isb");
#endif
}

/// For how long a thread that finds a mutex taken leaves it to others.
class Patience {
public:
    using Clock = std::chrono::steady_clock;

    /// Twice as long as last time if that was hardly longer ago than it lasted.
    [[nodiscard]] std::chrono::microseconds next(Clock::time_point now) noexcept {
        const bool crowded = now - last_ < 4 * turn_;
        turn_ = crowded ? std::min(2 * turn_, longest) : shortest;
        return turn_;
    }
    void waited(Clock::time_point now) noexcept { last_ = now; }

    static constexpr std::chrono::microseconds shortest{1};
    static constexpr std::chrono::microseconds longest{256};

private:
    std::chrono::microseconds turn_ = shortest;
    Clock::time_point last_{};
};

/// Awake, because <thread> alone is a ninth of what sluice.hpp adds to a unit. By the clock,
/// because a pause lasts three times as long on one processor as on another.
inline void leave_alone(Patience::Clock::time_point until) noexcept {
    while (Patience::Clock::now() < until)
        pause();
}

template <class Mutex>
void wait_for_long(Mutex& mutex) {
    for (int pauses = 16; pauses <= 1024; pauses *= 2) {
        if (mutex.try_lock()) return;
        for (int i = 0; i < pauses; ++i)
            pause();
    }
    mutex.lock();
}

template <class Mutex>
[[gnu::noinline]] void wait_for(Mutex& mutex) {
    thread_local Patience patience;
    const auto now = Patience::Clock::now();
    leave_alone(now + patience.next(now));
    wait_for_long(mutex);
    patience.waited(Patience::Clock::now());
}

/// `Mutex` is any Lockable. When it is free, this costs two or three instructions more than lock().
template <class Mutex>
void lock_for_short(Mutex& mutex) {
    if (!mutex.try_lock()) wait_for(mutex);
}

} // namespace sluice::detail

#endif
