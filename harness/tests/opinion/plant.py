# SPDX-License-Identifier: Apache-2.0
"""Planted failures: damaged vectors, each of which the second opinion must see, and its own arithmetic."""
import copy
import decimal
import os
from fractions import Fraction

import numpy as np

from . import formats, vector
from .formats import F32
from .judge import judge

# What a sign bit, or the lowest bit of an integer, must reach: tensors by op.
INPUTS = {
    "kv_save_partial_states": ("kv", "score", "ape", "positions", "slot_mapping"),
    "kv_compress": ("state", "ape", "positions", "slot_mapping", "block_table"),
    "kv_norm_rope_store": ("scratch", "weight", "rope_table", "positions", "slot_mapping", "kv_slot_mapping"),
    "kv_compress_norm_rope_store": ("state", "ape", "weight", "rope_table", "positions", "slot_mapping",
                                    "kv_slot_mapping", "block_table"),
    "kv_qnorm_rope_insert": ("q", "kv", "kv_weight", "rope_table", "positions", "slot_mapping"),
    "kv_quantize_insert": ("k", "slot_mapping"),
    "kv_dequantize_gather": ("cache", "seq_lens", "gather_lens", "block_table"),
    "attn_sparse_decode": ("q", "cache", "indices", "lens", "indptr", "extra_cache", "extra_indices", "extra_lens",
                           "extra_indptr", "sink"),
    "attn_decode_partial": ("q", "cache", "indices", "lens", "indptr", "extra_cache", "extra_indices", "extra_lens",
                            "extra_indptr", "splits", "extra_splits"),
    "attn_combine": ("part_m", "part_l", "part_lse", "part_o", "counts", "sink", "positions", "rope_table"),
    "attn_sched_metadata": ("lens", "extra_lens"),
    "attn_sparse_prefill": ("q", "kv", "indices", "lens", "indptr", "sink"),
    "idx_swa": ("query_start_loc", "seq_lens", "token_to_req", "is_valid", "block_table"),
    "idx_q_quant": ("q", "positions", "rope_table", "weights"),
    "idx_q_hadamard_quant": ("q", "positions", "rope_table"),
    "idx_topk": ("logits", "row_starts", "row_ends", "lens"),
    "idx_mqa_logits": ("q", "k", "k_scale", "weights", "ks", "ke"),
    "idx_paged_mqa_logits": ("q", "cache", "weights", "lens", "block_table"),
    "idx_k_gather": ("cache", "block_table", "cu_seq_lens", "token_to_seq"),
    "idx_global_topk": ("local", "token_to_req", "is_valid", "block_table"),
    "idx_combine_topk_swa": ("topk_indices", "query_start_loc", "seq_lens", "gather_lens"),
    "idx_ragged_from_dense": ("indices", "lens"),
    "idx_c128a_metadata": ("positions", "token_to_req", "slot_mapping", "block_table"),
    "idx_compressed_slot_mapping": ("query_start_loc", "seq_lens", "block_table"),
    "idx_indexer_decode_lens": ("seq_lens",),
    "graph_copy_ragged": ("source", "indptr"),
    "idx_flashinfer_mixed": ("decode_swa", "decode_indices", "decode_lens", "prefill_indices", "positions",
                             "token_to_req", "is_valid", "swa_table", "block_table"),
    "idx_prefill_gather_lens": ("query_start_loc", "seq_lens"),
    "idx_short_context_fill": ("positions",),
    "idx_indexer_prefill_metadata": ("query_start_loc", "seq_lens"),
    "idx_pack_ragged": ("lens", "flat", "packed"),
    "idx_prefill_chunks": ("seq_lens", "gather_lens"),
    "idx_topk_buffer": ("decode_topk", "prefill_topk", "chunks"),
    "mhc_expand": ("embed",),
    "mhc_fn_broadcast": ("fn",),
    "mhc_prenorm_gemm": ("residual", "fn"),
    "mhc_split_sinkhorn": ("mixes_raw", "sqrsum", "scale", "base"),
    "mhc_collapse": ("pre", "residual"),
    "mhc_post": ("x", "residual", "post", "comb"),
    "mhc_pre": ("mixes_raw", "sqrsum", "scale", "base", "residual", "weight"),
    "mhc_fused_post_pre": ("x", "residual", "post_in", "comb_in", "fn", "scale", "base", "weight"),
    "mhc_pre_broadcast": ("embed", "fn_bc", "scale", "base", "weight"),
    "mhc_head": ("residual", "fn", "scale", "base"),
    "moe_topk": ("logits",),
    "moe_hash_topk": ("logits", "token_ids", "tid2eid"),
    "moe_swiglu": ("gate_up", "weights"),
    "moe_swiglu_quant": ("gate_up",),
    "moe_prepare": ("x", "topk_ids", "topk_weights"),
    "moe_combine": ("x", "weights", "shared"),
    "moe_expert_count": ("ids", "expert_map"),
    "moe_align_block_size": ("ids", "expert_map"),
    "moe_permute": ("x", "x_scale", "ids", "expert_map"),
    "moe_unpermute": ("x", "inverse", "weights"),
    "moe_eplb_map": ("ids", "replicas", "replica_count"),
    "moe_mask_indices_by_tp": ("ids",),
    "moe_unique_group_indices": ("groups",),
    "moe_normalize_weight": ("weights",),
    "mtp_dspark_qkv": ("q", "kv", "positions", "rope_table"),
    "norm_rms": ("x", "weight"),
    "norm_q_kv": ("qr", "kv", "q_weight", "kv_weight"),
    "norm_q_head": ("q", "positions", "rope_table"),
    "rope_inverse": ("o", "positions", "rope_table"),
    "rope_inverse_quant": ("o", "positions", "rope_table"),
    "rope_table": (),
    "mtp_input_norm": ("embeds", "hidden", "positions", "enorm", "hnorm"),
    "mtp_combine": ("h", "e"),
    "mtp_hidden_copy": ("hidden",),
    "mtp_concat_aux": ("first", "second", "third"),
    "mtp_embedding": ("ids", "weight"),
    "mtp_markov_bias": ("prev", "w1", "w2", "base"),
    "mtp_confidence": ("hidden", "embed", "weight"),
    "mtp_argmax": ("logits",),
    "quant_group_fp8": ("x",),
    "quant_block_fp8": ("w",),
    "quant_mxfp4": ("x",),
    "quant_mxfp4_dequant": ("q", "scales"),
    "quant_fp8_dequant": ("q", "scales"),
    "quant_scale_layout": ("scales",),
    "quant_mega_weights": ("w", "scales"),
    "quant_preshuffle": ("w",),
    "quant_rotate": ("x", "positions", "rope_table", "weight", "slots"),
    "gemm_fp8_block": ("a", "a_scale", "b", "b_scale"),
    "gemm_bf16": ("a", "b"),
    "gemm_fp8_fp4": ("a", "a_scale", "b", "b_scale", "offsets"),
}


