/* SPDX-License-Identifier: MIT */
/*
 * pki.h - For tests with certificates: a folder of their own and openssl(1) in it
 */
#ifndef PKI_H
#define PKI_H

#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <openssl/pem.h>
#include <openssl/x509.h>

static char pki_dir[] = "/tmp/t_pki.XXXXXX";

static inline void pki_start(void)
{
	if (!mkdtemp(pki_dir) || chdir(pki_dir)) {
		perror("mkdtemp");
		exit(1);
	}
}

static inline void pki_end(void)
{
	char cmd[64];

	snprintf(cmd, sizeof(cmd), "rm -rf %s", pki_dir);
	if (chdir("/") || system(cmd))
		perror(cmd);
}

/* Run a command in the folder; what it says goes to the file "said" */
static inline bool pki_run(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
static inline bool pki_run(const char *fmt, ...)
{
	char cmd[2048];
	va_list ap;
	size_t n;
	int rc;

	va_start(ap, fmt);
	n = (size_t)vsnprintf(cmd, sizeof(cmd) - 16, fmt, ap);
	va_end(ap);
	snprintf(cmd + n, sizeof(cmd) - n, " >said 2>&1");
	rc = system(cmd);
	if (rc)
		printf("# %s: %d\n", cmd, WEXITSTATUS(rc));
	return rc == 0;
}

/* A root as gwproxy(8) makes it; @key: "-newkey rsa:2048" */
static inline bool pki_root(const char *name, const char *key, const char *more)
{
	return pki_run("openssl req -x509 -nodes %s -keyout %s.key -out %s.pem -days 30 "
		       "-subj '/O=Test/CN=%s root' %s", key, name, name, name, more);
}

#define PKI_P256	"-newkey ec -pkeyopt ec_paramgen_curve:P-256"
#define PKI_CA		"-addext keyUsage=critical,keyCertSign,cRLSign"

static inline X509 *pki_read(const char *path)
{
	FILE *f = fopen(path, "r");
	X509 *x = f ? PEM_read_X509(f, NULL, NULL, NULL) : NULL;

	if (!x) {
		printf("Bail out! %s: no certificate\n", path);
		exit(1);
	}
	fclose(f);
	return x;
}

/* A server's certificate, self-signed: what a mint copies does not depend on its issuer */
static inline X509 *pki_server(const char *name, const char *subject, const char *more)
{
	char path[64];

	pki_run("openssl req -x509 -nodes " PKI_P256 " -keyout %s.key -out %s.pem -subj '%s' %s", name,
		name, subject, more);
	snprintf(path, sizeof(path), "%s.pem", name);
	return pki_read(path);
}

static inline void pki_write(const char *path, X509 *x)
{
	FILE *f = fopen(path, "w");

	if (!f || !PEM_write_X509(f, x))
		perror(path);
	if (f)
		fclose(f);
}

/* Does the file "said" contain it? */
static inline bool pki_said(const char *what)
{
	char text[65536];
	FILE *f = fopen("said", "r");
	size_t n = f ? fread(text, 1, sizeof(text) - 1, f) : 0;

	if (f)
		fclose(f);
	text[n] = '\0';
	return strstr(text, what) != NULL;
}

#endif /* PKI_H */
