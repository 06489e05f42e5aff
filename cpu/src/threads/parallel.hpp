/// \file
/// The one loop over threads.
#pragma once

#include <exception>

#include <omp.h>

#include <pantile/core/float_environment.hpp>
#include <pantile/core/macros.hpp>

#include "threads.hpp"

namespace pantile::inline v0::cpu {

/// f(i, thread) for i in [0, count), in dynamic order on up to `threads` threads, each in the standard floating-point
/// environment; one thread runs without OpenMP's start-up, in the caller's. The first exception is thrown again here.
template <class F>
void parallel_for(index_t count, index_t threads, F&& f) {
    if (count > 1 && threads > 1) threads = startable_threads(threads);
    if (threads <= 1 || count <= 1) {
        for (index_t i = 0; i < count; ++i) f(i, 0);
        return;
    }
    std::exception_ptr failure;
#pragma omp parallel num_threads(static_cast <int>(threads))
    {
        const core::float_environment standard;
#pragma omp for schedule(dynamic, 1) nowait
        for (index_t i = 0; i < count; ++i) {
            try {
                f(i, static_cast<index_t>(omp_get_thread_num()));
            } catch (...) {
#pragma omp critical(pantile_failure)
                if (!failure) failure = std::current_exception();
            }
        }
    }
    if (failure) std::rethrow_exception(failure);
}

} // namespace pantile::inline v0::cpu
