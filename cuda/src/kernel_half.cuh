#pragma once

#include "arguments.hpp"
#include "ptx/convert.cuh"
#include "ptx/ldmatrix.cuh"
#include "ptx/mma.cuh"
#include "tile/half_tile.hpp"
#include "tile/load.cuh"
#include "tile/order.hpp"
#include "tile/softmax.cuh"
#include "tile/split.hpp"
#include "tile/tile_run.hpp"

#include <pantile/core/schedule.hpp>
#include <pantile/core/walk.hpp>

// Forward attention of many query rows in fp16 and bf16, on any GPU from sm_80 on: one block a row tile, every thread runs
// the core's walk over the key tiles, products by mma.sync with 32 query rows a warp (tile/half_tile.hpp).
//
// Traffic of a key tile: K and V once from L2 into shared memory, by cp.async one step ahead; from there to each warp all
// of K and V (half of them where two warps share rows) and its rows of Q.

namespace pantile::cuda {

/// What a launch computes once on the host.
struct half_constants {
    score_scale<float> scale;
    float slack; ///< a row's reference stays while its maximum rises by no more than this (log2): see raise
    bool whole;  ///< head and value dim fill the padded dim, and rows are moved in pieces of 16 bytes
};

/// What a block knows of its work, in shared memory: looked at where a mask cuts, and at the ends.
template <class T>
struct half_work {
    tile_run run;
    core::span visible; ///< keys that some row sees
    index_t low;        ///< row r of the row tile sees the keys from low + r on
    index_t high;       ///< and up to, not including, high + r
    index_t k_len;
    const T* k; ///< first key of the sequence
    const T* v;
    int batch;
    int head;
    int rows;
};

/// The machine that core::walk::forward drives.
template <class T, class tile>
class half_machine {
  public:
    __device__ half_machine(const forward_arguments& a, const half_constants& constants, half_work<T>& work,
                            char* tiles)
        : a_(a), constants_(constants), work_(work), tiles_(tiles) {
        const std::uint32_t at = ptx::shared_address(tiles);
        const int l = lane();
        q_at_ = pinned(at + chunk_offset<tile::rows>(first_row() + l % 16, l / 16));
        k_at_ = pinned(at + tile::k_at + chunk_offset<tile::keys>(first_key() + l % 8 + l / 16 * 8, l / 8 % 2));
        v_at_ = pinned(at + tile::v_at + (chunk_offset<tile::keys>(l % 16, l / 16) ^ group() * 64));
        to_ = pinned(at + tile::k_at + chunk_offset<tile::keys>(copy_row(), copy_chunk()));
    }

    /// Begins to bring Q near. Before the walk, and before the block knows its key tiles.
    __device__ __forceinline__ void fetch_queries(index_t batch, index_t head, index_t row_tile) {
        const index_t begin = row_tile * tile::rows;
        load_tile<tile::rows, tile::dim, tile::threads>(
            tiles_, tile_source<T>{static_cast<const T*>(a_.q) + a_.q_layout.place(batch, head, begin), a_.q_layout.row,
                                   0, static_cast<int>(core::min(a_.shape.q_len - begin, tile::rows)),
                                   static_cast<int>(a_.shape.head_dim), a_.vectors});
        ptx::copy_async_commit();
    }

    __device__ __forceinline__ void open(const core::row_tile&) {
#pragma unroll
        for (int m = 0; m < blocks; ++m) {
#pragma unroll
            for (float& x : o_[m]) x = 0.0F;
            state_[m][0] = state_[m][1] = row_softmax<float>::start();
        }
        const index_t first = static_cast<index_t>(work_.run.begin) * tile::keys + copy_row();
        k_from_ = work_.k + first * a_.k_layout.row + copy_chunk() * 8;
        v_from_ = work_.v + first * a_.v_layout.row + copy_chunk() * 8;
    }

    // One tile of K and one of V: K of the next tile travels during P·V of this one, and V during Q·Kᵀ. The copies are issued
    // between those products (see copy_beside), so a fetch only says that they are due.

