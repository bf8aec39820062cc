/* command.c: requests from the cloud, executed at most once, answered until the answer is acknowledged.
 *
 * A command's id is its correlation data, or "id" in its payload (3.1.1). The last AGENT_RECENT ids are remembered
 * with their outcome, over power cuts too, and an id is on record before the car is told. Not executed: retained
 * messages (nobody asked now), expired ones, repetitions without an id (nobody could tell whether they ran), what is
 * no command. A command beyond AGENT_SLOTS is answered "busy" and forgotten, so that it may be asked again.
 * A sealed command (cloud/keys.h) is one that the port has opened: its own id counts, not the one around it. Its sequence number is taken together with
 * its id, in one write, when the car is told; a number taken before is refused unless the id is remembered.
 * The same id may come on several ways (by topic, SMS, shadow, as an execution): it is written as 8 bytes or as 16 digits, and is remembered as the same.
 * Answers wait in slots at QoS 1; one that finds no slot is sent once at QoS 0: whoever misses it asks again. */
#include "agent_internal.h"

#include "mqtt5/topic.h"

static const char *const status_names[] = {
    [AGENT_UNKNOWN] = "failed",    [AGENT_SUCCEEDED] = "succeeded", [AGENT_FAILED] = "failed",
    [AGENT_REJECTED] = "rejected", [AGENT_BUSY] = "busy",           [AGENT_EXPIRED] = "expired",
};

static const char *const refusal_names[] = {
    [TCU_REFUSED_NOTHING] = "",      [TCU_REFUSED_UNREADABLE] = "unreadable",
    [TCU_REFUSED_FORGED] = "forged", [TCU_REFUSED_REPLAYED] = "replayed",
    [TCU_REFUSED_LATE] = "late",     [TCU_REFUSED_PLAIN] = "plain",
};

/* A sealed command's head; what follows is ciphertext, tag and signature. */
enum { ID_BYTES = 8, SEALED_HEAD = 16, SEALED_LEAST = SEALED_HEAD + ID_BYTES + 16 + 64, WINDOW = 64 };

/* A command, and what else decides about it. */
struct asked {
    struct agent_answer answer;
    uint64_t hash; /* of its id; 0: none */
    uint64_t sequence;
    bool sealed, expired, retained, again /* DUP */;
};

const char *agent_status_name(enum agent_status status)
{
    return status_names[status];
}

const char *agent_refusal_name(enum tcu_refusal refusal)
{
    return refusal_names[refusal];
}

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

static int hex_value(uint8_t byte)
{
    return byte >= '0' && byte <= '9' ? byte - '0' : byte >= 'a' && byte <= 'f' ? byte - 'a' + 10 : -1;
}

