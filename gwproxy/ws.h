/* SPDX-License-Identifier: MIT */
/*
 * ws.h - WebSocket messages between the lanes of an upgraded connection
 *
 * Without a hook that looks at messages there is nothing to do: bytes pass as they are.
 */
#ifndef GW_WS_H
#define GW_WS_H

#include <stdbool.h>

struct h1;
struct ws;

/**
 * ws_new() - After the upgrade; NULL: no hook looks at messages, or no memory
 */
struct ws *ws_new(struct h1 *h);
void ws_free(struct ws *w);	/* NULL is fine */

/**
 * ws_take() - Look at what the client, or the server, sent
 *
 * Return: did something change?
 */
bool ws_take(struct ws *w, bool from_client);

/* Was all looked at that came from there? */
bool ws_dry(const struct ws *w, bool from_client);

#endif /* GW_WS_H */
