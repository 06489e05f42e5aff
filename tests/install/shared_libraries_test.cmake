# cmake -DPREFIX=<installed> -DEXPORTED_SYMBOLS=<program> -DNM=<nm> -DVERSION=<0.2.0> -DROOMS=<room;...> -P shared_libraries_test.cmake
#
# An installation of shared libraries: a library a room, known by its binary interface (major.minor while major is 0), with the
# core inside each and visible in none.
cmake_minimum_required(VERSION 3.25)

string(REGEX MATCH "^0\\.[0-9]+|^[1-9][0-9]*" interface "${VERSION}")
set(libraries)
foreach(room IN LISTS ROOMS)
  file(GLOB library "${PREFIX}/lib*/libpantile_${room}.so" "${PREFIX}/lib/*/libpantile_${room}.so")
  if(NOT library)
    message(FATAL_ERROR "there is no libpantile_${room}.so under ${PREFIX}")
  endif()
  foreach(suffix IN ITEMS ${interface} ${VERSION})
    if(NOT EXISTS "${library}.${suffix}")
      message(FATAL_ERROR "there is no ${library}.${suffix}")
    endif()
  endforeach()
  list(APPEND libraries "${library}")
endforeach()
list(GET libraries 0 library)
get_filename_component(folder "${library}" DIRECTORY)
if(EXISTS "${folder}/libpantile_core.so" OR NOT EXISTS "${folder}/libpantile_core.a")
  message(FATAL_ERROR "the core is to be a static library, in ${folder}")
endif()
execute_process(COMMAND "${EXPORTED_SYMBOLS}" "${NM}" "${PREFIX}/include" ${libraries} RESULT_VARIABLE code
                OUTPUT_VARIABLE text ERROR_VARIABLE text)
message("${text}")
if(NOT code EQUAL 0)
  message(FATAL_ERROR "libraries show what they should not, or not what they should")
endif()
