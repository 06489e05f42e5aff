#include "page_call.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

namespace pantile::fuzz {
namespace {

constexpr index_t limit = index_t{1} << 48;

/// What people get wrong, and what overflows.
index_t any_number(bytes& from) {
    static constexpr index_t special[] = {-1,
                                          limit,
                                          limit + 1,
                                          -limit,
                                          -limit - 1,
                                          std::numeric_limits<index_t>::max(),
                                          std::numeric_limits<index_t>::min(),
                                          index_t{1} << 31,
                                          index_t{1} << 32,
                                          index_t{1} << 40,
                                          -(index_t{1} << 40),
                                          index_t{1} << 62,
                                          unbounded,
                                          unbounded + 1,
                                          1000,
                                          -1000};
    const int b = from.byte();
    return b < 32 ? special[b % 16] : b / 4 - 24; // -16 … 39
}

index_t input_bytes(number t) { return t == number::f64 ? 8 : t == number::f32 ? 4 : 2; }
index_t result_bytes(number t) { return t == number::f64 ? 8 : t == number::f16 || t == number::bf16 ? 2 : 4; }
index_t statistic_bytes(number t) { return t == number::f64 ? 8 : 4; }

/// Lays the views of a function out one behind the other, dense.
class layout_maker {
  public:
    layout_maker(page_call& c, bool tokens_first) : c_(c), tokens_first_(tokens_first) {}
    void add(const char* name, bool output, std::array<index_t, 4> e, index_t element_bytes, int rank = 4) {
        view v{name, output, rank, e, {}, c_.used + 64, false, element_bytes};
        const index_t dim = rank == 4 ? e[3] : 1;
        v.stride = tokens_first_ ? std::array<index_t, 4>{e[1] * e[2] * dim, dim, e[1] * dim, 1}
                                 : std::array<index_t, 4>{e[1] * e[2] * dim, e[2] * dim, dim, 1};
        if (rank == 3) v.extent[3] = 1;
        c_.used = v.at + (e[0] * e[1] * e[2] * dim * element_bytes + 63) / 64 * 64;
        c_.views.push_back(v);
    }

