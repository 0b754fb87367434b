/* SPDX-License-Identifier: Apache-2.0 */
/* What this CPU can do at most, measured now: streaming copy, correctly rounded exponentials, fused multiply-adds. */
#include <math.h>
#include <time.h>

#include "../reference/memory.h"
#include "../reference/num/exp.h"
#include "measure.h"

enum { ROUNDS = 4, LANES = 128, EXPS = 4096 };

static double now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + 1e-9 * (double)time.tv_nsec;
}

double dsv4_host_copy_rate(void) {
    const int64_t bytes = INT64_C(1) << 29, chunk = INT64_C(64) << 20;
    unsigned char *const from = dsv4_map((size_t)bytes), *const to = dsv4_map((size_t)bytes);
    double best = 0;
    for (int round = 0; round < ROUNDS; round++) {
        const double start = now();
        /* Chunks of this size make memcpy stream past the caches. */
#pragma omp parallel for schedule(static)
        for (int64_t at = 0; at < bytes; at += chunk) {
            if (round == 0) memset(from + at, 1, (size_t)chunk);
            memcpy(to + at, from + at, (size_t)chunk);
        }
        const double rate = 2.0 * (double)bytes / (now() - start);
        if (round > 0 && rate > best) best = rate;
    }
    dsv4_unmap(from, (size_t)bytes);
    dsv4_unmap(to, (size_t)bytes);
    return best;
}

double dsv4_host_exp_rate(void) {
    enum { REPEATS = 2000 };
    int threads = 0;
    float total = 0;
    const double start = now();
#pragma omp parallel reduction(+ : threads, total)
    {
        float in[EXPS], out[EXPS];
        for (int i = 0; i < EXPS; i++) in[i] = -(float)i / 256.0f;
        for (int repeat = 0; repeat < REPEATS; repeat++) {
            for (int i = 0; i < EXPS; i++) out[i] = dsv4_exp(in[i]);
            in[repeat % EXPS] = -out[(repeat * 7) % EXPS]; /* so that no round can be left out */
        }
        threads += 1;
        total += in[0];
    }
    const double seconds = now() - start;
    return total < 1.0f ? (double)((int64_t)threads * REPEATS * EXPS) / seconds : 0;
}

double dsv4_host_fma_rate(void) {
#ifdef __FP_FAST_FMAF
    enum { REPEATS = 2000000 };
    int threads = 0;
    float total = 0;
    const double start = now();
#pragma omp parallel reduction(+ : threads, total)
    {
        float sum[LANES];
        for (int i = 0; i < LANES; i++) sum[i] = (float)i;
        for (int repeat = 0; repeat < REPEATS; repeat++)
            for (int i = 0; i < LANES; i++) sum[i] = fmaf(sum[i], 0.5f, 1.0f);
        threads += 1;
        for (int i = 0; i < LANES; i++) total += sum[i];
    }
    const double seconds = now() - start;
    return total > 0 ? (double)((int64_t)threads * REPEATS * LANES) / seconds : 0;
#else
    return 0; /* no fused multiply-add in this build's instruction set: there is no peak to speak of */
#endif
}
