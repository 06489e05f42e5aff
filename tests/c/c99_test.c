/* The C interface from C: answers that can be told by hand, gradients against differences, parts against the whole, explain,
 * structs of other sizes, and the texts of refusals. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include <pantile.h>
#ifndef PANTILE_INSTALLED
#include <pantile_cuda.h> /* compiles; nothing of it is called */
#endif

static int faults = 0;

static void check(int right, const char* what, int line) {
    if (right) return;
    ++faults;
    printf("line %d: WRONG: %s (%s)\n", line, what, pantile_message());
}
#define CHECK(x) check((x) != 0, #x, __LINE__)

static void check_text(const char* text, int line) {
    if (strcmp(pantile_message(), text) == 0) return;
    ++faults;
    printf("line %d: the message is\n    %s\nand not\n    %s\n", line, pantile_message(), text);
}
#define CHECK_REFUSED(call, text)                                                                                      \
    do {                                                                                                               \
        CHECK((call) == PANTILE_INVALID_ARGUMENT);                                                                     \
        check_text(text, __LINE__);                                                                                    \
    } while (0)

static int close_to(double a, double b, double tolerance) { return fabs(a - b) <= tolerance; }

/* One query, two keys that score the same: the answer is the mean of the two values. */
static void forward_and_lse(void) {
    const float q[] = {1, 0};
    const float k[] = {3, 1, 3, -1};
    const float v[] = {2, 10, 4, 20};
    float out[2] = {0, 0};
    float lse[1] = {0};
    const pantile_tensor tq = pantile_bshd(q, PANTILE_FP32, 1, 1, 1, 2);
    const pantile_tensor tk = pantile_bshd(k, PANTILE_FP32, 1, 2, 1, 2);
    const pantile_tensor tv = pantile_bshd(v, PANTILE_FP32, 1, 2, 1, 2);
    pantile_results results = {.size = sizeof results, .out = pantile_bshd(out, PANTILE_FP32, 1, 1, 1, 2)};
    pantile_options options = PANTILE_OPTIONS_INIT;
    options.has_scale = 1;
    options.scale = 0.5;

    CHECK(pantile_attention(&tq, &tk, &tv, &results, &options) == PANTILE_OK);
    CHECK(close_to(out[0], 3, 1e-5) && close_to(out[1], 15, 1e-5) && lse[0] == 0);
    results.lse = pantile_bhs(lse, PANTILE_FP32, 1, 1, 1);
    CHECK(pantile_attention(&tq, &tk, &tv, &results, &options) == PANTILE_OK);
    CHECK(close_to(lse[0], 1.5 + log(2), 1e-5));
    /* Without options the scale is 1/sqrt(2). */
    CHECK(pantile_attention(&tq, &tk, &tv, &results, NULL) == PANTILE_OK);
    CHECK(close_to(lse[0], 3 / sqrt(2) + log(2), 1e-5));
    /* A window that ends before the keys: no key, out 0, lse minus infinity. */
    options.mask = pantile_at_offset(pantile_causal(PANTILE_BOTTOM_RIGHT), -1);
    CHECK(pantile_attention(&tq, &tk, &tv, &results, &options) == PANTILE_OK);
    CHECK(out[0] == 0 && out[1] == 0 && isinf(lse[0]) && lse[0] < 0);
    /* One key of two counts. */
    const int32_t keys[] = {1};
    options = (pantile_options)PANTILE_OPTIONS_INIT;
    options.key_lengths = (pantile_lengths){keys, 1, 32, PANTILE_HOST};
    CHECK(pantile_attention(&tq, &tk, &tv, &results, &options) == PANTILE_OK);
    CHECK(out[0] == 2 && out[1] == 10);
}

