/* mutants_session.c: brokers that keep sessions too short, too long, or not as they were; that forget what belongs to them. */
#include "mutant.h"

static bool is_login(const struct seen *seen)
{
    return is(seen, MQ5_CONNECT) && seen->packet.connect.version == MQ5_V5;
}

static bool present_set(struct link *link, struct seen *seen, uint8_t value)
{
    if (is(seen, MQ5_CONNACK) && seen->packet.connack.reason == 0)
        own_bytes(link, seen)[2] = value;
    return true;
}

/* ---- clean start ---------------------------------------------------------------------------------------------------------- */

static bool never_clean(struct link *link, struct seen *seen)
{
    if (!is(seen, MQ5_CONNECT) || !seen->packet.connect.clean_start)
        return true;
    seen->packet.connect.clean_start = false;
    return edited(link, seen);
}

static bool hide_presence_after_clean_start(struct link *link, struct seen *seen)
{
    return link->login.clean_start ? present_set(link, seen, 0) : true;
}

static bool always_clean(struct link *link, struct seen *seen)
{
    if (!is_login(seen))
        return true;
    link->n[0] = !seen->packet.connect.clean_start && note_find(link->served, 's', seen->packet.connect.client_id);
    note_make(link->served, 's', seen->packet.connect.client_id);
    seen->packet.connect.clean_start = true;
    return edited(link, seen);
}

static bool pretend_presence(struct link *link, struct seen *seen)
{
    return link->n[0] ? present_set(link, seen, 1) : true;
}

static bool nothing_is_made(struct link *link, struct seen *seen)
{
    if (!is_login(seen) || seen->packet.connect.clean_start)
        return true;
    without(&seen->packet.connect.properties, MQ5_SESSION_EXPIRY_INTERVAL);
    return edited(link, seen);
}

/* ---- expiry ------------------------------------------------------------------------------------------------------------------ */

static bool expiry_forgotten(struct link *link, struct seen *seen)
{
    if (!is_login(seen))
        return true;
    without(&seen->packet.connect.properties, MQ5_SESSION_EXPIRY_INTERVAL);
    return edited(link, seen);
}

static bool expiry_of_5_minutes(struct link *link, struct seen *seen)
{
    if (!is_login(seen) || (has(&seen->packet.connect.properties, MQ5_SESSION_EXPIRY_INTERVAL) &&
                            seen->packet.connect.properties.session_expiry_s == 0))
        return true;
    seen->packet.connect.properties.present |= MQ5_BIT(MQ5_SESSION_EXPIRY_INTERVAL);
    seen->packet.connect.properties.session_expiry_s = 300;
    return edited(link, seen);
}

static bool absent_means_5_minutes(struct link *link, struct seen *seen)
{
    if (!is_login(seen) || has(&seen->packet.connect.properties, MQ5_SESSION_EXPIRY_INTERVAL))
        return true;
    seen->packet.connect.properties.present |= MQ5_BIT(MQ5_SESSION_EXPIRY_INTERVAL);
    seen->packet.connect.properties.session_expiry_s = 300;
    return edited(link, seen);
}

static void expire_in_2_seconds(struct cloud_broker_options *options)
{
    options->maximum_session_expiry_s = 2;
}

static bool cap_not_told(struct link *link, struct seen *seen)
{
    if (!is(seen, MQ5_CONNACK))
        return true;
    without(&seen->packet.connack.properties, MQ5_SESSION_EXPIRY_INTERVAL);
    return edited(link, seen);
}

static bool disconnect_does_not_change_it(struct link *link, struct seen *seen)
{
    if (!is(seen, MQ5_DISCONNECT) || !has(&seen->packet.disconnect.properties, MQ5_SESSION_EXPIRY_INTERVAL))
        return true;
    without(&seen->packet.disconnect.properties, MQ5_SESSION_EXPIRY_INTERVAL);
    return edited(link, seen);
}

/* A session of at most 3 s is gone after 1.5 s, connected or not. */
static void forget_filters(struct link *link, struct span bytes)
{
    for (struct subscribed *each = subscribed_first(link->served); each; each = each->next) {
        if (!span_equal(each->client_id, link->login.client_id))
            continue;
        struct mq5_subscription one = {.filter = each->filter};
        to_core(link, &(struct mq5_packet){.type = MQ5_UNSUBSCRIBE,
                                           .subscribe = {.packet_id = 65000, .list = &one, .count = 1}});
    }
}

static bool hide_own_unsuback(struct link *link, struct seen *seen)
{
    return !((is(seen, MQ5_UNSUBACK) || is(seen, MQ5_SUBACK)) && seen->packet.suback.packet_id == 65000);
}

static bool forget_while_connected(struct link *link, struct seen *seen)
{
    if (is_login(seen) && seen->packet.connect.properties.session_expiry_s <= 3)
        later(link, 1500 * US_PER_MS, forget_filters, (struct span){0});
    return true;
}

/* ---- what belongs to a session ------------------------------------------------------------------------------------------------- */

static bool subscriptions_lost(struct link *link, struct seen *seen)
{
    if (is(seen, MQ5_CONNACK) && seen->packet.connack.session_present)
        forget_filters(link, (struct span){0});
    return hide_own_unsuback(link, seen);
}

