/* SPDX-License-Identifier: MIT */
/*
 * bytestream.c - Streams over files and pipes: blocks of a megabyte, parsed in place
 *
 * A file that can be mapped is one large block: its records are parsed where the kernel has
 * them.  From there they go to another file without a copy of ours, if they are what would be
 * written: of a block of output, each run of bytes is wherever it is.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "behind.h"
#include "log.h"
#include "mapped.h"
#include "stream.h"

#define BLOCK	(1u << 20)
#define LONGEST	(FRAME_DATA_MAX + CAP_OPTIONS_MAX + CAP_PACKET_ROOM + CAP_HEADER_ROOM)
#define PIPE_CHUNK (128u << 10)	/* buffered for a pipe before it is written to */
#define RUNS	8192u		/* of a block of a file */

struct bytes_rx {
	struct rx rx;
	int fd;
	bool regular;
	bool eof;
	bool aborted;
	bool failed;
	bool turned;
	uint8_t *buf;			/* or what is mapped */
	size_t size, start, end;
	struct mapped map;
	uint64_t received;		/* packets since the last hello */
	unsigned who;			/* said it: index into rx.upstream */
	struct cap_reader reader;
	struct frame **frames;
};

/* A name for messages */
static const char *spec_name(const char *spec, const char *dash)
{
	return strcmp(spec, "-") ? spec : dash;
}

/*
 * A pipe's own open file description: O_NONBLOCK on the inherited one would
 * change it under every process that shares it.
 */
static void own_description(int fd, int mode, const char *name)
{
	char path[32];
	int again, flags = fcntl(fd, F_GETFL), way = flags & O_ACCMODE;

	if (flags < 0 || (way != O_RDWR && way != mode)) {
		errno = EBADF;
		die("%s: %m", name);
	}
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	again = open(path, mode | O_NONBLOCK | O_CLOEXEC);
	if (again >= 0) {
		if (dup3(again, fd, O_CLOEXEC) < 0)
			die("%s: %m", name);
		close(again);
		return;
	}
	if (fcntl(fd, F_SETFL, flags | O_NONBLOCK))
		die("%s: %m", name);
}

static bool rx_fill(struct bytes_rx *b)
{
	ssize_t n;

	if (b->start) {
		memmove(b->buf, b->buf + b->start, b->end - b->start);
		b->end -= b->start;
		b->start = 0;
	}
	n = read(b->fd, b->buf + b->end, b->size - b->end);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return false;
	if (n < 0) {
		log_error("%s: %m", spec_name(b->rx.spec, "stdin"));
		b->failed = true;
	}
	if (n <= 0)
		b->eof = true;
	else
		b->end += (size_t)n;
	return n > 0;
}

/* Zeros may have been parsed: nobody gets them */
static int rx_shrunk(struct bytes_rx *b)
{
	log_error("%s: got shorter while it was read", spec_name(b->rx.spec, "stdin"));
	b->failed = b->eof = true;
	return RX_FAIL;
}

/* What is mapped is used up.  The file may have grown: the rest is read */
static bool rx_unmap(struct bytes_rx *b)
{
	size_t rest = b->end - b->start;
	uint8_t *buf = malloc(BLOCK + rest);
	struct stat st;

	if (!buf || lseek(b->fd, (off_t)b->map.size, SEEK_SET) < 0 || fstat(b->fd, &st)) {
		log_error("%s: %m", spec_name(b->rx.spec, "stdin"));
		b->failed = true;
	} else if ((size_t)st.st_size < b->map.size) {
		rx_shrunk(b);
	} else {
		memcpy(buf, b->buf + b->start, rest);
		b->buf = buf;
		b->size = BLOCK + rest;
		b->start = 0;
		b->end = rest;
		b->rx.lasting_len = 0;
		b->rx.moving = false;
		return true;
	}
	free(buf);
	return false;
}