/* The same call with a cap, with slopes, and with a sink that weighs as much as both keys. */
static void caps_slopes_and_sinks(void) {
    const float q[] = {1, 0};
    const float k[] = {3, 1, 3, -1};
    const float v[] = {2, 10, 4, 20};
    float out[2] = {0, 0};
    float lse[1] = {0};
    const pantile_tensor tq = pantile_bshd(q, PANTILE_FP32, 1, 1, 1, 2);
    const pantile_tensor tk = pantile_bshd(k, PANTILE_FP32, 1, 2, 1, 2);
    const pantile_tensor tv = pantile_bshd(v, PANTILE_FP32, 1, 2, 1, 2);
    const pantile_results results = {.size = sizeof results,
                                     .out = pantile_bshd(out, PANTILE_FP32, 1, 1, 1, 2),
                                     .lse = pantile_bhs(lse, PANTILE_FP32, 1, 1, 1)};
    pantile_options options = {.size = sizeof options, .has_scale = 1, .scale = 0.5, .softcap = 2};
    CHECK(pantile_attention(&tq, &tk, &tv, &results, &options) == PANTILE_OK);
    CHECK(close_to(out[0], 3, 1e-5) && close_to(lse[0], 2 * tanh(0.75) + log(2), 1e-5));
    /* The row stands at the second key: the first is one away, and half as heavy. */
    const double slope[] = {log(2)};
    options.softcap = 0;
    options.slopes = (pantile_head_numbers){slope, 1, PANTILE_FP64, PANTILE_HOST};
    CHECK(pantile_attention(&tq, &tk, &tv, &results, &options) == PANTILE_OK);
    CHECK(close_to(out[0], 10.0 / 3, 1e-5) && close_to(lse[0], 1.5 + log(1.5), 1e-5));
    const float sink[] = {1.5F + logf(2)};
    options.slopes = (pantile_head_numbers){0};
    options.sinks = (pantile_head_numbers){sink, 1, PANTILE_FP32, PANTILE_HOST};
    CHECK(pantile_attention(&tq, &tk, &tv, &results, &options) == PANTILE_OK);
    CHECK(close_to(out[0], 1.5, 1e-5) && close_to(out[1], 7.5, 1e-5) && close_to(lse[0], 1.5 + log(4), 1e-5));
    /* No key: out 0, lse the sink. */
    options.mask = pantile_at_offset(pantile_causal(PANTILE_BOTTOM_RIGHT), -1);
    CHECK(pantile_attention(&tq, &tk, &tv, &results, &options) == PANTILE_OK);
    CHECK(out[0] == 0 && out[1] == 0 && close_to(lse[0], sink[0], 1e-6));
    /* Minus infinity is no sink. */
    const float none[] = {-INFINITY};
    options.sinks.data = none;
    CHECK(pantile_attention(&tq, &tk, &tv, &results, &options) == PANTILE_OK);
    CHECK(isinf(lse[0]) && lse[0] < 0);
}

/* The same numbers in two layouts, and with the heads in reverse order, by strides. */
static void layouts(void) {
    enum { heads = 2, length = 3, dim = 2, count = heads * length * dim };
    double a[count], b[count], out_a[count], out_b[count], out_c[count];
    for (int h = 0; h < heads; ++h)
        for (int i = 0; i < length; ++i)
            for (int x = 0; x < dim; ++x) {
                const double value = sin(1.0 + h + 3 * i + 7 * x);
                a[(h * length + i) * dim + x] = value;
                b[(i * heads + h) * dim + x] = value;
            }
    const pantile_tensor ta = pantile_bhsd(a, PANTILE_FP64, 1, heads, length, dim);
    const pantile_tensor tb = pantile_bshd(b, PANTILE_FP64, 1, length, heads, dim);
    const int64_t extent[] = {1, heads, length, dim};
    const int64_t stride[] = {0, -length * dim, dim, 1};
    const pantile_tensor tc = pantile_strided(a + length * dim, PANTILE_FP64, extent, stride);
    const pantile_results ra = {.size = sizeof ra, .out = pantile_bhsd(out_a, PANTILE_FP64, 1, heads, length, dim)};
    const pantile_results rb = {.size = sizeof rb, .out = pantile_bshd(out_b, PANTILE_FP64, 1, length, heads, dim)};
    const pantile_results rc = {.size = sizeof rc, .out = pantile_bhsd(out_c, PANTILE_FP64, 1, heads, length, dim)};
    CHECK(pantile_attention(&ta, &ta, &ta, &ra, NULL) == PANTILE_OK);
    CHECK(pantile_attention(&tb, &tb, &tb, &rb, NULL) == PANTILE_OK);
    CHECK(pantile_attention(&tc, &tc, &tc, &rc, NULL) == PANTILE_OK);
    for (int h = 0; h < heads; ++h)
        for (int i = 0; i < length; ++i)
            for (int x = 0; x < dim; ++x) {
                const double value = out_a[(h * length + i) * dim + x];
                CHECK(value == out_b[(i * heads + h) * dim + x]);
                CHECK(value == out_c[((heads - 1 - h) * length + i) * dim + x]);
            }
}

