# How every room of pantile builds its library and its tests.
include(exact_arithmetic)

# pantile_warnings(<target>)
#
# The warnings that all of pantile's own sources are clean under. They are errors for pantile's developers only: a
# newer compiler must not break a user's build.
function(pantile_warnings target)
  set(flags -Wall -Wextra -Wpedantic -Wconversion -Wno-sign-conversion)
  if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU" AND CMAKE_CXX_COMPILER_VERSION VERSION_LESS 13)
    list(APPEND flags -Wno-restrict) # false alarms on std::string's operator+ (GCC bug 105651)
  endif()
  # Not under sanitizers: their instrumentation makes g++ 12 suspect the standard library of uninitialised reads.
  if(PANTILE_DEVELOPER AND NOT CMAKE_CXX_FLAGS MATCHES "-fsanitize")
    list(APPEND flags -Werror)
  endif()
  target_compile_options(${target} PRIVATE $<$<COMPILE_LANGUAGE:CXX>:${flags}>)
  if(PANTILE_CUDA)
    # -Wpedantic objects to the line markers that nvcc itself writes, and -Wconversion to its generated stubs.
    target_compile_options(${target} PRIVATE
      $<$<COMPILE_LANGUAGE:CUDA>:-Xcompiler=-Wall,-Wextra>
      $<$<AND:$<COMPILE_LANGUAGE:CUDA>,$<BOOL:${PANTILE_DEVELOPER}>>:-Werror=all-warnings>)
  endif()
endfunction()

# C++20 for both languages, and exact arithmetic. CMake 3.25 does not know CUDA's C++20 mode, so nvcc is told by an option.
function(pantile_language target)
  target_compile_features(${target} PUBLIC cxx_std_20)
  set_target_properties(${target} PROPERTIES CXX_EXTENSIONS OFF POSITION_INDEPENDENT_CODE ON)
  if(PANTILE_CUDA)
    target_compile_options(${target} PRIVATE
      $<$<COMPILE_LANGUAGE:CUDA>:-std=c++20> $<$<COMPILE_LANGUAGE:CUDA>:--expt-relaxed-constexpr>)
  endif()
  pantile_exact_arithmetic(${target})
endfunction()

# pantile_add_library(<room> SOURCES <file>... [PUBLIC_LINK <target>...] [PRIVATE_LINK <target>...])
#
# The library pantile_<room>, known as pantile::<room> inside the build and after installation. <room>/include is its
# public include folder and is installed. Whatever is linked privately must be either header-only (then it is needed
# to build pantile, not to use it) or found again by cmake/pantileConfig.cmake.in.
function(pantile_add_library room)
  cmake_parse_arguments(PARSE_ARGV 1 arg "" "" "SOURCES;PUBLIC_LINK;PRIVATE_LINK")
  if(arg_UNPARSED_ARGUMENTS OR NOT arg_SOURCES)
    message(FATAL_ERROR "pantile_add_library(${room}): give SOURCES, and nothing unknown (${arg_UNPARSED_ARGUMENTS})")
  endif()
  set(target pantile_${room})
  add_library(${target} ${arg_SOURCES})
  add_library(pantile::${room} ALIAS ${target})
  set_target_properties(${target} PROPERTIES EXPORT_NAME ${room})
  target_include_directories(${target}
    PUBLIC $<BUILD_INTERFACE:${CMAKE_CURRENT_SOURCE_DIR}/include> $<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}>
    PRIVATE ${CMAKE_CURRENT_SOURCE_DIR}/src)
  target_link_libraries(${target} PUBLIC ${arg_PUBLIC_LINK} PRIVATE ${arg_PRIVATE_LINK})
  pantile_language(${target})
  pantile_warnings(${target})
  pantile_install_target(${target})
  if(EXISTS "${CMAKE_CURRENT_SOURCE_DIR}/include")
    install(DIRECTORY include/ DESTINATION ${CMAKE_INSTALL_INCLUDEDIR} FILES_MATCHING PATTERN "*.hpp")
  endif()
endfunction()

# pantile_add_program(<target> SOURCES <file>... LINK <target>...)
#
# A program with pantile's language and warnings: examples, benchmarks, tools.
function(pantile_add_program target)
  cmake_parse_arguments(PARSE_ARGV 1 arg "" "" "SOURCES;LINK")
  if(arg_UNPARSED_ARGUMENTS OR NOT arg_SOURCES)
    message(FATAL_ERROR "pantile_add_program(${target}): give SOURCES, and nothing unknown (${arg_UNPARSED_ARGUMENTS})")
  endif()
  add_executable(${target} ${arg_SOURCES})
  target_link_libraries(${target} PRIVATE ${arg_LINK})
  pantile_language(${target})
  pantile_warnings(${target})
endfunction()

# pantile_add_test(<name> SOURCES <file>... [LINK <target>...] [LABELS <label>...] [ENV <NAME=value>...])
#
# A GoogleTest program pantile-test-<name>; each of its tests becomes a ctest entry "<name>.<suite>.<test>". A test that
# calls GTEST_SKIP is reported as skipped. GoogleTest, its main function and rapidcheck are linked for it.
function(pantile_add_test name)
  cmake_parse_arguments(PARSE_ARGV 1 arg "" "" "SOURCES;LINK;LABELS;ENV")
  set(target pantile-test-${name})
  pantile_add_program(${target} SOURCES ${arg_SOURCES}
                      LINK ${arg_LINK} rapidcheck GTest::gmock GTest::gtest_main ${arg_UNPARSED_ARGUMENTS})
  gtest_discover_tests(${target} TEST_PREFIX "${name}." DISCOVERY_MODE PRE_TEST DISCOVERY_TIMEOUT 60
                       PROPERTIES TIMEOUT 600)
  # Properties that are lists do not survive gtest_discover_tests: ctest reads them from a file of their own.
  set(properties_file "${CMAKE_CURRENT_BINARY_DIR}/${target}_properties.cmake")
  file(WRITE ${properties_file}
       "if(${target}_TESTS)\n  set_tests_properties(\${${target}_TESTS} PROPERTIES"
       " LABELS \"${name};${arg_LABELS}\" ENVIRONMENT \"${arg_ENV}\")\nendif()\n")
  set_property(DIRECTORY APPEND PROPERTY TEST_INCLUDE_FILES ${properties_file})
endfunction()
