// The memory checks to the byte, and the largest numbers that the checks take.
#include <algorithm>
#include <cstdint>
#include <initializer_list>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include <pantile/core/check.hpp>
#include <pantile/error.hpp>

namespace pantile::inline v0::core {
namespace {

/// A made-up address: the checks read nothing.
argument array(std::uintptr_t address, index_t count, index_t stride = 1, index_t element_bytes = 1) {
    argument a;
    a.name = "a";
    a.data = reinterpret_cast<void*>(address); // NOLINT(performance-no-int-to-ptr)
    a.rank = 1;
    a.extent[0] = count;
    a.stride[0] = stride;
    a.element_bytes = element_bytes;
    return a;
}

void expect_overlap(const argument& a, const argument& b, bool expected) {
    EXPECT_EQ(may_overlap(a, b), expected);
    EXPECT_EQ(may_overlap(b, a), expected);
}

TEST(memory_limits, one_byte_decides) {
    for (const index_t bytes : {1, 2, 4, 8}) {
        const auto far = static_cast<std::uintptr_t>(10 * bytes);
        expect_overlap(array(4096, 10, 1, bytes), array(4096 + far, 3), false);
        expect_overlap(array(4096, 10, 1, bytes), array(4096 + far - 1, 3), true);
        expect_overlap(array(4096, 10, 1, bytes), array(4096 - 3, 3), false);
        expect_overlap(array(4096, 10, 1, bytes), array(4096 - 2, 3), true);
    }
}

/// From the last element on, backwards: the last element's bytes lie after its address.
TEST(memory_limits, negative_strides_reach_down) {
    const argument down = array(4096, 10, -2, 4); // bytes 4096 - 72 to 4096 + 4
    expect_overlap(down, array(4096 + 4, 8), false);
    expect_overlap(down, array(4096 + 3, 8), true);
    expect_overlap(down, array(4096 - 72 - 8, 8), false);
    expect_overlap(down, array(4096 - 72 - 7, 8), true);
}

/// Every second row of a buffer and the rows between: apart, though their ranges are nearly the same.
TEST(memory_limits, columns_of_one_buffer_are_apart_to_the_byte) {
    const auto columns = [](std::uintptr_t address, index_t width) {
        argument a = array(address, 1);
        a.rank = 4;
        const index_t extent[] = {1, 1, 5, width};
        const index_t stride[] = {0, 0, 10, 1};
        for (int i = 0; i < 4; ++i) a.extent[i] = extent[i], a.stride[i] = stride[i];
        a.element_bytes = 2;
        return a;
    };
    const argument six = columns(8000, 6); // 6 of 10 columns of 2 bytes
    expect_overlap(six, columns(8000 + 12, 4), false);
    expect_overlap(six, columns(8000 + 12, 5), true); // wraps into the next row
    expect_overlap(six, columns(8000 + 11, 4), true);
    expect_overlap(six, columns(8000 + 13, 4), true);
    expect_overlap(six, columns(8000 + 13, 3), false);
    expect_overlap(six, columns(8000 - 8, 4), false);
    expect_overlap(six, columns(8000 - 7, 4), true);
    expect_overlap(six, columns(8000 + 40 + 12, 4), false); // two rows on
    expect_overlap(six, columns(8000 + 40 + 10, 4), true);
    expect_overlap(six, columns(8000 + 100, 1), false); // past the end of the last row's gap
    expect_overlap(six, columns(8000 + 12, 0), false);  // nothing
}

/// 2^48 elements 2^48 apart: bytes beyond 64 bits are counted right.
TEST(memory_limits, the_largest_tensors_are_counted_in_more_than_64_bits) {
    constexpr index_t most = index_t{1} << 48;
    const argument huge = array(std::uintptr_t{1} << 40, most, most, 8); // 2^99 bytes
    const argument down = array(std::uintptr_t{1} << 40, most, -most, 8);
    const argument after = array((std::uintptr_t{1} << 40) + 8, 16);
    const argument before = array((std::uintptr_t{1} << 40) - 16, 16);
    expect_overlap(huge, before, false);
    expect_overlap(down, after, false);
    expect_overlap(huge, array((std::uintptr_t{1} << 40) + 7, 16), true);
    // In 64 bits the reach would come out as a stride the other way.
    const argument high = array(std::uintptr_t{1} << 60, most, most, 8);
    const argument high_down = array(std::uintptr_t{1} << 60, most, -most, 8);
    expect_overlap(high, array((std::uintptr_t{1} << 60) - (std::uintptr_t{1} << 51), 8), false);
    expect_overlap(high_down, array((std::uintptr_t{1} << 60) + (std::uintptr_t{1} << 51), 8), false);
    expect_overlap(high, array((std::uintptr_t{1} << 60) + (std::uintptr_t{1} << 51), 8), true);
    expect_overlap(high_down, array((std::uintptr_t{1} << 60) - (std::uintptr_t{1} << 51), 8), true);
    EXPECT_NO_THROW(check_same_shape(huge, huge));
    EXPECT_NO_THROW(check_same_shape(down, down));
    EXPECT_NO_THROW(check_memory(&huge, 1, nullptr, 0));
}

/// The strides that an output may have: just beyond what the smaller ones reach.
TEST(memory_limits, output_strides_step_over_what_lies_inside) {
    argument a = array(4096, 1);
    a.rank = 4;
    a.element_bytes = 4;
    const auto refused = [&](std::initializer_list<index_t> extents, std::initializer_list<index_t> strides) {
        std::copy(extents.begin(), extents.end(), a.extent);
        std::copy(strides.begin(), strides.end(), a.stride);
        try {
            check_memory(&a, 1, nullptr, 0);
        } catch (const invalid_argument&) {
            return true;
        }
        return false;
    };
    EXPECT_FALSE(refused({2, 3, 4, 5}, {60, 20, 5, 1}));
    EXPECT_FALSE(refused({2, 3, 4, 5}, {-60, -20, -5, -1}));
    EXPECT_FALSE(refused({2, 3, 4, 5}, {1, 2, 6, 24}));
    EXPECT_TRUE(refused({2, 3, 4, 5}, {1, 2, 5, 24}));
    EXPECT_TRUE(refused({2, 3, 4, 5}, {59, 20, 5, 1}));
    EXPECT_TRUE(refused({2, 3, 4, 5}, {60, 19, 5, 1}));
    EXPECT_TRUE(refused({2, 3, 4, 5}, {60, 20, 4, 1}));
    EXPECT_TRUE(refused({2, 3, 4, 5}, {60, 20, 5, 0}));
    EXPECT_TRUE(refused({2, 3, 4, 5}, {60, 20, 5, 5}));
    EXPECT_FALSE(refused({1, 3, 1, 5}, {0, 5, 0, 1})); // one index has no stride to speak of
    EXPECT_FALSE(refused({2, 0, 4, 5}, {0, 0, 0, 0})); // nothing is written
}

/// More inputs than a machine has today: none is forgotten.
TEST(memory_limits, every_input_and_output_counts) {
    std::vector<argument> inputs;
    for (std::uintptr_t n = 0; n < 12; ++n) inputs.push_back(array(10000 + 100 * n, 100));
    for (const argument& in : inputs) {
        const argument outputs[] = {array(4096, 8), array(5096, 8), in};
        for (int count = 1; count <= 3; ++count) {
            const auto call = [&] { check_memory(outputs + 3 - count, count, inputs.data(), 12); };
            EXPECT_THROW(call(), invalid_argument);
        }
        EXPECT_NO_THROW(check_memory(outputs, 2, inputs.data(), 12));
    }
    for (int i = 0; i < 4; ++i) {
        for (int j = 0; j < 4; ++j) {
            argument outputs[] = {array(1000, 8), array(2000, 8), array(3000, 8), array(4000, 8)};
            outputs[i] = outputs[j];
            if (i == j) {
                EXPECT_NO_THROW(check_memory(outputs, 4, nullptr, 0));
            } else {
                EXPECT_THROW(check_memory(outputs, 4, nullptr, 0), invalid_argument);
            }
        }
    }
}

/// What options name, to the byte and in words.
TEST(memory_limits, key_lengths_and_workspace_are_held_against_all) {
    const auto at = [](std::uintptr_t address) { return reinterpret_cast<const std::byte*>(address); };       // NOLINT
    const auto lengths_at = [](std::uintptr_t address) { return reinterpret_cast<const index_t*>(address); }; // NOLINT
    argument output = array(2000, 100);
    output.name = "out";
    argument input = array(3000, 100);
    input.name = "q";
    const auto text = [&](const option_memory& m) -> std::string {
        try {
            check_memory(&output, 1, &input, 1, m);
        } catch (const invalid_argument& e) {
            return e.what();
        }
        return "";
    };
    const std::string own = ": an output needs memory of its own";
    const std::string work = ": work memory must hold nothing else";
    EXPECT_EQ(text({{lengths_at(2096)}, 2, nullptr, 0}), "pantile: out overlaps options.key_lengths" + own);
    EXPECT_EQ(text({{lengths_at(1992)}, 2, nullptr, 0}), "pantile: out overlaps options.key_lengths" + own);
    EXPECT_EQ(text({{lengths_at(1984)}, 2, nullptr, 0}), "");
    EXPECT_EQ(text({{lengths_at(2100)}, 2, nullptr, 0}), "");
    EXPECT_EQ(text({{lengths_at(3000)}, 2, nullptr, 0}), ""); // both are read
    EXPECT_EQ(text({{}, 0, at(2099), 9}), "pantile: options.workspace overlaps out" + work);
    EXPECT_EQ(text({{}, 0, at(2100), 9}), "");
    EXPECT_EQ(text({{}, 0, at(1991), 9}), "");
    EXPECT_EQ(text({{}, 0, at(1992), 9}), "pantile: options.workspace overlaps out" + work);
    EXPECT_EQ(text({{}, 0, at(3099), 9}), "pantile: options.workspace overlaps q" + work);
    EXPECT_EQ(text({{}, 0, at(3100), 9}), "");
    EXPECT_EQ(text({{lengths_at(4000)}, 2, at(4015), 9}),
              "pantile: options.workspace overlaps options.key_lengths" + work);
    EXPECT_EQ(text({{lengths_at(4000)}, 2, at(4016), 9}), "");
    EXPECT_EQ(text({{lengths_at(4000)}, 2, at(3991), 9}), "");
}

/// Slopes and sinks are read as key lengths are: outputs and work memory must lie apart from them, inputs need not.
TEST(memory_limits, slopes_and_sinks_are_held_against_all) {
    const auto at = [](std::uintptr_t address) { return reinterpret_cast<const std::byte*>(address); };      // NOLINT
    const auto floats_at = [](std::uintptr_t address) { return reinterpret_cast<const float*>(address); };   // NOLINT
    const auto doubles_at = [](std::uintptr_t address) { return reinterpret_cast<const double*>(address); }; // NOLINT
    argument outputs[] = {array(2000, 100), array(5000, 4, 1, 8)}; // the latter as gradients of heads lie
    outputs[0].name = "out";
    outputs[1].name = "dsinks";
    argument input = array(3000, 100);
    input.name = "q";
    const std::string own = ": an output needs memory of its own";
    const std::string work = ": work memory must hold nothing else";
    for (const std::string name : {"options.slopes", "options.sinks"}) {
        const auto text = [&](const head_numbers_ref& numbers, index_t count,
                              const std::byte* workspace = nullptr) -> std::string {
            option_memory m;
            (name == "options.slopes" ? m.slopes : m.sinks) = numbers;
            (name == "options.slopes" ? m.slopes_count : m.sinks_count) = count;
            m.workspace = workspace;
            m.workspace_bytes = workspace != nullptr ? 9 : 0;
            try {
                check_memory(outputs, 2, &input, 1, m);
            } catch (const invalid_argument& e) {
                return e.what();
            }
            return "";
        };
        const auto narrow = [&](std::uintptr_t address) { return head_numbers_ref{floats_at(address), nullptr, 0}; };
        const auto wide = [&](std::uintptr_t address) { return head_numbers_ref{nullptr, doubles_at(address), 0}; };
        EXPECT_EQ(text(narrow(2096), 3), "pantile: out overlaps " + name + own);
        EXPECT_EQ(text(narrow(2100), 3), "");
        EXPECT_EQ(text(narrow(1988), 3), "");
        EXPECT_EQ(text(narrow(1992), 3), "pantile: out overlaps " + name + own);
        EXPECT_EQ(text(wide(1976), 3), "");
        EXPECT_EQ(text(wide(1984), 3), "pantile: out overlaps " + name + own);
        EXPECT_EQ(text(wide(5024), 2), "pantile: dsinks overlaps " + name + own);
        EXPECT_EQ(text(wide(5032), 2), "");
        EXPECT_EQ(text(narrow(4996), 1), "");
        EXPECT_EQ(text(narrow(3000), 3), ""); // both are read
        EXPECT_EQ(text(narrow(4000), 4, at(4015)), "pantile: options.workspace overlaps " + name + work);
        EXPECT_EQ(text(narrow(4000), 4, at(4016)), "");
        EXPECT_EQ(text(narrow(4000), 4, at(3992)), "pantile: options.workspace overlaps " + name + work);
        EXPECT_EQ(text(narrow(4000), 4, at(3991)), "");
    }
    // Each of the arrays is looked at, whichever others are given.
    option_memory all;
    all.key_lengths = {reinterpret_cast<const index_t*>(std::uintptr_t{4000})}; // NOLINT
    all.key_lengths_count = 1;
    all.slopes = {floats_at(4100), nullptr, 0};
    all.slopes_count = 2;
    all.sinks = {floats_at(4200), nullptr, 0};
    all.sinks_count = 2;
    all.workspace_bytes = 1;
    for (const auto& [address, name] :
         {std::pair{4007U, "key_lengths"}, std::pair{4107U, "slopes"}, std::pair{4207U, "sinks"}}) {
        all.workspace = at(address);
        try {
            check_memory(outputs, 2, &input, 1, all);
            ADD_FAILURE() << "work memory over " << name;
        } catch (const invalid_argument& e) {
            EXPECT_EQ(e.what(), std::string("pantile: options.workspace overlaps options.") + name + work);
        }
    }
}

} // namespace
} // namespace pantile::inline v0::core
