# SPDX-License-Identifier: Apache-2.0
"""The seven KV ops; other families have files of their own. Each takes a Call, fills its outputs and says
whether it accepts the call.

The canon: fp32, nearest even, no contraction; sums in blocks of 16 rows (pooling) or in 64 strided
partials with a halving tree (norms); fma only where it is written.

Where a text leaves a choice, this is how it is read:
- the indexer's FP8 codes follow the call's fp8 dialect, as the other stores do;
- the floor is on amax in kv_qnorm_rope_insert and kv_quantize_insert, whatever the compressor's is;
- rows before position 0 take no part in a pool (not even with weight 0), and the total of a pool
  starts as the first block's sums, so that a -0 stays;
- an fp32 overflow in RoPE is an infinity: it is stored as bf16, and clamped before an FP8 store;
- a scale byte of 0 or 255 reads as 2^-127 or 2^128, as every other byte;
- a token whose kv_slot is negative is not read at all.
"""
import numpy as np

from . import attention, dispatch, gemm, index, indexer, mhc, moe, norm, pages, quant
from .formats import (F32, LARGEST, bf16_bits, bf16_round, bf16_value, e2m1_encode, e4m3_decode,
                      e4m3_encode, exp, fma, rsqrt, scale_byte)
from .vector import Fault

NOPE, ROPE = 448, 64
TOKENS_AT_ONCE = 64


def real(tensor, *index):
    """fp32 values of a bf16 or f32 tensor's elements."""
    taken = tensor.at(*index)
    return bf16_value(taken) if tensor.dtype == "bf16" else taken.astype(F32)


def whole(tensor):
    return real(tensor, np.arange(tensor.shape[0]))


def named(value, *known):
    if value not in known:
        raise Fault(f"'{value}' is unknown here; known: {', '.join(known)}")
    return value


# ---- arithmetic over rows ----

def norm_factor(x, eps):
    """rsqrt(mean(x^2) + eps) of every row."""
    width = x.shape[-1]
    partial = np.zeros(x.shape[:-1] + (64,), F32)
    for first in range(0, width, 64):
        lane = x[..., first:first + 64]
        partial = fma(lane, lane, partial)
    for stride in (32, 16, 8, 4, 2, 1):
        partial = partial[..., :stride] + partial[..., stride:2 * stride]
    mean = partial[..., 0] * F32(1 / width)
    return rsqrt(mean + eps)[..., None] if x.size else np.zeros(x.shape[:-1] + (1,), F32)


def rotate(x, table):
    """RoPE of 64 channels in interleaved pairs; a table row is 32 cosines, then 32 sines."""
    table = table.reshape(table.shape[:1] + (1,) * (x.ndim - 2) + (ROPE,))
    even, odd, c, s = x[..., 0::2], x[..., 1::2], table[..., :32], table[..., 32:]
    result = np.empty_like(x)
    result[..., 0::2] = even * c - odd * s
    result[..., 1::2] = odd * c + even * s
    return result


def softmax_pool(x, score, valid):
    """Softmax over the rows (axis 1) of each channel, then the weighted sum, divided once."""
    highest = np.max(np.where(valid, score, F32(-np.inf)), axis=1, keepdims=True)
    weight = exp(np.where(valid, score - highest, F32(0)))
    totals = None
    for first in range(0, x.shape[1], 16):
        den = np.zeros((x.shape[0], x.shape[2]), F32)
        num = den
        for k in range(first, min(first + 16, x.shape[1])):
            e = weight[:, k]
            den = np.where(valid[:, k], den + e, den)
            num = np.where(valid[:, k], fma(e, x[:, k], num), num)
        totals = (den, num) if totals is None else (totals[0] + den, totals[1] + num)
    return totals[1] / totals[0]


