/* SPDX-License-Identifier: MIT */
/*
 * t_ring.c - The ring: geometry, cursors and descriptors of liars, bursts, verdicts,
 * recovery, version words
 */
#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "ringtest.h"
#include "statm.h"
#include "tap.h"

/* --- geometry ------------------------------------------------------------- */

static void test_create(void)
{
	static const struct { uint32_t entries, stride; } bad[] = {
		{ 0, ROOM }, { 64, ROOM }, { 129, ROOM }, { 1u << 17, ROOM },
		{ ENTRIES, 0 }, { ENTRIES, 64 }, { ENTRIES, RING_STRIDE_MAX + 4096 },
		{ ENTRIES, UINT32_MAX },
	};
	struct statm was;

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		OK(ring_create(&ring, bad[i].entries, bad[i].stride) == -EINVAL,
		   "%u entries of %u bytes are refused", bad[i].entries, bad[i].stride);
	begin(1);
	OK((uintptr_t)ring.shm % (2u << 20) == 0, "huge pages may be mapped");
	OK(ring.stride % 128 == 64 && ring.stride >= ROOM, "spare buffers begin at odd lines");
	end();
	OK(ring.fd == -1 && !ring.shm && ring.bell[0] == -1, "closed");
	was = statm();
	for (uint32_t stride = ROOM; stride < ROOM + 40 * 128; stride += 128) {
		begin_with(ENTRIES, stride, 1);
		end();
	}
	OK(statm().size == was.size, "nothing stays mapped, whatever its length");
}

static int map_again(void)
{
	struct ring r;
	int fd = dup(ring.fd), err = ring_map(&r, fd);

	if (err)
		close(fd);
	else
		ring_close(&r);
	return err;
}

/* A memory file with ring's header and @more bytes than it says, sealed or not */
static int map_file(long more, unsigned seals, size_t header)
{
	int fd = memfd_create("t_ring", MFD_CLOEXEC | MFD_ALLOW_SEALING), err;
	struct ring r;

	if (fd < 0 || ftruncate(fd, (off_t)((long)ring.size + more)) ||
	    pwrite(fd, ring.shm, header, 0) != (ssize_t)header || fcntl(fd, F_ADD_SEALS, seals))
		abort();
	err = ring_map(&r, fd);
	if (err)
		close(fd);
	else
		ring_close(&r);
	return err;
}

static void test_map(void)
{
	unsigned seals = F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW;
	char path[] = "/tmp/t_ring.XXXXXX";
	struct { const char *what; size_t off; uint32_t lie; } bad[] = {
		{ "magic", offsetof(struct ring_shm, magic), 0 },
		{ "version", offsetof(struct ring_shm, version), RING_VERSION + 1 },
		{ "size", offsetof(struct ring_shm, size), sizeof(struct ring_shm) + 64 },
		{ "frame_size", offsetof(struct ring_shm, frame_size), FRAME_SHARED - 8 },
		{ "entries", offsetof(struct ring_shm, entries), 2 * ENTRIES },
		{ "entries, none", offsetof(struct ring_shm, entries), 0 },
		{ "stride", offsetof(struct ring_shm, stride), ROOM },
		{ "stride, huge", offsetof(struct ring_shm, stride), 0xffffffc0u },
		{ "places_off", offsetof(struct ring_shm, places_off), 64 },
		{ "frames_off", offsetof(struct ring_shm, frames_off), 64 },
		{ "pool_off", offsetof(struct ring_shm, pool_off), 4096 },
		{ "spares_off", offsetof(struct ring_shm, spares_off), 4096 },
	};
	struct ring r;
	int fd;

	begin(1);
	OK(!map_again(), "a segment can be mapped by its file");
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		uint8_t *at = (uint8_t *)ring.shm + bad[i].off;
		uint32_t was;

		memcpy(&was, at, sizeof(was));
		memcpy(at, &bad[i].lie, sizeof(was));
		OK(map_again() == -EPROTO, "a lie is refused: %s", bad[i].what);
		memcpy(at, &was, sizeof(was));
	}
	OK(!map_file(0, seals, sizeof(struct ring_shm)), "a sealed file of the right size is one");
	OK(map_file(4096, seals, sizeof(struct ring_shm)) == -EPROTO, "longer: refused");
	OK(map_file(-4096, seals, sizeof(struct ring_shm)) == -EPROTO, "shorter: refused");
	OK(map_file(0, seals & ~(unsigned)F_SEAL_SHRINK, sizeof(struct ring_shm)) == -EPROTO,
	   "may shrink: refused");
	OK(map_file(64 - (long)ring.size, seals, 64) == -EPROTO, "shorter than its header: refused");
	fd = mkstemp(path);
	OK(fd >= 0 && ring_map(&r, fd) == -EPROTO, "no memory file: refused");
	close(fd);
	unlink(path);
	OK(ring_map(&r, -1) == -EPROTO && r.fd == -1, "no file at all: refused");
	end();
}

