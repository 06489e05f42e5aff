/// \file
/// What fuzzers share. Each is one function from any bytes to nothing: libFuzzer calls it under the preset `fuzz`
/// (entry.cpp), and replay_test.cpp calls it with the kept inputs in every build.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <utility>

namespace pantile::fuzz {

/// What a fuzzer found. No std::exception, so that no handler on the way takes it for one of the errors that are allowed:
/// libFuzzer sees a crash, a test the text.
struct finding {
    std::string text;
};

/// Ends the run with a finding, printed first, because libFuzzer shows no exception's text. `text` may be a function: most
/// things hold, and their texts cost time.
template <class Text>
void require(bool holds, Text&& text) {
    if (holds) return;
    if constexpr (requires { std::string(text()); }) {
        throw finding{text()};
    } else {
        throw finding{std::forward<Text>(text)};
    }
}

/// Numbers from the input, one byte after the other; zeros where it has ended, so that every input is a whole case.
class bytes {
  public:
    explicit bytes(std::span<const std::uint8_t> data) : data_(data) {}
    [[nodiscard]] bool ended() const { return data_.empty(); }
    std::uint8_t byte() {
        if (data_.empty()) return 0;
        const std::uint8_t first = data_.front();
        data_ = data_.subspan(1);
        return first;
    }
    /// One of 0 … n-1.
    int below(int n) { return byte() % n; }
    bool flag() { return (byte() & 1) != 0; }

  private:
    std::span<const std::uint8_t> data_;
};

// The fuzzers. They throw a finding, or die.
void npy_file(std::span<const std::uint8_t> input);     ///< a file for the .npy reader
void machine_file(std::span<const std::uint8_t> input); ///< a machine of the simulator, as JSON
void case_file(std::span<const std::uint8_t> input);    ///< a case.json, beside arrays that are always the same
void public_page(std::span<const std::uint8_t> input);  ///< a call of the public page, spoilt or not

} // namespace pantile::fuzz
