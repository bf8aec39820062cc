/* cmd_run.c: load, look whether it can work, run, judge, report. */
#include "commands.h"

#include "report/report.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

static volatile sig_atomic_t stop_requested;

static void on_signal(int number)
{
    if (stop_requested) /* the second one does not wait */
        _exit(EXIT_INTERRUPTED);
    stop_requested = 1;
}

static void catch_signals(void)
{
    struct sigaction action = {.sa_handler = on_signal};
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    signal(SIGPIPE, SIG_IGN);
    signal(SIGXFSZ, SIG_IGN); /* a file grown too large is a failed write, reported like a full disk */
}

/* ---- run directory -------------------------------------------------------------------------------------------------- */

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

/* The default directory is never an old run's: runs/name-seed, then runs/name-seed-2, ... */
static void choose_directory(const struct scenario *scenario, const char *wanted, char *out, size_t capacity)
{
    if (wanted) {
        snprintf(out, capacity, "%s", wanted);
        return;
    }
    snprintf(out, capacity, "runs/%s-%llu", scenario->name, (unsigned long long)scenario->seed);
    size_t base = strlen(out);
    for (int n = 2; access(out, F_OK) == 0 && n < 10000; n++)
        snprintf(out + base, capacity - base, "-%d", n);
}

static bool prepare_directory(char *path)
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

/* ---- describing the run --------------------------------------------------------------------------------------------- */

static void machine_text(char *out, size_t capacity)
{
    struct utsname name;
    uname(&name);
    char model[96] = "", line[256];
    FILE *file = fopen("/proc/cpuinfo", "r");
    while (file && fgets(line, sizeof line, file))
        if (strncmp(line, "model name", 10) == 0 && strchr(line, ':')) {
            snprintf(model, sizeof model, "%.90s", strchr(line, ':') + 2);
            model[strcspn(model, "\n")] = 0;
            break;
        }
    if (file)
        fclose(file);
    double gib = (double)sysconf(_SC_PHYS_PAGES) * (double)sysconf(_SC_PAGESIZE) / (1024.0 * 1024 * 1024);
    snprintf(out, capacity, "%ld × %s, %.0f GiB, %s %s", sysconf(_SC_NPROCESSORS_ONLN), model, gib, name.sysname,
             name.release);
}

static void command_text(int argc, char **argv, char *out, size_t capacity)
{
    size_t length = (size_t)snprintf(out, capacity, "convoy");
    for (int i = 0; i < argc && length < capacity; i++) {
        bool secret = i > 0 && strcmp(argv[i - 1], "--password") == 0;
        bool quote = strpbrk(argv[i], " \t'\"$&|;<>*?") != NULL;
        length += (size_t)snprintf(out + length, capacity - length, quote ? " '%s'" : " %s", secret ? "***" : argv[i]);
    }
}

static int exit_code(const struct world_result *result, const struct expectation_result *expectations, uint32_t count)
{
    if (result->status == WORLD_INTERRUPTED)
        return EXIT_INTERRUPTED;
    if (result->status == WORLD_SCENARIO)
        return EXIT_USAGE;
    if (result->status == WORLD_ENVIRONMENT)
        return EXIT_ENVIRONMENT;
    uint32_t passed = 0, inconclusive = 0;
    for (uint32_t i = 0; i < count; i++) {
        if (expectations[i].verdict == VERDICT_FAIL)
            return EXIT_EXPECTATION_FAILED;
        passed += expectations[i].verdict == VERDICT_PASS;
        inconclusive += expectations[i].verdict == VERDICT_INCONCLUSIVE;
    }
    return result->status == WORLD_RIG_LIMITED || inconclusive || !passed ? EXIT_INCONCLUSIVE : EXIT_HOLDS;
}

