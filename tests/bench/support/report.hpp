// SPDX-License-Identifier: MIT
//
// What a benchmark prints: a table with the target beside each figure that has one, and the same as
// JSON in the file named by SLUICE_BENCH_JSON. A missed target is shown, and fails nothing: times
// depend on the machine. What gates is instructions.sh.
#ifndef SLUICE_TESTS_BENCH_SUPPORT_REPORT_HPP
#define SLUICE_TESTS_BENCH_SUPPORT_REPORT_HPP

#include <nlohmann/json.hpp>

#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <string>
#include <string_view>

namespace bench {

/// A bound on a figure; the default bounds nothing.
struct Target {
    enum class Kind { none, at_most, at_least };
    Kind kind = Kind::none;
    double bound = 0;

    [[nodiscard]] bool reached_by(double value) const noexcept {
        return kind == Kind::none || (kind == Kind::at_most ? value <= bound : value >= bound);
    }
};

[[nodiscard]] constexpr Target at_most(double bound) noexcept {
    return {Target::Kind::at_most, bound};
}
[[nodiscard]] constexpr Target at_least(double bound) noexcept {
    return {Target::Kind::at_least, bound};
}

class Report {
public:
    explicit Report(std::string_view title) {
        std::printf("%-62s %12s %-14s %s\n", std::string(title).c_str(), "", "", "target");
    }
    Report(const Report&) = delete;
    Report& operator=(const Report&) = delete;
    ~Report() {
        if (const char* path = std::getenv("SLUICE_BENCH_JSON")) {
            std::ofstream(path) << rows_.dump(2) << '\n';
        }
    }

    void row(const std::string& name, double value, const std::string& unit, Target target = {}) {
        nlohmann::json row{{"name", name}, {"value", value}, {"unit", unit}};
        std::string beside;
        if (target.kind != Target::Kind::none) {
            const char* sign = target.kind == Target::Kind::at_most ? "<=" : ">=";
            char bound[64];
            std::snprintf(bound, sizeof bound, "%s %g%s", sign, target.bound,
                          target.reached_by(value) ? "" : "  MISSED");
            beside = bound;
            row["target"] = {{"sign", sign}, {"bound", target.bound}};
            row["reached"] = target.reached_by(value);
        }
        const int digits = value < 10 ? 3 : value < 1000 ? 1 : 0;
        std::printf("  %-60s %12.*f %-14s %s\n", name.c_str(), digits, value, unit.c_str(),
                    beside.c_str());
        std::fflush(stdout);
        rows_.push_back(std::move(row));
    }

private:
    nlohmann::json rows_ = nlohmann::json::array();
};

} // namespace bench

#endif
