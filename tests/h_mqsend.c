/* SPDX-License-Identifier: MIT */
/*
 * h_mqsend - A stranger at a ZeroMQ stream: sends messages as they are
 *
 *	h_mqsend ADDRESS <MESSAGES	each with four bytes of length (little-endian) in front
 *
 * Who is cut off in the middle does not wait for ever: the last messages have two seconds.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <zmq.h>

int main(int argc, char **argv)
{
	void *ctx = zmq_ctx_new(), *s = zmq_socket(ctx, ZMQ_PUSH);
	int linger = 2000, wait = 5000;
	uint32_t len;

	if (argc != 2 || zmq_setsockopt(s, ZMQ_LINGER, &linger, sizeof(linger)) ||
	    zmq_setsockopt(s, ZMQ_SNDTIMEO, &wait, sizeof(wait)) || zmq_connect(s, argv[1])) {
		fprintf(stderr, "usage: h_mqsend ADDRESS\n");
		return 2;
	}
	while (fread(&len, sizeof(len), 1, stdin) == 1) {
		uint8_t *body = malloc(len ? len : 1);

		if (!body || fread(body, 1, len, stdin) != len || zmq_send(s, body, len, 0) < 0)
			perror("h_mqsend");
		free(body);
	}
	zmq_close(s);
	zmq_ctx_term(ctx);
	return 0;
}
