/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <pwd.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "log.h"
#include "priv.h"

#define UID_KEEP	((uid_t)-1)

static void capget_self(struct __user_cap_data_struct d[2])
{
	struct __user_cap_header_struct h = { _LINUX_CAPABILITY_VERSION_3, 0 };

	if (syscall(SYS_capget, &h, d))
		die("capget: %m");
}

/* In a user namespace of its own, root may be the only user there is: then giving up
 * the capabilities is what can be done, and it is enough. */
static bool is_mapped(uid_t uid)
{
	FILE *f = fopen("/proc/self/uid_map", "re");
	unsigned long first, outside, count;
	bool found = !f;

	while (!found && fscanf(f, "%lu %lu %lu", &first, &outside, &count) == 3)
		found = uid >= first && uid - first < count;
	if (f)
		fclose(f);
	return found;
}

struct priv priv_lookup(const char *user)
{
	struct passwd *pw;

	if (geteuid() != 0) {
		if (user)
			die_usage("--user: only root can become '%s'", user);
		return (struct priv){ UID_KEEP, (gid_t)-1 };
	}
	pw = getpwnam(user ? user : "gwtools");
	if (!pw && !user)
		pw = getpwnam("nobody");
	if (!pw)
		die_usage("--user: no user '%s'", user ? user : "nobody");
	if (!is_mapped(pw->pw_uid))
		return (struct priv){ UID_KEEP, (gid_t)-1 };
	return (struct priv){ pw->pw_uid, pw->pw_gid };
}

void priv_no_new(void)
{
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
		die("no_new_privs: %m");
}

static void become(const struct priv *p)
{
	if (p->uid == UID_KEEP || p->uid == geteuid())
		return;
	if (setgroups(0, NULL))
		die("setgroups: %m");
	if (setresgid(p->gid, p->gid, p->gid) || setresuid(p->uid, p->uid, p->uid))
		die("becoming uid %u: %m", p->uid);
}

void priv_drop(const struct priv *p)
{
	struct __user_cap_header_struct h = { _LINUX_CAPABILITY_VERSION_3, 0 };
	struct __user_cap_data_struct none[2] = { 0 }, now[2];

	for (int cap = 0; prctl(PR_CAPBSET_READ, cap, 0, 0, 0) >= 0; cap++)
		prctl(PR_CAPBSET_DROP, cap, 0, 0, 0);	/* EPERM: none to drop with */
	prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
	become(p);
	if (syscall(SYS_capset, &h, none))
		die("capset: %m");
	capget_self(now);
	for (int i = 0; i < 2; i++)
		if (now[i].effective | now[i].permitted | now[i].inheritable)
			die("capabilities are still there after dropping them");
#ifdef __SANITIZE_ADDRESS__
	prctl(PR_SET_DUMPABLE, 1, 0, 0, 0);	/* LeakSanitizer traces its own process */
#endif
}

bool rundir_system(void)
{
	return geteuid() == 0 && !access("/run", W_OK);
}

int rundir_path(bool system, const char *chain, char *out, size_t size)
{
	const char *run = getenv("GW_RUN"), *xdg = getenv("XDG_RUNTIME_DIR");
	int n;

	if (run && *run)
		n = snprintf(out, size, "%s", run);
	else if (system)
		n = snprintf(out, size, "/run/gwtools/%s", chain);
	else if (xdg && *xdg)
		n = snprintf(out, size, "%s/gwtools/%s", xdg, chain);
	else
		n = snprintf(out, size, "/tmp/gwtools-%u-%s", geteuid(), chain);
	return n < 0 || (size_t)n >= size ? -ENAMETOOLONG : 0;
}

/* The folders on the way stay whose they are; the last one is @p's if it is new.  Another
 * process of @p may be at work in there: a link that it puts in our way is not followed. */
static int make_dirs(const char *path, const struct priv *p)
{
	char part[256];

	if (strlen(path) >= sizeof(part))
		return -ENAMETOOLONG;
	strcpy(part, path);
	for (size_t n = strlen(part); n > 1 && part[n - 1] == '/'; n--)
		part[n - 1] = '\0';
	for (char *s = strchr(part + 1, '/'); s; s = strchr(s + 1, '/')) {
		*s = '\0';
		if (mkdir(part, 0755) && errno != EEXIST)
			return -errno;
		*s = '/';
	}
	if (mkdir(part, 0755))
		return errno == EEXIST ? 0 : -errno;
	return p->uid != UID_KEEP && lchown(part, p->uid, p->gid) ? -errno : 0;
}

static int check_dir(int fd, const struct priv *p)
{
	struct stat st;

	if (fstat(fd, &st))
		return -errno;
	if (st.st_mode & S_IWOTH)
		return -EPERM;
	return st.st_uid == 0 || st.st_uid == geteuid() || st.st_uid == p->uid ? 0 : -EPERM;
}

int rundir_open(const char *path, const struct priv *p)
{
	int err = make_dirs(path, p), fd;

	if (err)
		return err;
	fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	err = check_dir(fd, p);
	if (!err)
		return fd;
	close(fd);
	return err;
}

int chain_name_ok(const char *name)
{
	size_t n = strlen(name);

	return n >= 1 && n <= 63 && *name != '.' &&
	       strspn(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.-") == n;
}