/* --- bursts --------------------------------------------------------------- */

static void test_order(void)
{
	uint64_t in = 1, out = 1;
	bool right = true;

	begin(2);
	OK(ring_take(&pos[1], burst, 8) == 0 && ring_idle(&ring), "an empty ring has nothing");
	for (int round = 0; round < 40; round++) {
		int n = 1 + round * 7 % FRAME_BURST;

		publish(n, in);
		in += (unsigned)n;
		pass(1, n);
		right &= ring_take(&pos[2], burst, FRAME_BURST) == n;
		for (int i = 0; i < n; i++)
			right &= number(burst[i]) == out++;
		ring_put(&pos[2]);
	}
	OK(right && in == out && in > 3 * ENTRIES, "packets come through in order, ring after ring");
	OK(ring_idle(&ring), "and leave it empty");
	for (int i = 0; i < 2; i++)
		publish(FRAME_BURST, in);
	OK(ring_reserve(&pos[0], burst, 8) == 0, "a full ring has no room");
	pass(1, 64);
	OK(ring_reserve(&pos[0], burst, 8) == 0, "only the last stage makes some");
	pass(2, 5);
	OK(ring_reserve(&pos[0], burst, 8) == 5, "as much as it is done with");
	OK(ring_take(&pos[2], burst, 64) == 59, "a stage has what the one before is done with");
	OK(!ring_idle(&ring), "not idle");
	end();
}

static void test_edit(void)
{
	uint64_t no = 77;

	begin(2);
	publish(3, 1);
	OK(ring_take(&pos[1], burst, 3) == 3 && burst[0]->buf == ring.pool + place_of(0),
	   "a private descriptor knows its frame's own buffer");
	OK(frame_own(burst[0], 20) && number(burst[0]) == 1 &&
	   burst[0]->buf == ring.pool + place_of(0), "which can be made its own");
	OK(frame_set(burst[1], &no, sizeof(no)), "written to");
	frame_drop(burst[2], REASON_RULE, 5);
	OK(version(1) & 1, "its version is odd while it changes");
	OK(version(2) & 1, "so is that of a frame with a verdict");
	OK(shared(2)->verdict == REASON_NONE, "a verdict is private until the burst is done");
	ring_put(&pos[1]);
	OK(!(version(0) & 1) && !(version(1) & 1) && !(version(2) & 1), "then even again");
	OK(ring_take(&pos[2], burst, 3) == 3 && number(burst[0]) == 1 && number(burst[1]) == 77 &&
	   burst[0]->seq == 1 && burst[1]->seq == 2, "the next stage sees bytes and metadata");
	OK(burst[2]->verdict == REASON_RULE && burst[2]->rule == 5, "and the verdict");
	no = version(0);
	ring_put(&pos[2]);
	OK(version(0) == no, "a frame that nobody changed keeps its version");
	end();
}

/* Whatever becomes of a word that everybody can write */
static void test_word(void)
{
	begin(2);
	publish(1, 1);
	if (ring_take(&pos[1], burst, 1) != 1)
		abort();
	frame_drop(burst[0], REASON_RULE, 5);
	ring.versions[0]++;
	ring_put(&pos[1]);
	OK(ring_take(&pos[2], burst, 1) == 1 && burst[0]->verdict == REASON_RULE &&
	   burst[0]->rule == 5, "a verdict is handed on though somebody made its version even");
	ring_put(&pos[2]);
	end();
}

