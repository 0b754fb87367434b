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
LIBS := -lyaml -lzip -lz -ljansson -lcrypto -ldl

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
	$(CC) $(CFLAGS_ALL) -shared -Wl,--exclude-libs,ALL -o $@ $^

$(B)/tests/unit: $(call obj,$(UNIT_SRC) $(ORACLE_SRC)) $(O)/libharness.a $(O)/libref.a
	@mkdir -p $(@D)
	$(CC) $(CFLAGS_ALL) -o $@ $^ $(LIBS) -lcriterion -lmpfr -lgmp

$(B)/tests/planted/%.so: harness/tests/planted/%.c harness/include/dsv4_plugin.h
	@mkdir -p $(@D)
	$(CC) $(CFLAGS_ALL) -shared -o $@ $<

$(B)/tools/%: $(O)/harness/tests/tools/%.o $(call obj,$(ORACLE_SRC)) $(O)/libref.a
	@mkdir -p $(@D)
	$(CC) $(CFLAGS_ALL) -o $@ $^ -lmpfr -lgmp

.SECONDARY:
-include $(shell find $(O) -name '*.d' 2>/dev/null)

.PHONY: help
help: ## print the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 18
