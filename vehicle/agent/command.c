/* command.c: requests from the cloud, executed at most once, answered until the answer is acknowledged.
 *
 * A command's id is its correlation data, or "id" in its payload (3.1.1). The last AGENT_RECENT ids are remembered
 * with their outcome, over power cuts too, and an id is on record before the car is told. Not executed: retained
 * messages (nobody asked now), expired ones, repetitions without an id (nobody could tell whether they ran), what is
 * no command. A command beyond AGENT_SLOTS is answered "busy" and forgotten, so that it may be asked again.
 * Answers wait in slots at QoS 1; one that finds no slot is sent once at QoS 0: whoever misses it asks again. */
#include "agent_internal.h"

#include "mqtt5/topic.h"

static const char *const status_names[] = {
    [AGENT_UNKNOWN] = "failed",    [AGENT_SUCCEEDED] = "succeeded", [AGENT_FAILED] = "failed",
    [AGENT_REJECTED] = "rejected", [AGENT_BUSY] = "busy",           [AGENT_EXPIRED] = "expired",
};

static void tell(struct tcu *tcu, enum tcu_probe_kind kind, uint8_t reason, struct span id)
{
    if (tcu->port->probe)
        agent_probe(tcu, kind, reason, 0, 0, id);
}

/* Remembered ids. */

static uint64_t hash_id(struct span id)
{
    uint64_t hash = UINT64_C(0xCBF29CE484222325);
    for (uint32_t i = 0; i < id.length; i++)
        hash = (hash ^ id.data[i]) * UINT64_C(0x100000001B3);
    return hash ? hash : 1;
}

static unsigned recent_find(const struct agent_recent *recent, uint64_t hash)
{
    unsigned i = 0;
    while (recent && i < AGENT_RECENT && recent->hash[i] != hash)
        i++;
    return recent ? i : AGENT_NO_RECENT;
}

static void recent_touch(struct agent_recent *recent, unsigned place)
{
    uint8_t *at = memchr(recent->order, (int)place, AGENT_RECENT);
    memmove(at, at + 1, (size_t)(recent->order + AGENT_RECENT - (at + 1)));
    recent->order[AGENT_RECENT - 1] = (uint8_t)place;
}

/* Takes the place of the oldest whose outcome is known: of those being executed there are fewer than places. AGENT_NO_RECENT: there is
 * no memory. */
static unsigned recent_add(struct tcu *tcu, uint64_t hash, enum agent_status status)
{
    struct agent_recent *recent = agent_recent_need(tcu);
    unsigned i = 0, place;
    if (!recent)
        return AGENT_NO_RECENT;
    while (recent->hash[recent->order[i]] != 0 && recent->status[recent->order[i]] == AGENT_UNKNOWN)
        i++;
    place = recent->order[i];
    recent->hash[place] = hash;
    recent->status[place] = (uint8_t)status;
    recent_touch(recent, place);
    for (i = 0; tcu->slots && i < AGENT_SLOTS; i++)
        if (tcu->slots->slot[i].recent == place)
            tcu->slots->slot[i].recent = AGENT_NO_RECENT;
    return place;
}

/* Slots and their packed text. */

static unsigned slot_length(const struct agent_slot *slot)
{
    return (unsigned)slot->topic_length + slot->id_length + slot->command_length;
}

static unsigned text_before(const struct agent_slots *slots, unsigned index)
{
    unsigned length = 0;
    for (unsigned i = 0; i < index; i++)
        length += slot_length(&slots->slot[i]);
    return length;
}

static struct agent_answer slot_answer(const struct tcu *tcu, unsigned index)
{
    const struct agent_slot *slot = &tcu->slots->slot[index];
    const char *text = tcu->slots->text + text_before(tcu->slots, index);
    return (struct agent_answer){
        .topic = span_of(text, slot->topic_length),
        .id = span_of(text + slot->topic_length, slot->id_length),
        .command = span_of(text + slot->topic_length + slot->id_length, slot->command_length),
        .status = (enum agent_status)slot->status,
        .id_in_payload = slot->id_in_payload,
        .wall_us = slot->wall_us,
    };
}

