/* SPDX-License-Identifier: MIT */
/*
 * t_layout.c - Every number, name and reason that gwframe(5) and gwchain(7) print is
 * the one in the programs
 *
 * A table of a page starts behind the comment '.\" table NAME' and ends at
 * '.\" end'; its rows are '.It cell Ta cell ...', the first one its head.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "capfile.h"
#include "capformat.h"
#include "ringlink.h"
#include "stats.h"
#include "stream.h"
#include "tap.h"

#define CELLS	4
#define ROWS	64

struct table {
	char line[ROWS][256];
	char *cell[ROWS][CELLS];
	int n;
};

static struct table t;

static void split_row(char *line, char **cell)
{
	for (int i = 0; i < CELLS; i++) {
		char *ta = strstr(line, " Ta");

		cell[i] = line;
		if (!ta) {
			line += strlen(line);
			continue;
		}
		*ta = '\0';
		line = ta + 3 + (ta[3] == ' ');
	}
}

/* Read table @name of @page into t; false: it is not there */
static bool load(const char *page, const char *name)
{
	char line[256], start[64];
	bool in = false, head = false;
	FILE *f = fopen(page, "r");

	t.n = 0;
	snprintf(start, sizeof(start), ".\\\" table %s\n", name);
	while (f && fgets(line, sizeof(line), f)) {
		if (!in) {
			in = !strcmp(line, start);
			continue;
		}
		if (!strncmp(line, ".\\\" end", 7))
			break;
		line[strcspn(line, "\n")] = '\0';
		if (head && t.n < ROWS && !strncmp(line, ".It ", 4)) {
			strcpy(t.line[t.n], line + 4);
			split_row(t.line[t.n], t.cell[t.n]);
			t.n++;
		}
		head = true;
	}
	if (f)
		fclose(f);
	OK(in && t.n, "%s has a table '%s'", page, name);
	return in && t.n;
}

struct field {
	const char *name;
	size_t off, size;
};
#define FIELD(s, m) { #m, offsetof(struct s, m), sizeof(((struct s *)0)->m) }

static void check_struct(const char *name, const struct field *f, size_t n, size_t size)
{
	size_t end = 0;

	if (!load("man/gwframe.5", name))
		return;
	for (size_t i = 0; i < n; i++) {
		char want[128];
		bool ok;

		snprintf(want, sizeof(want), ".It %zu Ta %zu Ta %s", f[i].off, f[i].size, f[i].name);
		ok = (int)i < t.n && strtoul(t.cell[i][0], NULL, 10) == f[i].off &&
		     strtoul(t.cell[i][1], NULL, 10) == f[i].size && !strcmp(t.cell[i][2], f[i].name);
		OK(ok, "%s: %s", name, want);
		OK(f[i].off == end, "%s: nothing undescribed before %s", name, f[i].name);
		end = f[i].off + f[i].size;
	}
	OK(t.n == (int)n && size - end < _Alignof(struct frame), "%s: nothing else, %zu bytes", name, size);
}

#define CHECK_PART(s, size, ...) do { \
	static const struct field f_[] = { __VA_ARGS__ }; \
	check_struct(#s, f_, ARRAY_SIZE(f_), size); \
} while (0)
#define CHECK_STRUCT(s, ...) CHECK_PART(s, sizeof(struct s), __VA_ARGS__)

static void structs(void)
{
	CHECK_PART(frame, FRAME_SHARED, FIELD(frame, off), FIELD(frame, encap_off), FIELD(frame, opt_off),
		     FIELD(frame, len), FIELD(frame, orig_len), FIELD(frame, seq),
		     FIELD(frame, ts_ns), FIELD(frame, endpoint), FIELD(frame, attachment),
		     FIELD(frame, pkt), FIELD(frame, rule), FIELD(frame, verdict),
		     FIELD(frame, marks), FIELD(frame, cookie), FIELD(frame, linktype),
		     FIELD(frame, encap_linktype), FIELD(frame, encap_len), FIELD(frame, frag_mtu),
		     FIELD(frame, opt_len), FIELD(frame, both_seq), FIELD(frame, both_ack),
		     FIELD(frame, dialect), FIELD(frame, spare), FIELD(frame, pad));
	CHECK_STRUCT(packet, FIELD(packet, port), FIELD(packet, l4), FIELD(packet, payload),
		     FIELD(packet, end), FIELD(packet, frag_id), FIELD(packet, flags),
		     FIELD(packet, frag_off), FIELD(packet, l3), FIELD(packet, version),
		     FIELD(packet, proto));
	CHECK_STRUCT(stats_rule, FIELD(stats_rule, name), FIELD(stats_rule, packets),
		     FIELD(stats_rule, bytes));
}

