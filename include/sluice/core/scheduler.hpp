// SPDX-License-Identifier: MIT
//
// The limiter without the waiting: which request may go now, until when the others wait, and what
// an answer changes. A deterministic state machine on (state, now, event). It is not thread-safe;
// it reads no clock, arms no timer and makes no callbacks. The layer above
//   - calls it with the present time,
//   - completes the waiters that take_finished() hands out, in that order, and
//   - calls advance() no later than next_wake().
//
// Invariant: a waiter always has a request in flight ahead of it or a wake time strictly in the
// future.
// Order: a lane is first come, first served. Among the lanes of a bucket, and among buckets that
// wait only for the global limit, the lowest arrival number goes first.
#ifndef SLUICE_CORE_SCHEDULER_HPP
#define SLUICE_CORE_SCHEDULER_HPP

#include <sluice/core/allowance.hpp>
#include <sluice/core/answer.hpp>
#include <sluice/core/backoff.hpp>
#include <sluice/core/bucket.hpp>
#include <sluice/core/common_counter.hpp>
#include <sluice/core/draw.hpp>
#include <sluice/core/event.hpp>
#include <sluice/core/fifo.hpp>
#include <sluice/core/gate.hpp>
#include <sluice/core/global_limit.hpp>
#include <sluice/core/indexed_heap.hpp>
#include <sluice/core/individual.hpp>
#include <sluice/core/lane.hpp>
#include <sluice/core/latency.hpp>
#include <sluice/core/obstacle.hpp>
#include <sluice/core/outage.hpp>
#include <sluice/core/probes.hpp>
#include <sluice/core/ready_queue.hpp>
#include <sluice/core/registry.hpp>
#include <sluice/core/slow_start.hpp>
#include <sluice/core/snapshot.hpp>
#include <sluice/core/time.hpp>

#include <boost/unordered/unordered_flat_map.hpp>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string_view>
#include <utility>
#include <vector>

namespace sluice::core {

struct Settings {
    std::int64_t global_limit = 50; ///< Discord docs: 50 per second; 0: none
    Duration global_period = std::chrono::seconds(1);
    Duration longest_global_hold{0};    ///< 0: until the answer comes
    std::int64_t headerless_width = 50; ///< in flight at once on a route that names no limits
    Duration credit_cap = std::chrono::milliseconds(200);
    Duration retry_margin{0}; ///< added to every wait that a 429 tells
    Backoff backoff = {};     ///< of a request that pauses after a failure of its own
    IdleLimits idle{std::chrono::seconds(10), std::chrono::minutes(5), 100'000};
    bool split_lying_hashes = true;   ///< own buckets for routes of a hash that cannot share one
    bool join_common_counters = true; ///< one bucket for all majors of a hash that share a counter
    bool record_events = false;
    /// The most grants, or half as many buckets, that one call serves when more are due at once: a
    /// third of a millisecond. advance() is due again at once for the rest.
    std::size_t serves_at_once = 1'024;
};

/// Counters since construction.
struct Counters {
    std::uint64_t granted = 0;
    std::uint64_t answered = 0;
    std::uint64_t lost = 0;
    std::uint64_t cancelled = 0;
    std::uint64_t refused_waits = 0; ///< waiters refused for a wait longer than their bound
    std::uint64_t moved = 0;         ///< lanes moved to another bucket because their hash changed
    std::uint64_t linked = 0;        ///< buckets found to be one counter and merged
    std::uint64_t evicted = 0;
    std::uint64_t split = 0;  ///< hashes whose routes proved to have separate counters
    std::uint64_t joined = 0; ///< hashes whose majors proved to share a counter
    Duration longest_wait{0};
    std::array<std::uint64_t, 9> by_kind{}; ///< answers, indexed by AnswerKind
};

/// The state of a bucket at one moment.
struct BucketState {
    std::optional<std::int64_t> limit;
    std::optional<std::int64_t> remaining;
    std::optional<Duration> reset_after;
    std::int64_t out = 0;
};

/// What a forecast assumes about the answers to requests in flight.
enum class Foresight : std::uint8_t {
    /// Answers in flight arrive in order and change nothing, except the first answer of another
    /// route.
    likely,
    /// A lower bound, whatever the answers in flight say. Use it before refusing a waiter.
    certain
};

class Scheduler {
public:
    /// If a bucket with waiters has seen no grant, answer, loss or cancel for this long, and its
    /// window has room apart from what is in flight, one more request goes; and again each time
    /// this long has passed. A ticket that is never settled must not stop its lane permanently. An
    /// upload that takes longer may cost a 429 if it fills its bucket.
    static constexpr Duration longest_silence = std::chrono::seconds(30);