static void slot_set_state(struct agent_slots *slots, unsigned index, enum agent_slot_state state)
{
    struct agent_slot *slot = &slots->slot[index];
    slots->busy = (uint8_t)(slots->busy + (slot->state == SLOT_FREE) - (state == SLOT_FREE));
    slots->ready = (uint8_t)(slots->ready - (slot->state == SLOT_READY) + (state == SLOT_READY));
    slot->state = (uint8_t)state;
}

static void slot_free(struct agent_slots *slots, unsigned index)
{
    struct agent_slot *slot = &slots->slot[index];
    unsigned begin = text_before(slots, index), end = begin + slot_length(slot);
    memmove(slots->text + begin, slots->text + end, text_before(slots, AGENT_SLOTS) - end);
    slot_set_state(slots, index, SLOT_FREE);
    *slot = (struct agent_slot){.recent = AGENT_NO_RECENT};
}

/* AGENT_SLOTS when there is no slot or no room. */
static unsigned slot_take(struct tcu *tcu, const struct agent_answer *request)
{
    struct agent_slots *slots = agent_slots_need(tcu);
    uint32_t length = request->topic.length + request->id.length + request->command.length;
    if (!slots)
        return AGENT_SLOTS;
    unsigned used = text_before(slots, AGENT_SLOTS), index = 0;
    while (index < AGENT_SLOTS && slots->slot[index].state != SLOT_FREE)
        index++;
    if (index == AGENT_SLOTS || length > AGENT_TEXT_BYTES - used)
        return AGENT_SLOTS;
    unsigned begin = text_before(slots, index);
    memmove(slots->text + begin + length, slots->text + begin, used - begin);
    char *at = agent_text_copy(slots->text + begin, request->topic);
    at = agent_text_copy(at, request->id);
    agent_text_copy(at, request->command);
    slot_set_state(slots, index, SLOT_EXECUTING);
    struct agent_slot *slot = &slots->slot[index];
    slot->topic_length = (uint8_t)request->topic.length;
    slot->id_length = (uint8_t)request->id.length;
    slot->command_length = (uint8_t)request->command.length;
    slot->id_in_payload = request->id_in_payload;
    return index;
}

/* Answers. */

static void slot_finish(struct tcu *tcu, unsigned index, enum agent_status status)
{
    struct agent_slot *slot = &tcu->slots->slot[index];
    slot->status = (uint8_t)status & 7;
    slot->wall_us = tcu->port->wall_us(tcu->port_context, tcu->now_us);
    slot_set_state(tcu->slots, index, SLOT_READY);
}

static void answer(struct tcu *tcu, struct agent_answer *request, enum agent_status status)
{
    unsigned index = status == AGENT_BUSY ? AGENT_SLOTS : slot_take(tcu, request);
    if (index < AGENT_SLOTS) {
        slot_finish(tcu, index, status);
        return;
    }
    request->status = status;
    request->wall_us = tcu->port->wall_us(tcu->port_context, tcu->now_us);
    memcpy(tcu->profile->scratch, request, sizeof(*request));
    tcu->direct = 1;
    if (agent_mqtt_publish(tcu, TOKEN_DIRECT, 0) == MQ5C_DONE)
        tell(tcu, TCU_PROBE_COMMAND_ANSWERED, (uint8_t)status, request->id);
    tcu->direct = 0;
}

static struct span answer_payload(const struct agent_answer *answered, char *out)
{
    char *at = agent_text_literal(out, "{\"status\":\"");
    at = agent_text_copy(at, span_text(status_names[answered->status]));
    at = agent_text_literal(at, "\",\"command\":\"");
    at = agent_text_copy(at, answered->command);
    at = agent_text_literal(at, "\",\"ts\":");
    at = agent_text_number(at, answered->wall_us);
    if (answered->id_in_payload) {
        at = agent_text_literal(at, ",\"id\":\"");
        at = agent_text_copy(at, answered->id);
        at = agent_text_literal(at, "\"");
    }
    at = agent_text_literal(at, "}");
    return span_of(out, (size_t)(at - out));
}

