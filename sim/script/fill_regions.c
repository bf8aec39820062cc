/* fill_regions.c: regions with a cloud each (regions.lua) -> struct scenario. */
#include "reader.h"

static uint8_t region_at(struct reader *reader, const char *key, const struct scenario *scenario)
{
    uint32_t number = reader_whole(reader, key, scenario->region_count);
    if (number < 1)
        reader_spoilt(reader, key);
    return (uint8_t)(number - 1);
}

/* Both ways alike; what is not said takes no time. */
static void fill_between(struct reader *reader, const struct scenario *scenario, struct scenario_regions *regions)
{
    uint32_t count = reader_enter_list(reader, "between", SCENARIO_REGIONS * SCENARIO_REGIONS, 0, NULL);
    for (uint32_t i = 1; i <= count; i++) {
        reader_enter_at(reader, i, "between");
        uint8_t a = region_at(reader, "a", scenario), b = region_at(reader, "b", scenario);
        int64_t latency_us = reader_time_us(reader, "latency");
        if (latency_us > UINT32_MAX)
            reader_spoilt(reader, "latency");
        regions->between_us[a][b] = regions->between_us[b][a] = (uint32_t)latency_us;
        reader_leave(reader);
    }
    reader_leave(reader);
}

static void fill_migration(struct reader *reader, const struct scenario *scenario, struct scenario_regions *regions)
{
    void *room = NULL;
    regions->from = region_at(reader, "from", scenario);
    regions->to = region_at(reader, "to", scenario);
    regions->migration_at_us = reader_time_us(reader, "start");
    regions->abort_share = reader_number(reader, "abort", 0, 1);
    regions->settle_us = reader_time_us(reader, "settle");
    regions->drain_us = reader_time_us(reader, "drain");
    uint32_t count = reader_enter_list(reader, "waves", 64, sizeof(*regions->waves), &room);
    regions->waves = room;
    for (uint32_t i = 0; i < count; i++) {
        reader_enter_at(reader, i + 1, "waves");
        uint32_t cohort = reader_whole(reader, "cohort", scenario->cohort_count);
        if (cohort < 1)
            reader_spoilt(reader, "cohort");
        regions->waves[i] = (struct scenario_wave){(uint16_t)(cohort - 1), reader_time_us(reader, "at"),
                                                   reader_time_us(reader, "within")};
        regions->wave_count = i + 1;
        reader_leave(reader);
    }
    reader_leave(reader);
}

static void fill_faults(struct reader *reader, struct scenario_regions *regions)
{
    const struct {
        const char *name;
        double *share;
    } faults[] = {
        {"ignore_residency", &regions->ignore_residency},
        {"no_health_check", &regions->no_health_check},
        {"keep_old", &regions->keep_old},
        {"copy_all", &regions->copy_all},
        {"new_refuses", &regions->new_refuses},
        {"no_processors", &regions->no_processors},
    };
    reader_enter(reader, "faults");
    for (size_t i = 0; i < sizeof(faults) / sizeof(faults[0]); i++)
        *faults[i].share = reader_number(reader, faults[i].name, 0, 1);
    reader_leave(reader);
}

void fill_regions(struct reader *reader, struct scenario *scenario)
{
    static const char *const routings[] = {"geolocation", "latency", "static", NULL}; /* enum cloud_routing */
    struct scenario_regions *regions = &scenario->cloud.regions;
    reader_enter(reader, "places");
    regions->on = reader_flag(reader, "on");
    if (regions->on) {
        regions->routing = (uint8_t)reader_choice(reader, "by", routings);
        regions->standard = region_at(reader, "standard", scenario);
        regions->ttl_us = reader_time_us(reader, "ttl");
        regions->health_check_us = reader_time_us(reader, "health_check");
        regions->fail_back_us = reader_time_us(reader, "fail_back");
        fill_between(reader, scenario, regions);
        regions->copied = (uint8_t)reader_whole(reader, "copied", 31);
        regions->cleaned = (uint8_t)reader_whole(reader, "cleaned", 31);
        regions->kept = (uint8_t)reader_whole(reader, "kept", 31);
        regions->clean_after_us = reader_time_us(reader, "clean_after");
        regions->give_up_us = reader_time_us(reader, "give_up");
        regions->migrates = reader_flag(reader, "migrates");
        if (regions->migrates)
            fill_migration(reader, scenario, regions);
        fill_faults(reader, regions);
    }
    reader_leave(reader);
}
