# SPDX-License-Identifier: Apache-2.0
"""Norms, RoPE and the MTP and DSpark ops, written from the specification.

Where a text leaves a choice, this is how it is read:
- a mean is the sum divided by the width, rounded once;
- with every step in bf16, epsilon is rounded to bf16 before it is added.
"""
import decimal
from fractions import Fraction

import numpy as np

from .formats import F32, bf16_bits, bf16_round, bf16_value, e4m3_encode, fma, rsqrt

ROPE = 64


def values(tensor, *index):
    """fp32 values of a bf16 or f32 tensor's rows, or all of them."""
    taken = tensor.at(*(index or (np.arange(tensor.shape[0]),)))
    return bf16_value(taken) if tensor.dtype == "bf16" else taken.astype(F32)


def halved(partial):
    """The tree over 64 partials."""
    for stride in (32, 16, 8, 4, 2, 1):
        partial = partial[..., :stride] + partial[..., stride:2 * stride]
    return partial[..., 0]


def partials(x, add):
    """64 partials over the last axis: add(partial, block of up to 64 elements), ascending."""
    partial = np.zeros(x.shape[:-1] + (64,), F32)
    for first in range(0, x.shape[-1], 64):
        block = x[..., first:first + 64]
        n = block.shape[-1]
        partial[..., :n] = add(partial[..., :n], block)
    return partial


def root(x):
    """1/sqrt of fp32 values; NaN gives NaN."""
    nan = np.isnan(x)
    return np.where(nan, F32(np.nan), rsqrt(np.where(nan, F32(1), x)).reshape(np.shape(x)))


def norm_factor(x, eps):
    """rsqrt(sum of squares / width + eps) of every row, with an axis kept for the row."""
    if not x.size:
        return np.zeros(x.shape[:-1] + (1,), F32)
    with np.errstate(over="ignore", invalid="ignore"):
        total = halved(partials(x, lambda p, b: fma(b, b, p)))
        return root(total / F32(x.shape[-1]) + eps)[..., None]


def normed(x, eps, weight=None):
    """bf16 codes of the normalised rows."""
    with np.errstate(over="ignore", invalid="ignore", under="ignore"):
        y = x * norm_factor(x, eps)
        return bf16_bits(y if weight is None else y * weight).astype("<u2")


def put_rows(out, codes):
    out.put(np.arange(len(codes)), 0, codes)


def norm_rms(call):
    put_rows(call.outputs["out"], normed(values(call["x"]), call.float("eps"), values(call["weight"])))
    return True


def norm_q_kv(call):
    for x, weight, out in (("qr", "q_weight", "q_out"), ("kv", "kv_weight", "kv_out")):
        put_rows(call.outputs[out], normed(values(call[x]), call.float("eps"), values(call[weight])))
    return True


def turned(x, table, inverse=False, fused=False):
    """A copy of [tokens, heads, 512] with the last 64 channels rotated; table [tokens, 64]."""
    cos, sin = table[:, None, :32], table[:, None, 32:]
    sin = -sin if inverse else sin
    even, odd = x[..., -ROPE::2], x[..., 1 - ROPE::2]
    y = x.copy()
    with np.errstate(over="ignore", invalid="ignore", under="ignore"):
        y[..., -ROPE::2] = fma(even, cos, -(odd * sin)) if fused else even * cos - odd * sin
        y[..., 1 - ROPE::2] = fma(odd, cos, even * sin) if fused else odd * cos + even * sin
    return y


def head_normed(x, eps, rounding):
    """fp32 values of q heads after their norm."""
    with np.errstate(over="ignore", invalid="ignore", under="ignore"):
        if rounding != "ref":
            y = x * norm_factor(x, eps)
            return bf16_round(y) if rounding == "bf16" else y
        if not x.size:
            return x
        mean = bf16_round(halved(partials(bf16_round(x * x), np.add)) / F32(x.shape[-1]))
        r = bf16_round(root(bf16_round(mean + bf16_round(eps))))
        return bf16_round(x * r[..., None])


def norm_q_head(call):
    y = head_normed(values(call["q"]), call.float("eps"), call.params["rounding"])
    if call.int("rope"):
        y = turned(y, call["rope_table"].at(call["positions"].at(np.arange(len(y)))))
    put_rows(call.outputs["out"], bf16_bits(y).astype("<u2"))
    return True


def mtp_dspark_qkv(call):
    n = call["q"].shape[0]
    table = call["rope_table"].at(call["positions"].at(np.arange(n)).astype(np.int64))
    y = turned(head_normed(values(call["q"]), call.float("eps"), "bf16"), table)
    put_rows(call.outputs["q_out"], bf16_bits(y).astype("<u2"))
    row = turned(values(call["kv"])[:, None], table)[:, 0]
    put_rows(call.outputs["kv_out"], bf16_bits(row).astype("<u2"))
    return True


