/* SPDX-License-Identifier: MIT */
#include <netinet/in.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "flow.h"
#include "wire.h"

#define NONE	UINT32_MAX

/* Links are entry numbers; the value follows. */
struct entry {
	struct flow_key key;
	uint64_t last_ns;
	uint64_t timeout_ns;
	uint32_t chain;		/* next in the same bucket, or next free one */
	uint32_t bucket;
	uint32_t older, newer;
	uint64_t value[];
};

struct flow_table {
	uint8_t secret[crypto_shorthash_KEYBYTES];
	uint8_t *entries;
	uint32_t *buckets;
	size_t stride, value_size, mapped;
	uint32_t mask, max, count;
	uint32_t free, oldest, newest;
	uint64_t evicted;
};

static bool has_ports(uint8_t proto)
{
	return proto == IPPROTO_TCP || proto == IPPROTO_UDP || proto == IPPROTO_SCTP ||
	       proto == IPPROTO_UDPLITE || proto == IPPROTO_DCCP;
}

static bool is_echo(uint8_t proto, uint8_t type)
{
	return proto == IPPROTO_ICMP ? type == 0 || type == 8 :
	       proto == IPPROTO_ICMPV6 && (type == 128 || type == 129);
}

bool icmp_is_error(const struct packet *p, const uint8_t *data)
{
	uint8_t type;

	if (!(p->flags & PKT_L4))
		return false;
	type = data[p->l4];
	if (p->proto == IPPROTO_ICMP && p->version == 4)
		return type == 3 || type == 4 || type == 5 || type == 11 || type == 12;
	return p->proto == IPPROTO_ICMPV6 && p->version == 6 && type < 128;
}

bool flow_key(struct flow_key *k, uint64_t endpoint, const struct packet *p, const uint8_t *data)
{
	const uint8_t *src = packet_src(p, data), *dst = packet_dst(p, data), *l4 = data + p->l4;
	uint16_t sport = 0, dport = 0;
	uint32_t left = p->flags & PKT_FRAG_LATER ? 0 : p->end - p->l4;
	unsigned n = packet_addr_len(p);
	bool swapped;
	int order;

	if (has_ports(p->proto) && left >= 4) {
		sport = be16(l4);
		dport = be16(l4 + 2);
	} else if (left >= 8 && is_echo(p->proto, l4[0])) {
		sport = dport = be16(l4 + 4);
	}
	order = memcmp(src, dst, n);
	swapped = order > 0 || (!order && sport > dport);
	*k = (struct flow_key){ .endpoint = endpoint, .version = p->version, .proto = p->proto,
				.kind = FLOW_CONNECTION };
	memcpy(k->a, swapped ? dst : src, n);
	memcpy(k->b, swapped ? src : dst, n);
	k->port_a = swapped ? dport : sport;
	k->port_b = swapped ? sport : dport;
	return swapped;
}

bool flow_key_quoted(struct flow_key *k, uint64_t endpoint, const struct packet *p,
		     const uint8_t *data)
{
	const uint8_t *quoted;
	struct packet q;

	if (!icmp_is_error(p, data) || p->payload >= p->end)
		return false;
	if (packet_parse(&q, data + p->payload, p->end - p->payload, LINKTYPE_RAW))
		return false;
	quoted = data + p->payload;
	if (q.version != p->version || q.flags & PKT_FRAG_LATER || q.end < q.l4 + 8)
		return false;
	/* told to nobody but who sent it: else one flow would open the way to all hosts */
	if (memcmp(packet_dst(p, data), packet_src(&q, quoted), packet_addr_len(p)))
		return false;
	flow_key(k, endpoint, &q, quoted);
	return true;
}

static struct entry *entry(const struct flow_table *t, uint32_t i)
{
	return (struct entry *)(void *)(t->entries + t->stride * i);
}

struct flow_table *flow_open(unsigned max, size_t value_size)
{
	struct flow_table *t = calloc(1, sizeof(*t));
	size_t buckets = 16;

