// SPDX-License-Identifier: MIT
//
// A mutex for limiters that are used by one thread only: it locks nothing and costs nothing.
//
//     sluice::BasicBucketManager<std::chrono::steady_clock, sluice::NullMutex> limiter{executor};
//
// Every call, every ticket and every completion then has to stay on that thread, or on one strand.
#ifndef SLUICE_NULL_MUTEX_HPP
#define SLUICE_NULL_MUTEX_HPP

namespace sluice {

/// A Lockable in the sense of the standard library.
struct NullMutex {
    void lock() noexcept {}
    void unlock() noexcept {}
    [[nodiscard]] bool try_lock() noexcept { return true; }
};

} // namespace sluice

#endif
