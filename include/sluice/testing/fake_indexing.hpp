// SPDX-License-Identifier: MIT
//
// 202 instead of a result: a search whose index is not ready yet.
//
//     discord.rule("GET /guilds/{guild.id}/messages/search", {.indexing = Indexing{.first = 3}});
//
// Invariant: such an answer is not a refusal. Its request passed all limits, used the same quota as
// a result, and shows the ordinary headers. Only its body differs, and nothing was executed.
//
// Discord docs, "Message", "Search Guild Messages" (2026-03-19): 202 with code 110000,
// documents_indexed and an integer retry_after, 0 for "a short delay". Discord's OpenAPI document
// (2026-07-18) has the same for the search of threads.
#ifndef SLUICE_TESTING_FAKE_INDEXING_HPP
#define SLUICE_TESTING_FAKE_INDEXING_HPP

#include <sluice/testing/fake_limit.hpp>

#include <cstdint>
#include <string>

namespace sluice::testing {

/// Requests get a 202 while they are among the `first` ones or arrive before `until`.
struct Indexing {
    std::uint64_t first = 1; ///< of each major parameter
    Duration until{};        ///< server time
    std::int64_t retry_after = 2;
    std::int64_t documents_indexed = 0;
};

namespace detail {

[[nodiscard]] inline std::string indexing_body(const Indexing& indexing) {
    return R"({"message": "Index not yet available. Try again later", "code": 110000, )"
           R"("documents_indexed": )" +
           std::to_string(indexing.documents_indexed) + R"(, "retry_after": )" +
           std::to_string(indexing.retry_after) + "}";
}

} // namespace detail
} // namespace sluice::testing

#endif
