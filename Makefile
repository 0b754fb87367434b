# SPDX-License-Identifier: Apache-2.0
# The only build file. `make` alone prints the targets.
SHELL := /bin/bash
.DEFAULT_GOAL := help

ARCH ?= cpu
CONFIG ?= release
CC ?= gcc
ifeq ($(origin CC),default)
CC := gcc
endif
OPT ?= -O3
MARCH ?= -march=native
B := build
O := $(B)/$(CONFIG)

WARN := -Wall -Wextra -Wpedantic -Wconversion -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Werror
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
obj = $(patsubst %.c,$(O)/%.o,$(1))

$(O)/%.o: %.c
	@mkdir -p $(@D)
	$(CC) $(CFLAGS_ALL) -MMD -MP -c -o $@ $<

$(O)/libref.a: $(call obj,$(REF_SRC))
	@rm -f $@
	ar rcs $@ $^

$(O)/libharness.a: $(call obj,$(HARNESS_SRC))
	@rm -f $@
	ar rcs $@ $^

$(B)/dsv4cts: $(O)/harness/main.o $(O)/libharness.a $(O)/libref.a
	$(CC) $(CFLAGS_ALL) -o $@ $^ $(LIBS)

$(B)/cpu/ref.so: $(O)/harness/ref_plugin.o $(O)/libref.a
	@mkdir -p $(@D)
	$(CC) $(CFLAGS_ALL) -shared -Wl,--exclude-libs,ALL -o $@ $^ -lm

$(B)/tests/unit: $(call obj,$(UNIT_SRC) $(ORACLE_SRC)) $(O)/libharness.a $(O)/libref.a
	@mkdir -p $(@D)
	$(CC) $(CFLAGS_ALL) -o $@ $^ $(LIBS) -lcriterion -lmpfr -lgmp

$(B)/tests/planted/%.so: harness/tests/planted/%.c harness/include/dsv4_plugin.h
	@mkdir -p $(@D)
	$(CC) $(CFLAGS_ALL) -shared -o $@ $<

$(B)/tools/%: $(O)/harness/tests/tools/%.o $(call obj,$(ORACLE_SRC)) $(O)/libref.a
	@mkdir -p $(@D)
	$(CC) $(CFLAGS_ALL) -o $@ $^ -lmpfr -lgmp -lm

.SECONDARY:
-include $(shell find $(O) -name '*.d' 2>/dev/null)

.PHONY: help
help: ## print the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 18

# ---- checking ----

IMPL ?= $(if $(filter cpu,$(ARCH)),$(B)/cpu/ref.so,$(firstword $(wildcard $(B)/$(ARCH)/*.so) $(B)/$(ARCH)/impl.so))
FILTERS = $(if $(OP),--op '$(OP)') $(if $(CASE),--case '$(CASE)') $(if $(TAG),--tag '$(TAG)') \
	$(if $(TIER),--tier '$(TIER)') $(if $(DIALECT),--dialect '$(DIALECT)')
PLANTED := $(patsubst harness/tests/planted/%.c,$(B)/tests/planted/%.so,$(PLANTED_SRC))
$(PLANTED): harness/tests/planted/insert.h
$(B)/tests/unit: | $(B)/dsv4cts $(B)/cpu/ref.so $(PLANTED)

.PHONY: check check-plugin selftest bench report
check: $(B)/dsv4cts $(IMPL) ## replay the smoke cases (OP= CASE= TAG= TIER= DIALECT= ARCH= V=1)
	$(B)/dsv4cts check --impl $(IMPL) --report reports/$(ARCH) $(FILTERS) $(if $(V),--verbose) $(ARGS)

check-plugin: $(B)/dsv4cts ## the same against PLUGIN=path/to/your.so
	@test -n '$(PLUGIN)' || { echo 'make check-plugin needs PLUGIN=path/to/your.so' >&2; exit 2; }
	$(B)/dsv4cts check --impl '$(PLUGIN)' --report reports/plugin $(FILTERS) $(if $(V),--verbose) $(ARGS)

selftest: $(B)/dsv4cts $(PLANTED) ## every mutant and every planted bug must be caught
	$(B)/dsv4cts selftest --planted harness/tests/planted/EXPECTED $(if $(OP),--op '$(OP)')

bench: $(B)/dsv4cts $(IMPL) ## time the bench cases against this machine's own copy bandwidth
	$(B)/dsv4cts bench --impl $(IMPL) $(FILTERS)

report: $(B)/dsv4cts ## render all JSON reports below reports/ into reports/index.html
	$(B)/dsv4cts report --format html --output reports/index.html $(wildcard reports/*/*.json)

.PHONY: exhaustive
exhaustive: $(B)/tools/exhaustive ## prove the number formats and functions for all 2^32 inputs (minutes)
	$< --plant
	$<

# ---- device back ends: one C source each for CUDA's runtime and for HIP's, which is opened at run time ----

CUDA ?= /usr/local/cuda
$(B)/device_cuda.so: harness/device/gpu_backend.c harness/device.h reference/op.h
	@mkdir -p $(@D)
	@test -e $(CUDA)/include/cuda_runtime_api.h || \
		{ echo 'no CUDA toolkit at $(CUDA): install nvcc and cudart, or set CUDA=' >&2; exit 2; }
	$(CC) $(filter-out -march=native,$(CFLAGS_ALL)) -DDSV4_CUDA -isystem $(CUDA)/include -shared -o $@ $< \
		-L$(CUDA)/lib64 -lcudart_static -ldl -lrt -lpthread

$(B)/device_hip.so: harness/device/gpu_backend.c harness/device.h reference/op.h
	@mkdir -p $(@D)
	$(CC) $(CFLAGS_ALL) -DDSV4_HIP -shared -o $@ $< -ldl
