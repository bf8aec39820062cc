/* nearest.h: "did you mean": the closest spelling among a few words. */
#ifndef SCRIPT_NEAREST_H
#define SCRIPT_NEAREST_H

#include <stddef.h>
#include <stdint.h>

/* Letters that have to be changed, left out, put in or swapped with their neighbour; case does not count. Words over 63 letters: UINT32_MAX. */
uint32_t nearest_distance(const char *a, const char *b);
/* How far a word of this length may be off and still be meant. */
uint32_t nearest_tolerance(const char *word);

#endif