/* 16 digits are the 8 bytes they stand for, where an id may come either way. */
static uint64_t hash_either(const struct tcu *tcu, struct span id)
{
    const struct tcu_profile *profile = tcu->profile;
    uint8_t bytes[ID_BYTES];
    if (id.length != 2 * ID_BYTES || !(profile->sealed_commands || profile->shadow || profile->executions))
        return id.length > 0 ? hash_id(id) : 0;
    for (unsigned i = 0; i < ID_BYTES; i++) {
        int high = hex_value(id.data[2 * i]), low = hex_value(id.data[2 * i + 1]);
        if (high < 0 || low < 0)
            return hash_id(id);
        bytes[i] = (uint8_t)(high << 4 | low);
    }
    return hash_id(span_of(bytes, sizeof(bytes)));
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
        .origin = slot->origin,
        .refusal = slot->refusal,
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
    slot->origin = request->origin;
    slot->refusal = request->refusal;
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
    request->status = status;
    if (request->origin == ORIGIN_SHADOW) {
        agent_shadow_executed(tcu, request);
        return;
    }
    unsigned index = status == AGENT_BUSY ? AGENT_SLOTS : slot_take(tcu, request);
    if (index < AGENT_SLOTS) {
        slot_finish(tcu, index, status);
        return;
    }
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
    if (answered->refusal) {
        at = agent_text_literal(at, "\",\"reason\":\"");
        at = agent_text_copy(at, span_text(refusal_names[answered->refusal]));
    }
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

/* Executions (cloud-contract 8.2): status and, for what went wrong, a code. */
static struct span execution_payload(const struct agent_answer *answered, char *out)
{
    static const char *const reasons[] = {
        [TCU_REFUSED_UNREADABLE] = "UNREADABLE", [TCU_REFUSED_FORGED] = "FORGED",
        [TCU_REFUSED_REPLAYED] = "REPLAYED",     [TCU_REFUSED_LATE] = "LATE",
        [TCU_REFUSED_PLAIN] = "PLAIN",
    };
    static const struct {
        const char *status, *reason;
    } rows[] = {
        [AGENT_UNKNOWN] = {"FAILED", "INTERRUPTED"}, [AGENT_SUCCEEDED] = {"SUCCEEDED", NULL},
        [AGENT_FAILED] = {"FAILED", "FAILED"},       [AGENT_REJECTED] = {"REJECTED", "REJECTED"},
        [AGENT_BUSY] = {"REJECTED", "BUSY"},         [AGENT_EXPIRED] = {"TIMED_OUT", "EXPIRED"},
    };
    const char *reason = answered->refusal ? reasons[answered->refusal] : rows[answered->status].reason;
    char *at = agent_text_literal(out, "{\"status\":\"");
    at = agent_text_copy(at, span_text(rows[answered->status].status));
    if (reason) {
        at = agent_text_literal(at, "\",\"statusReason\":{\"reasonCode\":\"");
        at = agent_text_copy(at, span_text(reason));
        at = agent_text_literal(at, "\"}}");
    } else {
        at = agent_text_literal(at, "\"}");
    }
    return span_of(out, (size_t)(at - out));
}

static char *execution_topic(const struct tcu *tcu, char *at)
{
    at += agent_text_expand(tcu->profile->topics.reserved, tcu_name(tcu), at).length;
    return at + agent_text_expand("commands/things/%/executions/", tcu_name(tcu), at).length;
}

struct span agent_command_execution_filter(const struct tcu *tcu, char *out)
{
    bool of_our_own = strchr(tcu->profile->topics.reserved, '%') != NULL; /* then subscribed to already */
    if (!tcu->profile->topics.reserved[0] || of_our_own)
        return (struct span){NULL, 0};
    char *at = agent_text_literal(execution_topic(tcu, out), "+/request/json");
    return span_of(out, (size_t)(at - out));
}

static void execution_load(const struct tcu *tcu, const struct agent_answer *answered, struct mq5_publish *out)
{
    char *scratch = (char *)tcu->profile->scratch;
    char *at = agent_text_copy(execution_topic(tcu, scratch), answered->id);
    at = agent_text_literal(at, "/response/json");
    out->topic = span_of(scratch, (size_t)(at - scratch));
    out->payload = execution_payload(answered, at);
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
    out->qos = token != TOKEN_DIRECT && tcu->peer_qos > 0 ? 1 : 0;
    if (answered.origin == ORIGIN_EXECUTION) {
        execution_load(tcu, &answered, out);
        return true;
    }
    if (answered.topic.length == 0)
        answered.topic = agent_text_expand(tcu->profile->topics.command_response, tcu_name(tcu), scratch);
    out->topic = answered.topic;
    out->payload = answer_payload(&answered, scratch + AGENT_TOPIC_MAX);
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
    if (answered.origin == ORIGIN_SHADOW) {
        agent_shadow_executed(tcu, &answered);
        slot_free(tcu->slots, index);
        return;
    }
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

/* Sequence numbers of sealed commands. */

static bool sequence_used(const struct agent_more *more, uint64_t sequence)
{
    uint64_t below = more->sealed_highest - sequence;
    if (sequence == 0)
        return true;
    return sequence <= more->sealed_highest && (below >= WINDOW || (more->sealed_seen >> below & 1));
}

static void sequence_take(struct agent_more *more, uint64_t sequence)
{
    if (sequence > more->sealed_highest) {
        uint64_t steps = sequence - more->sealed_highest;
        more->sealed_seen = (steps < WINDOW ? more->sealed_seen << steps : 0) | 1;
        more->sealed_highest = sequence;
    } else {
        more->sealed_seen |= UINT64_C(1) << (more->sealed_highest - sequence);
    }
}

/* Requests. */

/* Id and sequence are on record, in one write. AGENT_NO_RECENT: they are not, and nothing has changed. */
static unsigned promise(struct tcu *tcu, const struct asked *asked)
{
    struct agent_more before = {.rotation = NULL};
    unsigned place = recent_add(tcu, asked->hash, AGENT_UNKNOWN);
    if (place == AGENT_NO_RECENT)
        return place;
    if (asked->sealed) {
        before = *tcu->more;
        sequence_take(tcu->more, asked->sequence);
    }
    if (agent_store_save(tcu))
        return place;
    tcu->recent->hash[place] = 0;
    if (asked->sealed) {
        tcu->more->sealed_highest = before.sealed_highest;
        tcu->more->sealed_seen = before.sealed_seen;
    }
    return AGENT_NO_RECENT;
}

static void execute(struct tcu *tcu, struct asked *asked)
{
    struct agent_answer *request = &asked->answer;
    unsigned index = slot_take(tcu, request);
    if (index == AGENT_SLOTS) {
        bool never = request->topic.length + request->id.length + request->command.length > AGENT_TEXT_BYTES;
        answer(tcu, request, never ? AGENT_REJECTED : AGENT_BUSY);
        return;
    }
    if (asked->hash != 0) {
        unsigned place = promise(tcu, asked);
        if (place == AGENT_NO_RECENT) { /* "never twice" */
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

/* Answered where it can be said what is refused. */
static void refuse(struct tcu *tcu, struct agent_answer *request, enum tcu_refusal why)
{
    request->refusal = (uint8_t)why;
    tell(tcu, TCU_PROBE_COMMAND_REFUSED, (uint8_t)why, request->id);
    if (request->id.length > 0 || request->topic.length > 0)
        answer(tcu, request, why == TCU_REFUSED_LATE ? AGENT_EXPIRED : AGENT_REJECTED);
}

/* What was executed is answered from memory even when its time is over by now. */
static void requested(struct tcu *tcu, struct asked *asked)
{
    struct agent_answer *request = &asked->answer;
    unsigned recent = asked->hash ? recent_find(tcu->recent, asked->hash) : AGENT_NO_RECENT;
    bool remembered = recent < AGENT_RECENT;
    if (asked->sealed && !remembered && sequence_used(tcu->more, asked->sequence)) {
        refuse(tcu, request, TCU_REFUSED_REPLAYED);
        return;
    }
    tell(tcu, TCU_PROBE_COMMAND_RECEIVED, 0, request->id);
    if (asked->retained || request->command.length == 0 || (asked->again && asked->hash == 0)) {
        answer(tcu, request, AGENT_REJECTED);
    } else if (remembered) {
        repeated(tcu, request, recent);
    } else if (asked->expired) {
        if (asked->hash)
            recent_add(tcu, asked->hash, AGENT_EXPIRED);
        if (asked->sealed)
            refuse(tcu, request, TCU_REFUSED_LATE);
        else
            answer(tcu, request, AGENT_EXPIRED);
    } else {
        execute(tcu, asked);
    }
}

static bool sealed_form(struct span text)
{
    return text.length >= SEALED_LEAST && memcmp(text.data, "CV\x01", 3) == 0;
}

static uint64_t big_endian(const uint8_t *at, unsigned bytes)
{
    uint64_t value = 0;
    for (unsigned i = 0; i < bytes; i++)
        value = value << 8 | at[i];
    return value;
}

/* An opened command's texts. */
struct opened {
    uint8_t plain[ID_BYTES + AGENT_COMMAND_MAX];
    char digits[2 * ID_BYTES];
};

/* Who asks by topic or SMS is answered with the id inside: bytes as correlation data in 5, digits in the payload in 3.1.1. */
static void use_sealed_id(struct tcu *tcu, struct agent_answer *request, struct opened *opened)
{
    static const char digits[] = "0123456789abcdef";
    if (request->origin != ORIGIN_TOPIC)
        return;
    for (unsigned i = 0; i < ID_BYTES; i++) {
        opened->digits[2 * i] = digits[opened->plain[i] >> 4];
        opened->digits[2 * i + 1] = digits[opened->plain[i] & 15];
    }
    request->id_in_payload = !agent_v5(tcu);
    request->id = agent_v5(tcu) ? span_of(opened->plain, ID_BYTES) : span_of(opened->digits, sizeof(opened->digits));
}

/* What is in `opened` is looked at until the request is through. */
static enum tcu_refusal open_sealed(struct tcu *tcu, struct asked *asked, struct span sealed, struct opened *opened)
{
    enum tcu_refusal why = TCU_REFUSED_UNREADABLE;
    struct span ignored;
    if (!sealed_form(sealed))
        return TCU_REFUSED_PLAIN;
    if (!tcu->port->unseal)
        return TCU_REFUSED_UNREADABLE;
    size_t length = tcu->port->unseal(tcu->port_context, sealed, opened->plain, sizeof(opened->plain), &why);
    if (length <= ID_BYTES || length > sizeof(opened->plain))
        return length == 0 && why != TCU_REFUSED_NOTHING ? why : TCU_REFUSED_UNREADABLE;
    agent_text_command(span_of(opened->plain + ID_BYTES, length - ID_BYTES), &asked->answer.command, &ignored);
    use_sealed_id(tcu, &asked->answer, opened);
    asked->hash = hash_id(span_of(opened->plain, ID_BYTES));
    asked->sealed = true;
    asked->sequence = big_endian(sealed.data + 4, 8);
    int64_t expires_us = (int64_t)big_endian(sealed.data + 12, 4) * US_PER_S;
    asked->expired |= tcu->port->wall_us(tcu->port_context, tcu->now_us) >= expires_us;
    return TCU_REFUSED_NOTHING;
}

/* Where only sealed commands are taken, nothing else passes here. */
static void admit(struct tcu *tcu, struct asked *asked, struct span payload)
{
    struct opened opened;
    enum tcu_refusal why = TCU_REFUSED_NOTHING;
    if (tcu->profile->sealed_commands) {
        why = open_sealed(tcu, asked, payload, &opened);
        if (why == TCU_REFUSED_NOTHING && !agent_more_need(tcu)) {
            answer(tcu, &asked->answer, AGENT_BUSY); /* no memory for its number */
            return;
        }
    }
    if (why != TCU_REFUSED_NOTHING)
        refuse(tcu, &asked->answer, why);
    else
        requested(tcu, asked);
}

/* The cloud wants to know what became of a command whose time is over: never to be executed. */
static bool is_enquiry(struct span payload)
{
    struct span value;
    return agent_json_member(payload, "enquiry", &value) == AGENT_JSON_FOUND && agent_json_is_true(value);
}

static struct asked asked_by(const struct mq5_publish *publish)
{
    const struct mq5_properties *properties = &publish->properties;
    bool expires = properties->present & MQ5_BIT(MQ5_MESSAGE_EXPIRY_INTERVAL);
    return (struct asked){
        .expired = (expires && properties->message_expiry_s == 0) || is_enquiry(publish->payload),
        .retained = publish->retain,
        .again = publish->dup,
    };
}

void agent_command_message(struct tcu *tcu, const struct mq5_publish *publish)
{
    const struct mq5_properties *properties = &publish->properties;
    char filter[AGENT_TOPIC_MAX];
    struct span wanted = agent_text_expand(tcu->profile->topics.command_request, tcu_name(tcu), filter);
    struct asked asked = asked_by(publish);
    struct agent_answer *request = &asked.answer;
    if (wanted.length == 0 || !mq5_topic_matches(wanted, publish->topic))
        return;
    agent_text_command(publish->payload, &request->command, &request->id);
    request->id_in_payload = request->id.length > 0;
    if (properties->present & MQ5_BIT(MQ5_CORRELATION_DATA)) {
        request->id = properties->correlation_data;
        request->id_in_payload = false;
    }
    if (properties->present & MQ5_BIT(MQ5_RESPONSE_TOPIC)) {
        struct span usual = agent_text_expand(tcu->profile->topics.command_response, tcu_name(tcu), filter);
        if (!span_equal(usual, properties->response_topic)) /* the usual one is not worth keeping */
            request->topic = properties->response_topic;
    }
    asked.hash = hash_either(tcu, request->id);
    admit(tcu, &asked, publish->payload);
}

/* "wake" and what else is no sealed command has done its work by arriving. */
void agent_command_sms(struct tcu *tcu, struct span text)
{
    struct asked asked = {.retained = false};
    if (tcu->profile->sealed_commands && sealed_form(text))
        admit(tcu, &asked, text);
}

/* A shadow's command is never sealed. */
void agent_command_shadow(struct tcu *tcu, struct span id, struct span name, bool over)
{
    struct asked asked = {.answer = {.id = id, .origin = ORIGIN_SHADOW}, .hash = hash_either(tcu, id), .expired = over};
    struct span ignored;
    agent_text_command(name, &asked.answer.command, &ignored);
    admit(tcu, &asked, name);
}

/* Goes into a topic; nothing longer is an execution's. */
static bool execution_id(struct span id)
{
    for (uint32_t i = 0; i < id.length; i++) {
        uint8_t byte = id.data[i];
        bool alphanumeric =
            (byte >= '0' && byte <= '9') || (byte >= 'A' && byte <= 'Z') || (byte >= 'a' && byte <= 'z');
        if (!alphanumeric && byte != '-' && byte != '_')
            return false;
    }
    return id.length > 0 && id.length <= 64;
}

void agent_command_execution(struct tcu *tcu, struct span topic, const struct mq5_publish *publish)
{
    static const char end[] = "/request/json";
    struct asked asked = asked_by(publish);
    struct span id = topic, ignored;
    if (topic.length < sizeof(end) || memcmp(topic.data + topic.length - (sizeof(end) - 1), end, sizeof(end) - 1) != 0)
        return; /* ".../response/accepted/json", our own response come back */
    id.length -= (uint32_t)sizeof(end) - 1;
    if (!execution_id(id))
        return;
    asked.answer.id = id;
    asked.answer.origin = ORIGIN_EXECUTION;
    agent_text_command(publish->payload, &asked.answer.command, &ignored);
    asked.hash = hash_either(tcu, id);
    admit(tcu, &asked, publish->payload);
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