static void page_of_counters(void)
{
	CHECK_STRUCT(stats_page, FIELD(stats_page, magic), FIELD(stats_page, version),
		     FIELD(stats_page, size), FIELD(stats_page, pid), FIELD(stats_page, uid),
		     FIELD(stats_page, role), FIELD(stats_page, nonce),
		     FIELD(stats_page, unix_start_ns), FIELD(stats_page, heartbeat_ns),
		     FIELD(stats_page, chain), FIELD(stats_page, prog), FIELD(stats_page, as),
		     FIELD(stats_page, in), FIELD(stats_page, out), FIELD(stats_page, trouble),
		     FIELD(stats_page, nupstream), FIELD(stats_page, in_way),
		     FIELD(stats_page, out_way),
		     FIELD(stats_page, upstream), FIELD(stats_page, upstream_packets),
		     FIELD(stats_page, hand),
		     FIELD(stats_page, counter), FIELD(stats_page, drop),
		     FIELD(stats_page, latency), FIELD(stats_page, rules_hash),
		     FIELD(stats_page, rules_loaded_unix_ns), FIELD(stats_page, rules_gen),
		     FIELD(stats_page, nrules), FIELD(stats_page, rules));
}

struct value {
	const char *name;
	uint64_t v;
};

/* What the page says of a body of @len bytes at @body: each row a value found there */
static void check_wire(const char *name, const struct value *v, int n, const uint8_t *body, size_t len)
{
	size_t end = 0;

	if (!load("man/gwframe.5", name))
		return;
	OK(t.n == n, "%s: %d fields", name, n);
	for (int i = 0; i < n && i < t.n; i++) {
		size_t off = strtoul(t.cell[i][0], NULL, 10), size = strtoul(t.cell[i][1], NULL, 10);
		uint64_t got = 0;

		OK(!strcmp(t.cell[i][2], v[i].name) && off == end, "%s: %s follows at %zu", name,
		   v[i].name, end);
		if (!strcmp(t.cell[i][1], "rest"))
			size = len - off;
		if (off + size <= len)
			memcpy(&got, body + off, MIN(size, sizeof(got)));
		OK(size && got == v[i].v, "%s: %s is %#llx", name, v[i].name,
		   (unsigned long long)got);
		end = off + size;
	}
	OK(end == len, "%s: %zu bytes", name, len);
}

static void hello_and_end(void)
{
	static const struct cap_hello h = {
		.nonce = 0x1112131415161718, .message = 0x2122232425262728,
		.packets = 0x3132333435363738, .live = true, .ring = true,
		.old_nonce = 0x5152535455565758, .old_packets = 0x6162636465666768,
		.chain = "lab", .prog = "gwfilter", .as = "x",
	};
	const struct value hello[] = {
		{ "version", HELLO_VERSION }, { "flags", 3 }, { "zero", 0 }, { "nonce", h.nonce },
		{ "message", h.message }, { "packets", h.packets },
		{ "old_nonce", h.old_nonce }, { "old_packets", h.old_packets },
	};
	static const struct value end[] = { { "total", 0x4142434445464748 } };
	static const char names[] = "\3lab\10gwfilter\1x";
	struct cap_writer w = { .name = "x" };
	uint8_t buf[2 * CAP_HEADER_ROOM], *p = buf;

	cap_write_header(&w, buf, &h);
	p += le32(buf + 4);
	OK(le32(p) == 0x80475701, "hello block");
	check_wire("hello", hello, ARRAY_SIZE(hello), p + 8, HELLO_FIXED);
	OK(!memcmp(p + 8 + HELLO_FIXED, names, sizeof(names) - 1), "hello: three names follow");
	cap_write_end(&w, buf, 0x4142434445464748, false);
	OK(le32(buf) == 0x80475702, "end block");
	check_wire("end", end, ARRAY_SIZE(end), buf + 8, le32(buf + 4) - 12);
	cap_write_end(&w, buf, 1, true);
	OK(le32(buf) == 0x80475703, "abort block");
	OK(cap_write_padding(buf, 8) == 20 && le32(buf) == 0x80475704, "padding block");
}

static struct frame *a_frame(struct frame **pool)
{
	struct frame *f = pool[0];

