# SPDX-License-Identifier: Apache-2.0
"""Fifteen ops in torch, bit for bit: copies, gathers, index arithmetic, and number formats by their
bits, because torch rounds NaN and FP8 differently from release to release."""
import torch
from dsv4cts import Refused, plugin, port

plugin(name="torch-ports", version="1.0")

arange = torch.arange


# ---- number formats ----

def bf16(x):
    """fp32 to bf16, to nearest even; NaN is 0x7FC0."""
    return x.to(torch.bfloat16).view(torch.int16).masked_fill(torch.isnan(x), 0x7FC0).view(torch.bfloat16)


def power_of_two(byte, shifted=False):
    """2^(byte - 127) as float64; byte 255 is NaN. `shifted`: of a byte in fp32's exponent field."""
    value = ((byte.long() + 1023 - 127) << 52).view(torch.float64)
    if shifted:
        return value.masked_fill(byte == 0, 0.0).masked_fill(byte == 255, float("inf"))
    return value.masked_fill(byte == 255, float("nan"))


def e4m3_table(fp8):
    """The 256 values as float64."""
    bias, nan = (7, (0x7F, 0xFF)) if fp8 == "ocp" else (8, (0x80,))
    code = arange(256)
    exponent, mantissa = (code >> 3 & 15).double(), (code & 7).double() / 8
    value = torch.where(exponent == 0, mantissa * 2.0**(1 - bias), (1 + mantissa) * torch.exp2(exponent - bias).round(decimals=9))
    value = torch.where(code >= 128, -value, value)
    value[list(nan)] = float("nan")
    return value


def e4m3_encode(x):
    """OCP codes of fp32 values within +-448, nearest, ties to even."""
    bits = x.view(torch.int32)
    magnitude = bits & 0x7FFFFFFF
    normal = ((magnitude + 0x7FFFF + (magnitude >> 20 & 1)) >> 20) - (120 << 3)
    code = torch.where(magnitude >= 121 << 23, normal, torch.round(x.abs() * 512).int())
    return (code | (bits >> 24 & 0x80)).to(torch.uint8)


def u8(t):
    """The codes, whether torch knows their dtype or not."""
    return t if t.dtype == torch.uint8 else t.view(torch.uint8)


# ---- copies ----

@port("mtp_concat_aux")
def mtp_concat_aux(first, second, third, out):
    out.copy_(torch.cat([first, second, third], dim=1))


@port("mtp_hidden_copy")
def mtp_hidden_copy(hidden, buffer):
    buffer[:hidden.shape[0]] = hidden.flatten(1)


@port("mhc_expand")
def mhc_expand(embed, residual, tokens):
    residual[:tokens] = embed[:tokens, None]


@port("graph_copy_ragged")
def graph_copy_ragged(source, indptr, buffer, indptr_buffer, per_row):
    room = max((indptr.shape[0] - 1) * per_row, 1)
    if source.shape[0] > room or room > buffer.shape[0]:
        raise Refused(f"{source.shape[0]} entries, room for {room}, a buffer of {buffer.shape[0]}")
    buffer[:source.shape[0]] = source
    indptr_buffer[:indptr.shape[0]] = indptr


@port("mtp_embedding")
def mtp_embedding(ids, weight, out, start, end):
    inside = (ids >= start) & (ids < end)
    rows = weight[(ids.long() - start).clamp(0, end - start - 1)]
    out.copy_(torch.where(inside[:, None], rows, torch.zeros_like(rows)))


# ---- index arithmetic ----

