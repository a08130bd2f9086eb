// SPDX-License-Identifier: MIT
//
// FakeDiscord: what becomes of a request, and the answer to it. Included by
// testing/fake_discord.hpp only.
#ifndef SLUICE_TESTING_DETAIL_FAKE_DISCORD_ANSWERS_HPP
#define SLUICE_TESTING_DETAIL_FAKE_DISCORD_ANSWERS_HPP

#include <sluice/testing/fake_discord.hpp>

#include <optional>
#include <string_view>
#include <utility>

namespace sluice::testing {

inline FakeResponse FakeDiscord::answer(const FakeRequest& request, Arrival& arrival) {
    Exchange exchange{request, arrival, options_.epoch + now_, {}};
    std::optional<FakeResponse> scripted = script_ ? script_(request, now_) : std::nullopt;
    if (scripted) {
        arrival.verdict = FakeVerdict::scripted;
        exchange.response = *std::move(scripted);
    } else {
        exchange.skew = options_.clock_offset + draw_skew();
        decide(exchange);
        if (options_.interaction_tokens && arrival.executed && arrival.route.exempt_from_global())
            gate_.tokens().ran(request, now_);
        const Duration thought = exchange.wall + exchange.response.think_time;
        if (!exchange.complete) writer_.common(exchange.response, thought + exchange.skew);
        if (exchange.lie != nullptr) detail::replace_headers(*exchange.lie, exchange.response);
    }
    if (options_.invalid && detail::is_invalid(exchange.response, *options_.invalid))
        gate_.invalid().count(*options_.invalid, request.address, now_);
    if (options_.proxy && !scripted) detail::pass_through(*options_.proxy, exchange.response);
    return std::move(exchange.response);
}

inline void FakeDiscord::decide(Exchange& exchange) {
    sweep(exchange.wall);
    if (stop(exchange)) return;
    const Route& route = exchange.arrival.route;
    detail::Plan* const plan = route.valid() ? &this->plan(route) : nullptr;
    const Fault* const fault = plan != nullptr ? plan->strike(false, now_) : nullptr;
    if (fault != nullptr)
        strike(exchange, *plan, *fault);
    else
        limit_globally(exchange, plan);
}

/// True when the request gets no further than the edge, or than what Discord checks first.
inline bool FakeDiscord::stop(Exchange& exchange) {
    const FakeRequest& request = exchange.request;
    FakeResponse& response = exchange.response;
    Arrival& arrival = exchange.arrival;
    const bool interaction = arrival.route.exempt_from_global();
    if (gate_.stop_at_edge(request, options_, now_, writer_, response)) {
        arrival.verdict = FakeVerdict::blocked;
        exchange.complete = true;
    } else if (const auto* outage = outages_.strike(interaction, now_)) {
        writer_.outage(response, *outage, exchange.wall + exchange.skew + outage->think_time);
        arrival.verdict = FakeVerdict::faulted;
        exchange.complete = true;
    } else if (gate_.stop(request, interaction, options_, now_, response)) {
        arrival.verdict = FakeVerdict::denied;
    }
    return arrival.verdict != FakeVerdict::accepted;
}

inline void FakeDiscord::limit_globally(Exchange& exchange, detail::Plan* plan) {
    Arrival& arrival = exchange.arrival;
    Counter* global = nullptr;
    const Global whose = global_of(arrival.route, exchange.request);
    if (whose.limit != nullptr) {
        global = &find_or_make(globals_, whose.individual, *whose.limit);
        arrival.retry_after = global->wait(exchange.wall);
        // Discord docs, "Rate Limits": this 429 says nothing of the route's own limit.
        if (arrival.retry_after > Duration::zero())
            return refuse(exchange, FakeVerdict::global_limit,
                          {.kind = RefusalKind::global, .wait = arrival.retry_after});
    }
    if (plan != nullptr) {
        run_rule(exchange, *plan);
    } else {
        arrival.verdict = FakeVerdict::unknown_route;
        exchange.response.status = 404;
        exchange.response.body = R"({"message": "404: Not Found", "code": 0})";
    }
    if (global != nullptr && arrival.verdict != FakeVerdict::user_limit)
        global->spend(exchange.wall);
}

inline void FakeDiscord::run_rule(Exchange& exchange, detail::Plan& plan) {
    Arrival& arrival = exchange.arrival;
    FakeResponse& response = exchange.response;
    const Rule& rule = plan.rule();
    const auto course = plan.course(arrival.route, exchange.request, exchange.wall);
    plan.count_arrival();
    const detail::Face& face = *course.face;
    exchange.lie = rule.lie ? &*rule.lie : nullptr;
    response.think_time = rule.think_time;
    response.status = course.error != nullptr ? course.error->status : rule.status;
    Counter* counter = nullptr;
    if (face.limit) {
        arrival.counter = plan.counter(face, arrival.route, exchange.request);
        counter = &find_or_make(counters_, arrival.counter, *face.limit);
        arrival.retry_after = counter->wait(exchange.wall);
        if (arrival.retry_after > Duration::zero())
            refuse(exchange, FakeVerdict::user_limit, {.wait = arrival.retry_after});
        else
            counter->spend(exchange.wall);
    }
    const bool counted = course.error == nullptr || course.error->counted;
    const bool described = counted && arrival.verdict == FakeVerdict::accepted &&
                           !rule.second.empty() && run_second(exchange, plan);
    if (counter != nullptr && rule.headers && !described)
        describe(exchange, {face.limit->limit, counter->standing(exchange.wall)}, face.hash,
                 exchange.lie);
    if (arrival.verdict != FakeVerdict::accepted) return;
    write_body(response, rule, course.error);
    arrival.executed = response.status < 400;
    if (course.error == nullptr && plan.indexing(arrival.route, now_)) {
        response.status = 202;
        response.body = detail::indexing_body(*rule.indexing);
        arrival.executed = false;
    }
    if (const Fault* fault = plan.strike(true, now_)) strike(exchange, plan, *fault);
}

inline void FakeDiscord::write_body(FakeResponse& response, const Rule& rule,
                                    const ErrorAnswer* error) {
    if (error != nullptr)
        response.body = detail::error_body(error->status, error->code, error->message);
    else if (rule.code)
        response.body = detail::error_body(rule.status, *rule.code);
    else if (rule.status != 204)
        response.body = rule.body;
}

inline bool FakeDiscord::run_second(Exchange& exchange, const detail::Plan& plan) {
    const auto drawn =
        plan.draw_second(exchange.arrival.route, exchange.request, second_counters_, exchange.wall);
    exchange.arrival.retry_after = drawn.wait;
    if (drawn.spent != nullptr) return refuse_second(exchange, *drawn.spent);
    if (drawn.shown == nullptr) return false;
    const SecondLimit& shown = *drawn.shown;
    describe(exchange, {shown.limit.limit, drawn.standing}, shown.hash, nullptr);
    return true;
}

inline bool FakeDiscord::refuse_second(Exchange& exchange, const SecondLimit& second) {
    const Duration wait = exchange.arrival.retry_after + second.overstated;
    const bool described = !second.hash.empty();
    Refusal refusal{.kind = described ? RefusalKind::user : RefusalKind::sublimit,
                    .wait = wait,
                    .message = second.message,
                    .code = second.code};
    if (second.shared) refusal.kind = RefusalKind::shared;
    refuse(exchange, second.shared ? FakeVerdict::shared_limit : FakeVerdict::hidden_limit,
           std::move(refusal));
    if (described) {
        const Standing standing{0, exchange.wall + wait, wait};
        describe(exchange, {second.limit.limit, standing}, second.hash, nullptr);
    }
    return described;
}

inline void FakeDiscord::describe(Exchange& exchange, detail::Description told,
                                  std::string_view hash, const Lie* lie) {
    if (lie != nullptr)
        told = detail::told(*lie, told, exchange.wall + exchange.response.think_time);
    told.standing.reset += exchange.skew;
    writer_.bucket(exchange.response, told, hash);
}

inline void FakeDiscord::refuse(Exchange& exchange, FakeVerdict verdict, Refusal refusal) {
    exchange.arrival.verdict = verdict;
    if (exchange.lie != nullptr) {
        refusal.header_wait = exchange.lie->retry_after;
        refusal.wait_text = exchange.lie->retry_after_text;
        if (exchange.lie->retry_after_in_body) {
            // Without a lie about it, the header is what it would have been.
            if (!refusal.header_wait) refusal.header_wait = refusal.wait;
            refusal.wait = exchange.lie->retry_after_in_body;
        }
    }
    writer_.refusal(exchange.response, refusal);
}

inline void FakeDiscord::strike(Exchange& exchange, const detail::Plan& plan, const Fault& fault) {
    exchange.arrival.verdict = FakeVerdict::faulted;
    exchange.lie = nullptr;
    exchange.response = {.status = 0, .think_time = plan.rule().think_time};
    switch (fault.kind) {
    case FaultKind::server_error:
        exchange.response.status = fault.status;
        exchange.response.body = detail::server_error_body(fault.status);
        break;
    case FaultKind::refusal:
        strike_with_refusal(exchange, plan, fault.refusal);
        break;
    case FaultKind::cut:
        exchange.response.cut = true;
        break;
    case FaultKind::silence:
        exchange.response.silent = true;
        break;
    }
    exchange.complete |= exchange.response.status == 0;
}

inline void FakeDiscord::strike_with_refusal(Exchange& exchange, const detail::Plan& plan,
                                             const Refusal& refusal) {
    Arrival& arrival = exchange.arrival;
    arrival.retry_after = refusal.wait.value_or(Duration::zero());
    if (from_cloudflare(refusal.kind)) {
        exchange.complete = true;
        writer_.cloudflare(exchange.response, refusal, exchange.wall + exchange.skew);
        return;
    }
    writer_.refusal(exchange.response, refusal);
    if (!describes_bucket(refusal.kind)) return;
    const detail::Face& face = plan.face(arrival.route, exchange.wall);
    if (refusal.bucket) {
        const auto& shown = *refusal.bucket;
        const Duration reset = exchange.wall + shown.reset_after;
        describe(exchange, {shown.limit, {shown.remaining, reset, shown.reset_after}}, shown.hash,
                 nullptr);
    } else if (face.limit && plan.rule().headers) {
        arrival.counter = plan.counter(face, arrival.route, exchange.request);
        Standing standing =
            find_or_make(counters_, arrival.counter, *face.limit).standing(exchange.wall);
        if (refusal.kind == RefusalKind::user)
            standing = {0, exchange.wall + arrival.retry_after, arrival.retry_after};
        describe(exchange, {face.limit->limit, standing}, face.hash, nullptr);
    }
}

} // namespace sluice::testing

#endif
