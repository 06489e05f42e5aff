#pragma once

#include "device.hpp"

#include <support/data.hpp>
#include <support/library_mask.hpp>

#include <pantile/cuda.hpp>

#include <algorithm>
#include <optional>
#include <span>
#include <vector>

namespace pantile::test {

/// How a case is put to the GPU.
struct gpu_call {
    layout inputs = layout::bhsd;
    layout outputs = layout::bhsd;
    cuda_kernel kernel = cuda_kernel::automatic;
    index_t key_splits = 0;
    bool want_lse = true;
    index_t shift = 0; ///< elements by which the tensors miss a 256-byte boundary
};

/// A case's slopes and sinks in device memory, of the type computed in.
template <class Row>
class uploaded_features {
  public:
    explicit uploaded_features(const attention_case& c)
        : slopes_(std::vector<Row>(c.slopes.begin(), c.slopes.end())),
          sinks_(std::vector<Row>(c.sinks.begin(), c.sinks.end())), slopes_count_(c.slopes.size()),
          sinks_count_(c.sinks.size()) {}
    /// `carries_sinks`: of the parts of a row exactly one does.
    void join(device_options& o, bool carries_sinks = true) const {
        if (slopes_count_ > 0) o.slopes = on_device(std::span<const Row>(slopes_.data(), slopes_count_));
        if (sinks_count_ > 0 && carries_sinks) o.sinks = on_device(std::span<const Row>(sinks_.data(), sinks_count_));
    }

  private:
    on_gpu<Row> slopes_, sinks_;
    std::size_t slopes_count_, sinks_count_;
};

inline device_options options_of(const attention_case& c, const gpu_call& call) {
    device_options o;
    o.mask = mask_of(c);
    o.scale = c.scale;
    o.softcap = c.softcap;
    o.kernel = call.kernel;
    o.key_splits = call.key_splits;
    return o;
}

/// A stored tensor's copy on the device, gaps and all. Element (0, 0, 0, 0) lies `shift` elements past a 256-byte
/// boundary.
template <class T>
class uploaded {
  public:
    uploaded(stored<T>& from, index_t shift)
        : from_(from), origin_(from.view().data - from.memory().data()), lead_(lead_of(origin_, shift)),
          memory_(padded(from.memory(), lead_)) {}
    [[nodiscard]] device_view<T> view() const {
        const tensor_view<T> v = from_.view();
        return {memory_.data() + lead_ + origin_, v.extent, v.stride};
    }
    [[nodiscard]] device_row_view<T> rows() const {
        const row_view<T> v = from_.rows();
        return {memory_.data() + lead_ + origin_, v.extent, v.stride};
    }
    /// Brings the device's memory back into the stored tensor.
    void download() const {
        const std::vector<T> all = memory_.values();
        std::copy(all.begin() + lead_, all.end(), from_.view().data - origin_);
    }

