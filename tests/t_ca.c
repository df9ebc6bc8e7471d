/* SPDX-License-Identifier: MIT */
/*
 * t_ca.c - The certificate authority: what openssl(1) says of it, what it refuses, where its keys
 * are
 */
#include <fcntl.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>

#include <sodium.h>

#include "../gwproxy/ca.h"
#include "log.h"
#include "pki.h"
#include "tap.h"

#define LONGEST_MAPPING	(256ull << 20)	/* not the shadow of a sanitizer */

/* In a child: ca_open() exits.  Its status; what it said is in the file "said" */
static int opens(const char *cert, const char *key)
{
	pid_t pid;
	int rc, fd;

	fflush(stdout);
	pid = fork();
	if (!pid) {
		fd = open("said", O_WRONLY | O_CREAT | O_TRUNC, 0600);
		dup2(fd, 2);
		ca_close(ca_open(cert, key));
		_exit(0);
	}
	waitpid(pid, &rc, 0);
	return WIFEXITED(rc) ? WEXITSTATUS(rc) : -1;
}

static void every_kind_of_key(void)
{
	static const struct { const char *name, *key; } kinds[] = {
		{ "p256", PKI_P256 },
		{ "p384", "-newkey ec -pkeyopt ec_paramgen_curve:P-384" },
		{ "rsa", "-newkey rsa:2048" },
		{ "ed25519", "-newkey ed25519" },
	};

	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		const char *n = kinds[i].name;
		char cert[32], key[32];
		struct ca *ca;

		snprintf(cert, sizeof(cert), "%s.pem", n);
		snprintf(key, sizeof(key), "%s.key", n);
		OK(pki_root(n, kinds[i].key, PKI_CA), "a root with %s", n);
		ca = ca_open(cert, key);
		pki_write("inter.pem", ca->cert);
		OK(pki_run("openssl verify -x509_strict -CAfile %s inter.pem", cert),
		   "%s: the intermediate verifies", n);
		OK(pki_run("openssl x509 -in inter.pem -noout -text") && pki_said("CA:TRUE, pathlen:0") &&
		   pki_said("Certificate Sign") && pki_said("id-ecPublicKey"),
		   "%s: it is an authority for leaves only", n);
		OK(!ASN1_TIME_compare(X509_get0_notAfter(ca->cert), X509_get0_notAfter(ca->root)),
		   "%s: it ends with the root", n);
		ca_close(ca);
	}
}

static void refused(const char *cert, const char *key, const char *why)
{
	int rc = opens(cert, key);

	OK(rc == 2 && pki_said(why), "%s, %s: refused: %s", cert, key, why);
}

static void what_is_refused(void)
{
	pki_root("good", PKI_P256, PKI_CA);
	pki_root("other", PKI_P256, PKI_CA);
	pki_run("cat good.pem good.key >both.pem; head -c 200 good.key >cut.key; : >empty.pem; "
		"chmod 600 both.pem");
	OK(opens("good.pem", "good.key") == 0, "a good root is taken");
	OK(opens("both.pem", "both.pem") == 0, "certificate and key may be in one file");
	refused("missing.pem", "good.key", "missing.pem: No such file");
	refused("good.pem", "missing.key", "missing.key: No such file");
	refused("empty.pem", "good.key", "no certificate in PEM");
	refused("good.key", "good.key", "no certificate in PEM");
	refused("good.pem", "good.pem", "no private key in PEM");
	refused("good.pem", "cut.key", "no private key in PEM");
	refused("good.pem", "other.key", "not the key of good.pem");
	pki_run("openssl ec -in good.key -aes128 -passout pass:secret -out phrase.key");
	refused("good.pem", "phrase.key", "has a pass phrase");
	pki_root("leaf", PKI_P256, "-addext basicConstraints=critical,CA:FALSE");
	refused("leaf.pem", "leaf.key", "not a certificate authority");
	pki_root("nosign", PKI_P256, "-addext keyUsage=critical,digitalSignature");
	refused("nosign.pem", "nosign.key", "lacks keyCertSign");
	pki_run("openssl req -x509 -nodes " PKI_P256 " -keyout none.key -out none.pem -subj /CN=n "
		"-config /dev/stdin -extensions e <<'E'\n[req]\ndistinguished_name=d\n[d]\n[e]\n"
		"basicConstraints=critical,CA:TRUE,pathlen:0\nE\n:");
	refused("none.pem", "none.key", "no authority below it");
	pki_run("openssl req -new -key good.key -subj /CN=old -out old.csr && "
		"printf 'basicConstraints=critical,CA:TRUE\\n' >old.ext && "
		"openssl x509 -req -in old.csr -signkey good.key -days -1 -extfile old.ext -out old.pem");
	refused("old.pem", "good.key", "has expired");
	pki_root("dsa", "-newkey ed448", PKI_CA);
	refused("dsa.pem", "dsa.key", "RSA, EC and Ed25519 are known");
	pki_root("weak", "-newkey rsa:1024", PKI_CA);
	refused("weak.pem", "weak.key", "RSA with 1024 bits");
	chmod("other.key", 0644);
	OK(opens("other.pem", "other.key") == 0 && pki_said("others may read this key"),
	   "a key that others may read: a warning");
}

