/* fill_remote.c: remote commands and parked cars (remote.lua) -> struct scenario. */
#include "reader.h"

void fill_remote(struct reader *reader, struct scenario_commands *remote)
{
    static const char *const patterns[] = {"plain", "executions", "shadow", NULL};
    reader_enter(reader, "remote");
    remote->pattern = (uint8_t)reader_choice(reader, "pattern", patterns);
    remote->on = reader_flag(reader, "on");
    remote->sealed = reader_flag(reader, "sealed");
    remote->presence = reader_flag(reader, "presence");
    remote->debounce_us = reader_time_us(reader, "debounce");
    remote->fallback_us = reader_time_us(reader, "fallback");
    remote->tap_retry_us = reader_time_us(reader, "tap_retry");
    remote->taps = reader_whole(reader, "taps", 20);
    remote->command_in_sms = reader_flag(reader, "command_in_sms");
    reader_table(reader, "sms_latency", 0, LONGEST_US, &remote->sms_latency_us, NULL, 0);
    remote->sms_loss = reader_number(reader, "sms_loss", 0, 1);
    remote->sms_duplicates = reader_number(reader, "sms_duplicates", 0, 1);
    remote->sms_validity_us = reader_time_us(reader, "sms_validity");
    remote->watchers = reader_whole(reader, "watchers", 16);
    remote->strangers = reader_number(reader, "strangers", 0, 1);
    remote->execute_failures = reader_number(reader, "failures", 0, 1);
    reader_enter(reader, "faults");
    remote->lose_sms = reader_number(reader, "lose_sms", 0, 1);
    remote->trust_old_presence = reader_number(reader, "trust_old_presence", 0, 1);
    remote->lose_answers = reader_number(reader, "lose_answers", 0, 1);
    remote->no_fallback = reader_number(reader, "no_fallback", 0, 1);
    remote->skip_verification = reader_number(reader, "skip_verification", 0, 1);
    reader_leave(reader);
    reader_enter(reader, "attacks");
    remote->forged_per_day = reader_number(reader, "forged", 0, 1e4);
    remote->replayed_per_day = reader_number(reader, "replayed", 0, 1e4);
    remote->late_per_day = reader_number(reader, "late", 0, 1e4);
    reader_leave(reader);
    reader_leave(reader);
}

static void fill_battery(struct reader *reader, struct power_profile *battery)
{
    power_profile_standard(battery);
    battery->budget_uah = 0;
    if (!reader_has(reader, "battery"))
        return;
    reader_enter(reader, "battery");
    battery->budget_uah = (uint32_t)(reader_number(reader, "budget", 0, 200) * 1e6);
    battery->reserve_uah = (uint32_t)(reader_number(reader, "reserve", 0, 200) * 1e6);
    reader_leave(reader);
}

void fill_parking(struct reader *reader, struct scenario_cohort *cohort)
{
    char path[32];
    reader_text(reader, "path", path, sizeof(path));
    if (!network_path_find(path))
        reader_spoilt(reader, "path");
    cohort->path = *network_path_find(path);
    cohort->has_path = reader_flag(reader, "has_path");
    reader_enter(reader, "parking");
    cohort->stay_connected_us = reader_time_us(reader, "stay_connected");
    cohort->linger_us = reader_time_us(reader, "linger");
    cohort->wake_every_us = reader_time_us(reader, "wake_every");
    cohort->clock_drift_ppm = reader_number(reader, "clock_drift", 0, 10000);
    cohort->has_parked_radio = reader_has(reader, "radio");
    if (cohort->has_parked_radio)
        fill_radio(reader, "radio", &cohort->parked_radio);
    cohort->garage_share = reader_number(reader, "garage_share", 0, 1);
    cohort->garage_dark = reader_number(reader, "garage_dark", 0, 1);
    if (reader_has(reader, "garage_radio"))
        fill_radio(reader, "garage_radio", &cohort->garage_radio);
    fill_battery(reader, &cohort->battery);
    reader_leave(reader);
}
