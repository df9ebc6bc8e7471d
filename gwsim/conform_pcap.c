/* SPDX-License-Identifier: MIT */
/*
 * conform_pcap.c - A failed test's packets, with comments
 */
#include "clock.h"
#include "conform_pcap.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "capfile.h"
#include "log.h"

#define COMMENT_MAX	600u
#define OPT_COMMENT	1u

struct pcap_out {
	FILE *f;
	struct cap_writer w;
	uint8_t *buf;
};

static void packet_write(struct pcap_out *o, uint8_t *pkt, uint32_t len, uint64_t ts_ns,
			 const char *comment)
{
	uint8_t opt[4 + COMMENT_MAX + 4] = { 0 };
	uint16_t code = OPT_COMMENT, n = (uint16_t)strlen(comment);
	struct frame f = {
		.linktype = LINKTYPE_ETHERNET, .len = len, .orig_len = len, .ts_ns = ts_ns
	};
	size_t size;

	memcpy(opt, &code, sizeof(code));
	memcpy(opt + 2, &n, sizeof(n));
	memcpy(opt + 4, comment, n);
	f.off = frame_rel(&f, pkt);
	f.opt_off = frame_rel(&f, opt);
	f.opt_len = 4 + ((n + 3u) & ~3u);
	size = cap_write_packet(&o->w, o->buf, &f);
	(void)fwrite(o->buf, 1, size, o->f);
}

static size_t dev_append(char *out, size_t n, uint32_t dev)
{
	for (unsigned bit = 0; bit < DEV_NUM && n < COMMENT_MAX; bit++)
		if (dev >> bit & 1)
			n += (size_t)snprintf(out + n, COMMENT_MAX - n, "\n- %s", dev_text(bit));
	return n;
}

static void probe_write(struct pcap_out *o, const struct probe *p, unsigned number,
			uint64_t real_ns)
{
	static const char *const wants[] = { "it comes back", "it is dropped",
					     "it comes back or is dropped" };
	char text[COMMENT_MAX];
	size_t n;

	n = (size_t)snprintf(text, sizeof(text),
			     "sent: packet %u: %s\nexpected: %s\ngot: %u replies", number, p->what,
			     wants[p->want], p->nreplies);
	dev_append(text, n, p->dev);
	packet_write(o, p->pkt, p->len, p->sent_ns + real_ns, text);
}

static void reply_write(struct pcap_out *o, const struct suite *s, const struct reply *r)
{
	char text[COMMENT_MAX];
	size_t n;

	if (r->probe)
		n = (size_t)snprintf(text, sizeof(text), "got: %s packet %u: %s",
				     r->reject ? "the appliance's own answer to" : "in answer to",
				     (unsigned)(r->probe - s->probe) + 1,
				     r->dev ? "it deviates" : "it is right");
	else
		n = (size_t)snprintf(text, sizeof(text), "got: answers nothing that was sent");
	dev_append(text, n, r->dev);
	packet_write(o, r->pkt, r->len, r->ts_ns, text);
}

/* What to add to the monotonic clock for the time of day */
static uint64_t realtime_offset(void)
{
	return clock_real() - suite_now_ns();
}

/* By time: both lists are in order already */
static void packets_write(struct pcap_out *o, const struct suite *s)
{
	uint64_t real = realtime_offset();
	unsigned i = 0, j = 0;

	while (i < s->nprobes || j < s->nreplies)
		if (j == s->nreplies ||
		    (i < s->nprobes && s->probe[i].sent_ns + real <= s->reply[j].ts_ns)) {
			probe_write(o, &s->probe[i], i + 1, real);
			i++;
		} else {
			reply_write(o, s, &s->reply[j]);
			j++;
		}
}

void conform_pcap(const struct suite *s, const struct conform_test *t, const char *dir)
{
	struct pcap_out o = { .w = { .format = CAP_PCAPNG, .name = "gwsim", .bare = true } };
	char path[PATH_MAX];
	size_t n;

	if (mkdir(dir, 0777) < 0 && errno != EEXIST) {
		log_error("%s: %m", dir);
		return;
	}
	snprintf(path, sizeof(path), "%s/%s.pcapng", dir, t->id);
	o.f = fopen(path, "we");
	o.buf = malloc(CRAFT_MAX + 65536 + CAP_PACKET_ROOM + CAP_HEADER_ROOM);
	if (!o.f || !o.buf) {
		log_error("%s: %m", path);
		goto out;
	}
	n = cap_write_header(&o.w, o.buf, NULL);
	n += cap_write_iface(&o.w, o.buf + n, LINKTYPE_ETHERNET);
	(void)fwrite(o.buf, 1, n, o.f);
	packets_write(&o, s);
	printf("#   its packets: %s\n", path);
out:
	if (o.f && fclose(o.f))
		log_error("%s: %m", path);
	free(o.buf);
}
