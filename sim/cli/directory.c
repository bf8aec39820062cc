/* directory.c: where a run's files go, and the command as it was typed. */
#include "commands.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static bool make_directories(char *path)
{
    for (char *slash = path + 1; (slash = strchr(slash, '/')); slash++) {
        *slash = 0;
        int made = mkdir(path, 0777);
        *slash = '/';
        if (made < 0 && errno != EEXIST)
            return false;
    }
    return mkdir(path, 0777) == 0 || errno == EEXIST;
}

void cli_choose_directory(const char *name, const char *wanted, char *out, size_t capacity)
{
    if (wanted) {
        snprintf(out, capacity, "%s", wanted);
        return;
    }
    snprintf(out, capacity, "runs/%s", name);
    size_t base = strlen(out);
    for (int n = 2; access(out, F_OK) == 0 && n < 10000; n++)
        snprintf(out + base, capacity - base, "-%d", n);
}

bool cli_prepare_directory(char *path)
{
    char probe[600];
    if (!make_directories(path)) {
        cli_complain("cannot make the run directory %s: %s", path, strerror(errno));
        return false;
    }
    snprintf(probe, sizeof probe, "%s/.convoy-%d", path, (int)getpid());
    FILE *file = fopen(probe, "w");
    if (!file) {
        cli_complain("cannot write to the run directory %s: %s; choose another with --out", path, strerror(errno));
        return false;
    }
    fclose(file);
    unlink(probe);
    return true;
}

void cli_command_text(int argc, char **argv, char *out, size_t capacity)
{
    size_t length = (size_t)snprintf(out, capacity, "convoy");
    for (int i = 0; i < argc && length < capacity; i++) {
        bool secret = i > 0 && strncmp(argv[i - 1], "--pas", 5) == 0 && !strchr(argv[i - 1], '=');
        bool quote = strpbrk(argv[i], " \t'\"$&|;<>*?") != NULL;
        const char *shown = secret ? "***" : strncmp(argv[i], "--pas", 5) == 0 ? "--password" : argv[i];
        if (shown != argv[i] && !secret && strchr(argv[i], '='))
            shown = "--password=***";
        length += (size_t)snprintf(out + length, capacity - length, quote && shown == argv[i] ? " '%s'" : " %s", shown);
    }
}

bool cli_write_pem(const char *path, const char *label, const uint8_t *der, size_t length)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    mode_t old = umask(077);
    if (!strstr(label, "KEY"))
        umask(old);
    FILE *file = fopen(path, "we");
    umask(old);
    if (!file)
        return false;
    fprintf(file, "-----BEGIN %s-----\n", label);
    for (size_t i = 0; i < length; i += 3) {
        uint32_t bits = (uint32_t)der[i] << 16 | (i + 1 < length ? (uint32_t)der[i + 1] << 8 : 0) |
                        (i + 2 < length ? der[i + 2] : 0);
        fputc(digits[bits >> 18], file);
        fputc(digits[bits >> 12 & 63], file);
        fputc(i + 1 < length ? digits[bits >> 6 & 63] : '=', file);
        fputc(i + 2 < length ? digits[bits & 63] : '=', file);
        if (i % 48 == 45 || i + 3 >= length)
            fputc('\n', file);
    }
    fprintf(file, "-----END %s-----\n", label);
    return fclose(file) == 0;
}
