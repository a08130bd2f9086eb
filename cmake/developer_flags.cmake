# SPDX-License-Identifier: MIT
#
# sluice_developer: how tests and examples of sluice are compiled. Private to them; whoever links
# sluice::sluice gets no flag from here.
#
# No mode turns assert() off. Without a mode CMAKE_BUILD_TYPE decides, as anywhere.

set(SLUICE_BUILD_MODE "" CACHE STRING "How tests and examples are built")
set_property(CACHE SLUICE_BUILD_MODE PROPERTY STRINGS "" debug release asan tsan)

add_library(sluice_developer INTERFACE)
target_compile_options(sluice_developer INTERFACE -Wall -Wextra -Wpedantic -Wconversion -Wshadow)

set(SLUICE_SANITIZER_FLAGS)
if(SLUICE_BUILD_MODE STREQUAL "debug")
    target_compile_options(sluice_developer INTERFACE -g)
    target_compile_definitions(sluice_developer INTERFACE _GLIBCXX_ASSERTIONS)
elseif(SLUICE_BUILD_MODE STREQUAL "release")
    target_compile_options(sluice_developer INTERFACE -O2 -g0)
elseif(SLUICE_BUILD_MODE STREQUAL "asan")
    set(SLUICE_SANITIZER_FLAGS -fsanitize=address,undefined -fno-sanitize-recover=all)
    target_compile_definitions(sluice_developer INTERFACE _GLIBCXX_ASSERTIONS)
elseif(SLUICE_BUILD_MODE STREQUAL "tsan")
    set(SLUICE_SANITIZER_FLAGS -fsanitize=thread)
elseif(SLUICE_BUILD_MODE)
    message(FATAL_ERROR "SLUICE_BUILD_MODE is debug, release, asan or tsan, not "
                        "'${SLUICE_BUILD_MODE}'")
endif()

if(SLUICE_SANITIZER_FLAGS)
    if(CMAKE_CXX_COMPILER_ID MATCHES "Clang")
        # Half of the time to compile a test of the Asio layer went into checks of code not ours.
        # Addresses are checked everywhere.
        list(APPEND SLUICE_SANITIZER_FLAGS
             -fsanitize-ignorelist=${CMAKE_CURRENT_LIST_DIR}/sanitizer_ignore.txt)
    endif()
    # -g1: line numbers for reports, without the size of full debug information. No -O: to optimise
    # what is instrumented takes long (clang 19: 45 s instead of 16 for a test of the Asio layer).
    target_compile_options(sluice_developer INTERFACE -g1 -fno-omit-frame-pointer
                                                      ${SLUICE_SANITIZER_FLAGS})
    target_link_options(sluice_developer INTERFACE ${SLUICE_SANITIZER_FLAGS})
    target_compile_definitions(sluice_developer INTERFACE SLUICE_SANITIZED=1)
endif()