    /// Schedulers that send from one address share a gate. Without `gate` the scheduler makes its
    /// own.
    explicit Scheduler(const Settings& settings, std::shared_ptr<Gate> gate = nullptr);
    Scheduler(const Scheduler&) = delete;
    Scheduler& operator=(const Scheduler&) = delete;
    ~Scheduler() { gate_->leave(); }

    [[nodiscard]] Registry& registry() noexcept { return registry_; }
    [[nodiscard]] const Registry& registry() const noexcept { return registry_; }
    [[nodiscard]] const Counters& counters() const noexcept { return counters_; }
    [[nodiscard]] const Latency& latency() const noexcept { return latency_; }
    [[nodiscard]] const GlobalLimit& global() const noexcept { return bot_.limit; }
    [[nodiscard]] std::size_t queued() const noexcept { return queued_; }
    [[nodiscard]] std::size_t in_flight() const noexcept { return in_flight_; }

    /// Reserves memory for so many buckets, and for as many that wait.
    void reserve(std::size_t buckets) {
        registry_.reserve(buckets);
        wakes_.reserve(buckets);
        ready_.reserve(buckets);
    }

    void set_global(std::int64_t limit, Duration period, Time now);

    /// Finds or makes a lane. Use the reference before any other call, or keep a place of the lane.
    Lane& lane(const LaneKey& key, const LaneTraits& traits, Time now) {
        sync(now);
        Lane& found = registry_.lane(key, traits);
        // A token does not always show that it belongs to an interaction. Once one caller marks the
        // lane as exempt, it is exempt for all callers.
        if (traits.exempt) found.traits.exempt = true;
        if (registry_.any_joined()) [[unlikely]]
            follow_majors(found, now);
        return found;
    }
    /// Returns why no request of this lane may go, or nothing. A 401 and a webhook that is gone are
    /// permanent as far as is known, a refused token in the path holds for a time, too many invalid
    /// requests while the count lasts.
    [[nodiscard]] std::optional<Refused> barred(const Lane& lane, Time now) {
        return untroubled() ? std::nullopt : find_bar(lane, now);
    }
    [[nodiscard]] Gate& gate() noexcept { return *gate_; }
    /// Notes a new token of the bot: forgets what was known of the validity of the old one.
    void replace_token() noexcept {
        unauthorized_ = false;
        ++token_;
        look_for_trouble();
    }
    /// Returns the bucket that a lane with this key draws on, or would draw on; null if there is
    /// none yet. Wakes a dormant bucket.
    [[nodiscard]] Bucket* find_bucket(const LaneKey& key, std::uint64_t family) {
        const Lane* lane = registry_.find_lane(key);
        return lane != nullptr ? lane->bucket
                               : registry_.find_bucket(registry_.home_of(key.major, family));
    }
    /// Returns the lane, or null. Changes state: it first does what is due at `now`.
    [[nodiscard]] Lane* find(const LaneKey& key, Time now) {
        sync(now);
        Lane* found = registry_.find_lane(key);
        if (found != nullptr && registry_.any_joined()) [[unlikely]]
            follow_majors(*found, now);
        return found;
    }
    /// Call when a lane was looked up and not used: its bucket becomes idle if it has no other use.
    void leave(Lane& lane, Time now) { rest(*lane.bucket, now); }

