/* profile.c: what is known of a broker beforehand: data, not code (sim/conform/profiles). */
#include "internal.h"

#include "conform_profiles.h" /* made from profiles/ when the program is built */

#include <cjson/cJSON.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#define PROFILE_MAX (1u << 20)
#define LIKE_DEPTH  4

struct conform_profile {
    cJSON *root;
    struct conform_profile *like; /* asked when this one says nothing; owned */
    int64_t today;                /* YYYYMMDD */
};

static const struct built_in {
    const char *name, *text;
} built_in[] = {
    {"mqtt5", mqtt5},       {"aws-iot", aws_iot}, {"azure-iot-operations", azure_iot_operations},
    {"rabbitmq", rabbitmq}, {"solace", solace},   {"cloudflare-pubsub", cloudflare_pubsub},
};
#define BUILT_IN_COUNT (sizeof(built_in) / sizeof(built_in[0]))

const char *conform_profile_at(uint32_t index)
{
    return index < BUILT_IN_COUNT ? built_in[index].name : NULL;
}

/* ---- reading ---------------------------------------------------------------------------------------------------------------- */

static char *read_file(const char *path, char *error, size_t capacity)
{
    FILE *file = fopen(path, "rb");
    if (!file) {
        snprintf(error, capacity, "%s: %s", path, strerror(errno));
        return NULL;
    }
    char *text = calloc(1, PROFILE_MAX + 1);
    size_t length = text ? fread(text, 1, PROFILE_MAX + 1, file) : 0;
    fclose(file);
    if (!text || length > PROFILE_MAX) {
        snprintf(error, capacity, "%s: too large for a profile", path);
        free(text);
        return NULL;
    }
    return text;
}

/* "2027-03-31" as 20270331; 0: "", without end; -1: no date. */
static int64_t date_of(const cJSON *until)
{
    const char *text = cJSON_GetStringValue(until);
    int year, month, day;
    char end;
    if (!text)
        return until ? -1 : 0;
    if (!text[0])
        return 0;
    if (sscanf(text, "%4d-%2d-%2d%c", &year, &month, &day, &end) != 3 || month < 1 || month > 12 || day < 1 || day > 31)
        return -1;
    return year * 10000 + month * 100 + day;
}

static bool deviations_are_sound(const cJSON *root, const char *name, char *error, size_t capacity)
{
    const cJSON *deviations = cJSON_GetObjectItemCaseSensitive(root, "deviations"), *each;
    int number = 0;
    if (deviations && !cJSON_IsArray(deviations))
        return snprintf(error, capacity, "%s: deviations must be a list", name) < 0;
    cJSON_ArrayForEach(each, deviations)
    {
        const char *id = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(each, "id"));
        const char *reason = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(each, "reason"));
        number++;
        if (!id || !id[0] || !reason || !reason[0] || strcmp(id, "*") == 0)
            return snprintf(error, capacity, "%s: deviation %d needs an id and a reason", name, number) < 0;
        if (date_of(cJSON_GetObjectItemCaseSensitive(each, "until")) < 0)
            return snprintf(error, capacity, "%s: deviation %d (%s): until must be a date like 2027-03-31, or \"\"",
                            name, number, id) < 0;
    }
    return true;
}

static bool members_are_known(const cJSON *root, const char *name, char *error, size_t capacity)
{
    static const char *const known[] = {"name", "what",         "like",     "deviations",
                                        "told", "topic_prefix", "parallel", "connects_per_s"};
    const cJSON *each;
    cJSON_ArrayForEach(each, root)
    {
        bool found = false;
        for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
            found |= strcmp(each->string, known[i]) == 0;
        if (!found)
            return snprintf(error, capacity, "%s: unknown member '%.60s'", name, each->string) < 0;
    }
    return true;
}

