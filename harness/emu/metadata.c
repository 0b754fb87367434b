/* SPDX-License-Identifier: Apache-2.0 */
/* A code object's metadata note (msgpack) and the kernel descriptors that it names. */
#include <string.h>

#include <msgpack.h>

#include "../../reference/memory.h"
#include "object.h"
#include "wave.h"

enum {
    DESCRIPTOR = 64,
    MAX_DEPTH = 16,
    ENTRY_ALIGNMENT = 256,
    MAX_LDS = 65536,
    MAX_SCRATCH = 1 << 26
};

/* ---- the form of a msgpack object, before the library allocates what its counts ask for ---- */

struct reader {
    const uint8_t *at, *end;
};

static bool take(struct reader *r, size_t bytes, uint64_t *value) {
    if ((size_t)(r->end - r->at) < bytes) return false;
    *value = 0;
    for (size_t i = 0; i < bytes; i++) *value = *value << 8 | *r->at++;
    return true;
}

/* One object's head: bytes of contents to skip, and objects inside of it. */
static bool head(struct reader *r, uint64_t *skip, uint64_t *inside) {
    uint64_t type;
    *skip = *inside = 0;
    if (!take(r, 1, &type)) return false;
    if (type < 0x80 || type >= 0xe0) return true;
    if (type < 0x90) return *inside = 2 * (type & 15), true;
    if (type < 0xa0) return *inside = type & 15, true;
    if (type < 0xc0) return *skip = type & 31, true;
    switch (type) {
    case 0xc0:
    case 0xc2:
    case 0xc3: return true;
    case 0xc4:
    case 0xc5:
    case 0xc6: return take(r, (size_t)1 << (type - 0xc4), skip);
    case 0xca:
    case 0xcb: return *skip = UINT64_C(4) << (type - 0xca), true;
    case 0xcc:
    case 0xcd:
    case 0xce:
    case 0xcf: return *skip = UINT64_C(1) << (type - 0xcc), true;
    case 0xd0:
    case 0xd1:
    case 0xd2:
    case 0xd3: return *skip = UINT64_C(1) << (type - 0xd0), true;
    case 0xd9:
    case 0xda:
    case 0xdb: return take(r, (size_t)1 << (type - 0xd9), skip);
    case 0xdc:
    case 0xdd: return take(r, (size_t)2 << (type - 0xdc), inside);
    case 0xde:
    case 0xdf:
        if (!take(r, (size_t)2 << (type - 0xde), inside)) return false;
        *inside *= 2;
        return true;
    default: return false; /* extensions, and the type that is never used: not in metadata */
    }
}

static bool well_formed(const uint8_t *bytes, size_t size) {
    struct reader r = {bytes, bytes + size};
    uint64_t left[MAX_DEPTH] = {1};
    for (unsigned depth = 0;;) {
        uint64_t skip, inside;
        if (left[depth] == 0) {
            if (depth == 0) return true;
            depth--;
            continue;
        }
        left[depth]--;
        /* Every object takes a byte at least. */
        if (!head(&r, &skip, &inside) || skip > (size_t)(r.end - r.at) ||
            inside > (size_t)(r.end - r.at))
            return false;
        r.at += skip;
        if (inside == 0) continue;
        if (++depth == MAX_DEPTH) return false;
        left[depth] = inside;
    }
}

/* ---- access ---- */

static const msgpack_object *member(const msgpack_object *map, const char *key) {
    if (map == NULL || map->type != MSGPACK_OBJECT_MAP) return NULL;
    for (uint32_t i = 0; i < map->via.map.size; i++) {
        const msgpack_object *const k = &map->via.map.ptr[i].key;
        if (k->type == MSGPACK_OBJECT_STR && k->via.str.size == strlen(key) &&
            memcmp(k->via.str.ptr, key, k->via.str.size) == 0)
            return &map->via.map.ptr[i].val;
    }
    return NULL;
}

