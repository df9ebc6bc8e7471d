/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cell.h"
#include "clock.h"
#include "log.h"
#include "net.h"
#include "sim.h"
#include "wire.h"

/* Addresses are the same behind every endpoint: endpoints overlap, as in life */
static const struct {
	const char *name;
	const char *ip4, *ip6;
	const char *prefix4, *prefix6;
} ends[2] = {
	{ "client", "10.0.1.10", "fd00:0:0:1::10", "10.0.1.10/24", "fd00:0:0:1::10/64" },
	{ "server", "10.0.2.20", "fd00:0:0:2::20", "10.0.2.20/24", "fd00:0:0:2::20/64" },
};

uint64_t sim_now_ms(void)
{
	return clock_mono() / 1000000;
}

/* Where an error happened, and what it was */
static int report(int err, const char *what)
{
	if (err < 0)
		log_error("%s: %s", what, strerror(-err));
	return err < 0 ? err : 0;
}

static int name_ends(void)
{
	char text[512];
	int n = snprintf(text, sizeof(text), "127.0.0.1 localhost\n::1 localhost\n");

	for (int i = 0; i < 2; i++)
		n += snprintf(text + n, sizeof(text) - (size_t)n, "%s %s\n%s %s\n",
			      ends[i].ip4, ends[i].name, ends[i].ip6, ends[i].name);
	return cell_hosts(text);
}

static int side_routes(const struct sim_side *s, int role)
{
	int err = net_noarp(s->ns, "eth0");

	if (!err)
		err = net_addr(s->ns, "eth0", ends[role].prefix4);
	if (!err)
		err = net_addr(s->ns, "eth0", ends[role].prefix6);
	if (!err)
		err = net_route(s->ns, "eth0", "0.0.0.0/0", NULL);
	return err ? err : net_route(s->ns, "eth0", "::/0", NULL);
}

static int build_side(struct sim_side *s, unsigned e, int role, int lb_ns)
{
	char dev[16];
	struct net_end lb = { .ns = lb_ns, .name = dev }, end = { .name = "eth0" };
	int err;

	snprintf(dev, sizeof(dev), "%s%u", ends[role].name, e + 1);
	*s = (struct sim_side){
		.ns = net_create(),
		.mac = { 0x02, 0, 0, (uint8_t)(role + 1), (uint8_t)e, 2 },
		.lb_mac = { 0x02, 0, 0, (uint8_t)(role + 1), (uint8_t)e, 1 },
		.port.fd = -1,
	};
	if (s->ns < 0)
		return s->ns;
	end.ns = s->ns;
	memcpy(end.mac, s->mac, sizeof(end.mac));
	memcpy(lb.mac, s->lb_mac, sizeof(lb.mac));
	err = net_veth(&lb, &end, JUDGE_INNER_MAX);
	if (!err)
		err = side_routes(s, role);
	return err ? err : port_open(&s->port, dev);
}

static int build_endpoint(struct sim_endpoint *e, unsigned n, uint64_t id)
{
	int lb_ns = net_self(), err = lb_ns < 0 ? lb_ns : 0;

	e->id = id;
	snprintf(e->name, sizeof(e->name), "vpce-0%016" PRIx64, id);
	for (int role = 0; !err && role < 2; role++)
		err = build_side(&e->side[role], n, role, lb_ns);
	if (lb_ns >= 0)
		close(lb_ns);
	return err;
}

static void init(struct sim *s, const struct sim_conf *conf)
{
	*s = (struct sim){ .conf = conf, .phase = "set-up", .id = s->id };
	for (unsigned i = 0; i < SIM_ENDPOINTS; i++)
		for (int role = 0; role < 2; role++) {
			s->endpoint[i].side[role].ns = -1;
			s->endpoint[i].side[role].port.fd = -1;
		}
	for (unsigned i = 0; i < SIM_APPLIANCES; i++) {
		s->target[i].site.ns = -1;
		s->target[i].site.port.fd = -1;
		s->target[i].health.fd = -1;
	}
}

int sim_build(struct sim *s, const struct sim_conf *conf)
{
	int err;

	init(s, conf);
	err = report(name_ends(), "/etc/hosts");
	for (unsigned i = 0; !err && i < conf->endpoints; i++)
		err = report(build_endpoint(&s->endpoint[i], i, conf->endpoint[i]), "endpoint");
	for (unsigned i = 0; !err && i < conf->appliances; i++) {
		err = report(site_open(&s->target[i].site, i + 1), "appliance");
		health_init(&s->target[i].health, &conf->health, s->target[i].site.addr);
	}
	if (err)
		return err;
	s->conns = conn_open(&conf->flows);
	if (!s->conns)
		return report(-ENOMEM, "flow table");
	s->judge = (struct judge){ .conns = s->conns, .endpoint = conf->endpoint,
				   .endpoints = conf->endpoints };
	return 0;
}

void sim_destroy(struct sim *s)
{
	for (unsigned i = 0; i < s->conf->endpoints; i++)
		for (int role = 0; role < 2; role++) {
			struct sim_side *side = &s->endpoint[i].side[role];

			port_close(&side->port);
			if (side->ns >= 0)
				close(side->ns);
		}
	for (unsigned i = 0; i < s->conf->appliances; i++) {
		site_close(&s->target[i].site);
		health_close(&s->target[i].health);
	}
	conn_close(s->conns);
}

int sim_ns(const struct sim *s, enum sim_role role, unsigned n)
{
	return role == SIM_APPLIANCE ? s->target[n].site.ns : s->endpoint[n].side[role].ns;
}
