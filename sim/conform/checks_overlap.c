/* checks_overlap.c: one message, several subscriptions of a client (3.3.4), and the subscription identifiers that tell which. */
#include "check.h"
#include "tables.h"

#include <stdio.h>

#define ROWS(list) ((uint32_t)(sizeof(list) / sizeof((list)[0])))
#define MOST       8 /* copies, and identifiers in all of them */
#define MORE_US    (2 * US_PER_S)

/* ---- what has come ------------------------------------------------------------------------------------------------------------------- */

struct copies {
    uint32_t count;
    uint32_t ids[MOST * 2], id_count;
    uint32_t least, most; /* identifiers in one copy */
};

static struct copies copies_of(const struct wire *wire, const char *topic, const char *payload)
{
    struct copies found = {.least = MOST};
    for (uint32_t i = 0; i < wire_count(wire); i++) {
        const struct mq5_publish *publish = &wire_at(wire, i)->packet.publish;
        if (wire_at(wire, i)->packet.type != MQ5_PUBLISH || !span_equal(publish->topic, span_text(topic)) ||
            !span_equal(publish->payload, span_text(payload)))
            continue;
        uint32_t offset = 0, in_copy = 0, id;
        while (mq5_subscription_id_next(publish->properties.encoded, &offset, &id)) {
            in_copy++;
            if (found.id_count < ROWS(found.ids))
                found.ids[found.id_count++] = id;
        }
        found.least = in_copy < found.least ? in_copy : found.least;
        found.most = in_copy > found.most ? in_copy : found.most;
        found.count++;
    }
    return found;
}

static uint32_t count_id(const struct copies *copies, uint32_t id)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < copies->id_count; i++)
        count += copies->ids[i] == id;
    return count;
}

/* What has come of the message, when everything of it has: a marker by the same way has followed. */
static struct copies all_copies(struct conform_probe *probe, struct wire *wire, struct wire *publisher,
                                const char *topic, const char *payload, uint8_t qos)
{
    need_message(wire, topic, payload);
    wire_publish(publisher, topic, "marker", qos);
    need_message(wire, topic, "marker");
    probe_settle(probe);
    return copies_of(wire, topic, payload);
}

static void want_only_id(struct conform_probe *probe, const struct received *received, uint32_t id)
{
    uint32_t offset = 0, first = 0, next = 0;
    struct span encoded = received->packet.publish.properties.encoded;
    bool any = mq5_subscription_id_next(encoded, &offset, &first);
    want(probe, any == (id != 0),
         any ? "Subscription Identifier %u where none was asked for"
             : "no Subscription Identifier, though %u was asked for",
         any ? first : id);
    want(probe, !any || first == id, "Subscription Identifier %u instead of %u", first, id);
    want(probe, !any || !mq5_subscription_id_next(encoded, &offset, &next),
         "a second Subscription Identifier, %u beside %u", next, first);
}

static void subscribe_as(struct conform_probe *probe, struct wire *wire, const char *filter, uint8_t qos, uint32_t id)
{
    struct mq5_subscription list = subscription(filter, qos);
    const struct mq5_suback *suback = wire_subscribe_with(wire, &list, 1, id);
    need_granted(wire, suback, 1);
    if (suback->reasons.data[0] < qos)
        skip(probe, "the broker grants QoS %u where %u was asked for", suback->reasons.data[0], qos);
}

/* ---- the highest QoS -------------------------------------------------------------------------------------------------------------------- */

static const struct {
    uint8_t first, second;
    bool wild_first;
} overlaps[] = {{0, 1, false}, {1, 0, false}, {0, 2, true}, {2, 0, true},
                {1, 2, false}, {2, 1, false}, {0, 1, true}, {1, 0, true}};

static uint32_t overlap_count(void)
{
    return ROWS(overlaps);
}

static void overlap_row(uint32_t row, struct conform_row *out)
{
    snprintf(out->name, sizeof(out->name), "%s of QoS %u, then %s of QoS %u",
             overlaps[row].wild_first ? "wildcard" : "topic", overlaps[row].first,
             overlaps[row].wild_first ? "topic" : "wildcard", overlaps[row].second);
}

