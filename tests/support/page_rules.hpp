/// \file
/// The functions of the public pages, host and CUDA alike, and which sizes of their arguments must be equal.
#pragma once

#include <initializer_list>
#include <string>
#include <vector>

#include <pantile/core/macros.hpp>

namespace pantile::test {

/// The functions of the page.
enum class page_function : unsigned char {
    forward,
    forward_lse,
    backward,
    partial,
    merge,
    finish,
    explain,
    explain_backward
};
inline constexpr page_function page_functions[] = {
    page_function::forward, page_function::forward_lse, page_function::backward, page_function::partial,
    page_function::merge,   page_function::finish,      page_function::explain,  page_function::explain_backward};

inline constexpr const char* axis_names[] = {"batch", "heads", "length"};

/// The name of an axis in messages: the last one is named after what it holds.
inline std::string axis_name(const std::string& argument, int axis) {
    if (axis < 3) return axis_names[axis];
    for (const char* holds_keys : {"q", "k", "dq", "dk"}) {
        if (argument == holds_keys) return "head_dim";
    }
    return "value_dim";
}

/// What must equal what: an axis of an argument, and the axis of the argument that messages hold it against. Where the spoilt
/// one is itself the model, the first argument that no longer fits is named.
struct size_rule {
    page_function function;
    const char* spoilt;
    int axis;
    const char* named; ///< the argument that the text begins with
    const char* model; ///< and the one that it is held against
};

/// A rule a size. The heads of q against those of k are a rule of another kind.
inline std::vector<size_rule> size_rules() {
    using enum page_function;
    std::vector<size_rule> all;
    const auto add = [&](page_function f, const char* spoilt, std::initializer_list<int> of, const char* named,
                         const char* model) {
        for (const int axis : of) all.push_back({f, spoilt, axis, named, model});
    };
    for (const page_function f : {forward, forward_lse, backward, partial, explain, explain_backward}) {
        add(f, "q", {0, 3}, "k", "q");
        add(f, "k", {0, 3}, "k", "q");
        add(f, "k", {1, 2}, "v", "k");
        add(f, "v", {0}, "v", "q");
        add(f, "v", {1, 2}, "v", "k");
        if (f == explain || f == explain_backward) continue;
        const char* out = f == partial ? "part.out" : "out";
        add(f, "q", {2}, out, "q");
        add(f, "v", {3}, out, "v");
        add(f, out, {0, 1, 2}, out, "q");
        add(f, out, {3}, out, "v");
    }
    add(forward_lse, "lse", {0, 1, 2}, "lse", "q");
    add(backward, "lse", {0, 1, 2}, "lse", "q");
    add(partial, "part.max", {0, 1, 2}, "part.max", "q");
    add(partial, "part.sum", {0, 1, 2}, "part.sum", "q");
    add(backward, "dout", {0, 1, 2}, "dout", "q");
    add(backward, "dout", {3}, "dout", "v");
    add(backward, "dq", {0, 1, 2, 3}, "dq", "q");
    add(backward, "dk", {0, 1, 2, 3}, "dk", "k");
    add(backward, "dv", {0, 1, 2, 3}, "dv", "v");
    add(merge, "a.out", {0, 1, 2}, "a.max", "a.out");
    add(merge, "a.out", {3}, "b.out", "a.out");
    for (const char* t : {"a.max", "a.sum", "b.max", "b.sum", "part.max", "part.sum"}) {
        add(merge, t, {0, 1, 2}, t, "a.out");
    }
    for (const char* t : {"b.out", "part.out"}) add(merge, t, {0, 1, 2, 3}, t, "a.out");
    add(finish, "part.out", {0, 1, 2}, "part.max", "part.out");
    add(finish, "part.out", {3}, "out", "part.out");
    for (const char* t : {"part.max", "part.sum", "lse"}) add(finish, t, {0, 1, 2}, t, "part.out");
    add(finish, "out", {0, 1, 2, 3}, "out", "part.out");
    return all;
}

} // namespace pantile::test