static uint32_t number(const msgpack_object *map, const char *key) {
    const msgpack_object *const n = member(map, key);
    if (n == NULL || n->type != MSGPACK_OBJECT_POSITIVE_INTEGER) return 0;
    return n->via.u64 > UINT32_MAX ? UINT32_MAX : (uint32_t)n->via.u64;
}

static char *text(const msgpack_object *map, const char *key) {
    const msgpack_object *const s = member(map, key);
    if (s == NULL || s->type != MSGPACK_OBJECT_STR) return dsv4_copy_text("");
    char *const copy = dsv4_alloc((size_t)s->via.str.size + 1);
    return memcpy(copy, s->via.str.ptr, s->via.str.size);
}

static enum emu_argument_kind argument_kind(const msgpack_object *argument) {
    static const struct {
        const char *name;
        enum emu_argument_kind kind;
    } hidden[] = {
        {"hidden_block_count_x",    EMU_ARG_BLOCK_COUNT_X   },
        {"hidden_block_count_y",    EMU_ARG_BLOCK_COUNT_Y   },
        {"hidden_block_count_z",    EMU_ARG_BLOCK_COUNT_Z   },
        {"hidden_group_size_x",     EMU_ARG_GROUP_SIZE_X    },
        {"hidden_group_size_y",     EMU_ARG_GROUP_SIZE_Y    },
        {"hidden_group_size_z",     EMU_ARG_GROUP_SIZE_Z    },
        {"hidden_remainder_x",      EMU_ARG_REMAINDER_X     },
        {"hidden_remainder_y",      EMU_ARG_REMAINDER_Y     },
        {"hidden_remainder_z",      EMU_ARG_REMAINDER_Z     },
        {"hidden_global_offset_x",  EMU_ARG_GLOBAL_OFFSET_X },
        {"hidden_global_offset_y",  EMU_ARG_GLOBAL_OFFSET_Y },
        {"hidden_global_offset_z",  EMU_ARG_GLOBAL_OFFSET_Z },
        {"hidden_grid_dims",        EMU_ARG_GRID_DIMS       },
        {"hidden_dynamic_lds_size", EMU_ARG_DYNAMIC_LDS_SIZE},
        {"hidden_private_base",     EMU_ARG_PRIVATE_BASE    },
        {"hidden_shared_base",      EMU_ARG_SHARED_BASE     },
        {"hidden_queue_ptr",        EMU_ARG_QUEUE_PTR       },
    };
    char *const kind = text(argument, ".value_kind");
    enum emu_argument_kind found = strncmp(kind, "hidden_", 7) == 0 ? EMU_ARG_ZERO : EMU_ARG_VALUE;
    for (size_t i = 0; i < sizeof hidden / sizeof *hidden; i++)
        if (strcmp(kind, hidden[i].name) == 0) found = hidden[i].kind;
    dsv4_free(kind);
    return found;
}

static int read_arguments(struct emu_kernel *k, const msgpack_object *kernel,
                          struct emu_error *error) {
    const msgpack_object *const list = member(kernel, ".args");
    if (list == NULL || list->type != MSGPACK_OBJECT_ARRAY) return 0;
    k->arguments = dsv4_alloc(list->via.array.size * sizeof *k->arguments);
    for (uint32_t i = 0; i < list->via.array.size; i++) {
        const msgpack_object *const argument = &list->via.array.ptr[i];
        struct emu_argument *const a = &k->arguments[k->n_arguments++];
        a->kind = argument_kind(argument);
        a->offset = number(argument, ".offset");
        a->size = number(argument, ".size");
        if (a->size > k->kernarg_bytes || a->offset > k->kernarg_bytes - a->size)
            return emu_refuse(error,
                              "argument %u of kernel %.200s lies outside its %u bytes of arguments",
                              i, k->name, k->kernarg_bytes);
    }
    return 0;
}

/* ---- kernel descriptors (AMDGPUUsage, "Kernel Descriptor") ---- */

