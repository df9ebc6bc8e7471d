/* SPDX-License-Identifier: MIT */
/*
 * t_keylog.c - The key log: what is written, who may read it, what subscribers get
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <string.h>
#include <sys/stat.h>

#include <openssl/ssl.h>
#include <zmq.h>

#include "../gwproxy/keylog.h"
#include "log.h"
#include "pki.h"
#include "tap.h"
#include "wire.h"

static const struct priv nobody_else = { (uid_t)-1, (gid_t)-1 };

static SSL_CTX *context(bool server, struct keylog *k)
{
	SSL_CTX *ctx = SSL_CTX_new(server ? TLS_server_method() : TLS_client_method());

	if (server && (SSL_CTX_use_certificate_chain_file(ctx, "srv.pem") != 1 ||
		       SSL_CTX_use_PrivateKey_file(ctx, "srv.key", SSL_FILETYPE_PEM) != 1))
		puts("# no certificate");
	if (k && keylog_attach(k, ctx))
		puts("# keylog_attach()");
	return ctx;
}

/* A handshake in memory: the client random as hex */
static bool shake(SSL_CTX *client, SSL_CTX *server, int version, char random[static 65])
{
	SSL *c = SSL_new(client), *s = SSL_new(server);
	unsigned char raw[32];
	BIO *a, *b;
	bool done;

	BIO_new_bio_pair(&a, 0, &b, 0);
	SSL_set_bio(c, a, a);
	SSL_set_bio(s, b, b);
	SSL_set_max_proto_version(c, version);
	SSL_set_connect_state(c);
	SSL_set_accept_state(s);
	for (int i = 0; i < 10 && !(SSL_is_init_finished(c) && SSL_is_init_finished(s)); i++) {
		SSL_do_handshake(c);
		SSL_do_handshake(s);
	}
	done = SSL_is_init_finished(c) && SSL_is_init_finished(s);
	SSL_get_client_random(c, raw, sizeof(raw));
	for (int i = 0; i < 32; i++)
		sprintf(random + 2 * i, "%02x", raw[i]);
	SSL_free(c);
	SSL_free(s);
	return done;
}

static int lines_with(const char *label, const char *random)
{
	char line[512], want[160];
	int n = 0;
	FILE *f = fopen("keys", "r");

	snprintf(want, sizeof(want), "%s %s ", label, random);
	while (f && fgets(line, sizeof(line), f))
		n += !strncmp(line, want, strlen(want)) && line[strlen(line) - 1] == '\n';
	if (f)
		fclose(f);
	return n;
}

static void to_a_file(void)
{
	struct keylog *k = keylog_open("keys", NULL, &nobody_else);
	SSL_CTX *c = context(false, k), *s = context(true, k), *quiet = context(false, NULL);
	char r13[65], r12[65], other[65];
	struct stat st;

	keylog_start(k);
	OK(!stat("keys", &st) && (st.st_mode & 0777) == 0600, "the file is for its owner only");
	OK(shake(c, s, TLS1_3_VERSION, r13) && shake(c, s, TLS1_2_VERSION, r12), "two handshakes");
	OK(lines_with("CLIENT_HANDSHAKE_TRAFFIC_SECRET", r13) == 2 &&
	   lines_with("SERVER_HANDSHAKE_TRAFFIC_SECRET", r13) == 2 &&
	   lines_with("CLIENT_TRAFFIC_SECRET_0", r13) == 2 &&
	   lines_with("SERVER_TRAFFIC_SECRET_0", r13) == 2, "TLS 1.3, of both ends");
	OK(lines_with("CLIENT_RANDOM", r12) == 2, "TLS 1.2, of both ends");
	keylog_close(k);
	k = keylog_open("keys", NULL, &nobody_else);
	SSL_CTX_free(c);
	c = context(false, k);
	SSL_CTX_free(s);
	s = context(true, NULL);
	OK(shake(c, s, TLS1_2_VERSION, other) && lines_with("CLIENT_RANDOM", other) == 1 &&
	   lines_with("CLIENT_RANDOM", r12) == 2, "a later run appends");
	OK(shake(quiet, s, TLS1_2_VERSION, other) && !lines_with("CLIENT_RANDOM", other),
	   "contexts not attached to it stay silent");
	keylog_close(k);
	k = keylog_open(NULL, NULL, &nobody_else);
	keylog_start(k);
	OK(!keylog_attach(k, quiet) && shake(quiet, s, TLS1_2_VERSION, other),
	   "neither asked for: no log");
	keylog_close(k);
	SSL_CTX_free(c);
	SSL_CTX_free(s);
	SSL_CTX_free(quiet);
}

/* In a child: it exits */
static bool refused(const char *path, const char *run_dir, const char *why)
{
	pid_t pid;
	int rc;

	fflush(stdout);
	pid = fork();
	if (!pid) {
		dup2(open("said", O_WRONLY | O_CREAT | O_TRUNC, 0600), 2);
		keylog_close(keylog_open(path, run_dir, &nobody_else));
		_exit(0);
	}
	waitpid(pid, &rc, 0);
	return WIFEXITED(rc) && WEXITSTATUS(rc) == 2 && pki_said(why);
}

