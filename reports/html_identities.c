/* html_identities.c: the life of identities: how long each step of provisioning and rotation took, what was counted, and where vehicles
 * were when something went wrong. */
#include "html.h"

#include <stdio.h>

const char *html_identity_title(enum counter counter)
{
    static const char *const titles[COUNTER_COUNT] = {
        [COUNTER_PROVISIONED] = "vehicles provisioned",
        [COUNTER_REGISTRATIONS_REFUSED] = "first connects refused",
        [COUNTER_ROTATIONS] = "rotations decided",
        [COUNTER_ROTATIONS_SUCCEEDED] = "rotations succeeded",
        [COUNTER_ROTATIONS_FAILED] = "rotations failed",
        [COUNTER_ROLLED_BACK] = "rolled back to the old certificate",
        [COUNTER_POWER_CUTS] = "power cuts",
        [COUNTER_CERTIFICATES_ISSUED] = "certificates issued",
        [COUNTER_REVOKED] = "certificates revoked",
        [COUNTER_CUT] = "connections cut",
        [COUNTER_INTRUSIONS_REFUSED] = "intrusions refused",
        [COUNTER_INTRUSIONS] = "intrusions accepted",
        [COUNTER_CLONES_DETECTED] = "clones found out",
        [COUNTER_QUARANTINED] = "vehicles quarantined",
        [COUNTER_OWNERS_CHANGED] = "owners changed",
        [COUNTER_SWAPS] = "TCUs swapped",
        [COUNTER_DECOMMISSIONED] = "vehicles decommissioned",
        [COUNTER_FORBIDDEN] = "denied by policy",
        [COUNTER_DATA_CROSSED] = "data seen across owners",
        [COUNTER_VINS_SEEN] = "VINs seen in clear",
        [COUNTER_OFFLINE_AT_END] = "offline at the end",
        [COUNTER_FLAW_NO_CERTIFICATE] = "without a certificate",
        [COUNTER_FLAW_SECOND_CERTIFICATE] = "with a second certificate",
        [COUNTER_FLAW_SHARED_IDENTITY] = "sharing an identity",
        [COUNTER_FLAW_STILL_ACTIVE] = "with a certificate active that must not be",
        [COUNTER_FLAW_STILL_CONNECTED] = "connected that must not be",
        [COUNTER_FLAW_JOB_OPEN] = "with a rotation still open",
        [COUNTER_FLAW_HISTORY] = "with a gap in their history",
        [COUNTER_FLAW_REFERENCE] = "with another Reference ID",
        [COUNTER_FLAW_OLD_ACCEPTED] = "whose old certificate is accepted",
    };
    return (size_t)counter < COUNTER_COUNT && titles[counter] ? titles[counter] : counter_name(counter);
}

/* ---- steps --------------------------------------------------------------------------------------------------------------- */

static void write_step(const struct report_run *run, struct page *page, enum metric metric)
{
    struct summary summary;
    char text[64];
    if (!report_summary(run->result->measure, metric, MEASURE_EVERYBODY, &summary))
        return;
    page_add(page, "<tr><th>");
    page_escape(page, html_metric_title(metric));
    if (summary.excluded)
        page_add(page, " <span class=\"dim\">(warm-up)</span>");
    measure_format_count((double)summary.count, text, sizeof(text));
    page_format(page, "</th><td class=\"n dim\">%s</td>", text);
    const int64_t values[] = {summary.p50, summary.p90, summary.p99, summary.maximum};
    for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++) {
        report_metric_text(metric, (double)values[i], text, sizeof(text));
        html_cell(page, "n", text);
    }
    page_add(page, "</tr>\n");
}

static bool was_measured(const struct report_run *run, enum metric from, enum metric to)
{
    struct summary summary;
    for (int metric = from; metric <= (int)to; metric++)
        if (report_summary(run->result->measure, metric, MEASURE_EVERYBODY, &summary))
            return true;
    return false;
}

