// Every refusal of the page, one by one: each size of each argument of each function in every type, each option. The text is
// held in full: which argument, its value, and the limit or the argument that it must fit. Nothing is written before it.
#include <cmath>
#include <limits>

#include <gtest/gtest.h>

#include "page_call.hpp"

namespace pantile::test {
namespace {

constexpr index_t limit = index_t{1} << 48;

TEST(refusals, the_calls_to_spoil_are_valid) {
    for (const page_function f : page_functions) for_every_type(f, [](const auto& call) { EXPECT_NO_THROW(call()); });
}

/// One more, one less and none, in every dim of every tensor.
TEST(refusals, sizes_that_do_not_fit) {
    for (const size_rule& r : size_rules()) {
        for_every_type(r.function, [&](auto& call) {
            index_t& size = call.argument(r.spoilt).extent[r.axis];
            const index_t good = size;
            for (const index_t bad : {good + 1, good - 1, index_t{0}}) {
                if (bad == 0 && std::string(r.spoilt) == "k" && r.axis == 1) continue; // heads that may be none
                size = bad;
                const bool named_is_spoilt = std::string(r.named) == r.spoilt;
                EXPECT_EQ(call.refusal(), "pantile: " + std::string(r.named) + "." + axis_name(r.named, r.axis) +
                                              " is " + std::to_string(named_is_spoilt ? bad : good) + ", " + r.model +
                                              "." + axis_name(r.model, r.axis) + " is " +
                                              std::to_string(named_is_spoilt ? good : bad) + ": they must be equal")
                    << r.spoilt;
            }
            size = good;
        });
    }
}

/// Every size of every tensor stands in a rule: what is added to the page is added here.
TEST(refusals, every_size_has_a_rule) {
    const std::vector<size_rule> all = size_rules();
    for (const page_function f : page_functions) {
        page_call<float, float, float> call(f);
        for (const page_argument& a : call.arguments()) {
            for (int axis = 0; axis < a.rank; ++axis) {
                bool found = a.name == "q" && axis == 1;
                // What explain is not told the length of out, nor its columns.
                const bool explains = f == page_function::explain || f == page_function::explain_backward;
                found = found || (explains && ((a.name == "q" && axis == 2) || (a.name == "v" && axis == 3)));
                for (const size_rule& r : all)
                    found = found || (r.function == f && a.name == r.spoilt && r.axis == axis);
                EXPECT_TRUE(found) << a.name << ' ' << axis;
            }
        }
    }
}

TEST(refusals, query_heads_that_are_no_multiple_of_the_kv_heads) {
    using enum page_function;
    for (const page_function f : {forward, forward_lse, backward, partial, explain, explain_backward}) {
        for_every_type(f, [&](auto& call) {
            for (const index_t heads : {1, 3, 5}) {
                call.q.extent[1] = heads;
                EXPECT_EQ(call.refusal(), "pantile: q.heads is " + std::to_string(heads) +
                                              ", k.heads is 2: q.heads must be a multiple of k.heads");
            }
            call.q.extent[1] = 4;
            call.k.extent[1] = call.v.extent[1] = 0;
            EXPECT_EQ(call.refusal(), "pantile: q.heads is 4, k.heads is 0: q.heads must be a multiple of k.heads");
        });
    }
}

/// A hint where swapping heads and length would mend the call, and nowhere else.
TEST(refusals, the_hint_at_swapped_heads_and_length_is_not_given_in_vain) {
    const std::string hint = " (were heads and length swapped? see pantile::bhsd and pantile::bshd)";
    page_call<float, float, float> call(page_function::forward);
    const auto out_is = [&](index_t heads, index_t length) {
        call.out.extent[1] = heads;
        call.out.extent[2] = length;
        return call.refusal();
    };
    EXPECT_EQ(out_is(7, 4), "pantile: out.heads is 7, q.heads is 4: they must be equal" + hint);
    EXPECT_EQ(out_is(7, 3), "pantile: out.heads is 7, q.heads is 4: they must be equal");
    EXPECT_EQ(out_is(7, 7), "pantile: out.heads is 7, q.heads is 4: they must be equal");
    EXPECT_EQ(out_is(3, 4), "pantile: out.heads is 3, q.heads is 4: they must be equal");
    EXPECT_EQ(out_is(4, 4), "pantile: out.length is 4, q.length is 7: they must be equal");
    out_is(4, 7);
    call.out.extent[0] = 4; // no swap mends the batch
    EXPECT_EQ(call.refusal(), "pantile: out.batch is 4, q.batch is 3: they must be equal");
    call.out.extent[0] = 3;
    // Heads of q and k: each turned alone, or both, where there are more heads than rows.
    const auto heads_are = [&](index_t q_heads, index_t q_len, index_t k_heads, index_t k_len) {
        call.q.extent[1] = q_heads, call.q.extent[2] = q_len;
        call.k.extent[1] = call.v.extent[1] = k_heads, call.k.extent[2] = call.v.extent[2] = k_len;
        const std::string text = call.refusal();
        const std::string plain = "pantile: q.heads is " + std::to_string(q_heads) + ", k.heads is " +
                                  std::to_string(k_heads) + ": q.heads must be a multiple of k.heads";
        EXPECT_EQ(text.substr(0, plain.size()), plain);
        return text.size() > plain.size();
    };
    EXPECT_TRUE(heads_are(7, 4, 2, 11));  // q alone
    EXPECT_TRUE(heads_are(4, 7, 11, 2));  // k alone
    EXPECT_TRUE(heads_are(13, 6, 11, 2)); // both
    EXPECT_FALSE(heads_are(7, 5, 2, 11)); // none mends it
    EXPECT_FALSE(heads_are(3, 4, 2, 11)); // fewer heads than rows, as they should be
    EXPECT_FALSE(heads_are(3, 1, 2, 11)); // one row, of which every number is a multiple
    EXPECT_FALSE(heads_are(4, 7, 11, 1));
}

TEST(refusals, sizes_out_of_range) {
    for (const page_function f : page_functions) {
        for_every_type(f, [](auto& call) {
            for (const page_argument& a : call.arguments()) {
                for (int axis = 0; axis < a.rank; ++axis) {
                    const index_t good = a.extent[axis];
                    for (const index_t bad : {index_t{-1}, limit + 1, std::numeric_limits<index_t>::min(),
                                              std::numeric_limits<index_t>::max()}) {
                        a.extent[axis] = bad;
                        EXPECT_EQ(call.refusal(), "pantile: " + a.name + "." + axis_name(a.name, axis) + " is " +
                                                      std::to_string(bad) + ": it must be between 0 and 2^48");
                    }
                    a.extent[axis] = good;
                }
            }
        });
    }
}

/// The largest size is taken as a number: it is then found not to fit.
TEST(refusals, the_largest_size_is_in_range) {
    page_call<float, float, float> call(page_function::forward);
    call.k.extent[3] = limit;
    EXPECT_EQ(call.refusal(), "pantile: k.head_dim is 281474976710656, q.head_dim is 5: they must be equal");
}

TEST(refusals, strides_out_of_range) {
    for (const page_function f : page_functions) {
        for_every_type(f, [](auto& call) {
            for (const page_argument& a : call.arguments()) {
                for (int axis = 0; axis < a.rank; ++axis) {
                    const index_t good = a.stride[axis];
                    for (const index_t bad : {limit + 1, -limit - 1, std::numeric_limits<index_t>::max(),
                                              std::numeric_limits<index_t>::min()}) {
                        a.stride[axis] = bad;
                        EXPECT_EQ(call.refusal(), "pantile: the stride of " + a.name + "." + axis_name(a.name, axis) +
                                                      " is " + std::to_string(bad) +
                                                      ": it must be within ±2^48 elements");
                    }
                    a.stride[axis] = good;
                }
            }
        });
    }
}

TEST(refusals, null_pointers) {
    for (const page_function f : page_functions) {
        page_call<float, float, float> names(f);
        for (const page_argument& a : names.arguments()) {
            for_every_type(f, [&](auto& call) {
                call.argument(a.name).make_null();
                EXPECT_EQ(call.refusal(), "pantile: " + a.name + ".data is null, but the tensor is not empty");
            });
        }
    }
}

/// Tensors without elements need no memory.
TEST(refusals, null_pointers_are_fine_where_nothing_is) {
    for (const page_function f : page_functions) {
        for_every_type(f, [](auto& call) {
            for (const page_argument& a : call.arguments()) {
                a.make_null();
                a.extent[0] = 0;
            }
            EXPECT_NO_THROW(call());
        });
    }
}

/// Elements of an output that lie in the same place, dim by dim.
TEST(refusals, outputs_that_share_memory_with_themselves) {
    using enum page_function;
    const std::pair<page_function, std::vector<const char*>> outputs[] = {
        {forward, {"out"}},
        {forward_lse, {"out", "lse"}},
        {backward, {"dq", "dk", "dv"}},
        {partial, {"part.out", "part.max", "part.sum"}},
        {merge, {"part.out", "part.max", "part.sum"}},
        {finish, {"out", "lse"}}};
    for (const auto& [f, names] : outputs) {
        for (const char* name : names) {
            for_every_type(f, [&, name = name](auto& call) {
                page_argument& a = call.argument(name);
                for (int axis = 0; axis < a.rank; ++axis) {
                    const index_t good = a.stride[axis];
                    // The dims inside reach one element less than this stride.
                    for (const index_t bad : {index_t{0}, good - 1, 1 - good}) {
                        a.stride[axis] = bad;
                        EXPECT_NE(call.refusal().find(": elements of this output would share memory"),
                                  std::string::npos)
                            << name << " stride " << axis << " is " << bad << ": " << call.refusal();
                    }
                    a.stride[axis] = good;
                }
                a.stride[a.rank - 1] = 0;
                EXPECT_EQ(call.refusal(), "pantile: the stride of " + std::string(name) + "." +
                                              axis_name(name, a.rank - 1) +
                                              " is 0: elements of this output would share memory");
            });
        }
    }
}

/// One option of a call, spoilt; and the text.
struct bad_option {
    std::function<void(options&)> spoil;
    std::string text;
};

std::vector<bad_option> bad_options() {
    static const index_t two[] = {1, 2};
    static const index_t four[] = {1, 2, 3, 4};
    static const index_t negative[][3] = {{-1, 2, 3}, {1, -2, 3}, {1, 2, -3}};
    static const index_t long_ones[][3] = {{12, 2, 3}, {1, 13, 3}, {11, 0, 14}};
    std::vector<bad_option> all;
    const auto add = [&](std::function<void(options&)> spoil, const std::string& text) {
        all.push_back({std::move(spoil), "pantile: options." + text});
    };
    for (const index_t n : {index_t{-1}, std::numeric_limits<index_t>::min()}) {
        add([n](options& o) { o.mask.left = n; },
            "mask.left is " + std::to_string(n) + ": it must be at least 0 (pantile::unbounded lifts the limit)");
        add([n](options& o) { o.mask.right = n; },
            "mask.right is " + std::to_string(n) + ": it must be at least 0 (pantile::unbounded lifts the limit)");
    }
    for (const index_t n : {limit + 1, -limit - 1, std::numeric_limits<index_t>::min()}) {
        add([n](options& o) { o.mask.offset = n; },
            "mask.offset is " + std::to_string(n) + ": it must be within ±2^48");
    }
    const std::pair<double, const char*> infinite[] = {{std::nan(""), "nan"}, {HUGE_VAL, "inf"}, {-HUGE_VAL, "-inf"}};
    for (const auto& [x, text] : infinite) {
        add([x = x](options& o) { o.scale = x; }, std::string("scale is ") + text + ": it must be finite");
    }
    for (const int n : {-1, std::numeric_limits<int>::min()}) {
        add([n](options& o) { o.threads = n; },
            "threads is " + std::to_string(n) + ": it must be at least 0 (0: OpenMP's choice)");
    }
    const tile_plan plans[] = {{-1, 2, 3}, {1, -2, 3}, {1, 2, -3}};
    for (const tile_plan& p : plans) {
        add([p](options& o) { o.plan = p; }, "plan is {" + std::to_string(p.row_tile) + ", " +
                                                 std::to_string(p.key_tile) + ", " + std::to_string(p.key_splits) +
                                                 "}: its fields must be at least 0 (0: chosen)");
    }
    add([](options& o) { o.key_lengths = two; }, "key_lengths has 2 entries, q.batch is 3: there must be one a batch");
    add([](options& o) { o.key_lengths = four; }, "key_lengths has 4 entries, q.batch is 3: there must be one a batch");
    for (std::size_t b = 0; b < 3; ++b) {
        const auto entry = [b](index_t n) {
            return "key_lengths[" + std::to_string(b) + "] is " + std::to_string(n) +
                   ": it must be between 0 and k.length, 11";
        };
        add([b](options& o) { o.key_lengths = negative[b]; }, entry(negative[b][b]));
        add([b](options& o) { o.key_lengths = long_ones[b]; }, entry(long_ones[b][b]));
    }
    return all;
}

TEST(refusals, options_out_of_range) {
    for (const page_function f : page_functions) {
        for_every_type(f, [](auto& call) {
            if (!call.takes_options()) return;
            for (const bad_option& bad : bad_options()) {
                call.options = {};
                bad.spoil(call.options);
                EXPECT_EQ(call.refusal(), bad.text);
            }
        });
    }
}

/// Soft caps, slopes and sinks: in the precision computed in, whatever the type of the tensors and their own.
TEST(refusals, features_out_of_range) {
    static const float many[16] = {1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1};
    for (const page_function f : page_functions) {
        for_every_type(f, [](auto& call) {
            if (!call.takes_options()) return;
            const bool wide = sizeof(*call.q.data) == 8;
            const std::string computed = wide ? "fp64" : "fp32";
            const auto refuses = [&](const std::string& text) {
                EXPECT_EQ(call.refusal(), "pantile: options." + text);
                call.options = {};
            };
            const std::pair<double, const char*> no_caps[] = {{-0.5, "-0.5"},
                                                              {std::nan(""), "nan"},
                                                              {HUGE_VAL, "inf"},
                                                              {wide ? 1.3e308 : 2.5e38, wide ? "1.3e+308" : "2.5e+38"}};
            for (const auto& [cap, text] : no_caps) {
                call.options.softcap = cap;
                refuses(std::string("softcap is ") + text +
                        ": it must be at least 0 (0: off), and softcap · log2(e) finite in " + computed);
            }
            for (const bool of_slopes : {true, false}) {
                const std::string name = of_slopes ? "slopes" : "sinks";
                const auto set = [&](const head_numbers& n) {
                    (of_slopes ? call.options.slopes : call.options.sinks) = n;
                };
                for (const std::size_t count : {1, 3, 5, 7, 11, 12, 13}) {
                    if (of_slopes && count == 12) continue; // one a batch and query head
                    set({many, count});
                    refuses(name + " has " + std::to_string(count) +
                            " entries, q.heads is 4: there must be one a query head" +
                            (of_slopes ? ", or one a batch and query head" : ""));
                }
                set({static_cast<const double*>(nullptr), 4});
                refuses(name + " has 4 entries, but its data is null");
                set(&many[0]);
                refuses(name +
                        " is device memory, q is host memory: they must lie together (a bare pointer means device "
                        "memory: give a range, or a pointer and a count)");
                const std::pair<double, const char*> no_numbers[] = {
                    {std::nan(""), "nan"},
                    {HUGE_VAL, "inf"},
                    {wide ? -1.3e308 : -2.5e38, wide ? "-1.3e+308" : "-2.5e+38"}};
                for (const auto& [x, text] : no_numbers) {
                    const double numbers[] = {1, 0, x, -1};
                    set(numbers);
                    refuses(name + "[2] is " + text + ": it must be finite, also times log2(e) in " + computed +
                            (of_slopes ? "" : ", or minus infinity (no sink)"));
                }
            }
        });
    }
}

/// Gradients of slopes and sinks that a backward call cannot give, or has no room for.
TEST(refusals, gradients_of_heads) {
    const float numbers[12] = {};
    std::vector<double> room(12, 7.0);
    for_every_type(page_function::backward, [&](auto& call) {
        const auto text = [&](const gradients& of_heads) {
            gradients to = of_heads;
            to.dq = call.dq, to.dk = call.dk, to.dv = call.dv;
            try {
                attention_backward(call.q, call.k, call.v, call.given_out, call.lse, {.dout = call.dout}, to,
                                   call.options);
            } catch (const invalid_argument& e) {
                return std::string(e.what());
            }
            return std::string();
        };
        const auto first = [&](std::size_t n, memory where = memory::host) {
            return head_gradients(room.data(), n, where);
        };
        EXPECT_EQ(text({.dslopes = first(4)}), "pantile: dslopes is wanted, but options.slopes is not given");
        EXPECT_EQ(text({.dsinks = first(4)}), "pantile: dsinks is wanted, but options.sinks is not given");
        call.options.slopes = numbers;
        EXPECT_EQ(text({.dslopes = first(12)}),
                  "pantile: dslopes is wanted, but options.slopes has one number a batch and "
                  "query head: gradients are summed over batches");
        call.options.slopes = call.options.sinks = std::span(numbers).first(4);
        for (const std::size_t n : {0, 2, 3, 5, 12}) {
            const std::string fit =
                " has " + std::to_string(n) + " entries, q.heads is 4: there must be one a query head";
            EXPECT_EQ(text({.dslopes = first(n)}), "pantile: dslopes" + fit);
            EXPECT_EQ(text({.dsinks = first(n)}), "pantile: dsinks" + fit);
        }
        EXPECT_EQ(
            text({.dsinks = first(4, memory::device)}),
            "pantile: dsinks is device memory, q is host memory: they must lie together (a bare pointer means device "
            "memory: give a range, or a pointer and a count)");
        EXPECT_EQ(text({.dslopes = {static_cast<float*>(nullptr), 4}}),
                  "pantile: dslopes.data is null, but it has entries");
        head_gradients half = first(4); // what only a binding can make
        half.type = dtype::bf16;
        EXPECT_EQ(text({.dslopes = half}), "pantile: dslopes is bf16: it must be fp32 or fp64");
        const std::string own = ": an output needs memory of its own";
        EXPECT_EQ(text({.dslopes = first(4), .dsinks = {room.data() + 3, 4}}),
                  "pantile: dsinks overlaps dslopes" + own);
        EXPECT_EQ(text({.dsinks = {reinterpret_cast<float*>(call.dv.data), 4}}), "pantile: dsinks overlaps dv" + own);
        call.options.sinks = std::span(room).first(4);
        EXPECT_EQ(text({.dslopes = {room.data() + 3, 4}}), "pantile: dslopes overlaps options.sinks" + own);
        EXPECT_EQ(room, std::vector<double>(12, 7.0));
        EXPECT_EQ(text({.dslopes = {room.data() + 4, 4}, .dsinks = {room.data() + 8, 4}}), "");
        EXPECT_EQ(std::vector<double>(room.begin(), room.begin() + 4), std::vector<double>(4, 7.0));
        room.assign(12, 7.0);
    });
}

/// What each option may be at most, or at least.
TEST(refusals, options_at_their_limits) {
    static const index_t lengths[] = {0, 11, 5};
    static const double numbers[12] = {0, -1, 2, 1e-320, 2.3e38, -2.3e38, 0, 0, 0, 0, 0, 0};
    static const float sinks[] = {-HUGE_VALF, 2.3e38F, -2.3e38F, 0};
    const std::function<void(options&)> at_the_limit[] = {
        [](options& o) { o.mask = window(0, 0); },
        [](options& o) { o.mask = window(unbounded, unbounded); },
        [](options& o) { o.mask = window(std::numeric_limits<index_t>::max(), std::numeric_limits<index_t>::max()); },
        [](options& o) { o.mask = causal().at_offset(limit); },
        [](options& o) { o.mask = causal().at_offset(-limit); },
        [](options& o) {
            o.plan = tile_plan{0, 0, 0};
        },
        [](options& o) {
            o.plan = tile_plan{1, 1, 1};
        },
        [](options& o) { o.threads = 1; },
        [](options& o) { o.scale = 0.0; },
        [](options& o) { o.softcap = 2.3e38; },
        [](options& o) { o.softcap = 5e-324; },
        [](options& o) { o.softcap = -0.0; },
        [](options& o) { o.slopes = numbers; },
        [](options& o) { o.slopes = std::span(numbers).first(4); },
        [](options& o) { o.sinks = sinks; },
        [](options& o) { o.sinks = std::span(numbers).last(4); },
        [](options& o) { o.key_lengths = lengths; }};
    for (const page_function f : page_functions) {
        for (const auto& set : at_the_limit) {
            for_every_type(f, [&](auto& call) {
                set(call.options);
                EXPECT_NO_THROW(call());
            });
        }
    }
}

/// The scale in the precision computed in, whatever the type of the tensors.
TEST(refusals, scales_that_overflow) {
    for (const page_function f : page_functions) {
        for_every_type(f, [](auto& call) {
            if (!call.takes_options()) return;
            const bool wide = sizeof(*call.q.data) == 8;
            for (const double sign : {1.0, -1.0}) {
                call.options.scale = sign * (wide ? 1.5e308 : 3e38);
                EXPECT_EQ(call.refusal(), std::string("pantile: options.scale is ") + (sign < 0.0 ? "-" : "") +
                                              (wide ? "1.5e+308" : "3e+38") + ": scale · log2(e) must be finite in " +
                                              (wide ? "fp64, whose largest number is 1.79769e+308"
                                                    : "fp32, whose largest number is 3.40282e+38"));
                call.options.scale = sign * (wide ? 1.2e308 : 2.3e38);
                EXPECT_NO_THROW(call());
            }
        });
    }
}

TEST(refusals, an_instruction_set_that_nobody_has) {
    for (const page_function f : page_functions) {
        for_every_type(f, [](auto& call) {
            if (!call.takes_options()) return;
            call.options.isa = static_cast<isa>(5);
            EXPECT_EQ(call.refusal().rfind("pantile: options.isa is 5: it must be isa::automatic, isa::baseline, "
                                           "isa::avx2, isa::avx512 or isa::amx; available on this machine: baseline",
                                           0),
                      0U)
                << call.refusal();
        });
    }
}

/// One byte less than explain tells, whatever the address; as many are enough.
TEST(refusals, a_workspace_that_is_one_byte_too_small) {
    using enum page_function;
    for (const page_function f : {forward, forward_lse, backward, partial}) {
        for (const int splits : {1, 3}) {
            for_every_type(f, [&](auto& call) {
                call.options.threads = 2;
                call.options.plan = tile_plan{0, 2, splits};
                const auto needed = static_cast<std::size_t>(call.explained().workspace_bytes);
                std::vector<std::byte> memory(needed + 64);
                for (const std::size_t shift : {std::size_t{0}, std::size_t{1}, std::size_t{63}}) {
                    call.options.workspace = std::span(memory).subspan(shift, needed - 1);
                    EXPECT_EQ(call.refusal(), "pantile: options.workspace has " + std::to_string(needed - 1) +
                                                  " bytes, this call needs " + std::to_string(needed) + " (" +
                                                  call.explained_by() + " tells it as workspace_bytes)");
                    call.options.workspace = std::span(memory).subspan(shift, needed);
                    EXPECT_NO_THROW(call());
                }
            });
        }
    }
}

} // namespace
} // namespace pantile::test