  private:
    page_call& c_;
    bool tokens_first_;
};

void lay_out(page_call& c, bytes& from) {
    const index_t in = input_bytes(c.type);
    const index_t result = result_bytes(c.type);
    const index_t statistic = statistic_bytes(c.type);
    static constexpr index_t lengths[] = {1, 2, 3, 4, 5, 8, 11, 17, 33, 0};
    const index_t batch = 1 + from.below(2);
    const index_t kv_heads = 1 + from.below(2);
    const index_t heads = kv_heads * (1 + from.below(2));
    const index_t rows = lengths[from.below(10)];
    const index_t keys = lengths[from.below(10)];
    const index_t dim = from.below(6);
    const index_t value_dim = from.below(6);
    layout_maker make(c, from.flag());
    const std::array<index_t, 4> q{batch, heads, rows, dim}, k{batch, kv_heads, keys, dim};
    const std::array<index_t, 4> v{batch, kv_heads, keys, value_dim}, o{batch, heads, rows, value_dim};
    const auto add_part = [&](const char* out, const char* max, const char* sum, bool output) {
        make.add(out, output, o, statistic);
        make.add(max, output, o, statistic, 3);
        make.add(sum, output, o, statistic, 3);
    };
    if (c.what == function::merge) {
        add_part("a.out", "a.max", "a.sum", false);
        add_part("b.out", "b.max", "b.sum", false);
        add_part("part.out", "part.max", "part.sum", true);
        return;
    }
    if (c.what == function::finish) {
        add_part("part.out", "part.max", "part.sum", false);
        make.add("out", true, o, statistic);
        make.add("lse", true, o, statistic, 3);
        return;
    }
    make.add("q", false, q, in), make.add("k", false, k, in), make.add("v", false, v, in);
    if (c.what == function::partial) return add_part("part.out", "part.max", "part.sum", true);
    if (c.what == function::backward) {
        make.add("out", false, o, in), make.add("lse", false, o, statistic, 3), make.add("dout", false, o, in);
        make.add("dq", true, q, result), make.add("dk", true, k, result), make.add("dv", true, v, result);
        return;
    }
    make.add("out", true, o, result);
    if (c.what == function::forward_lse) make.add("lse", true, o, statistic, 3);
}

/// One of the function's tensors.
view& any_view(page_call& c, bytes& from) {
    return c.views[static_cast<std::size_t>(from.below(static_cast<int>(c.tensors)))];
}

void spoil_view(page_call& c, bytes& from) {
    view& v = any_view(c, from);
    const auto axis = static_cast<std::size_t>(from.below(v.rank));
    switch (from.below(9)) {
    case 0:
        v.extent[axis] = any_number(from);
        break;
    case 1:
        v.stride[axis] = any_number(from);
        break;
    case 2:
        v.null = true;
        break;
    case 3: { // onto or beside another one
        const view& other = any_view(c, from);
        v.at = (other.at / v.element_bytes + from.below(64) - 32) * v.element_bytes;
        break;
    }
    case 4:
        std::swap(v.extent[1], v.extent[2]);
        std::swap(v.stride[1], v.stride[2]);
        break;
    case 5: // backwards
        if (v.extent[axis] > 0 && v.extent[axis] < 100 && std::abs(v.stride[axis] / 2) < limit) {
            v.at += v.stride[axis] * (v.extent[axis] - 1) % arena_bytes * v.element_bytes;
            v.stride[axis] = -v.stride[axis];
        }
        break;
    case 6:
        v.stride[axis] = 0;
        break;
    case 7: { // the very memory of another one
        const view& other = any_view(c, from);
        v.at = other.at / v.element_bytes * v.element_bytes;
        v.stride = other.stride;
        break;
    }
    default: // with gaps
        for (index_t& s : v.stride) {
            if (std::abs(s / 2) < limit) s *= 2;
        }
    }
}

/// Memory of its own, or that of a tensor.
index_t any_place(page_call& c, bytes& from) {
    if (from.below(4) == 0) return any_view(c, from).at / 8 * 8;
    c.used += 256;
    return c.used - 192;
}

void make_heads(page_call& c, heads& h, bytes& from) {
    static constexpr double numbers[] = {
        0.5,   0.0,  -0.25, 2.0,      8.0,      1e-320,    3e38,
        -3e38, 2e38, 1e300, -1.5e308, HUGE_VAL, -HUGE_VAL, std::numeric_limits<double>::quiet_NaN()};
    const int form = from.byte();
    h.narrow = (form & 1) != 0;
    h.null = form / 2 % 16 == 1;
    h.device = form / 2 % 16 == 2;
    // One a query head, one a batch and query head, or some other number of them. Heads may be very many by now.
    const view& q = c.views[0];
    const index_t counts[] = {q.extent[1], q.extent[1], q.extent[0] % 64 * (q.extent[1] % 64), from.below(12)};
    const index_t count = std::clamp<index_t>(counts[form / 64], 0, 16);
    h.numbers.clear();
    // As many zeros as there are numbers behind the input's end; otherwise mostly ordinary ones.
    for (index_t n = 0; n < count; ++n) {
        const int b = from.byte();
        h.numbers.push_back(b < 28 ? numbers[b % 14] : (b - 128) / 64.0);
    }
    h.at = any_place(c, from);
}

/// Asks a backward call for dslopes, dsinks or both.
void want_gradients(page_call& c, bytes& from) {
    if (c.what != function::backward || c.views.size() > c.tensors) return;
    const int which = 1 + from.below(3);
    const char* const names[] = {"dslopes", "dsinks"};
    for (int n = 0; n < 2; ++n) {
        if ((which >> n & 1) == 0) continue;
        const int form = from.byte();
        const index_t count = form < 192 ? c.views[0].extent[1] : form % 16;
        view v{names[n], true, 3, {1, 1, count, 1}, {0, 0, 1, 1}};
        v.element_bytes = (form & 1) != 0 ? 4 : 8;
        v.null = form / 2 % 16 == 1;
        v.device = form / 2 % 16 == 2;
        v.at = any_place(c, from);
        c.views.push_back(v);
    }
}

/// What came later than the other options: by bytes that stood for the first few of them a second time.
void spoil_features(page_call& c, bytes& from, int which) {
    static constexpr double caps[] = {30.0,
                                      0.0,
                                      0.5,
                                      1e-40,
                                      -1.0,
                                      -0.0,
                                      3e38,
                                      2e38,
                                      1e300,
                                      1.5e308,
                                      1e308,
                                      HUGE_VAL,
                                      std::numeric_limits<double>::quiet_NaN()};
    switch (which) {
    case 0:
        c.o.softcap = caps[from.below(13)];
        break;
    case 1:
        make_heads(c, c.slopes, from);
        break;
    case 2:
        make_heads(c, c.sinks, from);
        break;
    default:
        want_gradients(c, from);
    }
}

void spoil_options(page_call& c, bytes& from) {
    options& o = c.o;
    const int which = from.byte();
    if (which >= 252) spoil_features(c, from, which - 252);
    switch (which >= 252 ? -1 : which % 14) {
    case -1:
        break;
    case 0:
        o.mask.left = any_number(from);
        break;
    case 1:
        o.mask.right = any_number(from);
        break;
    case 2:
        o.mask.offset = any_number(from);
        break;
    case 3:
        o.mask.align = static_cast<alignment>(from.below(5));
        break;
    case 4: {
        static constexpr double scales[] = {1.0,   0.0,      -0.5,      3e38,
                                            -3e38, 2e38,     1e300,     1.5e308,
                                            1e308, HUGE_VAL, -HUGE_VAL, std::numeric_limits<double>::quiet_NaN()};
        o.scale = scales[from.below(12)];
        break;
    }
    case 5:
        o.threads =
            std::array{1, 2, 3, 7, -1, std::numeric_limits<int>::min(), 0, 4}[static_cast<std::size_t>(from.below(8))];
        break;
    case 6: {
        tile_plan p;
        p.row_tile = any_number(from);
        p.key_tile = any_number(from);
        p.key_splits = any_number(from);
        o.plan = p;
        break;
    }
    case 7:
        o.isa = std::array{isa::baseline, static_cast<isa>(42), isa::automatic, isa::avx2, isa::avx512,
                           isa::amx,      static_cast<isa>(5)}[static_cast<std::size_t>(from.below(7))];
        break;
    case 8:
        o.accumulate = from.flag();
        break;
    case 9: // one a batch, within the keys or not
    case 10: {
        const index_t count = from.flag() ? c.views[0].extent[0] : from.below(5);
        c.key_lengths.clear();
        for (index_t b = 0; b < std::min<index_t>(count, 4); ++b) c.key_lengths.push_back(any_number(from));
        c.key_lengths_at = c.used + 64;
        c.used += 256;
        break;
    }
    case 11: // onto a tensor
        if (!c.key_lengths.empty()) c.key_lengths_at = any_view(c, from).at / 8 * 8;
        break;
    case 12:
        c.workspace_at = c.used + 64 + from.below(64);
        c.workspace_bytes = index_t{1} << from.below(17);
        c.used = c.workspace_at + c.workspace_bytes;
        break;
    default:
        c.workspace_at = any_view(c, from).at;
        c.workspace_at -= from.below(256);
        c.workspace_bytes = 256;
    }
    // Memory of options is always the arena's.
    const auto into_arena = [](index_t at) { return std::clamp<index_t>(at, 0, arena_bytes / 2); };
    if (c.key_lengths_at) c.key_lengths_at = into_arena(*c.key_lengths_at);
    c.slopes.at = into_arena(c.slopes.at);
    c.sinks.at = into_arena(c.sinks.at);
    c.workspace_at = into_arena(c.workspace_at);
    c.used = std::min(c.used, arena_bytes);
}

template <class T>
tensor_view<T> tensor_at(const view& v, std::byte* arena) {
    T* data = v.null
                  ? nullptr
                  : reinterpret_cast<T*>(reinterpret_cast<std::uintptr_t>(arena) + static_cast<std::uintptr_t>(v.at));
    return {data, v.extent, v.stride};
}

template <class T>
row_view<T> rows_at(const view& v, std::byte* arena) {
    return {
        tensor_at<T>(v, arena).data, {v.extent[0], v.extent[1], v.extent[2]}, {v.stride[0], v.stride[1], v.stride[2]}};
}

template <class T>
partial_view<T> part_at(const page_call& c, std::size_t first, std::byte* arena) {
    return {tensor_at<T>(c.views[first], arena), rows_at<T>(c.views[first + 1], arena),
            rows_at<T>(c.views[first + 2], arena)};
}

head_gradients gradients_at(const view& v, std::byte* arena) {
    const auto count = static_cast<std::size_t>(v.extent[2]);
    const memory where = v.device ? memory::device : memory::host;
    if (v.element_bytes == 4) return {tensor_at<float>(v, arena).data, count, where};
    return {tensor_at<double>(v, arena).data, count, where};
}

template <class In, class Out, class Stat>
void call_typed(const page_call& c, std::byte* arena, const options& o) {
    const auto& v = c.views;
    if (c.what == function::merge) {
        return merge(part_at<Stat>(c, 0, arena), part_at<Stat>(c, 3, arena), part_at<Stat>(c, 6, arena));
    }
    if (c.what == function::finish) {
        return finish(part_at<Stat>(c, 0, arena), tensor_at<Stat>(v[3], arena), rows_at<Stat>(v[4], arena));
    }
    const auto q = tensor_at<const In>(v[0], arena), k = tensor_at<const In>(v[1], arena),
               w = tensor_at<const In>(v[2], arena);
    switch (c.what) {
    case function::forward:
        return attention(q, k, w, tensor_at<Out>(v[3], arena), o);
    case function::forward_lse:
        return attention(q, k, w, tensor_at<Out>(v[3], arena), rows_at<Stat>(v[4], arena), o);
    case function::partial:
        return attention_partial(q, k, w, part_at<Stat>(c, 3, arena), o);
    default:
        if (v.size() > c.tensors) {
            gradients to{.dq = tensor_at<Out>(v[6], arena),
                         .dk = tensor_at<Out>(v[7], arena),
                         .dv = tensor_at<Out>(v[8], arena)};
            for (std::size_t n = c.tensors; n < v.size(); ++n) {
                (std::string(v[n].name) == "dslopes" ? to.dslopes : to.dsinks) = gradients_at(v[n], arena);
            }
            return attention_backward(q, k, w, tensor_at<const In>(v[3], arena), rows_at<const Stat>(v[4], arena),
                                      {.dout = tensor_at<const In>(v[5], arena)}, to, o);
        }
        return attention_backward(q, k, w, tensor_at<const In>(v[3], arena), rows_at<const Stat>(v[4], arena),
                                  tensor_at<const In>(v[5], arena), tensor_at<Out>(v[6], arena),
                                  tensor_at<Out>(v[7], arena), tensor_at<Out>(v[8], arena), o);
    }
}

template <class In>
explanation explain_typed(const page_call& c, std::byte* arena, const options& o) {
    const auto q = tensor_at<const In>(c.views[0], arena), k = tensor_at<const In>(c.views[1], arena),
               v = tensor_at<const In>(c.views[2], arena);
    return c.what == function::backward ? explain_backward(q, k, v, o) : explain(q, k, v, o);
}

} // namespace

bool view::empty() const { return std::find(extent.begin(), extent.begin() + rank, 0) != extent.begin() + rank; }

const view& page_call::named(const std::string& name) const {
    return *std::find_if(views.begin(), views.end(), [&](const view& v) { return v.name == name; });
}

page_call make_call(bytes& from) {
    page_call c;
    c.what = static_cast<function>(from.below(6));
    c.type = static_cast<number>(from.below(6));
    if (!c.has_options() && c.type != number::f64) c.type = number::f32; // parts have these types only
    lay_out(c, from);
    c.tensors = c.views.size();
    for (int changes = 0; !from.ended() && changes < 12; ++changes) {
        if (c.has_options() && from.flag()) {
            spoil_options(c, from);
        } else {
            spoil_view(c, from);
        }
    }
    return c;
}

std::optional<std::vector<index_t>> places_of(const view& v) {
    constexpr double most = 20000;
    double count = 1;
    for (int i = 0; i < v.rank; ++i) count *= static_cast<double>(v.extent[static_cast<std::size_t>(i)]);
    if (count > most) return std::nullopt;
    std::vector<index_t> places;
    const index_t dims = v.rank == 4 ? v.extent[3] : 1;
    for (index_t b = 0; b < v.extent[0] && count > 0; ++b)
        for (index_t h = 0; h < v.extent[1]; ++h)
            for (index_t i = 0; i < v.extent[2]; ++i)
                for (index_t x = 0; x < dims; ++x)
                    places.push_back(v.at + v.element_bytes * (b * v.stride[0] + h * v.stride[1] + i * v.stride[2] +
                                                               x * (v.rank == 4 ? v.stride[3] : 0)));
    if (!std::is_sorted(places.begin(), places.end())) std::sort(places.begin(), places.end());
    return places;
}

void call_page(const page_call& c, std::byte* arena, const options& o) {
    switch (c.type) {
    case number::f32:
        return call_typed<float, float, float>(c, arena, o);
    case number::f64:
        return call_typed<double, double, double>(c, arena, o);
    case number::f16:
        return call_typed<float16, float16, float>(c, arena, o);
    case number::f16_widened:
        return call_typed<float16, float, float>(c, arena, o);
    case number::bf16:
        return call_typed<bfloat16, bfloat16, float>(c, arena, o);
    case number::bf16_widened:
        return call_typed<bfloat16, float, float>(c, arena, o);
    }
}

explanation explain_page(const page_call& c, std::byte* arena, const options& o) {
    switch (c.type) {
    case number::f32:
        return explain_typed<float>(c, arena, o);
    case number::f64:
        return explain_typed<double>(c, arena, o);
    case number::f16:
    case number::f16_widened:
        return explain_typed<float16>(c, arena, o);
    default:
        return explain_typed<bfloat16>(c, arena, o);
    }
}

} // namespace pantile::fuzz
