#include "wire.h"

#include <string.h>

static uint64_t little(const uint8_t *p, size_t n)
{
	uint64_t v = 0;

	for (size_t i = 0; i < n; i++)
		v |= (uint64_t)p[i] << (8 * i);
	return v;
}

static void put_little(uint8_t *p, uint64_t v, size_t n)
{
	for (size_t i = 0; i < n; i++)
		p[i] = (uint8_t)(v >> (8 * i));
}

struct frame_header wire_header(const uint8_t bytes[FRAME_HEADER])
{
	return (struct frame_header){
		.length = (uint32_t)little(bytes, 4),
		.type = (uint16_t)little(bytes + 4, 2),
		.flags = (uint16_t)little(bytes + 6, 2),
		.seq = little(bytes + 8, 8),
	};
}

void wire_put_header(uint8_t bytes[FRAME_HEADER], struct frame_header header)
{
	put_little(bytes, header.length, 4);
	put_little(bytes + 4, header.type, 2);
	put_little(bytes + 6, header.flags, 2);
	put_little(bytes + 8, header.seq, 8);
}

struct reader wire_reader(const uint8_t *data, size_t length)
{
	return (struct reader){ .at = data, .end = data + length };
}

static const uint8_t *take(struct reader *r, size_t n)
{
	const uint8_t *p = r->at;

	if (r->bad || (size_t)(r->end - r->at) < n) {
		r->bad = true;
		return NULL;
	}
	r->at += n;
	return p;
}

static uint64_t number(struct reader *r, size_t n)
{
	const uint8_t *p = take(r, n);

	return p ? little(p, n) : 0;
}

uint8_t wire_u8(struct reader *r)
{
	return (uint8_t)number(r, 1);
}

uint16_t wire_u16(struct reader *r)
{
	return (uint16_t)number(r, 2);
}

uint32_t wire_u32(struct reader *r)
{
	return (uint32_t)number(r, 4);
}

int32_t wire_i32(struct reader *r)
{
	return (int32_t)(uint32_t)number(r, 4);
}

uint64_t wire_u64(struct reader *r)
{
	return number(r, 8);
}

struct span wire_bytes(struct reader *r)
{
	uint32_t length = wire_u32(r);
	const uint8_t *p = take(r, length);

	return p ? (struct span){ .data = p, .length = length } : (struct span){ .data = NULL };
}

struct span wire_str(struct reader *r)
{
	struct span s = wire_bytes(r);

	if (s.length > 0 && memchr(s.data, 0, s.length)) {
		r->bad = true;
		return (struct span){ .data = NULL };
	}
	return s;
}

size_t wire_copy(struct reader *r, char *to, size_t capacity)
{
	struct span s = wire_str(r);

	if (s.length >= capacity) {
		r->bad = true;
		s.length = 0;
	}
	if (s.length > 0)
		memcpy(to, s.data, s.length);
	to[s.length] = 0;
	return s.length;
}

char **wire_vector(struct reader *r, void *arena, size_t capacity, size_t *count)
{
	uint32_t n = wire_u32(r);
	char **vector = arena;
	size_t used = ((size_t)n + 1) * sizeof(char *);
	char *text = (char *)arena + used;

	if (r->bad || n > 4096 || used > capacity) {
		r->bad = true;
		return NULL;
	}
	for (uint32_t i = 0; i < n; i++) {
		size_t length = wire_copy(r, text, capacity - used);

		if (r->bad || used + length + 1 >= capacity) {
			r->bad = true;
			return NULL;
		}
		vector[i] = text;
		text += length + 1;
		used += length + 1;
	}
	vector[n] = NULL;
	if (count)
		*count = n;
	return vector;
}

struct writer wire_writer(uint8_t *data, size_t capacity)
{
	return (struct writer){ .data = data, .capacity = capacity };
}

static uint8_t *room(struct writer *w, size_t n)
{
	uint8_t *p = w->data + w->length;

	if (w->full || w->capacity - w->length < n) {
		w->full = true;
		return NULL;
	}
	w->length += n;
	return p;
}

static void put(struct writer *w, uint64_t v, size_t n)
{
	uint8_t *p = room(w, n);

	if (p)
		put_little(p, v, n);
}

void wire_put_u8(struct writer *w, uint8_t v)
{
	put(w, v, 1);
}

void wire_put_u16(struct writer *w, uint16_t v)
{
	put(w, v, 2);
}

void wire_put_u32(struct writer *w, uint32_t v)
{
	put(w, v, 4);
}

void wire_put_i32(struct writer *w, int32_t v)
{
	put(w, (uint32_t)v, 4);
}

void wire_put_u64(struct writer *w, uint64_t v)
{
	put(w, v, 8);
}

void wire_put_bytes(struct writer *w, const void *data, size_t length)
{
	uint8_t *p;

	wire_put_u32(w, (uint32_t)length);
	p = room(w, length);
	if (p && length > 0)
		memcpy(p, data, length);
}

void wire_put_str(struct writer *w, const char *text)
{
	wire_put_bytes(w, text, strlen(text));
}
