// Put in front of every source of pantile by the build (cmake/exact_arithmetic.cmake): such sources are compiled for exact
// arithmetic or not at all. Online softmax lives on infinities, NaN must come out where it went in, and sums are ordered so
// that they stay exact; with -ffast-math or a part of it, results would be silently wrong.
//
// The build's own flags undo what a parent project asked for. This catches flags that came after them. clang and nvcc have
// no macros for most of these, so there the flags alone must do.
#pragma once

#if defined(__FAST_MATH__) || (defined(__FINITE_MATH_ONLY__) && __FINITE_MATH_ONLY__ == 1) ||                          \
    defined(__ASSOCIATIVE_MATH__) || defined(__RECIPROCAL_MATH__) || defined(__NO_SIGNED_ZEROS__) ||                   \
    defined(__ROUNDING_MATH__) || defined(__CLANG_CUDA_APPROX_TRANSCENDENTALS__) || defined(__USE_FAST_MATH__)
#error "pantile must not be compiled with -ffast-math or a part of it (-Ofast, -funsafe-math-optimizations, \
-ffinite-math-only, -fassociative-math, -freciprocal-math, -fno-signed-zeros, -frounding-math): its results would be wrong. \
Take the flag off pantile's targets; programs that link them may have it."
#endif
