# pyprof: the only build. x86-64 Linux with glibc; pkg-config finds the libraries.
#
#   make demo      set up what is missing, build, and show it on a small service
#   make check     set up what is missing, build, run every test
#
# DEVELOPER=1 makes warnings errors; SANITIZE=1 builds with ASan and UBSan into build-asan; V=1 shows
# the commands; SHARED=1 links all libraries as shared ones.
ifneq ($(shell uname -sm),Linux x86_64)
$(error pyprof builds on x86-64 Linux only, this is $(shell uname -sm))
endif
ifdef SANITIZE
B ?= build-asan
else
B ?= build
endif
CC ?= cc
ifndef V
Q = @
say = $(if $(findstring s,$(firstword -$(MAKEFLAGS))),,@echo '  $(1)')
endif
CLANG ?= clang
CLANG_FORMAT ?= clang-format
PKG_CONFIG ?= pkg-config
PYTHON ?= /usr/bin/python3
PREFIX ?= /usr/local
DESTDIR ?=
VERSION := $(shell sed -n 's/^.define PYPROF_VERSION "\(.*\)"/\1/p' daemon/version.h)

# What needs no compiler; the rest asks pkg-config, once setup has had its chance.
PLAIN = setup setup-check demo check clean dist install-man opcodes
ifneq ($(filter-out $(PLAIN),$(or $(MAKECMDGOALS),all)),)
PKGS = libelf libzstd zlib libcjson libseccomp libcap-ng libxxhash
ifneq ($(shell $(PKG_CONFIG) --exists $(PKGS) && echo yes),yes)
$(error libraries are missing: run "make setup" for them)
endif
PKG_CFLAGS := $(shell $(PKG_CONFIG) --cflags $(PKGS))
# Archives where there are any: one file can be copied to a host that has none of the libraries, and
# a dump, which starts the program twice, starts it faster. SHARED=1 links them as usual.
ifdef SHARED
PKG_LIBS := $(shell $(PKG_CONFIG) --libs $(PKGS))
else
archive = $(or $(filter /%,$(shell $(CC) -print-file-name=$(1:-l%=lib%.a))),$(1))
PKG_LIBS := $(foreach l,$(shell $(PKG_CONFIG) --libs --static $(PKGS)),\
	$(if $(filter-out -lm -lc -lpthread -ldl -lrt,$(filter -l%,$(l))),$(call archive,$(l)),$(l)))
endif
endif

CPPFLAGS += -I. -D_GNU_SOURCE
CFLAGS ?= -O2 -g
WARN = -std=gnu11 -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wpointer-arith \
	-Wundef -Wvla -Wno-unused-parameter
ifdef DEVELOPER
WARN += -Werror
endif
ifdef SANITIZE
CFLAGS += -fsanitize=address,undefined -fno-omit-frame-pointer -fno-sanitize-recover=undefined
LDFLAGS += -fsanitize=address,undefined
endif
ALL_CFLAGS = $(WARN) $(CFLAGS) -pthread $(PKG_CFLAGS)
# A dump is a whole start of the program: libraries that it does not use are not loaded.
LDFLAGS += -Wl,--as-needed -Wl,-z,relro
LDLIBS = $(PKG_LIBS) -pthread -lm

MAINS = cli/main.c daemon/pyprofd.c
sources = $(filter-out $(MAINS),$(wildcard $(1)/*.c $(1)/*/*.c))
objects = $(patsubst %.c,$(B)/obj/%.o,$(call sources,$(1)))
PARTS = remote formats daemon cli
LIBS = $(B)/libcli.a $(B)/libdaemon.a $(B)/libremote.a $(B)/libformats.a

all: $(B)/pyprof $(B)/pyprofd

$(foreach d,$(PARTS),$(eval $(B)/lib$(d).a: $(call objects,$(d))))
$(B)/lib%.a:
	@mkdir -p $(@D)
	@rm -f $@
	$(call say,AR $@)
	$(Q)$(AR) rcs $@ $^

$(B)/obj/%.o: %.c
	@mkdir -p $(@D)
	$(call say,CC $<)
	$(Q)$(CC) $(CPPFLAGS) $(ALL_CFLAGS) -MMD -MP -c -o $@ $<

