/* SPDX-License-Identifier: Apache-2.0 */
/* Graphs: captured with a fork and a join, replayed, updated, built by hand; and what a capture forbids. */
#include "expect.h"

__global__ void scale(float *data, float factor, int n) {
    const int i = (int)(blockIdx.x * blockDim.x + threadIdx.x);
    if (i < n) data[i] *= factor;
}

__global__ void add(float *to, const float *from, int n) {
    const int i = (int)(blockIdx.x * blockDim.x + threadIdx.x);
    if (i < n) to[i] += from[i];
}

enum { N = 500 };
static float host[N];
static float *a, *b;
static hipStream_t stream, side;
static hipEvent_t fork_event, join_event;

static void fill(float *to, float value) {
    for (int i = 0; i < N; i++) host[i] = value + (float)i;
    OK(hipMemcpy(to, host, sizeof host, hipMemcpyHostToDevice));
}

static bool holds(const float *from, float scale_of_i, float offset) {
    OK(hipMemcpy(host, from, sizeof host, hipMemcpyDeviceToHost));
    for (int i = 0; i < N; i++)
        if (host[i] != scale_of_i * (float)i + offset) return false;
    return true;
}

static hipGraph_t record(float factor) {
    hipGraph_t graph = nullptr;
    hipStreamCaptureStatus status;
    OK(hipStreamBeginCapture(stream, hipStreamCaptureModeGlobal));
    OK(hipStreamIsCapturing(stream, &status));
    EXPECT(status == hipStreamCaptureStatusActive);
    OK(hipEventRecord(fork_event, stream));
    OK(hipStreamWaitEvent(side, fork_event, 0));
    scale<<<2, 256, 0, stream>>>(a, factor, N);
    scale<<<2, 256, 0, side>>>(b, 10.0f, N);
    OK(hipEventRecord(join_event, side));
    OK(hipStreamWaitEvent(stream, join_event, 0));
    add<<<2, 256, 0, stream>>>(a, b, N);
    OK(hipStreamEndCapture(stream, &graph));
    OK(hipStreamIsCapturing(side, &status));
    EXPECT(status == hipStreamCaptureStatusNone);
    return graph;
}

static void captured() {
    hipGraphExec_t exec;
    hipGraphNode_t node;
    hipGraphExecUpdateResult result;
    size_t n = 0;
    fill(a, 0);
    fill(b, 0);
    hipGraph_t graph = record(2.0f);
    EXPECT(holds(a, 1, 0)); /* nothing ran yet */
    OK(hipGraphGetNodes(graph, nullptr, &n));
    EXPECT(n == 3);
    OK(hipGraphInstantiate(&exec, graph, nullptr, nullptr, 0));
    OK(hipGraphDestroy(graph));
    OK(hipGraphLaunch(exec, stream));
    OK(hipStreamSynchronize(stream));
    EXPECT(holds(a, 12, 0)); /* 2 i + 10 i */
    OK(hipGraphLaunch(exec, stream));
    OK(hipGraphLaunch(exec, side));
    OK(hipDeviceSynchronize());
    EXPECT(holds(a, 2 * (2 * 12 + 100) + 1000, 0));

    hipGraph_t other = record(3.0f);
    OK(hipGraphExecUpdate(exec, other, &node, &result));
    EXPECT(result == hipGraphExecUpdateSuccess);
    fill(a, 0);
    fill(b, 0);
    OK(hipGraphLaunch(exec, stream));
    EXPECT(holds(a, 13, 0));
    OK(hipGraphDestroy(other));

    OK(hipStreamBeginCapture(stream, hipStreamCaptureModeGlobal));
    scale<<<2, 256, 0, stream>>>(a, 1.0f, N);
    OK(hipStreamEndCapture(stream, &other));
    EXPECT_ERROR(hipGraphExecUpdate(exec, other, &node, &result), hipErrorGraphExecUpdateFailure);
    EXPECT(result == hipGraphExecUpdateErrorTopologyChanged);
    (void)hipGetLastError();
    OK(hipGraphDestroy(other));
    OK(hipGraphExecDestroy(exec));
}

static void count(void *data) { ++*(int *)data; }