	if (!t || sodium_init() < 0)
		goto fail;
	while (buckets < max)
		buckets *= 2;
	t->value_size = value_size;
	t->stride = (sizeof(struct entry) + value_size + 7) & ~(size_t)7;
	t->mapped = t->stride * max + buckets * sizeof(uint32_t);
	t->entries = mmap(NULL, t->mapped, PROT_READ | PROT_WRITE,
			  MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	if (t->entries == MAP_FAILED)
		goto fail;
	t->buckets = (uint32_t *)(void *)(t->entries + t->stride * max);
	t->mask = (uint32_t)buckets - 1;
	t->max = max;
	t->oldest = t->newest = NONE;
	memset(t->buckets, 0xff, buckets * sizeof(uint32_t));
	for (uint32_t i = 0; i < max; i++)
		entry(t, i)->chain = i + 1 < max ? i + 1 : NONE;
	randombytes_buf(t->secret, sizeof(t->secret));
	return t;
fail:
	free(t);
	return NULL;
}

void flow_close(struct flow_table *t)
{
	if (!t)
		return;
	munmap(t->entries, t->mapped);
	free(t);
}

static uint32_t bucket_of(const struct flow_table *t, const struct flow_key *k)
{
	uint64_t hash;

	_Static_assert(crypto_shorthash_BYTES == sizeof(hash), "SipHash-2-4 gives 64 bits");
	crypto_shorthash((uint8_t *)&hash, (const uint8_t *)k, sizeof(*k), t->secret);
	return (uint32_t)hash & t->mask;
}

static void list_out(struct flow_table *t, struct entry *e)
{
	*(e->older == NONE ? &t->oldest : &entry(t, e->older)->newer) = e->newer;
	*(e->newer == NONE ? &t->newest : &entry(t, e->newer)->older) = e->older;
}

static void list_in(struct flow_table *t, struct entry *e, uint32_t i)
{
	e->older = t->newest;
	e->newer = NONE;
	*(t->newest == NONE ? &t->oldest : &entry(t, t->newest)->newer) = i;
	t->newest = i;
}

static void take_out(struct flow_table *t, uint32_t i)
{
	struct entry *e = entry(t, i);
	uint32_t *link = &t->buckets[e->bucket];

	while (*link != i)
		link = &entry(t, *link)->chain;
	*link = e->chain;
	list_out(t, e);
	e->chain = t->free;
	t->free = i;
	t->count--;
}

static uint32_t look_up(const struct flow_table *t, const struct flow_key *k, uint32_t bucket)
{
	uint32_t i = t->buckets[bucket];

	while (i != NONE && memcmp(&entry(t, i)->key, k, sizeof(*k)))
		i = entry(t, i)->chain;
	return i;
}

/* Live entry, now the newest; an expired one is taken out */
static void *use(struct flow_table *t, uint32_t i, uint64_t now_ns)
{
	struct entry *e = entry(t, i);

	if (now_ns > e->last_ns && now_ns - e->last_ns > e->timeout_ns) {
		take_out(t, i);
		return NULL;
	}
	e->last_ns = MAX(e->last_ns, now_ns);
	if (t->newest != i) {
		list_out(t, e);
		list_in(t, e, i);
	}
	return e->value;
}

void *flow_find(struct flow_table *t, const struct flow_key *k, uint64_t now_ns)
{
	uint32_t i = look_up(t, k, bucket_of(t, k));

	return i == NONE ? NULL : use(t, i, now_ns);
}

void *flow_add(struct flow_table *t, const struct flow_key *k, uint64_t now_ns,
	       uint64_t timeout_ns)
{
	uint32_t bucket = bucket_of(t, k), i = look_up(t, k, bucket);
	void *value = i == NONE ? NULL : use(t, i, now_ns);
	struct entry *e;

	if (value)
		return value;
	if (t->free == NONE) {
		take_out(t, t->oldest);
		t->evicted++;
	}
	i = t->free;
	e = entry(t, i);
	t->free = e->chain;
	e->key = *k;
	e->last_ns = now_ns;
	e->timeout_ns = timeout_ns;
	e->bucket = bucket;
	e->chain = t->buckets[bucket];
	t->buckets[bucket] = i;
	list_in(t, e, i);
	memset(e->value, 0, t->value_size);
	t->count++;
	return e->value;
}

void flow_remove(struct flow_table *t, const struct flow_key *k)
{
	uint32_t i = look_up(t, k, bucket_of(t, k));

	if (i != NONE)
		take_out(t, i);
}

void flow_walk(struct flow_table *t, bool (*keep)(void *ctx, void *value), void *ctx)
{
	for (uint32_t i = t->oldest, next; i != NONE; i = next) {
		next = entry(t, i)->newer;
		if (!keep(ctx, entry(t, i)->value))
			take_out(t, i);
	}
}

unsigned flow_count(const struct flow_table *t)
{
	return t->count;
}

uint64_t flow_evicted(const struct flow_table *t)
{
	return t->evicted;
}
