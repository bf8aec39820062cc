/* html_parts.c: what several sections of the page share. */
#include "html.h"

#include <stdio.h>

void html_section(struct page *page, const char *id, const char *title, const char *lead)
{
    page_format(page, "<section id=\"%s\">\n<h2>%s</h2>\n", id, title);
    if (lead)
        page_format(page, "<p class=\"lead\">%s</p>\n", lead);
}

void html_cell(struct page *page, const char *class, const char *text)
{
    if (class)
        page_format(page, "<td class=\"%s\">", class);
    else
        page_add(page, "<td>");
    page_escape(page, text);
    page_add(page, "</td>");
}

void html_fact(struct page *page, const char *name, const char *value)
{
    if (!value || !value[0])
        return;
    page_format(page, "<dt>%s</dt><dd>", name);
    page_escape(page, value);
    page_add(page, "</dd>\n");
}

void html_bar(struct page *page, double share, const char *class)
{
    double percent = share > 1 ? 100 : share * 100;
    page_format(
        page,
        "<svg class=\"hbar\" viewBox=\"0 0 100 10\" preserveAspectRatio=\"none\" aria-hidden=\"true\">"
        "<rect width=\"100\" height=\"10\" class=\"track\"/><rect width=\"%.2f\" height=\"10\" class=\"%s\"/></svg>",
        percent > 0 && percent < 0.6 ? 0.6 : percent, class);
}

const char *html_verdict_class(enum verdict verdict)
{
    static const char *const classes[] = {"pass", "fail", "inconclusive", "unavailable"};
    return (size_t)verdict < sizeof(classes) / sizeof(classes[0]) ? classes[verdict] : "inconclusive";
}

const char *html_metric_title(enum metric metric)
{
    static const char *const titles[METRIC_COUNT] = {
        [METRIC_PROVISION_KEY] = "key pair and request",
        [METRIC_PROVISION_CERTIFICATE] = "certificate issued",
        [METRIC_PROVISION_REGISTRATION] = "registered at first connect",
        [METRIC_PROVISION_TOTAL] = "provisioned, in all",
        [METRIC_CONNECT_RESOLVE] = "name resolved",
        [METRIC_CONNECT_TCP] = "TCP",
        [METRIC_CONNECT_TLS] = "TLS",
        [METRIC_CONNECT_CONNACK] = "CONNECT to CONNACK",
        [METRIC_CONNECT_TOTAL] = "connected, in all",
        [METRIC_RECONNECT] = "back online after a loss",
        [METRIC_RECONNECT_INTERVAL] = "between two attempts",
        [METRIC_TELEMETRY_ACK] = "telemetry acknowledged",
        [METRIC_TELEMETRY_END_TO_END] = "telemetry at a processor",
        [METRIC_COMMAND_ROUND_TRIP] = "command answered",
        [METRIC_COMMAND_DELIVERY] = "command at the vehicle",
        [METRIC_PRESENCE_DELAY] = "presence known",
        [METRIC_BYTES_UP_DAY] = "bytes up a day",
        [METRIC_BYTES_DOWN_DAY] = "bytes down a day",
        [METRIC_SEND_LAG] = "the rig's own lag",
        [METRIC_ROTATION_NOTICE] = "job known to the vehicle",
        [METRIC_ROTATION_KEY] = "new key pair and request",
        [METRIC_ROTATION_CERTIFICATE] = "new certificate stored",
        [METRIC_ROTATION_REGISTRATION] = "new certificate active",
        [METRIC_ROTATION_SWITCH] = "connected with it",
        [METRIC_ROTATION_DEACTIVATION] = "old certificate deactivated",
        [METRIC_ROTATION_TOTAL] = "rotated, in all",
        [METRIC_ROTATION_OVERLAP] = "both certificates valid",
        [METRIC_REVOCATION_CUT] = "connection cut after revocation",
        [METRIC_CLONE_DETECTION] = "clone found out",
        [METRIC_SWAP_TOTAL] = "new TCU online",
        [METRIC_OWNER_TOTAL] = "back with the new owner",
        [METRIC_COMMAND_SERVICE] = "left the cloud",
        [METRIC_COMMAND_WAKE] = "SMS at the vehicle",
        [METRIC_COMMAND_CONNECT] = "vehicle online",
        [METRIC_COMMAND_TRANSIT] = "command at the vehicle",
        [METRIC_COMMAND_EXECUTE] = "executed",
        [METRIC_COMMAND_ANSWER] = "the app knows",
        [METRIC_SMS_DELIVERY] = "SMS delivered",
        [METRIC_SHADOW_SYNC] = "shadow in step again",
        [METRIC_REGION_MOVE] = "serving commands in the new region",
        [METRIC_FAILOVER] = "online in another region",
        [METRIC_BATTERY_USED] = "charge used a parking",
        [METRIC_ALIAS_SAVED_DAY] = "bytes topic aliases saved a day",
        [METRIC_DATA_COST_DAY] = "cost of data a day",
        [METRIC_CONNECTION_DEAD] = "dead connection found out",
    };
    return (size_t)metric < METRIC_COUNT && titles[metric] ? titles[metric] : metric_name(metric);
}

