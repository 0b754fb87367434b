# SPDX-License-Identifier: Apache-2.0
# The only build file. `make` alone prints the targets.
SHELL := /bin/bash
.DEFAULT_GOAL := help

J ?= $(shell nproc)
ifeq ($(MAKELEVEL),0)
MAKEFLAGS += -j$(J)
endif

ifneq ($(word 2,$(MAKECMDGOALS)),)
# Several goals run one after the other, each in a make of its own: in `make setup check` nothing
# looks for a compiler before setup has installed one.
.NOTPARALLEL:
.PHONY: $(MAKECMDGOALS)
$(MAKECMDGOALS):
	@$(MAKE) --no-print-directory $@
else

# ---- what can be chosen: ARCH= OP= CASE= TIER= TAG= DIALECT= IMPL= PLUGIN= ARGS= V=1 J= ----

CUDA_ARCHES := sm_80 sm_90 sm_100 sm_120
HIP_ARCHES := gfx90a gfx942 gfx950
ARCHES := cpu $(CUDA_ARCHES) $(HIP_ARCHES)
ARCH ?= cpu
ifeq ($(filter $(ARCHES),$(ARCH)),)
$(error ARCH=$(ARCH) is not known; choose one of: $(ARCHES))
endif

V ?= 0
Q := $(if $(filter 1,$(V)),,@)
say = @$(if $(filter 1,$(V)),:,printf '  %-5s %s\n' $(1) $(2))

# ---- the C build ----

CONFIG ?= release
ifeq ($(origin CC),default)
CC := gcc
endif
OPT ?= -O3
# Wide vectors, where gcc would take half of them: the same bits, exp in two thirds of the time.
MARCH ?= -march=native $(if $(filter x86_64,$(shell uname -m)),-mprefer-vector-width=512)
B ?= build
O := $(B)/$(CONFIG)
REPORTS ?= reports

WARN := -Wall -Wextra -Wpedantic -Wconversion -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Werror
ifneq ($(findstring clang,$(CC)),)
# clang 19 warns about the features that -march=native itself finds on AVX10 machines.
WARN += -Wno-unknown-warning-option -Wno-invalid-feature-combination
# Sizes are enumerators here, also where they count in doubles.
WARN += -Wno-enum-float-conversion
# Nor does it vectorise floats under -frounding-math, which is slower but no error.
WARN += -Wno-pass-failed
endif
# The canon: no contraction; errno and traps are not part of any result. Nothing here changes a bit.
CANON := -ffp-contract=off -fno-math-errno -fno-trapping-math
CFLAGS_ALL := -std=c11 -D_GNU_SOURCE $(OPT) -g $(MARCH) $(CANON) $(WARN) -fopenmp -fPIC -I. $(CFLAGS)
LIBS := -lyaml -lzip -lz -ljansson -lcrypto -ldl -lm

