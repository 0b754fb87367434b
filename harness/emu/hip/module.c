/* SPDX-License-Identifier: Apache-2.0 */
/* Code objects: those that a program registers for itself when it starts, and those that it loads. */
#include <stdio.h>
#include <string.h>

#include "../../../reference/memory.h"
#include "../space.h"
#include "hip.h"

/* A variable that host code names by its shadow. */
struct variable {
    struct emu_module *module;
    const void *host;
    char *name;
};

/* A managed variable: the host's pointer to it, and the device's. */
struct managed {
    void *memory;
    char *name;
};

static struct emu_list modules;    /* handles of hipModuleLoad */
static struct emu_list registered; /* what programs and libraries brought with them */
static struct emu_list functions;  /* registered ones and handles of hipModuleGetFunction */
static struct emu_list variables;

struct emu_module *emu_module_create(const void *image, size_t bytes, bool copy) {
    struct emu_module *const module = dsv4_alloc(sizeof *module);
    module->image = image;
    module->bytes = bytes;
    if (copy) module->image = module->copy = memcpy(dsv4_alloc(bytes), image, bytes);
    return module;
}

static struct emu_function *add_function(struct emu_module *module, const char *name,
                                         const void *host) {
    struct emu_function *const function = dsv4_alloc(sizeof *function);
    function->module = module;
    function->name = dsv4_copy_text(name);
    function->host = host;
    function->max_dynamic_lds = EMU_LDS_BYTES;
    emu_list_add(&module->functions, function);
    emu_list_add(&functions, function);
    return function;
}

static void free_function(struct emu_function *function) {
    emu_list_remove(&functions, function);
    dsv4_free(function->name);
    dsv4_free(function);
}

static void free_variables(const struct emu_module *module) {
    for (size_t i = variables.n; i-- > 0;) {
        struct variable *const variable = variables.items[i];
        if (variable->module != module) continue;
        emu_list_remove(&variables, variable);
        dsv4_free(variable->name);
        dsv4_free(variable);
    }
}

void emu_module_free(struct emu_module *module) {
    free_variables(module);
    for (size_t i = 0; i < module->functions.n; i++) free_function(module->functions.items[i]);
    for (size_t i = 0; i < module->managed.n; i++) {
        struct managed *const managed = module->managed.items[i];
        emu_space_free(managed->memory);
        dsv4_free(managed->name);
        dsv4_free(managed);
    }
    emu_list_free(&module->functions);
    emu_list_free(&module->managed);
    if (module->code != NULL) emu_code_free(module->code);
    dsv4_free(module->copy);
    dsv4_free(module);
}

/* The device's variable of a managed one holds the address that the host has too. */
static void bind_managed(const struct emu_module *module) {
    for (size_t i = 0; i < module->managed.n; i++) {
        const struct managed *const managed = module->managed.items[i];
        size_t bytes = 0;
        void *const pointer = emu_code_symbol(module->code, managed->name, &bytes);
        if (pointer != NULL && bytes == sizeof managed->memory)
            memcpy(pointer, &managed->memory, sizeof managed->memory);
    }
}

int emu_module_load(struct emu_module *module) {
    struct emu_error error = {""};
    if (module->code != NULL) return hipSuccess;
    if (module->error != hipSuccess) return module->error;
    if (module->bytes == 0) module->bytes = emu_image_bytes(module->image);
    if (module->bytes == 0)
        return module->error = emu_explain(hipErrorInvalidImage,
                                           "the module is neither an ELF file nor a clang offload "
                                           "bundle of a known version");
    module->code = emu_code_load(module->image, module->bytes, &error);
    if (module->code == NULL)
        return module->error = emu_explain(hipErrorNoBinaryForGpu, "%s", error.text);
    bind_managed(module);
    return hipSuccess;
}

struct emu_function *emu_function_find(const void *symbol) {
    if (symbol == NULL) return NULL;
    for (size_t i = 0; i < functions.n; i++) {
        struct emu_function *const function = functions.items[i];
        if (function->host == symbol || function == symbol) return function;
    }
    return NULL;
}

int emu_function_kernel(struct emu_function *function, const struct emu_kernel **kernel) {
    const int error = emu_module_load(function->module);
    if (error != hipSuccess) return error;
    if (function->kernel == NULL)
        function->kernel = emu_code_kernel(function->module->code, function->name);
    *kernel = function->kernel;
    return function->kernel != NULL
               ? hipSuccess
               : emu_explain(hipErrorInvalidDeviceFunction, "the code object has no kernel %s",
                             function->name);
}

/* ---- what clang's generated code calls before main() ---- */

struct wrapper {
    uint32_t magic, version;
    const void *image;
    const void *unused;
};

void **__hipRegisterFatBinary(const void *data);
void __hipUnregisterFatBinary(void **handle);
void __hipRegisterFunction(void **handle, const void *host, char *device, const char *name,
                           int threads, void *tid, void *bid, void *block, void *grid, int *warp);
