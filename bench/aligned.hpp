/// \file
/// Memory from a cache line's start, as numerical libraries hand it out; a std::vector alone begins 16 bytes after one, and
/// every 64-byte load then touches two lines.
#pragma once

#include <cstddef>
#include <new>
#include <vector>

namespace bench {

template <class T>
struct cache_line_allocator {
    using value_type = T;
    static constexpr std::align_val_t alignment{64};

    cache_line_allocator() = default;
    template <class U>
    explicit cache_line_allocator(const cache_line_allocator<U>&) {}

    T* allocate(std::size_t n) { return static_cast<T*>(::operator new(n * sizeof(T), alignment)); }
    void deallocate(T* p, std::size_t) { ::operator delete(p, alignment); }
    bool operator==(const cache_line_allocator&) const = default;
};

template <class T>
using aligned_vector = std::vector<T, cache_line_allocator<T>>;

} // namespace bench
