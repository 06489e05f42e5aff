// Attention on Eigen matrices: rows are tokens, columns are dims. Any storage order, blocks and maps are read in place.
#include <iostream>

#include <pantile/eigen.hpp>

int main() {
    const int tokens = 200;
    const int dim = 48;

    // One projection holds Q, K and V side by side, as in a transformer layer; pantile reads the blocks where they lie.
    const Eigen::MatrixXf x = Eigen::MatrixXf::Random(tokens, 64);
    const Eigen::MatrixXf qkv = x * Eigen::MatrixXf::Random(64, 3 * dim) / 8.0F;
    const auto q = qkv.leftCols(dim);
    const auto k = qkv.middleCols(dim, dim);
    const auto v = qkv.rightCols(dim);

    Eigen::VectorXf lse;
    const Eigen::MatrixXf out = pantile::eigen::attention(q, k, v, lse, {.mask = pantile::causal()});

    // A causal row sees itself and what stands before it: the first row sees one key and is that key's value.
    const float first = (out.row(0) - v.row(0)).cwiseAbs().maxCoeff();
    std::cout << "first row minus first value: " << first << '\n';

    // The same numbers row-major give the same bits.
    using row_major = Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
    const row_major again =
        pantile::eigen::attention(row_major(q), row_major(k), row_major(v), {.mask = pantile::causal()});
    const bool same = again == out;
    std::cout << "row-major gives the same bits: " << (same ? "yes" : "no") << '\n';

    // Gradients of f = Σ out²/2, whose derivative with respect to out is out itself; one entry of dV checked by hand:
    // moving V(0, 0) by h moves f by h·dV(0, 0).
    const auto g = pantile::eigen::attention_backward(q, k, v, out, lse, out, {.mask = pantile::causal()});
    const auto f = [&](float h) {
        Eigen::MatrixXf moved = v;
        moved(0, 0) += h;
        return pantile::eigen::attention(q, k, moved, {.mask = pantile::causal()}).cast<double>().squaredNorm() / 2;
    };
    const double slope = (f(0.01F) - f(-0.01F)) / 0.02;
    std::cout << "dV(0,0) = " << g.dv(0, 0) << ", measured " << slope << '\n';

    return first < 1e-6F && same && std::abs(slope - double{g.dv(0, 0)}) < 1e-3 * std::abs(slope) ? 0 : 1;
}
