/// \file
/// Attention on Eigen matrices (opt-in: the one public header with a third-party include). Rows are tokens, columns are
/// dims; row-major and column-major matrices, blocks and maps are read in place, without a copy.
#pragma once

#include <stdexcept>
#include <type_traits>

#include <Eigen/Core>

#include <pantile/attention.hpp>

namespace pantile::inline v0::eigen {

namespace detail {

/// A (rows, cols) expression with direct access as one head of one batch.
template <class Derived>
[[nodiscard]] auto view(const Derived& m) {
    static_assert((Eigen::internal::traits<Derived>::Flags & Eigen::DirectAccessBit) != 0,
                  "pantile reads matrices in place: evaluate the expression first, e.g. with .eval()");
    using scalar = const typename Derived::Scalar;
    const index_t row_step = Derived::IsRowMajor ? m.outerStride() : m.innerStride();
    const index_t col_step = Derived::IsRowMajor ? m.innerStride() : m.outerStride();
    return strided<scalar>(m.data(), {1, 1, m.rows(), m.cols()}, {0, 0, row_step, col_step});
}

template <class Derived>
[[nodiscard]] auto mutable_view(Derived& m) {
    using scalar = typename Derived::Scalar;
    const auto v = view(m);
    return strided<scalar>(m.data(), v.extent, v.stride);
}

} // namespace detail

/// out = softmax(scale · Q·Kᵀ + mask)·V for one head. Q (Sq, D), K (Sk, D), V (Sk, E); returns (Sq, E) in Q's storage
/// order. Scalar: float or double. Throws as pantile::attention does.
template <class Q, class K, class V>
[[nodiscard]] auto attention(const Eigen::MatrixBase<Q>& q, const Eigen::MatrixBase<K>& k,
                             const Eigen::MatrixBase<V>& v, const options& o = {}) {
    using scalar = typename Q::Scalar;
    static_assert(std::is_same_v<scalar, typename K::Scalar> && std::is_same_v<scalar, typename V::Scalar>,
                  "Q, K and V must have the same scalar type");
    constexpr int order = Q::IsRowMajor ? Eigen::RowMajor : Eigen::ColMajor;
    Eigen::Matrix<scalar, Eigen::Dynamic, Eigen::Dynamic, order> out(q.rows(), v.cols());
    pantile::attention(detail::view(q.derived()), detail::view(k.derived()), detail::view(v.derived()),
                       detail::mutable_view(out), o);
    return out;
}

/// The same, also giving the log-sum-exp of each row: lse is resized to Sq.
template <class Q, class K, class V>
[[nodiscard]] auto attention(const Eigen::MatrixBase<Q>& q, const Eigen::MatrixBase<K>& k,
                             const Eigen::MatrixBase<V>& v, Eigen::Matrix<typename Q::Scalar, Eigen::Dynamic, 1>& lse,
                             const options& o = {}) {
    using scalar = typename Q::Scalar;
    constexpr int order = Q::IsRowMajor ? Eigen::RowMajor : Eigen::ColMajor;
    Eigen::Matrix<scalar, Eigen::Dynamic, Eigen::Dynamic, order> out(q.rows(), v.cols());
    lse.resize(q.rows());
    pantile::attention(detail::view(q.derived()), detail::view(k.derived()), detail::view(v.derived()),
                       detail::mutable_view(out), bhs(lse.data(), 1, 1, q.rows()), o);
    return out;
}

/// Gradients of one head.
template <class Matrix>
struct gradients {
    Matrix dq; ///< (Sq, D)
    Matrix dk; ///< (Sk, D)
    Matrix dv; ///< (Sk, E)
};

/// Backward pass of one head: out (Sq, E) and lse (Sq) from the forward call, dout (Sq, E) the loss's gradient.
template <class Q, class K, class V, class O, class G>
[[nodiscard]] auto attention_backward(const Eigen::MatrixBase<Q>& q, const Eigen::MatrixBase<K>& k,
                                      const Eigen::MatrixBase<V>& v, const Eigen::MatrixBase<O>& out,
                                      const Eigen::Matrix<typename Q::Scalar, Eigen::Dynamic, 1>& lse,
                                      const Eigen::MatrixBase<G>& dout, const options& o = {}) {
    using scalar = typename Q::Scalar;
    constexpr int order = Q::IsRowMajor ? Eigen::RowMajor : Eigen::ColMajor;
    using matrix = Eigen::Matrix<scalar, Eigen::Dynamic, Eigen::Dynamic, order>;
    gradients<matrix> g{matrix(q.rows(), q.cols()), matrix(k.rows(), k.cols()), matrix(v.rows(), v.cols())};
    pantile::attention_backward(detail::view(q.derived()), detail::view(k.derived()), detail::view(v.derived()),
                                detail::view(out.derived()), bhs(lse.data(), 1, 1, lse.size()),
                                detail::view(dout.derived()), detail::mutable_view(g.dq), detail::mutable_view(g.dk),
                                detail::mutable_view(g.dv), o);
    return g;
}

} // namespace pantile::inline v0::eigen
