/* SPDX-License-Identifier: Apache-2.0 */
#include "frame.h"

#include <string.h>

void frame_pack(uint32_t *words, const struct isa_state *state) {
    memset(words, 0, FRAME_SCALARS * sizeof *words);
    memcpy(words + FRAME_S, state->s + ISA_FIRST_S, (ISA_S_END - ISA_FIRST_S) * sizeof *words);
    memcpy(words + FRAME_VCC, state->s + ISA_VCC, 2 * sizeof *words);
    memcpy(words + FRAME_EXEC, state->s + ISA_EXEC, 2 * sizeof *words);
    words[FRAME_SCC] = state->scc;
    words[FRAME_MODE] = state->mode;
    words[FRAME_M0] = state->m0;
    memcpy(words + FRAME_SCALARS, state->v[ISA_FIRST_V],
           (ISA_V_END - ISA_FIRST_V) * sizeof state->v[0]);
    memcpy(words + FRAME_MEMORY, state->memory, sizeof state->memory);
}

void frame_unpack(struct isa_state *state, const uint32_t *words) {
    memset(state, 0, sizeof *state);
    memcpy(state->s + ISA_FIRST_S, words + FRAME_S, (ISA_S_END - ISA_FIRST_S) * sizeof *words);
    memcpy(state->s + ISA_VCC, words + FRAME_VCC, 2 * sizeof *words);
    memcpy(state->s + ISA_EXEC, words + FRAME_EXEC, 2 * sizeof *words);
    state->scc = words[FRAME_SCC] != 0;
    state->mode = words[FRAME_MODE];
    state->m0 = words[FRAME_M0];
    memcpy(state->v[ISA_FIRST_V], words + FRAME_SCALARS,
           (ISA_V_END - ISA_FIRST_V) * sizeof state->v[0]);
    memcpy(state->memory, words + FRAME_MEMORY, sizeof state->memory);
}

/* Loads or stores v2 to v61 through v0, the lane's offset, and a scalar base that is moved on. */
static void print_vectors(FILE *file, const char *instruction, unsigned base, bool data_first) {
    fprintf(file, "\ts_add_u32 s%u, s%u, %d\n\ts_addc_u32 s%u, s%u, 0\n", base, base,
            FRAME_SCALARS * 4, base + 1, base + 1);
    for (unsigned reg = ISA_FIRST_V; reg < ISA_V_END; reg++) {
        const unsigned n = reg - ISA_FIRST_V;
        if (n > 0 && n % 15 == 0)
            fprintf(file, "\ts_add_u32 s%u, s%u, %d\n\ts_addc_u32 s%u, s%u, 0\n", base, base,
                    15 * 256, base + 1, base + 1);
        if (data_first)
            fprintf(file, "\t%s v%u, v0, s[%u:%u] offset:%u\n", instruction, reg, base, base + 1,
                    n % 15 * 256);
        else
            fprintf(file, "\t%s v0, v%u, s[%u:%u] offset:%u\n", instruction, reg, base, base + 1,
                    n % 15 * 256);
    }
    fprintf(file, "\ts_waitcnt vmcnt(0)\n");
}

static void print_prologue(FILE *file, size_t index) {
    fprintf(file,
            "\t.text\n\t.globl k%zu\n\t.p2align 8\n\t.type k%zu,@function\nk%zu:\n"
            "\ts_load_dwordx4 s[4:7], s[0:1], 0x0\n\ts_waitcnt lgkmcnt(0)\n"
            "\ts_mul_i32 s3, s2, %zu\n\ts_add_u32 s4, s4, s3\n\ts_addc_u32 s5, s5, 0\n"
            "\ts_add_u32 s6, s6, s3\n\ts_addc_u32 s7, s7, 0\n"
            "\ts_add_u32 s14, s6, %zu\n\ts_addc_u32 s15, s7, 0\n"
            "\ts_load_dwordx16 s[16:31], s[4:5], 0x0\n\ts_load_dwordx16 s[32:47], s[4:5], 0x40\n"
            "\ts_load_dwordx2 vcc, s[4:5], 0x80\n\ts_load_dwordx4 s[8:11], s[4:5], 0x88\n"
            "\ts_load_dword s12, s[4:5], 0x98\n\ts_waitcnt lgkmcnt(0)\n"
            "\tv_lshlrev_b32_e32 v0, 2, v0\n\tv_mov_b32_e32 v1, 0\n",
            index, index, index, FRAME_WORDS * sizeof(uint32_t), FRAME_MEMORY * sizeof(uint32_t));
    print_vectors(file, "global_load_dword", 4, true);
    fprintf(file, "\ts_mov_b32 m0, s12\n\ts_lshr_b32 s13, s11, 23\n"
                  "\ts_setreg_b32 hwreg(HW_REG_MODE, 23, 1), s13\n"
                  "\ts_setreg_b32 hwreg(HW_REG_MODE, 0, 10), s11\n"
                  "\ts_cmp_lg_u32 s10, 0\n\ts_mov_b64 exec, s[8:9]\n\ts_nop 4\n");
}

