/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the files of the HIP runtime share. Everything runs when it is called: a stream is an order that has already
 * been kept. What differs is capture, where the same operation becomes a graph's node instead: hence struct emu_op.
 *
 * The public functions are declared where they are defined; programs bring AMD's headers. One lock is held inside each
 * of them, so that their data needs no other.
 */
#ifndef DSV4_EMU_HIP_H
#define DSV4_EMU_HIP_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "../code.h"
#include "../wave.h"

enum {
#define ERROR(name, code, text) name = code,
#include "errors.def"
#undef ERROR
};

/* A public function of HIP: declared, then defined. */
#define HIP(name, ...)                                                                             \
    int name(__VA_ARGS__);                                                                         \
    int name(__VA_ARGS__)

/* The body of one: under the lock, and the result becomes the thread's last error. */
#define RETURN(result)                                                                             \
    do {                                                                                           \
        emu_enter();                                                                               \
        return emu_leave(result);                                                                  \
    } while (0)
/* The same for what touches the device: after a fault it fails. */
#define RETURN_WORK(result)                                                                        \
    do {                                                                                           \
        emu_enter();                                                                               \
        const int sticky_ = emu_sticky();                                                          \
        return emu_leave(sticky_ != hipSuccess ? sticky_ : (result));                              \
    } while (0)

void emu_enter(void);
int emu_leave(int error);
/* The error of a kernel's fault, which every later call on the device repeats; hipSuccess if there was none. */
int emu_sticky(void);
/* Keeps and prints the fault; returns its error. */
int emu_faulted(const struct emu_fault *fault);
/* Returns the error and keeps one sentence about it for dsv4_emu_fault(). */
int emu_explain(int error, const char *format, ...) __attribute__((format(printf, 2, 3)));
void emu_forget_fault(void);
/* What went wrong last, in words: a kernel's fault, or the reason why a call was refused; "" if nothing did. */
const char *dsv4_emu_fault(void);
const char *emu_error_name(int error);

struct emu_list {
    void **items;
    size_t n;
};
void emu_list_add(struct emu_list *list, void *item);
bool emu_list_has(const struct emu_list *list, const void *item);
bool emu_list_remove(struct emu_list *list, const void *item);
void emu_list_free(struct emu_list *list);
void emu_list_copy(struct emu_list *to, const struct emu_list *from);

/* ---- HIP's structs, as its headers lay them out ---- */

struct emu_dim3 {
    uint32_t x, y, z;
};

struct emu_extent {
    size_t width, height, depth;
};

struct emu_position {
    size_t x, y, z;
};

struct emu_pitched {
    void *memory;
    size_t pitch, width, height;
};

struct emu_copy3d_params {
    void *from_array;
    struct emu_position from_position;
    struct emu_pitched from;
    void *to_array;
    struct emu_position to_position;
    struct emu_pitched to;
    struct emu_extent extent;
    int kind;
};

struct emu_kernel_params {
    struct emu_dim3 block;
    void **extra;
    void *function;
    struct emu_dim3 grid;
    void **arguments;
    unsigned dynamic_lds;
};

struct emu_fill_params {
    void *to;
    unsigned element;
    size_t height, pitch;
    unsigned value;
    size_t width;
};

typedef void emu_host_function(void *data);

struct emu_host_params {
    emu_host_function *function;
    void *data;
};

enum emu_copy_kind {
    EMU_HOST_TO_HOST,
    EMU_HOST_TO_DEVICE,
    EMU_DEVICE_TO_HOST,
    EMU_DEVICE_TO_DEVICE,
    EMU_COPY_DEFAULT,
    EMU_DEVICE_TO_DEVICE_NO_CU = 1024
};

/* ---- modules and functions ---- */

struct emu_module {
    const void *image; /* until it is loaded */
    void *copy;        /* of the image, where the caller's may go away */
    size_t bytes;
    struct emu_code *code;
    int error; /* of loading */
    struct emu_list functions, managed;
};

struct emu_function {
    struct emu_module *module;
    char *name;
    const void *host;                /* what the host calls it by, or NULL */
    const struct emu_kernel *kernel; /* once it is looked up */
    uint32_t max_dynamic_lds;
};

/* The function of a launch: a host symbol that was registered, or a handle of a module; NULL if it is neither. */
struct emu_function *emu_function_find(const void *symbol);
/* Loads the module where need be. */
int emu_function_kernel(struct emu_function *function, const struct emu_kernel **kernel);
int emu_module_load(struct emu_module *module);
struct emu_module *emu_module_create(const void *image, size_t bytes, bool copy);
void emu_module_free(struct emu_module *module);
/* A variable by the address of its host shadow. */
int emu_symbol_find(const void *symbol, void **address, size_t *bytes);
/* Length of a code object or bundle in memory, by its headers; 0 if it is none. */
size_t emu_image_bytes(const void *image);

/* ---- operations ---- */

enum emu_op_kind {
    EMU_OP_KERNEL,
    EMU_OP_COPY,
    EMU_OP_FILL,
    EMU_OP_HOST,
    EMU_OP_GRAPH,
    EMU_OP_EMPTY,
    EMU_OP_WAIT,
    EMU_OP_RECORD,
    EMU_OP_ALLOC = 10, /* the numbers are hipGraphNodeType's of ROCm 6 */
    EMU_OP_FREE
};

struct emu_event;
struct emu_graph;

struct emu_launch_op {
    const void *symbol;
    struct emu_function *function;
    uint32_t grid[3], block[3];
    uint32_t dynamic_lds;
    void *arguments; /* laid out as the metadata says */
    size_t bytes;
    void **pointers; /* one per explicit argument, into `arguments` */
    size_t n_pointers;
    struct emu_event *start, *stop;
    bool cooperative;
};