static void highest_qos(struct conform_probe *probe)
{
    uint32_t row = probe_row(probe);
    uint8_t best = overlaps[row].first > overlaps[row].second ? overlaps[row].first : overlaps[row].second;
    if (best == 2 && !probe_has(probe, CONFORM_QOS_2))
        skip(probe, "needs QoS 2");
    /* The publisher is the second connection: with some rows its name is in the topic. */
    const char *level = overlaps[row].wild_first ? probe_client_id(probe, 1) : "b";
    const char *topic = probe_topic(probe, "a/%s", level), *wild = probe_topic(probe, "a/+");
    struct wire *wire = probe_connect(probe, "subscriber"), *publisher = probe_connect(probe, "publisher");
    wire_subscribe(wire, overlaps[row].wild_first ? wild : topic, overlaps[row].first);
    wire_subscribe(wire, overlaps[row].wild_first ? topic : wild, overlaps[row].second);
    wire_warm_up(wire, topic);
    wire_publish(publisher, topic, "message", best);
    uint8_t found = want_message(wire, topic, "message")->packet.publish.qos;
    if (found < best) { /* then it was the copy for the other subscription */
        const struct received *other = try_message(wire, topic, "message", probe_patience(probe));
        want(probe, other != NULL, "one copy with QoS %u, and a subscription of QoS %u", found, best);
        found = other->packet.publish.qos;
    }
    want(probe, found == best, "no copy with QoS %u", best);
    wire_publish(publisher, topic, "marker", best);
    need_message(wire, topic, "marker");
    probe_settle(probe);
    want(probe, wire_count_messages(wire, topic, "message") <= 2, "%u copies for two subscriptions",
         wire_count_messages(wire, topic, "message"));
}

/* ---- identifiers of overlapping subscriptions ------------------------------------------------------------------------------------------------ */

static const uint32_t three_ids[] = {11, 300, 70000};

static uint32_t qos_count(void)
{
    return 3;
}

static void qos_row(uint32_t row, struct conform_row *out)
{
    snprintf(out->name, sizeof(out->name), "three overlapping subscriptions, QoS %u", row);
}

/* What comes of one message when the subscriptions overlap. At least so many identifiers are waited for: perhaps a copy is late. */
static struct copies copies_for(struct conform_probe *probe, const char *topic, uint8_t qos, const char *const *filters,
                                const uint32_t *ids, uint32_t count, uint32_t least)
{
    struct wire *wire = probe_connect(probe, "subscriber"), *publisher = probe_connect(probe, "publisher");
    for (uint32_t i = 0; i < count; i++)
        subscribe_as(probe, wire, filters[i], qos, ids[i]);
    wire_warm_up(wire, topic);
    wire_publish(publisher, topic, "message", qos);
    struct copies copies = all_copies(probe, wire, publisher, topic, "message", qos);
    if (copies.count == 1 && copies.id_count < least) {
        probe_wait(probe, MORE_US);
        copies = copies_of(wire, topic, "message");
    }
    return copies;
}

static struct copies overlapping(struct conform_probe *probe)
{
    uint8_t qos = (uint8_t)probe_row(probe);
    if (qos == 2 && !probe_has(probe, CONFORM_QOS_2))
        skip(probe, "needs QoS 2");
    const char *level = qos == 1 ? probe_client_id(probe, 1) : "b", *topic = probe_topic(probe, "a/%s", level);
    const char *const filters[] = {topic, probe_topic(probe, "+/%s", level), probe_topic(probe, "a/#")};
    return copies_for(probe, topic, qos, filters, three_ids, ROWS(three_ids), ROWS(three_ids));
}

static void one_copy(struct conform_probe *probe)
{
    struct copies copies = overlapping(probe);
    if (copies.count > 1)
        skip(probe, "the broker sends a copy for each subscription");
    for (uint32_t i = 0; i < ROWS(three_ids); i++)
        want(probe, count_id(&copies, three_ids[i]) == 1,
             "Subscription Identifier %u is there %u times in the one copy", three_ids[i],
             count_id(&copies, three_ids[i]));
    want(probe, copies.id_count == ROWS(three_ids), "%u Subscription Identifiers for three subscriptions",
         copies.id_count);
}