/* A record larger than the buffer: grow it, as far as CAP_BLOCK_MAX allows */
static bool rx_make_room(struct bytes_rx *b)
{
	size_t need = cap_need(&b->reader, b->buf + b->start, b->end - b->start);
	uint8_t *bigger;

	if (need <= b->size)
		return true;
	bigger = realloc(b->buf, need);
	if (!bigger) {
		log_error("%s: no memory for a block of %zu bytes", b->rx.spec, need);
		b->failed = true;
		return false;
	}
	b->buf = bigger;
	b->size = need;
	return true;
}

static int rx_finish(struct bytes_rx *b)
{
	const char *name = spec_name(b->rx.spec, "stdin");

	if (b->failed)
		return RX_FAIL;
	if (b->aborted)
		return RX_ABORT;
	if (!cap_cut(&b->reader, b->end - b->start))
		return RX_END;
	if (b->end > b->start)
		log_error("%s: cut in the middle of a block at byte %llu", name,
			  (unsigned long long)b->reader.offset);
	else if (b->reader.offset)
		log_error("%s: ended without an end mark: %s died", name, b->reader.hello.prog);
	else
		log_error("%s: empty: not a capture", name);
	return RX_ABORT;
}

static void rx_hello(struct bytes_rx *b)
{
	b->who = rx_take_hello(&b->rx, &b->reader.hello);
	b->received = b->reader.hello.packets;
	if (b->regular)		/* what was live when it was recorded is not now */
		b->rx.live = false;
}

static void rx_ended(struct bytes_rx *b, enum cap_event ev)
{
	uint64_t missing = b->reader.total - b->received;

	if (ev == CAP_ABORT)
		b->aborted = true;
	else if (b->reader.total > b->received) {
		b->rx.gaps += missing;
		log_warn("%s: %llu packets of the stream are missing",
			 spec_name(b->rx.spec, "stdin"), (unsigned long long)missing);
	}
}

/* A recorded one, or one that went through somebody else's hands, is not meant for us */
static void take_offer(struct bytes_rx *b)
{
	if (b->reader.offer.dev != b->rx.dev || b->reader.offer.ino != b->rx.ino)
		b->rx.between = true;
	if (b->regular || b->rx.between)
		return;
	b->rx.offer = b->reader.offer;
	b->rx.offers++;
}

/* Packets of the bytes at hand */
static int rx_parse(struct bytes_rx *b, struct frame **f, int max)
{
	int n = 0;

	while (n < max) {
		enum cap_event ev;
		size_t used;
		int got;

		ev = cap_burst(&b->reader, b->buf + b->start, b->end - b->start, &used,
			       b->frames + n, max - n, &got);
		b->start += used;
		n += got;
		if (ev == CAP_HELLO) {
			rx_hello(b);
		} else if (ev == CAP_END || ev == CAP_ABORT) {
			b->received += (unsigned)n;
			rx_ended(b, ev);
			b->received -= (unsigned)n;
		} else if (ev == CAP_OFFER) {
			take_offer(b);
		} else if (ev == CAP_SWITCH) {
			b->turned = true;
			break;
		} else if (ev == CAP_ERROR) {
			if (!b->failed)
				log_error("%s: byte %llu: %s", spec_name(b->rx.spec, "stdin"),
					  (unsigned long long)b->reader.offset, b->reader.err);
			b->failed = b->eof = true;
			break;
		} else {
			break;
		}
	}
	memcpy(f, b->frames, (size_t)n * sizeof(*f));
	b->received += (unsigned)n;
	if (b->rx.nupstream)
		b->rx.upstream_packets[b->who] += (unsigned)n;
	return n;
}

static bool rx_mapped(const struct bytes_rx *b)
{
	return b->map.base && b->buf == b->map.base;
}

static int bytes_recv(struct rx *rx, struct frame **f, int max)
{
	struct bytes_rx *b = (struct bytes_rx *)rx;
	int n;

	for (;;) {
		if (rx_mapped(b))
			mapped_ahead(&b->map, b->start);
		n = b->turned ? 0 : rx_parse(b, f, max);
		if (mapped_shrunk())
			return rx_shrunk(b);
		if (rx_mapped(b))
			b->rx.moving = mapped_due(&b->map, b->start);
		if (n)
			return n;
		if (b->turned) {
			b->turned = false;
			b->rx.to_ring = b->reader.to_ring;
			return RX_SWITCH;
		}
		if (b->eof)
			return rx_finish(b);
		if (rx_mapped(b) ? !rx_unmap(b) : !rx_make_room(b))
			return RX_FAIL;
		if (!rx_fill(b) && !b->eof)
			return RX_AGAIN;
	}
}

