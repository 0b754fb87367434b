/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where the elements of matrix instructions are: random whole numbers, whose products and sums are exact in every format,
 * so that any permutation of elements shows.
 */
#include "../decode.h"
#include "matrix_case.h"

static struct bare b;

static bool is_matrix(const char *name) {
    return strncmp(name, "v_mfma", 6) == 0 || strncmp(name, "v_smfmac", 8) == 0;
}

struct numbers {
    int a[16][32][64], b[16][32][64], c[16][32][32]; /* block, row or column, k; block, i, j */
};

static struct numbers x;

static int small(uint64_t *state) { return (int)(bare_random(state) % 7) - 3; }

static uint64_t accumulator_code(const struct matrix_case *c, int value) {
    if (strcmp(c->a, "i8") == 0) return (uint32_t)value;
    return code_of(format_bits(c->a) == 64 ? "f64" : "f32", value);
}

static void fill(const struct matrix_case *c, unsigned reg_c, uint64_t *state) {
    unsigned lane, v;
    const unsigned given = c->sparse ? c->k / 2 : c->k;
    for (unsigned block = 0; block < c->blocks; block++) {
        for (unsigned r = 0; r < c->m; r++)
            for (unsigned k = 0; k < given; k++) {
                x.a[block][r][k] = small(state);
                input_place(c->m, c->blocks, given, block, r, k, &lane, &v);
                set_bits(&b, A_AT, lane, format_bits(c->a), v, code_of(c->a, x.a[block][r][k]));
            }
        for (unsigned r = 0; r < c->n; r++)
            for (unsigned k = 0; k < c->k; k++) {
                x.b[block][r][k] = small(state);
                input_place(c->n, c->blocks, c->k, block, r, k, &lane, &v);
                set_bits(&b, B_AT, lane, format_bits(c->b), v, code_of(c->b, x.b[block][r][k]));
            }
        for (unsigned i = 0; i < c->m; i++)
            for (unsigned j = 0; j < c->n; j++) {
                x.c[block][i][j] = small(state) * 5;
                output_place(c, block, i, j, &lane, &v);
                set_bits(&b, reg_c, lane, format_bits(c->a) == 64 ? 64 : 32, v,
                         accumulator_code(c, x.c[block][i][j]));
            }
    }
}

/* dense[i][k]: the k of B that row i's element meets. */
static void expect_products(const struct matrix_case *c, unsigned reg_d, unsigned cbsz,
                            unsigned abid, unsigned dense[32][64]) {
    const unsigned given = c->sparse ? c->k / 2 : c->k;
    unsigned lane, v;
    for (unsigned block = 0; block < c->blocks; block++)
        for (unsigned i = 0; i < c->m; i++)
            for (unsigned j = 0; j < c->n; j++) {
                int sum = x.c[block][i][j];
                const unsigned group = 1u << cbsz, from = block / group * group + abid;
                for (unsigned k = 0; k < given; k++)
                    sum += x.a[from][i][k] * x.b[block][j][dense != NULL ? dense[i][k] : k];
                output_place(c, block, i, j, &lane, &v);
                const uint64_t got =
                    get_bits(&b, reg_d, lane, format_bits(c->a) == 64 ? 64 : 32, v);
                cr_assert_eq(got, accumulator_code(c, sum), "%s block %u row %u column %u", c->name,
                             block, i, j);
            }
}

Test(matrix, every_dense_shape_and_format) {
    uint64_t state = 3;
    unsigned tested = 0;
    for (const struct emu_opcode *o = emu_matrix_opcodes; o->name != NULL; o++) {
        if (!is_matrix(o->name)) continue;
        const struct matrix_case c = matrix_case(o->name);
        if (c.sparse) continue;
        bare_begin(&b);
        emu_write_s64(&b.wave, EMU_EXEC, 5); /* EXEC does not count */
        const struct emu_insn i = bare_insn(o->name);
        fill(&c, C_AT, &state);
        bare_run(&b, &i);
        expect_products(&c, D_AT, 0, 0, NULL);
        tested++;
    }
    cr_assert_eq(tested, 32);
}

