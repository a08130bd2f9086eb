// SPDX-License-Identifier: MIT
//
// The events that a limiter reports to an observer, for logs and metrics:
//
//     options.observer = [](const sluice::Event& event) { log(to_string(event.kind)); };
//
// An observer is never called under a lock. It may be called concurrently, on the thread that
// caused the event. Its exceptions are swallowed and counted in Stats. Without an observer no
// events are recorded.
#ifndef SLUICE_EVENTS_HPP
#define SLUICE_EVENTS_HPP

#include <sluice/core/event.hpp>

#include <functional>

namespace sluice {

using core::Event;
using core::EventKind;
using core::Obstacle;
using core::to_string;

using Observer = std::function<void(const Event&)>;

} // namespace sluice

#endif
