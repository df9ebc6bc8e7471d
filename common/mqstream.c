/* SPDX-License-Identifier: MIT */
/*
 * mqstream.c - Streams over ZeroMQ: PUSH and PULL, a message is a small pcapng file
 *
 * Theory of operation
 *
 * Each message stands alone: section, hello, interface, a batch of packets.  The hello
 * numbers it: how many packets this writer had sent before.  A reader adds up what it
 * got and sees what went missing on the way, also when it is the successor of a crashed
 * one, whose page of counters says how far that had come (rx_resume()).
 *
 * The end of a stream is a message with an end block.  A writer that vanishes without
 * one may come back: the reader waits.
 *
 * A socket that is closed lingers until its messages have left, but where the reader is
 * slow libzmq (4.3.4) still loses the last ones: the writer throws away what its encoder
 * holds once the queue is empty, and a reader at its high-water mark, when a Unix socket
 * hangs up, what the kernel holds (its issue 4660).  So the very last message is padding,
 * longer than all these buffers: only padding is lost.  A reader waits a moment for that
 * of each writer, lest it lingers where nobody reads any more.
 *
 * libzmq lets a second binder steal an ipc path silently, so the binder holds a lock on
 * PATH.lock.  Buffers are bounded by the high-water mark: an output that cannot send says
 * "would block", which is back-pressure; messages are never dropped here.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "clock.h"
#include "log.h"
#include "mqctx.h"
#include "stream.h"

#define MSG_BYTES	(512u << 10)	/* send a message once it holds so many */
#define PADDING		(1u << 20)	/* more than a Unix socket and libzmq hold */
#define PADDING_WAIT_NS	1000000000u
#define LAST_NS		1000000000u	/* told to stop, no longer ... */
#define LAST_WAIT_MS	20		/* ... and until nothing came for so long */
#define ADDR_MAX	256

static void mq_int(void *sock, int opt, int val, const char *spec)
{
	if (zmq.setsockopt(sock, opt, &val, sizeof(val)))
		die("%s: zeromq option %d: %s", spec, opt, zmq.strerror(errno));
}

/**
 * struct mq_addr - An endpoint, taken apart
 * @bind:	Bind, else connect
 * @addr:	As ZeroMQ wants it
 * @path:	Points at the ipc path inside @addr, or NULL
 */
struct mq_addr {
	bool bind;
	char addr[ADDR_MAX];
	const char *path;
};

/* ZeroMQ takes any number, and its lowest 16 bits; 0 would be a port that nobody knows. */
static void check_port(const char *rest, const char *spec)
{
	const char *port = strrchr(rest, ':');
	size_t len;

	if (!port)
		die_usage("'%s': no port", spec);
	len = strlen(++port);
	if (!len || len > 5 || strspn(port, "0123456789") != len || atoi(port) < 1 ||
	    atoi(port) > 65535)
		die_usage("'%s': the port is not a whole number from 1 to 65535", spec);
}

static void addr_parse(struct mq_addr *a, const char *spec, bool bind,
		       const struct stream_conf *conf)
{
	const char *s = spec, *rest;
	int n;

	a->bind = bind;
	a->path = NULL;
	if (!strncmp(s, "bind+", 5)) {
		a->bind = true;
		s += 5;
	} else if (!strncmp(s, "connect+", 8)) {
		a->bind = false;
		s += 8;
	}
	rest = s + 6;		/* behind ipc:// or tcp:// */
	if (!strncmp(s, "tcp://", 6)) {
		n = snprintf(a->addr, sizeof(a->addr), "tcp://%s%s", *rest == ':' ?
			     a->bind ? "*" : "127.0.0.1" : "", rest);
		check_port(rest, spec);
	} else if (strchr(rest, '/')) {
		n = snprintf(a->addr, sizeof(a->addr), "ipc://%s", rest);
	} else {
		if (!chain_name_ok(rest))
			die_usage("'%s': a name is made of letters, digits, '_', '.', '-'", spec);
		n = snprintf(a->addr, sizeof(a->addr), "ipc://%s/%s", conf->run_dir, rest);
	}
	if (n < 0 || (size_t)n >= sizeof(a->addr))
		die_usage("'%s' is too long", spec);
	if (!strncmp(a->addr, "ipc://", 6)) {
		a->path = a->addr + 6;
		if (strlen(a->path) > 107)	/* sizeof(sun_path) - 1 */
			die_usage("'%s': a socket's path has at most 107 bytes, this has %zu",
				  a->path, strlen(a->path));
	}
}