static void several_copies(struct conform_probe *probe)
{
    struct copies copies = overlapping(probe);
    if (copies.count == 1)
        skip(probe, "the broker sends one copy");
    want(probe, copies.count <= ROWS(three_ids), "%u copies for three subscriptions", copies.count);
    want(probe, copies.least > 0, "a copy has no Subscription Identifier");
    for (uint32_t i = 0; i < ROWS(three_ids); i++)
        want(probe, count_id(&copies, three_ids[i]) == 1, "Subscription Identifier %u is there %u times in %u copies",
             three_ids[i], count_id(&copies, three_ids[i]), copies.count);
}

static struct copies copies_for_two(struct conform_probe *probe, uint32_t first_id, uint32_t second_id, uint32_t least)
{
    const char *const filters[] = {probe_topic(probe, "a/b"), probe_topic(probe, "a/+")};
    return copies_for(probe, filters[0], 1, filters, (const uint32_t[]){first_id, second_id}, 2, least);
}

/* One with an identifier, one without. */
static void one_without(struct conform_probe *probe)
{
    struct copies copies = copies_for_two(probe, 0, 7, 1);
    want(probe, count_id(&copies, 7) == 1 && copies.id_count == 1,
         "%u copies with %u Subscription Identifiers, %u of them the one that there is", copies.count, copies.id_count,
         count_id(&copies, 7));
    want(probe, copies.count <= 2, "%u copies for two subscriptions", copies.count);
}

/* The same identifier for both: the standard lets it come twice in one copy, and it says the same once. */
static void same_twice(struct conform_probe *probe)
{
    struct copies copies = copies_for_two(probe, 9, 9, 0);
    want(probe, copies.least > 0, "a copy has no Subscription Identifier");
    want(probe, count_id(&copies, 9) == copies.id_count && copies.id_count <= 2,
         "%u Subscription Identifiers in %u copies, %u of them the one that there is", copies.id_count, copies.count,
         count_id(&copies, 9));
    should(probe, "both", NULL, copies.id_count == 2, "two subscriptions with the same identifier, and it comes once");
}

/* ---- identifiers of single subscriptions ------------------------------------------------------------------------------------------------------- */

static const struct {
    uint32_t id;
    uint8_t qos;
    bool own_name; /* the publisher's, in the topic: brokers may have a short cut for that */
} ids[] = {
    {1, 0, false},     {1, 1, false},       {1, 2, false},       {1, 0, true},
    {1, 1, true},      {127, 1, false},     {128, 1, false},     {16383, 1, false},
    {16384, 1, false}, {2097151, 1, false}, {2097152, 1, false}, {268435455, 1, false},
};

static uint32_t id_count(void)
{
    return ROWS(ids);
}

static void id_row(uint32_t row, struct conform_row *out)
{
    snprintf(out->name, sizeof(out->name), "Subscription Identifier %u at QoS %u%s", ids[row].id, ids[row].qos,
             ids[row].own_name ? ", the publisher's name in the topic" : "");
}

static void id_comes(struct conform_probe *probe)
{
    uint32_t id = ids[probe_row(probe)].id;
    uint8_t qos = ids[probe_row(probe)].qos;
    if (qos == 2 && !probe_has(probe, CONFORM_QOS_2))
        skip(probe, "needs QoS 2");
    const char *topic = probe_topic(probe, "%s/one", ids[probe_row(probe)].own_name ? probe_client_id(probe, 1) : "x");
    bool wild = ids[probe_row(probe)].own_name && probe_has(probe, CONFORM_WILDCARD);
    struct wire *wire = probe_connect(probe, "subscriber");
    subscribe_as(probe, wire, wild ? probe_topic(probe, "+/one") : topic, qos, id);
    wire_warm_up(wire, topic);
    wire_publish(probe_connect(probe, "publisher"), topic, "message", qos);
    want_only_id(probe, need_message(wire, topic, "message"), id);
}

