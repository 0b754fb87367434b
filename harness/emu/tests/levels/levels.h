/* SPDX-License-Identifier: Apache-2.0 */
/* What the kernels of the levels test compute, in C that host and device compilers both take. */
#ifndef DSV4_LEVELS_H
#define DSV4_LEVELS_H

#ifndef LEVELS_DEVICE
#define LEVELS_DEVICE
#endif

/* Four words per work item, in and out. */
#define LEVELS(F)                                                                                  \
    F(arithmetic)                                                                                  \
    F(division)                                                                                    \
    F(long_arithmetic) F(divergence) F(switches) F(calls) F(arrays) F(structs) F(doubles)

union levels_word {
    float f;
    unsigned u;
};

static inline LEVELS_DEVICE unsigned levels_bits(float value) {
    union levels_word w;
    w.f = value;
    return w.u;
}

/* A float of moderate size out of any word. */
static inline LEVELS_DEVICE float levels_value(unsigned word) {
    union levels_word w;
    w.u = (word & 0x807fffffu) | (120u + (word >> 23) % 16u) << 23;
    return w.f;
}

static inline LEVELS_DEVICE void levels_arithmetic(const unsigned *in, unsigned *out, unsigned i) {
    const float a = levels_value(in[4 * i]), b = levels_value(in[4 * i + 1]);
    out[4 * i] = levels_bits(a * b + a);
    out[4 * i + 1] = levels_bits(__builtin_fmaf(a, b, a - b));
    out[4 * i + 2] = levels_bits((a > b ? a : b) - (float)(int)(a * 100.0f));
    out[4 * i + 3] = in[4 * i + 2] * 2654435761u + (in[4 * i + 3] >> 7 ^ in[4 * i] << 3);
}

static inline LEVELS_DEVICE void levels_division(const unsigned *in, unsigned *out, unsigned i) {
    union levels_word x, y;
    x.u = in[4 * i];
    y.u = in[4 * i + 1];
    const float quotient = x.f / y.f;
    out[4 * i] = quotient != quotient ? 0x7fc00000u : levels_bits(quotient);
    out[4 * i + 1] = in[4 * i] / (in[4 * i + 2] | 1);
    out[4 * i + 2] = (unsigned)((int)in[4 * i] % ((int)(in[4 * i + 3] >> 1) + 1));
    out[4 * i + 3] = levels_bits(levels_value(in[4 * i]) / levels_value(in[4 * i + 3]));
}

static inline LEVELS_DEVICE void levels_long_arithmetic(const unsigned *in, unsigned *out,
                                                        unsigned i) {
    const unsigned long long a = (unsigned long long)in[4 * i] << 32 | in[4 * i + 1];
    const unsigned long long b = (unsigned long long)in[4 * i + 2] << 32 | in[4 * i + 3];
    const unsigned long long sum = (a * b ^ (a >> (in[4 * i] & 63))) - (b << (in[4 * i + 1] & 63));
    const unsigned long long quotient = a / (b >> (in[4 * i + 2] & 31) | 1);
    const long long remainder = (long long)a % ((long long)(b >> 20) + 3);
    out[4 * i] = (unsigned)sum;
    out[4 * i + 1] = (unsigned)(sum >> 32) ^ (unsigned)(quotient >> 32);
    out[4 * i + 2] = (unsigned)quotient;
    out[4 * i + 3] = (unsigned)remainder ^ (unsigned)((unsigned long long)remainder >> 32);
}

/* Collatz steps: lanes leave the loop one by one. */
static inline LEVELS_DEVICE void levels_divergence(const unsigned *in, unsigned *out, unsigned i) {
    unsigned n = in[4 * i] % 1000 + 1, steps = 0, odd = 0;
    while (n != 1) {
        if (n & 1) {
            n = 3 * n + 1;
            odd++;
        } else {
            n /= 2;
        }
        if (++steps > 200) break;
    }
    out[4 * i] = steps;
    out[4 * i + 1] = odd;
    out[4 * i + 2] = 0;
    for (unsigned k = 0; k < (in[4 * i + 1] & 15); k++) {
        if (k == (in[4 * i + 2] & 15)) continue;
        out[4 * i + 2] += k * k;
    }
    out[4 * i + 3] = in[4 * i + 1] & 1 && in[4 * i + 2] & 1 ? 11
                     : in[4 * i + 3] & 1 || n == 5          ? 7
                                                            : 3;
}

