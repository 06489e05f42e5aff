/// \file
/// The simulated memory hierarchy: exact attention run as tile transfers between near and far memory, every element
/// counted, every capacity checked. The CPU and CUDA machines run the same walks (pantile/core/walk.hpp).
///
///     using namespace pantile::simulator;
///     experiment e;
///     e.what = workload::square(4096, 128);              // one head, N = 4096, d = 128
///     e.plan = {128, 64};                                // row tile, key tile
///     e.near = near_memory::of_bytes(227 * 1024, dtype::bf16);
///     run_result r = run(find_algorithm("fa2"), e);      // r.moved[tensor::k].reads, r.moved.bytes(dtype::bf16) …
///
/// counts.hpp        tensors, element types, counts
/// workload.hpp      sizes and masks
/// near_memory.hpp   scratchpads that refuse what does not fit
/// processor.hpp     what algorithms are written against
/// algorithm.hpp     the algorithms there are, and the interface of a new one
/// blocks.hpp        block masks in words
/// run.hpp           one run: counting, or computing too
/// tiles.hpp         tile sizes that fit
/// machine.hpp       presets and machines of your own
/// estimate.hpp      how long it would take
/// sweep.hpp         traffic against near memory and length, fits, crossovers
/// plot.hpp          SVG plots
/// reproduce.hpp     published figures beside ours
/// cache.hpp         caches, line by line
/// panel_kernel.hpp  the CPU machine's forward kernel, line by line
/// l2.hpp            a cache shared by concurrent blocks
/// trace.hpp         a run as a timeline
/// compare.hpp       counters of real hardware beside ours
/// report.hpp        one HTML page of it all
/// check.hpp         random runs against closed forms
/// format.hpp        results as text and JSON
#pragma once

#include <pantile/simulator/algorithm.hpp>
#include <pantile/simulator/blocks.hpp>
#include <pantile/simulator/cache.hpp>
#include <pantile/simulator/check.hpp>
#include <pantile/simulator/compare.hpp>
#include <pantile/simulator/counts.hpp>
#include <pantile/simulator/estimate.hpp>
#include <pantile/simulator/format.hpp>
#include <pantile/simulator/l2.hpp>
#include <pantile/simulator/machine.hpp>
#include <pantile/simulator/near_memory.hpp>
#include <pantile/simulator/panel_kernel.hpp>
#include <pantile/simulator/plot.hpp>
#include <pantile/simulator/processor.hpp>
#include <pantile/simulator/report.hpp>
#include <pantile/simulator/reproduce.hpp>
#include <pantile/simulator/run.hpp>
#include <pantile/simulator/sweep.hpp>
#include <pantile/simulator/tiles.hpp>
#include <pantile/simulator/trace.hpp>
#include <pantile/simulator/workload.hpp>
