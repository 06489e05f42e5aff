/// \file
/// What the page must refuse: an own reading of its documentation, in 128-bit integers and element by element, without the
/// library's checks.
#pragma once

#include <string>
#include <vector>

#include "page_call.hpp"

namespace pantile::fuzz {

/// Something wrong with a call: a refusal for it holds both texts.
struct fault {
    std::string subject; ///< the argument and its value
    std::string reason;  ///< the limit
};

struct judgement {
    std::vector<fault> inputs; ///< of q, k, v and the options: explain refuses them, too
    std::vector<fault> others; ///< of the other arguments, and of memory
    std::vector<fault> doubts; ///< memory that is right, but in a layout that may be refused; and instruction sets

    [[nodiscard]] bool must_be_refused() const { return !inputs.empty() || !others.empty(); }
};

/// Without the size of the workspace, which only the library knows.
[[nodiscard]] judgement judge(const page_call& c);

/// Ends the run unless a refusal fits: `text` is what was thrown, or empty if the call was accepted.
void hold_verdict(const char* function, const std::string& text, const std::vector<fault>& faults,
                  const std::vector<fault>& doubts);

} // namespace pantile::fuzz
