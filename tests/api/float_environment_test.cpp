// Whatever floating-point environment the caller has set: the bits of the standard one, on every thread, and the caller's
// back as it was.
#include <cfenv>
#include <cstring>
#include <functional>

#include <gtest/gtest.h>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

#include "api_call.hpp"

namespace pantile::test {
namespace {

/// A thread's settings: how it rounds, and on x86 whether subnormal numbers are flushed.
class environment {
  public:
    static environment now() {
        environment e;
        e.rounding_ = std::fegetround();
#if defined(__x86_64__)
        e.control_ = _mm_getcsr();
#endif
        return e;
    }
    static environment of(int rounding, unsigned flush) {
        const environment before = now();
        std::fesetround(rounding);
        environment e = now();
        e.control_ |= flush;
        before.set();
        return e;
    }
    void set() const {
        std::fesetround(rounding_);
#if defined(__x86_64__)
        _mm_setcsr(control_);
#endif
    }
    bool operator==(const environment&) const = default;

  private:
    int rounding_ = FE_TONEAREST;
    unsigned control_ = 0; // MXCSR, with the raised flags
};

/// Those that a caller may have set. Flags differ, too: a division by zero has been raised in some.
std::vector<environment> environments() {
    std::vector<environment> all;
    for (const int rounding : {FE_TONEAREST, FE_DOWNWARD, FE_UPWARD, FE_TOWARDZERO}) {
#if defined(__x86_64__)
        for (const unsigned flush : {0U, 0x8000U, 0x40U, 0x8040U}) { // FTZ, DAZ
            all.push_back(environment::of(rounding, flush));
            all.push_back(environment::of(rounding, flush | _MM_EXCEPT_DIV_ZERO));
        }
#else
        all.push_back(environment::of(rounding, 0));
#endif
    }
    return all;
}

/// Every function of the page on one problem. Inputs are made once, in the standard environment.
template <class In, class Stat>
class all_calls {
  public:
    all_calls(const attention_case& c, dtype type, data_kind kind, double factor = 1)
        : c_(c), in_(scaled(make_inputs(c, type, kind, 7), factor)), q_(in_.q, layout::bhsd), k_(in_.k, layout::bhsd),
          v_(in_.v, layout::padded), dout_(in_.dout, layout::bhsd), out_(c.out_extent(), layout::bhsd),
          lse_(c.lse_extent(), layout::bhsd), dq_(c.q_extent(), layout::bhsd), dk_(c.k_extent(), layout::bhsd),
          dv_(c.v_extent(), layout::bhsd), part_out_(c.out_extent(), layout::bhsd), max_(c.lse_extent(), layout::bhsd),
          sum_(c.lse_extent(), layout::bhsd), whole_(c.out_extent(), layout::bhsd),
          whole_lse_(c.lse_extent(), layout::bhsd) {
        for (options* o : {&automatic_, &given_}) o->mask = causal();
        given_.scale = 0.3; // the default is computed, 1/sqrt(head_dim)
    }

    void run(int threads) {
        for (options* o : {&automatic_, &given_}) o->threads = threads;
        attention(q_.view(), k_.view(), v_.view(), out_.view(), lse_.rows(), automatic_);
        attention_backward(q_.view(), k_.view(), v_.view(), tensor_view<const In>(out_.view()),
                           row_view<const Stat>(lse_.rows()), dout_.view(), dq_.view(), dk_.view(), dv_.view(),
                           automatic_);
        const partial_view<Stat> part{part_out_.view(), max_.rows(), sum_.rows()};
        attention_partial(q_.view(), k_.view(), v_.view(), part, given_);
        // Of part and itself: every weight doubled. finish takes logarithms.
        const stored<Stat> out = part_out_, max = max_, sum = sum_;
        merge(part, {out.view(), max.rows(), sum.rows()}, part);
        finish(part, whole_.view(), whole_lse_.rows());
        flops_ = explain(q_.view(), k_.view(), v_.view(), automatic_).flops +
                 explain_backward(q_.view(), k_.view(), v_.view(), automatic_).flops;
    }

    /// The bits of all that was written.
    [[nodiscard]] std::vector<std::byte> bits() const {
        std::vector<std::byte> all(sizeof flops_);
        std::memcpy(all.data(), &flops_, sizeof flops_);
        const auto add = [&](const auto& s) {
            const auto* from = reinterpret_cast<const std::byte*>(s.memory().data());
            all.insert(all.end(), from, from + s.memory().size() * sizeof(s.memory()[0]));
        };
        add(out_), add(lse_), add(dq_), add(dk_), add(dv_), add(part_out_), add(max_), add(sum_), add(whole_),
            add(whole_lse_);
        return all;
    }

  private:
    static attention_inputs scaled(attention_inputs in, double factor) {
        for (tensor<double>* t : {&in.q, &in.k}) {
            for (double& x : t->data) x *= factor;
        }
        return in;
    }