/* q (1, 2, 3, 3), k (1, 1, 4, 3), v (1, 1, 4, 2) in fp64, causal. */
enum { q_count = 18, k_count = 12, v_count = 8, out_count = 12, rows = 6 };
struct problem {
    double q[q_count], k[k_count], v[v_count], out[out_count], lse[rows];
};

static void fill(struct problem* p) {
    for (int n = 0; n < q_count; ++n) p->q[n] = sin(3.0 * n + 1);
    for (int n = 0; n < k_count; ++n) p->k[n] = sin(5.0 * n + 2);
    for (int n = 0; n < v_count; ++n) p->v[n] = sin(7.0 * n + 3);
}
static pantile_tensor q_of(const double* x) { return pantile_bhsd(x, PANTILE_FP64, 1, 2, 3, 3); }
static pantile_tensor k_of(const double* x) { return pantile_bhsd(x, PANTILE_FP64, 1, 1, 4, 3); }
static pantile_tensor v_of(const double* x) { return pantile_bhsd(x, PANTILE_FP64, 1, 1, 4, 2); }
static pantile_tensor out_of(const double* x) { return pantile_bhsd(x, PANTILE_FP64, 1, 2, 3, 2); }
static pantile_tensor rows_of(const double* x) { return pantile_bhs(x, PANTILE_FP64, 1, 2, 3); }

/* The loss: out, weighted. */
static double weight(int n) { return cos(2.0 * n); }
static double loss(struct problem* p, const pantile_options* options) {
    const pantile_tensor q = q_of(p->q), k = k_of(p->k), v = v_of(p->v);
    const pantile_results results = {.size = sizeof results, .out = out_of(p->out), .lse = rows_of(p->lse)};
    double sum = 0;
    CHECK(pantile_attention(&q, &k, &v, &results, options) == PANTILE_OK);
    for (int n = 0; n < out_count; ++n) sum += weight(n) * p->out[n];
    return sum;
}

static void compare_gradient(struct problem* p, double* x, const double* gradient, int count,
                             const pantile_options* options) {
    const double step = 1e-5;
    for (int n = 0; n < count; ++n) {
        const double here = x[n];
        x[n] = here + step;
        const double above = loss(p, options);
        x[n] = here - step;
        const double below = loss(p, options);
        x[n] = here;
        CHECK(close_to(gradient[n], (above - below) / (2 * step), 1e-8));
    }
}