	f->linktype = LINKTYPE_RAW;
	f->seq = 0x0102030405060708;
	return frame_set(f, "\x45packet", 8) ? f : NULL;
}

#define OPTION_AT	(8 + 20 + 8)	/* block header, packet block, 8 bytes of packet */

static void option(void)
{
	static const struct value brief[] = {
		{ "version", 1 }, { "encap_len", 0 }, { "dialect", 0 }, { "zero", 0 },
		{ "encap_linktype", 0 }, { "seq", 0x0102030405060708 },
	};
	struct frame **pool = frame_pool_new(1, STREAM_FRAME_ROOM);
	struct frame *f = pool ? a_frame(pool) : NULL;
	struct cap_writer w = { .name = "x", .iface_written = true };
	uint8_t buf[1024];

	if (!f)
		exit(1);
	cap_write_packet(&w, buf, f);
	OK(le16(buf + OPTION_AT) == 0x8757 && le16(buf + OPTION_AT + 2) == 16, "short option");
	for (size_t i = 0, at = 0; i < ARRAY_SIZE(brief); i++) {
		static const uint8_t size[] = { 2, 2, 1, 1, 2, 8 };
		uint64_t got = 0;

		memcpy(&got, buf + OPTION_AT + 4 + at, size[i]);
		OK(got == brief[i].v, "short option: %s", brief[i].name);
		at += size[i];
	}
	frame_pool_free(pool);
}

static void option_long(void)
{
	static uint8_t encap[8] = { 1, 2, 3, 4, 5, 6, 7, 8 };
	static const struct value full[] = {
		{ "version", 1 }, { "encap_len", 8 }, { "dialect", DIALECT_AWS }, { "zero", 0 },
		{ "encap_linktype", 0x5152 }, { "seq", 0x0102030405060708 },
		{ "endpoint", 0x1112131415161718 }, { "attachment", 0x2122232425262728 },
		{ "cookie", 0x31323334 }, { "marks", FRAME_REPLY }, { "frag_mtu", 0x4142 },
		{ "both_seq", 0x61626364 }, { "both_ack", 0x71727374 },
		{ "encap", 0x0807060504030201 },
	};
	struct frame **pool = frame_pool_new(1, STREAM_FRAME_ROOM);
	struct frame *f = pool ? a_frame(pool) : NULL;
	struct cap_writer w = { .name = "x", .iface_written = true };
	uint8_t buf[1024];

	if (!f)
		exit(1);
	f->dialect = DIALECT_AWS;
	f->endpoint = full[6].v;
	f->attachment = full[7].v;
	f->cookie = 0x31323334;
	f->marks = FRAME_REPLY;
	f->frag_mtu = 0x4142;
	f->both_seq = 0x61626364;
	f->both_ack = 0x71727374;
	f->encap_len = sizeof(encap);
	f->encap_linktype = 0x5152;
	f->encap_off = frame_rel(f, encap);
	cap_write_packet(&w, buf, f);
	OK(le16(buf + OPTION_AT) == 0x8757, "long option");
	check_wire("option", full, ARRAY_SIZE(full), buf + OPTION_AT + 4, le16(buf + OPTION_AT + 2));
	frame_pool_free(pool);
}

static void numbers(void)
{
	static const struct { int bit; const char *word; } marks[] = {
		{ FRAME_REPLY, "reply:" }, { FRAME_RST_BOTH, "reset both:" },
		{ FRAME_FRAGMENT, "fragment:" }, { FRAME_CHANGED, "changed:" },
	};

	if (load("man/gwframe.5", "dialect"))
		for (int i = 0; i < DIALECT_NUM; i++)
			OK(i < t.n && atoi(t.cell[i][0]) == i &&
			   !strcmp(t.cell[i][1], dialect_name((unsigned)i)), "dialect %d", i);
	OK(t.n == DIALECT_NUM, "no other dialect");
	if (load("man/gwframe.5", "mark"))
		for (int i = 0; i < (int)ARRAY_SIZE(marks); i++)
			OK(i < t.n && 1 << atoi(t.cell[i][0]) == marks[i].bit &&
			   !strncmp(t.cell[i][1], marks[i].word, strlen(marks[i].word)),
			   "mark %s", marks[i].word);
	OK(t.n == (int)ARRAY_SIZE(marks), "no other mark");
}

