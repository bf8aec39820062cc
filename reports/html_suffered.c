/* html_suffered.c: the vehicles that had it worst, by name, and what they have in common. */
#include "html.h"

#include <stdio.h>

#define SHOWN 8

static const enum metric suffering[] = {METRIC_COMMAND_ROUND_TRIP,   METRIC_RECONNECT,       METRIC_TELEMETRY_ACK,
                                        METRIC_TELEMETRY_END_TO_END, METRIC_PROVISION_TOTAL, METRIC_CONNECT_TOTAL,
                                        METRIC_SHADOW_SYNC,          METRIC_REGION_MOVE,     METRIC_FAILOVER,
                                        METRIC_BATTERY_USED};

static void open_group(struct page *page, const char *title, uint32_t *groups)
{
    page_format(page, "<details%s><summary>%s</summary>\n<div class=\"group\">", *groups < 2 ? " open" : "", title);
    (*groups)++;
}

static void write_rows(const struct report_run *run, struct page *page, const struct measure_worst *worst,
                       uint32_t count, int metric)
{
    html_concentration(run, page, worst, count);
    page_add(page, "<div class=\"scroll\"><table class=\"vehicles\">\n");
    html_vehicle_head(page, metric >= 0 ? "worst value" : "how many");
    for (uint32_t i = 0; i < count && i < SHOWN; i++) {
        char value[64];
        if (metric >= 0)
            report_metric_text(metric, (double)worst[i].value, value, sizeof(value));
        else
            report_victim_text(&worst[i], value, sizeof(value));
        html_vehicle_row(run, page, &worst[i], value);
    }
    page_add(page, "</table></div></div></details>\n");
}

static void write_ledgers(const struct report_run *run, struct page *page, uint32_t *groups)
{
    static const struct {
        enum ledger_field field;
        const char *title;
    } ledgers[] = {{LEDGER_LOST, "Telemetry lost"},
                   {LEDGER_DROPPED, "Telemetry dropped by the vehicle's queue"},
                   {LEDGER_DUPLICATED, "Telemetry delivered twice"}};
    for (size_t i = 0; i < sizeof(ledgers) / sizeof(ledgers[0]); i++) {
        struct measure_worst worst[MEASURE_WORST];
        uint32_t count = measure_ledger_worst(run->result->measure, ledgers[i].field, MEASURE_EVERYBODY, worst);
        if (!count)
            continue;
        open_group(page, ledgers[i].title, groups);
        write_rows(run, page, worst, count, -1);
    }
}

static void write_commands(const struct report_run *run, struct page *page, uint32_t *groups)
{
    static const struct {
        enum counter kind;
        const char *title;
    } kinds[] = {{VICTIM_LOST, "Commands lost"},
                 {VICTIM_TIMED_OUT, "Commands without an answer in time"},
                 {VICTIM_EXECUTED_TWICE, "Commands executed twice"}};
    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
        struct measure_worst worst[MEASURE_WORST];
        uint32_t count = measure_command_victims(run->result->measure, kinds[i].kind, worst);
        if (!count)
            continue;
        open_group(page, kinds[i].title, groups);
        write_rows(run, page, worst, count, -1);
    }
}

/* Of identities, and of commands, networks and regions. */
static void write_counters(const struct report_run *run, struct page *page, uint32_t *groups)
{
    for (int counter = 0; counter < COUNTER_COUNT; counter++) {
        struct measure_worst worst[MEASURE_WORST];
        char title[96];
        bool identity = counter_has_identity_victims(counter), named = identity || counter_has_victims(counter);
        uint32_t count = named ? measure_command_victims(run->result->measure, counter, worst) : 0;
        if (!count)
            continue;
        snprintf(title, sizeof(title), "%s%s", identity ? "Identities: " : "", html_counter_title(counter));
        if (!identity && title[0] >= 'a' && title[0] <= 'z')
            title[0] = (char)(title[0] - 'a' + 'A');
        open_group(page, title, groups);
        write_rows(run, page, worst, count, -1);
    }
}

void html_suffered(const struct report_run *run, struct page *page)
{
    uint32_t groups = 0;
    html_section(page, "suffered", "Who suffered",
                 "The worst moment of each of the worst vehicles, and what they have in common.");
    write_commands(run, page, &groups);
    write_counters(run, page, &groups);
    write_ledgers(run, page, &groups);
    for (size_t i = 0; i < sizeof(suffering) / sizeof(suffering[0]); i++) {
        struct measure_worst worst[MEASURE_WORST];
        char title[96];
        uint32_t count = measure_worst(run->result->measure, suffering[i], MEASURE_EVERYBODY, worst);
        if (!count)
            continue;
        snprintf(title, sizeof(title), "Slowest: %s", html_metric_title(suffering[i]));
        open_group(page, title, &groups);
        write_rows(run, page, worst, count, suffering[i]);
    }
    if (!groups)
        page_add(page, "<p>Nobody: nothing was measured of any vehicle.</p>\n");
    page_add(page, "</section>\n");
}