static void bytes_release(struct rx *rx, int n)
{
	struct bytes_rx *b = (struct bytes_rx *)rx;

	(void)n;
	if (unlikely(rx->moving)) {
		size_t gone = mapped_give_back(&b->map, b->start);

		rx->lasting = b->map.base + gone;
		rx->lasting_len = b->map.size - gone;
		rx->moving = false;
	}
}

static int bytes_rx_poll(struct rx *rx, struct pollfd *fds)
{
	struct bytes_rx *b = (struct bytes_rx *)rx;

	fds[0] = (struct pollfd){ .fd = b->fd, .events = POLLIN };
	return 1;
}

static void bytes_rx_stop(struct rx *rx)
{
	struct bytes_rx *b = (struct bytes_rx *)rx;

	b->eof = true;
	b->end = b->start;
	b->reader.started = true;
	b->reader.ours = false;
}

static void bytes_rx_close(struct rx *rx)
{
	struct bytes_rx *b = (struct bytes_rx *)rx;

	close(b->fd);
	if (!rx_mapped(b))
		free(b->buf);
	mapped_close(&b->map);
	frame_pool_free(b->frames);
	free(b);
}

static const struct rx_ops bytes_rx_ops = {
	.recv = bytes_recv,
	.release = bytes_release,
	.poll = bytes_rx_poll,
	.stop = bytes_rx_stop,
	.close = bytes_rx_close,
};

/* From where the file stands: somebody may have read a part of it */
static bool rx_map(struct bytes_rx *b, const struct stat *st)
{
	off_t at = lseek(b->fd, 0, SEEK_CUR);

	if (at < 0 || at >= st->st_size || !mapped_open(&b->map, b->fd, st))
		return false;
	b->buf = b->map.base;
	b->start = (size_t)at;
	b->size = b->end = b->map.size;
	b->rx.lasting = b->map.base;
	b->rx.lasting_len = b->map.size;
	return true;
}

struct rx *bytes_rx_open(const char *spec, const struct stream_conf *conf)
{
	struct bytes_rx *b = calloc(1, sizeof(*b));
	bool dash = !strcmp(spec, "-");
	struct stat st;

	if (!b || !(b->frames = frame_pool_new(FRAME_BURST, STREAM_FRAME_ROOM)))
		die("no memory");
	b->fd = dash ? STDIN_FILENO : open(spec, O_RDONLY | O_CLOEXEC);
	if (b->fd < 0 || fstat(b->fd, &st))
		die("%s: %m", spec_name(spec, "stdin"));
	if (dash && isatty(b->fd))
		die_usage("stdin is a terminal: give -i FILE, or the output of a stage or of tcpdump -w -");
	if (S_ISDIR(st.st_mode))
		die("%s: is a directory", spec);
	b->regular = S_ISREG(st.st_mode);
	if (!b->regular)
		own_description(b->fd, O_RDONLY, spec_name(spec, "stdin"));
	if (!b->regular || conf->edits || !rx_map(b, &st)) {
		b->buf = malloc(BLOCK);
		b->size = BLOCK;
	}
	if (!b->buf)
		die("no memory");
	b->rx.ops = &bytes_rx_ops;
	b->rx.spec = spec;
	b->rx.kind = b->regular ? "file" : "stream";
	b->rx.dev = st.st_dev;
	b->rx.ino = st.st_ino;
	cap_reader_init(&b->reader);
	return &b->rx;
}

/**
 * struct block - Of a file's output, being filled or on its way
 * @buf:	Encoded packets
 * @run:	What @buf and the input hold, in the order of the file
 * @upto:	Packets of the stream up to its end, from when it is given away until the next is
 */
