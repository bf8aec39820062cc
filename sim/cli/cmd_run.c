/* cmd_run.c: load, look whether it can work, run, judge, report. */
#include "commands.h"

#include "report/report.h"
#include "sim/group.h"

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

/* Moments are told as the scenario's calendar has them. */
static void to_calendar(struct expectation_result *result, double speedup)
{
    if (result->at_us > 0)
        result->at_us = (int64_t)((double)result->at_us * speedup);
    for (uint32_t i = 0; i < result->worst_count; i++)
        if (result->worst[i].at_us > 0)
            result->worst[i].at_us = (int64_t)((double)result->worst[i].at_us * speedup);
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
        expectation.from_us =
            (int64_t)((double)expectation.from_us / speedup); /* windows are the calendar's, measures the world's */
        expectation.by_us = (int64_t)((double)expectation.by_us / speedup);
        expectation_judge(result->measure, &expectation, result->unavailable, &expectations[i]);
        to_calendar(&expectations[i], speedup);
    }
    char command[2048];
    cli_command_text(argc, argv, command, sizeof command);
    struct report_run run = {.scenario = scenario,
                             .options = &options->world,
                             .result = result,
                             .expectations = expectations,
                             .command = command,
                             .script = options->scenario ? &options->script : NULL,
                             .scenario_text = options->scenario_text,
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

/* Rank 0 chooses, for all: a directory made by one must not look taken to the next. */
static void agree_on_directory(struct cli_options *options, const struct scenario *scenario, char *directory,
                               size_t capacity)
{
    if (sim_group_rank(options->world.group) == 0) {
        const char *wanted = options->out ? options->out : options->world.resume_directory;
        char name[SCENARIO_NAME + 32] = "";
        if (scenario)
            snprintf(name, sizeof name, "%s-%llu", scenario->name, (unsigned long long)scenario->seed);
        cli_choose_directory(name, wanted, directory, capacity);
    }
    sim_group_broadcast(options->world.group, directory, capacity);
    options->world.out_directory = directory;
}

/* What every rank must be able to do. true on all or on none. */
static bool all_ranks(const struct cli_options *options, bool here, const char *elsewhere)
{
    int64_t failed = !here;
    sim_group_reduce(options->world.group, SIM_GROUP_SUM, &failed, 1);
    if (failed && here)
        cli_complain("%s on another rank", elsewhere);
    return failed == 0;
}

static bool ready(struct cli_options *options, const struct scenario *scenario, char *directory)
{
    char needs[4096], remedy[512];
    bool enough = world_preflight(scenario, &options->world, needs, sizeof needs, remedy, sizeof remedy);
    if (!enough)
        cli_complain("%s", remedy);
    if (!all_ranks(options, enough, "the machine is too small"))
        return false;
    bool prepared = sim_group_rank(options->world.group) > 0 || cli_prepare_directory(directory);
    return all_ranks(options, prepared, "no run directory");
}

static void announce(const struct cli_options *options, const struct scenario *scenario)
{
    char ranks[32] = "";
    uint32_t size = sim_group_size(options->world.group);
    if (size > 1)
        snprintf(ranks, sizeof ranks, " · %u processes", size);
    printf("%s · %u vehicles · %s%s · seed %llu\n", scenario->name, scenario->fleet,
           options->world.kind == WORLD_VIRTUAL ? "virtual" : options->world.brokers[0], ranks,
           (unsigned long long)scenario->seed);
    fflush(stdout);
}

static int conclude(struct cli_options *options, const struct scenario *scenario, struct world_result *result,
                    char *directory, int argc, char **argv, time_t started)
{
    cli_progress_clear();
    if (result->error[0])
        cli_complain("%s", result->error);
    int code = result->status == WORLD_SCENARIO ? EXIT_USAGE : EXIT_ENVIRONMENT;
    if (sim_group_rank(options->world.group) > 0) /* the verdict and the report are rank 0's */
        return EXIT_HOLDS;
    if (result->measure)
        code = judge_and_report(options, scenario, result, directory, argc, argv, started);
    else
        rmdir(directory);
    return code;
}

static void free_result(struct world_result *result)
{
    measure_destroy(result->measure);
    free(result->partition_digests);
    free(result);
}

static int run_scenario(struct cli_options *options, struct script *script, int argc, char **argv)
{
    const struct scenario *scenario = script_scenario(script);
    char directory[512];
    const char *objection = world_objection(scenario, &options->world);
    if (objection) {
        cli_complain("%s", objection);
        return EXIT_USAGE;
    }
    agree_on_directory(options, scenario, directory, sizeof directory);
    if (!ready(options, scenario, directory))
        return EXIT_ENVIRONMENT;
    announce(options, scenario);
    options->world.progress_context = (void *)scenario;
    time_t started = time(NULL);
    struct world_result *result = calloc(1, sizeof *result);
    if (!result)
        return EXIT_ENVIRONMENT;
    world_run(script, &options->world, result);
    int code = conclude(options, scenario, result, directory, argc, argv, started);
    free_result(result);
    return code;
}

/* The scenario comes with the checkpoint. */
static void resumed_progress(void *context, const struct world_progress *progress)
{
    struct script **script = context;
    cli_progress((void *)script_scenario(*script), progress);
}

static int resume(struct cli_options *options, int argc, char **argv)
{
    char directory[512];
    struct script *script = NULL;
    agree_on_directory(options, NULL, directory, sizeof directory);
    bool prepared = access(options->world.resume_directory, X_OK) == 0;
    if (!prepared)
        cli_complain("no checkpoint to resume from: %s: %s", options->world.resume_directory, strerror(errno));
    else
        prepared = sim_group_rank(options->world.group) > 0 || cli_prepare_directory(directory);
    struct world_result *result = calloc(1, sizeof *result);
    if (!all_ranks(options, prepared && result, "no run directory")) {
        free(result);
        return EXIT_ENVIRONMENT;
    }
    time_t started = time(NULL);
    options->world.progress = resumed_progress;
    options->world.progress_context = &script;
    world_resume_virtual(&options->world, &script, result);
    int code = EXIT_ENVIRONMENT;
    if (script) {
        announce(options, script_scenario(script));
        code = conclude(options, script_scenario(script), result, directory, argc, argv, started);
    } else {
        cli_complain("%s", result->error);
        rmdir(directory); /* only if it was made for this */
    }
    free_result(result);
    return code;
}

/* ---- processes ------------------------------------------------------------------------------------------------------ */

/* Joins the other ranks, or with -j N from a plain shell becomes N of them. false: *code. */
static bool join(struct cli_options *options, char **argv, int *code)
{
    char error[512];
    *code = EXIT_ENVIRONMENT;
    if (!sim_group_launched() && options->jobs > 1) {
        for (uint32_t i = 0; i < options->override_count; i++) /* the others read NAME=VALUE as it was given */
            strchr(options->overrides[i].name, 0)[0] = '=';
        sim_group_launch(argv - 1, (uint32_t)options->jobs, error, sizeof error); /* argv[-1] is the program */
        cli_complain("%s", error);
        return false;
    }
    options->world.group = sim_group_join(error, sizeof error);
    if (!options->world.group) {
        cli_complain("%s", error);
        return false;
    }
    uint32_t size = sim_group_size(options->world.group);
    if (options->jobs > 0 && (uint32_t)options->jobs != size) {
        cli_complain("-j %d, but the launcher started %u processes; leave -j away", options->jobs, size);
        sim_group_leave(options->world.group);
        *code = EXIT_USAGE;
        return false;
    }
    return true;
}

static int load_and_run(struct cli_options *options, int argc, char **argv)
{
    char error[1024] = "";
    bool virtual = options->world.kind == WORLD_VIRTUAL;
    if (virtual && !options->world.memory_limit)
        options->world.memory_limit = world_memory_limit(options->world.group);
    if (virtual &&
        !all_ranks(options, world_begin_virtual(&options->world, error, sizeof error), "no memory to be had")) {
        if (error[0])
            cli_complain("%s", error);
        return EXIT_ENVIRONMENT;
    }
    if (options->world.resume_directory)
        return resume(options, argc, argv);
    options->scenario_text = cli_file_text(options->scenario);
    struct script *script = script_load(options->scenario, &options->script, error, sizeof error);
    if (!script)
        fprintf(stderr, "%s\n", error);
    else if (script_scenario(script)->expectation_count == 0)
        cli_complain("%s has no expectation, so no verdict is possible; add expect(...)", options->scenario);
    bool good = script && script_scenario(script)->expectation_count > 0;
    int code = EXIT_USAGE;
    if (all_ranks(options, good, "the scenario cannot be loaded: is it there, and the same, on every host?"))
        code = run_scenario(options, script, argc, argv);
    script_free(script);
    free(options->scenario_text);
    options->scenario_text = NULL;
    return code;
}

/* Of several processes with one mistake in their arguments rank 0 speaks; the others end well, so that the launcher does not end it first. */
static bool parse(int argc, char **argv, struct cli_options *options, int *code)
{
    bool other = sim_group_launched() && sim_group_launched_rank() > 0;
    cli_hush(other);
    bool parsed = cli_parse(argc, argv, true, options, code);
    cli_hush(false);
    if (!parsed && other)
        *code = EXIT_HOLDS;
    return parsed;
}

int cmd_run(int argc, char **argv)
{
    struct cli_options options;
    int code;
    if (!parse(argc, argv, &options, &code) || !join(&options, argv, &code))
        return code;
    catch_signals();
    options.world.stop = &stop_requested;
    options.world.progress = cli_progress;
    code = load_and_run(&options, argc, argv);
    sim_group_leave(options.world.group);
    return code;
}
