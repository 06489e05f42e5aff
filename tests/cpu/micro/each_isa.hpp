/// \file
/// Runs a test once for each instruction set.
#pragma once

#include <string>

#include <gtest/gtest.h>
#include <pantile/error.hpp>

#include "catalogue/dispatch.hpp"
#include "table.hpp"

namespace pantile_test {

[[nodiscard]] inline bool available(pantile::isa isa) {
    try {
        return pantile::cpu::choose_kernels(isa).isa == isa;
    } catch (const pantile::invalid_argument&) {
        return false;
    }
}

/// A test once per instruction set; skipped where the machine lacks it.
class each_isa : public testing::TestWithParam<const micro_table*> {
  protected:
    void SetUp() override {
        if (!available(GetParam()->isa)) GTEST_SKIP() << GetParam()->name << " is not available on this machine";
    }
    [[nodiscard]] const micro_table& micro() const { return *GetParam(); }
};

#define PANTILE_FOR_EACH_ISA(fixture)                                                                                  \
    INSTANTIATE_TEST_SUITE_P(isa, fixture, testing::ValuesIn(micro_tables),                                            \
                             [](const auto& info) { return std::string(info.param->name); })

} // namespace pantile_test
