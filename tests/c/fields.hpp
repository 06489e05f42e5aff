/// \file
/// How many fields an aggregate has.
#pragma once

#include <cstddef>
#include <string>
#include <type_traits>
#include <utility>

namespace pantile::test {

/// Becomes whatever a field wants.
struct anything {
    template <class T>
    operator T() const; // NOLINT(google-explicit-constructor)
};

template <class S, class Any, std::size_t... i>
constexpr bool takes(std::index_sequence<i...> /*fields*/) {
    return requires { S{(static_cast<void>(i), Any{})...}; };
}

/// The most values that the aggregate can be initialised from: its fields, where none is an array.
template <class S, class Any = anything, std::size_t most = 40>
constexpr std::size_t fields() {
    if constexpr (takes<S, Any>(std::make_index_sequence<most>{})) {
        return most;
    } else {
        return fields<S, Any, most - 1>();
    }
}

} // namespace pantile::test
