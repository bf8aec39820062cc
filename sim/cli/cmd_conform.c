/* cmd_conform.c: convoy conform URI|embedded: a broker held against MQTT 5. */
#define _GNU_SOURCE /* nftw */
#include "commands.h"

#include "cloud/serve.h"
#include "sim/conform.h"

#include <ftw.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static volatile bool stop;

static void on_signal(int signal_number)
{
    stop = true;
}

static void print_trace(const struct conform_result *result)
{
    static const char arrows[] = "><*";
    for (uint32_t i = 0; i < result->trace.count; i++) {
        const struct conform_trace_line *line = &result->trace.lines[i];
        printf("    %9.3f  %u %c %s\n", (double)line->at_us / 1e3, line->wire, arrows[line->direction], line->text);
    }
}

/* ---- our own broker ----------------------------------------------------------------------------------------------------- */

struct embedded {
    char directory[64], uri[80];
    int pid, stop_fd;
};

static int remove_entry(const char *path, const struct stat *status, int type, struct FTW *where)
{
    return remove(path);
}

/* A cloud of our own with everything on. false: *error. */
static bool start_embedded(struct embedded *embedded, char *error, size_t capacity)
{
    struct cloud_serve_options options;
    struct cloud_serve_doors doors;
    const char *temporary = getenv("TMPDIR");
    snprintf(embedded->directory, sizeof(embedded->directory), "%.40s/convoy-XXXXXX", temporary ? temporary : "/tmp");
    if (!mkdtemp(embedded->directory)) {
        snprintf(error, capacity, "cannot make a directory for the embedded cloud");
        return false;
    }
    cloud_serve_defaults(&options);
    options.mqtts_port = options.https_port = -1;
    options.pki_directory = embedded->directory;
    options.quiet = true;
    options.cloud.broker.maximum_subscriptions_per_session = 10000;
    options.cloud.broker.maximum_queued_per_session = 100000;
    options.cloud.broker.topic_alias_maximum = 64;
    options.cloud.broker.outbound_topic_aliases = 64;
    options.cloud.broker.dollar_topics_reserved = false;
    embedded->pid = cloud_serve_start(&options, &doors, &embedded->stop_fd, error, capacity);
    if (embedded->pid > 0)
        snprintf(embedded->uri, sizeof(embedded->uri), "mqtt://%s:%d", doors.address, doors.mqtt_port);
    return embedded->pid > 0;
}

static void stop_embedded(struct embedded *embedded)
{
    double cpu_s;
    if (embedded->pid > 0)
        cloud_serve_stop(embedded->pid, embedded->stop_fd, &cpu_s);
    if (embedded->directory[0])
        nftw(embedded->directory, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
}

int cmd_conform(int argc, char **argv)
{
    static const struct option options[] = {{"only", required_argument, NULL, 'o'},
                                            {"trace", no_argument, NULL, 't'},
                                            {"capture", required_argument, NULL, 'c'},
                                            {NULL, 0, NULL, 0}};
    struct conform_options run = {.stop = &stop};
    bool trace = false;
    int option;
    while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
        if (option == 'o')
            run.only = optarg;
        else if (option == 'c')
            run.capture = optarg;
        else if (option == 't')
            trace = run.keep_traces = true;
        else
            return EXIT_USAGE;
    }
    if (optind >= argc)
        return EXIT_USAGE;
    run.uri = argv[optind];
    signal(SIGINT, on_signal);
    char error[300];
    struct conform_outcome outcome = {0};
    struct embedded embedded = {.pid = 0};
    if (strcmp(run.uri, "embedded") == 0) {
        if (!start_embedded(&embedded, error, sizeof(error))) {
            cli_complain("%s", error);
            stop_embedded(&embedded);
            return EXIT_ENVIRONMENT;
        }
        run.uri = embedded.uri;
        run.own_broker = true;
    }
    bool usable = conform_run(&run, &outcome, error, sizeof(error));
    stop_embedded(&embedded);
    if (!usable) {
        cli_complain("%s", error);
        conform_release(&outcome);
        return EXIT_ENVIRONMENT;
    }
    uint32_t counts[CONFORM_XPASS + 1] = {0};
    for (uint32_t i = 0; i < outcome.result_count; i++) {
        const struct conform_result *result = &outcome.results[i];
        counts[result->verdict]++;
        if (result->verdict != CONFORM_PASS || trace || result->finding_count)
            printf("%-13s %s %s (%s) %s\n", conform_verdict_name(result->verdict), result->id, result->check->name,
                   result->ref, result->why);
        for (uint32_t f = 0; f < result->finding_count; f++)
            printf("    %s %s %s: %s\n", conform_verdict_name(result->findings[f].verdict), result->findings[f].id,
                   result->findings[f].ref, result->findings[f].text);
        if (trace)
            print_trace(result);
    }
    for (int v = 0; v <= CONFORM_XPASS; v++)
        if (counts[v])
            printf("%u %s  ", counts[v], conform_verdict_name((enum conform_verdict)v));
    printf("in %.1f s\n", (double)outcome.wall_us / 1e6);
    int code = outcome.interrupted ? EXIT_INTERRUPTED : counts[CONFORM_FAIL] ? EXIT_EXPECTATION_FAILED : EXIT_HOLDS;
    conform_release(&outcome);
    return code;
}
