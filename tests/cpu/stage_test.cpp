// The score stage by itself, against core's score functions on plain doubles.
#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <random>
#include <vector>

#include <pantile/core/score.hpp>

#include "micro/each_isa.hpp"

namespace pantile_test {
namespace {

namespace core = pantile::core;
using score_stage = each_isa;
PANTILE_FOR_EACH_ISA(score_stage);

struct setting {
    double softcap;
    double slope; ///< 0: none given
    bool hides;
};
constexpr setting settings[] = {{5.0, 0.0, false},  {5.0, 0.0, true},  {0.0, 0.25, false}, {0.0, 0.25, true},
                                {30.0, 0.5, false}, {30.0, 0.5, true}, {1e300, 0.5, true}, {1e300, 0.0, false}};

/// One column of 37 keys, its numbers, and what is expected of a pair.
template <class T>
class column {
  public:
    static constexpr index_t keys = 37;

    column(const micro_kernels<T>& kernels, const setting& s)
        : kernels_(kernels), slope_(s.slope), reference(lanes()), log_sum(lanes()),
          largest(lanes(), -std::numeric_limits<T>::infinity()) {
        c.features.softcap = s.softcap > 1e100 && sizeof(T) == 4 ? 1e38 : s.softcap;
        if (s.slope != 0.0) c.features.slopes.wide = &slope_;
        c.exponent = 0.125 * core::log2_e;
        c.band = {9, 4, 7, 1000};
        c.row = 100;
        c.first_key = 95;
        c.keys = keys;
        c.hides = s.hides;
        std::mt19937 random(7);
        std::normal_distribution<double> normal(0.0, 60.0);
        for (T& x : scores) x = static_cast<T>(normal(random));
        for (std::size_t i = 0; i < lanes(); ++i) {
            reference[i] = static_cast<T>(i % 5);
            log_sum[i] = static_cast<T>(0.5 * static_cast<double>(i % 3));
        }
        c.scores = scores.data();
        c.largest = largest.data();
        c.reference = reference.data();
        c.log_sum = log_sum.data();
        c.derivative = derivative.data();
        before = scores;
        function = core::score_function<double>::of(c.features, c.exponent);
        capped = core::score_function<T>::of(c.features, c.exponent).capped;
    }
    column(const column&) = delete; // c refers to the numbers
    column& operator=(const column&) = delete;

    [[nodiscard]] std::size_t lanes() const { return static_cast<std::size_t>(kernels_.lanes); }
    [[nodiscard]] std::size_t place(index_t j, std::size_t lane) const {
        return static_cast<std::size_t>(j) * lanes() + lane;
    }
    [[nodiscard]] index_t row(std::size_t lane) const { return c.row + static_cast<index_t>(lane); }
    [[nodiscard]] bool visible(index_t j, std::size_t lane) const {
        return !c.hides || c.band.visible(row(lane), c.first_key + j);
    }
    [[nodiscard]] core::pair_place<double> pair(index_t j, std::size_t lane) const {
        return {static_cast<double>(row(lane) + c.band.offset - (c.first_key + j)), slope_ * core::log2_e};
    }
    [[nodiscard]] double y(index_t j, std::size_t lane) const {
        return function(static_cast<double>(before[place(j, lane)]), pair(j, lane));
    }

  private:
    const micro_kernels<T>& kernels_;
    double slope_;