def slots(block_table, request, row, block_size):
    page = block_table[request, row // block_size].long()
    return page * block_size + row % block_size


@port("idx_swa")
def idx_swa(query_start_loc, seq_lens, token_to_req, is_valid, block_table, lens, indices, block_size, window, token_offset):
    rows = indices.shape[0]
    if rows + token_offset > is_valid.shape[0] or rows > lens.shape[0]:
        raise Refused(f"{rows} rows from token {token_offset} on")
    valid = torch.nonzero(is_valid[token_offset:token_offset + rows])[:, 0]
    token = valid + token_offset
    request = token_to_req[token].long()
    start, end = query_start_loc[request].long(), query_start_loc[request + 1]
    position = seq_lens[request] - (end - start) + token - start
    first = (position - window + 1).clamp(min=0)
    n = (position - first + 1).clamp(min=0)
    column = arange(window)
    live = column < n[:, None]
    row = torch.where(live, first[:, None] + column, torch.zeros((), dtype=torch.int64))
    indices[valid] = torch.where(live, slots(block_table, request[:, None], row, block_size), -1).int()
    if rows > 0:
        lens[:] = 0
        lens[valid] = n.int()


@port("idx_global_topk", dialects=["trust", "check"])
def idx_global_topk(local, token_to_req, is_valid, block_table, indices, lens, block_size, bounds):
    good = local >= 0
    if bounds == "check":
        good &= local < block_table.shape[1] * block_size
    row = torch.where(good, local.long(), 0)
    indices[:] = torch.where(good, slots(block_table, token_to_req.long()[:, None], row, block_size), -1).int()
    lens[:] = torch.where(is_valid != 0, good.sum(1), 0).int()


@port("idx_k_gather")
def idx_k_gather(cache, block_table, cu_seq_lens, token_to_seq, k, scale, block_size):
    row = arange(int(cu_seq_lens[-1]))
    request = token_to_seq[row].long()
    j = row - cu_seq_lens[request]
    page = block_table[request, j // block_size].long()
    there = (page >= 0) & (page < cache.shape[0])
    page, j = page[there, None], j[there, None] % block_size
    k[row[there]] = cache[page, j * 128 + arange(128)]
    bits = torch.zeros(len(row), 4, dtype=torch.uint8)
    bits[there] = cache[page, block_size * 128 + j * 4 + arange(4)]
    scale[row] = bits.view(torch.float32)[:, 0]


@port("mtp_argmax")
def mtp_argmax(logits, out):
    bits = logits.contiguous().view(torch.int32)
    order = torch.where(bits < 0, bits ^ 0x7FFFFFFF, bits)  # integers in the order of the values
    order = order.masked_fill(logits == 0, 0).masked_fill(torch.isnan(logits), 0x7FFFFFFF)
    vocab = logits.shape[1]
    largest = order == order.amax(1, keepdim=True)
    out.copy_(torch.where(largest, arange(vocab), vocab).amin(1))


# ---- caches and scales ----

@port("kv_save_partial_states", dialects=["state=f32", "state=bf16"])
def kv_save_partial_states(kv, score, ape, positions, slot_mapping, state, ratio, state_block_size, state_):
    row = torch.nonzero(slot_mapping >= 0)[:, 0]
    slot, score = slot_mapping[row], score[row]
    if state_ == "f32":
        score = score + ape[positions[row] % ratio]
    both = torch.cat([kv[row], score], dim=1)
    state[slot // state_block_size, slot % state_block_size] = both if state_ == "f32" else bf16(both)


@port("kv_dequantize_gather", dialects=["ocp", "fnuz224", "fnuz240", "planar", "interleaved"])
def kv_dequantize_gather(cache, seq_lens, gather_lens, block_table, out, block_size, offset, fp8, layout):
    table = e4m3_table(fp8)
    for r, length in enumerate(seq_lens.tolist()):
        n = length if gather_lens is None else int(gather_lens[r])
        row = arange(length - n, length)
        page, j = block_table[r, row // block_size].long()[:, None], row[:, None] % block_size
        data, scales = (j * 576, block_size * 576 + j * 8) if layout == "planar" else (j * 584, j * 584 + 576)
        value = table[cache[page, data + arange(448)].long()]
        scale = power_of_two(cache[page, scales + arange(7)]).repeat_interleave(64, dim=1)
        to = out[r, offset:offset + n]
        to[:, :448] = bf16((value * scale).float())
        to[:, 448:] = cache[page, data + 448 + arange(128)].view(torch.bfloat16)


@port("quant_fp8_dequant", dialects=["ocp", "fnuz240"])
def quant_fp8_dequant(q, scales, y, fp8):
    value = scales.double() if scales.dtype == torch.float32 else power_of_two(u8(scales))
    value = value.repeat_interleave(128, 0)[:q.shape[0]].repeat_interleave(128, 1)[:, :q.shape[1]]
    y.copy_(bf16((e4m3_table(fp8)[u8(q).long()] * value).float()))


@port("quant_mxfp4_dequant", dialects=["e8m0", "shifted"])
def quant_mxfp4_dequant(q, scales, y, ends):
    code = torch.stack([q & 15, q >> 4], dim=2).flatten(1).long()
    value = torch.tensor([0, .5, 1, 1.5, 2, 3, 4, 6], dtype=torch.float64)[code & 7]
    value = torch.where(code >= 8, -value, value)
    scale = power_of_two(u8(scales), ends == "shifted").repeat_interleave(32, 1)[:, :code.shape[1]]
    y.copy_(bf16((value * scale).float()))


@port("moe_prepare")
def moe_prepare(x, topk_ids, topk_weights, is_padding, codes, scales, shared_scales, ids, weights, shared_block_m):
    parts = x.float().unflatten(1, (-1, 32))
    bits = (parts.abs().amax(2).clamp(min=1e-4) / 448).view(torch.int32)
    byte = ((bits >> 23) + ((bits & 0x7FFFFF) != 0)).clamp(1, 254)
    value = (parts.double() * power_of_two(254 - byte)[:, :, None]).float()
    u8(codes)[:] = e4m3_encode(value).flatten(1)
    scales[:] = byte.to(torch.uint8).view(torch.int32)
    if shared_scales is not None:
        t, block = arange(len(x)), shared_block_m
        m = t % block
        row = t // block * (-(-block // 128) * 128) + m // 128 * 128 + m % 32 * 4 + m % 128 // 32
        shared_scales[:, row] = scales.T
    padding = torch.zeros(len(x), 1, dtype=torch.bool) if is_padding is None else is_padding[:, None] != 0
    ids[:] = topk_ids.long().masked_fill(padding, -1)
    weights[:] = topk_weights.masked_fill(padding, 0)


# ---- norms ----

def add_square(total, x):
    """fma(x, x, total): the product is exact in float64, the sum is rounded to odd there."""
    product, total = x.double() * x.double(), total.double()
    rough = product + total
    part = rough - product
    error = (product - (rough - part)) + (total - part)
    even = rough.view(torch.int64) % 2 == 0
    odd = torch.nextafter(rough, torch.copysign(torch.full_like(rough, float("inf")), error))
    return torch.where(torch.isfinite(rough) & (error != 0) & even, odd, rough).float()


@port("norm_rms")
def norm_rms(x, weight, out, eps):
    value = x.float()
    total = torch.zeros(len(x), 64)
    for block in value.split(64, dim=1):
        n = block.shape[1]
        total[:, :n] = add_square(total[:, :n], block)
    while total.shape[1] > 1:
        half = total.shape[1] // 2
        total = total[:, :half] + total[:, half:]
    mean = total / x.shape[1] + torch.tensor(eps, dtype=torch.float32)
    y = value * (1 / torch.sqrt(mean.double())).float()
    out.copy_(bf16(y * weight.float()))
