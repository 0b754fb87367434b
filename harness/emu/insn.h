/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A decoded gfx942 instruction, and the tables of those that can be executed.
 *
 * LLVM disassembles a kernel once; decode.c turns each line of text into a struct emu_insn. What an instruction does is
 * one function, emu_run, found by mnemonic in the opcode tables. Encodings (_e32, _e64, _dpp, _sdwa) share one opcode:
 * DPP and SDWA are done around the function, which sees plain operands (see lanes.h).
 */
#ifndef DSV4_EMU_INSN_H
#define DSV4_EMU_INSN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { EMU_LANES = 64, EMU_VGPRS = 512, EMU_AGPR = 256, EMU_MAX_OPERANDS = 7, EMU_INSN_TEXT = 160 };

struct emu_wave;
struct emu_insn;

/*
 * Executes one instruction of one wave and returns the next one, normally i + 1. NULL stops the wave: its state and
 * `next` say why and where it resumes (emu_stop, emu_fault in wave.h).
 */
typedef const struct emu_insn *emu_run(struct emu_wave *w, const struct emu_insn *i);

/* What an operand holds: the meaning of an inline constant, of neg and abs, and the number of registers. */
enum emu_type {
    EMU_NONE, /* no value: "off", labels, keywords */
    EMU_B16,
    EMU_B32,
    EMU_B64,
    EMU_B96,
    EMU_B128,
    EMU_B256,
    EMU_B512,
    EMU_B1024,
    EMU_I16, /* signed: a literal for a wider operand is sign-extended */
    EMU_I32,
    EMU_I64,
    EMU_U16,
    EMU_U32,
    EMU_U64,
    EMU_F16,
    EMU_BF16,
    EMU_F32,
    EMU_F64,
    EMU_2F16, /* packed halves of one register */
    EMU_2BF16,
    EMU_2B16,
    EMU_2F32, /* two registers, one float each */
    EMU_2B32,
    EMU_MASK /* a lane mask: 64 bits in scalar registers */
};

enum emu_operand_kind {
    EMU_VGPR,     /* v and a registers: aN is 256 + N */
    EMU_SGPR,     /* under the number of the encoding: see enum emu_sreg; exec is 126 */
    EMU_SCC,      /* as a source: 0 or 1 */
    EMU_CONSTANT, /* inline constant or literal, converted to the operand's type: value */
    EMU_OFF,      /* "off" of global, scratch and buffer instructions */
    EMU_LABEL,    /* a branch target: value is the byte offset from the next instruction */
    EMU_TEMPORARY /* lanes points at values made by DPP or SDWA */
};

struct emu_operand {
    uint8_t kind, type;  /* enum emu_operand_kind, enum emu_type */
    uint8_t registers;   /* 32-bit registers that the text names: 1 for v0, 2 for s[0:1] */
    bool neg, abs, sext; /* modifiers of sources */
    uint8_t select;      /* SDWA: 0..3 BYTE_n, 4, 5 WORD_n, 6 DWORD */
    uint16_t reg;
    uint64_t value;
    const uint32_t (*lanes)[EMU_LANES]; /* constants: value's low and high word in every lane */
};

enum emu_dpp {
    EMU_DPP_NONE,
    EMU_QUAD_PERM, /* dpp_argument: four selectors of two bits */
    EMU_ROW_SHL,   /* dpp_argument: 1..15 */
    EMU_ROW_SHR,
    EMU_ROW_ROR,
    EMU_WAVE_SHL,
    EMU_WAVE_ROL,
    EMU_WAVE_SHR,
    EMU_WAVE_ROR,
    EMU_ROW_MIRROR,
    EMU_ROW_HALF_MIRROR,
    EMU_ROW_BCAST15,
    EMU_ROW_BCAST31,
    EMU_ROW_NEWBCAST /* dpp_argument: lane of the row */
};

struct emu_opcode {
    const char *name; /* mnemonic without _e32, _e64, _dpp, _sdwa */
    emu_run *run;
    /* Types of the operands in the assembler's order, destinations first; types[n_types] on: EMU_NONE. */
    uint8_t types[EMU_MAX_OPERANDS];
    uint8_t n_destinations;
    uint32_t flags;
};