/* On resumption every filter is subscribed to anew with options changed; retained messages are not asked for. */
static bool resubscribe(struct link *link, struct seen *seen, uint32_t keep_id, bool keep_options)
{
    if (!is(seen, MQ5_CONNACK) || !seen->packet.connack.session_present)
        return hide_own_unsuback(link, seen);
    for (struct subscribed *each = subscribed_first(link->served); each; each = each->next) {
        if (!span_equal(each->client_id, link->login.client_id))
            continue;
        struct mq5_subscription one = {.filter = each->filter, .qos = each->options.qos, .retain_handling = 2};
        struct mq5_packet packet = {.type = MQ5_SUBSCRIBE, .subscribe = {.packet_id = 65000, .list = &one, .count = 1}};
        if (keep_options) {
            one.no_local = each->options.no_local;
            one.retain_as_published = each->options.retain_as_published;
        }
        if (keep_id && each->subscription_id) {
            packet.subscribe.properties.present = MQ5_BIT(MQ5_SUBSCRIPTION_IDENTIFIER);
            packet.subscribe.properties.subscription_ids = &each->subscription_id;
            packet.subscribe.properties.subscription_id_count = 1;
        }
        to_core(link, &packet);
    }
    return true;
}

static bool options_lost(struct link *link, struct seen *seen)
{
    return resubscribe(link, seen, true, false);
}

static bool identifiers_lost(struct link *link, struct seen *seen)
{
    return resubscribe(link, seen, false, true);
}

/* What was queued while the client was away does not come: whatever the core sends in the first moment. */
static bool queue_lost(struct link *link, struct seen *seen)
{
    if (is(seen, MQ5_CONNACK) && seen->packet.connack.session_present)
        link->n[0] = (uint32_t)(now_us() / US_PER_MS);
    if (is(seen, MQ5_PUBLISH) && !seen->packet.publish.dup && link->n[0] &&
        (uint32_t)(now_us() / US_PER_MS) - link->n[0] < 20)
        return swallow(link, seen);
    return true;
}

static void turn_is_over(struct link *link, struct span bytes)
{
    link->n[1] = 0;
}

/* What waits comes in the same turn as CONNACK. */
static bool no_queue_after_clean_start(struct link *link, struct seen *seen)
{
    if (is(seen, MQ5_CONNACK) && link->login.clean_start) {
        link->n[1] = 1;
        later(link, 0, turn_is_over, (struct span){0});
    }
    if (is(seen, MQ5_PUBLISH) && link->n[1])
        return swallow(link, seen);
    return hide_presence_after_clean_start(link, seen);
}

/* To every second client a message does not go. */
static bool some_are_left_out(struct link *link, struct seen *seen)
{
    if (!is(seen, MQ5_PUBLISH))
        return true;
    struct span topic = seen->packet.publish.topic, payload = seen->packet.publish.payload;
    struct note *note = note_make(link->served, 'p',
                                  scratch_text(link->served, "%.*s %.*s", (int)topic.length, (const char *)topic.data,
                                               (int)payload.length, (const char *)payload.data));
    if (note->value == 0)
        note->value = link->number;
    return note->value == link->number ? true : swallow(link, seen);
}

MUTANT_TABLE(
    mutants_session,
    {.name = "a clean start changes nothing",
     .statement = "MQTT-3.1.2-4",
     .late = true,
     .in = never_clean,
     .out = hide_presence_after_clean_start},
    {.name = "subscriptions outlive a clean start",
     .statement = "MQTT-3.1.4-4",
     .late = true,
     .in = never_clean,
     .out = no_queue_after_clean_start},
    {.name = "a session is resumed without what was in it",
     .statement = "MQTT-3.1.2-5",
     .in = always_clean,
     .out = pretend_presence},
    {.name = "no session is made without a clean start", .statement = "MQTT-3.1.2-6", .in = nothing_is_made},
    {.name = "no session outlives its connection", .statement = "MQTT-3.1.2-23", .late = true, .in = expiry_forgotten},
    {.name = "sessions are kept for five minutes, whatever is asked for",
     .statement = "MQTT-4.1.0-2",
     .in = expiry_of_5_minutes},
    {.name = "no expiry means five minutes", .statement = "S3.1.2.11.2a", .in = absent_means_5_minutes},
    {.name = "a session is kept shorter than asked for, and nobody is told",
     .statement = "S3.2.2.3.2a",
     .options = expire_in_2_seconds,
     .out = cap_not_told},
    {.name = "a DISCONNECT does not change the expiry",
     .statement = "S3.14.2.2.2b",
     .in = disconnect_does_not_change_it},
    {.name = "a session ends while its client is connected",
     .statement = "MQTT-4.1.0-1",
     .in = forget_while_connected,
     .out = hide_own_unsuback},
    {.name = "subscriptions are lost when a session is resumed",
     .statement = "MQTT-3.1.2-5",
     .out = subscriptions_lost},
    {.name = "options of subscriptions are lost when a session is resumed",
     .statement = "S4.1.0a",
     .out = options_lost},
    {.name = "subscription identifiers are lost when a session is resumed",
     .statement = "S4.1.0a",
     .out = identifiers_lost},
    {.name = "what waits for an absent client is lost", .statement = "S4.1.0a", .out = queue_lost},
    {.name = "subscription identifiers are missing after a session was resumed",
     .statement = "S3.3.4c",
     .out = identifiers_lost},
    {.name = "Retain As Published is lost when a session is resumed",
     .statement = "MQTT-3.3.1-13",
     .out = options_lost},
    {.name = "a message goes to the first session only", .statement = "MQTT-4.5.0-1", .out = some_are_left_out}, )