def seen(loaded):
    """Whether a damaged vector is found wrong. A fault of its form counts too."""
    try:
        return bool(judge(loaded))
    except (vector.Fault, ArithmeticError):
        return True


def damaged(loaded, name, change):
    """A copy of the vector with one array changed."""
    other = {"meta": loaded["meta"], "arrays": dict(loaded["arrays"])}
    other["arrays"][name] = other["arrays"][name].copy()
    change(other["arrays"][name])
    return other


def flip(bit, byte):
    def change(array):
        array.reshape(-1).view(np.uint8)[byte] ^= np.uint8(1 << bit)
    return change


def plant_answers(loaded, call, random):
    """Yields (what, damaged vector) for the answers and keep bits of one vector."""
    for name, out in call.outputs.items():
        written, kept = np.nonzero(out.written.ravel())[0], np.nonzero(~out.written.ravel())[0]
        for byte in random.choice(written, min(4, len(written)), replace=False):
            yield f"answer bit of {name}", damaged(loaded, f"out.{name}", flip(random.integers(8), byte))
        if f"keep.{name}" not in loaded["arrays"]:
            continue
        for byte in random.choice(kept, min(4, len(kept)), replace=False):
            bit = flip(7 - byte % 8, byte // 8)
            yield f"keep bit of {name} cleared", damaged(loaded, f"keep.{name}", bit)
            yield f"kept byte of {name} set", damaged(loaded, f"out.{name}", flip(0, byte))
        silent = written[out.bytes.ravel()[written] == 0]
        for byte in random.choice(silent, min(4, len(silent)), replace=False):
            bit = flip(7 - byte % 8, byte // 8)
            yield f"keep bit of {name} set over a zero", damaged(loaded, f"keep.{name}", bit)


def damage_input(loaded, tensor, touched):
    """A copy with one bit changed of one element that the op read: a sign, or an integer's lowest."""
    index = touched + (tensor.array.ndim - len(touched)) * (0,)

    def change(array):
        if tensor.dtype in ("i32", "i64"):
            array[index] = -1 if tensor.name == "slot_mapping" else array[index] ^ 1
        else:
            bits = array.view(f"u{array.dtype.itemsize}")
            bits[index] ^= bits.dtype.type(1 << (8 * array.dtype.itemsize - 1))
    return damaged(loaded, f"in.{tensor.name}", change)


def plant_inputs(loaded, call):
    """Yields (tensor, damaged vector) for twelve elements of each tensor."""
    for name in INPUTS[loaded["meta"]["op"]]:
        tensor = call.get(name)
        for touched in tensor.touched[:12] if tensor else ():
            yield name, damage_input(loaded, tensor, touched)


def plant_refusal(loaded):
    other = {"meta": copy.deepcopy(loaded["meta"]), "arrays": loaded["arrays"]}
    other["meta"]["refused"] = not other["meta"]["refused"]
    return other


class Tally:
    def __init__(self):
        self.planted, self.missed = 0, 0

    def add(self, saw, where, what):
        self.planted += 1
        if not saw:
            self.missed += 1
            print(f"{where}: the planted failure '{what}' is not seen")


def plant_vectors(files, tally):
    """Damages the answers of every vector; an input counts as seen if any vector of its op sees it."""
    random = np.random.default_rng(4)
    inputs = {}
    for file in files:
        loaded = vector.load(file)
        op, where = loaded["meta"]["op"], "/".join(file.split(os.sep)[-2:])
        call = vector.Call(loaded)
        if judge(loaded, call):
            tally.add(False, where, "nothing: the vector itself differs")
            continue
        tally.add(seen(plant_refusal(loaded)), where, "refused")
        if loaded["meta"]["refused"]:
            continue
        for what, other in plant_answers(loaded, call, random):
            tally.add(seen(other), where, what)
        for name, other in plant_inputs(loaded, call):
            key = (op, name)
            if not inputs.get(key):
                inputs[key] = seen(other)
    for op in {key[0] for key in inputs}:
        for name in INPUTS[op]:
            tally.add(inputs.get((op, name)), op, f"a changed bit of {name}")


def fma_exact(a, b, c):
    """The neighbour of a*b+c in fp32 by fractions."""
    exact = Fraction(float(a)) * Fraction(float(b)) + Fraction(float(c))
    near = F32(float(exact))
    around = sorted({near, np.nextafter(near, F32(np.inf)), np.nextafter(near, F32(-np.inf))})
    return min(around, key=lambda f: (abs(Fraction(float(f)) - exact), int(f.view(np.uint32)) & 1))


def plant_arithmetic(tally):
    """The vectorised arithmetic against fractions and decimals, one element at a time."""
    random = np.random.default_rng(5)
    a, b = (random.standard_normal(600).astype(F32) for _ in range(2))
    c = random.standard_normal(600).astype(F32)
    # Sums a hair beside a midpoint of fp32, where a rounding to float64 in between goes wrong.
    c[:300] = F32(1) + random.integers(0, 1 << 23, 300).astype(F32) * F32(2.0 ** -23)
    a[:300] = F32(2.0 ** -24) * (F32(1) + F32(2.0 ** -23) * random.integers(-3, 4, 300).astype(F32))
    b[:300] = F32(1) + F32(2.0 ** -23) * random.integers(-3, 4, 300).astype(F32)
    # c is odd or even at random, and the product is half a unit of it, a little more or a little less.
    exact = np.array([fma_exact(*v) for v in zip(a, b, c)])
    tally.add(np.array_equal(exact, formats.fma(a, b, c)), "formats", "fma")
    twice = (a.astype(np.float64) * b + c).astype(F32)
    tally.add(not np.array_equal(exact, twice), "formats", "fma rounded twice")

    x = -np.abs(random.standard_normal(400).astype(F32)) * F32(20)
    x[:40] = -random.uniform(86, 105, 40).astype(F32)
    with decimal.localcontext() as context:
        context.prec = 60
        close = 0
        for value, got in zip(x, formats.exp(x)):
            true = decimal.Decimal(float(value)).exp()
            error = abs(decimal.Decimal(float(got)) - true)
            near = [np.nextafter(got, F32(s)) for s in (0, 2)]
            close += all(error <= abs(decimal.Decimal(float(n)) - true) for n in near)
    tally.add(close == len(x), "formats", "exp")
    # With a bracket this wide every value is settled by decimals or fractions: the slow path is right too.
    margin, formats.MARGIN = formats.MARGIN, 1 << 27
    slow = formats.exp(x), formats.rsqrt(-x)
    formats.MARGIN = margin
    tally.add(np.array_equal(slow[0], formats.exp(x)), "formats", "exp settled")
    tally.add(np.array_equal(slow[1], formats.rsqrt(-x)), "formats", "rsqrt settled")

    for fp8 in formats.LARGEST:
        code = np.array([n for n in range(256) if not np.isnan(formats.e4m3_decode(n, fp8))])
        back = formats.e4m3_encode(formats.e4m3_decode(code, fp8), fp8)
        tally.add(np.array_equal(back, code), "formats", f"e4m3 {fp8}")
    bits = np.arange(1 << 16, dtype=np.uint16)
    bits = bits[~np.isnan(formats.bf16_value(bits))]
    tally.add(np.array_equal(formats.bf16_bits(formats.bf16_value(bits)), bits), "formats", "bf16")


def run(files):
    """The number of planted failures that were not seen."""
    tally = Tally()
    plant_arithmetic(tally)
    plant_vectors(files, tally)
    print(f"second_opinion: {tally.planted - tally.missed} of {tally.planted} planted failures seen")
    return tally.missed
