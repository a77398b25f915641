# SPDX-License-Identifier: GPL-2.0-or-later
# `make help` lists the targets. Everything that is built lands in build/.

VERSION := $(shell sed -n '1s/.*(\(.*\)).*/\1/p' debian/changelog)

PREFIX ?= /usr/local
SBINDIR ?= $(PREFIX)/sbin
LIBEXECDIR ?= $(PREFIX)/libexec/gpu-ferry
SYSCONFDIR ?= /etc
MANDIR ?= $(PREFIX)/share/man
COMPLETIONDIR ?= $(PREFIX)/share/bash-completion/completions
UNITDIR ?= $(PREFIX)/lib/systemd/system
# conf/quirks.h names it
QUIRKSDIR ?= /usr/share/gpu-ferry
# where Proxmox VE's storage "local" looks for local:snippets/gpu-ferry
SNIPPETSDIR ?= /var/lib/vz/snippets

ifeq ($(origin CC),default)
CC := gcc
endif
CLANG ?= clang
PKG_CONFIG ?= pkg-config
INSTALL ?= install

# Debian's hardening, unless the caller (dpkg-buildpackage) brings flags of its own
ifeq ($(origin CFLAGS),undefined)
CFLAGS := -O2 -g -fstack-protector-strong -fPIE
CPPFLAGS ?= -D_FORTIFY_SOURCE=2
LDFLAGS ?= -pie -Wl,-z,relro -Wl,-z,now
endif

WARNINGS := -Wall -Wextra -Wshadow -Wundef -Wvla -Wcast-qual -Wpointer-arith -Wwrite-strings \
	-Wstrict-prototypes -Wmissing-prototypes -Wformat=2 -Wimplicit-fallthrough -Wswitch-enum \
	-Wconversion -Wsign-conversion -Wnull-dereference
ifeq ($(WERROR),1)
WARNINGS += -Werror
endif

DEFINES := -D_GNU_SOURCE -DVERSION='"$(VERSION)"' -DSBINDIR='"$(SBINDIR)"' \
	-DLIBEXECDIR='"$(LIBEXECDIR)"' -DSYSCONFDIR='"$(SYSCONFDIR)"'
TEST_DEFINES := -DTESTS_DIR='"$(CURDIR)/tests"'

LIBRARIES := libconfig json-c libmd
# loaded when something of them is needed (kmod-helper/base/library.h)
LOADED_LIBRARIES := libkmod libpci
LIBRARY_CFLAGS = $(shell $(PKG_CONFIG) --cflags $(LIBRARIES) $(LOADED_LIBRARIES))
LIBRARY_LIBS = -Wl,--as-needed $(shell $(PKG_CONFIG) --libs $(LIBRARIES))
CRITERION_CFLAGS = $(shell $(PKG_CONFIG) --cflags criterion)
CRITERION_LIBS = $(shell $(PKG_CONFIG) --libs criterion)

COMPILE = $(CC) -std=gnu17 -I. $(DEFINES) $(WARNINGS) $(CPPFLAGS) $(CFLAGS)
SANITIZE := -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer
# no fortify here: it hides what the address sanitizer would see
COMPILE_SANITIZED = $(CC) -std=gnu17 -I. $(DEFINES) $(WARNINGS) -O1 -g $(SANITIZE)
# not optimised, for that moves lines and branches
COMPILE_COVERAGE = gcc -std=gnu17 -I. $(DEFINES) $(WARNINGS) -O0 -g --coverage
COMPILE_FUZZ = $(CLANG) -std=gnu17 -I. $(DEFINES) $(WARNINGS) -O1 -g $(SANITIZE)

