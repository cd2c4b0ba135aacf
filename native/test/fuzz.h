/* What the fuzzers share: numbers from a seed, a deadline, and a failure that says how to see it again. */
#ifndef NACELLE_FUZZ_H
#define NACELLE_FUZZ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* From 0 to below - 1. */
uint64_t fuzz_below(uint64_t below);
/* True once in `of`. */
bool fuzz_once_in(uint64_t of);
/* Sizes as they matter: mostly small, at times near `edge`, seldom up to `most`. */
size_t fuzz_size(size_t edge, size_t most);
_Noreturn void fuzz_fail(const char *file, int line, const char *what);

#define CHECK(condition) ((condition) ? (void)0 : fuzz_fail(__FILE__, __LINE__, #condition))

/*
 * PROGRAM SECONDS [SEED]: rounds until the seconds are over, each with the seed of the one before plus one; without a
 * SEED from the clock. With one and 0 seconds: that round alone.
 */
int fuzz_main(int argc, char **argv, void (*round)(void));

#endif
