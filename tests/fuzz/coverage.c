/* Which branches a run of the core has taken: what gcc's -fsanitize-coverage=trace-pc calls.
 *
 * Built and loaded by feedback.py, before the modules that are compiled so. As in AFL, a branch is
 * a pair of places, its count matters by its order of magnitude, and places are hashed.
 */
#include <stdint.h>
#include <string.h>

enum { BITS = 16, SIZE = 1 << BITS };

static uint8_t taken[SIZE];
static uint8_t seen[SIZE];
static uint32_t previous;

void __sanitizer_cov_trace_pc(void)
{
    uint64_t place = (uintptr_t)__builtin_return_address(0);
    uint32_t at = (uint32_t)((place * 0x9E3779B97F4A7C15u) >> (64 - BITS));
    uint8_t *count = &taken[at ^ previous];
    if (*count != UINT8_MAX)
        ++*count;
    previous = at >> 1;
}

void coverage_begin(void)
{
    memset(taken, 0, SIZE);
    previous = 0;
}

void coverage_forget(void)
{
    memset(seen, 0, SIZE);
}

static uint8_t magnitude(uint8_t count)
{
    return count == 0 ? 0 : count < 4 ? 1 << (count - 1) : count < 8 ? 8 : count < 16 ? 16
        : count < 32 ? 32 : count < 128 ? 64 : 128;
}

/* How many of the branches of this run, with their magnitudes, no run before has taken. */
int coverage_news(void)
{
    int news = 0;
    for (int i = 0; i < SIZE; i++) {
        uint8_t bit = magnitude(taken[i]);
        if (bit & ~seen[i]) {
            seen[i] |= bit;
            news++;
        }
    }
    return news;
}

/* Branches taken by any run. */
int coverage_total(void)
{
    int total = 0;
    for (int i = 0; i < SIZE; i++)
        total += seen[i] != 0;
    return total;
}