static void gradients(void) {
    struct problem p;
    double dout[out_count], dq[q_count], dk[k_count], dv[v_count];
    pantile_options options = {.size = sizeof options, .mask = pantile_causal(PANTILE_BOTTOM_RIGHT)};
    fill(&p);
    (void)loss(&p, &options);
    for (int n = 0; n < out_count; ++n) dout[n] = weight(n);
    const pantile_tensor q = q_of(p.q), k = k_of(p.k), v = v_of(p.v), out = out_of(p.out), lse = rows_of(p.lse);
    const pantile_loss_gradients from = {.size = sizeof from, .dout = out_of(dout)};
    const pantile_gradients to = {.size = sizeof to, .dq = q_of(dq), .dk = k_of(dk), .dv = v_of(dv)};
    CHECK(pantile_attention_backward(&q, &k, &v, &out, &lse, &from, &to, &options) == PANTILE_OK);
    compare_gradient(&p, p.q, dq, q_count, &options);
    compare_gradient(&p, p.k, dk, k_count, &options);
    compare_gradient(&p, p.v, dv, v_count, &options);

    const double once = dq[3];
    options.accumulate = 1;
    (void)loss(&p, &options);
    CHECK(pantile_attention_backward(&q, &k, &v, &out, &lse, &from, &to, &options) == PANTILE_OK);
    CHECK(close_to(dq[3], 2 * once, 1e-14) && once != 0);
}

/* The same with a cap, slopes and sinks, whose gradients are asked for. */
static void gradients_of_heads(void) {
    struct problem p;
    double dout[out_count], dq[q_count], dk[k_count], dv[v_count];
    double slopes[] = {0.3, -0.2}, sinks[] = {0.5, -1}, dslopes[2] = {9, 9}, dsinks[2] = {9, 9};
    const pantile_options options = {.size = sizeof options,
                                     .mask = pantile_causal(PANTILE_BOTTOM_RIGHT),
                                     .softcap = 0.75,
                                     .slopes = {slopes, 2, PANTILE_FP64, PANTILE_HOST},
                                     .sinks = {sinks, 2, PANTILE_FP64, PANTILE_HOST}};
    fill(&p);
    (void)loss(&p, &options);
    for (int n = 0; n < out_count; ++n) dout[n] = weight(n);
    const pantile_tensor q = q_of(p.q), k = k_of(p.k), v = v_of(p.v), out = out_of(p.out), lse = rows_of(p.lse);
    const pantile_loss_gradients from = {.size = sizeof from, .dout = out_of(dout)};
    pantile_gradients to = {.size = sizeof to,
                            .dq = q_of(dq),
                            .dk = k_of(dk),
                            .dv = v_of(dv),
                            .dslopes = {dslopes, 2, PANTILE_FP64, PANTILE_HOST},
                            .dsinks = {dsinks, 2, PANTILE_FP64, PANTILE_HOST}};
    CHECK(pantile_attention_backward(&q, &k, &v, &out, &lse, &from, &to, &options) == PANTILE_OK);
    compare_gradient(&p, p.q, dq, q_count, &options);
    compare_gradient(&p, p.k, dk, k_count, &options);
    compare_gradient(&p, p.v, dv, v_count, &options);
    compare_gradient(&p, slopes, dslopes, 2, &options);
    compare_gradient(&p, sinks, dsinks, 2, &options);

    /* A caller who was compiled before there were gradients of heads: what lies behind dv is not read. */
    (void)loss(&p, &options);
    dslopes[0] = dsinks[0] = 9;
    to.size = offsetof(pantile_gradients, dslopes);
    to.dslopes.dtype = 77;
    CHECK(pantile_attention_backward(&q, &k, &v, &out, &lse, &from, &to, &options) == PANTILE_OK);
    CHECK(dslopes[0] == 9 && dsinks[0] == 9);
    to.size = sizeof to;
    CHECK_REFUSED(pantile_attention_backward(&q, &k, &v, &out, &lse, &from, &to, &options),
                  "pantile: dslopes.dtype is 77: it must be PANTILE_FP32 (0), PANTILE_FP64 (1), PANTILE_FP16 (2) or "
                  "PANTILE_BF16 (3)");
}

