#include "scratch.hpp"

#include <cstdint>
#include <memory>
#include <string>

#include <pantile/error.hpp>

namespace pantile::cpu {
namespace {

// More than this is given back after the call. Of what its threads share, the calling thread keeps more: fresh pages cost
// a backward pass of 2048 rows a twentieth of its time, and this serves up to 4 fp64 heads of 128 dims there.
constexpr index_t most_kept = index_t{4} << 20;
constexpr index_t most_shared_kept = index_t{128} << 20;

} // namespace

std::byte* scratch_block::at_least(index_t bytes) {
    if (bytes > size_) {
        memory_.reset();
        size_ = 0;
        const auto count = static_cast<std::size_t>(bytes);
        memory_.reset(static_cast<std::byte*>(::operator new (count, std::align_val_t{alignment})));
        size_ = bytes;
    }
    return memory_.get();
}

std::byte* thread_scratch(index_t bytes) {
    static thread_local scratch_block mine;
    return mine.at_least(bytes);
}

workspace::workspace(std::span<std::byte> given, index_t threads, index_t bytes_a_thread, index_t shared_bytes)
    : bytes_a_thread_(core::round_up(bytes_a_thread, scratch_block::alignment)) {
    if (given.empty()) {
        if (shared_bytes > most_shared_kept) {
            shared_ = own_shared_.at_least(shared_bytes);
        } else if (shared_bytes > 0) {
            // Apart from the caller's own scratch, which it uses at the same time.
            static thread_local scratch_block common;
            shared_ = common.at_least(shared_bytes);
        }
        if (bytes_a_thread > most_kept) given_ = own_.at_least(threads * bytes_a_thread_);
        return;
    }
    const index_t needed = bytes(threads, bytes_a_thread, shared_bytes);
    if (static_cast<index_t>(given.size()) < needed) {
        throw invalid_argument("pantile: options.workspace has " + std::to_string(given.size()) +
                               " bytes, this call needs " + std::to_string(needed) +
                               " (explain reports it as workspace_bytes)");
    }
    const auto address = reinterpret_cast<std::uintptr_t>(given.data());
    given_ = given.data() + (scratch_block::alignment - address % scratch_block::alignment) % scratch_block::alignment;
    if (shared_bytes > 0) shared_ = given_ + threads * bytes_a_thread_;
}

std::byte* workspace::of_thread(index_t thread) const {
    return given_ == nullptr ? thread_scratch(bytes_a_thread_) : given_ + thread * bytes_a_thread_;
}

index_t workspace::bytes(index_t threads, index_t bytes_a_thread, index_t shared_bytes) {
    return threads * core::round_up(bytes_a_thread, scratch_block::alignment) +
           core::round_up(shared_bytes, scratch_block::alignment) + scratch_block::alignment;
}

} // namespace pantile::cpu
