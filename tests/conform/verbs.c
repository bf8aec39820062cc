/* verbs.c: the words of mutant.h: looking at packets, changing them, sending others, remembering. */
#define _GNU_SOURCE /* memmem */
#include "mutant.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

struct piece {
    struct piece *next;
    max_align_t bytes[];
};

struct memory {
    struct piece *scratch;
    struct note *notes;
    struct subscribed *subscribed;
};

struct memory *memory_create(void)
{
    struct memory *memory = calloc(1, sizeof(*memory));
    if (!memory)
        abort();
    return memory;
}

void memory_turn(struct memory *memory)
{
    for (struct piece *piece = memory->scratch, *next; piece; piece = next) {
        next = piece->next;
        free(piece);
    }
    memory->scratch = NULL;
}

static void free_note(struct note *note)
{
    free((void *)note->key.data);
    free((void *)note->bytes.data);
    free(note);
}

static void free_subscribed(struct subscribed *subscribed)
{
    free((void *)subscribed->client_id.data);
    free((void *)subscribed->filter.data);
    free(subscribed);
}

void memory_destroy(struct memory *memory)
{
    memory_turn(memory);
    for (struct note *note = memory->notes, *next; note; note = next) {
        next = note->next;
        free_note(note);
    }
    for (struct subscribed *each = memory->subscribed, *next; each; each = next) {
        next = each->next;
        free_subscribed(each);
    }
    free(memory);
}

/* ---- scratch ----------------------------------------------------------------------------------------------------------- */

void *scratch(struct served *served, size_t size)
{
    struct memory *memory = served_memory(served);
    struct piece *piece = calloc(1, sizeof(*piece) + size + 1);
    if (!piece)
        abort();
    piece->next = memory->scratch;
    memory->scratch = piece;
    return piece->bytes;
}

struct span scratch_text(struct served *served, const char *format, ...)
{
    char text[600];
    va_list arguments;
    va_start(arguments, format);
    int length = vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    if (length < 0 || length >= (int)sizeof(text))
        length = (int)sizeof(text) - 1;
    return scratch_copy(served, span_of(text, (size_t)length));
}

struct span scratch_copy(struct served *served, struct span bytes)
{
    uint8_t *copy = scratch(served, bytes.length);
    if (bytes.length)
        memcpy(copy, bytes.data, bytes.length);
    return span_of(copy, bytes.length);
}

static struct span kept(struct span bytes)
{
    uint8_t *copy = malloc(bytes.length + 1);
    if (!copy)
        abort();
    if (bytes.length)
        memcpy(copy, bytes.data, bytes.length);
    copy[bytes.length] = 0;
    return span_of(copy, bytes.length);
}

/* ---- looking -------------------------------------------------------------------------------------------------------------- */

struct mq5_properties *properties_of(struct seen *seen)
{
    struct mq5_packet *packet = &seen->packet;
    if (seen->status != MQ5_OK)
        return NULL;
    switch (packet->type) {
    case MQ5_CONNECT: return &packet->connect.properties;
    case MQ5_CONNACK: return &packet->connack.properties;
    case MQ5_PUBLISH: return &packet->publish.properties;
    case MQ5_SUBSCRIBE:
    case MQ5_UNSUBSCRIBE: return &packet->subscribe.properties;
    case MQ5_SUBACK:
    case MQ5_UNSUBACK: return &packet->suback.properties;
    case MQ5_DISCONNECT:
    case MQ5_AUTH: return &packet->disconnect.properties;
    case MQ5_PINGREQ:
    case MQ5_PINGRESP: return NULL;
    default: return &packet->ack.properties;
    }
}

bool contains(struct span text, const char *part)
{
    size_t length = strlen(part);
    return text.length >= length && memmem(text.data, text.length, part, length);
}

bool starts_with(struct span text, const char *part)
{
    size_t length = strlen(part);
    return text.length >= length && memcmp(text.data, part, length) == 0;
}

bool is_tolerated(const struct link *link, const struct seen *seen)
{
    const struct mutant *mutant = mutant_of(link);
    if (seen->status == MQ5_OK || (mutant->types && !(mutant->types >> seen->type & 1)))
        return false;
    if (!mutant->refs)
        return true;
    size_t length = seen->error.ref ? strlen(seen->error.ref) : 0;
    for (const char *at = mutant->refs; length && (at = strstr(at, seen->error.ref)); at++)
        if ((at[length] == ' ' || !at[length]) && (at == mutant->refs || at[-1] == ' '))
            return true;
    return false;
}

/* ---- changing --------------------------------------------------------------------------------------------------------------- */

