// The rooms of the library know only what they should: the include rules, first on made-up files, then on the sources.
#include "includes.hpp"

#include <filesystem>
#include <fstream>
#include <sstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace pantile::boundaries {
namespace {

using testing::ElementsAre;
using testing::ElementsAreArray;
using testing::HasSubstr;
using testing::IsEmpty;
namespace fs = std::filesystem;

const header_rooms sample_rooms = {{"pantile/attention.hpp", "cpu"},
                                   {"pantile/core/band.hpp", "core"},
                                   {"pantile/options.hpp", "core"},
                                   {"pantile/simulator.hpp", "simulator"}};

std::vector<std::string> check(const std::string& path, const std::string& text) {
    return violations({path, text}, sample_rooms);
}

TEST(include_rules, comments_do_not_include) {
    const auto includes =
        parse_includes("/* #include <a>\n*/\n// #include <b>\n  # include <c.h>\n#include \"d/e.hpp\"\n");
    ASSERT_EQ(includes.size(), 2U);
    EXPECT_EQ(includes[0].name, "c.h");
    EXPECT_EQ(includes[0].line, 4);
    EXPECT_EQ(includes[1].name, "d/e.hpp");
    EXPECT_TRUE(includes[1].quoted);
}

TEST(include_rules, core_headers_are_freestanding) {
    const std::string path = "core/include/pantile/core/walk.hpp";
    EXPECT_THAT(check(path, "#include <cstdint>\n#include <pantile/core/band.hpp>\n"), IsEmpty());
    for (const char* bad :
         {"vector", "omp.h", "xsimd/xsimd.hpp", "Eigen/Dense", "cuda_runtime.h", "pantile/options.hpp"}) {
        EXPECT_THAT(check(path, std::string("#include <") + bad + ">\n"), ElementsAre(HasSubstr(bad)));
    }
}

TEST(include_rules, only_the_eigen_adaptor_shows_third_party_code) {
    EXPECT_THAT(check("cpu/include/pantile/eigen.hpp", "#include <Eigen/Core>\n"), IsEmpty());
    EXPECT_THAT(check("cpu/include/pantile/eigen.hpp", "#include <xsimd/xsimd.hpp>\n"),
                ElementsAre(HasSubstr("xsimd")));
    EXPECT_THAT(check("core/include/pantile/tensor.hpp", "#include <Eigen/Core>\n"), ElementsAre(HasSubstr("Eigen")));
    EXPECT_THAT(check("cuda/include/pantile/cuda.hpp", "#include <cuda_runtime.h>\n"),
                ElementsAre(HasSubstr("cuda_runtime.h")));
}

TEST(include_rules, rooms_do_not_know_one_another) {
    EXPECT_THAT(check("simulator/src/run.cpp", "#include <pantile/simulator.hpp>\n#include <vector>\n"), IsEmpty());
    EXPECT_THAT(check("cpu/src/run.cpp", "#include <pantile/simulator.hpp>\n"),
                ElementsAre(HasSubstr("must not know simulator")));
    EXPECT_THAT(check("core/src/check.cpp", "#include <pantile/simulator.hpp>\n"),
                ElementsAre(HasSubstr("must not know simulator")));
    // The host's page belongs to the CPU's room: neither the core nor another room may know it.
    for (const char* path : {"core/include/pantile/tensor.hpp", "core/src/check.cpp", "cuda/include/pantile/cuda.hpp",
                             "simulator/src/run.cpp"}) {
        EXPECT_THAT(check(path, "#include <pantile/attention.hpp>\n"), ElementsAre(HasSubstr("must not know cpu")))
            << path;
    }
    EXPECT_THAT(check("cpu/src/run.cpp", "#include <pantile/attention.hpp>\n#include <pantile/options.hpp>\n"),
                IsEmpty());
    EXPECT_THAT(check("cpu/src/isa/a.cpp", "#include \"../machine.hpp\"\n"), IsEmpty());
    EXPECT_THAT(check("cpu/src/isa/a.cpp", "#include \"../../../cuda/src/x.hpp\"\n"),
                ElementsAre(HasSubstr("leaves the room")));
    EXPECT_THAT(check("cpu/src/run.cpp", "#include <pantile/nobody.hpp>\n"), ElementsAre(HasSubstr("no room has")));
}

TEST(include_rules, rooms_stand_on_their_own_libraries) {
    EXPECT_THAT(check("cpu/src/machine.hpp", "#include <xsimd/xsimd.hpp>\n"), IsEmpty());
    EXPECT_THAT(check("core/src/check.cpp", "#include <xsimd/xsimd.hpp>\n"),
                ElementsAre(HasSubstr("does not stand on")));
    EXPECT_THAT(check("simulator/src/run.cpp", "#include <omp.h>\n"), ElementsAre(HasSubstr("does not stand on")));
    EXPECT_THAT(check("cpu/src/machine.hpp", "#include <Eigen/Core>\n"), ElementsAre(HasSubstr("does not stand on")));
}

TEST(include_rules, public_headers_include_by_their_full_name) {
    EXPECT_THAT(check("cpu/include/pantile/cpu.hpp", "#include \"attention.hpp\"\n"),
                ElementsAre(HasSubstr("includes by <pantile/...>")));
    EXPECT_THAT(check("cpu/src/run.cpp", "#include \"machine.hpp\"\n"), IsEmpty());
    EXPECT_THAT(check("simulator/include/pantile/simulator.hpp", "#include <nlohmann/json.hpp>\n"),
                ElementsAre(HasSubstr("third-party code in a public header")));
}

TEST(include_rules, headers_for_c_stand_on_those_of_c) {
    EXPECT_THAT(check("cpu/include/pantile.h", "#include <stdint.h>\n#include <stddef.h>\n"), IsEmpty());
    EXPECT_THAT(check("cpu/include/pantile.h", "#include <stdio.h>\n"), ElementsAre(HasSubstr("third-party code")));
    EXPECT_THAT(check("cpu/include/pantile.h", "#include <vector>\n"), ElementsAre(HasSubstr("C has no such header")));
    EXPECT_THAT(check("cpu/include/pantile/attention.hpp", "#include <stdint.h>\n"),
                ElementsAre(HasSubstr("third-party code")));
}

/// Every header of the standard library but those that devices have, and every line of a file, is looked at.
TEST(include_rules, every_line_counts) {
    const std::string path = "core/include/pantile/core/walk.hpp";
    EXPECT_THAT(check(path, "#include <string>\n\n#include <cmath>\n#include <memory>\n"),
                ElementsAre("core/include/pantile/core/walk.hpp:1: includes string: core headers are freestanding",
                            "core/include/pantile/core/walk.hpp:4: includes memory: core headers are freestanding"));
    EXPECT_THAT(check("cuda/src/a.cu", "#include <xsimd/xsimd.hpp>\n#include <cuda_fp16.h>\n#include <mma.h>\n"),
                ElementsAre(HasSubstr("cuda does not stand on this")));
    EXPECT_THAT(check("cpu/src/a.cpp", "#include <omp.hpp>\n#include <xomp.h>\n#include <omp.h>\n").size(), 2U);
    EXPECT_THAT(check("core/src/a.cpp", "#include <pantile/core/band.hpp>\n#include <pantile/options.hpp>\n"),
                IsEmpty());
}

std::string read(const fs::path& path) {
    std::ifstream stream(path);
    std::stringstream text;
    text << stream.rdbuf();
    return text.str();
}

TEST(core_headers, are_read_by_a_machine) {
    const source_file used{"core/include/pantile/core/used.hpp", "#include <pantile/core/below.hpp>\n"};
    const source_file below{"core/include/pantile/core/below.hpp", ""};
    const source_file page{"core/include/pantile/page.hpp", "#include <pantile/core/used.hpp>\n"};
    const source_file idle{"core/include/pantile/core/idle.hpp", "#include <pantile/core/idle_too.hpp>\n"};
    const source_file idle_too{"core/include/pantile/core/idle_too.hpp", "#include <pantile/core/idle.hpp>\n"};
    const std::vector<source_file> all = {used, below, page, idle, idle_too};
    const auto beside = [&](const std::string& path, const std::string& text) {
        std::vector<source_file> files = all;
        files.push_back({path, text});
        return core_headers_without_a_machine(files);
    };
    const std::string idle_ones[] = {"pantile/core/idle.hpp", "pantile/core/idle_too.hpp"};
    EXPECT_THAT(beside("cpu/src/a.cpp", "#include <pantile/page.hpp>\n"), ElementsAreArray(idle_ones));
    EXPECT_THAT(beside("cuda/src/a.cuh", "#include <pantile/core/used.hpp>\n"), ElementsAreArray(idle_ones));
    EXPECT_THAT(beside("cuda/src/a.cuh", "#include <pantile/core/idle.hpp>\n").size(), 2U);
    EXPECT_THAT(beside("simulator/src/a.cpp", "#include <pantile/core/used.hpp>\n").size(), 4U); // no product machine
    EXPECT_THAT(beside("core/src/a.cpp", "#include <pantile/core/idle.hpp>\n").size(), 4U);      // nor is core itself
}

/// Every source and header of the rooms.
std::vector<source_file> all_files() {
    const fs::path root = PANTILE_SOURCE_DIR;
    std::vector<source_file> files;
    for (const std::string room : {"core", "cpu", "cuda", "simulator"}) {
        for (const auto& entry : fs::recursive_directory_iterator(root / room)) {
            const fs::path extension = entry.path().extension();
            if (extension != ".h" && extension != ".hpp" && extension != ".cpp" && extension != ".cu" &&
                extension != ".cuh")
                continue;
            files.push_back({fs::relative(entry.path(), root).generic_string(), read(entry.path())});
        }
    }
    return files;
}

TEST(include_rules, the_sources_keep_the_include_rules) {
    const std::vector<source_file> files = all_files();
    header_rooms rooms;
    for (const source_file& file : files) {
        const std::string room = file.path.substr(0, file.path.find('/'));
        const std::string include = room + "/include/";
        if (file.path.compare(0, include.size(), include) == 0) rooms[file.path.substr(include.size())] = room;
    }
    EXPECT_EQ(rooms["pantile/attention.hpp"], "cpu");
    EXPECT_EQ(rooms["pantile/tensor.hpp"], "core");
    EXPECT_GT(files.size(), 20U);
    for (const source_file& file : files) EXPECT_THAT(violations(file, rooms), IsEmpty());
}

TEST(core_headers, have_a_machine) { EXPECT_THAT(core_headers_without_a_machine(all_files()), IsEmpty()); }

} // namespace
} // namespace pantile::boundaries
