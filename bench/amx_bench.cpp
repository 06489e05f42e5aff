// One side of amx_peers.py: times bf16 forward calls. Reads a line a call from the standard input and answers with a line:
//     head_dim length heads causal(0|1) threads row_tile key_tile(0: chosen) isa(amx|avx512|automatic) repetitions
//     -> the isa and the tiles used, and the median of the seconds
#include <algorithm>
#include <chrono>
#include <cmath>
#include <iostream>
#include <random>
#include <string>
#include <vector>

#include <pantile/attention.hpp>

namespace {

using pantile::bfloat16;
using pantile::index_t;

/// Drawn from a table of normal numbers: much faster than drawing each.
std::vector<bfloat16> normal_numbers(index_t count, unsigned seed) {
    constexpr std::size_t drawn = 1 << 16;
    std::mt19937 random(seed);
    std::normal_distribution<float> normal;
    std::vector<bfloat16> table(drawn);
    for (bfloat16& value : table) value = bfloat16(normal(random));
    std::vector<bfloat16> x(static_cast<std::size_t>(count));
    for (bfloat16& value : x) value = table[random() % drawn];
    return x;
}

} // namespace

int main() {
    index_t dim = 0, length = 0, heads = 0, causal = 0, threads = 0, rows = 0, keys = 0, repetitions = 0;
    std::string isa;
    index_t last = -1;
    std::vector<bfloat16> q, k, v, out;
    while (std::cin >> dim >> length >> heads >> causal >> threads >> rows >> keys >> isa >> repetitions) {
        const index_t count = heads * length * dim;
        if (count != last) {
            q = normal_numbers(count, 1);
            k = normal_numbers(count, 2);
            v = normal_numbers(count, 3);
            out.assign(static_cast<std::size_t>(count), bfloat16(0.0F));
            last = count;
        }
        const auto view = [&](std::vector<bfloat16>& x) { return pantile::bhsd(x.data(), 1, heads, length, dim); };
        pantile::options o;
        if (causal != 0) o.mask = pantile::causal();
        o.threads = static_cast<int>(threads);
        o.plan = pantile::tile_plan{rows, keys, 0};
        if (isa == "amx") o.isa = pantile::isa::amx;
        if (isa == "avx512") o.isa = pantile::isa::avx512;
        try {
            const pantile::explanation e = pantile::explain(view(q), view(k), view(v), o);
            std::vector<double> seconds;
            for (index_t i = 0; i <= repetitions; ++i) { // the first call warms up
                const auto start = std::chrono::steady_clock::now();
                pantile::attention(view(q), view(k), view(v), view(out), o);
                const std::chrono::duration<double> taken = std::chrono::steady_clock::now() - start;
                if (i > 0) seconds.push_back(taken.count());
            }
            std::nth_element(seconds.begin(), seconds.begin() + repetitions / 2, seconds.end());
            std::cout << e.isa << ' ' << e.tiles.row_tile << ' ' << e.tiles.key_tile << ' '
                      << seconds[static_cast<std::size_t>(repetitions / 2)] << std::endl;
        } catch (const pantile::invalid_argument& e) {
            std::cout << "refused: " << e.what() << std::endl;
        }
    }
}
