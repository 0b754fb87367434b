# SPDX-License-Identifier: Apache-2.0
"""The quantisation and layout ops. Each takes a Call, fills its outputs and says whether it accepts the call.

Where a text leaves a choice, this is how it is read:
- a scale of byte 0 is 0.0 as fp32; codes under it are those of x * 2^127, or of x * 0 with recipe aiter;
- a tensor that pads rows writes zeros there when it is packed, or of recipe inv_rope.
"""
import numpy as np

from .formats import (E2M1, F32, LARGEST, bf16_bits, bf16_value, e2m1_encode, e4m3_decode,
                      e4m3_encode, fma, rsqrt)
from .vector import Fault

# floor on amax, floor on the scale, whether amax is divided by the largest value
RECIPES = {"ref": (1e-4, 0, False), "deepgemm": (1e-4, 0, True), "tilekernels": (1e-4, 0, True),
           "vllm": (1e-10, 1e-10, True), "vllm_packed": (1e-10, 1e-10, True), "inv_rope": (1e-10, 0, False),
           "mega": (0, 0, False), "aiter": (0, 0, True)}


def rows_of(tensor):
    """All rows of a bf16 or f32 tensor, as fp32."""
    taken = tensor.at(np.arange(tensor.shape[0]))
    return bf16_value(taken) if tensor.dtype == "bf16" else taken.astype(F32)