enum id_way { ID_RETAINED, ID_QUEUED, ID_AGAIN, ID_LATER, ID_SHARED, ID_WAYS };
static const struct {
    const char *name, *ref;
    uint32_t needs;
} id_ways[ID_WAYS] = {
    [ID_RETAINED] = {"of a retained message", "S3.3.4c", CONFORM_RETAIN},
    [ID_QUEUED] = {"of a message that waited for its client", "S3.3.4c", CONFORM_SESSION},
    [ID_AGAIN] = {"of a message that is sent a second time", "S3.3.4c", CONFORM_SESSION},
    [ID_LATER] = {"of a message after the session was resumed", "S3.3.4c", CONFORM_SESSION},
    [ID_SHARED] = {"of a shared subscription", "MQTT-3.3.4-3", CONFORM_SHARED},
};

static uint32_t id_way_count(void)
{
    return ID_WAYS;
}

static void id_way_row(uint32_t row, struct conform_row *out)
{
    snprintf(out->name, sizeof(out->name), "the Subscription Identifier %s", id_ways[row].name);
    out->ref = id_ways[row].ref;
}

static const struct received *id_carried(struct conform_probe *probe, enum id_way way, const char *topic, uint32_t id)
{
    struct mq5_connect login = probe_login(probe, 50);
    struct wire *wire, *publisher = probe_connect(probe, "publisher");
    if (way == ID_RETAINED) {
        wire_publish_retained(publisher, topic, "message", 1);
        need(probe, probe_kept(probe, topic, "message") != NULL, "the message is not kept");
    }
    set_session_expiry(&login, way == ID_RETAINED || way == ID_SHARED ? 0 : 60);
    wire = probe_connect_as(probe, "subscriber", &login);
    subscribe_as(probe, wire,
                 way == ID_SHARED ? probe_text(probe, "$share/%s/%s", probe_share(probe, 0), topic) : topic, 1, id);
    if (way == ID_RETAINED)
        return need_message(wire, topic, "message");
    wire_warm_up(wire, topic);
    if (way == ID_AGAIN) {
        wire_hold_acks(wire, true);
        wire_publish(publisher, topic, "message", 1);
        need_message(wire, topic, "message");
        wire_end(wire, WIRE_FIN);
    } else if (way != ID_SHARED) {
        wire_disconnect(wire, MQ5_SUCCESS);
    }
    if (way == ID_QUEUED)
        wire_publish(publisher, topic, "message", 1);
    if (way != ID_SHARED)
        wire = probe_return(probe, &login);
    if (way == ID_LATER || way == ID_SHARED)
        wire_publish(publisher, topic, "message", 1);
    return need_message(wire, topic, "message");
}

static void id_every_way(struct conform_probe *probe)
{
    enum id_way way = (enum id_way)probe_row(probe);
    if (!probe_has(probe, id_ways[way].needs))
        skip(probe, "needs %s", conform_need_name(id_ways[way].needs));
    want_only_id(probe, id_carried(probe, way, probe_topic(probe, "one"), 4711), 4711);
}

static void id_of_each(struct conform_probe *probe)
{
    const char *topic = probe_topic(probe, "one");
    struct wire *one = probe_connect(probe, "one"), *other = probe_connect(probe, "other");
    struct wire *third = probe_connect(probe, "third");
    subscribe_as(probe, one, topic, 1, 21);
    subscribe_as(probe, other, topic, 1, 22);
    subscribe_as(probe, third, topic, 1, 0);
    wire_warm_up(one, topic);
    wire_publish(probe_connect(probe, "publisher"), topic, "message", 1);
    want_only_id(probe, need_message(one, topic, "message"), 21);
    want_only_id(probe, need_message(other, topic, "message"), 22);
    want_only_id(probe, need_message(third, topic, "message"), 0);
}