    /// Takes a place and returns true if a request of this lane may go now and overtakes no other.
    /// With `min_remaining`, only while at least that many remain, this one included.
    bool try_admit(Lane& lane, Time now, Place& place, std::int64_t min_remaining = 1);
    /// True if try_admit() would take a place. Changes state: it first does what is due at `now`,
    /// which may grant or refuse waiters.
    [[nodiscard]] bool admits(Lane& lane, Time now, std::int64_t min_remaining = 1);
    /// True if nothing is due, no block is active, and no request waits for the global limit.
    [[nodiscard]] bool calm(Time now) const noexcept {
        return (queued_ == 0 || (ready_.empty() && now < next_wake())) && untroubled();
    }
    /// Fast path of try_admit() for nearly every request. Call it only while calm(). It admits a
    /// request whose bucket has room to spare, no waiters, and nothing in doubt. Returns false
    /// otherwise: then no place is taken, and try_admit() may still return true. next_wake() is
    /// unchanged.
    bool admit_plain(Lane& lane, Time now, Place& place);

    /// Queues the waiter; if its place has arrived before, among the retries at the front of the
    /// lane. The waiter is granted at once if possible; either way take_finished() returns it. A
    /// waiter that is still queued at `bound` is refused.
    /// Until Place::not_before() the waiter pauses outside its lane, does not hold up the others
    /// there, and then enters the lane.
    void enqueue(Waiter& waiter, Lane& lane, Time now, Time bound = never);
    /// Removes a queued waiter; nothing of it remains.
    void withdraw(Waiter& waiter, Time now);
    /// Call when a granted waiter has run, or never will: other requests of its lane may then be
    /// admitted directly again. Needs no lock.
    static void delivered(Lane& lane) noexcept {
        lane.granted.fetch_sub(1, std::memory_order_release);
    }

    /// Applies an answer to the request of this place, and notes in the answer when the request was
    /// sent and received. `sent` is when the request really left, for the round trip, or `never` if
    /// that was not reported. Afterwards the place is settled. If it then has failures, the request
    /// may be repeated after a pause until Place::not_before(). After a 429 the request may be
    /// repeated without such a pause.
    AnswerKind answer(Place& place, Answer& answer, Time sent, Time now);
    /// Fast path of answer() for nearly every answer: a success that names the expected bucket,
    /// which has no waiters and nothing in doubt. It checks at once what answer() checks step by
    /// step. `seen` has both its times. Returns false if the answer is not of that kind: then
    /// nothing has changed. It finishes no waiter, records no event, and leaves next_wake()
    /// unchanged.
    bool answer_plain(Place& place, std::string_view hash, const Observation& seen, Time sent);
    /// Applies an answer to a request that was made without a place.
    AnswerKind answer_unplaced(Lane& lane, Answer& answer, Time now);
    /// Notes in the place, which may hold nothing, whether its request may be tried again: sets or
    /// clears its failures and its pause.
    void judge(Place& place, const Lane& lane, const Answer& answer, Time now) noexcept;
    /// The request was sent, and its answer will never be known.
    void lose(Place& place, Time now) {
        begin_loss(place, now);
        end_loss(place, now);
    }
    /// lose() in two steps: a waiter queued between them goes before those that the loss lets go.
    void begin_loss(Place& place, Time now);
    void end_loss(Place& place, Time now) { unpin(place, now); }
    /// The request was never sent.
    void cancel(Place& place, Time now);
    /// The owner of the place lets go of the lane. A taken place must be settled before. Needs no
    /// lock.
    static void release(Place& place) noexcept;

    /// Does what is due at `now`: all of it, or the first part if thousands are due. In the second
    /// case next_wake() is not after `now`, and until the rest is done no new request overtakes
    /// what is due.
    void advance(Time now) { advance(now, settings_.serves_at_once); }
    /// Returns when advance() has something to do without another call before, or `never`.
    [[nodiscard]] Time next_wake() const noexcept {
        return std::min(std::min(global_wake_, delayed_.least()),
                        std::min(wakes_.least(), bounds_.least()));
    }

    /// Returns the waiters that were granted or refused since the last call, in order. The caller
    /// owns them from then on.
    [[nodiscard]] WaiterList take_finished() noexcept {
        refused_some_ = false;
        return std::move(finished_);
    }

