/* SPDX-License-Identifier: Apache-2.0 */
/*
 * V_MFMA_* and V_SMFMAC_*: which register and lane holds which element, and what is done with it.
 *
 * A lane holds `per` consecutive k of one row of A (column of B): per = k * m * blocks / 64, at lane r + m * (block +
 * blocks * (k / per)). Results of 32 bits fill registers four rows at a time, `64 / n` such runs side by side; of 64 bits
 * one row at a time. EXEC is ignored.
 *
 * cbsz and abid: 2^cbsz neighbouring blocks use A's block abid of theirs. blgp: which lanes B is read from; on f64 it
 * negates A, B, C. Values that are not documented for an instruction are an error. Sparse instructions take their indices
 * from the byte (of 8-bit formats: half) of src2 that abid names, or from the first if cbsz is not zero.
 *
 * f32 and f64 are fma in the order of k, rounded to nearest even; f32 heeds MODE's input denormals for A and B, nothing
 * else heeds MODE; a NaN result is the positive quiet one without payload. i32 wraps around. With MODE.FP16_OVFL overflows
 * are clamped by hardware in a way that is not known well enough: results that would be are an error.
 * Narrow floats: matrix_sum.c. How SMFMAC groups its terms has not been measured by anybody: they are taken in the order
 * of the given elements in groups like those of dense instructions. Results depend on that only by rounding; hence
 * EMU_APPROXIMATE, and approx=low and high move the last bit.
 */
#include "matrix.h"

#include <string.h>

#include "dot.h"
#include "machine.h"
#include "number.h"