def token_angles(call, n):
    return call["rope_table"].at(call["positions"].at(np.arange(n)).astype(np.int64))


def rope_inverse(call):
    o = call["o"]
    bits = o.at(np.arange(o.shape[0]))
    y = turned(bf16_value(bits), token_angles(call, len(bits)), True, call.params["rope"] == "fma")
    bits = np.concatenate([bits[..., :-ROPE], bf16_bits(y[..., -ROPE:])], axis=2).astype("<u2")
    put_rows(call.outputs["o" if call.int("in_place") else "out"], bits)
    return True


def log2_ceil(x):
    """Exponents e with 2^e the least power of two that is not below positive fp32 values."""
    fraction, exponent = np.frexp(x.astype(np.float64))
    return exponent - (fraction == 0.5)


def rope_inverse_quant(call):
    o, out, scales = call["o"], call.outputs["codes"], call.outputs["scales"]
    x = values(o)
    tokens, heads = x.shape[:2]
    y = turned(x, token_angles(call, tokens), True)
    if call.params["rounding"] == "bf16":
        y = bf16_round(y)
    mx = call.params["scales"] == "mxfp8"
    grouped = y.reshape(tokens, heads, -1, 32 if mx else call.int("quant_group"))
    amax = np.abs(grouped).max(axis=3, initial=0).astype(F32)
    if mx:
        e = np.clip(log2_ceil(np.maximum(amax, F32(2.0**-126)) / F32(448)), -127, 127)
    else:
        e = log2_ceil(np.maximum(amax, F32(1e-10)) * (F32(1) / F32(448)))
    codes = e4m3_encode(np.clip(np.ldexp(grouped.astype(np.float64), -e[..., None]), -448, 448), "ocp")
    codes = codes.reshape(tokens, heads * 512)
    if mx:
        put_rows(out, codes)
        put_rows(scales, (e + 127).astype(np.uint8).reshape(tokens, heads * 16))
        return True
    groups, padded = call.int("groups"), (tokens + 3) // 4 * 4
    out.put(np.arange(groups), 0, codes.reshape(tokens, groups, -1).transpose(1, 0, 2))
    if call.params["scales"] == "f32":
        table = np.zeros((padded, groups, heads // groups * e.shape[2]), "<f4")
        table[:tokens] = np.ldexp(F32(1), e).reshape(tokens, groups, -1)
    else:
        table = np.zeros((padded, groups, heads // groups * e.shape[2] // 4), "<u4")
        for i in range(4):
            table[:tokens] |= ((e[..., i::4] + 127) << 8 * i).reshape(tokens, groups, -1).astype(np.uint32)
    scales.put(np.arange(groups), 0, table.transpose(1, 2, 0))
    return True


PI = int("3141592653589793238462643383279502884197169399375105820974944592307816406286")  # times 10^75
SCALE = 10**75


def nearest(n, d):
    """fp32 nearest to n / d; ties do not occur."""
    exact = Fraction(n, d)
    x = F32(float(exact))
    around = (np.nextafter(x, F32(-np.inf)), x, np.nextafter(x, F32(np.inf)))
    return min(around, key=lambda y: abs(Fraction(float(y)) - exact))


def cos_sin(angle):
    """cos and sin of an fp32 angle: Taylor series in integers of 75 digits, angle modulo pi/2."""
    fixed = Fraction(float(angle)) * SCALE
    if fixed.denominator != 1:
        fixed = Fraction(int(fixed))
    quarter, rest = divmod(int(fixed), PI // 2)
    sums, term, k = [0, 0], SCALE, 0
    while term:
        sums[k % 2] += -term if k % 4 > 1 else term
        k += 1
        term = term * rest // (SCALE * k)
    cos, sin = [(sums[0], sums[1]), (-sums[1], sums[0]), (-sums[0], -sums[1]),
                (sums[1], -sums[0])][quarter % 4]
    return nearest(cos, SCALE), nearest(sin, SCALE)


def base(theta, i):
    """fp32 nearest to theta^(i / 32): between the two candidates' 32nd powers."""
    with decimal.localcontext() as context:
        context.prec = 60
        exact = (decimal.Decimal(float(theta)).ln() * i / 32).exp()
    return nearest(*exact.as_integer_ratio())


def frequencies(call):
    yarn, factor = call.params["yarn"], call.float("factor")
    low, high = F32(call.int("low")), F32(call.int("high"))
    p = np.array([base(call.float("theta"), i) for i in range(32)], F32)
    kept = F32(1) / p
    if yarn == "none":
        return kept
    s = F32(1) - np.clip((np.arange(32, dtype=F32) - low) / (high - low), F32(0), F32(1))
    slow = kept / factor if yarn == "ref" else F32(1) / (factor * p)
    return slow * (F32(1) - s) + kept * s


def rope_table(call):
    out, frequency = call.outputs["out"], frequencies(call)
    table = np.zeros((out.shape[0], 64), "<f4")
    for r in range(len(table)):
        for i, angle in enumerate(F32(call.int("first") + r) * frequency):
            table[r, i], table[r, 32 + i] = cos_sin(angle)
    put_rows(out, bf16_bits(table).astype("<u2") if out.dtype == "bf16" else table)
    return True


def mtp_input_norm(call):
    x, eps = values(call["embeds"]), call.float("eps")
    if call.params["mask"] == "vllm":
        x = np.where(call["positions"].at(np.arange(len(x)))[:, None] == 0, F32(0), x)
    put_rows(call.outputs["e_out"], normed(x, eps, values(call["enorm"])))
    put_rows(call.outputs["h_out"], normed(values(call["hidden"]), eps, values(call["hnorm"])))
    return True


def mtp_combine(call):
    with np.errstate(over="ignore", invalid="ignore"):
        total = values(call["h"]) + values(call["e"])[:, None, :]
    put_rows(call.outputs["out"], bf16_bits(total).astype("<u2"))
    return True


def mtp_hidden_copy(call):
    hidden = call["hidden"].at(np.arange(call["hidden"].shape[0]))
    put_rows(call.outputs["buffer"], hidden.reshape(len(hidden), call.outputs["buffer"].shape[1]))
    return True


def mtp_concat_aux(call):
    taps = [call[n].at(np.arange(call[n].shape[0])) for n in ("first", "second", "third")]
    put_rows(call.outputs["out"], np.concatenate(taps, axis=1))
    return True


def mtp_embedding(call):
    ids = call["ids"].at(np.arange(call["ids"].shape[0])).astype(np.int64)
    inside = (ids >= call.int("start")) & (ids < call.int("end"))
    rows = np.zeros((len(ids),) + call.outputs["out"].shape[1:], "<u2")
    rows[inside] = call["weight"].at(ids[inside] - call.int("start"))
    put_rows(call.outputs["out"], rows)
    return True


def blocked_dot(x, w):
    """Dots over the last axis: blocks of 128, fma ascending from 0, block sums added ascending."""
    total = None
    for first in range(0, x.shape[-1], 128):
        part = np.zeros(np.broadcast_shapes(x.shape, w.shape)[:-1], F32)
        for k in range(first, min(first + 128, x.shape[-1])):
            part = fma(x[..., k], w[..., k], part)
        total = part if total is None else total + part
    return total


def mtp_markov_bias(call):
    prev = call["prev"].at(np.arange(call["prev"].shape[0])).astype(np.int64)
    if len(prev):
        bias = blocked_dot(values(call["w1"], prev)[:, None, :], values(call["w2"])[None])
        put_rows(call.outputs["out"], (values(call["base"]) + bias).astype("<f4"))
    return True


def mtp_confidence(call):
    row = np.concatenate([values(call["hidden"]), values(call["embed"])], axis=1)
    if not len(row):
        return True
    x = blocked_dot(row, values(call["weight"])[None])
    # exp is asked for arguments <= 0 alone elsewhere; here for both signs.
    power = np.array([exp_of(-v) for v in x], F32)
    put_rows(call.outputs["out"], (F32(1) / (F32(1) + power)).astype("<f4"))
    return True


def exp_of(x):
    """Correctly rounded exp of one fp32 value."""
    with decimal.localcontext() as context:
        context.prec = 60
        exact = decimal.Decimal(float(x)).exp()
    return F32(np.inf) if exact >= decimal.Decimal(2)**128 * (1 - decimal.Decimal(2)**-25) else \
        nearest(*exact.as_integer_ratio())


def mtp_argmax(call):
    logits = values(call["logits"])
    found = [max(range(len(row)), key=lambda v: (np.isnan(row[v]), 0 if np.isnan(row[v]) else row[v], -v))
             for row in logits]
    out = call.outputs["out"]
    put_rows(out, np.array(found, "<i4" if out.dtype == "i32" else "<i8"))
    return True


OPS = {f.__name__: f for f in (norm_rms, norm_q_kv, norm_q_head, rope_inverse, rope_inverse_quant,
                               rope_table, mtp_input_norm, mtp_combine, mtp_hidden_copy,
                               mtp_concat_aux, mtp_embedding, mtp_markov_bias, mtp_confidence,
                               mtp_argmax, mtp_dspark_qkv)}
