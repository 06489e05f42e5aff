# Exact arithmetic for pantile's own sources, whatever the flags of the project that pantile is built in.

# pantile_exact_arithmetic(<target>)
#
# Flags of the target come after CMAKE_CXX_FLAGS and after the options of folders: they undo -ffast-math, its parts, and
# -Ofast's. What is asked for later still (a parent's target_compile_options) is met by an #error in
# core/src/exact_arithmetic.hpp. -ftrapping-math is g++'s default; clang's is to ignore exceptions, and its
# -fno-unsafe-math-optimizations would change that.
function(pantile_exact_arithmetic target)
  set(header "${PROJECT_SOURCE_DIR}/core/src/exact_arithmetic.hpp")
  set(flags -fno-fast-math -fno-finite-math-only -fno-associative-math -fno-reciprocal-math -fsigned-zeros
            -fno-rounding-math)
  if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
    list(APPEND flags -fno-unsafe-math-optimizations -ftrapping-math -fno-signaling-nans -fno-single-precision-constant)
  else()
    # -ffast-math implies -ffp-contract=fast, and undoing it draws a warning from clang.
    list(APPEND flags -fno-approx-func -ffp-exception-behavior=ignore -fdenormal-fp-math=ieee -Wno-overriding-t-option)
  endif()
  target_compile_options(${target} PRIVATE $<$<COMPILE_LANGUAGE:CXX>:${flags}> "SHELL:-include \"${header}\"")
  if(PANTILE_CUDA)
    list(JOIN flags "," host_flags)
    target_compile_options(${target} PRIVATE
      $<$<COMPILE_LANGUAGE:CUDA>:-Xcompiler=${host_flags}> $<$<COMPILE_LANGUAGE:CUDA>:--ftz=false>
      $<$<COMPILE_LANGUAGE:CUDA>:--prec-div=true> $<$<COMPILE_LANGUAGE:CUDA>:--prec-sqrt=true>)
  endif()
  # Linked with -ffast-math or -Ofast, a program or a shared library starts by flushing small numbers to zero, for good.
  target_link_options(${target} PRIVATE $<HOST_LINK:-fno-fast-math> $<HOST_LINK:-O2>)
  if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
    target_link_options(${target} PRIVATE $<HOST_LINK:-fno-unsafe-math-optimizations>)
  endif()
endfunction()

# nvcc's --use_fast_math cannot be undone by a later option and has no macro. pantile takes it out of the flags of its own
# folder, and refuses where it comes back (pantile_refuse_cuda_fast_math).

# pantile_drop_cuda_fast_math(): for the caller's folder and those below.
macro(pantile_drop_cuda_fast_math)
  foreach(flags IN ITEMS CMAKE_CUDA_FLAGS CMAKE_CUDA_FLAGS_DEBUG CMAKE_CUDA_FLAGS_RELEASE CMAKE_CUDA_FLAGS_RELWITHDEBINFO
          CMAKE_CUDA_FLAGS_MINSIZEREL)
    string(REGEX REPLACE "--?use_fast_math" "" ${flags} "${${flags}}")
  endforeach()
  get_directory_property(pantile_options COMPILE_OPTIONS)
  string(REGEX REPLACE "--?use_fast_math" "" pantile_options "${pantile_options}")
  set_property(DIRECTORY PROPERTY COMPILE_OPTIONS "${pantile_options}")
  cmake_language(DEFER DIRECTORY "${CMAKE_SOURCE_DIR}" CALL pantile_refuse_cuda_fast_math)
endmacro()

# pantile_refuse_cuda_fast_math(): at the end of the whole configuration, when a parent has said all.
function(pantile_refuse_cuda_fast_math)
  get_target_property(options pantile_cuda COMPILE_OPTIONS)
  if(options MATCHES "--?use_fast_math")
    message(FATAL_ERROR "pantile must not be compiled with --use_fast_math: its results would be wrong. Take the flag off "
            "the target pantile_cuda; programs that link it may have it.")
  endif()
endfunction()
