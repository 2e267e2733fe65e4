# SPDX-License-Identifier: Apache-2.0
# Targets beyond the build itself: run, demo, tests, benchmarks, installation.

JOBS         ?= $(shell nproc 2>/dev/null || echo 2)
FUZZ_SECONDS ?= 60
CLANG        ?= clang-14
CLANGXX      ?= clang++-14
# A make that was started with -j hands its own job slots down.
PARALLEL = $(if $(findstring jobserver,$(MAKEFLAGS)),,-j$(JOBS))

.PHONY: run image image-dev image-agents demo check \
	check-agents check-launcher check-vhost bench fuzz install uninstall \
	clean layers format cppcheck docs unit unit-programs fuzz-programs fuzz-replay sanitize \
	scenario soak FORCE

run: image ## Start the TUI on a development state under build/
	@B='$(abspath $(B))' scripts/run-dev

image: build ## Build the guest image into build/image
	@B='$(abspath $(B))' PYTHON='$(PYTHON)' scripts/image

# Minutes and a few hundred MB of downloads, kept below build/cache.
build_image = @B='$(abspath $(B))' scripts/image-sign key && \
	KENAZ_IMAGE_CACHE='$(abspath $(B))' $(B)/bin/kenaz image build \
	--into '$(B)/image' --key '$(B)/image-key' scripts/images/$(1).toml

image-dev: image ## Build the image `dev`: Debian with git, python3, node ...
	$(call build_image,dev)

image-agents: image ## Build the image `agents`: dev and agents from npm
	$(call build_image,agents)

demo: ## Show the main job on this machine, from dependencies to verify
	@scripts/deps build
	@echo 'demo: building (about 1 minute the first time)'
	@$(MAKE) --no-print-directory -s $(PARALLEL) build
	@$(MAKE) --no-print-directory -s image
	@B='$(abspath $(B))' scripts/demo

check: ## Run every test, as CI does
	@scripts/deps
	@B='$(B)' JOBS='$(JOBS)' MAKE='$(MAKE)' scripts/check

clean: ## Remove build/
	rm -rf -- '$(B)'

# --- static checks --------------------------------------------------------
layers: ## Check includes, banned functions, banners and sizes
	@scripts/check-layers --self-test
	@scripts/check-layers

format: ## Check that clang-format would change nothing
	@scripts/check-format

docs: build ## Check that what the documents name exists
	@B='$(abspath $(B))' scripts/check-docs

