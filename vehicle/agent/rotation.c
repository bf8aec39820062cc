/* rotation.c: a change of identity, by job (rotation) or from nothing (claim), so that the power may go at any moment.
 *
 * Two slots hold identities; a flag in the STATE item says which one is in use, so that changing over is one write. What is in the store, in
 * this order:
 *
 *   ROTATION{KEY, job, version}   key (slot)   certificate (slot)   ROTATION{ISSUED, token, certificate id}
 *   [provision granted] ROTATION{TRYING}   [connected with the new one] STATE{slot}   ROTATION{COMMITTED}
 *   [all others deactivated, job SUCCEEDED] the old certificate and key go, then ROTATION
 *
 * KEY begins again with a fresh key; ISSUED asks for provision again; TRYING connects with the new one first, and is COMMITTED when the
 * flag says so. The new one refused `switch_attempts` times: ROTATION{FAILED}, back on the old one, job FAILED, the new one goes. No network is
 * no refusal. A claim fills the slot in use, which is empty, has no job and nothing to go back to: refused, it begins again.
 *
 * ROTATION: version, phase, flags (claim, slot), the execution's version (8), then four texts with their lengths (2 each): job, template,
 * certificate id, token. */
#include "agent_internal.h"

enum { ITEM_VERSION = 1, ITEM_HEAD = 11, ITEM_CLAIM = 1, ITEM_SLOT = 2, SWITCH_ATTEMPTS = 3 };
#define ITEM_MAX (ITEM_HEAD + 8 + 64 + 36 + 64 + AGENT_TOKEN_MAX)

static void tell_step(struct tcu *tcu, enum tcu_step step)
{
    const struct agent_rotation *rotation = agent_rotation(tcu);
    if (tcu->port->probe)
        agent_probe(tcu, TCU_PROBE_STEP, 0, step, 0, span_of(rotation->job, rotation->job_length));
}

static void tell_ended(struct tcu *tcu, bool on_the_old_one)
{
    const struct agent_rotation *rotation = agent_rotation(tcu);
    if (tcu->port->probe)
        agent_probe(tcu, TCU_PROBE_ROTATION_ENDED, on_the_old_one, 0, 0, span_of(rotation->job, rotation->job_length));
}

/* ---- store ------------------------------------------------------------------------------------------------------------ */

static bool write_item(struct tcu *tcu, enum tcu_store_item item, struct span value)
{
    return tcu->port->store_write(tcu->port_context, item, value);
}

static bool erase_item(struct tcu *tcu, enum tcu_store_item item)
{
    return write_item(tcu, item, (struct span){NULL, 0});
}

static enum tcu_store_item certificate_item(bool second)
{
    return second ? TCU_STORE_SECOND_CERTIFICATE : TCU_STORE_OPERATIONAL_CERTIFICATE;
}

static enum tcu_store_item key_item(bool second)
{
    return second ? TCU_STORE_SECOND_KEY : TCU_STORE_OPERATIONAL_KEY;
}

static size_t put_text(uint8_t *out, size_t at, struct span text)
{
    out[at] = (uint8_t)text.length;
    out[at + 1] = (uint8_t)(text.length >> 8);
    if (text.length > 0)
        memcpy(out + at + 2, text.data, text.length);
    return at + 2 + text.length;
}

/* The phase changes when it is in the store, not before. */
static bool record(struct tcu *tcu, enum agent_phase phase, struct span token)
{
    struct agent_rotation *rotation = agent_rotation(tcu);
    uint8_t item[ITEM_MAX];
    size_t length = ITEM_HEAD;
    item[0] = ITEM_VERSION;
    item[1] = (uint8_t)phase;
    item[2] = (uint8_t)((rotation->claim ? ITEM_CLAIM : 0) | (rotation->target ? ITEM_SLOT : 0));
    for (unsigned i = 0; i < 8; i++)
        item[3 + i] = (uint8_t)((uint64_t)rotation->version >> (8 * i));
    length = put_text(item, length, span_of(rotation->job, rotation->job_length));
    length = put_text(item, length, span_of(rotation->template, rotation->template_length));
    length = put_text(item, length, span_of(rotation->certificate_id, rotation->id_length));
    length = put_text(item, length, token);
    if (!write_item(tcu, TCU_STORE_ROTATION, span_of(item, length)))
        return false;
    rotation->phase = (uint8_t)phase;
    rotation->recorded = phase == PHASE_KEY;
    return true;
}

