// The product kernel against the three loops that it stands for.
#include <algorithm>
#include <cmath>
#include <limits>
#include <random>
#include <vector>

#include "micro/each_isa.hpp"

namespace pantile_test {
namespace {

/// The kernel and the loops on random numbers. Each number of C is one sum in k order, so the kernel's result may differ
/// from the fp64 loops by its own rounding only: k additions of numbers below k.
template <class T>
void check_product(const micro_kernels<T>& kernels, bool columns, index_t m, index_t k, int vectors, bool staircase,
                   unsigned seed) {
    std::mt19937 random(seed);
    const auto numbers = [&](index_t count) {
        std::uniform_real_distribution<T> in_range(T(-1), T(1));
        std::vector<T> x(static_cast<std::size_t>(count));
        std::generate(x.begin(), x.end(), [&] { return in_range(random); });
        return x;
    };
    const index_t n = vectors * kernels.lanes;
    const index_t a_stride = (columns ? m : k) + 3;
    const std::vector<T> a = numbers((columns ? k : m) * a_stride + 1);
    const std::vector<T> b = numbers(k * (n + 5) + 1);
    std::vector<index_t> ends;
    for (int v = 0; v < vectors; ++v) ends.push_back(static_cast<index_t>(random() % static_cast<unsigned>(k + 1)));
    std::sort(ends.begin(), ends.end());
    constexpr T untouched = T(77);
    std::vector<T> c(static_cast<std::size_t>((m + 1) * (n + 2)), untouched);

    product_case<T> p;
    p.columns = columns;
    p.m = m;
    p.k = k;
    p.vectors = vectors;
    p.a = a.data();
    p.a_stride = a_stride;
    p.b = b.data();
    p.b_stride = n + 5;
    p.ends = staircase ? ends.data() : nullptr;
    p.c = c.data();
    p.c_stride = n + 2;
    kernels.product(p);

    for (index_t i = 0; i < m; ++i) {
        for (index_t j = 0; j < n; ++j) {
            const index_t length = staircase ? ends[static_cast<std::size_t>(j / kernels.lanes)] : k;
            double sum = 0;
            double size = 0;
            for (index_t x = 0; x < length; ++x) {
                const double term =
                    double(columns ? a[x * a_stride + i] : a[i * a_stride + x]) * double(b[x * (n + 5) + j]);
                sum += term;
                size += std::abs(term);
            }
            const double bound = (static_cast<double>(length) + 2) * std::numeric_limits<T>::epsilon() * size;
            ASSERT_NEAR(c[i * (n + 2) + j], sum, bound) << "row " << i << ", column " << j;
        }
        for (index_t j = n; j < n + 2; ++j) ASSERT_EQ(c[i * (n + 2) + j], untouched) << "written beside row " << i;
    }
    for (index_t j = 0; j < n + 2; ++j) ASSERT_EQ(c[m * (n + 2) + j], untouched) << "written below the last row";
}

using product = each_isa;
PANTILE_FOR_EACH_ISA(product);

template <class T>
void check_all(const micro_kernels<T>& kernels) {
    unsigned seed = 0;
    for (int vectors = 1; vectors <= kernels.panel_vectors; ++vectors) {
        for (const index_t m : {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 15, 16, 17, 40, 96}) {
            for (const index_t k : {0, 1, 2, 7, 64, 129}) {
                for (const bool columns : {false, true}) {
                    for (const bool staircase : {false, true}) {
                        SCOPED_TRACE(testing::Message()
                                     << "m " << m << ", k " << k << ", vectors " << vectors
                                     << (columns ? ", columns" : ", rows") << (staircase ? ", staircase" : ""));
                        check_product(kernels, columns, m, k, vectors, staircase, ++seed);
                        if (testing::Test::HasFatalFailure()) return;
                    }
                }
            }
        }
    }
}

TEST_P(product, equals_loops_f32) { check_all(micro().f32); }
TEST_P(product, equals_loops_f64) { check_all(micro().f64); }

} // namespace
} // namespace pantile_test