bool agent_command_load(struct tcu *tcu, uint32_t token, struct mq5_publish *out)
{
    unsigned index = token - TOKEN_ANSWER;
    struct agent_answer answered;
    char *scratch = (char *)tcu->profile->scratch;
    if (token == TOKEN_DIRECT && tcu->direct)
        memcpy(&answered, scratch, sizeof(answered));
    else if (index < AGENT_SLOTS && tcu->slots && tcu->slots->slot[index].state >= SLOT_READY)
        answered = slot_answer(tcu, index);
    else
        return false;
    if (answered.topic.length == 0)
        answered.topic = agent_text_expand(tcu->profile->topics.command_response, tcu_name(tcu), scratch);
    out->topic = answered.topic;
    out->payload = answer_payload(&answered, scratch + AGENT_TOPIC_MAX);
    out->qos = token != TOKEN_DIRECT && tcu->peer_qos > 0 ? 1 : 0;
    if (answered.id.length > 0 && !answered.id_in_payload) {
        out->properties.present = MQ5_BIT(MQ5_CORRELATION_DATA);
        out->properties.correlation_data = answered.id;
    }
    return true;
}

static void send_answer(struct tcu *tcu, unsigned index)
{
    struct agent_slot *slot = &tcu->slots->slot[index];
    struct agent_answer answered = slot_answer(tcu, index);
    slot_set_state(tcu->slots, index, SLOT_SENT);
    slot->sent_at = agent_stamp(tcu->now_us);
    enum mq5_client_result result = agent_mqtt_publish(tcu, TOKEN_ANSWER + index, 0);
    if (result == MQ5C_DONE) /* at QoS 0 the slot is free again, but its text has not been touched since */
        tell(tcu, TCU_PROBE_COMMAND_ANSWERED, (uint8_t)answered.status, answered.id);
    else if (slot->state == SLOT_SENT && (result == MQ5C_WAIT || result == MQ5C_OFFLINE))
        slot_set_state(tcu->slots, index, SLOT_READY);
    else if (slot->state == SLOT_SENT)
        slot_free(tcu->slots, index); /* a response topic that cannot be published to */
}

void agent_command_pump(struct tcu *tcu)
{
    for (unsigned i = 0; tcu->slots && i < AGENT_SLOTS && tcu->slots->ready > 0 && tcu->state == TCU_ONLINE; i++)
        if (tcu->slots->slot[i].state == SLOT_READY)
            send_answer(tcu, i);
}

void agent_command_published(struct tcu *tcu, uint32_t token)
{
    unsigned index = token - TOKEN_ANSWER;
    if (index < AGENT_SLOTS && tcu->slots && tcu->slots->slot[index].state == SLOT_SENT)
        slot_free(tcu->slots, index);
}

void agent_command_dropped(struct tcu *tcu, uint32_t token)
{
    unsigned index = token - TOKEN_ANSWER;
    if (index < AGENT_SLOTS && tcu->slots && tcu->slots->slot[index].state == SLOT_SENT)
        slot_set_state(tcu->slots, index, SLOT_READY);
}

uint32_t agent_command_oldest_sent(const struct tcu *tcu)
{
    const struct agent_slots *slots = tcu->slots;
    uint32_t oldest = 0;
    for (unsigned i = 0; slots && slots->busy > 0 && i < AGENT_SLOTS; i++) {
        const struct agent_slot *slot = &slots->slot[i];
        if (slot->state == SLOT_SENT && (oldest == 0 || slot->sent_at < oldest))
            oldest = slot->sent_at;
    }
    return oldest;
}

/* Requests. */

static void execute(struct tcu *tcu, struct agent_answer *request, uint64_t hash)
{
    unsigned index = slot_take(tcu, request);
    if (index == AGENT_SLOTS) {
        bool never = request->topic.length + request->id.length + request->command.length > AGENT_TEXT_BYTES;
        answer(tcu, request, never ? AGENT_REJECTED : AGENT_BUSY);
        return;
    }
    if (hash != 0) {
        unsigned place = recent_add(tcu, hash, AGENT_UNKNOWN);
        bool promised = place < AGENT_RECENT && agent_store_save(tcu);
        if (!promised) { /* "never twice" */
            if (place < AGENT_RECENT)
                tcu->recent->hash[place] = 0;
            slot_finish(tcu, index, AGENT_REJECTED);
            return;
        }
        tcu->slots->slot[index].recent = (uint8_t)place;
    }
    tcu->port->execute(tcu->port_context, index, slot_answer(tcu, index).command);
}