/* A file that is there may be another user's, whom a sticky folder protects from
 * O_CREAT (fs.protected_regular): create only what is missing */
static int open_lock(const char *lock)
{
	int fd = open(lock, O_RDWR | O_CLOEXEC | O_NOFOLLOW);

	if (fd < 0 && errno == ENOENT)
		fd = open(lock, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0644);
	if (fd < 0 && errno != EEXIST)
		die("%s: %m", lock);
	return fd;
}

static bool still_there(int fd, const char *lock)
{
	struct stat a, b;

	return !fstat(fd, &a) && !stat(lock, &b) && a.st_dev == b.st_dev && a.st_ino == b.st_ino;
}

/* The lock says who serves an ipc path: a second one is refused, by name */
static int lock_path(const char *path, const struct stream_conf *conf)
{
	struct flock fl = { .l_type = F_WRLCK, .l_whence = SEEK_SET };
	char lock[ADDR_MAX], who[2 * CAP_NAME_MAX + 32] = "";
	int fd;

	snprintf(lock, sizeof(lock), "%s.lock", path);
	for (;;) {
		fd = open_lock(lock);
		if (fd >= 0 && fcntl(fd, F_OFD_SETLK, &fl)) {
			if (read(fd, who, sizeof(who) - 1) <= 0)
				strcpy(who, "another program");
			who[strcspn(who, "\n")] = '\0';
			die_conf("%s: %s reads there already", path, who);
		}
		if (fd >= 0 && still_there(fd, lock))
			break;
		if (fd >= 0)	/* its owner ended and removed it meanwhile */
			close(fd);
	}
	snprintf(who, sizeof(who), "%s%s%s, pid %d\n", conf->prog, *conf->as ? ":" : "",
		 conf->as, (int)getpid());
	if (ftruncate(fd, 0) || write(fd, who, strlen(who)) < 0)
		log_warn("%s: %m", lock);
	if (conf->priv.uid != (uid_t)-1 && fchown(fd, conf->priv.uid, conf->priv.gid))
		log_warn("%s: %m", lock);
	return fd;
}

static void unlock_path(const char *path, int fd)
{
	char lock[ADDR_MAX];

	if (fd < 0)
		return;
	unlink(path);		/* libzmq leaves its socket behind */
	snprintf(lock, sizeof(lock), "%s.lock", path);
	unlink(lock);
	close(fd);
}

/* Return: lock descriptor, or -1 where there is nothing to lock */
static int attach(void *sock, const struct mq_addr *a, const char *spec,
		  const struct stream_conf *conf)
{
	int lock = -1;

	if (!a->bind) {
		if (zmq.connect(sock, a->addr))
			die("%s: %s", spec, zmq.strerror(errno));
		return -1;
	}
	if (a->path)
		lock = lock_path(a->path, conf);
	if (zmq.bind(sock, a->addr))
		die("%s: %s", spec, zmq.strerror(errno));
	if (a->path && conf->priv.uid != (uid_t)-1 &&
	    lchown(a->path, conf->priv.uid, conf->priv.gid))
		log_warn("%s: %m", a->path);
	return lock;
}

static int mq_fd(void *sock)
{
	size_t len = sizeof(int);
	int fd = -1;

	zmq.getsockopt(sock, ZMQ_FD, &fd, &len);
	return fd;
}

struct mq_rx {
	struct rx rx;
	const struct stream_conf *conf;
	void *sock;
	int fd;
	int lock;
	int last;			/* after stop(): messages still taken; -1: running */
	uint64_t last_by_ns;		/* and until when */
	unsigned inputs, ended;
	uint64_t ended_nonce[STREAM_INPUTS_MAX];
	uint64_t padded;		/* bit per producer that ended: its padding came */
	uint64_t end_by_ns;		/* all have ended: padding is waited for until then */
	bool aborted;
	struct mq_addr addr;
	zmq_msg_t msg;
	uint8_t *at;
	size_t left;
	bool turned;
	int who;			/* producer of this message, -1: a stranger */
	uint64_t packets;		/* of this message so far */
	struct cap_reader reader;
	struct frame **frames;
	struct log_site site;
};