static void test_copy(void)
{
	struct frame **pool = frame_pool_new(2, ROOM), moved;
	uint8_t encap[60];

	memset(encap, 0xe5, sizeof(encap));
	begin(2);
	if (ring_reserve(&pos[0], burst, 1) != 1 || !frame_set(pool[0], "payload!", 8))
		abort();
	pool[0]->encap_off = frame_rel(pool[0], encap);
	pool[0]->encap_len = sizeof(encap);
	pool[0]->seq = 9;
	OK(frame_copy(burst[0], pool[0], 32), "a frame is copied into the ring");
	ring_publish(&pos[0], 1);
	OK(ring_take(&pos[1], burst, 1) == 1 && !memcmp(frame_data(burst[0]), "payload!", 8) &&
	   !memcmp(frame_encap(burst[0]), encap, sizeof(encap)), "with its encapsulation");
	moved = *burst[0];
	OK(frame_data(&moved) == frame_data(burst[0]), "a copied descriptor means the same bytes");
	OK(frame_copy(pool[1], &moved, 0) && !memcmp(frame_encap(pool[1]), encap, sizeof(encap)) &&
	   pool[1]->seq == 9, "and copied out again");
	OK(!frame_own(burst[0], ring.stride), "no more room than a frame may have");
	ring_put(&pos[1]);
	OK(ring_take(&pos[2], burst, 1) == 1 && number(burst[0]) == number(pool[1]), "goes on");
	end();
	frame_pool_free(pool);
}

static void test_fewer(void)
{
	begin(1);
	if (ring_reserve(&pos[0], burst, 10) != 10 || !frame_set(burst[9], "x", 1))
		abort();
	ring_publish(&pos[0], 0);
	OK(ring_take(&pos[1], burst, 10) == 0, "reserved is not published");
	publish(10, 5);
	OK(ring_take(&pos[1], burst, 10) == 10 && number(burst[9]) == 14, "frames are used again");
	OK(!(version(9) & 1), "with an even version");
	end();
}

/* --- liars ---------------------------------------------------------------- */

static void cursor_lies(const char *what, unsigned k, uint64_t done, unsigned taker)
{
	struct ring_pos saved = pos[taker];
	uint64_t was = ring_upto(&ring, k);
	int got;

	atomic_store(&ring.shm->cursor[k].done, done);
	got = taker ? ring_take(&pos[taker], burst, 8) : ring_reserve(&pos[0], burst, FRAME_BURST);
	OK(got == -EPROTO, "%s: %d", what, got);
	atomic_store(&ring.shm->cursor[k].done, was);
	pos[taker] = saved;
}

static void test_cursors(void)
{
	struct ring_pos again;

	begin(2);
	publish(64, 1);
	pass(1, 64);
	pass(2, 64);
	publish(64, 65);
	publish(64, 129);
	pass(1, 64);
	pass(1, 60);
	cursor_lies("upstream's cursor goes back", 0, 191, 1);
	cursor_lies("upstream's cursor is too far", 0, 188 + ENTRIES + 1, 1);
	cursor_lies("upstream's cursor is huge", 0, UINT64_MAX, 1);
	cursor_lies("the middle one's goes back", 1, 3, 2);
	cursor_lies("the last one's is ahead of the head", 2, 193, 0);
	cursor_lies("the last one's is further back than the ring is long", 2, 63, 0);
	atomic_store(&ring.shm->last, RING_STAGES);
	OK(ring_reserve(&pos[0], burst, FRAME_BURST) == -EPROTO, "there is no such last stage");
	OK(!ring_doze(&pos[0], false), "nor does the head sleep over it");
	OK(ring_idle(&ring), "nor wait for it");
	atomic_store(&ring.shm->last, 2);
	OK(ring_sit(&again, &ring, 1) == 0, "a seat as it was left");
	atomic_store(&ring.shm->cursor[1].taken, 188 + FRAME_BURST + 1);
	OK(ring_sit(&again, &ring, 1) == -EPROTO, "taken is more than a burst");
	atomic_store(&ring.shm->cursor[1].taken, 187);
	OK(ring_sit(&again, &ring, 1) == -EPROTO, "taken is behind done");
	atomic_store(&ring.shm->cursor[1].taken, 188);
	atomic_store(&ring.shm->cursor[0].done, 187);
	OK(ring_sit(&again, &ring, 1) == -EPROTO, "upstream is behind taken");
	end();
}

