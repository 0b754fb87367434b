/* SPDX-License-Identifier: Apache-2.0 */
/* For variants: the number formats and functions as they are, so that what a variant redefines reaches ops alone. */
#ifndef DSV4_VARIANT_NUMBERS_H
#define DSV4_VARIANT_NUMBERS_H

#include <math.h>

#include "../../../reference/num/exp.h"
#include "../../../reference/num/log.h"
#include "../../../reference/num/rope.h"
#include "../../../reference/num/rsqrt.h"
#include "../../../reference/num/row.h"
#include "../../../reference/num/sincos.h"

#endif