/* In place, into accumulation registers, and over A and B. */
Test(matrix, destinations_that_are_sources) {
    static const unsigned places[] = {C_AT, EMU_AGPR + 32, A_AT, B_AT};
    uint64_t state = 4;
    const struct matrix_case c = matrix_case("v_mfma_f32_32x32x16_fp8_bf8");
    for (unsigned n = 0; n < 4; n++) {
        bare_begin(&b);
        struct emu_insn i = bare_insn(c.name);
        bare_operand(&i, 0, places[n]);
        fill(&c, C_AT, &state);
        bare_run(&b, &i);
        expect_products(&c, places[n], 0, 0, NULL);
    }
}

Test(matrix, constant_accumulators) {
    static uint32_t two[2][EMU_LANES];
    for (unsigned lane = 0; lane < EMU_LANES; lane++) two[0][lane] = 0x40000000;
    uint64_t state = 5;
    const struct matrix_case c = matrix_case("v_mfma_f32_16x16x16_bf16");
    bare_begin(&b);
    struct emu_insn i = bare_insn(c.name);
    i.operand[3] = (struct emu_operand){.kind = EMU_CONSTANT,
                                        .type = EMU_B128,
                                        .value = 0x40000000,
                                        .lanes = (const uint32_t(*)[EMU_LANES])two};
    fill(&c, C_AT, &state);
    for (unsigned row = 0; row < 16; row++)
        for (unsigned j = 0; j < 16; j++) x.c[0][row][j] = 2;
    bare_run(&b, &i);
    expect_products(&c, D_AT, 0, 0, NULL);
}

Test(matrix, blocks_of_a_are_broadcast) {
    static const char *const names[] = {"v_mfma_f32_32x32x4_2b_f16", "v_mfma_i32_16x16x4_4b_i8",
                                        "v_mfma_f32_4x4x1_16b_f32", "v_mfma_f32_4x4x4_16b_bf16"};
    uint64_t state = 6;
    for (unsigned n = 0; n < sizeof names / sizeof *names; n++) {
        const struct matrix_case c = matrix_case(names[n]);
        for (unsigned cbsz = 0; 1u << cbsz <= c.blocks; cbsz++)
            for (unsigned abid = 0; abid < 1u << cbsz; abid++) {
                bare_begin(&b);
                struct emu_insn i = bare_insn(c.name);
                i.cbsz = (uint8_t)cbsz;
                i.abid = (uint8_t)abid;
                fill(&c, C_AT, &state);
                bare_run(&b, &i);
                expect_products(&c, D_AT, cbsz, abid, NULL);
            }
    }
}

/* The same instruction on lanes of B that were moved by hand. */
Test(matrix, lanes_of_b_are_swizzled) {
    uint64_t state = 7;
    const struct matrix_case c = matrix_case("v_mfma_f32_32x32x8_f16");
    for (unsigned blgp = 1; blgp < 8; blgp++) {
        bare_begin(&b);
        struct emu_insn i = bare_insn(c.name);
        fill(&c, C_AT, &state);
        i.blgp = (uint8_t)blgp;
        bare_run(&b, &i);
        uint32_t got[16][EMU_LANES], moved[2][EMU_LANES];
        memcpy(got, b.v[D_AT], sizeof got);
        for (unsigned r = 0; r < 2; r++)
            for (unsigned lane = 0; lane < EMU_LANES; lane++) {
                const unsigned from = blgp == 1   ? lane & 31
                                      : blgp == 2 ? lane | 32
                                      : blgp == 3 ? (lane + 16) & 63
                                                  : (lane & 15) | (blgp - 4) << 4;
                moved[r][lane] = b.v[B_AT + r][from];
            }
        memcpy(b.v[B_AT], moved, sizeof moved);
        i.blgp = 0;
        bare_run(&b, &i);
        cr_assert_eq(memcmp(got, b.v[D_AT], sizeof got), 0, "blgp %u", blgp);
    }
}

static void expect_fault(struct emu_insn i) {
    cr_assert(i.opcode->run(&b.wave, &i) == NULL, "%s", i.opcode->name);
}

