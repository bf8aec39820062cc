/* checks_unsubscribe.c: UNSUBSCRIBE and UNSUBACK (3.10, 3.11): what is malformed, what is answered, what ends and what does not. */
#include "check.h"
#include "tables.h"

#include <stdio.h>

static struct mq5_packet unsubscribe_packet(struct conform_probe *probe, const char *filter)
{
    struct mq5_subscription *list = probe_memory(probe, sizeof(*list));
    *list = subscription(filter, 0);
    return (struct mq5_packet){.type = MQ5_UNSUBSCRIBE, .subscribe = {.packet_id = 7, .list = list, .count = 1}};
}

/* ---- what is malformed ------------------------------------------------------------------------------------------------------- */

static void flags_row(uint32_t row, struct conform_row *out)
{
    wrong_flags_row(out, wrong_flags(row, 2));
}

static void flags(struct conform_probe *probe)
{
    struct wire *wire = probe_connect(probe, "client");
    struct mq5_packet packet = unsubscribe_packet(probe, probe_topic(probe, "flags"));
    packet.flags = wrong_flags(probe_row(probe), 2);
    wire_send_raw(wire, &packet, &(struct mq5_raw){.set_flags = true});
    want_closed(wire, "UNSUBSCRIBE with wrong flags", REASONS(MQ5_MALFORMED_PACKET));
}

static void texts(struct conform_probe *probe)
{
    struct mq5_packet packet = unsubscribe_packet(probe, probe_topic(probe, "text/????"));
    want_bad_text_refused(probe, &packet, 0, "UNSUBSCRIBE with a filter that is no UTF-8");
}

static void empty_row(uint32_t row, struct conform_row *out)
{
    no_filter_row(row, out);
    out->ref = row ? "S3.10.3a" : "MQTT-3.10.3-2";
}

static void empty(struct conform_probe *probe)
{
    want_no_filter_refused(probe, MQ5_UNSUBSCRIBE);
}

/* ---- which subscription ends ------------------------------------------------------------------------------------------------- */

/* Subscribed to, then unsubscribed from something else; a message on the topic comes still. */
static const struct {
    const char *subscribed, *unsubscribed, *topic;
} others[] = {
    {"a/b", "a/+", "a/b"},  {"a/b", "a/#", "a/b"}, {"a/+", "a/b", "a/b"},  {"a/#", "a/b", "a/b"},
    {"a/#", "a", "a/b"},    {"a/b", "a/B", "a/b"}, {"a/b", "a/b/", "a/b"}, {"a/b", "a", "a/b"},
    {"a/b", "a//b", "a/b"}, {"a/+", "a/#", "a/b"}, {"a/b", "a/bc", "a/b"},
};

static uint32_t others_count(void)
{
    return sizeof(others) / sizeof(others[0]);
}

static void others_row(uint32_t row, struct conform_row *out)
{
    snprintf(out->name, sizeof(out->name), "subscribed to %s, unsubscribed from %s", others[row].subscribed,
             others[row].unsubscribed);
}

static bool has_wildcard(const char *filter)
{
    return strpbrk(filter, "+#") != NULL;
}

static void another_filter(struct conform_probe *probe)
{
    uint32_t row = probe_row(probe);
    if ((has_wildcard(others[row].subscribed) || has_wildcard(others[row].unsubscribed)) &&
        !probe_has(probe, CONFORM_WILDCARD))
        skip(probe, "needs wildcards in filters");
    const char *topic = probe_topic(probe, "%s", others[row].topic);
    struct wire *wire = probe_connect(probe, "subscriber"), *publisher = probe_connect(probe, "publisher");
    wire_subscribe(wire, probe_topic(probe, "%s", others[row].subscribed), 0);
    wire_warm_up(wire, topic);
    const struct mq5_suback *unsuback = wire_unsubscribe(wire, probe_topic(probe, "%s", others[row].unsubscribed));
    should(probe, "code", "MQTT-3.10.4-5", first_reason(unsuback) == MQ5_NO_SUBSCRIPTION_EXISTED,
           "UNSUBACK 0x%02x for a filter that was not subscribed to", first_reason(unsuback));
    wire_publish(publisher, topic, "message", 0);
    want_message(wire, topic, "message");
}

