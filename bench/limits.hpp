/// \file
/// What the processor can do at most, measured in the same process and moment as what is compared with it: clocks and
/// neighbours change within seconds, so only ratios taken in turn mean anything.
#pragma once

#include <cstddef>
#include <vector>

#include <pantile/options.hpp>

namespace bench {

/// Runs multiply-adds from registers on `threads` threads for a few milliseconds; returns FLOP/s. `number_bytes` is 4 or
/// 8. The instruction set is one that explain names: baseline, avx2, avx512 or amx (its vector units).
[[nodiscard]] double multiply_add_peak(const char* isa, int number_bytes, int threads);

/// Reads [data, data + bytes) once, divided among `threads` threads, in 64-byte steps; returns bytes/s.
[[nodiscard]] double plain_read(const void* data, std::size_t bytes, int threads);

[[nodiscard]] double seconds_now();
/// The clock for work on `threads` threads: one thread's own CPU time, so that other programs on the machine disturb less;
/// with several threads, where waiting for one another counts, time on the wall.
[[nodiscard]] double seconds_for(int threads);
[[nodiscard]] double median(std::vector<double> x);

} // namespace bench
