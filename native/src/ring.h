/*
 * The last 256 KiB of what was said, in pieces as they go out: u8 stream, u32 length, bytes. What is lost is lost in pieces,
 * the oldest first, and counted. Knows no lock: who shares one has one.
 */
#ifndef NACELLE_RING_H
#define NACELLE_RING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { RING = 256 * 1024, RING_PIECE = 16 * 1024, RING_HEADER = 5 };

struct ring {
	uint8_t *bytes; /* mmap'ed */
	size_t begin;
	size_t length;
	uint64_t gaps[2]; /* bytes of stdout and stderr that were lost before what is there */
};

/* 0 or -errno. */
int ring_open(struct ring *ring);
void ring_close(struct ring *ring);
bool ring_is_empty(const struct ring *ring);
/* `stream` 1 or 2. */
void ring_keep(struct ring *ring, uint8_t stream, const char *data, size_t length);
/* Length of the first piece, which there must be, with its header. */
size_t ring_first(const struct ring *ring);
/* Moves that piece. */
void ring_take(struct ring *ring, uint8_t *to, size_t length);

#endif