def grouped(x, group):
    """[rows, groups, group], the last group padded with zeros."""
    groups = -(-x.shape[1] // group)
    padded = np.zeros((x.shape[0], groups * group), F32)
    padded[:, :x.shape[1]] = x
    return padded.reshape(x.shape[0], groups, group)


def ceil_byte(s):
    """Exponent field, plus one unless the mantissa is zero, of fp32 values >= 0."""
    bits = np.ascontiguousarray(s, "<f4").view("<u4").astype(np.int64)
    return (bits >> 23) + (bits % (1 << 23) != 0)


def recipe_byte(amax, recipe, largest):
    floor, scale_floor, divides = RECIPES[recipe]
    held = np.maximum(amax.astype(F32), F32(floor))
    scale = held / F32(largest) if divides else held * (F32(1) / F32(largest))
    return ceil_byte(np.maximum(scale, F32(scale_floor)))


def fp8_codes(x, byte, fp8, recipe):
    """Codes of x / 2^(byte - 127); x fp32, byte of the same shape or one that it is repeated to."""
    scaled = np.ldexp(x.astype(np.float64), 127 - byte)
    if recipe == "aiter":
        scaled = np.where(byte == 0, x * F32(0), scaled)
    return e4m3_encode(np.clip(scaled, -LARGEST[fp8], LARGEST[fp8]), fp8)


def put_scales(out, layout, byte, pads):
    """Bytes [rows, groups] in one of the four layouts."""
    rows, groups = byte.shape
    number = (byte.astype(np.uint32) << np.uint32(23)).astype("<u4")
    if layout == "bytes":
        out.put(np.arange(rows), 0, byte.astype(np.uint8))
    elif layout == "f32_row":
        out.put(np.arange(rows), 0, number)
    else:
        length = -(-rows // 4) * 4
        if layout == "packed":
            image = np.zeros((-(-groups // 4), length, 4), np.uint8)
            for g in range(groups):
                image[g // 4, :rows, g % 4] = byte[:, g]
            pads = True
        else:
            image = np.zeros((groups, length), "<u4")
            image[:, :rows] = number.T
        out.put(np.arange(len(image)), 0, np.ascontiguousarray(image if pads else image[:, :rows]))


def quant_group_fp8(call):
    group, fp8, recipe = call.int("group"), call.params["fp8"], call.params["recipe"]
    x = rows_of(call["x"])
    parts = grouped(x, group)
    byte = recipe_byte(np.abs(parts).max(axis=2) if parts.size else np.zeros(parts.shape[:2], F32), recipe,
                       LARGEST[fp8])
    codes = fp8_codes(parts, byte[..., None], fp8, recipe)
    call.outputs["q"].put(np.arange(len(x)), 0, codes.reshape(len(x), parts.shape[1] * group)[:, :x.shape[1]])
    put_scales(call.outputs["scales"], call.params["scale_layout"], byte, recipe == "inv_rope")
    return True


def quant_block_fp8(call):
    fp8, recipe = call.params["fp8"], call.params["recipe"]
    w, scales = rows_of(call["w"]), call.outputs["scales"]
    byte = np.zeros(scales.shape, np.int64)
    codes = np.zeros(w.shape, np.uint8)
    for i in range(scales.shape[0]):
        for j in range(scales.shape[1]):
            at = (slice(128 * i, 128 * i + 128), slice(128 * j, 128 * j + 128))
            byte[i, j] = recipe_byte(np.abs(w[at]).max(), recipe, LARGEST[fp8]).ravel()[0]
            codes[at] = fp8_codes(w[at], byte[i, j], fp8, recipe)
    call.outputs["q"].put(np.arange(len(w)), 0, codes)
    put_scales(scales, call.params["scale_layout"], byte, False)
    return True


def e2m1_down(x):
    """Codes of float64 values: nearest, ties to the smaller magnitude, zero without a sign."""
    code = sum((np.abs(x) > middle).astype(np.uint8) for middle in (0.25, 0.75, 1.25, 1.75, 2.5, 3.5, 5.0))
    return np.where((code != 0) & (x < 0), code | 8, code).astype(np.uint8)


def fours(x, byte, rounding):
    scaled = np.clip(np.ldexp(x.astype(np.float64), 127 - byte), -6, 6)
    return e2m1_down(scaled) if rounding == "strict" else e2m1_encode(scaled)


def quant_mxfp4(call):
    group, recipe = call.int("group"), call.params["recipe"]
    x = rows_of(call["x"])
    parts = grouped(x, group)
    amax = np.abs(parts).max(axis=2) if parts.size else np.zeros(parts.shape[:2], F32)
    held = np.maximum(amax, F32(1e-4) if recipe == "deepgemm" else np.ldexp(F32(6), -126))
    byte = ceil_byte(held * (F32(1) / F32(6)) if recipe == "ref" else held / F32(6))
    code = fours(parts, byte[..., None], call.params["rounding"]).reshape(len(x), parts.shape[1] * group)
    code = code[:, :x.shape[1]]
    call.outputs["q"].put(np.arange(len(x)), 0, code[:, 0::2] | code[:, 1::2] << 4)
    put_scales(call.outputs["scales"], call.params["scale_layout"], byte, False)
    return True


def scale_values(byte, shifted=False):
    """float64 values of e8m0 bytes; `shifted`: of a byte in fp32's exponent field."""
    value = np.ldexp(1.0, np.asarray(byte, np.int64) - 127)
    if shifted:
        return np.where(byte == 0, 0.0, np.where(byte == 255, np.inf, value))
    return np.where(byte == 255, np.nan, value)


def product_bits(x, scale):
    """bf16 bits of the fp32 products of float64 numbers."""
    with np.errstate(over="ignore", invalid="ignore"):
        return bf16_bits((x * scale).astype(F32)).astype("<u2")


def quant_mxfp4_dequant(call):
    q = call["q"].at(np.arange(call["q"].shape[0]))
    columns = call.outputs["y"].shape[1]
    code = np.stack([q & 15, q >> 4], axis=2).reshape(len(q), columns)
    x = np.where(code & 8, -1.0, 1.0) * E2M1[code & 7]
    byte = call["scales"].at(np.arange(len(q)))[:, np.arange(columns) // 32]
    call.outputs["y"].put(np.arange(len(q)), 0,
                          product_bits(x, scale_values(byte, call.params["ends"] == "shifted")))
    return True


def quant_fp8_dequant(call):
    q, scales = call["q"].at(np.arange(call["q"].shape[0])), call["scales"]
    i, j = np.arange(q.shape[0])[:, None] // 128, np.arange(q.shape[1])[None, :] // 128
    taken = scales.at(*np.broadcast_arrays(i, j))
    value = scale_values(taken) if scales.dtype == "e8m0" else taken.astype(np.float64)
    call.outputs["y"].put(np.arange(len(q)), 0, product_bits(e4m3_decode(q, call.params["fp8"]), value))
    return True


def quant_scale_layout(call):
    n, per_rows, scales, out = call.int("n"), call.int("per_rows"), call["scales"], call.outputs["out"]
    for e in range(out.shape[0]):
        byte = scales.at(e)
        if scales.dtype == "f32":
            byte = np.ascontiguousarray(byte).view("<u4") >> 23
        image = np.zeros((out.shape[1] * 4, out.shape[2]), np.uint8)
        image[:byte.shape[1], :n] = byte[np.arange(n) // per_rows].T
        words = image.reshape(out.shape[1], 4, out.shape[2]).transpose(0, 2, 1)
        out.put([e], 0, np.ascontiguousarray(words)[None])
    return True


def mega_order(rows, interleave):
    """Rows in the order in which gate and up take turns."""
    if interleave == 0:
        return np.arange(rows)
    half = np.arange(rows).reshape(2, rows // 2 // interleave, interleave)
    return half.transpose(1, 0, 2).ravel()


def quant_mega_weights(call):
    interleave, scales = call.int("interleave"), call["scales"]
    experts = np.arange(scales.shape[0])
    order = mega_order(scales.shape[2], interleave)
    if interleave:
        call.outputs["w_out"].put(experts, 0, call["w"].at(experts)[:, order])
    elif call.get("w") is not None:
        raise Fault("w is there without interleave")
    moved = scales.at(experts)[:, :, order]
    moved = moved.reshape(moved.shape[:2] + (-1, 4, 32)).swapaxes(3, 4)
    call.outputs["scales_out"].put(experts, 0, np.ascontiguousarray(moved))
    return True


def quant_preshuffle(call):
    w, tile = call["w"], call.int("tile")
    experts, rows, width = w.shape
    x = w.at(np.arange(experts)).reshape(experts, rows // tile, tile, width // 32, 2, 16)
    call.outputs["out"].put(np.arange(experts), 0, np.ascontiguousarray(x.transpose(0, 1, 3, 4, 2, 5)))
    return True


def norm_factor(x, eps):
    """rsqrt(mean of squares + eps) of rows in the last dimension."""
    partial = np.zeros(x.shape[:-1] + (64,), F32)
    for first in range(0, x.shape[-1], 64):
        partial = fma(x[..., first:first + 64], x[..., first:first + 64], partial)
    while partial.shape[-1] > 1:
        half = partial.shape[-1] // 2
        partial = partial[..., :half] + partial[..., half:]
    return rsqrt(partial * F32(1 / x.shape[-1]) + eps)


def turned(x, table):
    """RoPE of the last 64 columns; table [tokens, 64]."""
    cos, sin = table[:, None, :32], table[:, None, 32:]
    even, odd = x[..., -64::2], x[..., -63::2]
    result = x.copy()
    result[..., -64::2] = even * cos - odd * sin
    result[..., -63::2] = odd * cos + even * sin
    return result


def transformed(x):
    dim = x.shape[-1]
    i = np.arange(dim)
    for bit in range(dim.bit_length() - 1):
        other = x[..., i ^ (1 << bit)]
        x = np.where(i & (1 << bit), other - x, x + other)
    return x * F32(dim ** -0.5)


def put_tiles(call, code, byte):
    size = call.outputs["q"].shape[2]
    for token, slot in enumerate(call["slots"].at(np.arange(len(code)))):
        if slot < 0:
            continue
        page, j = slot // size, slot % size
        for g in range(byte.shape[1]):
            at = g * size + j % 16 * (size // 16) + j // 16
            call.outputs["q"].put([page], [(g * size + j) * 16], code[None, token, 16 * g:16 * g + 16])
            call.outputs["scales"].put([page], [at], byte[None, token, g:g + 1])


def quant_rotate(call):
    tokens, heads, dim = call["x"].shape
    t, h = np.repeat(np.arange(tokens), heads), np.tile(np.arange(heads), tokens)
    if tokens == 0:
        return True
    x = bf16_value(call["x"].at(np.arange(tokens)))
    if call.int("norm"):
        x = x * norm_factor(x, call.float("eps")) * bf16_value(call["weight"].at(np.arange(dim)))
    if call.int("rope"):
        x = turned(x, bf16_value(call["rope_table"].at(call["positions"].at(np.arange(tokens)))))
    if call.int("hadamard"):
        x = transformed(x)
    x = x.reshape(tokens * heads, dim)
    if call.params["format"] == "fp4":
        parts = grouped(x, call.int("group"))
        held = np.maximum(np.abs(parts).max(axis=2), np.ldexp(F32(6), -126))
        byte = ceil_byte(held * (F32(1) / F32(6)))
        code = fours(parts, byte[..., None], "even").reshape(x.shape)
        code, byte = code[:, 0::2] | code[:, 1::2] << 4, byte.astype(np.uint8)
        if call.params["layout"] == "tiled":
            put_tiles(call, code, byte)
        else:
            call.outputs["q"].put(t, h * (dim // 2), code)
            call.outputs["scales"].put(t, h * byte.shape[1], byte)
    elif call.params["format"] == "bf16":
        call.outputs["q"].put(t, h * dim * 2, bf16_bits(x).astype("<u2"))
    else:
        limit = F32(LARGEST[call.params["fp8"]])
        parts = grouped(x, dim if call.int("per_row") else 128)
        scale = np.maximum(np.abs(parts).max(axis=2), F32(1e-10)) * (F32(1) / limit)
        code = e4m3_encode(np.clip(parts * (F32(1) / scale)[..., None], -limit, limit), call.params["fp8"])
        call.outputs["q"].put(t, h * dim, code.reshape(x.shape))
        call.outputs["scales"].put(t, h * 4 * scale.shape[1], scale.astype("<f4"))
    return True


OPS = {f.__name__: f for f in (quant_group_fp8, quant_block_fp8, quant_mxfp4, quant_mxfp4_dequant,
                               quant_fp8_dequant, quant_scale_layout, quant_mega_weights,
                               quant_preshuffle, quant_rotate)}
