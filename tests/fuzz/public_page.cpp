// The public page: a call made up from the input is refused exactly where the model (page_model.hpp) says so, with a text that
// names what is wrong; an accepted one writes every element of its outputs and nothing else, and gives the same bits again on
// one thread without a workspace. explain agrees.
#include <algorithm>
#include <cstring>

#include <pantile/error.hpp>

#include "page_model.hpp"

#if defined(__SANITIZE_ADDRESS__)
#define PANTILE_ASAN
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define PANTILE_ASAN
#endif
#endif
#ifdef PANTILE_ASAN
#include <sanitizer/asan_interface.h>
#endif

namespace pantile::fuzz {
namespace {

constexpr unsigned char poison = 0xff; // four of them are a NaN that no operation gives

/// Numbers that are finite and positive in every type.
std::vector<std::byte> filled_arena() {
    std::vector<std::byte> arena(static_cast<std::size_t>(arena_bytes));
    for (std::size_t n = 0; n < arena.size(); ++n) arena[n] = static_cast<std::byte>(n % 2 == 1 ? 0x3f : n * 37 % 251);
    return arena;
}

double size_of(const page_call& c) {
    const view &q = c.views[0], &k = c.has_options() ? c.views[1] : c.views[0];
    const view& v = c.has_options() ? c.views[2] : c.views[0];
    double size = 1;
    for (const index_t n : {q.extent[0], q.extent[1], q.extent[2], k.extent[2]})
        size *= static_cast<double>(std::max<index_t>(n, 1));
    return size * (static_cast<double>(q.extent[3]) + static_cast<double>(v.extent[3]) + 3);
}

bool is_small(const page_call& c) {
    for (const view& v : c.views)
        for (const index_t n : v.extent)
            if (n > 65536) return false;
    return size_of(c) < 1e6;
}

/// Can explain count what the call would do? It walks over tiles.
bool is_countable(const page_call& c) {
    for (const view& v : c.views) {
        if (v.extent[0] > 1000 || v.extent[2] > 1000) return false;
    }
    return size_of(c) < 1e16;
}

/// The places of all elements, one list a view, if they all lie in the arena.
std::optional<std::vector<std::vector<index_t>>> places_inside(const page_call& c) {
    std::vector<std::vector<index_t>> all;
    for (const view& v : c.views) {
        auto places = places_of(v);
        if (!places) return std::nullopt;
        if (!places->empty() && (places->front() < 0 || places->back() + v.element_bytes > c.used)) return std::nullopt;
        all.push_back(std::move(*places));
    }
    return all;
}

/// The definition of the mask, pair by pair, in 128 bits.
double visible_pairs(const page_call& c) {
    __extension__ typedef __int128 wide; // NOLINT(modernize-use-using)
    const view &q = c.views[0], &k = c.views[1];
    double pairs = 0;
    for (index_t b = 0; b < q.extent[0]; ++b) {
        const wide keys = c.key_lengths.empty() ? k.extent[2] : c.key_lengths[static_cast<std::size_t>(b)];
        const wide offset = c.o.mask.align == alignment::top_left       ? wide{0}
                            : c.o.mask.align == alignment::bottom_right ? keys - q.extent[2]
                                                                        : wide{c.o.mask.offset};
        for (index_t i = 0; i < q.extent[2]; ++i)
            for (wide j = 0; j < keys; ++j)
                pairs += j >= i + offset - c.o.mask.left && j <= i + offset + c.o.mask.right ? 1 : 0;
    }
    return pairs * static_cast<double>(q.extent[1]);
}

template <class F>
std::string refusal_of(F&& f) {
    try {
        f();
    } catch (const invalid_argument& e) {
        return e.what();
    } catch (const unsupported& e) {
        return e.what();
    }
    return {};
}

/// Only the elements of a call may be read while it runs, where the compiler watches.
class guarded {
  public:
    guarded([[maybe_unused]] const page_call& c, [[maybe_unused]] const std::vector<std::vector<index_t>>& places,
            [[maybe_unused]] std::byte* arena, [[maybe_unused]] const options& o) {
#ifdef PANTILE_ASAN
        arena_ = arena;
        ASAN_POISON_MEMORY_REGION(arena, arena_bytes);
        for (std::size_t n = 0; n < places.size(); ++n) {
            for (const index_t at : places[n]) ASAN_UNPOISON_MEMORY_REGION(arena + at, c.views[n].element_bytes);
        }
        ASAN_UNPOISON_MEMORY_REGION(o.key_lengths.ref().data(),
                                    static_cast<std::size_t>(o.key_lengths.size()) * sizeof(index_t));
        for (const head_numbers* h : {&o.slopes, &o.sinks}) {
            if (h->ref().given())
                ASAN_UNPOISON_MEMORY_REGION(h->ref().data(),
                                            static_cast<std::size_t>(h->size() * h->ref().element_bytes()));
        }
        ASAN_UNPOISON_MEMORY_REGION(o.workspace.data(), o.workspace.size());
#endif
    }
    guarded(const guarded&) = delete;
    guarded& operator=(const guarded&) = delete;
    ~guarded() {
#ifdef PANTILE_ASAN
        ASAN_UNPOISON_MEMORY_REGION(arena_, arena_bytes);
#endif
    }

