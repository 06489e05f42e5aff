// The report's animated walks and its parts, and the check that can tell when a closed form is wrong.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <pantile/error.hpp>
#include <pantile/simulator.hpp>

namespace pantile::inline v0::simulator {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

std::vector<std::string> visits(const char* who, const experiment& e) {
    std::vector<std::string> list;
    for (const tile_visit& v : visits_of(find_algorithm(who), e)) {
        list.push_back(std::to_string(v.row_tile) + ' ' + std::to_string(v.key_tile) + ' ' +
                       std::to_string(v.moved_bytes));
    }
    return list;
}

// Rows of four numbers in bf16, 8 bytes; tiles of 2 rows by 3 keys, causal, q = 4, k = 7: row tile 0 sees keys 0 to 4, that
// is two tiles, row tile 1 all three, of 3, 3 and 1 keys.
TEST(report, visits_and_what_was_moved_until_then) {
    experiment e;
    e.what = workload::square(4, 4);
    e.what.k_len = 7;
    e.what.mask = causal();
    e.plan = {2, 3, 1};
    // Q 16, K 24, V 24; then the next K (24) before P·V, and its V. Row tile 0's end adds out 16 and lse 8, row tile 1's begin
    // Q 16, K 24, V 24: 112 + 88 = 200.
    EXPECT_THAT(visits("fa2", e), ElementsAre("0 0 64", "0 1 112", "1 0 200", "1 1 248", "1 2 264"));
    // fa1: initialising writes out 32, m and l 16 each; K 24, V 24; a row tile reads Q 16, O 16, m 8, l 8 and writes back 32.
    EXPECT_THAT(visits("fa1", e), ElementsAre("0 0 160", "1 0 240", "0 1 368", "1 1 448", "1 2 544"));
}

std::string escaped_text(const std::string& text) {
    std::string out;
    for (const char c : text) out += c == '&' ? "&amp;" : c == '<' ? "&lt;" : std::string(1, c);
    return out;
}

std::string laws_of(index_t d) {
    sweep_request r;
    for (const char* c : {"standard", "fa1:paper", "fa1-lazy", "fa2", "small-cache"})
        r.contenders.push_back(parse_contender(c));
    r.lengths = {16384, 32768, 65536};
    r.near = parse_range("1K:1M:41", "M");
    r.head_dim = d;
    const auto points = sweep(r);
    return sweep_svg(r, points) + "<pre>" + escaped_text(fit_text(fit(r, points), crossovers(r))) + "</pre>";
}

/// The second numbers of a polyline's points.
std::vector<double> heights(const std::string& page, std::size_t from) {
    std::vector<double> list;
    const std::size_t begin = page.find("points=\"", from) + 8;
    std::stringstream points(page.substr(begin, page.find('"', begin) - begin));
    double x = 0;
    double y = 0;
    for (char comma = 0; points >> x >> comma >> y;) list.push_back(y);
    return list;
}

TEST(report, the_page_holds_laws_figures_caches_and_walks) {
    const std::string page = report_html();
    EXPECT_EQ(page.substr(0, 15), "<!doctype html>");
    EXPECT_EQ(page.substr(page.size() - 16), "</body>\n</html>\n");
    for (const char* heading : {"Two orders of the same tiles", "The laws, d = 64", "The laws, d = 128",
                                "Published figures", "A cache behind the blocks"}) {
        EXPECT_THAT(page, HasSubstr("<section>\n<h2>" + std::string(heading) + "</h2>\n<p>"));
    }
    EXPECT_THAT(page, HasSubstr(laws_of(64)));
    EXPECT_THAT(page, HasSubstr(laws_of(128)));
    EXPECT_THAT(page, HasSubstr("<pre>" + escaped_text(reproduction_text(reproduce("all"))) + "</pre>"));

    // Both walks over 16 x 16 tiles of 64: causal, so 136 of them. bf16, d = 64: a tile of Q, K, V or O is 8192 bytes, a
    // statistic of 64 rows 256.
    std::string fa2 = "{name:\"fa2\",rows:16,keys:16,visits:[";
    index_t bytes = 0;
    for (index_t row = 0; row < 16; ++row) {
        bytes += 8192; // Q
        for (index_t key = 0; key <= row; ++key) {
            bytes += 2 * 8192; // its own K and V; the next K comes between the two products
            fa2 += (row + key > 0 ? ",[" : "[") + std::to_string(row) + ',' + std::to_string(key) + ',' +
                   std::to_string(bytes) + ']';
        }
        bytes += 8192 + 256;
    }
    EXPECT_THAT(page, HasSubstr("const walks=[" + fa2 + "]},{name:\"fa1\",rows:16,keys:16,visits:["));
    std::string fa1 = "{name:\"fa1\",rows:16,keys:16,visits:[";
    bytes = 16 * (8192 + 2 * 256); // O and statistics initialised
    for (index_t key = 0; key < 16; ++key) {
        bytes += 2 * 8192;
        for (index_t row = key; row < 16; ++row) {
            bytes += 2 * 8192 + 2 * 256; // Q, O and statistics
            fa1 += (row + key > 0 ? ",[" : "[") + std::to_string(row) + ',' + std::to_string(key) + ',' +
                   std::to_string(bytes) + ']';
            bytes += 8192 + 2 * 256;
        }
    }
    EXPECT_THAT(page, HasSubstr(fa1 + "]}];\n"));

    // The shared cache: 256 row tiles in waves of 132, 50 MiB. Whole, cyclic: K and V once while they fit, then twice.
    const std::size_t picture = page.find("times that K and V are read from memory");
    ASSERT_NE(picture, std::string::npos);
    std::size_t at = page.rfind("<svg", picture);
    EXPECT_THAT(page.substr(at), HasSubstr(">32K query rows, d = 128, bf16, 132 blocks at once, 50 MiB L2</text>"));
    EXPECT_THAT(page.substr(at), HasSubstr(">K and V, MiB</text>"));
    std::vector<std::vector<double>> lines;
    for (int i = 0; i < 4; ++i) {
        at = page.find("<polyline", at) + 1;
        lines.push_back(heights(page, at));
        ASSERT_EQ(lines.back().size(), 15U + 12U);
    }
    double highest = 408; // of all lines; y = 408 - 368 · times / (1.05 · most)
    for (const auto& l : lines) highest = std::min(highest, *std::min_element(l.begin(), l.end()));
    EXPECT_NEAR(highest, 408 - 368 / 1.05, 0.1);
    const double once = lines[0][0];
    std::size_t i = 0;
    for (index_t mebibytes = 8; mebibytes <= 256; mebibytes += mebibytes < 64 ? 4 : 16, ++i) {
        const auto times = [&](std::size_t line) { return (408 - lines[line][i]) / (408 - once); };
        const double s = static_cast<double>(mebibytes);
        EXPECT_NEAR(times(0), mebibytes <= 50 ? 1 : 2, 0.01) << "cyclic " << mebibytes;
        EXPECT_NEAR(times(2), mebibytes <= 50 ? 1 : 1 + (s - 50) / s, 0.02) << "sawtooth " << mebibytes;
        EXPECT_NEAR(times(1), mebibytes <= 25 ? 1 : 2, 0.01) << "cyclic, halves " << mebibytes;
        EXPECT_NEAR(times(3), mebibytes <= 25 ? 1 : 1 + (s - 25) / s, 0.02) << "sawtooth, halves " << mebibytes;
    }
    for (const char* label : {">cyclic<", ">cyclic, halves<", ">sawtooth<", ">sawtooth, halves<"}) {
        EXPECT_THAT(page, HasSubstr(label));
    }
}

/// An algorithm whose walk and closed form may be changed apart.
class altered : public algorithm {
  public:
    std::string_view called = "fa2";
    const algorithm& real = find_algorithm("fa2");
    tensor extra = tensor::q;
    bool walk_reads_more = false, formula_reads_more = false, formula_sends_more = false;