/* The encoder does not forward subscription identifiers from a received block. */
static void take_identifiers(struct link *link, struct mq5_properties *properties)
{
    uint32_t offset = 0, count = 0, id = 0;
    if (!has(properties, MQ5_SUBSCRIPTION_IDENTIFIER) || properties->subscription_ids || !properties->encoded.length)
        return;
    uint32_t *list = scratch(link->served, 256 * sizeof(*list));
    while (count < 256 && mq5_subscription_id_next(properties->encoded, &offset, &id))
        list[count++] = id;
    properties->subscription_ids = list;
    properties->subscription_id_count = (uint16_t)count;
}

struct span encode(struct link *link, const struct mq5_packet *packet, const struct mq5_raw *raw)
{
    static const struct mq5_raw plain;
    struct mq5_packet copy = *packet;
    struct seen seen = {.status = MQ5_OK, .packet = copy};
    struct mq5_properties *properties = properties_of(&seen);
    size_t length = 0;
    uint8_t none[1];
    if (properties)
        take_identifiers(link, properties);
    mq5_encode_raw(link->version, &seen.packet, raw ? raw : &plain, none, 0, &length);
    uint8_t *bytes = scratch(link->served, length);
    if (mq5_encode_raw(link->version, &seen.packet, raw ? raw : &plain, bytes, length, &length) != MQ5_OK)
        abort();
    return span_of(bytes, length);
}

bool edited_raw(struct link *link, struct seen *seen, const struct mq5_raw *raw)
{
    seen->bytes = encode(link, &seen->packet, raw);
    return true;
}

bool edited(struct link *link, struct seen *seen)
{
    return edited_raw(link, seen, NULL);
}

struct mq5_subscription *filters_of(struct link *link, struct seen *seen)
{
    struct mq5_subscribe *subscribe = &seen->packet.subscribe;
    uint32_t offset = 0, count = 0;
    struct mq5_subscription *list = scratch(link->served, (subscribe->count + 1) * sizeof(*list));
    while (count < subscribe->count &&
           mq5_subscription_next(subscribe, (enum mq5_type)seen->packet.type, link->version, &offset, &list[count]))
        count++;
    subscribe->list = list;
    subscribe->count = count;
    return list;
}

struct mq5_user_property *users_of(struct link *link, struct mq5_properties *properties)
{
    uint32_t offset = 0, count = 0;
    struct mq5_user_property *list = scratch(link->served, 1024 * sizeof(*list));
    take_identifiers(link, properties);
    while (count < 1024 && properties->encoded.length &&
           mq5_user_property_next(properties->encoded, &offset, &list[count]))
        count++;
    properties->encoded = (struct span){0};
    properties->user = list;
    properties->user_count = (uint16_t)count;
    return list;
}

void users_turned(struct link *link, struct mq5_properties *properties)
{
    struct mq5_user_property *users = users_of(link, properties);
    for (uint32_t i = 0, j = properties->user_count; i + 1 < j; i++) {
        struct mq5_user_property last = users[--j];
        users[j] = users[i];
        users[i] = last;
    }
}

void without(struct mq5_properties *properties, enum mq5_property property)
{
    properties->present &= ~MQ5_BIT(property);
}

uint8_t *own_bytes(struct link *link, struct seen *seen)
{
    seen->bytes = scratch_copy(link->served, seen->bytes);
    return (uint8_t *)seen->bytes.data;
}

/* ---- sending ------------------------------------------------------------------------------------------------------------------ */

void to_client(struct link *link, const struct mq5_packet *packet)
{
    to_client_bytes(link, encode(link, packet, NULL));
}

void to_core(struct link *link, const struct mq5_packet *packet)
{
    to_core_bytes(link, encode(link, packet, NULL));
}

void ack_to_client(struct link *link, enum mq5_type type, uint16_t packet_id, uint8_t reason)
{
    to_client(link, &(struct mq5_packet){.type = (uint8_t)type, .ack = {.packet_id = packet_id, .reason = reason}});
}

void ack_to_core(struct link *link, enum mq5_type type, uint16_t packet_id, uint8_t reason)
{
    to_core(link, &(struct mq5_packet){.type = (uint8_t)type, .ack = {.packet_id = packet_id, .reason = reason}});
}

bool swallow(struct link *link, const struct seen *seen)
{
    const struct mq5_publish *publish = &seen->packet.publish;
    if (publish->qos == 1)
        ack_to_core(link, MQ5_PUBACK, publish->packet_id, MQ5_SUCCESS);
    if (publish->qos == 2) /* an error needs no second step */
        ack_to_core(link, MQ5_PUBREC, publish->packet_id, MQ5_UNSPECIFIED_ERROR);
    return false;
}

bool accept_as_ghost(struct link *link)
{
    to_client(link, &(struct mq5_packet){.type = MQ5_CONNACK});
    link->ghost = true;
    return false;
}

/* ---- remembering ----------------------------------------------------------------------------------------------------------------- */