    /// Predicts when one more request of this lane could go, behind all that are queued before
    /// `arrival`. Returns nothing while that depends on an answer still in flight. Drops state that
    /// has expired at `now`.
    [[nodiscard]] std::optional<Time> predict(Lane& lane, Time now,
                                              std::uint64_t arrival = UINT64_MAX,
                                              Foresight how = Foresight::likely);
    /// Returns a lower bound: nothing of this lane goes before, whatever the answers in flight say.
    [[nodiscard]] Time opens(const Lane& lane, Time now);

    /// Returns what blocks this lane for the longest.
    [[nodiscard]] Obstacle obstacle(Lane& lane, Time now);

    [[nodiscard]] BucketState describe(Bucket& bucket, Time now);

    std::size_t collect(Time now, Duration idle);

    /// Refuses every queued waiter with `why`, in order of arrival within each lane. Returns how
    /// many.
    std::size_t refuse_all(Time now, Refused why = Refused::ended);
    /// Visits the waiters that pause by themselves, in no order. `visit` must not change them.
    template <class Visitor>
    void each_delayed(Visitor visit) const {
        delayed_.each_of_first(delayed_.size(), [&](Waiter& waiter, Time) { visit(waiter); });
    }

    /// Returns what a limiter in another process needs to know, for restore(). Both are templates
    /// so that only units that call them compile them; `Saved` is Snapshot.
    template <class Saved = Snapshot>
    [[nodiscard]] Saved save(Time now);
    /// Takes over what another limiter knew at `then`. What is already known here is newer and
    /// stays.
    template <class Saved>
    void restore(const Saved& saved, Time then, Time now);