REF_SRC := $(filter-out reference/oracle/% reference/stream.c,$(wildcard reference/*.c reference/*/*.c))
HARNESS_SRC := $(filter-out harness/main.c harness/ref_plugin.c,$(wildcard harness/*.c))
ORACLE_SRC := $(wildcard reference/oracle/*.c)
UNIT_SRC := $(wildcard harness/tests/test_*.c)
PLANTED_SRC := $(wildcard harness/tests/planted/*.c)
TOOL_SRC := $(wildcard harness/tests/tools/*.c)
PLANTED := $(patsubst harness/tests/planted/%.c,$(B)/tests/planted/%.so,$(PLANTED_SRC))
obj = $(patsubst %.c,$(O)/%.o,$(1))

# Objects are rebuilt when the compiler or its flags change, not only when a source does.
.PHONY: FORCE
$(O)/flags: FORCE
	@mkdir -p $(@D)
	@command -v $(firstword $(CC)) >/dev/null || { echo '$(firstword $(CC)) is not installed: run `make setup`, or set CC' >&2; exit 2; }
	@printf '#include <yaml.h>\n#include <zip.h>\n#include <jansson.h>\n#include <openssl/evp.h>\n' | \
	$(CC) $(CFLAGS) -E - >/dev/null 2>&1 || [[ "$(CC)" == *-linux-gnu-* ]] || \
	{ echo 'a header of libyaml, libzip, jansson or OpenSSL is missing: run `make setup`' >&2; exit 2; }
	@echo '$(CC) $(CFLAGS_ALL)' | cmp -s - $@ || echo '$(CC) $(CFLAGS_ALL)' > $@

$(O)/%.o: %.c $(O)/flags
	$(call say,CC,$<)
	@mkdir -p $(@D)
	$(Q)$(CC) $(CFLAGS_ALL) -MMD -MP -c -o $@ $<

# The style and script of the HTML report, as arrays.
PAGE_INC := $(patsubst %,$(O)/%.inc,$(wildcard harness/page/*))
$(O)/harness/page/%.inc: harness/page/%
	@mkdir -p $(@D)
	$(Q)od -An -v -tu1 $< | sed 's/[0-9][0-9]*/&,/g' >$@.part && mv $@.part $@

$(O)/harness/report_page.o: $(PAGE_INC)
$(O)/harness/report_page.o: private CFLAGS_ALL += -I$(O)

$(O)/libref.a: $(call obj,$(REF_SRC))
	$(call say,AR,$@)
	@rm -f $@
	$(Q)ar rcs $@ $^

$(O)/libharness.a: $(call obj,$(HARNESS_SRC))
	$(call say,AR,$@)
	@rm -f $@
	$(Q)ar rcs $@ $^

# Carried to another machine, a build may have the libraries that it needs in lib/ beside it.
CARRIED := -Wl,--disable-new-dtags,-rpath,'$$ORIGIN/lib'
$(B)/dsv4cts: $(O)/harness/main.o $(O)/libharness.a $(O)/libref.a
	$(call say,LD,$@)
	$(Q)$(CC) $(CFLAGS_ALL) -o $@ $^ $(LIBS) $(CARRIED)

$(B)/cpu/ref.so: $(O)/harness/ref_plugin.o $(O)/libref.a
	$(call say,LD,$@)
	@mkdir -p $(@D)
	$(Q)$(CC) $(CFLAGS_ALL) -shared -Wl,--exclude-libs,ALL -o $@ $^ -lm

# Ports in Python: the worker as a library, and the package that loads it, beside dsv4cts.
PYTHON_SRC := $(wildcard harness/python/dsv4cts/*.py)
PYTHON_BUILD := $(B)/libdsv4cts.so $(PYTHON_SRC:harness/%=$(B)/%)
$(B)/libdsv4cts.so: $(O)/harness/embed.o $(O)/libharness.a $(O)/libref.a harness/embed.map
	$(call say,LD,$@)
	$(Q)$(CC) $(CFLAGS_ALL) -shared -Wl,--version-script=harness/embed.map -Wl,--as-needed -o $@ $(filter-out %.map,$^) $(LIBS) $(CARRIED)

$(B)/python/%.py: harness/python/%.py
	@mkdir -p $(@D)
	@cp $< $@

$(B)/tests/unit: $(call obj,$(UNIT_SRC) $(ORACLE_SRC)) $(O)/libharness.a $(O)/libref.a
	$(call say,LD,$@)
	@mkdir -p $(@D)
	$(Q)$(CC) $(CFLAGS_ALL) -o $@ $^ $(LIBS) -lcriterion -lmpfr -lgmp

$(B)/tests/planted/%.so: harness/tests/planted/%.c harness/tests/planted/insert.h harness/tests/planted/wrap.h harness/tests/planted/bounds.h harness/tests/planted/nudge.h harness/include/dsv4_plugin.h $(O)/flags
	$(call say,LD,$@)
	@mkdir -p $(@D)
	$(Q)$(CC) $(CFLAGS_ALL) -shared -o $@ $< -ldl

# The reference in other arithmetic, each variant with its class. rounded, ulp, contracted: harness/tests/variants/NAME.h
# stands before all ops. Others put loops of their own in the place of those of the ops OPS, in dots that SUMS adds.
VARIANTS := contracted rounded ulp reordered tc25 tc13 floor24
VARIANT_CLASS_contracted := F32-ANY
VARIANT_CLASS_rounded := F32-ANY
VARIANT_CLASS_ulp := F32-ANY exp=2 log=2 rsqrt=2 divide=0.5
VARIANT_CLASS_reordered := F32-ANY
VARIANT_CLASS_tc25 := TC25-RZ
VARIANT_CLASS_tc13 := TC13-PROMOTE128
VARIANT_CLASS_floor24 := CDNA3-FLOOR24
VARIANT_SUMS_tc25 := units -DUNIT=TC25
VARIANT_SUMS_tc13 := units -DUNIT=TC13
VARIANT_SUMS_floor24 := units -DUNIT=FLOOR24
# Wrong twins of them, which the bounds must refuse for each of these ops.
TWINS := unscaled lost-partial lost-tail tc25-short tc13-unpromoted floor24-short
VARIANT_CLASS_unscaled := F32-ANY
VARIANT_SUMS_unscaled := fma -DWITHOUT_RESCALING
VARIANT_OPS_unscaled := attn_sparse_decode attn_sparse_prefill attn_decode_partial gemm_fp8_block
VARIANT_CLASS_lost-partial := F32-ANY
VARIANT_SUMS_lost-partial := fma -DLOST_PARTIAL
VARIANT_OPS_lost-partial := gemm_bf16 gemm_fp8_block gemm_fp8_fp4 idx_mqa_logits idx_paged_mqa_logits idx_q_hadamard_quant mhc_prenorm_gemm mhc_pre_broadcast mhc_fused_post_pre mhc_head mtp_markov_bias mtp_confidence attn_sparse_decode attn_sparse_prefill attn_decode_partial
VARIANT_CLASS_lost-tail := F32-ANY
VARIANT_SUMS_lost-tail := fma -DLOST_TAIL=16
VARIANT_OPS_lost-tail := gemm_bf16 mhc_prenorm_gemm attn_sparse_decode attn_sparse_prefill attn_decode_partial
VARIANT_CLASS_tc25-short := TC25-RZ
VARIANT_SUMS_tc25-short := units -DUNIT=TC25 -DFRACTION=13
VARIANT_OPS_tc25-short := gemm_bf16 gemm_fp8_block gemm_fp8_fp4 idx_mqa_logits idx_paged_mqa_logits idx_q_hadamard_quant mhc_prenorm_gemm attn_sparse_prefill attn_decode_partial
VARIANT_CLASS_tc13-unpromoted := TC13-PROMOTE128
VARIANT_SUMS_tc13-unpromoted := units -DUNIT=TC13 -DWITHOUT_PROMOTION
VARIANT_OPS_tc13-unpromoted := gemm_fp8_block
VARIANT_CLASS_floor24-short := CDNA3-FLOOR24
VARIANT_SUMS_floor24-short := units -DUNIT=FLOOR24 -DFRACTION=12
VARIANT_OPS_floor24-short := gemm_bf16 gemm_fp8_block gemm_fp8_fp4 idx_mqa_logits idx_paged_mqa_logits attn_sparse_decode attn_sparse_prefill attn_decode_partial
# Ops with such dots.
DOTS := gemm_* idx_mqa_logits idx_paged_mqa_logits idx_q_hadamard_quant mhc_* attn_* mtp_confidence mtp_markov_bias
header_of = $(if $(wildcard harness/tests/variants/$(1).h),$(1),replaced)
define VARIANT
$(O)/variants/$(1)/%.o: harness/tests/variants/%.c Makefile $(O)/flags
	$$(call say,CC,'$$< as $(1)')
	@mkdir -p $$(@D)
	$$(Q)$$(CC) $$(CFLAGS_ALL) $(wordlist 2,9,$(VARIANT_SUMS_$(1))) -D'VARIANT_CLASS="$(VARIANT_CLASS_$(1))"' \
	-D'VARIANT_OPS="$(if $(filter replaced,$(call header_of,$(1))),$(or $(VARIANT_OPS_$(1)),$(DOTS)),*)"' -MMD -MP -c -o $$@ $$<
$(B)/tests/variants/$(1).so: $(patsubst %.c,$(O)/variants/$(call header_of,$(1))/%.o,$(wildcard reference/ops/*.c)) $(O)/variants/$(1)/plugin.o \
	$(if $(filter replaced,$(call header_of,$(1))),$(patsubst %,$(O)/variants/$(1)/%.o,tiles online $(or $(firstword $(VARIANT_SUMS_$(1))),fma))) $(O)/libref.a
	$$(call say,LD,$$@)
	@mkdir -p $$(@D)
	$$(Q)$$(CC) $$(CFLAGS_ALL) -shared -Wl,--exclude-libs,ALL -o $$@ $$^ -lm
endef
$(foreach variant,$(VARIANTS) $(TWINS),$(eval $(call VARIANT,$(variant))))
define VARIANT_HEADER
$(O)/variants/$(1)/reference/%.o: reference/%.c harness/tests/variants/$(1).h harness/tests/variants/numbers.h $(O)/flags
	$$(call say,CC,'$$< as $(1)')
	@mkdir -p $$(@D)
	$$(Q)$$(CC) $$(CFLAGS_ALL) -O1 $(if $(filter contracted,$(1)),-ffp-contract=fast) -include harness/tests/variants/$(1).h -MMD -MP -c -o $$@ $$<
endef
$(foreach header,$(sort $(foreach variant,$(VARIANTS),$(call header_of,$(variant)))),$(eval $(call VARIANT_HEADER,$(header))))

# A HIP runtime and a HIP plug-in without a GPU, for the tests of the device path.
FAKE := $(B)/tests/fake/lib/libamdhip64.so.7 $(B)/tests/fake/hip_plugin.so
$(B)/tests/fake/lib/libamdhip64.so.7: harness/tests/fake/hip_runtime.c $(O)/flags
	$(call say,LD,$@)
	@mkdir -p $(@D)
	$(Q)$(CC) $(CFLAGS_ALL) -shared -o $@ $<

$(B)/tests/fake/hip_plugin.so: harness/tests/fake/hip_plugin.c harness/tests/planted/insert.h $(O)/flags
	$(call say,LD,$@)
	@mkdir -p $(@D)
	$(Q)$(CC) $(CFLAGS_ALL) -shared -o $@ $<

$(B)/tools/%: $(O)/harness/tests/tools/%.o $(call obj,$(ORACLE_SRC)) $(O)/libref.a
	$(call say,LD,$@)
	@mkdir -p $(@D)
	$(Q)$(CC) $(CFLAGS_ALL) -o $@ $^ -lmpfr -lgmp -lm

$(B)/tools/judging: $(O)/harness/tests/tools/judging.o $(O)/libharness.a $(O)/libref.a
	$(call say,LD,$@)
	@mkdir -p $(@D)
	$(Q)$(CC) $(CFLAGS_ALL) -o $@ $^ $(LIBS)

# The gfx942 emulator: a HIP runtime whose device is an executor of machine code on this CPU. Rounding modes are part of
# what it computes, hence -frounding-math.
EMU_SRC := $(wildcard harness/emu/*.c harness/emu/hip/*.c) reference/memory.c
EMU_TEST_SRC := $(filter-out harness/emu/tests/tools/%,$(wildcard harness/emu/tests/test_*.c harness/emu/tests/*/*.c))
LLVM_CONFIG ?= llvm-config-19
# The disassembler alone, statically where LLVM comes with archives: the shared library takes 10 to 30 ms to load.
EMU_LLVM = $(shell $(LLVM_CONFIG) --ldflags) $(or $(shell $(LLVM_CONFIG) --link-static --libs amdgpudisassembler 2>/dev/null), \
	$(shell $(LLVM_CONFIG) --libs))
EMU_LIBS = $(EMU_LLVM) -lstdc++ -ltinfo -ldw -lelf -lmsgpackc -lzstd -lz -ldl -lpthread -lm
$(O)/harness/emu/%.o: CFLAGS_ALL += -frounding-math -isystem $(shell $(LLVM_CONFIG) --includedir)
# Compilers do not vectorise fma and others under -frounding-math. These files change no rounding mode and compute with no
# constants that a compiler could fold: their code is the same for every mode.
$(O)/harness/emu/float.o $(O)/harness/emu/half.o: CFLAGS_ALL += -fno-rounding-math
$(O)/libemu.a: $(call obj,$(EMU_SRC))
	$(call say,AR,$@)
	@rm -f $@
	$(Q)ar rcs $@ $^

# ROCm 5, 6 and 7 ask for libamdhip64.so.5, .6 and .7: the library is the second, the others are names that need it.
EMU := $(B)/emu/libamdhip64.so.6 $(B)/emu/libamdhip64.so $(B)/emu/libamdhip64.so.5 $(B)/emu/libamdhip64.so.7
$(B)/emu/libamdhip64.so.6: $(O)/libemu.a harness/emu/exports.map
	$(call say,LD,$@)
	@mkdir -p $(@D)
	$(Q)$(CC) $(CFLAGS_ALL) -shared -Wl,-soname,$(@F) -Wl,--version-script=harness/emu/exports.map \
	-o $@ -Wl,--gc-sections -Wl,--whole-archive $< -Wl,--no-whole-archive $(EMU_LIBS)

$(B)/emu/libamdhip64.so: $(B)/emu/libamdhip64.so.6
	@ln -sf $(<F) $@

$(B)/emu/libamdhip64.so.%: harness/emu/names/rocm%.c $(B)/emu/libamdhip64.so.6
	$(call say,LD,$@)
	$(Q)$(CC) $(CFLAGS_ALL) -shared -Wl,-soname,$(@F) -Wl,--version-script=harness/emu/exports.map \
	-Wl,--no-as-needed -Wl,-rpath,'$$ORIGIN' -o $@ $< $(B)/emu/libamdhip64.so.6

$(B)/tests/emu: $(call obj,$(EMU_TEST_SRC) $(ORACLE_SRC)) $(O)/libemu.a
	$(call say,LD,$@)
	@mkdir -p $(@D)
	$(Q)$(CC) $(CFLAGS_ALL) -o $@ $^ $(EMU_LIBS) -lcriterion -lmpfr -lgmp -Wl,--no-gc-sections # which would drop the tests

$(B)/tools/emu_%: $(O)/harness/emu/tests/tools/emu_%.o $(O)/libemu.a
	$(call say,LD,$@)
	@mkdir -p $(@D)
	$(Q)$(CC) $(CFLAGS_ALL) -Wl,--gc-sections -o $@ $^ $(EMU_LIBS)

# The determinism matrix: a program without libraries, one build per compiler, optimisation and machine. Its subject is
# bits; warnings are the other builds' business.
MATRIX_gcc-O0 := gcc -O0
MATRIX_gcc-O3 := gcc -O3 $(MARCH)
MATRIX_clang-O0 := clang-19 -O0
MATRIX_clang-O3 := clang-19 -O3 $(MARCH)
MATRIX_aarch64-O0 := aarch64-linux-gnu-gcc -O0 -static -Wl,--no-warnings
MATRIX_aarch64-O3 := aarch64-linux-gnu-gcc -O3 -static -Wl,--no-warnings
MATRIX_planted := gcc -O3 $(MARCH) -ffast-math
MATRIX_SRC := reference/stream.c $(REF_SRC)
MATRIX_HEADERS := $(wildcard reference/*.h reference/*.def reference/*/*.h harness/include/*.h)

$(B)/matrix/%/stream: $(MATRIX_SRC) $(MATRIX_HEADERS)
	$(call say,CC,$@)
	@mkdir -p $(@D)
	$(Q)$(firstword $(MATRIX_$*)) -std=c11 -D_GNU_SOURCE -g $(CANON) -w -fopenmp -I. \
	$(wordlist 2,9,$(MATRIX_$*)) -o $@ $(MATRIX_SRC) -lm

$(B)/fuzzers/%: $(O)/harness/tests/fuzz/fuzz_%.o $(O)/libharness.a $(O)/libref.a
	$(call say,LD,$@)
	@mkdir -p $(@D)
	$(Q)$(CC) $(CFLAGS_ALL) -fsanitize=fuzzer -o $@ $^ $(LIBS)

$(B)/fuzzers/code: $(O)/harness/tests/fuzz/fuzz_code.o $(O)/libemu.a
	$(call say,LD,$@)
	@mkdir -p $(@D)
	$(Q)$(CC) $(CFLAGS_ALL) -fsanitize=fuzzer -o $@ $^ $(EMU_LIBS)

.SECONDARY:
-include $(shell find $(O) -name '*.d' 2>/dev/null)

# ---- the GPU builds: each implementation becomes a plug-in, like a third party's ----

CUDA_HOME ?= /usr/local/cuda
ROCM_PATH ?=
NVCC := $(or $(wildcard $(CUDA_HOME)/bin/nvcc),$(shell command -v nvcc))
# Never fast math; -fmad=false and -ffp-contract=off are the canon.
NVCC_FLAGS = -O3 -fmad=false -std=c++17 -arch=$(1) $(if $(filter sm_8%,$(1)),,-DGPU_CLUSTERS) -Xcompiler -fPIC,-fvisibility=hidden,-Wall,-Wextra
# An object's own headers stand in its .d file; this list is for what has none.
-include $(wildcard $(B)/$(ARCH)/*.d $(B)/$(ARCH)/isa/*.d $(B)/emulated/*/*.d)
GPU_HEADERS := $(wildcard impl/common/*) harness/include/dsv4_plugin.h $(wildcard reference/layout/*_page.h) reference/ops.def
CU_OBJ = $(patsubst impl/cuda/%.cu,$(B)/$(1)/%.o,$(wildcard impl/cuda/*.cu))
HIP_OBJ = $(patsubst impl/hip/%.hip,$(B)/$(1)/%.o,$(wildcard impl/hip/*.hip))

# hipcc with ROCm; without it clang compiles the device code alone, and the host's symbols are found
# in the runtime when the plug-in is opened.
HIP_FLAGS = -x hip --offload-arch=$(1) -O3 -ffp-contract=off -std=c++17 -fPIC -fvisibility=hidden -Wall -Wextra
ifneq ($(ROCM_PATH),)
HIPCC := $(ROCM_PATH)/bin/hipcc
HIP_CLANG := $(HIPCC)
HIP_LINK := $(HIPCC) -shared
else
HIPCC ?= clang-19
HIP_CLANG := PATH=/usr/lib/llvm-19/bin:$$PATH $(HIPCC)
HIP_FLAGS += -DGPU_NO_ROCM -nogpulib -nogpuinc -nostdinc++ --hip-path=/nonexistent
HIP_LINK := $(HIP_CLANG) -shared -fuse-ld=lld
endif

define CUDA_RULES
$(B)/$(1)/%.o: impl/cuda/%.cu
	$$(call say,NVCC,$$<)
	@test -n '$(NVCC)' || { echo 'nvcc is not installed: install the CUDA toolkit, or set CUDA_HOME' >&2; exit 2; }
	@mkdir -p $$(@D)
	$$(Q)$(NVCC) $(call NVCC_FLAGS,$(1)) -MMD -MP -MF $$(@:.o=.d) -c -o $$@ $$<

# Compares the device's exp, rsqrt and conversions with the reference for all inputs.
$(B)/$(1)/num_exhaustive: harness/tests/tools/num_exhaustive.cu impl/common/moe_router.inl impl/common/num.inl impl/common/elementary.inl $(wildcard reference/num/*.h)
	$$(call say,NVCC,$$<)
	@mkdir -p $$(@D)
	$$(Q)$(NVCC) -O3 -fmad=false -std=c++17 -arch=$(1) -Xcompiler -O3,-march=x86-64-v3,-ffp-contract=off,-fopenmp -o $$@ $$<

# What the device's arithmetic units reach.
$(B)/$(1)/peaks: harness/tests/tools/peaks.cu
	$$(call say,NVCC,$$<)
	@mkdir -p $$(@D)
	$$(Q)$(NVCC) -O3 -std=c++17 -arch=$(1) -o $$@ $$<

# The canary must sing: the same plug-in with contraction allowed.
$(B)/$(1)/contracted.so: $(wildcard impl/cuda/*.cu) $(GPU_HEADERS) impl/common/exports.map
	$$(call say,NVCC,$$@)
	@mkdir -p $$(@D)
	$$(Q)$(NVCC) $(subst -fmad=false,-fmad=true,$(call NVCC_FLAGS,$(1))) -shared -cudart static \
	-Xlinker --version-script=impl/common/exports.map -o $$@ impl/cuda/plugin.cu impl/cuda/kv_quantize_insert.cu

# It writes where nobody looks: the harness must.
$(B)/$(1)/writes_far.so: harness/tests/tools/writes_far_cuda.c $(B)/$(1)/cuda.so harness/include/dsv4_plugin.h
	$$(call say,LD,$$@)
	$$(Q)$(CC) $(CFLAGS_ALL) -isystem $(CUDA_HOME)/include -shared -o $$@ $$< -L$(CUDA_HOME)/lib64 -lcudart_static -ldl -lrt -lpthread

$(B)/$(1)/cuda.so: $(call CU_OBJ,$(1)) impl/common/exports.map
	$$(call say,LD,$$@)
	$$(Q)$(NVCC) -shared -arch=$(1) -cudart static -Xlinker --version-script=impl/common/exports.map -o $$@ $$(filter %.o,$$^)
endef

define HIP_RULES
$(B)/$(1)/%.o: impl/hip/%.hip
	$$(call say,HIP,$$<)
	@command -v $(HIPCC) >/dev/null || \
	{ echo '$(HIPCC) is not installed: install clang-19, lld-19 and clang-tools-19 (`make setup`), or set ROCM_PATH' >&2; exit 2; }
	@[[ -n '$(ROCM_PATH)' ]] || echo | $(HIPCC) --target=amdgcn-amd-amdhsa -mcpu=$(1) -nogpulib -x c -c -o /dev/null - 2>/dev/null || \
	{ echo '$(HIPCC) has no $(1): set ROCM_PATH, or HIPCC to a clang that has it' >&2; exit 2; }
	@mkdir -p $$(@D)
	$$(Q)$(HIP_CLANG) $(call HIP_FLAGS,$(1)) -MMD -MP -c -o $$@ $$<

# As for CUDA; links the runtime, so that it needs ROCm.
$(B)/$(1)/num_exhaustive: harness/tests/tools/num_exhaustive.cu impl/common/moe_router.inl impl/common/num.inl impl/common/elementary.inl $(wildcard reference/num/*.h)
	$$(call say,HIP,$$<)
	@test -n '$(ROCM_PATH)' || { echo 'num_exhaustive links the HIP runtime: set ROCM_PATH' >&2; exit 2; }
	@mkdir -p $$(@D)
	$$(Q)$(HIP_CLANG) $(call HIP_FLAGS,$(1)) -o $$@ $$<

# What the gates of `make isa` compare with: the same sources, where nothing may be contracted.
$(B)/$(1)/isa/%.ll: impl/hip/%.hip
	$$(call say,HIP,$$@)
	@mkdir -p $$(@D)
	$$(Q)$(HIP_CLANG) $(call HIP_FLAGS,$(1)) -ffp-contract=off --cuda-device-only -emit-llvm -S -MMD -MP -MF $$(@:.ll=.d) -o $$@ $$<

$(B)/$(1)/hip.so: $(call HIP_OBJ,$(1)) impl/common/exports.map
	$$(call say,LD,$$@)
	$$(Q)$(HIP_LINK) -Wl,--version-script=impl/common/exports.map -o $$@ $$(filter %.o,$$^)
endef

# HIP programs in ordinary style, for the emulator. With ROCm's headers and library (Debian: libamdhip64-dev and
# rocm-device-libs; or HIP_SDK=prefix) they are built against those, and run with ours in their place; without, against
# declarations of our own.
HIP_SDK ?= $(if $(wildcard /usr/include/hip/hip_runtime.h),/usr)
HIP_BITCODE := $(firstword $(wildcard $(HIP_SDK)/lib/x86_64-linux-gnu/amdgcn/bitcode $(HIP_SDK)/amdgcn/bitcode))
PROGRAM_SRC := $(wildcard harness/emu/tests/kernels/*.hip)
PROGRAMS := $(foreach o,0 2,$(PROGRAM_SRC:harness/emu/tests/kernels/%.hip=$(B)/emu/programs/%-O$(o))) \
	$(B)/emu/programs/modules.co
PROGRAM_FLAGS := -x hip --offload-arch=gfx942 -std=c++17 -g -ffp-contract=off -Wall -Wextra -Wno-unused-result -Wno-unused-parameter --hip-path=/nonexistent -nogpuinc
ifneq ($(HIP_SDK),)
PROGRAM_FLAGS += -D__HIP_PLATFORM_AMD__ -isystem $(HIP_SDK)/include -include __clang_hip_runtime_wrapper.h \
	--hip-device-lib-path=$(B)/emu/bitcode
PROGRAM_LIBS := $(firstword $(wildcard $(HIP_SDK)/lib/x86_64-linux-gnu/libamdhip64.so $(HIP_SDK)/lib/libamdhip64.so)) -Wl,--allow-shlib-undefined
else
PROGRAM_FLAGS += -nogpulib -isystem harness/emu/tests/kernels/bare
PROGRAM_LIBS := $(B)/emu/libamdhip64.so
endif

# ROCm's device library; releases before 6 do not know the constant of gfx942.
$(B)/emu/bitcode/made:
	@mkdir -p $(@D)
	$(Q)[[ -z '$(HIP_BITCODE)' ]] || cp $(HIP_BITCODE)/*.bc $(@D)
	$(Q)[[ -e $(@D)/oclc_isa_version_942.bc ]] || echo 'const __constant int __oclc_ISA_version __attribute__((visibility("protected"))) = 9402;' | \
	$(HIP_CLANG) -x cl --target=amdgcn-amd-amdhsa -nogpulib -emit-llvm -c - -o $(@D)/oclc_isa_version_942.bc
	@touch $@

$(B)/emu/programs/%.co: harness/emu/tests/kernels/%.hip $(wildcard harness/emu/tests/kernels/*.h harness/emu/tests/kernels/*/*/*.h) $(B)/emu/bitcode/made
	$(call say,HIP,$@)
	@mkdir -p $(@D)
	$(Q)$(HIP_CLANG) $(PROGRAM_FLAGS) -O2 --cuda-device-only -o $@ $<

define PROGRAM_RULES
$(B)/emu/programs/%-O$(1): harness/emu/tests/kernels/%.hip $(wildcard harness/emu/tests/kernels/*.h harness/emu/tests/kernels/*/*/*.h) $(B)/emu/bitcode/made $(EMU)
	$$(call say,HIP,$$@)
	@mkdir -p $$(@D)
	$$(Q)$$(HIP_CLANG) $$(PROGRAM_FLAGS) -O$(1) -o $$@ $$< -x none $$(PROGRAM_LIBS) -lstdc++ -lm
endef
$(foreach o,0 2,$(eval $(call PROGRAM_RULES,$(o))))

# A third party's plug-in: of gfx942, and of an architecture that is not emulated.
PLUGIN_HIP := $(B)/emu/plugins/insert.so $(B)/emu/plugins/insert-gfx90a.so
$(PLUGIN_HIP): harness/emu/tests/plugins/insert.hip harness/tests/planted/insert.h $(B)/emu/bitcode/made $(EMU)
	$(call say,HIP,$@)
	@mkdir -p $(@D)
	$(Q)$(HIP_CLANG) $(if $(findstring gfx90a,$@),$(subst gfx942,gfx90a,$(PROGRAM_FLAGS)),$(PROGRAM_FLAGS)) \
	-O2 -fPIC -fvisibility=hidden -shared -o $@ $< -x none $(PROGRAM_LIBS) -lstdc++

programs-emu: $(EMU) $(PROGRAMS) $(PLUGIN_HIP) $(CPU_BUILD) $(B)/device_hip.so ## run HIP programs in ordinary style on the emulator
	$(Q)harness/emu/tests/programs.sh $(B)

# The same kernels on the CPU, lane by lane: what can be tested of them without a GPU. Once with the grids of a large
# GPU, which share a token among teams, and once with those of a tiny one, which give a team many tokens.
EMULATED_FLAGS := -x c++ -std=c++17 -O2 $(MARCH) -ffp-contract=off -fPIC -fvisibility=hidden -DGPU_EMULATED -Wall -Wextra
EMULATED := $(B)/emulated/large.so $(B)/emulated/tiny.so
define EMULATED_RULES
$(B)/emulated/$(1)/%.o: impl/cuda/%.cu
	$$(call say,CXX,$$<)
	@mkdir -p $$(@D)
	$$(Q)$$(CXX) $(EMULATED_FLAGS) $(2) -MMD -MP -c -o $$@ $$<

$(B)/emulated/$(1).so: $(call CU_OBJ,emulated/$(1)) impl/common/exports.map
	$$(call say,LD,$$@)
	$$(Q)$$(CXX) -shared -Wl,--version-script=impl/common/exports.map -o $$@ $$(filter %.o,$$^)
endef
$(eval $(call EMULATED_RULES,large,))
$(eval $(call EMULATED_RULES,tiny,-DGPU_BUSY_BLOCKS=0))
# The canary must sing: with contraction allowed it fails the plug-in.
$(eval $(call EMULATED_RULES,contracted,-ffp-contract=fast))

# What kernels compute in the place of what the canon says, with their own code.
$(B)/tools/forms_exhaustive: harness/tests/tools/forms_exhaustive.cu $(GPU_HEADERS) $(wildcard reference/num/*.h)
	$(call say,CXX,$<)
	@mkdir -p $(@D)
	$(Q)$(CXX) $(EMULATED_FLAGS) -fopenmp -o $@ $<

$(foreach arch,$(CUDA_ARCHES),$(eval $(call CUDA_RULES,$(arch))))
$(foreach arch,$(HIP_ARCHES),$(eval $(call HIP_RULES,$(arch))))

# The plug-in is the last: it is what `make check` takes.
CPU_BUILD := $(PYTHON_BUILD) $(B)/dsv4cts $(B)/cpu/ref.so
ifneq ($(filter $(ARCH),$(CUDA_ARCHES)),)
ARCH_IMPL := cuda
else ifneq ($(filter $(ARCH),$(HIP_ARCHES)),)
ARCH_IMPL := hip
else
ARCH_IMPL := ref
endif
# An AMD GPU needs no emulator, and no LLVM to build it.
EMULATOR := $(if $(filter gfx942,$(ARCH)),$(if $(wildcard /dev/kfd),$(if $(filter 1,$(DSV4_EMULATE)),$(EMU)),$(EMU)))
DEVICE_BUILD := $(CPU_BUILD) $(EMULATOR) $(if $(filter-out cpu,$(ARCH)),$(B)/device_$(ARCH_IMPL).so)
ARCH_BUILD := $(DEVICE_BUILD) $(if $(filter-out cpu,$(ARCH)),$(B)/$(ARCH)/$(ARCH_IMPL).so)

# The device back ends. CUDA's links its runtime statically; HIP's needs nothing of ROCm here and finds it at run time.
DEVICE_SRC := harness/device/gpu_backend.c reference/memory.c
$(B)/device_cuda.so: $(DEVICE_SRC) harness/device.h reference/op.h $(O)/flags
	$(call say,LD,$@)
	@test -e $(CUDA_HOME)/include/cuda_runtime_api.h || \
	{ echo 'no CUDA toolkit at $(CUDA_HOME): install nvcc and cudart, or set CUDA_HOME' >&2; exit 2; }
	$(Q)$(CC) $(CFLAGS_ALL) -DDSV4_CUDA -isystem $(CUDA_HOME)/include -shared -o $@ $(DEVICE_SRC) \
	-L$(CUDA_HOME)/lib64 -lcudart_static -ldl -lrt -lpthread

$(B)/device_hip.so: $(DEVICE_SRC) harness/device.h reference/op.h $(O)/flags
	$(call say,LD,$@)
	$(Q)$(CC) $(CFLAGS_ALL) -DDSV4_HIP -shared -o $@ $(DEVICE_SRC) -ldl

# ---- targets ----

help: ## print the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 18
	@echo
	@echo 'ARCH=$(ARCH)   one of: $(ARCHES)'
	@echo 'OP= CASE= TAG= TIER= DIALECT= IMPL=   narrow check, bench and vectors; ARGS= is passed on'
	@echo 'LAYER=c4   check, vectors: a whole layer (suites/layers), each op fed by those before it; LAYER=\* all of them'
	@echo 'MODE=graph   check: capture each call once and replay it over sequences of steps'
	@echo 'V=1 shows the commands; J=$(J) jobs'

setup: ## install what is missing (Debian, Ubuntu)
	@harness/setup.sh

python-package: $(PYTHON_BUILD)

build: $(ARCH_BUILD) ## build dsv4cts and the plug-in of ARCH

FILTERS = $(if $(OP),--op '$(OP)') $(if $(CASE),--case '$(CASE)') $(if $(TAG),--tag '$(TAG)') \
	$(if $(TIER),--tier '$(TIER)') $(if $(DIALECT),--dialect '$(DIALECT)')
LAYERS = $(if $(LAYER),--layer '$(LAYER)')
IMPL ?= $(lastword $(ARCH_BUILD))
CHECK = $(B)/dsv4cts check $(FILTERS) $(LAYERS) $(if $(MODE),--mode $(MODE)) $(if $(filter 1,$(V)),--verbose) $(ARGS)

ifeq ($(origin ARCH)$(filter check,$(MAKECMDGOALS)),filecheck)
# Nobody named an architecture: the GPU that is here, or the CPU and then gfx942, emulated.
check:
	+$(Q)status=0; for arch in $$(harness/found.sh $(ARCHES)); do \
	echo "ARCH=$$arch"; $(MAKE) --no-print-directory check ARCH=$$arch || status=$$?; done; exit $$status
else
check: $(ARCH_BUILD) ## replay the smoke cases against the implementation of ARCH, or of the GPU found
	$(if $(filter hip,$(ARCH_IMPL)),+)$(Q)status=0; $(if $(filter hip,$(ARCH_IMPL)),$(MAKE) --no-print-directory isa || status=1;) \
	$(CHECK) --impl '$(IMPL)' --report $(REPORTS)/$(ARCH) && exit $$status
endif

check-emulated: $(CPU_BUILD) $(EMULATED) ## replay the smoke cases against the GPU kernels, emulated on the CPU
	$(Q)$(CHECK) $(EMULATED:%=--impl %) --report $(REPORTS)/emulated

# The disassembler that knows what the compiler made: ROCm's where hipcc is, else the distribution's.
ISA_LLVM ?= $(if $(ROCM_PATH),$(ROCM_PATH)/llvm/bin,/usr/lib/llvm-19/bin)
ISA = python3 harness/isa.py --arch $(ARCH) --llvm $(ISA_LLVM) --work $(B)/$(ARCH)/isa --met $(B)/$(ARCH)/isa/met $(addprefix --source ,$(wildcard impl/hip/*.hip))
isa: $(if $(filter hip,$(ARCH_IMPL)),$(B)/$(ARCH)/hip.so $(patsubst impl/hip/%.hip,$(B)/$(ARCH)/isa/%.ll,$(wildcard impl/hip/*.hip))) ## hold the machine code of ARCH's HIP kernels to its rules: contraction, scratch, FP8, budgets
	@test '$(ARCH_IMPL)' = hip || { echo 'make isa reads HIP kernels: set ARCH to one of $(HIP_ARCHES)' >&2; exit 2; }
	@mkdir -p $(REPORTS)/$(ARCH)
	$(Q)$(ISA) $(B)/$(ARCH)/hip.so $(filter %.ll,$^) >$(REPORTS)/$(ARCH)/isa.txt; status=$$?; \
	$(if $(filter 1,$(V)),cat,grep -v '^  ') $(REPORTS)/$(ARCH)/isa.txt; exit $$status

check-canary: $(CPU_BUILD) $(B)/emulated/contracted.so ## see a build that contracts a * b + c refused by its canary
	$(Q)$(B)/dsv4cts check --op kv_save_partial_states --impl $(B)/emulated/contracted.so >$(B)/canary.log 2>&1; \
	[[ $$? == 1 ]] && grep -m 1 'is contracted' $(B)/canary.log

check-plugin: $(DEVICE_BUILD) ## replay the smoke cases against PLUGIN=path.so (of ARCH's device)
	@test -n '$(PLUGIN)' || { echo 'say which plug-in: make check-plugin PLUGIN=path.so' >&2; exit 2; }
	$(Q)$(CHECK) --impl '$(PLUGIN)' --report $(REPORTS)/plugin

# An installed tree: the program and what it finds beside itself in lib/dsv4cts, data in share/dsv4cts, no path inside.
PREFIX ?= /usr/local
INSTALLED = $(DESTDIR)$(PREFIX)
BACK_ENDS := $(B)/device_hip.so $(if $(wildcard $(CUDA_HOME)/include/cuda_runtime_api.h),$(B)/device_cuda.so)
install: $(CPU_BUILD) $(BACK_ENDS) ## install dsv4cts, its data and dsv4_plugin.h below PREFIX=/usr/local and DESTDIR
	$(call say,INST,$(INSTALLED))
	$(Q)install -d $(INSTALLED)/{bin,include,lib/pkgconfig,lib/dsv4cts/{cpu,python/dsv4cts},share/dsv4cts}
	$(Q)install -m 644 harness/include/dsv4_plugin.h $(INSTALLED)/include
	$(Q)sed 's/@VERSION@/$(shell sed -n 's/.*DSV4_GENERATOR "dsv4cts \(.*\)"/\1/p' harness/options.h)/' harness/dsv4-cts.pc >$(INSTALLED)/lib/pkgconfig/dsv4-cts.pc
	$(Q)install $(B)/dsv4cts $(B)/libdsv4cts.so $(BACK_ENDS) $(INSTALLED)/lib/dsv4cts
	$(Q)install $(B)/cpu/ref.so $(INSTALLED)/lib/dsv4cts/cpu
	$(Q)install -m 644 $(PYTHON_SRC) $(INSTALLED)/lib/dsv4cts/python/dsv4cts
	$(Q)$(if $(wildcard $(EMU)),cp -RP --parents $(wildcard $(EMU:$(B)/%=$(B)/./%)) $(INSTALLED)/lib/dsv4cts)
	$(Q)rm -rf $(INSTALLED)/share/dsv4cts/{suites,vectors,example}
	$(Q)cp -R suites vectors harness/example $(INSTALLED)/share/dsv4cts
	$(Q)ln -sfn ../../share/dsv4cts $(INSTALLED)/lib/dsv4cts/share
	$(Q)ln -sfn ../lib/dsv4cts/dsv4cts $(INSTALLED)/bin/dsv4cts

check-install: $(CPU_BUILD) $(BACK_ENDS) ## install into a temporary folder; build and check the example from another
	$(Q)harness/tests/install.sh $(B)

# A Python with numpy, and with torch where its ports are to be run.
PYTHON ?= /usr/bin/python3
check-python: $(CPU_BUILD) ## run ports in Python, good and bad, through the harness
	$(Q)DSV4_BUILD=$(B) $(PYTHON) harness/tests/python/test_ports.py

selftest: $(CPU_BUILD) $(if $(OP),,$(PLANTED)) ## catch every mutant, by bits and by bounds, and, without OP=, every planted plug-in
	$(Q)$(B)/dsv4cts selftest --class F32-ANY $(if $(OP),--op '$(OP)',--planted harness/tests/planted/EXPECTED)

BOUNDS_OPS = $(patsubst reference/ops/%.c,%,$(wildcard reference/ops/$(or $(OP),*).c))
BOUNDS_VARIANTS = $(foreach variant,$(VARIANTS),$(if $(filter %,$(filter-out replaced,$(call header_of,$(variant))) $(filter $(subst *,%,$(DOTS)),$(BOUNDS_OPS))),$(variant)))
CHECK_VARIANTS = $(B)/dsv4cts check $(foreach variant,$(BOUNDS_VARIANTS),--impl $(B)/tests/variants/$(variant).so) $(FILTERS) --report $(REPORTS)/bounds --seeds
SO_VARIANTS = $(patsubst %,$(B)/tests/variants/%.so,$(VARIANTS))
SO_TWINS = $(patsubst %,$(B)/tests/variants/%.so,$(TWINS))
seeds: $(CPU_BUILD) $(SO_VARIANTS) ## run the right variants with SEEDS=1000 inputs of each case (an hour of one core); ARGS='--shard 1/8': a part
	$(Q)$(CHECK_VARIANTS) $(or $(SEEDS),1000) $(ARGS)

# Every variant must pass; --seeds makes fresh inputs. Then every mutant must fail by bounds too, or be right by them; of
# all ops at once F32-ANY is selftest's.
bounds: $(CPU_BUILD) $(SO_VARIANTS) $(SO_TWINS) ## prove the bounds: right variants pass (SEEDS= inputs each), wrong references fail
	$(Q)$(CHECK_VARIANTS) $(or $(SEEDS),3)
	$(Q)$(foreach twin,$(TWINS),for op in $(filter $(VARIANT_OPS_$(twin)),$(BOUNDS_OPS)); do status=0; \
	$(B)/dsv4cts check --impl $(B)/tests/variants/$(twin).so --op $$op --tier smoke >$(REPORTS)/bounds/$(twin).$$op.txt 2>&1 || status=$$?; \
	if [ $$status != 1 ]; then echo "$(twin) is not refused for $$op: exit $$status"; exit 1; fi; \
	echo "$(twin) is refused for $$op"; done;)
	$(Q)for class in $(if $(OP),F32-ANY) TC25-RZ TC13-PROMOTE128 CDNA3-FLOOR24; do $(B)/dsv4cts selftest --class $$class $(if $(OP),--op '$(OP)') >$(REPORTS)/bounds/$$class.txt || \
	{ grep -Ev ' killed by | is right in |: [0-9]+ of [0-9]+ mutants killed' $(REPORTS)/bounds/$$class.txt; exit 1; }; echo "$$class: $$(tail -n 1 $(REPORTS)/bounds/$$class.txt)"; done

vectors: $(CPU_BUILD) ## write the golden vectors and MANIFEST
	$(Q)$(B)/dsv4cts gen $(FILTERS) $(LAYERS)

verify-vectors: $(CPU_BUILD) verify-numpy ## regenerate every case and compare with MANIFEST and the files
	$(Q)$(B)/dsv4cts verify-vectors $(FILTERS) $(LAYERS)

verify-numpy: ## load every committed vector with numpy alone and compare it with its meta.json
	$(Q)/usr/bin/python3 harness/tests/numpy_check.py --plant
	$(Q)/usr/bin/python3 harness/tests/numpy_check.py vectors

second-opinion: ## recompute every committed vector with an independent implementation in Python
	$(Q)/usr/bin/python3 harness/tests/second_opinion.py --plant vectors
	$(Q)/usr/bin/python3 harness/tests/second_opinion.py vectors

MATRIX := gcc-O0 gcc-O3 clang-O0 clang-O3 aarch64-O0 aarch64-O3 planted
matrix: $(CPU_BUILD) $(MATRIX:%=$(B)/matrix/%/stream) ## get the same bits from gcc, clang, -O0, -O3, 1 to 3 threads, aarch64
	$(Q)harness/tests/matrix.sh $(B) $(or $(TIER),smoke) $(if $(OP),--op '$(OP)') $(if $(CASE),--case '$(CASE)')

FUZZ_SECONDS ?= 20
FUZZERS := suite manifest meta entry vector code
fuzz: ## fuzz the readers of suites, MANIFEST, vectors and code objects, FUZZ_SECONDS=20 each
	$(Q)$(MAKE) --no-print-directory CONFIG=fuzz CC=clang-19 OPT=-O1 MARCH= \
	CFLAGS='-fsanitize=address,undefined,fuzzer-no-link -fno-sanitize-recover=undefined -w $(CFLAGS)' fuzz-run

fuzz-run: $(FUZZERS:%=$(B)/fuzzers/%)
	$(Q)harness/tests/fuzz/run.sh $(B) $(FUZZ_SECONDS) $(FUZZERS)

unit: $(B)/tests/unit $(CPU_BUILD) $(PLANTED) $(FAKE) $(B)/device_hip.so ## run the unit tests
	$(Q)$(B)/tests/unit --jobs $(J) $(UNIT_ARGS)

unit-emu: $(B)/tests/emu ## run the emulator's tests
	$(Q)$< --jobs $(J) $(UNIT_ARGS)

COVERAGE ?= harness/emu/COVERAGE
coverage: $(B)/tests/emu ## write harness/emu/COVERAGE: instructions implemented, tested, met
	@+$(MAKE) --no-print-directory isa ARCH=gfx942 || true # its faults are another matter
	$(Q)DSV4_COVERAGE=$(COVERAGE) DSV4_MET=$(B)/gfx942/isa/met $(B)/tests/emu --filter isa/coverage

$(B)/emu/speed.co: harness/emu/tests/levels/speed.hip
	@mkdir -p $(@D)
	$(Q)$(HIP_CLANG) $(call HIP_FLAGS,gfx942) --cuda-device-only -o $@ $<

JUDGED := kv_quantize_insert/host-prefill norm_rms/host-flash moe_swiglu/host-ref mhc_post/host-prefill rope_inverse/host-prefill \
	attn_combine/host-ml kv_compress/host-prefill-c4 gemm_bf16/host-compressor
bench-judging: $(B)/tools/judging ## measure what judging costs beside reading the tensors
	$(Q)$< $(or $(CASE),$(JUDGED))

bench-emu: $(B)/tools/emu_speed $(B)/tools/emu_run $(B)/emu/speed.co ## measure the gfx942 emulator
	$(Q)$(B)/tools/emu_speed $(B)/emu/speed.co
	@start=$$(date +%s%N); OMP_NUM_THREADS=2 $(B)/tools/emu_run $(B)/emu/speed.co speed_add 4 256 buffer:4096 buffer:4096 buffer:4096 >/dev/null; \
	end=$$(date +%s%N); printf 'a whole small process %8.3f s   (0.2 s or less)\n' "$$(( (end - start) / 1000000 ))e-3"

exhaustive: $(B)/tools/exhaustive $(B)/tools/forms_exhaustive ## prove the number formats and functions for all 2^32 inputs, and the kernels' forms of them (minutes)
	$(Q)for tool in $^; do $$tool --plant && $$tool || exit; done

headers: ## compile every header alone
	$(Q)harness/headers.sh

lint: $(O)/libref.a $(O)/libharness.a $(CPU_BUILD) ## check style, symbols, the registry and wording
	$(Q)python3 harness/lint.py --archives $(O)/libref.a $(O)/libharness.a \
	--plugins $(B)/cpu/ref.so $(wildcard $(B)/*/cuda.so $(B)/*/hip.so)

fmt: ## format the sources
	$(Q)python3 harness/lint.py --fix-format

docs: $(B)/dsv4cts ## write the generated parts of README.md
	$(Q)python3 harness/docs.py --dsv4cts $(B)/dsv4cts --setup harness/setup.sh

test: ## run everything that needs no GPU
	+$(Q)harness/test.sh

bench: $(ARCH_BUILD) ## measure the implementation of ARCH beside this machine's copy bandwidth
	$(Q)$(B)/dsv4cts bench --impl '$(IMPL)' $(FILTERS) $(if $(CASE),,--case '$(if $(filter cpu,$(ARCH)),host-*,device-*)') --report $(REPORTS)/$(ARCH) $(ARGS)

STATED = $(REPORTS)/$(ARCH)/statement
statement: $(ARCH_BUILD) ## run smoke and full of ARCH (or TIER=, PLUGIN=), and pack the results for `dsv4cts verify`; KEY=file
	$(if $(filter hip,$(ARCH_IMPL)),+)$(Q)rm -rf $(STATED); $(CHECK) $(if $(TIER),,--tier smoke,full) --impl '$(or $(PLUGIN),$(IMPL))' --report $(STATED); \
	for report in $(STATED)/*.json; do $(B)/dsv4cts statement --output $${report%.json}.zip $(if $(KEY),--key '$(KEY)') $$report || exit; done

report: $(B)/dsv4cts ## merge the results under reports/ into reports/index.html
	$(Q)$(B)/dsv4cts report --format html --output $(REPORTS)/index.html $(wildcard $(REPORTS)/*/*.json)

print-nvcc:
	@echo '$(NVCC)'

clean: ## remove build/
	$(Q)rm -rf $(B)

# Whatever the help lists is no file.
.PHONY: print-nvcc $(shell sed -n 's/^\([a-z-]*\):.*\#\# .*/\1/p' $(firstword $(MAKEFILE_LIST)))

endif
