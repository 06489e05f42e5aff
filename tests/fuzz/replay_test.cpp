// The fuzzers over their kept inputs, in every build: what they once reached, and what they once found, stays right. And their
// judges by calls that are wrong on purpose: a fuzzer that nothing alarms finds nothing.
#include <cmath>
#include <filesystem>
#include <fstream>
#include <iterator>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "fuzz.hpp"
#ifdef PANTILE_FUZZ_PAGE
#include "page_model.hpp"
#endif

namespace pantile::fuzz {
namespace {

using fuzzer = void (*)(std::span<const std::uint8_t>);

/// Every file of a corpus, and the input of no bytes.
void replay(fuzzer run, const char* name) {
    std::size_t inputs = 0;
    for (const auto& entry : std::filesystem::directory_iterator(std::filesystem::path(PANTILE_FUZZ_CORPUS) / name)) {
        std::ifstream file(entry.path(), std::ios::binary);
        const std::vector<char> text{std::istreambuf_iterator<char>(file), {}};
        SCOPED_TRACE(entry.path().string());
        try {
            run({reinterpret_cast<const std::uint8_t*>(text.data()), text.size()});
        } catch (const finding& f) {
            ADD_FAILURE() << f.text;
        }
        ++inputs;
    }
    EXPECT_GE(inputs, 20U) << "the corpus of " << name << " is not there";
    EXPECT_NO_THROW(run({}));
}

TEST(replay, npy_file) { replay(npy_file, "npy_file"); }
TEST(replay, case_file) { replay(case_file, "case_file"); }
#ifdef PANTILE_FUZZ_MACHINE
TEST(replay, machine_file) { replay(machine_file, "machine_file"); }
#endif

TEST(require, throws_what_no_handler_of_errors_takes) {
    EXPECT_NO_THROW(require(true, "never"));
    const auto guarded = [] {
        try {
            require(false, [] { return std::string("found"); });
        } catch (const std::exception&) {
            FAIL() << "taken for an error that is allowed";
        }
    };
    try {
        guarded();
        FAIL() << "nothing was thrown";
    } catch (const finding& f) {
        EXPECT_EQ(f.text, "found");
    }
}

#ifdef PANTILE_FUZZ_PAGE
TEST(replay, public_page) { replay(public_page, "public_page"); }

/// A right call: one batch, 4 query heads over 2, 2 rows, 4 keys, dims 2 and 1.
page_call small_call(function what) {
    const std::uint8_t input[] = {static_cast<std::uint8_t>(what), 0, 0, 1, 1, 1, 3, 2, 1};
    bytes from(input);
    return make_call(from);
}

std::string reasons(const judgement& j) {
    std::string all;
    for (const auto* list : {&j.inputs, &j.others})
        for (const fault& f : *list) all += f.subject + ": " + f.reason + "\n";
    return all;
}

/// One change each, whose refusal is known.
TEST(page_model, knows_what_is_wrong) {
    using testing::HasSubstr;
    for (const function what : {function::forward, function::forward_lse, function::partial, function::merge,
                                function::finish, function::backward}) {
        EXPECT_EQ(reasons(judge(small_call(what))), "") << static_cast<int>(what);
    }
    const auto spoilt = [](function what, auto change) {
        page_call c = small_call(what);
        change(c);
        return reasons(judge(c));
    };
    constexpr auto forward = function::forward;
    constexpr index_t far = index_t{1} << 48;
    EXPECT_THAT(spoilt(forward, [](page_call& c) { c.views[0].extent[2] = -1; }), HasSubstr("q.length is -1: between"));
    EXPECT_EQ(spoilt(forward, [](page_call& c) { c.views[1].stride[2] = -far; }), "");
    EXPECT_THAT(spoilt(forward, [](page_call& c) { c.views[1].stride[2] = -far - 1; }),
                HasSubstr("the stride of k.length is -281474976710657: within"));
    EXPECT_THAT(spoilt(forward, [](page_call& c) { c.views[2].null = true; }), HasSubstr("v.data is null"));
    EXPECT_THAT(spoilt(forward, [](page_call& c) { c.views[3].extent[3] = 7; }),
                HasSubstr("out.value_dim is 7, v.value_dim"));
    EXPECT_THAT(spoilt(forward, [](page_call& c) { c.views[3].at = c.views[0].at; }), HasSubstr("out overlaps q"));
    EXPECT_THAT(spoilt(forward, [](page_call& c) { c.views[3].stride[1] = 0; }),
                HasSubstr("the stride of out.: share"));
    EXPECT_THAT(spoilt(forward, [](page_call& c) { c.o.scale = 3e38; }), HasSubstr("options.scale"));
    EXPECT_THAT(spoilt(forward, [](page_call& c) { c.o.mask.left = -1; }), HasSubstr("options.mask.left is -1"));
    EXPECT_THAT(spoilt(forward, [](page_call& c) { c.key_lengths = {c.views[1].extent[2] + 1}; }),
                HasSubstr("options.key_lengths[0] is"));
    EXPECT_THAT(spoilt(function::backward, [](page_call& c) { c.views[7].extent[3] = 9; }),
                HasSubstr("dk.head_dim is 9"));
    const auto into_a = [](page_call& c) {
        for (std::size_t n = 0; n < 3; ++n) c.views[6 + n].at = c.views[n].at;
    };
    EXPECT_EQ(spoilt(function::merge, into_a), "");
    EXPECT_THAT(spoilt(function::merge, [&](page_call& c) { c.views[6].at = c.views[3].at; }),
                HasSubstr("overlaps b.out"));
}

/// The same of soft caps, slopes, sinks and their gradients: 4 query heads, one batch.
TEST(page_model, knows_what_is_wrong_with_features) {
    using testing::HasSubstr;
    const auto spoilt = [](function what, auto change) {
        page_call c = small_call(what);
        c.used += 4096;
        c.slopes.numbers = {1, 2, 3, 4}, c.slopes.at = c.used - 4096 + 64;
        c.sinks.numbers = {-HUGE_VAL, 0, 1, 2}, c.sinks.at = c.used - 4096 + 128;
        change(c);
        return reasons(judge(c));
    };
    constexpr auto forward = function::forward;
    EXPECT_EQ(spoilt(forward, [](page_call&) {}), "");
    EXPECT_EQ(spoilt(forward, [](page_call& c) { c.o.softcap = 2.3e38; }), "");
    EXPECT_THAT(spoilt(forward, [](page_call& c) { c.o.softcap = 2.4e38; }), HasSubstr("softcap is : at least 0"));
    EXPECT_THAT(spoilt(forward, [](page_call& c) { c.o.softcap = -1; }), HasSubstr("softcap is : at least 0"));
    EXPECT_THAT(spoilt(forward, [](page_call& c) { c.o.softcap = std::nan(""); }),
                HasSubstr("softcap is : at least 0"));
    EXPECT_THAT(spoilt(forward, [](page_call& c) { c.slopes.numbers.pop_back(); }),
                HasSubstr("options.slopes has 3 entries: one a query head"));
    EXPECT_THAT(spoilt(forward, [](page_call& c) { c.sinks.numbers.resize(8); }),
                HasSubstr("options.sinks has 8 entries: one a query head"));
    EXPECT_THAT(spoilt(forward, [](page_call& c) { c.sinks.device = true; }),
                HasSubstr("options.sinks is device memory"));
    EXPECT_THAT(spoilt(forward, [](page_call& c) { c.slopes.null = true; }), HasSubstr("data is null"));
    EXPECT_THAT(spoilt(forward, [](page_call& c) { c.slopes.numbers[1] = -HUGE_VAL; }),
                HasSubstr("options.slopes[1] is"));
    EXPECT_THAT(spoilt(forward, [](page_call& c) { c.sinks.numbers[3] = 3e38; }), HasSubstr("options.sinks[3] is"));
    EXPECT_THAT(spoilt(forward, [](page_call& c) { c.slopes.at = c.views[3].at; }),
                HasSubstr("out overlaps options.slopes"));
    EXPECT_EQ(spoilt(forward, [](page_call& c) { c.slopes.at = c.views[0].at; }), ""); // both are read
    EXPECT_THAT(spoilt(forward,
                       [](page_call& c) {
                           c.workspace_at = c.sinks.at + 31;
                           c.workspace_bytes = 1;
                       }),
                HasSubstr("options.workspace overlaps options.sinks"));
    const auto wants = [](const char* name, auto change) {
        return [name, change](page_call& c) {
            view v{name, true, 3, {1, 1, 4, 1}, {0, 0, 1, 1}, c.used - 4096 + 256};
            change(c, v);
            c.views.push_back(v);
        };
    };
    const auto gradients = [&](const char* name, auto change) {
        return spoilt(function::backward, wants(name, change));
    };
    EXPECT_EQ(gradients("dslopes", [](page_call&, view&) {}), "");
    EXPECT_EQ(gradients("dsinks", [](page_call&, view&) {}), "");
    EXPECT_THAT(gradients("dsinks", [](page_call& c, view&) { c.sinks.numbers.clear(); }),
                HasSubstr("dsinks is wanted: is not given"));
    EXPECT_THAT(gradients("dslopes",
                          [](page_call& c, view& v) {
                              c.views[0].extent[0] = c.views[1].extent[0] = c.views[2].extent[0] = 2;
                              c.slopes.numbers.resize(8);
                              v.at += 64;
                          }),
                HasSubstr("dslopes is wanted: summed over batches"));
    EXPECT_THAT(gradients("dsinks", [](page_call&, view& v) { v.extent[2] = 5; }), HasSubstr("dsinks has 5 entries"));
    EXPECT_THAT(gradients("dsinks", [](page_call&, view& v) { v.device = true; }),
                HasSubstr("dsinks is device memory"));
    EXPECT_THAT(gradients("dslopes", [](page_call&, view& v) { v.null = true; }), HasSubstr("dslopes.data is null"));
    EXPECT_THAT(gradients("dslopes", [](page_call& c, view& v) { v.at = c.sinks.at + 28; }),
                HasSubstr("dslopes overlaps options.sinks"));
    EXPECT_THAT(gradients("dsinks", [](page_call& c, view& v) { v.at = c.views[7].at; }),
                HasSubstr("dsinks overlaps dk"));
}

/// The judge of texts: silence on a wrong call, a refusal of a right one, and one that names something else.
TEST(page_model, alarms) {
    const std::vector<fault> none, wrong{{"q.length is -1", "between 0 and 2^48"}},
        doubt{{"out overlaps q", "its own"}};
    EXPECT_NO_THROW(hold_verdict("f", "", none, none));
    EXPECT_NO_THROW(hold_verdict("f", "", none, doubt));
    EXPECT_NO_THROW(hold_verdict("f", "pantile: out overlaps q: memory of its own", none, doubt));
    EXPECT_NO_THROW(hold_verdict("f", "pantile: q.length is -1: it must be between 0 and 2^48", wrong, none));
    EXPECT_THROW(hold_verdict("f", "", wrong, none), finding);
    EXPECT_THROW(hold_verdict("f", "pantile: q.length is -1: it must be between 0 and 2^48", none, doubt), finding);
    EXPECT_THROW(hold_verdict("f", "pantile: k.length is -1: it must be between 0 and 2^48", wrong, none), finding);
    EXPECT_THROW(hold_verdict("f", "pantile: q.length is -1: it must be even", wrong, none), finding);
    EXPECT_THROW(hold_verdict("f", "q.length is -1: it must be between 0 and 2^48", wrong, none), finding);
}
#endif

} // namespace
} // namespace pantile::fuzz