    [[nodiscard]] bool has_finished() const noexcept { return !finished_.empty(); }
    /// True if some of them were refused.
    [[nodiscard]] bool has_refused() const noexcept { return refused_some_; }
    [[nodiscard]] bool has_events() const noexcept { return !events_.empty(); }
    /// Returns the events recorded since the last call; none unless the settings ask for events.
    [[nodiscard]] std::vector<Event> take_events() noexcept { return std::exchange(events_, {}); }

private:
    /// Does what is due first, so that the present call overtakes nothing that is due.
    void sync(Time now) {
        constexpr std::size_t a_few = 32; // of thousands; the alarm sees to the rest
        if (queued_ != 0 && next_wake() <= now)
            advance(now, unfinished_ ? a_few : settings_.serves_at_once);
    }
    /// Returns how much early a request may leave and still arrive in time; see latency.hpp. It
    /// costs a division, so it is computed only on demand.
    [[nodiscard]] Duration credit(Time now) noexcept {
        if (!credit_known_) learn_credit(now);
        return now < credit_until_ ? credit_ : Duration(0);
    }
    /// As credit(), or 0 if no credit changes what the bucket answers.
    [[nodiscard]] Duration credit_for(const Bucket& bucket, Time now) noexcept {
        return bucket.indifferent(now, settings_.credit_cap) ? Duration(0) : credit(now);
    }
    void learn_credit(Time now) noexcept;
    void note_round_trip(const Place& place, Time sent, Time now);
    [[nodiscard]] std::int64_t available(Bucket& bucket, Time now);
    [[nodiscard]] Lane* next_lane(Bucket& bucket, Time now, bool held_back_too);
    [[nodiscard]] bool stalled(Bucket& bucket, Time now);
    /// The only place that knows what stops a lane, apart from the room in its bucket.
    [[nodiscard]] static LaneStatus lane_status(const Lane& lane, Time now) noexcept {
        LaneStatus status{lane.blocked_until, AwaitedAnswers::none};
        if (lane.holds_back()) {
            status.awaits = AwaitedAnswers::own;
        } else if (const Crowd* crowd = lane.crowded ? crowd_of(lane) : nullptr;
                   crowd != nullptr && crowd->start.opens(now) > now) {
            status.awaits = AwaitedAnswers::of_crowd;
        }
        return status;
    }
    [[nodiscard]] static Crowd* crowd_of(const Lane& lane) noexcept {
        Crowd* crowd = lane.family == nullptr ? nullptr : lane.family->crowd.get();
        return crowd != nullptr && crowd->holds(lane.blocked_until) ? crowd : nullptr;
    }
    void join_crowd(Lane& lane, Time now);
    void serve_crowd(Crowd& crowd, Time now);
    void note_crowd_success(const Lane& lane, Time sent, Time now);
    void wait_in_line(Lane& lane);
    [[nodiscard]] Time wake_time(Bucket& bucket, Time now);
    void hold(Lane& lane, Bucket& bucket, Time now, Place& place);
    void take(Lane& lane, Time now, Place& place);
    void grant(Lane& lane, Time now);
    /// True if a request that its bucket has room for has to queue with those of other buckets.
    [[nodiscard]] bool goes_in_turn(const Lane& lane) const noexcept {
        return lane.traits.individual() != Individual::interaction || !untroubled();
    }
    [[nodiscard]] std::int64_t ready_before(const Bucket& own, Individual who, Time now,
                                            std::uint64_t arrival);
    [[nodiscard]] bool may_pass(const Lane& lane, Time now) {
        return gate_->opens(now) <= now && lets_go(lane.traits.individual(), now);
    }
    [[nodiscard]] bool lets_go(Individual who, Time now);
    [[nodiscard]] Time next_chance(Individual who, Time now);
    [[nodiscard]] Time look_again(Time next, Time closed, Time now) const noexcept;
    [[nodiscard]] Time predict_chance(Individual who, Time now, std::int64_t ahead);
    [[nodiscard]] Time closed_until(Individual who, Time now);
    [[nodiscard]] bool interactions_bound(Time now) const noexcept { return now < bound_until_; }
    /// Calls `use` with the slow start of the individual, under the lock that it needs.
    template <class Use>
    decltype(auto) with_start(Individual who, Use use) {
        if (who == Individual::token) return use(bot_.start);
        if (who == Individual::interaction) return use(interactions_);
        return gate_->with_tokenless([&](Allowance& allowed) { return use(allowed.start); });
    }
    void give_back_slot(const Place& place, Time now);
    void lose_slot(const Place& place, Time now);
    void cancel_slot(const Place& place);
    void pass(const Lane& lane, Time now, Place& place);
    void land(const Place& place, Time now);
    [[nodiscard]] Outage& outage_of(Individual who) noexcept {
        return outages_[who == Individual::interaction ? 0 : 1];
    }
    void note_outcome(const Lane& lane, const Answer& answer, AnswerKind kind, Time now);
    Duration block_individual(const Lane& lane, Time sent, Time now, Duration told);
    void refuse(Waiter& waiter, Refused why);
    [[nodiscard]] static WaiterList::iterator find_turn(Lane& lane, Waiter& retry) noexcept;
    void unqueue(Waiter& waiter) noexcept;
    void enter(Waiter& waiter, Time now);
    bool enter_due(Time now, std::size_t& left);
    template <class Which>
    std::size_t refuse_delayed(Which which, Refused why, Time now);
    void serve(Bucket& bucket, Time now);
    [[nodiscard]] Lane* lane_with_room(Bucket& bucket, Time now);
    [[nodiscard]] std::optional<Individual> next_served(Time now);
    void serve_first_ready(Individual who, Time now, std::size_t& left);
    [[nodiscard]] Time next_ready(Time now);
    void serve_global(Time now) { serve_global(now, settings_.serves_at_once); }
    void serve_global(Time now, std::size_t left);
    void advance(Time now, std::size_t left);
    /// Leaves the rest to the next advance(). Until then nothing overtakes what is left.
    void stop_here(Time now) noexcept {
        unfinished_ = true;
        global_wake_ = now;
    }
    void rest(Bucket& bucket, Time now);
    /// Call after a change in the bucket: serves the bucket, the lanes that draw on it, and the
    /// global queue, then lets the bucket rest. Steps without waiters cost no call.
    void look_again(Bucket& bucket, Time now) {
        if (bucket.queued != 0 || bucket.scheduled()) serve(bucket, now);
        if (bucket.is_drawn()) serve_drawers(bucket, now);
        if (!ready_.empty() || global_wake_ != never) serve_global(now);
        rest(bucket, now);
    }
    /// As rest(), but evicts no other bucket: for use while lanes are being visited.
    void leave_empty(Bucket& bucket, Time now) noexcept {
        if (bucket.queued == 0 && bucket.places == 0) registry_.set_idle(bucket, now);
    }
    void discount(Lane& lane, Bucket& bucket) noexcept {
        --bucket.in_flight;
        --lane.in_flight;
        --in_flight_;
    }
    Bucket& uncount(Place& place, Time now);
    void unpin(Place& place, Time now);
    void serve_home(const Lane& lane, Time now);
    void free_probe(const Major& major, Time now);
    /// True if only buckets and the global limit can block a request, which is nearly always so.
    [[nodiscard]] bool untroubled() const noexcept { return !troubled_ && gate_->untroubled(); }
    void look_for_trouble() noexcept {
        troubled_ = unauthorized_ || !latches_.empty() || !bot_.start.idle() ||
                    !interactions_.idle() || bound_until_ != Time::min() || crowds_ != 0 ||
                    !outages_[0].start.idle() || !outages_[1].start.idle();
    }
    [[nodiscard]] std::optional<Refused> find_bar(const Lane& lane, Time now);
    void apply(Lane& lane, Bucket& issuer, const Answer& answer, AnswerKind kind, Time now);
    void apply_success(Lane& lane, Bucket& issuer, const Answer& answer, Time now);
    void apply_refusal(Lane& lane, Bucket& issuer, const Answer& answer, AnswerKind kind, Time now);
    void accept_refusal(const Lane& lane, const Answer& answer);
    void refuse_bucket(Lane& lane, Bucket& issuer, const Answer& answer, Duration wait);
    [[nodiscard]] Duration wait_of(Lane& lane, const Answer& answer, AnswerKind kind) noexcept;
    Bucket& counter_of(Lane& lane, Bucket& issuer, const Answer& answer, Time now);
    Bucket& follow_hash(Lane& lane, HashId hash, const Observation& seen, Time now);
    Bucket& link(Bucket& unknown, HashId hash);
    void link_some(std::uint64_t family, HashId hash, Time now);
    Bucket& move(Lane& lane, const BucketKey& key, Time now);
    /// Routes that show one hash are assumed to share a counter until an answer makes that
    /// impossible. Returns the bucket that the answer's numbers belong to.
    Bucket& check_sharing(Lane& lane, Bucket& counter, const Answer& answer, Time now) {
        const auto hash = static_cast<HashId>(counter.key.name);
        if (registry_.is_common(hash)) return compare_majors(lane, counter, answer, now);
        if (settings_.join_common_counters && tells_of_majors(lane, counter, answer) &&
            suspect(lane, counter, hash, answer, now)) {
            return *lane.bucket;
        }
        const bool alone = !counter.has_several_lanes() && !counter.has_sharing();
        return alone ? counter : compare_sharing(lane, counter, answer, now);
    }
    Bucket& compare_sharing(Lane& lane, Bucket& counter, const Answer& answer, Time now);
    void split(Bucket& bucket, Time now);
    [[nodiscard]] bool is_strange(const Lane& lane, const Bucket& bucket, const Answer& answer);
    /// True if the answer may show that the majors of its hash share a counter, or that they do
    /// not.
    [[nodiscard]] bool tells_of_majors(const Lane& lane, const Bucket& counter,
                                       const Answer& answer) {
        const auto hash = static_cast<HashId>(counter.key.name);
        return &counter == lane.bucket &&
               (!counter.window.answered() || registry_.is_suspected(hash) ||
                is_strange(lane, counter, answer));
    }
    /// Returns true if the answer has shown so: the lane then draws on the common bucket.
    bool suspect(Lane& lane, const Bucket& bucket, HashId hash, const Answer& answer, Time now);
    bool shows_common(Lane& lane, const Bucket& issuer, HashId hash, const Answer& refusal,
                      Time now) {
        if (!settings_.join_common_counters || &issuer != lane.bucket) return false;
        if (registry_.is_common(hash) || !is_strange(lane, issuer, refusal)) return false;
        const bool foreign = issuer.key.hash_known && issuer.key.name != hash;
        return !foreign && suspect(lane, issuer, hash, refusal, now);
    }
    void join(Lane& lane, HashId hash, const CommonEvidence& evidence, Time now);
    Bucket& compare_majors(Lane& lane, Bucket& common, const Answer& answer, Time now);
    void part(Bucket& common, Time now);
    void follow_majors(Lane& lane, Time now);
    Bucket& fold(Lane& lane, Time now);
    void move_out(Lane& lane, Time now);
    bool move_out_some(Bucket& common, Time now);
    void follow_some(Time now);
    [[nodiscard]] bool is_outdated(const Bucket& bucket) const noexcept {
        return registry_.any_joined() && !bucket.lanes.empty() &&
               registry_.is_outdated(bucket.lanes.front());
    }
    Bucket& bring_up_to_date(Bucket& bucket, Time now);
    void protect(Lane& lane, const Answer& answer, AnswerKind kind, Time now);
    void latch(Lane& lane, Refused why, Time until, Time now);
    void try_latch(const Lane& lane, Time now) noexcept;
    void judge_tokens(Lane& lane, const Answer& answer, Time now);
    void refuse_all_of(Lane& lane, Refused why, Time now);
    template <class BucketName>
    [[nodiscard]] BucketName name_of(const BucketEntry& bucket) const;
    template <class BucketName>
    [[nodiscard]] BucketKey key_of(const BucketName& name, const Major& major);
    template <class SavedBucket>
    void restore_bucket(const SavedBucket& saved, Time then, Time now);
    template <class SavedLane>
    void restore_lane(const SavedLane& saved, Time then, Time now);
    void refuse_lane(Lane& lane, Refused why, Time now);
    /// No call passes over more waiters than this without refusing them.
    static constexpr std::size_t most_passed_over = 1'000;
    void refuse_bounds_before(Lane& lane, Time until);
    void refuse_bounds_before(Time until, std::optional<Individual> only, Time now);
    [[nodiscard]] bool leaves_enough(Bucket& bucket, Time now, std::int64_t min_remaining);
    void note(EventKind kind, const Lane& lane, Duration wait = Duration(0)) {
        if (settings_.record_events) record(kind, lane, 0, AnswerKind(), wait);
    }
    void note_answer(EventKind kind, const Lane& lane, const Answer& answer, AnswerKind what,
                     Duration wait = Duration(0)) {
        if (settings_.record_events) record(kind, lane, answer.status, what, wait);
    }
    void record(EventKind kind, const Lane& lane, int status, AnswerKind what, Duration wait);
    void note_waiting(Lane& lane, std::uint64_t arrival, Time now);
    void note_evicted(std::size_t count);
    void block_lane(Lane& lane, Time until, bool shared = false);
    void recheck_bounds(Bucket& bucket, Time now);
    [[nodiscard]] std::optional<Time> wait_of_opening(const Lane& lane, Time now);
    [[nodiscard]] std::optional<Time> predict_for(Bucket& bucket, Time now, std::int64_t ahead,
                                                  Foresight how);
    [[nodiscard]] Time bound_of(const Waiter& waiter) const noexcept {
        return bounds_.contains(waiter) ? bounds_.key_of(waiter) : never;
    }
    void unschedule(Bucket& bucket) noexcept;

