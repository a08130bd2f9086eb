// SPDX-License-Identifier: MIT
//
// The version of these headers. CMakeLists.txt reads it from here.
#ifndef SLUICE_VERSION_HPP
#define SLUICE_VERSION_HPP

/// Major * 10000 + minor * 100 + patch. Before 1.0 a new minor version may break client code.
#define SLUICE_VERSION 100
/// The same as text.
#define SLUICE_VERSION_STRING "0.1.0"

#endif
