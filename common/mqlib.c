/* SPDX-License-Identifier: MIT */
#include <dlfcn.h>

#include "log.h"
#include "mqlib.h"

#define LIBRARY	"libzmq.so.5"		/* of ZeroMQ 4 */

struct mq_lib zmq;

static void *find(void *from, const char *name)
{
	void *f = dlsym(from, name);

	if (!f)
		die("zeromq: %s", dlerror());
	return f;
}

void mq_load(void)
{
	void *from;

	if (zmq.ctx_new)
		return;
	from = dlopen(LIBRARY, RTLD_NOW);
	if (!from)
		die("zeromq: %s", dlerror());
#define MQ_FIND(name) *(void **)&zmq.name = find(from, "zmq_" #name);
	MQ_CALLS(MQ_FIND)
#undef MQ_FIND
}
