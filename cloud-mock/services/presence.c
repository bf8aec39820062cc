/* presence.c: lifecycle events of connections, as the broker sees them. versionNumber grows by one a connection, is the same in both events of it, and starts
 * anew after an hour offline. Client ids with '#' or '+' get no events. Not modelled: late, repeated or reordered delivery.
 */
#include "cloud/services.h"

#include "../registry/index.h"
#include "../registry/rows.h"
#include "memory.h"
#include "text.h"

#define FORGET_AFTER_MS (US_PER_HOUR / US_PER_MS)
#define CONNECTED       (-1)

/* A client, by hash of its id: two with one hash share a version count, which costs them gaps and nothing else. OFFLINE: since when, in
 * milliseconds, or CONNECTED. */
enum column { HASH, OFFLINE, VERSION, COLUMNS };

struct cloud_presence {
    struct cloud_bus *bus;
    const struct cloud_profile *profile;
    int64_t epoch_us;
    struct rows seen;
    struct index index;
};

struct seen {
    uint64_t hash;
    uint32_t row;
    uint32_t version;
};

static uint64_t hash_of(struct span id)
{
    uint64_t hash = UINT64_C(0xCBF29CE484222325);
    for (uint32_t i = 0; i < id.length; i++)
        hash = (hash ^ id.data[i]) * UINT64_C(0x100000001B3);
    hash ^= hash >> 32;
    return hash ? hash : 1;
}

static uint32_t place_of(uint64_t hash)
{
    return (uint32_t)(hash * UINT64_C(0x9E3779B97F4A7C15) >> 32);
}

static uint32_t place_of_row(const void *context, uint32_t row)
{
    const struct cloud_presence *presence = context;
    return place_of(rows_get(&presence->seen, row, HASH));
}

/* Finds or adds. false: out of memory. */
static bool find(struct cloud_presence *presence, struct span id, struct seen *seen)
{
    const struct index *index = &presence->index;
    *seen = (struct seen){.hash = hash_of(id)};
    uint32_t place = place_of(seen->hash), slot;
    if (index->size)
        for (uint32_t at = index_first(index, place); (slot = index_slot(index, at)) != 0; at = index_next(index, at))
            if (rows_get(&presence->seen, slot - 1, HASH) == seen->hash) {
                seen->row = slot - 1;
                seen->version = (uint32_t)rows_get(&presence->seen, seen->row, VERSION);
                return true;
            }
    seen->row = presence->seen.count;
    const uint64_t values[COLUMNS] = {[HASH] = seen->hash};
    if (!index_room(&presence->index, seen->row, place_of_row, presence) || !rows_add(&presence->seen, values, NULL))
        return false;
    index_place(&presence->index, place, seen->row);
    return true;
}

struct cloud_presence *cloud_presence_create(struct cloud_bus *bus, const struct cloud_profile *profile,
                                             int64_t epoch_us)
{
    struct cloud_presence *presence = memory_allocate_zero(1, sizeof *presence);
    if (!presence)
        return NULL;
    *presence = (struct cloud_presence){.bus = bus, .profile = profile, .epoch_us = epoch_us};
    presence->seen.columns = COLUMNS;
    return presence;
}

void cloud_presence_destroy(struct cloud_presence *presence)
{
    rows_free(&presence->seen);
    index_free(&presence->index);
    memory_free(presence);
}

uint64_t cloud_presence_bytes(const struct cloud_presence *presence)
{
    return sizeof *presence + rows_bytes(&presence->seen) + index_bytes(&presence->index);
}

static bool nameless(struct span id)
{
    return !id.length || memchr(id.data, '#', id.length) || memchr(id.data, '+', id.length);
}

static void publish(struct cloud_presence *presence, int64_t now_us, const char *event, struct span client_id,
                    struct span payload)
{
    char topic[511];
    struct text_writer w = {topic, 0, sizeof topic};
    text_put_string(&w, presence->profile->event_prefix);
    TEXT_PUT(&w, "/presence/");
    text_put_string(&w, event);
    TEXT_PUT(&w, "/");
    text_put(&w, client_id.data, client_id.length);
    if (!text_fits(&w))
        return; /* a client id too long for a topic of ours: it has no events */
    struct mq5_publish message = {.qos = 1, .topic = span_of(topic, w.at), .payload = payload};
    presence->bus->ops->publish(presence->bus, now_us, &message);
}

