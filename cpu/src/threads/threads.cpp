#include "threads.hpp"

#include <atomic>
#include <cctype>
#include <cstdlib>
#include <new>
#include <thread>
#include <vector>

#include <omp.h>
#include <pthread.h>
#include <unistd.h>

#if defined(__linux__)
#include <sys/syscall.h>
#endif

#include "scratch.hpp"

namespace pantile::inline v0::cpu {
namespace {

std::atomic<bool> forked = false; // this process was, after its parent's first parallel region

/// From now on, children know that they are. False where that cannot be had.
bool forks_are_watched() {
    static const bool watched =
        pthread_atfork(nullptr, nullptr, [] { forked.store(true, std::memory_order_relaxed); }) == 0;
    return watched;
}

/// The stack that OpenMP gives its threads where the environment says so; 0: the system's.
std::size_t openmp_stack_bytes() {
    for (const char* name : {"OMP_STACKSIZE", "GOMP_STACKSIZE"}) {
        const char* value = std::getenv(name);
        if (value == nullptr) continue;
        if (const std::size_t bytes = stack_bytes(value); bytes > 0) return bytes;
    }
    return 0;
}

/// A thread that lives until a gate opens.
struct trial {
    pthread_t handle{};
    long id = 0; // the system's
    const std::atomic<bool>* gate = nullptr;

    static void* run(void* self) {
        auto& t = *static_cast<trial*>(self);
#if defined(__linux__)
        t.id = syscall(SYS_gettid);
#endif
        t.gate->wait(false);
        return nullptr;
    }
    /// A thread that was joined may count against the system's limits for some microseconds more.
    void wait_until_gone() const {
#if defined(__linux__)
        constexpr int patience = 10'000;
        for (int n = 0; n < patience && syscall(SYS_tgkill, getpid(), id, 0) == 0; ++n) std::this_thread::yield();
#endif
    }
};

/// Starts up to `count` threads that live at the same time, and ends them. Returns how many there were.
index_t try_threads(index_t count) {
    std::vector<trial> trials;
    try {
        trials.resize(static_cast<std::size_t>(count));
    } catch (const std::bad_alloc&) {
        return 0;
    }
    pthread_attr_t attributes;
    if (pthread_attr_init(&attributes) != 0) return 0;
    if (const std::size_t bytes = openmp_stack_bytes(); bytes > 0) pthread_attr_setstacksize(&attributes, bytes);
    std::atomic<bool> gate = false;
    std::size_t started = 0;
    for (; started < trials.size(); ++started) {
        trial& t = trials[started];
        t.gate = &gate;
        if (pthread_create(&t.handle, &attributes, trial::run, &t) != 0) break;
    }
    pthread_attr_destroy(&attributes);
    gate = true;
    gate.notify_all();
    for (std::size_t n = 0; n < started; ++n) pthread_join(trials[n].handle, nullptr);
    for (std::size_t n = 0; n < started; ++n) trials[n].wait_until_gone();
    return static_cast<index_t>(started);
}

} // namespace

std::size_t stack_bytes(const char* value) {
    char* unit = nullptr;
    const std::size_t number = std::strtoull(value, &unit, 10);
    if (unit == value) return 0;
    while (std::isspace(static_cast<unsigned char>(*unit)) != 0) ++unit;
    switch (std::tolower(static_cast<unsigned char>(*unit))) {
    case 'b':
        return number;
    case 'm':
        return number << 20;
    case 'g':
        return number << 30;
    default:
        return number << 10;
    }
}

index_t allowed_threads(index_t wanted) {
    if (forked.load(std::memory_order_relaxed) || thread_is_ending()) return 1;
    // Those of the machine: a thread that is bound to some of them may come first.
    static const index_t most = core::max(16, 4 * static_cast<index_t>(sysconf(_SC_NPROCESSORS_ONLN)));
    return core::min(wanted > 0 ? wanted : omp_get_max_threads(), most);
}

index_t startable_threads(index_t wanted) {
    if (wanted <= 1 || thread_is_ending() || !forks_are_watched() || forked.load(std::memory_order_relaxed)) return 1;
    // OpenMP keeps a pool for each thread that opens parallel regions. Plain data: calls may come while a thread ends.
    struct tried_before {
        index_t wanted = 1;
        index_t started = 1;
    };
    static constinit thread_local tried_before tried{};
    if (wanted > tried.wanted) {
        if (omp_get_active_level() >= omp_get_max_active_levels())
            return wanted; // no region inside this one: none start
        // If not all can be had, half are left to others, and memory to the call.
        const index_t others = try_threads(wanted - 1);
        tried.started = core::max(tried.started, 1 + (others == wanted - 1 ? others : others / 2));
        tried.wanted = wanted;
    }
    return core::min(wanted, tried.started);
}

} // namespace pantile::inline v0::cpu
