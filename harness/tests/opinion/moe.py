# SPDX-License-Identifier: Apache-2.0
"""The MoE ops. Each takes a Call, fills its outputs and says whether it accepts the call.

Where a text leaves a choice, this is how it is read:
- exp, exp2, log, log2, log1p of routing and SwiGLU are rounded correctly; sqrt and quotients are numpy's, which are;
- rows of padding still have their source rows;
- a score of NaN never arises: a NaN logit scores 0 before anything is compared.
"""
import decimal

import numpy as np

from .formats import F32, LARGEST, bf16_bits, bf16_round, bf16_value, e4m3_encode, scale_byte


# ---- correctly rounded functions of any argument ----

def _settle(x, estimate, exact):
    """fp32 of float64 estimates; where 64 units in their last place could change it, 50 digits decide."""
    slack = 64 * np.spacing(np.abs(estimate))
    low, high = (estimate - slack).astype(F32), (estimate + slack).astype(F32)
    result = estimate.astype(F32)
    with decimal.localcontext() as context:
        context.prec = 60
        for i in zip(*np.nonzero(low != high)):
            value = exact(decimal.Decimal(float(x[i])))
            a, b = low[i], high[i]
            middle = (decimal.Decimal(float(a)) + decimal.Decimal(float(b))) / 2
            if np.isfinite(b):
                result[i] = b if value > middle else a
    return result


def exp_of(x):
    x = np.asarray(x, F32)
    estimate = np.exp(np.clip(x, -104, 89).astype(np.float64))
    result = _settle(x, estimate, lambda v: v.exp())
    return np.where(x > 89, F32(np.inf), np.where(x < -104, F32(0), result)).astype(F32)


LN_2 = decimal.Decimal(2).ln(decimal.Context(prec=60))


def exp2_of(x):
    x = np.asarray(x, F32)
    estimate = np.exp2(np.clip(x, -152, 130).astype(np.float64))
    with np.errstate(over="ignore"):
        return _settle(x, estimate, lambda v: (v * LN_2).exp())


def log2_of(x):
    x = np.asarray(x, F32)
    usual = np.isfinite(x) & (np.frexp(x)[0] != 0.5)
    value = np.where(usual, x, F32(3))
    result = _settle(value, np.log2(value.astype(np.float64)), lambda v: v.ln() / LN_2)
    return np.where(usual, result, np.log2(np.where(np.isfinite(x), x, F32(np.inf)))).astype(F32)


def log_of(x):
    x = np.asarray(x, F32)
    usual = np.isfinite(x) & (x != 1)
    value = np.where(usual, x, F32(2))
    result = _settle(value, np.log(value.astype(np.float64)), lambda v: v.ln())
    return np.where(usual, result, np.where(x == 1, F32(0), x)).astype(F32)


def log1p_of(x):
    x = np.asarray(x, F32)
    usual = np.isfinite(x) & (x > F32(2.0 ** -20))
    value = np.where(usual, x, F32(1))
    result = _settle(value, np.log1p(value.astype(np.float64)), lambda v: (1 + v).ln())
    # x - x^2 / 2 for small x, whose next term is far below; of tiny x nothing but x is left.
    small = np.where(usual, F32(0), x).astype(np.float64)
    small = (small - small * small / 2).astype(F32)
    return np.where(usual, result, np.where(np.isfinite(x), small, x)).astype(F32)


# ---- routing ----

def scores_of(call, logits):
    form = call.params["softplus"]
    x = np.where(np.isnan(logits), F32(0), logits)
    if form == "max_form":
        y = np.maximum(x, F32(0)) + log_of(F32(1) + exp_of(-np.abs(x)))
    elif form == "base_two":
        log2_e, ln_2 = F32(1.4426950408889634), F32(0.6931471805599453)
        y = np.where(x > 20, x, log2_of(F32(1) + exp2_of(x * log2_e)) * ln_2)
    else:
        e = exp_of(x)
        y = log_of(F32(1) + e) if form == "log_one_plus" else log1p_of(e)
        if form != "no_threshold":
            y = np.where(x > 20, x, y)
    return np.where(np.isnan(logits), F32(0), np.sqrt(y)).astype(F32)


