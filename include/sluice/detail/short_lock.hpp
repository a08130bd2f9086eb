// SPDX-License-Identifier: MIT
//
// Locks a mutex that nobody holds for longer than some 100 ns. std::mutex lets a thread that finds
// it taken sleep at once, which takes ten times as long as the other thread needs. So this spins
// for a short time first.
#ifndef SLUICE_DETAIL_SHORT_LOCK_HPP
#define SLUICE_DETAIL_SHORT_LOCK_HPP

namespace sluice::detail {

/// Tells the processor that this thread only waits.
inline void pause() noexcept {
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    asm volatile("isb");
#endif
}

/// Sleeps in the end: the thread that holds the mutex may have lost its processor.
template <class Mutex>
[[gnu::noinline]] void spin_then_lock(Mutex& mutex) {
    for (int pauses = 16; pauses <= 1024; pauses *= 2) {
        for (int i = 0; i < pauses; ++i)
            pause();
        if (mutex.try_lock()) return;
    }
    mutex.lock();
}

/// `Mutex` is any Lockable. When it is free, this costs two or three instructions more than lock().
template <class Mutex>
void lock_for_short(Mutex& mutex) {
    if (!mutex.try_lock()) spin_then_lock(mutex);
}

} // namespace sluice::detail

#endif