    attention_case c_;
    attention_inputs in_;
    stored<In> q_, k_, v_, dout_, out_;
    stored<Stat> lse_;
    stored<In> dq_, dk_, dv_;
    stored<Stat> part_out_, max_, sum_, whole_, whole_lse_;
    options automatic_, given_;
    double flops_ = 0;
};

template <class In, class Stat>
void any_environment_gives_the_same(const attention_case& c, dtype type, data_kind kind) {
    all_calls<In, Stat> calls(c, type, kind);
    const environment standard = environment::now();
    calls.run(1);
    const std::vector<std::byte> expected = calls.bits();
    int number = 0;
    for (const environment& callers : environments()) {
        for (const int threads : {1, 2, 5}) {
            callers.set();
            calls.run(threads);
            const environment after = environment::now();
            standard.set();
            EXPECT_TRUE(after == callers) << "environment " << number << ", threads " << threads;
            EXPECT_TRUE(calls.bits() == expected) << "environment " << number << ", threads " << threads;
        }
        ++number;
    }
}

void any_environment_gives_the_same(const attention_case& c, data_kind kind) {
    any_environment_gives_the_same<float, float>(c, dtype::fp32, kind);
    any_environment_gives_the_same<double, double>(c, dtype::fp64, kind);
    any_environment_gives_the_same<float16, float>(c, dtype::fp16, kind);
    any_environment_gives_the_same<bfloat16, float>(c, dtype::bf16, kind);
}

/// Tiles of rows.
TEST(float_environment, of_the_caller_changes_no_bit) {
    attention_case c;
    c.q_heads = 2;
    c.q_len = c.k_len = 65;
    c.head_dim = 21; // 1/sqrt(21) is rounded
    c.value_dim = 17;
    any_environment_gives_the_same(c, data_kind::normal);
    any_environment_gives_the_same(c, data_kind::tiny);
}

/// Few rows, keys split.
TEST(float_environment, of_the_caller_changes_no_bit_where_keys_are_split) {
    attention_case c;
    c.q_heads = 2;
    c.q_len = 1;
    c.k_len = 2500;
    c.head_dim = c.value_dim = 16;
    any_environment_gives_the_same(c, data_kind::normal);
}

/// Also where the call throws.
TEST(float_environment, is_given_back_after_an_error) {
    const environment standard = environment::now();
    const float x = 1.0F;
    float y = 0.0F;
    const auto t = bhsd(&x, 1, 1, 1, 1);
    const auto bad = bhsd(&x, 1, 1, 2, 1);
    const partial_view<const float> a{t, bhs(&x, 1, 1, 1), bhs(&x, 1, 1, 1)};
    const partial_view<float> part{bhsd(&y, 1, 1, 2, 1), bhs(&y, 1, 1, 1), bhs(&y, 1, 1, 1)};
    const std::function<void()> spoilt[] = {
        [&] { attention(t, t, bad, bhsd(&y, 1, 1, 1, 1)); },
        [&] { attention_partial(t, t, bad, part); },
        [&] { merge(a, a, part); },
        [&] { finish(a, part.out, part.max); },
        [&] { (void)explain(t, t, bad); },
        [&] { (void)explain_backward(t, t, bad); },
    };
    const environment callers = environments().back();
    for (const auto& call : spoilt) {
        callers.set();
        bool refused = false;
        try {
            call();
        } catch (const invalid_argument&) {
            refused = true;
        }
        const environment after = environment::now();
        standard.set();
        EXPECT_TRUE(refused);
        EXPECT_TRUE(after == callers);
    }
}

#if defined(__GLIBC__)
/// A caller that wants to be stopped at operations of his own that are invalid is not stopped at ours: rows that see no
/// key, logits that overflow.
TEST(float_environment, that_traps_is_not_trapped_in_a_call) {
    attention_case c;
    c.q_heads = 2;
    c.q_len = 40;
    c.k_len = 33; // rows 0 … 6 see no key
    c.head_dim = c.value_dim = 9;
    for (const double factor : {1.0, 0x1p100}) {
        all_calls<float, float> calls(c, dtype::fp32, data_kind::normal, factor);
        calls.run(1);
        const auto expected = calls.bits();
        for (const int threads : {1, 2, 5}) {
            const environment standard = environment::now();
            feenableexcept(FE_INVALID | FE_DIVBYZERO | FE_OVERFLOW);
            const int enabled = fegetexcept();
            calls.run(threads);
            const int still = fegetexcept();
            fedisableexcept(FE_ALL_EXCEPT);
            standard.set();
            EXPECT_EQ(still, enabled);
            EXPECT_TRUE(calls.bits() == expected) << threads;
        }
    }
}
#endif

} // namespace
} // namespace pantile::test