enum emu_flag {
    EMU_VALU =
        1 << 0, /* works lane by lane under exec; destinations are defined where all sources are */
    EMU_SALU = 1 << 1, /* works on scalars; same rule */
    EMU_PARTIAL =
        1 << 2, /* keeps part of its destination, or reads it: the destination is a source too */
    EMU_FLOAT = 1 << 3,       /* depends on MODE's rounding or denormal bits */
    EMU_MEMORY = 1 << 4,      /* definedness and checks are the handler's own affair */
    EMU_CONTROL = 1 << 5,     /* branches, barriers, waits, end */
    EMU_APPROXIMATE = 1 << 6, /* hardware documents a bound only (v_exp_f32, v_rcp_f32, ...) */
    EMU_READS_EXEC = 1 << 7,
    EMU_WRITES_SCC = 1 << 8,
    EMU_READS_SCC = 1 << 9,
    EMU_READS_VCC = 1 << 10, /* implicitly: not among the operands */
    EMU_WRITES_VCC = 1 << 11,
    EMU_NO_MODIFIERS = 1 << 12,
    EMU_CROSS_LANE =
        1
        << 13, /* a lane's result depends on other lanes: definedness is the handler's own affair */
    EMU_WAITS = 1 << 14,
    EMU_CLAMPS = 1 << 15,    /* honours clamp; an opcode without this refuses it (emu_wrap) */
    EMU_OMOD = 1 << 16,      /* honours omod */
    EMU_OP_SEL = 1 << 17,    /* honours op_sel, op_sel_hi, neg_lo, neg_hi as far as it has them */
    EMU_UNDER_MODE = 1 << 18 /* computes as the host does: emu_run_mode rounds and flushes for it */
};

/* The registers of an instruction, for track.c to follow which of them hold values. */
enum { EMU_FLOW_SOURCES = 8, EMU_FLOW_DESTINATIONS = 4 };
struct emu_flow {
    uint8_t n_vgprs, n_sgprs, n_to_vgprs, n_to_sgprs;
    bool reads_scc, writes_scc;
    uint16_t vgpr[EMU_FLOW_SOURCES], to_vgpr[EMU_FLOW_DESTINATIONS];
    uint8_t sgpr[EMU_FLOW_SOURCES], to_sgpr[EMU_FLOW_DESTINATIONS];
};

struct emu_insn {
    emu_run *run; /* opcode->run, or the wrapper that does DPP, SDWA or an unusual MODE around it */
    emu_run *checked; /* run, with the definedness of registers followed (emu_track_prepare) */
    const struct emu_opcode *opcode;
    /* In the assembler's order; EMU_OFF where there is none, and for a constant offset of scalar memory. */
    struct emu_operand operand[EMU_MAX_OPERANDS];
    uint8_t n_operands;
    uint32_t pc, bytes;            /* offset in the code object's text, length */
    const struct emu_insn *target; /* of a direct branch; NULL until it is first taken */

    /*
     * Modifiers, as the assembler writes them; one bit per operand where it lists several: op_sel has the sources from
     * bit 0 on, then the destination. neg:[] of f64 MFMA is in blgp, format:[] of tbuffer in immediate, glc in sc0.
     */
    bool clamp, sc0, sc1, nt, idxen, offen, lds, gds, bound_ctrl, fi;
    uint8_t omod; /* 0 none, 1 mul:2, 2 mul:4, 3 div:2 */
    uint8_t op_sel, op_sel_hi, neg_lo, neg_hi;
    uint8_t dpp, dpp_argument, row_mask, bank_mask; /* dpp: enum emu_dpp */
    bool sdwa;
    uint8_t dst_sel, dst_unused; /* select as in struct emu_operand; 0 PAD, 1 SEXT, 2 PRESERVE */
    uint8_t cbsz, abid, blgp;
    int32_t offset; /* offset:, also of s_load; offset0: of two-address LDS instructions */
    int32_t offset1;
    uint32_t
        immediate; /* simm16, s_waitcnt's bits, hwreg(), swizzle's offset: handlers know which */
    struct emu_flow flow;
};

/* Fills in checked and flow: called once by the decoder, after all else is set. */
void emu_track_prepare(struct emu_insn *insn);

/* The tables, one per file of handlers; each ends in a row without a name. */
extern const struct emu_opcode emu_control_opcodes[];    /* branches, barriers, waits */
extern const struct emu_opcode emu_scalar_opcodes[];     /* SOP1, SOP2, SOPK, SOPC */
extern const struct emu_opcode emu_vector_opcodes[];     /* VOP integer, logic, moves, lanes */
extern const struct emu_opcode emu_float_opcodes[];      /* VOP f32, f64 */
extern const struct emu_opcode emu_half_opcodes[];       /* VOP f16, alone, packed, mixed */
extern const struct emu_opcode emu_compare_opcodes[];    /* VOPC */
extern const struct emu_opcode emu_convert_opcodes[];    /* conversions, FP8, bf16 */
extern const struct emu_opcode emu_elementary_opcodes[]; /* exp, log, rcp, rsq, sqrt, sin, cos */
extern const struct emu_opcode emu_matrix_opcodes[];     /* MFMA, SMFMAC, dot */
extern const struct emu_opcode emu_memory_opcodes[];     /* global and flat */
extern const struct emu_opcode emu_smem_opcodes[];       /* scalar memory */
extern const struct emu_opcode emu_scratch_opcodes[];
extern const struct emu_opcode emu_buffer_opcodes[];
extern const struct emu_opcode emu_lds_opcodes[]; /* DS, and its cross-lane instructions */

/* By mnemonic, encoding suffix or not; NULL if it is not implemented. */
const struct emu_opcode *emu_opcode_find(const char *mnemonic);
/* Row i of all tables together, or NULL: for the coverage report and tests. */
const struct emu_opcode *emu_opcode_at(size_t i);

#endif