  private:
#ifdef PANTILE_ASAN
    std::byte* arena_ = nullptr;
#endif
};

class page_run {
  public:
    explicit page_run(const page_call& c) : call_(c) {
        static const std::vector<std::byte> numbers = filled_arena();
        arena_ = numbers;
        options_ = c.o;
        if (!c.key_lengths.empty()) {
            auto* to = arena_.data() + *c.key_lengths_at;
            std::memcpy(to, c.key_lengths.data(), c.key_lengths.size() * sizeof(index_t));
            options_.key_lengths = {reinterpret_cast<const index_t*>(to), c.key_lengths.size()};
        }
        options_.slopes = placed(c.slopes);
        options_.sinks = placed(c.sinks);
        options_.workspace = {arena_.data() + c.workspace_at, static_cast<std::size_t>(c.workspace_bytes)};
    }

    void hold() {
        // Of two arrays of the options in one place, one does not hold what the call says.
        if (arrays_share_memory()) return;
        judgement j = judge(call_);
        if (call_.has_options()) hold_explain(j);
        // A right call of memory that is not ours, or of days, is not made.
        if (!j.must_be_refused()) {
            auto places = is_small(call_) ? places_inside(call_) : std::nullopt;
            if (!places) return;
            places_ = std::move(*places);
        }
        for (std::size_t n = 0; n < call_.views.size() && !j.must_be_refused(); ++n) poison_output(n);
        const std::vector<std::byte> before = arena_;
        const std::string text = refusal_of([&] { run(options_, j); });
        hold_verdict("the page", text, with(j.inputs, j.others), j.doubts);
        if (!text.empty()) return require(arena_ == before, "the page wrote, then refused: " + text);
        hold_outputs(before);
        const std::vector<std::byte> once = arena_;
        arena_ = before;
        options_.workspace = {};
        options_.threads = 1;
        run(options_, j);
        for (std::size_t n = 0; n < call_.views.size(); ++n) {
            const view& v = call_.views[n];
            if (!v.output) continue;
            for (const index_t at : places_[n])
                require(std::memcmp(&arena_[static_cast<std::size_t>(at)], &once[static_cast<std::size_t>(at)],
                                    static_cast<std::size_t>(v.element_bytes)) == 0,
                        [&] { return std::string("the page gave other bits on one thread: ") + v.name; });
        }
    }

  private:
    head_numbers placed(const heads& h) {
        std::byte* const to = arena_.data() + h.at;
        for (std::size_t n = 0; n < h.numbers.size(); ++n) {
            const double wide = h[n];
            const auto narrow = static_cast<float>(wide);
            if (h.narrow) std::memcpy(to + n * sizeof narrow, &narrow, sizeof narrow);
            if (!h.narrow) std::memcpy(to + n * sizeof wide, &wide, sizeof wide);
        }
        const memory where = h.device ? memory::device : memory::host;
        if (h.narrow) return {h.null ? nullptr : reinterpret_cast<const float*>(to), h.numbers.size(), where};
        return {h.null ? nullptr : reinterpret_cast<const double*>(to), h.numbers.size(), where};
    }

