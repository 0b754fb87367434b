/* SPDX-License-Identifier: Apache-2.0 */
/* How exact the hardware's elementary functions are. */
#ifndef DSV4_EMU_ELEMENTARY_H
#define DSV4_EMU_ELEMENTARY_H

#include <stdbool.h>
#include <stddef.h>

struct emu_bound {
    const char *name;
    double ulp;      /* distance from the real value, in units of the result's last place */
    bool documented; /* else: a width chosen here, so that dependence on the bits can be shown */
};

/* Ends in a row without a name. */
extern const struct emu_bound emu_bounds[];

#endif
