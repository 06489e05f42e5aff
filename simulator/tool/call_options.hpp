/// \file
/// The options that describe a call: sizes, mask, tiles, near memory. Shared by the verbs.
#pragma once

#include <optional>
#include <string>

#include <CLI/CLI.hpp>

#include <pantile/simulator.hpp>

namespace pantile::inline v0::simulator::tool {

inline constexpr const char* blocks_help = "block mask, ROWSxKEYS:PATTERN, the pattern local:N, butterfly, strided:N, "
                                           "random:PERCENT[:SEED] or file:PATH (lines of "
                                           "0 and 1), as in 64x64:random:25";

struct call_options {
    std::string algorithm = "fa2";
    std::string pass = "forward";
    std::string n = "4096";
    std::string q_len;
    std::string k_len;
    index_t head_dim = 128;
    index_t value_dim = -1;
    index_t batch = 1;
    index_t heads = 1;
    index_t kv_heads = -1;
    bool packed = false;
    std::string mask = "full";
    std::string type = "bf16";
    std::string blocks;
    double softcap = 0;
    bool alibi = false;
    std::optional<double> sinks;
    index_t devices = 1;
    std::string tiles;
    index_t splits = 1;
    std::string near;
    std::string machine;
    int stages = 1;
    bool separate_p = false;

    void add_sizes(CLI::App& verb);
    void add_algorithm(CLI::App& verb);
    void add_tiles(CLI::App& verb);

    [[nodiscard]] workload what() const;
    [[nodiscard]] simulator::pass which() const;
    /// Near memory and sizes; tiles still to be chosen.
    [[nodiscard]] experiment without_tiles() const;
    /// Everything, tiles included.
    [[nodiscard]] experiment make(const simulator::algorithm& a) const;
    [[nodiscard]] tile_quantum quantum() const;
};

} // namespace pantile::inline v0::simulator::tool
