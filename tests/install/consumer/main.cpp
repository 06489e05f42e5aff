// One query, two keys that score the same: the answer is the mean of the two values.
#include <array>
#include <cfloat>
#include <cmath>
#include <cstdio>

#include <pantile/attention.hpp>

int main() {
    const std::array<float, 2> q = {1, 0};
    const std::array<float, 4> k = {3, 1, 3, -1};
    const std::array<float, 4> v = {2, 10, 4, 20};
    std::array<float, 2> out = {};
    std::array<float, 1> lse = {};

    pantile::attention(pantile::bshd(q.data(), 1, 1, 1, 2), pantile::bshd(k.data(), 1, 2, 1, 2),
                       pantile::bshd(v.data(), 1, 2, 1, 2), pantile::bshd(out.data(), 1, 1, 1, 2),
                       pantile::bhs(lse.data(), 1, 1, 1), {.scale = 0.5});

    std::printf("out = %g %g, lse = %g\n", double{out[0]}, double{out[1]}, double{lse[0]});
    const bool right = std::abs(out[0] - 3) < 1e-5F && std::abs(out[1] - 15) < 1e-5F &&
                       std::abs(lse[0] - (1.5F + std::log(2.0F))) < 1e-5F;
#ifndef __FAST_MATH__
    // A library that was linked with -ffast-math would switch off small numbers in the whole process when it is loaded.
    volatile float small = FLT_MIN;
    small = small / 2;
    if (small == 0.0F) {
        std::printf("linking pantile has changed this program's arithmetic\n");
        return 1;
    }
#endif
    return right ? 0 : 1;
}
