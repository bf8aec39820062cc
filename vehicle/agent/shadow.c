/* shadow.c: the vehicle's side of its Device Shadow (cloud-contract 3): what is wanted of the car, and what the car is like.
 *
 * One request at a time, get or update, repeated until answered; an answer counts when it carries the token of the request sent last. The
 * payload of an update is put together when it is sent, so what is reported is always the car as it is then.
 *
 *   online without the old session, or a message may be lost: get     get says what is wanted: as a delta
 *   delta, newer than what was handed to the car: shadow_set          the car is done, or changed by itself: update
 *   update refused, version conflict: wait, get, update again          no shadow yet: update
 *
 * The car is asked one thing at a time; what is wanted meanwhile is got afterwards. What it was asked before and the cloud
 * still wants (it could not, or does it otherwise) it is asked again after a wait that grows. A get is believed about the version even when that is
 * an older one (another region's shadow). The member "command" of a delta is a command for command.c, which knows ids that were
 * executed; its end is reported until an update with it was accepted. */
#include "agent_internal.h"

enum { ASK_NOTHING, ASK_GET, ASK_UPDATE };
enum { TOPIC_BYTES = AGENT_TOPIC_MAX + 176, ENVELOPE_BYTES = 160, TOKEN_BYTES = 24 };

static struct agent_shadow *block(const struct tcu *tcu)
{
    return tcu->more ? tcu->more->shadow : NULL;
}

bool agent_shadow_kept(const struct tcu *tcu)
{
    const struct tcu_profile *profile = tcu->profile;
    return profile->shadow && profile->topics.reserved[0] && tcu->port->shadow_set && tcu->port->shadow_state;
}

bool agent_shadow_busy(const struct tcu *tcu)
{
    const struct agent_shadow *shadow = block(tcu);
    return shadow && (shadow->asked != ASK_NOTHING || shadow->want_get || shadow->want_report || shadow->setting);
}

uint64_t tcu_shadow_version(const struct tcu *tcu)
{
    return block(tcu) ? block(tcu)->version : 0;
}

/* ---- topics and texts -------------------------------------------------------------------------------------------------- */

/* "things/car-7/shadow/", or with a name "things/car-7/shadow/name/climate/". Nothing in it is longer than its place. */
static char *put_path(const struct tcu *tcu, char *at)
{
    at = agent_text_literal(at, "things/");
    at = agent_text_copy(at, tcu_name(tcu));
    at = agent_text_literal(at, "/shadow/");
    if (!tcu->profile->shadow_name[0])
        return at;
    at = agent_text_literal(at, "name/");
    at = agent_text_copy(at, span_text(tcu->profile->shadow_name));
    return agent_text_literal(at, "/");
}

static struct span put_topic(const struct tcu *tcu, char *out, const char *end)
{
    char *at = out + agent_text_expand(tcu->profile->topics.reserved, tcu_name(tcu), out).length;
    at = agent_text_copy(put_path(tcu, at), span_text(end));
    return span_of(out, (size_t)(at - out));
}

/* What is wanted, and answers, which come to who has subscribed. All of our own topics are subscribed to already. */
struct span agent_shadow_filter(const struct tcu *tcu, unsigned which, char *out)
{
    static const char *const ends[AGENT_SHADOW_FILTERS] = {"update/delta", "+/accepted", "+/rejected"};
    bool of_our_own = strchr(tcu->profile->topics.reserved, '%') != NULL;
    if (!agent_shadow_kept(tcu) || of_our_own)
        return (struct span){NULL, 0};
    _Static_assert(AGENT_FILTER_MAX >= TOPIC_BYTES, "a named shadow's topic is the longest");
    return put_topic(tcu, out, ends[which]);
}

static void put_token(const struct agent_shadow *shadow, char out[TOKEN_BYTES])
{
    static const char digits[] = "0123456789abcdef";
    char *at = agent_text_literal(out, "tcu-");
    for (int shift = 28; shift >= 0; shift -= 4)
        *at++ = digits[shadow->nonce >> shift & 15];
    *at++ = '-';
    *at++ = digits[shadow->serial >> 4];
    *at++ = digits[shadow->serial & 15];
    *at = 0;
}

static bool ours(const struct agent_shadow *shadow, struct span payload)
{
    char token[TOKEN_BYTES];
    struct span value;
    put_token(shadow, token);
    return agent_json_member(payload, "clientToken", &value) == AGENT_JSON_FOUND && agent_json_is(value, token);
}

