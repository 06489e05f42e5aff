/// \file
/// Work memory of a call.
#pragma once

#include <cstddef>
#include <memory>
#include <new>
#include <span>

#include <pantile/core/macros.hpp>

namespace pantile::inline v0::cpu {

inline constexpr index_t scratch_alignment = 64;

struct delete_scratch {
    void operator()(std::byte* p) const { ::operator delete (p, std::align_val_t{scratch_alignment}); }
};
using scratch_block = std::unique_ptr<std::byte, delete_scratch>;

/// Has the calling thread given back what it kept? It is ending then, or the process is, and OpenMP may have left it, too.
[[nodiscard]] bool thread_is_ending();

/// The pieces of one call's work memory: one a thread, and one that all threads share.
class workspace {
  public:
    /// In `given`, or, where that is empty, in the library's own memory: kept by the threads for the next call while it is
    /// small, else (or where the calling thread is about to end) allocated for this call alone. Contents are arbitrary.
    /// Throws invalid_argument if `given` is not empty and too small, naming the function that tells what is needed.
    workspace(std::span<std::byte> given, index_t threads, index_t bytes_a_thread, index_t shared_bytes,
              const char* explained_by);

    /// Memory for the calling thread, which is number `thread` of the call's.
    [[nodiscard]] std::byte* of_thread(index_t thread) const;
    /// Memory for all of them; null if none was asked for.
    [[nodiscard]] std::byte* shared() const { return shared_; }

    /// What explain reports, and the least that a given workspace must have.
    [[nodiscard]] static index_t bytes(index_t threads, index_t bytes_a_thread, index_t shared_bytes);

  private:
    scratch_block own_; // scratch of this call alone
    scratch_block own_shared_;
    std::byte* given_ = nullptr; // all threads' scratch; null: each has its own, kept
    std::byte* shared_ = nullptr;
    index_t bytes_a_thread_ = 0;
};

} // namespace pantile::inline v0::cpu
