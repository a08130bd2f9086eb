// SPDX-License-Identifier: MIT
//
// One client (core::Scheduler) against one Discord in virtual time: windows of every kind, delays,
// connections, uploads, clock skew, lost answers and headers that lie. Single-threaded and
// deterministic: a seed replays a run.
//
// run() throws on what must not happen in any run: a request that overtakes another of its lane, a
// place that does not come back, a lane left waiting without a wake time. It returns what the
// caller judges: refusals, makespan and its optimum.
#ifndef SLUICE_TESTS_SUPPORT_SIMULATION_HPP
#define SLUICE_TESTS_SUPPORT_SIMULATION_HPP

#include <sluice/core/scheduler.hpp>
#include <sluice/core/snapshot.hpp>
#include <sluice/testing/fake_limit.hpp>

#include "support/apply_answer.hpp"
#include "support/simulation_world.hpp"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <queue>
#include <random>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

namespace sluice::tests {

class Simulation {
public:
    Simulation(const World& world, std::vector<Request> requests)
        : world_(world),
          random_(world.seed),
          scheduler_(std::make_unique<core::Scheduler>(settings_of(world))),
          requests_(std::move(requests)),
          states_(requests_.size()),
          route_shown_(world.routes.size()) {
        for (const testing::Limit& limit : world.limits) {
            counters_.insert(counters_.end(), world.channels, Served{testing::Counter(limit)});
            name_hash();
        }
        if (world.global_limit > 0) {
            global_.emplace(testing::Limit{world.global_algorithm, world.global_limit, 1s});
        }
        offset_ = std::chrono::milliseconds(random_() % 1'000'000) + 1'700'000'000s;
        outcome_.optimum = optimum_of(world_, requests_);
    }

    Outcome run() {
        for (std::size_t i = 0; i < requests_.size(); ++i) {
            states_[i].index = i;
            push(start + requests_[i].at, Kind::queue, i);
        }
        for (std::size_t i = 0; i < world_.changes.size(); ++i)
            push(start + world_.changes[i].at, Kind::change, i);
        for (const Duration stop : world_.stops)
            push(start + stop, Kind::stop, 0);
        for (std::size_t i = 0; i < world_.others.size(); ++i)
            push(start + world_.others[i].at, Kind::other, i);
        while (!events_.empty()) {
            const Event event = events_.top();
            events_.pop();
            now_ = event.at;
            step(event);
            if (concerns_client(event.kind) && scheduler_) settle();
        }
        check_end();
        outcome_.requests = requests_.size();
        outcome_.makespan = last_ - start;
        outcome_.joined += scheduler_->counters().joined;
        return outcome_;
    }

private:
    static constexpr Time start = Time(1h);
    enum class Kind : std::uint8_t {
        queue,
        arrive,
        answer,
        lose,
        give_up,
        drop,
        wake,
        change,
        other,
        stop,
        resume
    };
    struct Event {
        Time at;
        std::uint64_t order;
        Kind kind;
        std::size_t subject; // a request; for a change, its number
        bool operator<(const Event& other) const {
            return at != other.at ? at > other.at : order > other.order;
        }
    };
    struct State : core::Waiter {
        std::size_t index = 0;
        core::Answer answer;
        Time bound = core::never;
        Time marked = core::never; // when it went out on an open connection
        bool blind = false;        // sent before any answer had shown its route
        bool orphan = false;       // sent by a client that has stopped since
        bool done = false;
    };
    struct Served {
        testing::Counter counter;
        bool answered = false;      // an answer of this counter has been delivered
        std::size_t first_lost = 0; // answers lost before that, or of a route not shown before
        std::size_t forgiven = 0;
        std::vector<Time> blind{}; // when the accepted requests were sent that nobody could place
    };

    static core::Settings settings_of(const World& world) {
        core::Settings settings;
        settings.global_limit =
            world.client_global_limit != 0 ? world.client_global_limit : world.global_limit;
        settings.join_common_counters = world.joins;
        settings.serves_at_once = world.serves_at_once;
        if (world.dormant_after) settings.idle.dormant_after = *world.dormant_after;
        // A bucket that was evicted has a first answer again, which may be lost again.
        const bool keep = world.loss > 0 || world.dormant_after;
        if (keep) settings.idle.evict_after = std::chrono::hours(24 * 365);
        return settings;
    }
    static void require(bool holds, const char* what) {
        if (!holds) throw std::logic_error(what);
    }

    static bool concerns_client(Kind kind) {
        return kind != Kind::arrive && kind != Kind::change && kind != Kind::other;
    }

