# SPDX-License-Identifier: Apache-2.0
"""The hyper-connection ops. Each takes a Call, fills its outputs and says whether it accepts the call.

Where a text leaves a choice, this is how it is read:
- a block along k is 128 elements of one part, the last one of a part may be shorter;
- the sum over splits, over four streams and of four elements of comb begins with the first term; a chain
  of fma begins with +0;
- scale times a mix is rounded before base is added; a factor of 2 is exact;
- a norm scales the bf16 row, rounds, multiplies with the weight, rounds, then rounds to bf16.
"""
import numpy as np

from .attention import exp
from .formats import F32, bf16_bits, bf16_round, bf16_value, fma, rsqrt


def tokens(call):
    return np.arange(call.int("tokens"))


def bf16(call, name):
    return bf16_value(call[name].at(tokens(call)))


def put(call, name, values):
    """Rows of fp32 values into an output of bf16 or fp32."""
    out = call.outputs[name]
    stored = bf16_bits(values).astype("<u2") if out.dtype == "bf16" else values.astype("<f4")
    out.put(tokens(call), 0, stored)


def tree(x):
    """64 strided partials of squares of each row, then halves."""
    partial = np.zeros(x.shape[:-1] + (64,), F32)
    for first in range(0, x.shape[-1], 64):
        piece = x[..., first:first + 64]
        n = piece.shape[-1]
        partial[..., :n] = fma(piece, piece, partial[..., :n])
    while partial.shape[-1] > 1:
        half = partial.shape[-1] // 2
        partial = partial[..., :half] + partial[..., half:]
    return partial[..., 0]


def in_order(terms):
    total = terms[0]
    for term in terms[1:]:
        total = total + term
    return total