/* Both filters match the topic; only the one that was named ends. */
static void exact_filter(struct conform_probe *probe)
{
    const char *topic = probe_topic(probe, "exact/x"), *plus = probe_topic(probe, "exact/+");
    struct wire *wire = probe_connect(probe, "subscriber"), *publisher = probe_connect(probe, "publisher");
    const char *other = probe_topic(probe, "exact/y");
    wire_subscribe(wire, plus, 0);
    wire_subscribe(wire, topic, 0);
    wire_warm_up(wire, other);
    const struct mq5_suback *unsuback = wire_unsubscribe(wire, plus);
    need(probe, first_reason(unsuback) == MQ5_SUCCESS, "UNSUBACK 0x%02x", first_reason(unsuback));
    wire_publish(publisher, other, "message", 0);
    wire_publish(publisher, topic, "end", 0);
    want_message(wire, topic, "end");
    need_alive(wire, "after the last message");
    want(probe, wire_count_messages(wire, other, "message") == 0, "a message comes by the filter that was taken away");
}

/* What was taken away does not come back with the session. */
static void gone_from_session(struct conform_probe *probe)
{
    const char *topic = probe_topic(probe, "gone"), *rest = probe_topic(probe, "rest");
    struct mq5_connect login = probe_login(probe, 50);
    set_session_expiry(&login, 60);
    struct wire *wire = probe_connect_as(probe, "subscriber", &login), *publisher = probe_connect(probe, "publisher");
    wire_subscribe(wire, topic, 1);
    wire_subscribe(wire, rest, 1);
    wire_unsubscribe(wire, topic);
    wire_disconnect(wire, MQ5_SUCCESS);
    wire_publish(publisher, topic, "while away", 1);
    wire_publish(publisher, rest, "while away", 1);
    wire = probe_resume(probe, "again", &login, false);
    need_message(wire, rest, "while away");
    wire_publish(publisher, topic, "message", 1);
    wire_publish(publisher, rest, "end", 1);
    need_message(wire, rest, "end");
    need_alive(wire, "after the last message");
    want(probe, wire_count_messages(wire, topic, NULL) == 0, "a message comes by a filter that was taken away");
}

static void nothing_after(struct conform_probe *probe)
{
    const char *topic = probe_topic(probe, "after"), *rest = probe_topic(probe, "rest");
    struct wire *wire = probe_connect(probe, "subscriber"), *publisher = probe_connect(probe, "publisher");
    wire_subscribe(wire, topic, 1);
    wire_subscribe(wire, rest, 1);
    wire_publish(publisher, topic, "before", 1);
    need_message(wire, topic, "before");
    wire_unsubscribe(wire, topic);
    for (int i = 0; i < 3; i++)
        wire_publish(publisher, topic, "message", 1);
    wire_publish(publisher, topic, "message", 0);
    wire_publish(publisher, rest, "end", 1);
    need_message(wire, rest, "end");
    need_alive(wire, "after the last message");
    want(probe, wire_count_messages(wire, topic, "message") == 0, "%u messages come after UNSUBACK",
         wire_count_messages(wire, topic, "message"));
}

/* One that waits for room in the Receive Maximum may come or not; what was published after UNSUBACK may not. */
static void nothing_queued(struct conform_probe *probe)
{
    const char *topic = probe_topic(probe, "full"), *rest = probe_topic(probe, "rest");
    struct mq5_connect login = probe_login(probe, 0);
    set_receive_maximum(&login, 1);
    struct wire *wire = probe_connect_as(probe, "subscriber", &login), *publisher = probe_connect(probe, "publisher");
    wire_subscribe(wire, topic, 1);
    wire_subscribe(wire, rest, 1);
    wire_hold_acks(wire, true);
    wire_publish(publisher, topic, "before", 1);
    const struct received *before = need_message(wire, topic, "before");
    wire_unsubscribe(wire, topic);
    wire_publish(publisher, topic, "message", 1);
    wire_publish(publisher, rest, "end", 1);
    wire_hold_acks(wire, false);
    wire_ack(wire, MQ5_PUBACK, before->packet.publish.packet_id, MQ5_SUCCESS);
    need_message(wire, rest, "end");
    need_alive(wire, "after the last message");
    want(probe, wire_count_messages(wire, topic, "message") == 0, "a message published after UNSUBACK comes");
}

/* ---- what was begun is finished --------------------------------------------------------------------------------------------------- */

