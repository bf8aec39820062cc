/* fill_messages.c: processors and notices (messages.lua) -> struct scenario. */
#include "reader.h"

static void fill_versions(struct reader *reader, struct scenario_group *group)
{
    group->firmware_count = reader_enter_list(reader, "firmware", SCENARIO_GROUP_VERSIONS, 0, NULL);
    for (uint32_t i = 0; i < group->firmware_count; i++) {
        size_t length = 0;
        const char *version =
            lua_rawgeti(reader->lua, -1, i + 1) == LUA_TSTRING ? lua_tolstring(reader->lua, -1, &length) : NULL;
        if (!version || length >= sizeof(group->firmware[i]))
            reader_spoilt(reader, "firmware");
        memcpy(group->firmware[i], version, length + 1);
        reader_leave(reader);
    }
    reader_leave(reader);
}

static void fill_group(struct reader *reader, struct scenario_group *group)
{
    reader_text(reader, "name", group->name, sizeof(group->name));
    group->members = reader_whole(reader, "count", SCENARIO_GROUP_MEMBERS);
    if (group->members == 0)
        reader_spoilt(reader, "count");
    fill_versions(reader, group);
}

static void fill_notice(struct reader *reader, struct scenario_notice *notice)
{
    uint32_t cohort = reader_whole(reader, "cohort", 64), region = reader_whole(reader, "region", 16);
    reader_text(reader, "name", notice->kind, sizeof(notice->kind));
    notice->at_us = reader_time_us(reader, "at");
    notice->every_us = reader_time_us(reader, "every");
    if (notice->every_us > 0 && notice->every_us < US_PER_S)
        reader_spoilt(reader, "every");
    notice->until_us = reader_time_us(reader, "till");
    notice->expires_us = reader_time_us(reader, "expires");
    notice->cohort = cohort ? (uint16_t)(cohort - 1) : MEASURE_ANY;
    notice->region = region ? (uint16_t)(region - 1) : MEASURE_ANY;
    notice->share = reader_number(reader, "share", 0, 1);
    notice->retained = reader_flag(reader, "retained");
}

void fill_messages(struct reader *reader, struct scenario_messages *messages)
{
    reader_enter(reader, "messages");
    messages->processors = reader_flag(reader, "processors");
    messages->aliases = reader_flag(reader, "aliases");
    messages->on = reader_flag(reader, "on");
    messages->routed = reader_flag(reader, "routed");
    messages->commit_us = reader_time_us(reader, "commit");
    messages->session_s = reader_whole(reader, "session", UINT32_MAX);
    messages->spread = reader_number(reader, "spread", 0, 1);
    messages->grace_us = reader_time_us(reader, "grace");
    messages->group_count = reader_enter_list(reader, "groups", SCENARIO_GROUPS, 0, NULL);
    for (uint32_t i = 0; i < messages->group_count; i++) {
        reader_enter_at(reader, i + 1, "groups");
        fill_group(reader, &messages->groups[i]);
        reader_leave(reader);
    }
    reader_leave(reader);
    if (messages->processors && messages->group_count == 0)
        reader_spoilt(reader, "groups");
    messages->notice_count = reader_enter_list(reader, "notices", SCENARIO_NOTICES, 0, NULL);
    for (uint32_t i = 0; i < messages->notice_count; i++) {
        reader_enter_at(reader, i + 1, "notices");
        fill_notice(reader, &messages->notices[i]);
        reader_leave(reader);
    }
    reader_leave(reader);
    reader_enter(reader, "faults");
    messages->wrong_route = reader_number(reader, "wrong_route", 0, 1);
    messages->early_acknowledgement = reader_number(reader, "early_acknowledgement", 0, 1);
    messages->unshared = reader_number(reader, "unshared", 0, 1);
    messages->idle_members = reader_number(reader, "idle_members", 0, 1);
    messages->forget_expiry = reader_number(reader, "forget_expiry", 0, 1);
    messages->at_most_once = reader_number(reader, "at_most_once", 0, 1);
    reader_leave(reader);
    reader_leave(reader);
}
