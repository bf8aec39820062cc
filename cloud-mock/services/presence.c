/* presence.c: lifecycle events of connections, as the broker sees them. versionNumber grows by one a connection, is the same in both events of it, and starts
 * anew after an hour offline. Client ids with '#' or '+' get no events. Not modelled: late, repeated or reordered delivery.
 */
#include "cloud/services.h"

#include "text.h"

#include <stdio.h>
#include <stdlib.h>

#define FORGET_AFTER_US US_PER_HOUR

struct
    seen { /* a client, by hash of its id: two with one hash share a version count, which costs them gaps and nothing else */
    uint64_t hash;
    int64_t offline_us; /* -1: connected */
    uint32_t version;
};

struct cloud_presence {
    struct cloud_bus *bus;
    const struct cloud_profile *profile;
    int64_t epoch_us;
    struct seen *table;
    uint64_t capacity, count;
};

static uint64_t hash_of(struct span id)
{
    uint64_t hash = UINT64_C(0xCBF29CE484222325);
    for (uint32_t i = 0; i < id.length; i++)
        hash = (hash ^ id.data[i]) * UINT64_C(0x100000001B3);
    hash ^= hash >> 32;
    return hash ? hash : 1;
}

static struct seen *slot(struct seen *table, uint64_t capacity, uint64_t hash)
{
    uint64_t i = hash & (capacity - 1);
    while (table[i].hash && table[i].hash != hash)
        i = (i + 1) & (capacity - 1);
    return &table[i];
}

static struct seen *find(struct cloud_presence *presence, struct span id)
{
    if (presence->count * 4 >= presence->capacity * 3) {
        uint64_t capacity = presence->capacity * 2;
        struct seen *table = calloc(capacity, sizeof *table);
        if (!table)
            return NULL;
        for (uint64_t i = 0; i < presence->capacity; i++)
            if (presence->table[i].hash)
                *slot(table, capacity, presence->table[i].hash) = presence->table[i];
        free(presence->table);
        presence->table = table;
        presence->capacity = capacity;
    }
    uint64_t hash = hash_of(id);
    struct seen *seen = slot(presence->table, presence->capacity, hash);
    if (!seen->hash) {
        *seen = (struct seen){.hash = hash, .offline_us = 0};
        presence->count++;
    }
    return seen;
}

struct cloud_presence *cloud_presence_create(struct cloud_bus *bus, const struct cloud_profile *profile,
                                             int64_t epoch_us)
{
    struct cloud_presence *presence = calloc(1, sizeof *presence);
    if (!presence)
        return NULL;
    *presence = (struct cloud_presence){.bus = bus, .profile = profile, .epoch_us = epoch_us, .capacity = 256};
    presence->table = calloc(presence->capacity, sizeof *presence->table);
    if (!presence->table) {
        free(presence);
        return NULL;
    }
    return presence;
}

void cloud_presence_destroy(struct cloud_presence *presence)
{
    free(presence->table);
    free(presence);
}

static bool nameless(struct span id)
{
    return !id.length || memchr(id.data, '#', id.length) || memchr(id.data, '+', id.length);
}

static void publish(struct cloud_presence *presence, int64_t now_us, const char *event, struct span client_id,
                    const char *payload, size_t length)
{
    char topic[512];
    int written = snprintf(topic, sizeof topic, "%s/presence/%s/%.*s", presence->profile->event_prefix, event,
                           (int)client_id.length, (const char *)client_id.data);
    if (written < 0 || (size_t)written >= sizeof topic)
        return; /* a client id too long for a topic of ours: it has no events */
    struct mq5_publish message = {.qos = 1, .topic = span_text(topic), .payload = span_of(payload, length)};
    presence->bus->ops->publish(presence->bus, now_us, &message);
}

static size_t begin(const struct cloud_presence *presence, int64_t now_us, const char *event, struct span client_id,
                    const struct cloud_peer *peer, const struct seen *seen, char *out, size_t capacity)
{
    char id[600], principal[65] = "", thing[700] = "";
    text_json(client_id, id, sizeof id);
    if (peer && peer->has_certificate) {
        text_hex(peer->certificate_id, 32, principal);
        if (span_equal(client_id,
                       span_text(peer->common_name))) /* the thing a certificate is attached to has its name */
            snprintf(thing, sizeof thing, "\"thingName\":\"%s\",", id);
    }
    return (size_t)snprintf(
        out, capacity,
        "{\"clientId\":\"%s\",%s\"timestamp\":%lld,\"eventType\":\"%s\",\"sessionIdentifier\":\"%016llx-%u\","
        "\"principalIdentifier\":\"%s\",\"versionNumber\":%u",
        id, thing, (long long)((presence->epoch_us + now_us) / US_PER_MS), event, (unsigned long long)seen->hash,
        seen->version, principal, seen->version);
}

void cloud_presence_connected(struct cloud_presence *presence, int64_t now_us, struct span client_id,
                              const struct cloud_peer *peer)
{
    char payload[2000];
    struct seen *seen = nameless(client_id) ? NULL : find(presence, client_id);
    if (!seen)
        return;
    seen->version = seen->offline_us >= 0 && now_us - seen->offline_us > FORGET_AFTER_US ? 0 : seen->version + 1;
    seen->offline_us = -1;
    size_t length = begin(presence, now_us, "connected", client_id, peer, seen, payload, sizeof payload);
    length += (size_t)snprintf(payload + length, sizeof payload - length, ",\"ipAddress\":\"%s\"}",
                               peer ? peer->address : "");
    publish(presence, now_us, "connected", client_id, payload, length);
}

void cloud_presence_disconnected(struct cloud_presence *presence, int64_t now_us, struct span client_id,
                                 const struct cloud_peer *peer, enum cloud_close_reason reason)
{
    char payload[2000];
    struct seen *seen = nameless(client_id) ? NULL : find(presence, client_id);
    if (!seen)
        return;
    seen->offline_us = now_us;
    size_t length = begin(presence, now_us, "disconnected", client_id, peer, seen, payload, sizeof payload);
    length += (size_t)snprintf(payload + length, sizeof payload - length,
                               ",\"clientInitiatedDisconnect\":%s,\"disconnectReason\":\"%s\"}",
                               reason == CLOUD_CLOSED_BY_CLIENT ? "true" : "false", cloud_close_reason_name(reason));
    publish(presence, now_us, "disconnected", client_id, payload, length);
}
