/// \file
/// How many threads a call may have.
#pragma once

#include <cstddef>

#include <pantile/core/macros.hpp>

namespace pantile::inline v0::cpu {

/// `wanted` threads (0: what OpenMP would use), but no more than the processors have a use for: 4 a processor, or 16 where
/// that is more. 1 in a process that was forked after a call on several threads: the threads of OpenMP's pool did not
/// come along, and it would wait for them. 1 on a thread that is ending, too: OpenMP may have left it already.
[[nodiscard]] index_t allowed_threads(index_t wanted);

/// Of `wanted` threads, including the caller, those that OpenMP can start here; it would end the process over one that it
/// cannot. The first time that a thread asks for that many, they are started for a try. Also the last call before a
/// parallel region: from the first one on, forks are watched.
[[nodiscard]] index_t startable_threads(index_t wanted);

/// What a value of OMP_STACKSIZE stands for: KiB unless it names a unit, b, k, m or g. 0: no number.
[[nodiscard]] std::size_t stack_bytes(const char* value);

} // namespace pantile::inline v0::cpu
