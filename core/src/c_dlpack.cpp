// pantile_from_dlpack: a tensor of another library's, by the layout in memory that DLPack promises (its version 0.6 and later).
#include <cstddef>
#include <cstring>
#include <string>

#include <pantile/c_translation.hpp>

namespace pantile::inline v0::c_interface {
namespace {

// Written from the format's description; tests hold it against the true header.
struct dl_tensor {
    void* data;
    std::int32_t device_type;
    std::int32_t device_id;
    std::int32_t ndim;
    std::uint8_t type_code;
    std::uint8_t type_bits;
    std::uint16_t type_lanes;
    std::int64_t* shape;
    std::int64_t* strides;
    std::uint64_t byte_offset;
};
static_assert(sizeof(void*) != 8 || (offsetof(dl_tensor, device_type) == 8 && offsetof(dl_tensor, ndim) == 16 &&
                                     offsetof(dl_tensor, type_code) == 20 && offsetof(dl_tensor, shape) == 24 &&
                                     offsetof(dl_tensor, byte_offset) == 40 && sizeof(dl_tensor) == 48));

enum device_code : std::int32_t { cpu = 1, cuda = 2, cuda_pinned = 3, cuda_managed = 13 };
enum type_code : std::uint8_t { ieee_float = 2, brain_float = 4 };

std::int32_t memory_of(const dl_tensor& t) {
    switch (t.device_type) {
    case cpu:
    case cuda_pinned:
        return PANTILE_HOST;
    case cuda:
    case cuda_managed:
        return PANTILE_DEVICE;
    default:
        refuse("dl_tensor.device.device_type is " + std::to_string(t.device_type) +
               ": it must be kDLCPU (1), kDLCUDA (2), kDLCUDAHost (3) or kDLCUDAManaged (13)");
    }
}

std::int32_t dtype_of(const dl_tensor& t) {
    if (t.type_lanes == 1 && t.type_code == ieee_float) {
        if (t.type_bits == 16) return PANTILE_FP16;
        if (t.type_bits == 32) return PANTILE_FP32;
        if (t.type_bits == 64) return PANTILE_FP64;
    }
    if (t.type_lanes == 1 && t.type_code == brain_float && t.type_bits == 16) return PANTILE_BF16;
    refuse("dl_tensor.dtype is {code " + std::to_string(t.type_code) + ", bits " + std::to_string(t.type_bits) +
           ", lanes " + std::to_string(t.type_lanes) +
           "}: it must be a float (code 2) of 16, 32 or 64 bits or a bfloat (code 4) of 16, of 1 lane");
}

/// The place of an axis in a pantile_tensor; 4: none has this letter.
int axis_of(char letter) {
    const char letters[] = {'b', 'h', 's', 'd'};
    int axis = 0;
    while (axis < 4 && letters[axis] != letter) ++axis;
    return axis;
}

/// The stride of an axis of a dense tensor: the elements that the axes within it hold.
std::int64_t dense_stride(const dl_tensor& t, int axis) {
    std::int64_t stride = 1;
    for (int i = axis + 1; i < t.ndim; ++i) {
        if (__builtin_mul_overflow(stride, t.shape[i], &stride)) refuse("dl_tensor.shape has more than 2^63 elements");
    }
    return stride;
}

pantile_tensor view_of(const dl_tensor& t, const std::string& layout) {
    pantile_tensor made = {};
    made.memory = memory_of(t);
    made.dtype = dtype_of(t);
    const bool fits = t.ndim >= 1 && t.ndim <= 4 && layout.size() == static_cast<std::size_t>(t.ndim);
    if (!fits) {
        refuse("layout is \"" + layout + "\", dl_tensor.ndim is " + std::to_string(t.ndim) +
               ": there must be one letter an axis, of which a tensor has 1 to 4");
    }
    if (t.shape == nullptr) refuse("dl_tensor.shape is NULL");
    made.rank = layout.find('d') != std::string::npos ? 4 : 3;
    bool named[4] = {false, false, false, false};
    for (int axis = 0; axis < made.rank; ++axis) made.extent[axis] = 1;
    for (int i = 0; i < t.ndim; ++i) {
        const int axis = axis_of(layout[static_cast<std::size_t>(i)]);
        if (axis == 4 || named[axis]) {
            refuse("layout is \"" + layout +
                   "\": it must name each axis by b (batch), s (length), h (heads) or d (dim), each once");
        }
        named[axis] = true;
        made.extent[axis] = t.shape[i];
        made.stride[axis] = t.strides != nullptr ? t.strides[i] : dense_stride(t, i);
    }
    if (t.data != nullptr) made.data = static_cast<std::byte*>(t.data) + t.byte_offset;
    return made;
}

} // namespace
} // namespace pantile::inline v0::c_interface

pantile_status pantile_from_dlpack(const void* dl_tensor, const char* layout, pantile_tensor* tensor) {
    using namespace pantile::c_interface;
    return guarded([&] {
        if (dl_tensor == nullptr) refuse("dl_tensor is NULL");
        if (layout == nullptr) refuse("layout is NULL");
        if (tensor == nullptr) refuse("tensor is NULL");
        pantile::c_interface::dl_tensor from;
        std::memcpy(&from, dl_tensor, sizeof from);
        // No longer than what is told of it: it may be anything.
        *tensor = view_of(from, std::string(layout, strnlen(layout, 16)));
    });
}
