/* A test double of NVIDIA's driver library: the calls that nas/latency/runtimes/cuda_driver.py
   makes. Device memory is the host's; an event is the time it was recorded. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static double now_ms(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return 1e3 * t.tv_sec + 1e-6 * t.tv_nsec;
}

int cuInit(unsigned flags) { return flags; }
int cuDeviceGet(int *device, int ordinal) { *device = ordinal; return 0; }
int cuDeviceGetName(char *name, int length, int device) {
    strncpy(name, "Test GPU 100", length);
    return device;
}
int cuDevicePrimaryCtxRetain(void **context, int device) { *context = malloc(1); return device; }
int cuCtxSetCurrent(void *context) { return context == NULL; }
int cuMemAlloc_v2(uint64_t *address, size_t size) {
    *address = (uint64_t)(uintptr_t)malloc(size);
    return 0;
}
int cuMemsetD8_v2(uint64_t address, unsigned char value, size_t size) {
    memset((void *)(uintptr_t)address, value, size);
    return 0;
}
int cuMemFree_v2(uint64_t address) { free((void *)(uintptr_t)address); return 0; }
int cuStreamCreate(void **stream, unsigned flags) { *stream = malloc(flags); return 0; }
int cuEventCreate(void **event, unsigned flags) { *event = calloc(1, sizeof(double)); return flags; }
int cuEventRecord(void *event, void *stream) {
    *(double *)event = now_ms();
    return stream == NULL;
}
int cuEventSynchronize(void *event) { return event == NULL; }
int cuEventElapsedTime(float *ms, void *start, void *end) {
    *ms = (float)(*(double *)end - *(double *)start);
    return 0;
}