static void ring_structs(void)
{
	CHECK_STRUCT(ring_shm, FIELD(ring_shm, magic), FIELD(ring_shm, version),
		     FIELD(ring_shm, size), FIELD(ring_shm, frame_size), FIELD(ring_shm, entries),
		     FIELD(ring_shm, stride), FIELD(ring_shm, pool_off),
		     FIELD(ring_shm, spares_off), FIELD(ring_shm, versions_off),
		     FIELD(ring_shm, places_off), FIELD(ring_shm, frames_off), FIELD(ring_shm, pad),
		     FIELD(ring_shm, last), FIELD(ring_shm, pad2),
		     FIELD(ring_shm, cursor), FIELD(ring_shm, seat));
	CHECK_STRUCT(ring_cursor, FIELD(ring_cursor, taken), FIELD(ring_cursor, done),
		     FIELD(ring_cursor, asleep), FIELD(ring_cursor, pad));
	CHECK_STRUCT(ring_seat, FIELD(ring_seat, state), FIELD(ring_seat, gen),
		     FIELD(ring_seat, nonce), FIELD(ring_seat, before),
		     FIELD(ring_seat, refused), FIELD(ring_seat, cpu), FIELD(ring_seat, pad));
}

static void ring_numbers(void)
{
	static const struct value ring[] = {
		{ "seats", RING_STAGES }, { "frames", RING_ENTRIES }, { "stride", RING_STRIDE },
		{ "burst", FRAME_BURST }, { "headroom", FRAME_HEADROOM },
	};
	static const struct value state[] = {
		{ "empty", RING_EMPTY }, { "seated", RING_SEATED }, { "vacant", RING_VACANT },
		{ "left", RING_LEFT },
	};

	if (load("man/gwframe.5", "ring"))
		for (int i = 0; i < (int)ARRAY_SIZE(ring); i++)
			OK(i < t.n && !strcmp(t.cell[i][0], ring[i].name) &&
			   strtoul(t.cell[i][1], NULL, 10) == ring[i].v, "ring: %s", ring[i].name);
	OK(t.n == (int)ARRAY_SIZE(ring), "no other number");
	if (load("man/gwframe.5", "seat_state"))
		for (int i = 0; i < (int)ARRAY_SIZE(state); i++)
			OK(i < t.n && strtoul(t.cell[i][0], NULL, 10) == state[i].v &&
			   !strcmp(t.cell[i][1], state[i].name), "seat: %s", state[i].name);
	OK(t.n == (int)ARRAY_SIZE(state), "no other state");
}

static const struct cap_offer offer = {
	.seat = 3, .magic = RING_MAGIC, .version = RING_VERSION,
	.layout = sizeof(struct ring_shm), .frame = FRAME_SHARED,
	.dev = 0x1112131415161718, .ino = 0x2122232425262728,
	.nonce = "0123456789abcde", .path = "gwtools-t_layout",
};
#define NONCE	0x3736353433323130	/* how it begins */

static void offer_and_switch(void)
{
	const struct value offered[] = {
		{ "form", OFFER_VERSION }, { "zero", 0 }, { "seat", 3 }, { "magic", 0x474e5257 },
		{ "version", RING_VERSION }, { "layout", offer.layout }, { "frame", offer.frame },
		{ "dev", offer.dev }, { "ino", offer.ino }, { "nonce", NONCE },
	};
	static const struct value to_ring[] = {
		{ "nonce", NONCE }, { "seat", 3 }, { "gen", 0x41424344 },
	};
	struct cap_switch s = { .seat = 3, .gen = 0x41424344 };
	uint8_t buf[CAP_HEADER_ROOM];

	cap_write_offer(buf, &offer);
	OK(le32(buf) == 0x80475705, "offer block");
	check_wire("offer", offered, ARRAY_SIZE(offered), buf + 8, OFFER_FIXED);
	OK(!memcmp(buf + 8 + OFFER_FIXED - CAP_NONCE, offer.nonce, CAP_NONCE) &&
	   !memcmp(buf + 8 + OFFER_FIXED, "\20gwtools-t_layout", 17), "offer: nonce, then a name");
	memcpy(s.nonce, offer.nonce, sizeof(s.nonce));
	OK(cap_write_switch(buf, &s) == 12 + SWITCH_SIZE && le32(buf) == 0x80475706, "switch block");
	check_wire("switch", to_ring, ARRAY_SIZE(to_ring), buf + 8, SWITCH_SIZE);
	OK(!memcmp(buf + 8, offer.nonce, CAP_NONCE), "switch: the nonce, all of it");
}

static int abstract_socket(const char *name, struct sockaddr_un *sa, socklen_t *len)
{
	*sa = (struct sockaddr_un){ .sun_family = AF_UNIX };
	memcpy(sa->sun_path + 1, name, strlen(name));
	*len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + strlen(name));
	return socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
}

