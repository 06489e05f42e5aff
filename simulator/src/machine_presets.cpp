// Figures as their makers publish them; what is derived, measured or assumed says so. The documents:
//   A100 whitepaper    NVIDIA A100 Tensor Core GPU Architecture, V1.0, 2020
//   A100 datasheet     NVIDIA A100 Tensor Core GPU, datasheet of the 80 GB versions, 2021
//   H100 whitepaper    NVIDIA H100 Tensor Core GPU Architecture, V1.04, 2022
//   H100 datasheet     NVIDIA H100 Tensor Core GPU, datasheet, 2023
//   H200 datasheet     NVIDIA H200 Tensor Core GPU, datasheet, 2024
//   B200 datasheet     NVIDIA HGX B200 / DGX B200, datasheets, 2024 (an eighth of the eight GPUs' figures)
//   B200 measured      chipsandcheese.com, "Nvidia's B200: Keeping the CUDA Juggernaut Rolling", 2025
//   Ada whitepaper     NVIDIA Ada GPU Architecture, V2.01, 2023, appendix A
//   MI300X datasheet   AMD Instinct MI300X Accelerator, datasheet, 2023
//   CDNA 3 whitepaper  AMD CDNA 3 Architecture, 2023
//   CUDA guide         NVIDIA CUDA C++ Programming Guide 12.8: technical specifications per compute capability; throughput of
//                      native arithmetic instructions

#include "machine_presets.hpp"