def fn_of(call, name="fn"):
    fn = call[name]
    w = fn.at(np.arange(fn.shape[0])).astype(F32)
    kind = call.params.get("fn", "f32")
    if kind == "f32":
        return w
    if kind == "bf16_hi_lo":
        high = bf16_round(w)
        return high + bf16_round(w - high)
    bits = w.view(np.uint32).astype(np.uint64) + (0x1000 if kind == "tf32_half_up" else 0)
    return (bits // 0x2000 * 0x2000).astype(np.uint32).view(F32)


def dots(x, fn, splits):
    """[splits, tokens, outputs] and [splits, tokens]."""
    size = x.shape[1] // splits
    mixes, squares = [], []
    for s in range(splits):
        part, w = x[:, s * size:(s + 1) * size], fn[:, s * size:(s + 1) * size]
        sums = []
        for first in range(0, size, 128):
            acc = np.zeros((len(x), len(fn)), F32)
            for k in range(first, min(first + 128, size)):
                acc = fma(part[:, k:k + 1], w[:, k][None, :], acc)
            sums.append(acc)
        mixes.append(in_order(sums))
        squares.append(tree(part))
    return np.array(mixes, F32), np.array(squares, F32)


def sigmoid(x):
    return F32(1) / (F32(1) + exp(-x))


def weights(call, name):
    return call[name].at(np.arange(call[name].shape[0])).astype(F32)


def rms(call, squares, width):
    return rsqrt(in_order(list(squares)) / F32(width) + call.float("rms_eps"))


def mix(call, mixes, squares, width):
    """pre, post and comb of each token."""
    eps, scale, base = call.float("hc_eps"), weights(call, "scale"), weights(call, "base")
    r = rms(call, squares, width)
    scaled = in_order(list(mixes)) * r[:, None]
    logit = scaled * np.repeat(scale, (4, 4, 16)) + base
    pre, post = sigmoid(logit[:, :4]) + eps, call.float("post_factor") * sigmoid(logit[:, 4:8])
    comb = logit[:, 8:].reshape(-1, 4, 4)
    comb = exp(comb - comb.max(axis=2, keepdims=True))

    def over(axis):
        a, b, c, d = np.moveaxis(comb, axis, 0)
        return np.expand_dims(a + b + c + d, axis)

    comb = comb / over(2) + eps
    comb = comb / (over(1) + eps)
    for _ in range(call.int("iterations") - 1):
        comb = comb / (over(2) + eps)
        comb = comb / (over(1) + eps)
    return pre, post, comb


def collapse(pre, streams):
    total = np.zeros_like(streams[:, 0])
    for j in range(4):
        total = fma(pre[:, j:j + 1], streams[:, j], total)
    return total


def posted(call):
    """The new residual in fp32."""
    x, old = bf16(call, "x"), bf16(call, "residual")
    post, comb = (call[name].at(tokens(call)) for name in ("post_in", "comb_in")) \
        if "post_in" in call.inputs else (call[name].at(tokens(call)) for name in ("post", "comb"))
    new = post.reshape(-1, 4, 1) * x[:, None, :]
    for j in range(4):
        new = fma(comb[:, j, :, None], old[:, j:j + 1, :], new)
    return new


def finish(call, row):
    """The norm, if there is one."""
    norm = call.params["norm"]
    value = bf16_round(row)
    if norm == "none":
        return value
    r = rsqrt(tree(row if norm == "unrounded" else value) / F32(row.shape[1]) + call.float("norm_eps"))
    return value * r[:, None] * bf16_value(call["weight"].at(np.arange(row.shape[1])))


def mhc_expand(call):
    rows = call["embed"].at(tokens(call))
    call.outputs["residual"].put(tokens(call), 0, np.repeat(rows[:, None], 4, axis=1).astype("<u2"))
    return True


def mhc_fn_broadcast(call):
    rows = np.arange(call["fn"].shape[0])
    fn = call["fn"].at(rows).astype(F32).reshape(len(rows), 4, -1)
    call.outputs["fn_bc"].put(rows, 0, (((fn[:, 0] + fn[:, 1]) + fn[:, 2]) + fn[:, 3]).astype("<f4"))
    return True


def put_raw(call, name, values):
    """[splits, tokens, ...] into [splits, rows, ...]."""
    out, n = call.outputs[name], len(tokens(call))
    row = int(np.prod(out.shape[2:], dtype=int)) * 4
    for s in range(len(values)):
        out.put(np.full(n, s), np.arange(n) * row, values[s].reshape(n, -1).astype("<f4"))


def mhc_prenorm_gemm(call):
    if call.int("tokens"):
        streams = bf16(call, "residual")
        mixes, squares = dots(streams.reshape(len(streams), -1), fn_of(call), call.int("splits"))
        put_raw(call, "mixes_raw", mixes)
        put_raw(call, "sqrsum", squares)
    return True


def raw(call):
    split = np.arange(call["mixes_raw"].shape[0])[:, None]
    return call["mixes_raw"].at(split, tokens(call)[None, :]), \
        call["sqrsum"].at(split, tokens(call)[None, :])


def mhc_split_sinkhorn(call):
    if call.int("tokens"):
        for name, values in zip(("pre", "post", "comb"), mix(call, *raw(call), 4 * call.int("hidden"))):
            put(call, name, values)
    return True


def mhc_collapse(call):
    streams, pre = bf16(call, "residual"), call["pre"].at(tokens(call))
    if call.params["sum"] == "fma":
        put(call, "layer_input", collapse(pre, streams))
    else:
        put(call, "layer_input", in_order([pre[:, j:j + 1] * streams[:, j] for j in range(4)]))
    return True


def mhc_post(call):
    put(call, "out", posted(call))
    return True


def apply(call, mixes, squares, width, streams):
    pre, post, comb = mix(call, mixes, squares, width)
    put(call, "post", post)
    put(call, "comb", comb)
    put(call, "layer_input", finish(call, collapse(pre, streams)))


def mhc_pre(call):
    """The chain of mhc_split_sinkhorn, mhc_collapse and the norm."""
    if call.int("tokens"):
        apply(call, *raw(call), 4 * call.int("hidden"), bf16(call, "residual"))
    return True


def mhc_fused_post_pre(call):
    """The chain of mhc_post, mhc_prenorm_gemm and mhc_pre."""
    if call.int("tokens"):
        new = posted(call)
        stored = bf16_round(new)
        seen = stored if call.params["residual"] == "bf16" else new
        mixes, squares = dots(seen.reshape(len(seen), -1), fn_of(call), call.int("splits"))
        put(call, "residual_out", stored)
        apply(call, mixes, squares, 4 * call.int("hidden"), stored)
    return True


def mhc_pre_broadcast(call):
    """The dots over one stream; the sums of four equal streams are in fn_bc."""
    if call.int("tokens"):
        x = bf16(call, "embed")
        streams = np.repeat(x[:, None], 4, axis=1)
        mixes, squares = dots(x, fn_of(call, "fn_bc"), call.int("splits"))
        put(call, "residual", streams)
        apply(call, mixes, squares, call.int("hidden"), streams)
    return True


def mhc_head(call):
    """The dots scaled afterwards, or of rows that were scaled and rounded."""
    if call.int("tokens"):
        streams = bf16(call, "residual")
        x, fn = streams.reshape(len(streams), -1), fn_of(call)
        r = rms(call, [tree(x)], x.shape[1])[:, None]
        if call.params["rounding"] == "scale_after":
            scaled = dots(x, fn, 1)[0][0] * r
        else:
            scaled = dots(bf16_round(x * r), fn, 1)[0][0]
        pre = sigmoid(scaled * weights(call, "scale") + weights(call, "base")) + call.float("hc_eps")
        put(call, "y", collapse(pre, streams))
    return True


OPS = {f.__name__: f for f in (mhc_expand, mhc_fn_broadcast, mhc_prenorm_gemm, mhc_split_sinkhorn, mhc_collapse, mhc_post,
                               mhc_pre, mhc_fused_post_pre, mhc_pre_broadcast, mhc_head)}
