// Runs that compute: every algorithm gives attention's answer, and counting changes no bit of it.

#include <gtest/gtest.h>

#include "oracle.hpp"

namespace pantile::inline v0::simulator::oracle {
namespace {

class execute : public ::testing::TestWithParam<std::string> {
  protected:
    const algorithm& subject = find_algorithm(GetParam());

    void expect_right(const experiment& e, std::mt19937_64& random) {
        SCOPED_TRACE(GetParam() + " " + describe(e));
        const attention_inputs in = random_inputs(e.what, random);
        const attention_result expected = attend(e.what, in);
        far_memory far = filled(e, in, expected);
        const run_result computed = execute_run(e, far);
        EXPECT_EQ(computed, run(subject, e)) << "computing must not change the counts";
        if (e.which == pass::forward) {
            EXPECT_LT(difference(far[tensor::out], expected.out), 1e-12);
            if (GetParam() != "standard" && GetParam().substr(0, 3) != "fa1") {
                EXPECT_LT(difference(far[tensor::lse], expected.lse), 1e-12);
            }
        } else {
            EXPECT_LT(difference(far[tensor::dq], expected.dq), 1e-11);
            EXPECT_LT(difference(far.grouped(tensor::dk), expected.dk), 1e-11);
            EXPECT_LT(difference(far.grouped(tensor::dv), expected.dv), 1e-11);
        }
    }
    run_result execute_run(const experiment& e, far_memory& far, bool counting = true) {
        return simulator::execute(subject, e, far, counting);
    }
};

TEST_P(execute, gives_the_answer_of_the_definition) {
    std::mt19937_64 random(11);
    for (const pass which : {pass::forward, pass::backward}) {
        for (int i = 0; subject.has(which) && i < 40; ++i)
            expect_right(random_experiment(subject, which, random), random);
    }
}

/// What changes logits, all of it together and each alone: the answer of the definition, the counts of a plain call.
TEST_P(execute, soft_caps_slopes_and_sinks) {
    std::mt19937_64 random(14);
    for (const pass which : {pass::forward, pass::backward}) {
        if (!subject.has(which)) continue;
        for (int on = 1; on < 16; ++on) {
            experiment e = random_experiment(subject, which, random);
            workload& w = e.what;
            if (on % 4 == 0) w.key_lengths.clear();
            w.softcap = 0;
            w.slopes.clear(), w.sinks.clear();
            const counts plain = run(subject, e).moved;
            if ((on & 1) != 0 && (which == pass::forward || subject.recomputes_scores())) w.softcap = 1.5;
            const auto numbers = [&](index_t n, double first) {
                std::vector<double> x;
                for (index_t h = 0; h < n; ++h) x.push_back(first - 0.75 * static_cast<double>(h));
                return x;
            };
            if ((on & 2) != 0) w.slopes = numbers(w.q_heads, 0.5);
            if ((on & 4) != 0) w.sinks = numbers(w.q_heads, 2.0);
            if ((on & 8) != 0) w.slopes = numbers(w.batch * w.q_heads, 0.25);
            expect_right(e, random);
            EXPECT_EQ(run(subject, e).moved, plain);
        }
    }
}

TEST_P(execute, counting_changes_no_bit) {
    std::mt19937_64 random(12);
    for (const pass which : {pass::forward, pass::backward}) {
        if (!subject.has(which)) continue;
        const experiment e = random_experiment(subject, which, random);
        const attention_inputs in = random_inputs(e.what, random);
        const attention_result expected = attend(e.what, in);
        for (const auto precision : {far_memory::precision::fp64, far_memory::precision::fp32}) {
            far_memory counted = filled(e, in, expected, precision);
            far_memory silent = filled(e, in, expected, precision);
            EXPECT_GT(execute_run(e, counted).moved.elements().reads, 0);
            EXPECT_EQ(execute_run(e, silent, false).moved, counts{});
            for (const tensor t : {tensor::out, tensor::lse, tensor::dq, tensor::dk, tensor::dv}) {
                EXPECT_EQ(counted[t], silent[t]) << name(t);
            }
        }
    }
}

TEST_P(execute, fp32_is_close_and_not_fp64) {
    std::mt19937_64 random(13);
    experiment e;
    e.what = workload::square(40, 8);
    e.plan = {16, 8, 2};
    const attention_inputs in = random_inputs(e.what, random);
    const attention_result expected = attend(e.what, in);
    far_memory far = filled(e, in, expected, far_memory::precision::fp32);
    execute_run(e, far);
    EXPECT_LT(difference(far[tensor::out], expected.out), 1e-5);
    EXPECT_GT(difference(far[tensor::out], expected.out), 1e-12);
}

std::vector<std::string> all_names() {
    std::vector<std::string> names;
    for (const algorithm* a : algorithms()) names.emplace_back(a->name());
    return names;
}

INSTANTIATE_TEST_SUITE_P(all, execute, ::testing::ValuesIn(all_names()), [](const auto& info) {
    std::string text = info.param;
    std::replace(text.begin(), text.end(), '-', '_');
    return text;
});

} // namespace
} // namespace pantile::inline v0::simulator::oracle
