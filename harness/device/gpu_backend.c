/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The CUDA and HIP back ends. With -DDSV4_CUDA this is compiled against the CUDA runtime's headers. With -DDSV4_HIP it
 * needs neither headers nor libraries: the few functions it uses are declared here, and libamdhip64 is opened at run
 * time with RTLD_GLOBAL, so that plug-ins whose hip* symbols are undefined find them there.
 */
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../../reference/memory.h"
#include "../device.h"

#if defined(DSV4_CUDA)

#include <cuda_runtime_api.h>

#define NAME "cuda"
#define GPU(function) cuda##function
typedef cudaError_t gpu_error;
typedef cudaStream_t gpu_stream;
typedef cudaGraph_t gpu_graph;
typedef cudaGraphExec_t gpu_graph_exec;
typedef cudaEvent_t gpu_event;
#define GPU_TO_DEVICE cudaMemcpyHostToDevice
#define GPU_TO_HOST cudaMemcpyDeviceToHost
#define GPU_ON_DEVICE cudaMemcpyDeviceToDevice
#define GPU_CAPTURE_GLOBAL cudaStreamCaptureModeGlobal
#define GPU_CAPTURE_RELAXED cudaStreamCaptureModeRelaxed

#elif defined(DSV4_HIP)

#define NAME "hip"
#define GPU(function) hip.function
typedef int gpu_error;
typedef struct gpu_stream_handle *gpu_stream;
typedef struct gpu_graph_handle *gpu_graph;
typedef struct gpu_graph_exec_handle *gpu_graph_exec;
typedef struct gpu_event_handle *gpu_event;
enum { GPU_TO_DEVICE = 1, GPU_TO_HOST = 2, GPU_ON_DEVICE = 3 };
enum { GPU_CAPTURE_GLOBAL = 0, GPU_CAPTURE_RELAXED = 2 };

/* The part of HIP's C ABI that is used: stable since ROCm 5. */
#define HIP_FUNCTIONS(F)                                                                           \
    F(GetDeviceCount, (int *))                                                                     \
    F(SetDevice, (int))                                                                            \
    F(GetLastError, (void))                                                                        \
    F(DriverGetVersion, (int *))                                                                   \
    F(RuntimeGetVersion, (int *))                                                                  \
    F(DeviceGetName, (char *, int, int))                                                           \
    F(DeviceSynchronize, (void))                                                                   \
    F(Malloc, (void **, size_t))                                                                   \
    F(Free, (void *))                                                                              \
    F(Memset, (void *, int, size_t))                                                               \
    F(MemsetAsync, (void *, int, size_t, gpu_stream))                                              \
    F(Memcpy, (void *, const void *, size_t, int))                                                 \
    F(MemcpyAsync, (void *, const void *, size_t, int, gpu_stream))                                \
    F(StreamCreate, (gpu_stream *))                                                                \
    F(StreamDestroy, (gpu_stream))                                                                 \
    F(StreamSynchronize, (gpu_stream))                                                             \
    F(StreamBeginCapture, (gpu_stream, int))                                                       \
    F(StreamEndCapture, (gpu_stream, gpu_graph *))                                                 \
    F(GraphInstantiateWithFlags, (gpu_graph_exec *, gpu_graph, unsigned long long))                \
    F(GraphGetNodes, (gpu_graph, void *, size_t *))                                                \
    F(GraphDestroy, (gpu_graph))                                                                   \
    F(GraphExecDestroy, (gpu_graph_exec))                                                          \
    F(GraphLaunch, (gpu_graph_exec, gpu_stream))                                                   \
    F(EventCreate, (gpu_event *))                                                                  \
    F(EventDestroy, (gpu_event))                                                                   \
    F(EventRecord, (gpu_event, gpu_stream))                                                        \
    F(EventSynchronize, (gpu_event))                                                               \
    F(EventElapsedTime, (float *, gpu_event, gpu_event))

/* What this suite's own runtime, which executes gfx942 code on the CPU, can do besides; NULL on hardware. */
static struct {
    bool used;
    const char *(*fault)(void);
    const char *(*refusal)(void);
    int (*declare)(void *, size_t, const char *);
    int (*untouched)(const void *memory, size_t bytes);
} emulator;

