/* SPDX-License-Identifier: Apache-2.0 */
/* Atomic operations on host memory, of the lanes in turn; truly atomic between threads. */
#ifndef DSV4_EMU_ATOMIC_H
#define DSV4_EMU_ATOMIC_H

#include "access.h"

typedef uint32_t emu_atomic_function32(uint32_t old, uint32_t data, uint32_t compare);
typedef uint64_t emu_atomic_function64(uint64_t old, uint64_t data, uint64_t compare);
#define ATOMIC(name, bits, result) emu_atomic_function##bits emu_atomic_##name;
#include "atomics.def"

/* Where an atomic finds its operands; to: the register that receives what was in memory, -1 if nobody asked. */
struct emu_atomic_registers {
    int data, compare, to;
};

void emu_atomic32(struct emu_wave *w, const struct emu_access *a, emu_atomic_function32 *function,
                  struct emu_atomic_registers registers);
void emu_atomic64(struct emu_wave *w, const struct emu_access *a, emu_atomic_function64 *function,
                  struct emu_atomic_registers registers);
/* The same in LDS, which one thread of the host has to itself. */
void emu_lds_atomic32(struct emu_wave *w, const struct emu_access *a,
                      emu_atomic_function32 *function, struct emu_atomic_registers registers);
void emu_lds_atomic64(struct emu_wave *w, const struct emu_access *a,
                      emu_atomic_function64 *function, struct emu_atomic_registers registers);

#endif