# It reads no system headers, but these macros must be known.
SYS_QUEUE := $(firstword $(wildcard /usr/include/sys/queue.h \
	/usr/include/*/sys/queue.h))

cppcheck: ## Run cppcheck over every C file
	@mkdir -p $(B)/cppcheck
	@cppcheck -q -j$(JOBS) --cppcheck-build-dir=$(B)/cppcheck --std=c11 \
		--enable=warning,performance,portability --inline-suppr \
		--library=posix,gnu --error-exitcode=1 -D_GNU_SOURCE \
		-D__linux__ -I. --include=$(SYS_QUEUE) --suppressions-list=scripts/cppcheck.txt \
		engine vm guest tui
	@echo 'cppcheck: no findings'

# --- unit tests -----------------------------------------------------------
RUN_TESTS = $(PYTHON) scripts/run-tests --jobs $(JOBS) --build '$(abspath $(B))'

unit-programs: $(UNIT_BIN)

unit: build unit-programs ## Run the unit tests
	@$(RUN_TESTS) --kind unit $(UNIT_BIN)

# Programs too: some tests start them. Static ones cannot be sanitized.
sanitize: ## Run the unit tests under address and undefined sanitizers
	@$(MAKE) --no-print-directory -s $(PARALLEL) B='$(B)/asan' \
		SANITIZE=address,undefined build unit-programs
	@$(RUN_TESTS) --kind unit --name sanitize \
		$(patsubst $(B)/%,$(B)/asan/%,$(UNIT_BIN))

# --- fuzzing --------------------------------------------------------------
# A target's last comment, `sources: ...`, lists the files that it needs.
FUZZ_FLAGS := -g -O1 -fno-omit-frame-pointer -fno-sanitize-recover=all
FUZZ_SAN   := address,undefined
fuzz_sources = $(wildcard $(shell sed -n '/ sources: /,/\*\//p' $(1) | \
	sed 's,^.* sources:,,; s,\*/,,; s,^ \*,,'))
fuzz_objects = $(patsubst %.c,$(B)/fuzz/obj/%.o,$(patsubst \
	%.cc,$(B)/fuzz/obj/%.o,$(1) $(call fuzz_sources,$(1))))

define fuzz_program
$(B)/fuzz/$(notdir $(basename $(1))): $(call fuzz_objects,$(1))
	@mkdir -p $$(@D)
	$$(CLANGXX) -fsanitize=fuzzer,$$(FUZZ_SAN) -o $$@ $$^ \
		-Wl,--as-needed $$(LIBS_ALL) $$(LIBS_BASE)
endef
ifneq ($(filter fuzz fuzz-programs fuzz-replay,$(MAKECMDGOALS)),)
$(foreach f,$(FUZZ_SRC),$(eval $(call fuzz_program,$(f))))
endif

$(B)/fuzz/obj/%.o: %.c
	@mkdir -p $(@D)
	$(CLANG) $(CPPFLAGS_ALL) -std=gnu17 $(FUZZ_FLAGS) \
		-fsanitize=fuzzer-no-link,$(FUZZ_SAN) -MMD -MP -c -o $@ $<

$(B)/fuzz/obj/%.o: %.cc
	@mkdir -p $(@D)
	$(CLANGXX) $(CPPFLAGS_ALL) -std=gnu++17 $(FUZZ_FLAGS) \
		-fsanitize=fuzzer-no-link,$(FUZZ_SAN) -MMD -MP -c -o $@ $<

-include $(shell find $(B)/fuzz/obj -name '*.d' 2>/dev/null)
.SECONDARY:

fuzz-programs: $(FUZZ_BIN)

fuzz-replay: fuzz-programs ## Replay the seed corpus of every fuzz target
	@$(RUN_TESTS) --kind corpus --name fuzz-replay $(FUZZ_BIN)

fuzz: fuzz-programs ## Fuzz every parser for FUZZ_SECONDS (60) each
	@$(RUN_TESTS) --kind fuzz --fuzz-seconds $(FUZZ_SECONDS) $(FUZZ_BIN)

# --- scenarios and benchmarks ---------------------------------------------
SCENARIOS := $(sort $(wildcard tests/scenario/*.sh \
	tests/scenario/*.py tests/tui/*.sh tests/tui/*.py))

scenario: image ## Run the scenarios with the real programs
	@$(RUN_TESTS) --kind scenario $(SCENARIOS)

# Scenarios with cases that are left out of `make check` for their time.
DEEP_SCENARIOS := $(sort $(shell grep -lE 'KENAZ_TEST_DEPTH|depth=' \
	tests/scenario/*.py))

check-launcher: image ## Run the scenarios of machines with all their cases
	@$(RUN_TESTS) --kind scenario --name launcher --deep $(DEEP_SCENARIOS)

check-agents: image ## Run agents from npm in VMs (slow; make image-agents first)
	@$(RUN_TESTS) --kind scenario --name agents --jobs 1 --timeout 3600 \
		$(sort $(wildcard tests/agents/*.py))

check-sdk: build ## Run npm's SDKs against the gate, every kind of provider behind
	@$(PYTHON) tests/sdk/run.py

check-vhost: image ## Run tests/nested in a guest with what this kernel lacks
	@B='$(abspath $(B))' PYTHON='$(PYTHON)' CC='$(CC)' scripts/check-vhost

BENCH_BIN := $(patsubst tests/bench/%.c,$(B)/bench/%,\
	$(filter-out tests/bench/vm_guest.c,$(sort $(wildcard tests/bench/*.c))))
# That one is the program of a guest, built by bench_vm.py.

$(B)/bench/%: $(B)/obj/tests/bench/%.o $(LIB_ARCHIVE) $(ALL_ARCHIVES)
	$(call link_test,tests/bench/$*.c)

SOAK_SESSIONS ?= 200
SOAK_IDLE     ?= 40

soak: image ## Kill SOAK_SESSIONS (200) sessions at random, idle SOAK_IDLE (40)
	@$(PYTHON) tests/soak/kill.py --sessions $(SOAK_SESSIONS)
	@$(PYTHON) tests/soak/idle.py --sessions $(SOAK_IDLE)

SOAK_MINUTES ?= 30

# The guest's programs are static, which no sanitizer takes.
soak-faults: build ## Ask a failing provider for SOAK_MINUTES (30), sanitized
	@$(MAKE) --no-print-directory -s $(PARALLEL) B='$(B)/asan' \
		SANITIZE=address,undefined build
	@cp $(B)/bin/kenaz-guestd $(B)/bin/kenaz-workbench $(B)/asan/bin/
	@KENAZ_BIN='$(abspath $(B))/asan/bin' $(PYTHON) tests/soak/faults.py \
		--minutes $(SOAK_MINUTES)

bench: image $(BENCH_BIN) ## Measure the targets into build/bench.json
	@B='$(abspath $(B))' $(PYTHON) scripts/bench

# --- installation ---------------------------------------------------------
# kenazd starts its children from its own folder, so all programs go to
# libexec; bin/kenaz is a relative link to the one there.
LIBEXEC_DIR := $(DESTDIR)$(PREFIX)/libexec/kenaz
SHARE_DIR   := $(DESTDIR)$(PREFIX)/share
COMPLETION  := $(SHARE_DIR)/bash-completion/completions/kenaz
DOCS        := $(wildcard docs/*.md docs/*/*)
MAN_PAGES   := $(notdir $(wildcard docs/*.[1-8]))
# What `kenaz image build` runs.
IMAGE_SCRIPTS := $(addprefix scripts/image-,debian lib npm cpio kernel root \
	manifest)
man_path = $(SHARE_DIR)/man/man$(patsubst .%,%,$(suffix $(1)))/$(1)

# What has the prefix compiled in is built again when it changes.
PREFIX_USERS := $(shell grep -rlE 'KENAZ_(LIBEXEC|DATA)DIR' --include='*.c' \
	engine vm tui 2>/dev/null)
$(patsubst %.c,$(B)/obj/%.o,$(PREFIX_USERS)): $(B)/prefix
$(B)/prefix: FORCE
	@mkdir -p $(@D)
	@echo '$(PREFIX)' | cmp -s - $@ || echo '$(PREFIX)' >$@

install: build ## Install below PREFIX (/usr/local), honouring DESTDIR
	install -d '$(LIBEXEC_DIR)' '$(DESTDIR)$(PREFIX)/bin' \
		'$(SHARE_DIR)/doc/kenaz' '$(dir $(COMPLETION))' \
		'$(SHARE_DIR)/man/man1' '$(SHARE_DIR)/man/man8' \
		'$(SHARE_DIR)/kenaz/images' '$(SHARE_DIR)/kenaz/image-keys'
	install -m 755 $(PROGRAMS) '$(LIBEXEC_DIR)'
	install -d '$(LIBEXEC_DIR)/scripts'
	install -m 755 $(IMAGE_SCRIPTS) '$(LIBEXEC_DIR)/scripts'
	ln -sfn ../libexec/kenaz/kenaz '$(DESTDIR)$(PREFIX)/bin/kenaz'
	install -m 644 LICENSE $(wildcard *.md) '$(SHARE_DIR)/doc/kenaz'
	for f in $(DOCS); do install -D -m 644 "$$f" \
		'$(SHARE_DIR)'/doc/kenaz/"$$f" || exit 1; done
	$(foreach m,$(MAN_PAGES),install -m 644 docs/$(m) '$(call man_path,$(m))' &&) true
	$(B)/bin/kenaz completion bash >'$(COMPLETION)'
	@for image in $(B)/image/*/; do \
		[ -f "$$image/manifest.json" ] || { \
			echo "install: no guest image yet;" \
				"'make image', then install again"; \
			continue; }; \
		to='$(SHARE_DIR)'/kenaz/images/$$(basename "$$image"); \
		install -d "$$to" && install -m 644 "$$image"/* "$$to"; \
	done
	@for key in $(B)/image-keys/*.pub; do \
		[ ! -f "$$key" ] || install -m 644 "$$key" \
			'$(SHARE_DIR)/kenaz/image-keys' || exit 1; \
	done

uninstall: ## Remove what install put there
	rm -f '$(DESTDIR)$(PREFIX)/bin/kenaz' '$(COMPLETION)'
	rm -f $(foreach m,$(MAN_PAGES),'$(call man_path,$(m))')
	rm -rf '$(LIBEXEC_DIR)' '$(SHARE_DIR)/kenaz' '$(SHARE_DIR)/doc/kenaz'
