# cmake -DPREFIX=<installed> -DPROJECT=<components> -DSCRATCH=<folder> -DGENERATOR=<...> -DCXX=<compiler>
#       -DCPU=<bool> -DSIMULATOR=<bool> -DCUDA=<bool> -P components_test.cmake
#
# What find_package(pantile COMPONENTS ...) says of components that the installed build has, has not, or that do not exist.
cmake_minimum_required(VERSION 3.25)

# look(<option>...): runs the project; its output in `text`, line breaks as blanks.
macro(look)
  execute_process(COMMAND ${CMAKE_COMMAND} -G "${GENERATOR}" -S "${PROJECT}" -B "${SCRATCH}" "-DCMAKE_PREFIX_PATH=${PREFIX}"
      "-DCMAKE_CXX_COMPILER=${CXX}" ${ARGN}
    RESULT_VARIABLE code OUTPUT_VARIABLE text ERROR_VARIABLE text)
  string(REGEX REPLACE "[ \n]+" " " text "${text}")
  set(asked "${ARGN}")
endmacro()
macro(expect words)
  string(FIND "${text}" "${words}" at)
  if(at LESS 0)
    message(FATAL_ERROR "asked with ${asked}: \"${words}\" is missing in\n${text}")
  endif()
endmacro()

file(REMOVE_RECURSE "${SCRATCH}")
look(-DWANTED=core -DOPTIONAL= -DMUST= -DQUIET=)
expect("found: 1")
expect("core: TRUE")

foreach(component IN ITEMS cpu simulator cuda)
  string(TOUPPER ${component} option)
  if(${option})
    look("-DWANTED=core\;${component}" -DOPTIONAL= -DMUST= -DQUIET=)
    expect("found: 1")
    expect("${component}: TRUE")
    continue()
  endif()
  set(reason "pantile was built without its component '${component}' (PANTILE_${option}=OFF)")
  look("-DWANTED=core\;${component}" -DOPTIONAL= -DMUST= -DQUIET=)
  expect("found: 0")
  expect("why: ${reason}")
  expect("${component}: FALSE")
  look(-DWANTED=core -DOPTIONAL=${component} -DMUST= -DQUIET=)
  expect("found: 1")
  expect("-- ${reason}")
  expect("${component}: FALSE")
  look(-DWANTED=core -DOPTIONAL= -DMUST=${component} -DQUIET=)
  expect("${reason}")
  if(code EQUAL 0)
    message(FATAL_ERROR "a required component that is not there did not stop the configuration")
  endif()
endforeach()

look("-DWANTED=core\;gpu\;tpu" -DOPTIONAL= -DMUST= -DQUIET=QUIET)
expect("found: 0")
expect("pantile has no component 'gpu': its components are core, cpu, simulator and cuda.")
expect("pantile has no component 'tpu'")