static int judge_and_report(struct cli_options *options, const struct scenario *scenario, struct world_result *result,
                            char *directory, int argc, char **argv, time_t started)
{
    struct expectation_result *expectations = calloc(scenario->expectation_count + 1, sizeof *expectations);
    if (!expectations)
        return EXIT_ENVIRONMENT;
    double speedup = options->world.kind == WORLD_LIVE && options->world.speedup > 0 ? options->world.speedup : 1;
    for (uint32_t i = 0; i < scenario->expectation_count; i++) {
        struct expectation expectation = scenario->expectations[i];
        expectation.from_us = (int64_t)((double)expectation.from_us / speedup); /* windows are the calendar's, measures the world's */
        expectation.by_us = (int64_t)((double)expectation.by_us / speedup);
        expectation_judge(result->measure, &expectation, result->unavailable, &expectations[i]);
    }
    char command[2048];
    command_text(argc, argv, command, sizeof command);
    struct report_run run = {.scenario = scenario,
                             .options = &options->world,
                             .result = result,
                             .expectations = expectations,
                             .command = command,
                             .version = convoy_version,
                             .commit = convoy_commit,
                             .exit_code = exit_code(result, expectations, scenario->expectation_count),
                             .started_epoch_s = started};
    machine_text(run.machine, sizeof run.machine);
    const char *slash = strrchr(directory, '/');
    snprintf(run.run_name, sizeof run.run_name, "%.90s", slash && slash[1] ? slash + 1 : directory);
    char error[600];
    bool written = report_write(&run, directory, error, sizeof error);
    if (!written && run.exit_code != EXIT_INTERRUPTED)
        run.exit_code = EXIT_ENVIRONMENT;
    report_print(&run, directory, isatty(STDOUT_FILENO), stdout);
    fflush(stdout);
    if (!written)
        cli_complain("%s", error);
    free(expectations);
    return run.exit_code;
}

static int run_scenario(struct cli_options *options, struct script *script, int argc, char **argv)
{
    const struct scenario *scenario = script_scenario(script);
    char directory[512], needs[4096], remedy[512];
    choose_directory(scenario, options->out, directory, sizeof directory);
    options->world.out_directory = directory;
    options->world.stop = &stop_requested;
    options->world.progress = cli_progress;
    options->world.progress_context = (void *)scenario;
    if (!world_preflight(scenario, &options->world, needs, sizeof needs, remedy, sizeof remedy)) {
        cli_complain("%s", remedy);
        return EXIT_ENVIRONMENT;
    }
    if (!prepare_directory(directory))
        return EXIT_ENVIRONMENT;
    printf("%s · %u vehicles · %s · seed %llu\n", scenario->name, scenario->fleet,
           options->world.kind == WORLD_VIRTUAL ? "virtual" : options->world.brokers[0],
           (unsigned long long)scenario->seed);
    fflush(stdout);
    catch_signals();
    time_t started = time(NULL);
    struct world_result *result = calloc(1, sizeof *result);
    if (!result)
        return EXIT_ENVIRONMENT;
    world_run(script, &options->world, result);
    cli_progress_clear();
    if (result->error[0])
        cli_complain("%s", result->error);
    int code = result->status == WORLD_SCENARIO ? EXIT_USAGE : EXIT_ENVIRONMENT;
    if (result->measure)
        code = judge_and_report(options, scenario, result, directory, argc, argv, started);
    else
        rmdir(directory);
    if (result->measure)
        measure_destroy(result->measure);
    free(result);
    return code;
}

int cmd_run(int argc, char **argv)
{
    struct cli_options options;
    int code;
    char error[1024];
    if (!cli_parse(argc, argv, true, &options, &code))
        return code;
    struct script *script = script_load(options.scenario, &options.script, error, sizeof error);
    if (!script) {
        fprintf(stderr, "%s\n", error);
        return EXIT_USAGE;
    }
    if (script_scenario(script)->expectation_count == 0) {
        cli_complain("%s has no expectation, so no verdict is possible; add expect(...)", options.scenario);
        script_free(script);
        return EXIT_USAGE;
    }
    code = run_scenario(&options, script, argc, argv);
    script_free(script);
    return code;
}
