# SPDX-License-Identifier: MIT
#
# The headers and a package for find_package(sluice).

get_property(fetched GLOBAL PROPERTY SLUICE_FETCHED)
if(fetched)
    # The installed package looks its dependencies up; a downloaded one is not there to be found.
    message(STATUS "sluice: no install target, because ${fetched} was downloaded")
    return()
endif()

include(CMakePackageConfigHelpers)
include(GNUInstallDirs)
set(package_dir ${CMAKE_INSTALL_DATADIR}/cmake/sluice)

configure_package_config_file(
    ${CMAKE_CURRENT_LIST_DIR}/sluice-config.cmake.in ${PROJECT_BINARY_DIR}/sluice-config.cmake
    INSTALL_DESTINATION ${package_dir}
    NO_SET_AND_CHECK_MACRO)
write_basic_package_version_file(
    ${PROJECT_BINARY_DIR}/sluice-config-version.cmake
    COMPATIBILITY SameMinorVersion
    ARCH_INDEPENDENT)

install(
    DIRECTORY ${PROJECT_SOURCE_DIR}/include/sluice
    DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}
    FILES_MATCHING
    PATTERN "*.hpp")
install(
    TARGETS sluice
    EXPORT sluice-targets
    INCLUDES
    DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
install(EXPORT sluice-targets NAMESPACE sluice:: DESTINATION ${package_dir})
install(FILES ${PROJECT_BINARY_DIR}/sluice-config.cmake
              ${PROJECT_BINARY_DIR}/sluice-config-version.cmake DESTINATION ${package_dir})
install(FILES ${PROJECT_SOURCE_DIR}/LICENSE DESTINATION ${CMAKE_INSTALL_DOCDIR})