void __hipRegisterVar(void **handle, void *host, char *device, const char *name, int external,
                      size_t bytes, int constant, int global);
void __hipRegisterManagedVar(void **handle, void **pointer, void *initial, const char *name,
                             size_t bytes, unsigned align);
void __hipRegisterSurface(void **handle, void *host, char *device, char *name, int type,
                          int external);
void __hipRegisterTexture(void **handle, void *host, char *device, char *name, int type,
                          int normalized, int external);

/* Loaded when it is first needed: an error then has a call that can return it. */
void **__hipRegisterFatBinary(const void *data) {
    enum { MAGIC = 0x48495046 };
    const struct wrapper *const wrapper = data;
    if (wrapper == NULL || wrapper->magic != MAGIC || wrapper->version != 1) {
        fprintf(stderr, "emulated gfx942: a fat binary without its magic number is registered\n");
        return NULL;
    }
    emu_enter();
    struct emu_module *const module = emu_module_create(wrapper->image, 0, false);
    emu_list_add(&registered, module);
    emu_leave(hipSuccess);
    return (void **)module;
}

void __hipUnregisterFatBinary(void **handle) {
    if (handle == NULL) return;
    emu_enter();
    emu_list_remove(&registered, handle);
    emu_module_free((struct emu_module *)handle);
    emu_leave(hipSuccess);
}

void __hipRegisterFunction(void **handle, const void *host, char *device, const char *name,
                           int threads, void *tid, void *bid, void *block, void *grid, int *warp) {
    (void)device, (void)threads, (void)tid, (void)bid, (void)block, (void)grid, (void)warp;
    if (handle == NULL) return;
    emu_enter();
    add_function((struct emu_module *)handle, name, host);
    emu_leave(hipSuccess);
}

void __hipRegisterVar(void **handle, void *host, char *device, const char *name, int external,
                      size_t bytes, int constant, int global) {
    (void)device, (void)external, (void)bytes, (void)constant, (void)global;
    if (handle == NULL) return;
    emu_enter();
    struct variable *const variable = dsv4_alloc(sizeof *variable);
    *variable = (struct variable){(struct emu_module *)handle, host, dsv4_copy_text(name)};
    emu_list_add(&variables, variable);
    emu_leave(hipSuccess);
}

void __hipRegisterManagedVar(void **handle, void **pointer, void *initial, const char *name,
                             size_t bytes, unsigned align) {
    (void)align; /* of an allocation: 256 */
    if (handle == NULL) return;
    emu_enter();
    struct managed *const managed = dsv4_alloc(sizeof *managed);
    managed->memory = emu_space_alloc(bytes, EMU_REGION_HOST);
    managed->name = dsv4_copy_text(name);
    if (managed->memory != NULL && initial != NULL) memcpy(managed->memory, initial, bytes);
    *pointer = managed->memory;
    emu_list_add(&((struct emu_module *)handle)->managed, managed);
    emu_leave(hipSuccess);
}

/* Using one is an error; having one is not. */
void __hipRegisterSurface(void **handle, void *host, char *device, char *name, int type,
                          int external) {
    (void)handle, (void)host, (void)device, (void)name, (void)type, (void)external;
}
void __hipRegisterTexture(void **handle, void *host, char *device, char *name, int type,
                          int normalized, int external) {
    (void)handle, (void)host, (void)device, (void)name, (void)type, (void)normalized,
        (void)external;
}

/* Whether everything that was registered can run here: NULL, or why not. Reading it costs what a first launch would. */
const char *dsv4_emu_refusal(void);
const char *dsv4_emu_refusal(void) {
    const char *text = NULL;
    emu_enter();
    for (size_t i = 0; i < registered.n && text == NULL; i++)
        if (emu_module_load(registered.items[i]) != hipSuccess) text = dsv4_emu_fault();
    emu_leave(hipSuccess);
    return text;
}

/* ---- symbols ---- */

int emu_symbol_find(const void *symbol, void **address, size_t *bytes) {
    for (size_t i = 0; i < variables.n && symbol != NULL; i++) {
        const struct variable *const variable = variables.items[i];
        if (variable->host != symbol) continue;
        const int error = emu_module_load(variable->module);
        if (error != hipSuccess) return error;
        *address = emu_code_symbol(variable->module->code, variable->name, bytes);
        return *address != NULL ? hipSuccess
                                : emu_explain(hipErrorInvalidSymbol,
                                              "the code object has no variable %s", variable->name);
    }
    return hipErrorInvalidSymbol;
}

static int symbol_address(void **address, const void *symbol) {
    size_t bytes;
    return address == NULL ? hipErrorInvalidValue : emu_symbol_find(symbol, address, &bytes);
}

static int symbol_size(size_t *bytes, const void *symbol) {
    void *address;
    return bytes == NULL ? hipErrorInvalidValue : emu_symbol_find(symbol, &address, bytes);
}

HIP(hipGetSymbolAddress, void **address, const void *symbol) {
    RETURN(symbol_address(address, symbol));
}
HIP(hipGetSymbolSize, size_t *bytes, const void *symbol) { RETURN(symbol_size(bytes, symbol)); }

