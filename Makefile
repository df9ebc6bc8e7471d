# Plain GNU make, one file, no recursion, no configure step.
# make [SAN=asan|tsan] [V=1] all | check | bench | fuzz | lint | soak | install DESTDIR= PREFIX=

STAGES  := gwcap gwdecap gwfilter gwmangle gwinject gwtee gwhealth gwsim gwtun gwproxy
# A program is built as soon as its main file is there.
MAINS   := $(wildcard $(foreach s,$(STAGES),$s/$s.c))
PKGS    := libpcap libnl-3.0 libnl-route-3.0 libnl-nf-3.0 libsodium libzmq libpcre2-8 libmicrohttpd jansson libbpf \
	   openssl libnghttp2 libpsl

PREFIX  ?= /usr/local
BINDIR  ?= $(PREFIX)/bin
MANDIR  ?= $(PREFIX)/share/man
DOCDIR  ?= $(PREFIX)/share/doc/gwtools
VERSION := $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
BUILD   := build$(if $(SAN),-$(SAN))
Q       := $(if $(V),,@)

CFLAGS  ?= -O2 -g
WARN    := -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes \
	   -Wcast-qual -Wpointer-arith -Wwrite-strings -Wundef -Wvla -Wformat=2
HARDEN  := -fstack-protector-strong -fPIE $(if $(SAN),,-U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=2)
asan    := -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer
# No fence carries what ThreadSanitizer is to see: tests/t_ringthreads.c
tsan    := -fsanitize=thread -Wno-tsan -Wno-unknown-warning-option
BASE_C  := -std=c11 -D_GNU_SOURCE -DGW_VERSION='"$(VERSION)"' -Icommon -isystem /usr/share/include/llhttp \
	   $(shell pkg-config --cflags $(PKGS))
ALL_C   := $(BASE_C) -MMD -MP $(WARN) $(HARDEN) $($(SAN)) $(CPPFLAGS) $(CFLAGS)
ALL_LD  := -pie -Wl,-z,relro,-z,now -Wl,--as-needed $($(SAN)) $(LDFLAGS)
LIBS    := $(shell pkg-config --libs $(PKGS)) -lwslay -lz -lm -lpthread
# Debian has llhttp as sources only
LLHTTP  := /usr/share/llhttp