    static constexpr DrawMask all_draws = (1U << Draw::most) - 1;
    template <class Visitor>
    static void each_draw(const Lane& lane, DrawMask mask, Visitor visit);
    Draw* draw_on(Lane& lane, Bucket& bucket, bool hidden, Time now);
    [[nodiscard]] static const Draw* find_draw(const Lane& lane, const BucketKey& key) noexcept;
    [[nodiscard]] std::int64_t room_in(Bucket& bucket, Time now);
    [[nodiscard]] bool has_room_in_all(const Lane& lane, Time now);
    [[nodiscard]] bool goes_before(Lane& lane, Time now, std::uint64_t arrival);
    [[nodiscard]] bool has_turn_in(Bucket& bucket, const Lane& lane, Time now,
                                   std::uint64_t arrival);
    [[nodiscard]] bool draws_admit(const Lane& lane, Time now, std::uint64_t arrival);
    void count_draws(Lane& lane, Place& place) noexcept;
    void uncount_draws(const Place& place) noexcept;
    void spend_draws(const Lane& lane, const Bucket& counter, const Answer& answer, Time now);
    void lose_draws(const Lane& lane, DrawMask mask, Time now);
    [[nodiscard]] Bucket* refused_by(Lane& lane, const Answer& answer, Time now);
    [[nodiscard]] Bucket* named_beside(Lane& lane, HashId hash, const Answer& answer, Time now);
    void serve_drawers(Bucket& bucket, Time now);
    void serve_draws(Lane& lane, Time now);
    static void drop_stale_draws(Lane& lane, Time now);
    [[nodiscard]] Time wake_of_draws(const Lane& lane, Time now);
    [[nodiscard]] std::optional<Time> predict_draws(const Lane& lane, std::optional<Time> at,
                                                    Time now, std::int64_t ahead, Foresight how);

