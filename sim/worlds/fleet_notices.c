/* fleet_notices.c: when which notice goes to whom, and the books of notices and of topic aliases.
 *
 * A notice's number is its round: the n-th time its kind was sent. Of kinds that never expire each vehicle that is there at the end must have had
 * what was sent to it; but not what waited in a session that came to its end, and not what was sent so late that it may still be on its way. A retained
 * kind needs no session: the newest must have arrived, however long the car was away.
 */
#include "fleet_messages.h"

#include <math.h>
#include <stdio.h>

static const struct scenario_messages *told(const struct fleet *fleet)
{
    return &fleet->scenario->cloud.messages;
}

/* Calendar to world. */
static int64_t world_us(const struct fleet *fleet, int64_t calendar_us)
{
    return fleet->speedup == 1.0 ? calendar_us : llround((double)calendar_us / fleet->speedup);
}

void fleet_notice_topic(const struct fleet *fleet, char out[64])
{
    snprintf(out, 64, "%snotice/%%/", fleet->topic_prefix);
}

/* ---- sending --------------------------------------------------------------------------------------------------------- */

static void find_next(struct fleet_notices *notices)
{
    notices->next_us = TIME_NEVER;
    for (uint32_t k = 0; k < told(notices->fleet)->notice_count; k++)
        notices->next_us = notices->due_us[k] < notices->next_us ? notices->due_us[k] : notices->next_us;
}

void fleet_notices_open(struct fleet_notices *notices, struct fleet *fleet, struct cloud_bus *bus, uint32_t first,
                        uint32_t stride)
{
    *notices = (struct fleet_notices){.fleet = fleet, .bus = bus, .first = first, .stride = stride};
    fleet_notice_topic(fleet, notices->topic);
    for (uint32_t k = 0; k < told(fleet)->notice_count; k++) {
        int64_t at_us = told(fleet)->notices[k].at_us;
        notices->due_us[k] = at_us < fleet->scenario->duration_us ? world_us(fleet, at_us) : TIME_NEVER;
    }
    find_next(notices);
}

/* A fault: the broker is not told when it is over. */
static bool expiry_forgotten(const struct fleet *fleet, uint32_t vehicle, uint32_t kind, uint32_t round)
{
    double share = told(fleet)->forget_expiry;
    uint64_t draw =
        share > 0 ? sim_random_at(fleet->scenario->seed, vehicle, SIM_FOR_NOTICES, (uint64_t)kind << 32 | round) : 0;
    return share > 0 && (double)(draw >> 11) * 0x1p-53 < share;
}

static void send_one(struct fleet_notices *notices, int64_t now_us, uint32_t vehicle, uint32_t kind)
{
    const struct fleet *fleet = notices->fleet;
    const struct scenario_notice *wanted = &told(fleet)->notices[kind];
    struct fleet_book *book = fleet->find_book(fleet->find_context, vehicle);
    char name[SCENARIO_NAME + 16];
    size_t length = scenario_vehicle_name(fleet->scenario, vehicle, name, sizeof name);
    int64_t wall_us = now_us + fleet->wall_offset_us;
    uint32_t round = notices->round[kind];
    struct cloud_notice notice = {.kind = wanted->kind,
                                  .number = round,
                                  .wall_us = wall_us,
                                  .until_us = wanted->expires_us ? wall_us + wanted->expires_us : 0,
                                  .qos = told(fleet)->at_most_once > 0.5 ? 0 : 1,
                                  .retained = wanted->retained};
    if (wanted->expires_us && !expiry_forgotten(fleet, vehicle, kind, round))
        notice.expiry_s = (uint32_t)(wanted->expires_us / US_PER_S);
    cloud_notice_send(notices->bus_of ? notices->bus_of(notices->world, vehicle) : notices->bus, now_us, notices->topic,
                      span_of(name, length), &notice);
    if (book && now_us + told(fleet)->grace_us <= world_us(fleet, fleet->scenario->duration_us)) {
        book->sent[kind]++;
        book->newest[kind] = (uint16_t)round;
    }
}

static void send_round(struct fleet_notices *notices, int64_t now_us, uint32_t kind)
{
    const struct fleet *fleet = notices->fleet;
    const struct scenario_notice *wanted = &told(fleet)->notices[kind];
    uint64_t salt = UINT64_C(0xA071CE) << 40 | (uint64_t)kind << 32 | ++notices->round[kind];
    for (uint32_t v = notices->first; v < fleet->scenario->fleet; v += notices->stride)
        if (scenario_selected(fleet->scenario, v, wanted->cohort, wanted->region, wanted->share, salt))
            send_one(notices, now_us, v, kind);
}

void fleet_notices_tick(struct fleet_notices *notices, int64_t now_us)
{
    if (now_us < notices->next_us)
        return;
    for (uint32_t k = 0; k < told(notices->fleet)->notice_count; k++) {
        const struct scenario_notice *wanted = &told(notices->fleet)->notices[k];
        if (notices->due_us[k] > now_us)
            continue;
        send_round(notices, now_us, k);
        /* Of the calendar, by rounds: no error adds up. */
        int64_t next_us = wanted->at_us + (int64_t)notices->round[k] * wanted->every_us;
        bool over = wanted->every_us == 0 || (wanted->until_us > 0 && next_us > wanted->until_us) ||
                    next_us >= notices->fleet->scenario->duration_us || notices->round[k] == UINT16_MAX;
        notices->due_us[k] = over ? TIME_NEVER : world_us(notices->fleet, next_us);
    }
    find_next(notices);
}

