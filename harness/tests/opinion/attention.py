# SPDX-License-Identifier: Apache-2.0
"""The attention ops. Each takes a Call, fills its outputs and says whether it accepts the call.

Scores, weights and sums of a token: blocks of 128 channels, and of 128 positions of one cache's list; a chain of fma
from +0 in each, block sums added from +0. Weights are rounded to bf16 for the values, not for the denominator.

Where a text leaves a choice, this is how it is read:
- a dropped entry keeps its position, so that blocks do not move;
- a maximum of -0 is +0;
- a split's blocks begin at its first position, and its maximum is its own.
"""
import decimal

import numpy as np

from . import pages
from .formats import F32, LARGEST, _settled, bf16_bits, bf16_round, bf16_value, e4m3_decode, e4m3_encode, fma
from .vector import Fault

NOPE, HEAD, BLOCK = 448, 512, 128
LOG2E = F32(1.44269504)
INF = F32(np.inf)


# ---- functions ----

def _above(function):
    def ask(x, middle):
        with decimal.localcontext() as context:
            context.prec = 50
            return function(decimal.Decimal(float(x))) > \
                decimal.Decimal(middle.numerator) / decimal.Decimal(middle.denominator)
    return ask


def _rounded(x, estimate, ask, low, high, at_low, at_high):
    """Correctly rounded function of fp32 values between `low` and `high`, and its limits beyond."""
    x = np.atleast_1d(np.asarray(x, F32))
    if np.any(np.isnan(x)):
        raise ArithmeticError("a function is asked for a NaN")
    inside = (x > low) & (x < high)
    y = _settled(x, estimate(np.where(inside, x, 1).astype(np.float64)), ask)
    return np.where(inside, y, np.where(x <= low, F32(at_low), F32(at_high)))


def exp(x):
    return _rounded(x, np.exp, _above(lambda d: d.exp()), -110, 89, 0, np.inf)


def exp2(x):
    return _rounded(x, np.exp2, _above(lambda d: decimal.Decimal(2) ** d), -160, 128, 0, np.inf)


def log(x):
    return _rounded(x, np.log, _above(lambda d: d.ln()), 0, np.inf, -np.inf, np.inf)


# ---- lists and rows ----

def entries_of(call, prefix, token):
    indptr, indices, lens = (call.get(prefix + name) for name in ("indptr", "indices", "lens"))
    if indptr is not None:
        return indices.at(np.arange(int(indptr.at(token)), int(indptr.at(token + 1))))
    n = indices.shape[1] if lens is None else min(max(int(lens.at(token)), 0), indices.shape[1])
    return indices.at(token, np.arange(n))


def paged_rows(call, prefix):
    """A function from entries to whether they name a row, and the rows."""
    cache = call[prefix + "cache"]
    fp8, layout = call.params[prefix + "fp8"], call.params[prefix + "layout"]
    block_size = call.int(prefix + "block_size")
    pages.check_page(cache, layout, block_size)
    if fp8 not in LARGEST:
        raise Fault(f"'{fp8}' is no FP8 format known here")

    def read(entries):
        valid = (entries >= 0) & (entries < cache.shape[0] * block_size)
        page, j = pages.split(entries[valid], block_size)
        data, scale = pages.main_offsets(layout, block_size, j)
        page, data, scale = page[:, None], data[:, None], scale[:, None]
        code = cache.at(page, data + np.arange(NOPE))
        byte = cache.at(page, scale + np.arange(7)).astype(np.int64)
        rope = np.ascontiguousarray(cache.at(page, data + NOPE + np.arange(128))).view("<u2")
        nope = bf16_round(np.ldexp(e4m3_decode(code, fp8), np.repeat(byte, 64, axis=1) - 127))
        rows = np.concatenate([nope, bf16_value(rope)], axis=1)
        return valid, np.where(np.isnan(rows), F32(0), rows) if call.int("scrub") else rows
    return read


def plain_rows(call):
    def read(entries):
        kv = call["kv"]
        valid = (entries >= 0) & (entries < kv.shape[0])
        return valid, bf16_value(kv.at(entries[valid]))
    return read


