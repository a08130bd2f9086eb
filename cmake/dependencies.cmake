# SPDX-License-Identifier: MIT
#
# What sluice needs: a target that is there already, else find_package, else a download. Nothing but
# imported targets leaves the functions: a parent project sees no variable of ours.
#
# The archives are pinned by hash. Downloads are the rare path and not part of CI, which has the
# packages of the distribution.

# sluice_require(<package> <target> <Debian package> [VERSION <v>] URL <url> SHA256 <hash>)
function(sluice_require package target debian)
    cmake_parse_arguments(PARSE_ARGV 3 arg "" "VERSION;URL;SHA256" "")
    if(TARGET ${target})
        return()
    endif()
    # GLOBAL: the target of sluice is linked outside of this directory, where it must find these.
    find_package(${package} ${arg_VERSION} CONFIG QUIET GLOBAL)
    if(TARGET ${target})
        message(STATUS "sluice: ${package} ${${package}_VERSION} found in ${${package}_DIR}")
        return()
    endif()
    if(NOT SLUICE_FETCH_DEPENDENCIES)
        message(FATAL_ERROR "sluice needs ${package} ${arg_VERSION}. Install it (Debian: ${debian}), "
                            "or set SLUICE_FETCH_DEPENDENCIES=ON to download it.")
    endif()
    message(STATUS "sluice: ${package} is missing, downloading ${arg_URL}")
    include(FetchContent)
    FetchContent_Declare(${package} URL ${arg_URL} URL_HASH SHA256=${arg_SHA256} SYSTEM)
    FetchContent_MakeAvailable(${package})
    set_property(GLOBAL APPEND PROPERTY SLUICE_FETCHED ${package})
endfunction()

function(sluice_require_boost result)
    set(libraries asio beast system unordered uuid)
    set(BOOST_INCLUDE_LIBRARIES ${libraries})
    sluice_require(
        Boost Boost::headers "libboost-dev, on Debian 12 libboost1.81-dev"
        VERSION 1.81
        URL https://github.com/boostorg/boost/releases/download/boost-1.84.0/boost-1.84.0.tar.xz
        SHA256 2e64e5d79a738d0fa6fb546c6e5c2bd28f88d268a2a080546f74e5ff98f29d0e)
    # Built from source, Boost has a target for each library and Boost::headers is empty.
    set(targets Boost::headers)
    foreach(library IN LISTS libraries)
        if(TARGET Boost::${library})
            list(APPEND targets Boost::${library})
        endif()
    endforeach()
    set(${result} ${targets} PARENT_SCOPE)
endfunction()

function(sluice_require_json)
    set(JSON_Install OFF)
    sluice_require(
        nlohmann_json nlohmann_json::nlohmann_json nlohmann-json3-dev
        VERSION 3.11
        URL https://github.com/nlohmann/json/releases/download/v3.11.3/json.tar.xz
        SHA256 d6c65aca6b1ed68e7a182f4757257b107ae403032760ed6ef121c9d55e81757d)
endfunction()

function(sluice_require_threads)
    if(NOT TARGET Threads::Threads)
        set(THREADS_PREFER_PTHREAD_FLAG ON)
        find_package(Threads REQUIRED GLOBAL)
    endif()
endfunction()

function(sluice_require_catch)
    # No version: 2.13 and 3 both do, and their version files refuse each other.
    sluice_require(
        Catch2 Catch2::Catch2 "libcatch2-dev, on Debian 12 catch2"
        URL https://github.com/catchorg/Catch2/archive/refs/tags/v2.13.10.tar.gz
        SHA256 d54a712b7b1d7708bc7a819a8e6e47b2fde9536f487b89ccbca295072a7d9943)
endfunction()
