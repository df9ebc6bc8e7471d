/* SPDX-License-Identifier: MIT */
/*
 * run.c - gwsim run: the life of a simulation
 *
 * Build, start servers and appliances, wait until they are ready, run the command
 * to its end, stop everything, say what happened.
 */
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <sys/timerfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cell.h"
#include "control.h"
#include "gwsim.h"
#include "log.h"
#include "net.h"
#include "run_conf.h"
#include "sim.h"
#include "wire.h"

#define TICK_MS		20u
#define STATUS_MS	200u
#define EXIT_VIOLATIONS	3
#define DRAIN_MS	50u	/* what is on its way when the command ends */
#define END_MS		2000u	/* a command that was told to end has this long */

enum source { FROM_SIGNAL, FROM_TICK, FROM_CONTROL, FROM_SIDE, FROM_TARGET };

/* Everything the loop needs */
struct run {
	struct sim sim;
	struct sim_conf *conf;
	struct control *control;
	int epoll, signals, tick;
	uint64_t now_ms;
	uint64_t started_ms;
	uint64_t end_ms;		/* when the loop must end; 0: not yet known */
	uint64_t status_ms;
	bool stopping;			/* told to end */
	int status;			/* of the command */
};

static int watch(struct run *r, int fd, enum source from, unsigned n, unsigned side)
{
	struct epoll_event ev = {
		.events = EPOLLIN,
		.data.u32 = (uint32_t)from << 16 | n << 8 | side,
	};

	return epoll_ctl(r->epoll, EPOLL_CTL_ADD, fd, &ev) ? -errno : 0;
}

static int open_tick(void)
{
	const struct timespec t = { 0, TICK_MS * 1000000L };
	const struct itimerspec every = { t, t };
	int fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);

	if (fd >= 0)
		timerfd_settime(fd, 0, &every, NULL);
	return fd < 0 ? -errno : fd;
}

static int watch_ports(struct run *r)
{
	int err = 0;

	for (unsigned i = 0; !err && i < r->conf->endpoints; i++)
		for (unsigned side = 0; !err && side < 2; side++)
			err = watch(r, r->sim.endpoint[i].side[side].port.fd, FROM_SIDE, i, side);
	for (unsigned i = 0; !err && i < r->conf->appliances; i++)
		err = watch(r, r->sim.target[i].site.port.fd, FROM_TARGET, i, 0);
	return err;
}

static int open_loop(struct run *r)
{
	int err;

	r->epoll = epoll_create1(EPOLL_CLOEXEC);
	r->signals = cell_signals();
	r->tick = open_tick();
	if (r->epoll < 0 || r->signals < 0 || r->tick < 0)
		return -errno;
	err = watch(r, r->signals, FROM_SIGNAL, 0, 0);
	if (!err)
		err = watch(r, r->tick, FROM_TICK, 0, 0);
	for (unsigned i = 0; !err && i < control_listeners(r->control); i++)
		err = watch(r, control_fd(r->control, i), FROM_CONTROL, i, 0);
	return err ? err : watch_ports(r);
}

static void name_for_children(const char *name, unsigned n)
{
	char text[16];

	snprintf(text, sizeof(text), "%u", n);
	setenv(name, text, 1);
}

static int start_servers(struct run *r)
{
	for (unsigned e = 0; e < r->conf->endpoints; e++)
		for (unsigned i = 0; i < r->conf->servers; i++) {
			pid_t pid;

			setenv("GWSIM_ENDPOINT", r->sim.endpoint[e].name, 1);
			pid = cell_sh(sim_ns(&r->sim, SIM_SERVER, e), r->conf->server[i]);
			if (pid < 0)
				return pid;
			r->sim.server[r->sim.servers++] = pid;
		}
	unsetenv("GWSIM_ENDPOINT");
	return 0;
}

static int start_appliances(struct run *r)
{
	int err = 0;

	for (unsigned i = 0; !err && i < r->conf->appliances; i++) {
		name_for_children("GWSIM_APPLIANCE", i + 1);
		err = site_start(&r->sim.target[i].site, r->conf->appliance[i]);
	}
	unsetenv("GWSIM_APPLIANCE");
	return err;
}

static void start_command(struct run *r)
{
	const struct sim_conf *c = r->conf;
	unsigned n = c->in == SIM_APPLIANCE ? c->in_appliance : c->at;
	pid_t pid;

	setenv("GWSIM_ENDPOINT", r->sim.endpoint[c->at].name, 1);
	pid = cell_spawn(sim_ns(&r->sim, c->in, n), c->command, true);
	if (pid < 0) {
		log_error("%s: %s", c->command[0], strerror(-pid));
		r->status = EXIT_RUNTIME;
		r->end_ms = r->now_ms;
		return;
	}
	r->sim.command = pid;
	r->sim.phase = "command";
}

static bool appliances_ready(const struct run *r)
{
	for (unsigned i = 0; i < r->conf->appliances; i++) {
		const struct sim_target *t = &r->sim.target[i];

		if (t->health.state != HEALTH_HEALTHY)
			return false;
		if (r->conf->health.kind == HEALTH_NONE && !t->ended && !site_listens(&t->site))
			return false;
	}
	return true;
}

static bool servers_ready(const struct run *r)
{
	for (unsigned e = 0; e < r->conf->endpoints; e++)
		for (unsigned i = 0; i < r->conf->server_ports; i++)
			if (!net_listens(sim_ns(&r->sim, SIM_SERVER, e), r->conf->server_port[i]))
				return false;
	return true;
}