static void handshake_finished(struct conform_probe *probe)
{
    const char *topic = probe_topic(probe, "begun");
    struct wire *wire = probe_connect(probe, "subscriber"), *publisher = probe_connect(probe, "publisher");
    wire_subscribe(wire, topic, 2);
    wire_hold_acks(wire, true);
    wire_publish(publisher, topic, "message", 2);
    uint16_t id = need_message(wire, topic, "message")->packet.publish.packet_id;
    wire_unsubscribe(wire, topic);
    wire_ack(wire, MQ5_PUBREC, id, MQ5_SUCCESS);
    const struct received *release = want_packet(wire, MQ5_PUBREL, "PUBREL for a message begun before UNSUBSCRIBE");
    want(probe, release->packet.ack.packet_id == id && release->packet.ack.reason == MQ5_SUCCESS,
         "PUBREL %u 0x%02x for message %u", release->packet.ack.packet_id, release->packet.ack.reason, id);
    wire_ack(wire, MQ5_PUBCOMP, id, MQ5_SUCCESS);
    want_alive(wire, "after the handshake");
}

static uint32_t resumed_count(void)
{
    return 2;
}

static void resumed_row(uint32_t row, struct conform_row *out)
{
    snprintf(out->name, sizeof(out->name), "QoS %u", row + 1);
}

static void resumed_delivery(struct conform_probe *probe)
{
    uint8_t qos = (uint8_t)(1 + probe_row(probe));
    if (qos == 2 && !probe_has(probe, CONFORM_QOS_2))
        skip(probe, "needs QoS 2");
    const char *topic = probe_topic(probe, "begun");
    struct mq5_connect login = probe_login(probe, 50);
    set_session_expiry(&login, 60);
    struct wire *wire = probe_connect_as(probe, "subscriber", &login), *publisher = probe_connect(probe, "publisher");
    wire_subscribe(wire, topic, qos);
    wire_hold_acks(wire, true);
    wire_publish(publisher, topic, "message", qos);
    need_message(wire, topic, "message");
    wire_unsubscribe(wire, topic);
    wire_end(wire, WIRE_FIN);
    wire = probe_resume(probe, "again", &login, false);
    need(probe, wire_connack(wire)->session_present, "the session is gone");
    want_message(wire, topic, "message");
}

/* ---- what is answered ---------------------------------------------------------------------------------------------------------------- */

static void answered(struct conform_probe *probe)
{
    struct wire *wire = probe_connect(probe, "client");
    for (int i = 0; i < 3; i++)
        wire_subscribe(wire, probe_topic(probe, "answered/%d", i), 0);
    wire_gather(wire);
    for (int i = 0; i < 3; i++) {
        const char *filter = probe_topic(probe, "answered/%d", i);
        wire_send_unsubscribe(wire, &filter, 1);
    }
    wire_flush(wire);
    for (int i = 0; i < 3; i++)
        want_packet(wire, MQ5_UNSUBACK, probe_text(probe, "UNSUBACK %d of 3", i + 1));
}

static void same_identifier(struct conform_probe *probe)
{
    static const uint16_t ids[] = {1, 256, 0x1234, 65535, 2};
    struct wire *wire = probe_subscriber(probe, "client", probe_topic(probe, "identifier"), 0);
    struct mq5_packet packet = unsubscribe_packet(probe, probe_topic(probe, "identifier"));
    for (size_t i = 0; i < sizeof(ids) / sizeof(ids[0]); i++) { /* the first takes it away, the others find nothing */
        packet.subscribe.packet_id = ids[i];
        wire_send(wire, &packet);
        const struct mq5_suback *unsuback = &want_packet(wire, MQ5_UNSUBACK, "UNSUBACK")->packet.suback;
        want(probe, unsuback->packet_id == ids[i], "UNSUBACK %u for UNSUBSCRIBE %u", unsuback->packet_id, ids[i]);
        uint8_t reason = first_reason(unsuback);
        if (i < 2)
            should(probe, "code", NULL, reason == (i ? MQ5_NO_SUBSCRIPTION_EXISTED : MQ5_SUCCESS),
                   "UNSUBACK 0x%02x for a filter that was %ssubscribed to", reason, i ? "not " : "");
    }
}

static void many_filters(struct conform_probe *probe)
{
    struct wire *wire = probe_connect(probe, "subscriber"), *publisher = probe_connect(probe, "publisher");
    const char *filters[4];
    for (int i = 0; i < 4; i++) {
        filters[i] = probe_topic(probe, "many/%d", i);
        wire_subscribe(wire, filters[i], 0);
    }
    wire_send_unsubscribe(wire, filters, 3);
    need_packet(wire, MQ5_UNSUBACK, "UNSUBACK");
    for (int i = 0; i < 4; i++)
        wire_publish(publisher, filters[i], "message", 0);
    need_message(wire, filters[3], "message");
    need_alive(wire, "after the last message");
    for (int i = 0; i < 3; i++)
        want(probe, wire_count_messages(wire, filters[i], "message") == 0, "filter %d of 3 is still subscribed to",
             i + 1);
    want(probe, wire_count_of(wire, MQ5_UNSUBACK) == 1, "%u UNSUBACKs for one UNSUBSCRIBE",
         wire_count_of(wire, MQ5_UNSUBACK));
}

