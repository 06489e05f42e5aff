/// \file
/// Work memory of a call.
#pragma once

#include <cstddef>
#include <memory>
#include <new>
#include <span>

#include <pantile/core/macros.hpp>

namespace pantile::cpu {

/// One block of memory that grows with what is asked of it.
class scratch_block {
  public:
    static constexpr index_t alignment = 64;
    /// At least `bytes`, of any content.
    [[nodiscard]] std::byte* at_least(index_t bytes);

  private:
    struct aligned_delete {
        void operator()(std::byte* p) const { ::operator delete (p, std::align_val_t{alignment}); }
    };
    std::unique_ptr<std::byte, aligned_delete> memory_;
    index_t size_ = 0;
};

/// At least `bytes` of memory that belong to the calling thread, aligned to 64 bytes. Kept until the thread ends and
/// handed out again by the next call, so that short problems do not pay for allocation. Contents are arbitrary.
[[nodiscard]] std::byte* thread_scratch(index_t bytes);

/// The pieces of one call's work memory: one a thread, and one that all threads share.
class workspace {
  public:
    /// In `given`, or, where that is empty, in the library's own memory: kept by the threads for the next call while it is
    /// small, else allocated for this call alone. Throws invalid_argument if `given` is not empty and too small.
    workspace(std::span<std::byte> given, index_t threads, index_t bytes_a_thread, index_t shared_bytes);

    /// Memory for the calling thread, which is number `thread` of the call's.
    [[nodiscard]] std::byte* of_thread(index_t thread) const;
    /// Memory for all of them; null if none was asked for.
    [[nodiscard]] std::byte* shared() const { return shared_; }

    /// What explain reports, and the least that a given workspace must have.
    [[nodiscard]] static index_t bytes(index_t threads, index_t bytes_a_thread, index_t shared_bytes);

  private:
    scratch_block own_; // large scratch of this call alone
    scratch_block own_shared_;
    std::byte* given_ = nullptr; // all threads' scratch; null: each has its own, kept
    std::byte* shared_ = nullptr;
    index_t bytes_a_thread_ = 0;
};

} // namespace pantile::cpu
