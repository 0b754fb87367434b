# SPDX-License-Identifier: Apache-2.0
"""The GEMM ops. Each takes a Call, fills its outputs and says whether it accepts the call.

Where a text leaves a choice, this is how it is read:
- every accumulator starts from +0, and an exact sum of nothing is +0;
- the fp32 product of both scales of a block comes first, then one fma per block;
- FP8 by MXFP4: partial * a_scale is rounded, then the product with b_scale, then the sum;
- bf16 activations meet MXFP4 weights as in the bf16 GEMM: the weight, scaled, is an fp32 number.
"""
import numpy as np

from .formats import E2M1, F32, bf16_bits, bf16_round, bf16_value, e4m3_decode, fma
from .vector import Fault


def powers(byte):
    """2^(byte - 127), NaN for 255."""
    byte = np.asarray(byte).astype(np.int64)
    value = np.ldexp(1.0, byte - 127).astype(F32) if byte.size else np.zeros(byte.shape, F32)
    return np.where(byte == 255, F32(np.nan), value)


def scales(tensor, form, rows, blocks, group, weight):
    """fp32 [rows, blocks] of one group (None: there are none)."""
    r, b = np.arange(rows)[:, None], np.arange(blocks)[None, :]
    if form in ("f32", "e8m0"):
        at = (r, b) if group is None else (group, r, b) if weight else (r, group, b)
        taken = tensor.at(*at)
        return powers(taken) if form == "e8m0" else taken.astype(F32)
    if form not in ("f32_mn", "packed"):
        raise Fault(f"scales of the form '{form}'")
    if form == "f32_mn":
        return tensor.at(*((b, r) if group is None else (group, b, r))).astype(F32)
    at = (b // 4, r) if group is None else (group, b // 4, r)
    return powers(tensor.at(*at).astype(np.int64) >> 8 * (b % 4) & 255)


def columns(tensor, row, group, first, n):
    """Elements first .. first + n - 1 of rows of [M, K] or, in a group, of [M, G, K]."""
    k = first + np.arange(n)[None, :]
    at = (np.asarray(row)[:, None], k)
    return tensor.at(*at) if group is None else tensor.at(at[0], group, k)


def weight_columns(tensor, row, group, first, n):
    k = first + np.arange(n)[None, :]
    at = (np.asarray(row)[:, None], k)
    return tensor.at(*at) if group is None else tensor.at(group, at[0], k)


def put(out, rows, group, values):
    """values [rows, N] of the output's type."""
    width = values.shape[1] * values.itemsize
    out.put(rows, (group or 0) * width, values)


def groups_of(call):
    a = call["a"]
    return range(a.shape[1]) if len(a.shape) == 3 else [None]


def gemm_fp8_block(call):
    fp8, out = call.params["fp8"], call.outputs["out"]
    m, k, n = call["a"].shape[0], call["a"].shape[-1], out.shape[-1]
    blocks = -(-k // 128)
    per_row = call.params["b_scales"] == "packed"
    for g in groups_of(call):
        a_scale = scales(call["a_scale"], call.params["a_scales"], m, blocks, g, False)
        b_scale = scales(call["b_scale"], call.params["b_scales"], n if per_row else -(-n // 128),
                         blocks, g, True)
        if not per_row:
            b_scale = b_scale[np.arange(n) // 128]
        acc = np.zeros((m, n), F32)
        for block in range(blocks):
            size = min(128, k - 128 * block)
            x = np.round(e4m3_decode(columns(call["a"], np.arange(m), g, 128 * block, size), fp8) * 1024)
            y = np.round(e4m3_decode(weight_columns(call["b"], np.arange(n), g, 128 * block, size), fp8) * 1024)
            total = x.astype(np.int64) @ y.astype(np.int64).T
            partial = np.ldexp(total.astype(np.float64), -20).astype(F32)
            acc = fma(partial, a_scale[:, block][:, None] * b_scale[:, block][None, :], acc)
        put(out, np.arange(m), g, bf16_bits(acc).astype("<u2"))
    return True


def number(tensor, taken):
    return bf16_value(taken) if tensor.dtype == "bf16" else taken.astype(F32)


def blocked(x, y):
    """The canon of fp32 dots: chains of fma over 128 k from +0, their sums added ascending from +0."""
    total = np.zeros((len(x), len(y)), F32)
    for first in range(0, x.shape[1], 128):
        chain = np.zeros_like(total)
        for k in range(first, min(first + 128, x.shape[1])):
            chain = fma(x[:, k][:, None], y[:, k][None, :], chain)
        total = total + chain
    return total


def gemm_bf16(call):
    out = call.outputs["out"]
    m, k, n = call["a"].shape[0], call["a"].shape[-1], out.shape[-1]
    for g in groups_of(call):
        x = number(call["a"], columns(call["a"], np.arange(m), g, 0, k))
        y = number(call["b"], weight_columns(call["b"], np.arange(n), g, 0, k))
        total = blocked(x, y)
        if out.dtype == "bf16":
            put(out, np.arange(m), g, bf16_bits(total).astype("<u2"))
        else:
            total = bf16_round(total) if call.params["rounding"] == "bf16" else total
            put(out, np.arange(m), g, total.astype("<f4"))
    return True


def gemm_fp8_fp4(call):
    a, out, offsets = call["a"], call.outputs["out"], call["offsets"]
    k, n = a.shape[1], out.shape[1]
    for e in range(offsets.shape[0] - 1):
        row = np.arange(int(offsets.at(e)), int(offsets.at(e + 1)))
        if call.get("ids") is not None:
            row = row[call["ids"].at(row) >= 0]
        if not len(row):
            continue
        byte = call["b"].at(e, np.arange(n)[:, None], np.arange(k // 2)[None, :])
        code = np.stack([byte & 15, byte >> 4], axis=2).reshape(n, k)
        w = np.where(code & 8, -E2M1[code & 7], E2M1[code & 7])
        b_scale = powers(call["b_scale"].at(e, np.arange(n)[:, None], np.arange(k // 32)[None, :]))
        if a.dtype == "bf16":
            y = (w * np.repeat(b_scale.astype(np.float64), 32, axis=1)).astype(F32)
            total = blocked(bf16_value(a.at(row[:, None], np.arange(k)[None, :])), y)
        else:
            total = experts(call, row, k, w, b_scale)
        out.put(row, 0, bf16_bits(total).astype("<u2"))
    return True


def experts(call, row, k, w, b_scale):
    group = call.int("a_group")
    a_scale = scales(call["a_scale"], call.params["a_scales"], call["a"].shape[0], -(-k // group), None,
                     False)[row]
    codes = call["a"].at(row[:, None], np.arange(k)[None, :])
    x = np.round(e4m3_decode(codes, call.params["fp8"]) * 1024).astype(np.int64)
    y = np.round(w * 2).astype(np.int64)
    total = np.zeros((len(row), len(w)), F32)
    for first in range(0, k, 32):
        whole = x[:, first:first + 32] @ y[:, first:first + 32].T
        partial = np.ldexp(whole.astype(np.float64), -11).astype(F32)
        partial = partial * a_scale[:, first // group][:, None]
        total = total + partial * b_scale[:, first // 32][None, :]
    return total


OPS = {f.__name__: f for f in (gemm_fp8_block, gemm_bf16, gemm_fp8_fp4)}
