#include "fuzz.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static const char *program;
static uint64_t seed;
static uint64_t state;

/* splitmix64: any seed is as good as another. */
static uint64_t next(void)
{
	uint64_t z = (state += UINT64_C(0x9e3779b97f4a7c15));

	z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
	return z ^ (z >> 31);
}

uint64_t fuzz_below(uint64_t below)
{
	return below > 0 ? next() % below : 0;
}

bool fuzz_once_in(uint64_t of)
{
	return fuzz_below(of) == 0;
}

size_t fuzz_size(size_t edge, size_t most)
{
	switch (fuzz_below(16)) {
	case 0:
		return (size_t)fuzz_below(most + 1);
	case 1:
	case 2:
		return edge + (size_t)fuzz_below(7) - 3;
	case 3:
		return 0;
	default:
		return (size_t)fuzz_below(most < 200 ? most + 1 : 200);
	}
}

_Noreturn void fuzz_fail(const char *file, int line, const char *what)
{
	fprintf(stderr, "%s:%d: does not hold: %s\nagain: %s 0 %" PRIu64 "\n", file, line, what, program, seed);
	abort();
}

static time_t seconds_now(void)
{
	struct timespec now;

	(void)clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec;
}

int fuzz_main(int argc, char **argv, void (*round)(void))
{
	time_t until = seconds_now() + (argc > 1 ? atol(argv[1]) : 1);
	struct timespec now;
	uint64_t rounds = 0;

	program = argv[0];
	(void)clock_gettime(CLOCK_REALTIME, &now);
	seed = argc > 2 ? strtoull(argv[2], NULL, 10) : (uint64_t)now.tv_sec * 1000000;
	printf("%s: from seed %" PRIu64 "\n", program, seed);
	(void)fflush(stdout);
	do {
		state = seed;
		round();
		seed++;
		rounds++;
	} while (seconds_now() < until);
	printf("%s: %" PRIu64 " rounds, up to seed %" PRIu64 "\n", program, rounds, seed - 1);
	return 0;
}
