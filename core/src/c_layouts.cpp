// Tensors and masks of the C interface, made from a few numbers. Whether they make sense is for the calls to say.
#include <algorithm>

#include <pantile/c_types.h>

namespace {

pantile_tensor host_tensor(const void* data, int32_t dtype, int32_t rank) {
    pantile_tensor t = {};
    t.data = const_cast<void*>(data); // NOLINT(cppcoreguidelines-pro-type-const-cast): inputs are only read
    t.dtype = dtype;
    t.memory = PANTILE_HOST;
    t.rank = rank;
    return t;
}

/// Products of the caller's numbers before any check: they wrap instead of overflowing. Calls refuse such extents.
int64_t product(int64_t a, int64_t b) {
    return static_cast<int64_t>(static_cast<uint64_t>(a) * static_cast<uint64_t>(b));
}

pantile_tensor made(pantile_tensor t, const int64_t (&extent)[4], const int64_t (&stride)[4]) {
    std::copy_n(extent, 4, t.extent);
    std::copy_n(stride, 4, t.stride);
    return t;
}

} // namespace

pantile_tensor pantile_bshd(const void* data, int32_t dtype, int64_t batch, int64_t length, int64_t heads,
                            int64_t dim) {
    const int64_t row = product(heads, dim);
    return made(host_tensor(data, dtype, 4), {batch, heads, length, dim}, {product(length, row), dim, row, 1});
}

pantile_tensor pantile_bhsd(const void* data, int32_t dtype, int64_t batch, int64_t heads, int64_t length,
                            int64_t dim) {
    const int64_t head = product(length, dim);
    return made(host_tensor(data, dtype, 4), {batch, heads, length, dim}, {product(heads, head), head, dim, 1});
}

pantile_tensor pantile_bhs(const void* data, int32_t dtype, int64_t batch, int64_t heads, int64_t length) {
    return made(host_tensor(data, dtype, 3), {batch, heads, length, 0}, {product(heads, length), length, 1, 0});
}

pantile_tensor pantile_strided(const void* data, int32_t dtype, const int64_t extent[4], const int64_t stride[4]) {
    if (extent == nullptr || stride == nullptr) return {};
    pantile_tensor t = host_tensor(data, dtype, 4);
    std::copy_n(extent, 4, t.extent);
    std::copy_n(stride, 4, t.stride);
    return t;
}

pantile_tensor pantile_on_device(pantile_tensor t) {
    t.memory = PANTILE_DEVICE;
    return t;
}

pantile_mask pantile_causal(int32_t align) { return {PANTILE_UNBOUNDED, 0, align, 0}; }

pantile_mask pantile_window(int64_t left, int64_t right, int32_t align) { return {left, right, align, 0}; }

pantile_mask pantile_at_offset(pantile_mask mask, int64_t offset) {
    if (mask.align == PANTILE_NO_MASK) return {PANTILE_UNBOUNDED, PANTILE_UNBOUNDED, PANTILE_EXPLICIT_OFFSET, offset};
    return {mask.left, mask.right, PANTILE_EXPLICIT_OFFSET, offset};
}