  private:
    static index_t lead_of(index_t origin, index_t shift) {
        constexpr index_t boundary = 256 / static_cast<index_t>(sizeof(T));
        return ((shift - origin) % boundary + boundary) % boundary;
    }
    static std::vector<T> padded(const std::vector<T>& memory, index_t lead) {
        std::vector<T> all(static_cast<std::size_t>(lead));
        all.insert(all.end(), memory.begin(), memory.end());
        return all;
    }
    stored<T>& from_;
    index_t origin_;
    index_t lead_;
    on_gpu<T> memory_;
};

struct gpu_result {
    tensor<double> out, lse;
    bool gaps_untouched = true;
};

/// One forward call on the default stream. Outputs are poisoned before it.
template <class T, class Out>
gpu_result forward_on_gpu(const attention_case& c, const attention_inputs& in, const gpu_call& call) {
    stored<T> q(in.q, call.inputs);
    stored<T> k(in.k, call.inputs);
    stored<T> v(in.v, call.inputs);
    stored<Out> out(c.out_extent(), call.outputs);
    using row = std::conditional_t<std::is_same_v<T, double>, double, float>;
    stored<row> lse(c.lse_extent(), layout::padded);
    const uploaded<T> gq(q, call.shift);
    const uploaded<T> gk(k, call.shift);
    const uploaded<T> gv(v, call.shift);
    const uploaded<Out> gout(out, call.shift);
    const uploaded<row> glse(lse, 0);
    const on_gpu<index_t> lengths(c.key_lengths);
    const uploaded_features<row> features(c);
    device_options o = options_of(c, call);
    features.join(o);
    if (!c.key_lengths.empty()) o.key_lengths = lengths.data();
    const cudaStream_t stream = nullptr;
    if (call.want_lse) {
        attention(device_view<const T>(gq.view()), gk.view(), gv.view(), gout.view(), glse.rows(), stream, o);
    } else {
        attention(device_view<const T>(gq.view()), gk.view(), gv.view(), gout.view(), stream, o);
    }
    EXPECT_EQ(cudaSuccess, cudaStreamSynchronize(stream)) << cudaGetErrorString(cudaGetLastError());
    gout.download();
    glse.download();
    return {out.values(), lse.values(), out.gaps_are_untouched() && lse.gaps_are_untouched()};
}

/// The same over the two halves of the keys, as partial results: merged (in place), finished (in place).
template <class T>
gpu_result merged_on_gpu(const attention_case& c, const attention_inputs& in, const gpu_call& call, index_t cut) {
    using row = std::conditional_t<std::is_same_v<T, double>, double, float>;
    stored<T> q(in.q, call.inputs);
    stored<T> k(in.k, call.inputs);
    stored<T> v(in.v, call.inputs);
    stored<row> out[2] = {{c.out_extent(), call.outputs}, {c.out_extent(), call.outputs}};
    stored<row> max[2] = {{c.lse_extent(), layout::padded}, {c.lse_extent(), layout::bhsd}};
    stored<row> sum[2] = {{c.lse_extent(), layout::bhsd}, {c.lse_extent(), layout::padded}};
    stored<row> lse(c.lse_extent(), layout::padded);
    const uploaded<T> gq(q, call.shift);
    const uploaded<T> gk(k, call.shift);
    const uploaded<T> gv(v, call.shift);
    const uploaded<row> glse(lse, 0);
    const uploaded<row> gout[2] = {{out[0], call.shift}, {out[1], call.shift}};
    const uploaded<row> gmax[2] = {{max[0], 0}, {max[1], 0}};
    const uploaded<row> gsum[2] = {{sum[0], 0}, {sum[1], 0}};
    const uploaded_features<row> features(c);
    cudaStream_t stream{};
    EXPECT_EQ(cudaSuccess, cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking));
    const auto part = [&](int n) { return device_partial_view<row>{gout[n].view(), gmax[n].rows(), gsum[n].rows()}; };
    const index_t whole_offset = c.align == anchor::bottom_right ? c.k_len - c.q_len
                                 : c.align == anchor::top_left   ? 0
                                                                 : c.offset;
    const index_t begin[2] = {0, cut};
    const index_t end[2] = {cut, c.k_len};
    for (int n = 0; n < 2; ++n) {
        device_options o = options_of(c, call);
        features.join(o, n == 1);
        o.mask = o.mask.at_offset(whole_offset - begin[n]);
        auto keys = gk.view();
        auto values = gv.view();
        keys.data += begin[n] * keys.stride[2];
        values.data += begin[n] * values.stride[2];
        keys.extent[2] = values.extent[2] = end[n] - begin[n];
        attention_partial(device_view<const T>(gq.view()), keys, values, part(n), stream, o);
    }
    merge(device_partial_view<const row>(part(0)), part(1), part(0), stream);
    finish(device_partial_view<const row>(part(0)), gout[0].view(), glse.rows(), stream);
    EXPECT_EQ(cudaSuccess, cudaStreamSynchronize(stream)) << cudaGetErrorString(cudaGetLastError());
    EXPECT_EQ(cudaSuccess, cudaStreamDestroy(stream));
    gout[0].download();
    glse.download();
    return {out[0].values(), lse.values(), out[0].gaps_are_untouched() && lse.gaps_are_untouched()};
}

} // namespace pantile::test
