/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Judging an answer that has other bits than the canon's. An op's bound() walks its outputs and gives every element that
 * other arithmetic may change the ball of values that the declared arithmetic allows. An element inside is admitted: the
 * expected bytes take its place. All that no ball speaks of is compared as bits by whoever compares next.
 *
 * Functions here may be called by several threads on different elements.
 */
#ifndef DSV4_BOUND_ADMIT_H
#define DSV4_BOUND_ADMIT_H

#include "../golden.h"
#include "ball.h"

enum { DSV4_ADMIT_BINS = 12 };

/* What became of one output's elements. */
struct dsv4_admitted {
    int64_t elements, differ, refused; /* judged; other bits than the canon's; outside */
    double slack;                      /* the largest |error| / radius of those that differ */
    int64_t bins[DSV4_ADMIT_BINS];     /* by |error| / radius: bin b holds (2^-(b+1), 2^-b] */
    double squares;                    /* sum of error^2 / variance over `n_squares` elements */
    int64_t n_squares;
    int64_t first;        /* offset of the first element that is refused */
    double low, high;     /* what would have been admitted there */
    int64_t contradicted; /* elements whose canonical value lies outside: the bound is wrong */
};

struct dsv4_admission {
    dsv4_arithmetic arithmetic;
    const struct dsv4_case *c;               /* placed */
    const struct dsv4_vector_tensor *golden; /* says which bytes must stay */
    unsigned char *got;                      /* arenas: what the kernel left, */
    const unsigned char *want;               /* and what is expected */
    /* `want` is a wrong reference's: each ball goes where its value is, twice as large. What the arithmetic may have made
     * of the same mistake lies inside. */
    bool of_mistake;
    struct dsv4_admitted at[DSV4_MAX_TENSORS];
};

/* What an element holds, and how a value is rounded into it. */
enum dsv4_form {
    DSV4_AS_F32,
    DSV4_AS_BF16,
    DSV4_AS_OCP, /* enum dsv4_fp8 follows, in its order */
    DSV4_AS_FNUZ224,
    DSV4_AS_FNUZ240,
    DSV4_AS_E8M0,
    DSV4_AS_POWER, /* of two, in fp32 */
    DSV4_AS_E2M1,  /* two to a byte, the even one in the low nibble */
};
enum dsv4_form dsv4_form_of(const struct dsv4_admission *a, size_t slot);

/*
 * `n` elements of output `slot`, the first at byte `offset` from element 0, `stride` bytes apart. An element may hold what
 * any point of its ball, times `factor`, rounds to; a zero has a sign that the ball has. `variances` of the errors, or
 * NULL: see dsv4_admit_excess.
 */
struct dsv4_row {
    size_t slot;
    int64_t offset, stride;
    enum dsv4_form form;
    int64_t n;
    double factor;
};
void dsv4_admit(struct dsv4_admission *a, const struct dsv4_row *row, const struct dsv4_ball *balls,
                const double *variances);

/* Whether `n` elements of a row, from the `first` on, have the canon's bits. They are admitted whatever their balls are,
 * which need not be worked out: most of an honest kernel's narrow outputs. Of a whole row not even be given. */
bool dsv4_admit_same(const struct dsv4_admission *a, const struct dsv4_row *row, int64_t first,
                     int64_t n);

/* The same where a kernel has chosen otherwise than the canon, rightly: what the canon has there is no measure. */
void dsv4_admit_other(struct dsv4_admission *a, const struct dsv4_row *row,
                      const struct dsv4_ball *balls);

/*
 * A quantised group: a scale at byte `offset` of `slot`, and codes under it.
 *
 * A power of two is that above s, by s's bits: s = max(amax, floor) / most, or times fl(1 / most), at least `least`. The
 * kernel's may be any that a point of amax's ball leads to, mostly one. No class loosens the quotient by a constant: what
 * is exact goes to the canon's scale, and at 448 * 2^k to that very power. Another scale may be any float of the ball `s`.
 *
 * Codes are judged under the kernel's scale where that is right, else under the canon's: `codes` says where they lie, its
 * factor is what else the values are multiplied by; `balls` are values before the scale. Where a code is wrong the scale
 * is not accepted either.
 */
struct dsv4_scale {
    size_t slot;
    int64_t offset;
    enum dsv4_form form; /* DSV4_AS_E8M0 or DSV4_AS_POWER */
    double floor, least, most;
    bool zero_byte; /* byte 0, 2^-127, for all s up to it; by bits subnormal s have 1 */
    bool
        log2; /* kernels may take the exponent from log2f, which a few ulp above a power of two falls upon it */
};
void dsv4_admit_scale(struct dsv4_admission *a, const struct dsv4_scale *scale,
                      struct dsv4_ball amax, const struct dsv4_row *codes,
                      const struct dsv4_ball *balls);
void dsv4_admit_free_scale(struct dsv4_admission *a, size_t slot, int64_t offset,
                           struct dsv4_ball s, const struct dsv4_row *codes,
                           const struct dsv4_ball *balls);

/* Least and greatest scale byte that the ball allows; 255 and below 0 where it allows none. For scales that are no output. */
void dsv4_scale_bytes(const struct dsv4_admission *a, const struct dsv4_scale *scale,
                      struct dsv4_ball amax, int *low, int *high);

/* The ball of the greatest magnitude of n balls. */
struct dsv4_ball dsv4_ball_amax(const struct dsv4_ball *balls, int64_t n);

/* Bytes of output `slot` as the kernel left them, and as the canon has them. */
const void *dsv4_admit_got(const struct dsv4_admission *a, size_t slot, int64_t offset);
const void *dsv4_admit_want(const struct dsv4_admission *a, size_t slot, int64_t offset);

/* Accepts `bytes` of the kernel's as they are: an op has found by other means that they are right. */
void dsv4_admit_bytes(struct dsv4_admission *a, size_t slot, int64_t offset, int64_t bytes);

/*
 * The check of whole tensors: errors of honest sums are independent of each other, so that the sum of n of their squares,
 * each over its variance or more, exceeds n + 2 sqrt(n x) + 2 x with a chance below e^-x (Laurent and Massart 2000).
 * x = 20.7 makes it 1e-9. Returns the first output above it, n_slots when there is none.
 */
size_t dsv4_admit_excess(const struct dsv4_admission *a, double *limit);

#endif