/* How often a byte string lies in memory: where it can be read, and where it cannot */
struct places {
	unsigned open, closed;
	bool locked;
};

/* Sanitizers make mlock(2) do nothing */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define LOCKED	" "
#else
#define LOCKED	" lo"
#endif

static void look_into(int mem, uint64_t from, uint64_t to, bool readable, const uint8_t *masked,
		      struct places *found)
{
	static uint8_t page[4096 + 32];		/* with the end of the page before it */
	uint64_t at;
	bool first = true;

	for (at = from; at < to; at += 4096, first = false) {
		memmove(page, page + 4096, 32);
		if (pread(mem, page + 32, 4096, (off_t)at) != 4096)
			return;
		for (size_t i = first ? 32 : 1; i < sizeof(page) - 31; i++) {
			size_t n = 0;

			while (n < 32 && (page[i + n] ^ 0x5a) == masked[n])
				n++;
			if (n == 32 && readable)
				found->open++;
			else if (n == 32)
				found->closed++;
		}
	}
	explicit_bzero(page, sizeof(page));
}

/* @masked: each byte XOR 0x5a, lest we find ourselves */
static struct places look(const uint8_t *masked)
{
	struct places found = { 0 };
	FILE *maps = fopen("/proc/self/smaps", "r");
	int mem = open("/proc/self/mem", O_RDONLY);
	unsigned long long from, to;
	unsigned closed = 0;
	char line[512], perms[8];

	while (maps && fgets(line, sizeof(line), maps)) {
		if (sscanf(line, "%llx-%llx %4s", &from, &to, perms) == 3 && strlen(perms) == 4) {
			closed = found.closed;
			if (to - from <= LONGEST_MAPPING)
				look_into(mem, from, to, perms[0] == 'r', masked, &found);
		} else if (!strncmp(line, "VmFlags:", 8) && found.closed > closed) {
			found.locked = strstr(line, LOCKED) && strstr(line, " dd");
		}
	}
	if (maps)
		fclose(maps);
	close(mem);
	return found;
}

/* The private number, as openssl(1) prints it */
static void masked_scalar(const char *key, uint8_t masked[static 32])
{
	char hex[256] = "";
	size_t n = 0;
	FILE *p;

	pki_run("openssl ec -in %s -text -noout", key);
	p = popen("sed -n '/^priv:/,/^pub:/p' said | grep '^ ' | tr -d ' :\\n'", "r");
	if (!p || !fgets(hex, sizeof(hex), p))
		printf("# no scalar\n");
	if (p)
		pclose(p);
	for (const char *h = hex + (strlen(hex) == 66 ? 2 : 0); n < 32; n++, h += 2) {
		unsigned v = 0;

		sscanf(h, "%2x", &v);
		masked[n] = (uint8_t)(v ^ 0x5a);
	}
	explicit_bzero(hex, sizeof(hex));
}

static void keys_are_hidden(void)
{
	uint8_t masked[32], sig[SIGN_MAX], plain[32];
	struct places p;
	struct sign *s;
	struct ca *ca;
	size_t len;

	OK(prctl(PR_GET_DUMPABLE) == 0, "no core of this process");
	pki_root("hide", PKI_P256, PKI_CA);
	masked_scalar("hide.key", masked);
	p = look(masked);
	OK(!p.open && !p.closed, "the key is not in memory before it is read");
	for (int i = 0; i < 32; i++)
		plain[i] = masked[i] ^ 0x5a;
	p = look(masked);
	OK(p.open == 1, "this test finds what is there (%u)", p.open);
	explicit_bzero(plain, sizeof(plain));
	s = sign_open_pem("hide.key");
	p = look(masked);
	OK(!p.open && p.closed == 1, "a key from a file: once, where nobody can read (%u, %u)", p.open,
	   p.closed);
	OK(p.locked, "and locked, and left out of cores");
	OK(!sign_tbs(s, (const uint8_t *)"tbs", 3, sig, &len) && len > 64, "it signs");
	p = look(masked);
	OK(!p.open && p.closed == 1, "and after it signed (%u, %u)", p.open, p.closed);
	sign_close(s);
	ca = ca_open("hide.pem", "hide.key");
	p = look(masked);
	OK(!p.open && !p.closed, "the root's key is gone when the intermediate is made (%u, %u)",
	   p.open, p.closed);
	ca_close(ca);
}

int main(void)
{
	log_open("t_ca");
	pki_start();
	sign_secrecy();
	sign_secrecy();		/* as after a change of user */
	every_kind_of_key();
	what_is_refused();
	keys_are_hidden();
	pki_end();
	return tap_done();
}