static void by_hand() {
    hipGraph_t graph;
    hipGraphExec_t exec;
    hipGraphNode_t copy, clear, work, call, nothing;
    int calls = 0, n = N;
    float factor = 4.0f, source[N];
    for (int i = 0; i < N; i++) source[i] = (float)i;
    OK(hipGraphCreate(&graph, 0));
    OK(hipGraphAddMemcpyNode1D(&copy, graph, nullptr, 0, a, source, sizeof source,
                               hipMemcpyHostToDevice));
    hipMemsetParams set = {};
    set.dst = b;
    set.elementSize = 4;
    set.value = 0x40000000; /* 2.0f */
    set.width = N;
    set.height = 1;
    OK(hipGraphAddMemsetNode(&clear, graph, nullptr, 0, &set));
    void *arguments[] = {&a, &factor, &n};
    hipKernelNodeParams kernel = {};
    kernel.func = (void *)scale;
    kernel.gridDim = dim3(2);
    kernel.blockDim = dim3(256);
    kernel.kernelParams = arguments;
    OK(hipGraphAddKernelNode(&work, graph, &copy, 1, &kernel));
    hipHostNodeParams host_call = {count, &calls};
    OK(hipGraphAddHostNode(&call, graph, nullptr, 0, &host_call));
    const hipGraphNode_t all[] = {clear, work};
    OK(hipGraphAddEmptyNode(&nothing, graph, all, 2));
    OK(hipGraphAddDependencies(graph, &nothing, &call, 1));
    OK(hipGraphInstantiate(&exec, graph, nullptr, nullptr, 0));
    factor = 1000; /* was copied */
    OK(hipGraphLaunch(exec, stream));
    OK(hipStreamSynchronize(stream));
    EXPECT(calls == 1);
    EXPECT(holds(a, 4, 0));
    EXPECT(holds(b, 0, 2));
    factor = 0.5f;
    OK(hipGraphExecKernelNodeSetParams(exec, work, &kernel));
    OK(hipGraphLaunch(exec, stream));
    EXPECT(holds(a, 0.5f, 0));
    hipKernelNodeParams read;
    OK(hipGraphKernelNodeGetParams(work, &read));
    EXPECT(read.gridDim.x == 2 && read.blockDim.x == 256 && *(float *)read.kernelParams[1] == 4.0f);
    OK(hipGraphAddDependencies(graph, &call, &copy, 1)); /* a cycle */
    hipGraphExec_t none;
    EXPECT_ERROR(hipGraphInstantiate(&none, graph, nullptr, nullptr, 0), hipErrorInvalidValue);
    OK(hipGraphExecDestroy(exec));
    OK(hipGraphDestroy(graph));
    (void)hipGetLastError();
}

/* Begins a capture in which `call` must fail with `wanted`; the capture must end with `outcome`. */
#define FORBIDDEN(mode, call, wanted, outcome)                                                     \
    do {                                                                                           \
        hipGraph_t graph_ = nullptr;                                                               \
        OK(hipStreamBeginCapture(stream, mode));                                                   \
        scale<<<2, 256, 0, stream>>>(a, 1.0f, N);                                                  \
        EXPECT_ERROR(call, wanted);                                                                \
        EXPECT_ERROR(hipStreamEndCapture(stream, &graph_), outcome);                               \
        if (graph_ != nullptr) OK(hipGraphDestroy(graph_));                                        \
        (void)hipGetLastError();                                                                   \
    } while (0)

static void forbidden() {
    void *memory = nullptr;
    const hipStreamCaptureMode global = hipStreamCaptureModeGlobal;
    FORBIDDEN(global, hipMalloc(&memory, 64), hipErrorStreamCaptureUnsupported,
              hipErrorStreamCaptureInvalidated);
    FORBIDDEN(global, hipStreamSynchronize(stream), hipErrorStreamCaptureUnsupported,
              hipErrorStreamCaptureInvalidated);
    FORBIDDEN(global, hipStreamQuery(stream), hipErrorStreamCaptureUnsupported,
              hipErrorStreamCaptureInvalidated);
    FORBIDDEN(global, hipDeviceSynchronize(), hipErrorStreamCaptureUnsupported,
              hipErrorStreamCaptureInvalidated);
    FORBIDDEN(global, hipMemcpy(host, a, sizeof host, hipMemcpyDeviceToHost),
              hipErrorStreamCaptureImplicit, hipErrorStreamCaptureInvalidated);
    FORBIDDEN(hipStreamCaptureModeRelaxed, hipMalloc(&memory, 64), hipSuccess, hipSuccess);
    OK(hipFree(memory));
    OK(hipEventRecord(fork_event, side));
    FORBIDDEN(global, hipStreamWaitEvent(stream, fork_event, 0), hipErrorStreamCaptureIsolation,
              hipErrorStreamCaptureInvalidated);
    FORBIDDEN(global, hipStreamBeginCapture(stream, global), hipErrorIllegalState, hipSuccess);
    FORBIDDEN(global, hipMemcpyAsync(a, b, 4 * sizeof host, hipMemcpyDeviceToDevice, stream),
              hipErrorInvalidValue, hipSuccess);

    hipGraph_t graph;
    OK(hipStreamBeginCapture(stream, global));
    OK(hipEventRecord(fork_event, stream));
    EXPECT_ERROR(hipEventQuery(fork_event), hipErrorCapturedEvent);
    EXPECT_ERROR(hipStreamEndCapture(stream, &graph), hipErrorStreamCaptureInvalidated);
    OK(hipStreamBeginCapture(stream, global));
    OK(hipEventRecord(fork_event, stream));
    OK(hipStreamWaitEvent(side, fork_event, 0));
    scale<<<2, 256, 0, side>>>(a, 1.0f, N);
    EXPECT_ERROR(hipStreamEndCapture(stream, &graph), hipErrorStreamCaptureUnjoined);
    EXPECT_ERROR(hipStreamEndCapture(stream, &graph), hipErrorIllegalState);
    EXPECT_ERROR(hipStreamBeginCapture(nullptr, global), hipErrorStreamCaptureUnsupported);
    (void)hipGetLastError();
}

int main() {
    OK(hipMalloc(&a, sizeof host));
    OK(hipMalloc(&b, sizeof host));
    OK(hipStreamCreate(&stream));
    OK(hipStreamCreate(&side));
    OK(hipEventCreate(&fork_event));
    OK(hipEventCreate(&join_event));
    captured();
    by_hand();
    forbidden();
    OK(hipFree(a));
    OK(hipFree(b));
    OK(hipStreamDestroy(stream));
    OK(hipStreamDestroy(side));
    return done();
}