Test(matrix, what_is_not_documented_is_refused) {
    bare_begin(&b);
    struct emu_insn i = bare_insn("v_mfma_f32_32x32x4_2b_f16");
    i.cbsz = 2;
    expect_fault(i);
    i.cbsz = 1;
    i.abid = 2;
    expect_fault(i);
    i = bare_insn("v_mfma_f32_32x32x16_fp8_fp8");
    i.blgp = 1;
    expect_fault(i);
    i.blgp = 0;
    i.cbsz = 1;
    expect_fault(i);
    i = bare_insn("v_mfma_f32_32x32x8_f16");
    i.neg_lo = 1;
    expect_fault(i);
}

/* neg of the f64 instructions, which is in blgp's bits. */
Test(matrix, doubles_are_negated) {
    uint64_t state = 8;
    const struct matrix_case c = matrix_case("v_mfma_f64_16x16x4_f64");
    for (unsigned neg = 0; neg < 8; neg++) {
        bare_begin(&b);
        struct emu_insn i = bare_insn(c.name);
        i.blgp = (uint8_t)neg;
        fill(&c, C_AT, &state);
        bare_run(&b, &i);
        for (unsigned row = 0; row < 16; row++)
            for (unsigned n = 0; n < 16; n++) {
                if (neg & 1 && n < 4) x.a[0][row][n] *= -1;
                if (neg & 2 && n < 4) x.b[0][row][n] *= -1;
                if (neg & 4) x.c[0][row][n] *= -1;
            }
        expect_products(&c, D_AT, 0, 0, NULL);
    }
}

/* ---- sparse ---- */

/* Ascending pairs for every row and pair of elements, in set `set` of the index register; noise in the others. */
static void fill_index(const struct matrix_case *c, unsigned set, unsigned dense[32][64],
                       uint64_t *state) {
    static const unsigned pairs[6][2] = {
        {0, 1},
        {0, 2},
        {0, 3},
        {1, 2},
        {1, 3},
        {2, 3}
    };
    const unsigned given = c->k / 2, per = given * c->m / 64;
    for (unsigned lane = 0; lane < EMU_LANES; lane++) {
        uint32_t word = bare_random(state);
        for (unsigned v = 0; v < per; v += 2) {
            const unsigned *const p = pairs[bare_random(state) % 6];
            const unsigned row = lane % c->m, k = lane / c->m * per + v;
            dense[row][k] = 2 * k + p[0];
            dense[row][k + 1] = 2 * k + p[1];
            const unsigned shift = 2 * per * set + 2 * v;
            word = (word & ~(15u << shift)) | (p[0] | p[1] << 2) << shift;
        }
        b.v[C_AT][lane] = word;
    }
}

Test(matrix, every_sparse_shape_and_format) {
    static unsigned dense[32][64];
    uint64_t state = 9;
    unsigned tested = 0;
    for (const struct emu_opcode *o = emu_matrix_opcodes; o->name != NULL; o++) {
        if (!is_matrix(o->name)) continue;
        const struct matrix_case c = matrix_case(o->name);
        if (!c.sparse) continue;
        const unsigned sets = format_bits(c.a) == 16 ? 4 : 2;
        for (unsigned set = 0; set < sets; set++)
            for (unsigned cbsz = 0; cbsz < 2; cbsz++) {
                bare_begin(&b);
                struct emu_insn i = bare_insn(o->name);
                i.cbsz = (uint8_t)cbsz;
                i.abid = (uint8_t)set;
                fill(&c, D_AT, &state);
                fill_index(&c, cbsz ? 0 : set, dense, &state);
                bare_run(&b, &i);
                expect_products(&c, D_AT, 0, 0, dense);
            }
        tested++;
    }
    cr_assert_eq(tested, 14);
}

Test(matrix, indices_that_do_not_ascend_are_a_fault) {
    static unsigned dense[32][64];
    uint64_t state = 10;
    const struct matrix_case c = matrix_case("v_smfmac_f32_16x16x32_f16");
    bare_begin(&b);
    fill(&c, D_AT, &state);
    fill_index(&c, 0, dense, &state);
    b.v[C_AT][17] = (b.v[C_AT][17] & ~15u) | 5; /* 1, 1 */
    expect_fault(bare_insn(c.name));
}

