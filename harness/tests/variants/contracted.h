/* SPDX-License-Identifier: Apache-2.0 */
/* Compiled with contraction: every product that is added becomes one fma. Nothing to define. */
#include "numbers.h"
