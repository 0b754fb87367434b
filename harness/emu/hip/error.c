/* SPDX-License-Identifier: Apache-2.0 */
/* Errors: the last one of a thread, and a kernel's fault, which stays. */
#include <stdarg.h>
#include <stdio.h>

#include "hip.h"

static pthread_mutex_t lock = PTHREAD_RECURSIVE_MUTEX_INITIALIZER_NP;
static _Thread_local int last;
static int sticky;
static char fault_text[1200];
static bool quiet;

void emu_enter(void) { pthread_mutex_lock(&lock); }

int emu_leave(int error) {
    if (error != hipSuccess) last = error;
    pthread_mutex_unlock(&lock);
    return error;
}

int emu_sticky(void) { return sticky; }

static int error_of(enum emu_fault_kind kind) {
    switch (kind) {
    case EMU_UNIMPLEMENTED: return hipErrorNotSupported;
    case EMU_BAD_ADDRESS:
    case EMU_MISALIGNED: return hipErrorIllegalAddress;
    case EMU_HANG: return hipErrorLaunchTimeOut;
    default: return hipErrorLaunchFailure;
    }
}

int emu_faulted(const struct emu_fault *fault) {
    snprintf(fault_text, sizeof fault_text, "%s", fault->text);
    if (!quiet) fprintf(stderr, "emulated gfx942: %s\n", fault_text);
    return sticky = error_of(fault->kind);
}

int emu_explain(int error, const char *format, ...) {
    if (sticky != hipSuccess) return error; /* the fault explains more */
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(fault_text, sizeof fault_text, format, arguments);
    va_end(arguments);
    return error;
}

void emu_forget_fault(void) {
    sticky = last = hipSuccess;
    fault_text[0] = '\0';
}

const char *dsv4_emu_fault(void) { return fault_text; }

/* For callers that print faults themselves. */
void dsv4_emu_quiet(void);
void dsv4_emu_quiet(void) { quiet = true; }

static const struct {
    int code;
    const char *name, *text;
} errors[] = {
#define ERROR(name, code, text) {code, #name, text},
#include "errors.def"
#undef ERROR
};

static size_t find(int error) {
    size_t unknown = 0;
    for (size_t i = 0; i < sizeof errors / sizeof *errors; i++) {
        if (errors[i].code == error) return i;
        if (errors[i].code == hipErrorUnknown) unknown = i;
    }
    return unknown;
}

const char *emu_error_name(int error) { return errors[find(error)].name; }

const char *hipGetErrorName(int error);
const char *hipGetErrorName(int error) { return errors[find(error)].name; }

const char *hipGetErrorString(int error);
const char *hipGetErrorString(int error) { return errors[find(error)].text; }

static int text_of(int error, const char **text, bool name) {
    const size_t i = find(error);
    if (text == NULL) return hipErrorInvalidValue;
    *text = NULL;
    if (errors[i].code != error) return hipErrorInvalidValue;
    *text = name ? errors[i].name : errors[i].text;
    return hipSuccess;
}

HIP(hipDrvGetErrorName, int error, const char **text) { RETURN(text_of(error, text, true)); }
HIP(hipDrvGetErrorString, int error, const char **text) { RETURN(text_of(error, text, false)); }

HIP(hipPeekAtLastError, void) {
    emu_enter();
    const int error = sticky != hipSuccess ? sticky : last;
    emu_leave(hipSuccess);
    return error;
}

HIP(hipGetLastError, void) {
    const int error = hipPeekAtLastError();
    last = hipSuccess;
    return error;
}

HIP(hipExtGetLastError, void) { return hipGetLastError(); }