struct block {
	uint8_t *buf;
	struct iovec *run;
	uint64_t upto;
};

struct bytes_tx {
	struct tx tx;
	const struct stream_conf *conf;
	int fd;
	int err;			/* the output is gone */
	bool regular;
	bool header_written;
	bool end_written;
	bool warned;
	uint8_t *buf;			/* of @block[@filling] */
	struct iovec *run;		/* likewise */
	unsigned nruns;
	size_t size, limit, start, end;
	size_t listed;			/* bytes of @buf in @run */
	size_t lent;			/* bytes of the input there */
	uint64_t flushed;		/* packets known to be written */
	struct behind behind;		/* files: writes what was given to it, while @buf fills */
	struct block block[BEHIND_BLOCKS + 1];
	unsigned filling;
	uint64_t dev, ino;
	struct cap_writer w;
	char name[2 * CAP_NAME_MAX];
};

/* What the buffer still holds may or may not reach the reader */
static int tx_give_up(struct bytes_tx *b)
{
	unsigned written = behind_written(&b->behind);
	uint64_t lost;

	if (written)
		b->flushed = MAX(b->flushed, b->block[(written - 1) % ARRAY_SIZE(b->block)].upto);
	lost = tx_streamed(&b->tx) - b->flushed;
	b->tx.uncertain += lost;
	b->tx.packets -= lost;
	return 0;
}

static int tx_failed(struct bytes_tx *b, int err)
{
	const char *name = spec_name(b->tx.spec, "stdout");

	if (err == EPIPE)
		log_error("%s: the reader closed it", name);
	else
		log_error("%s: %s", name, strerror(err));
	tx_give_up(b);
	b->err = err;
	return -err;
}

static void tx_header(struct bytes_tx *b)
{
	struct cap_hello h;

	if (b->header_written || !b->conf->settled)
		return;
	stream_hello(&h, b->conf, &b->tx, 0);
	b->end += cap_write_header(&b->w, b->buf + b->end, &h);
	b->header_written = true;
}

static void add_run(struct bytes_tx *b, uint8_t *p, size_t len)
{
	struct iovec *r = b->run + b->nruns;

	if (b->nruns && (uint8_t *)r[-1].iov_base + r[-1].iov_len == p) {
		r[-1].iov_len += len;
	} else {
		*r = (struct iovec){ p, len };
		b->nruns++;
	}
}

/* What is in the buffer and not on the list yet */
static void list_buffer(struct bytes_tx *b)
{
	if (b->end > b->listed)
		add_run(b, b->buf + b->listed, b->end - b->listed);
	b->listed = b->end;
}

static void start_block(struct bytes_tx *b, unsigned filling)
{
	b->filling = filling;
	b->buf = b->block[filling].buf;
	b->run = b->block[filling].run;
	b->nruns = 0;
	b->start = b->end = b->listed = b->lent = 0;
}

static int file_flush(struct bytes_tx *b)
{
	int err;

	list_buffer(b);
	err = behind_last(&b->behind, b->run, b->nruns);
	if (!err && b->tx.lender && mapped_shrunk())
		err = -EFAULT;	/* zeros were written; of longer runs the kernel says the same */
	if (err)
		return tx_failed(b, -err);
	start_block(b, b->filling);
	b->flushed = tx_streamed(&b->tx);
	return 0;
}

static int bytes_flush(struct tx *tx)
{
	struct bytes_tx *b = (struct bytes_tx *)tx;

	if (b->err)
		return -b->err;
	tx_header(b);
	if (b->regular)
		return file_flush(b);
	while (b->start < b->end) {
		ssize_t n = write(b->fd, b->buf + b->start, b->end - b->start);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN)
			return -EAGAIN;
		if (n < 0)
			return tx_failed(b, errno);
		b->start += (size_t)n;
	}
	b->start = b->end = 0;
	b->flushed = tx_streamed(tx);
	return 0;
}