# The programs, each with all that it is made of: what is not listed here cannot be linked.
BASE := $(wildcard kmod-helper/base/*.c)
COMMANDS := $(addprefix hooks/base/,command.c context.c devices.c journal.c output.c screen.c table.c \
		tree.c vm_names.c) hooks/commands/summaries.c

# libc and the VM config reader only: it runs at every start of every VM
HOOKSCRIPT := hooks/hookscript.c hooks/base/sibling.c $(BASE) conf/property.c conf/text.c \
	$(addprefix conf/pve/,vm_config.c vm_entries.c vm_keys.c hostpci.c node_name.c cluster.c)

# what moves cards, and of attach/ what a start reads: the record of a VM, and its own hookscript
FERRY := hooks/gpu-ferry.c hooks/base/sibling.c $(COMMANDS) $(BASE) \
	$(patsubst %,hooks/commands/%.c,hook watch reconcile bind unbind list status plan redraw) \
	$(wildcard hooks/ferry/*.c) $(addprefix hooks/attach/,attachment.c chain.c snippet.c) \
	$(addprefix hooks/host/,obstacles.c gpu_drivers.c) \
	$(addprefix conf/,config_text.c quirks.c settings.c property.c text.c) \
	$(addprefix conf/host/,modprobe_files.c kernel_arguments.c) \
	$(addprefix conf/pve/,choice.c cluster.c container.c hostpci.c mapping.c node_name.c \
		reservation.c section_config.c storage.c vm_config.c vm_entries.c vm_keys.c vm_process.c) \
	$(addprefix kmod-helper/device/,device_nodes.c driver_use.c pci.c pci_names.c \
		vfio_variant.c) \
	$(wildcard $(addprefix kmod-helper/,holder/*.c loan/*.c operation/*.c plan/*.c record/*.c)) \
	$(addprefix kmod-helper/kernel/,kernel.c kernel_log.c module_files.c modules.c open_devices.c)

# what a person calls: it plans as the ferry does, and so has ferry/ too
ASSISTANT := hooks/assistant.c $(COMMANDS) hooks/base/program.c \
	$(patsubst %,hooks/commands/%.c,doctor setup undo attach detach guest \
		report report_files report_filter) \
	$(wildcard $(addprefix hooks/,attach/*.c doctor/*.c ferry/*.c guest/*.c host/*.c)) \
	$(wildcard conf/*.c conf/*/*.c kmod-helper/*/*.c)

MAINS := $(patsubst %,hooks/%.c,gpu-ferry assistant hookscript)
ROOMS := $(filter-out $(MAINS),$(sort $(HOOKSCRIPT) $(FERRY) $(ASSISTANT)))
UNIT := $(wildcard tests/unit/test_*.c tests/support/*.c)
FUZZ := $(patsubst tests/fuzz/fuzz_%.c,%,$(wildcard tests/fuzz/fuzz_*.c))

# V=1 shows the commands whole
SAY = $(if $(V),,@echo "  $(1)	$@";)

# $(call objects,KIND,SOURCES): build/KIND/PATH.o
objects = $(patsubst %.c,build/$(1)/%.o,$(2))

.PHONY: all help install uninstall deb release demo check check-programs check-unit check-unit-plain \
	check-unit-sanitized check-cli check-fuzz fuzz check-host check-boot check-nvidia check-release soak kill-sweep turn-sweep bench bench-growth \
	coverage pictures lint format packages packages-lint packages-coverage packages-pictures clean FORCE
.DELETE_ON_ERROR:
.SECONDARY:

all: build/gpu-ferry build/assistant build/hookscript ## build the three programs (the default)

help: ## this list
	@sed -n 's/^\([a-z-]*\):.* ## /\1\t/p' $(MAKEFILE_LIST) | expand -t 24

# --- programs

build/gpu-ferry: $(call objects,plain,$(FERRY))
	$(call SAY,LINK)$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $^ $(LIBRARY_LIBS) $(LIBS)

build/assistant: $(call objects,plain,$(ASSISTANT))
	$(call SAY,LINK)$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $^ $(LIBRARY_LIBS) $(LIBS)

build/hookscript: $(call objects,plain,$(HOOKSCRIPT))
	$(call SAY,LINK)$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $^

# Flags that change (PREFIX=, WERROR=1, CC=clang) rebuild what was built with others.
build/flags: FORCE
	@mkdir -p build
	@printf '%s\n' $(call quote,$(COMPILE) $(COMPILE_SANITIZED) $(COMPILE_COVERAGE) $(COMPILE_FUZZ)) >$@.new
	@cmp -s $@.new $@ && rm $@.new || mv $@.new $@
quote = '$(subst ','\'',$(1))'

build/plain/tests/%.o: tests/%.c build/flags
	@mkdir -p $(@D)
	$(call SAY,CC)$(COMPILE) $(TEST_DEFINES) $(LIBRARY_CFLAGS) $(CRITERION_CFLAGS) -MMD -MP -c -o $@ $<

build/plain/%.o: %.c build/flags
	@mkdir -p $(@D)
	$(call SAY,CC)$(COMPILE) $(LIBRARY_CFLAGS) -MMD -MP -c -o $@ $<

build/sanitized/%.o: %.c build/flags
	@mkdir -p $(@D)
	$(call SAY,CC)$(COMPILE_SANITIZED) $(TEST_DEFINES) $(LIBRARY_CFLAGS) $(CRITERION_CFLAGS) -MMD -MP -c -o $@ $<

build/coverage/%.o: %.c build/flags
	@mkdir -p $(@D)
	$(call SAY,CC)$(COMPILE_COVERAGE) $(TEST_DEFINES) $(LIBRARY_CFLAGS) $(CRITERION_CFLAGS) -MMD -MP -c -o $@ $<

build/fuzz/%.o: %.c build/flags
	@mkdir -p $(@D)
	$(call SAY,CLANG)$(COMPILE_FUZZ) -fsanitize=fuzzer-no-link $(TEST_DEFINES) $(LIBRARY_CFLAGS) -MMD -MP -c -o $@ $<

# it has the text of the script in it
$(patsubst %,build/%/hooks/guest/driver.o,plain sanitized coverage fuzz): hooks/guest/install-driver.sh

-include $(shell find build/plain build/sanitized build/coverage build/fuzz -type f -name '*.d' 2>/dev/null)

# --- installation

MANUALS := $(filter-out %.ko.7,$(wildcard hooks/*.[1-8] conf/*.[1-8]))
UNITS := $(wildcard hooks/*.service hooks/*.path)
SETTINGS = $(DESTDIR)$(SYSCONFDIR)/gpu-ferry/gpu-ferry.conf
SNIPPETS = $(addprefix $(DESTDIR)$(SNIPPETSDIR)/,gpu-ferry gpu-ferry-chain)

install: all ## install below DESTDIR, with PREFIX (/usr/local); settings that are there stay
	$(if $(DESTDIR),,sh debian/gpu-ferry.preinst install)
	$(INSTALL) -D -m 0755 build/gpu-ferry $(DESTDIR)$(SBINDIR)/gpu-ferry
	$(INSTALL) -D -m 0755 build/assistant $(DESTDIR)$(LIBEXECDIR)/assistant
	$(INSTALL) -D -m 0755 build/hookscript $(DESTDIR)$(LIBEXECDIR)/hookscript
	[ -e $(SETTINGS) ] || $(INSTALL) -D -m 0644 conf/gpu-ferry.conf $(SETTINGS)
	$(INSTALL) -D -m 0644 conf/gpu-ferry.quirks $(DESTDIR)$(QUIRKSDIR)/quirks.conf
	$(INSTALL) -d $(DESTDIR)$(SYSCONFDIR)/gpu-ferry/quirks.d
	$(INSTALL) -d $(DESTDIR)$(SNIPPETSDIR)
	set -e; for snippet in $(SNIPPETS); do ln -sfn $(LIBEXECDIR)/hookscript $$snippet; done
	set -e; for page in $(MANUALS); do \
		$(INSTALL) -D -m 0644 $$page $(DESTDIR)$(MANDIR)/man$${page##*.}/$${page##*/}; done
	$(INSTALL) -D -m 0644 hooks/gpu-ferry-guide.ko.7 $(DESTDIR)$(MANDIR)/ko/man7/gpu-ferry-guide.7
	set -e; for unit in $(UNITS); do \
		$(INSTALL) -D -m 0644 $$unit $(DESTDIR)$(UNITDIR)/$${unit##*/}; \
		sed -i 's|/usr/sbin/gpu-ferry|$(SBINDIR)/gpu-ferry|g' $(DESTDIR)$(UNITDIR)/$${unit##*/}; done
	$(INSTALL) -D -m 0644 hooks/gpu-ferry.bash-completion $(DESTDIR)$(COMPLETIONDIR)/gpu-ferry
	@$(if $(DESTDIR),,echo "Next: systemctl daemon-reload && systemctl enable --now gpu-ferry-watch.path"; \
		echo "It returns the cards of VMs that are no longer running. Then: gpu-ferry doctor")

# On this host itself (no DESTDIR) the package's scripts refuse while a card is lent, and leave a stub
# for the VMs that name the hookscript. A file that somebody has changed stays.
uninstall: ## remove what `make install` has installed, with the same DESTDIR and PREFIX
	$(if $(DESTDIR),,sh debian/gpu-ferry.prerm remove)
	$(if $(DESTDIR),,[ ! -d /run/systemd/system ] || systemctl disable --now gpu-ferry-watch.path)
	set -e; for snippet in $(SNIPPETS); do \
		[ "$$(readlink $$snippet)" != $(LIBEXECDIR)/hookscript ] || rm $$snippet; done
	rm -f $(addprefix $(DESTDIR),$(SBINDIR)/gpu-ferry $(LIBEXECDIR)/assistant $(LIBEXECDIR)/hookscript \
		$(QUIRKSDIR)/quirks.conf $(COMPLETIONDIR)/gpu-ferry $(MANDIR)/ko/man7/gpu-ferry-guide.7 \
		$(foreach page,$(MANUALS),$(MANDIR)/man$(subst .,,$(suffix $(page)))/$(notdir $(page))) \
		$(addprefix $(UNITDIR)/,$(notdir $(UNITS))))
	@if cmp -s conf/gpu-ferry.conf $(SETTINGS); then rm $(SETTINGS); \
		elif [ -e $(SETTINGS) ]; then echo "$(SETTINGS) stays: it has been changed"; fi
	rmdir --ignore-fail-on-non-empty $(wildcard $(addprefix $(DESTDIR),$(LIBEXECDIR) $(QUIRKSDIR) \
		$(SYSCONFDIR)/gpu-ferry/quirks.d $(SYSCONFDIR)/gpu-ferry))
	$(if $(DESTDIR),,sh debian/gpu-ferry.postrm remove)

# In a copy, so that debhelper's leavings and the objects of other flags stay apart.
deb: ## build the Debian package into build/
	rm -rf build/deb
	mkdir -p build/deb/src
	tar -c --exclude=./build --exclude=./.git . | tar -x -C build/deb/src
	cd build/deb/src && env -u MAKEFLAGS -u CFLAGS -u CPPFLAGS -u LDFLAGS dpkg-buildpackage -us -uc -b
	rm -f build/*.deb build/*.buildinfo build/*.changes
	mv build/deb/*.deb build/deb/*.buildinfo build/deb/*.changes build/

# KEY=, URL=, COMMIT=, RELEASES=, MIRROR=: debian/release/make explains them
release: ## signed packages of both Debian releases and their apt repository, in build/release (KEY=, URL=)
	@tests/host/setup debian/release/packages
	@debian/release/make $(COMMIT)

# --- tests: each tier ends with a line "TIER: N passed, N failed, N skipped"

check: packages ## all tiers of tests, on a bare Debian 12 or 13
	@tests/support/check unit cli fuzz host

demo: packages ## boots a host and ferries its card to a VM and back, to look at
	@tests/host/demo

packages:
	@tests/support/install-packages

packages-lint packages-coverage packages-pictures: packages-%:
	@tests/support/install-packages tests/support/packages.$*

# all that the tiers need, so that it can be built in parallel and they run one after the other
check-programs: all build/unit build/unit-sanitized $(FUZZ:%=build/fuzz_%)

check-unit: check-unit-plain check-unit-sanitized ## the unit tests, plain and under ASan and UBSan

check-unit-plain: build/unit ## the unit tests, plain
	@tests/support/run-unit unit build/unit

check-unit-sanitized: build/unit-sanitized
	@tests/support/run-unit unit-sanitized build/unit-sanitized

# tests/support/faults.c
WRAP := -Wl,--wrap=record_parse,--wrap=record_write

build/unit: $(call objects,plain,$(ROOMS) $(UNIT))
	$(call SAY,LINK)$(CC) $(CFLAGS) $(LDFLAGS) $(WRAP) -o $@ $^ $(LIBRARY_LIBS) $(CRITERION_LIBS)

build/unit-sanitized: $(call objects,sanitized,$(ROOMS) $(UNIT))
	$(call SAY,LINK)$(CC) $(SANITIZE) $(WRAP) -o $@ $^ $(LIBRARY_LIBS) $(CRITERION_LIBS)

check-cli: all ## the programs over captured trees
	@tests/support/run-tier cli tests/cli/run

pictures: all packages-pictures ## the pictures of README, from a run of the demo and of what they show
	@tests/cli/run $(notdir $(wildcard tests/cli/golden/picture_*))
	@mkdir -p build/pictures
	@tests/host/demo >build/pictures/demo
	@tests/pictures/draw

check-fuzz: $(FUZZ:%=build/fuzz_%) ## replay the fuzzers' corpus, and fuzz for 5 s each
	@tests/support/run-fuzz check $(FUZZ)

fuzz: $(FUZZ:%=build/fuzz_%) ## fuzz each reader for a minute (SECONDS=), keep what is found in build/fuzz-*
	@tests/support/run-fuzz $(if $(filter command% environment%,$(origin SECONDS)),$(SECONDS),60) $(FUZZ)

build/fuzz_%: build/fuzz/tests/fuzz/fuzz_%.o build/fuzz/tests/fuzz/answers.o $(call objects,fuzz,$(ROOMS))
	$(call SAY,LINK)$(CLANG) $(SANITIZE) -fsanitize=fuzzer -o $@ $^ $(LIBRARY_LIBS)

# what the first two tiers reach; a normal build has no counters
COUNTING := $(addprefix build/coverage/,gpu-ferry assistant hookscript unit)

coverage: packages-coverage all $(COUNTING) ## lines and branches that the unit and command line tests reach, by folder
	@tests/coverage/run

build/coverage/gpu-ferry: $(call objects,coverage,$(FERRY))
build/coverage/assistant: $(call objects,coverage,$(ASSISTANT))
build/coverage/hookscript: $(call objects,coverage,$(HOOKSCRIPT))
build/coverage/unit: $(call objects,coverage,$(ROOMS) $(UNIT))
build/coverage/unit: COUNTING_LIBS := $(WRAP) $(CRITERION_LIBS)
$(COUNTING): build/coverage/tests/coverage/exit.o
	$(call SAY,LINK)gcc --coverage -Wl,--wrap=_exit -o $@ $^ $(LIBRARY_LIBS) $(COUNTING_LIBS)

check-host: ## a real kernel in QEMU
	@tests/support/run-tier host tests/host/check

check-boot: packages ## all hosts that GRUB boots, on both releases: setup, reboot, a VM, undo, reboot
	@tests/support/run-tier boot tests/host/check-boot

check-nvidia: packages ## all tests of the host with NVIDIA's own driver, on cards that are made up
	@tests/support/run-tier nvidia tests/host/check-nvidia

check-release: packages ## what make release makes: apt, piuparts, lintian; in a host from apt to a lent card
	@tests/support/run-tier release tests/host/check-release

# On the test host of RELEASE, one of those in tests/host/common. A sequence that fails says its seed: make soak SEED=N SEQUENCES=1
RELEASE ?= bookworm
SECONDS ?= 3600
SEED ?= $(shell shuf -i 1-999999999 -n 1)
KILLS ?= all

soak: packages ## random starts, stops, kills, reboots for an hour (SECONDS=, or SEQUENCES=, SEED=, RELEASE=)
	@tests/host/long $(RELEASE) soak --seed $(SEED) \
		$(if $(SEQUENCES),--sequences $(SEQUENCES),--seconds $(SECONDS))

kill-sweep: packages ## the hook killed before each of its system calls (KILLS=, ROOM=, RELEASE=)
	@tests/host/long $(RELEASE) kill-sweep $(KILLS) $(ROOM)

turn-sweep: packages ## a start around a return, from a second before it to a second after (RELEASE=)
	@tests/host/long $(RELEASE) turn-sweep

ROUNDS ?= 20

bench: packages build/bench/floor build/bench/crowd ## the time of a handover beside that of other tools, on the test hosts (ROUNDS=, RELEASE=)
	@tests/bench/run $(ROUNDS) $(if $(filter command% environment%,$(origin RELEASE)),$(RELEASE),bookworm trixie)

bench-growth: all build/bench/openat2.so ## what grows with the host: system calls and instructions over larger and larger trees
	@tests/bench/growth

build/bench/%.so: tests/bench/%.c
	@mkdir -p $(@D)
	$(call SAY,CC)$(COMPILE) -fPIC -shared -o $@ $< -ldl

# they run in hosts of either release
build/bench/%: tests/bench/%.c
	@mkdir -p $(@D)
	$(call SAY,CC)$(COMPILE) -fno-pie -no-pie -static -o $@ $<

# --- looking after the source

lint: export LINT_CFLAGS = -std=gnu17 -I. $(DEFINES) $(TEST_DEFINES) $(filter-out -Werror,$(WARNINGS)) \
	$(LIBRARY_CFLAGS) $(CRITERION_CFLAGS)

lint: packages-lint ## compilers, analysers, style, spelling, manuals, and the rule of the floors
	@tests/support/lint

format: ## clang-format every source in place
	@tests/support/lint-files c | xargs clang-format -i

clean: ## remove what was built
	rm -rf build
