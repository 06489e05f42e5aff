#include <pantile/simulator/counts.hpp>

#include <stdexcept>
#include <string>

#include <pantile/error.hpp>

namespace pantile::inline v0::simulator {

std::string_view name(tensor t) {
    // clang-format off
    static constexpr std::array<std::string_view, tensor_kinds> names{
        "q", "k", "v", "out", "lse", "row_max", "row_sum", "scores", "probabilities", "partial_out", "partial_max",
        "partial_sum", "partial_lse", "dout", "delta", "dq_sum", "dq", "dk", "dv", "dprobabilities", "dscores"};
    // clang-format on
    return names[static_cast<std::size_t>(t)];
}

std::string_view name(dtype type) {
    static constexpr std::array<std::string_view, 5> names{"fp64", "fp32", "fp16", "bf16", "fp8"};
    return names[static_cast<std::size_t>(type)];
}

dtype parse_dtype(std::string_view type_name) {
    for (const dtype t : {dtype::fp64, dtype::fp32, dtype::fp16, dtype::bf16, dtype::fp8}) {
        if (name(t) == type_name) return t;
    }
    throw invalid_argument("dtype is '" + std::string(type_name) + "': it must be fp64, fp32, fp16, bf16 or fp8");
}

index_t bytes_of(tensor t, dtype type) {
    switch (t) {
    case tensor::lse:
    case tensor::row_max:
    case tensor::row_sum:
    case tensor::partial_out:
    case tensor::partial_max:
    case tensor::partial_sum:
    case tensor::partial_lse:
    case tensor::delta:
    case tensor::dq_sum:
        return type == dtype::fp64 ? 8 : 4;
    default:
        return bytes_of(type);
    }
}

index_t checked_add(index_t a, index_t b) {
    index_t sum = 0;
    if (__builtin_add_overflow(a, b, &sum)) throw std::overflow_error("a count exceeds 2^63 - 1");
    return sum;
}

index_t checked_mul(index_t a, index_t b) {
    index_t product = 0;
    if (__builtin_mul_overflow(a, b, &product)) throw std::overflow_error("a count exceeds 2^63 - 1");
    return product;
}

core::transfers counts::elements() const {
    core::transfers sum;
    for (const core::transfers& t : moved) {
        sum.reads = checked_add(sum.reads, t.reads);
        sum.writes = checked_add(sum.writes, t.writes);
    }
    return sum;
}

core::transfers counts::bytes(dtype type) const {
    core::transfers sum;
    for (int i = 0; i < tensor_kinds; ++i) {
        const auto t = static_cast<tensor>(i);
        sum.reads = checked_add(sum.reads, checked_mul((*this)[t].reads, bytes_of(t, type)));
        sum.writes = checked_add(sum.writes, checked_mul((*this)[t].writes, bytes_of(t, type)));
    }
    return sum;
}

counts& counts::operator+=(const counts& other) {
    for (int i = 0; i < tensor_kinds; ++i) {
        const auto t = static_cast<tensor>(i);
        read(t, other[t].reads);
        write(t, other[t].writes);
    }
    return *this;
}

work& work::operator+=(const work& o) {
    matrix_flops = checked_add(matrix_flops, o.matrix_flops);
    exponentials = checked_add(exponentials, o.exponentials);
    vector_flops = checked_add(vector_flops, o.vector_flops);
    near_bytes = checked_add(near_bytes, o.near_bytes);
    return *this;
}

} // namespace pantile::inline v0::simulator