def group_scale_bytes(x, group, largest, floor, floor_on_scale=False):
    """One UE8M0 byte for each group of channels: ceil of amax / largest."""
    amax = np.abs(x).reshape(len(x), -1, group).max(axis=2) if x.size else \
        np.zeros((0, x.shape[1] // group), F32)
    inverse = F32(1) / F32(largest)
    if floor_on_scale:
        return scale_byte(np.maximum(amax * inverse, F32(floor)))
    return scale_byte(np.maximum(amax, F32(floor)) * inverse)


def scaled(x, group, byte):
    """x / 2^(byte - 127), exact in float64."""
    return np.ldexp(x.astype(np.float64), 127 - np.repeat(byte, group, axis=1))


# ---- the caches ----

def put_ds_mla(call, slot, value, floor_on_scale=False):
    """448 channels to FP8 with a scale byte per 64; 64 channels as bf16. `value` is rounded here."""
    out, fp8 = call.outputs["cache"], call.params["fp8"]
    layout, block_size = call.params["layout"], call.int("block_size")
    pages.check_page(out, layout, block_size)
    bits = bf16_bits(value)
    nope = bf16_value(bits[:, :NOPE])
    byte = group_scale_bytes(nope, 64, LARGEST[fp8], 1e-4, floor_on_scale)
    scales = np.zeros((len(value), 8), np.uint8)
    scales[:, :7] = byte
    limit = LARGEST[fp8]
    codes = e4m3_encode(np.clip(scaled(nope, 64, byte), -limit, limit), fp8)
    block, j = pages.split(slot, block_size)
    data, scale = pages.main_offsets(layout, block_size, j)
    out.put(block, data, codes)
    out.put(block, data + NOPE, bits[:, NOPE:].astype("<u2"))
    out.put(block, scale, scales)


def put_indexer_fp8(call, slot, value):
    """All 128 channels to FP8 under one fp32 power of two."""
    out, fp8, block_size = call.outputs["cache"], call.params["fp8"], call.int("block_size")
    pages.check_page(out, "indexer-fp8", block_size)
    value = bf16_round(value)
    byte = group_scale_bytes(value, 128, LARGEST[fp8], 1e-4)
    limit = LARGEST[fp8]
    codes = e4m3_encode(np.clip(scaled(value, 128, byte), -limit, limit), fp8)
    block, j = pages.split(slot, block_size)
    data, scale = pages.indexer_offsets(128, block_size, j)
    out.put(block, data, codes)
    out.put(block, scale, np.ldexp(F32(1), byte - 127).astype("<f4"))


def put_indexer_mxfp4(call, slot, value):
    """128 channels to E2M1, the even channel in the low nibble, with a scale byte per 32."""
    out, block_size = call.outputs["cache"], call.int("block_size")
    pages.check_page(out, "indexer-mxfp4", block_size)
    value = bf16_round(value)
    byte = group_scale_bytes(value, 32, 6, np.ldexp(6.0, -126))
    codes = e2m1_encode(np.clip(scaled(value, 32, byte), -6, 6))
    block, j = pages.split(slot, block_size)
    data, scale = pages.indexer_offsets(64, block_size, j)
    out.put(block, data, (codes[:, 0::2] | codes[:, 1::2] << 4).astype(np.uint8))
    out.put(block, scale, byte.astype(np.uint8))


def put_full(call, slot, values):
    """A row of 512 elements: `values` are the stored elements already."""
    out, block_size = call.outputs["cache"], call.int("block_size")
    if out.shape[1:] != (block_size, 512) or out.item != values.dtype.itemsize:
        raise Fault(f"cache has shape {out.shape}, {block_size} tokens a page are stored")
    block, j = pages.split(slot, block_size)
    out.put(block, j * 512 * out.item, values)


def full_fp8(call, value, factor):
    fp8 = call.params["fp8"]
    limit = F32(LARGEST[fp8])
    return e4m3_encode(np.clip(value * factor, -limit, limit), fp8)


# ---- the compressor ----

def slots(call, name="slot_mapping"):
    """Rows with a slot, and their slots. The mapping may be shorter than the other row tensors."""
    mapping = call[name].at(np.arange(call[name].shape[0])).astype(np.int64)
    rows = np.nonzero(mapping >= 0)[0]
    return rows, mapping[rows]


def boundaries(call):
    """Rows whose token ends a compression window."""
    rows, _ = slots(call)
    position = call["positions"].at(rows)
    return rows[(position + 1) % call.int("ratio") == 0]


def stored_boundaries(call):
    """Boundary rows that also have a place in the cache, and that place."""
    rows = boundaries(call)
    slot = call["kv_slot_mapping"].at(rows)
    return rows[slot >= 0], slot[slot >= 0]


def refused(call):
    """The block sizes that a dialect's kernels cannot do."""
    bf16 = named(call.params["state"], "f32", "bf16") == "bf16"
    on_scale = named(call.params["scale_floor"], "amax", "scale") == "scale"
    block_size = call.int("state_block_size")
    if call.int("ratio") == 128:
        return block_size != 8 and (bf16 or on_scale)
    return block_size != 4 and bf16


def pool(call, rows, head):
    """fp32 [len(rows), head]: the pooled latent of each boundary row."""
    return np.concatenate([pool_some(call, rows[i:i + TOKENS_AT_ONCE], head)
                           for i in range(0, len(rows), TOKENS_AT_ONCE)] or
                          [np.zeros((0, head), F32)])


def pool_some(call, rows, head):
    ratio, block_size, state = call.int("ratio"), call.int("state_block_size"), call["state"]
    window = ratio * (2 if ratio == 4 else 1)
    width = head * window // ratio
    if state.shape[1:] != (block_size, 2 * width):
        raise Fault(f"state has shape {state.shape}, rows of {2 * width} by {block_size} are read")
    k = np.arange(window)
    position = call["positions"].at(rows)[:, None] - window + 1 + k
    valid = position >= 0
    request = np.broadcast_to(call["token_to_req"].at(rows)[:, None], valid.shape)[valid]
    block = call["block_table"].at(request, position[valid] // block_size)
    column = np.where(k >= ratio, head, 0)[:, None] + np.arange(head)
    column = np.broadcast_to(column, valid.shape + (head,))[valid]
    at = (block[:, None], (position[valid] % block_size)[:, None])
    x = np.zeros(valid.shape + (head,), F32)
    score = np.zeros_like(x)
    score[valid] = real(state, *at, width + column)
    x[valid] = real(state, *at, column)
    if call.params["state"] == "bf16":
        score[valid] += call["ape"].at((position[valid] % ratio)[:, None], column)
    return softmax_pool(x, score, np.broadcast_to(valid[:, :, None], x.shape))


def norm_rope_store(call, rows, slot, pooled):
    """RMSNorm, RoPE at the window's first token, and the store that the call asks for."""
    ratio, store = call.int("ratio"), call.params["store"]
    value = pooled * norm_factor(pooled, call.float("eps")) * whole(call["weight"])
    position = call["positions"].at(rows) // ratio * ratio
    value[:, -ROPE:] = rotate(value[:, -ROPE:], real(call["rope_table"], position))
    if store == "ds_mla":
        on_scale = named(call.params["scale_floor"], "amax", "scale") == "scale"
        put_ds_mla(call, slot, value, on_scale)
    elif store == "indexer_fp8":
        put_indexer_fp8(call, slot, value)
    elif store == "indexer_mxfp4":
        put_indexer_mxfp4(call, slot, value)
    elif store == "full_bf16":
        put_full(call, slot, bf16_bits(value).astype("<u2"))
    else:
        named(store, "full_fp8")
        put_full(call, slot, full_fp8(call, bf16_round(value), F32(1) / call.float("fp8_scale")))


def kv_save_partial_states(call):
    bf16 = named(call.params["state"], "f32", "bf16") == "bf16"
    rows, slot = slots(call)
    kv, score = real(call["kv"], rows), real(call["score"], rows)
    if not bf16:
        score = score + call["ape"].at(call["positions"].at(rows) % call.int("ratio"))
    halves = np.concatenate([kv, score], axis=1)
    block, j = pages.split(slot, call.int("state_block_size"))
    halves = bf16_bits(halves).astype("<u2") if bf16 else halves.astype("<f4")
    call.outputs["state"].put(block, j * halves.shape[1] * halves.itemsize, halves)
    return True


def kv_compress(call):
    if refused(call):
        return False
    rows = boundaries(call)
    call.outputs["scratch"].put(rows, 0, pool(call, rows, call.int("head")).astype("<f4"))
    return True


def kv_norm_rope_store(call):
    rows, slot = stored_boundaries(call)
    norm_rope_store(call, rows, slot, call["scratch"].at(rows))
    return True


def kv_compress_norm_rope_store(call):
    if refused(call):
        return False
    rows, slot = stored_boundaries(call)
    norm_rope_store(call, rows, slot, pool(call, rows, call["weight"].shape[0]))
    return True


# ---- the sliding window's cache ----

def kv_qnorm_rope_insert(call):
    insert_query(call)
    rows, slot = slots(call)
    store = named(call.params["store"], "ds_mla", "full_bf16", "full_fp8")
    value = real(call["kv"], rows)
    if call.int("kv_norm"):
        value = bf16_round(value * norm_factor(value, call.float("eps")) * whole(call["kv_weight"]))
    table = call["rope_table"].at(call["positions"].at(rows))
    value[:, NOPE:] = rotate(value[:, NOPE:], table)
    if store == "ds_mla":
        put_ds_mla(call, slot, value)
    elif store == "full_bf16":
        put_full(call, slot, bf16_bits(value).astype("<u2"))
    else:
        put_full(call, slot, full_fp8(call, value, F32(1) / call.float("fp8_scale")))
    return True


def insert_query(call):
    """All rows, with or without a slot; padded heads are zero bits."""
    q = call.get("q")
    if q is None:
        return
    rows = np.arange(q.shape[0])
    value = whole(q)
    if call.int("q_norm"):
        value = value * norm_factor(value, call.float("eps"))
    value[..., NOPE:] = rotate(value[..., NOPE:], call["rope_table"].at(call["positions"].at(rows)))
    if call.params["store"] == "full_bf16":
        call.outputs["q"].put(rows, 0, bf16_bits(value).astype("<u2"))
    elif call.params["store"] == "full_fp8":
        call.outputs["q_out"].put(rows, 0, full_fp8(call, value, call.float("q_scale_inverse")))
    else:
        padded = np.zeros((len(rows),) + call.outputs["q_out"].shape[1:], "<u2")
        padded[:, :value.shape[1]] = bf16_bits(value)
        call.outputs["q_out"].put(rows, 0, padded)


def kv_quantize_insert(call):
    rows, slot = slots(call)
    put_ds_mla(call, slot, real(call["k"], rows))
    return True


def kv_dequantize_gather(call):
    cache, fp8, layout = call["cache"], call.params["fp8"], call.params["layout"]
    block_size, offset = call.int("block_size"), call.int("offset")
    named(fp8, *LARGEST)
    pages.check_page(cache, layout, block_size)
    for r in range(call["seq_lens"].shape[0]):
        length = int(call["seq_lens"].at(r))
        n = int(call["gather_lens"].at(r)) if call.get("gather_lens") else length
        position = np.arange(length - n, length)
        page = call["block_table"].at(r, position // block_size)
        data, scale = pages.main_offsets(layout, block_size, position % block_size)
        code = cache.at(page[:, None], data[:, None] + np.arange(NOPE))
        byte = cache.at(page[:, None], scale[:, None] + np.arange(7)).astype(np.int64)
        nope = bf16_bits(np.ldexp(e4m3_decode(code, fp8), np.repeat(byte, 64, axis=1) - 127))
        rope = cache.at(page[:, None], data[:, None] + NOPE + np.arange(2 * ROPE))
        row = np.concatenate([nope.astype("<u2").view(np.uint8), rope], axis=1)
        call.outputs["out"].put(r, (offset + np.arange(n)) * 1024, row)
    return True


OPS = {f.__name__: f for f in (kv_save_partial_states, kv_compress, kv_norm_rope_store,
                               kv_compress_norm_rope_store, kv_qnorm_rope_insert, kv_quantize_insert,
                               kv_dequantize_gather)}
OPS.update(attention.OPS)
OPS.update(index.OPS)
OPS.update(indexer.OPS)
OPS.update(mhc.OPS)
OPS.update(moe.OPS)
OPS.update(dispatch.OPS)
OPS.update(norm.OPS)
OPS.update(quant.OPS)
OPS.update(gemm.OPS)
