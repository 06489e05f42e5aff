# cmake -DCXX=<compiler> -DSOURCE=<file> -DINCLUDES=<folder;...> -DFLAGS=<flag;...> -P wrong_call_test.cmake
#
# A wrong call must not compile, the compiler must say the words that the source's first lines ask for ("// says: …"), and
# all that it says must be short enough to be read. A source that asks for no words must compile, and nothing may be said.
cmake_minimum_required(VERSION 3.25)
set(most_lines 10)

list(TRANSFORM INCLUDES PREPEND "-I")
get_filename_component(folder "${SOURCE}" DIRECTORY)
get_filename_component(name "${SOURCE}" NAME)
execute_process(COMMAND "${CXX}" -std=c++20 -fsyntax-only ${FLAGS} ${INCLUDES} "${name}" WORKING_DIRECTORY "${folder}"
                RESULT_VARIABLE code OUTPUT_VARIABLE text ERROR_VARIABLE text)

file(STRINGS "${SOURCE}" wanted REGEX "^// says: ")
if(NOT wanted)
  if(NOT code EQUAL 0 OR NOT text STREQUAL "")
    message(FATAL_ERROR "a right call does not compile, or not in silence:\n${text}")
  endif()
  return()
endif()
if(code EQUAL 0)
  message(FATAL_ERROR "a wrong call compiles")
endif()
foreach(words IN LISTS wanted)
  string(REPLACE "// says: " "" words "${words}")
  string(FIND "${text}" "${words}" at)
  if(at LESS 0)
    message(FATAL_ERROR "the compiler does not say \"${words}\":\n${text}")
  endif()
endforeach()
string(REGEX REPLACE "[^\n]" "" lines "${text}")
string(LENGTH "${lines}" count)
if(count GREATER most_lines)
  message(FATAL_ERROR "${count} lines are said, ${most_lines} are allowed:\n${text}")
endif()
