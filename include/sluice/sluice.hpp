// SPDX-License-Identifier: MIT
//
// Includes what a typical bot needs: routes, responses, tickets and the limiter. Optional parts
// have their own headers: gateway/, shared/, adapters/, testing/.
#ifndef SLUICE_SLUICE_HPP
#define SLUICE_SLUICE_HPP

#include <sluice/bucket.hpp>
#include <sluice/bucket_manager.hpp>
#include <sluice/error.hpp>
#include <sluice/options.hpp>
#include <sluice/response.hpp>
#include <sluice/route.hpp>
#include <sluice/ticket.hpp>
#include <sluice/version.hpp>

#endif