/* One key and three keys, merged in place and finished in place: as all four at once. */
static void parts(void) {
    struct problem p;
    double out_a[out_count], max_a[rows], sum_a[rows], out_b[out_count], max_b[rows], sum_b[rows], lse[rows];
    fill(&p);
    (void)loss(&p, NULL);
    const pantile_tensor q = q_of(p.q);
    pantile_tensor k = k_of(p.k), v = v_of(p.v);
    const pantile_partial a = {sizeof a, out_of(out_a), rows_of(max_a), rows_of(sum_a)};
    const pantile_partial b = {sizeof b, out_of(out_b), rows_of(max_b), rows_of(sum_b)};
    k.extent[2] = v.extent[2] = 1;
    CHECK(pantile_attention_partial(&q, &k, &v, &a, NULL) == PANTILE_OK);
    k.extent[2] = v.extent[2] = 3;
    k.data = p.k + 3;
    v.data = p.v + 2;
    CHECK(pantile_attention_partial(&q, &k, &v, &b, NULL) == PANTILE_OK);
    CHECK(pantile_merge(&a, &b, &a) == PANTILE_OK);
    const pantile_results results = {.size = sizeof results, .out = a.out, .lse = rows_of(lse)};
    CHECK(pantile_finish(&a, &results) == PANTILE_OK);
    for (int n = 0; n < out_count; ++n) CHECK(close_to(out_a[n], p.out[n], 1e-14));
    for (int n = 0; n < rows; ++n) CHECK(close_to(lse[n], p.lse[n], 1e-14));
}

static void explanations(void) {
    struct problem p;
    pantile_explanation e = {.size = sizeof e};
    char text[400], start[8];
    size_t needed = 0;
    fill(&p);
    const pantile_tensor q = q_of(p.q), k = k_of(p.k), v = v_of(p.v);
    pantile_options options = {.size = sizeof options, .threads = 1};
    CHECK(pantile_explain(&q, &k, &v, &options, &e) == PANTILE_OK);
    CHECK(e.size == sizeof e && strcmp(e.machine, "cpu") == 0 && e.threads == 1);
    CHECK(e.flops == 2 * (3 + 2) * 24 && e.traffic.q.reads == q_count && e.traffic.out.writes == out_count);
    CHECK(e.read_bytes > 0 && e.write_bytes == 8 * (out_count + rows));

    CHECK(pantile_explanation_text(&e, NULL, 0, &needed) == PANTILE_OK);
    CHECK(pantile_explanation_text(&e, text, sizeof text, NULL) == PANTILE_OK);
    CHECK(strncmp(text, "machine    cpu, ", 16) == 0 && strlen(text) + 1 == needed);
    CHECK(pantile_explanation_text(&e, start, sizeof start, NULL) == PANTILE_OK);
    CHECK(strcmp(start, "machine") == 0);

    CHECK(pantile_explain_backward(&q, &k, &v, &options, &e) == PANTILE_OK);
    CHECK(strcmp(e.kernel, "backward") == 0 && e.traffic.dq.writes > 0);
}

