/* SPDX-License-Identifier: Apache-2.0 */
/* What every program here needs: it counts what is wrong and says where. */
#ifndef DSV4_EXPECT_H
#define DSV4_EXPECT_H

#include <cstdio>
#include <hip/hip_runtime.h>

static int failures;

#define EXPECT(condition)                                                                          \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            std::printf("%s:%d: %s is false\n", __FILE__, __LINE__, #condition);                   \
            failures++;                                                                            \
        }                                                                                          \
    } while (0)

#define EXPECT_ERROR(call, wanted)                                                                 \
    do {                                                                                           \
        const hipError_t got_ = (call);                                                            \
        if (got_ != (wanted)) {                                                                    \
            std::printf("%s:%d: %s gives %s, expected %s\n", __FILE__, __LINE__, #call,            \
                        hipGetErrorName(got_), hipGetErrorName(wanted));                           \
            failures++;                                                                            \
        }                                                                                          \
    } while (0)

#define OK(call) EXPECT_ERROR(call, hipSuccess)

static inline int done() {
    std::printf(failures == 0 ? "ok\n" : "%d failures\n", failures);
    return failures != 0;
}

#endif
