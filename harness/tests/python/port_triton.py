# SPDX-License-Identifier: Apache-2.0
"""Eight ops in Triton, bit for bit. Number formats go through integers, because a cast's NaN is not the
canon's; nothing may be contracted, so kernels are launched with enable_fp_fusion=False; run() neither
synchronises nor reads a tensor on the host, so that a graph can capture it.

TRITON_INTERPRET=1 runs the same kernels on the CPU."""
import os

import torch
import triton
import triton.language as tl
from dsv4cts import plugin, port

plugin(name="triton-ports", version="1.0", device="cpu" if os.environ.get("TRITON_INTERPRET") == "1" else "cuda")

EXACT = {"enable_fp_fusion": False}


def bits(t):
    """The same tensor as integers of its width."""
    return t.view({1: torch.uint8, 2: torch.int16, 4: torch.int32}[t.element_size()])


# ---- number formats ----

@triton.jit
def from_bf16(half):
    return (half.to(tl.int32) << 16).to(tl.float32, bitcast=True)


@triton.jit
def to_bf16(x):
    """To nearest even; NaN is 0x7FC0."""
    word = x.to(tl.int32, bitcast=True)
    rounded = (word + 0x7FFF + ((word >> 16) & 1)) >> 16
    return tl.where(x == x, rounded, 0x7FC0).to(tl.int16)


@triton.jit
def from_e4m3(code, BIAS: tl.constexpr):
    code = code.to(tl.int32)
    exponent, mantissa = (code >> 3) & 15, code & 7
    normal = (((exponent + 127 - BIAS) << 23) | (mantissa << 20)).to(tl.float32, bitcast=True)
    tiny = mantissa.to(tl.float32) * (0.001953125 if BIAS == 7 else 0.0009765625)
    value = tl.where(exponent == 0, tiny, normal)
    # By its bit: Triton's minus is a difference from 0, and gives +0 for 0.
    value = (value.to(tl.int32, bitcast=True) | ((code & 128) << 24)).to(tl.float32, bitcast=True)
    is_nan = (code & 127) == 127 if BIAS == 7 else code == 128
    return tl.where(is_nan, float("nan"), value)


@triton.jit
def to_e4m3(x):
    """OCP codes of values within +-448, to nearest even."""
    word = x.to(tl.int32, bitcast=True)
    magnitude = word & 0x7FFFFFFF
    normal = ((magnitude + 0x7FFFF + ((magnitude >> 20) & 1)) >> 20) - 960
    # Below 2^-6 codes are multiples of 2^-9: adding 2^14, whose last bit is that, rounds to one.
    tiny = (tl.abs(x) + 16384.0).to(tl.int32, bitcast=True) & 15
    return (tl.where(magnitude >= 121 << 23, normal, tiny) | ((word >> 24) & 0x80)).to(tl.uint8)


@triton.jit
def power_of_two(byte):
    """2^(byte - 127); 255 is NaN."""
    byte = byte.to(tl.int32)
    word = tl.where(byte == 0, 0x400000, tl.where(byte == 255, 0x7FC00000, byte << 23))
    return word.to(tl.float32, bitcast=True)


# ---- copies ----

@triton.jit
def concat_kernel(first, second, third, out, width, s0, s1, s2, so, BLOCK: tl.constexpr):
    row, tap = tl.program_id(0).to(tl.int64), tl.program_id(1)
    source = first + row * s0
    if tap == 1:
        source = second + row * s1
    if tap == 2:
        source = third + row * s2
    for start in range(0, width, BLOCK):
        c = start + tl.arange(0, BLOCK)
        tl.store(out + row * so + tap * width + c, tl.load(source + c, mask=c < width), mask=c < width)


@port("mtp_concat_aux")
def mtp_concat_aux(first, second, third, out):
    rows, width = first.shape
    concat_kernel[rows, 3](bits(first), bits(second), bits(third), bits(out), width, first.stride(0),
                           second.stride(0), third.stride(0), out.stride(0), BLOCK=1024)


@triton.jit
def embedding_kernel(ids, weight, out, start, end, width, sw, so, BLOCK: tl.constexpr):
    row = tl.program_id(0).to(tl.int64)
    token = tl.load(ids + row).to(tl.int64)
    inside = (token >= start) & (token < end)
    c = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    value = tl.load(weight + tl.where(inside, token - start, 0) * sw + c, mask=c < width, other=0)
    tl.store(out + row * so + c, tl.where(inside, value, 0), mask=c < width)


@port("mtp_embedding")
def mtp_embedding(ids, weight, out, start, end):
    rows, width = out.shape
    embedding_kernel[rows, triton.cdiv(width, 1024)](ids, bits(weight), bits(out), start, end, width,
                                                     weight.stride(0), out.stride(0), BLOCK=1024)


