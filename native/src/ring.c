#include "ring.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "wire.h"

int ring_open(struct ring *ring)
{
	void *bytes = mmap(NULL, RING, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	*ring = (struct ring){ .bytes = bytes == MAP_FAILED ? NULL : bytes };
	return ring->bytes ? 0 : -errno;
}

void ring_close(struct ring *ring)
{
	(void)munmap(ring->bytes, RING);
	*ring = (struct ring){ .bytes = NULL };
}

bool ring_is_empty(const struct ring *ring)
{
	return ring->length == 0 && ring->gaps[0] + ring->gaps[1] == 0;
}

/* Pieces may go over the end. */
static void put(struct ring *ring, const void *bytes, size_t length)
{
	size_t place = (ring->begin + ring->length) % RING;
	size_t first = length < RING - place ? length : RING - place;

	memcpy(ring->bytes + place, bytes, first);
	memcpy(ring->bytes, (const uint8_t *)bytes + first, length - first);
	ring->length += length;
}

static void look(const struct ring *ring, uint8_t *to, size_t length)
{
	size_t first = length < RING - ring->begin ? length : RING - ring->begin;

	memcpy(to, ring->bytes + ring->begin, first);
	memcpy(to + first, ring->bytes, length - first);
}

static void drop(struct ring *ring, size_t length)
{
	ring->begin = (ring->begin + length) % RING;
	ring->length -= length;
}

size_t ring_first(const struct ring *ring)
{
	uint8_t header[RING_HEADER] = { 0 };
	struct reader r = wire_reader(header + 1, sizeof(header) - 1);

	look(ring, header, sizeof(header));
	return RING_HEADER + wire_u32(&r);
}

void ring_take(struct ring *ring, uint8_t *to, size_t length)
{
	look(ring, to, length);
	drop(ring, length);
}

static void keep_piece(struct ring *ring, uint8_t stream, const char *data, size_t length)
{
	uint8_t header[RING_HEADER] = { 0 };
	struct writer w = wire_writer(header, sizeof(header));

	while (RING - ring->length < RING_HEADER + length) {
		size_t piece = ring_first(ring);

		ring->gaps[ring->bytes[ring->begin] - 1] += piece - RING_HEADER;
		drop(ring, piece);
	}
	wire_put_u8(&w, stream);
	wire_put_u32(&w, (uint32_t)length);
	put(ring, header, sizeof(header));
	put(ring, data, length);
}

void ring_keep(struct ring *ring, uint8_t stream, const char *data, size_t length)
{
	for (size_t at = 0; at < length; at += RING_PIECE)
		keep_piece(ring, stream, data + at, length - at < RING_PIECE ? length - at : RING_PIECE);
}
