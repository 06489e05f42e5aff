// The memory checks against brute force: overlap is never denied where it exists, and sane layouts are never refused.
#include <cstddef>
#include <set>
#include <vector>

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <pantile/core/check.hpp>
#include <pantile/error.hpp>

#include <support/generators.hpp>

namespace pantile::inline v0::core {
namespace {

/// A tensor somewhere in a buffer: small extents, any strides.
argument any_argument(std::byte* buffer) {
    using test::detail::pick;
    argument a;
    a.name = "q";
    a.element_bytes = *rc::gen::element<index_t>(2, 4, 8);
    for (int i = 0; i < 4; ++i) {
        a.extent[i] = pick(0, 3);
        a.stride[i] = pick(-9, 9);
    }
    a.data = buffer + 4096 + a.element_bytes * pick(-30, 30);
    return a;
}

/// First bytes of all elements, one entry an element.
std::vector<const std::byte*> places_of(const argument& a) {
    std::vector<const std::byte*> places;
    for (index_t b = 0; b < a.extent[0]; ++b)
        for (index_t h = 0; h < a.extent[1]; ++h)
            for (index_t i = 0; i < a.extent[2]; ++i)
                for (index_t x = 0; x < a.extent[3]; ++x)
                    places.push_back(static_cast<const std::byte*>(a.data) +
                                     a.element_bytes *
                                         (b * a.stride[0] + h * a.stride[1] + i * a.stride[2] + x * a.stride[3]));
    return places;
}

std::set<const std::byte*> bytes_of(const argument& a) {
    std::set<const std::byte*> bytes;
    for (const std::byte* place : places_of(a)) {
        for (index_t n = 0; n < a.element_bytes; ++n) bytes.insert(place + n);
    }
    return bytes;
}

bool refused(const argument& output) {
    try {
        check_memory(&output, 1, nullptr, 0);
        return false;
    } catch (const invalid_argument&) {
        return true;
    }
}

RC_GTEST_PROP(memory_checks, never_deny_an_overlap, ()) {
    static std::byte buffer[8192];
    const argument a = any_argument(buffer);
    const argument b = any_argument(buffer);
    const auto bytes = bytes_of(a);
    bool shared = false;
    for (const std::byte* byte : bytes_of(b)) shared = shared || bytes.count(byte) > 0;
    if (shared) {
        RC_ASSERT(may_overlap(a, b));
        RC_ASSERT(may_overlap(b, a));
    }
}

RC_GTEST_PROP(memory_checks, refuse_an_output_that_overlaps_itself, ()) {
    static std::byte buffer[8192];
    const argument a = any_argument(buffer);
    const auto places = places_of(a);
    const std::set<const std::byte*> distinct(places.begin(), places.end());
    if (distinct.size() != places.size()) RC_ASSERT(refused(a));
}

/// Three tensors interleaved in one buffer, token by token or head by head, do not overlap; shifted ones do.
TEST(memory_checks, tell_packed_tensors_apart) {
    std::vector<float> buffer(4096);
    const auto at = [&](index_t offset, std::array<index_t, 4> extent, std::array<index_t, 4> stride) {
        return describe("q", strided<const float>(buffer.data() + offset, extent, stride));
    };
    const std::array<index_t, 4> e{2, 3, 5, 8}; // batch, heads, length, dim
    const index_t token = 3 * 3 * 8;            // q, k and v of a token, 3 heads of 8 each
    const std::array<index_t, 4> s{5 * token, 8, token, 1};
    EXPECT_FALSE(may_overlap(at(0, e, s), at(24, e, s)));
    EXPECT_FALSE(may_overlap(at(0, e, s), at(48, e, s)));
    EXPECT_TRUE(may_overlap(at(0, e, s), at(23, e, s)));
    EXPECT_TRUE(may_overlap(at(0, e, s), at(token, e, s)));
    const std::array<index_t, 4> by_head{5 * token, 24, token, 1}; // [token][head][q k v][dim]
    EXPECT_FALSE(may_overlap(at(0, e, by_head), at(8, e, by_head)));
    EXPECT_TRUE(may_overlap(at(0, e, by_head), at(7, e, by_head)));
}

TEST(memory_checks, accept_every_output_layout_of_the_tests) {
    for (const test::layout l : test::output_layouts) {
        test::stored<float> s({2, 3, 4, 5}, l);
        const argument a = describe("out", s.view());
        EXPECT_FALSE(refused(a)) << test::name(l);
    }
    for (const test::layout l :
         {test::layout::broadcast_batch, test::layout::broadcast_heads, test::layout::broadcast_length}) {
        test::stored<float> s({2, 3, 4, 5}, l);
        EXPECT_TRUE(refused(describe("out", s.view()))) << test::name(l);
    }
}

} // namespace
} // namespace pantile::inline v0::core
