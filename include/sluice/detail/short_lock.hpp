// SPDX-License-Identifier: MIT
//
// Locks a mutex that nobody holds for longer than some 100 ns. std::mutex lets a thread that finds
// it taken sleep at once, and going to sleep and being woken take ten times as long as whoever has
// it needs. So a thread looks again a few times first, after pauses that grow: in the longer ones
// whoever has the mutex takes it several times in a row, with everything in its own cache. It
// sleeps when that was in vain, because the one that has the mutex may have lost its processor.
#ifndef SLUICE_DETAIL_SHORT_LOCK_HPP
#define SLUICE_DETAIL_SHORT_LOCK_HPP

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

template <class Mutex>
[[gnu::noinline]] void wait_for(Mutex& mutex) {
    // Up to 45 us of pauses of 25 ns each (AMD EPYC). Sixteen patterns were tried: the longer the
    // first pause, the less two threads lose to each other that do nothing but lock, and the more
    // those that also have work of their own; this one costs the latter nothing that shows.
    for (int pauses = 256; pauses <= 1024; pauses *= 2) {
        for (int i = 0; i < pauses; ++i)
            pause();
        if (mutex.try_lock()) return;
    }
    mutex.lock();
}

/// `Mutex` is any Lockable. When it is free, this costs two or three instructions more than lock().
template <class Mutex>
void lock_for_short(Mutex& mutex) {
    if (!mutex.try_lock()) wait_for(mutex);
}

} // namespace sluice::detail

#endif