static void id_of_request(struct conform_probe *probe)
{
    const char *first = probe_topic(probe, "first"), *second = probe_topic(probe, "second");
    struct wire *wire = probe_connect(probe, "subscriber"), *publisher = probe_connect(probe, "publisher");
    struct mq5_subscription list[] = {subscription(first, 1), subscription(second, 1)};
    need_granted(wire, wire_subscribe_with(wire, list, 2, 33), 2);
    subscribe_as(probe, wire, probe_topic(probe, "third"), 1, 34);
    wire_warm_up(wire, second);
    wire_publish(publisher, second, "to the second", 1);
    want_only_id(probe, need_message(wire, second, "to the second"), 33);
    wire_publish(publisher, first, "to the first", 1);
    want_only_id(probe, need_message(wire, first, "to the first"), 33);
}

static void id_replaced(struct conform_probe *probe)
{
    const char *topic = probe_topic(probe, "one");
    struct wire *wire = probe_connect(probe, "subscriber"), *publisher = probe_connect(probe, "publisher");
    const uint32_t in_turn[] = {41, 42, 0, 43};
    for (uint32_t i = 0; i < ROWS(in_turn); i++) {
        const char *payload = probe_text(probe, "message %u", i);
        subscribe_as(probe, wire, topic, 1, in_turn[i]);
        wire_warm_up(wire, topic);
        wire_publish(publisher, topic, payload, 1);
        want_only_id(probe, need_message(wire, topic, payload), in_turn[i]);
    }
}

/* ---- identifiers that may not be ------------------------------------------------------------------------------------------------------------------- */

static void id_zero(struct conform_probe *probe)
{
    static const uint32_t zero = 0;
    struct wire *wire = probe_connect(probe, "subscriber");
    struct mq5_subscription list = subscription(probe_topic(probe, "one"), 0);
    struct mq5_packet packet = {.type = MQ5_SUBSCRIBE,
                                .subscribe = {.packet_id = wire_packet_id(wire), .list = &list, .count = 1}};
    SET_PROPERTY(packet.subscribe.properties, subscription_ids, MQ5_SUBSCRIPTION_IDENTIFIER, &zero);
    packet.subscribe.properties.subscription_id_count = 1;
    wire_send(wire, &packet);
    want_closed(wire, "Subscription Identifier 0 in SUBSCRIBE",
                REASONS(MQ5_PROTOCOL_ERROR, MQ5_SUBSCRIPTION_IDS_NOT_SUPPORTED));
}

#define PASSED_ON 2 /* the row that asks what a subscriber sees of it */

static uint32_t published_count(void)
{
    return PASSED_ON + 1;
}

static void published_row(uint32_t row, struct conform_row *out)
{
    if (row == PASSED_ON)
        snprintf(out->name, sizeof(out->name), "a client's Subscription Identifier does not reach a subscriber");
    else
        snprintf(out->name, sizeof(out->name), "a client's PUBLISH of QoS %u with a Subscription Identifier", row);
}

static void id_published(struct conform_probe *probe)
{
    static const uint32_t id = 5;
    const char *topic = probe_topic(probe, "one"), *what = "a client's Subscription Identifier in PUBLISH";
    uint8_t qos = probe_row(probe) == 0 ? 0 : 1;
    struct mq5_packet packet = {.type = MQ5_PUBLISH, .publish = message(topic, "message", qos)};
    SET_PROPERTY(packet.publish.properties, subscription_ids, MQ5_SUBSCRIPTION_IDENTIFIER, &id);
    packet.publish.properties.subscription_id_count = 1;
    struct wire *wire = probe_connect(probe, "publisher");
    if (probe_row(probe) == 1) {
        want_message_refused(wire, &packet.publish, what, REASONS(MQ5_PROTOCOL_ERROR));
        return;
    }
    struct wire *subscriber = probe_connect(probe, "subscriber"), *other = probe_connect(probe, "marker");
    wire_subscribe(subscriber, topic, 1);
    packet.publish.packet_id = qos ? wire_packet_id(wire) : 0;
    wire_send(wire, &packet);
    if (probe_row(probe) == 0) {
        want_closed(wire, what, REASONS(MQ5_PROTOCOL_ERROR));
        return;
    }
    try_packet(wire, MQ5_PUBACK, US_PER_S);
    wire_publish(other, topic, "marker", 1);
    need_message(subscriber, topic, "marker");
    probe_settle(probe);
    want(probe, copies_of(subscriber, topic, "message").id_count == 0,
         "a subscriber without an identifier is sent the publisher's");
}

