// The choice of an instruction set: names, and refusals that say what is available.
#include <cstdio>
#include <cstdlib>
#include <string>
#include <utility>

#include <gmock/gmock.h>
#include <pantile/attention.hpp>

#include "catalogue/dispatch.hpp"

namespace pantile_test {
namespace {

using pantile::isa;
using testing::HasSubstr;

std::string refusal(isa wanted) {
    try {
        (void)pantile::cpu::choose_kernels(wanted);
    } catch (const pantile::invalid_argument& e) {
        return e.what();
    }
    return "";
}

TEST(dispatch, every_set_that_is_listed_can_be_chosen) {
    const std::string listed = pantile::cpu::available_isas();
    EXPECT_THAT(listed, HasSubstr("baseline"));
    const std::pair<isa, const char*> sets[] = {
        {isa::baseline, "baseline"}, {isa::avx2, "avx2"}, {isa::avx512, "avx512"}, {isa::amx, "amx"}};
    for (const auto& [set, name] : sets) {
        const bool available = (", " + listed + ",").find(std::string(", ") + name + ",") != std::string::npos;
        if (available) {
            EXPECT_EQ(pantile::cpu::choose_kernels(set, true).isa, set);
            EXPECT_STREQ(pantile::cpu::choose_kernels(set, true).name, name);
        } else {
            EXPECT_THAT(refusal(set), HasSubstr(name));
            EXPECT_THAT(refusal(set), HasSubstr("available on this machine: " + listed));
        }
    }
}

TEST(dispatch, automatic_takes_the_last_listed_or_the_forced_one) {
    const char* forced = std::getenv("PANTILE_ISA");
    const std::string listed = pantile::cpu::available_isas();
    const std::string last = listed.substr(listed.rfind(' ') + 1);
    const bool is_forced = forced != nullptr && *forced != '\0';
    EXPECT_EQ(pantile::cpu::choose_kernels(isa::automatic, true).name, is_forced ? std::string(forced) : last);
}

/// PANTILE_ISA is read once a process: another value needs another process.
void with_environment(const char* value) {
    setenv("PANTILE_ISA", value, 1);
    try {
        std::fprintf(stderr, "chose %s", pantile::cpu::choose_kernels(isa::automatic).name);
    } catch (const pantile::invalid_argument& e) {
        std::fprintf(stderr, "%s", e.what());
    }
    std::exit(0);
}

TEST(dispatch, the_environment_forces_a_set) {
    GTEST_FLAG_SET(death_test_style, "threadsafe");
    EXPECT_EXIT(with_environment("baseline"), testing::ExitedWithCode(0), "chose baseline");
    EXPECT_EXIT(with_environment("AVX3"), testing::ExitedWithCode(0),
                "PANTILE_ISA is 'AVX3': it must be baseline, avx2, avx512 or amx; available on this machine: baseline");
}

} // namespace
} // namespace pantile_test