static bool get_text(struct span *item, struct span *text, size_t maximum)
{
    if (item->length < 2)
        return false;
    size_t length = item->data[0] | (size_t)item->data[1] << 8;
    if (length > maximum || length > item->length - 2)
        return false;
    *text = span_of(item->data + 2, length);
    *item = span_of(item->data + 2 + length, item->length - 2 - length);
    return true;
}

static bool read_record(struct agent_rotation *rotation, struct span item, struct span *token)
{
    struct span job, template, id;
    if (item.length < ITEM_HEAD || item.data[0] != ITEM_VERSION || item.data[1] < PHASE_KEY ||
        item.data[1] > PHASE_FAILED)
        return false;
    rotation->phase = item.data[1];
    rotation->claim = (item.data[2] & ITEM_CLAIM) != 0;
    rotation->target = (item.data[2] & ITEM_SLOT) != 0;
    uint64_t version = 0;
    for (unsigned i = 0; i < 8; i++)
        version |= (uint64_t)item.data[3 + i] << (8 * i);
    rotation->version = (int64_t)version;
    item = span_of(item.data + ITEM_HEAD, item.length - ITEM_HEAD);
    if (!get_text(&item, &job, sizeof(rotation->job)) || !get_text(&item, &template, sizeof(rotation->template)) ||
        !get_text(&item, &id, sizeof(rotation->certificate_id)) || !get_text(&item, token, AGENT_TOKEN_MAX))
        return false;
    rotation->job_length = (uint8_t)(agent_text_copy(rotation->job, job) - rotation->job);
    rotation->template_length = (uint8_t)(agent_text_copy(rotation->template, template) - rotation->template);
    rotation->id_length = (uint8_t)(agent_text_copy(rotation->certificate_id, id) - rotation->certificate_id);
    return true;
}

/* ---- steps ------------------------------------------------------------------------------------------------------------- */

static void enter_committed(struct tcu *tcu)
{
    const struct tcu_topics *topics = &tcu->profile->topics;
    if (agent_rotation(tcu)->claim)
        agent_step_enter(tcu, topics->active[0] ? DO_ANNOUNCE : DO_CLEAN);
    else
        agent_step_enter(tcu, topics->deactivate[0] ? DO_DEACTIVATE : DO_SUCCEED);
}

/* Begun anew after a wait, with a fresh key. */
static void restart(struct tcu *tcu)
{
    struct agent_rotation *rotation = agent_rotation(tcu);
    agent_step_enter(tcu, DO_KEY);
    rotation->again = 1;
    rotation->tries = rotation->restarts;
    if (rotation->restarts < UINT8_MAX)
        rotation->restarts++;
    agent_step_later(tcu);
}

static void make_key(struct tcu *tcu)
{
    struct agent_rotation *rotation = agent_rotation(tcu);
    bool ready = (rotation->recorded || record(tcu, PHASE_KEY, (struct span){NULL, 0})) &&
                 (!rotation->again || erase_item(tcu, certificate_item(rotation->target)));
    if (!ready) {
        agent_step_later(tcu);
        return;
    }
    if (rotation->again)
        tell_step(tcu, TCU_STEP_RESTARTED);
    rotation->again = 1;
    rotation->due = 0;
    if (rotation->claim && tcu->profile->server_key) {
        agent_request_create(tcu, (struct span){NULL, 0});
        agent_step_enter(tcu, DO_CREATE);
        return;
    }
    rotation->timer_us = tcu->now_us + tcu->profile->http_timeout_us;
    tcu->port->key_generate(tcu->port_context, agent_slot_identity(rotation->target), tcu_name(tcu));
}