/* The buffer is full: a file's is given away, and the one filled that came back for it */
static int tx_make_room(struct bytes_tx *b)
{
	unsigned next = (b->filling + 1) % ARRAY_SIZE(b->block);
	int err;

	if (!b->regular)
		return bytes_flush(&b->tx);
	list_buffer(b);
	err = behind_give(&b->behind, b->run, b->nruns);
	if (err)
		return tx_failed(b, -err);
	b->block[b->filling].upto = tx_streamed(&b->tx);
	start_block(b, next);
	return 0;
}

/* Is the record to be written there already, in the input? */
static bool tx_lend(struct bytes_tx *b, struct frame *f)
{
	const struct rx *rx = b->tx.lender;
	uint8_t *data = frame_data(f);
	size_t at;

	if (!rx || !b->regular)
		return false;
	at = (size_t)((uintptr_t)data - (uintptr_t)rx->lasting);
	if (at >= rx->lasting_len || !cap_is_record(&b->w, f, at))
		return false;
	list_buffer(b);
	add_run(b, data - CAP_RECORD, CAP_RECORD + f->len);
	b->lent += CAP_RECORD + f->len;
	return true;
}

static void tx_encode(struct bytes_tx *b, struct frame *f)
{
	if (unlikely(!b->w.iface_written))
		b->end += cap_write_iface(&b->w, b->buf + b->end, f->linktype);
	if (unlikely(f->linktype != b->w.linktype)) {
		frame_drop(f, REASON_LINKTYPE, 0);
		return;
	}
	if (f->encap_len && b->w.format == CAP_PCAP && !b->warned) {
		log_warn("%s: classic pcap cannot hold the encapsulation: it is lost", b->tx.spec);
		b->warned = true;
	}
	if (!tx_lend(b, f))
		b->end += cap_write_packet(&b->w, b->buf + b->end, f);
	b->tx.packets++;
	b->tx.bytes += f->len;
}

static int bytes_send(struct tx *tx, struct frame **f, int n)
{
	struct bytes_tx *b = (struct bytes_tx *)tx;
	int err;

	if (b->err)
		return -b->err;
	tx_header(b);
	for (int i = 0; i < n; i++) {
		if (f[i]->verdict)
			continue;
		if (unlikely(b->end + b->lent >= b->limit || b->nruns >= RUNS - 2)) {
			err = tx_make_room(b);
			if (err)
				return i || err == -EAGAIN ? i : err;
		}
		tx_encode(b, f[i]);
	}
	return n;
}

/* A block behind what is buffered; @write appends it */
static int tx_block(struct bytes_tx *b, const void *what,
		    size_t (*write)(uint8_t *start, const void *what))
{
	int err = b->err ? -b->err : b->end + 2 * CAP_HEADER_ROOM > b->size ? bytes_flush(&b->tx) : 0;

	if (err)
		return err;
	tx_header(b);
	b->end += write(b->buf + b->end, what);
	return 0;
}

static size_t offer_block(uint8_t *start, const void *what)
{
	return cap_write_offer(start, what);
}

static size_t switch_block(uint8_t *start, const void *what)
{
	return cap_write_switch(start, what);
}

static int bytes_offer(struct tx *tx, struct cap_offer *o, bool now)
{
	struct bytes_tx *b = (struct bytes_tx *)tx;

	(void)now;
	o->dev = b->dev;
	o->ino = b->ino;
	return tx_block(b, o, offer_block);
}

static int bytes_to_ring(struct tx *tx, const struct cap_switch *s)
{
	return tx_block((struct bytes_tx *)tx, s, switch_block);
}

static int bytes_tx_poll(struct tx *tx, struct pollfd *fds)
{
	struct bytes_tx *b = (struct bytes_tx *)tx;

	fds[0] = (struct pollfd){ .fd = b->fd, .events = POLLOUT };
	return 1;
}