    __device__ __forceinline__ void fetch_key(const tile_run::tile& t) {
        if (!first_) arrive(); // V has come, and all have read K of the tile before
        copies_ = copies_whole(t);
        if (!copies_) copy_bounded(t.index, true);
        if (first_) { // there are no products before
            copy_now(tile::k_at, k_from_, a_.k_layout.row);
            ptx::copy_async_commit();
            copies_ = false;
        }
        key_follows_ = true;
    }

    __device__ __forceinline__ void fetch_value(const tile_run::tile& t) {
        arrive(); // K has come, and all have read V of the tile before
        copies_ = copies_whole(t);
        if (!copies_) copy_bounded(t.index, false);
        first_ = false;
        key_follows_ = false;
    }

    template <class Tag>
    __device__ __forceinline__ void score(const tile_run::tile& t, Tag) {
#pragma unroll
        for (int m = 0; m < blocks; ++m) {
#pragma unroll
            for (float& x : s_[m]) x = 0.0F;
        }
        multiply_keys();
        ptx::copy_async_commit();
        copies_ = false;
        if constexpr (std::is_same_v<Tag, core::partial_tile>) {
            if (constants_.scale.sign != 1.0F) {
#pragma unroll
                for (int m = 0; m < blocks; ++m) {
#pragma unroll
                    for (float& x : s_[m]) x *= constants_.scale.sign;
                }
            }
            hide_keys(t.index);
        }
    }

    __device__ __forceinline__ void accumulate(const tile_run::tile&) {
        if (!key_follows_) arrive(); // the last V
        float reference[blocks][2];
        raise(reference);
        if constexpr (tile::sharers == 1) {
            multiply_values(reference);
        } else {
            multiply_shared_values(reference);
        }
        ptx::copy_async_commit();
    }

    __device__ __forceinline__ void close() {
#pragma unroll
        for (int m = 0; m < blocks; ++m) reduce_rows(state_[m]);
        if constexpr (tile::sharers == 2) join_sums();
        if (work_.run.begin == work_.run.end) arrive(); // Q, whose place the result takes
        if (a_.kind == out_kind::partial) {
            store_rows(static_cast<float*>(a_.out) + blockIdx.y * a_.split_stride_out);
        } else if (a_.kind == out_kind::wide) {
            store_rows(static_cast<float*>(a_.out));
        } else if (a_.out_vectors) {
            store_tile();
        } else {
            store_rows(static_cast<T*>(a_.out));
        }
        store_states();
    }

  private:
    static constexpr int blocks = tile::blocks;
    // A thread copies one 16-byte column of K and V tiles and walks down the rows. Where a row's chunks are no power of two
    // (head dims 96 and 192) the threads of the missing columns are idle.
    static constexpr int row_chunks = tile::dim / 8;
    static constexpr int copy_chunks = row_chunks <= 8 ? 8 : row_chunks <= 16 ? 16 : 32;
    static constexpr int copy_step = tile::threads / copy_chunks;
    static constexpr int copies = tile::keys / copy_step;
    static_assert(tile::keys % (2 * copy_step) == 0);

    static __device__ __forceinline__ int lane() { return static_cast<int>(threadIdx.x % 32); }
    static __device__ __forceinline__ int warp() { return static_cast<int>(threadIdx.x / 32); }
    static __device__ __forceinline__ int group() { return warp() % tile::sharers; }
    static __device__ __forceinline__ int first_row() { return warp() / tile::sharers * tile::rows_of_warp; }
    static __device__ __forceinline__ int first_key() { return group() * tile::keys_of_warp; }
    static __device__ __forceinline__ int copy_chunk() { return static_cast<int>(threadIdx.x) % copy_chunks; }
    static __device__ __forceinline__ int copy_row() { return static_cast<int>(threadIdx.x) / copy_chunks; }
    /// This thread's row r (0: g, 1: g + 8) of 16-row block m, counted from the row tile's first.
    static __device__ __forceinline__ int row(int m, int r) { return first_row() + 16 * m + lane() / 4 + 8 * r; }