static void provisioning_failed(struct tcu *tcu, int64_t status)
{
    if (agent_rotation(tcu)->claim)
        agent_tell(tcu, TCU_PROBE_PROVISIONING_FAILED, 0, (uint32_t)status);
}

bool agent_rotation_csr(struct tcu *tcu, struct span csr)
{
    struct agent_rotation *rotation = agent_rotation(tcu);
    if (!rotation)
        return false;
    if (rotation->step != DO_KEY || rotation->due || tcu->state == TCU_OFF)
        return true; /* of a key that has been given up */
    if (csr.length == 0 || !agent_request_create(tcu, csr)) {
        provisioning_failed(tcu, 0);
        agent_step_later(tcu);
        return true;
    }
    tell_step(tcu, TCU_STEP_KEY);
    if (rotation->claim)
        agent_tell(tcu, TCU_PROBE_KEY_READY, 0, 0);
    agent_step_enter(tcu, DO_CREATE);
    return true;
}

/* ---- answers of provisioning -------------------------------------------------------------------------------------------- */

static bool hexadecimal(const char *text, size_t length)
{
    for (size_t i = 0; i < length; i++)
        if (!(text[i] >= '0' && text[i] <= '9') && !(text[i] >= 'a' && text[i] <= 'f'))
            return false;
    return length == 64;
}

static bool read_text(struct span answer, const char *name, void *out, size_t capacity, size_t *length)
{
    struct span value;
    return agent_json_member(answer, name, &value) == AGENT_JSON_FOUND &&
           agent_json_text(value, out, capacity, length) && *length > 0;
}

/* The key first: a certificate beside it makes it an identity. */
static bool keep_server_key(struct tcu *tcu, struct span answer)
{
    uint8_t key[TCU_STORE_MAX];
    size_t length;
    return read_text(answer, "privateKey", key, sizeof(key), &length) &&
           write_item(tcu, key_item(agent_rotation(tcu)->target), span_of(key, length));
}

static bool keep_certificate(struct tcu *tcu, struct span answer)
{
    uint8_t certificate[TCU_STORE_MAX];
    size_t length;
    return read_text(answer, "certificatePem", certificate, sizeof(certificate), &length) &&
           write_item(tcu, certificate_item(agent_rotation(tcu)->target), span_of(certificate, length));
}

/* An answer that is none, or that the store does not take (a certificate for another key, say an earlier one), is as good as lost. */
static void created(struct tcu *tcu, struct span answer)
{
    struct agent_rotation *rotation = agent_rotation(tcu);
    char token[AGENT_TOKEN_MAX], id[sizeof(rotation->certificate_id)];
    size_t token_length, id_length;
    if (!read_text(answer, "certificateOwnershipToken", token, sizeof(token), &token_length) ||
        !read_text(answer, "certificateId", id, sizeof(id), &id_length) || !hexadecimal(id, id_length))
        return;
    if (rotation->claim && tcu->profile->server_key && !keep_server_key(tcu, answer))
        return;
    if (!keep_certificate(tcu, answer))
        return;
    memcpy(rotation->certificate_id, id, id_length);
    rotation->id_length = (uint8_t)id_length;
    if (!record(tcu, PHASE_ISSUED, span_of(token, token_length)))
        return;
    tell_step(tcu, TCU_STEP_CERTIFICATE);
    if (rotation->claim)
        agent_tell(tcu, TCU_PROBE_CERTIFICATE_STORED, 0, 0);
    if (agent_request_provision(tcu, span_of(token, token_length)))
        agent_step_enter(tcu, DO_PROVISION);
    else
        restart(tcu);
}

