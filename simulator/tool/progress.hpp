/// \file
/// A progress line on a terminal; nothing when standard error is a file or a pipe.
#pragma once

#include <chrono>
#include <cstdio>

#include <unistd.h>

#include <pantile/core/macros.hpp>

namespace pantile::inline v0::simulator::tool {

class progress_line {
  public:
    progress_line() : shown_(isatty(2) != 0) {}
    progress_line(const progress_line&) = delete;
    progress_line& operator=(const progress_line&) = delete;
    ~progress_line() {
        if (shown_) std::fputs("\r\033[K", stderr);
    }
    void operator()(index_t done, index_t of) {
        const auto now = std::chrono::steady_clock::now();
        if (!shown_ || of <= 0 || now - last_ < std::chrono::milliseconds(100)) return;
        last_ = now;
        const int filled = static_cast<int>(40 * done / of);
        std::fprintf(stderr, "\r[%-40.*s] %3d %%", filled, "########################################",
                     static_cast<int>(100 * done / of));
    }

  private:
    bool shown_;
    std::chrono::steady_clock::time_point last_{};
};

} // namespace pantile::inline v0::simulator::tool