/* The scalars go to lanes of v1. */
static void print_epilogue(FILE *file) {
    fprintf(file,
            "\ts_cselect_b32 s10, 1, 0\n\ts_mov_b64 s[8:9], exec\n\ts_mov_b64 exec, -1\n"
            "\ts_mov_b32 s12, m0\n\ts_getreg_b32 s11, hwreg(HW_REG_MODE, 0, 10)\n\ts_nop 4\n");
    for (unsigned reg = ISA_FIRST_S; reg < ISA_S_END; reg++)
        fprintf(file, "\tv_writelane_b32 v1, s%u, %u\n", reg, FRAME_S + reg - ISA_FIRST_S);
    fprintf(file, "\tv_writelane_b32 v1, vcc_lo, %d\n\tv_writelane_b32 v1, vcc_hi, %d\n", FRAME_VCC,
            FRAME_VCC + 1);
    for (unsigned n = 0; n < 5; n++)
        fprintf(file, "\tv_writelane_b32 v1, s%u, %u\n", 8 + n, FRAME_EXEC + n);
    fprintf(file, "\tglobal_store_dword v0, v1, s[6:7]\n");
    print_vectors(file, "global_store_dword", 6, false);
    fprintf(file, "\ts_endpgm\n");
}

void frame_print(FILE *file, const struct isa_program *program, size_t index) {
    char text[256];
    print_prologue(file, index);
    if (program->text[0] != '\0')
        fprintf(file, "%s\ts_waitcnt vmcnt(0) lgkmcnt(0)\n", program->text);
    for (size_t n = 0; n < program->n; n++) {
        isa_instance_print(text, sizeof text, &program->list[n]);
        fprintf(file, "\t%s\n\ts_nop 4\n", text);
    }
    print_epilogue(file);
    fprintf(file,
            "\t.section .rodata,\"a\",@progbits\n\t.p2align 6\n\t.amdhsa_kernel k%zu\n"
            "\t.amdhsa_group_segment_fixed_size 1024\n\t.amdhsa_private_segment_fixed_size 64\n"
            "\t.amdhsa_user_sgpr_kernarg_segment_ptr 1\n\t.amdhsa_kernarg_size 16\n"
            "\t.amdhsa_next_free_vgpr 152\n\t.amdhsa_accum_offset 72\n\t.amdhsa_next_free_sgpr 56\n"
            "\t.amdhsa_reserve_vcc 1\n\t.end_amdhsa_kernel\n",
            index);
}

void frame_print_end(FILE *file, size_t n) {
    fprintf(file, "\t.amdgpu_metadata\n---\namdhsa.version: [1, 2]\namdhsa.kernels:\n");
    for (size_t i = 0; i < n; i++)
        fprintf(
            file,
            "  - .name: k%zu\n    .symbol: k%zu.kd\n    .kernarg_segment_size: 16\n"
            "    .kernarg_segment_align: 8\n    .group_segment_fixed_size: 1024\n"
            "    .private_segment_fixed_size: 64\n    .wavefront_size: 64\n    .sgpr_count: 56\n"
            "    .vgpr_count: 152\n    .max_flat_workgroup_size: 64\n    .args:\n"
            "      - {.offset: 0, .size: 8, .value_kind: global_buffer, .address_space: global}\n"
            "      - {.offset: 8, .size: 8, .value_kind: global_buffer, .address_space: global}\n",
            i, i);
    fprintf(file, "amdhsa.target: amdgcn-amd-amdhsa--gfx942\n...\n\t.end_amdgpu_metadata\n");
}