@triton.jit
def argmax_kernel(logits, out, vocab, stride, BLOCK: tl.constexpr):
    row = tl.program_id(0).to(tl.int64)
    best = tl.full([BLOCK], -0x7FFFFFFFFFFFFFFF, tl.int64)
    for start in range(0, vocab, BLOCK):
        c = start + tl.arange(0, BLOCK)
        x = tl.load(logits + row * stride + c, mask=c < vocab, other=0.0)
        word = x.to(tl.int32, bitcast=True)
        order = tl.where(word < 0, word ^ 0x7FFFFFFF, word)  # integers in the order of the values
        order = tl.where(x == x, tl.where(x == 0, 0, order), 0x7FFFFFFF)
        key = (order.to(tl.int64) << 32) | (0x7FFFFFFF - c).to(tl.int64)
        best = tl.where(c < vocab, tl.maximum(best, key), best)
    index = 0x7FFFFFFF - (tl.max(best, axis=0) & 0xFFFFFFFF)
    tl.store(out + row, index.to(out.dtype.element_ty))


@port("mtp_argmax")
def mtp_argmax(logits, out):
    argmax_kernel[(logits.shape[0],)](logits, out, logits.shape[1], logits.stride(0), BLOCK=1024)


# ---- caches and scales ----

@triton.jit
def save_kernel(kv, score, ape, positions, slots, state, ratio, page, width, sk, ss, sa, sp, st, BLOCK: tl.constexpr):
    row = tl.program_id(0).to(tl.int64)
    c = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    slot = tl.load(slots + row)
    if slot >= 0:
        bias = tl.load(ape + tl.load(positions + row) % ratio * sa + c, mask=c < width)
        to = state + slot // page * sp + slot % page * st + c
        tl.store(to, tl.load(kv + row * sk + c, mask=c < width), mask=c < width)
        tl.store(to + width, tl.load(score + row * ss + c, mask=c < width) + bias, mask=c < width)


@port("kv_save_partial_states", dialects=["f32"])
def kv_save_partial_states(kv, score, ape, positions, slot_mapping, state, ratio, state_block_size):
    width = kv.shape[1]
    save_kernel[slot_mapping.shape[0], triton.cdiv(width, 512)](
        kv, score, ape, positions, slot_mapping, state, ratio, state_block_size, width, kv.stride(0), score.stride(0),
        ape.stride(0), state.stride(0), state.stride(1), BLOCK=512, **EXACT)


