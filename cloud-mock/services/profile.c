/* profile.c: the clouds we know: what they can do and under which topics. */
#include "cloud/services.h"

static const struct cloud_profile profiles[] = {
    {.name = "embedded",
     .event_prefix = "$aws/events",
     .registration = true,
     .presence_events = true,
     .presence_topic = "",
     .unavailable = "",
     .reserved = "$aws/"},
    {.name = "plain",
     .event_prefix = "convoy/events",
     .registration = false,
     .presence_events = false,
     .presence_topic = "presence/%",
     .unavailable = "registration,door",
     .reserved = "convoy/%/"},
};

const struct cloud_profile *cloud_profile_find(const char *name)
{
    for (size_t i = 0; i < sizeof profiles / sizeof profiles[0]; i++)
        if (strcmp(profiles[i].name, name) == 0)
            return &profiles[i];
    return NULL;
}