/* What a guest says to a head that is ourselves */
static void request(void)
{
	static const struct value asked[] = {
		{ "magic", RING_MAGIC }, { "seat", 3 }, { "nonce", NONCE }, { "no", 0 },
	};
	struct ring_guest g;
	struct cap_offer o = offer;
	struct sockaddr_un sa;
	socklen_t len;
	uint8_t buf[64];
	int listener, fd;

	snprintf(o.path, sizeof(o.path), "gwtools-t_layout-%d", (int)getpid());
	listener = abstract_socket(o.path, &sa, &len);
	if (bind(listener, (struct sockaddr *)&sa, len) || listen(listener, 1))
		exit(1);
	OK(!guest_ask(&g, &o), "a guest asks at the name it was offered");
	fd = accept(listener, NULL, NULL);
	memset(buf, 0, sizeof(buf));
	check_wire("request", asked, ARRAY_SIZE(asked), buf, (size_t)recv(fd, buf, sizeof(buf), 0));
	OK(!memcmp(buf + 8, o.nonce, CAP_NONCE), "request: the nonce, all of it");
	guest_close(&g);
	close(fd);
	guest_decline(&o);
	fd = accept(listener, NULL, NULL);
	OK(recv(fd, buf, sizeof(buf), 0) == 28 && le32(buf + 24) == 1, "one that takes no ring says 1");
	close(fd);
	close(listener);
}

/* A guest that is ourselves: what the head answers to @q; Return: descriptors received */
static int ask(struct ring_host *h, const void *q, int *answer, int fds[32])
{
	union {
		struct cmsghdr align;
		char room[CMSG_SPACE(32 * sizeof(int))];
	} control;
	struct iovec iov = { answer, sizeof(*answer) };
	struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control.room,
			    .msg_controllen = sizeof(control.room) };
	struct sockaddr_un sa;
	struct cmsghdr *c;
	socklen_t len;
	int fd = abstract_socket(h->name, &sa, &len), n = 0;

	if (connect(fd, (struct sockaddr *)&sa, len) || send(fd, q, 28, 0) != 28)
		exit(1);
	for (struct pollfd p = { .fd = fd, .events = POLLIN }; !poll(&p, 1, 1);)
		host_serve(h);
	OK(recvmsg(fd, &m, 0) == 4, "an answer has 4 bytes");
	c = CMSG_FIRSTHDR(&m);
	if (c && c->cmsg_type == SCM_RIGHTS) {
		n = (int)((c->cmsg_len - CMSG_LEN(0)) / sizeof(int));
		memcpy(fds, CMSG_DATA(c), (size_t)n * sizeof(int));
	}
	close(fd);
	return n;
}

static void answers(void)
{
	struct {
		uint32_t magic, seat;
		uint8_t nonce[16];
		uint32_t no;
	} q = { .magic = RING_MAGIC, .seat = 1 };
	struct ring_host h;
	struct stat st;
	uint64_t count = 0;
	int fds[32], answer = 1, n;

	if (host_open(&h, RING_ENTRIES, RING_STRIDE))
		exit(1);
	OK(!ask(&h, &q, &answer, fds) && answer == -EPROTO, "another nonce: EPROTO");
	memcpy(q.nonce, h.nonce, sizeof(q.nonce));
	q.seat = 16;
	OK(!ask(&h, &q, &answer, fds) && answer == -EPROTO, "no such seat: EPROTO");
	q.seat = 1;
	n = ask(&h, &q, &answer, fds);
	OK(!answer && n == 17, "0, and 17 descriptors");
	if (n != 17)
		exit(1);
	OK(!fstat(fds[0], &st) &&
	   st.st_size == (off_t)(h.ring.shm->spares_off + RING_ENTRIES * h.ring.stride) &&
	   fcntl(fds[0], F_GET_SEALS) == (F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW),
	   "first the memory file, sealed");
	OK(h.ring.stride == RING_STRIDE, "the stride is what was asked for");
	for (unsigned k = 0; k < RING_STAGES; k++) {
		ring_ring(&h.ring, k);
		OK(read(fds[1 + k], &count, sizeof(count)) == 8 && count == 1, "then doorbell %u", k);
	}
	for (int i = 0; i < n; i++)
		close(fds[i]);
	q.no = 1;
	OK(!ask(&h, &q, &answer, fds) && answer == -EPERM &&
	   h.ring.shm->seat[1].refused == 1ull << 40, "who takes no ring: EPERM, and it is noted");
	host_close(&h);
}

