/* SPDX-License-Identifier: Apache-2.0 */
/* Classes of floats given as bits. */
#ifndef DSV4_EMU_IEEE_H
#define DSV4_EMU_IEEE_H

#include <math.h>

#include "number.h"

#define EMU_NAN16 0x7e00u
#define EMU_NAN32 0x7fc00000u
#define EMU_NAN64 UINT64_C(0x7ff8000000000000)

static inline bool emu_is_nan16(uint32_t x) { return (x & 0x7fff) > 0x7c00; }
static inline bool emu_is_nan32(uint32_t x) { return (x & 0x7fffffff) > 0x7f800000; }
static inline bool emu_is_nan64(uint64_t x) {
    return (x & UINT64_C(0x7fffffffffffffff)) > UINT64_C(0x7ff0000000000000);
}

static inline bool emu_is_signalling16(uint32_t x) { return emu_is_nan16(x) && !(x & 0x200); }
static inline bool emu_is_signalling32(uint32_t x) { return emu_is_nan32(x) && !(x & 0x400000); }
static inline bool emu_is_signalling64(uint64_t x) {
    return emu_is_nan64(x) && !(x & UINT64_C(0x8000000000000));
}

static inline bool emu_is_denormal32(uint32_t x) { return (x & 0x7fffffff) - 1 < 0x7fffff; }
static inline bool emu_is_denormal64(uint64_t x) {
    return (x & UINT64_C(0x7fffffffffffffff)) - 1 < UINT64_C(0xfffffffffffff);
}

#endif