static struct conform_profile *open_profile(const char *name, int64_t today, int depth, char *error, size_t capacity)
{
    const char *text = NULL;
    char *file = NULL;
    for (size_t i = 0; i < BUILT_IN_COUNT; i++)
        if (strcmp(built_in[i].name, name) == 0)
            text = built_in[i].text;
    if (!text && !strpbrk(name, "/.")) {
        snprintf(error, capacity, "there is no profile '%.80s'; a file: --profile ./%.80s", name, name);
        return NULL;
    }
    if (!text && !(text = file = read_file(name, error, capacity)))
        return NULL;
    struct conform_profile *profile = calloc(1, sizeof(*profile));
    bool usable = profile != NULL;
    if (usable) {
        profile->today = today;
        profile->root = cJSON_Parse(text);
        usable = cJSON_IsObject(profile->root);
        if (!usable)
            snprintf(error, capacity, "%s: no JSON object", name);
    }
    free(file);
    usable = usable && members_are_known(profile->root, name, error, capacity) &&
             deviations_are_sound(profile->root, name, error, capacity);
    const char *like = usable ? cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(profile->root, "like")) : NULL;
    if (like && depth >= LIKE_DEPTH) {
        snprintf(error, capacity, "%s: profiles are like each other in a circle", name);
        usable = false;
    } else if (like) {
        usable = (profile->like = open_profile(like, today, depth + 1, error, capacity)) != NULL;
    }
    if (usable)
        return profile;
    conform_profile_close(profile);
    return NULL;
}

struct conform_profile *conform_profile_open(const char *name, int64_t today, char *error, size_t error_capacity)
{
    return open_profile(name, today, 0, error, error_capacity);
}

void conform_profile_close(struct conform_profile *profile)
{
    if (!profile)
        return;
    conform_profile_close(profile->like);
    cJSON_Delete(profile->root);
    free(profile);
}

bool conform_profile_tell(struct conform_profile *profile, const char *key, const char *value)
{
    cJSON *told = cJSON_GetObjectItemCaseSensitive(profile->root, "told");
    if (!told)
        told = cJSON_AddObjectToObject(profile->root, "told");
    cJSON_DeleteItemFromObjectCaseSensitive(told, key);
    return cJSON_AddStringToObject(told, key, value) != NULL;
}

/* ---- asking ------------------------------------------------------------------------------------------------------------------- */

static const cJSON *member(const struct conform_profile *profile, const char *name)
{
    const cJSON *found = NULL;
    for (; profile && !found; profile = profile->like)
        found = cJSON_GetObjectItemCaseSensitive(profile->root, name);
    return found;
}

const char *conform_profile_name(const struct conform_profile *profile)
{
    const char *name = cJSON_GetStringValue(member(profile, "name"));
    return name ? name : "mqtt5";
}

const char *conform_profile_prefix(const struct conform_profile *profile)
{
    return cJSON_GetStringValue(member(profile, "topic_prefix"));
}

double conform_profile_number(const struct conform_profile *profile, const char *name)
{
    const cJSON *found = member(profile, name);
    return cJSON_IsNumber(found) ? found->valuedouble : 0;
}

const char *profile_told(const struct conform_profile *profile, const char *key)
{
    const char *told = NULL;
    for (; profile && !told; profile = profile->like)
        told = cJSON_GetStringValue(
            cJSON_GetObjectItemCaseSensitive(cJSON_GetObjectItemCaseSensitive(profile->root, "told"), key));
    return told;
}

static bool covers(const char *pattern, const char *name)
{
    size_t length = strlen(pattern);
    return length && pattern[length - 1] == '*' ? strncmp(pattern, name, length - 1) == 0 : strcmp(pattern, name) == 0;
}

const char *profile_deviation(const struct conform_profile *profile, const char *id, const char *ref)
{
    for (; profile; profile = profile->like) {
        const cJSON *each;
        cJSON_ArrayForEach(each, cJSON_GetObjectItemCaseSensitive(profile->root, "deviations"))
        {
            const char *pattern = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(each, "id"));
            int64_t until = date_of(cJSON_GetObjectItemCaseSensitive(each, "until"));
            if ((covers(pattern, id) || covers(pattern, ref)) && (until == 0 || until >= profile->today))
                return cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(each, "reason"));
        }
    }
    return NULL;
}
