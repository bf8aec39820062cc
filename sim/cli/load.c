/* load.c: the load beside a conformance run. The vehicles are a process of their own (this program: convoy run --world live), so that what they need of the
 * machine is theirs, and end by SIGINT as a person would end them. Their numbers are read from the lines of --progress, and at the end from result.json.
 */
#define _GNU_SOURCE
#include "load.h"
#include "commands.h"

#include <cjson/cJSON.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define CONNECT_S    60 /* and a second more for every hundred vehicles */
#define STOP_S       60
#define KEPT_SHARE   0.98 /* of the vehicles connected at all times */
#define LAG_BOUND_MS "2000"

static const char scenario[] =
    "-- What works beside a conformance run: everybody drives and publishes once a second, and answers commands.\n"
    "local vehicles = param(\"fleet\", 100, \"vehicles in all\")\n"
    "local identity = param(\"identity\", \"none\", \"none on clear listeners, password\")\n"
    "scenario \"load\" { start = \"2026-03-04 08:00\", duration = hours(4), seed = 1, warm_up = seconds(5) }\n"
    "region \"here\" { latency = milliseconds(2) }\n"
    "cloud { processors = 1 }\n"
    "cohort \"car\" {\n"
    "  count = vehicles, radio = \"ideal\", identity = factory { kind = identity, provisioning = \"just-in-time\" },\n"
    "  mqtt = { version = 5, parked = { keep_alive = minutes(5) }, driving = { keep_alive = seconds(30) }, "
    "session_expiry = minutes(2) },\n"
    "  telemetry = every(seconds(1)):while_driving():size(lognormal(300, 0.4)):qos(1),\n"
    "  trips = always_driving(), power_up = within(seconds(3)),\n"
    "  backoff = { base = milliseconds(500), cap = seconds(8) }, acknowledge_timeout = seconds(20),\n"
    "}\n"
    "app \"companion\" { users = vehicles, command = \"unlock\", rate = per_minute(1), timeout = seconds(10), from = "
    "seconds(10),\n"
    "                  to = hours(4) }\n"
    "expect \"nothing-lost\" (telemetry():lost()):equals(0)\n";

static int64_t now_us(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * US_PER_S + now.tv_nsec / 1000;
}

static void pause_ms(long ms)
{
    nanosleep(&(struct timespec){ms / 1000, ms % 1000 * 1000000}, NULL);
}

static bool write_scenario(const char *path)
{
    FILE *file = fopen(path, "w");
    bool whole = file && fputs(scenario, file) >= 0;
    if (file && fclose(file) != 0)
        whole = false;
    return whole;
}

/* ---- its own process -------------------------------------------------------------------------------------------------------- */

#define ARGUMENTS 40
struct arguments {
    const char *list[ARGUMENTS];
    int count;
};

static void add(struct arguments *arguments, const char *name, const char *value)
{
    if (arguments->count + 3 > ARGUMENTS)
        return;
    arguments->list[arguments->count++] = name;
    if (value)
        arguments->list[arguments->count++] = value;
    arguments->list[arguments->count] = NULL;
}