static void repeated(struct tcu *tcu, struct agent_answer *request, unsigned recent)
{
    const struct agent_slots *slots = tcu->slots;
    tell(tcu, TCU_PROBE_COMMAND_DUPLICATE, 0, request->id);
    for (unsigned i = 0; slots && i < AGENT_SLOTS; i++)
        if (slots->slot[i].state != SLOT_FREE && slots->slot[i].recent == recent)
            return; /* its answer is coming anyway */
    answer(tcu, request, (enum agent_status)tcu->recent->status[recent]);
}

static void requested(struct tcu *tcu, struct agent_answer *request, const struct mq5_publish *publish)
{
    bool expires = publish->properties.present & MQ5_BIT(MQ5_MESSAGE_EXPIRY_INTERVAL);
    uint64_t hash = request->id.length > 0 ? hash_id(request->id) : 0;
    unsigned recent = hash ? recent_find(tcu->recent, hash) : AGENT_RECENT;
    tell(tcu, TCU_PROBE_COMMAND_RECEIVED, 0, request->id);
    if (publish->retain || request->command.length == 0 || (publish->dup && hash == 0)) {
        answer(tcu, request, AGENT_REJECTED);
    } else if (recent < AGENT_RECENT) {
        repeated(tcu, request, recent);
    } else if (expires && publish->properties.message_expiry_s == 0) {
        if (hash)
            recent_add(tcu, hash, AGENT_EXPIRED);
        answer(tcu, request, AGENT_EXPIRED);
    } else {
        execute(tcu, request, hash);
    }
}

void agent_command_message(struct tcu *tcu, const struct mq5_publish *publish)
{
    const struct mq5_properties *properties = &publish->properties;
    char filter[AGENT_TOPIC_MAX];
    struct span wanted = agent_text_expand(tcu->profile->topics.command_request, tcu_name(tcu), filter);
    struct agent_answer request = {.status = AGENT_UNKNOWN};
    if (wanted.length == 0 || !mq5_topic_matches(wanted, publish->topic))
        return;
    agent_text_command(publish->payload, &request.command, &request.id);
    request.id_in_payload = request.id.length > 0;
    if (properties->present & MQ5_BIT(MQ5_CORRELATION_DATA)) {
        request.id = properties->correlation_data;
        request.id_in_payload = false;
    }
    if (properties->present & MQ5_BIT(MQ5_RESPONSE_TOPIC)) {
        struct span usual = agent_text_expand(tcu->profile->topics.command_response, tcu_name(tcu), filter);
        if (!span_equal(usual, properties->response_topic)) /* the usual one is not worth keeping */
            request.topic = properties->response_topic;
    }
    requested(tcu, &request, publish);
}

void tcu_executed(struct tcu *tcu, int64_t now_us, uint32_t index, bool success)
{
    struct agent_slots *slots = tcu->slots;
    if (index >= AGENT_SLOTS || !slots || slots->slot[index].state != SLOT_EXECUTING)
        return; /* begun before a power cut */
    agent_begin(tcu, now_us);
    unsigned recent = slots->slot[index].recent;
    slot_finish(tcu, index, success ? AGENT_SUCCEEDED : AGENT_FAILED);
    tell(tcu, TCU_PROBE_COMMAND_EXECUTED, !success, slot_answer(tcu, index).id);
    if (recent < AGENT_RECENT) {
        tcu->recent->status[recent] = slots->slot[index].status;
        recent_touch(tcu->recent, recent);
        agent_store_save(
            tcu); /* if it fails, the command counts as failed after a power cut, and is still not repeated */
    }
    agent_end(tcu);
}
