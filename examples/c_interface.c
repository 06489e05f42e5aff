/* Attention from C: causal, with 8 query heads on 2 key/value heads, and the first row checked: it sees one key. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include <pantile.h>

int main(void) {
    const int64_t batch = 1, length = 128, q_heads = 8, kv_heads = 2, dim = 64;
    float* q = malloc(sizeof(float) * (size_t)(batch * length * q_heads * dim));
    float* k = malloc(sizeof(float) * (size_t)(batch * length * kv_heads * dim));
    float* v = malloc(sizeof(float) * (size_t)(batch * length * kv_heads * dim));
    float* out = malloc(sizeof(float) * (size_t)(batch * length * q_heads * dim));
    float* lse = malloc(sizeof(float) * (size_t)(batch * q_heads * length));
    if (!q || !k || !v || !out || !lse) return 1;
    for (int64_t i = 0; i < batch * length * q_heads * dim; ++i) q[i] = sinf((float)i);
    for (int64_t i = 0; i < batch * length * kv_heads * dim; ++i) k[i] = cosf((float)i), v[i] = sinf(2 * (float)i);

    /* Views of the caller's memory, [batch][length][heads][dim]; pantile_strided takes any layout. */
    const pantile_tensor tq = pantile_bshd(q, PANTILE_FP32, batch, length, q_heads, dim);
    const pantile_tensor tk = pantile_bshd(k, PANTILE_FP32, batch, length, kv_heads, dim);
    const pantile_tensor tv = pantile_bshd(v, PANTILE_FP32, batch, length, kv_heads, dim);
    const pantile_results results = {.size = sizeof results,
                                     .out = pantile_bshd(out, PANTILE_FP32, batch, length, q_heads, dim),
                                     .lse = pantile_bhs(lse, PANTILE_FP32, batch, q_heads, length)};
    const pantile_options options = {.size = sizeof options, .mask = pantile_causal(PANTILE_BOTTOM_RIGHT)};

    const pantile_status status = pantile_attention(&tq, &tk, &tv, &results, &options);
    if (status != PANTILE_OK) {
        fprintf(stderr, "%s: %s\n", pantile_status_name(status), pantile_message());
        return 1;
    }

    pantile_explanation e = {.size = sizeof e};
    char text[512];
    if (pantile_explain(&tq, &tk, &tv, &options, &e) == PANTILE_OK &&
        pantile_explanation_text(&e, text, sizeof text, NULL) == PANTILE_OK) {
        printf("%s\n", text);
    }

    /* Row 0 sees key 0 alone: every query head's answer is its kv head's first value, and lse that one logit. */
    double worst = 0, logit = 0;
    for (int64_t h = 0; h < q_heads; ++h)
        for (int64_t x = 0; x < dim; ++x)
            worst = fmax(worst, fabs((double)out[h * dim + x] - v[h / (q_heads / kv_heads) * dim + x]));
    for (int64_t x = 0; x < dim; ++x) logit += (double)q[x] * k[x] / sqrt((double)dim);
    worst = fmax(worst, fabs(lse[0] - logit));
    printf("largest difference in row 0: %g\n", worst);

    /* With capped logits and a sink a head, which weighs as much as a key whose logit is 1 and has no value. */
    double cap = 30, sinks[8] = {1, 1, 1, 1, 1, 1, 1, 1};
    pantile_options more = options;
    more.softcap = cap;
    more.sinks = (pantile_head_numbers){sinks, q_heads, PANTILE_FP64, PANTILE_HOST};
    if (pantile_attention(&tq, &tk, &tv, &results, &more) != PANTILE_OK) {
        fprintf(stderr, "%s\n", pantile_message());
        return 1;
    }
    const double capped = cap * tanh(logit / cap), sum = exp(capped) + exp(sinks[0]);
    for (int64_t x = 0; x < dim; ++x) worst = fmax(worst, fabs(out[x] - exp(capped) / sum * v[x]));
    worst = fmax(worst, fabs(lse[0] - log(sum)));
    printf("the same with a cap and sinks: %g\n", worst);
    free(q), free(k), free(v), free(out), free(lse);
    return worst < 1e-5 ? 0 : 1;
}
