# SPDX-License-Identifier: Apache-2.0
# Kenaz: every target of the project. `make help` lists them.
#
# A folder is a process or a layer: its files make one archive, its main.c
# (where there is one) a program. Tests are found by their names.

PREFIX     ?= /usr/local
DESTDIR    ?=
B          ?= build
CC         := gcc
CXX        := g++
PYTHON     ?= python3
SANITIZE   ?=

export SOURCE_DATE_EPOCH ?= $(shell git log -1 --format=%ct 2>/dev/null || echo 0)

WARN := -Wall -Wextra -Wpedantic -Wconversion -Wsign-conversion -Wshadow \
	-Wcast-qual -Wwrite-strings -Wpointer-arith -Wundef -Wvla -Walloca \
	-Wformat=2 -Wformat-truncation=2 -Wimplicit-fallthrough \
	-Wnull-dereference -Wswitch-enum -Wlogical-op -Wduplicated-cond \
	-Wduplicated-branches -Werror
WARN_C := -Wstrict-prototypes -Wmissing-prototypes

REPRO := -ffile-prefix-map=$(CURDIR)=. -fdebug-prefix-map=$(CURDIR)=.
HARDEN := -fstack-protector-strong -fstack-clash-protection \
	-fcf-protection=full -fno-strict-overflow -fvisibility=hidden
ifeq ($(SANITIZE),)
HARDEN += -D_FORTIFY_SOURCE=3 -ftrivial-auto-var-init=zero
OPT := -O2 -g
else
OPT := -O1 -g -fno-omit-frame-pointer -fsanitize=$(SANITIZE) \
	-fno-sanitize-recover=all
# gcc's flow warnings misread the checks that the sanitizers put in.
WARN += -Wno-format-truncation -Wno-null-dereference -Wno-maybe-uninitialized \
	-Wno-stringop-overflow
endif

CPPFLAGS_ALL := -I. -D_GNU_SOURCE -DKENAZ_LIBEXECDIR='"$(PREFIX)/libexec/kenaz"' \
	-DKENAZ_DATADIR='"$(PREFIX)/share/kenaz"'
CFLAGS_ALL := -std=gnu17 $(OPT) $(WARN) $(WARN_C) $(HARDEN) $(REPRO) -fPIE
CXXFLAGS_ALL := -std=gnu++17 $(OPT) -Wall -Wextra -Wshadow -Werror $(HARDEN) \
	$(REPRO) -fPIE
LDFLAGS_ALL := -pie -Wl,-z,relro,-z,now,-z,noexecstack,-z,separate-code \
	$(if $(SANITIZE),-fsanitize=$(SANITIZE))

LIBS_BASE  := -luv -lgcrypt -lgpg-error -lsodium -lseccomp -lm -ldl -lpthread
LIBS_core  := -lcjson -lstdc++
LIBS_audit := -lsqlite3
LIBS_broker := -lcurl
LIBS_gate  := -lmicrohttpd -lnghttp2
LIBS_keychain := -lsecret-1 -lgio-2.0 -lgobject-2.0 -lglib-2.0
LIBS_tui   := -lcjson -lncursesw -ltinfo -lstdc++
LIBS_ALL   := -Wl,--as-needed $(LIBS_keychain) -Wl,--no-as-needed -lcjson \
	-lsqlite3 -lcurl -lmicrohttpd -lnghttp2 -lncursesw -ltinfo -lstdc++

# folder -> archive
FOLDERS := engine/base engine/proto engine/providers engine/core engine/audit \
	engine/broker engine/egress engine/gate engine/keychain \
	engine/scripted vm guest \
	guest/workbench tui tui/vt