# What pages are made of, byte for byte: formats/web.h declares it. The flame graph's is put together
# of its sources first.
FLAME = formats/web/flame
FLAME_SCRIPTS = $(patsubst %,$(FLAME)/%.js,data tree theme paint items graph strip side export flame)
$(B)/web/flame.html: $(FLAME)/bundle $(FLAME)/page.html $(FLAME)/style.css $(FLAME_SCRIPTS)
	@mkdir -p $(@D)
	$(call say,WEB $@)
	$(Q)$(PYTHON) $(FLAME)/bundle $(FLAME)/page.html $(FLAME)/style.css $(FLAME_SCRIPTS) > $@
WEB = $(wildcard formats/web/*.css formats/web/*.js)
WEB_OBJECTS = $(WEB:%=$(B)/obj/%.o) $(B)/obj/formats/web/flame.html.o
$(B)/libformats.a: $(WEB_OBJECTS)
$(WEB:%=$(B)/obj/%.o): $(B)/obj/%.o: %
$(B)/obj/formats/web/flame.html.o: $(B)/web/flame.html
$(WEB_OBJECTS):
	@mkdir -p $(@D)
	$(call say,WEB $<)
	$(Q)name=web_$$(echo $(<F) | tr .- __); \
	printf '.section .rodata\n.global %s_start, %s_end\n%s_start: .incbin "%s"\n%s_end: .byte 0\n%s\n' \
		$$name $$name $$name $< $$name '.section .note.GNU-stack,"",@progbits' | \
		$(CC) -c -x assembler -o $@ -

$(B)/pyprof: $(B)/obj/cli/main.o $(LIBS)
	$(call say,LD $@)
	$(Q)$(CC) $(ALL_CFLAGS) $(LDFLAGS) -o $@ $^ $(LDLIBS)
$(B)/pyprofd: $(B)/obj/daemon/pyprofd.o $(filter-out %/libcli.a,$(LIBS))
	$(call say,LD $@)
	$(Q)$(CC) $(ALL_CFLAGS) $(LDFLAGS) -o $@ $^ $(LDLIBS)

# ---- setting up ----

setup:
	@tests/setup build
setup-check:
	@tests/setup check

demo: setup
	@$(MAKE) --no-print-directory -j$(shell nproc) all
	@tests/demo $(B)

# ---- tests ----

UNIT = $(patsubst tests/unit/%.c,%,$(wildcard tests/unit/test_*.c))
FUZZ = $(patsubst tests/fuzz/%.c,%,$(wildcard tests/fuzz/fuzz_*.c))
UNIT_BINARIES = $(UNIT:%=$(B)/unit/%)
# What tests share: tests/unit/*.c that are no test themselves. An archive: each takes what it needs.
UNIT_SHARED = $(patsubst %.c,$(B)/obj/%.o,$(filter-out tests/unit/test_%,$(wildcard tests/unit/*.c)))

$(B)/libtests.a: $(UNIT_SHARED)

$(B)/unit/%: $(B)/obj/tests/unit/%.o $(B)/libtests.a $(LIBS)
	@mkdir -p $(@D)
	$(call say,LD $@)
	$(Q)$(CC) $(ALL_CFLAGS) $(LDFLAGS) -o $@ $^ $(LDLIBS) -lcmocka
.SECONDARY: $(UNIT:%=$(B)/obj/tests/unit/%.o) $(FUZZ:%=$(B)/obj/tests/fuzz/%.o) $(UNIT_SHARED)

unit-tests: $(UNIT_BINARIES)

# Recordings with known answers, for the tests of pages.
$(B)/browser/recordings: $(B)/obj/tests/browser/recordings.o $(B)/libtests.a $(B)/libformats.a
	@mkdir -p $(@D)
	$(call say,LD $@)
	$(Q)$(CC) $(ALL_CFLAGS) $(LDFLAGS) -o $@ $^ $(LDLIBS)

check: setup-check
	@tests/check

check-unit:
	@tests/check unit
check-integration:
	@tests/check integration
check-browser:
	@tests/check browser

# The pictures of the README, of real programs.
screenshots: $(B)/pyprof
	@mkdir -p man/pictures
	modules=$$(tests/browser/driver) && \
		NODE_PATH=$$modules node tests/browser/pictures/take.js $(B)/pyprof man/pictures

# ---- fuzzing: clang's libFuzzer with ASan and UBSan ----

FUZZ_B = build-fuzz
FUZZ_SECONDS ?= 60
FUZZ_FLAGS = -g -O1 -Wno-missing-field-initializers -fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=undefined

fuzzers:
	@$(MAKE) --no-print-directory B=$(FUZZ_B) CC=$(CLANG) CFLAGS='$(FUZZ_FLAGS)' \
		LDFLAGS='-fsanitize=fuzzer,address,undefined' $(FUZZ:%=$(FUZZ_B)/fuzz/%)
$(FUZZ_B)/fuzz/%: $(FUZZ_B)/obj/tests/fuzz/%.o $(FUZZ_B)/libtests.a $(filter-out %/libcli.a,$(LIBS))
	@mkdir -p $(@D)
	$(call say,LD $@)
	$(Q)$(CC) $(ALL_CFLAGS) $(LDFLAGS) -o $@ $^ $(LDLIBS)
fuzz: fuzzers
	@for f in $(FUZZ); do \
		mkdir -p $(FUZZ_B)/corpus/$$f; \
		seeds=tests/fuzz/corpus/$$f; test -d $$seeds || seeds=; \
		$(FUZZ_B)/fuzz/$$f -max_total_time=$(FUZZ_SECONDS) -timeout=10 -print_final_stats=0 \
			-verbosity=0 -artifact_prefix=$(FUZZ_B)/$$f- \
			$(FUZZ_B)/corpus/$$f $$seeds || exit 1; \
		echo "$$f: $(FUZZ_SECONDS) s without a fault"; \
	done

# ---- tables that are made from the interpreters ----

opcodes:
	tests/pythons/opcodes

# ---- measuring ----

BENCH = $(patsubst tests/bench/%.c,$(B)/bench/%,$(wildcard tests/bench/*.c))

$(B)/bench/%: $(B)/obj/tests/bench/%.o $(filter-out %/libcli.a,$(LIBS))
	@mkdir -p $(@D)
	$(call say,LD $@)
	$(Q)$(CC) $(ALL_CFLAGS) $(LDFLAGS) -o $@ $^ $(LDLIBS)
.SECONDARY: $(BENCH:$(B)/bench/%=$(B)/obj/tests/bench/%.o)

bench-programs: all $(BENCH)
bench: setup-check
	@tests/pythons/get
	@$(MAKE) --no-print-directory -j$(shell nproc) bench-programs
	@$(PYTHON) tests/bench/bench.py --build $(B) $(SECTIONS)

# ---- style ----

C_FILES = $(wildcard $(PARTS:%=%/*.[ch]) remote/layouts/*.[ch] tests/unit/*.[ch] tests/fuzz/*.[ch] \
	tests/targets/*.[ch] tests/bench/*.[ch] tests/browser/*.[ch])
HEADERS = $(filter %.h,$(C_FILES))

lint:
	$(CLANG_FORMAT) --dry-run -Werror $(C_FILES)
	@for h in $(HEADERS); do \
		$(CC) $(CPPFLAGS) $(WARN) $(PKG_CFLAGS) -Werror -fsyntax-only -x c $$h || exit 1; \
	done; echo "every header compiles alone"
	cppcheck --quiet --std=c11 --enable=warning,performance,portability --inline-suppr \
		--suppress=missingInclude --suppress=identicalInnerCondition \
		--suppress=invalidFunctionArg --suppress=shiftTooManyBitsSigned -I. \
		--error-exitcode=1 -j$(shell nproc) $(PARTS)
	mandoc -T lint -W warning $(wildcard man/*.[1-8])

# ---- installing ----

install: all
	install -d $(DESTDIR)$(PREFIX)/bin $(DESTDIR)$(PREFIX)/sbin
	install -m 755 $(B)/pyprof $(DESTDIR)$(PREFIX)/bin/pyprof
	install -m 755 $(B)/pyprofd $(DESTDIR)$(PREFIX)/sbin/pyprofd
	for m in man/*.[1-8]; do \
		d=$(DESTDIR)$(PREFIX)/share/man/man$${m##*.}; \
		install -d $$d && install -m 644 $$m $$d/ || exit 1; \
	done
uninstall:
	rm -f $(DESTDIR)$(PREFIX)/bin/pyprof $(DESTDIR)$(PREFIX)/sbin/pyprofd
	for m in man/*.[1-8]; do \
		rm -f $(DESTDIR)$(PREFIX)/share/man/man$${m##*.}/$${m##*/}; \
	done

dist:
	git archive --prefix=pyprof-$(VERSION)/ -o pyprof-$(VERSION).tar.gz HEAD
clean:
	rm -rf build build-asan build-fuzz pyprof-$(VERSION).tar.gz

-include $(shell test -d $(B)/obj && find $(B)/obj -name '*.d')
.PHONY: all setup setup-check demo unit-tests check check-unit check-integration check-browser screenshots fuzzers fuzz opcodes bench bench-programs \
	lint install uninstall dist clean
.DELETE_ON_ERROR:
