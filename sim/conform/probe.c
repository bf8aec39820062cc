/* probe.c: one check under way: its names, its words, its time. */
#include "internal.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>

#define CHECK_MAX_US (150 * US_PER_S) /* no check takes longer, whatever it waits for */

/* ---- names ------------------------------------------------------------------------------------------------------------- */

static const char *format_text(struct conform_probe *probe, const char *format, va_list arguments)
{
    va_list again;
    va_copy(again, arguments);
    int length = vsnprintf(NULL, 0, format, again);
    va_end(again);
    char *text = arena_take(&probe->arena, (size_t)length + 1);
    vsnprintf(text, (size_t)length + 1, format, arguments);
    return text;
}

const char *probe_text(struct conform_probe *probe, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    const char *text = format_text(probe, format, arguments);
    va_end(arguments);
    return text;
}

/* Four letters and digits of the item and the attempt: no two share one. */
static void item_name(const struct conform_probe *probe, char out[5])
{
    static const char digits[] = "0123456789abcdefghijklmnopqrstuvwxyz";
    uint32_t rest = probe->number * 4 + probe->attempt % 4;
    for (int i = 3; i >= 0; i--, rest /= 36)
        out[i] = digits[rest % 36];
    out[4] = 0;
}

const char *probe_topic(struct conform_probe *probe, const char *format, ...)
{
    char item[5];
    item_name(probe, item);
    va_list arguments;
    va_start(arguments, format);
    const char *name = format_text(probe, format, arguments);
    va_end(arguments);
    return probe_text(probe, "%s%s/%s/%s", probe->suite->prefix, probe->suite->run, item, name);
}

const char *probe_client_id(struct conform_probe *probe, uint32_t number)
{
    char item[5];
    item_name(probe, item);
    return probe_text(probe, "mc5%s%s%02u", probe->suite->run, item, number % 100);
}

const char *probe_share(struct conform_probe *probe, uint32_t number)
{
    char item[5];
    item_name(probe, item);
    return probe_text(probe, "mc5%s%s%u", probe->suite->run, item, number);
}

void *probe_memory(struct conform_probe *probe, size_t size)
{
    return arena_take(&probe->arena, size);
}

uint8_t *probe_bytes(struct conform_probe *probe, size_t size, uint8_t fill)
{
    uint8_t *bytes = arena_take(&probe->arena, size ? size : 1);
    memset(bytes, fill, size);
    return bytes;
}

uint32_t probe_row(const struct conform_probe *probe)
{
    return probe->row;
}

const struct conform_broker *probe_broker(const struct conform_probe *probe)
{
    return &probe->suite->broker;
}

bool probe_has(const struct conform_probe *probe, uint32_t need)
{
    return (probe->suite->broker.has & need) == need;
}

const char *probe_told(const struct conform_probe *probe, const char *key)
{
    return profile_told(probe->suite->options->profile, key);
}

/* ---- verdicts ------------------------------------------------------------------------------------------------------------ */

void probe_end_arguments(struct conform_probe *probe, enum conform_verdict verdict, uint32_t line, const char *format,
                         va_list arguments)
{
    struct conform_result *result = probe->result;
    vsnprintf(result->why, sizeof(result->why), format, arguments);
    if (verdict == CONFORM_FAIL && probe->check->level < CONFORM_MUST)
        verdict = CONFORM_WARN;
    result->verdict = verdict;
    result->line = line;
    trace_event(probe, 0, "%s: %s", conform_verdict_name(verdict), result->why);
    longjmp(probe->end, 1);
}

void probe_end(struct conform_probe *probe, enum conform_verdict verdict, uint32_t line, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    probe_end_arguments(probe, verdict, line, format, arguments);
}

static uint32_t last_line(const struct conform_probe *probe)
{
    return probe->trace.count ? probe->trace.count - 1 : 0;
}

void want(struct conform_probe *probe, bool holds, const char *format, ...)
{
    probe->wanted++;
    if (holds)
        return;
    va_list arguments;
    va_start(arguments, format);
    probe_end_arguments(probe, CONFORM_FAIL, last_line(probe), format, arguments);
}

/* The statement that the check asserts unless it says otherwise. */
static const char *own_statement(const struct conform_result *result)
{
    return result->row.ref ? result->row.ref : result->check->refs[0];
}

void judge_as(struct conform_probe *probe, const char *ref)
{
    bool known = strcmp(own_statement(probe->result), ref) == 0;
    for (int i = 0; i < 8 && probe->check->refs[i]; i++)
        known |= strcmp(probe->check->refs[i], ref) == 0;
    if (!known)
        probe_end(probe, CONFORM_ERROR, last_line(probe), "%s is no statement of this check", ref);
    probe->result->ref = ref;
}

const char *probe_hit(const struct conform_probe *probe, const char *monitor)
{
    const char *text = NULL;
    for (uint32_t i = 0; i < probe->finding_count; i++)
        if (probe->findings[i].verdict == CONFORM_FAIL && strcmp(probe->findings[i].id, monitor) == 0)
            text = probe->findings[i].text;
    return text;
}

void need(struct conform_probe *probe, bool holds, const char *format, ...)
{
    if (holds)
        return;
    va_list arguments;
    va_start(arguments, format);
    probe_end_arguments(probe, CONFORM_INCONCLUSIVE, last_line(probe), format, arguments);
}

void skip(struct conform_probe *probe, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    probe_end_arguments(probe, CONFORM_SKIP, last_line(probe), format, arguments);
}

void note(struct conform_probe *probe, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    const char *text = format_text(probe, format, arguments);
    va_end(arguments);
    trace_event(probe, 0, "%s", text);
}

void probe_finding(struct conform_probe *probe, enum conform_verdict verdict, const char *id, const char *ref,
                   uint32_t line, const char *format, ...)
{
    if (probe->finding_count == probe->finding_capacity) {
        uint32_t capacity = probe->finding_capacity ? probe->finding_capacity * 2 : 8;
        struct conform_finding *findings = arena_take(&probe->arena, capacity * sizeof(*findings));
        if (probe->finding_count)
            memcpy(findings, probe->findings, probe->finding_count * sizeof(*findings));
        probe->findings = findings;
        probe->finding_capacity = capacity;
    }
    va_list arguments;
    va_start(arguments, format);
    const char *text = format_text(probe, format, arguments);
    va_end(arguments);
    probe->findings[probe->finding_count++] =
        (struct conform_finding){.verdict = verdict, .id = id, .ref = ref, .text = text, .line = line};
}

void should(struct conform_probe *probe, const char *part, const char *ref, bool holds, const char *format, ...)
{
    if (holds)
        return;
    va_list arguments;
    va_start(arguments, format);
    const char *text = format_text(probe, format, arguments);
    va_end(arguments);
    probe_finding(probe, CONFORM_WARN, part, ref ? ref : probe->result->ref, last_line(probe), "%s", text);
    trace_event(probe, 0, "warning (%s): %s", part, text);
}

/* ---- time ------------------------------------------------------------------------------------------------------------------ */

int64_t probe_now(const struct conform_probe *probe)
{
    return clock_now_us();
}

int64_t probe_patience(const struct conform_probe *probe)
{
    return probe->suite->patience_us;
}

static bool anything_pending(const struct conform_probe *probe)
{
    for (uint32_t i = 0; i < probe->wire_count; i++)
        if (probe->wires[i]->transport && !probe->wires[i]->ended && transport_pending(probe->wires[i]->transport))
            return true;
    return false;
}

bool probe_pump(struct conform_probe *probe, const struct wire *wire, int64_t until_us)
{
    struct pollfd fds[PROBE_WIRES];
    struct wire *of[PROBE_WIRES];
    if (suite_stopped(probe->suite))
        probe_end(probe, CONFORM_NOT_RUN, last_line(probe), "interrupted");
    int64_t now_us = clock_now_us();
    if (now_us > probe->deadline_us)
        probe_end(probe, CONFORM_INCONCLUSIVE, last_line(probe), "took longer than %d s",
                  (int)(CHECK_MAX_US / US_PER_S));
    uint32_t count = 0;
    for (uint32_t i = 0; i < probe->wire_count; i++) {
        struct wire *each = probe->wires[i];
        if (!each->transport || each->ended)
            continue;
        fds[count] = (struct pollfd){.fd = transport_fd(each->transport), .events = POLLIN};
        of[count++] = each;
    }
    int64_t left_us = until_us - now_us;
    int timeout_ms = left_us <= 0 ? 0 : left_us > 200000 ? 200 : (int)(left_us / 1000 + 1);
    int ready = poll(fds, count, anything_pending(probe) ? 0 : timeout_ms);
    bool came = false;
    for (uint32_t i = 0; i < count; i++) {
        if (!fds[i].revents && !transport_pending(of[i]->transport))
            continue;
        wire_read(of[i]);
        came |= of[i] == wire;
    }
    return came || (ready >= 0 && clock_now_us() < until_us);
}

void probe_wait(struct conform_probe *probe, int64_t us)
{
    int64_t until_us = clock_now_us() + us;
    while (probe_pump(probe, NULL, until_us))
        ;
}