static struct {
#define DECLARE(function, arguments) gpu_error(*function) arguments;
    HIP_FUNCTIONS(DECLARE)
#undef DECLARE
    const char *(*GetErrorString)(gpu_error);
    gpu_error (*GetDeviceProperties)(void *, int);
} hip;

#else
#error "compile with -DDSV4_CUDA or -DDSV4_HIP"
#endif

static char message[2048] = "no error";
static char device_text[512];
static struct dsv4_device backend;

#if defined(DSV4_CUDA)
static const char *explanation(void) { return ""; }
#else
static const char *explanation(void) { return emulator.fault != NULL ? emulator.fault() : ""; }
#endif

static int fail(gpu_error error, const char *what) {
    const char *const text = explanation();
    snprintf(message, sizeof message, "%s: %s (%d)%s%s", what, GPU(GetErrorString)(error),
             (int)error, text[0] != '\0' ? ": " : "", text);
    GPU(GetLastError)(); /* an error that can be cleared must not be reported twice */
    return DSV4_ERROR;
}

static int check(gpu_error error, const char *what) {
    return error == 0 ? DSV4_OK : fail(error, what);
}

static const char *gpu_error_text(void) { return message; }

/* ---- opening ---- */

#if defined(DSV4_CUDA)

static int load(void) { return DSV4_OK; }

static int describe_device(int index) {
    struct cudaDeviceProp properties;
    int driver = 0, runtime = 0;
    const gpu_error error = cudaGetDeviceProperties(&properties, index);
    if (error != cudaSuccess) return fail(error, "cudaGetDeviceProperties");
    cudaDriverGetVersion(&driver);
    cudaRuntimeGetVersion(&runtime);
    snprintf(device_text, sizeof device_text,
             "%s, sm_%d%d, %.0f GiB, driver for CUDA %d.%d, runtime %d.%d", properties.name,
             properties.major, properties.minor, (double)properties.totalGlobalMem / 1073741824.0,
             driver / 1000, driver % 1000 / 10, runtime / 1000, runtime % 1000 / 10);
    backend.cache_bytes = properties.l2CacheSize;
    return DSV4_OK;
}

#else

/*
 * ROCm's runtime with a device behind it. A runtime that finds none stays loaded, but its symbols are no one's: only
 * the library that is used becomes global. NULL: there is none; *found says whether it is for want of a library.
 */
static void *open_hardware(bool *found) {
    static const char *const names[] = {"libamdhip64.so.7", "libamdhip64.so.6", "libamdhip64.so.5",
                                        "libamdhip64.so"};
    const char *const root = getenv("ROCM_PATH");
    char path[4200];
    for (int with_root = 1; with_root >= 0; with_root--)
        for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
            gpu_error (*device_count)(int *) = NULL;
            int count = 0;
            if (with_root)
                snprintf(path, sizeof path, "%s/lib/%s", root != NULL ? root : "/opt/rocm",
                         names[i]);
            else
                snprintf(path, sizeof path, "%s", names[i]);
            void *const library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
            if (library == NULL) continue;
            *found = true;
            *(void **)(&device_count) = dlsym(library, "hipGetDeviceCount");
            if (device_count != NULL && device_count(&count) == 0 && count > 0)
                return dlopen(path, RTLD_NOW | RTLD_GLOBAL);
        }
    return NULL;
}

/* Beside this back end. Plug-ins may need it under any of its names. */
static void *open_emulator(void) {
    static const char *const names[] = {".6", ".5", ".7"};
    Dl_info self;
    char path[4200];
    void *library = NULL;
    if (dladdr(&backend, &self) == 0) return NULL;
    const char *const slash = strrchr(self.dli_fname, '/');
    const int length = slash != NULL ? (int)(slash - self.dli_fname) : 0;
    for (size_t i = 0; i < sizeof names / sizeof *names && (i == 0 || library != NULL); i++) {
        snprintf(path, sizeof path, "%.*s/emu/libamdhip64.so%s", length,
                 length > 0 ? self.dli_fname : ".", names[i]);
        void *const opened = dlopen(path, RTLD_NOW | RTLD_GLOBAL);
        if (i == 0) library = opened;
    }
    if (library == NULL) return NULL;
    void (*quiet)(void) = NULL;
    emulator.used = true;
    *(void **)(&quiet) = dlsym(library, "dsv4_emu_quiet");
    if (quiet != NULL) quiet(); /* the report prints faults */
    *(void **)(&emulator.fault) = dlsym(library, "dsv4_emu_fault");
    *(void **)(&emulator.refusal) = dlsym(library, "dsv4_emu_refusal");
    *(void **)(&emulator.declare) = dlsym(library, "dsv4_emu_declare");
    *(void **)(&emulator.untouched) = dlsym(library, "dsv4_emu_untouched");
    return library;
}

