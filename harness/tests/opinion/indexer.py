# SPDX-License-Identifier: Apache-2.0
"""The indexer's ops. Each takes a Call, fills its outputs and says whether it accepts the call.

Where a text leaves a choice, this is how it is read:
- the scale of idx_q_quant is the quotient by 448, 224 or 240, rounded, and then its power of two;
- idx_q_hadamard_quant rounds to bf16 after RoPE and after the transform.
"""
import numpy as np

from .formats import (F32, LARGEST, bf16_bits, bf16_round, bf16_value, e2m1_encode, e4m3_decode, e4m3_encode, fma,
                      scale_byte)

ROPE = 64


# ---- queries ----

def rotated(call):
    """The rows of q after RoPE, as bf16 values [tokens, heads, 128]."""
    tokens = np.arange(call["q"].shape[0])
    x = bf16_value(call["q"].at(tokens))
    table = call["rope_table"].at(call["positions"].at(tokens))[:, None, :]
    table = bf16_value(table) if call["rope_table"].dtype == "bf16" else table
    cos, sin = table[..., :32], table[..., 32:]
    first = 0 if call.params.get("form") == "v32" else ROPE
    turns = slice(first, first + ROPE)
    even, odd = x[..., turns][..., 0::2], x[..., turns][..., 1::2]
    turned = x.copy()
    half = turned[..., turns]
    if call.params["rope"] == "fma":
        half[..., 0::2] = fma(even, cos, -(odd * sin))
        half[..., 1::2] = fma(odd, cos, even * sin)
    else:
        half[..., 0::2] = even * cos - odd * sin
        half[..., 1::2] = odd * cos + even * sin
    return bf16_round(turned)


def transformed(x):
    """The rows times a 128-point Hadamard matrix and 128^-0.5, rounded to bf16."""
    for bit in range(7):
        i = np.arange(128)
        other = x[..., i ^ (1 << bit)]
        x = np.where(i & (1 << bit), other - x, x + other)
    return bf16_round(x * F32(128.0 ** -0.5))


def put_heads(out, image):
    """Writes [tokens, heads, n] of a type of the output."""
    tokens, heads, n = image.shape
    row, head = np.repeat(np.arange(tokens), heads), np.tile(np.arange(heads), tokens)
    out.put(row, head * n * image.itemsize, image.reshape(tokens * heads, n))


