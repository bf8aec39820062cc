/* report.c: all the files of a run. */
#include "internal.h"

#include <stdio.h>

bool report_write(const struct report_run *run, const char *directory, char *error, size_t error_capacity)
{
    static const struct {
        const char *name;
        bool (*write)(const struct report_run *run, const char *path, char *error, size_t error_capacity);
    } files[] = {
        {"result.json", report_write_json},         {"junit.xml", report_write_junit},
        {"report.html", report_write_html},         {"run.sqlite", report_write_sqlite},
        {"metrics.prom", report_write_openmetrics},
    };
    bool written = true;
    for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
        char path[FILE_NAME], why[FILE_NAME + 160];
        int length = snprintf(path, sizeof(path), "%s/%s", directory, files[i].name);
        bool fits = length > 0 && (size_t)length < sizeof(path);
        if (!fits)
            snprintf(why, sizeof(why), "cannot write %.500s/%s: the name is too long", directory, files[i].name);
        if (fits && files[i].write(run, path, why, sizeof(why)))
            continue;
        if (written)
            snprintf(error, error_capacity, "%s", why);
        written = false;
    }
    return written;
}