static uint64_t version_of(struct span payload)
{
    struct span value;
    int64_t version = 0;
    agent_json_member(payload, "version", &value);
    agent_json_number(value, &version);
    return (uint64_t)version;
}

/* ---- asking -------------------------------------------------------------------------------------------------------------- */

/* Read once at power-up: then the car is reported as it is, and what is wanted is not known. */
static struct agent_shadow *need(struct tcu *tcu)
{
    if (block(tcu))
        return block(tcu);
    struct agent_shadow *shadow = agent_shadow_need(tcu);
    if (shadow) {
        shadow->nonce = tcu->port->random(tcu->port_context);
        shadow->want_get = shadow->want_report = 1;
    }
    return shadow;
}

static void ask(struct agent_shadow *shadow, uint8_t what)
{
    shadow->asked = what;
    shadow->tries = 0;
    shadow->due = 1;
    if (what == ASK_GET)
        shadow->want_get = 0;
    else
        shadow->want_report = 0;
}

static bool may_get(const struct agent_shadow *shadow)
{
    return shadow->asked == ASK_NOTHING && shadow->want_get;
}

static bool may_report(const struct agent_shadow *shadow)
{
    return shadow->asked == ASK_NOTHING && shadow->want_report && !shadow->want_get && !shadow->setting;
}

static void get_not_before(struct agent_shadow *shadow, int64_t at_us)
{
    shadow->want_get = 1;
    shadow->get_us = at_us;
}

/* The answer was no, but may be yes later. */
static void ask_later(struct tcu *tcu)
{
    struct agent_shadow *shadow = block(tcu);
    shadow->due = 0;
    shadow->timer_us = tcu->now_us + agent_jitter(tcu, shadow->tries);
    if (shadow->tries < UINT8_MAX)
        shadow->tries++;
}

static void send(struct tcu *tcu)
{
    struct agent_shadow *shadow = block(tcu);
    int64_t timeout_us = tcu->profile->step_timeout_us ? tcu->profile->step_timeout_us : 30 * US_PER_S;
    shadow->serial++;
    shadow->due = 0;
    shadow->command_sent = 0;
    shadow->timer_us = tcu->now_us + timeout_us + (shadow->tries ? agent_jitter(tcu, shadow->tries - 1u) : 0);
    enum mq5_client_result result = agent_mqtt_publish(tcu, TOKEN_SHADOW + shadow->serial, 0);
    if (result == MQ5C_WAIT || result == MQ5C_OFFLINE)
        shadow->due = 1;
    else if (shadow->tries < UINT8_MAX)
        shadow->tries++;
}

void agent_shadow_settle(struct tcu *tcu)
{
    if (tcu->state != TCU_ONLINE || agent_claiming(tcu) || tcu->want_subscribe)
        return;
    struct agent_shadow *shadow = need(tcu);
    if (!shadow)
        return;
    if (may_get(shadow) && tcu->now_us >= shadow->get_us)
        ask(shadow, ASK_GET);
    else if (may_report(shadow))
        ask(shadow, ASK_UPDATE);
    else if (shadow->asked != ASK_NOTHING && tcu->now_us >= shadow->timer_us)
        shadow->due = 1;
    if (shadow->asked != ASK_NOTHING && shadow->due)
        send(tcu);
}

/* Nothing of what is due now waits for a time: it could not be sent, and goes when the session says so. */
int64_t agent_shadow_deadline(const struct tcu *tcu)
{
    const struct agent_shadow *shadow = block(tcu);
    if (tcu->state != TCU_ONLINE || !shadow)
        return TIME_NEVER;
    if (shadow->asked != ASK_NOTHING)
        return shadow->due ? TIME_NEVER : shadow->timer_us;
    return may_get(shadow) ? shadow->get_us : TIME_NEVER;
}

void agent_shadow_online(struct tcu *tcu, bool resumed)
{
    struct agent_shadow *shadow = block(tcu);
    if (shadow && (!resumed || !tcu->subscribed))
        get_not_before(shadow, tcu->now_us); /* a delta may be lost */
}

static char *put_command(struct agent_shadow *shadow, char *at, const char *end)
{
    if (!shadow->command_known)
        return at;
    shadow->command_sent = 1;
    at = agent_json_put(at, end, "\"command\":{\"id\":");
    at = agent_json_quote(at, end, span_of(shadow->command, sizeof(shadow->command)));
    at = agent_json_put(at, end, ",\"status\":");
    at = agent_json_quote(at, end, span_text(agent_status_name((enum agent_status)shadow->command_status)));
    if (shadow->command_refusal) {
        at = agent_json_put(at, end, ",\"reason\":");
        at = agent_json_quote(at, end, span_text(agent_refusal_name((enum tcu_refusal)shadow->command_refusal)));
    }
    return agent_json_put(at, end, "}");
}

/* NULL: does not fit. */
static char *put_update(struct tcu *tcu, char *at, const char *end)
{
    struct agent_shadow *shadow = block(tcu);
    at = agent_json_put(at, end, "{\"state\":{\"reported\":{");
    size_t room = (size_t)(end - at) > ENVELOPE_BYTES ? (size_t)(end - at) - ENVELOPE_BYTES : 0;
    size_t length = tcu->port->shadow_state(tcu->port_context, at, room);
    if (length > room)
        return NULL;
    at += length;
    if (length > 0 && shadow->command_known)
        at = agent_json_put(at, end, ",");
    at = agent_json_put(put_command(shadow, at, end), end, "}}");
    if (tcu->profile->shadow_versions && shadow->version > 0) {
        at = agent_json_put(at, end, ",\"version\":");
        at = at && end - at >= 28 ? agent_text_number(at, (int64_t)shadow->version) : NULL;
    }
    return agent_json_put(at, end, ",");
}

/* What does not fit into the scratch cannot be said; asking goes on, slower and slower, as if nobody answered. */
static struct span put_payload(struct tcu *tcu, char *out, const char *end)
{
    struct agent_shadow *shadow = block(tcu);
    char token[TOKEN_BYTES];
    put_token(shadow, token);
    char *at = shadow->asked == ASK_UPDATE ? put_update(tcu, out, end) : agent_json_put(out, end, "{");
    at = agent_json_put(at, end, "\"clientToken\":");
    at = agent_json_quote(at, end, span_text(token));
    at = agent_json_put(at, end, "}");
    return at ? span_of(out, (size_t)(at - out)) : (struct span){NULL, 0};
}

static bool current(const struct tcu *tcu, uint32_t token)
{
    const struct agent_shadow *shadow = block(tcu);
    return shadow && shadow->asked != ASK_NOTHING && token == TOKEN_SHADOW + shadow->serial;
}

bool agent_shadow_load(struct tcu *tcu, uint32_t token, struct mq5_publish *out)
{
    char *scratch = (char *)tcu->profile->scratch;
    if (!current(tcu, token))
        return false;
    out->topic = put_topic(tcu, scratch, block(tcu)->asked == ASK_GET ? "get" : "update");
    ASSERT(out->topic.length <= TOPIC_BYTES);
    out->payload = put_payload(tcu, scratch + TOPIC_BYTES, scratch + tcu->profile->scratch_size);
    out->qos = tcu->peer_qos > 0 ? 1 : 0;
    return out->payload.length > 0;
}

void agent_shadow_dropped(struct tcu *tcu, uint32_t token)
{
    if (current(tcu, token))
        block(tcu)->due = 1;
}

/* ---- what is wanted -------------------------------------------------------------------------------------------------------- */

static uint32_t hash_of(struct span text)
{
    uint32_t hash = UINT32_C(0x811C9DC5);
    for (uint32_t i = 0; i < text.length; i++)
        hash = (hash ^ text.data[i]) * UINT32_C(0x01000193);
    return hash;
}

/* How often the car was asked for the same without rest in between. */
static void count_round(struct tcu *tcu, uint32_t hash)
{
    struct agent_shadow *shadow = block(tcu);
    bool same = hash == shadow->wanted_hash && tcu->now_us - shadow->pause_us < tcu->profile->backoff_cap_us;
    shadow->rounds = !same ? 0 : shadow->rounds < UINT8_MAX ? (uint8_t)(shadow->rounds + 1) : UINT8_MAX;
    shadow->wanted_hash = hash;
    shadow->pause_us = tcu->now_us + agent_jitter(tcu, shadow->rounds);
}

/* Members without "command"; a copy only if that is among them. A name is what it is written as. */
static struct span settings(const struct tcu *tcu, struct span wanted)
{
    const struct tcu_profile *profile = tcu->profile;
    struct span command;
    size_t length = 0;
    if (agent_json_member(wanted, "command", &command) == AGENT_JSON_FOUND) {
        if (!agent_json_without(wanted, "command", (char *)profile->scratch, profile->scratch_size, &length))
            length = 0;
        return span_of(profile->scratch, length);
    }
    return agent_json_members(wanted);
}

/* false: not now. */
static bool hand_over(struct tcu *tcu, struct span wanted)
{
    struct agent_shadow *shadow = block(tcu);
    struct span members = settings(tcu, wanted);
    if (members.length == 0)
        return true;
    uint32_t hash = hash_of(members);
    if (shadow->setting) {
        shadow->held = 1;
        return false;
    }
    if (hash == shadow->wanted_hash && tcu->now_us < shadow->pause_us) {
        get_not_before(shadow, shadow->pause_us);
        return false;
    }
    count_round(tcu, hash);
    shadow->setting = 1;
    tcu->port->shadow_set(tcu->port_context, members);
    return true;
}

/* A delta says of a command what differs from the last one reported, which may be no more than its id: then all of it is asked for. One whose time
 * is over is asked about only. */
static void command(struct tcu *tcu, struct span wanted, struct span desired)
{
    struct agent_shadow *shadow = block(tcu);
    struct span object, value, whole;
    char id[sizeof(shadow->command)], name[AGENT_COMMAND_MAX];
    size_t length;
    if (agent_json_member(wanted, "command", &object) != AGENT_JSON_FOUND ||
        agent_json_member(object, "id", &value) != AGENT_JSON_FOUND ||
        !agent_json_text(value, id, sizeof(id), &length) || length != sizeof(id))
        return;
    if (agent_json_member(object, "name", &value) != AGENT_JSON_FOUND) {
        if (desired.length == 0) {
            get_not_before(shadow, tcu->now_us);
            return;
        }
        agent_json_member(desired, "command", &whole);
        agent_json_member(whole, "name", &value);
        object = whole;
    }
    if (!agent_json_text(value, name, sizeof(name), &length))
        return;
    bool over = agent_json_member(object, "enquiry", &value) == AGENT_JSON_FOUND && agent_json_is_true(value);
    agent_command_shadow(tcu, span_of(id, sizeof(id)), span_of(name, length), over);
}

static void differs(struct tcu *tcu, uint64_t version, struct span wanted, struct span desired)
{
    struct agent_shadow *shadow = block(tcu);
    bool newer = version > shadow->handled;
    if (newer) {
        agent_tell(tcu, TCU_PROBE_SHADOW_DELTA, 0, (uint32_t)version);
        if (hand_over(tcu, wanted))
            shadow->handled = version;
    }
    if (newer || desired.length > 0)
        command(tcu, wanted, desired);
}

static void delta(struct tcu *tcu, struct span payload)
{
    struct agent_shadow *shadow = block(tcu);
    struct span state;
    uint64_t version = version_of(payload);
    if (agent_json_member(payload, "state", &state) != AGENT_JSON_FOUND || state.data[0] != '{' || version == 0)
        return;
    if (version > shadow->version)
        shadow->version = version;
    differs(tcu, version, state, (struct span){NULL, 0});
}

/* ---- answers --------------------------------------------------------------------------------------------------------------- */

static void answered(struct agent_shadow *shadow)
{
    shadow->asked = ASK_NOTHING;
    shadow->due = 0;
}

static void got(struct tcu *tcu, struct span payload)
{
    struct agent_shadow *shadow = block(tcu);
    struct span state, wanted, desired;
    uint64_t version = version_of(payload);
    answered(shadow);
    shadow->version = version;
    if (version < shadow->handled)
        shadow->handled = 0;
    agent_json_member(payload, "state", &state);
    agent_json_member(state, "desired", &desired);
    if (agent_json_member(state, "delta", &wanted) == AGENT_JSON_FOUND && wanted.data[0] == '{')
        differs(tcu, version, wanted, desired);
}

static int64_t code_of(struct span payload)
{
    struct span value;
    int64_t code = 0;
    agent_json_member(payload, "code", &value);
    agent_json_number(value, &code);
    return code;
}

static void get_refused(struct tcu *tcu, struct span payload)
{
    struct agent_shadow *shadow = block(tcu);
    if (code_of(payload) != 404) {
        ask_later(tcu);
        return;
    }
    answered(shadow); /* none yet: the first update makes it */
    shadow->version = shadow->handled = 0;
    shadow->want_report = 1;
}