/* Under another name we could not connect. */
static void provisioned(struct tcu *tcu, struct span answer)
{
    char thing[TCU_NAME_MAX];
    size_t length = 0;
    struct span value;
    enum agent_json found = agent_json_member(answer, "thingName", &value);
    if (found == AGENT_JSON_BAD)
        return;
    if (found == AGENT_JSON_FOUND && (!agent_json_text(value, thing, sizeof(thing), &length) ||
                                      !span_equal(span_of(thing, length), tcu_name(tcu)))) {
        provisioning_failed(tcu, 0);
        restart(tcu);
        return;
    }
    if (found == AGENT_JSON_NONE || !record(tcu, PHASE_TRYING, (struct span){NULL, 0}))
        return;
    tell_step(tcu, TCU_STEP_REGISTERED);
    agent_rotation(tcu)->refused = 0;
    agent_step_enter(tcu, DO_SWITCH);
}

static bool starts(struct span text, const char *begin)
{
    size_t length = strlen(begin);
    return text.length > length && memcmp(text.data, begin, length) == 0;
}

static bool ends(struct span text, const char *end)
{
    size_t length = strlen(end);
    return text.length > length && memcmp(text.data + text.length - length, end, length) == 0;
}

void agent_rotation_answered(struct tcu *tcu, struct span topic, struct span payload)
{
    struct span value;
    int64_t status = 0;
    bool create = agent_rotation(tcu)->step == DO_CREATE && starts(topic, "certificates/create");
    bool provision = agent_rotation(tcu)->step == DO_PROVISION && starts(topic, "provisioning-templates/");
    if (!create && !provision)
        return;
    if (ends(topic, "/json/accepted")) {
        if (create)
            created(tcu, payload);
        else
            provisioned(tcu, payload);
    } else if (ends(topic, "/json/rejected") && agent_json_member(payload, "statusCode", &value) != AGENT_JSON_BAD) {
        agent_json_number(value, &status);
        provisioning_failed(tcu, status);
        restart(tcu);
    }
}

/* ---- changing over --------------------------------------------------------------------------------------------------------- */

static bool flip(struct tcu *tcu)
{
    const struct agent_rotation *rotation = agent_rotation(tcu);
    if (tcu->second == rotation->target)
        return true;
    tcu->second = rotation->target;
    if (agent_store_save(tcu))
        return true;
    tcu->second = !rotation->target;
    return false;
}

/* Connected with the new one. */
static void commit(struct tcu *tcu)
{
    if (!flip(tcu) || !record(tcu, PHASE_COMMITTED, (struct span){NULL, 0})) {
        agent_step_later(tcu);
        return;
    }
    tcu->has_certificate = 1;
    tell_step(tcu, TCU_STEP_SWITCHED);
    if (agent_rotation(tcu)->claim)
        agent_tell(tcu, TCU_PROBE_PROVISIONED, 0, 0);
    enter_committed(tcu);
}

void agent_rotation_online(struct tcu *tcu)
{
    struct agent_rotation *rotation = agent_rotation(tcu);
    if (rotation->step == DO_SWITCH && tcu->identity == agent_identity_wanted(tcu))
        commit(tcu);
    if (rotation->step != DO_FAIL || rotation->told)
        return;
    rotation->told = 1;
    tell_step(tcu, TCU_STEP_ROLLED_BACK);
}

/* Not for want of a network: the other end knows the certificate and does not want it. */
static bool refusal(enum agent_event event, uint8_t reason, uint32_t link_end)
{
    enum { REFUSED_CREDENTIALS_311 = 4, REFUSED_AUTHORISATION_311 = 5 };
    if (event == AGENT_LINK_DOWN)
        return link_end == TCU_LINK_TLS_FAILED || link_end == TCU_LINK_PEER_CLOSED;
    if (event != AGENT_REFUSED && event != AGENT_DISCONNECTED)
        return false;
    return reason == MQ5_NOT_AUTHORIZED || reason == MQ5_BAD_USER_NAME_OR_PASSWORD || reason == MQ5_BANNED ||
           reason == REFUSED_CREDENTIALS_311 || reason == REFUSED_AUTHORISATION_311;
}

