#include "scratch.hpp"

#include <cstdint>
#include <string>

#include <pantile/error.hpp>

namespace pantile::inline v0::cpu {
namespace {

// More than this is given back after the call. Of what its threads share, the calling thread keeps more: fresh pages cost
// a backward pass of 2048 rows a twentieth of its time, and this serves up to 4 fp64 heads of 128 dims there.
constexpr index_t most_kept = index_t{4} << 20;
constexpr index_t most_shared_kept = index_t{128} << 20;

std::byte* allocate(index_t bytes) {
    return static_cast<std::byte*>(
        ::operator new (static_cast<std::size_t>(bytes), std::align_val_t{scratch_alignment}));
}

/// Memory that a thread keeps for its next call, so that short problems do not pay for allocation.
struct kept_block {
    std::byte* memory;
    index_t size;
};

/// Plain data, with nothing to destroy: calls may come from the destructors of a thread's objects, or of globals when the
/// process ends, after the thread's memory was given back.
struct kept_blocks {
    kept_block scratch; ///< the thread's own
    kept_block shared;  ///< by the threads of its calls; apart, because both are used at the same time
    bool ended;         ///< given back for good
};
constinit thread_local kept_blocks kept{};

/// Gives the memory back when the thread ends.
struct end_of_thread {
    end_of_thread() = default;
    end_of_thread(const end_of_thread&) = delete;
    end_of_thread& operator=(const end_of_thread&) = delete;
    ~end_of_thread() {
        for (kept_block* block : {&kept.scratch, &kept.shared}) {
            delete_scratch()(block->memory);
            *block = {};
        }
        kept.ended = true;
    }
};

std::byte* at_least(kept_block& block, index_t bytes) {
    if (bytes > block.size) {
        static thread_local end_of_thread watch; // from a thread's first block on
        delete_scratch()(block.memory);
        block = {};
        block = {allocate(bytes), bytes};
    }
    return block.memory;
}

} // namespace

bool thread_is_ending() { return kept.ended; }

workspace::workspace(std::span<std::byte> given, index_t threads, index_t bytes_a_thread, index_t shared_bytes,
                     const char* explained_by)
    : bytes_a_thread_(core::round_up(bytes_a_thread, scratch_alignment)) {
    if (given.empty()) {
        const bool keep = !kept.ended;
        if (keep && shared_bytes <= most_shared_kept) {
            shared_ = shared_bytes > 0 ? at_least(kept.shared, shared_bytes) : nullptr;
        } else if (shared_bytes > 0) {
            own_shared_.reset(allocate(shared_bytes));
            shared_ = own_shared_.get();
        }
        if (bytes_a_thread > most_kept || (!keep && bytes_a_thread > 0)) {
            own_.reset(allocate(threads * bytes_a_thread_));
            given_ = own_.get();
        }
        return;
    }
    const index_t needed = bytes(threads, bytes_a_thread, shared_bytes);
    if (static_cast<index_t>(given.size()) < needed) {
        throw invalid_argument("pantile: options.workspace has " + std::to_string(given.size()) +
                               " bytes, this call needs " + std::to_string(needed) + " (" + explained_by +
                               " tells it as workspace_bytes)");
    }
    const auto address = reinterpret_cast<std::uintptr_t>(given.data());
    given_ = given.data() + (scratch_alignment - address % scratch_alignment) % scratch_alignment;
    if (shared_bytes > 0) shared_ = given_ + threads * bytes_a_thread_;
}

std::byte* workspace::of_thread(index_t thread) const {
    return given_ == nullptr ? at_least(kept.scratch, bytes_a_thread_) : given_ + thread * bytes_a_thread_;
}

index_t workspace::bytes(index_t threads, index_t bytes_a_thread, index_t shared_bytes) {
    return threads * core::round_up(bytes_a_thread, scratch_alignment) +
           core::round_up(shared_bytes, scratch_alignment) + scratch_alignment;
}

} // namespace pantile::inline v0::cpu