static const struct emu_matrix_shape shapes[] = {
#define MFMA(name, a, b, m, n, k, blocks, swizzles)                                                \
    {MATRIX_##a, MATRIX_##b, m, n, k, blocks, false, swizzles},
#define SMFMAC(name, a, b, m, n, k) {MATRIX_##a, MATRIX_##b, m, n, k, 1, true, false},
#include "matrix.def"
#undef MFMA
#undef SMFMAC
};

static unsigned bits_of(enum matrix_format format) {
    switch (format) {
    case MATRIX_F64: return 64;
    case MATRIX_F32:
    case MATRIX_XF32: return 32;
    case MATRIX_F16:
    case MATRIX_BF16: return 16;
    default: return 8;
    }
}

/* ---- inputs ---- */

static unsigned swizzled(unsigned lane, unsigned blgp) {
    switch (blgp) {
    case 1: return lane % 32;
    case 2: return lane % 32 + 32;
    case 3: return (lane + 16) % 64;
    case 4:
    case 5:
    case 6:
    case 7: return lane % 16 + 16 * (blgp - 4);
    default: return lane;
    }
}

/* Element v of every lane, as an unsigned number of its size; f64 apart. */
static void element(uint32_t *raw, uint32_t (*registers)[EMU_LANES], unsigned v,
                    enum matrix_format format, unsigned blgp) {
    const unsigned bits = bits_of(format), shift = v * bits % 32;
    const uint32_t *const from = registers[v * bits / 32];
    const uint32_t mask = bits == 32 ? ~0u : (1u << bits) - 1;
    EMU_EACH_LANE raw[lane] = from[lane] >> shift & mask;
    if (blgp == 0) return;
    uint32_t moved[EMU_LANES];
    for (unsigned lane = 0; lane < EMU_LANES; lane++) moved[lane] = raw[swizzled(lane, blgp)];
    memcpy(raw, moved, sizeof moved);
}

/* rows: of one block. k: of elements that are there. */
struct input {
    enum matrix_format format;
    unsigned rows, blocks, k, blgp, scale;
    bool flush; /* f32 denormals */
};

static void convert_element(int32_t *significand, int32_t *exponent, uint32_t *raw,
                            const struct input *in) {
    switch (in->format) {
    case MATRIX_F32:
        EMU_EACH_LANE significand[lane] = (int32_t)emu_flush32(raw[lane], !in->flush);
        break;
    case MATRIX_I8: EMU_EACH_LANE significand[lane] = (int8_t)(uint8_t)raw[lane]; break;
    case MATRIX_XF32: /* cut to 10 bits of fraction; a NaN stays one */
        EMU_EACH_LANE {
            const uint32_t x = raw[lane];
            raw[lane] = x >> 13 | (uint32_t)((x & 0x7fffffffu) > 0x7f800000u);
        }
        emu_matrix_split(significand, exponent, raw, MATRIX_XF32, in->scale);
        break;
    default: emu_matrix_split(significand, exponent, raw, in->format, in->scale);
    }
}

static void read_input(struct emu_matrix_input *to, uint32_t (*registers)[EMU_LANES],
                       const struct input *in) {
    const unsigned run = in->rows * in->blocks, runs = EMU_LANES / run, per = in->k / runs;
    uint32_t raw[EMU_LANES];
    int32_t significand[EMU_LANES], exponent[EMU_LANES] = {0};
    to->rows = run;
    for (unsigned v = 0; v < per; v++) {
        element(raw, registers, v, in->format, in->blgp);
        convert_element(significand, exponent, raw, in);
        for (unsigned r = 0; r < runs; r++) {
            const unsigned k = r * per + v;
            memcpy(&to->significand[k * run], &significand[r * run], run * sizeof(int32_t));
            memcpy(&to->exponent[k * run], &exponent[r * run], run * sizeof(int32_t));
        }
    }
}

static void read_wide(struct emu_matrix_input *to, uint32_t (*registers)[EMU_LANES], bool negate) {
    const uint64_t sign = negate ? UINT64_C(1) << 63 : 0;
    for (unsigned lane = 0; lane < EMU_LANES; lane++)
        to->wide[lane] = ((uint64_t)registers[1][lane] << 32 | registers[0][lane]) ^ sign;
}

/* ---- results ---- */

/* Register and first lane of row i of block b. */
static unsigned place(const struct emu_matrix_shape *s, unsigned b, unsigned i, unsigned *lane) {
    const unsigned height = s->a == MATRIX_F64 ? 1 : 4, side = 64u / s->n;
    const unsigned per_register = 64u * height / (unsigned)(s->m * s->n); /* blocks side by side */
    const unsigned shared = per_register > 1 ? per_register : 1;
    *lane = (b % shared) * s->n + (i / height) % (side / shared) * shared * s->n;
    return b / shared * shared * s->m * s->n / 64 + i / (height * (side / shared)) * height +
           i % height;
}

/* ---- one row of results ---- */

struct task {
    const struct emu_matrix_shape *shape;
    const struct emu_matrix_input *a, *b;
    const uint8_t (*index)[MATRIX_MAX_TERMS]; /* sparse: dense k of row i's elements */
    unsigned cbsz, abid;
};

static unsigned given(const struct emu_matrix_shape *s) { return s->sparse ? s->k / 2u : s->k; }

static unsigned a_block(const struct task *t, unsigned block) {
    return (block >> t->cbsz << t->cbsz) + t->abid;
}

static void row_terms(struct emu_matrix_terms *terms, const struct task *t, unsigned block,
                      unsigned i) {
    const struct emu_matrix_shape *const s = t->shape;
    const unsigned row = a_block(t, block) * s->m + i;
    terms->count = given(s);
    for (unsigned k = 0; k < terms->count; k++) {
        const unsigned dense = s->sparse ? t->index[i][k] : k;
        const size_t at = (size_t)dense * t->b->rows + block * s->n;
        terms->significand[k] = t->a->significand[k * t->a->rows + row];
        terms->exponent[k] = t->a->exponent[k * t->a->rows + row];
        terms->b_significand[k] = &t->b->significand[at];
        terms->b_exponent[k] = &t->b->exponent[at];
    }
}

static void row_f32(uint32_t *row, const struct emu_matrix_terms *t, unsigned n) {
    for (unsigned k = 0; k < t->count; k++) {
        const float a = emu_float((uint32_t)t->significand[k]);
        const int32_t *const b = t->b_significand[k];
        _Pragma("omp simd") for (unsigned j = 0; j < n; j++) row[j] =
            emu_bits(__builtin_fmaf(a, emu_float((uint32_t)b[j]), emu_float(row[j])));
    }
    for (unsigned j = 0; j < n; j++)
        if ((row[j] & 0x7fffffffu) > 0x7f800000u) row[j] = 0x7fc00000u;
}

static void row_i8(uint32_t *row, const struct emu_matrix_terms *t, unsigned n) {
    for (unsigned k = 0; k < t->count; k++) {
        const int32_t a = t->significand[k], *const b = t->b_significand[k];
        _Pragma("omp simd") for (unsigned j = 0; j < n; j++) row[j] += (uint32_t)(a * b[j]);
    }
}

static void row_of(uint32_t *row, const struct emu_matrix_terms *terms,
                   const struct emu_matrix_shape *s) {
    switch (s->a) {
    case MATRIX_F32: row_f32(row, terms, s->n); break;
    case MATRIX_I8: row_i8(row, terms, s->n); break;
    case MATRIX_FP8:
    case MATRIX_BF8: emu_matrix_sum_fp8(row, terms, s->n); break;
    case MATRIX_XF32: emu_matrix_sum(row, terms, 4, s->n); break;
    default: emu_matrix_sum(row, terms, terms->count < 8 ? 4 : 8, s->n); break;
    }
}

static void row_f64(uint64_t *row, const struct task *t, unsigned block, unsigned i) {
    const struct emu_matrix_shape *const s = t->shape;
    const unsigned rows = (unsigned)(s->m * s->blocks);
    for (unsigned j = 0; j < s->n; j++) {
        double sum = emu_double(row[j]);
        for (unsigned k = 0; k < s->k; k++)
            sum = __builtin_fma(emu_double(t->a->wide[k * rows + a_block(t, block) * s->m + i]),
                                emu_double(t->b->wide[k * rows + block * s->n + j]), sum);
        row[j] = sum != sum ? UINT64_C(0x7ff8000000000000) : emu_bits64(sum);
    }
}

/* ---- what is asked for ---- */

static const char *refused(const struct emu_insn *i, const struct emu_matrix_shape *s) {
    const struct emu_operand *const c = &i->operand[3];
    if (!s->sparse && ((1u << i->cbsz) > s->blocks || i->abid >= 1u << i->cbsz))
        return "cbsz and abid name no blocks of this instruction";
    if (i->blgp != 0 && s->a != MATRIX_F64 && !s->swizzles)
        return "blgp is not documented for this instruction";
    if (i->neg_lo != 0 || i->neg_hi != 0 || i->clamp || i->op_sel != 0)
        return "modifiers of this instruction are not documented";
    if (!s->sparse && c->kind != EMU_VGPR && c->kind != EMU_CONSTANT)
        return "the accumulator is neither a vector register nor a constant";
    if (s->a == MATRIX_F64 && s->m == 16 && c->kind == EMU_CONSTANT && c->value != 0)
        return "a constant accumulator of several doubles is not known but for 0";
    return NULL;
}

/* Dense k of every row's elements; false if a pair of indices does not ascend. */
static bool read_index(uint8_t (*index)[MATRIX_MAX_TERMS], const struct emu_wave *w,
                       const struct emu_insn *i, const struct emu_matrix_shape *s) {
    const unsigned runs = 64u / s->m, per = given(s) / runs;
    const unsigned shift = i->cbsz != 0 ? 0 : 2 * per * (i->abid & (16 / per - 1));
    for (unsigned row = 0; row < s->m; row++)
        for (unsigned k = 0; k < given(s); k++) {
            const uint32_t word = w->v[i->operand[3].reg][row + s->m * (k / per)] >> shift;
            index[row][k] = (uint8_t)(4 * (k / 2) + (word >> 2 * (k % per) & 3));
            if (k % 2 == 1 && index[row][k] <= index[row][k - 1]) return false;
        }
    return true;
}

/* ---- the whole instruction ---- */

typedef uint32_t results[32][EMU_LANES];

static void accumulators(results d, const struct emu_wave *w, const struct emu_operand *c,
                         unsigned registers, bool negate) {
    for (unsigned r = 0; r < registers; r++) {
        const bool high = c->type == EMU_F64 && r % 2 == 1;
        memcpy(d[r], c->kind == EMU_VGPR ? w->v[c->reg + r] : c->lanes[high], sizeof d[r]);
        if (negate && r % 2 == 1)
            for (unsigned lane = 0; lane < EMU_LANES; lane++) d[r][lane] ^= 0x80000000u;
    }
}

static void all_rows(results d, const struct task *t) {
    const struct emu_matrix_shape *const s = t->shape;
    struct emu_matrix_terms terms;
    for (unsigned block = 0; block < s->blocks; block++)
        for (unsigned i = 0; i < s->m; i++) {
            unsigned lane;
            const unsigned reg = place(s, block, i, &lane);
            if (s->a == MATRIX_F64) {
                uint64_t row[16];
                for (unsigned j = 0; j < s->n; j++)
                    row[j] = (uint64_t)d[2 * reg + 1][lane + j] << 32 | d[2 * reg][lane + j];
                row_f64(row, t, block, i);
                for (unsigned j = 0; j < s->n; j++) {
                    d[2 * reg][lane + j] = (uint32_t)row[j];
                    d[2 * reg + 1][lane + j] = (uint32_t)(row[j] >> 32);
                }
            } else {
                row_terms(&terms, t, block, i);
                row_of(&d[reg][lane], &terms, s);
            }
        }
}

/* Where MODE.FP16_OVFL might have clamped: infinities; integers that might have wrapped cannot be told, so all. */
static bool might_clamp(const results d, const struct emu_matrix_shape *s, unsigned registers) {
    if (s->a == MATRIX_F64) return false;
    if (s->a == MATRIX_I8) return true;
    for (unsigned r = 0; r < registers; r++)
        for (unsigned lane = 0; lane < EMU_LANES; lane++)
            if ((d[r][lane] & 0x7fffffffu) == 0x7f800000u) return true;
    return false;
}

/* Sparse sums: one last place down or up. */
static void nudge(results d, unsigned registers, int way) {
    for (unsigned r = 0; r < registers; r++)
        for (unsigned lane = 0; lane < EMU_LANES; lane++) {
            const uint32_t x = d[r][lane], size = x & 0x7fffffffu;
            if (size == 0 || size >= 0x7f7fffffu) continue;
            d[r][lane] = (x >> 31) == (way < 0) ? x + 1 : x - 1;
        }
}

/* A result is defined where its accumulator, its row of A and its column of B are. */
static void define(struct emu_wave *w, const struct emu_insn *i, const struct emu_matrix_shape *s) {
    uint64_t a = ~UINT64_C(0), b = ~UINT64_C(0);
    const struct emu_operand *const o = i->operand, *const c = s->sparse ? &o[0] : &o[3];
    for (unsigned r = 0; r < o[1].registers; r++) a &= w->v_defined[o[1].reg + r];
    for (unsigned r = 0; r < o[2].registers; r++) b &= w->v_defined[o[2].reg + r];
    if (s->sparse) a &= w->v_defined[o[3].reg];
    const bool inputs = (a & b) == ~UINT64_C(0);
    uint64_t defined[32];
    for (unsigned r = 0; r < o[0].registers; r++)
        defined[r] = c->kind == EMU_VGPR ? w->v_defined[c->reg + r] : ~UINT64_C(0);
    if (!inputs) {
        const unsigned run = (unsigned)(s->m * s->blocks), width = s->a == MATRIX_F64 ? 2 : 1;
        uint64_t rows = ~UINT64_C(0), columns = ~UINT64_C(0);
        for (unsigned lane = 0; lane < EMU_LANES; lane++) {
            if (!(a >> lane & 1)) rows &= ~(UINT64_C(1) << lane % run);
            if (!(b >> swizzled(lane, s->a == MATRIX_F64 ? 0 : i->blgp) & 1))
                columns &= ~(UINT64_C(1) << lane % run);
        }
        for (unsigned block = 0; block < s->blocks; block++)
            for (unsigned row = 0; row < s->m; row++) {
                unsigned lane;
                const unsigned reg = width * place(s, block, row, &lane);
                const unsigned from = s->sparse ? 0 : (block >> i->cbsz << i->cbsz) + i->abid;
                const uint64_t all = (UINT64_C(1) << s->n) - 1;
                const uint64_t good =
                    rows >> (from * s->m + row) & 1 ? columns >> block * s->n & all : 0;
                for (unsigned half = 0; half < width; half++)
                    defined[reg + half] &= ~((all & ~good) << lane);
            }
    }
    for (unsigned r = 0; r < o[0].registers; r++) w->v_defined[o[0].reg + r] = defined[r];
}

static void read_inputs(struct emu_matrix_input *a, struct emu_matrix_input *b,
                        const struct emu_wave *w, const struct emu_insn *i,
                        const struct emu_matrix_shape *s) {
    uint32_t(*const from_a)[EMU_LANES] = &w->v[i->operand[1].reg];
    uint32_t(*const from_b)[EMU_LANES] = &w->v[i->operand[2].reg];
    if (s->a == MATRIX_F64) {
        read_wide(a, from_a, i->blgp & 1);
        read_wide(b, from_b, i->blgp & 2);
        return;
    }
    struct input in = {.format = s->a,
                       .rows = s->m,
                       .blocks = s->blocks,
                       .k = given(s),
                       .flush = !emu_keeps_inputs(w->mode, EMU_DENORM_32)};
    if (s->a != MATRIX_F32 && s->a != MATRIX_I8)
        in.scale = 24 - emu_matrix_fraction(s->a) - emu_matrix_fraction(s->b);
    read_input(a, from_a, &in);
    in.format = s->b;
    in.rows = s->n;
    in.k = s->k;
    in.blgp = i->blgp;
    in.scale = 0;
    read_input(b, from_b, &in);
}

const struct emu_insn *emu_matrix_run(struct emu_wave *w, const struct emu_insn *i) {
    const struct emu_matrix_shape *const s = &shapes[i->opcode - emu_matrix_opcodes];
    const char *const why = refused(i, s);
    if (why != NULL) return emu_fault(w, i, EMU_UNIMPLEMENTED, -1, "%s", why);
    struct emu_matrix_input a, b;
    uint8_t index[32][MATRIX_MAX_TERMS];
    _Alignas(64) results d;
    if (s->sparse && !read_index(index, w, i, s))
        return emu_fault(w, i, EMU_BAD_CODE, -1,
                         "the indices of a pair of sparse elements do not ascend");
    const unsigned registers =
        (unsigned)(s->m * s->n * s->blocks) / 64 * (s->a == MATRIX_F64 ? 2 : 1);
    const struct task task = {.shape = s,
                              .a = &a,
                              .b = &b,
                              .index = (const uint8_t(*)[MATRIX_MAX_TERMS])index,
                              .cbsz = s->sparse ? 0 : i->cbsz,
                              .abid = s->sparse ? 0 : i->abid};
    read_inputs(&a, &b, w, i, s);
    accumulators(d, w, s->sparse ? &i->operand[0] : &i->operand[3], registers,
                 s->a == MATRIX_F64 && (i->blgp & 4));
    all_rows(d, &task);
    if ((w->mode >> EMU_FP16_OVFL & 1) &&
        might_clamp((const uint32_t(*)[EMU_LANES])d, s, registers))
        return emu_fault(w, i, EMU_UNIMPLEMENTED, -1,
                         "an overflow in matrix arithmetic under MODE.FP16_OVFL is not known");
    if (s->sparse && s->a != MATRIX_I8 && emu_options()->approximate != 0)
        nudge(d, registers, emu_options()->approximate);
    define(w, i, s);
    memcpy(w->v[i->operand[0].reg], d, registers * sizeof d[0]);
    return i + 1;
}

/* Registers as a type: 1, 2, 4, 8, 16 or 32. */
#define WORDS(n)                                                                                   \
    ((n) == 1    ? EMU_B32                                                                         \
     : (n) == 2  ? EMU_B64                                                                         \
     : (n) == 4  ? EMU_B128                                                                        \
     : (n) == 8  ? EMU_B256                                                                        \
     : (n) == 16 ? EMU_B512                                                                        \
                 : EMU_B1024)
enum {
    WIDTH_F32 = 32,
    WIDTH_XF32 = 32,
    WIDTH_F16 = 16,
    WIDTH_BF16 = 16,
    WIDTH_FP8 = 8,
    WIDTH_BF8 = 8,
    WIDTH_I8 = 8,
    WIDTH_F64 = 64
};
#define INPUT(format, rows, k, blocks) WORDS((rows) * (k) * (blocks)*WIDTH_##format / 2048)
#define OUTPUT(a, m, n, blocks)                                                                    \
    (WIDTH_##a == 64 && (m) == 4 ? EMU_F64                                                         \
                                 : WORDS((m) * (n) * (blocks) / 64 * (WIDTH_##a == 64 ? 2 : 1)))
#define BRACES(...)                                                                                \
    { __VA_ARGS__ }

const struct emu_opcode emu_matrix_opcodes[] = {
#define MFMA(name, a, b, m, n, k, blocks, swizzles)                                                \
    BRACES(#name, emu_matrix_run,                                                                  \
           BRACES(OUTPUT(a, m, n, blocks), INPUT(a, m, k, blocks), INPUT(b, n, k, blocks),         \
                  OUTPUT(a, m, n, blocks)),                                                        \
           1, EMU_VALU | EMU_CROSS_LANE),
#define SMFMAC(name, a, b, m, n, k)                                                                \
    BRACES(#name, emu_matrix_run,                                                                  \
           BRACES(OUTPUT(a, m, n, 1), INPUT(a, m, k / 2, 1), INPUT(b, n, k, 1), EMU_B32), 1,       \
           EMU_VALU | EMU_CROSS_LANE | EMU_PARTIAL | EMU_APPROXIMATE),
#include "matrix.def"
#define DOT(name, function, to, from, flags)                                                       \
    BRACES(#name, emu_##name, BRACES(to, from, from, to), 1, EMU_VALU | EMU_OP_SEL | (flags)),
#define ACCUMULATE(name, function, to, from, flags)                                                \
    BRACES(#name, emu_##name, BRACES(to, from, from), 1, EMU_VALU | EMU_PARTIAL | (flags)),
#include "dot.def"
    {0},
};
