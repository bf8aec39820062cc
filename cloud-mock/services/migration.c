/* migration.c: a fleet goes from one broker to another by cohorts, and back if it must (cloud/regions.h). */
#include "cloud/regions.h"
#include "cloud/services.h"
#include "memory.h"

#define SETTLE_US (5 * US_PER_MIN)

struct wave {
    struct cloud_wave plan;
    enum cloud_wave_state state;
    uint32_t arrived, missing;
};

struct cloud_migration {
    struct cloud_due due; /* first: read without a call */
    int64_t began_us, settle_us;
    double abort_share;
    uint32_t count;
    struct wave waves[];
};

static bool valid(const struct cloud_migration_options *options)
{
    if (options->wave_count == 0 || options->settle_us < 0 || !(options->abort_share >= 0 && options->abort_share <= 1))
        return false;
    for (uint32_t i = 0; i < options->wave_count; i++) {
        if (options->waves[i].at_us < 0 || options->waves[i].within_us < 0)
            return false;
        for (uint32_t other = 0; other < i; other++)
            if (options->waves[other].cohort == options->waves[i].cohort)
                return false;
    }
    return true;
}

static int64_t begins_us(const struct cloud_migration *migration, const struct wave *wave)
{
    return migration->began_us + wave->plan.at_us;
}

/* When the last of its vehicles has had time to settle. */
static int64_t ends_us(const struct cloud_migration *migration, const struct wave *wave)
{
    return begins_us(migration, wave) + wave->plan.within_us + migration->settle_us;
}

static void rearm(struct cloud_migration *migration)
{
    int64_t next_us = TIME_NEVER;
    for (uint32_t i = 0; i < migration->count; i++) {
        const struct wave *wave = &migration->waves[i];
        int64_t at_us = TIME_NEVER;
        if (wave->state == CLOUD_WAVE_WAITING)
            at_us = begins_us(migration, wave);
        else if (wave->state == CLOUD_WAVE_MOVING)
            at_us = ends_us(migration, wave);
        next_us = at_us < next_us ? at_us : next_us;
    }
    migration->due.next_us = next_us;
}

struct cloud_migration *cloud_migration_create(const struct cloud_migration_options *options, int64_t now_us)
{
    struct cloud_migration *migration = NULL;
    if (valid(options))
        migration = memory_allocate_zero(1, sizeof *migration + options->wave_count * sizeof *migration->waves);
    if (!migration)
        return NULL;
    migration->began_us = now_us;
    migration->settle_us = options->settle_us ? options->settle_us : SETTLE_US;
    migration->abort_share = options->abort_share;
    migration->count = options->wave_count;
    for (uint32_t i = 0; i < options->wave_count; i++)
        migration->waves[i].plan = options->waves[i];
    rearm(migration);
    return migration;
}

void cloud_migration_destroy(struct cloud_migration *migration)
{
    memory_free(migration);
}

static struct wave *wave_of(const struct cloud_migration *migration, uint16_t cohort)
{
    for (uint32_t i = 0; i < migration->count; i++)
        if (migration->waves[i].plan.cohort == cohort)
            return (struct wave *)(uintptr_t)&migration->waves[i];
    return NULL;
}

uint32_t cloud_migration_broker(const struct cloud_migration *migration, int64_t now_us, uint16_t cohort, uint32_t part)
{
    const struct wave *wave = wave_of(migration, cohort);
    if (!wave || wave->state == CLOUD_WAVE_ROLLED_BACK)
        return 0;
    int64_t turn_us = (int64_t)(((unsigned __int128)(uint64_t)wave->plan.within_us * part) >> 32);
    return now_us >= begins_us(migration, wave) + turn_us;
}

static void judge(struct cloud_migration *migration, struct wave *wave)
{
    double reported = (double)wave->arrived + wave->missing;
    bool failed = migration->abort_share > 0 && wave->missing > migration->abort_share * reported;
    wave->state = failed ? CLOUD_WAVE_ROLLED_BACK : CLOUD_WAVE_MOVED;
}

/* What comes after the verdict can still turn it: the last vehicles' time is over with the wave's. */
void cloud_migration_arrived(struct cloud_migration *migration, int64_t now_us, uint16_t cohort, bool arrived)
{
    struct wave *wave = wave_of(migration, cohort);
    if (!wave || wave->state == CLOUD_WAVE_ROLLED_BACK || now_us < begins_us(migration, wave))
        return;
    if (arrived)
        wave->arrived++;
    else
        wave->missing++;
    if (wave->state == CLOUD_WAVE_MOVED)
        judge(migration, wave);
}

void cloud_migration_tick(struct cloud_migration *migration, int64_t now_us)
{
    if (now_us < migration->due.next_us)
        return;
    for (uint32_t i = 0; i < migration->count; i++) {
        struct wave *wave = &migration->waves[i];
        if (wave->state == CLOUD_WAVE_WAITING && now_us >= begins_us(migration, wave))
            wave->state = CLOUD_WAVE_MOVING;
        if (wave->state == CLOUD_WAVE_MOVING && now_us >= ends_us(migration, wave))
            judge(migration, wave);
    }
    rearm(migration);
}

void cloud_migration_roll_back(struct cloud_migration *migration, int64_t now_us)
{
    (void)now_us;
    for (uint32_t i = 0; i < migration->count; i++)
        migration->waves[i].state = CLOUD_WAVE_ROLLED_BACK;
    rearm(migration);
}

enum cloud_wave_state cloud_migration_wave(const struct cloud_migration *migration, uint32_t wave)
{
    return wave < migration->count ? migration->waves[wave].state : CLOUD_WAVE_WAITING;
}
