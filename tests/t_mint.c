/* SPDX-License-Identifier: MIT */
/*
 * t_mint.c - Leaves in the image of a server's certificate, as openssl(1) verifies them and real
 * handshakes show them; the cache
 */
#include <pthread.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <openssl/x509v3.h>

#include "../gwproxy/mint.h"
#include "clock.h"
#include "log.h"
#include "pki.h"
#include "tap.h"

#define VERIFY "openssl verify -x509_strict -purpose sslserver -CAfile root.pem " \
	"-untrusted inter.pem "
#define SANS "-addext subjectAltName=DNS:example.com,DNS:*.example.com,IP:192.0.2.7," \
	"IP:2001:db8::7,email:a@example.com"

static struct ca *ca;

static X509 *leaf_of(struct mint *m, const char *name, X509 *server)
{
	const struct leaf *l = mint_leaf(m, name, server);

	if (!l)
		return NULL;
	pki_write("leaf.pem", l->cert);
	return l->cert;
}

static void image(struct mint *m)
{
	X509 *server = pki_server("srv", "/O=Org/CN=example.com", "-days 20 " SANS);
	X509 *leaf = leaf_of(m, "www.example.com", server);

	OK(leaf, "a leaf");
	OK(pki_run(VERIFY "-verify_hostname www.example.com leaf.pem"),
	   "it verifies for a wildcard's name");
	OK(pki_run(VERIFY "-verify_hostname example.com leaf.pem"), "and for the name itself");
	OK(pki_run(VERIFY "-verify_ip 192.0.2.7 leaf.pem"), "and for an IPv4 address");
	OK(pki_run(VERIFY "-verify_ip 2001:db8::7 leaf.pem"), "and for an IPv6 address");
	OK(!pki_run(VERIFY "-verify_hostname example.org leaf.pem"), "but not for another name");
	OK(!pki_run("openssl verify -CAfile root.pem leaf.pem"), "and not without the intermediate");
	pki_run("openssl x509 -in leaf.pem -noout -text");
	OK(!pki_said("email:"), "no address of a person");
	OK(pki_said("CA:FALSE") && pki_said("TLS Web Server Authentication") &&
	   pki_said("Digital Signature") && !pki_said("Key Encipherment"), "a server's and nothing else");
	OK(pki_said("Subject: CN = example.com"), "the common name, without the rest of the subject");
	OK(pki_said("Authority Key Identifier") && pki_said("Subject Key Identifier"), "key identifiers");
	OK(!ASN1_TIME_compare(X509_get0_notAfter(leaf), X509_get0_notAfter(server)),
	   "it ends with the server's");
	X509_free(server);
}

static void validity_and_names(struct mint *m)
{
	X509 *s = pki_server("long", "/CN=long.example",
			     "-days 4000 -addext subjectAltName=DNS:long.example");
	X509 *leaf = leaf_of(m, "long.example", s);

	OK(leaf && !ASN1_TIME_compare(X509_get0_notAfter(leaf), X509_get0_notAfter(ca->cert)),
	   "never longer than the intermediate");
	X509_free(s);
	pki_run("openssl req -new -nodes " PKI_P256 " -keyout old.key -subj /CN=old.example "
		"-out old.csr && openssl x509 -req -in old.csr -signkey old.key -days -1 -out old.pem");
	s = pki_read("old.pem");
	leaf = leaf_of(m, "old.example", s);
	OK(leaf && !pki_run(VERIFY "leaf.pem") && pki_said("expired"), "what has expired stays so");
	X509_free(s);
	s = pki_server("cn", "/CN=cn.example", "");
	leaf = leaf_of(m, "cn.example", s);
	OK(leaf && pki_run(VERIFY "-verify_hostname cn.example leaf.pem") &&
	   pki_run("openssl x509 -in leaf.pem -noout -ext subjectAltName") && pki_said("DNS:cn.example"),
	   "a server known by its common name only");
	X509_free(s);
	s = pki_server("person", "/CN=Some Body", "");
	leaf = leaf_of(m, "person.example", s);
	OK(leaf && !pki_run(VERIFY "-verify_hostname person.example leaf.pem"),
	   "a common name that is no host name makes none");
	X509_free(s);
	s = pki_server("nocn", "/O=Org", "-addext subjectAltName=DNS:nocn.example");
	leaf = leaf_of(m, "nocn.example", s);
	OK(leaf && pki_run("openssl x509 -in leaf.pem -noout -subject") && pki_said("CN = nocn.example"),
	   "no common name: what the client asked for");
	leaf = leaf_of(m, "", s);
	OK(leaf && pki_run(VERIFY "-verify_hostname nocn.example leaf.pem") &&
	   pki_run("openssl x509 -in leaf.pem -noout -text") && pki_said("Alternative Name: critical"),
	   "nor that: an empty subject, and the other names are critical");
	X509_free(s);
}