/* Callers that were compiled against a shorter pantile_options and a longer one. */
static void sizes_of_structs(void) {
    struct problem p;
    fill(&p);
    const pantile_tensor q = q_of(p.q), k = k_of(p.k), v = v_of(p.v);
    const pantile_results results = {.size = sizeof results, .out = out_of(p.out)};
    pantile_options options = {.size = offsetof(pantile_options, has_scale), .threads = -1};
    CHECK(pantile_attention(&q, &k, &v, &results, &options) == PANTILE_OK);
    options.size = sizeof options;
    CHECK_REFUSED(pantile_attention(&q, &k, &v, &results, &options),
                  "pantile: options.threads is -1: it must be at least 0 (0: OpenMP's choice)");

    /* Before there were soft caps, slopes and sinks. */
    options = (pantile_options){.size = offsetof(pantile_options, softcap), .softcap = -1, .sinks.count = 5};
    CHECK(pantile_attention(&q, &k, &v, &results, &options) == PANTILE_OK);
    options.size = offsetof(pantile_options, slopes); /* with a cap alone */
    CHECK_REFUSED(
        pantile_attention(&q, &k, &v, &results, &options),
        "pantile: options.softcap is -1: it must be at least 0 (0: off), and softcap · log2(e) finite in fp64");
    options.softcap = 0;
    options.size = sizeof options;
    CHECK_REFUSED(pantile_attention(&q, &k, &v, &results, &options),
                  "pantile: options.sinks.data is NULL, but its count is 5");

    struct {
        pantile_options known;
        int64_t later;
    } longer = {{.size = sizeof longer}, 0};
    CHECK(pantile_attention(&q, &k, &v, &results, &longer.known) == PANTILE_OK);
    longer.later = 1;
    CHECK(pantile_attention(&q, &k, &v, &results, &longer.known) == PANTILE_INVALID_ARGUMENT);
    CHECK(strstr(pantile_message(), "what lies beyond is not 0") != NULL);
    options = (pantile_options){0};
    CHECK_REFUSED(pantile_attention(&q, &k, &v, &results, &options),
                  "pantile: options.size is 0: it must be sizeof(pantile_options)");

    struct {
        pantile_explanation known;
        int64_t later;
    } told = {{.size = sizeof told}, 77};
    CHECK(pantile_explain(&q, &k, &v, NULL, &told.known) == PANTILE_OK);
    CHECK(told.known.size == sizeof told && told.known.flops > 0 && told.later == 0);
    told.known.size = offsetof(pantile_explanation, flops);
    told.known.flops = -1;
    CHECK(pantile_explain(&q, &k, &v, NULL, &told.known) == PANTILE_OK);
    CHECK(told.known.flops == -1 && told.known.read_bytes > 0);
}

static void refusals(void) {
    struct problem p;
    fill(&p);
    const pantile_tensor q = q_of(p.q), v = v_of(p.v);
    pantile_tensor k = k_of(p.k);
    pantile_results results = {.size = sizeof results, .out = out_of(p.out)};
    CHECK_REFUSED(pantile_attention(NULL, &k, &v, &results, NULL), "pantile: q is NULL");
    CHECK_REFUSED(pantile_attention(&q, &k, &v, NULL, NULL), "pantile: results is NULL");
    k.extent[3] = 2;
    CHECK_REFUSED(pantile_attention(&q, &k, &v, &results, NULL),
                  "pantile: k.head_dim is 2, q.head_dim is 3: they must be equal");
    k = k_of(p.k);
    k.dtype = 9;
    CHECK_REFUSED(pantile_attention(&q, &k, &v, &results, NULL),
                  "pantile: k.dtype is 9: it must be PANTILE_FP32 (0), PANTILE_FP64 (1), PANTILE_FP16 (2) or "
                  "PANTILE_BF16 (3)");
    k = pantile_on_device(k_of(p.k));
    CHECK_REFUSED(pantile_attention(&q, &k, &v, &results, NULL),
                  "pantile: k is device memory, q is host memory: they must lie together");
    k = k_of(p.k);
    results.out = k;
    CHECK_REFUSED(pantile_attention(&q, &k, &v, &results, NULL),
                  "pantile: out.heads is 1, q.heads is 2: they must be equal");
    results.out = (pantile_tensor){0};
    CHECK_REFUSED(pantile_attention(&q, &k, &v, &results, NULL), "pantile: out.rank is 0: it must be 4");
    CHECK(strcmp(pantile_status_name(PANTILE_INVALID_ARGUMENT), "PANTILE_INVALID_ARGUMENT") == 0);
    CHECK(pantile_version() == PANTILE_VERSION);
}

int main(void) {
    CHECK(pantile_message()[0] == '\0');
    forward_and_lse();
    caps_slopes_and_sinks();
    layouts();
    gradients();
    gradients_of_heads();
    parts();
    explanations();
    sizes_of_structs();
    refusals();
    if (faults == 0) printf("all as expected\n");
    return faults == 0 ? 0 : 1;
}
