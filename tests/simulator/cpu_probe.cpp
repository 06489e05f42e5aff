// One call of the CPU machine on one head, for callgrind to watch:
//   valgrind --tool=callgrind --cache-sim=yes --D1=49152,12,64 --LL=1048576,16,64
//            --toggle-collect=watched_call pantile-cpu-probe LENGTH HEAD_DIM ROW_TILE KEY_TILE
// then pantile-sim compare --callgrind holds the counted misses against a simulated cache.

#include <cstdlib>
#include <iostream>
#include <memory>
#include <vector>

#include <pantile/attention.hpp>

/// Not inlined and not renamed, so that callgrind can be told to collect inside it only.
extern "C" __attribute__((noinline)) void watched_call(const float* q, const float* k, const float* v, float* out,
                                                       pantile::index_t n, pantile::index_t d,
                                                       const pantile::options& options) {
    pantile::attention(pantile::bhsd(q, 1, 1, n, d), pantile::bhsd(k, 1, 1, n, d), pantile::bhsd(v, 1, 1, n, d),
                       pantile::bhsd(out, 1, 1, n, d), options);
}

/// Floats that begin at a cache line, so that a tensor of whole lines touches no other.
class aligned_floats {
  public:
    aligned_floats(std::size_t size, float value) : memory_(size + 16, value) {
        void* at = memory_.data();
        std::size_t room = memory_.size() * sizeof(float);
        data_ = static_cast<float*>(std::align(64, size * sizeof(float), at, room));
    }
    [[nodiscard]] const float* data() const { return data_; }
    [[nodiscard]] float* data() { return data_; }

  private:
    std::vector<float> memory_;
    float* data_ = nullptr;
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
    const aligned_floats q(size, 0.5F);
    const aligned_floats k(size, 0.25F);
    const aligned_floats v(size, 1.0F);
    aligned_floats out(size, 0.0F);
    const auto plan = pantile::explain(pantile::bhsd(q.data(), 1, 1, n, d), pantile::bhsd(k.data(), 1, 1, n, d),
                                       pantile::bhsd(v.data(), 1, 1, n, d), options);
    // The caches shall hold nothing of the tensors when the call begins.
    std::vector<float> broom(std::size_t{1} << 24, 1.0F);
    watched_call(q.data(), k.data(), v.data(), out.data(), n, d, options);
    std::cout << plan << "\nout[0] = " << *out.data() << ", " << broom.back() << '\n';
    return 0;
}