bool probe_broker_is_quick(struct conform_probe *probe)
{
    char error[160];
    uint8_t buffer[512];
    int64_t began_us = clock_now_us();
    struct mq5_connect login = probe_login(probe, 99);
    struct mq5_packet packet = {.type = MQ5_CONNECT, .connect = login};
    struct span bytes = probe_encode(probe, &packet, NULL);
    struct transport *side = transport_open(probe->suite->target, 3 * US_PER_S, error, sizeof(error));
    bool quick = false;
    if (side && transport_write(side, bytes.data, bytes.length, US_PER_S)) {
        while (!quick && clock_now_us() < began_us + 3 * US_PER_S) {
            ssize_t got = transport_read(side, buffer, sizeof(buffer));
            if (got < 0)
                break;
            quick = got > 0 && buffer[0] == MQ5_CONNACK << 4;
            struct pollfd fd = {.fd = transport_fd(side), .events = POLLIN};
            if (got == 0)
                poll(&fd, 1, 100);
        }
    }
    transport_free(side);
    trace_event(probe, 0, "a connection beside this one is answered %s", quick ? "at once" : "late or not at all");
    return quick;
}

/* ---- a whole check ----------------------------------------------------------------------------------------------------------- */

static void close_wires(struct conform_probe *probe)
{
    probe->ending = true;
    for (uint32_t i = 0; i < probe->wire_count; i++)
        wire_release(probe->wires[i]);
}

/* ---- what is left behind ----------------------------------------------------------------------------------------------------- */

/* false: it was there. */
static bool add_name(struct conform_probe *probe, const char ***list, uint32_t *count, uint32_t *capacity,
                     struct span name)
{
    for (uint32_t i = 0; i < *count; i++)
        if (span_equal(span_text((*list)[i]), name))
            return false;
    if (*count == *capacity) {
        uint32_t more = *capacity ? *capacity * 2 : 8;
        const char **names = arena_take(&probe->arena, more * sizeof(*names));
        if (*count)
            memcpy(names, *list, *count * sizeof(*names));
        *list = names;
        *capacity = more;
    }
    (*list)[(*count)++] = probe_text(probe, "%.*s", (int)name.length, (const char *)name.data);
    return true;
}

void probe_left_retained(struct conform_probe *probe, struct span topic)
{
    if (add_name(probe, &probe->retained, &probe->retained_count, &probe->retained_capacity, topic))
        journal_retained(probe->suite->journal, probe->retained[probe->retained_count - 1]);
}

void probe_left_session(struct conform_probe *probe, struct span client_id)
{
    if (add_name(probe, &probe->sessions, &probe->session_count, &probe->session_capacity, client_id))
        journal_session(probe->suite->journal, probe->sessions[probe->session_count - 1]);
}

static void remove_left(struct conform_probe *probe)
{
    struct suite *suite = probe->suite;
    for (uint32_t i = 0; i < probe->session_count; i++)
        if (sweep_session(suite->target, suite->options, probe->sessions[i]))
            journal_session_gone(suite->journal, probe->sessions[i]);
    /* Afterwards: the end of a session may have published a will that is retained. */
    bool none_kept = suite->broker.has & CONFORM_NO_RETAIN; /* what was to be retained was refused */
    for (uint32_t i = 0; none_kept && i < probe->retained_count; i++)
        journal_retained_gone(suite->journal, probe->retained[i]);
    if (probe->retained_count && !none_kept) {
        struct sweeper *sweeper = sweep_open(suite->target, suite->options, probe_client_id(probe, 98));
        for (uint32_t i = 0; sweeper && i < probe->retained_count; i++)
            if (sweep_retained(sweeper, probe->retained[i]))
                journal_retained_gone(suite->journal, probe->retained[i]);
        sweep_close(sweeper);
    }
}

static void judge_monitors(struct conform_probe *probe)
{
    struct conform_result *result = probe->result;
    result->findings = probe->findings;
    result->finding_count = probe->finding_count;
    result->trace = (struct conform_trace){probe->trace.lines, probe->trace.count};
}

void probe_run(struct suite *suite, struct conform_result *result, uint32_t row, uint32_t number, uint32_t attempt)
{
    struct conform_probe *probe = calloc(1, sizeof(*probe));
    ASSERT(probe != NULL);
    probe->suite = suite;
    probe->check = result->check;
    probe->result = result;
    probe->row = row;
    probe->number = number;
    probe->attempt = attempt;
    result->began_us = clock_now_us();
    probe->deadline_us = result->began_us + CHECK_MAX_US;
    result->verdict = CONFORM_NOT_RUN;
    result->why[0] = 0;
    result->ref = own_statement(result);
    if (setjmp(probe->end) == 0) {
        result->check->run(probe);
        if (probe->wanted == 0)
            probe_end(probe, CONFORM_ERROR, last_line(probe), "the check asserted nothing");
        result->verdict = CONFORM_PASS;
        result->ref = own_statement(result);
    }
    if (setjmp(probe->end) == 0)
        close_wires(probe);
    for (uint32_t i = 0; i < probe->wire_count; i++) /* interrupted while they were being closed */
        wire_drop(probe->wires[i]);
    probe_end_exchanges(probe);
    remove_left(probe);
    judge_monitors(probe);
    result->took_us = clock_now_us() - result->began_us;
    result->began_us -= suite->began_us;
    result->memory = probe->arena;
    free(probe);
}
