/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A second opinion on gfx942 instructions: a table of mnemonics with a scalar formulation each, a model that executes
 * short programs of them lane by lane, and a driver that assembles the same programs, runs them on the emulator and
 * compares every register. Nothing here is shared with the emulator.
 */
#ifndef DSV4_ISA_H
#define DSV4_ISA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

enum isa_type { NONE, I16, I32, I64, F16, F32, F64, H2, S2, F2, MASK };

enum isa_form { VOP2, VOP3, VOP3P, VOPC, SOP2, SOPC, SOPK };

enum isa_flag {
    CARRY_OUT = 1 << 0, /* a lane mask is written beside the destination */
    CARRY_IN = 1 << 1,  /* a lane mask is the last source */
    VCC_IN = 1 << 2,    /* vcc is read without being named */
    PARTIAL = 1 << 3,   /* the destination is a source too */
    PLAIN = 1 << 4,     /* neither SDWA nor DPP */
    CLAMP = 1 << 5,     /* integer clamp */
    NO_MODIFIERS = 1 << 6,
    LITERAL_K =
        1 << 7, /* a 32-bit constant belongs to the instruction: the last source, or the second */
    LITERAL_M = 1 << 8,
    NO_RANDOM = 1 << 9, /* not in random programs: leaves results open, or changes exec */
    WRITES_EXEC = 1 << 12,
    OPSEL = 1 << 14,    /* VOP3 with op_sel on 16-bit operands */
    NO_CLAMP = 1 << 15, /* no output modifiers */
    OPSEL_D = 1 << 16,  /* op_sel's third bit chooses the half of the destination */
    OPSEL_B = 1 << 17,  /* op_sel's third and fourth bit choose its byte */
    NO_E64 = 1 << 18,
    BYTES = 1 << 19, /* SDWA with a byte, or a word, of the source and nothing else */
    WORDS = 1 << 20,
    USUAL_MODE = 1 << 21,  /* tried with MODE's default rounding and denormals only */
    APPROXIMATE = 1 << 22, /* within a bound */
    ANGLE = 1 << 23,       /* a bound on the difference itself */
    NO_CONSTANTS = 1 << 24
};

/* One lane of a vector instruction, or the one lane of a scalar one, as a formulation sees it. */
struct isa_lane {
    uint64_t a, b, c; /* sources, modifiers done */
    uint64_t d;       /* what the destination holds, then what it shall hold */
    uint64_t exec;    /* scalar instructions only */
    bool carry;       /* lane mask in and out */
    bool scc;
    bool clamp;
    bool open, open_mask, open_scc; /* this result is not specified for these sources */
    uint32_t mode;
    uint32_t m0;
    unsigned lane;
    uint8_t op_sel; /* of conversions that read it themselves */
};

struct isa_row {
    const char *name;
    enum isa_form form;
    unsigned flags;
    enum isa_type d, s[3];
    void (*run)(struct isa_lane *x);
};

extern const struct isa_row isa_integer_rows[], isa_scalar_rows[], isa_float_rows[],
    isa_compare_rows[], isa_convert_rows[], isa_packed_rows[], isa_dot_rows[],
    isa_approximate_rows[];
/* Row i of all tables, or NULL. */
const struct isa_row *isa_row_at(size_t i);

enum isa_register_kind { ISA_V, ISA_S, ISA_BITS };

struct isa_operand {
    enum isa_register_kind kind;
    unsigned reg;
    bool neg, abs, sext;
    uint8_t select; /* SDWA: 0..3 byte, 4, 5 word, 6 all */
    uint64_t bits;  /* ISA_BITS: the value as an operand of this type, and its text */
    char text[24];
};

enum isa_dpp {
    DPP_NONE,
    DPP_QUAD_PERM,
    DPP_ROW_SHL,
    DPP_ROW_SHR,
    DPP_ROW_ROR,
    DPP_WAVE_SHL,
    DPP_WAVE_ROL,
    DPP_WAVE_SHR,
    DPP_WAVE_ROR,
    DPP_ROW_MIRROR,
    DPP_ROW_HALF_MIRROR,
    DPP_BCAST15,
    DPP_BCAST31,
    DPP_NEWBCAST,
    DPP_KINDS
};

struct isa_instance {
    const struct isa_row *row;
    const char *suffix; /* "_e32", "_e64", "_sdwa", "_dpp", "" */
    struct isa_operand d, s[3];
    unsigned mask_out, mask_in; /* scalar register pairs */
    bool clamp, bound_ctrl;
    uint8_t omod, op_sel, op_sel_hi, neg_lo, neg_hi;
    uint8_t dpp, dpp_argument, row_mask, bank_mask;
    uint8_t dst_sel, dst_unused;
    uint32_t k;
};

/* Registers that programs may use: v2 on, s16 on, vcc, exec, scc. v0 and the rest belong to the frame. */
enum {
    ISA_LANES = 64,
    ISA_FIRST_V = 2,
    ISA_V_END = 62, /* v62 to v71 are free for texts */
    ISA_FIRST_S = 16,
    ISA_S_END = 48,
    ISA_VCC = 106,
    ISA_EXEC = 126,
    ISA_MAX_PROGRAM = 64
};

/* Memory of a wave: the frame puts its address in s[14:15], in the program's text it is LDS or a buffer. */
enum { ISA_MEMORY_BYTES = 1024 };

struct isa_state {
    uint32_t v[ISA_V_END][ISA_LANES], s[128];
    uint8_t memory[ISA_MEMORY_BYTES];
    bool scc;
    uint32_t mode, m0;
    /* Bits whose value is not specified: not compared. */
    uint32_t open[ISA_V_END][ISA_LANES], open_s[128];
};

struct isa_program {
    char name[64];
    struct isa_instance list[ISA_MAX_PROGRAM];
    size_t n;
    /* Instead of a list: text, and what it does; `argument` is for that. */
    char text[2048];
    void (*model)(struct isa_state *state, const void *argument);
    const void *argument;
    unsigned waves;          /* how many states are tried */
    bool default_mode, ieee; /* MODE as compilers set it; or any with IEEE */
    void (*fill)(struct isa_state *state, const struct isa_program *program, unsigned wave);
};

unsigned isa_bits(enum isa_type type); /* of a register that holds it: 32 or 64 */
bool isa_is_float(enum isa_type type);

void isa_model_run(struct isa_state *state, const struct isa_program *program);
void isa_instance_print(char *text, size_t size, const struct isa_instance *i);

/* Counter-based random numbers: any of them alone, the same everywhere. */
uint64_t isa_random(uint64_t seed, uint64_t i);
/* Value i of those that matter for a type: edges first. */
uint64_t isa_value(enum isa_type type, uint64_t seed, uint64_t i);
uint64_t isa_edge(enum isa_type type, size_t i);
size_t isa_n_edges(enum isa_type type);
void isa_fill(struct isa_state *state, const struct isa_program *program, unsigned wave);

/* Assembles the programs, runs them on the emulator, compares. Returns how many programs differ; reports to stderr. */
struct isa_result {
    size_t ran, failed, refused; /* refused: the emulator does not implement an instruction of it */
    size_t forms;                /* of those: the instruction is implemented, this form is not */
    char first[1024];
};
int isa_execute(struct isa_result *result, const struct isa_program *const *programs, size_t n);

#endif
