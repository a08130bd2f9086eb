// SPDX-License-Identifier: MIT
//
// For limiters that one thread uses alone: locks nothing, costs nothing.
//
//     sluice::BasicBucketManager<std::chrono::steady_clock, sluice::NullMutex> limiter{executor};
//
// Then every call, every ticket and every completion has to stay on that thread, or on one strand.
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