uint16_t fleet_aliases_taken(const struct scenario *scenario)
{
    uint16_t most = 0;
    for (uint32_t c = 0; c < scenario->cohort_count; c++)
        most = scenario->cohorts[c].alias_maximum > most ? scenario->cohorts[c].alias_maximum : most;
    return most;
}

/* ---- the books ------------------------------------------------------------------------------------------------------- */

static void count(struct fleet *fleet, const struct fleet_trace *trace, enum counter counter, int64_t now_us,
                  int64_t amount)
{
    measure_count(fleet->measure, counter, fleet_who(trace, PATH_ANY), now_us, amount);
}

static int find_kind(const struct fleet *fleet, struct span kind)
{
    for (uint32_t k = 0; k < told(fleet)->notice_count; k++)
        if (span_equal(span_text(told(fleet)->notices[k].kind), kind))
            return (int)k;
    return -1;
}

static void arrived(struct fleet *fleet, uint32_t vehicle, const struct fleet_trace *trace, struct fleet_book *book,
                    int64_t now_us, const struct tcu_probe *probe)
{
    int kind = find_kind(fleet, probe->id);
    bool shown = !(probe->reason & TCU_NOTICE_LATE), again = probe->reason & TCU_NOTICE_AGAIN;
    bool late = probe->at_us > 0 && now_us + fleet->wall_offset_us > probe->at_us + told(fleet)->grace_us;
    if (late && (shown || !again)) { /* what was on its way may come again late: the car throws it away */
        count(fleet, trace, COUNTER_STALE_DELIVERED, now_us, 1);
        if (!measure_excluded(fleet->measure, now_us))
            measure_command_victim(fleet->measure, COUNTER_STALE_DELIVERED, vehicle, now_us);
    }
    if (kind < 0 || probe->number <= book->last[kind] || probe->number > UINT16_MAX)
        return;
    book->last[kind] = (uint16_t)probe->number;
    if (probe->number <= book->newest[kind])
        book->got[kind]++;
    count(fleet, trace, COUNTER_NOTICES, now_us, shown);
}

/* Which power state's was said last is the car's own affair. */
static uint32_t shortest_session_s(const struct scenario_cohort *cohort)
{
    uint32_t kept_s = cohort->session_expiry_s;
    const uint32_t of_states_s[] = {cohort->parked.session_expiry_s, cohort->driving.session_expiry_s};
    for (int i = 0; i < 2; i++)
        kept_s = of_states_s[i] && of_states_s[i] < kept_s ? of_states_s[i] : kept_s;
    return kept_s;
}

/* A session that came to its end took what waited in it along; a car that was never there had none. */
static void came_online(const struct fleet *fleet, const struct fleet_trace *trace, struct fleet_book *book,
                        int64_t now_us, bool resumed)
{
    const struct scenario_cohort *cohort = &fleet->scenario->cohorts[trace->cohort];
    uint32_t cap_s = fleet->scenario->cloud.session_expiry_maximum_s, kept_s = shortest_session_s(cohort);
    kept_s = cap_s && cap_s < kept_s ? cap_s : kept_s;
    bool over = !trace->was_online || now_us - trace->since_us >= kept_s * US_PER_S;
    for (uint32_t k = 0; k < SCENARIO_NOTICES && !resumed && over; k++)
        book->got[k] = book->sent[k];
}

void fleet_book_probe(struct fleet *fleet, uint32_t vehicle, const struct fleet_trace *trace, int64_t now_us,
                      const struct tcu_probe *probe)
{
    struct fleet_book *book = fleet->find_book ? fleet->find_book(fleet->find_context, vehicle) : NULL;
    if (!book)
        return;
    if (probe->kind == TCU_PROBE_NOTICE)
        arrived(fleet, vehicle, trace, book, now_us, probe);
    else if (probe->kind == TCU_PROBE_ONLINE)
        came_online(fleet, trace, book, now_us, probe->number != 0);
    else if (probe->kind == TCU_PROBE_ALIAS)
        book->alias_saved += probe->reason & TCU_ALIAS_COST ? -(int64_t)probe->number : (int64_t)probe->number;
}

void fleet_book_finish(struct fleet *fleet, uint32_t vehicle, const struct fleet_trace *trace, int64_t now_us)
{
    const struct fleet_book *book = fleet->find_book ? fleet->find_book(fleet->find_context, vehicle) : NULL;
    double days = (double)now_us * fleet->speedup / (double)US_PER_DAY;
    if (!book || days <= 0)
        return;
    measure_sample(fleet->measure, METRIC_ALIAS_SAVED_DAY, fleet_who(trace, PATH_ANY), vehicle, now_us - 1,
                   book->alias_saved > 0 ? llround((double)book->alias_saved / days) : 0);
    if (!trace->online || now_us - trace->attempt_us < told(fleet)->grace_us)
        return;
    for (uint32_t k = 0; k < told(fleet)->notice_count; k++) {
        const struct scenario_notice *kind = &told(fleet)->notices[k];
        int64_t missing = book->sent[k] - book->got[k];
        if (kind->retained)
            missing = book->newest[k] > book->last[k];
        if (kind->expires_us || missing <= 0)
            continue;
        count(fleet, trace, COUNTER_NOTICES_LOST, now_us - 1, missing);
        measure_command_victim(fleet->measure, COUNTER_NOTICES_LOST, vehicle, now_us - 1);
    }
}