static int bytes_end(struct tx *tx, enum tx_end how)
{
	struct bytes_tx *b = (struct bytes_tx *)tx;

	if (how == TX_LEAVE) {
		if (behind_wait(&b->behind) && !b->err)
			return tx_failed(b, b->behind.err);
		return tx_give_up(b);
	}
	if (!b->end_written && b->end + 3 * CAP_HEADER_ROOM > b->size) {
		int err = bytes_flush(tx);

		if (err)
			return err;
	}
	if (!b->end_written) {
		tx_header(b);
		b->end += cap_write_iface(&b->w, b->buf + b->end, LINKTYPE_RAW);
		b->end += cap_write_end(&b->w, b->buf + b->end, tx_streamed(tx), how == TX_ABORT);
		b->end_written = true;
	}
	return bytes_flush(tx);
}

static void bytes_tx_close(struct tx *tx)
{
	struct bytes_tx *b = (struct bytes_tx *)tx;

	behind_close(&b->behind);
	if (close(b->fd) && !b->err)
		log_error("%s: %m", spec_name(b->tx.spec, "stdout"));
	for (unsigned i = 0; i < ARRAY_SIZE(b->block); i++) {
		free(b->block[i].buf);
		free(b->block[i].run);
	}
	free(b);
}

static const struct tx_ops bytes_tx_ops = {
	.send = bytes_send,
	.flush = bytes_flush,
	.poll = bytes_tx_poll,
	.end = bytes_end,
	.offer = bytes_offer,
	.to_ring = bytes_to_ring,
	.close = bytes_tx_close,
};

/* Classic pcap has no blocks: an offer would be the header of a packet that is none */
static const struct tx_ops classic_tx_ops = {
	.send = bytes_send,
	.flush = bytes_flush,
	.poll = bytes_tx_poll,
	.end = bytes_end,
	.close = bytes_tx_close,
};

/* Opened without O_TRUNC first: it may be the very file we read */
static void tx_prepare(struct bytes_tx *b, const struct rx *rx)
{
	const char *name = spec_name(b->tx.spec, "stdout");
	struct stat st;

	if (fstat(b->fd, &st))
		die("%s: %m", name);
	b->regular = S_ISREG(st.st_mode);
	b->dev = st.st_dev;
	b->ino = st.st_ino;
	if (b->regular && rx && rx->dev == st.st_dev && rx->ino == st.st_ino)
		die_conf("%s: is the input as well", name);
	/* Not an empty one: that alone would have ext4 write all of it to disk on close */
	if (b->regular && b->fd != STDOUT_FILENO && st.st_size && ftruncate(b->fd, 0))
		die("%s: %m", name);
	if (!b->regular)
		own_description(b->fd, O_WRONLY, name);
}

static void tx_alloc(struct bytes_tx *b)
{
	unsigned n = b->regular ? ARRAY_SIZE(b->block) : 1;

	b->size = 2 * BLOCK;
	for (unsigned i = 0; i < n; i++) {
		b->block[i].buf = malloc(b->size);
		b->block[i].run = malloc(RUNS * sizeof(*b->run));
		if (!b->block[i].buf || !b->block[i].run)
			die("no memory");
	}
	start_block(b, 0);
}

struct tx *bytes_tx_open(const char *spec, const struct stream_conf *conf)
{
	struct bytes_tx *b = calloc(1, sizeof(*b));
	bool dash = !strcmp(spec, "-");

	_Static_assert(LONGEST <= BLOCK, "any packet fits behind the limit");
	if (!b)
		die("no memory");
	b->fd = dash ? STDOUT_FILENO : open(spec, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
	b->tx.spec = spec;
	if (b->fd < 0)
		die("%s: %m", spec);
	if (dash && isatty(b->fd))
		die_usage("stdout is a terminal: give -o FILE, a further stage, or --print");
	tx_prepare(b, conf->rx);
	tx_alloc(b);
	behind_init(&b->behind, b->fd);
	b->limit = b->regular ? BLOCK : PIPE_CHUNK;
	b->conf = conf;
	snprintf(b->name, sizeof(b->name), "%s%s%s", conf->prog, *conf->as ? ":" : "", conf->as);
	b->w.name = b->name;
	b->w.format = cap_format_of(spec);
	b->tx.ops = b->w.format == CAP_PCAP ? &classic_tx_ops : &bytes_tx_ops;
	b->tx.kind = b->regular ? "file" : "stream";
	return &b->tx;
}