/* ---- modules of the caller ---- */

static int load(struct emu_module **handle, const void *image, size_t bytes) {
    if (handle == NULL || image == NULL) return hipErrorInvalidValue;
    const int forbidden = emu_capture_forbids();
    if (forbidden != hipSuccess) return forbidden;
    *handle = NULL;
    if (bytes == 0) bytes = emu_image_bytes(image);
    struct emu_module *const module = emu_module_create(image, bytes, true);
    const int error = emu_module_load(module);
    if (error != hipSuccess) {
        emu_module_free(module);
        return error;
    }
    emu_list_add(&modules, module);
    *handle = module;
    return hipSuccess;
}

static int load_file(struct emu_module **handle, const char *path) {
    if (handle == NULL || path == NULL) return hipErrorInvalidValue;
    FILE *const file = fopen(path, "rb");
    if (file == NULL) return hipErrorFileNotFound;
    size_t room = 1 << 20, bytes = 0, n;
    char *image = dsv4_alloc(room);
    while ((n = fread(image + bytes, 1, room - bytes, file)) > 0) {
        bytes += n;
        if (bytes == room) image = dsv4_resize(image, room *= 2);
    }
    fclose(file);
    const int error = bytes > 0 ? load(handle, image, bytes) : hipErrorInvalidImage;
    dsv4_free(image);
    return error;
}

static int unload(struct emu_module *module) {
    if (module == NULL || !emu_list_remove(&modules, module)) return hipErrorInvalidHandle;
    emu_module_free(module);
    return hipSuccess;
}

HIP(hipModuleLoad, struct emu_module **handle, const char *path) {
    RETURN_WORK(load_file(handle, path));
}
HIP(hipModuleLoadData, struct emu_module **handle, const void *image) {
    RETURN_WORK(load(handle, image, 0));
}
HIP(hipModuleLoadDataEx, struct emu_module **handle, const void *image, unsigned n, int *options,
    void **values) {
    (void)n, (void)options, (void)values; /* for a compiler that is not needed */
    RETURN_WORK(load(handle, image, 0));
}
HIP(hipModuleLoadFatBinary, struct emu_module **handle, const void *image) {
    RETURN_WORK(load(handle, image, 0));
}
HIP(hipModuleUnload, struct emu_module *module) { RETURN(unload(module)); }

static int get_function(struct emu_function **handle, struct emu_module *module, const char *name) {
    if (handle == NULL || name == NULL) return hipErrorInvalidValue;
    *handle = NULL;
    if (name[0] == '\0') return hipErrorInvalidValue;
    if (module == NULL || !emu_list_has(&modules, module)) return hipErrorInvalidHandle;
    for (size_t i = 0; i < module->functions.n && *handle == NULL; i++) {
        struct emu_function *const function = module->functions.items[i];
        if (strcmp(function->name, name) == 0) *handle = function;
    }
    if (*handle == NULL && emu_code_kernel(module->code, name) != NULL)
        *handle = add_function(module, name, NULL);
    return *handle != NULL ? hipSuccess
                           : emu_explain(hipErrorNotFound, "the module has no kernel %s", name);
}

static int get_global(void **address, size_t *bytes, const struct emu_module *module,
                      const char *name) {
    size_t size = 0;
    if ((address == NULL && bytes == NULL) || name == NULL) return hipErrorInvalidValue;
    if (module == NULL || !emu_list_has(&modules, module)) return hipErrorInvalidHandle;
    void *const symbol = emu_code_symbol(module->code, name, &size);
    if (symbol == NULL) return emu_explain(hipErrorNotFound, "the module has no variable %s", name);
    if (address != NULL) *address = symbol;
    if (bytes != NULL) *bytes = size;
    return hipSuccess;
}

HIP(hipModuleGetFunction, struct emu_function **handle, struct emu_module *module,
    const char *name) {
    RETURN(get_function(handle, module, name));
}
HIP(hipModuleGetGlobal, void **address, size_t *bytes, struct emu_module *module,
    const char *name) {
    RETURN(get_global(address, bytes, module, name));
}

static int by_symbol(struct emu_function **handle, const void *symbol) {
    if (handle == NULL) return hipErrorInvalidValue;
    *handle = emu_function_find(symbol);
    return *handle != NULL ? hipSuccess : hipErrorInvalidDeviceFunction;
}

HIP(hipGetFuncBySymbol, struct emu_function **handle, const void *symbol) {
    RETURN(by_symbol(handle, symbol));
}

const char *hipKernelNameRef(const struct emu_function *function);
const char *hipKernelNameRef(const struct emu_function *function) {
    const struct emu_function *const known = emu_function_find(function);
    return known != NULL ? known->name : NULL;
}

const char *hipKernelNameRefByPtr(const void *symbol, void *stream);
const char *hipKernelNameRefByPtr(const void *symbol, void *stream) {
    (void)stream;
    return hipKernelNameRef(emu_function_find(symbol));
}