static void reported(struct tcu *tcu, struct span payload)
{
    struct agent_shadow *shadow = block(tcu);
    answered(shadow);
    shadow->version = version_of(payload);
    shadow->conflicts = 0;
    if (shadow->command_sent)
        shadow->command_known = shadow->command_sent = 0;
    agent_tell(tcu, TCU_PROBE_SHADOW_REPORTED, 0, (uint32_t)shadow->version);
}

static void report_refused(struct tcu *tcu, struct span payload)
{
    struct agent_shadow *shadow = block(tcu);
    int64_t code = code_of(payload);
    if (code == 409) {
        agent_tell(tcu, TCU_PROBE_SHADOW_CONFLICT, 0, (uint32_t)shadow->version);
        answered(shadow);
        shadow->want_report = 1;
        get_not_before(shadow, tcu->now_us + agent_jitter(tcu, shadow->conflicts));
        if (shadow->conflicts < UINT8_MAX)
            shadow->conflicts++;
    } else if (code == 400 || code == 413 || code == 415) {
        answered(shadow); /* the same again would be refused again: until something changes */
    } else {
        ask_later(tcu);
    }
}

static bool starts(struct span *text, struct span begin)
{
    if (text->length < begin.length || memcmp(text->data, begin.data, begin.length) != 0)
        return false;
    *text = span_of(text->data + begin.length, text->length - begin.length);
    return true;
}

bool agent_shadow_heard(struct tcu *tcu, struct span topic, struct span payload)
{
    char path[TOPIC_BYTES];
    if (!agent_shadow_kept(tcu) || !starts(&topic, span_of(path, (size_t)(put_path(tcu, path) - path))))
        return false;
    struct agent_shadow *shadow = agent_claiming(tcu) ? NULL : need(tcu);
    if (!shadow)
        return true;
    if (span_equal(topic, SPAN_LITERAL("update/delta")))
        delta(tcu, payload);
    else if (shadow->asked == ASK_NOTHING || !ours(shadow, payload))
        return true;
    else if (shadow->asked == ASK_GET && span_equal(topic, SPAN_LITERAL("get/accepted")))
        got(tcu, payload);
    else if (shadow->asked == ASK_GET && span_equal(topic, SPAN_LITERAL("get/rejected")))
        get_refused(tcu, payload);
    else if (shadow->asked == ASK_UPDATE && span_equal(topic, SPAN_LITERAL("update/accepted")))
        reported(tcu, payload);
    else if (shadow->asked == ASK_UPDATE && span_equal(topic, SPAN_LITERAL("update/rejected")))
        report_refused(tcu, payload);
    return true;
}

/* ---- the car --------------------------------------------------------------------------------------------------------------- */

/* After a failure, too: some of it may have been brought about. The cloud then says again what is missing. */
void tcu_shadow_done(struct tcu *tcu, int64_t now_us, bool success)
{
    struct agent_shadow *shadow = block(tcu);
    if (!shadow || !shadow->setting)
        return; /* begun before a power cut */
    agent_begin(tcu, now_us);
    shadow->setting = 0;
    shadow->want_report = 1;
    if (!success)
        shadow->pause_us = now_us + agent_jitter(tcu, shadow->rounds);
    if (shadow->held)
        get_not_before(shadow, now_us);
    shadow->held = 0;
    agent_end(tcu);
}

void tcu_shadow_changed(struct tcu *tcu, int64_t now_us)
{
    struct agent_shadow *shadow = block(tcu);
    if (!shadow)
        return; /* all is reported when it is online for the first time */
    agent_begin(tcu, now_us);
    shadow->want_report = 1;
    agent_end(tcu);
}

void agent_shadow_executed(struct tcu *tcu, const struct agent_answer *answer)
{
    struct agent_shadow *shadow = block(tcu);
    if (!shadow || answer->id.length != sizeof(shadow->command))
        return;
    if (answer->status == AGENT_BUSY) { /* no end: what is reported would not be wanted any more */
        get_not_before(shadow, tcu->now_us + agent_jitter(tcu, shadow->conflicts));
        return;
    }
    memcpy(shadow->command, answer->id.data, sizeof(shadow->command));
    shadow->command_status = (uint8_t)answer->status;
    shadow->command_refusal = answer->refusal;
    shadow->command_known = 1;
    shadow->command_sent = 0;
    shadow->want_report = 1;
}