    /// Keeps a cheap number in its register: the compiler would otherwise compute it anew in every step.
    static __device__ __forceinline__ std::uint32_t pinned(std::uint32_t x) {
        asm volatile("" : "+r"(x));
        return x;
    }
    /// This thread's copies have come, and every other's: what is awaited may be read, and all have read what they awaited
    /// before.
    static __device__ __forceinline__ void arrive() {
        ptx::copy_async_wait<0>();
        __syncthreads();
    }
    /// Waits for the warp that shares this one's rows.
    static __device__ __forceinline__ void meet_partner() {
        asm volatile("bar.sync %0, 64;" ::"r"(1 + warp() / 2) : "memory");
    }
    /// Address of the chunk `block` times 16 rows below and `x` times 16 columns right of the one at `at`, in a tile of `rows`
    /// rows. Address bits 4 to 6 are the chunk's place in its row (swizzle.hpp).
    template <int rows>
    static __device__ __forceinline__ std::uint32_t place(std::uint32_t at, int block, int x) {
        return (at ^ (x % 4 * 32)) + x / 4 * (rows * panel_row_bytes) + block * (16 * panel_row_bytes);
    }

    /// Tile t is copied without looking at limits.
    __device__ __forceinline__ bool copies_whole(const tile_run::tile& t) const {
        return t.due == core::visit::full && constants_.whole;
    }

    /// Copies [begin, end) of this thread's column of the tile at `tile_at`, if copies_ says so. After the last, `from` is in
    /// the next tile.
    __device__ __forceinline__ void copy(int begin, int end, int tile_at, const T*& from, index_t stride) {
        const bool wanted = copies_ && (row_chunks == copy_chunks || copy_chunk() < row_chunks);
#pragma unroll
        for (int n = 0; n < copies; ++n) {
            if (n < begin || n >= end) continue;
            const std::uint32_t to =
                (to_ ^ ((n * copy_step & 7) << 4)) + (tile_at - tile::k_at) + n * copy_step * panel_row_bytes;
            ptx::copy_async_16_if(wanted, to, from);
            from += copy_step * stride;
        }
    }
    __device__ __forceinline__ void copy_now(int tile_at, const T*& from, index_t stride) {
        copy(0, copies, tile_at, from, stride);
    }
    /// Two copies beside the i-th of many products: one after the other at once, copies wait for each other's address
    /// registers. (For d = 64, with fewer products a byte, at once is faster: all beside the first.)
    __device__ __forceinline__ void copy_beside(int i, int tile_at, const T*& from, index_t stride) {
        constexpr int together = tile::dim == 64 ? copies : 2;
        copy(i * together, (i + 1) * together, tile_at, from, stride);
    }

    /// Tile t of K (or V) where rows or columns may be missing, or rows do not consist of 16-byte pieces. Rows of V that no
    /// row of the tile sees become zeros.
    __device__ __forceinline__ void copy_bounded(int t, bool key) {
        const index_t first = static_cast<index_t>(t) * tile::keys;
        const index_t stride = key ? a_.k_layout.row : a_.v_layout.row;
        const auto near = [first](index_t at) { return static_cast<int>(core::clamp(at - first, 0, tile::keys)); };
        load_tile<tile::keys, tile::dim, tile::threads>(
            tiles_ + (key ? tile::k_at : tile::v_at),
            tile_source<T>{(key ? work_.k : work_.v) + first * stride, stride, key ? 0 : near(work_.visible.begin),
                           near(key ? work_.k_len : work_.visible.end),
                           static_cast<int>(key ? a_.shape.head_dim : a_.shape.value_dim), a_.vectors});
    }

