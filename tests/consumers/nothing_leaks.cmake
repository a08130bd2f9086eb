# SPDX-License-Identifier: MIT
#
# What a project must not notice when it includes sluice: flags, tests, options that are on, targets
# besides sluice. expect_nothing_leaked(<directory of sluice>) after it was added.

function(expect what actual expected)
    if(NOT actual STREQUAL expected)
        message(SEND_ERROR "${what} is '${actual}', not '${expected}'")
    endif()
endfunction()

function(expect_usage_only)
    foreach(property IN ITEMS COMPILE_OPTIONS COMPILE_DEFINITIONS LINK_OPTIONS SOURCES)
        get_target_property(value sluice::sluice INTERFACE_${property})
        expect("INTERFACE_${property}" "${value}" "value-NOTFOUND")
    endforeach()
    get_target_property(features sluice::sluice INTERFACE_COMPILE_FEATURES)
    expect("INTERFACE_COMPILE_FEATURES" "${features}" "cxx_std_20")
endfunction()

function(expect_nothing_leaked directory)
    expect_usage_only()

    get_property(targets DIRECTORY ${directory} PROPERTY BUILDSYSTEM_TARGETS)
    expect("the targets of sluice" "${targets}" "sluice")
    get_property(subdirectories DIRECTORY ${directory} PROPERTY SUBDIRECTORIES)
    expect("the subdirectories of sluice" "${subdirectories}" "")
    get_property(tests DIRECTORY ${directory} PROPERTY TESTS)
    expect("the tests of sluice" "${tests}" "")

    foreach(property IN ITEMS COMPILE_OPTIONS COMPILE_DEFINITIONS INCLUDE_DIRECTORIES LINK_OPTIONS)
        get_property(value DIRECTORY PROPERTY ${property})
        expect("${property} of the project" "${value}" "")
    endforeach()
    foreach(variable IN ITEMS BUILD_TESTING CMAKE_CXX_STANDARD CMAKE_BUILD_TYPE CMAKE_CXX_FLAGS
                              CMAKE_COMPILE_WARNING_AS_ERROR BOOST_INCLUDE_LIBRARIES)
        expect("${variable}" "${${variable}}" "")
    endforeach()
    foreach(option IN ITEMS BUILD_TESTS BUILD_EXAMPLES INSTALL FETCH_DEPENDENCIES)
        expect("SLUICE_${option}" "${SLUICE_${option}}" "OFF")
    endforeach()

    # Besides its four options, sluice leaves where it was found and where packages were found.
    get_cmake_property(cached CACHE_VARIABLES)
    list(FILTER cached INCLUDE REGEX "^(SLUICE|BOOST|JSON|CATCH)_")
    list(SORT cached)
    list(REMOVE_ITEM cached SLUICE_ROOT)
    expect("the cache" "${cached}"
        "SLUICE_BUILD_EXAMPLES;SLUICE_BUILD_TESTS;SLUICE_FETCH_DEPENDENCIES;SLUICE_INSTALL")
endfunction()