/* Of entry 1's buffer */
static uint32_t place_room(void)
{
	return (uint32_t)(ring.places[1] >> 32);
}

/* A packet as packet_parse() knows it, and a foreign hand on its descriptor */
static void honest(struct frame *f)
{
	f->off = 0;
	f->len = f->orig_len = 100;
	f->encap_len = 60;
	f->encap_off = 100;
	f->opt_len = 8;
	f->opt_off = 180;
	f->pkt = (struct packet){ .l4 = 20, .payload = 40, .end = 100, .version = 4,
				  .proto = 6, .flags = PKT_PARSED | PKT_L4 };
}

struct lie {
	const char *what;
	void (*tell)(struct frame *f);
};

static void off_front(struct frame *f) { f->off = -1; }
static void off_far(struct frame *f) { f->off = (int64_t)place_room() - 99; }
static void off_huge(struct frame *f) { f->off = INT64_MAX; }
static void off_back(struct frame *f) { f->off = INT64_MIN; }
static void len_far(struct frame *f) { f->len = place_room() + 1; }
static void len_huge(struct frame *f) { f->len = UINT32_MAX; }
static void encap_front(struct frame *f) { f->encap_off = -1; }
static void encap_far(struct frame *f) { f->encap_off = (int64_t)place_room() - 59; }
static void encap_back(struct frame *f) { f->encap_off = -60; }
static void encap_long(struct frame *f) { f->encap_len = ENCAP_MAX + 1; }
static void opt_front(struct frame *f) { f->opt_off = -8; }
static void opt_far(struct frame *f) { f->opt_off = place_room(); }
static void opt_huge(struct frame *f) { f->opt_len = UINT32_MAX; }
static void dialect(struct frame *f) { f->dialect = DIALECT_NUM; }
static void verdict(struct frame *f) { f->verdict = REASON_NUM; }
static void ip_version(struct frame *f) { f->pkt.version = 5; }
static void ip_short(struct frame *f) { f->pkt.l4 = 19; }
static void ip6_short(struct frame *f) { f->pkt.version = 6; }
static void l3_far(struct frame *f) { f->pkt.l3 = 21; }
static void l4_far(struct frame *f) { f->pkt.l4 = 41; }
static void tcp_short(struct frame *f) { f->pkt.payload = 39; }
static void udp_short(struct frame *f) { f->pkt.proto = 17; f->pkt.payload = 27; }
static void payload_far(struct frame *f) { f->pkt.payload = 101; }
static void end_far(struct frame *f) { f->pkt.end = 101; }
static void end_short(struct frame *f) { f->pkt.end = 39; }

static const struct lie lies[] = {
#define LIE(x) { #x, x }
	LIE(off_front), LIE(off_far), LIE(off_huge), LIE(off_back), LIE(len_far), LIE(len_huge),
	LIE(encap_front), LIE(encap_far), LIE(encap_back), LIE(encap_long), LIE(opt_front),
	LIE(opt_far), LIE(opt_huge), LIE(dialect), LIE(verdict), LIE(ip_version), LIE(ip_short),
	LIE(ip6_short), LIE(l3_far), LIE(l4_far), LIE(tcp_short), LIE(udp_short),
	LIE(payload_far), LIE(end_far), LIE(end_short),
};

static void harmless(struct frame *f)
{
	f->encap_off = f->opt_off = INT64_MIN;
	f->encap_len = 0;
	f->opt_len = 0;
	f->pkt.flags = 0;
	f->pkt.l4 = UINT32_MAX;
}

static void extreme(struct frame *f)
{
	harmless(f);
	f->encap_off = f->opt_off = INT64_MAX;
}

static int told(void (*tell)(struct frame *f))
{
	begin(1);
	publish(2, 1);
	honest(shared(1));
	if (tell)
		tell(shared(1));
	return ring_take(&pos[1], burst, 2);
}

