/* cmd_diff.c: two runs compared: on the terminal, and as files for programs and for people. */
#include "commands.h"
#include "report/diff.h"

#include <errno.h>
#include <getopt.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

struct diff_command {
    struct report_diff_options options;
    const char *json, *html, *runs[2];
};

static int usage(FILE *out)
{
    fprintf(
        out,
        "usage: convoy diff RUN RUN [options]\n\n"
        "  RUN                   directory of a run; the first is A, what is told is how B compares with it\n"
        "  --tolerance PERCENT   exit with 1 when a median of command round trips or reconnects differs by more, or a\n"
        "                        verdict got worse; without it the exit code says only that the runs could be "
        "compared\n"
        "  --json FILE           the same for programs\n"
        "  --html FILE           the same as a page, with the distributions over each other\n"
        "  --any                 runs of different scenarios too\n\n"
        "exit codes: 0 compared, 1 beyond the tolerance, 2 usage or no such run, 3 cannot be read or written\n");
    return out == stdout ? EXIT_HOLDS : EXIT_USAGE;
}

static bool tolerance_option(const char *text, double *out)
{
    char *end;
    errno = 0;
    double value = strtod(text, &end);
    if (end == text || *end || errno || !isfinite(value) || value < 0 || value > 1e6) {
        cli_complain("--tolerance takes a number of percent from 0 to 1000000, got '%s'", text);
        return false;
    }
    *out = value;
    return true;
}

/* false: *code is the exit code. */
static bool parse(int argc, char **argv, struct diff_command *command, int *code)
{
    static const struct option long_options[] = {{"tolerance", required_argument, NULL, 't'},
                                                 {"json", required_argument, NULL, 'j'},
                                                 {"html", required_argument, NULL, 'p'},
                                                 {"any", no_argument, NULL, 'a'},
                                                 {"help", no_argument, NULL, 'h'},
                                                 {NULL, 0, NULL, 0}};
    int option;
    *code = EXIT_USAGE;
    *command = (struct diff_command){.options = {.tolerance_percent = -1}};
    opterr = 0;
    while ((option = getopt_long(argc, argv, "", long_options, NULL)) != -1) {
        switch (option) {
        case 't':
            if (!tolerance_option(optarg, &command->options.tolerance_percent))
                return false;
            break;
        case 'j': command->json = optarg; break;
        case 'p': command->html = optarg; break;
        case 'a': command->options.any = true; break;
        case 'h': *code = usage(stdout); return false;
        default:
            cli_complain("unknown option or missing value: '%s'; convoy diff --help lists the options",
                         argv[optind - 1]);
            return false;
        }
    }
    if (optind + 2 != argc) {
        cli_complain("which two runs? convoy diff RUN RUN");
        return false;
    }
    command->runs[0] = argv[optind];
    command->runs[1] = argv[optind + 1];
    return true;
}

int cmd_diff(int argc, char **argv)
{
    struct diff_command command;
    enum report_diff_status status;
    char error[1200];
    int code;
    if (!parse(argc, argv, &command, &code))
        return code;
    struct report_diff *diff =
        report_diff_open(command.runs[0], command.runs[1], &command.options, &status, error, sizeof error);
    if (!diff) {
        cli_complain("%s", error);
        return status == REPORT_DIFF_BAD_INPUT ? EXIT_USAGE : EXIT_ENVIRONMENT;
    }
    report_diff_print(diff, isatty(STDOUT_FILENO) && !getenv("NO_COLOR"), stdout);
    code = report_diff_exceeds(diff) ? EXIT_EXPECTATION_FAILED : EXIT_HOLDS;
    if (command.json && !report_diff_write_json(diff, command.json, error, sizeof error)) {
        cli_complain("%s", error);
        code = EXIT_ENVIRONMENT;
    }
    if (command.html && !report_diff_write_html(diff, command.html, error, sizeof error)) {
        cli_complain("%s", error);
        code = EXIT_ENVIRONMENT;
    }
    report_diff_close(diff);
    return code;
}