  public:
    std::vector<T> reference, log_sum, largest;
    alignas(64) std::array<T, keys * 16> scores, derivative{}, before;
    bool capped = false; ///< in T
    stage_case<T> c;
    core::score_function<double> function;
};

template <class T>
constexpr double tolerance = 64 * static_cast<double>(std::numeric_limits<T>::epsilon());

template <class T>
void folds(const micro_kernels<T>& kernels) {
    for (const setting& s : settings) {
        column<T> x(kernels, s);
        x.largest[0] = T(1000); // what came before counts
        kernels.fold(x.c);
        for (std::size_t lane = 0; lane < x.lanes(); ++lane) {
            double largest = lane == 0 ? 1000.0 : -std::numeric_limits<double>::infinity();
            for (index_t j = 0; j < x.keys; ++j) {
                const auto got = static_cast<double>(x.scores[x.place(j, lane)]);
                if (!x.visible(j, lane)) {
                    EXPECT_EQ(got, -std::numeric_limits<double>::infinity()) << j << ' ' << lane;
                    continue;
                }
                const double y = x.y(j, lane);
                EXPECT_NEAR(got, y, tolerance<T> * (1 + std::abs(y))) << j << ' ' << lane << " cap " << s.softcap;
                largest = std::max(largest, got);
            }
            EXPECT_EQ(static_cast<double>(x.largest[lane]), largest) << lane;
        }
    }
}
TEST_P(score_stage, makes_exponents_and_their_maxima) {
    folds(micro().f32);
    folds(micro().f64);
}

template <class T>
void makes_probabilities(const micro_kernels<T>& kernels) {
    for (const setting& s : settings) {
        column<T> x(kernels, s);
        kernels.probabilities(x.c);
        for (std::size_t lane = 0; lane < x.lanes(); ++lane) {
            for (index_t j = 0; j < x.keys; ++j) {
                const auto got = static_cast<double>(x.scores[x.place(j, lane)]);
                const auto derivative = static_cast<double>(x.derivative[x.place(j, lane)]);
                if (!x.visible(j, lane)) {
                    EXPECT_EQ(got, 0.0);
                    EXPECT_EQ(derivative, 0.0);
                    continue;
                }
                const double y = x.y(j, lane);
                const double p =
                    std::exp2(y - static_cast<double>(x.reference[lane]) - static_cast<double>(x.log_sum[lane]));
                EXPECT_NEAR(got, p, tolerance<T> * (1 + std::abs(y)) * p) << j << ' ' << lane << " cap " << s.softcap;
                if (!x.capped) continue;
                const double t = std::tanh(static_cast<double>(x.before[x.place(j, lane)]) * x.function.inner);
                EXPECT_NEAR(derivative, 1.0 - t * t, tolerance<T>) << j << ' ' << lane << " cap " << s.softcap;
            }
        }
    }
}
TEST_P(score_stage, makes_probabilities_and_derivatives) {
    makes_probabilities(micro().f32);
    makes_probabilities(micro().f64);
}

template <class T>
void gives_gradients(const micro_kernels<T>& kernels) {
    for (const setting& s : settings) {
        column<T> x(kernels, s);
        for (std::size_t n = 0; n < x.derivative.size(); ++n)
            x.derivative[n] = static_cast<T>(0.25 + 0.5 * static_cast<double>(n % 3));
        kernels.gradients(x.c);
        for (std::size_t lane = 0; lane < x.lanes(); ++lane) {
            double sum = 0.0;
            double size = 0.0;
            for (index_t j = 0; j < x.keys; ++j) {
                const std::size_t n = x.place(j, lane);
                const double term = static_cast<double>(x.before[n]) * std::abs(x.pair(j, lane).distance);
                sum += term;
                size += std::abs(term);
                EXPECT_EQ(x.scores[n], x.capped ? x.before[n] * x.derivative[n] : x.before[n]);
            }
            EXPECT_NEAR(static_cast<double>(x.largest[lane]), sum, tolerance<T> * size);
        }
    }
}
TEST_P(score_stage, turns_gradients_of_exponents_into_those_of_scores) {
    gives_gradients(micro().f32);
    gives_gradients(micro().f64);
}

/// tanh of minus infinity is -1: a cap must not bring back what is hidden, whatever lies there; a visible infinity is the cap itself.
template <class T>
void hides_after_the_function(const micro_kernels<T>& kernels) {
    constexpr T inf = std::numeric_limits<T>::infinity();
    column<T> x(kernels, {5.0, 0.0, true});
    const index_t hidden = 36;
    ASSERT_FALSE(x.visible(hidden, 0));
    index_t seen = 0;
    while (!x.visible(seen, 0)) ++seen;
    x.scores[x.place(hidden, 0)] = std::numeric_limits<T>::quiet_NaN();
    x.scores[x.place(seen, 0)] = inf;
    kernels.fold(x.c);
    EXPECT_EQ(x.scores[x.place(hidden, 0)], -inf);
    EXPECT_EQ(x.scores[x.place(seen, 0)], static_cast<T>(5.0 * core::log2_e));
}
TEST_P(score_stage, hides_after_the_function) {
    hides_after_the_function(micro().f32);
    hides_after_the_function(micro().f64);
}

} // namespace
} // namespace pantile_test