static void *subscriber(void *zmq)
{
	void *sub = zmq_socket(zmq, ZMQ_SUB);
	const int wait_ms = 5000;
	char addr[64];

	snprintf(addr, sizeof(addr), "ipc://%s", pki_dir);
	strcat(addr, "/" KEYLOG_SOCKET);
	zmq_setsockopt(sub, ZMQ_SUBSCRIBE, "", 0);
	zmq_setsockopt(sub, ZMQ_RCVTIMEO, &wait_ms, sizeof(wait_ms));
	if (zmq_connect(sub, addr))
		perror(addr);
	return sub;
}

static void to_subscribers(void)
{
	struct keylog *k = keylog_open(NULL, pki_dir, &nobody_else);
	SSL_CTX *c = context(false, k), *s = context(true, NULL);
	void *zmq = zmq_ctx_new(), *sub = subscriber(zmq);
	char line[512], want[160], random[65];
	struct stat st;
	int n = -1;

	OK(!stat(KEYLOG_SOCKET, &st) && (st.st_mode & 0777) == 0600, "the socket is for its owner only");
	keylog_start(k);
	/* Whoever comes late misses what was before: try until the subscription stands */
	for (int i = 0; i < 100 && n < 0; i++) {
		if (!shake(c, s, TLS1_2_VERSION, random))
			break;
		n = zmq_recv(sub, line, sizeof(line) - 1, i ? 0 : ZMQ_DONTWAIT);
	}
	OK(n > 0, "a subscriber is served");
	shake(c, s, TLS1_2_VERSION, random);
	snprintf(want, sizeof(want), "CLIENT_RANDOM %s ", random);
	for (int i = 0; i < 100 && n > 0; i++) {
		n = zmq_recv(sub, line, sizeof(line) - 1, 0);
		line[MAX(n, 0)] = '\0';
		if (!strncmp(line, want, strlen(want)))
			break;
	}
	OK(n > 0 && !strncmp(line, want, strlen(want)) && line[n - 1] == '\n', "a message a line");
	OK(refused(NULL, pki_dir, "another program publishes there"), "a second publisher is refused");
	zmq_close(sub);
	zmq_ctx_term(zmq);
	keylog_close(k);
	OK(stat(KEYLOG_SOCKET, &st) && errno == ENOENT, "the socket is gone at the end");
	SSL_CTX_free(c);
	SSL_CTX_free(s);
}

static void what_is_refused(void)
{
	struct keylog *k;
	pid_t pid;
	int rc;

	pki_run("echo x >loose; chmod 640 loose; mkdir folder");
	OK(refused("loose", NULL, "others may read"), "a file that others may read");
	OK(refused("folder", NULL, "Is a directory"), "a folder");
	OK(refused("none/keys", NULL, "No such file"), "a folder that is not there");
	fflush(stdout);
	pid = fork();
	if (!pid) {	/* ends without cleaning up */
		k = keylog_open(NULL, pki_dir, &nobody_else);
		_exit(!k);
	}
	waitpid(pid, &rc, 0);
	k = keylog_open(NULL, pki_dir, &nobody_else);
	OK(rc == 0 && k, "what a killed process left is no obstacle");
	keylog_close(k);
}

static void *loop(void *arg)
{
	SSL_CTX **ctx = arg;
	char random[65];
	long bad = 0;

	for (int i = 0; i < 50; i++)
		bad += !shake(ctx[0], ctx[1], TLS1_3_VERSION, random);
	return (void *)bad;
}

/* Lines stay whole */
static void threads(void)
{
	struct keylog *k;
	SSL_CTX *ctx[2];
	pthread_t t[4];

	unlink("keys");
	k = keylog_open("keys", pki_dir, &nobody_else);
	keylog_start(k);
	ctx[0] = context(false, k);
	ctx[1] = context(true, k);
	for (int i = 0; i < 4; i++)
		pthread_create(&t[i], NULL, loop, ctx);
	for (int i = 0; i < 4; i++)
		pthread_join(t[i], NULL);
	/* Five secrets a handshake and end */
	OK(pki_run("! grep -vE '^[A-Z_0-9]+ [0-9a-f]{64} [0-9a-f]{64,96}$' keys && "
		   "[ $(wc -l <keys) = %d ]", 4 * 50 * 2 * 5), "four threads: no line is broken or lost");
	keylog_close(k);
	SSL_CTX_free(ctx[0]);
	SSL_CTX_free(ctx[1]);
}

int main(void)
{
	log_open("t_keylog");
	log_set_level("error");
	pki_start();
	X509_free(pki_server("srv", "/CN=srv", ""));
	to_a_file();
	to_subscribers();
	what_is_refused();
	threads();
	pki_end();
	return tap_done();
}