    [[nodiscard]] bool arrays_share_memory() const {
        const auto lengths_bytes = static_cast<index_t>(call_.key_lengths.size() * sizeof(index_t));
        const std::pair<index_t, index_t> arrays[] = {{call_.key_lengths_at.value_or(0), lengths_bytes},
                                                      {call_.slopes.at, call_.slopes.bytes()},
                                                      {call_.sinks.at, call_.sinks.bytes()}};
        for (int i = 0; i < 3; ++i) {
            for (int j = 0; j < i; ++j) {
                const auto& [a, a_bytes] = arrays[i];
                const auto& [b, b_bytes] = arrays[j];
                if (a < b + b_bytes && b < a + a_bytes) return true;
            }
        }
        return false;
    }

    static std::vector<fault> with(std::vector<fault> a, const std::vector<fault>& b) {
        a.insert(a.end(), b.begin(), b.end());
        return a;
    }

    void run(const options& o, const judgement& j) {
        if (j.must_be_refused()) return call_page(call_, arena_.data(), o);
        const guarded watched(call_, places_, arena_.data(), o);
        call_page(call_, arena_.data(), o);
    }

    /// explain refuses the same, whatever memory the call has, and knows how large its workspace must be.
    void hold_explain(judgement& j) {
        if (j.inputs.empty() && !is_countable(call_)) return;
        explanation e;
        const std::string text = refusal_of([&] { e = explain_page(call_, arena_.data(), options_); });
        hold_verdict("explain", text, j.inputs, j.doubts);
        if (!text.empty()) return;
        require(e.machine == "cpu" && e.threads >= 1 && e.workspace_bytes >= 0 && e.read_bytes >= 0 &&
                    e.write_bytes >= 0 && e.tiles.key_tile >= 1 && e.tiles.key_splits >= 1 && !to_string(e).empty(),
                "explain tells nonsense");
        if (is_small(call_)) {
            const auto d = static_cast<double>(call_.views[0].extent[3]),
                       dv = static_cast<double>(call_.views[2].extent[3]);
            const double a_pair = call_.what == function::backward ? 6 * d + 4 * dv : 2 * (d + dv);
            require(e.flops == a_pair * visible_pairs(call_), "explain counts other pairs than the mask shows");
        }
        if (call_.workspace_bytes > 0 && call_.workspace_bytes < e.workspace_bytes)
            j.others.push_back({"options.workspace has " + std::to_string(call_.workspace_bytes) +
                                    " bytes, this call needs " + std::to_string(e.workspace_bytes),
                                "workspace_bytes"});
    }

    /// Outputs that are read too, in place or to be added to, keep their numbers.
    void poison_output(std::size_t number) {
        const view& v = call_.views[number];
        if (!v.output || v.empty() || call_.o.accumulate) return;
        for (const view& other : call_.views) {
            if (!other.output && !other.empty() && other.at == v.at) return;
        }
        for (const index_t at : places_[number])
            std::memset(arena_.data() + at, poison, static_cast<std::size_t>(v.element_bytes));
    }

    void hold_outputs(const std::vector<std::byte>& before) {
        std::vector<std::byte> expected = before; // what may have changed is taken as it is
        const auto take = [&](index_t at, index_t size) {
            std::memcpy(expected.data() + at, arena_.data() + at, static_cast<std::size_t>(size));
        };
        for (std::size_t n = 0; n < call_.views.size(); ++n) {
            const view& v = call_.views[n];
            if (!v.output || v.empty()) continue;
            const std::vector<std::byte> unwritten(static_cast<std::size_t>(v.element_bytes), std::byte{poison});
            for (const index_t at : places_[n]) {
                take(at, v.element_bytes);
                require(std::memcmp(arena_.data() + at, unwritten.data(), unwritten.size()) != 0,
                        [&] { return std::string("the page left an element unwritten: ") + v.name; });
            }
        }
        take(call_.workspace_at, call_.workspace_bytes);
        if (arena_ == expected) return;
        const auto at = std::mismatch(arena_.begin(), arena_.end(), expected.begin()).first - arena_.begin();
        require(false, "the page wrote to byte " + std::to_string(at) + ", which is no output's");
    }

    const page_call& call_;
    std::vector<std::byte> arena_;
    std::vector<std::vector<index_t>> places_; ///< of the elements of each view, once the call is to be made
    options options_;
};

} // namespace

void public_page(std::span<const std::uint8_t> input) {
    bytes from(input);
    const page_call c = make_call(from);
    page_run(c).hold();
}

} // namespace pantile::fuzz
