#include "guarded_new.hpp"

#include <atomic>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <mutex>
#include <new>

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define PANTILE_TEST_GUARDED_NEW 0
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define PANTILE_TEST_GUARDED_NEW 0
#endif
#endif
#if !defined(PANTILE_TEST_GUARDED_NEW)
#define PANTILE_TEST_GUARDED_NEW 1
#endif

namespace pantile::test {
namespace {

constexpr std::size_t band = 256; // bytes; a multiple of every alignment asked for
constexpr unsigned char mark = 0xa5;

struct block {
    std::size_t bytes;
    std::thread::id taker;
};

/// What is known of all blocks. Never destroyed: memory is given back until the process has ended.
struct heap {
    std::mutex mutex;
    std::map<std::uintptr_t, block> alive; // by where they begin
    std::atomic<std::size_t> refused = 0;
    std::atomic<std::size_t> refused_from = SIZE_MAX;
};
heap& all() {
    static heap* const h = new heap;
    return *h;
}

thread_local std::size_t taken = 0;

} // namespace

bool new_is_guarded() { return PANTILE_TEST_GUARDED_NEW != 0; }

std::size_t blocks_alive() {
    const std::lock_guard lock(all().mutex);
    return all().alive.size();
}
blocks blocks_alive(std::thread::id taker) {
    const std::lock_guard lock(all().mutex);
    blocks found;
    for (const auto& [begin, b] : all().alive) {
        if (b.taker != taker) continue;
        ++found.count;
        found.bytes += b.bytes;
    }
    return found;
}
std::size_t blocks_taken() { return taken; }
std::size_t blocks_refused() { return all().refused; }

std::size_t room_behind(const void* p) {
    const std::lock_guard lock(all().mutex);
    const auto at = reinterpret_cast<std::uintptr_t>(p);
    auto next = all().alive.upper_bound(at);
    if (next == all().alive.begin()) return 0;
    --next;
    return at < next->first + next->second.bytes ? next->first + next->second.bytes - at : 0;
}

refused_memory::refused_memory(std::size_t bytes) { all().refused_from = bytes; }
refused_memory::~refused_memory() { all().refused_from = SIZE_MAX; }

#if PANTILE_TEST_GUARDED_NEW
namespace {

[[noreturn]] void give_up(const char* what, std::size_t bytes) {
    std::fprintf(stderr, "guarded_new: %s (block of %zu bytes)\n", what, bytes);
    std::abort();
}

void* take(std::size_t bytes, std::size_t alignment) {
    heap& h = all();
    if (bytes >= h.refused_from) {
        ++h.refused;
        throw std::bad_alloc();
    }
    if (alignment > band) give_up("no such alignment is foreseen", bytes);
    const std::size_t whole = (bytes + 3 * band - 1) / band * band;
    auto* const memory = static_cast<unsigned char*>(std::aligned_alloc(band, whole));
    if (memory == nullptr) throw std::bad_alloc();
    std::memset(memory, mark, band);
    std::memset(memory + band + bytes, mark, whole - band - bytes);
    ++taken;
    const std::lock_guard lock(h.mutex);
    h.alive[reinterpret_cast<std::uintptr_t>(memory + band)] = {bytes, std::this_thread::get_id()};
    return memory + band;
}

void give_back(void* p) {
    if (p == nullptr) return;
    heap& h = all();
    std::size_t bytes = 0;
    {
        const std::lock_guard lock(h.mutex);
        const auto found = h.alive.find(reinterpret_cast<std::uintptr_t>(p));
        if (found == h.alive.end()) give_up("memory is given back twice, or never was taken", 0);
        bytes = found->second.bytes;
        h.alive.erase(found);
    }
    auto* const memory = static_cast<unsigned char*>(p) - band;
    const std::size_t whole = (bytes + 3 * band - 1) / band * band;
    for (std::size_t n = 0; n < whole; n = n + 1 == band ? band + bytes : n + 1) {
        if (memory[n] != mark) give_up(n < band ? "written to before a block" : "written to behind a block", bytes);
    }
    std::free(memory);
}

} // namespace
#endif

} // namespace pantile::test

#if PANTILE_TEST_GUARDED_NEW
void* operator new(std::size_t bytes, std::align_val_t alignment) {
    return pantile::test::take(bytes, static_cast<std::size_t>(alignment));
}
void operator delete(void* p, std::align_val_t) noexcept { pantile::test::give_back(p); }
void operator delete(void* p, std::size_t, std::align_val_t) noexcept { pantile::test::give_back(p); }
#endif
