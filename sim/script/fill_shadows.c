/* fill_shadows.c: device shadows (shadows.lua) -> struct scenario. */
#include "reader.h"

static void fill_setting(struct reader *reader, struct scenario_setting *setting)
{
    reader_text(reader, "name", setting->name, sizeof(setting->name));
    setting->low = (int32_t)reader_number(reader, "low", 0, 30000);
    setting->high = (int32_t)reader_number(reader, "high", setting->low + 1, 30000);
}

void fill_shadows(struct reader *reader, struct scenario_shadow *shadow)
{
    reader_enter(reader, "shadow");
    shadow->on = reader_flag(reader, "on");
    reader_text(reader, "name", shadow->name, sizeof(shadow->name));
    shadow->setting_count = reader_enter_list(reader, "settings", SCENARIO_SETTINGS, 0, NULL);
    for (uint32_t i = 0; i < shadow->setting_count; i++) {
        reader_enter_at(reader, i + 1, "settings");
        fill_setting(reader, &shadow->settings[i]);
        reader_leave(reader);
    }
    reader_leave(reader);
    shadow->versions = reader_flag(reader, "versions");
    shadow->users = reader_whole(reader, "users", SCENARIO_USERS);
    shadow->per_day = reader_number(reader, "per_day", 0, 1e7);
    shadow->driver_per_day = reader_number(reader, "driver_per_day", 0, 1e7);
    shadow->think_us = reader_time_us(reader, "think");
    shadow->apply_us = reader_time_us(reader, "apply");
    shadow->failures = reader_number(reader, "failures", 0, 0.9);
    shadow->from_us = reader_time_us(reader, "from");
    shadow->to_us = reader_time_us(reader, "to");
    shadow->settle_us = reader_time_us(reader, "settle");
    reader_enter(reader, "faults");
    shadow->deaf = reader_number(reader, "deaf", 0, 1);
    shadow->stale_reports = reader_number(reader, "stale_reports", 0, 1);
    shadow->ignore_versions = reader_number(reader, "ignore_versions", 0, 1);
    reader_leave(reader);
    reader_leave(reader);
}
