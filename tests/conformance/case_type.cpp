#include "case_type.hpp"

#include <cctype>
#include <optional>
#include <string>

#include <nlohmann/json.hpp>

#include <support/vector_case.hpp>

namespace pantile::conformance {

using test::dtype;

namespace {

std::optional<dtype> type_named(const std::string& word) {
    static const std::pair<const char*, dtype> names[] = {
        {"bf16", dtype::bf16},    {"bfloat16", dtype::bf16}, {"f16", dtype::fp16},     {"fp16", dtype::fp16},
        {"float16", dtype::fp16}, {"f32", dtype::fp32},      {"fp32", dtype::fp32},    {"float32", dtype::fp32},
        {"f64", dtype::fp64},     {"fp64", dtype::fp64},     {"float64", dtype::fp64},
    };
    for (const auto& [name, type] : names) {
        if (word == name) return type;
    }
    return std::nullopt;
}

/// The one type among the words of a name such as "test_attention_4d_bf16"; none if it holds none.
std::optional<dtype> type_in_name(const std::string& name) {
    std::optional<dtype> found;
    std::string word;
    for (const char c : name + '_') {
        if (std::isalnum(static_cast<unsigned char>(c)) != 0) {
            word += static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
            continue;
        }
        const auto type = type_named(word);
        if (type && found && *type != *found) {
            throw test::case_error("the name " + name + " holds two types: put \"dtype\" into case.json");
        }
        if (type) found = type;
        word.clear();
    }
    return found;
}

dtype type_stored(npy::type t) {
    switch (t) {
    case npy::type::f8:
        return dtype::fp64;
    case npy::type::f4:
        return dtype::fp32;
    case npy::type::f2:
        return dtype::fp16;
    default:
        throw test::case_error(std::string("Q is stored as ") + npy::descr(t) + ", which is no floating-point type");
    }
}

/// Whether every number of type `t` is one of type `wide`.
bool holds_all(dtype wide, dtype t) {
    return wide == t || wide == dtype::fp64 || (wide == dtype::fp32 && t != dtype::fp64);
}

} // namespace

dtype type_of_case(const std::filesystem::path& folder, const nlohmann::json& description, npy::type stored) {
    const dtype in_file = type_stored(stored);
    std::optional<dtype> said;
    if (const auto field = description.find("dtype"); field != description.end()) {
        said = type_named(field->get<std::string>());
        if (!said) throw test::case_error("dtype is " + field->dump() + ": it must be f64, f32, f16 or bf16");
    } else {
        said = type_in_name(std::filesystem::weakly_canonical(folder).filename().string());
    }
    if (!said) return in_file;
    if (!holds_all(in_file, *said)) {
        throw test::case_error(std::string("the case says that it is ") + test::name(*said) + ", Q is stored as " +
                               npy::descr(stored));
    }
    return *said;
}

double tolerance_of(dtype t) {
    switch (t) {
    case dtype::fp64:
        return 1e-10;
    case dtype::fp32:
        return 1e-5;
    case dtype::fp16:
        return 3e-3;
    case dtype::bf16:
        return 1e-2;
    case dtype::fp8:
        break;
    }
    return 0.0;
}

} // namespace pantile::conformance
