// SPDX-License-Identifier: MIT
//
// Bytes on the heap and calls to the allocator. Asio allocates with aligned_alloc, so replacing
// operator new would miss it: the functions of the C library are wrapped. glibc only.
//
// Include it in one source file of a program: it defines malloc and its family.
#ifndef SLUICE_TESTS_BENCH_SUPPORT_ALLOCATIONS_HPP
#define SLUICE_TESTS_BENCH_SUPPORT_ALLOCATIONS_HPP

#include <atomic>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <malloc.h>

namespace bench {

/// Calls since the program began.
inline std::atomic<std::uint64_t> allocations = 0;

/// Bytes in use, with what the allocator adds to each block.
[[nodiscard]] inline std::size_t heap_bytes() noexcept {
    const struct mallinfo2 now = mallinfo2();
    return now.uordblks + now.hblkhd;
}

} // namespace bench

extern "C" {
// The names that glibc exports for exactly this purpose.
void* __libc_malloc(std::size_t size);                          // NOLINT
void* __libc_calloc(std::size_t count, std::size_t size);       // NOLINT
void* __libc_realloc(void* block, std::size_t size);            // NOLINT
void* __libc_memalign(std::size_t alignment, std::size_t size); // NOLINT

void* malloc(std::size_t size) {
    bench::allocations.fetch_add(1, std::memory_order_relaxed);
    return __libc_malloc(size);
}
void* calloc(std::size_t count, std::size_t size) {
    bench::allocations.fetch_add(1, std::memory_order_relaxed);
    return __libc_calloc(count, size);
}
void* realloc(void* block, std::size_t size) {
    bench::allocations.fetch_add(1, std::memory_order_relaxed);
    return __libc_realloc(block, size);
}
void* aligned_alloc(std::size_t alignment, std::size_t size) {
    bench::allocations.fetch_add(1, std::memory_order_relaxed);
    return __libc_memalign(alignment, size);
}
int posix_memalign(void** block, std::size_t alignment, std::size_t size) {
    bench::allocations.fetch_add(1, std::memory_order_relaxed);
    *block = __libc_memalign(alignment, size);
    return *block == nullptr ? ENOMEM : 0;
}
}

#endif