    std::string_view name() const override { return called; }
    std::string_view summary() const override { return "altered"; }
    bool has(pass p) const override { return real.has(p); }
    bool tiled() const override { return real.tiled(); }
    void run(processor& p, const workload& w, pass which, const tile_plan& plan) const override {
        real.run(p, w, which, plan);
        if (walk_reads_more) p.stream({extra, false, 0, {0, 1}, {0, 1}});
    }
    counts formula(const workload& w, pass which, const tile_plan& plan) const override {
        counts c = real.formula(w, which, plan);
        if (formula_reads_more) c.read(extra, 1);
        return c;
    }
    counts sent_formula(const workload& w, pass which, const tile_plan& plan) const override {
        counts c = real.sent_formula(w, which, plan);
        if (formula_sends_more) c.write(extra, 1);
        return c;
    }
};

experiment checked() {
    experiment e;
    e.what = workload::square(5, 3);
    e.plan = {2, 3, 1};
    return e;
}

TEST(check_one, says_which_tensor_differs_and_how) {
    altered a;
    EXPECT_TRUE(check_one(a, checked()).empty());
    a.formula_reads_more = true;
    // One tensor of the walk against the closed form: Q is read once, 15 numbers.
    EXPECT_THAT(check_one(a, checked()),
                ElementsAre("fa2 forward batch 1, heads 1/1, q 5, k 5, d 3, e 3, tiles 2x3: q counted "
                            "15 reads, 0 writes; closed form 16, 0"));
    a.formula_reads_more = false;
    a.formula_sends_more = true;
    EXPECT_THAT(check_one(a, checked()),
                ElementsAre(HasSubstr(": q over the link counted 0 reads, 0 writes; closed form 0, 1")));
}

// A walk and a closed form that agree with one another and not with core: every tensor that core predicts is held against it.
TEST(check_one, holds_the_walk_against_core_as_well) {
    altered a;
    a.walk_reads_more = a.formula_reads_more = true;
    experiment e = checked();
    const auto of = [&](const char* name, pass which, tensor extra) {
        a.called = name;
        a.extra = extra;
        e.which = which;
        return check_one(a, e);
    };
    for (const tensor t :
         {tensor::q, tensor::k, tensor::v, tensor::out, tensor::lse, tensor::dout, tensor::delta, tensor::dq,
          tensor::dk, tensor::dv, tensor::scores, tensor::probabilities, tensor::dprobabilities, tensor::dscores}) {
        const std::string text = "core's " + std::string(name(t)) + " counted ";
        EXPECT_THAT(of("fa2", pass::forward, t), ElementsAre(HasSubstr(text)));
        EXPECT_THAT(of("fa2", pass::backward, t), ElementsAre(HasSubstr(text)));
    }
    EXPECT_THAT(of("fa2", pass::backward, tensor::dq_sum),
                ElementsAre(HasSubstr("core's dq counted "))); // one with dq there
    EXPECT_TRUE(of("another", pass::forward, tensor::q).empty()) << "core predicts fa2 and standard only";
    e.what.blocks = {1};
    e.what.block_rows = e.what.block_cols = 5;
    EXPECT_TRUE(of("fa2", pass::forward, tensor::q).empty()) << "nor block masks";
}

TEST(check_one, core_predicts_the_unfused_algorithm_too) {
    experiment e = checked();
    e.what.q_heads = 4;
    e.what.kv_heads = 2;
    for (const pass which : {pass::forward, pass::backward}) {
        e.which = which;
        EXPECT_TRUE(check_one(find_algorithm("standard"), e).empty());
    }
}

TEST(check, counts_its_cases_and_tells_of_progress) {
    std::vector<std::pair<index_t, index_t>> heard;
    const check_result r = check({&find_algorithm("fa2"), &find_algorithm("fa1-lazy")}, 200, 1,
                                 [&](index_t done, index_t of) { heard.emplace_back(done, of); });
    EXPECT_EQ(r.cases, 600); // two passes and one
    EXPECT_THAT(heard, ElementsAre(std::pair<index_t, index_t>(0, 600), std::pair<index_t, index_t>(256, 600),
                                   std::pair<index_t, index_t>(512, 600)));
    altered wrong;
    wrong.called = "wrong";
    wrong.formula_reads_more = true;
    EXPECT_EQ(check({&wrong}, 10, 1).mismatches.size(), 20U);
}

// Every kind of case is drawn, and none outside its range: without this, a check that never masks would pass as well.
TEST(check, random_cases_are_of_every_kind) {
    std::mt19937_64 random(1);
    const algorithm& fa2 = find_algorithm("fa2");
    const algorithm& ring = find_algorithm("ring");
    std::map<std::string, int> kinds;
    for (int i = 0; i < 4000; ++i) {
        const bool rings = i % 2 == 1;
        const experiment e = random_experiment(rings ? ring : fa2, rings ? pass::forward : pass::backward, random);
        const workload& w = e.what;
        ASSERT_NO_THROW(w.check());
        EXPECT_EQ(e.which, rings ? pass::forward : pass::backward);
        const auto within = [](index_t x, index_t low, index_t high) { return x >= low && x <= high; };
        ASSERT_TRUE(within(w.batch, 1, 2) && within(w.kv_heads, 1, 2) && within(w.q_heads, w.kv_heads, 3 * w.kv_heads));
        ASSERT_TRUE(within(w.q_len, 0, 70) && within(w.k_len, 0, 70));
        ASSERT_TRUE(within(w.head_dim, 1, 9) && within(w.value_dim, 1, 9));
        ASSERT_TRUE(within(e.plan.row_tile, 1, 99) && within(e.plan.key_tile, 1, 33) &&
                    within(e.plan.key_splits, 1, 6));
        ASSERT_TRUE(rings ? within(w.devices, 1, 4) && w.blocks.empty() : w.devices == 1);
        ASSERT_TRUE(!w.packed_heads || !w.banded() || e.plan.row_tile % w.group() == 0);
        const auto note = [&](const char* kind, bool is) { kinds[kind] += is ? 1 : 0; };
        note("two batches", w.batch == 2);
        note("groups", w.group() > 1);
        note("no queries", w.q_len == 0);
        note("no keys", w.k_len == 0);
        note("wide values", w.value_dim > w.head_dim);
        note("full", !w.banded());
        note("causal", w.mask.left == unbounded && w.mask.right == 0);
        note("window", w.mask.left < unbounded && w.mask.right > 0);
        note("left open", w.mask.left == unbounded && w.mask.right > 0 && w.mask.right < unbounded);
        note("behind", w.mask.right < 0);
        note("top left", w.mask.align == alignment::top_left);
        note("offset back", w.mask.align == alignment::explicit_offset && w.mask.offset < 0);
        note("offset on", w.mask.align == alignment::explicit_offset && w.mask.offset > 0);
        note("blocks", !w.blocks.empty());
        note("key lengths", !w.key_lengths.empty());
        note("packed", w.packed_heads);
        note("packed under a mask", w.packed_heads && w.banded());
        note("four devices", w.devices == 4);
        note("splits", e.plan.key_splits == 6);
        note("one row a tile", e.plan.row_tile == 1);
    }
    const std::map<std::string, std::pair<int, int>> wanted{{"two batches", {1800, 2200}},
                                                            {"groups", {2400, 2900}},
                                                            {"no queries", {70, 180}},
                                                            {"no keys", {70, 180}},
                                                            {"wide values", {1600, 2000}},
                                                            {"full", {700, 1050}},
                                                            {"causal", {950, 1500}},
                                                            {"window", {1100, 1700}},
                                                            {"left open", {400, 800}},
                                                            {"behind", {100, 280}},
                                                            {"top left", {1200, 1500}},
                                                            {"offset back", {550, 800}},
                                                            {"offset on", {550, 800}},
                                                            {"blocks", {400, 600}},
                                                            {"key lengths", {500, 900}},
                                                            {"packed", {1050, 1350}},
                                                            {"packed under a mask", {750, 1100}},
                                                            {"four devices", {400, 600}},
                                                            {"splits", {550, 800}},
                                                            {"one row a tile", {50, 200}}};
    for (const auto& [kind, range] : wanted) {
        EXPECT_GE(kinds[kind], range.first) << kind;
        EXPECT_LE(kinds[kind], range.second) << kind;
    }
}

} // namespace
} // namespace pantile::inline v0::simulator
