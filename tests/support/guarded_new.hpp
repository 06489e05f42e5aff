/// \file
/// The aligned operator new of a test program that compiles guarded_new.cpp: every block lies between two bands of marked
/// bytes, blocks are counted, and all of a size are refused on demand. The library takes its work memory from there.
///
/// A band that was written to, and memory that is given back twice, end the program with a message.
#pragma once

#include <cstddef>
#include <thread>

namespace pantile::test {

/// Under a sanitizer its own operator new stays, which sees more: then nothing is counted or refused.
[[nodiscard]] bool new_is_guarded();

[[nodiscard]] std::size_t blocks_alive();
/// Of those that a thread took.
struct blocks {
    std::size_t count = 0;
    std::size_t bytes = 0;
    bool operator==(const blocks&) const = default;
};
[[nodiscard]] blocks blocks_alive(std::thread::id taker);
/// By the calling thread, given back or not.
[[nodiscard]] std::size_t blocks_taken();
/// By all threads.
[[nodiscard]] std::size_t blocks_refused();

/// Bytes from `p` to the end of the block that it lies in; 0 where it lies in none.
[[nodiscard]] std::size_t room_behind(const void* p);

/// While it lives, blocks of `bytes` and more are refused: std::bad_alloc.
class refused_memory {
  public:
    explicit refused_memory(std::size_t bytes = 0);
    ~refused_memory();
    refused_memory(const refused_memory&) = delete;
    refused_memory& operator=(const refused_memory&) = delete;
};

} // namespace pantile::test
