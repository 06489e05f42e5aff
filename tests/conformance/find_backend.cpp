#include "backend.hpp"

namespace pantile::conformance {

#ifdef PANTILE_CONFORMANCE_CUDA
results run_on_cuda(const attention_case& c, const attention_inputs& in, dtype t, layout l, bool backward);
#endif

run_function find_backend(const std::string& name) {
#ifdef PANTILE_CONFORMANCE_CPU
    if (name == "cpu") return run_on_cpu;
#endif
#ifdef PANTILE_CONFORMANCE_CUDA
    if (name == "cuda") return run_on_cuda;
#endif
    (void)name;
    return nullptr;
}

} // namespace pantile::conformance