    /// S += Q·Kᵀ, 16 columns of the head dim at a time. The operands of a product are on their way while the one before runs.
    __device__ __forceinline__ void multiply_keys() {
        constexpr int J = tile::keys_of_warp / 16;
        constexpr int X = tile::dim / 16;
        std::uint32_t a[2][blocks][4];
        std::uint32_t b[2][4]; // keys 0-7 and 8-15 of 16, columns 0-7 and 8-15 each
#pragma unroll
        for (int m = 0; m < blocks; ++m) ptx::load_matrices(a[0][m], place<tile::rows>(q_at_, m, 0));
        ptx::load_matrices(b[0], k_at_);
#pragma unroll
        for (int n = 0; n < X * J; ++n) {
            const int x = n / J;
            const int j = n % J;
            if (n + 1 < X * J) ptx::load_matrices(b[(n + 1) % 2], place<tile::keys>(k_at_, (n + 1) % J, (n + 1) / J));
            if (x + 1 < X && j == core::max(J - 2, 0)) {
#pragma unroll
                for (int m = 0; m < blocks; ++m) {
                    ptx::load_matrices(a[(x + 1) % 2][m], place<tile::rows>(q_at_, m, x + 1));
                }
            }
#pragma unroll
            for (int m = 0; m < blocks; ++m) {
                ptx::mma_16<T>(&s_[m][8 * j], a[x % 2][m], b[n % 2][0], b[n % 2][1]);
                ptx::mma_16<T>(&s_[m][8 * j + 4], a[x % 2][m], b[n % 2][2], b[n % 2][3]);
            }
            copy_beside(n, tile::v_at, v_from_, a_.v_layout.row);
        }
    }

    /// Minus infinity for the scores of tile t that the mask hides, or whose key does not exist.
    __device__ __forceinline__ void hide_keys(int t) {
        const index_t first = static_cast<index_t>(t) * tile::keys;
        const auto near = [first](index_t key) {
            return static_cast<int>(core::clamp(key - first, -(1 << 30), 1 << 30));
        };
        const int low = near(work_.low);
        const int high = near(work_.high);
        const int last = near(work_.k_len);
        const int top = first_row();
        if (low + top + tile::rows_of_warp <= 1 && min(high + top, last) >= tile::keys)
            return; // all visible to this warp
#pragma unroll
        for (int m = 0; m < blocks; ++m) {
            column_limits limits[2];
#pragma unroll
            for (int r = 0; r < 2; ++r) {
                limits[r] = {low + row(m, r) - first_key(), min(high + row(m, r), last) - first_key()};
            }
            hide(s_[m], limits);
        }
    }

    /// The rows' maxima, with this tile's scores; O and the sums follow. A reference that is a little below the maximum
    /// serves as well as the maximum itself (P and the sums grow by the same factor, at most 2^slack), so O is left as it is
    /// while maxima rise by no more than that.
    __device__ __forceinline__ void raise(float (&reference)[blocks][2]) {
        float top[blocks][2];
#pragma unroll
        for (int m = 0; m < blocks; ++m) {
            float pair[4]; // even and odd columns apart: shorter chains
#pragma unroll
            for (int i = 0; i < 4; ++i) pair[i] = s_[m][i];
#pragma unroll
            for (int i = 4; i < tile::keys_of_warp / 2; ++i) pair[i % 4] = fmaxf(pair[i % 4], s_[m][i]);
            top[m][0] = fmaxf(pair[0], pair[1]);
            top[m][1] = fmaxf(pair[2], pair[3]);
        }
#pragma unroll
        for (int distance = 1; distance <= 2; distance *= 2) {
#pragma unroll
            for (int m = 0; m < blocks; ++m) {
#pragma unroll
                for (int r = 0; r < 2; ++r) {
                    top[m][r] = fmaxf(top[m][r], __shfl_xor_sync(0xffffffffU, top[m][r], distance));
                }
            }
        }
        if constexpr (tile::sharers == 2) join_maxima(top);
        bool rises = false;
#pragma unroll
        for (int m = 0; m < blocks; ++m) {
#pragma unroll
            for (int r = 0; r < 2; ++r) {
                top[m][r] *= constants_.scale.scale;
                rises = rises || top[m][r] > state_[m][r].max + constants_.slack;
            }
        }
        if (__any_sync(0xffffffffU, rises)) {
#pragma unroll
            for (int m = 0; m < blocks; ++m) {
                float factor[2];
#pragma unroll
                for (int r = 0; r < 2; ++r) {
                    factor[r] = row_softmax<float>::raise(state_[m][r], top[m][r]);
                    state_[m][r].sum *= factor[r];
                }
#pragma unroll
                for (int i = 0; i < tile::columns_of_warp / 2; ++i) o_[m][i] *= factor[i / 2 % 2];
            }
        }
#pragma unroll
        for (int m = 0; m < blocks; ++m) {
#pragma unroll
            for (int r = 0; r < 2; ++r) reference[m][r] = row_softmax<float>::reference(state_[m][r]);
        }
    }