void agent_rotation_refused(struct tcu *tcu, enum agent_event event, uint8_t reason, uint32_t link_end)
{
    struct agent_rotation *rotation = agent_rotation(tcu);
    unsigned enough = tcu->profile->switch_attempts ? tcu->profile->switch_attempts : SWITCH_ATTEMPTS;
    bool trying = rotation->step == DO_SWITCH && rotation->phase == PHASE_TRYING;
    if (!trying || (!rotation->claim && tcu->second == rotation->target) || !refusal(event, reason, link_end))
        return;
    if (rotation->refused < UINT8_MAX)
        rotation->refused++;
    if (rotation->refused < enough)
        return;
    if (rotation->claim) {
        if (record(tcu, PHASE_KEY, (struct span){NULL, 0}))
            restart(tcu);
    } else if (record(tcu, PHASE_FAILED, (struct span){NULL, 0})) {
        agent_step_enter(tcu, DO_FAIL);
    }
}

/* ---- the end ---------------------------------------------------------------------------------------------------------------- */

void agent_rotation_acknowledged(struct tcu *tcu)
{
    if (agent_rotation(tcu)->step == DO_DEACTIVATE) {
        tell_step(tcu, TCU_STEP_DEACTIVATED);
        agent_step_enter(tcu, DO_SUCCEED);
    } else {
        agent_step_enter(tcu, DO_CLEAN);
    }
}

void agent_rotation_reported(struct tcu *tcu)
{
    tell_step(tcu, TCU_STEP_REPORTED);
    tell_ended(tcu, agent_rotation(tcu)->phase == PHASE_FAILED);
    agent_step_enter(tcu, DO_CLEAN);
}

void agent_rotation_drop(struct tcu *tcu)
{
    tell_ended(tcu, true);
    agent_step_enter(tcu, DO_CLEAN);
}

/* Whatever came of it: the slot not in use has nothing to keep. */
static void clean(struct tcu *tcu)
{
    bool other = !tcu->second;
    if (!agent_rotation(tcu)->claim &&
        (!erase_item(tcu, certificate_item(other)) || !erase_item(tcu, key_item(other)))) {
        agent_step_later(tcu);
        return;
    }
    if (!erase_item(tcu, TCU_STORE_ROTATION)) {
        agent_step_later(tcu);
        return;
    }
    agent_rotation(tcu)->phase = PHASE_NONE;
    agent_step_enter(tcu, DO_NOTHING);
}

/* ---- beginning -------------------------------------------------------------------------------------------------------------- */

void agent_rotation_begin(struct tcu *tcu, struct span template)
{
    struct agent_rotation *rotation = agent_rotation(tcu);
    rotation->target = !tcu->second;
    rotation->template_length = (uint8_t)(agent_text_copy(rotation->template, template) - rotation->template);
    tell_step(tcu, TCU_STEP_JOB);
    agent_step_enter(tcu, DO_KEY);
}

static void begin_claim(struct tcu *tcu)
{
    struct agent_rotation *rotation = agent_rotation_need(tcu);
    if (!rotation) {
        agent_enter(tcu, AGENT_DISTRUST, 0, 0); /* perhaps there is memory later */
        return;
    }
    tcu->want_rotation = 0;
    rotation->claim = 1;
    rotation->target = tcu->second;
    agent_step_enter(tcu, DO_KEY);
}

void agent_rotation_resume(struct tcu *tcu)
{
    struct agent_rotation *rotation = agent_rotation(tcu);
    switch ((enum agent_phase)rotation->phase) {
    case PHASE_KEY: agent_step_enter(tcu, DO_KEY); break;
    case PHASE_ISSUED: agent_step_enter(tcu, DO_PROVISION); break;
    case PHASE_TRYING: agent_step_enter(tcu, DO_SWITCH); break;
    case PHASE_COMMITTED: enter_committed(tcu); break;
    case PHASE_FAILED: agent_step_enter(tcu, DO_FAIL); break;
    case PHASE_NONE: agent_step_enter(tcu, DO_NOTHING); break;
    }
}

