# Installation: targets are collected in one export set, and a package file lets find_package(pantile) read it.

include(CMakePackageConfigHelpers)
set(pantile_package_dir ${CMAKE_INSTALL_LIBDIR}/cmake/pantile)

# Shared libraries of pantile need each other, and its programs need them: they find them by where they lie themselves, so
# that an installed tree works without LD_LIBRARY_PATH, and may be moved.
file(RELATIVE_PATH pantile_libraries_from_programs "${CMAKE_INSTALL_FULL_BINDIR}" "${CMAKE_INSTALL_FULL_LIBDIR}")
if(APPLE)
  set(pantile_origin "@loader_path")
else()
  set(pantile_origin "$ORIGIN")
endif()

function(pantile_install_target target)
  get_target_property(type ${target} TYPE)
  if(type STREQUAL "EXECUTABLE")
    set_property(TARGET ${target} APPEND PROPERTY INSTALL_RPATH "${pantile_origin}/${pantile_libraries_from_programs}")
  elseif(NOT type STREQUAL "INTERFACE_LIBRARY")
    set_property(TARGET ${target} APPEND PROPERTY INSTALL_RPATH "${pantile_origin}")
  endif()
  install(TARGETS ${target} EXPORT pantile_targets
          ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR}
          LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR}
          RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
endfunction()

function(pantile_install_package)
  install(EXPORT pantile_targets NAMESPACE pantile:: FILE pantileTargets.cmake DESTINATION ${pantile_package_dir})
  set(pantile_components core)
  foreach(component IN ITEMS cpu simulator cuda)
    if(TARGET pantile_${component})
      list(APPEND pantile_components ${component})
    endif()
  endforeach()
  if(BUILD_SHARED_LIBS)
    set(pantile_static OFF)
  else()
    set(pantile_static ON)
  endif()
  configure_package_config_file(${PROJECT_SOURCE_DIR}/cmake/pantileConfig.cmake.in
                                ${PROJECT_BINARY_DIR}/pantileConfig.cmake
                                INSTALL_DESTINATION ${pantile_package_dir}
                                NO_SET_AND_CHECK_MACRO)
  # A request is one for source that compiles, and what compiled against 0.1 does so today. (Programs that are built already
  # ask for the SOVERSION, which minor versions change while the major one is 0.)
  write_basic_package_version_file(${PROJECT_BINARY_DIR}/pantileConfigVersion.cmake COMPATIBILITY SameMajorVersion)
  install(FILES ${PROJECT_BINARY_DIR}/pantileConfig.cmake ${PROJECT_BINARY_DIR}/pantileConfigVersion.cmake
          DESTINATION ${pantile_package_dir})
  install(FILES ${PROJECT_SOURCE_DIR}/LICENSE DESTINATION ${CMAKE_INSTALL_DOCDIR})
endfunction()