    /// Pair `pair` of 4·blocks of the j-th 16 keys: scores become probabilities, in `p` as an operand and in `sum`.
    __device__ __forceinline__ void exponentiate(int j, int pair, const float (&reference)[blocks][2],
                                                 std::uint32_t (&p)[blocks][4], float (&sum)[blocks][2]) {
        const int m = pair / 4;
        const int i = pair % 4;
        const float scale = constants_.scale.scale;
        const float low = ptx::exp2_fast(fmaf(s_[m][8 * j + 2 * i], scale, -reference[m][i % 2]));
        const float high = ptx::exp2_fast(fmaf(s_[m][8 * j + 2 * i + 1], scale, -reference[m][i % 2]));
        sum[m][i % 2] += low + high; // not one by one: the compiler would keep both numbers until the chain is free
        p[m][i] = ptx::pack<T>(low, high);
    }

    /// O += P·V of 16 keys: P in `p`, this lane's first chunk of V at `v_at`; beside(x) is done beside the x-th 16 columns.
    template <class Beside>
    __device__ __forceinline__ void multiply_16_keys(const std::uint32_t (&p)[blocks][4], std::uint32_t v_at,
                                                     Beside beside) {
        constexpr int X = tile::columns_of_warp / 16;
        std::uint32_t b[2][4]; // keys 0-7 and 8-15, of columns 0-7, then of columns 8-15
        ptx::load_matrices_transposed(b[0], v_at);
#pragma unroll
        for (int x = 0; x < X; ++x) {
            if (x + 1 < X) {
                ptx::load_matrices_transposed(b[(x + 1) % 2], place<tile::keys>(v_at, 0, tile::columns_at(x + 1)));
            }
#pragma unroll
            for (int m = 0; m < blocks; ++m) {
                ptx::mma_16<T>(&o_[m][8 * x], p[m], b[x % 2][0], b[x % 2][1]);
                ptx::mma_16<T>(&o_[m][8 * x + 4], p[m], b[x % 2][2], b[x % 2][3]);
            }
            beside(x);
        }
    }

    /// O += P·V. The exponentials of the next 16 keys run beside the products of these.
    __device__ __forceinline__ void multiply_values(const float (&reference)[blocks][2]) {
        constexpr int J = tile::keys_of_warp / 16;
        constexpr int X = tile::columns_of_warp / 16;
        constexpr int pairs = 4 * blocks;
        float sum[blocks][2] = {};
        std::uint32_t p[2][blocks][4];
#pragma unroll
        for (int i = 0; i < pairs; ++i) exponentiate(0, i, reference, p[0], sum);
#pragma unroll
        for (int j = 0; j < J; ++j) {
            multiply_16_keys(p[j % 2], v_at_ + j * (16 * panel_row_bytes), [&](int x) {
                copy_beside(j * X + x, tile::k_at, k_from_, a_.k_layout.row);
                if (j + 1 == J) return;
#pragma unroll
                for (int i = 0; i < pairs; ++i) {
                    if (i * X / pairs == x) exponentiate(j + 1, i, reference, p[(j + 1) % 2], sum);
                }
            });
        }
        add(sum);
    }