/* How sparse sums round is not known: approx shows who depends on it. Integers do not round. */
Test(matrix, sparse_sums_are_approximate) {
    static const char *const names[] = {"v_smfmac_f32_16x16x32_f16", "v_smfmac_i32_16x16x64_i8"};
    static unsigned dense[32][64];
    setenv("DSV4_EMU", "approx=high", 1);
    for (unsigned n = 0; n < 2; n++) {
        uint64_t state = 11;
        const struct matrix_case c = matrix_case(names[n]);
        bare_begin(&b);
        const struct emu_insn i = bare_insn(c.name);
        fill(&c, D_AT, &state);
        fill_index(&c, 0, dense, &state);
        bare_run(&b, &i);
        unsigned moved = 0;
        for (unsigned j = 0; j < 16; j++) {
            int sum = x.c[0][0][j];
            for (unsigned k = 0; k < c.k / 2; k++) sum += x.a[0][0][k] * x.b[0][j][dense[0][k]];
            moved += b.v[D_AT][j] != accumulator_code(&c, sum);
        }
        cr_assert(n == 0 ? moved > 8 : moved == 0, "%s: %u results moved", c.name, moved);
    }
}

/* ---- definedness ---- */

Test(matrix, an_undefined_row_or_column_stays_one) {
    bare_begin(&b);
    const struct emu_insn i = bare_insn("v_mfma_f32_16x16x16_f16");
    b.defined[A_AT + 1] &= ~(UINT64_C(1) << (16 + 6)); /* row 6 */
    b.defined[B_AT] &= ~(UINT64_C(1) << 3);            /* column 3 */
    b.defined[C_AT + 1] &= ~(UINT64_C(1) << 5);        /* row 1, column 5 */
    bare_run(&b, &i);
    for (unsigned row = 0; row < 16; row++)
        for (unsigned j = 0; j < 16; j++) {
            const bool defined = b.defined[row % 4] >> (j + 16 * (row / 4)) & 1;
            cr_assert_eq(defined, row != 6 && j != 3 && !(row == 1 && j == 5), "%u %u", row, j);
        }
}

/* ---- as the disassembler writes them ---- */

static struct emu_insn decoded(const char *text) {
    struct emu_insn i[2];
    emu_decode(&i[0], text, 0, 8);
    cr_assert(i[0].opcode != NULL && i[0].run == i[0].opcode->run, "%s", text);
    return i[0];
}

Test(matrix, text_reaches_the_handlers) {
    struct emu_insn i =
        decoded("v_mfma_f32_32x32x4_2b_bf16 a[0:31], a[2:3], v[4:5], a[0:31] cbsz:1 abid:1 blgp:2");
    cr_assert(i.operand[0].reg == 256 && i.operand[1].reg == 258 && i.operand[2].reg == 4);
    cr_assert(i.cbsz == 1 && i.abid == 1 && i.blgp == 2);
    i = decoded("v_mfma_f64_16x16x4_f64 v[4:11], v[8:9], v[16:17], v[32:39] neg:[1,0,1]");
    cr_assert_eq(i.blgp, 5);
    i = decoded("v_mfma_f64_4x4x4_4b_f64 v[4:5], v[8:9], v[16:17], 1.0");
    cr_assert_eq(i.operand[3].value, UINT64_C(0x3ff0000000000000));
    i = decoded("v_smfmac_f32_32x32x16_f16 v[4:19], v[8:9], v[16:19], v32 cbsz:1 abid:2");
    cr_assert(i.operand[3].reg == 32 && i.cbsz == 1 && i.abid == 2);
    i = decoded("v_mfma_f32_32x32x16_fp8_fp8 v[0:15], v[16:17], v[18:19], 0");
    cr_assert_eq(i.operand[3].kind, EMU_CONSTANT);
    i = decoded("v_cvt_sr_fp8_f32 v1, v2, v3 op_sel:[0,0,1,1]");
    cr_assert_eq(i.op_sel >> 2, 3);
    i = decoded("v_cvt_pk_fp8_f32 v1, v2, v3 op_sel:[0,0,1]");
    cr_assert_neq(i.op_sel >> 2, 0);
    i = decoded("v_dot2_f32_f16 v1, v2, v3, v4 op_sel:[0,1,0] op_sel_hi:[1,0,1]");
    cr_assert(i.op_sel == 2 && (i.op_sel_hi & 3) == 1);
}