def put_routes(call, ids, weights):
    """ids [tokens, topk] and their scores; normalises and stores, padding included."""
    tokens, topk = ids.shape
    shared = call.int("shared")
    total = np.full(tokens, 1e-20 if call.params["denominator"] == "start" else 0, F32)
    for k in range(topk):
        total = total + weights[:, k]
    if call.params["denominator"] == "one_if_zero":
        total = np.where(total > 0, total, F32(1))
    if call.params["denominator"] == "floor":
        total = np.maximum(total, F32(1e-20))
    total, factor = total[:, None], call.float("factor")
    if call.params["order"] == "divide_first":
        made = weights / total * factor
    elif call.params["order"] == "factor_first":
        made = weights * (factor / total)
    else:
        made = weights * factor / total
    made = np.where(np.isnan(made), F32(np.nan), made).astype(F32)
    padded = padding_of(call, tokens)
    rows = np.arange(tokens)
    experts = call["logits"].shape[1]
    made = np.concatenate([made, np.ones((tokens, shared), F32)], axis=1)
    ids = np.concatenate([ids, np.tile(np.arange(experts, experts + shared), (tokens, 1))], axis=1)
    made[padded], ids = 0, np.where(padded[:, None], -1, ids)
    call.outputs["weights"].put(rows, 0, made.astype("<f4"))
    call.outputs["ids"].put(rows, 0, ids.astype("<i8" if call.outputs["ids"].item == 8 else "<i4"))
    if "source_rows" in call.outputs:
        source = np.arange(topk + shared)[None] * tokens + rows[:, None]
        call.outputs["source_rows"].put(rows, 0, source.astype("<i4"))
    return True


def padding_of(call, tokens):
    if call.get("is_padding") is None:
        return np.zeros(tokens, bool)
    return call["is_padding"].at(np.arange(tokens)) != 0


def moe_topk(call):
    tokens = call["logits"].shape[0]
    topk = call.outputs["ids"].shape[1] - call.int("shared")
    live = np.nonzero(~padding_of(call, tokens))[0]
    ids, weights = np.zeros((tokens, topk), np.int64), np.zeros((tokens, topk), F32)
    if len(live):
        score = scores_of(call, call["logits"].at(live))
        bias = call["bias"].at(np.arange(score.shape[1]))
        biased = score + bias
        ids[live] = np.argsort(-biased.astype(np.float64), axis=1, kind="stable")[:, :topk]
        weights[live] = np.take_along_axis(score, ids[live], 1)
        if call.params["weight"] == "recovered":
            weights[live] = np.take_along_axis(biased, ids[live], 1) - bias[ids[live]]
    return put_routes(call, ids, weights)


def moe_hash_topk(call):
    tokens = call["logits"].shape[0]
    topk = call.outputs["ids"].shape[1] - call.int("shared")
    live = np.nonzero(~padding_of(call, tokens))[0]
    ids, weights = np.zeros((tokens, topk), np.int64), np.zeros((tokens, topk), F32)
    if len(live):
        ids[live] = call["tid2eid"].at(call["token_ids"].at(live).astype(np.int64))
        weights[live] = scores_of(call, call["logits"].at(live[:, None], ids[live]))
    return put_routes(call, ids, weights)


# ---- SwiGLU ----

def activated(call, silu_rounded, limit_rounded, weighted):
    """The rows in use, and their products in fp32."""
    rows = call["gate_up"].shape[0]
    if call.get("n_rows") is not None:
        rows = min(rows, int(call["n_rows"].at(0)))
    rows = np.arange(rows)
    x = bf16_value(call["gate_up"].at(rows))
    gate, up = np.split(x, 2, axis=1)
    limit = call.float("limit")
    if limit_rounded:
        limit = bf16_round(limit)
    if limit > 0:
        gate, up = np.minimum(gate, limit), np.clip(up, -limit, limit)
    gate = gate / (F32(1) + exp_of(-gate))
    if silu_rounded:
        gate = bf16_round(gate)
    y = gate * up
    if weighted and call.get("weights") is not None:
        y = y * call["weights"].at(rows)[:, None]
    return rows, y


def moe_swiglu(call):
    two = call.params["recipe"] == "two_rounding"
    rows, y = activated(call, two, two, not two)
    call.outputs["y"].put(rows, 0, bf16_bits(y).astype("<u2"))
    return True


