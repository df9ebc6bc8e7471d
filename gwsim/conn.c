/* SPDX-License-Identifier: MIT */
#include <netinet/in.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "conn.h"
#include "wire.h"

#define NIL		UINT32_MAX
#define FRAGS		1024u
#define SPORT_FIRST	32768u
#define SPORT_MASK	0x7fffu

/* Which flow the datagram belongs to whose later fragments carry no ports */
struct frag {
	uint64_t hash;
	uint32_t conn;
	uint32_t cookie;	/* is it still that flow? */
};

struct conn_table {
	struct conn_conf conf;
	struct conn *conn;
	uint32_t *by_key, *by_cookie;
	uint32_t mask;
	uint32_t free;				/* chained by next_key */
	uint32_t newest, oldest;
	struct frag frag[FRAGS];
	struct conn_stats stats;
	unsigned char secret[crypto_shorthash_KEYBYTES];
};

_Static_assert(sizeof(struct conn_key) == 40, "hashed as bytes: no padding");

static uint64_t hash_bytes(const struct conn_table *t, const void *data, size_t len)
{
	unsigned char out[crypto_shorthash_BYTES];
	uint64_t v;

	crypto_shorthash(out, data, len, t->secret);
	memcpy(&v, out, sizeof(v));
	return v;
}

uint64_t conn_hash(const struct conn_table *t, const struct conn_key *key)
{
	return hash_bytes(t, key, sizeof(*key));
}

static uint32_t *key_bucket(const struct conn_table *t, const struct conn_key *key)
{
	return &t->by_key[conn_hash(t, key) & t->mask];
}

/* Cookies are random already */
static uint32_t *cookie_bucket(const struct conn_table *t, uint16_t endpoint, uint32_t cookie)
{
	return &t->by_cookie[(cookie ^ endpoint) & t->mask];
}

struct conn_table *conn_open(const struct conn_conf *conf)
{
	struct conn_table *t = calloc(1, sizeof(*t));
	uint32_t size = 1;

	if (!t)
		return NULL;
	while (size < conf->max)
		size *= 2;
	t->conf = *conf;
	t->mask = size - 1;
	t->conn = calloc(conf->max, sizeof(*t->conn));
	t->by_key = malloc(size * sizeof(*t->by_key));
	t->by_cookie = malloc(size * sizeof(*t->by_cookie));
	if (sodium_init() < 0 || !t->conn || !t->by_key || !t->by_cookie) {
		conn_close(t);
		return NULL;
	}
	memset(t->by_key, 0xff, size * sizeof(*t->by_key));
	memset(t->by_cookie, 0xff, size * sizeof(*t->by_cookie));
	for (uint32_t i = 0; i < conf->max; i++)
		t->conn[i].next_key = i + 1 < conf->max ? i + 1 : NIL;
	t->newest = t->oldest = NIL;
	randombytes_buf(t->secret, sizeof(t->secret));
	return t;
}

void conn_close(struct conn_table *t)
{
	if (!t)
		return;
	free(t->conn);
	free(t->by_key);
	free(t->by_cookie);
	free(t);
}

const struct conn_stats *conn_stats(const struct conn_table *t)
{
	return &t->stats;
}

static bool has_ports(const struct packet *p)
{
	return (p->proto == IPPROTO_TCP || p->proto == IPPROTO_UDP) &&
	       !(p->flags & PKT_FRAG_LATER) && p->end - p->l4 >= 4;
}

/* @swapped: the packet's source is the key's second address */
static struct conn_key make_key(const struct conn_table *t, uint16_t endpoint,
				const struct packet *p, const uint8_t *inner, bool *swapped)
{
	struct conn_key k = { .endpoint = endpoint, .version = p->version };
	unsigned len = packet_addr_len(p);
	const uint8_t *src = packet_src(p, inner), *dst = packet_dst(p, inner);
	int order = memcmp(src, dst, len);
	bool ports = t->conf.tuple == 5 && has_ports(p);

	*swapped = order > 0 ||
		   (!order && ports && be16(inner + p->l4) > be16(inner + p->l4 + 2));
	memcpy(k.addr[*swapped], src, len);
	memcpy(k.addr[!*swapped], dst, len);
	if (t->conf.tuple >= 3)
		k.proto = p->proto;
	if (ports) {
		k.port[*swapped] = be16(inner + p->l4);
		k.port[!*swapped] = be16(inner + p->l4 + 2);
	}
	return k;
}

static void age_unlink(struct conn_table *t, struct conn *c)
{
	*(c->newer == NIL ? &t->newest : &t->conn[c->newer].older) = c->older;
	*(c->older == NIL ? &t->oldest : &t->conn[c->older].newer) = c->newer;
}

static void age_newest(struct conn_table *t, struct conn *c)
{
	uint32_t i = (uint32_t)(c - t->conn);

	c->newer = NIL;
	c->older = t->newest;
	*(t->newest == NIL ? &t->oldest : &t->conn[t->newest].newer) = i;
	t->newest = i;
}

static void conn_forget(struct conn_table *t, struct conn *c)
{
	uint32_t i = (uint32_t)(c - t->conn), *at;

	for (at = key_bucket(t, &c->key); *at != i;)
		at = &t->conn[*at].next_key;
	*at = c->next_key;
	for (at = cookie_bucket(t, c->key.endpoint, c->cookie); *at != i;)
		at = &t->conn[*at].next_cookie;
	*at = c->next_cookie;
	age_unlink(t, c);
	c->next_key = t->free;
	t->free = i;
	t->stats.live--;
}

