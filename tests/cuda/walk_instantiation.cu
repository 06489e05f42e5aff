// The core's walks with a machine that exists on the device only: they must compile there, and visit what they visit on
// the host.

#include "device.hpp"

#include <pantile/core/schedule.hpp>
#include <pantile/core/walk.hpp>

#include <vector>

namespace pantile::test {
namespace {

/// What a walk did, as one number an event.
enum event : int {
    opened = 1,
    key_fetched,
    value_fetched,
    row_fetched,
    scored_full,
    scored_partial,
    accumulated,
    closed
};

struct journal {
    int* events;
    int count = 0;
    __host__ __device__ void note(event what, index_t index) {
        events[count++] = what * 1000 + static_cast<int>(index);
    }
};

struct device_machine {
    journal& log;
    __device__ void open(const core::row_tile& t) { log.note(opened, t.index); }
    __device__ void open(const core::key_tile& t) { log.note(opened, t.index); }
    __device__ void fetch_key(const core::key_tile& t) { log.note(key_fetched, t.index); }
    __device__ void fetch_value(const core::key_tile& t) { log.note(value_fetched, t.index); }
    __device__ void fetch_row(const core::row_tile& t) { log.note(row_fetched, t.index); }
    template <class Tile>
    __device__ void score(const Tile& t, core::full_tile) {
        log.note(scored_full, t.index);
    }
    template <class Tile>
    __device__ void score(const Tile& t, core::partial_tile) {
        log.note(scored_partial, t.index);
    }
    __device__ void accumulate(const core::key_tile& t) { log.note(accumulated, t.index); }
    __device__ void gradients(const core::row_tile& t) { log.note(accumulated, t.index); }
    __device__ void close() { log.note(closed, 0); }
};
static_assert(core::forward_machine<device_machine> && core::backward_machine<device_machine>);

struct host_machine {
    journal& log;
    void open(const core::row_tile& t) { log.note(opened, t.index); }
    void open(const core::key_tile& t) { log.note(opened, t.index); }
    void fetch_key(const core::key_tile& t) { log.note(key_fetched, t.index); }
    void fetch_value(const core::key_tile& t) { log.note(value_fetched, t.index); }
    void fetch_row(const core::row_tile& t) { log.note(row_fetched, t.index); }
    template <class Tile>
    void score(const Tile& t, core::full_tile) {
        log.note(scored_full, t.index);
    }
    template <class Tile>
    void score(const Tile& t, core::partial_tile) {
        log.note(scored_partial, t.index);
    }
    void accumulate(const core::key_tile& t) { log.note(accumulated, t.index); }
    void gradients(const core::row_tile& t) { log.note(accumulated, t.index); }
    void close() { log.note(closed, 0); }
};

__global__ void walk_on_device(core::schedule plan, int* events, int* count) {
    journal log{events};
    device_machine machine{log};
    for (index_t r = 0; r < plan.row_tiles(); ++r) core::walk::forward(machine, plan, r);
    for (index_t c = 0; c < plan.key_tiles(); ++c) core::walk::backward(machine, plan, c);
    *count = log.count;
}

std::vector<core::schedule> schedules() {
    std::vector<core::schedule> all;
    for (const index_t q : {1, 7, 40}) {
        for (const index_t k : {0, 5, 33}) {
            for (const index_t left : {unbounded, index_t{6}}) {
                for (const index_t right : {unbounded, index_t{0}, index_t{3}}) {
                    const core::sequence seq{0, q, 0, k, k - q};
                    all.emplace_back(seq, core::band{left, right, seq.offset, k}, 4, 3);
                }
            }
        }
    }
    return all;
}

constexpr int most_events = 4096;

std::vector<int> walk_on_host(const core::schedule& plan) {
    std::vector<int> events(most_events);
    journal log{events.data()};
    host_machine machine{log};
    for (index_t r = 0; r < plan.row_tiles(); ++r) core::walk::forward(machine, plan, r);
    for (index_t c = 0; c < plan.key_tiles(); ++c) core::walk::backward(machine, plan, c);
    events.resize(static_cast<std::size_t>(log.count));
    return events;
}

TEST(walk_instantiation, host_walks_every_tile_of_a_full_schedule) {
    const core::schedule plan({0, 8, 0, 9, 1}, {unbounded, unbounded, 1, 9}, 4, 3);
    std::size_t scored = 0;
    for (const int e : walk_on_host(plan)) scored += e / 1000 == scored_full ? 1 : 0;
    EXPECT_EQ(scored, 2U * 2U * 3U); // two row tiles, three key tiles, once forward and once backward
}

TEST(walk_instantiation, device_walks_like_the_host) {
    PANTILE_NEEDS_DEVICE(80);
    const on_gpu<int> events(std::vector<int>(most_events, -1));
    const on_gpu<int> count(std::vector<int>(1, -1));
    for (const core::schedule& plan : schedules()) {
        walk_on_device<<<1, 1>>>(plan, events.data(), count.data());
        PANTILE_CUDA_OK(cudaDeviceSynchronize());
        std::vector<int> seen = events.values();
        seen.resize(static_cast<std::size_t>(count.values()[0]));
        EXPECT_EQ(seen, walk_on_host(plan));
    }
}

} // namespace
} // namespace pantile::test