/* The command starts once everything is there, or after --wait all the same */
static void start_when_ready(struct run *r)
{
	bool appliances = appliances_ready(r), servers = servers_ready(r);

	if (!appliances || !servers) {
		if (r->now_ms - r->started_ms < r->conf->wait_ms)
			return;
		log_warn("%s not ready after %" PRIu64 " ms: starting all the same",
			 appliances ? "a server is" : "an appliance is", r->conf->wait_ms);
	}
	start_command(r);
}

static void on_tick(struct run *r)
{
	uint64_t n;

	(void)!read(r->tick, &n, sizeof(n));
	for (unsigned i = 0; i < r->conf->appliances; i++) {
		struct health *p = &r->sim.target[i].health;

		if (health_tick(p, r->now_ms) && !r->conf->quiet)
			log_notice("appliance %u: %s%s%s", i + 1, health_state_name(p->state),
				   *p->reason ? ": " : "", p->reason);
	}
	if (!r->sim.command && !r->end_ms)
		start_when_ready(r);
	if (r->now_ms - r->status_ms >= STATUS_MS) {
		r->status_ms = r->now_ms;
		status_write(&r->sim);
	}
}

static void on_child(struct run *r, pid_t pid, int status)
{
	if (pid == r->sim.command) {
		r->status = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
		r->end_ms = r->now_ms + DRAIN_MS;
		return;
	}
	for (unsigned i = 0; i < r->conf->appliances; i++) {
		if (pid != r->sim.target[i].site.pid)
			continue;
		r->sim.target[i].ended = true;
		log_warn("appliance %u: its command has ended, %s %d", i + 1,
			 WIFEXITED(status) ? "status" : "by signal",
			 WIFEXITED(status) ? WEXITSTATUS(status) : WTERMSIG(status));
	}
}

/* The terminal tells the command too; what comes from elsewhere is passed on */
static void on_stop(struct run *r, const struct signalfd_siginfo *si)
{
	int sig = (int)si->ssi_signo;

	if (!r->sim.command) {
		r->status = 128 + sig;
		r->end_ms = r->now_ms;
	} else if (si->ssi_code != SI_KERNEL) {
		kill(r->sim.command, sig);
	}
	if (!r->end_ms)
		r->end_ms = r->now_ms + END_MS;
	if (!r->stopping)
		r->status = 128 + sig;
	r->stopping = true;
}

static void on_signal(struct run *r)
{
	struct signalfd_siginfo si;
	int status;
	pid_t pid;

	while (read(r->signals, &si, sizeof(si)) == sizeof(si)) {
		if (si.ssi_signo == SIGCHLD)
			continue;
		if (si.ssi_signo == SIGUSR1)
			status_dump(&r->sim);
		else
			on_stop(r, &si);
	}
	while ((pid = waitpid(-1, &status, WNOHANG)) > 0)
		on_child(r, pid, status);
}

static void on_event(struct run *r, uint32_t data)
{
	unsigned n = data >> 8 & 0xff, side = data & 0xff;

	switch ((enum source)(data >> 16)) {
	case FROM_SIGNAL:
		on_signal(r);
		break;
	case FROM_TICK:
		on_tick(r);
		break;
	case FROM_CONTROL:
		control_serve(r->control, n, &r->sim);
		break;
	case FROM_SIDE:
		lb_from_side(&r->sim, n, side, r->now_ms);
		break;
	case FROM_TARGET:
		lb_from_target(&r->sim, n, r->now_ms);
		break;
	}
}

static void loop(struct run *r)
{
	struct epoll_event ev[32];

	while (!r->end_ms || r->now_ms < r->end_ms) {
		int n = epoll_wait(r->epoll, ev, ARRAY_SIZE(ev), -1);

		r->now_ms = sim_now_ms();
		for (int i = 0; i < n; i++)
			on_event(r, ev[i].data.u32);
	}
}

/* The command first, then appliances and servers; each group as a whole */
static void stop_all(struct run *r)
{
	pid_t pids[SIM_APPLIANCES + ARRAY_SIZE(r->sim.server)];
	unsigned n = 0;

	r->sim.phase = "end";
	for (unsigned i = 0; i < r->conf->appliances; i++)
		pids[n++] = r->sim.target[i].site.pid;
	for (unsigned i = 0; i < r->sim.servers; i++)
		pids[n++] = r->sim.server[i];
	cell_stop(pids, n, (unsigned)r->conf->grace_ms);
}

static int start_all(struct run *r)
{
	int err = control_inside(r->control, &r->sim);

	if (!err)
		err = open_loop(r);
	if (!err)
		err = start_servers(r);
	return err ? err : start_appliances(r);
}

static int run_inside(void *arg)
{
	struct run *r = arg;
	int err = sim_build(&r->sim, r->conf);

	if (!err) {
		err = start_all(r);
		if (err)
			log_error("start: %s", strerror(-err));
	}
	r->started_ms = r->now_ms = sim_now_ms();
	if (!err)
		loop(r);
	stop_all(r);
	if (!err) {
		status_write(&r->sim);
		status_summary(&r->sim);
	}
	if (!err && r->conf->strict && judge_total(&r->sim.judge))
		r->status = EXIT_VIOLATIONS;
	sim_destroy(&r->sim);
	return err ? EXIT_RUNTIME : r->status;
}

int gwsim_run(int argc, char **argv)
{
	static struct sim_conf conf;
	static struct run r = { .conf = &conf };

	run_conf(&conf, argc, argv);
	r.control = control_open();
	if (!r.control)
		die("control socket: %m");
	r.sim.id = control_id(r.control);
	return cell_run(run_inside, &r);
}
