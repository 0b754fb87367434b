# SPDX-License-Identifier: Apache-2.0
"""Number formats and correctly rounded functions, by definition: tables, exact arithmetic, midpoints.

Nothing here is tuned or shares a method with the C reference: bf16 is rounded by scaling to an
integer, the FP8 and E2M1 encoders search a table of all values, exp and rsqrt are bracketed and a
bracket that holds a rounding boundary is settled with exact or 50-digit arithmetic.
"""
import decimal
from fractions import Fraction

import numpy as np

F32 = np.float32
LARGEST = {"ocp": 448.0, "fnuz224": 224.0, "fnuz240": 240.0}

# How far the float64 library functions may be off; every one is within 4 units.
MARGIN = 64


def bf16_value(bits):
    """fp32 values of bf16 bit patterns."""
    return (np.asarray(bits).astype(np.uint32) << np.uint32(16)).view(F32)


def bf16_bits(x):
    """bf16 bit patterns of fp32 or float64 values, nearest, ties to even; NaN is 0x7FC0."""
    x = np.asarray(x, np.float64)
    finite = np.isfinite(x)
    _, exponent = np.frexp(np.where(finite, x, 0.0))
    quantum = np.maximum(exponent, -125) - 8
    rounded = np.ldexp(np.rint(np.ldexp(np.where(finite, x, 0.0), -quantum)), quantum)
    rounded = np.where(finite, rounded, x)
    with np.errstate(over="ignore"):
        bits = rounded.astype(F32).view(np.uint32) >> np.uint32(16)
    return np.where(np.isnan(x), 0x7FC0, bits).astype(np.uint16)


def bf16_round(x):
    return bf16_value(bf16_bits(x))


def _e4m3_table(bias, codes):
    """Values of the non-negative codes 0 .. codes-1."""
    code = np.arange(codes)
    exponent, mantissa = code >> 3, code & 7
    return np.where(exponent == 0, np.ldexp(mantissa / 8.0, 1 - bias),
                    np.ldexp(1 + mantissa / 8.0, exponent - bias))


E4M3FN = _e4m3_table(7, 0x7F)  # 0x7F is NaN
E4M3FNUZ = _e4m3_table(8, 0x80)  # 0x80, the negative zero of other formats, is NaN
E2M1 = np.array([0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0])


def _nearest(magnitude, table):
    """Codes of the nearest table value; a tie goes to the even code; beyond the end saturates."""
    above = np.clip(np.searchsorted(table, magnitude, side="left"), 1, len(table) - 1)
    below = above - 1
    middle = (table[below] + table[above]) / 2
    even = np.where(below % 2 == 0, below, above)
    return np.where(magnitude < middle, below, np.where(magnitude > middle, above, even))


def e4m3_encode(x, fp8):
    x = np.asarray(x, np.float64)
    fnuz = fp8 != "ocp"
    code = _nearest(np.where(np.isnan(x), 0, np.abs(x)), E4M3FNUZ if fnuz else E4M3FN)
    sign = np.signbit(x) & ((code != 0) | (not fnuz))
    code = np.where(sign, code | 0x80, code)
    return np.where(np.isnan(x), 0x80 if fnuz else 0x7F, code).astype(np.uint8)


def e4m3_decode(code, fp8):
    """float64 values."""
    code = np.asarray(code, np.uint8)
    if fp8 == "ocp":
        value = np.append(E4M3FN, np.nan)[code & 0x7F]
        return np.where(code & 0x80, -value, value)
    value = E4M3FNUZ[code & 0x7F]
    return np.where(code == 0x80, np.nan, np.where(code & 0x80, -value, value))


def e2m1_encode(x):
    x = np.asarray(x, np.float64)
    return (_nearest(np.abs(x), E2M1) | np.where(np.signbit(x), 8, 0)).astype(np.uint8)


def scale_byte(scale):
    """The UE8M0 byte b with 2^(b-127) the smallest power of two not below a normal fp32 scale."""
    fraction, exponent = np.frexp(np.asarray(scale, F32))
    return (exponent - (fraction == 0.5) + 127).astype(np.int64)


def fma(a, b, c):
    """a * b + c rounded once to fp32.

    The product of two fp32 is exact in float64. The sum is rounded to odd: whenever it is not exact,
    the one of its two float64 neighbours with an odd last bit is taken; it never lies on a midpoint
    of fp32, so the second rounding is that of the exact sum.
    """
    a, b, c = (np.asarray(v, F32).astype(np.float64) for v in (a, b, c))
    with np.errstate(invalid="ignore", over="ignore", under="ignore"):
        product = a * b
        total = product + c
        part = total - product
        error = (product - (total - part)) + (c - part)
        inexact = np.isfinite(total) & (error != 0)
        even = (total.view(np.int64) if total.ndim else np.atleast_1d(total).view(np.int64)[0]) % 2 == 0
        odd = np.nextafter(total, np.copysign(np.inf, error))
        return np.where(inexact & even, odd, total).astype(F32)


def _settled(x, estimate, above_middle):
    """fp32 of a float64 estimate; where MARGIN units could change it, asks above_middle(x, middle)."""
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        slack = MARGIN * np.spacing(estimate)
        low, high = (estimate - slack).astype(F32), (estimate + slack).astype(F32)
    result = low.copy()
    for i in zip(*np.nonzero(low != high)):
        middle = (Fraction(float(low[i])) + Fraction(float(high[i]))) / 2
        if np.nextafter(low[i], F32(np.inf)) != high[i]:
            raise ArithmeticError(f"the bracket of f({x[i]!r}) is too wide")
        result[i] = high[i] if above_middle(x[i], middle) else low[i]
    return result


def _exp_above(x, middle):
    with decimal.localcontext() as context:
        context.prec = 50
        return decimal.Decimal(float(x)).exp() > \
            decimal.Decimal(middle.numerator) / decimal.Decimal(middle.denominator)


def exp(x):
    """Correctly rounded exp of fp32 values <= 0 or -inf (a softmax never asks for more)."""
    x = np.atleast_1d(np.asarray(x, F32))
    if not np.all(x <= 0):
        raise ArithmeticError("exp is asked for a positive value or a NaN")
    estimate = np.exp(x.astype(np.float64))
    tiny = x < -110
    result = _settled(x, np.where(tiny, 1.0, estimate), _exp_above)
    return np.where(tiny, F32(0), result)


def _rsqrt_above(x, middle):
    return middle * middle * Fraction(float(x)) < 1


def rsqrt(x):
    """Correctly rounded 1/sqrt of fp32 values >= 0."""
    x = np.atleast_1d(np.asarray(x, F32))
    regular = (x > 0) & np.isfinite(x)
    result = _settled(x, 1.0 / np.sqrt(np.where(regular, x, 1).astype(np.float64)), _rsqrt_above)
    special = np.where(x == 0, np.copysign(F32(np.inf), x), np.where(x == np.inf, F32(0), F32(np.nan)))
    return np.where(regular, result, special).astype(F32)
