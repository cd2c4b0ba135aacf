#include "log-limit.h"

#include <string.h>

/* A bucket holds one second of its rate, and is filled ten times a second: more often nobody is woken up. */
enum { PER_SECOND = 10, SECOND_MS = 1000 };

void limit_opened(struct log_limit *limit, uint64_t size, bool another)
{
	limit->size = size;
	limit->full = limit_slows(limit) && size >= limit->hard;
	if (another)
		limit->told = 0;
}

size_t limit_room(struct log_limit *limit, const char *records, size_t length)
{
	uint64_t room = limit->hard > limit->size ? limit->hard - limit->size : 0;
	const char *last;

	if (limit->hard == 0 || limit->policy == LOG_RATE)
		return length;
	if (limit->full)
		return 0;
	/* What was read already is not lost for LOG_BLOCK: the file becomes that much larger. */
	if (limit->policy == LOG_BLOCK || length <= room)
		return length;
	limit->full = true;
	last = memrchr(records, '\n', (size_t)room);
	return last ? (size_t)(last - records) + 1 : 0;
}

unsigned limit_settle(struct log_limit *limit)
{
	unsigned reached = 0;

	if (limit_slows(limit) && limit->size >= limit->hard)
		limit->full = true;
	if (limit->soft > 0 && limit->size >= limit->soft)
		reached |= LIMIT_SOFT;
	if (limit->full)
		reached |= LIMIT_HARD;
	reached &= ~limit->told;
	limit->told |= reached;
	return reached;
}

bool limit_slows(const struct log_limit *limit)
{
	return limit->hard > 0 && limit->policy != LOG_DROP;
}

bool limit_holds(const struct log_limit *limit)
{
	return limit->policy == LOG_BLOCK && limit->full;
}

/* How long what was used up takes to come back in a useful amount. */
static uint64_t step_ms(const struct log_limit *limit)
{
	return limit->rate < PER_SECOND ? (SECOND_MS + limit->rate - 1) / limit->rate : SECOND_MS / PER_SECOND;
}

static void refill(struct log_limit *limit, uint64_t now_ms)
{
	uint64_t passed = now_ms - limit->filled_at;
	uint64_t gained;

	if (passed < step_ms(limit))
		return;
	gained = passed < SECOND_MS ? limit->rate * passed / SECOND_MS : limit->rate;
	/* Fractions of a byte are kept: time passes only for whole ones, rounded up. */
	limit->filled_at = passed < SECOND_MS ? limit->filled_at + (gained * SECOND_MS + limit->rate - 1) / limit->rate : now_ms;
	limit->tokens = limit->tokens + gained < limit->rate ? limit->tokens + gained : limit->rate;
}

size_t limit_allows(struct log_limit *limit, uint64_t now_ms, size_t want)
{
	uint64_t most = limit->hard > limit->size ? limit->hard - limit->size : 0;

	if (!limit_slows(limit))
		return want;
	if (limit_holds(limit))
		return 0;
	if (limit->full) {
		refill(limit, now_ms);
		most = limit->tokens;
	}
	return want < most ? want : (size_t)most;
}

uint64_t limit_wait(const struct log_limit *limit, uint64_t now_ms)
{
	uint64_t passed = now_ms - limit->filled_at;

	if (limit_holds(limit))
		return LIMIT_FOREVER;
	return limit->full && passed < step_ms(limit) ? step_ms(limit) - passed : 1;
}

void limit_spend(struct log_limit *limit, size_t length)
{
	if (limit->full)
		limit->tokens -= length < limit->tokens ? length : limit->tokens;
}
