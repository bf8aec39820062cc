/* cmd_check.c: validates a scenario and says what it would need, without running it. */
#include "commands.h"

#include <stdio.h>
#include <stdlib.h>

static void print_parameters(const struct scenario *scenario)
{
    for (uint32_t i = 0; i < scenario->parameter_count; i++) {
        const struct scenario_parameter *parameter = &scenario->parameters[i];
        printf("  %-28s %-12s %s%s", parameter->name, parameter->value_text, parameter->text,
               parameter->overridden ? "  (set)" : "");
        if (parameter->fault) {
            printf("  [off %g, on %g; breaks", parameter->off, parameter->on);
            for (uint32_t b = 0; b < parameter->breaks_count; b++)
                printf(" %s", parameter->breaks[b]);
            printf("]");
        }
        printf("\n");
    }
}

static void print_scenario(const struct scenario *scenario)
{
    printf("%s: %u vehicles, %u cohorts, %u regions, %.1f h, seed %llu\n", scenario->name, scenario->fleet,
           scenario->cohort_count, scenario->region_count, (double)scenario->duration_us / (double)US_PER_HOUR,
           (unsigned long long)scenario->seed);
    if (scenario->parameter_count)
        printf("parameters\n");
    print_parameters(scenario);
    printf("expectations\n");
    for (uint32_t i = 0; i < scenario->expectation_count; i++) {
        static const char *const comparisons[] = {"<", "≤", ">", "≥", "="};
        char bound[64];
        expectation_format(&scenario->expectations[i], scenario->expectations[i].bound, bound, sizeof bound);
        printf("  %-28s %s %s %s\n", scenario->expectations[i].id, scenario->expectations[i].text,
               comparisons[scenario->expectations[i].comparison], bound);
    }
}

int cmd_check(int argc, char **argv)
{
    struct cli_options options;
    int code;
    char error[1024], needs[4096], remedy[512];
    if (!cli_parse(argc, argv, false, &options, &code))
        return code;
    struct script *script = script_load(options.scenario, &options.script, error, sizeof error);
    if (!script) {
        fprintf(stderr, "%s\n", error);
        return EXIT_USAGE;
    }
    if (options.json) {
        char *text = script_describe_json(script);
        if (text)
            printf("%s\n", text);
        code = text ? EXIT_HOLDS : EXIT_ENVIRONMENT;
        free(text);
    } else {
        print_scenario(script_scenario(script));
        bool enough =
            world_preflight(script_scenario(script), &options.world, needs, sizeof needs, remedy, sizeof remedy);
        printf("needs\n%s", needs);
        if (!enough)
            cli_complain("%s", remedy);
        code = enough ? EXIT_HOLDS : EXIT_ENVIRONMENT;
    }
    script_free(script);
    return code;
}