def put_groups(call, rows, y, group, least, quotient, wide):
    if not y.size:
        return True
    fp8 = call.params["fp8"]
    most = F32(LARGEST[fp8])
    groups = y.reshape(len(y), -1, group)
    amax = np.maximum(np.abs(groups).max(axis=2), F32(least))
    raw = amax / most if quotient else amax * (F32(1) / most)
    # The rule is one of bits: a subnormal is rounded up to the least normal, a zero stays.
    byte = np.where(raw == 0, 0, np.where(raw < np.ldexp(1.0, -126), 1, scale_byte(raw)))
    code = e4m3_encode(np.clip(np.ldexp(groups.astype(np.float64), 127 - byte[..., None]), -most, most), fp8)
    call.outputs["codes"].put(rows, 0, code.reshape(y.shape))
    scales = np.ldexp(F32(1), byte - 127).astype("<f4") if wide else byte.astype(np.uint8)
    call.outputs["scales"].put(rows, 0, scales)
    return True


def put_free_groups(call, rows, y):
    limit = F32(LARGEST[call.params["fp8"]])
    parts = y.reshape(len(rows), -1, 128).astype(F32)
    scale = np.maximum(np.abs(parts).max(axis=2), F32(1e-10)) / limit
    code = e4m3_encode(np.clip(parts * (F32(1) / scale)[..., None], -limit, limit), call.params["fp8"])
    call.outputs["codes"].put(rows, 0, code.reshape(len(rows), -1))
    call.outputs["scales"].put(rows, 0, scale.astype("<f4"))
    return True


def moe_swiglu_quant(call):
    recipe = call.params["recipe"]
    rows, y = activated(call, recipe == "dspark", recipe in ("mega", "dspark"), recipe != "dspark")
    if recipe in ("ref", "dspark"):
        y = bf16_round(y)
    if recipe == "aiter_f32":
        return put_free_groups(call, rows, y)
    least = {"ref": 1e-4, "dspark": 1e-10}.get(recipe, 0)
    return put_groups(call, rows, y, 32 if recipe in ("mega", "aiter") else 128, least, recipe == "aiter",
                      recipe == "dspark")


# ---- before and after the experts ----

def moe_prepare(call):
    tokens, hidden = call["x"].shape
    topk, block = call["topk_ids"].shape[1], call.int("shared_block_m")
    if not tokens:
        return True
    rows = np.arange(tokens)
    x = bf16_value(call["x"].at(rows)).reshape(tokens, hidden // 32, 32)
    byte = scale_byte(np.maximum(np.abs(x).max(axis=2), F32(1e-4)) / F32(448))
    code = e4m3_encode(np.ldexp(x.astype(np.float64), 127 - byte[..., None]), "ocp")
    call.outputs["codes"].put(rows, 0, code.reshape(tokens, hidden))
    packed = byte.astype(np.uint8).reshape(tokens, -1)
    call.outputs["scales"].put(rows, 0, packed)
    if block:
        m, span = rows % block, -(-block // 128) * 128
        at = rows // block * span + m // 128 * 128 + m % 32 * 4 + m % 128 // 32
        for c in range(hidden // 128):
            call.outputs["shared_scales"].put(c, 4 * at, packed[:, 4 * c:4 * c + 4])
    padded = padding_of(call, tokens)[:, None]
    ids = np.where(padded, -1, call["topk_ids"].at(rows).astype(np.int64)).reshape(tokens, topk)
    call.outputs["ids"].put(rows, 0, ids.astype("<i8"))
    weights = np.where(padded, F32(0), call["topk_weights"].at(rows))
    call.outputs["weights"].put(rows, 0, weights.astype("<f4"))
    return True


def moe_combine(call):
    order = call.params["order"]
    for t in range(call["x"].shape[0]):
        ids = [int(i) for i in call["ids"].at(t)]
        slots = [k for k, i in enumerate(ids) if i >= 0]
        if order == "expert_ascending":
            slots.sort(key=lambda k: (ids[k], k))
        total = np.zeros(call["x"].shape[2], F32)
        for k in slots:
            row = bf16_value(call["x"].at(t, k))
            total = total + (row * call["weights"].at(t, k) if order == "weighted" else row)
        if call.get("shared") is not None:
            if order != "expert_ascending":
                total = bf16_round(total)
            total = total + bf16_value(call["shared"].at(t))
        call.outputs["y"].put(t, 0, bf16_bits(total).astype("<u2").reshape(1, -1))
    return True


OPS = {f.__name__: f for f in (moe_topk, moe_hash_topk, moe_swiglu, moe_swiglu_quant, moe_prepare,
                               moe_combine)}
