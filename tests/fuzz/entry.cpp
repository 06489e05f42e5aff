// libFuzzer's entry into the fuzzer that PANTILE_FUZZER names.
#include <cstdio>

#include "fuzz.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    try {
        pantile::fuzz::PANTILE_FUZZER({data, size});
    } catch (const pantile::fuzz::finding& f) {
        std::fprintf(stderr, "FOUND: %s\n", f.text.c_str());
        __builtin_trap(); // libFuzzer keeps the input
    }
    return 0;
}