def put_mxfp4(call, x):
    if not x.size:
        return
    groups = x.reshape(x.shape[:2] + (4, 32))
    amax = np.abs(groups).max(axis=3)
    byte = scale_byte(np.maximum(amax, np.ldexp(F32(6), -126)) * (F32(1) / F32(6)))
    code = e2m1_encode(np.ldexp(groups.astype(np.float64), 127 - byte[..., None])).reshape(x.shape)
    put_heads(call.outputs["q_out"], (code[..., 0::2] | code[..., 1::2] << 4).astype(np.uint8))
    if call.params.get("scale_layout") != "shuffled":
        put_heads(call.outputs["scales"], byte.astype(np.uint8))
        return
    tokens, heads = byte.shape[:2]
    image = np.zeros((tokens, 4, 16, -(-heads // 64) * 4), np.uint8)
    for h in range(heads):
        image[:, :, h % 16, h // 16] = byte[:, h]
    call.outputs["scales"].put(np.arange(tokens), 0, image.reshape(tokens, -1))


def idx_q_quant(call):
    x = rotated(call)
    tokens = np.arange(len(x))
    w = call["weights"].at(tokens)
    w = bf16_value(w) if call["weights"].dtype == "bf16" else w.astype(F32)
    if call.params["format"] == "mxfp4":
        put_mxfp4(call, x)
    elif x.size:
        amax, limit = np.abs(x).max(axis=2), F32(LARGEST[call.params["fp8"]])
        if call.params.get("form") == "v32":
            byte = scale_byte(np.maximum(amax, F32(1e-10)) * (F32(1) / limit))
        else:
            byte = scale_byte(np.maximum(amax, F32(1e-4)) / limit)
        code = e4m3_encode(np.ldexp(x.astype(np.float64), 127 - byte[..., None]), call.params["fp8"])
        put_heads(call.outputs["q_out"], code)
        w = w * np.ldexp(F32(1), byte - 127)
    w = (w * call.float("softmax_scale")) * call.float("head_scale")
    call.outputs["weights_out"].put(tokens, 0, w.astype("<f4"))
    return True


def idx_q_hadamard_quant(call):
    if len(call.outputs["scales"].shape) == 4 and call["q"].shape[1] % 16:
        return False
    x = transformed(rotated(call))
    if call.params["format"] == "mxfp4":
        put_mxfp4(call, x)
    elif x.size:
        fp8 = call.params["fp8"]
        limit = F32(LARGEST[fp8])
        scale = np.maximum(np.abs(x).max(axis=2, keepdims=True), F32(1e-10)) * (F32(1) / limit)
        code = e4m3_encode(np.clip(x * (F32(1) / scale), -limit, limit), fp8)
        put_heads(call.outputs["q_out"], code)
        put_heads(call.outputs["scales"], scale.astype("<f4"))
    return True


# ---- keys ----

def key_offsets(call, j):
    """Offsets in a page of the 128 codes of tokens j, and of their scales."""
    d = np.arange(128)
    j = np.asarray(j)[..., None]
    if call.params["layout"] == "shuffled":
        code = j // 16 * 16 * 128 + d // 16 * 256 + j % 16 * 16 + d % 16
    else:
        code = j * 128 + d
    return code, call.int("block_size") * 128 + 4 * j + np.arange(4)


def idx_k_gather(call):
    block_size, cache = call.int("block_size"), call["cache"]
    if call.params["layout"] == "shuffled" and block_size % 16:
        return False
    requests = call["block_table"].shape[0]
    row = np.arange(int(call["cu_seq_lens"].at(requests)))
    request = call["token_to_seq"].at(row)
    j = row - call["cu_seq_lens"].at(request)
    page = call["block_table"].at(request, j // block_size)
    there = (page >= 0) & (page < cache.shape[0])
    code, scale = key_offsets(call, j[there] % block_size)
    call.outputs["k"].put(row[there], 0, cache.at(page[there][:, None], code))
    scales = np.zeros((len(row), 4), np.uint8)
    scales[there] = cache.at(page[there][:, None], scale)
    call.outputs["scale"].put(row, 0, scales)
    return True


# ---- top-k ----

def order(x):
    """Integers in the order of the fp32 bits: -NaN first, +NaN last, -0 before +0."""
    bits = np.asarray(x, "<f4").view("<u4").astype(np.int64)
    return np.where(bits >> 31, 0xFFFFFFFF - bits, bits + (1 << 31))


def spans(call):
    """First column and length of each row."""
    rows, columns = call["logits"].shape
    r = np.arange(rows)
    if call.params["form"] == "rows":
        start = call["row_starts"].at(r).astype(np.int64)
        length = call["row_ends"].at(r) - start
    else:
        n = call.int("next_n") if call.params["form"] == "lens" else 1
        start = np.zeros(rows, np.int64)
        length = call["lens"].at(r // n).astype(np.int64) - (n - 1 - r % n)
    return start, np.clip(length, 0, np.maximum(columns - start, 0))


def idx_topk(call):
    k = call.int("k")
    for r, (start, length) in enumerate(zip(*spans(call))):
        chosen = np.full(k, -1, "<i4")
        if length <= k:
            chosen[:length] = np.arange(length)
        else:
            keys = order(call["logits"].at(r, start + np.arange(length)))
            chosen[:] = np.sort(np.argsort(-keys, kind="stable")[:k])
        call.outputs["out"].put([r], 0, chosen[None])
    return True


# ---- logits ----

def whole(codes, fp8):
    """The values of codes in units of 2^-10, as integers."""
    return np.round(e4m3_decode(codes, fp8) * 1024).astype(np.int64)


def score(q, w, k, scale):
    """Logits of one row: q [heads, 128] and k [keys, 128] in units of 2^-10."""
    dot = np.ldexp((k @ q.T).astype(np.float64), -20).astype(F32)
    positive = np.where(dot > 0, dot, F32(0))
    partial = np.zeros((len(k), 64), F32)
    for first in range(0, len(w), 64):
        n = min(64, len(w) - first)
        partial[:, :n] = fma(w[first:first + n], positive[:, first:first + n], partial[:, :n])
    for stride in (32, 16, 8, 4, 2, 1):
        partial = partial[:, :stride] + partial[:, stride:2 * stride]
    return partial[:, 0] * scale


def put_row(call, row, column, values, first, end):
    """The scores, and -inf outside of columns [first, end) where rows are cleaned."""
    out = call.outputs["out"]
    bf16 = call.params["logits"] == "bf16"
    size, values = (2, bf16_bits(values).astype("<u2")) if bf16 else (4, values.astype("<f4"))
    out.put([row], column * size, values[None])
    if call.int("clean"):
        for begin, stop in ((0, first), (end, out.shape[1])):
            none = np.full((1, max(stop - begin, 0)), 0xFF80 if bf16 else -np.inf, values.dtype)
            out.put([row], begin * size, none)


def idx_mqa_logits(call):
    fp8 = call.params["fp8"]
    for m in range(call["q"].shape[0]):
        ks, ke = int(call["ks"].at(m)), min(int(call["ke"].at(m)), call["k"].shape[0])
        n = np.arange(ks, max(ks, ke))
        values = score(whole(call["q"].at(m), fp8), call["weights"].at(m), whole(call["k"].at(n), fp8),
                       call["k_scale"].at(n))
        first = 0 if call.int("compressed") else ks
        if len(n) == 0:
            first = 0
        put_row(call, m, first, values, first, first + len(n))
    return True


def idx_paged_mqa_logits(call):
    fp8, block_size, next_n = call.params["fp8"], call.int("block_size"), call.int("next_n")
    if call.params["layout"] == "shuffled" and block_size % 16:
        return False
    for row in range(call["q"].shape[0]):
        b, j = divmod(row, next_n)
        if call.params["form"] == "lens_exact":
            limit = int(call["lens"].at(b, j))
        else:
            limit = int(call["lens"].at(b)) - next_n + j + 1
        n = np.arange(min(max(limit, 0), call.outputs["out"].shape[1]))
        page = call["block_table"].at(b, n // block_size)[:, None]
        code, scale = key_offsets(call, n % block_size)
        scales = np.ascontiguousarray(call["cache"].at(page, scale)).view("<f4")[:, 0]
        values = score(whole(call["q"].at(row), fp8), call["weights"].at(row),
                       whole(call["cache"].at(page, code), fp8), scales)
        put_row(call, row, 0, values, 0, len(n))
    return True


OPS = {f.__name__: f for f in (idx_q_quant, idx_q_hadamard_quant, idx_k_gather, idx_topk, idx_mqa_logits,
                               idx_paged_mqa_logits)}