static uint32_t word(const uint8_t *descriptor, size_t offset) {
    uint32_t value;
    memcpy(&value, descriptor + offset, sizeof value);
    return value;
}

static unsigned bits(uint32_t value, unsigned first, unsigned n) {
    return value >> first & ((1u << n) - 1);
}

static void read_resources(struct emu_kernel *k, const uint8_t *descriptor) {
    const uint32_t rsrc3 = word(descriptor, 44), rsrc1 = word(descriptor, 48);
    const uint32_t rsrc2 = word(descriptor, 52), properties = word(descriptor, 56);
    const uint32_t all = (bits(rsrc1, 0, 6) + 1) * 8, accumulators = (bits(rsrc3, 0, 6) + 1) * 4;
    k->n_vgprs = all < accumulators ? all : accumulators;
    /* Allocated in steps of eight: the last registers may have no name, for a255 is the last one. */
    k->n_agprs = all - k->n_vgprs < EMU_AGPR ? all - k->n_vgprs : EMU_AGPR;
    k->mode = bits(rsrc1, 12, 8) | bits(rsrc1, 21, 1) << EMU_DX10_CLAMP |
              bits(rsrc1, 23, 1) << EMU_IEEE | bits(rsrc1, 26, 1) << EMU_FP16_OVFL;
    k->n_user_sgprs = (uint16_t)bits(rsrc2, 1, 5);
    for (unsigned i = 0; i < 3; i++) k->workgroup_id[i] = bits(rsrc2, 7 + i, 1);
    k->workgroup_info = bits(rsrc2, 10, 1);
    k->workitem_ids = (uint8_t)bits(rsrc2, 11, 2);
    k->private_segment_buffer = bits(properties, 0, 1);
    k->dispatch_ptr = bits(properties, 1, 1);
    k->queue_ptr = bits(properties, 2, 1);
    k->kernarg_ptr = bits(properties, 3, 1);
    k->dispatch_id = bits(properties, 4, 1);
    k->flat_scratch_init = bits(properties, 5, 1);
    k->private_segment_size = bits(properties, 6, 1);
    k->dynamic_stack = bits(properties, 11, 1);
    k->preload_length = (uint16_t)bits(properties, 16, 7);
    k->preload_offset = (uint16_t)bits(properties, 23, 9);
}

static int check_resources(const struct emu_kernel *k, const uint8_t *descriptor,
                           struct emu_error *error) {
    const uint32_t properties = word(descriptor, 56);
    if (bits(properties, 10, 1))
        return emu_refuse(error, "kernel %.200s asks for waves of 32, which gfx942 does not have",
                          k->name);
    if (k->lds_bytes > MAX_LDS)
        return emu_refuse(error, "kernel %.200s asks for %u bytes of LDS; gfx942 has 65536",
                          k->name, k->lds_bytes);
    if (k->scratch_bytes > MAX_SCRATCH)
        return emu_refuse(error, "kernel %.200s asks for %u bytes of scratch for each lane",
                          k->name, k->scratch_bytes);
    if (k->workitem_ids > 2 || k->n_user_sgprs > 16)
        return emu_refuse(error, "the descriptor of kernel %.200s sets reserved values", k->name);
    const int pointers = k->dispatch_ptr + k->queue_ptr + k->kernarg_ptr + k->dispatch_id +
                         k->flat_scratch_init + 2 * k->private_segment_buffer;
    const int used = 2 * pointers + k->private_segment_size + k->preload_length;
    if (used > k->n_user_sgprs)
        return emu_refuse(error, "the descriptor of kernel %.200s puts %d words into %d user SGPRs",
                          k->name, used, k->n_user_sgprs);
    if (((uint32_t)k->preload_offset + k->preload_length) * 4 > k->kernarg_bytes)
        return emu_refuse(error, "kernel %.200s preloads more arguments than its %u bytes hold",
                          k->name, k->kernarg_bytes);
    return 0;
}