static void test_descriptors(void)
{
	OK(told(NULL) == 2, "an honest descriptor is taken");
	end();
	for (size_t i = 0; i < sizeof(lies) / sizeof(lies[0]); i++) {
		OK(told(lies[i].tell) == -EPROTO, "a lie is refused: %s", lies[i].what);
		end();
	}
	OK(told(extreme) == 2, "nor how far off it lies");
	ring_put(&pos[1]);
	end();
	OK(told(harmless) == 2 && burst[1]->buf == ring.pool + place_of(1) &&
	   burst[1]->room == place_room(), "what is not believed may say anything");
	shared(1)->off = 1;
	OK(burst[1]->off != 1, "nor matters what is said later");
	end();
}

/* --- deaths --------------------------------------------------------------- */

static void test_recover(void)
{
	struct ring_pos next;
	bool right = true;

	begin(2);
	publish(20, 1);
	if (ring_take(&pos[1], burst, 12) != 12)
		abort();
	frame_drop(burst[1], REASON_RULE, 0);
	if (!frame_set(burst[0], "changed!", 8))
		abort();
	OK(version(0) & 1, "a stage dies while a frame changes");
	OK(!ring_sit(&next, &ring, 1) && ring_recover(&next) == 12, "its successor drops the burst");
	OK(!(version(0) & 1), "no version stays odd");
	OK(ring_recover(&next) == 0, "once");
	OK(ring_take(&next, burst, 64) == 8 && number(burst[0]) == 13, "and goes on behind it");
	ring_put(&next);
	if (ring_take(&pos[2], burst, 64) != 20)
		abort();
	for (int i = 0; i < 20; i++)
		right &= burst[i]->verdict == (i < 12 ? REASON_RESTART : REASON_NONE);
	OK(right, "the next stage sees drops with reason restart");
	if (ring_sit(&next, &ring, 2))
		abort();
	OK(ring_recover(&next) == 8, "what was dropped before is not dropped again");
	OK(ring_idle(&ring) && ring_sit(&next, &ring, 2) == 0 && ring_recover(&next) == 0,
	   "a stage that had nothing in hand leaves nothing");
	end();
}

static void test_states(void)
{
	begin(1);
	OK(ring_state(&ring, 1) == RING_EMPTY, "nobody sits there yet");
	for (int st = RING_SEATED; st <= RING_LEFT; st++) {
		ring_set_state(&ring, 1, (enum ring_state)st);
		OK((int)ring_state(&ring, 1) == st && ring_state(&ring, 2) == RING_EMPTY, "state %d", st);
	}
	end();
}

/* --- buffers -------------------------------------------------------------- */

static void place_lies(const char *what, uint64_t begin_at, uint64_t room, int expect)
{
	begin(1);
	publish(1, 1);
	ring.places[0] = begin_at | room << 32;
	OK(ring_take(&pos[1], burst, 1) == expect, "a place in the pool: %s", what);
	end();
}

static void test_places(void)
{
	uint64_t size;

	begin(1);
	size = (uint64_t)ring.entries * ring.stride;
	end();
	place_lies("its last bytes", size - 256, 256, 1);
	place_lies("a byte less than the packet needs", 0, FRAME_HEADROOM + 7, -EPROTO);
	place_lies("one byte beyond the end", size - 255, 256, -EPROTO);
	place_lies("far beyond the end", UINT32_MAX, 256, -EPROTO);
	place_lies("a wrap", 256, UINT32_MAX, -EPROTO);
}

/* How long the buffers are that the head cuts, and where */
static void test_cut(void)
{
	static const uint8_t bytes[ROOM];

	begin(1);
	OK(ring_reserve(&pos[0], burst, 3) == 3 && !burst[0]->room, "a frame comes without a buffer");
	OK(frame_room(burst[0], 1) && burst[0]->room == cut_for(1) && burst[0]->buf == ring.pool,
	   "one as long as asked for is cut, in lines");
	OK(frame_room(burst[1], 65) && burst[1]->room == cut_for(65) &&
	   burst[1]->buf == ring.pool + cut_for(1), "an odd number of them, close behind it");
	OK(frame_room(burst[2], ring.stride) && burst[2]->room == ring.stride, "or as long as may be");
	OK(!frame_room(burst[1], ring.stride + 1), "and no longer");
	OK(frame_set(burst[0], bytes, 300) && burst[0]->spare && burst[0]->buf == spare(0),
	   "the head's frame may outgrow its own");
	ring_publish(&pos[0], 2);
	OK(ring_reserve(&pos[0], burst, 1) == 1 && frame_set(burst[0], bytes, 1) &&
	   burst[0]->buf == ring.pool + cut_for(1) + cut_for(65), "what was cut and not published is cut again");
	ring_publish(&pos[0], 0);
	OK(ring_take(&pos[1], burst, 2) == 2 && burst[0]->buf == spare(0) && burst[0]->len == 300 &&
	   burst[1]->buf == ring.pool + cut_for(1), "the next stage finds both");
	end();
}