    /// The same for two warps that share rows: each makes P of its keys, and multiplies all of P with its columns of V.
    __device__ __forceinline__ void multiply_shared_values(const float (&reference)[blocks][2]) {
        constexpr int J = tile::keys_of_warp / 16;
        constexpr int pairs = 4 * blocks;
        constexpr int X = tile::columns_of_warp / 16;
        const auto shared_p = [&](int w, int j, int m) {
            return reinterpret_cast<uint4*>(tiles_ + tile::p_at + ((w * J + j) * blocks + m) * 512 + lane() * 16);
        };
        const std::uint32_t mine = v_at_ + first_key() * panel_row_bytes;
        const std::uint32_t other = v_at_ + (tile::keys_of_warp - first_key()) * panel_row_bytes;
        float sum[blocks][2] = {};
        std::uint32_t p[J][blocks][4];
#pragma unroll
        for (int j = 0; j < J; ++j) {
#pragma unroll
            for (int i = 0; i < pairs; ++i) exponentiate(j, i, reference, p[j], sum);
#pragma unroll
            for (int m = 0; m < blocks; ++m) {
                *shared_p(warp(), j, m) = make_uint4(p[j][m][0], p[j][m][1], p[j][m][2], p[j][m][3]);
            }
        }
        add(sum);
#pragma unroll
        for (int j = 0; j < J; ++j) {
            multiply_16_keys(p[j], mine + j * (16 * panel_row_bytes),
                             [&](int x) { copy_beside(j * X + x, tile::k_at, k_from_, a_.k_layout.row); });
        }
        meet_partner();
#pragma unroll
        for (int j = 0; j < J; ++j) {
#pragma unroll
            for (int m = 0; m < blocks; ++m) {
                const uint4 x = *shared_p(warp() ^ 1, j, m);
                p[j][m][0] = x.x;
                p[j][m][1] = x.y;
                p[j][m][2] = x.z;
                p[j][m][3] = x.w;
            }
            multiply_16_keys(p[j], other + j * (16 * panel_row_bytes),
                             [&](int x) { copy_beside((J + j) * X + x, tile::k_at, k_from_, a_.k_layout.row); });
        }
    }

    __device__ __forceinline__ void add(const float (&sum)[blocks][2]) {
#pragma unroll
        for (int m = 0; m < blocks; ++m) {
#pragma unroll
            for (int r = 0; r < 2; ++r) state_[m][r].sum += sum[m][r];
        }
    }

    /// x of every row here, and what the other warp has there.
    __device__ __forceinline__ void exchange(const float (&x)[blocks][2], float (&others)[blocks][2]) {
        auto* table = reinterpret_cast<float*>(tiles_ + tile::maxima_at);
#pragma unroll
        for (int m = 0; m < blocks; ++m) {
#pragma unroll
            for (int r = 0; r < 2; ++r) {
                if (lane() % 4 == 0) table[group() * tile::rows + row(m, r)] = x[m][r];
            }
        }
        meet_partner();
#pragma unroll
        for (int m = 0; m < blocks; ++m) {
#pragma unroll
            for (int r = 0; r < 2; ++r) others[m][r] = table[(1 - group()) * tile::rows + row(m, r)];
        }
    }

    __device__ __forceinline__ void join_maxima(float (&top)[blocks][2]) {
        float others[blocks][2];
        exchange(top, others);
#pragma unroll
        for (int m = 0; m < blocks; ++m) {
#pragma unroll
            for (int r = 0; r < 2; ++r) top[m][r] = fmaxf(top[m][r], others[m][r]);
        }
    }

    __device__ __forceinline__ void join_sums() {
        float sum[blocks][2];
        float others[blocks][2];
#pragma unroll
        for (int m = 0; m < blocks; ++m) {
#pragma unroll
            for (int r = 0; r < 2; ++r) sum[m][r] = state_[m][r].sum;
        }
        meet_partner(); // it has read the last maxima
        exchange(sum, others);
        add(others);
    }