static void cache(void)
{
	X509 *one = pki_server("one", "/CN=one", ""), *two = pki_server("two", "/CN=two", "");
	struct mint *m = mint_new(ca, 3);
	char name[32];
	X509 *first;

	first = leaf_of(m, "a", one);
	OK(first && leaf_of(m, "a", one) == first && mint_made(m) == 1 && mint_found(m) == 1,
	   "the same leaf for the next visitor");
	OK(leaf_of(m, "a", two) != first && mint_made(m) == 2, "another certificate: another leaf");
	OK(leaf_of(m, "b", one) != first && mint_made(m) == 3, "another name: another leaf");
	X509_up_ref(first);
	leaf_of(m, "a", two);
	leaf_of(m, "b", one);
	leaf_of(m, "c", one);	/* (a, one) was not used for longest */
	OK(leaf_of(m, "a", two) && leaf_of(m, "b", one) && mint_made(m) == 4, "what was used stays");
	OK(leaf_of(m, "a", one) != first && mint_made(m) == 5, "what was not goes");
	OK(X509_check_host(first, "one", 0, 0, NULL) == 1, "a connection that still has it keeps it");
	X509_free(first);
	for (int i = 0; i < 1000; i++) {
		snprintf(name, sizeof(name), "%d", i % 7);
		if (!mint_leaf(m, name, i % 2 ? one : two))
			break;
	}
	OK(mint_made(m) + mint_found(m) == 1000 + 10, "a thousand more through three places");
	mint_free(m);
	X509_free(one);
	X509_free(two);
}

/* A server may show names without end: room is counted in bytes, too */
static void large(void)
{
	struct mint *m = mint_new(ca, 8);
	char *names = malloc(400 * 32), *p = names;
	X509 *s;
	bool all = true;

	for (int i = 0; i < 400; i++)
		p += sprintf(p, "%sDNS:name-%d.large.example", i ? "," : "subjectAltName=", i);
	FILE *f = fopen("large.cnf", "w");
	fprintf(f, "[req]\ndistinguished_name=d\nx509_extensions=e\n[d]\n[e]\n%s\n", names);
	fclose(f);
	s = pki_server("large", "/CN=large.example", "-config large.cnf");
	for (int i = 0; s && i < 10; i++) {
		char name[16];

		snprintf(name, sizeof(name), "%d", i);
		all &= mint_leaf(m, name, s) != NULL;
	}
	OK(s && all && mint_leaf(m, "9", s) && mint_found(m) == 1, "large leaves: the latest is kept");
	OK(s && mint_leaf(m, "5", s) && mint_made(m) == 11, "and others are not");
	mint_free(m);
	X509_free(s);
	free(names);
}

