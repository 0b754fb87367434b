/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mhc_expand: residual[t, j, h] = embed[t, h] for the four streams j, after the embedding.
 *
 * Rounding points: none, a copy of bits.
 * Source: TileKernels torch/mhc.py, vllm model_executor/kernels/mhc.
 * Latitude: none.
 */
#include "mhc_family.h"

enum { EMBED, RESIDUAL };

static const struct dsv4_param_def params[] = {

    MHC_ROW_PARAMS(3, 64),
};

static const struct dsv4_slot slots[] = {

    {"embed",    DSV4_IN,  "[rows, hidden] bf16, rows strided", "embeddings"        },
    {"residual", DSV4_OUT, "[rows, 4, hidden] bf16, strided",   "four streams of it"},
};

static const struct dsv4_mutant mutants[] = {

    MHC_MUTANTS_OF_ROWS,
    {"streams-dense", "streams written hidden apart; they have a stride", MHC_STREAM_DENSE},
    {"stream-lost",   "the last stream not written",                      MHC_STREAM_LOST },
};

const struct dsv4_op dsv4_op_mhc_expand;

static int shape(struct dsv4_case *c, struct dsv4_err *err) {
    mhc_shape_rows(c, EMBED);
    mhc_shape_streams(c, RESIDUAL);
    return mhc_check(c, 0, err);
}

static void fill(struct dsv4_case *c) { mhc_fill_bf16(c, EMBED, MHC_STREAM_X); }

static int run(const dsv4_call *call, int mutant, struct dsv4_err *err) {
    const enum mhc_wrong wrong = mhc_wrong_of(&dsv4_op_mhc_expand, mutant);
    const dsv4_tensor *const embed = &call->tensors[EMBED], *const out = &call->tensors[RESIDUAL];
    const int64_t tokens = mhc_tokens(call, embed, wrong);
    const int64_t streams = wrong == MHC_STREAM_LOST ? MHC_STREAMS - 1 : MHC_STREAMS;
    (void)err;
#pragma omp parallel for schedule(static)
    for (int64_t t = 0; t < tokens; t++)
        for (int64_t j = 0; j < streams; j++)
            memcpy(mhc_at(out, t, j, wrong), mhc_at(embed, t, 0, wrong),
                   (size_t)embed->shape[1] * sizeof(uint16_t));
    return DSV4_OK;
}

static void trace(const struct dsv4_case *c, size_t slot, int64_t offset, char *line, size_t size) {
    mhc_trace(c, slot, offset, line, size);
}

static void work(const struct dsv4_case *c, struct dsv4_work *work) {

    work->bytes_read = mhc_row_bytes(c);
    work->bytes_written = (double)MHC_STREAMS * mhc_row_bytes(c);
}

const struct dsv4_op dsv4_op_mhc_expand = {
    .name = "mhc_expand",
    .summary = "copies the embedding into four residual streams",
    .source = "TileKernels torch/mhc.py; vllm kernels/mhc",
    .exact = "nothing is computed: bytes are copied",
    DSV4_OP_PARTS,
};
