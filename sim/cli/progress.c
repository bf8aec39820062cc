/* progress.c: the line that moves while a run goes on; nothing of it when standard error is no terminal. */
#include "commands.h"

#include <stdio.h>
#include <unistd.h>

#define BAR_WIDTH 24

static bool shown;
static FILE *lines; /* --progress */

static void compact(double value, char *out, size_t capacity)
{
    if (value >= 1e6)
        snprintf(out, capacity, "%.2f M", value / 1e6);
    else if (value >= 1e4)
        snprintf(out, capacity, "%.1f k", value / 1e3);
    else
        snprintf(out, capacity, "%.0f", value);
}

bool cli_progress_to(const char *path)
{
    lines = fopen(path, "w");
    return lines != NULL;
}

void cli_progress(void *context, const struct world_progress *progress)
{
    const struct scenario *scenario = context;
    if (lines) {
        fprintf(lines, "{\"wall_s\":%.3f,\"connected\":%llu,\"publishes_per_s\":%.1f}\n", progress->wall_s,
                (unsigned long long)progress->connected, progress->publishes_per_s);
        fflush(lines);
    }
    if (!isatty(STDERR_FILENO))
        return;
    double share = progress->duration_us > 0 ? (double)progress->now_us / (double)progress->duration_us : 0;
    char bar[BAR_WIDTH * 3 + 1] = "", at[32], connected[16], publishes[16], left[24] = "";
    int full = (int)(share * BAR_WIDTH);
    for (int i = 0; i < BAR_WIDTH; i++)
        strcat(bar, i < full ? "█" : "░");
    scenario_time_text(scenario, progress->now_us, at, sizeof at);
    compact((double)progress->connected, connected, sizeof connected);
    compact(progress->publishes_per_s, publishes, sizeof publishes);
    if (share > 0.005)
        snprintf(left, sizeof left, "%.0f s left", progress->wall_s / share * (1 - share));
    fprintf(stderr, "\r\033[K %s  %s %3.0f %%  %s connected  %s publishes/s  %.1f commands/s  %.0f × real time  %s", at,
            bar, share * 100, connected, publishes, progress->commands_per_s, progress->speed, left);
    fflush(stderr);
    shown = true;
}

void cli_progress_clear(void)
{
    if (shown)
        fputs("\r\033[K", stderr);
    shown = false;
}