# Everything except the main files is one archive: stages, tests, fuzzers and
# benches all link it, so no list of objects is ever kept by hand.
LIBSRC  := $(filter-out $(MAINS),$(wildcard common/*.c $(STAGES:%=%/*.c)))
BINS    := $(foreach m,$(MAINS),$(BUILD)/bin/$(notdir $(m:.c=)))
TESTS   := $(patsubst %.c,$(BUILD)/%,$(wildcard tests/t_*.c tests/platform/t_*.c))
HELPERS := $(patsubst %.c,$(BUILD)/%,$(wildcard tests/h_*.c))
BENCHES := $(patsubst %.c,$(BUILD)/%,$(wildcard bench/b_*.c))
FUZZERS := $(patsubst %.c,build-fuzz/%,$(wildcard fuzz/fuzz_*.c))

.PHONY: all check bench fuzz lint soak install clean print-flags
.SECONDARY:
all: $(BINS)
define program
$(BUILD)/bin/$(notdir $(1:.c=)): $(BUILD)/$(1:.c=.o) $(BUILD)/libgw.a
endef
$(foreach m,$(MAINS),$(eval $(call program,$m)))
$(BINS):
	$(if $(V),,@echo "  LD    $@")
	$(Q)mkdir -p $(@D) && $(CC) $(ALL_LD) -o $@ $^ $(LIBS)
$(TESTS) $(HELPERS) $(BENCHES): %: %.o $(BUILD)/libgw.a
	$(if $(V),,@echo "  LD    $@")
	$(Q)$(CC) $(ALL_LD) -o $@ $^ $(LIBS)
LLOBJS  := llhttp/api.o llhttp/http.o llhttp/llhttp.o
$(BUILD)/libgw.a: $(LIBSRC:%.c=$(BUILD)/%.o) $(LLOBJS:%=$(BUILD)/%)
	$(Q)rm -f $@ && $(AR) rcs $@ $^
LLHTTP_C = -std=c11 -I$(LLHTTP)/../include/llhttp -fPIE $($(SAN)) $(CFLAGS)
$(BUILD)/llhttp/%.o: $(LLHTTP)/%.c
	$(if $(V),,@echo "  CC    $@")
	$(Q)mkdir -p $(@D) && $(CC) $(LLHTTP_C) -c -o $@ $<
$(BUILD)/%.o: %.c
	$(if $(V),,@echo "  CC    $@")
	$(Q)mkdir -p $(@D) && $(CC) $(ALL_C) -c -o $@ $<

check: $(BINS) $(TESTS) $(HELPERS)
	$(Q)BUILD=$(BUILD) tests/run
bench: $(BINS) $(HELPERS) $(BENCHES)
	$(Q)BUILD=$(BUILD) bench/run
	$(Q)BUILD=$(BUILD) bench/proxy
soak: $(BINS) $(TESTS) $(HELPERS)
	$(Q)BUILD=$(BUILD) SOAK=1 tests/run
fuzz: $(FUZZERS)
	$(Q)for f in $^; do c=corpus/$${f##*fuzz_}; mkdir -p build-fuzz/$$c; \
	$$f -max_total_time=$(or $(FUZZ_TIME),60) build-fuzz/$$c fuzz/$$c || exit 1; done
FUZZ_C  := $(BASE_C) -MMD -MP -O1 -g -fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=all
build-fuzz/fuzz/%: build-fuzz/fuzz/%.o build-fuzz/libgw.a
	$(if $(V),,@echo "  LD    $@")
	$(Q)clang -fsanitize=fuzzer,address,undefined -o $@ $^ $(LIBS)
build-fuzz/libgw.a: $(LIBSRC:%.c=build-fuzz/%.o) $(LLOBJS:%=build-fuzz/%)
	$(Q)rm -f $@ && $(AR) rcs $@ $^
build-fuzz/llhttp/%.o: $(LLHTTP)/%.c
	$(if $(V),,@echo "  FUZZ  $@")
	$(Q)mkdir -p $(@D) && clang $(LLHTTP_C) -O1 -g -fsanitize=fuzzer-no-link,address,undefined -c -o $@ $<
build-fuzz/%.o: %.c
	$(if $(V),,@echo "  FUZZ  $@")
	$(Q)mkdir -p $(@D) && clang $(FUZZ_C) -c -o $@ $<
lint:
	$(Q)scripts/lint
print-flags:
	@echo $(filter-out -DGW_VERSION=%,$(BASE_C) $(WARN))
install: all
	install -d $(DESTDIR)$(BINDIR) $(DESTDIR)$(DOCDIR)/examples \
		$(foreach s,5 7 8,$(DESTDIR)$(MANDIR)/man$s)
	install -m 0755 $(BINS) $(DESTDIR)$(BINDIR)
	$(Q)for m in man/*.[578] gw*/*.8; do [ ! -e $$m ] || \
	install -m 0644 $$m $(DESTDIR)$(MANDIR)/man$${m##*.}/ || exit 1; done
	install -m 0644 README.md LICENSE $(DESTDIR)$(DOCDIR)
	$(Q)[ -z "$$(ls examples)" ] || cp -R examples/. $(DESTDIR)$(DOCDIR)/examples/
	$(Q)sed -i 's,=/usr/local/bin/,=$(BINDIR)/,' $(DESTDIR)$(DOCDIR)/examples/systemd/*.service
clean:
	rm -rf build build-asan build-tsan build-fuzz

-include $(shell find $(BUILD) build-fuzz -name '*.d' 2>/dev/null)
