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

.PHONY: exhaustive
exhaustive: $(B)/tools/exhaustive ## prove the number formats and functions for all 2^32 inputs (minutes)
	$< --plant
	$<

# ---- vectors ----

SELECT = $(if $(OP),--op '$(OP)') $(if $(CASE),--case '$(CASE)') $(if $(TIER),--tier '$(TIER)')

.PHONY: vectors verify-vectors verify-numpy
vectors: $(B)/dsv4cts ## write the smoke vectors and MANIFEST
	$< gen $(SELECT)

verify-vectors: $(B)/dsv4cts verify-numpy ## regenerate every case and compare with MANIFEST and the vectors
	$< verify-vectors $(SELECT)

verify-numpy: ## load every committed vector with numpy and compare with its meta.json
	/usr/bin/python3 harness/tests/numpy_check.py --plant
	/usr/bin/python3 harness/tests/numpy_check.py vectors

# The same bits from every compiler, optimisation, number of threads and machine: a program free of libraries runs the
# reference, dsv4cts holds its answers to MANIFEST. Each line of MATRIX: name, compiler and flags.
MATRIX_TIER := $(or $(TIER),smoke)
MATRIX_FLAGS := -std=c11 -D_GNU_SOURCE -g $(CANON) $(WARN) -fopenmp -I.
MATRIX_SRC := reference/stream.c $(REF_SRC)
MATRIX_gcc-O0 := gcc -O0
MATRIX_gcc-O3 := gcc -O3 $(MARCH)
MATRIX_clang-O0 := clang-19 -O0
MATRIX_clang-O3 := clang-19 -O3 $(MARCH)
MATRIX_aarch64-O0 := aarch64-linux-gnu-gcc -O0 -static
MATRIX_aarch64-O3 := aarch64-linux-gnu-gcc -O3 -static
MATRIX_planted := gcc -O3 $(MARCH) -ffast-math -ffp-contract=fast
MATRIX_X86 := gcc-O0 gcc-O3 clang-O0 clang-O3
MATRIX_ARM := aarch64-O0 aarch64-O3
MATRIX_HEADERS = $(wildcard reference/*.h reference/*.def reference/*/*.h harness/include/*.h)

$(B)/matrix/%/stream: $(MATRIX_SRC) $(MATRIX_HEADERS)
	@mkdir -p $(@D)
	$(word 1,$(MATRIX_$*)) $(MATRIX_FLAGS) $(wordlist 2,9,$(MATRIX_$*)) -o $@ $(MATRIX_SRC) -lm

.PHONY: matrix
matrix: $(B)/dsv4cts $(foreach m,$(MATRIX_X86) $(MATRIX_ARM) planted,$(B)/matrix/$(m)/stream) ## same bits from gcc, clang, -O0, -O3, 1 to 3 threads, aarch64 (TIER=smoke)
	@set -e -o pipefail; \
	verify() { $< verify-vectors --stream --tier $(MATRIX_TIER) $(if $(OP),--op '$(OP)'); }; \
	$< list --resolved --tier $(MATRIX_TIER) $(if $(OP),--op '$(OP)') > $(B)/matrix/cases; \
	for m in $(MATRIX_X86); do for n in 1 2 3; do \
	    echo "$$m, $$n threads"; OMP_NUM_THREADS=$$n $(B)/matrix/$$m/stream < $(B)/matrix/cases | verify; \
	done; done; \
	for m in $(MATRIX_ARM); do \
	    echo "$$m in qemu, 2 threads"; OMP_NUM_THREADS=2 qemu-aarch64 $(B)/matrix/$$m/stream < $(B)/matrix/cases | verify; \
	done; \
	echo "planted: fast-math must not give these bits"; \
	if $(B)/matrix/planted/stream < $(B)/matrix/cases | verify > $(B)/matrix/planted.txt; then \
	    echo "matrix: the planted error is not seen"; exit 1; \
	fi; tail -n 1 $(B)/matrix/planted.txt

FUZZ_SECONDS ?= 20
FUZZERS := suite manifest meta entry vector
$(B)/fuzzers/%: $(O)/harness/tests/fuzz/fuzz_%.o $(O)/libharness.a $(O)/libref.a
	@mkdir -p $(@D)
	$(CC) $(CFLAGS_ALL) -fsanitize=fuzzer -o $@ $^ $(LIBS)

.PHONY: fuzz fuzz-run
fuzz: $(B)/dsv4cts ## fuzz the readers of suites, MANIFEST and vectors, FUZZ_SECONDS=20 each
	$(MAKE) --no-print-directory CONFIG=fuzz CC=clang-19 OPT=-O1 \
	    CFLAGS='-fsanitize=address,undefined,fuzzer-no-link -fno-sanitize-recover=undefined $(CFLAGS)' fuzz-run

fuzz-run: $(FUZZERS:%=$(B)/fuzzers/%)
	@mkdir -p $(FUZZERS:%=$(B)/corpus/%)
	@for f in suites/*.yaml; do cp $$f $(B)/corpus/suite/; done
	@cp vectors/MANIFEST $(B)/corpus/manifest/
	@rm -rf $(B)/corpus/taken-apart
	@for f in vectors/*/*.npz; do \
	    name=$$(echo $$f | tr / -); cp $$f $(B)/corpus/vector/$$name; \
	    /usr/bin/python3 -m zipfile -e $$f $(B)/corpus/taken-apart/$$name; \
	    cp $(B)/corpus/taken-apart/$$name/meta.json $(B)/corpus/meta/$$name.json; \
	    for e in $(B)/corpus/taken-apart/$$name/*; do (printf x; cat $$e) > $(B)/corpus/entry/$$name-$$(basename $$e); done; \
	done
	@for t in $(FUZZERS); do \
	    echo "fuzz $$t"; \
	    $(B)/fuzzers/$$t -max_total_time=$(FUZZ_SECONDS) -max_len=400000 -timeout=20 -rss_limit_mb=4096 -verbosity=0 \
	        -artifact_prefix=$(B)/fuzzers/$$t- -print_final_stats=1 $(B)/corpus/$$t || exit 1; \
	done
