/// \file
/// A case's mask in the library's words. Apart, because the oracle knows nothing of the library's options.
#pragma once

#include <pantile/options.hpp>
#include <support/formula.hpp>

namespace pantile::test {

[[nodiscard]] inline mask mask_of(const attention_case& c) {
    const alignment align = c.align == anchor::bottom_right ? alignment::bottom_right
                            : c.align == anchor::top_left   ? alignment::top_left
                                                            : alignment::explicit_offset;
    return {c.left.value_or(unbounded), c.right.value_or(unbounded), align, c.offset};
}

} // namespace pantile::test
