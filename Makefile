# pyprof: the only build. x86-64 Linux with glibc; pkg-config finds the libraries.
B ?= build
CC ?= cc
PKGS = libelf libzstd libcjson libseccomp libcap-ng
ifneq ($(shell uname -sm),Linux x86_64)
$(error pyprof builds on x86-64 Linux only, this is $(shell uname -sm))
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
ALL_CFLAGS = $(WARN) $(CFLAGS) -pthread $(shell pkg-config --cflags $(PKGS))
LDLIBS = $(shell pkg-config --libs $(PKGS)) -pthread

objects = $(patsubst %.c,$(B)/obj/%.o,$(wildcard $(1)/*.c $(1)/*/*.c))
LIBS = remote formats daemon
all: $(B)/pyprof $(B)/pyprofd

$(foreach d,$(LIBS) cli,$(eval $(B)/lib$(d).a: $(call objects,$(d))))
$(B)/lib%.a:
	@rm -f $@
	$(AR) rcs $@ $^

$(B)/obj/%.o: %.c
	@mkdir -p $(@D)
	$(CC) $(CPPFLAGS) $(ALL_CFLAGS) -MMD -MP -c -o $@ $<

-include $(shell test -d $(B)/obj && find $(B)/obj -name '*.d')
.PHONY: all