/* A packet that outgrows its buffer */
static void test_spare(void)
{
	uint8_t *was;

	begin(2);
	publish(3, 1);
	if (ring_take(&pos[1], burst, 3) != 3)
		abort();
	was = frame_data(burst[1]);
	OK(frame_grow(burst[1], 1000) && burst[1]->buf == spare(1) && frame_data(burst[1]) != was &&
	   number(burst[1]) == 2, "moves to its entry's spare one");
	OK(frame_grow(burst[1], 1200) && burst[1]->buf == spare(1), "has all the room there is");
	OK(!frame_grow(burst[1], ring.stride), "and no more");
	ring_put(&pos[1]);
	OK(ring_take(&pos[2], burst, 3) == 3 && burst[1]->buf == spare(1) && number(burst[1]) == 2 &&
	   number(burst[0]) == 1 && number(burst[2]) == 3, "where the next stage finds it");
	ring_put(&pos[2]);
	for (unsigned i = 3; i < 2 * ENTRIES; i++) {
		publish(1, i + 1);
		pass(1, 1);
		pass(2, 1);
	}
	publish(1, 77);
	OK(ring_take(&pos[1], burst, 1) == 1 && !burst[0]->spare && number(burst[0]) == 77,
	   "an entry begins in the pool again");
	end();
}

/* Buffers of many lengths, from the front again and again: none is cut from what is in use */
static void test_pool(void)
{
	static uint8_t bytes[ROOM];
	static struct { uint32_t at, room; } used[ENTRIES];
	uint64_t in = 0, out = 0;
	bool apart = true, right = true;
	uint32_t rand = 1, wraps = 0, last = 0;

	begin(1);
	while (in < 50 * ENTRIES) {
		uint32_t len = 1 + (rand = rand * 1664525u + 1013904223u) / 3u % (ring.stride - 400);
		int n = ring_reserve(&pos[0], burst, 1);

		if (n == 1 && rand >> 30) {
			memset(bytes, (int)in, len);
			if (!frame_set(burst[0], bytes, len))
				abort();
			used[in % ENTRIES].at = (uint32_t)(burst[0]->buf - ring.pool);
			used[in % ENTRIES].room = burst[0]->room;
			for (uint64_t i = out; i < in; i++)
				apart &= used[i % ENTRIES].at >= used[in % ENTRIES].at + burst[0]->room ||
					 used[in % ENTRIES].at >=
					 used[i % ENTRIES].at + used[i % ENTRIES].room;
			wraps += used[in % ENTRIES].at < last;
			last = used[in % ENTRIES].at;
			ring_publish(&pos[0], 1);
			in++;
			continue;
		}
		right &= n >= 0 && (n || in > out);
		ring_publish(&pos[0], 0);
		if (ring_take(&pos[1], burst, 1) == 1) {
			right &= frame_data(burst[0])[burst[0]->len - 1] == (uint8_t)out;
			ring_put(&pos[1]);
			out++;
		}
	}
	OK(apart && right, "buffers in use lie apart, and keep their bytes");
	OK(wraps > 10, "from the front again, %u times", wraps);
	end();
}

