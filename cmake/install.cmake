# Installation: targets are collected in one export set, and a package file lets find_package(pantile) read it.

include(CMakePackageConfigHelpers)
set(pantile_package_dir ${CMAKE_INSTALL_LIBDIR}/cmake/pantile)

function(pantile_install_target target)
  install(TARGETS ${target} EXPORT pantile_targets
          ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR}
          LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR}
          RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
endfunction()

function(pantile_install_package)
  install(EXPORT pantile_targets NAMESPACE pantile:: FILE pantileTargets.cmake DESTINATION ${pantile_package_dir})
  configure_package_config_file(${PROJECT_SOURCE_DIR}/cmake/pantileConfig.cmake.in
                                ${PROJECT_BINARY_DIR}/pantileConfig.cmake
                                INSTALL_DESTINATION ${pantile_package_dir}
                                NO_SET_AND_CHECK_MACRO)
  write_basic_package_version_file(${PROJECT_BINARY_DIR}/pantileConfigVersion.cmake COMPATIBILITY SameMinorVersion)
  install(FILES ${PROJECT_BINARY_DIR}/pantileConfig.cmake ${PROJECT_BINARY_DIR}/pantileConfigVersion.cmake
          DESTINATION ${pantile_package_dir})
  install(FILES ${PROJECT_SOURCE_DIR}/LICENSE DESTINATION ${CMAKE_INSTALL_DOCDIR})
endfunction()