int emu_descriptor_read(struct emu_kernel *k, const char *name, struct emu_error *error) {
    const struct emu_code *const code = k->code;
    const struct emu_variable *const v =
        emu_variable_find(code->variables, code->n_variables, name);
    const uint8_t *const descriptor =
        v != NULL ? emu_code_bytes(code, v->address, DESCRIPTOR) : NULL;
    if (descriptor == NULL || v->bytes != DESCRIPTOR)
        return emu_refuse(error, "kernel %.200s has no descriptor of 64 bytes at %.200s", k->name,
                          name);
    uint64_t offset;
    memcpy(&offset, descriptor + 16, sizeof offset);
    k->entry = v->address + offset - code->text;
    if (k->entry >= code->text_bytes || (code->text + k->entry) % ENTRY_ALIGNMENT != 0)
        return emu_refuse(error, "kernel %.200s begins at 0x%llx, where no kernel can be", k->name,
                          (unsigned long long)(v->address + offset));
    k->lds_bytes = word(descriptor, 0);
    k->scratch_bytes = word(descriptor, 4);
    k->kernarg_bytes = word(descriptor, 8);
    read_resources(k, descriptor);
    const struct emu_variable *const f = emu_function_around(code, k->entry);
    k->text_size = f != NULL && f->address == code->text + k->entry ? f->bytes : 0;
    return check_resources(k, descriptor, error);
}

static int read_kernel(struct emu_code *code, const msgpack_object *kernel,
                       struct emu_error *error) {
    struct emu_kernel *const k = &code->kernels[code->n_kernels++];
    k->code = code;
    k->name = text(kernel, ".name");
    char *const symbol = text(kernel, ".symbol");
    const int status = emu_descriptor_read(k, symbol, error);
    dsv4_free(symbol);
    if (status != 0) return -1;
    k->max_workgroup = number(kernel, ".max_flat_workgroup_size");
    k->sgpr_count = number(kernel, ".sgpr_count");
    k->vgpr_count = number(kernel, ".vgpr_count");
    k->agpr_count = number(kernel, ".agpr_count");
    k->sgpr_spills = number(kernel, ".sgpr_spill_count");
    k->vgpr_spills = number(kernel, ".vgpr_spill_count");
    const uint32_t size = number(kernel, ".kernarg_segment_size");
    if (size > k->kernarg_bytes) k->kernarg_bytes = size;
    if (k->kernarg_bytes > 1u << 20)
        return emu_refuse(error, "kernel %.200s asks for %u bytes of arguments", k->name,
                          k->kernarg_bytes);
    return read_arguments(k, kernel, error);
}

int emu_metadata_read(struct emu_code *code, const uint8_t *note, size_t size,
                      struct emu_error *error) {
    if (!well_formed(note, size))
        return emu_refuse(error,
                          "the metadata note is no well-formed msgpack object of at most %d "
                          "levels",
                          MAX_DEPTH);
    msgpack_unpacked root;
    msgpack_unpacked_init(&root);
    int status = -1;
    if (msgpack_unpack_next(&root, (const char *)note, size, NULL) != MSGPACK_UNPACK_SUCCESS) {
        emu_refuse(error, "the metadata note is no msgpack object");
    } else {
        const msgpack_object *const kernels = member(&root.data, "amdhsa.kernels");
        const bool list = kernels != NULL && kernels->type == MSGPACK_OBJECT_ARRAY;
        const uint32_t n = list ? kernels->via.array.size : 0;
        if (!list) emu_refuse(error, "the metadata note lists no kernels (amdhsa.kernels)");
        code->kernels = dsv4_alloc(n * sizeof *code->kernels);
        status = list ? 0 : -1;
        for (uint32_t i = 0; i < n && status == 0; i++)
            status = read_kernel(code, &kernels->via.array.ptr[i], error);
    }
    msgpack_unpacked_destroy(&root);
    return status;
}
