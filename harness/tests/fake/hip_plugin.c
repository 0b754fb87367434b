/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A HIP plug-in as it is built without ROCm: its hip symbols are undefined until the back end has loaded the runtime.
 * It does its work in a host function on the stream. DSV4_FAKE_PLUGIN says what it does wrong under capture:
 * "synchronises", "allocates", "direct" (works at once, beside the stream), "bakes" (copies the slots while capturing).
 */
#include <stdlib.h>

#include "../planted/insert.h"

int hipStreamSynchronize(void *stream);
int hipMalloc(void **memory, size_t bytes);
int hipLaunchHostFunc(void *stream, void (*work)(void *), void *data);

/* A call that outlives run(): it is replayed. */
struct work {
    dsv4_call call;
    dsv4_tensor tensors[16];
    dsv4_param params[40];
    char words[40][64];
    int64_t slots[64];
};

static void copy_words(struct work *w) {
    for (uint32_t i = 0; i < w->call.n_params; i++) {
        if (w->params[i].kind != DSV4_NAME) continue;
        snprintf(w->words[i], sizeof w->words[i], "%s", w->params[i].s);
        w->params[i].s = w->words[i];
    }
}

static void bake(struct work *w) {
    for (uint32_t i = 0; i < w->call.n_tensors; i++) {
        dsv4_tensor *const t = &w->tensors[i];
        if (strcmp(t->name, "slot_mapping") != 0 || t->shape[0] > 64) continue;
        memcpy(w->slots, t->data, (size_t)t->shape[0] * sizeof *w->slots);
        t->data = w->slots;
    }
}

static void do_work(void *data) {
    char why[64];
    const struct work *const w = data;
    planted_run(&w->call, why, sizeof why);
}

static int wrong(const char *way) {
    const char *const wanted = getenv("DSV4_FAKE_PLUGIN");
    return wanted != NULL && strcmp(wanted, way) == 0;
}

static int run(const dsv4_call *call, char *why, size_t why_size) {
    static struct work kept[4096]; /* one per call; replays need them */
    static size_t n;
    void *memory = NULL;
    struct work *const w = &kept[n++ % 4096];
    w->call = *call;
    memcpy(w->tensors, call->tensors, call->n_tensors * sizeof *call->tensors);
    memcpy(w->params, call->params, call->n_params * sizeof *call->params);
    w->call.tensors = w->tensors;
    w->call.params = w->params;
    copy_words(w);
    if (call->stream == NULL) {
        snprintf(why, why_size, "no stream");
        return DSV4_ERROR;
    }
    if (wrong("direct")) {
        do_work(w);
        return DSV4_OK;
    }
    if (wrong("bakes")) bake(w);
    if (wrong("synchronises")) hipStreamSynchronize(call->stream); /* and nobody looks */
    if (wrong("allocates") && hipMalloc(&memory, 64) != 0) {
        snprintf(why, why_size, "hipMalloc failed");
        return DSV4_ERROR;
    }
    return hipLaunchHostFunc(call->stream, do_work, w) == 0 ? DSV4_OK : DSV4_ERROR;
}

const dsv4_plugin *dsv4_plugin_v1(void) {
    static const dsv4_plugin plugin = {.size = sizeof plugin,
                                       .abi = DSV4_ABI_VERSION,
                                       .name = "fake-hip",
                                       .version = "1",
                                       .device = "hip",
                                       .supports = planted_supports,
                                       .run = run};
    return &plugin;
}
