#include "kernel_names.hpp"

#include <string_view>

namespace pantile::inline v0::cuda {

const char* name_of(cuda_kernel k) {
    switch (k) {
    case cuda_kernel::automatic:
        return "automatic";
    case cuda_kernel::portable:
        return "portable";
    case cuda_kernel::decode:
        return "decode";
    case cuda_kernel::sm90:
        return "sm90";
    case cuda_kernel::ffma:
        return "ffma";
    }
    return "";
}

cuda_kernel kernel_named(const char* value) {
    if (value == nullptr || *value == '\0') return cuda_kernel::automatic;
    for (const auto k :
         {cuda_kernel::automatic, cuda_kernel::portable, cuda_kernel::decode, cuda_kernel::sm90, cuda_kernel::ffma}) {
        if (std::string_view(value) == name_of(k)) return k;
    }
    throw invalid_argument(std::string("pantile: PANTILE_CUDA_KERNEL is '") + value +
                           "': it must be automatic, portable, decode, sm90 or ffma");
}

} // namespace pantile::inline v0::cuda
