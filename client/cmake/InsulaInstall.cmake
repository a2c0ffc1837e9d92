# The rules of "cmake --install": the headers, the libraries, and the files that find_package and
# pkg-config read.
include(CMakePackageConfigHelpers)
include(GNUInstallDirs)

set(insula_config_dir ${CMAKE_INSTALL_LIBDIR}/cmake/insula)
set_target_properties(insula_testing PROPERTIES EXPORT_NAME testing)

install(TARGETS insula insula_testing EXPORT insula-targets FILE_SET HEADERS)
if(INSULA_CLI)
  install(TARGETS insula_cli)
endif()
install(EXPORT insula-targets NAMESPACE insula:: DESTINATION ${insula_config_dir})

configure_package_config_file(${CMAKE_CURRENT_LIST_DIR}/insula-config.cmake.in
  ${PROJECT_BINARY_DIR}/insula-config.cmake INSTALL_DESTINATION ${insula_config_dir})
write_basic_package_version_file(${PROJECT_BINARY_DIR}/insula-config-version.cmake
  COMPATIBILITY SameMinorVersion)
install(FILES ${PROJECT_BINARY_DIR}/insula-config.cmake ${PROJECT_BINARY_DIR}/insula-config-version.cmake
  DESTINATION ${insula_config_dir})

# The .pc files are written at installation, which alone knows the prefix.
if(BUILD_SHARED_LIBS)
  set(insula_requires Requires.private)
else()
  set(insula_requires Requires)
endif()
install(CODE "
  set(prefix \"\${CMAKE_INSTALL_PREFIX}\")
  set(libdir \"${CMAKE_INSTALL_LIBDIR}\")
  set(includedir \"${CMAKE_INSTALL_INCLUDEDIR}\")
  set(version \"${PROJECT_VERSION}\")
  set(requires \"${insula_requires}\")
  foreach(package IN ITEMS insula insula_testing)
    configure_file(\"${CMAKE_CURRENT_LIST_DIR}/\${package}.pc.in\" \"${PROJECT_BINARY_DIR}/\${package}.pc\" @ONLY)
  endforeach()")
install(FILES ${PROJECT_BINARY_DIR}/insula.pc ${PROJECT_BINARY_DIR}/insula_testing.pc
  DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