    struct MajorHash {
        std::size_t operator()(const Major& major) const noexcept { return major.hash(); }
    };
    /// Why nothing is sent to a webhook or an interaction, and until when. After that one request
    /// goes first, as a trial.
    struct Latch {
        Refused why{};
        Time until{};
    };
    /// Only a few of those latched are still called; this bounds the memory in any case.
    static constexpr std::size_t most_latches = 65'536;

    Settings settings_;
    std::shared_ptr<Gate> gate_;
    Registry registry_;
    Probes probes_;
    Allowance bot_; // of the bot's token; the gate has that of requests without one
    SlowStart interactions_;
    std::array<Outage, 2> outages_;      // of interactions, and of all others
    std::uint64_t exempt_successes_ = 0; // of interactions, among the successes counted
    Time bound_until_ = Time::min();     // until then interactions count against the address
    Latency latency_;
    IdleConnections connections_;
    IndexedHeap<Bucket, Time, &Bucket::wake_position> wakes_;
    ReadyQueue ready_;
    IndexedHeap<Waiter, Time, &Waiter::bound_position> bounds_;
    IndexedHeap<Waiter, Time, &Waiter::delay_position> delayed_; // pausing, in no lane until then
    WaiterList finished_;
    Counters counters_;
    std::vector<Event> events_;
    boost::unordered_flat_map<Major, Latch, MajorHash> latches_;
    Fifo<Major> latched_;                      // the oldest is forgotten when there are too many
    std::size_t crowds_ = 0;                   // families in slow start; see crowd.hpp
    std::uint8_t token_ = 0;                   // how many tokens have been replaced, modulo 256
    bool troubled_ = false;                    // see look_for_trouble()
    std::uint8_t favoured_ = 0;                // interactions that went before others, in a row
    std::unique_ptr<CommonSuspects> suspects_; // null until there are some
    std::size_t unvisited_ = 0;       // how many waiting buckets follow_some() still has to visit
    std::optional<BucketKey> parted_; // a bucket whose lanes it still has to move out
    bool unauthorized_ = false;
    bool slowed_ = false;
    bool stopped_ = false;
    bool refused_some_ = false; // some of finished_ were refused
    Time global_wake_ = never;
    Time due_ = Time::min();  // advance() serves what was due at this time
    bool unfinished_ = false; // advance() has not served all of that
    Duration credit_{0};      // of latency_
    Time credit_until_ = Time::min();
    bool credit_known_ = false;
    std::uint64_t arrivals_ = 0;
    std::size_t queued_ = 0;
    std::size_t in_flight_ = 0;
};

} // namespace sluice::core

#include <sluice/core/detail/scheduler_admission.hpp>
#include <sluice/core/detail/scheduler_answers.hpp>
#include <sluice/core/detail/scheduler_common.hpp>
#include <sluice/core/detail/scheduler_delays.hpp>
#include <sluice/core/detail/scheduler_draws.hpp>
#include <sluice/core/detail/scheduler_individuals.hpp>
#include <sluice/core/detail/scheduler_refusals.hpp>
#include <sluice/core/detail/scheduler_snapshot.hpp>

#endif