    void push(Time at, Kind kind, std::size_t subject) {
        events_.push({at, ++order_, kind, subject});
    }
    Duration draw(const Range& range) {
        if (range.high <= range.low) return range.low;
        return Duration(std::uniform_int_distribution<std::int64_t>(range.low.count(),
                                                                    range.high.count())(random_));
    }
    /// Draws nothing for a share of 0, so that switching a feature on leaves other runs as they
    /// were.
    bool chance(double part) {
        return part > 0 && std::uniform_real_distribution<>(0, 1)(random_) < part;
    }

    std::size_t hash_of(std::size_t i) const { return world_.routes[requests_[i].route]; }
    Served& served_by(std::size_t i) { return counter_at(hash_of(i), requests_[i].channel); }
    Served& counter_at(std::size_t hash, std::size_t channel) {
        return counters_[hash * world_.channels + (world_.common ? 0 : channel)];
    }
    core::LaneKey lane_of(std::size_t i) const {
        return {requests_[i].route + 1, {core::MajorKind::channel, 0, requests_[i].channel + 1}, 0};
    }
    void name_hash() {
        texts_.push_back("hash-" + std::to_string(texts_.size()));
        hashes_.push_back(&texts_.back());
    }

    void step(const Event& event) {
        if (!scheduler_ && event.kind == Kind::queue)
            return push(resumes_, Kind::queue, event.subject);
        if (concerns_client(event.kind) && event.kind != Kind::resume && !concerns_this(event))
            return;
        switch (event.kind) {
        case Kind::queue:
            arrive_at_client(event.subject);
            break;
        case Kind::arrive:
            decide(event.subject);
            break;
        case Kind::answer:
            answered(event.subject);
            break;
        case Kind::lose:
            scheduler_->lose(states_[event.subject].place, now_);
            finish(event.subject);
            break;
        case Kind::give_up:
            give_up(event.subject);
            break;
        case Kind::drop:
            scheduler_->cancel(states_[event.subject].place, now_);
            abandon(event.subject);
            break;
        case Kind::wake:
            scheduler_->advance(now_);
            break;
        case Kind::change:
            change(world_.changes[event.subject]);
            break;
        case Kind::other:
            spend_elsewhere(world_.others[event.subject]);
            break;
        case Kind::stop:
            stop();
            break;
        case Kind::resume:
            resume();
            break;
        }
    }
    /// Not a client that has stopped since.
    bool concerns_this(const Event& event) const {
        const bool of_request = event.kind != Kind::wake && event.kind != Kind::stop;
        return scheduler_ && !(of_request && states_[event.subject].orphan);
    }

    /// All that is under way goes on without anybody who would hear of it; what waits will be asked
    /// for again.
    void stop() {
        if (world_.saves) saved_ = scheduler_->save(now_);
        stopped_ = now_;
        for (State& state : states_) {
            if (state.done || state.place.arrival == 0) continue;
            if (state.state == core::WaiterState::queued) {
                scheduler_->withdraw(state, now_);
                waiting_.push_back(state.index);
            } else {
                state.orphan = true;
                if (state.answer.status == 200) note_unheard(state.index);
                ++outcome_.abandoned;
                finish(state.index);
            }
        }
        std::sort(waiting_.begin(), waiting_.end(), [&](std::size_t a, std::size_t b) {
            return states_[a].place.arrival < states_[b].place.arrival;
        });
        outcome_.joined += scheduler_->counters().joined;
        scheduler_.reset();
        idle_until_.clear();
        resumes_ = now_ + draw(world_.downtime);
        push(resumes_, Kind::resume, 0);
    }

    void resume() {
        scheduler_ = std::make_unique<core::Scheduler>(settings_of(world_));
        scheduler_->restore(saved_, stopped_, now_);
        armed_ = Time::min();
        arrivals_ = waiting_.size();
        for (const std::size_t i : std::exchange(waiting_, {})) {
            states_[i].place = {};
            states_[i].bound = core::never;
            queue(i);
        }
    }

    /// What the layer above would do after every call: complete the granted, arm the timer.
    void settle() {
        complete();
        while (!world_.rings_late && scheduler_->next_wake() <= now_) {
            scheduler_->advance(now_);
            complete();
        }
        arm();
    }

    void complete() {
        core::WaiterList finished = scheduler_->take_finished();
        while (!finished.empty()) {
            State& state = static_cast<State&>(finished.front());
            finished.pop_front();
            if (state.state == core::WaiterState::refused) {
                // Its bound has passed, or an answer has shown that it will before its turn comes.
                require(state.bound != core::never, "a waiter without a bound was refused");
                abandon(state.index);
                continue;
            }
            require(state.bound > now_, "a waiter was granted after its bound");
            scheduler_->delivered(*state.place.lane);
            send(state.index);
        }
    }

