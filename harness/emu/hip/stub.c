/* SPDX-License-Identifier: Apache-2.0 */
/* The rest of HIP's public functions: each fails by its name. */
#include <stdio.h>

#include "hip.h"

static int unsupported(const char *name, bool *told) {
    emu_enter();
    if (!*told) fprintf(stderr, "emulated gfx942: %s is not emulated\n", name);
    *told = true;
    return emu_leave(emu_explain(hipErrorNotSupported, "%s is not emulated", name));
}

#define UNSUPPORTED(name)                                                                          \
    int name(void);                                                                                \
    int name(void) {                                                                               \
        static bool told;                                                                          \
        return unsupported(#name, &told);                                                          \
    }
#include "unsupported.def"

/* Those that return no error: what they return means that there is nothing. */

struct channel {
    int x, y, z, w, kind;
};

struct channel hipCreateChannelDesc(int x, int y, int z, int w, int kind);
struct channel hipCreateChannelDesc(int x, int y, int z, int w, int kind) {
    return (struct channel){x, y, z, w, kind};
}

const char *hipApiName(uint32_t id);
const char *hipApiName(uint32_t id) {
    (void)id;
    return "unknown";
}

const char *hiprtcGetErrorString(int error);
const char *hiprtcGetErrorString(int error) {
    return error == 0 ? "HIPRTC_SUCCESS" : "hipRTC is not emulated";
}

const char *__hipGetPCH(const char **pch, unsigned *bytes);
const char *__hipGetPCH(const char **pch, unsigned *bytes) {
    *pch = NULL;
    *bytes = 0;
    return NULL;
}
