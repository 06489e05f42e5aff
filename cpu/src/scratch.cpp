#include "scratch.hpp"

#include <cstdint>
#include <memory>
#include <new>
#include <string>

#include <pantile/error.hpp>

namespace pantile::cpu {
namespace {

constexpr index_t alignment = 64;
// More than this a thread is given back after the call. Its page faults do not matter beside the work that needs it.
constexpr index_t most_kept = index_t{4} << 20;

struct aligned_delete {
    void operator()(std::byte* p) const { ::operator delete (p, std::align_val_t{alignment}); }
};

/// One growing block.
class block {
  public:
    std::byte* at_least(index_t bytes) {
        if (bytes > size_) {
            memory_.reset();
            size_ = 0;
            const auto count = static_cast<std::size_t>(bytes);
            memory_.reset(static_cast<std::byte*>(::operator new (count, std::align_val_t{alignment})));
            size_ = bytes;
        }
        return memory_.get();
    }

  private:
    std::unique_ptr<std::byte, aligned_delete> memory_;
    index_t size_ = 0;
};

} // namespace

std::byte* thread_scratch(index_t bytes) {
    static thread_local block mine;
    return mine.at_least(bytes);
}

workspace::workspace(std::span<std::byte> given, index_t threads, index_t bytes_a_thread, index_t shared_bytes)
    : bytes_a_thread_(core::round_up(bytes_a_thread, alignment)) {
    const index_t needed = bytes(threads, bytes_a_thread, shared_bytes);
    if (given.empty() && bytes_a_thread <= most_kept && shared_bytes <= most_kept) {
        // The caller's thread owns what all threads share: apart from its scratch, which it uses at the same time.
        static thread_local block common;
        if (shared_bytes > 0) shared_ = common.at_least(shared_bytes);
        return;
    }
    if (given.empty()) {
        own_ = std::make_unique_for_overwrite<std::byte[]>(static_cast<std::size_t>(needed));
        given = {own_.get(), static_cast<std::size_t>(needed)};
    } else if (static_cast<index_t>(given.size()) < needed) {
        throw invalid_argument("pantile: options.workspace has " + std::to_string(given.size()) +
                               " bytes, this call needs " + std::to_string(needed) +
                               " (explain reports it as workspace_bytes)");
    }
    const auto address = reinterpret_cast<std::uintptr_t>(given.data());
    given_ = given.data() + (alignment - address % alignment) % alignment;
    if (shared_bytes > 0) shared_ = given_ + threads * bytes_a_thread_;
}

std::byte* workspace::of_thread(index_t thread) const {
    return given_ == nullptr ? thread_scratch(bytes_a_thread_) : given_ + thread * bytes_a_thread_;
}

index_t workspace::bytes(index_t threads, index_t bytes_a_thread, index_t shared_bytes) {
    return threads * core::round_up(bytes_a_thread, alignment) + core::round_up(shared_bytes, alignment) + alignment;
}

} // namespace pantile::cpu
