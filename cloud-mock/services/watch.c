/* watch.c: who is connected, from lifecycle events that come late, twice and in any order.
 *
 * Of each client the newest connection is kept: its versionNumber, the time stamp of its newest event, and whether that said "disconnected". An
 * event of an older version changes nothing, a "connected" after the "disconnected" of its own version neither. Versions start anew after an hour
 * offline: an event whose stamp contradicts its version by more than that belongs to a later (or an earlier) row of versions. "Offline" is
 * believed when no newer connection has shown itself in the debounce. Retained messages have no versions: there the order of arrival counts.
 * Clients are kept by a hash of 64 bits of their name; the name itself only while an "offline" waits.
 */
#include "cloud/remote.h"

#include "due.h"
#include "memory.h"
#include "remote_topic.h"

#define DEBOUNCE_US       (5 * US_PER_S)
#define RESTART_MS        INT64_C(3600000)
#define CAPACITY_AT_FIRST 8
#define TOPIC_MAX         256

struct client {
    uint64_t hash;    /* 0: free */
    int64_t stamp_ms; /* of its newest event */
    uint32_t version;
    bool down, waiting; /* its newest connection has ended; and that is not believed yet */
    uint8_t state;      /* enum cloud_presence_state: as told */
};

struct waiting {
    uint64_t hash;
    int64_t stamp_ms;
    uint32_t version, length;
    uint8_t name[];
};

struct cloud_watch {
    struct cloud_due due; /* first, for cloud_watch_next_deadline() */
    struct cloud_watch_options options;
    struct cloud_watch_counts counts;
    struct client *clients; /* open addressing */
    uint64_t capacity, used, serial, bytes;
    struct due_heap heap;
    char prefix[TOPIC_MAX]; /* of events: "<event prefix>/presence/" */
};

/* ---- clients ------------------------------------------------------------------------------------------------------- */

static struct client *slot_of(struct client *clients, uint64_t capacity, uint64_t hash)
{
    uint64_t at = hash * UINT64_C(0x9E3779B97F4A7C15) >> 20 & (capacity - 1);
    while (clients[at].hash && clients[at].hash != hash)
        at = (at + 1) & (capacity - 1);
    return &clients[at];
}

static bool room(struct cloud_watch *watch)
{
    if ((watch->used + 1) * 4 <= watch->capacity * 3)
        return true;
    uint64_t capacity = watch->capacity * 2;
    struct client *clients = memory_allocate_zero(capacity, sizeof *clients);
    if (!clients)
        return false;
    for (uint64_t i = 0; i < watch->capacity; i++)
        if (watch->clients[i].hash)
            *slot_of(clients, capacity, watch->clients[i].hash) = watch->clients[i];
    memory_free(watch->clients);
    watch->clients = clients;
    watch->capacity = capacity;
    return true;
}

/* Finds or adds, *fresh: nothing was known. NULL: out of memory. */
static struct client *client_of(struct cloud_watch *watch, struct span name, bool *fresh)
{
    uint64_t hash = remote_hash(name);
    if (!room(watch))
        return NULL;
    struct client *client = slot_of(watch->clients, watch->capacity, hash);
    *fresh = !client->hash;
    if (*fresh) {
        client->hash = hash;
        watch->used++;
    }
    return client;
}

/* ---- what is believed ---------------------------------------------------------------------------------------------- */

static void believe(struct cloud_watch *watch, int64_t now_us, struct client *client, struct span name,
                    enum cloud_presence_state state)
{
    client->waiting = false;
    if (client->state == state)
        return;
    client->state = (uint8_t)state;
    if (watch->options.changed)
        watch->options.changed(watch->options.context, now_us, name, state); /* the client may have moved afterwards */
}

static void up(struct cloud_watch *watch, int64_t now_us, struct client *client, struct span name)
{
    watch->counts.debounced += client->waiting;
    client->down = false;
    believe(watch, now_us, client, name, CLOUD_PRESENCE_ONLINE);
}

static void down(struct cloud_watch *watch, int64_t now_us, struct client *client, struct span name)
{
    struct waiting *waiting = NULL;
    client->down = true;
    if (client->state == CLOUD_PRESENCE_OFFLINE)
        return;
    if (watch->options.debounce_us > 0)
        waiting = memory_allocate(sizeof *waiting + name.length);
    if (waiting) {
        *waiting = (struct waiting){client->hash, client->stamp_ms, client->version, name.length};
        memcpy(waiting->name, name.data, name.length);
        struct due_entry entry = {now_us + watch->options.debounce_us, watch->serial++, {.item = waiting}};
        client->waiting = due_push(&watch->heap, entry);
        watch->due.next_us = due_next_us(&watch->heap);
        if (client->waiting) {
            watch->bytes += sizeof *waiting + name.length;
            return;
        }
        memory_free(waiting);
    }
    believe(watch, now_us, client, name, CLOUD_PRESENCE_OFFLINE); /* no debounce wanted, or no memory for one */
}