/* The thing a certificate is attached to has its name. */
static bool is_thing(const struct cloud_peer *peer, struct span client_id)
{
    return peer && peer->has_certificate && span_equal(client_id, span_text(peer->common_name));
}

static void begin(const struct cloud_presence *presence, int64_t now_us, const char *event, struct span client_id,
                  const struct cloud_peer *peer, const struct seen *seen, struct text_writer *w)
{
    char id[600], principal[65] = "";
    text_json(client_id, id, sizeof id);
    if (peer && peer->has_certificate)
        text_hex(peer->certificate_id, 32, principal);
    TEXT_PUT(w, "{\"clientId\":\"");
    text_put_string(w, id);
    TEXT_PUT(w, "\",");
    if (is_thing(peer, client_id)) {
        TEXT_PUT(w, "\"thingName\":\"");
        text_put_string(w, id);
        TEXT_PUT(w, "\",");
    }
    TEXT_PUT(w, "\"timestamp\":");
    text_put_number(w, (presence->epoch_us + now_us) / US_PER_MS);
    TEXT_PUT(w, ",\"eventType\":\"");
    text_put_string(w, event);
    TEXT_PUT(w, "\",\"sessionIdentifier\":\"");
    text_put_hex64(w, seen->hash);
    TEXT_PUT(w, "-");
    text_put_number(w, seen->version);
    TEXT_PUT(w, "\",\"principalIdentifier\":\"");
    text_put_string(w, principal);
    TEXT_PUT(w, "\",\"versionNumber\":");
    text_put_number(w, seen->version);
}

void cloud_presence_connected(struct cloud_presence *presence, int64_t now_us, struct span client_id,
                              const struct cloud_peer *peer)
{
    char payload[2000];
    struct text_writer w = {payload, 0, sizeof payload};
    struct seen seen;
    if (nameless(client_id) || !find(presence, client_id, &seen))
        return;
    int64_t offline_ms = (int64_t)rows_get(&presence->seen, seen.row, OFFLINE);
    bool forgotten = offline_ms != CONNECTED && now_us / US_PER_MS - offline_ms > FORGET_AFTER_MS;
    seen.version = forgotten ? 0 : seen.version + 1;
    if (!rows_set(&presence->seen, seen.row, VERSION, seen.version) ||
        !rows_set(&presence->seen, seen.row, OFFLINE, (uint64_t)CONNECTED))
        return;
    begin(presence, now_us, "connected", client_id, peer, &seen, &w);
    TEXT_PUT(&w, ",\"ipAddress\":\"");
    text_put_string(&w, peer ? peer->address : "");
    TEXT_PUT(&w, "\"}");
    publish(presence, now_us, "connected", client_id, span_of(payload, w.at));
}

void cloud_presence_disconnected(struct cloud_presence *presence, int64_t now_us, struct span client_id,
                                 const struct cloud_peer *peer, enum cloud_close_reason reason)
{
    char payload[2000];
    struct text_writer w = {payload, 0, sizeof payload};
    struct seen seen;
    if (nameless(client_id) || !find(presence, client_id, &seen) ||
        !rows_set(&presence->seen, seen.row, OFFLINE, (uint64_t)(now_us / US_PER_MS)))
        return;
    begin(presence, now_us, "disconnected", client_id, peer, &seen, &w);
    TEXT_PUT(&w, ",\"clientInitiatedDisconnect\":");
    text_put_string(&w, reason == CLOUD_CLOSED_BY_CLIENT ? "true" : "false");
    TEXT_PUT(&w, ",\"disconnectReason\":\"");
    text_put_string(&w, cloud_close_reason_name(reason));
    TEXT_PUT(&w, "\"}");
    publish(presence, now_us, "disconnected", client_id, span_of(payload, w.at));
}
