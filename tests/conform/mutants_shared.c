/* mutants_shared.c: brokers that hand messages of shared subscriptions to the wrong members. */
#include "mutant.h"

static bool matches_share(const struct subscribed *each, struct span topic)
{
    struct span share, filter;
    return starts_with(each->filter, "$share/") && mq5_topic_share_split(each->filter, &share, &filter) &&
           mq5_topic_matches(filter, topic);
}

static bool is_member(struct link *link, struct span topic)
{
    for (struct subscribed *each = subscribed_first(link->served); each; each = each->next)
        if (span_equal(each->client_id, link->login.client_id) && matches_share(each, topic))
            return true;
    return false;
}

static bool every_member_gets_it(struct link *link, struct seen *seen)
{
    if (!is(seen, MQ5_PUBLISH))
        return true;
    for (struct subscribed *each = subscribed_first(link->served); each; each = each->next) {
        struct link *member = link_of(link->served, each->client_id);
        if (!member || !matches_share(each, seen->packet.publish.topic))
            continue;
        struct mq5_packet packet = {.type = MQ5_PUBLISH, .publish = seen->packet.publish};
        packet.publish.qos = 0;
        packet.publish.packet_id = 0;
        packet.publish.retain = packet.publish.dup = false;
        to_client(member, &packet);
    }
    return true;
}

static bool shared_takes_from_plain(struct link *link, struct seen *seen)
{
    if (!is(seen, MQ5_PUBLISH) || is_member(link, seen->packet.publish.topic))
        return true;
    for (struct subscribed *each = subscribed_first(link->served); each; each = each->next)
        if (matches_share(each, seen->packet.publish.topic))
            return swallow(link, seen);
    return true;
}

/* ---- messages under way to a member ------------------------------------------------------------------------------------------- */

static bool note_under_way(struct link *link, struct seen *seen)
{
    if (is(seen, MQ5_PUBLISH) && seen->packet.publish.qos && is_member(link, seen->packet.publish.topic))
        note_bytes(note_make(link->served, 'm', id_key(link, seen->packet.publish.packet_id)), seen->bytes);
    return true;
}

static void hand_on(struct link *link, struct span bytes)
{
    struct mq5_packet packet;
    if (mq5_decode(MQ5_V5, MQ5_FROM_SERVER, bytes.data, bytes.length, &packet, NULL) != MQ5_OK)
        return;
    packet.publish.dup = false;
    without(&packet.publish.properties, MQ5_SUBSCRIPTION_IDENTIFIER);
    route(link->served, &packet.publish);
}

static bool refused_goes_on(struct link *link, struct seen *seen)
{
    if ((!is(seen, MQ5_PUBACK) && !is(seen, MQ5_PUBREC)) || seen->packet.ack.reason < 0x80)
        return true;
    struct note *note = note_find(link->served, 'm', id_key(link, seen->packet.ack.packet_id));
    if (note)
        hand_on(link, note->bytes);
    return true;
}

/* Another member of the same share, connected. */
static struct link *another(struct link *link)
{
    for (struct subscribed *each = subscribed_first(link->served); each; each = each->next) {
        struct link *member = link_of(link->served, each->client_id);
        if (starts_with(each->filter, "$share/") && member && member != link &&
            subscribed_find(link->served, link->login.client_id, each->filter))
            return member;
    }
    return NULL;
}

/* number: how long after the member has gone its messages go to others, in ms. */
static void leave_to_others(struct link *link)
{
    struct link *other = another(link);
    for (uint32_t id = 1; other && id < 200; id++) {
        struct note *note = note_find(link->served, 'm', id_key(link, (uint16_t)id));
        if (note)
            later(other, mutant_of(link)->number * US_PER_MS, hand_on, note->bytes);
        note_drop(link->served, 'm', id_key(link, (uint16_t)id));
    }
}

static bool forget_done(struct link *link, struct seen *seen)
{
    if (is(seen, MQ5_PUBACK) || is(seen, MQ5_PUBCOMP))
        note_drop(link->served, 'm', id_key(link, seen->packet.ack.packet_id));
    if (is(seen, MQ5_DISCONNECT))
        leave_to_others(link);
    return true;
}

MUTANT_TABLE(mutants_shared,
             {.name = "every member of a share gets each message", .statement = "S4.8.2a", .in = every_member_gets_it},
             {.name = "a share takes messages from plain subscriptions",
              .statement = "S4.8.2a",
              .out = shared_takes_from_plain},
             {.name = "what a member of a share refuses goes to others",
              .statement = "MQTT-4.8.2-6",
              .in = refused_goes_on,
              .out = note_under_way},
             {.name = "a broken QoS 2 delivery goes on with another member",
              .statement = "MQTT-4.8.2-4",
              .in = forget_done,
              .out = note_under_way,
              .lost = leave_to_others,
              .number = 100},
             {.name = "a QoS 2 delivery goes to another member when its session has ended",
              .statement = "MQTT-4.8.2-5",
              .in = forget_done,
              .out = note_under_way,
              .lost = leave_to_others,
              .number = 2500}, )