static void bad_message(struct mq_rx *m, const char *why)
{
	m->rx.broken++;
	m->left = 0;
	log_limited(&m->site, clock_mono(), LOG_LVL_WARN, "%s: message not understood: %s",
		    m->rx.spec, why);
}

/* Of what producer @i sent by stream, all up to @packets came or never will */
static void missing(struct mq_rx *m, unsigned i, uint64_t packets)
{
	uint64_t gap = packets - m->rx.streamed[i];

	m->rx.gaps += gap;
	m->rx.upstream_packets[i] += gap;
	m->rx.streamed[i] = packets;
}

/* A new writer took over from one that died: what did that one send in vain? */
static void successor_gap(struct mq_rx *m, const struct cap_hello *h)
{
	for (unsigned i = 0; i < m->rx.nupstream && h->old_nonce; i++) {
		uint64_t *had = &m->rx.upstream_packets[i];	/* by a ring as well */

		if (m->rx.upstream[i] == h->old_nonce && *had < h->old_packets) {
			m->rx.gaps += h->old_packets - *had;
			*had = h->old_packets;
		}
	}
}

/* Where this writer was, and what is missing since */
static void msg_hello(struct mq_rx *m)
{
	const struct cap_hello *h = &m->reader.hello;
	uint64_t *had;

	m->who = (int)rx_take_hello(&m->rx, h);
	had = &m->rx.streamed[m->who];
	successor_gap(m, h);
	if (m->rx.resumed >> m->who & 1) {	/* some of it came by a ring */
		m->rx.resumed &= ~(1ull << m->who);
		*had = MIN(*had, h->packets);
	}
	if (h->packets < *had)
		bad_message(m, "its packets came before");
	else
		missing(m, (unsigned)m->who, h->packets);
}

/* A producer ends once, and says who it is before */
static void msg_ended(struct mq_rx *m, bool abort)
{
	uint64_t nonce = m->reader.hello.nonce;

	if (m->who < 0) {
		bad_message(m, "an end without a hello");
		return;
	}
	for (unsigned i = 0; i < m->ended; i++)
		if (m->ended_nonce[i] == nonce)
			return;
	if (m->ended == m->inputs)
		return;
	m->ended_nonce[m->ended++] = nonce;
	if (m->ended == m->inputs)
		m->end_by_ns = clock_mono() + PADDING_WAIT_NS;
	m->aborted |= abort;
	if (m->reader.total > m->rx.streamed[m->who])
		missing(m, (unsigned)m->who, m->reader.total);
}

/* Nothing of a producer that ended lingers any more */
static void msg_padded(struct mq_rx *m)
{
	for (unsigned i = 0; i < m->ended; i++)
		if (m->ended_nonce[i] == m->reader.hello.nonce)
			m->padded |= 1ull << i;
}

/* What came behind packets */
static void msg_event(struct mq_rx *m, enum cap_event ev)
{
	if (ev == CAP_HELLO) {
		msg_hello(m);
	} else if (ev == CAP_END || ev == CAP_ABORT) {
		msg_ended(m, ev == CAP_ABORT);
	} else if (ev == CAP_OFFER) {
		m->rx.offer = m->reader.offer;
		m->rx.offers++;
	} else if (ev == CAP_SWITCH) {
		m->turned = true;
	} else if (ev == CAP_ERROR) {
		bad_message(m, m->reader.err);
	} else if (ev == CAP_MORE && m->left) {
		bad_message(m, "cut");
	}
}

/* Return: packets parsed; 0 when the message is used up */
static int msg_parse(struct mq_rx *m, struct frame **f, int max)
{
	int n = 0;

	while (n < max && m->left && !m->turned) {
		enum cap_event ev;
		size_t used;
		int got;

		ev = cap_burst(&m->reader, m->at, m->left, &used, m->frames + n, max - n, &got);
		m->at += used;
		m->left -= used;
		n += got;
		if (m->who >= 0) {
			m->rx.upstream_packets[m->who] += (unsigned)got;
			m->rx.streamed[m->who] += (unsigned)got;
		}
		msg_event(m, ev);
		if (m->reader.padding)
			msg_padded(m);
	}
	memcpy(f, m->frames, (size_t)n * sizeof(*f));
	return n;
}

/* All producers ended, and the padding of each came, or comes no more */
static bool over(const struct mq_rx *m)
{
	if (m->ended < m->inputs)
		return false;
	return (unsigned)__builtin_popcountll(m->padded) == m->inputs ||
	       clock_mono() >= m->end_by_ns;
}