void cloud_watch_tick(struct cloud_watch *watch, int64_t now_us)
{
    while (watch->due.next_us <= now_us) {
        struct waiting *waiting = due_pop(&watch->heap).item;
        watch->due.next_us = due_next_us(&watch->heap);
        struct client *client = slot_of(watch->clients, watch->capacity, waiting->hash);
        if (client->waiting && client->down && client->version == waiting->version &&
            client->stamp_ms == waiting->stamp_ms)
            believe(watch, now_us, client, span_of(waiting->name, waiting->length), CLOUD_PRESENCE_OFFLINE);
        watch->bytes -= sizeof *waiting + waiting->length;
        memory_free(waiting);
    }
}

/* ---- events -------------------------------------------------------------------------------------------------------- */

struct event {
    struct span name;
    int64_t stamp_ms;
    uint32_t version;
    bool connected;
};

enum age { AGE_OLDER, AGE_SAME, AGE_NEWER }; /* of an event's connection against the one that is kept */

static enum age age_of(const struct client *client, const struct event *event)
{
    int64_t later_ms = event->stamp_ms - client->stamp_ms;
    if (event->version == client->version) {
        if (!event->connected && later_ms < -RESTART_MS)
            return AGE_OLDER; /* no connection ends before it begins */
        return later_ms > RESTART_MS && (event->connected || client->down) ? AGE_NEWER : AGE_SAME;
    }
    if (event->version > client->version)
        return later_ms < -RESTART_MS ? AGE_OLDER : AGE_NEWER;
    return later_ms > RESTART_MS ? AGE_NEWER : AGE_OLDER;
}

/* An event of the connection that is kept: only its end is news. */
static bool is_news(struct cloud_watch *watch, const struct client *client, const struct event *event)
{
    if (!event->connected && !client->down)
        return true;
    if (event->connected && client->down)
        watch->counts.late++;
    else
        watch->counts.repeated++;
    return false;
}

static void apply(struct cloud_watch *watch, int64_t now_us, const struct event *event)
{
    bool fresh;
    struct client *client = client_of(watch, event->name, &fresh);
    watch->counts.events++;
    if (!client)
        return;
    enum age age = fresh ? AGE_NEWER : age_of(client, event);
    if (age == AGE_OLDER) {
        watch->counts.late++;
        return;
    }
    if (age == AGE_SAME && !is_news(watch, client, event))
        return;
    client->version = event->version;
    client->stamp_ms = event->stamp_ms;
    if (event->connected)
        up(watch, now_us, client, event->name);
    else
        down(watch, now_us, client, event->name);
}

/* The number behind `"name":`, -1: none. A quotation mark inside a string has a backslash before it, so this finds members only. */
static int64_t member(struct span json, const char *name, size_t length)
{
    const uint8_t *at = json.data, *end = json.data + json.length;
    while ((at = memchr(at, '"', (size_t)(end - at))) != NULL) {
        at++;
        if ((size_t)(end - at) <= length + 1 || memcmp(at, name, length) != 0 || at[length] != '"')
            continue;
        const uint8_t *digit = at + length + 1;
        while (digit < end && (*digit == ' ' || *digit == ':'))
            digit++;
        int64_t value = -1;
        for (; digit < end && *digit >= '0' && *digit <= '9' && value < INT64_MAX / 100; digit++)
            value = (value < 0 ? 0 : value * 10) + (*digit - '0');
        if (value >= 0)
            return value;
    }
    return -1;
}

#define MEMBER(json, name) member(json, name, sizeof(name) - 1)

static void on_event(void *context, int64_t now_us, const struct mq5_publish *message)
{
    static const char connected[] = "connected/", disconnected[] = "disconnected/";
    struct cloud_watch *watch = context;
    size_t before = strlen(watch->prefix);
    if (message->topic.length <= before)
        return;
    struct span rest = span_of(message->topic.data + before, message->topic.length - before);
    struct event event = {.connected = rest.data[0] == 'c'};
    size_t kind = event.connected ? sizeof connected - 1 : sizeof disconnected - 1;
    int64_t version = MEMBER(message->payload, "versionNumber"), stamp_ms = MEMBER(message->payload, "timestamp");
    if (rest.length <= kind || memcmp(rest.data, event.connected ? connected : disconnected, kind) != 0 ||
        version < 0 || version > UINT32_MAX || stamp_ms < 0)
        return;
    event.name = span_of(rest.data + kind, rest.length - kind);
    event.version = (uint32_t)version;
    event.stamp_ms = stamp_ms;
    apply(watch, now_us, &event);
}