static void write_steps(const struct report_run *run, struct page *page, const char *title, enum metric from,
                        enum metric to)
{
    if (!was_measured(run, from, to))
        return;
    page_format(page,
                "<div class=\"scroll\"><table class=\"journey\">\n<thead><tr><th>%s</th><th class=\"n\">samples</th>"
                "<th class=\"n\">p50</th><th class=\"n\">p90</th><th class=\"n\">p99</th><th "
                "class=\"n\">max</th></tr></thead>\n",
                title);
    for (int metric = from; metric <= (int)to; metric++)
        write_step(run, page, metric);
    page_add(page, "</table></div>\n");
}

/* ---- counts -------------------------------------------------------------------------------------------------------------- */

/* "10 waiting for the new certificate, 2 switching" */
static void write_where(const struct report_run *run, struct page *page, enum counter counter)
{
    uint64_t steps[IDENTITY_STEPS];
    bool first = true;
    measure_identity_steps(run->result->measure, counter, MEASURE_EVERYBODY, steps);
    for (uint32_t step = IDENTITY_STEP_NONE + 1; step < IDENTITY_STEPS; step++) {
        char text[48];
        if (!steps[step])
            continue;
        measure_format_count((double)steps[step], text, sizeof(text));
        page_format(page, "%s%s ", first ? "" : ", ", text);
        page_escape(page, identity_step_name(step));
        first = false;
    }
}

static uint32_t write_counts(const struct report_run *run, struct page *page, const char *title, enum counter from,
                             enum counter to)
{
    uint32_t written = 0;
    for (int counter = from; counter <= (int)to; counter++) {
        int64_t total = measure_total(run->result->measure, counter, MEASURE_EVERYBODY);
        char text[48];
        if (!total)
            continue;
        if (!written++)
            page_format(page, "<h3>%s</h3>\n<div class=\"scroll\"><table class=\"ledger\">\n", title);
        measure_format_count((double)total, text, sizeof(text));
        page_add(page, "<tr><th>");
        page_escape(page, html_identity_title(counter));
        page_format(page, "</th><td class=\"n\">%s</td><td class=\"dim\">", text);
        write_where(run, page, counter);
        page_add(page, "</td></tr>\n");
    }
    if (written)
        page_add(page, "</table></div>\n");
    return written;
}

/* The state of identities is looked at when a run has come to its end, by a cloud that knows it. */
static bool was_proved(const struct report_run *run)
{
    const struct world_result *result = run->result;
    bool ended = result->status == WORLD_COMPLETED || result->status == WORLD_RIG_LIMITED;
    return ended && run->scenario->cloud.lifecycle.on && !strstr(result->unavailable, "lifecycle");
}

void html_identities(const struct report_run *run, struct page *page)
{
    if (!report_has_identities(run))
        return;
    html_section(page, "identities", "Identities",
                 "How long each step of provisioning and rotation took, and what became of identities. A rotation's "
                 "steps run from the decision to the moment named.");
    write_steps(run, page, "Provision", METRIC_PROVISION_KEY, METRIC_PROVISION_TOTAL);
    write_steps(run, page, "Rotation", METRIC_ROTATION_NOTICE, METRIC_ROTATION_OVERLAP);
    write_steps(run, page, "Ends of an identity", METRIC_REVOCATION_CUT, METRIC_OWNER_TOTAL);
    write_counts(run, page, "Counted", COUNTER_ROTATIONS, COUNTER_OFFLINE_AT_END);
    uint32_t wrong =
        write_counts(run, page, "Wrong at the end: vehicles", COUNTER_FLAW_NO_CERTIFICATE, COUNTER_FLAW_OLD_ACCEPTED);
    if (!wrong && was_proved(run))
        page_add(page, "<p class=\"dim\">Nothing was wrong with any identity at the end of the run.</p>\n");
    page_add(page, "</section>\n");
}