/* Nothing more is taken: did the stream end, or do we leave it? */
static int last_word(const struct mq_rx *m)
{
	if (m->ended < m->inputs)
		return RX_LEFT;
	return m->aborted ? RX_ABORT : RX_END;
}

/* Next message, to be parsed */
static bool msg_next(struct mq_rx *m)
{
	if (zmq.msg_recv(&m->msg, m->sock, ZMQ_DONTWAIT) < 0)
		return false;
	if (m->last > 0)
		m->last--;
	cap_reader_init(&m->reader);
	m->who = -1;
	m->at = zmq.msg_data(&m->msg);
	m->left = zmq.msg_size(&m->msg);
	if (!m->left)
		bad_message(m, "empty");
	return true;
}

/* A look ahead */
static bool msg_packets(const struct mq_rx *m)
{
	struct cap_reader r = m->reader;
	uint8_t *at = m->at;
	size_t left = m->left, used;
	enum cap_event ev;
	int n;

	do {
		ev = cap_burst(&r, at, left, &used, m->frames, 1, &n);
		at += used;
		left -= used;
	} while (!n && left && ev != CAP_MORE && ev != CAP_ERROR);
	return n;
}

static bool mq_packets(struct rx *rx)
{
	struct mq_rx *m = (struct mq_rx *)rx;
	struct frame *none[FRAME_BURST];

	while (m->left || msg_next(m)) {
		if (msg_packets(m))
			return true;
		while (m->left && !msg_parse(m, none, 1))
			m->turned = false;
	}
	return false;
}

/* After stop(): what a writer sent, its end say, may not be in our queue yet */
static bool under_way(const struct mq_rx *m)
{
	struct pollfd p = { .fd = m->fd, .events = POLLIN };

	return clock_mono() < m->last_by_ns && poll(&p, 1, LAST_WAIT_MS) > 0;
}

static int mq_recv(struct rx *rx, struct frame **f, int max)
{
	struct mq_rx *m = (struct mq_rx *)rx;
	int n;

	for (;;) {
		n = m->turned ? 0 : msg_parse(m, f, max);
		if (n)
			return n;
		if (m->turned) {
			m->turned = false;
			m->rx.to_ring = m->reader.to_ring;
			return RX_SWITCH;
		}
		if (over(m) || !m->last)
			return last_word(m);
		if (!msg_next(m)) {
			if (errno == EINTR)
				continue;
			if (m->last < 0)
				return RX_AGAIN;
			if (!under_way(m))
				return last_word(m);
		}
	}
}

static void mq_release(struct rx *rx, int n)
{
	(void)rx;
	(void)n;
}

static int mq_rx_poll(struct rx *rx, struct pollfd *fds)
{
	struct mq_rx *m = (struct mq_rx *)rx;

	fds[0] = (struct pollfd){ .fd = m->fd, .events = POLLIN };
	return 1;
}

/* What lies in our queue is still worked on, not what keeps coming */
static void mq_rx_stop(struct rx *rx)
{
	struct mq_rx *m = (struct mq_rx *)rx;

	if (m->last >= 0)
		return;
	m->last = m->conf->hwm;
	m->last_by_ns = clock_mono() + LAST_NS;
	if (m->addr.bind)
		zmq.unbind(m->sock, m->addr.addr);
}

static void mq_rx_close(struct rx *rx)
{
	struct mq_rx *m = (struct mq_rx *)rx;

	zmq.msg_close(&m->msg);
	mq_close(m->sock, m->conf);
	unlock_path(m->addr.path, m->lock);
	frame_pool_free(m->frames);
	free(m);
}

static const struct rx_ops mq_rx_ops = {
	.recv = mq_recv,
	.release = mq_release,
	.poll = mq_rx_poll,
	.packets = mq_packets,
	.stop = mq_rx_stop,
	.close = mq_rx_close,
};

struct rx *mq_rx_open(const char *spec, const struct stream_conf *conf)
{
	struct mq_rx *m = calloc(1, sizeof(*m));
	int64_t longest = CAP_BLOCK_MAX;	/* who announces more is cut off */

