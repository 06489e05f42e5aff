// The core's walks on the plain fp64 machine give attention, with every seam in use: the reference on random problems,
// and the stored cases, which another implementation made.
#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <support/generators.hpp>
#include <support/plain_attention.hpp>
#include <support/vector_case.hpp>

namespace pantile::test {
namespace {

/// Equal up to fp64 rounding of ordinary numbers.
std::string difference(const std::string& what, const tensor<double>& actual, const tensor<double>& expected) {
    if (actual.extent != expected.extent) return what + ": another shape\n";
    for (std::size_t n = 0; n < actual.data.size(); ++n) {
        const double a = actual.data[n];
        const double e = expected.data[n];
        if (a == e) continue;
        if (!(std::abs(a - e) <= 1e-11 * (1.0 + std::abs(e)))) {
            return what + "[" + std::to_string(n) + "] is " + std::to_string(a) + ", expected " + std::to_string(e) +
                   "\n";
        }
    }
    return {};
}

tensor<double> as_tensor(const std::vector<double>& x) {
    tensor<double> t({1, static_cast<index_t>(x.size()), 1, 1});
    t.data = x;
    return t;
}

cut any_cut() {
    using detail::chance;
    using detail::pick;
    return {pick(1, 20), pick(1, 20), chance(50) ? 0 : pick(1, 25), chance(50) ? 1 : pick(2, 5)};
}

RC_GTEST_PROP(walks, give_attention_whatever_the_cut, ()) {
    const attention_case c = *any_case_with_features({.batch = 2, .kv_heads = 2, .group = 2, .length = 40, .dim = 9});
    const attention_inputs in = make_inputs(c, dtype::fp64, data_kind::normal, *rc::gen::arbitrary<std::uint32_t>());
    const cut how = any_cut();
    RC_LOG() << "tiles " << how.row_tile << " x " << how.key_tile << ", page " << how.page << ", splits " << how.splits;
    const plain_result r = attention_by_walks(c, in, how);
    const auto forward = plain_forward<double>(c, in);
    const auto backward = plain_backward<double>(c, in);
    std::string wrong = difference("out", r.forward.out, forward.out) + difference("lse", r.forward.lse, forward.lse) +
                        difference("dq", r.backward.dq, backward.dq) + difference("dk", r.backward.dk, backward.dk) +
                        difference("dv", r.backward.dv, backward.dv) +
                        difference("dsinks", as_tensor(r.backward.dsinks), as_tensor(backward.dsinks)) +
                        difference("dslopes", as_tensor(r.backward.dslopes), as_tensor(backward.dslopes));
    if (!c.bias.empty()) wrong += difference("dbias", r.backward.dbias, backward.dbias);
    RC_LOG() << wrong;
    RC_ASSERT(wrong.empty());
}

class stored_cases : public testing::TestWithParam<std::filesystem::path> {};

TEST_P(stored_cases, agree_with_walks_and_reference) {
    const vector_case v = read_vector_case(GetParam());
    const attention_case& c = v.problem;
    const auto check = [&](const forward_result<double>& f, const backward_result<double>& g, const std::string& who) {
        EXPECT_EQ(difference(who + " out", f.out, v.out), "");
        if (!v.lse.empty()) {
            EXPECT_EQ(difference(who + " lse", f.lse, v.lse), "");
        }
        if (!v.has_backward) return;
        EXPECT_EQ(difference(who + " dq", g.dq, v.dq), "");
        EXPECT_EQ(difference(who + " dk", g.dk, v.dk), "");
        EXPECT_EQ(difference(who + " dv", g.dv, v.dv), "");
        if (!v.dbias.empty()) {
            EXPECT_EQ(difference(who + " dbias", g.dbias, v.dbias), "");
        }
        if (!v.dsinks.empty()) {
            EXPECT_EQ(difference(who + " dsinks", as_tensor(g.dsinks), v.dsinks), "");
        }
        if (!v.dslopes.empty()) {
            EXPECT_EQ(difference(who + " dslopes", as_tensor(g.dslopes), v.dslopes), "");
        }
    };
    check(plain_forward<double>(c, v.inputs), plain_backward<double>(c, v.inputs), "reference");
    for (const cut& how :
         {cut{16, 16, 0, 1}, cut{7, 5, 0, 1}, cut{64, 64, 0, 1}, cut{8, 8, 16, 1}, cut{5, 3, 0, 3}, cut{1, 1, 4, 2}}) {
        const plain_result r = attention_by_walks(c, v.inputs, how);
        check(r.forward, r.backward, "tiles of " + std::to_string(how.row_tile) + " x " + std::to_string(how.key_tile));
    }
}

INSTANTIATE_TEST_SUITE_P(family, stored_cases, testing::ValuesIn(case_folders(PANTILE_VECTORS "/../family_vectors")),
                         [](const auto& info) { return info.param.filename().string(); });
INSTANTIATE_TEST_SUITE_P(float64, stored_cases, testing::ValuesIn(case_folders(PANTILE_VECTORS)),
                         [](const auto& info) { return info.param.filename().string(); });

} // namespace
} // namespace pantile::test
