// SPDX-License-Identifier: MIT
//
// The least that can be done with sluice: if this compiles, links and runs, the target works.
#include <sluice/sluice.hpp>

#include <boost/asio/io_context.hpp>

int main() {
    boost::asio::io_context context;
    sluice::BucketManager limiter{context};
    return limiter.try_acquire(sluice::route<"GET /channels/{channel.id}">(1)) ? 0 : 1;
}