const char *html_path_title(enum metric_path path)
{
    static const char *const titles[PATH_COUNT] = {
        [PATH_ANY] = "all commands", [PATH_CONNECTED] = "vehicle was online", [PATH_QUEUED] = "vehicle was offline",
        [PATH_TAP] = "woken by SMS", [PATH_EDRX] = "online, modem asleep",    [PATH_SHADOW] = "through its shadow",
    };
    return (size_t)path < PATH_COUNT && titles[path] ? titles[path] : metric_path_name(path);
}

const char *html_counter_title(enum counter counter)
{
    static const char *const titles[COUNTER_COUNT] = {
        [COUNTER_SMS_SENT] = "SMS sent",
        [COUNTER_SMS_DELIVERED] = "SMS delivered",
        [COUNTER_SMS_DUPLICATED] = "SMS delivered twice",
        [COUNTER_SMS_LOST] = "SMS lost",
        [COUNTER_WAKES] = "woken, by SMS or timer",
        [COUNTER_SLEEPS] = "gone to sleep",
        [COUNTER_BATTERY_LOW] = "battery budget used up",
        [COUNTER_BATTERY_CUT_OFF] = "off until the ignition",
        [COUNTER_NAT_KILLS] = "idle connections forgotten by the network",
        [COUNTER_HALF_OPEN] = "connections gone untold",
        [COUNTER_ADDRESS_CHANGES] = "changes of address",
        [COUNTER_HANDOVERS] = "handovers",
        [COUNTER_SHADOW_UPDATES] = "shadow updates",
        [COUNTER_SHADOW_CONFLICTS] = "shadow updates in conflict",
        [COUNTER_REGION_MOVES] = "moved to another region",
        [COUNTER_FAILOVERS] = "taken over by another region",
        [COUNTER_RESIDENCY_REFUSALS] = "refused: no region may serve it",
        [COUNTER_MIGRATED] = "on the new broker",
        [COUNTER_MIGRATED_BACK] = "back on the old broker",
        [COUNTER_ROUTED] = "messages routed by version",
        [COUNTER_NOTICES] = "notices delivered",
        [COUNTER_MEMBERS_DIED] = "members of shared subscriptions died",
        [COUNTER_MEMBERS_UNEVEN] = "members with more or less than their share",
        [COUNTER_COMMANDS_FORGED_TAKEN] = "forged, replayed or late commands executed",
        [COUNTER_COMMANDS_FORGED] = "forged, replayed or late commands refused",
        [COUNTER_COMMANDS_MISREPORTED] = "commands whose end was told wrongly",
        [COUNTER_COMMANDS_UNENDED] = "commands without an end",
        [COUNTER_PRESENCE_WRONG] = "presence told wrongly",
        [COUNTER_SHADOW_DIVERGED] = "shadows out of step at the end",
        [COUNTER_REGION_WRONG] = "online where they do not belong",
        [COUNTER_REGION_LEFTOVERS] = "left behind in a region",
        [COUNTER_RESIDENCY_VIOLATIONS] = "data where the rules forbid it",
        [COUNTER_ROUTED_WRONG] = "messages routed to the wrong version",
        [COUNTER_STALE_DELIVERED] = "notices delivered after their expiry",
        [COUNTER_NOTICES_LOST] = "notices lost",
        [COUNTER_RESULTS_ASTRAY] = "results a watcher did not get, or too early",
        [COUNTER_PINGS_MISSED] = "silent for longer than the keep alive",
    };
    return (size_t)counter < COUNTER_COUNT && titles[counter] ? titles[counter] : html_identity_title(counter);
}

/* ---- vehicles ---------------------------------------------------------------------------------------------------------- */

struct identity {
    const char *cohort, *region, *firmware;
};

static struct identity identity_of(const struct report_run *run, uint32_t vehicle)
{
    const struct scenario *scenario = run->scenario;
    struct identity out = {"", "", ""};
    if (vehicle >= scenario->fleet || !scenario->cohort_count)
        return out;
    const struct scenario_cohort *cohort = &scenario->cohorts[scenario_cohort_of(scenario, vehicle)];
    uint32_t region = scenario_region_of(scenario, vehicle), firmware = scenario_firmware_of(scenario, vehicle);
    out.cohort = cohort->name;
    if (region < scenario->region_count)
        out.region = scenario->regions[region].name;
    if (firmware < cohort->firmware_count)
        out.firmware = cohort->firmware[firmware];
    return out;
}

void html_vehicle_head(struct page *page, const char *value_title)
{
    page_format(page,
                "<thead><tr><th>vehicle</th><th>cohort</th><th>region</th><th>firmware</th><th class=\"n\">%s</th>"
                "<th class=\"n\">at</th></tr></thead>\n",
                value_title);
}

