/// \file
/// What a call is refused with.
#pragma once

#include <exception>
#include <string>

namespace pantile::inline v0::simulator {

/// The text of what `call` throws, or "accepted".
template <class F>
std::string refusal(F&& call) {
    try {
        call();
    } catch (const std::exception& e) {
        return e.what();
    }
    return "accepted";
}

} // namespace pantile::inline v0::simulator
