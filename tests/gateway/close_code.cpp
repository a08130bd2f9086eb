// SPDX-License-Identifier: MIT
#include <sluice/gateway/close_code.hpp>

#include "support/catch.hpp"

#include <algorithm>
#include <array>

namespace {

using sluice::gateway::after_close;
using sluice::gateway::after_voice_close;
using sluice::gateway::AfterClose;
using sluice::gateway::may_reconnect;
using sluice::gateway::may_resume;

static_assert(after_close(4004) == AfterClose::stop, "usable where constants are needed");

TEST_CASE("exactly 4004 and 4010 to 4014 forbid reconnecting to the gateway") {
    constexpr std::array fatal = {4004, 4010, 4011, 4012, 4013, 4014};
    for (int code = -1; code <= 5000; ++code) {
        CAPTURE(code);
        const bool listed = std::find(fatal.begin(), fatal.end(), code) != fatal.end();
        REQUIRE(may_reconnect(after_close(code)) == !listed);
    }
}

TEST_CASE("a wrong sequence number and a timed out session need a new session") {
    CHECK(after_close(4007) == AfterClose::identify);
    CHECK(after_close(4009) == AfterClose::identify);
    CHECK_FALSE(may_resume(after_close(4007)));
    CHECK(may_reconnect(after_close(4007)));
}

TEST_CASE("after 4008 the session may be resumed, but not at once") {
    CHECK(after_close(4008) == AfterClose::resume_later);
    CHECK(may_resume(after_close(4008)));
    for (int code = 0; code <= 5000; ++code) {
        CAPTURE(code);
        REQUIRE((after_close(code) == AfterClose::resume_later) == (code == 4008));
    }
}

TEST_CASE("the other documented codes allow a resume") {
    for (const int code : {4000, 4001, 4002, 4003, 4005}) {
        CAPTURE(code);
        CHECK(after_close(code) == AfterClose::resume);
    }
}

TEST_CASE("a code that nobody knows, or no close frame at all, is worth a resume") {
    for (const int code : {-1, 0, 1000, 1001, 1006, 4006, 4015, 4099, 4999}) {
        CAPTURE(code);
        CHECK(after_close(code) == AfterClose::resume);
    }
}

TEST_CASE("exactly eight voice codes forbid reconnecting, encryption that is required among them") {
    constexpr std::array fatal = {4004, 4011, 4012, 4014, 4016, 4017, 4021, 4022};
    for (int code = -1; code <= 5000; ++code) {
        CAPTURE(code);
        const bool listed = std::find(fatal.begin(), fatal.end(), code) != fatal.end();
        REQUIRE(may_reconnect(after_voice_close(code)) == !listed);
    }
}

TEST_CASE("after a voice 4008 the session may be resumed, but not at once") {
    CHECK(after_voice_close(4008) == AfterClose::resume_later);
    CHECK(may_resume(after_voice_close(4008)));
    for (int code = 0; code <= 5000; ++code) {
        CAPTURE(code);
        REQUIRE((after_voice_close(code) == AfterClose::resume_later) == (code == 4008));
    }
}

TEST_CASE("a voice session that is gone needs a new one, and every other voice code a resume") {
    for (const int code : {4006, 4009}) {
        CAPTURE(code);
        CHECK(after_voice_close(code) == AfterClose::identify);
        CHECK_FALSE(may_resume(after_voice_close(code)));
    }
    for (const int code : {-1, 0, 1000, 1006, 4001, 4002, 4003, 4005, 4015, 4020, 4999}) {
        CAPTURE(code);
        CHECK(after_voice_close(code) == AfterClose::resume);
    }
}

TEST_CASE("one code may mean different things to the gateway and to the voice gateway") {
    CHECK(after_close(4006) == AfterClose::resume);
    CHECK(after_voice_close(4006) == AfterClose::identify);
    CHECK(after_close(4017) == AfterClose::resume); // nobody knows it there
    CHECK(after_voice_close(4017) == AfterClose::stop);
    CHECK(after_close(4013) == AfterClose::stop);
    CHECK(after_voice_close(4013) == AfterClose::resume);
}

} // namespace
