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

# pantile_visibility(<target>)
#
# A library shows what PANTILE_API marks (core/macros.hpp), and nothing else. Instances of the standard library's templates are
# visible whatever the flags are: where the linker takes a list of names, they stay inside, too.
function(pantile_visibility target)
  set_target_properties(${target} PROPERTIES
    CXX_VISIBILITY_PRESET hidden CUDA_VISIBILITY_PRESET hidden VISIBILITY_INLINES_HIDDEN ON)
  get_target_property(type ${target} TYPE)
  if(type STREQUAL "SHARED_LIBRARY" AND UNIX AND NOT APPLE)
    set(names "${PROJECT_SOURCE_DIR}/cmake/exported_names.map")
    target_link_options(${target} PRIVATE "LINKER:--version-script=${names}")
    set_property(TARGET ${target} APPEND PROPERTY LINK_DEPENDS "${names}")
  endif()
endfunction()

# pantile_add_library(<room> [STATIC] SOURCES <file>... [PUBLIC_LINK <target>...] [PRIVATE_LINK <target>...])
#
# The library pantile_<room>, known as pantile::<room> inside the build and after installation. <room>/include is its
# public include folder and is installed. Whatever is linked privately must be either header-only (then it is needed
# to build pantile, not to use it) or found again by cmake/pantileConfig.cmake.in. STATIC: whatever BUILD_SHARED_LIBS says.
# Who links it compiles with PANTILE_LINKS_<ROOM>, by which a public header knows that its library is not among those linked.
function(pantile_add_library room)
  cmake_parse_arguments(PARSE_ARGV 1 arg "STATIC" "" "SOURCES;PUBLIC_LINK;PRIVATE_LINK")
  if(arg_UNPARSED_ARGUMENTS OR NOT arg_SOURCES)
    message(FATAL_ERROR "pantile_add_library(${room}): give SOURCES, and nothing unknown (${arg_UNPARSED_ARGUMENTS})")
  endif()
  set(target pantile_${room})
  if(arg_STATIC)
    add_library(${target} STATIC ${arg_SOURCES})
  else()
    add_library(${target} ${arg_SOURCES})
  endif()
  add_library(pantile::${room} ALIAS ${target})
  # While the major version is 0, a minor one may change the binary interface.
  set(interface ${PROJECT_VERSION_MAJOR})
  if(interface EQUAL 0)
    set(interface ${PROJECT_VERSION_MAJOR}.${PROJECT_VERSION_MINOR})
  endif()
  set_target_properties(${target} PROPERTIES EXPORT_NAME ${room} VERSION ${PROJECT_VERSION} SOVERSION ${interface})
  string(TOUPPER "${room}" name)
  target_compile_definitions(${target} PUBLIC PANTILE_LINKS_${name})
  target_include_directories(${target}
    PUBLIC $<BUILD_INTERFACE:${CMAKE_CURRENT_SOURCE_DIR}/include> $<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}>
    PRIVATE ${CMAKE_CURRENT_SOURCE_DIR}/src)
  target_link_libraries(${target} PUBLIC ${arg_PUBLIC_LINK} PRIVATE ${arg_PRIVATE_LINK})
  pantile_language(${target})
  pantile_warnings(${target})
  pantile_visibility(${target})
  pantile_install_target(${target})
  if(EXISTS "${CMAKE_CURRENT_SOURCE_DIR}/include")
    install(DIRECTORY include/ DESTINATION ${CMAKE_INSTALL_INCLUDEDIR} FILES_MATCHING
            PATTERN "*.hpp" PATTERN "*.h" PATTERN "*.f90")
  endif()
endfunction()

# pantile_holds_c_interface(<target>)
#
# For a room with a C interface: its shared library shows what core has of it, too. From a static core the linker would take
# only what the room itself calls.
function(pantile_holds_c_interface target)
  get_target_property(type ${target} TYPE)
  if(type STREQUAL "SHARED_LIBRARY")
    get_target_property(sources pantile_core PANTILE_C_SOURCES)
    target_sources(${target} PRIVATE ${sources})
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

# pantile_add_c_program(<target> <compiler> <file> LINK <target>...)
#
# A program in C99, compiled as strictly as users may, by whichever compiler: pantile itself asks for no compiler of C. Linked as
# C++, as the static libraries want.
function(pantile_add_c_program target compiler file)
  cmake_parse_arguments(PARSE_ARGV 3 arg "" "" "LINK")
  get_filename_component(source "${file}" ABSOLUTE)
  set(object "${CMAKE_CURRENT_BINARY_DIR}/${target}.o")
  set(includes)
  foreach(room IN ITEMS core cpu cuda)
    list(APPEND includes "-I${PROJECT_SOURCE_DIR}/${room}/include")
  endforeach()
  add_custom_command(OUTPUT "${object}"
    COMMAND "${compiler}" -std=c99 -Wall -Wextra -pedantic -Werror -O1 -g1 -fPIE ${includes} -MD -MF "${object}.d"
            -c "${source}" -o "${object}"
    DEPENDS "${source}" DEPFILE "${object}.d" COMMENT "Building C object ${target}.o" VERBATIM)
  add_executable(${target} "${object}")
  set_target_properties(${target} PROPERTIES LINKER_LANGUAGE CXX)
  target_link_libraries(${target} PRIVATE ${arg_LINK})
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