static bool slot_filled(struct tcu *tcu, bool second)
{
    uint8_t certificate[TCU_STORE_MAX];
    return tcu->port->store_read(tcu->port_context, certificate_item(second), certificate, sizeof(certificate)) > 0;
}

/* While the new certificate has not been tried, whether the job is still wanted is asked first. */
static void power_up(struct tcu *tcu, struct span token)
{
    struct agent_rotation *rotation = agent_rotation(tcu);
    bool undecided = rotation->phase == PHASE_KEY || rotation->phase == PHASE_ISSUED;
    if (rotation->phase == PHASE_TRYING && !rotation->claim && rotation->target == tcu->second)
        rotation->phase = PHASE_COMMITTED;
    if (rotation->phase == PHASE_ISSUED &&
        (!slot_filled(tcu, rotation->target) || !agent_request_provision(tcu, token)))
        rotation->phase = PHASE_KEY;
    else
        rotation->recorded = rotation->phase == PHASE_KEY;
    rotation->again = 1;
    if (undecided && !rotation->claim)
        agent_step_enter(tcu, DO_DESCRIBE);
    else
        agent_rotation_resume(tcu);
}

/* An item that cannot be read is as if it were not there. */
bool agent_rotation_load(struct tcu *tcu)
{
    uint8_t item[TCU_STORE_MAX];
    struct span token;
    if (!agent_does_jobs(tcu))
        return true;
    tcu->want_rotation = 1;
    if (agent_rotation(tcu))
        return true;
    size_t length = tcu->port->store_read(tcu->port_context, TCU_STORE_ROTATION, item, sizeof(item));
    if (length == 0)
        return true;
    if (!agent_rotation_need(tcu))
        return false;
    if (read_record(agent_rotation(tcu), span_of(item, length), &token))
        power_up(tcu, token);
    else
        agent_rotation_give(tcu);
    return true;
}

/* ---- going on ---------------------------------------------------------------------------------------------------------------- */

/* Without memory it stays wanted. */
static void begin_something(struct tcu *tcu)
{
    if (agent_claiming(tcu)) {
        begin_claim(tcu);
    } else if (agent_rotation_need(tcu)) {
        tcu->want_rotation = 0;
        agent_step_enter(tcu, DO_DESCRIBE);
    }
}

static void run(struct tcu *tcu)
{
    struct agent_rotation *rotation = agent_rotation(tcu);
    if (tcu->now_us >= rotation->timer_us) {
        rotation->timer_us = TIME_NEVER;
        rotation->due = 1;
    }
    if (!rotation->due || tcu->want_subscribe)
        return;
    switch ((enum agent_step)rotation->step) {
    case DO_NOTHING: break;
    case DO_KEY: make_key(tcu); break;
    case DO_SWITCH: commit(tcu); break;
    case DO_CLEAN: clean(tcu); break;
    default: agent_request_send(tcu); break;
    }
}

/* false: that is all for now. */
static bool go_on(struct tcu *tcu)
{
    if (agent_rotation(tcu) && agent_rotation(tcu)->step == DO_NOTHING)
        agent_rotation_give(tcu);
    if (tcu->state == TCU_ONLINE && !agent_rotation(tcu) && tcu->want_rotation)
        begin_something(tcu);
    if (tcu->state != TCU_ONLINE || !agent_rotation(tcu))
        return false;
    uint8_t step = agent_rotation(tcu)->step;
    if (tcu->identity != agent_identity_wanted(tcu))
        agent_enter(tcu, AGENT_RECONNECT, 0, 0);
    else
        run(tcu);
    return agent_rotation(tcu)->step != step;
}

void agent_rotation_settle(struct tcu *tcu)
{
    while (go_on(tcu))
        ;
}