struct emu_copy_op {
    char *to;
    const char *from;
    size_t to_pitch, to_slice, from_pitch, from_slice;
    struct emu_extent extent; /* width in bytes */
    int kind;
};

struct emu_fill_op {
    char *to;
    size_t pitch, slice;
    struct emu_extent extent; /* width in elements */
    uint32_t element, value;
};

struct emu_op {
    enum emu_op_kind kind;
    union {
        struct emu_launch_op launch;
        struct emu_copy_op copy;
        struct emu_fill_op fill;
        struct emu_host_params host;
        struct emu_graph *graph;
        struct emu_event *event;
        void *memory;
    };
};

/* Whether its arguments are valid. */
int emu_op_check(const struct emu_op *op);
int emu_op_run(const struct emu_op *op);
void emu_op_copy(struct emu_op *to, const struct emu_op *from);
void emu_op_free(struct emu_op *op);
/* Does it now, or adds it to the graph that the stream captures. */
int emu_submit(void *stream, const struct emu_op *op);

int emu_launch_check(const struct emu_launch_op *launch);
int emu_launch_run(const struct emu_launch_op *launch);
/* Fills function, arguments, pointers: allocated, emu_op_free frees them. */
int emu_launch_bind(struct emu_launch_op *launch, const void *symbol, void **arguments,
                    void **extra);
int emu_launch_from_params(struct emu_op *op, const struct emu_kernel_params *params);

int emu_copy_check(const struct emu_copy_op *copy);
void emu_copy_run(const struct emu_copy_op *copy);
int emu_copy_line(struct emu_op *op, void *to, const void *from, size_t bytes, int kind);
int emu_copy_from_params(struct emu_op *op, const struct emu_copy3d_params *params);
int emu_fill_check(const struct emu_fill_op *fill);
void emu_fill_run(const struct emu_fill_op *fill);
int emu_fill_from_params(struct emu_op *op, const struct emu_fill_params *params);

/* ---- streams, events, capture ---- */

enum { EMU_STREAM_NON_BLOCKING = 1, EMU_EVENT_NO_TIMING = 2 };
enum emu_capture_mode { EMU_CAPTURE_GLOBAL, EMU_CAPTURE_THREAD, EMU_CAPTURE_RELAXED };
enum emu_capture_status { EMU_NOT_CAPTURING, EMU_CAPTURING, EMU_CAPTURE_INVALID };

struct emu_capture;

struct emu_stream {
    unsigned flags;
    int priority;
    struct emu_capture *capture;
    struct emu_list last; /* nodes that the next one depends on */
};

struct emu_capture {
    uint64_t id;
    enum emu_capture_mode mode;
    enum emu_capture_status status;
    struct emu_graph *graph;
    struct emu_stream *origin;
    struct emu_list streams; /* that take part, the origin too */
    pthread_t thread;
};

struct emu_event {
    unsigned flags;
    bool recorded;
    uint64_t nanoseconds;
    uint64_t capture; /* id of the capture that it was recorded in last, or 0 */
    struct emu_list last;
};

/* The stream of a handle, also of HIP's special ones; NULL if it is none. */
struct emu_stream *emu_stream_find(void *handle);
struct emu_stream *emu_stream_legacy(void);
bool emu_event_live(const struct emu_event *event);
void emu_event_stamp(struct emu_event *event);

/* For calls that must not happen while a stream captures: invalidates those captures and returns the error. */
int emu_capture_forbids(void);          /* unsafe calls: hipMalloc, ... */
int emu_capture_forbids_implicit(void); /* the legacy stream would wait for a capturing one */
int emu_capture_forbids_all(void);      /* hipDeviceSynchronize */
int emu_capture_forbids_stream(struct emu_stream *stream);
struct emu_capture *emu_capture_by_id(uint64_t id);
void emu_capture_invalidate(struct emu_capture *capture);
void emu_capture_leave(struct emu_stream *stream); /* the stream is being destroyed */

/* ---- graphs ---- */

struct emu_node {
    struct emu_graph *graph;
    uint64_t origin; /* the same in all copies of a graph */
    struct emu_op op;
    struct emu_list dependencies;
    bool disabled;
};

struct emu_graph {
    struct emu_list nodes;
};

struct emu_graph *emu_graph_create(void);
void emu_graph_free(struct emu_graph *graph);
struct emu_graph *emu_graph_clone(const struct emu_graph *graph);
/* Takes the op's contents over. */
struct emu_node *emu_graph_add(struct emu_graph *graph, const struct emu_list *dependencies,
                               struct emu_op *op);
void emu_graph_register(struct emu_graph *graph); /* makes it a handle of the caller's */
bool emu_graph_live(const struct emu_graph *graph);
/* Reorders the nodes so that dependencies come first; false if they form a cycle. */
bool emu_graph_sort(struct emu_graph *graph);
bool emu_exec_live(const struct emu_graph *exec);
int emu_graph_run(const struct emu_graph *graph);

/* ---- the device ---- */

enum {
    EMU_COMPUTE_UNITS = 304,
    EMU_MAX_BLOCK = 1024,
    EMU_LDS_BYTES = 65536,
    EMU_SIMDS = 4,
    EMU_WAVES_PER_SIMD = 8,
    EMU_SIMD_VGPRS = 512,
    EMU_HIP_VERSION = 60342134
};

/* Workgroups that fit on a compute unit together. */
int emu_occupancy(const struct emu_function *function, int block, size_t dynamic_lds);

#endif