void html_vehicle_row(const struct report_run *run, struct page *page, const struct measure_worst *worst,
                      const char *value)
{
    char name[SCENARIO_NAME + 16], at[48] = "";
    struct identity identity = identity_of(run, worst->vehicle);
    report_vehicle_name(run, worst->vehicle, name, sizeof(name));
    if (worst->at_us >= 0)
        scenario_time_text(run->scenario, worst->at_us, at, sizeof(at));
    page_add(page, "<tr>");
    html_cell(page, "name", name);
    html_cell(page, NULL, identity.cohort);
    html_cell(page, NULL, identity.region);
    html_cell(page, NULL, identity.firmware);
    html_cell(page, "n", value);
    html_cell(page, "n", at);
    page_add(page, "</tr>\n");
}

#define KINDS 24

static void count_kind(const char *name, const char *names[KINDS], uint32_t counts[KINDS], uint32_t *kinds)
{
    uint32_t i = 0;
    while (i < *kinds && strcmp(names[i], name) != 0)
        i++;
    if (!name[0] || i == KINDS)
        return;
    if (i == *kinds) {
        names[i] = name;
        counts[i] = 0;
        (*kinds)++;
    }
    counts[i]++;
}

static void write_kinds(struct page *page, const char *title, const char *const names[KINDS], uint32_t counts[KINDS],
                        uint32_t kinds)
{
    page_format(page, "<span class=\"chips\"><b>%s</b>", title);
    for (uint32_t shown = 0; shown < kinds; shown++) {
        uint32_t most = 0;
        for (uint32_t i = 1; i < kinds; i++)
            if (counts[i] > counts[most])
                most = i;
        page_add(page, "<span class=\"chip\">");
        page_escape(page, names[most]);
        page_format(page, " <b>%u</b></span>", counts[most]);
        counts[most] = 0;
    }
    page_add(page, "</span>");
}

void html_concentration(const struct report_run *run, struct page *page, const struct measure_worst *worst,
                        uint32_t count)
{
    static const char *const titles[] = {"cohort", "region", "firmware"};
    /* All alike and more than were kept: these are the lowest numbers, and what they share says nothing about the others. */
    if (count == MEASURE_WORST && worst[0].value == worst[count - 1].value) {
        page_format(page, "<p class=\"concentration\">The %u with the lowest numbers; there may be more.</p>\n", count);
        return;
    }
    page_format(page, "<p class=\"concentration\">Of the %u %s: ", count,
                count == 1              ? "vehicle"
                : count < MEASURE_WORST ? "vehicles"
                                        : "worst vehicles");
    for (int which = 0; which < 3; which++) {
        const char *names[KINDS];
        uint32_t counts[KINDS], kinds = 0;
        for (uint32_t i = 0; i < count; i++) {
            struct identity identity = identity_of(run, worst[i].vehicle);
            count_kind(which == 0   ? identity.cohort
                       : which == 1 ? identity.region
                                    : identity.firmware,
                       names, counts, &kinds);
        }
        if (kinds)
            write_kinds(page, titles[which], names, counts, kinds);
    }
    page_add(page, "</p>\n");
}

/* ---- ledgers ----------------------------------------------------------------------------------------------------------- */

static void ledger_row_html(struct page *page, const char *name, uint64_t value, uint64_t intended, bool bad,
                            bool concerned)
{
    char count[64], share[64] = "";
    measure_format_count((double)value, count, sizeof(count));
    if (intended)
        measure_format_share((double)value / (double)intended, share, sizeof(share));
    page_format(page, "<tr%s><th>", concerned ? " class=\"concerned\"" : "");
    for (const char *at = name; *at; at++)
        page_bytes(page, *at == '_' ? " " : at, 1);
    page_add(page, "</th><td class=\"bar-cell\">");
    html_bar(page, intended ? (double)value / (double)intended : 0, bad ? "fill wrong" : "fill");
    page_format(page, "</td><td class=\"n\">%s</td><td class=\"n dim\">%s</td></tr>\n", count, share);
}

void html_ledger_bars(const struct report_run *run, struct page *page, bool commands, struct measure_dimension filter,
                      const char *concerned)
{
    static const char *const unwelcome[] = {"unacknowledged", "duplicated", "dropped", "lost",
                                            "executed_twice", "timed_out",  "expired"};
    const struct measure *measure = run->result->measure;
    struct ledger_totals totals;
    const struct ledger_commands *row = commands ? measure_commands_row(measure) : NULL;
    if (!commands && !measure_ledger_totals(measure, filter, &totals))
        return;
    page_add(page, "<table class=\"ledger\">\n");
    int fields = commands ? (int)COMMANDS_FIELD_COUNT : (int)LEDGER_FIELD_COUNT;
    uint64_t intended = commands ? row->intended : totals.field[LEDGER_INTENDED];
    for (int field = 0; field < fields; field++) {
        const char *name = commands ? commands_field_name(field) : ledger_field_name(field);
        bool bad = false;
        for (size_t i = 0; i < sizeof(unwelcome) / sizeof(unwelcome[0]); i++)
            bad = bad || strcmp(unwelcome[i], name) == 0;
        uint64_t value = commands ? commands_value(row, field) : totals.field[field];
        bool asked = concerned && strcmp(concerned, name) == 0;
        if (concerned && !asked && value == 0) /* in a card only what tells something */
            continue;
        ledger_row_html(page, name, value, intended, bad, asked);
    }
    page_add(page, "</table>\n");
}