/* One after the other: of two equal filters the second finds nothing. */
static void filter_twice(struct conform_probe *probe)
{
    struct wire *wire = probe_connect(probe, "client");
    const char *topic = probe_topic(probe, "twice");
    const char *filters[] = {topic, topic};
    if (first_reason(wire_unsubscribe(wire, topic)) != MQ5_NO_SUBSCRIPTION_EXISTED)
        skip(probe, "the broker does not say which filters it does not know");
    wire_subscribe(wire, topic, 0);
    wire_send_unsubscribe(wire, filters, 2);
    struct span reasons = need_packet(wire, MQ5_UNSUBACK, "UNSUBACK")->packet.suback.reasons;
    want(probe, reasons.length == 2 && reasons.data[0] == MQ5_SUCCESS && reasons.data[1] == MQ5_NO_SUBSCRIPTION_EXISTED,
         "the same filter twice: %u reason codes, 0x%02x 0x%02x instead of 0x00 0x11", reasons.length,
         reasons.length > 0 ? reasons.data[0] : 0xFF, reasons.length > 1 ? reasons.data[1] : 0xFF);
}

static void in_order(struct conform_probe *probe)
{
    static const bool known[] = {true, false, false, true, false, true, true};
    struct wire *wire = probe_connect(probe, "client");
    const char *filters[7];
    for (int i = 0; i < 7; i++) {
        filters[i] = probe_topic(probe, "order/%d", i);
        if (known[i])
            wire_subscribe(wire, filters[i], 0);
    }
    if (first_reason(wire_unsubscribe(wire, probe_topic(probe, "unknown"))) != MQ5_NO_SUBSCRIPTION_EXISTED)
        skip(probe, "the broker does not say which filters it does not know");
    wire_send_unsubscribe(wire, filters, 7);
    struct span reasons = need_packet(wire, MQ5_UNSUBACK, "UNSUBACK")->packet.suback.reasons;
    need(probe, reasons.length == 7, "%u reason codes for 7 filters", reasons.length);
    for (int i = 0; i < 7; i++)
        want(probe, reasons.data[i] == (known[i] ? MQ5_SUCCESS : MQ5_NO_SUBSCRIPTION_EXISTED),
             "reason code %d is 0x%02x for a filter that was %ssubscribed to", i + 1, reasons.data[i],
             known[i] ? "" : "not ");
}

static void one_reason_each(struct conform_probe *probe)
{
    static const uint32_t counts[] = {1, 2, 5, 8};
    struct wire *wire = probe_subscriber(probe, "client", probe_topic(probe, "0"), 0);
    const char *filters[8];
    for (uint32_t round = 0; round < 4; round++) {
        for (uint32_t i = 0; i < counts[round]; i++)
            filters[i] = probe_topic(probe, "%u", i);
        wire_send_unsubscribe(wire, filters, counts[round]);
        struct span reasons = need_packet(wire, MQ5_UNSUBACK, "UNSUBACK")->packet.suback.reasons;
        want(probe, reasons.length == counts[round], "%u reason codes for %u filters", reasons.length, counts[round]);
    }
}

/* ---- what is said in words --------------------------------------------------------------------------------------------------------- */

static void leave_unknown(struct conform_probe *probe, struct wire *wire)
{
    const char *filter = probe_topic(probe, "unknown");
    wire_send_unsubscribe(wire, &filter, 1);
}

static void leave_badly(struct conform_probe *probe, struct wire *wire)
{
    const char *filter = probe_topic(probe, "#/words");
    wire_send_unsubscribe(wire, &filter, 1);
}

static void (*const leaving[])(struct conform_probe *, struct wire *) = {leave_unknown, leave_badly, NULL};

static void reason_string(struct conform_probe *probe)
{
    want_words_left_out(probe, MQ5_UNSUBACK, MQ5_REASON_STRING, leaving);
}

static void user_properties(struct conform_probe *probe)
{
    want_words_left_out(probe, MQ5_UNSUBACK, MQ5_USER_PROPERTY, leaving);
}