static _Noreturn void become(struct arguments *arguments, const char *log)
{
    int output = open(log, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    int nothing = open("/dev/null", O_RDONLY);
    prctl(PR_SET_PDEATHSIG, SIGINT); /* who starts a load and is killed leaves none */
    signal(SIGPIPE, SIG_DFL);
    if (setpgid(0, 0) == 0 && nothing >= 0 && output >= 0 && dup2(nothing, 0) == 0 && dup2(output, 1) == 1 &&
        dup2(output, 2) == 2)
        execv("/proc/self/exe", (char *const *)arguments->list);
    _exit(127);
}

static bool ended(struct load *load)
{
    if (load->pid > 0 && waitpid(load->pid, NULL, WNOHANG) == load->pid)
        load->pid = 0;
    return load->pid == 0;
}

/* ---- its numbers ------------------------------------------------------------------------------------------------------------- */

/* Goes through the lines of --progress: what was from load->since_s seconds of its time on; returns how many are connected now. */
static uint64_t read_progress(struct load *load)
{
    FILE *file = fopen(load->progress, "r");
    char line[400];
    uint64_t connected = 0, least = UINT64_MAX, most = 0;
    double at_s = 0, rate = 0, rates = 0;
    uint32_t samples = 0;
    unsigned long long count;
    while (file && fgets(line, sizeof(line), file)) {
        if (sscanf(line, "{\"wall_s\":%lf,\"connected\":%llu,\"publishes_per_s\":%lf}", &at_s, &count, &rate) != 3)
            continue;
        connected = count;
        if (at_s < load->since_s)
            continue;
        least = connected < least ? connected : least;
        most = connected > most ? connected : most;
        rates += rate;
        samples++;
    }
    if (file)
        fclose(file);
    load->at_s = at_s;
    load->connected_at_least = samples ? least : connected;
    load->connected_at_most = samples ? most : connected;
    load->publishes_per_s = samples ? rates / samples : 0;
    return connected;
}

/* The last line that it said. */
static void last_words(const struct load *load, char *out, size_t capacity)
{
    char path[720], line[300];
    snprintf(path, sizeof(path), "%s/load.log", load->directory);
    FILE *file = fopen(path, "r");
    out[0] = 0;
    while (file && fgets(line, sizeof(line), file)) {
        line[strcspn(line, "\r\n")] = 0;
        if (line[0])
            snprintf(out, capacity, "%.190s", line);
    }
    if (file)
        fclose(file);
}

static double number_at(const cJSON *object, const char *part, const char *name)
{
    const cJSON *value = cJSON_GetObjectItemCaseSensitive(cJSON_GetObjectItemCaseSensitive(object, part), name);
    return cJSON_IsNumber(value) ? value->valuedouble : -1;
}

static void judge(struct load *load, double lag_ms)
{
    if ((double)load->connected_at_least < KEPT_SHARE * load->vehicles)
        snprintf(load->shortcoming, sizeof(load->shortcoming), "only %llu of %u vehicles were connected all the time",
                 (unsigned long long)load->connected_at_least, load->vehicles);
    else if (lag_ms > atof(LAG_BOUND_MS))
        snprintf(load->shortcoming, sizeof(load->shortcoming),
                 "the vehicles' own process was %.0f ms late: the machine is too busy", lag_ms);
    else if (load->lost)
        snprintf(load->shortcoming, sizeof(load->shortcoming), "%llu of the vehicles' messages were lost",
                 (unsigned long long)load->lost);
}

static void read_result(struct load *load)
{
    char path[720];
    snprintf(path, sizeof(path), "%s/load/result.json", load->directory);
    char *text = cli_file_text(path);
    cJSON *result = text ? cJSON_Parse(text) : NULL;
    double publishes = number_at(result, "counters", "publishes"), lost = number_at(result, "ledger", "lost");
    double lag_us = number_at(result, "lag", "p99_us");
    if (publishes < 0 || lost < 0) {
        char words[200];
        last_words(load, words, sizeof(words));
        snprintf(load->shortcoming, sizeof(load->shortcoming), "the vehicles ended without a result: %.200s", words);
    } else {
        load->publishes = (uint64_t)publishes;
        load->lost = (uint64_t)lost;
        judge(load, lag_us / 1e3);
    }
    cJSON_Delete(result);
    free(text);
}

/* ---- from outside ------------------------------------------------------------------------------------------------------------- */

static bool wait_connected(struct load *load, char *error, size_t capacity)
{
    int64_t until_us = now_us() + (CONNECT_S + load->vehicles / 100) * US_PER_S;
    while (now_us() < until_us) {
        if (ended(load)) {
            char words[200];
            last_words(load, words, sizeof(words));
            snprintf(error, capacity, "--under-load: the vehicles ended at once: %s", words);
            return false;
        }
        if (read_progress(load) >= load->vehicles) {
            load->since_s = load->at_s;
            return true;
        }
        pause_ms(200);
    }
    snprintf(error, capacity, "--under-load: only %llu of %u vehicles are connected after %d s",
             (unsigned long long)load->connected_at_most, load->vehicles, CONNECT_S + (int)load->vehicles / 100);
    return false;
}

bool load_start(struct load *load, uint32_t vehicles, const struct conform_options *run, const char *directory,
                char *error, size_t error_capacity)
{
    char file[720], log[720], out[720], count[24];
    bool clear = strncmp(run->uri, "mqtt://", 7) == 0;
    struct arguments arguments = {.count = 0};
    *load = (struct load){.vehicles = vehicles};
    if (!clear && strncmp(run->uri, "mqtts://", 8) != 0) {
        snprintf(error, error_capacity, "--under-load: vehicles speak mqtt:// and mqtts://, not %.60s", run->uri);
        return false;
    }
    snprintf(load->directory, sizeof(load->directory), "%s", directory);
    snprintf(load->progress, sizeof(load->progress), "%s/load.jsonl", directory);
    snprintf(file, sizeof(file), "%s/load.lua", directory);
    snprintf(log, sizeof(log), "%s/load.log", directory);
    snprintf(out, sizeof(out), "%s/load", directory);
    snprintf(count, sizeof(count), "%u", vehicles);
    unlink(load->progress);
    if (!write_scenario(file)) {
        snprintf(error, error_capacity, "%s: %s", file, strerror(errno));
        return false;
    }
    add(&arguments, "convoy", "run");
    add(&arguments, file, NULL);
    add(&arguments, "--world", "live");
    add(&arguments, "--broker", run->uri);
    add(&arguments, "--fleet", count);
    add(&arguments, "--out", out);
    add(&arguments, "--progress", load->progress);
    add(&arguments, "--lag-bound", LAG_BOUND_MS);
    if (!clear)
        add(&arguments, "--set", "identity=password");
    if (run->ca)
        add(&arguments, "--ca", run->ca);
    if (run->user)
        add(&arguments, "--user", run->user);
    if (run->password)
        add(&arguments, "--password", run->password);
    if (run->no_verify_name)
        add(&arguments, "--no-verify-name", NULL);
    load->pid = fork();
    if (load->pid == 0)
        become(&arguments, log);
    if (load->pid < 0) {
        load->pid = 0;
        snprintf(error, error_capacity, "--under-load: %s", strerror(errno));
        return false;
    }
    if (wait_connected(load, error, error_capacity))
        return true;
    load_stop(load);
    return false;
}

void load_stop(struct load *load)
{
    if (!load->vehicles)
        return;
    read_progress(load);
    if (ended(load)) {
        char words[200];
        last_words(load, words, sizeof(words));
        snprintf(load->shortcoming, sizeof(load->shortcoming), "the vehicles ended after %.0f s: %.200s", load->at_s,
                 words);
        return;
    }
    kill(load->pid, SIGINT);
    int64_t give_up_us = now_us() + STOP_S * US_PER_S;
    while (!ended(load) && now_us() < give_up_us)
        pause_ms(50);
    if (load->pid) {
        kill(load->pid, SIGKILL);
        waitpid(load->pid, NULL, 0);
        load->pid = 0;
    }
    read_result(load);
}
