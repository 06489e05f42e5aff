/// \file
/// An algorithm of the simulator: a walk on a processor, and its closed form. One file each in simulator/src/algorithms;
/// algorithm_list.cpp names them. Yours may live anywhere: every call of the library takes an algorithm.
#pragma once

#include <optional>
#include <string_view>
#include <vector>

#include <pantile/core/macros.hpp>
#include <pantile/simulator/processor.hpp>

namespace pantile::inline v0::simulator {

/// How traffic falls with near memory M, for long sequences.
enum class io_law : unsigned char {
    tiles,   ///< Θ(N²d²/M): scores never leave near memory (arXiv 2205.14135)
    squares, ///< Θ(N²d/√M): products in square tiles, for M < d² (arXiv 2402.07443)
};

class PANTILE_API algorithm {
  public:
    virtual ~algorithm() = default;

    [[nodiscard]] virtual std::string_view name() const = 0;
    /// One line: what it does, and where it is published.
    [[nodiscard]] virtual std::string_view summary() const = 0;
    [[nodiscard]] virtual bool has(pass p) const = 0;
    /// Does it read tile sizes from the plan? (The unfused algorithm has none.)
    [[nodiscard]] virtual bool tiled() const { return true; }
    /// The law that sweeps fit it to.
    [[nodiscard]] virtual io_law law() const { return io_law::tiles; }
    /// Does it honour a block mask by skipping blocks?
    [[nodiscard]] virtual bool block_sparse() const { return true; }

    /// Does its backward pass compute the scores anew? P alone does not tell what a soft cap's slope was.
    [[nodiscard]] virtual bool recomputes_scores() const { return true; }

    /// Does it spread over the workload's devices?
    [[nodiscard]] virtual bool distributed() const { return false; }

    /// Does all the work of one pass on `p`. Throws does_not_fit when the live tiles exceed near memory.
    virtual void run(processor& p, const workload& w, pass which, const tile_plan& plan) const = 0;
    /// The traffic of `run` in closed form, written without the schedule that `run` walks.
    [[nodiscard]] virtual counts formula(const workload& w, pass which, const tile_plan& plan) const = 0;
    /// What that sends between devices, in closed form; none for algorithms of one device.
    [[nodiscard]] virtual counts sent_formula(const workload& w, pass which, const tile_plan& plan) const;
    /// The tiles that the publication prints for near memory of `m` elements; none if it prints no rule.
    [[nodiscard]] virtual std::optional<tile_plan> published_tiles(const workload& w, pass which, index_t m) const;

  protected:
    algorithm() = default;
    algorithm(const algorithm&) = default;
    algorithm& operator=(const algorithm&) = default;
};

/// Every algorithm of the library, in the order in which they are told about.
[[nodiscard]] PANTILE_API const std::vector<const algorithm*>& algorithms();
/// Throws invalid_argument, listing the names there are.
[[nodiscard]] PANTILE_API const algorithm& find_algorithm(std::string_view name);

} // namespace pantile::inline v0::simulator