static bool is_expired(const struct conn_table *t, const struct conn *c, uint64_t now_ms)
{
	bool tcp = c->key.proto == IPPROTO_TCP && t->conf.tuple == 5;

	return now_ms - c->used_ms > (tcp ? t->conf.tcp_ms : t->conf.other_ms);
}

/* @c, or NULL if its time is over: then it is forgotten */
static struct conn *still(struct conn_table *t, struct conn *c, uint64_t now_ms)
{
	if (!is_expired(t, c, now_ms))
		return c;
	conn_forget(t, c);
	t->stats.expired++;
	return NULL;
}

struct conn *conn_by_cookie(struct conn_table *t, uint16_t endpoint, uint32_t cookie,
			    uint64_t now_ms)
{
	for (uint32_t i = *cookie_bucket(t, endpoint, cookie); i != NIL;
	     i = t->conn[i].next_cookie)
		if (t->conn[i].cookie == cookie && t->conn[i].key.endpoint == endpoint)
			return still(t, &t->conn[i], now_ms);
	return NULL;
}

static struct conn *find(struct conn_table *t, const struct conn_key *key, uint64_t now_ms)
{
	for (uint32_t i = *key_bucket(t, key); i != NIL; i = t->conn[i].next_key)
		if (!memcmp(&t->conn[i].key, key, sizeof(*key)))
			return still(t, &t->conn[i], now_ms);
	return NULL;
}

static uint32_t new_cookie(struct conn_table *t, uint16_t endpoint, uint64_t now_ms)
{
	uint32_t cookie;

	do
		cookie = randombytes_random();
	while (!cookie || conn_by_cookie(t, endpoint, cookie, now_ms));
	return cookie;
}

static struct conn *make(struct conn_table *t, const struct conn_key *key, uint64_t now_ms)
{
	uint32_t cookie = new_cookie(t, key->endpoint, now_ms), *bucket, i;
	struct conn *c;

	if (t->free == NIL) {
		conn_forget(t, &t->conn[t->oldest]);
		t->stats.evicted++;
	}
	i = t->free;
	c = &t->conn[i];
	t->free = c->next_key;
	*c = (struct conn){ .key = *key, .cookie = cookie, .used_ms = now_ms };
	c->sport = (uint16_t)(SPORT_FIRST + (randombytes_random() & SPORT_MASK));
	bucket = key_bucket(t, key);
	c->next_key = *bucket;
	*bucket = i;
	bucket = cookie_bucket(t, key->endpoint, cookie);
	c->next_cookie = *bucket;
	*bucket = i;
	age_newest(t, c);
	t->stats.created++;
	t->stats.live++;
	return c;
}

static uint64_t frag_hash(const struct conn_table *t, uint16_t endpoint,
			  const struct packet *p, const uint8_t *inner)
{
	struct {
		uint8_t src[16], dst[16];
		uint32_t id;
		uint16_t endpoint;
		uint8_t proto, version;
	} k = { .id = p->frag_id, .endpoint = endpoint, .proto = p->proto,
		.version = p->version };

	memcpy(k.src, packet_src(p, inner), packet_addr_len(p));
	memcpy(k.dst, packet_dst(p, inner), packet_addr_len(p));
	return hash_bytes(t, &k, sizeof(k));
}

static void frag_learn(struct conn_table *t, uint64_t hash, const struct conn *c)
{
	t->frag[hash % FRAGS] = (struct frag){ .hash = hash, .cookie = c->cookie,
					       .conn = (uint32_t)(c - t->conn) };
}

static struct conn *frag_find(struct conn_table *t, uint64_t hash, uint16_t endpoint,
			      uint64_t now_ms)
{
	const struct frag *f = &t->frag[hash % FRAGS];
	struct conn *c = f->hash == hash ? conn_by_cookie(t, endpoint, f->cookie, now_ms) : NULL;

	return c && (uint32_t)(c - t->conn) == f->conn ? c : NULL;
}

struct conn *conn_of_packet(struct conn_table *t, uint16_t endpoint, const struct packet *p,
			    const uint8_t *inner, bool from_server, uint64_t now_ms, bool *fresh)
{
	struct conn *c = NULL;
	struct conn_key key;
	bool swapped;

	*fresh = false;
	if (p->flags & PKT_FRAG_LATER)
		c = frag_find(t, frag_hash(t, endpoint, p, inner), endpoint, now_ms);
	if (!c) {
		key = make_key(t, endpoint, p, inner, &swapped);
		c = find(t, &key, now_ms);
	}
	if (!c) {
		c = make(t, &key, now_ms);
		c->far = from_server == swapped;
		*fresh = true;
	}
	if (p->flags & PKT_FRAG_FIRST)
		frag_learn(t, frag_hash(t, endpoint, p, inner), c);
	c->used_ms = now_ms;
	age_unlink(t, c);
	age_newest(t, c);
	return c;
}

bool conn_matches(const struct conn_table *t, const struct conn *c, const struct packet *p,
		  const uint8_t *inner, bool *far)
{
	bool swapped;
	struct conn_key k = make_key(t, c->key.endpoint, p, inner, &swapped);

	if (p->flags & PKT_FRAG_LATER)
		memcpy(k.port, c->key.port, sizeof(k.port));
	if (memcmp(&k, &c->key, sizeof(k)) != 0)
		return false;
	*far = !swapped == c->far;
	return true;
}
