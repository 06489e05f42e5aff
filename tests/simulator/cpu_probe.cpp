// One call of the CPU machine on one head, for callgrind to watch:
//   valgrind --tool=callgrind --cache-sim=yes --D1=49152,12,64 --LL=1048576,16,64
//            --toggle-collect=watched_call pantile-cpu-probe LENGTH HEAD_DIM ROW_TILE KEY_TILE
// then pantile-sim compare --callgrind holds the counted misses against a simulated cache.

#include <algorithm>
#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <iostream>
#include <vector>

#include <pantile/attention.hpp>

/// Not inlined and not renamed, so that callgrind can be told to collect inside it only.
extern "C" __attribute__((noinline)) void watched_call(const float* q, const float* k, const float* v, float* out,
                                                       pantile::index_t n, pantile::index_t d,
                                                       const pantile::options& options) {
    pantile::attention(pantile::bhsd(q, 1, 1, n, d), pantile::bhsd(k, 1, 1, n, d), pantile::bhsd(v, 1, 1, n, d),
                       pantile::bhsd(out, 1, 1, n, d), options);
}

/// Memory that begins at a multiple of 2 MiB, so that the sets of a cache in which its lines fall do not change from run to
/// run; pieces of it begin at pages.
class pages {
  public:
    explicit pages(std::size_t bytes)
        : size_((bytes / large + 1) * large), data_(static_cast<std::byte*>(std::aligned_alloc(large, size_))) {
        std::memset(data_, 0, size_);
    }
    ~pages() { std::free(data_); }
    pages(const pages&) = delete;
    pages& operator=(const pages&) = delete;

    std::byte* take(std::size_t bytes) {
        std::byte* const piece = data_ + used_;
        used_ += (bytes + 4095) / 4096 * 4096;
        return piece;
    }
    float* floats(std::size_t count, float value) {
        auto* const piece = reinterpret_cast<float*>(take(count * sizeof(float)));
        std::fill_n(piece, count, value);
        return piece;
    }

  private:
    static constexpr std::size_t large = std::size_t{1} << 21;
    std::size_t size_;
    std::byte* data_;
    std::size_t used_ = 0;
};

int main(int argc, char** argv) {
    if (argc != 5) {
        std::cerr << "usage: pantile-cpu-probe LENGTH HEAD_DIM ROW_TILE KEY_TILE\n";
        return 2;
    }
    const pantile::index_t n = std::atoll(argv[1]);
    const pantile::index_t d = std::atoll(argv[2]);
    pantile::options options;
    options.threads = 1;
    options.plan = pantile::tile_plan{std::atoll(argv[3]), std::atoll(argv[4]), 1};
    const auto size = static_cast<std::size_t>(n * d);
    const auto explain = [&](const float* any) {
        const auto view = pantile::bhsd(any, 1, 1, n, d);
        return pantile::explain(view, view, view, options);
    };
    const float one = 0.0F;
    const auto workspace = static_cast<std::size_t>(explain(&one).workspace_bytes);
    pages memory(workspace + 4 * (size * sizeof(float) + 4096) + 4096);
    std::byte* const scratch = memory.take(workspace); // first of all: what run_panel_kernel expects
    options.workspace = {scratch, workspace};
    const float* const q = memory.floats(size, 0.5F);
    const float* const k = memory.floats(size, 0.25F);
    const float* const v = memory.floats(size, 1.0F);
    float* const out = memory.floats(size, 0.0F);
    // The caches shall hold nothing of the tensors when the call begins.
    std::vector<float> broom(std::size_t{1} << 24, 1.0F);
    watched_call(q, k, v, out, n, d, options);
    std::cout << explain(q) << "\nworkspace " << workspace << " bytes\nout[0] = " << *out << ", " << broom.back()
              << '\n';
    return 0;
}