class Keys:
    """The rows of several lists side by side: valid [lists, positions] and k [lists, positions, 512]."""

    def __init__(self, lists):
        """`lists`: of each list its parts, and of each part (reader, entries)."""
        length = [[-(-len(entries) // BLOCK) * BLOCK for _, entries in parts] for parts in lists]
        n = max([sum(part) for part in length] + [0])
        self.valid = np.zeros((len(lists), n), bool)
        self.k = np.zeros((len(lists), n, HEAD), F32)
        for i, parts in enumerate(lists):
            at = 0
            for (read, entries), taken in zip(parts, length[i]):
                valid, rows = read(entries)
                position = at + np.nonzero(valid)[0]
                self.valid[i, position] = True
                self.k[i, position] = rows
                at += taken
        self.blocks = [[i for i in range(first, first + BLOCK) if self.valid[:, i].any()]
                       for first in range(0, n, BLOCK)]


def attend(q, keys, scale):
    """m, l [lists, heads] and acc [lists, heads, 512]."""
    used = np.array([i for block in keys.blocks for i in block], np.int64)
    k, valid = keys.k[:, used], keys.valid[:, None, used]
    dot = np.zeros(q.shape[:2] + (len(used),), F32)
    for first in range(0, HEAD, BLOCK):
        chain = np.zeros_like(dot)
        for d in range(first, first + BLOCK):
            chain = fma(q[:, :, None, d], k[:, None, :, d], chain)
        dot = dot + chain
    s = np.where(valid, dot * scale, -INF)
    m = s.max(axis=2, initial=-np.inf) + F32(0)
    shift = np.where(np.isinf(m), F32(0), m)[:, :, None]
    p = np.where(valid, exp(np.where(valid, s - shift, -INF).ravel()).reshape(s.shape), F32(0))
    l, acc = np.zeros(m.shape, F32), np.zeros(m.shape + (HEAD,), F32)
    at = 0
    for block in keys.blocks:
        total, chain = np.zeros_like(l), np.zeros_like(acc)
        for i in range(at, at + len(block)):
            total = total + p[:, :, i]
            chain = fma(bf16_round(p[:, :, i])[:, :, None], k[:, None, i], chain)
        l, acc, at = l + total, acc + chain, at + len(block)
    return m, l, acc


def query(call, tokens):
    return bf16_value(call["q"].at(tokens))[:, :call.int("heads")]


def sinks(call, heads):
    sink = call.get("sink")
    return np.full(heads, -INF) if sink is None else sink.at(np.arange(heads))


# ---- the ops ----

def finish(call, m, l, acc):
    """Writes o and lse, and max_logits where it is wanted."""
    sink = np.broadcast_to(sinks(call, m.shape[1]), m.shape)
    lonely = np.isneginf(m)
    none = lonely | np.isposinf(sink)
    safe_m, safe_l = np.where(lonely, F32(0), m), np.where(lonely, F32(1), l)
    most = np.where(none, F32(0), np.maximum(safe_m, sink))
    a = exp(np.where(none, F32(0), safe_m - most).ravel()).reshape(m.shape)
    rest = exp(np.where(none, F32(0), sink - most).ravel()).reshape(m.shape)
    den = safe_l * a + rest
    o = np.where(none[:, :, None], F32(0), acc * a[:, :, None] / den[:, :, None])
    if call.params.get("lse_form") == "log2_sink":
        top = np.maximum(m, sink)
        total = np.where(lonely, F32(0), safe_l * a) + rest
        known = np.isfinite(top)
        lse = np.where(known, (np.where(known, top, F32(0)) +
                               log(np.where(known, total, F32(1)).ravel()).reshape(m.shape)) * LOG2E, top)
    else:
        lse = np.where(lonely, INF, safe_m + log(safe_l.ravel()).reshape(m.shape))
    tokens = np.arange(len(m))
    call.outputs["o"].put(tokens, 0, bf16_bits(o).astype("<u2"))
    call.outputs["lse"].put(tokens, 0, lse.astype("<f4"))
    if "max_logits" in call.outputs:
        call.outputs["max_logits"].put(tokens, 0, m.astype("<f4"))


def attend_tokens(call, sources):
    tokens = np.arange(call["q"].shape[0])
    keys = Keys([[(read, entries_of(call, prefix, t)) for prefix, read in sources] for t in tokens])
    if len(tokens):
        finish(call, *attend(query(call, tokens), keys, call.float("scale")))


def caches(call):
    return [(prefix, paged_rows(call, prefix)) for prefix in ("", "extra_")
            if call.get(prefix + "cache") is not None]


def attn_sparse_decode(call):
    attend_tokens(call, caches(call))
    return True


def attn_sparse_prefill(call):
    attend_tokens(call, [("", plain_rows(call))] if call.get("kv") is not None else [])
    return True


def attn_decode_partial(call):
    tokens, n = np.arange(call["q"].shape[0]), call["splits"].shape[1] - 1
    lists = []
    for t in tokens:
        for i in range(n):
            parts = []
            for prefix, read in caches(call):
                begin, end = (int(call[prefix + "splits"].at(t, i + j)) for j in (0, 1))
                parts.append((read, entries_of(call, prefix, t)[begin:end]))
            lists.append(parts)
    m, l, acc = attend(query(call, np.repeat(tokens, n)), Keys(lists), call.float("scale"))
    padded = call.outputs["part_acc"].shape[2]
    row, part = np.repeat(tokens, n), np.tile(np.arange(n), len(tokens)) * padded * 4
    lonely = np.isneginf(m)
    if call.params["parts"] == "lse_log2":
        safe = np.where(lonely, F32(1), l)
        lse = (np.where(lonely, F32(0), m) + log(safe.ravel()).reshape(m.shape)) * LOG2E
        acc = acc / safe[:, :, None]
        call.outputs["part_lse"].put(row, part, np.where(lonely, -INF, lse).astype("<f4"))
    else:
        call.outputs["part_m"].put(row, part, np.where(lonely, -np.finfo(F32).max, m).astype("<f4"))
        call.outputs["part_l"].put(row, part, l.astype("<f4"))
    for i, h in np.argwhere(~(lonely & (call.params["empty"] == "untouched"))):
        call.outputs["part_acc"].put(row[i:i + 1], (part[i] + 4 * h) * HEAD, acc[i:i + 1, h].astype("<f4"))
    return True


def combine_ml(m, l, part, sink):
    top = m.max()
    most = max(top, sink)
    w, v = exp(m - most), exp(m - top)
    total, alone, acc = F32(0), F32(0), np.zeros(HEAD, F32)
    for i in range(len(m)):
        total, alone = fma(w[i], l[i], total), fma(v[i], l[i], alone)
        acc = fma(w[i], part[i], acc)
    den = total + exp(sink - most)[0]
    return acc / den, top + log(alone)[0]


def combine_lse(lse, part, sink, base_2):
    power = exp2 if base_2 else exp
    logarithm = (lambda x: log(x)[0] * LOG2E) if base_2 else (lambda x: log(x)[0])
    top, total = lse.max(), F32(0)
    for x in power(lse - top):
        total = total + x
    g = logarithm(total) + top
    sink = sink * LOG2E if base_2 else sink
    with_sink = g + logarithm(F32(1) + power(sink - g)[0])
    acc = np.zeros(HEAD, F32)
    for i, w in enumerate(power(lse - with_sink)):
        acc = fma(w, part[i], acc)
    return acc, g / LOG2E if base_2 else g


def put_output(call, t, h, o):
    """o as it is; or its last 64 channels turned back in fp32, and perhaps all of them quantised in groups of 32."""
    if call.params["epilogue"] != "none":
        angle = call["rope_table"].at([int(call["positions"].at(t))])[0]
        even, odd, cos, sin = o[NOPE::2].copy(), o[NOPE + 1::2].copy(), angle[:32], angle[32:]
        o = o.copy()
        o[NOPE::2], o[NOPE + 1::2] = even * cos + odd * sin, odd * cos - even * sin
    if call.params["epilogue"] != "mxfp8":
        call.outputs["o"].put([t], h * HEAD * 2, bf16_bits(o).astype("<u2")[None])
        return
    groups = o.reshape(16, 32)
    fraction, e = np.frexp((np.maximum(np.abs(groups).max(axis=1), F32(2.0**-126)) / F32(448)).astype(np.float64))
    e = np.clip(e - (fraction == 0.5), -127, 127)
    codes = e4m3_encode(np.clip(np.ldexp(groups.astype(np.float64), -e[:, None]), -448, 448), "ocp")
    call.outputs["codes"].put([t], h * HEAD, codes.reshape(1, HEAD))
    call.outputs["scales"].put([t], h * 16, (e + 127).astype(np.uint8)[None])


def attn_combine(call):
    form, heads = call.params["form"], call.int("heads")
    marks = call["part_m" if form == "ml" else "part_lse"]
    sink = sinks(call, heads)
    for t in range(marks.shape[0]):
        n = marks.shape[1]
        if call.get("counts") is not None:
            n = min(max(int(call["counts"].at(t)), 0), n)
        if n == 1 and form != "ml":
            continue
        for h in range(heads):
            mark = marks.at(t, np.arange(n), h)
            used = np.nonzero(mark != (-np.finfo(F32).max if form == "ml" else -INF))[0]
            o, lse = np.zeros(HEAD, F32), INF
            if len(used):
                part = call["part_o"].at(t, used, h)
                if form == "ml":
                    o, lse = combine_ml(mark[used], call["part_l"].at(t, used, h), part, sink[h]) \
                        if sink[h] < INF else \
                        (o, combine_ml(mark[used], call["part_l"].at(t, used, h), part, -INF)[1])
                else:
                    base_2 = form == "lse_log2"
                    o, lse = combine_lse(mark[used], part, sink[h], base_2) if sink[h] < INF else \
                        (o, combine_lse(mark[used], part, -INF, base_2)[1])
            put_output(call, t, h, o)
            call.outputs["lse"].put([t], h * 4, np.array([[lse]], "<f4"))
    return True


def attn_sched_metadata(call):
    out, overhead = call.outputs["metadata"], call.int("overhead")
    requests, parts = call.outputs["num_splits"].shape[0] - 1, out.shape[0]

    def lengths(name, width):
        lens = call.get(name)
        return np.full(requests, call.int(width)) if lens is None else \
            lens.at(np.arange(requests)).astype(np.int64)
    keys = np.maximum(lengths("lens", "width"), 1)
    if call.int("extra_width") > 0:
        keys = -(-keys // 64) * 64 + lengths("extra_lens", "extra_width")
    blocks = [-(-int(n) // 64) for n in keys]
    payload = -(-sum(b + overhead for b in blocks) // parts) + overhead
    rows, splits = [], [0]
    request = block = split = 0
    for _ in range(parts):
        start, left = (request, block, split), payload
        while request < requests:
            rest = blocks[request] - block
            if left < rest + overhead:
                if left > overhead:
                    block, split = block + left - overhead, split + 1
                break
            left -= rest + overhead
            splits.append(splits[-1] + split + 1)
            request, block, split = request + 1, 0, 0
        last, end = (request, block) if block else (request - 1, blocks[request - 1])
        flags = [int(start[1] != 0), int(end != blocks[last])]
        if start[0] == last:
            flags = 2 * [max(flags)]
        rows.append([start[0], last, start[1], end, start[2]] + flags + [0])
    out.put(np.arange(parts), 0, np.array(rows, "<i4"))
    call.outputs["num_splits"].put(np.arange(requests + 1), 0, np.array(splits, "<i4")[:, None])
    return True


OPS = {f.__name__: f for f in (attn_sparse_decode, attn_decode_partial, attn_combine,
                               attn_sched_metadata, attn_sparse_prefill)}
