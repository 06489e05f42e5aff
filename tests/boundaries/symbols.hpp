/// \file
/// The weak-symbol rule. Every ISA file is compiled with flags of its own. If two object files hold the same weak symbol
/// (an inline function, a template instance), the linker keeps one of them: AVX-512 code may then run on a processor
/// that has none. So what such a file emits weakly must carry its own ISA in its name.
#pragma once

#include <string>
#include <vector>

namespace pantile::boundaries {

/// One line of `nm`: the kind letter and the mangled name.
struct symbol {
    char kind = '?';
    std::string name;
};

/// The symbols that nm lists for an object file; throws std::runtime_error if nm fails.
std::vector<symbol> symbols_of(const std::string& nm, const std::string& object_file);

/// The symbols that a shared library shows.
std::vector<symbol> exported_symbols(const std::string& nm, const std::string& library);

/// The words of which a weak symbol of this object file must carry one, by the file's name: isa/avx2.cpp.o -> avx2.
/// Empty for the baseline, whose code runs everywhere.
std::string isa_tag(const std::string& object_file);

/// The names of the symbols that are weak or unique, defined here, and carry no tag.
std::vector<std::string> untagged_weak(const std::vector<symbol>& symbols, const std::string& tag);

} // namespace pantile::boundaries
