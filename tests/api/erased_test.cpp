// Types, memory and ranks that are known at run time only: what does not fit is refused, argument by argument, with the text in
// full, and nothing is written before.
#include <gtest/gtest.h>

#include "erased_call.hpp"

namespace pantile::test {
namespace {

constexpr dtype unknown = static_cast<dtype>(9);
constexpr dtype every_type[] = {dtype::fp32, dtype::fp64, dtype::fp16, dtype::bf16, dtype::fp8, unknown};

std::string is(const std::string& name, dtype type) { return "pantile: " + name + " is " + name_of(type); }

bool is_one_of(const std::string& name, std::initializer_list<const char*> names) {
    for (const char* n : names) {
        if (name == n) return true;
    }
    return false;
}

/// The argument that types and memory are held against.
std::string model_of(page_function f) {
    return f == page_function::merge ? "a.out" : f == page_function::finish ? "part.out" : "q";
}

/// What is said of `name` with another type; empty: the type fits.
std::string type_refusal(const erased_call& call, const std::string& name, dtype type) {
    const page_function f = call.function;
    const bool parts = f == page_function::merge || f == page_function::finish;
    const std::string model = model_of(f);
    const dtype model_type = parts ? call.computed : call.in;
    const std::string against = ", " + model + " is " + name_of(model_type);
    const std::string computes = std::string(": it must be ") + name_of(call.computed) + ", in which the call computes";
    const bool wide = type == dtype::fp32 || type == dtype::fp64;
    if (parts && is_one_of(name, {"a.out", "b.out", "part.out"}) && !wide) {
        return is(name, type) + ": partial results are fp32 or fp64";
    }
    if (name == model && parts) { // taken as it is: what follows no longer fits it
        const std::string next = name.substr(0, name.find('.')) + ".max";
        return is(next, call.computed) + ", " + name + " is " + name_of(type) + ": it must be " + name_of(type) +
               ", in which the call computes";
    }
    if (name == "q") {
        if (type == dtype::fp8 || type == unknown) return is(name, type) + ": calls take fp32, fp64, fp16 and bf16";
        return is("k", call.in) + ", q is " + name_of(type) + ": they must be equal";
    }
    if (is_one_of(name, {"k", "v", "dout", "b.out"}) || (name == "part.out" && f == page_function::merge) ||
        (name == "out" && (f == page_function::backward || f == page_function::finish))) {
        return is(name, type) + against + ": they must be equal";
    }
    if (is_one_of(name, {"out", "dq", "dk", "dv"})) {
        if (type != call.in && type != call.computed) {
            const bool narrow = call.in != call.computed;
            return is(name, type) + against + ": it must be " + name_of(call.in) + (narrow ? " or fp32" : "");
        }
        if (name == "out") return "";
        const bool first = name == "dq";
        return is(first ? "dk" : name, first ? call.result : type) + ", dq is " + name_of(first ? type : call.result) +
               ": they must be equal";
    }
    return is(name, type) + against + computes; // lse, statistics and partial results
}

TEST(erased, the_calls_to_spoil_are_valid) {
    for (const page_function f : page_functions) for_every_erased_type(f, [](auto& call) { EXPECT_NO_THROW(call()); });
}

TEST(erased, types_that_do_not_fit) {
    for (const page_function f : page_functions) {
        int refused = 0;
        for_every_erased_type(f, [&](erased_call& call) {
            for (named_tensor& t : call.tensors()) {
                const dtype good = t.tensor.type;
                for (const dtype bad : every_type) {
                    if (bad == good) continue;
                    const std::string text = type_refusal(call, t.name, bad);
                    if (text.empty()) continue; // a type of results that this call may also have
                    t.tensor.type = bad;
                    EXPECT_EQ(call.refusal(), text)
                        << "function " << static_cast<int>(f) << ", q is " << name_of(call.in);
                    ++refused;
                }
                t.tensor.type = good;
            }
        });
        EXPECT_GE(refused, 6 * 3 * 5 - 6) << static_cast<int>(f); // three tensors at least, all but one type
    }
}

TEST(erased, memory_of_a_device_in_a_call_on_the_host) {
    for (const page_function f : page_functions) {
        for_every_erased_type(f, [&](erased_call& call) {
            for (named_tensor& t : call.tensors()) {
                const std::string model = model_of(f);
                t.tensor.where = memory::device;
                EXPECT_EQ(call.refusal(), t.name == model ? "pantile: " + t.name +
                                                                " is device memory: this function's tensors are host "
                                                                "memory (calls on a device take a stream)"
                                                          : "pantile: " + t.name + " is device memory, " + model +
                                                                " is host memory: they must lie together")
                    << "function " << static_cast<int>(f);
                t.tensor.where = memory::host;
            }
        });
    }
}

TEST(erased, ranks_that_do_not_fit) {
    for (const page_function f : page_functions) {
        for_every_erased_type(f, [&](erased_call& call) {
            for (named_tensor& t : call.tensors()) {
                const int good = t.tensor.rank;
                for (const int bad : {-1, 0, 1, 2, 3, 4, 5, 1000}) {
                    if (bad == good) continue;
                    t.tensor.rank = bad;
                    EXPECT_EQ(call.refusal(), "pantile: " + t.name + ".rank is " + std::to_string(bad) +
                                                  ": it must be " + std::to_string(good))
                        << "function " << static_cast<int>(f);
                }
                t.tensor.rank = good;
            }
        });
    }
}

} // namespace
} // namespace pantile::test
