/* SPDX-License-Identifier: MIT */
/*
 * offload.c - Receive offloads by the names that the kernel and ethtool(8) give them
 */
#include <errno.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <linux/ethtool.h>
#include <linux/sockios.h>

#include "iface.h"
#include "log.h"
#include "wire.h"

/*
 * What merges UDP packets.  GRO by itself leaves them alone unless a socket on
 * their port asks for it; the others need no socket.
 */
static const char *const merging[] = {
	"rx-gro-hw", "rx-lro", "rx-gro-list", "rx-udp-gro-forwarding", "rx-gro",
};
#define PLAIN_GRO	(ARRAY_SIZE(merging) - 1)
#define FEATURES_MAX	1024u

struct features {
	int fd;
	const char *name;
	uint32_t n;
	struct ethtool_gstrings *names;
};

static int ethtool(const struct features *f, void *cmd)
{
	struct ifreq ifr = { .ifr_data = cmd };

	snprintf(ifr.ifr_name, sizeof(ifr.ifr_name), "%s", f->name);
	return ioctl(f->fd, SIOCETHTOOL, &ifr) ? -errno : 0;
}

static int features_names(struct features *f)
{
	union {
		struct ethtool_sset_info info;
		uint8_t room[sizeof(struct ethtool_sset_info) + sizeof(uint32_t)];
	} get = { .info = { .cmd = ETHTOOL_GSSET_INFO, .sset_mask = 1u << ETH_SS_FEATURES } };
	int err = ethtool(f, &get);

	if (err)
		return err;
	if (!get.info.sset_mask || !get.info.data[0] || get.info.data[0] > FEATURES_MAX)
		return -EOPNOTSUPP;
	f->n = get.info.data[0];
	f->names = calloc(1, sizeof(*f->names) + (size_t)f->n * ETH_GSTRING_LEN);
	if (!f->names)
		return -ENOMEM;
	f->names->cmd = ETHTOOL_GSTRINGS;
	f->names->string_set = ETH_SS_FEATURES;
	f->names->len = f->n;
	return ethtool(f, f->names);
}

/* -1: this kernel has none of that name */
static int feature_bit(const struct features *f, const char *name)
{
	for (uint32_t i = 0; i < f->n; i++)
		if (!strncmp((const char *)f->names->data + (size_t)i * ETH_GSTRING_LEN, name,
			     ETH_GSTRING_LEN))
			return (int)i;
	return -1;
}

/* Which of merging[] are on, as a bit mask; -errno */
static int features_on(const struct features *f)
{
	union {
		struct ethtool_gfeatures head;
		uint8_t room[sizeof(struct ethtool_gfeatures) +
			     FEATURES_MAX / 32 * sizeof(struct ethtool_get_features_block)];
	} get;
	int err, on = 0;

	memset(&get, 0, sizeof(get));
	get.head.cmd = ETHTOOL_GFEATURES;
	get.head.size = (f->n + 31) / 32;
	err = ethtool(f, &get);
	for (size_t i = 0; !err && i < ARRAY_SIZE(merging); i++) {
		int bit = feature_bit(f, merging[i]);

		if (bit >= 0 && get.head.features[bit / 32].active & 1u << bit % 32)
			on |= 1 << i;
	}
	return err ? err : on;
}

/* ETHTOOL_F_... bits tell of features that were left as they are: the caller looks again. */
static int features_off(const struct features *f, int which)
{
	union {
		struct ethtool_sfeatures head;
		uint8_t room[sizeof(struct ethtool_sfeatures) +
			     FEATURES_MAX / 32 * sizeof(struct ethtool_set_features_block)];
	} set;

	memset(&set, 0, sizeof(set));
	set.head.cmd = ETHTOOL_SFEATURES;
	set.head.size = (f->n + 31) / 32;
	for (size_t i = 0; i < ARRAY_SIZE(merging); i++) {
		int bit = feature_bit(f, merging[i]);

		if (which & 1 << i && bit >= 0)
			set.head.features[bit / 32].valid |= 1u << bit % 32;
	}
	return ethtool(f, &set);
}

/* "ethtool -K eth0 rx-gro-hw off ..." */
static const char *command(const char *name, int which, const char *state, char *out, size_t size)
{
	size_t n = (size_t)snprintf(out, size, "ethtool -K %s", name);

	for (size_t i = 0; i < ARRAY_SIZE(merging) && n < size; i++)
		if (which & 1 << i)
			n += (size_t)snprintf(out + n, size - n, " %s %s", merging[i], state);
	return out;
}

static void offloads_judge(const struct features *f, bool bound, bool fix)
{
	int mask = bound ? -1 : ~(1 << PLAIN_GRO);
	int on = features_on(f), left;
	char cmd[256];

	if (on < 0) {
		errno = -on;
		log_info("%s: its offloads cannot be read: %m", f->name);
		return;
	}
	on &= mask;
	left = on;
	if (on && fix) {
		left = features_off(f, on) < 0 ? on : features_on(f) & mask;
		if (on & ~left)
			log_notice("%s: offloads that merge packets are off now and stay so; to undo: %s",
				   f->name, command(f->name, on & ~left, "on", cmd, sizeof(cmd)));
	}
	if (left)
		log_warn("%s: receive offloads may merge packets into what nobody can send back; run: %s",
			 f->name, command(f->name, left, "off", cmd, sizeof(cmd)));
}

void iface_check_offloads(const char *name, bool bound, bool fix)
{
	struct features f = { .name = name, .fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0) };
	int err = f.fd < 0 ? -errno : features_names(&f);

	if (err) {
		errno = -err;
		log_info("%s: its offloads cannot be read: %m", name);
	} else {
		offloads_judge(&f, bound, fix);
	}
	free(f.names);
	if (f.fd >= 0)
		close(f.fd);
}
