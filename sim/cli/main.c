/* main.c: finds the subcommand. */
#include "commands.h"

#include <stdio.h>
#include <string.h>

const char *const convoy_version = CONVOY_VERSION, *const convoy_commit = CONVOY_COMMIT;

struct command {
    const char *name;
    int (*run)(int argc, char **argv); /* NULL: planned, not in this version */
    const char *what;
};

static const struct command commands[] = {
    {"run", cmd_run, "run a scenario in the virtual or the live world; verdicts and a report"},
    {"check", cmd_check, "validate a scenario, list its parameters and what it would need"},
    {"cloud", cmd_cloud, "serve the mock cloud: MQTT broker, certificate broker, registration"},
    {"tcu", cmd_tcu, "run the reference TCU: the vehicle agent on Paho MQTT C and OpenSSL"},
    {"conform", cmd_conform, "check a broker against the rules of MQTT 5"},
    {"certify", NULL, "certify a device's firmware"},
    {"plan", NULL, "capacity planning"},
    {"diff", cmd_diff, "compare two runs: verdicts, times, counts; a page with both distributions"},
    {"replay", cmd_replay, "one vehicle's decoded timeline of a virtual run"},
};
#define COMMAND_COUNT (sizeof commands / sizeof commands[0])

static int usage(FILE *out)
{
    fprintf(out,
            "convoy %s: connected-vehicle fleet simulator and conformance rig\n\nusage: convoy COMMAND [options]\n\n",
            CONVOY_VERSION);
    for (size_t i = 0; i < COMMAND_COUNT; i++)
        fprintf(out, "  %-8s %s%s\n", commands[i].name, commands[i].what,
                commands[i].run ? "" : " (not in this version)");
    fprintf(out, "\nconvoy COMMAND --help tells the options; man convoy tells the rest.\n"
                 "exit codes: 0 all expectations hold, 1 one failed, 2 usage or scenario error, 3 environment, 4 "
                 "inconclusive, 130 interrupted\n");
    return out == stdout ? EXIT_HOLDS : EXIT_USAGE;
}

int main(int argc, char **argv)
{
    if (argc < 2)
        return usage(stderr);
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0 || strcmp(argv[1], "help") == 0)
        return usage(stdout);
    if (strcmp(argv[1], "--version") == 0) {
        printf("convoy %s (%s)\n", CONVOY_VERSION, CONVOY_COMMIT);
        return EXIT_HOLDS;
    }
    for (size_t i = 0; i < COMMAND_COUNT; i++) {
        if (strcmp(argv[1], commands[i].name) != 0)
            continue;
        if (commands[i].run)
            return commands[i].run(argc - 1, argv + 1);
        fprintf(stderr, "convoy: '%s' is not in this version\n", argv[1]);
        return EXIT_USAGE;
    }
    fprintf(stderr, "convoy: unknown command '%s'; convoy --help lists them\n", argv[1]);
    return EXIT_USAGE;
}