struct note *note_find(struct served *served, int kind, struct span key)
{
    for (struct note *note = served_memory(served)->notes; note; note = note->next)
        if (note->kind == kind && span_equal(note->key, key))
            return note;
    return NULL;
}

struct note *note_make(struct served *served, int kind, struct span key)
{
    struct memory *memory = served_memory(served);
    struct note *note = note_find(served, kind, key);
    if (note)
        return note;
    note = calloc(1, sizeof(*note));
    if (!note)
        abort();
    note->kind = kind;
    note->key = kept(key);
    note->next = memory->notes;
    memory->notes = note;
    return note;
}

void note_bytes(struct note *note, struct span bytes)
{
    struct span copy = kept(bytes);
    free((void *)note->bytes.data);
    note->bytes = copy;
}

void note_drop(struct served *served, int kind, struct span key)
{
    for (struct note **at = &served_memory(served)->notes; *at; at = &(*at)->next) {
        struct note *note = *at;
        if (note->kind != kind || !span_equal(note->key, key))
            continue;
        *at = note->next;
        free_note(note);
        return;
    }
}

struct span id_key(const struct link *link, uint16_t packet_id)
{
    return scratch_text(link->served, "%.*s/%u", (int)link->login.client_id.length,
                        (const char *)link->login.client_id.data, packet_id);
}

uint8_t *id_byte(struct link *link, uint16_t packet_id)
{
    if (!link->ids && !(link->ids = calloc(65536, 1)))
        abort();
    return &link->ids[packet_id];
}

struct subscribed *subscribed_find(struct served *served, struct span client_id, struct span filter)
{
    for (struct subscribed *each = served_memory(served)->subscribed; each; each = each->next)
        if (span_equal(each->client_id, client_id) && span_equal(each->filter, filter))
            return each;
    return NULL;
}

struct subscribed *subscribed_first(struct served *served)
{
    return served_memory(served)->subscribed;
}

uint32_t subscribed_matches(struct link *link, struct span topic)
{
    uint32_t count = 0;
    for (struct subscribed *each = served_memory(link->served)->subscribed; each; each = each->next)
        count += span_equal(each->client_id, link->login.client_id) && !starts_with(each->filter, "$share/") &&
                 mq5_topic_matches(each->filter, topic);
    return count;
}

static void forget_filters(struct served *served, struct span client_id, const struct span *filter)
{
    for (struct subscribed **at = &served_memory(served)->subscribed; *at;) {
        struct subscribed *each = *at;
        if (!span_equal(each->client_id, client_id) || (filter && !span_equal(each->filter, *filter))) {
            at = &each->next;
            continue;
        }
        *at = each->next;
        free_subscribed(each);
    }
}

static void note_filters(struct link *link, const struct mq5_packet *packet)
{
    struct memory *memory = served_memory(link->served);
    struct mq5_subscription each;
    uint32_t offset = 0, id = 0, id_offset = 0;
    if (has(&packet->subscribe.properties, MQ5_SUBSCRIPTION_IDENTIFIER))
        mq5_subscription_id_next(packet->subscribe.properties.encoded, &id_offset, &id);
    while (mq5_subscription_next(&packet->subscribe, (enum mq5_type)packet->type, link->version, &offset, &each)) {
        if (packet->type == MQ5_UNSUBSCRIBE) {
            forget_filters(link->served, link->login.client_id, &each.filter);
            continue;
        }
        struct subscribed *entry = subscribed_find(link->served, link->login.client_id, each.filter);
        if (!entry) {
            entry = calloc(1, sizeof(*entry));
            if (!entry)
                abort();
            entry->client_id = kept(link->login.client_id);
            entry->filter = kept(each.filter);
            entry->next = memory->subscribed;
            memory->subscribed = entry;
        }
        entry->options = each;
        entry->subscription_id = id;
    }
}

void memory_note_in(struct link *link, const struct seen *seen)
{
    const struct mq5_packet *packet = &seen->packet;
    if (is(seen, MQ5_PUBACK) || is(seen, MQ5_PUBCOMP) || (is(seen, MQ5_PUBREC) && packet->ack.reason >= 0x80))
        link->in_flight -= link->in_flight > 0;
}

/* After the hook has had its look at what was there before. */
void memory_note_done(struct link *link, const struct seen *seen)
{
    const struct mq5_packet *packet = &seen->packet;
    if (is(seen, MQ5_SUBSCRIBE) || is(seen, MQ5_UNSUBSCRIBE))
        note_filters(link, packet);
    if (is(seen, MQ5_CONNECT) && packet->connect.clean_start)
        forget_filters(link->served, packet->connect.client_id, NULL);
}

void memory_note_out(struct link *link, const struct seen *seen)
{
    if (is(seen, MQ5_PUBLISH) && seen->packet.publish.qos)
        link->in_flight++;
}