static inline LEVELS_DEVICE void levels_switches(const unsigned *in, unsigned *out, unsigned i) {
    for (unsigned k = 0; k < 4; k++) {
        unsigned x = in[4 * i + k];
        switch (x % 9) {
        case 0: x += 1; break;
        case 1: x *= 3; /* fall through */
        case 2: x ^= 0x55aa; break;
        case 4: x = x << 3 | x >> 29; break;
        case 5: x = ~x; break;
        case 7: x -= 77; break;
        default: x /= 5;
        }
        out[4 * i + k] = x;
    }
}

static __attribute__((noinline)) LEVELS_DEVICE unsigned levels_mix(unsigned a, unsigned b,
                                                                   unsigned depth) {
    a ^= b << 5;
    b += a >> 3;
    return depth % 2 ? a * 31 + b : a + b * 17;
}

static inline LEVELS_DEVICE void levels_calls(const unsigned *in, unsigned *out, unsigned i) {
    unsigned x = in[4 * i];
    for (unsigned k = 0; k < 4; k++) {
        x = levels_mix(x, in[4 * i + k], k);
        out[4 * i + k] = x;
    }
}

/* An array by a computed index: scratch memory at every level. */
static inline LEVELS_DEVICE void levels_arrays(const unsigned *in, unsigned *out, unsigned i) {
    unsigned counts[32];
    for (unsigned k = 0; k < 32; k++) counts[k] = k;
    for (unsigned k = 0; k < 16; k++) counts[in[4 * i + k % 4] >> k & 31] += k + 1;
    out[4 * i] = counts[in[4 * i] & 31];
    out[4 * i + 1] = counts[3] * 100 + counts[17];
    out[4 * i + 2] = 0;
    for (unsigned k = 0; k < 32; k++) out[4 * i + 2] += counts[k] * (k + 1);
    out[4 * i + 3] = counts[in[4 * i + 3] >> 27];
}

struct levels_particle {
    float position[3];
    unsigned char kind;
    short charge;
    unsigned long long id;
};

static __attribute__((noinline)) LEVELS_DEVICE struct levels_particle
levels_moved(struct levels_particle p, float by) {
    for (unsigned k = 0; k < 3; k++) p.position[k] = p.position[k] + by * (float)(k + p.kind);
    p.charge = (short)(p.charge - p.kind);
    p.id = p.id * 3 + 1;
    return p;
}

static inline LEVELS_DEVICE void levels_structs(const unsigned *in, unsigned *out, unsigned i) {
    struct levels_particle p;
    for (unsigned k = 0; k < 3; k++) p.position[k] = levels_value(in[4 * i + k]);
    p.kind = (unsigned char)(in[4 * i + 3] & 7);
    p.charge = (short)(in[4 * i] >> 9);
    p.id = (unsigned long long)in[4 * i + 1] << 13;
    p = levels_moved(p, levels_value(in[4 * i + 3]));
    p = levels_moved(p, p.position[p.kind % 3]);
    out[4 * i] = levels_bits(p.position[0] + p.position[1] * p.position[2]);
    out[4 * i + 1] = (unsigned)p.charge;
    out[4 * i + 2] = (unsigned)p.id;
    out[4 * i + 3] = (unsigned)(p.id >> 32) + p.kind;
}

static inline LEVELS_DEVICE void levels_doubles(const unsigned *in, unsigned *out, unsigned i) {
    const double a = (double)levels_value(in[4 * i]) * 1.0000001,
                 b = (double)levels_value(in[4 * i + 1]);
    const double c = a / b - b * a, d = __builtin_fma(a, b, c);
    out[4 * i] = levels_bits((float)c);
    out[4 * i + 1] = levels_bits((float)d);
    out[4 * i + 2] = (unsigned)(int)(d * 0.001);
    out[4 * i + 3] = a < b ? (unsigned)(a + 1000.5) : (unsigned)in[4 * i + 2] * 3;
}

#endif