static void speed(struct mint *m)
{
	X509 *s = pki_server("fast", "/CN=fast.example", SANS);
	const int n = 500;
	uint64_t start = clock_mono(), made;
	char name[16];

	for (int i = 0; i < n; i++) {
		snprintf(name, sizeof(name), "n%d", i);
		if (!mint_leaf(m, name, s))
			break;
	}
	made = clock_mono() - start;
	start = clock_mono();
	for (int i = 0; i < n; i++)
		if (!mint_leaf(m, "n7", s))
			break;
	printf("# made: %.0f us each, found: %.1f us each\n", (double)made / n / 1e3,
	       (double)(clock_mono() - start) / n / 1e3);
	X509_free(s);
}

/* Signing is the one thing that loops share */
static void *loop(void *server)
{
	struct mint *m = mint_new(ca, 16);
	char name[16];
	long bad = 0;

	for (int i = 0; i < 100; i++) {
		snprintf(name, sizeof(name), "n%d", i);
		const struct leaf *l = mint_leaf(m, name, server);

		bad += !l || X509_verify(l->cert, ca->sign->public) != 1;
	}
	mint_free(m);
	return (void *)bad;
}

static void threads(void)
{
	X509 *s = pki_server("threads", "/CN=threads.example", "");
	pthread_t t[4];
	void *bad;
	long all = 0;

	for (int i = 0; i < 4; i++)
		pthread_create(&t[i], NULL, loop, s);
	for (int i = 0; i < 4; i++) {
		pthread_join(t[i], &bad);
		all += (long)bad;
	}
	OK(!all, "four loops at once: each leaf has a good signature");
	X509_free(s);
}

/* One connection of openssl s_client, which verifies what it is shown */
static void handshake(struct mint *m, X509 *server, const char *options, const char *protocol)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX, .sun_path = "tls.sock" };
	int fd = socket(AF_UNIX, SOCK_STREAM, 0), c;
	SSL_CTX *ctx = SSL_CTX_new(TLS_server_method());
	SSL *s = SSL_new(ctx);
	const struct leaf *l;
	bool ok = false;
	pid_t pid;
	int rc;

	unlink(a.sun_path);
	if (bind(fd, (struct sockaddr *)&a, sizeof(a)) || listen(fd, 1))
		perror("tls.sock");
	fflush(stdout);
	pid = fork();
	if (!pid) {
		char cmd[512];

		close(fd);
		snprintf(cmd, sizeof(cmd), "openssl s_client -unix tls.sock -CAfile root.pem "
			 "-servername www.example.com -verify_hostname www.example.com "
			 "-verify_return_error %s </dev/null >client 2>&1", options);
		_exit(system(cmd) ? 1 : 0);
	}
	c = accept(fd, NULL, NULL);
	l = mint_leaf(m, "www.example.com", server);
	if (l && !mint_use(l, s) && SSL_set_fd(s, c) && SSL_accept(s) == 1) {
		ok = !strcmp(SSL_get_version(s), protocol);
		SSL_shutdown(s);
	}
	SSL_free(s);
	SSL_CTX_free(ctx);
	close(c);
	close(fd);
	waitpid(pid, &rc, 0);
	OK(ok && rc == 0 && pki_run("grep 'Verification: OK' client"), "%s: a client is content",
	   protocol);
}

int main(void)
{
	struct mint *m;
	X509 *server;

	log_open("t_mint");
	sign_secrecy();
	pki_start();
	pki_root("root", PKI_P256, PKI_CA);
	ca = ca_open("root.pem", "root.key");
	pki_write("inter.pem", ca->cert);
	m = mint_new(ca, MINT_LEAVES);
	image(m);
	validity_and_names(m);
	cache();
	large();
	speed(m);
	threads();
	server = pki_server("tls", "/CN=www.example.com", SANS);
	handshake(m, server, "-tls1_3", "TLSv1.3");
	handshake(m, server, "-tls1_2", "TLSv1.2");
	X509_free(server);
	mint_free(m);
	ca_close(ca);
	pki_end();
	return tap_done();
}