    /// The 8 columns of O that o_[m][4j ..] begins.
    static __device__ __forceinline__ int column(int j) {
        return 16 * tile::columns_at(j / 2) + j % 2 * 8 + group() * 32;
    }

    /// O, normalised, through Q's place in shared memory, so that whole rows leave in pieces of 16 bytes. A warp writes and
    /// reads its own rows only.
    __device__ __forceinline__ void store_tile() {
#pragma unroll
        for (int m = 0; m < blocks; ++m) {
#pragma unroll
            for (int r = 0; r < 2; ++r) {
                const float factor = core::finish_factor(state_[m][r]);
#pragma unroll
                for (int j = 0; j < tile::columns_of_warp / 8; ++j) {
                    char* const at = tiles_ + chunk_offset<tile::rows>(row(m, r), column(j) / 8) + lane() % 4 * 4;
                    *reinterpret_cast<std::uint32_t*>(at) =
                        ptx::pack<T>(o_[m][4 * j + 2 * r] * factor, o_[m][4 * j + 2 * r + 1] * factor);
                }
            }
        }
        if constexpr (tile::sharers == 1) {
            __syncwarp();
        } else {
            meet_partner();
        }
        // Neighbouring lanes take neighbouring pieces of a row.
        constexpr int lanes = core::min(copy_chunks, 32);
        constexpr int mine = tile::rows_of_warp / tile::sharers; // rows to send
        const int chunk = lane() % lanes;
        const int first = first_row() + group() * mine + lane() / lanes;
        T* out = static_cast<T*>(a_.out) + chunk * 8 +
                 a_.out_layout.place(work_.batch, work_.head, work_.run.row_span.begin + first);
        const int rows = chunk * 8 < static_cast<int>(a_.shape.value_dim) ? work_.rows - first : 0;
#pragma unroll
        for (int i = 0; i < mine; i += 32 / lanes) {
            if (i < rows) {
                *reinterpret_cast<uint4*>(out) =
                    *reinterpret_cast<const uint4*>(tiles_ + chunk_offset<tile::rows>(first + i, chunk));
            }
            out += 32 / lanes * a_.out_layout.row;
        }
    }

    /// O element by element, normalised unless it is a partial result.
    template <class Out>
    __device__ __forceinline__ void store_rows(Out* out) {
        const auto columns = static_cast<int>(a_.shape.value_dim);
        out += a_.out_layout.place(work_.batch, work_.head, work_.run.row_span.begin);
#pragma unroll
        for (int m = 0; m < blocks; ++m) {
#pragma unroll
            for (int r = 0; r < 2; ++r) {
                const float factor = a_.kind == out_kind::partial ? 1.0F : core::finish_factor(state_[m][r]);
                if (row(m, r) >= work_.rows) continue;
                Out* const line = out + row(m, r) * a_.out_layout.row;
#pragma unroll
                for (int j = 0; j < tile::columns_of_warp / 8; ++j) {
#pragma unroll
                    for (int e = 0; e < 2; ++e) {
                        const int c = column(j) + lane() % 4 * 2 + e;
                        if (c < columns) line[c] = static_cast<Out>(o_[m][4 * j + 2 * r + e] * factor);
                    }
                }
            }
        }
    }

    /// The log-sum-exp of each row, or its {max, sum}.
    __device__ __forceinline__ void store_states() {
        if (lane() % 4 != 0 || group() != 0 || a_.lse == nullptr) return;
        const bool partial = a_.kind == out_kind::partial;
        const index_t split = partial ? blockIdx.y * a_.split_stride_rows : 0;
        const index_t first = work_.run.row_span.begin;
#pragma unroll
        for (int m = 0; m < blocks; ++m) {
#pragma unroll
            for (int r = 0; r < 2; ++r) {
                const row_state<float>& state = state_[m][r];
                if (row(m, r) >= work_.rows) continue;
                static_cast<float*>(a_.lse)[split + a_.lse_layout.place(work_.batch, work_.head, first + row(m, r))] =
                    partial ? state.sum : core::finish_lse(state);
                if (!partial) continue;
                static_cast<float*>(a_.max)[split + a_.max_layout.place(work_.batch, work_.head, first + row(m, r))] =
                    state.max;
            }
        }
    }