#define IDS (CONFORM_SUBSCRIPTION_ID | CONFORM_QOS_1)

CHECK_TABLE(checks_overlap,
            {.id = "B-PUB-401",
             .name = "of overlapping subscriptions the highest QoS counts",
             .refs = {"MQTT-3.3.4-2"},
             .level = CONFORM_MUST,
             .needs = CONFORM_WILDCARD | CONFORM_QOS_1,
             .run = highest_qos,
             .row_count = overlap_count,
             .row = overlap_row},
            {.id = "B-PUB-402",
             .name = "one copy for overlapping subscriptions has the identifiers of all",
             .refs = {"MQTT-3.3.4-4", "MQTT-3.3.4-3"},
             .level = CONFORM_MUST,
             .needs = IDS | CONFORM_WILDCARD,
             .run = one_copy,
             .row_count = qos_count,
             .row = qos_row},
            {.id = "B-PUB-403",
             .name = "several copies for overlapping subscriptions have the identifier of one each",
             .refs = {"MQTT-3.3.4-5", "MQTT-3.3.4-3"},
             .level = CONFORM_MUST,
             .needs = IDS | CONFORM_WILDCARD,
             .run = several_copies,
             .row_count = qos_count,
             .row = qos_row},
            {.id = "B-PUB-404",
             .name = "of two subscriptions one has an identifier: it comes once, and no other",
             .refs = {"MQTT-3.3.4-3"},
             .level = CONFORM_MUST,
             .needs = IDS | CONFORM_WILDCARD,
             .run = one_without},
            {.id = "B-PUB-405",
             .name = "two subscriptions with the same identifier",
             .refs = {"MQTT-3.3.4-3"},
             .level = CONFORM_MUST,
             .needs = IDS | CONFORM_WILDCARD,
             .run = same_twice},
            {.id = "B-PUB-406",
             .name = "a message comes with the identifier of its subscription",
             .refs = {"MQTT-3.3.4-3"},
             .level = CONFORM_MUST,
             .needs = IDS,
             .run = id_comes,
             .row_count = id_count,
             .row = id_row},
            {.id = "B-PUB-407",
             .name = "the identifier comes whichever way the message takes",
             .refs = {"S3.3.4c", "MQTT-3.3.4-3"},
             .level = CONFORM_MUST,
             .needs = IDS,
             .run = id_every_way,
             .row_count = id_way_count,
             .row = id_way_row},
            {.id = "B-PUB-408",
             .name = "each client has its own identifier",
             .refs = {"MQTT-3.3.4-3"},
             .level = CONFORM_MUST,
             .needs = IDS,
             .run = id_of_each},
            {.id = "B-PUB-409",
             .name = "the identifier of a SUBSCRIBE is that of all of its filters, and of no other's",
             .refs = {"MQTT-3.3.4-3"},
             .level = CONFORM_MUST,
             .needs = IDS,
             .run = id_of_request},
            {.id = "B-PUB-410",
             .name = "the identifier is that of the latest SUBSCRIBE of the filter",
             .refs = {"MQTT-3.3.4-3", "MQTT-3.8.4-3"},
             .level = CONFORM_MUST,
             .needs = IDS,
             .run = id_replaced},
            {.id = "B-PUB-411",
             .name = "Subscription Identifier 0 ends the connection",
             .refs = {"S3.3.2.3.8a"},
             .level = CONFORM_MUST,
             .run = id_zero},
            {.id = "B-PUB-412",
             .name = "a client's PUBLISH with a Subscription Identifier is not taken",
             .refs = {"MQTT-3.3.4-6"},
             .level = CONFORM_MUST,
             .run = id_published,
             .row_count = published_count,
             .row = published_row}, )
