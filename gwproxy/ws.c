/* SPDX-License-Identifier: MIT */
/*
 * ws.c - WebSocket messages between the lanes of an upgraded connection
 */
#include <stddef.h>

#include "ws.h"

struct ws *ws_new(struct h1 *h)
{
	(void)h;
	return NULL;
}

void ws_free(struct ws *w)
{
	(void)w;
}

bool ws_take(struct ws *w, bool from_client)
{
	(void)w;
	(void)from_client;
	return false;
}