    void arm() {
        const core::Registry& registry = scheduler_->registry();
        if (registry.lane_count() < registry.bucket_count()) ++outcome_.slept;
        const Time wake = scheduler_->next_wake();
        require(wake > now_ || world_.rings_late, "the scheduler wants to be woken in the past");
        require(scheduler_->queued() == 0 || scheduler_->in_flight() != 0 || wake != core::never,
                "somebody waits for nothing");
        if (wake != core::never && (armed_ <= now_ || wake < armed_)) {
            armed_ = wake;
            push(std::max(wake, now_), Kind::wake, 0);
        }
    }

    void check_end() const {
        require(done_ == requests_.size(), "a request was left waiting for ever");
        require(scheduler_->in_flight() == 0 && scheduler_->queued() == 0,
                "a place was left behind");
        require(scheduler_->counters().split == 0, "routes that share a counter were split");
        scheduler_->registry().each_lane([&](const core::Lane& lane) {
            require(lane.in_flight == 0 && lane.queued == 0 && lane.granted == 0 &&
                        lane.holders == 0 && lane.bucket->in_flight == 0 &&
                        lane.bucket->places == 0,
                    "a bucket holds a place that nobody took");
        });
        require(scheduler_->registry().idle_count() == scheduler_->registry().bucket_count(),
                "a bucket that nobody uses is not among the idle ones");
    }

    void arrive_at_client(std::size_t i) {
        State& state = states_[i];
        const Duration patience = world_.limits[hash_of(i)].period;
        if (chance(world_.impatient)) state.bound = now_ + 1ns + draw({0ns, 2 * patience});
        queue(i);
        require(state.place.arrival == ++arrivals_, "arrival numbers have a gap");
        if (!state.place.taken() && chance(world_.cancelled)) {
            push(now_ + draw({0ns, patience}), Kind::give_up, i);
        }
    }

    void queue(std::size_t i) {
        State& state = states_[i];
        core::Lane& lane = scheduler_->lane(lane_of(i), {}, now_);
        if (scheduler_->try_admit(lane, now_, state.place)) {
            send(i);
        } else {
            scheduler_->enqueue(state, lane, now_, state.bound);
        }
    }

    void send(std::size_t i) {
        State& state = states_[i];
        const core::Lane& lane = *state.place.lane;
        require(lane.queued == 0 || lane.waiting.front().place.arrival > state.place.arrival,
                "a later request of the lane went first");
        const auto what = static_cast<std::uint64_t>((now_ - start).count()) * requests_.size() + i;
        outcome_.digest = (outcome_.digest ^ what) * 0x100000001b3ULL;
        outcome_.order = (outcome_.order ^ (i + 1)) * 0x100000001b3ULL;
        state.blind = !route_shown_[requests_[i].route];
        if (chance(world_.cancelled)) return push(now_ + draw({0ns, 50ms}), Kind::drop, i);
        const Time open = now_ + connect();
        if (world_.marks_sent) state.marked = open;
        push(open + draw(world_.upload) + draw(world_.forward), Kind::arrive, i);
    }

    /// The youngest idle connection, if it is still open; else what a new one costs.
    Duration connect() {
        while (!idle_until_.empty()) {
            const Time open_until = idle_until_.back();
            idle_until_.pop_back();
            if (open_until > now_) return 0ns;
        }
        return draw(world_.connect);
    }

    void decide(std::size_t i) {
        Served& served = served_by(i);
        ++outcome_.decided;
        const Duration at = now_ - start;
        const Duration global_wait = global_ ? global_->wait(at) : 0ns;
        const Duration wait = served.counter.wait(at);
        core::Answer& answer = states_[i].answer = core::Answer();
        answer.status = global_wait > 0ns || wait > 0ns ? 429 : 200;
        if (global_wait > 0ns) {
            answer.global = true;
            answer.retry_after = up(global_wait, 1ms);
        } else {
            const std::int64_t before = served.counter.standing(at).remaining;
            if (wait == 0ns) spend(i, at);
            write_headers(i, answer, before, wait);
        }
        const Duration back = draw(world_.backward);
        if (answer.status == 200 && (states_[i].orphan || chance(world_.loss))) {
            note_unheard(i);
            push(now_ + back + 2s, Kind::lose, i);
        } else {
            push(now_ + back, Kind::answer, i);
        }
    }

    /// Nobody will hear that this request was accepted.
    void note_unheard(std::size_t i) {
        Served& served = served_by(i);
        if (!served.answered || states_[i].blind) ++served.first_lost;
    }

    void spend(std::size_t i, Duration at) {
        Served& served = served_by(i);
        served.counter.spend(at);
        if (global_) global_->spend(at);
        if (states_[i].blind) served.blind.push_back(states_[i].place.sent);
    }

    static Duration up(Duration value, Duration unit) {
        const auto units = (value.count() + unit.count() - 1) / unit.count();
        return units * unit;
    }

