// SPDX-License-Identifier: MIT
//
// Error codes and the exception that carries what is known about a refusal.
#include <sluice/error.hpp>

#include "support/catch.hpp"

#include <boost/system/error_code.hpp>
#include <boost/system/system_error.hpp>

#include <chrono>
#include <set>
#include <string>

namespace {

using namespace std::chrono_literals;
using boost::system::error_code;
using sluice::errc;

constexpr auto all = {errc::closed,
                      errc::wait_too_long,
                      errc::queue_full,
                      errc::unauthorized,
                      errc::unknown_webhook,
                      errc::too_many_invalid_requests,
                      errc::invalid_route,
                      errc::superseded,
                      errc::payload_too_large,
                      errc::sessions_exhausted,
                      errc::invalid_snapshot,
                      errc::invalid_webhook_token};

} // namespace

TEST_CASE("every error code is a failure of the category sluice, with a message of its own") {
    std::set<std::string> messages;
    for (const errc value : all) {
        const error_code code = value;
        CHECK(code.failed());
        CHECK(code == value);
        CHECK(code.category() == sluice::category());
        CHECK(std::string(code.category().name()) == "sluice");
        CHECK(code.message() != "unknown error");
        messages.insert(code.message());
    }
    CHECK(messages.size() == all.size());
    CHECK(error_code(999, sluice::category()).message() == "unknown error");
}

TEST_CASE("the numbers of error codes never change") {
    int number = 0;
    for (const errc value : all)
        CHECK(static_cast<int>(value) == ++number);
}

TEST_CASE("an Error is a system_error that carries the refusal") {
    const sluice::Refusal refusal{.retry_after = 3s,
                                  .scope = sluice::Scope::global,
                                  .bucket = sluice::BucketHash::parse("abc")};
    try {
        throw sluice::Error(errc::wait_too_long, refusal);
    } catch (const boost::system::system_error& caught) {
        CHECK(caught.code() == errc::wait_too_long);
        const auto* error = dynamic_cast<const sluice::Error*>(&caught);
        REQUIRE(error != nullptr);
        CHECK(error->retry_after() == 3s);
        CHECK(error->scope() == sluice::Scope::global);
        CHECK(error->bucket() == sluice::BucketHash::parse("abc"));
        CHECK(error->refusal() == refusal);
    }
    const sluice::Error bare(errc::closed);
    CHECK_FALSE(bare.retry_after());
    CHECK_FALSE(bare.scope());
    CHECK_FALSE(bare.bucket());
}
