/* versions.c: which libraries this run really used: asked at run time wherever the library can answer. */
#include "internal.h"

#include <cjson/cJSON.h>
#include <event2/event-config.h>
#include <gnu/libc-version.h>
#include <gsl/gsl_version.h>
#include <lua.h>
#include <openssl/crypto.h>
#include <sqlite3.h>
#include <stdio.h>

/* Only these are wanted from libraries whose headers open sockets, and those headers have no business in this folder. */
struct paho_pair {
    const char *name, *value;
};
struct paho_pair *MQTTAsync_getVersionInfo(void);
int ev_version_major(void);
int ev_version_minor(void);
char *curl_version(void);

static const char *paho_version(void)
{
    for (const struct paho_pair *pair = MQTTAsync_getVersionInfo(); pair && pair->name; pair++)
        if (strcmp(pair->name, "Version") == 0)
            return pair->value;
    return "unknown";
}

/* "libcurl/7.88.1 OpenSSL/3.0.11 ..." */
static void curl_number(char *out, size_t capacity)
{
    const char *slash = strchr(curl_version(), '/');
    snprintf(out, capacity, "%s", slash ? slash + 1 : "unknown");
    out[strcspn(out, " ")] = 0;
}

uint32_t report_versions(const struct report_run *run, struct report_version out[16])
{
    char libev[16], curl[32];
    curl_number(curl, sizeof(curl));
    snprintf(libev, sizeof(libev), "%d.%d", ev_version_major(), ev_version_minor());
    const struct {
        const char *name, *value;
    } versions[] = {
        {"convoy", run->version ? run->version : "unknown"},
        {"commit", run->commit ? run->commit : "unknown"},
        {"openssl", OpenSSL_version(OPENSSL_VERSION_STRING)},
        {"paho", paho_version()},
        {"libev", libev},
        {"libevent", EVENT__VERSION}, /* libev exports a function of the same name as libevent's */
        {"libcurl", curl},
        {"cjson", cJSON_Version()},
        {"sqlite", sqlite3_libversion()},
        {"gsl", gsl_version},
        {"lua", LUA_VERSION_MAJOR "." LUA_VERSION_MINOR "." LUA_VERSION_RELEASE},
        {"libc", gnu_get_libc_version()},
        {"compiler", __VERSION__},
    };
    uint32_t count = sizeof(versions) / sizeof(versions[0]);
    for (uint32_t i = 0; i < count; i++) {
        out[i].name = versions[i].name;
        snprintf(out[i].value, sizeof(out[i].value), "%.63s", versions[i].value);
    }
    return count;
}
