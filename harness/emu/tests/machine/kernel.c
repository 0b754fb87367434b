/* SPDX-License-Identifier: Apache-2.0 */
#include "kernel.h"

#include <stdio.h>

#include "../isa/assemble.h"

static void print(FILE *file, const struct kernel *kernel) {
    fprintf(file,
            "\t.amdgcn_target \"amdgcn-amd-amdhsa--gfx942\"\n\t.amdhsa_code_object_version 5\n"
            "\t.text\n\t.globl k\n\t.p2align 8\n\t.type k,@function\nk:\n%s\n\ts_endpgm\n"
            ".Lend:\n\t.size k, .Lend-k\n",
            kernel->body);
    fprintf(file,
            "\t.section .rodata,\"a\",@progbits\n\t.p2align 6\n\t.amdhsa_kernel k\n"
            "\t.amdhsa_user_sgpr_kernarg_segment_ptr 1\n\t.amdhsa_kernarg_size 32\n"
            "\t.amdhsa_system_sgpr_workgroup_id_x 1\n\t.amdhsa_system_sgpr_workgroup_id_y 1\n"
            "\t.amdhsa_system_sgpr_workgroup_id_z 1\n\t.amdhsa_system_vgpr_workitem_id 2\n"
            "\t.amdhsa_float_denorm_mode_32 3\n\t.amdhsa_group_segment_fixed_size "
            "%u\n\t.amdhsa_next_free_vgpr %d\n"
            "\t.amdhsa_accum_offset %d\n\t.amdhsa_next_free_sgpr %d\n\t.amdhsa_reserve_vcc 1\n%s"
            "\t.end_amdhsa_kernel\n",
            kernel->lds, KERNEL_VGPRS, KERNEL_VGPRS, KERNEL_SGPRS,
            kernel->directives != NULL ? kernel->directives : "");
    fprintf(file,
            "\t.amdgpu_metadata\n---\namdhsa.version: [1, 2]\namdhsa.kernels:\n"
            "  - .name: k\n    .symbol: k.kd\n    .kernarg_segment_size: 32\n"
            "    .kernarg_segment_align: 8\n    .group_segment_fixed_size: %u\n"
            "    .private_segment_fixed_size: 0\n    .wavefront_size: 64\n    .sgpr_count: 40\n"
            "    .vgpr_count: 32\n    .max_flat_workgroup_size: 1024\n    .args:\n",
            kernel->lds);
    for (unsigned n = 0; n < 4; n++)
        fprintf(file,
                "      - {.offset: %u, .size: 8, .value_kind: global_buffer, .address_space: "
                "global}\n",
                8 * n);
    fprintf(file, "amdhsa.target: amdgcn-amd-amdhsa--gfx942\n...\n\t.end_amdgpu_metadata\n");
}

static void build(struct kernel *kernel) {
    char name[] = "/tmp/dsv4-machine-XXXXXX";
    FILE *const file = isa_source_open(name);
    struct emu_error error = {""};
    size_t bytes = 0;
    cr_assert_not_null(file);
    print(file, kernel);
    fclose(file);
    void *const object = isa_assemble(name, &bytes);
    cr_assert_not_null(object, "this was not assembled:\n%s", kernel->body);
    kernel->code = emu_code_load(object, bytes, &error);
    free(object);
    cr_assert_not_null(kernel->code, "%s", error.text);
}

int kernel_launch(struct kernel *kernel, const uint32_t grid[3], const uint32_t block[3],
                  void *const arguments[4], struct emu_fault *fault) {
    if (kernel->code == NULL) build(kernel);
    struct emu_request request = {.kernel = emu_code_kernel(kernel->code, "k"),
                                  .arguments = arguments,
                                  .argument_bytes = 4 * sizeof *arguments};
    cr_assert_not_null(request.kernel);
    memcpy(request.grid, grid, sizeof request.grid);
    memcpy(request.block, block, sizeof request.block);
    return emu_machine_run(&request, fault);
}

int kernel_run(struct kernel *kernel, uint32_t groups, uint32_t threads, void *const arguments[4],
               struct emu_fault *fault) {
    return kernel_launch(kernel, (uint32_t[3]){groups, 1, 1}, (uint32_t[3]){threads, 1, 1},
                         arguments, fault);
}

void kernel_free(struct kernel *kernel) {
    emu_code_free(kernel->code);
    kernel->code = NULL;
}