src_of = $(filter-out $(1)/main.c $(1)/verify_main.c,$(wildcard $(1)/*.c)) $(wildcard $(1)/*.cc)
arc_of = $(B)/lib/$(subst /,_,$(1)).a
obj_of = $(patsubst %.c,$(B)/obj/%.o,$(patsubst %.cc,$(B)/obj/%.o,$(1)))
LOWER := $(call arc_of,engine/providers) $(call arc_of,engine/proto) \
	$(call arc_of,engine/base)
ALL_ARCHIVES := $(foreach f,$(FOLDERS),$(call arc_of,$(f)))

ASAN_OBJ := $(if $(SANITIZE),$(B)/obj/tests/asan/program.o)

PROGRAMS :=
.PHONY: all build help
all: build

# program(name, main source, folder, libraries)
define program
ifneq ($(wildcard $(2)),)
PROGRAMS += $(B)/bin/$(1)
$(B)/bin/$(1): $(call obj_of,$(2)) $(call arc_of,$(3)) $(LOWER) $(ASAN_OBJ)
	@mkdir -p $$(@D)
	$$(CC) $$(LDFLAGS_ALL) -o $$@ $(call obj_of,$(2)) $(ASAN_OBJ) \
		$(call arc_of,$(3)) \
		-Wl,--start-group $(LOWER) -Wl,--end-group $(4) $(LIBS_BASE)
endif
endef

$(eval $(call program,kenazd,engine/core/main.c,engine/core,$(LIBS_core)))
$(eval $(call program,kenaz-audit,engine/audit/main.c,engine/audit,$(LIBS_audit)))
$(eval $(call program,kenaz-verify,engine/audit/verify_main.c,engine/audit,$(LIBS_audit)))
$(eval $(call program,kenaz-broker,engine/broker/main.c,engine/broker,$(LIBS_broker)))
$(eval $(call program,kenaz-egress,engine/egress/main.c,engine/egress,))
$(eval $(call program,kenaz-gate,engine/gate/main.c,engine/gate,$(LIBS_gate)))
$(eval $(call program,kenaz-keychain,engine/keychain/main.c,engine/keychain,$(LIBS_keychain)))
$(eval $(call program,kenaz-scripted,engine/scripted/main.c,engine/scripted,))
$(eval $(call program,kenaz-launch,vm/main.c,vm,))
$(eval $(call program,kenaz,tui/main.c,tui,$(LIBS_tui)))
$(eval $(call program,kenaz-vt,tui/vt/main.c,tui/vt,))

# The guest's programs are static: the image has no C library.
define static_program
ifneq ($(wildcard $(2)),)
PROGRAMS += $(B)/bin/$(1)
$(B)/bin/$(1): $(call obj_of,$(2)) $(call arc_of,$(3)) $(LOWER)
	@mkdir -p $$(@D)
	$$(CC) -static -Wl,-z,relro,-z,now,-z,noexecstack \
		$(if $(SANITIZE),-fsanitize=$(SANITIZE)) -o $$@ $(call obj_of,$(2)) \
		$(call arc_of,$(3)) -Wl,--start-group $(LOWER) -Wl,--end-group $(4)
endif
endef
ifeq ($(SANITIZE),)
$(eval $(call static_program,kenaz-guestd,guest/main.c,guest,-lsodium))
$(eval $(call static_program,kenaz-workbench,guest/workbench/main.c,guest/workbench,))
endif

# GLib's headers are where only pkg-config knows; warnings are not for them.
$(B)/obj/engine/keychain/%.o: CPPFLAGS_ALL += $(patsubst -I%,-isystem %,\
	$(shell pkg-config --cflags-only-I libsecret-1))

$(B)/obj/%.o: %.c
	@mkdir -p $(@D)
	$(CC) $(CPPFLAGS_ALL) $(CFLAGS_ALL) -MMD -MP -c -o $@ $<

$(B)/obj/%.o: %.cc
	@mkdir -p $(@D)
	$(CXX) $(CPPFLAGS_ALL) $(CXXFLAGS_ALL) -MMD -MP -c -o $@ $<

define archive
$(call arc_of,$(1)): $(call obj_of,$(call src_of,$(1)))
	@mkdir -p $$(@D)
	@rm -f $$@
	@ar rcsD $$@ $$^
endef
$(foreach f,$(FOLDERS),$(eval $(call archive,$(f))))

build: $(PROGRAMS) ## Build every program into build/bin

# --- tests ----------------------------------------------------------------
UNIT_SRC := $(sort $(wildcard tests/unit/test_*.c))
UNIT_BIN := $(patsubst tests/unit/%.c,$(B)/unit/%,$(UNIT_SRC))
FUZZ_SRC := $(sort $(wildcard tests/fuzz/fuzz_*.c))
FUZZ_BIN := $(patsubst tests/fuzz/%.c,$(B)/fuzz/%,$(FUZZ_SRC))
LIB_OBJ  := $(call obj_of,$(wildcard tests/lib/*.c))

# Processes may use the same name for different things: a test's symbols come
# from the folders that it includes, then from the others.
own_archives = $(foreach f,$(filter $(FOLDERS),$(patsubst %/,%,$(shell \
	sed -nE 's,^.include "(([a-z]+/)+)[a-z_0-9]+.h"$$,\1,p' $(1)))),\
	$(call arc_of,$(f)))
define link_test
	@mkdir -p $(@D)
	$(CC) $(LDFLAGS_ALL) -o $@ $< $(LIB_ARCHIVE) -Wl,--start-group \
		$(call own_archives,$(1)) $(LOWER) -Wl,--end-group \
		-Wl,--start-group $(ALL_ARCHIVES) -Wl,--end-group $(LIBS_ALL) \
		$(LIBS_BASE)
endef

LIB_ARCHIVE := $(B)/lib/tests_lib.a
$(LIB_ARCHIVE): $(LIB_OBJ)
	@mkdir -p $(@D)
	@rm -f $@
	@ar rcsD $@ $^

$(B)/unit/%: $(B)/obj/tests/unit/%.o $(LIB_ARCHIVE) $(ALL_ARCHIVES)
	$(call link_test,tests/unit/$*.c) -lcmocka

-include scripts/targets.mk

help: ## List the targets
	@awk -F':.*## ' '/^[a-z-]+:.*## /{printf "%-16s %s\n",$$1,$$2}' \
		Makefile scripts/targets.mk | sort

-include $(shell find $(B)/obj -name '*.d' 2>/dev/null)
