/* Encoding and decoding of payloads and frame headers. Every length is checked here and nowhere else. */
#ifndef NACELLE_WIRE_H
#define NACELLE_WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "protocol.h"

struct frame_header {
	uint32_t length;
	uint16_t type;
	uint16_t flags;
	uint64_t seq;
};

/* Borrowed bytes inside a received frame; valid as long as its buffer. */
struct span {
	const uint8_t *data;
	uint32_t length;
};

/* Reads a payload. After the first field that does not fit `bad` stays set and every result is zero or empty. */
struct reader {
	const uint8_t *at;
	const uint8_t *end;
	bool bad;
};

/* Writes a payload into a caller's buffer. After the first field that does not fit `full` stays set. */
struct writer {
	uint8_t *data;
	size_t capacity;
	size_t length;
	bool full;
};

struct frame_header wire_header(const uint8_t bytes[FRAME_HEADER]);
void wire_put_header(uint8_t bytes[FRAME_HEADER], struct frame_header header);

struct reader wire_reader(const uint8_t *data, size_t length);
uint8_t wire_u8(struct reader *r);
uint16_t wire_u16(struct reader *r);
uint32_t wire_u32(struct reader *r);
int32_t wire_i32(struct reader *r);
uint64_t wire_u64(struct reader *r);
struct span wire_bytes(struct reader *r);
/* As wire_bytes; a NUL inside is bad. */
struct span wire_str(struct reader *r);
/* Copies a str of less than `capacity` bytes and terminates it; longer is bad. Returns its length. */
size_t wire_copy(struct reader *r, char *to, size_t capacity);
/*
 * Reads list<str> into a NULL-terminated vector inside `arena` (pointers first, then the texts).
 * Returns NULL and sets bad when it does not fit or has more than 4096 items. `count` may be NULL.
 */
char **wire_vector(struct reader *r, void *arena, size_t capacity, size_t *count);

struct writer wire_writer(uint8_t *data, size_t capacity);
void wire_put_u8(struct writer *w, uint8_t v);
void wire_put_u16(struct writer *w, uint16_t v);
void wire_put_u32(struct writer *w, uint32_t v);
void wire_put_i32(struct writer *w, int32_t v);
void wire_put_u64(struct writer *w, uint64_t v);
void wire_put_bytes(struct writer *w, const void *data, size_t length);
void wire_put_str(struct writer *w, const char *text);

#endif