@triton.jit
def gather_kernel(cache, seq_lens, gather_lens, table, out, block_size, offset, sc, st, so, sr, BIAS: tl.constexpr,
                  PLANAR: tl.constexpr):
    request, i = tl.program_id(0).to(tl.int64), tl.program_id(1)
    n = tl.load(gather_lens + request)
    if i < n:
        row = tl.load(seq_lens + request) - n + i
        page = cache + tl.load(table + request * st + row // block_size).to(tl.int64) * sc
        j = row % block_size
        data = page + (j * 576 if PLANAR else j * 584)
        scales = page + (block_size * 576 + j * 8 if PLANAR else j * 584 + 576)
        to = out + request * so + (offset + i) * sr
        c = tl.arange(0, 512)
        scale = power_of_two(tl.load(scales + c // 64, mask=c < 448, other=127))
        value = from_e4m3(tl.load(data + c, mask=c < 448, other=0), BIAS)
        tl.store(to + c, to_bf16(value * scale), mask=c < 448)
        rope = tl.arange(0, 64)
        low, high = tl.load(data + 448 + 2 * rope), tl.load(data + 449 + 2 * rope)
        tl.store(to + 448 + rope, (low.to(tl.int32) | (high.to(tl.int32) << 8)).to(tl.int16))


@port("kv_dequantize_gather", dialects="*")
def kv_dequantize_gather(cache, seq_lens, gather_lens, block_table, out, block_size, offset, fp8, layout):
    lens = seq_lens if gather_lens is None else gather_lens
    gather_kernel[seq_lens.shape[0], out.shape[1]](
        cache, seq_lens, lens, block_table, bits(out), block_size, offset, cache.stride(0), block_table.stride(0),
        out.stride(0), out.stride(1), BIAS=7 if fp8 == "ocp" else 8, PLANAR=layout == "planar", **EXACT)


@triton.jit
def dequant_kernel(q, scales, y, columns, sq, s0, s1, sy, BIAS: tl.constexpr, F32_SCALES: tl.constexpr):
    row, block = tl.program_id(0).to(tl.int64), tl.program_id(1)
    c = block * 128 + tl.arange(0, 128)
    scale = tl.load(scales + row // 128 * s0 + block * s1)
    if not F32_SCALES:
        scale = power_of_two(scale)
    value = from_e4m3(tl.load(q + row * sq + c, mask=c < columns, other=0), BIAS)
    tl.store(y + row * sy + c, to_bf16(value * scale), mask=c < columns)


@port("quant_fp8_dequant", dialects="*")
def quant_fp8_dequant(q, scales, y, fp8):
    f32 = scales.dtype == torch.float32
    dequant_kernel[q.shape[0], triton.cdiv(q.shape[1], 128)](
        bits(q), scales if f32 else bits(scales), bits(y), q.shape[1], q.stride(0), scales.stride(0),
        scales.stride(1), y.stride(0), BIAS=7 if fp8 == "ocp" else 8, F32_SCALES=f32, **EXACT)


@triton.jit
def prepare_kernel(x, topk_ids, topk_weights, padding, codes, scales, ids, weights, hidden, topk, sx, sc, ss,
                   HAS_PADDING: tl.constexpr):
    t = tl.program_id(0).to(tl.int64)
    group, channel = tl.arange(0, 4)[:, None], tl.arange(0, 32)[None, :]
    for chunk in range(0, hidden // 128):
        at = chunk * 128 + group * 32 + channel
        value = from_bf16(tl.load(x + t * sx + at))
        amax = tl.maximum(tl.max(tl.abs(value), axis=1), 1e-4)
        word = tl.math.div_rn(amax, 448.0 + tl.zeros([4], tl.float32)).to(tl.int32, bitcast=True)
        byte = (word >> 23) + ((word & 0x7FFFFF) != 0).to(tl.int32)
        inverse = ((254 - byte) << 23).to(tl.float32, bitcast=True)
        tl.store(codes + t * sc + at, to_e4m3(value * inverse[:, None]))
        tl.store(scales + t * ss + chunk, tl.sum(byte << (tl.arange(0, 4) * 8), axis=0))
    k = tl.arange(0, 8)
    keep = (tl.load(padding + t) == 0) if HAS_PADDING else True
    expert = tl.load(topk_ids + t * topk + k, mask=k < topk, other=0).to(tl.int64)
    weight = tl.load(topk_weights + t * topk + k, mask=k < topk, other=0.0)
    tl.store(ids + t * topk + k, tl.where(keep, expert, -1), mask=k < topk)
    tl.store(weights + t * topk + k, tl.where(keep, weight, 0.0), mask=k < topk)


@port("moe_prepare", when=lambda shared_block_m: shared_block_m == 0)
def moe_prepare(x, topk_ids, topk_weights, is_padding, codes, scales, ids, weights):
    prepare_kernel[(x.shape[0],)](bits(x), topk_ids, topk_weights, x if is_padding is None else is_padding, bits(codes),
                                  scales, ids, weights, x.shape[1], topk_ids.shape[1], x.stride(0), codes.stride(0),
                                  scales.stride(0), HAS_PADDING=is_padding is not None, **EXACT)


# ---- norms ----

@triton.jit
def halved(x, N: tl.constexpr):
    low, high = tl.split(tl.trans(tl.reshape(x, [2, N // 2])))
    return low + high


@triton.jit
def rms_kernel(x, weight, out, width, eps, sx, so, F32_WEIGHT: tl.constexpr):
    row = tl.program_id(0).to(tl.int64)
    lane = tl.arange(0, 64)
    total = tl.zeros([64], tl.float32)
    for start in range(0, width, 64):
        c = start + lane
        value = from_bf16(tl.load(x + row * sx + c, mask=c < width, other=0))
        total = tl.fma(value, value, total)
    total = halved(halved(halved(halved(halved(halved(total, 64), 32), 16), 8), 4), 2)
    mean = tl.sum(total, axis=0)  # one is left
    mean = tl.math.div_rn(mean, width.to(tl.float32)) + eps
    factor = (1.0 / tl.sqrt(mean.to(tl.float64))).to(tl.float32)
    for start in range(0, width, 256):
        c = start + tl.arange(0, 256)
        w = tl.load(weight + c, mask=c < width, other=0)
        if not F32_WEIGHT:
            w = from_bf16(w)
        value = from_bf16(tl.load(x + row * sx + c, mask=c < width, other=0))
        tl.store(out + row * so + c, to_bf16(value * factor * w), mask=c < width)


@port("norm_rms")
def norm_rms(x, weight, out, eps):
    f32 = weight.dtype == torch.float32
    rms_kernel[(x.shape[0],)](bits(x), weight if f32 else bits(weight), bits(out), x.shape[1], eps, x.stride(0),
                              out.stride(0), F32_WEIGHT=f32, **EXACT)