	if (!m || !(m->frames = frame_pool_new(FRAME_BURST, STREAM_FRAME_ROOM)))
		die("no memory");
	addr_parse(&m->addr, spec, true, conf);
	m->sock = mq_socket(ZMQ_PULL, conf);
	mq_int(m->sock, ZMQ_RCVHWM, conf->hwm, spec);
	if (zmq.setsockopt(m->sock, ZMQ_MAXMSGSIZE, &longest, sizeof(longest)))
		die("%s: %s", spec, zmq.strerror(errno));
	mq_int(m->sock, ZMQ_LINGER, 0, spec);
	m->lock = attach(m->sock, &m->addr, spec, conf);
	m->fd = mq_fd(m->sock);
	m->conf = conf;
	m->last = -1;
	m->who = -1;
	m->inputs = conf->inputs;
	zmq.msg_init(&m->msg);
	m->rx.ops = &mq_rx_ops;
	m->rx.spec = spec;
	m->rx.kind = "zmq";
	return &m->rx;
}

struct mq_tx {
	struct tx tx;
	const struct stream_conf *conf;
	void *sock;
	int fd;
	int lock;
	struct mq_addr addr;
	uint8_t *buf;			/* the message being filled, NULL: none */
	size_t size, end;
	zmq_msg_t msg;			/* sealed: waits until ZeroMQ takes it */
	uint64_t messages;		/* handed to ZeroMQ */
	struct cap_offer offer;		/* rides in every message, if it has a seat */
	uint32_t batch;			/* packets of this message */
	bool sealed;
	int closing;			/* messages of the end begun: 1 end, 2 padding */
	struct cap_writer w;
	char name[2 * CAP_NAME_MAX];
};

static void free_message(void *data, void *hint)
{
	(void)hint;
	free(data);
}

/* What ZeroMQ's thread said meanwhile, that there is room again say, zmq_msg_send() looks
 * at only once a millisecond; till then it would block, and its descriptor says it would
 * not.  Asking for the events always looks. */
static bool takes_more(void *sock)
{
	size_t len = sizeof(int);
	int events = 0;

	return !zmq.getsockopt(sock, ZMQ_EVENTS, &events, &len) && events & ZMQ_POLLOUT;
}

/* A full message is handed over; until ZeroMQ takes it, it waits sealed */
static int mq_flush(struct tx *tx)
{
	struct mq_tx *m = (struct mq_tx *)tx;

	if (!m->buf && !m->sealed)
		return 0;
	if (!m->sealed) {
		if (zmq.msg_init_data(&m->msg, m->buf, m->end, free_message, NULL))
			return -ENOMEM;
		m->buf = NULL;
		m->sealed = true;
	}
	while (zmq.msg_send(&m->msg, m->sock, ZMQ_DONTWAIT) < 0) {
		if (errno == EINTR || (errno == EAGAIN && takes_more(m->sock)))
			continue;
		if (errno == EAGAIN)
			return -EAGAIN;
		log_error("%s: %s", tx->spec, zmq.strerror(errno));
		return -EIO;
	}
	m->sealed = false;
	m->messages++;
	m->batch = 0;
	return 0;
}

/* Start a message that has room for @room bytes of packets */
static int msg_begin(struct mq_tx *m, size_t room)
{
	struct cap_hello h;

	m->size = MSG_BYTES + room + 3 * CAP_HEADER_ROOM;
	m->buf = malloc(m->size);
	if (!m->buf) {
		log_error("%s: no memory for a message", m->tx.spec);
		return -ENOMEM;
	}
	m->w.iface_written = false;
	stream_hello(&h, m->conf, &m->tx, m->messages);
	m->end = cap_write_header(&m->w, m->buf, &h);
	if (m->offer.seat)
		m->end += cap_write_offer(m->buf + m->end, &m->offer);
	return 0;
}

/* Make sure @f fits the message at hand; Return: 0, -EAGAIN, -errno */
static int msg_room(struct mq_tx *m, const struct frame *f)
{
	bool full = m->sealed;
	int err;

	if (m->buf)
		full = m->end >= MSG_BYTES ||
		       m->end + cap_packet_size(f) + 2 * CAP_HEADER_ROOM > m->size ||
		       (m->w.iface_written && m->w.linktype != f->linktype);
	if (full) {
		err = mq_flush(&m->tx);
		if (err)
			return err;
	}
	return m->buf ? 0 : msg_begin(m, cap_packet_size(f));
}