namespace pantile::inline v0::simulator {

const std::vector<std::string_view>& machine_presets() {
    static const std::vector<std::string_view> all{
        R"json({
  "name": "a100", "title": "NVIDIA A100 SXM 80 GB",
  "processors": {"value": 108, "source": "A100 whitepaper"},
  "clock_ghz": {"value": 1.41, "source": "A100 whitepaper, boost clock"},
  "scratchpad_bytes": {"value": 166912, "source": "CUDA guide, compute capability 8.0: 163 KB a block of 164 KB an SM"},
  "register_bytes": {"value": 262144, "source": "CUDA guide: 64 K registers of 4 bytes an SM"},
  "quantum": {"rows": 16, "keys": 16},
  "caches": [{"name": "L2", "bytes": 41943040, "ways": 16, "line_bytes": 128, "parts": 2, "shared": true,
              "source": "A100 whitepaper: 40 MB in two partitions, each serving the SMs next to it; ways assumed"}],
  "matrix_tflops": {"value": {"fp64": 19.5, "fp32": 19.5, "fp16": 312, "bf16": 312},
                    "source": "A100 datasheet, dense"},
  "exponentials_per_clock": {"value": 16, "source": "CUDA guide, throughput of special functions"},
  "vector_operations_per_clock": {"value": 64, "source": "CUDA guide, fp32 add and multiply"},
  "scratchpad_bytes_per_clock": {"value": 128, "source": "CUDA guide: 32 banks of 4 bytes"},
  "last_cache_gb_per_s": {"value": 7219, "source": "A100 whitepaper: 5120 bytes a clock"},
  "memory_gb_per_s": {"value": 2039, "source": "A100 datasheet, 80 GB SXM"},
  "network_gb_per_s": {"value": 300, "source": "A100 datasheet, NVLink, one direction"}
})json",
        R"json({
  "name": "h100", "title": "NVIDIA H100 SXM 80 GB",
  "processors": {"value": 132, "source": "H100 whitepaper"},
  "clock_ghz": {"value": 1.83, "source": "derived: 989.4 TFLOP/s = 132 SMs x 4096 FLOP a clock x 1.83 GHz"},
  "scratchpad_bytes": {"value": 232448, "source": "CUDA guide, compute capability 9.0: 227 KB a block"},
  "register_bytes": {"value": 262144, "source": "CUDA guide: 64 K registers of 4 bytes an SM"},
  "quantum": {"rows": 64, "keys": 16},
  "caches": [{"name": "L2", "bytes": 52428800, "ways": 16, "line_bytes": 128, "parts": 2, "shared": true,
              "source": "H100 whitepaper: 50 MB; two partitions as on A100; ways assumed"}],
  "matrix_tflops": {"value": {"fp64": 66.9, "fp32": 66.9, "fp16": 989, "bf16": 989, "fp8": 1979},
                    "source": "H100 datasheet, dense; fp32 without the matrix unit"},
  "sustained_share": {"value": 0.787, "source": "measured: 8192 cubed bf16 product at 758 to 798 TFLOP/s (power)"},
  "exponentials_per_clock": {"value": 16, "source": "CUDA guide, throughput of special functions"},
  "vector_operations_per_clock": {"value": 128, "source": "CUDA guide, fp32 add and multiply"},
  "scratchpad_bytes_per_clock": {"value": 128, "source": "CUDA guide: 32 banks of 4 bytes"},
  "last_cache_gb_per_s": {"value": 9370, "source": "assumed: 5120 bytes a clock, as the A100 whitepaper gives for A100"},
  "memory_gb_per_s": {"value": 3350, "source": "H100 datasheet, SXM"},
  "network_gb_per_s": {"value": 450, "source": "H100 datasheet, NVLink, one direction"}
})json",
        R"json({
  "name": "h200", "title": "NVIDIA H200 SXM 141 GB",
  "processors": {"value": 132, "source": "H200 datasheet: the GPU of the H100"},
  "clock_ghz": {"value": 1.83, "source": "derived as for H100"},
  "scratchpad_bytes": {"value": 232448, "source": "CUDA guide, compute capability 9.0: 227 KB a block"},
  "register_bytes": {"value": 262144, "source": "CUDA guide: 64 K registers of 4 bytes an SM"},
  "quantum": {"rows": 64, "keys": 16},
  "caches": [{"name": "L2", "bytes": 52428800, "ways": 16, "line_bytes": 128, "parts": 2, "shared": true,
              "source": "H200 datasheet: the GPU of the H100"}],
  "matrix_tflops": {"value": {"fp64": 66.9, "fp32": 66.9, "fp16": 989, "bf16": 989, "fp8": 1979},
                    "source": "H200 datasheet, dense; fp32 without the matrix unit"},
  "sustained_share": {"value": 0.787, "source": "as measured on H100"},
  "exponentials_per_clock": {"value": 16, "source": "CUDA guide, throughput of special functions"},
  "vector_operations_per_clock": {"value": 128, "source": "CUDA guide, fp32 add and multiply"},
  "scratchpad_bytes_per_clock": {"value": 128, "source": "CUDA guide: 32 banks of 4 bytes"},
  "last_cache_gb_per_s": {"value": 9370, "source": "assumed as for H100"},
  "memory_gb_per_s": {"value": 4800, "source": "H200 datasheet"},
  "network_gb_per_s": {"value": 450, "source": "H200 datasheet, NVLink, one direction"}
})json",
        R"json({
  "name": "b200", "title": "NVIDIA B200",
  "processors": {"value": 148, "source": "B200 measured: 74 SMs on each of two dies"},
  "clock_ghz": {"value": 1.85, "source": "derived: 2250 TFLOP/s = 148 SMs x 8192 FLOP a clock x 1.85 GHz"},
  "scratchpad_bytes": {"value": 232448, "source": "CUDA guide, compute capability 10.0: 227 KB a block of 228 KB an SM"},
  "register_bytes": {"value": 524288, "source": "CUDA guide: 256 KB of registers and 256 KB of tensor memory an SM, both hold accumulators"},
  "quantum": {"rows": 128, "keys": 16},
  "caches": [{"name": "L2", "bytes": 132120576, "ways": 16, "line_bytes": 128, "parts": 2, "shared": true,
              "source": "B200 measured: 126 MB, partitioned; ways assumed"}],
  "matrix_tflops": {"value": {"fp16": 2250, "bf16": 2250, "fp8": 4500},
                    "source": "B200 datasheet, dense"},
  "exponentials_per_clock": {"value": 16, "source": "CUDA guide, throughput of special functions"},
  "vector_operations_per_clock": {"value": 128, "source": "CUDA guide, fp32 add and multiply"},
  "scratchpad_bytes_per_clock": {"value": 128, "source": "CUDA guide: 32 banks of 4 bytes"},
  "memory_gb_per_s": {"value": 8000, "source": "B200 datasheet"},
  "network_gb_per_s": {"value": 900, "source": "B200 datasheet, NVLink, one direction"}
})json",
        R"json({
  "name": "rtx4090", "title": "NVIDIA GeForce RTX 4090",
  "processors": {"value": 128, "source": "Ada whitepaper"},
  "clock_ghz": {"value": 2.52, "source": "Ada whitepaper, boost clock"},
  "scratchpad_bytes": {"value": 101376, "source": "CUDA guide, compute capability 8.9: 99 KB a block of 100 KB an SM"},
  "register_bytes": {"value": 262144, "source": "CUDA guide: 64 K registers of 4 bytes an SM"},
  "quantum": {"rows": 16, "keys": 16},
  "caches": [{"name": "L2", "bytes": 75497472, "ways": 16, "line_bytes": 128, "shared": true,
              "source": "Ada whitepaper: 73,728 KB; ways assumed"}],
  "matrix_tflops": {"value": {"fp32": 82.6, "fp16": 165.2, "bf16": 165.2},
                    "source": "Ada whitepaper, dense, fp32 sums; fp32 without the matrix unit"},
  "exponentials_per_clock": {"value": 16, "source": "CUDA guide, throughput of special functions"},
  "vector_operations_per_clock": {"value": 128, "source": "CUDA guide, fp32 add and multiply"},
  "scratchpad_bytes_per_clock": {"value": 128, "source": "CUDA guide: 32 banks of 4 bytes"},
  "memory_gb_per_s": {"value": 1008, "source": "Ada whitepaper"},
  "network_gb_per_s": {"value": 31.5, "source": "PCI Express 4.0, 16 lanes of 16 GT/s, 128b/130b, one direction; it has no NVLink"}
})json",
        R"json({
  "name": "mi300x", "title": "AMD Instinct MI300X",
  "processors": {"value": 304, "source": "MI300X datasheet, compute units"},
  "clock_ghz": {"value": 2.1, "source": "MI300X datasheet, peak engine clock"},
  "scratchpad_bytes": {"value": 65536, "source": "CDNA 3 instruction set guide, local data share"},
  "register_bytes": {"value": 524288, "source": "CDNA 3 whitepaper: 4 SIMDs with 128 KB of vector registers each"},
  "quantum": {"rows": 16, "keys": 16},
  "caches": [{"name": "L2", "bytes": 4194304, "ways": 16, "line_bytes": 128, "parts": 8, "shared": true,
              "source": "CDNA 3 whitepaper: 4 MB on each of 8 dies, 16 ways, lines of 128 bytes"},
             {"name": "Infinity Cache", "bytes": 268435456, "ways": 16, "line_bytes": 128, "shared": true,
              "source": "CDNA 3 whitepaper: 256 MB, 16 ways; lines of 128 bytes assumed"}],
  "matrix_tflops": {"value": {"fp64": 163.4, "fp32": 163.4, "fp16": 1307.4, "bf16": 1307.4, "fp8": 2614.9},
                    "source": "MI300X datasheet, dense"},
  "scratchpad_bytes_per_clock": {"value": 128, "source": "CDNA 3 whitepaper, local data share"},
  "last_cache_gb_per_s": {"value": 17200, "source": "CDNA 3 whitepaper: 17.2 TB/s out of the Infinity Cache"},
  "memory_gb_per_s": {"value": 5300, "source": "MI300X datasheet"},
  "network_gb_per_s": {"value": 448, "source": "MI300X datasheet, 7 Infinity Fabric links of 64 GB/s, one direction"}
})json"};
    return all;
}

} // namespace pantile::inline v0::simulator