    const forward_arguments& a_;
    const half_constants& constants_;
    half_work<T>& work_;
    char* tiles_;
    std::uint32_t q_at_, k_at_, v_at_; ///< this lane's chunks of the first 16 rows and columns (stage 0)
    std::uint32_t to_;                 ///< where this thread copies to (K, stage 0)
    const T* k_from_;                  ///< where from, of the next tile
    const T* v_from_;
    bool first_ = true;        ///< no tile has come yet
    bool copies_ = false;      ///< the next products issue the copies of a tile
    bool key_follows_ = false; ///< there is a next tile
    float s_[blocks][tile::keys_of_warp / 2];
    float o_[blocks][tile::columns_of_warp / 2];
    row_state<float> state_[blocks][2];
};

/// Block x: (row tile, head, batch) in the order of `item`; block y: the split of the keys.
template <class T, class tile>
__global__ void __launch_bounds__(tile::threads, tile::resident)
    half_kernel(const __grid_constant__ forward_arguments a, const __grid_constant__ half_constants constants) {
    extern __shared__ char raw[];
    __shared__ alignas(half_work<T>) char memory[sizeof(half_work<T>)];
    auto& facts = *reinterpret_cast<half_work<T>*>(memory);
    const auto heads = static_cast<unsigned>(a.shape.q_heads);
    const work_item work =
        item(blockIdx.x, static_cast<unsigned>(a.shape.batch) * heads,
             static_cast<unsigned>(core::ceil_div(a.shape.q_len, tile::rows)), static_cast<unsigned>(a.tail));
    const unsigned batch = static_cast<unsigned>(work.head) / heads;
    const unsigned head = static_cast<unsigned>(work.head) % heads;
    half_machine<T, tile> machine(a, constants, facts,
                                  raw + (tile_alignment - ptx::shared_address(raw) % tile_alignment) % tile_alignment);
    machine.fetch_queries(batch, head, work.row_tile);
    if (threadIdx.x == 0) {
        core::sequence part = a.shape.sequence_of(batch);
        if (a.tiles.key_splits > 1) {
            part = part.part(split_keys(part.k_len, tile::keys, a.tiles.key_splits, static_cast<index_t>(blockIdx.y)));
        }
        const core::schedule plan(part, a.shape.band_of(part), tile::rows, tile::keys);
        const unsigned kv_head = head / (heads / static_cast<unsigned>(a.shape.kv_heads));
        tile_run run = tile_run::of<tile::keys>(plan, work.row_tile);
        if (constants.scale.sign != 1.0F) run.full_end = run.full_begin; // signs change where masks cut
        facts.run = run;
        facts.visible = {plan.mask.lo(run.row_span.begin), plan.mask.hi(run.row_span.end - 1)};
        facts.low = run.row_span.begin + part.offset - a.shape.left;
        facts.high = run.row_span.begin + part.offset + a.shape.right + 1;
        facts.k_len = part.k_len;
        facts.k = static_cast<const T*>(a.k) + a.k_layout.place(batch, kv_head, part.k_begin);
        facts.v = static_cast<const T*>(a.v) + a.v_layout.place(batch, kv_head, part.k_begin);
        facts.batch = static_cast<int>(batch);
        facts.head = static_cast<int>(head);
        facts.rows = static_cast<int>(run.row_span.size());
    }
    __syncthreads();
    tile_run run = facts.run;
    // The same number in every lane, and known as such: it can live in a uniform register.
    const auto uniform = [](int x) { return __shfl_sync(0xffffffffU, x, 0); };
    run.begin = uniform(run.begin);
    run.end = uniform(run.end);
    run.full_begin = uniform(run.full_begin);
    run.full_end = uniform(run.full_end);
    core::walk::forward(machine, run, work.row_tile);
}

} // namespace pantile::cuda