/* What is free is told by places, and any neighbour can write those */
static void test_head_places(void)
{
	static const uint8_t bytes[ROOM - 200];
	enum { MANY = 1024, TURNS = 2000 };
	bool inside = true;

	begin_with(MANY, ROOM, 1);
	for (unsigned in = 0; in < TURNS && inside; in++) {
		for (unsigned i = 0; i < MANY; i++)
			ring.places[i] = in < MANY ? UINT32_MAX : 0;
		if (in >= MANY)
			ring.shm->cursor[1].done = in - MANY + 1;
		if (ring_reserve(&pos[0], burst, 1) == 1 && frame_set(burst[0], bytes, sizeof(bytes)))
			inside = burst[0]->buf + burst[0]->room <= ring.pool + (size_t)MANY * ring.stride;
		ring_publish(&pos[0], burst[0]->room && inside);
	}
	OK(inside, "lies about where buffers are do not lead the head out of its pool");
	end();
}

/* The head must not take what the stage that was last is done with */
static void test_join(void)
{
	begin(1);
	publish(64, 1);
	pass(1, 64);
	ring_extend(&pos[1]);
	if (ring_sit(&pos[2], &ring, 2))
		abort();
	publish(64, 65);
	pass(1, 64);
	OK(ring_reserve(&pos[0], burst, 64) == 64, "room that there was before");
	ring_publish(&pos[0], 0);
	publish(64, 129);
	OK(ring_reserve(&pos[0], burst, 64) == 0, "the new last stage frees, nobody else");
	OK(ring_take(&pos[2], burst, 64) == 64 && number(burst[0]) == 65, "it begins where it joined");
	ring_put(&pos[2]);
	OK(ring_reserve(&pos[0], burst, 64) == 64, "and makes room");
	end();
}

#ifdef FRAME_GUARDED
static volatile uint8_t seen;

/* Touch the byte @at of a frame from its packet's first one on: does it kill? */
static bool caught(struct frame *f, int at)
{
	int status = 0;
	pid_t pid = fork();

	if (!pid) {
		close(STDERR_FILENO);
		seen = frame_data(f)[at];
		_exit(0);
	}
	return pid > 0 && waitpid(pid, &status, 0) == pid && status;
}

static void test_guard(void)
{
	static uint8_t bytes[64];

	begin(1);
	if (ring_reserve(&pos[0], burst, 2) != 2 || !frame_set(burst[0], bytes, sizeof(bytes)))
		abort();
	OK(caught(burst[0], 64) && caught(burst[0], -1) && !caught(burst[0], 63) &&
	   !caught(burst[0], 0), "a filled frame: its packet may be touched, nothing else");
	OK(frame_room(burst[1], 9) && !caught(burst[1], 0) && !caught(burst[1], 8),
	   "one with room is free to be filled");
	ring_publish(&pos[0], 1);
	if (ring_take(&pos[1], burst, 1) != 1)
		abort();
	OK(caught(burst[0], 64) && caught(burst[0], -1) && !caught(burst[0], 63), "so in a burst");
	OK(frame_grow(burst[0], 16) && !caught(burst[0], 79) && caught(burst[0], 80) &&
	   caught(burst[0], -1), "and the room that was asked for");
	OK(frame_own(burst[0], 8) && !caught(burst[0], 71) && caught(burst[0], 72) &&
	   !caught(burst[0], -(int)FRAME_HEADROOM), "and headroom");
	end();
}

/* A stage that forgets to tell is stopped */
static void test_untold(void)
{
	int status;
	pid_t pid;

	begin(1);
	publish(1, 1);
	if (ring_take(&pos[1], burst, 1) != 1)
		abort();
	burst[0]->cookie++;
	fflush(stdout);
	pid = fork();
	if (!pid) {
		close(STDERR_FILENO);
		ring_put(&pos[1]);
		_exit(0);
	}
	OK(pid > 0 && waitpid(pid, &status, 0) == pid && status,
	   "a frame that was changed without frame_touch() is found");
	frame_touch(burst[0]);
	ring_put(&pos[1]);
	OK(!(version(0) & 1), "with it it goes on");
	end();
}
#endif

int main(void)
{
#ifdef FRAME_GUARDED
	test_guard();
	test_untold();
#endif
	test_create();
	test_map();
	test_order();
	test_edit();
	test_word();
	test_copy();
	test_fewer();
	test_cursors();
	test_descriptors();
	test_recover();
	test_states();
	test_places();
	test_cut();
	test_spare();
	test_pool();
	test_head_places();
	test_join();
	return tap_done();
}