/* Where a ring has what belongs to an entry, and what a sleeper writes */
static void ring_frame(void)
{
	static const struct value each[] = {
		{ "versions_off", sizeof(uint32_t) }, { "places_off", sizeof(uint64_t) },
		{ "frames_off", FRAME_SHARED }, { "spares_off", RING_STRIDE },
	};
	struct ring r;
	struct ring_pos head, tail;
	struct frame *f;
	uint32_t before, after;
	uint8_t *version, *place;

	if (!load("man/gwframe.5", "ring_parts") || ring_create(&r, RING_ENTRIES, RING_STRIDE))
		exit(1);
	for (int i = 0; i < (int)ARRAY_SIZE(each); i++)
		OK(i < t.n && !strcmp(t.cell[i][0], each[i].name) &&
		   strtoul(t.cell[i][1], NULL, 10) == each[i].v, "ring_parts: %s", each[i].name);
	OK(t.n == (int)ARRAY_SIZE(each), "and nothing else");
	ring_sit(&head, &r, 0);
	ring_extend(&head);
	ring_sit(&tail, &r, 1);
	head.cpu = tail.cpu = 0;	/* on any machine */
	r.shm->seat[0].cpu = 0;
	r.shm->seat[1].cpu = 0;
	version = (uint8_t *)r.shm + r.shm->versions_off;
	place = (uint8_t *)r.shm + r.shm->places_off;
	before = le32(version);
	OK(ring_reserve(&head, &f, 1) == 1 && frame_set(f, "\x45packet", 7), "a packet for it");
	OK(le32(version) % 2, "version: odd while it is made");
	ring_publish(&head, 1);
	after = le32(version);
	OK(after % 2 == 0 && after != before &&
	   le64((uint8_t *)r.shm + r.shm->frames_off) == FRAME_HEADROOM,
	   "version: even behind it");
	OK(!memcmp((uint8_t *)r.shm + r.shm->pool_off + le32(place) + FRAME_HEADROOM, "\x45packet", 7) &&
	   le32(place + 4) >= FRAME_HEADROOM + 7, "its place: where the buffer lies, and how long it is");
	OK(r.shm->spares_off >= r.shm->pool_off + RING_ENTRIES * RING_STRIDE, "the pool");
	OK(!ring_doze(&tail, false) && !r.shm->cursor[1].asleep, "asleep: 0");
	OK(ring_take(&tail, &f, 1) == 1 && r.shm->cursor[1].taken == 1, "taken");
	ring_put(&tail);
	OK(ring_doze(&tail, false) && r.shm->cursor[1].asleep == 1, "asleep: 1");
	while (ring_reserve(&head, &f, 1) == 1)
		ring_publish(&head, 1);
	OK(ring_doze(&head, false) && r.shm->cursor[0].asleep == 4, "asleep: 4");
	OK(ring_doze(&head, true) && r.shm->cursor[0].asleep == 3, "asleep: 3");
	ring_close(&r);
}

static void reasons(void)
{
	static const char *const classes[] = { "rule", "packet", "fault" };

	if (!load("man/gwchain.7", "reasons"))
		return;
	for (unsigned r = 1; r < REASON_NUM; r++) {
		char **c = t.cell[r - 1];

		OK((int)r <= t.n && !strcmp(c[0], reason_name(r)) &&
		   !strcmp(c[1], classes[reason_class(r)]) && !strcmp(c[2], reason_text(r)),
		   ".It %s Ta %s Ta %s", reason_name(r), classes[reason_class(r)], reason_text(r));
	}
	OK(t.n == REASON_NUM - 1, "no other reason");
}

static void counters(void)
{
	if (!load("man/gwchain.7", "counters"))
		return;
	for (unsigned i = 0; i < STATS_NUM; i++) {
		char **c = t.cell[i];

		OK((int)i < t.n && !strcmp(c[0], stats_counter_name(i)) &&
		   !strcmp(c[1], stats_counter_text(i)),
		   ".It %s Ta %s", stats_counter_name(i), stats_counter_text(i));
	}
	OK(t.n == STATS_NUM, "no other counter");
}

int main(void)
{
	structs();
	page_of_counters();
	hello_and_end();
	option();
	option_long();
	numbers();
	ring_structs();
	ring_numbers();
	offer_and_switch();
	request();
	answers();
	ring_frame();
	reasons();
	counters();
	return tap_done();
}
