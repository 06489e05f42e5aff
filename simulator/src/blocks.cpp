#include <pantile/simulator/blocks.hpp>

#include <algorithm>
#include <bit>
#include <charconv>
#include <cmath>
#include <fstream>
#include <random>
#include <string>
#include <vector>

#include <pantile/error.hpp>

namespace pantile::inline v0::simulator {

namespace {

constexpr index_t most_blocks = index_t{1} << 28;

[[noreturn]] void reject(std::string_view text) {
    throw invalid_argument(
        "blocks is '" + std::string(text) +
        "': it must be ROWSxKEYS:PATTERN with PATTERN local:N, butterfly, strided:N, random:PERCENT, "
        "random:PERCENT:SEED or file:PATH, as in 64x64:random:25");
}

index_t number(std::string_view part, std::string_view whole) {
    index_t value = 0;
    const auto [end, error] = std::from_chars(part.data(), part.data() + part.size(), value);
    if (error != std::errc{} || end != part.data() + part.size() || value < 0) reject(whole);
    return value;
}

std::vector<std::string_view> split(std::string_view text, char at) {
    std::vector<std::string_view> parts;
    for (std::size_t begin = 0; begin <= text.size();) {
        const std::size_t end = std::min(text.find(at, begin), text.size());
        parts.push_back(text.substr(begin, end - begin));
        begin = end + 1;
    }
    return parts;
}

/// Exactly the nearest whole number of blocks, any set of them equally likely (the first of a random permutation).
void draw(std::vector<unsigned char>& blocks, index_t percent, index_t seed) {
    const auto wanted =
        static_cast<std::size_t>(std::llround(static_cast<double>(blocks.size()) * static_cast<double>(percent) / 100));
    std::fill_n(blocks.begin(), wanted, static_cast<unsigned char>(1));
    std::mt19937_64 random(static_cast<std::uint64_t>(seed));
    for (std::size_t i = blocks.size(); i > 1; --i) std::swap(blocks[i - 1], blocks[random() % i]);
}

void read(std::vector<unsigned char>& blocks, index_t across, const std::string& path) {
    std::ifstream in(path);
    if (!in) throw invalid_argument("blocks: cannot read '" + path + "'");
    std::size_t at = 0;
    index_t line_number = 0;
    for (std::string line; std::getline(in, line);) {
        ++line_number;
        const std::size_t begin = at;
        for (const char c : line) {
            if (c == ' ' || c == '\t' || c == '\r') continue;
            if ((c != '0' && c != '1') || at == blocks.size()) {
                throw invalid_argument(
                    "blocks: " + path + " line " + std::to_string(line_number) +
                    (at == blocks.size()
                         ? ": more blocks than the " + std::to_string(blocks.size()) + " that cover the scores"
                         : ": only 0 and 1 are blocks"));
            }
            blocks[at++] = c == '1' ? 1 : 0;
        }
        const auto read_here = static_cast<index_t>(at - begin);
        if (read_here != 0 && read_here != across) {
            throw invalid_argument("blocks: " + path + " line " + std::to_string(line_number) + " has " +
                                   std::to_string(read_here) + " blocks: " + std::to_string(across) +
                                   " cover the keys");
        }
    }
    if (at != blocks.size()) {
        throw invalid_argument("blocks: " + path + " has " + std::to_string(at) +
                               " blocks: " + std::to_string(blocks.size()) + " cover the scores");
    }
}

} // namespace

void set_blocks(workload& w, std::string_view text) {
    const std::size_t colon = text.find(':');
    if (colon == std::string_view::npos) reject(text);
    const auto sides = split(text.substr(0, colon), 'x');
    if (sides.size() != 2) reject(text);
    w.block_rows = number(sides[0], text);
    w.block_cols = number(sides[1], text);
    if (w.block_rows == 0 || w.block_cols == 0) reject(text);
    const index_t down = core::ceil_div(w.q_len, w.block_rows);
    const index_t across = core::ceil_div(w.k_len, w.block_cols);
    if (checked_mul(down, across) > most_blocks) {
        throw invalid_argument("blocks is '" + std::string(text) + "': " + std::to_string(down) + " x " +
                               std::to_string(across) + " blocks are more than 2^28; larger blocks are fewer");
    }
    w.blocks.assign(static_cast<std::size_t>(down * across), 0);

    const std::string_view pattern = text.substr(colon + 1);
    const auto words = split(pattern, ':');
    const auto show = [&](auto&& visible) {
        for (index_t r = 0; r < down; ++r) {
            for (index_t c = 0; c < across; ++c) {
                w.blocks[static_cast<std::size_t>(r * across + c)] = visible(r, c) ? 1 : 0;
            }
        }
    };
    if (words[0] == "local" && words.size() == 2) {
        const index_t reach = number(words[1], text);
        show([&](index_t r, index_t c) { return std::abs(r - c) <= reach; });
    } else if (words[0] == "butterfly" && words.size() == 1) {
        show([](index_t r, index_t c) { return std::popcount(static_cast<std::uint64_t>(r ^ c)) <= 1; });
    } else if (words[0] == "strided" && words.size() == 2) {
        const index_t step = number(words[1], text);
        if (step == 0) reject(text);
        show([&](index_t r, index_t c) { return r == c || c % step == step - 1; });
    } else if (words[0] == "random" && (words.size() == 2 || words.size() == 3)) {
        const index_t percent = number(words[1], text);
        if (percent > 100) reject(text);
        draw(w.blocks, percent, words.size() == 3 ? number(words[2], text) : 1);
    } else if (words[0] == "file" && words.size() > 1) {
        read(w.blocks, across, std::string(pattern.substr(5)));
    } else {
        reject(text);
    }
}

double visible_share(const workload& w) {
    if (w.blocks.empty()) return 1;
    const auto shown = std::count_if(w.blocks.begin(), w.blocks.end(), [](unsigned char b) { return b != 0; });
    return static_cast<double>(shown) / static_cast<double>(w.blocks.size());
}

} // namespace pantile::inline v0::simulator