CHECK_TABLE(checks_unsubscribe,
            {.id = "B-UNSUB-001",
             .name = "UNSUBSCRIBE with other flags than 0010 ends the connection",
             .refs = {"MQTT-3.10.1-1"},
             .level = CONFORM_MUST,
             .run = flags,
             .row_count = wrong_flags_count,
             .row = flags_row},
            {.id = "B-UNSUB-002",
             .name = "UNSUBSCRIBE with a filter that is no UTF-8 ends the connection",
             .refs = {"MQTT-3.10.3-1"},
             .level = CONFORM_MUST,
             .run = texts,
             .row_count = bad_texts_count,
             .row = bad_texts_row},
            {.id = "B-UNSUB-003",
             .name = "UNSUBSCRIBE without a filter ends the connection",
             .refs = {"MQTT-3.10.3-2", "S3.10.3a"},
             .level = CONFORM_MUST,
             .run = empty,
             .row_count = no_filter_count,
             .row = empty_row},
            {.id = "B-UNSUB-004",
             .name = "another filter than the one subscribed to takes nothing away",
             .refs = {"MQTT-3.10.4-1"},
             .level = CONFORM_MUST,
             .run = another_filter,
             .row_count = others_count,
             .row = others_row},
            {.id = "B-UNSUB-005",
             .name = "of two filters that match the one that is named ends",
             .refs = {"MQTT-3.10.4-1"},
             .level = CONFORM_MUST,
             .needs = CONFORM_WILDCARD,
             .run = exact_filter},
            {.id = "B-UNSUB-006",
             .name = "a subscription that was taken away is gone from the session",
             .refs = {"MQTT-3.10.4-1"},
             .level = CONFORM_MUST,
             .needs = CONFORM_SESSION | CONFORM_QOS_1,
             .run = gone_from_session},
            {.id = "B-UNSUB-007",
             .name = "no message that is published after UNSUBACK comes",
             .refs = {"MQTT-3.10.4-2"},
             .level = CONFORM_MUST,
             .needs = CONFORM_QOS_1,
             .run = nothing_after},
            {.id = "B-UNSUB-008",
             .name = "no message is queued after UNSUBACK for a client that is slow",
             .refs = {"MQTT-3.10.4-2"},
             .level = CONFORM_MUST,
             .needs = CONFORM_QOS_1,
             .run = nothing_queued},
            {.id = "B-UNSUB-009",
             .name = "a handshake of QoS 2 that was begun is finished",
             .refs = {"MQTT-3.10.4-3"},
             .level = CONFORM_MUST,
             .needs = CONFORM_QOS_2,
             .run = handshake_finished},
            {.id = "B-UNSUB-010",
             .name = "a message that was sent and not acknowledged is sent again over the next connection",
             .refs = {"MQTT-3.10.4-3"},
             .level = CONFORM_MUST,
             .needs = CONFORM_SESSION | CONFORM_QOS_1,
             .run = resumed_delivery,
             .row_count = resumed_count,
             .row = resumed_row},
            {.id = "B-UNSUB-011",
             .name = "UNSUBSCRIBE is answered with UNSUBACK",
             .refs = {"MQTT-3.10.4-4"},
             .level = CONFORM_MUST,
             .run = answered},
            {.id = "B-UNSUB-012",
             .name = "UNSUBACK has the identifier of UNSUBSCRIBE, also where nothing was subscribed to",
             .refs = {"MQTT-3.10.4-5"},
             .level = CONFORM_MUST,
             .run = same_identifier},
            {.id = "B-UNSUB-013",
             .name = "an UNSUBSCRIBE of three filters ends three subscriptions with one UNSUBACK",
             .refs = {"MQTT-3.10.4-6"},
             .level = CONFORM_MUST,
             .run = many_filters},
            {.id = "B-UNSUB-014",
             .name = "equal filters in an UNSUBSCRIBE are taken one after the other",
             .refs = {"MQTT-3.10.4-6"},
             .level = CONFORM_MUST,
             .run = filter_twice},
            {.id = "B-UNSUB-015",
             .name = "reason codes of UNSUBACK are in the order of the filters",
             .refs = {"MQTT-3.11.3-1"},
             .level = CONFORM_MUST,
             .run = in_order},
            {.id = "B-UNSUB-016",
             .name = "UNSUBACK has a reason code for each filter",
             .refs = {"MQTT-3.11.3-2"},
             .level = CONFORM_MUST,
             .run = one_reason_each},
            {.id = "B-UNSUB-017",
             .name = "UNSUBACK leaves its Reason String out where it would be too large",
             .refs = {"MQTT-3.11.2-1"},
             .level = CONFORM_MUST,
             .run = reason_string},
            {.id = "B-UNSUB-018",
             .name = "UNSUBACK leaves its User Properties out where it would be too large",
             .refs = {"MQTT-3.11.2-2"},
             .level = CONFORM_MUST,
             .run = user_properties}, )