static int mq_send(struct tx *tx, struct frame **f, int n)
{
	struct mq_tx *m = (struct mq_tx *)tx;
	int err;

	for (int i = 0; i < n; i++) {
		if (f[i]->verdict)
			continue;
		err = msg_room(m, f[i]);
		if (err)
			return i || err == -EAGAIN ? i : err;
		m->end += cap_write_iface(&m->w, m->buf + m->end, f[i]->linktype);
		m->end += cap_write_packet(&m->w, m->buf + m->end, f[i]);
		m->batch++;
		tx->packets++;
		tx->bytes += f[i]->len;
	}
	return n;
}

/* A message without packets, of which what it says is there already */
static int mq_word(struct mq_tx *m, const struct cap_switch *s)
{
	int err = mq_flush(&m->tx);

	if (!err)
		err = msg_begin(m, 0);
	if (err)
		return err;
	if (s)
		m->end += cap_write_switch(m->buf + m->end, s);
	err = mq_flush(&m->tx);
	return err == -EAGAIN ? 0 : err;	/* it waits, sealed */
}

static int mq_offer(struct tx *tx, struct cap_offer *o, bool now)
{
	struct mq_tx *m = (struct mq_tx *)tx;

	m->offer = *o;
	return now ? mq_word(m, NULL) : 0;
}

static int mq_to_ring(struct tx *tx, const struct cap_switch *s)
{
	struct mq_tx *m = (struct mq_tx *)tx;
	int err = mq_word(m, s);

	if (!err)
		m->offer.seat = 0;
	return err;
}

static int mq_tx_poll(struct tx *tx, struct pollfd *fds)
{
	struct mq_tx *m = (struct mq_tx *)tx;

	fds[0] = (struct pollfd){ .fd = m->fd, .events = POLLIN };
	return 1;
}

static int mq_end(struct tx *tx, enum tx_end how)
{
	struct mq_tx *m = (struct mq_tx *)tx;
	int err;

	if (how == TX_LEAVE) {
		tx->uncertain += m->batch;
		tx->packets -= m->batch;
		m->batch = 0;
		return 0;
	}
	while (!(err = mq_flush(tx)) && m->closing < 2) {
		m->closing++;
		if (m->closing == 1 && how == TX_DETACH)
			continue;
		err = msg_begin(m, PADDING);
		if (err)
			return err;
		m->end += cap_write_iface(&m->w, m->buf + m->end, LINKTYPE_RAW);
		if (m->closing == 1)
			m->end += cap_write_end(&m->w, m->buf + m->end, tx_streamed(tx), how == TX_ABORT);
		else
			m->end += cap_write_padding(m->buf + m->end, PADDING);
	}
	return err;
}

static void mq_tx_close(struct tx *tx)
{
	struct mq_tx *m = (struct mq_tx *)tx;

	if (m->sealed)
		zmq.msg_close(&m->msg);
	mq_int(m->sock, ZMQ_LINGER, m->conf->linger_ms, tx->spec);
	mq_close(m->sock, m->conf);
	unlock_path(m->addr.path, m->lock);
	free(m->buf);
	free(m);
}

static const struct tx_ops mq_tx_ops = {
	.send = mq_send,
	.flush = mq_flush,
	.poll = mq_tx_poll,
	.end = mq_end,
	.offer = mq_offer,
	.to_ring = mq_to_ring,
	.close = mq_tx_close,
};

struct tx *mq_tx_open(const char *spec, const struct stream_conf *conf)
{
	struct mq_tx *m = calloc(1, sizeof(*m));

	if (!m)
		die("no memory");
	addr_parse(&m->addr, spec, false, conf);
	m->sock = mq_socket(ZMQ_PUSH, conf);
	mq_int(m->sock, ZMQ_SNDHWM, conf->hwm, spec);
	mq_int(m->sock, ZMQ_RECONNECT_IVL, m->addr.path ? 10 : 50, spec);
	mq_int(m->sock, ZMQ_RECONNECT_IVL_MAX, m->addr.path ? 50 : 200, spec);
	m->lock = attach(m->sock, &m->addr, spec, conf);
	m->fd = mq_fd(m->sock);
	m->conf = conf;
	snprintf(m->name, sizeof(m->name), "%s%s%s", conf->prog, *conf->as ? ":" : "", conf->as);
	m->w.name = m->name;
	m->tx.ops = &mq_tx_ops;
	m->tx.spec = spec;
	m->tx.kind = "zmq";
	return &m->tx;
}