/* "online" or "offline", kept by the broker; anything else (a retained message taken back is empty) says nothing. */
static void on_retained(void *context, int64_t now_us, const struct mq5_publish *message)
{
    struct cloud_watch *watch = context;
    struct span name = remote_topic_thing(watch->options.profile->presence_topic, message->topic);
    bool online = span_equal(message->payload, SPAN_LITERAL("online")), fresh;
    if (!name.length || (!online && !span_equal(message->payload, SPAN_LITERAL("offline"))))
        return;
    struct client *client = client_of(watch, name, &fresh);
    watch->counts.events++;
    if (!client)
        return;
    if (!fresh && client->down == !online) {
        watch->counts.repeated++;
        return;
    }
    client->version++; /* so that an "offline" that waits knows that it was overtaken */
    if (online)
        up(watch, now_us, client, name);
    else
        down(watch, now_us, client, name);
}

/* ---- life ---------------------------------------------------------------------------------------------------------- */

static bool follow(struct cloud_watch *watch, struct cloud_bus *bus, int64_t now_us, const char *topic_template,
                   cloud_bus_handler *handler)
{
    char text[TOPIC_MAX];
    struct span filter = remote_topic(topic_template, SPAN_LITERAL("+"), text, sizeof text);
    return filter.length && bus->ops->subscribe(bus, now_us, filter, 1, handler, watch) < 0x80;
}

static bool follow_events(struct cloud_watch *watch, struct cloud_bus *bus, int64_t now_us)
{
    static const char *const kinds[] = {"connected/%", "disconnected/%"};
    const char *event_prefix = watch->options.profile->event_prefix;
    struct text_writer w = {watch->prefix, 0, sizeof watch->prefix - 1};
    text_put_string(&w, event_prefix);
    TEXT_PUT(&w, "/presence/");
    if (!text_fits(&w))
        return false;
    watch->prefix[w.at] = 0;
    for (int i = 0; i < 2; i++) {
        char text[TOPIC_MAX + 16];
        struct text_writer t = {text, 0, sizeof text - 1};
        text_put_string(&t, watch->prefix);
        text_put_string(&t, kinds[i]);
        text[t.at] = 0;
        if (!follow(watch, bus, now_us, text, on_event))
            return false;
    }
    return true;
}

struct cloud_watch *cloud_watch_create(const struct cloud_watch_options *options, struct cloud_bus *bus, int64_t now_us)
{
    struct cloud_watch *watch = memory_allocate_zero(1, sizeof *watch);
    if (!watch)
        return NULL;
    watch->options = *options;
    if (!watch->options.debounce_us)
        watch->options.debounce_us = DEBOUNCE_US;
    watch->due.next_us = TIME_NEVER;
    watch->capacity = CAPACITY_AT_FIRST;
    watch->clients = memory_allocate_zero(watch->capacity, sizeof *watch->clients);
    if (watch->clients &&
        (options->profile->presence_events ? follow_events(watch, bus, now_us)
                                           : follow(watch, bus, now_us, options->profile->presence_topic, on_retained)))
        return watch;
    cloud_watch_destroy(watch);
    return NULL;
}

void cloud_watch_destroy(struct cloud_watch *watch)
{
    for (uint32_t i = 0; i < watch->heap.count; i++)
        memory_free(watch->heap.entries[i].item);
    memory_free(watch->heap.entries);
    memory_free(watch->clients);
    memory_free(watch);
}

enum cloud_presence_state cloud_watch_state(const struct cloud_watch *watch, struct span thing)
{
    return (enum cloud_presence_state)slot_of(watch->clients, watch->capacity, remote_hash(thing))->state;
}

int64_t cloud_watch_next_deadline(const struct cloud_watch *watch)
{
    return watch->due.next_us;
}

void cloud_watch_count(const struct cloud_watch *watch, struct cloud_watch_counts *out)
{
    *out = watch->counts;
}

uint64_t cloud_watch_bytes(const struct cloud_watch *watch)
{
    return sizeof *watch + watch->capacity * sizeof *watch->clients + due_bytes(&watch->heap) + watch->bytes;
}