    void write_headers(std::size_t i, core::Answer& answer, std::int64_t before, Duration wait) {
        const testing::Standing standing = served_by(i).counter.standing(now_ - start);
        if (wait > 0ns) answer.retry_after = up(wait, 1ms);
        const bool silent = world_.headers == Headers::missing_in_30_percent && wait == 0ns;
        if (silent && chance(0.3)) return;
        const Duration unit =
            world_.headers == Headers::whole_seconds ? Duration(1s) : Duration(1ms);
        const Duration skew = draw({-world_.skew / 2, world_.skew / 2});
        const bool zero = world_.headers == Headers::limit_zero;
        const bool late = world_.headers == Headers::counted_after_report && wait == 0ns;
        answer.hash = *hashes_[hash_of(i)];
        answer.seen.limit = zero ? 0 : world_.limits[hash_of(i)].limit;
        answer.seen.remaining = late ? before : standing.remaining;
        answer.seen.unit = unit;
        answer.seen.reset_after = up(standing.reset_after, unit);
        answer.seen.reset = up(standing.reset + offset_ + skew, unit);
    }

    void answered(std::size_t i) {
        State& state = states_[i];
        idle_until_.push_back(now_ + draw(world_.connection_life));
        const bool refused = state.answer.status == 429;
        if (refused) judge(i);
        if (!refused && state.answer.has_numbers()) {
            served_by(i).answered = true;
            route_shown_[requests_[i].route] = true;
        }
        apply(state);
        if (refused) {
            settle();                  // what was granted before the refusal came was in time
            state.bound = core::never; // whoever repeats a request has time
            queue(i);
        } else {
            finish(i);
        }
    }

    void apply(State& state) {
        if (world_.plain &&
            apply_plainly(*scheduler_, state.place, state.answer, state.marked, now_)) {
            ++outcome_.plain;
        } else {
            scheduler_->answer(state.place, state.answer, state.marked, now_);
        }
    }

    void judge(std::size_t i) {
        Served& served = served_by(i);
        ++outcome_.refused;
        if (states_[i].answer.global) {
            ++outcome_.global_refused;
            ++outcome_.avoidable;
            return;
        }
        // A route of which nobody has seen an answer yet cannot be known to share a bucket, and who
        // had been sent before such a request could not make room for it.
        if (states_[i].blind || displaced(i, served)) return;
        if (served.forgiven < served.first_lost) {
            ++served.forgiven;
            ++outcome_.forgiven;
            return;
        }
        ++outcome_.avoidable;
    }

    /// Each request that nobody could place excuses one that was under way already.
    bool displaced(std::size_t i, Served& served) {
        const auto later = std::find_if(served.blind.begin(), served.blind.end(),
                                        [&](Time sent) { return sent >= states_[i].place.sent; });
        if (later == served.blind.end()) return false;
        served.blind.erase(later);
        ++outcome_.displaced;
        return true;
    }

    void change(const Change& change) {
        const std::size_t first = change.hash * world_.channels;
        for (std::size_t i = first; i < first + world_.channels; ++i)
            counters_[i].counter.adapt(change.limit);
        world_.limits[change.hash] = change.limit;
        if (!change.renamed) return;
        name_hash(); // answers under way still show the old text
        hashes_[change.hash] = hashes_.back();
        hashes_.pop_back();
    }

    void spend_elsewhere(const Foreign& other) {
        testing::Counter& counter = counter_at(other.hash, other.channel).counter;
        if (counter.wait(now_ - start) == 0ns) counter.spend(now_ - start);
    }

    void give_up(std::size_t i) {
        if (states_[i].state != core::WaiterState::queued) return;
        scheduler_->withdraw(states_[i], now_);
        abandon(i);
    }

    void abandon(std::size_t i) {
        ++outcome_.abandoned;
        finish(i);
    }

    void finish(std::size_t i) {
        require(!std::exchange(states_[i].done, true), "a request ended twice");
        scheduler_->release(states_[i].place);
        ++done_;
        last_ = std::max(last_, now_);
    }

    World world_;
    std::mt19937_64 random_;
    std::unique_ptr<core::Scheduler> scheduler_; // null while the client is stopped
    std::vector<Request> requests_;
    std::deque<State> states_;
    std::vector<Served> counters_; // by hash, then channel
    std::optional<testing::Counter> global_;
    std::priority_queue<Event> events_;
    std::vector<Time> idle_until_;
    std::vector<bool> route_shown_; // an answer has named the route's hash
    std::deque<std::string> texts_;
    std::vector<const std::string*> hashes_;
    Outcome outcome_;
    Duration offset_{0};
    Time now_ = start;
    Time armed_ = Time::min();
    Time last_ = start;
    std::uint64_t order_ = 0;
    std::uint64_t arrivals_ = 0;
    std::size_t done_ = 0;
    core::Snapshot saved_;
    std::vector<std::size_t> waiting_; // when the client stopped
    Time stopped_ = start;
    Time resumes_ = start;
};

} // namespace sluice::tests

#endif
