/* nearest.c: optimal string alignment distance over three rows. */
#include "nearest.h"

#include <ctype.h>
#include <string.h>

#define LONGEST 63

static uint32_t least(uint32_t a, uint32_t b)
{
    return a < b ? a : b;
}

static int letter(const char *word, size_t index)
{
    return tolower((unsigned char)word[index]);
}

uint32_t nearest_distance(const char *a, const char *b)
{
    size_t m = strlen(a), n = strlen(b);
    uint32_t rows[3][LONGEST + 1];
    if (m > LONGEST || n > LONGEST)
        return UINT32_MAX;
    for (size_t j = 0; j <= n; j++)
        rows[0][j] = (uint32_t)j;
    for (size_t i = 1; i <= m; i++) {
        uint32_t *row = rows[i % 3], *above = rows[(i + 2) % 3], *before = rows[(i + 1) % 3];
        row[0] = (uint32_t)i;
        for (size_t j = 1; j <= n; j++) {
            uint32_t cost = letter(a, i - 1) != letter(b, j - 1);
            row[j] = least(least(above[j] + 1, row[j - 1] + 1), above[j - 1] + cost);
            if (i > 1 && j > 1 && letter(a, i - 1) == letter(b, j - 2) && letter(a, i - 2) == letter(b, j - 1))
                row[j] = least(row[j], before[j - 2] + 1);
        }
    }
    return rows[m % 3][n];
}

uint32_t nearest_tolerance(const char *word)
{
    size_t length = strlen(word);
    return length <= 4 ? 1 : length <= 8 ? 2 : 3;
}