/* DSV4_EMULATE=1 passes hardware by, 0 takes nothing else; without it the emulator stands in where there is none. */
static void *open_library(void) {
    const char *const choice = getenv("DSV4_EMULATE");
    const bool only_emulated = choice != NULL && strcmp(choice, "1") == 0;
    const bool only_hardware = choice != NULL && strcmp(choice, "0") == 0;
    bool found = false;
    void *library = only_emulated ? NULL : open_hardware(&found);
    if (library == NULL && !only_hardware) library = open_emulator();
    if (library == NULL)
        snprintf(message, sizeof message, "no hip device here: %s%s",
                 found ? "the driver lists none"
                       : "libamdhip64.so is not found; install ROCm's runtime or set ROCM_PATH",
                 only_hardware ? "" : "; the emulator is not built (`make build ARCH=gfx942`)");
    return library;
}

static int load(void) {
    void *const library = open_library();
    if (library == NULL) return DSV4_UNSUPPORTED;
#define FIND(function, arguments)                                                                  \
    *(void **)(&hip.function) = dlsym(library, "hip" #function);                                   \
    if (hip.function == NULL) {                                                                    \
        snprintf(message, sizeof message,                                                          \
                 "libamdhip64.so has no hip" #function "; ROCm 5.3 or later is needed");           \
        return DSV4_ERROR;                                                                         \
    }
    HIP_FUNCTIONS(FIND)
    FIND(GetErrorString, )
#undef FIND
    *(void **)(&hip.GetDeviceProperties) = dlsym(library, "hipGetDevicePropertiesR0600");
    if (hip.GetDeviceProperties == NULL)
        *(void **)(&hip.GetDeviceProperties) = dlsym(library, "hipGetDeviceProperties");
    return DSV4_OK;
}

static int hip_accepts(void) {
    const char *const refusal = emulator.refusal != NULL ? emulator.refusal() : NULL;
    if (refusal == NULL) return DSV4_OK;
    snprintf(message, sizeof message, "no hip device here, and the emulator cannot stand in: %s",
             refusal);
    return DSV4_UNSUPPORTED;
}

static bool hip_untouched(const void *memory, size_t bytes) {
    return emulator.untouched != NULL && emulator.untouched(memory, bytes) != 0;
}
#define GPU_UNTOUCHED hip_untouched

static int hip_declare(void *memory, size_t bytes, const char *name) {
    return emulator.declare == NULL || emulator.declare(memory, bytes, name) == 0 ? DSV4_OK
                                                                                  : DSV4_ERROR;
}

/* The properties struct changes between releases; the architecture's name in it does not. */
static void find_architecture(char *text, size_t size, int index) {
    enum { PROPERTIES_BYTES = 16384 };
    char *const properties = dsv4_alloc(PROPERTIES_BYTES);
    snprintf(text, size, "unknown architecture");
    const bool filled =
        hip.GetDeviceProperties != NULL && hip.GetDeviceProperties(properties, index) == 0;
    for (size_t i = 256; filled && i + 64 < PROPERTIES_BYTES; i++)
        if (memcmp(properties + i, "gfx", 3) == 0) {
            snprintf(text, size, "%.60s", properties + i);
            break;
        }
    dsv4_free(properties);
}

static int describe_device(int index) {
    char name[256] = "unknown", architecture[64];
    int driver = 0, runtime = 0;
    const gpu_error error = hip.DeviceGetName(name, sizeof name, index);
    if (error != 0) return fail(error, "hipDeviceGetName");
    hip.DriverGetVersion(&driver);
    hip.RuntimeGetVersion(&runtime);
    find_architecture(architecture, sizeof architecture, index);
    if (emulator.used) {
        snprintf(device_text, sizeof device_text, "emulated %s: its code runs on %ld CPU threads",
                 architecture, sysconf(_SC_NPROCESSORS_ONLN));
        return DSV4_OK; /* no cache to step beyond: memory is the CPU's */
    }
    snprintf(device_text, sizeof device_text, "%s, %s, HIP runtime %d.%d.%d, driver %d", name,
             architecture, runtime / 10000000, runtime / 100000 % 100, runtime % 100000, driver);
    backend.cache_bytes = INT64_C(256) << 20; /* the largest there is: MI300's last level */
    return DSV4_OK;
}

#endif

static int gpu_open(int index) {
    int count = 0;
    const int status = load();
    if (status != DSV4_OK) return status;
    const gpu_error error = GPU(GetDeviceCount)(&count);
    if (error != 0 || count == 0) {
        snprintf(message, sizeof message, "no " NAME " device here: %s",
                 error != 0 ? GPU(GetErrorString)(error) : "the driver lists none");
        return DSV4_UNSUPPORTED;
    }
    backend.count = count;
    if (index >= count) {
        snprintf(message, sizeof message, "--device %d: this machine has " NAME " devices 0 to %d",
                 index, count - 1);
        return DSV4_ERROR;
    }
    if (check(GPU(SetDevice)(index), NAME "SetDevice") != DSV4_OK) return DSV4_ERROR;
    return describe_device(index);
}

static void gpu_describe(char *text, size_t size) { snprintf(text, size, "%s", device_text); }

/* ---- memory ---- */

static int gpu_alloc(void **memory, size_t bytes) {
    return check(GPU(Malloc)(memory, bytes), NAME "Malloc");
}

static int gpu_release(void *memory) { return check(GPU(Free)(memory), NAME "Free"); }

static int gpu_zero(void *memory, size_t bytes) {
    const int status = check(GPU(Memset)(memory, 0, bytes), NAME "Memset");
    return status != DSV4_OK ? status : check(GPU(DeviceSynchronize)(), NAME "Memset");
}

/* A copy from pageable memory may return before it has landed. */
static int gpu_upload(void *device, const void *host, size_t bytes) {
    const int status = check(GPU(Memcpy)(device, host, bytes, GPU_TO_DEVICE), NAME "Memcpy");
    return status != DSV4_OK ? status : check(GPU(DeviceSynchronize)(), NAME "Memcpy");
}

static int gpu_download(void *host, const void *device, size_t bytes) {
    return check(GPU(Memcpy)(host, device, bytes, GPU_TO_HOST), NAME "Memcpy");
}

/* ---- streams ---- */

static int gpu_stream_create(void **stream) {
    return check(GPU(StreamCreate)((gpu_stream *)stream), NAME "StreamCreate");
}

static int gpu_stream_destroy(void *stream) {
    return check(GPU(StreamDestroy)(stream), NAME "StreamDestroy");
}

static int gpu_stream_sync(void *stream) {
    const int status = check(GPU(StreamSynchronize)(stream), "after the call");
    if (status != DSV4_OK) return status;
    /* Work on other streams counts too, and so do launches that failed without anybody asking. */
    if (check(GPU(DeviceSynchronize)(), "after the call") != DSV4_OK) return DSV4_ERROR;
    return check(GPU(GetLastError)(), "a launch that nobody checked");
}

static int gpu_copy_time(void *destination, const void *source, size_t bytes, void *stream,
                         int count, double *seconds) {
    gpu_event start = NULL, stop = NULL;
    float milliseconds = 0;
    gpu_error error = GPU(EventCreate)(&start);
    if (error == 0) error = GPU(EventCreate)(&stop);
    if (error == 0) error = GPU(EventRecord)(start, stream);
    for (int i = 0; i < count && error == 0; i++)
        error = GPU(MemcpyAsync)(destination, source, bytes, GPU_ON_DEVICE, stream);
    if (error == 0) error = GPU(EventRecord)(stop, stream);
    if (error == 0) error = GPU(EventSynchronize)(stop);
    if (error == 0) error = GPU(EventElapsedTime)(&milliseconds, start, stop);
    if (start != NULL) GPU(EventDestroy)(start);
    if (stop != NULL) GPU(EventDestroy)(stop);
    *seconds = 1e-3 * (double)milliseconds;
    return check(error, NAME "MemcpyAsync");
}

#if defined(DSV4_CUDA) && CUDART_VERSION >= 12080

/* One kernel that does nothing, and one that marks *found if any of `count` blocks of 16 bytes is not 0: as PTX, so that
 * this file needs no device compiler. */
static const char kernels_ptx[] = ".version 7.0\n"
                                  ".target sm_70\n"
                                  ".address_size 64\n"
                                  ".visible .entry dsv4_empty()\n"
                                  "{\n"
                                  "ret;\n"
                                  "}\n"
                                  ".visible .entry dsv4_find_written(\n"
                                  ".param .u64 memory, .param .u64 count, .param .u64 found)\n"
                                  "{\n"
                                  ".reg .pred %p;\n"
                                  ".reg .b32 %x, %y, %z, %w;\n"
                                  ".reg .b64 %i, %n, %at;\n"
                                  "mov.u32 %x, %ctaid.x;\n"
                                  "mov.u32 %y, %ntid.x;\n"
                                  "mov.u32 %z, %tid.x;\n"
                                  "cvt.u64.u32 %n, %z;\n"
                                  "mul.wide.u32 %i, %x, %y;\n"
                                  "add.u64 %i, %i, %n;\n"
                                  "ld.param.u64 %n, [count];\n"
                                  "setp.ge.u64 %p, %i, %n;\n"
                                  "@%p ret;\n"
                                  "ld.param.u64 %at, [memory];\n"
                                  "shl.b64 %i, %i, 4;\n"
                                  "add.u64 %at, %at, %i;\n"
                                  "ld.global.v4.b32 {%x, %y, %z, %w}, [%at];\n"
                                  "or.b32 %x, %x, %y;\n"
                                  "or.b32 %z, %z, %w;\n"
                                  "or.b32 %x, %x, %z;\n"
                                  "setp.eq.u32 %p, %x, 0;\n"
                                  "@%p ret;\n"
                                  "ld.param.u64 %at, [found];\n"
                                  "st.global.b32 [%at], %x;\n"
                                  "ret;\n"
                                  "}\n";

static int gpu_find_kernel(cudaKernel_t *kernel, const char *name) {
    static cudaLibrary_t library;
    if (library == NULL &&
        check(cudaLibraryLoadData(&library, kernels_ptx, NULL, NULL, 0, NULL, NULL, 0),
              "cudaLibraryLoadData") != DSV4_OK)
        return DSV4_ERROR;
    return check(cudaLibraryGetKernel(kernel, library, name), "cudaLibraryGetKernel");
}

static int gpu_empty(void *stream) {
    static cudaKernel_t kernel;
    const dim3 one = {1, 1, 1};
    if (kernel == NULL && gpu_find_kernel(&kernel, "dsv4_empty") != DSV4_OK) return DSV4_ERROR;
    return check(cudaLaunchKernel((const void *)kernel, one, one, NULL, 0, stream),
                 "cudaLaunchKernel");
}

static int gpu_warm(void) {
    cudaKernel_t kernel;
    return gpu_find_kernel(&kernel, "dsv4_empty");
}

/* Cleared memory that holds zeros still. Bringing gigabytes to the host to find that out would take seconds. Errors are
 * left to the copy that follows. */
static bool gpu_untouched(const void *memory, size_t bytes) {
    enum { THREADS = 256 };
    static cudaKernel_t kernel;
    static void *found; /* as long as the process lives */
    uint64_t count = bytes / 16;
    uint32_t any = 0;
    void *arguments[] = {&memory, &count, &found};
    const dim3 blocks = {(unsigned)((count + THREADS - 1) / THREADS), 1, 1},
               threads = {THREADS, 1, 1};
    if (bytes % 16 != 0 || bytes == 0) return false;
    if (kernel == NULL && gpu_find_kernel(&kernel, "dsv4_find_written") != DSV4_OK) return false;
    if (found == NULL && gpu_alloc(&found, sizeof any) != DSV4_OK) return false;
    return cudaMemset(found, 0, sizeof any) == cudaSuccess &&
           cudaLaunchKernel((const void *)kernel, blocks, threads, arguments, 0, NULL) ==
               cudaSuccess &&
           cudaMemcpy(&any, found, sizeof any, GPU_TO_HOST) == cudaSuccess && any == 0;
}
#define GPU_UNTOUCHED gpu_untouched

#else

/* No device compiler and no portable kernel image here: a four-byte memset is the nearest to an empty kernel. */
static void *scratch;

static int gpu_warm(void) {
    return scratch != NULL ? DSV4_OK : check(GPU(Malloc)(&scratch, 4), NAME "Malloc");
}

static int gpu_empty(void *stream) {
    return check(GPU(MemsetAsync)(scratch, 0, 4, stream), NAME "MemsetAsync");
}

#endif

/* ---- graphs ---- */

struct graph {
    gpu_graph graph;
    gpu_graph_exec exec;
    gpu_event start, stop;
};

static int gpu_graph_begin(void *stream, bool strict) {
    if (gpu_warm() != DSV4_OK)
        return DSV4_ERROR; /* what empty() needs cannot be made while capturing */
    return check(GPU(StreamBeginCapture)(stream, strict ? GPU_CAPTURE_GLOBAL : GPU_CAPTURE_RELAXED),
                 NAME "StreamBeginCapture");
}

static int gpu_graph_destroy(void *handle) {
    struct graph *const g = handle;
    gpu_error error = 0;
    if (g->start != NULL) error = error != 0 ? error : GPU(EventDestroy)(g->start);
    if (g->stop != NULL) error = error != 0 ? error : GPU(EventDestroy)(g->stop);
    if (g->exec != NULL) error = error != 0 ? error : GPU(GraphExecDestroy)(g->exec);
    if (g->graph != NULL) error = error != 0 ? error : GPU(GraphDestroy)(g->graph);
    dsv4_free(g);
    return check(error, "destroying a graph");
}

static int gpu_graph_end(void *stream, void **handle, size_t *nodes) {
    struct graph *const g = dsv4_alloc(sizeof *g);
    if (check(GPU(StreamEndCapture)(stream, &g->graph), NAME "StreamEndCapture") == DSV4_OK &&
        check(GPU(GraphGetNodes)(g->graph, NULL, nodes), NAME "GraphGetNodes") == DSV4_OK &&
        check(GPU(GraphInstantiateWithFlags)(&g->exec, g->graph, 0), NAME "GraphInstantiate") ==
            DSV4_OK &&
        check(GPU(EventCreate)(&g->start), NAME "EventCreate") == DSV4_OK &&
        check(GPU(EventCreate)(&g->stop), NAME "EventCreate") == DSV4_OK) {
        *handle = g;
        return DSV4_OK;
    }
    char first[sizeof message];
    memcpy(first, message, sizeof first);
    gpu_graph_destroy(g);
    memcpy(message, first, sizeof first);
    return DSV4_ERROR;
}

static int gpu_graph_time(void *handle, void *stream, int count, double *seconds) {
    struct graph *const g = handle;
    float milliseconds = 0;
    gpu_error error = GPU(EventRecord)(g->start, stream);
    for (int i = 0; i < count && error == 0; i++) error = GPU(GraphLaunch)(g->exec, stream);
    if (error == 0) error = GPU(EventRecord)(g->stop, stream);
    if (error == 0) error = GPU(EventSynchronize)(g->stop);
    if (error == 0) error = GPU(EventElapsedTime)(&milliseconds, g->start, g->stop);
    *seconds = 1e-3 * (double)milliseconds;
    return check(error, "replaying a graph");
}

const struct dsv4_device *dsv4_device_v1(void);
const struct dsv4_device *dsv4_device_v1(void) { return &backend; }

static struct dsv4_device backend = {
    .size = sizeof(struct dsv4_device),
    .name = NAME,
    .open = gpu_open,
    .describe = gpu_describe,
    .error = gpu_error_text,
    .alloc = gpu_alloc,
    .release = gpu_release,
    .zero = gpu_zero,
    .upload = gpu_upload,
    .download = gpu_download,
    .stream_create = gpu_stream_create,
    .stream_destroy = gpu_stream_destroy,
    .stream_sync = gpu_stream_sync,
    .copy_time = gpu_copy_time,
    .empty = gpu_empty,
    .graph_begin = gpu_graph_begin,
    .graph_end = gpu_graph_end,
    .graph_destroy = gpu_graph_destroy,
    .graph_time = gpu_graph_time,
#if defined(DSV4_HIP)
    .accepts = hip_accepts,
    .declare = hip_declare,
#endif
#if defined(GPU_UNTOUCHED)
    .untouched = GPU_UNTOUCHED,
#endif
};
