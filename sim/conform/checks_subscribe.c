/* checks_subscribe.c: SUBSCRIBE and SUBACK (3.8, 3.9): what is malformed, what is answered, what a repeated filter replaces. */
#include "check.h"
#include "tables.h"

#include <stdio.h>

static struct mq5_packet subscribe_packet(struct conform_probe *probe, const char *filter, uint8_t qos)
{
    struct mq5_subscription *list = probe_memory(probe, sizeof(*list));
    *list = subscription(filter, qos);
    return (struct mq5_packet){.type = MQ5_SUBSCRIBE, .subscribe = {.packet_id = 7, .list = list, .count = 1}};
}

static void need_qos(struct conform_probe *probe, uint8_t qos)
{
    if (qos > 0 && !probe_has(probe, qos == 1 ? CONFORM_QOS_1 : CONFORM_QOS_2))
        skip(probe, "needs QoS %u", qos);
}

/* ---- what is malformed ------------------------------------------------------------------------------------------------------- */

static void flags_row(uint32_t row, struct conform_row *out)
{
    wrong_flags_row(out, wrong_flags(row, 2));
}

static void flags(struct conform_probe *probe)
{
    struct wire *wire = probe_connect(probe, "client");
    struct mq5_packet packet = subscribe_packet(probe, probe_topic(probe, "flags"), 0);
    packet.flags = wrong_flags(probe_row(probe), 2);
    wire_send_raw(wire, &packet, &(struct mq5_raw){.set_flags = true});
    want_closed(wire, "SUBSCRIBE with wrong flags", REASONS(MQ5_MALFORMED_PACKET));
}

static void texts(struct conform_probe *probe)
{
    struct mq5_packet packet = subscribe_packet(probe, probe_topic(probe, "text/????"), 0);
    want_bad_text_refused(probe, &packet, 1, "SUBSCRIBE with a filter that is no UTF-8");
}

static void empty_row(uint32_t row, struct conform_row *out)
{
    no_filter_row(row, out);
    out->ref = row ? "S3.8.3a" : "MQTT-3.8.3-2";
}

static void empty(struct conform_probe *probe)
{
    want_no_filter_refused(probe, MQ5_SUBSCRIBE);
}

static void bad_options(struct conform_probe *probe, uint8_t options, const char *what, const uint8_t *reasons)
{
    struct wire *wire = probe_connect(probe, "client");
    struct mq5_packet packet = subscribe_packet(probe, probe_topic(probe, "options"), 0);
    struct bytes bytes = probe_change(probe, &packet);
    bytes.data[bytes.length - 1] = options;
    wire_send_bytes(wire, bytes.data, bytes.length);
    want_closed(wire, what, reasons);
}

static void qos_3(struct conform_probe *probe)
{
    bad_options(probe, 3, "SUBSCRIBE for QoS 3", REASONS(MQ5_PROTOCOL_ERROR, MQ5_MALFORMED_PACKET));
}

static void retain_handling_3(struct conform_probe *probe)
{
    bad_options(probe, 0x30, "SUBSCRIBE with Retain Handling 3", REASONS(MQ5_PROTOCOL_ERROR, MQ5_MALFORMED_PACKET));
}

static const uint8_t reserved_options[] = {0x40, 0x80, 0xC0, 0x41};

static uint32_t reserved_count(void)
{
    return sizeof(reserved_options);
}

static void reserved_row(uint32_t row, struct conform_row *out)
{
    snprintf(out->name, sizeof(out->name), "options 0x%02x", reserved_options[row]);
}

static void reserved(struct conform_probe *probe)
{
    bad_options(probe, reserved_options[probe_row(probe)], "SUBSCRIBE with reserved options",
                REASONS(MQ5_MALFORMED_PACKET));
}

static void two_identifiers(struct conform_probe *probe)
{
    static const uint32_t ids[] = {11, 22};
    struct wire *wire = probe_connect(probe, "client");
    struct mq5_packet packet = subscribe_packet(probe, probe_topic(probe, "identifiers"), 0);
    packet.subscribe.properties.present = MQ5_BIT(MQ5_SUBSCRIPTION_IDENTIFIER);
    packet.subscribe.properties.subscription_ids = ids;
    packet.subscribe.properties.subscription_id_count = 2;
    wire_send(wire, &packet);
    want_closed(wire, "SUBSCRIBE with two Subscription Identifiers", REASONS(MQ5_PROTOCOL_ERROR));
}

/* Wildcards that stand where none may stand. */
static const char *const bad_filters[] = {"bad/#/more", "bad#", "bad+/x", "+bad/x", "bad/##"};

static uint32_t filters_count(void)
{
    return sizeof(bad_filters) / sizeof(bad_filters[0]);
}

static void filters_row(uint32_t row, struct conform_row *out)
{
    snprintf(out->name, sizeof(out->name), "filter %s", bad_filters[row]);
}

static void filters(struct conform_probe *probe)
{
    struct wire *wire = probe_connect(probe, "client");
    struct mq5_subscription list = subscription(probe_topic(probe, "%s", bad_filters[probe_row(probe)]), 0);
    wire_send_subscribe(wire, &list, 1, 0);
    const struct received *answer = want_answer_or_end(wire, MQ5_SUBACK, "SUBACK or the end of the connection");
    should(probe, "SUBACK", NULL, answer, "the connection is ended instead of SUBACK 0x8f");
    if (!answer)
        return;
    uint8_t reason = answer->packet.suback.reasons.length ? answer->packet.suback.reasons.data[0] : 0;
    want(probe, reason >= 0x80, "SUBACK 0x%02x for a filter that is none", reason);
    should(probe, "code", NULL, reason == MQ5_TOPIC_FILTER_INVALID, "SUBACK 0x%02x instead of 0x8f", reason);
}

/* ---- what is answered ------------------------------------------------------------------------------------------------------- */

static void answered(struct conform_probe *probe)
{
    struct wire *wire = probe_connect(probe, "client");
    wire_gather(wire);
    for (int i = 0; i < 4; i++) {
        struct mq5_subscription list = subscription(probe_topic(probe, "answered/%d", i), 0);
        wire_send_subscribe(wire, &list, 1, 0);
    }
    wire_flush(wire);
    for (int i = 0; i < 4; i++)
        want_packet(wire, MQ5_SUBACK, probe_text(probe, "SUBACK %d of 4", i + 1));
    struct mq5_subscription again = subscription(probe_topic(probe, "answered/0"), 0);
    wire_send_subscribe(wire, &again, 1, 0);
    want_packet(wire, MQ5_SUBACK, "SUBACK for a filter that is subscribed to already");
}

static void same_identifier(struct conform_probe *probe)
{
    static const uint16_t ids[] = {1, 256, 0x1234, 65535, 2};
    struct wire *wire = probe_connect(probe, "client");
    struct mq5_packet packet = subscribe_packet(probe, probe_topic(probe, "identifier"), 0);
    for (size_t i = 0; i < sizeof(ids) / sizeof(ids[0]); i++) {
        packet.subscribe.packet_id = ids[i];
        wire_send(wire, &packet);
        const struct received *answer = need_packet(wire, MQ5_SUBACK, "SUBACK");
        want(probe, answer->packet.suback.packet_id == ids[i], "SUBACK %u for SUBSCRIBE %u",
             answer->packet.suback.packet_id, ids[i]);
    }
}

static void one_reason_each(struct conform_probe *probe)
{
    static const uint32_t counts[] = {1, 2, 5, 8}; /* more than eight is more than some brokers take */
    struct wire *wire = probe_connect(probe, "client");
    struct mq5_subscription list[8];
    for (uint32_t round = 0; round < 4; round++) {
        for (uint32_t i = 0; i < counts[round]; i++) /* the last but one twice: each entry counts */
            list[i] = subscription(probe_topic(probe, "%u/%u", round, i == 7 ? 6 : i), 0);
        const struct mq5_suback *suback = wire_subscribe_with(wire, list, counts[round], 0);
        want(probe, suback->reasons.length == counts[round], "%u reason codes for %u filters", suback->reasons.length,
             counts[round]);
    }
}

static void in_order(struct conform_probe *probe)
{
    static const uint8_t asked[] = {0, 2, 1, 0, 1, 2, 2}; /* no other order of these fits */
    struct wire *wire = probe_connect(probe, "client");
    struct mq5_subscription list[7];
    for (uint32_t i = 0; i < 7; i++)
        list[i] = subscription(probe_topic(probe, "order/%u", i), asked[i]);
    const struct mq5_suback *suback = wire_subscribe_with(wire, list, 7, 0);
    need(probe, suback->reasons.length == 7, "%u reason codes for 7 filters", suback->reasons.length);
    for (uint32_t i = 0; i < 7; i++)
        want(probe, suback->reasons.data[i] <= asked[i] || suback->reasons.data[i] >= 0x80,
             "reason code %u is 0x%02x, asked for was QoS %u", i + 1, suback->reasons.data[i], asked[i]);
}

static uint32_t granted_count(void)
{
    return 3;
}

static void granted_row(uint32_t row, struct conform_row *out)
{
    snprintf(out->name, sizeof(out->name), "QoS %u asked for", row);
}

static void granted(struct conform_probe *probe)
{
    uint8_t asked = (uint8_t)probe_row(probe),
            most = probe_has(probe, CONFORM_QOS_2) ? 2 : probe_has(probe, CONFORM_QOS_1);
    const char *topic = probe_topic(probe, "granted");
    struct wire *wire = probe_connect(probe, "subscriber");
    struct mq5_subscription list = subscription(topic, asked);
    const struct mq5_suback *suback = wire_subscribe_with(wire, &list, 1, 0);
    need(probe, suback->reasons.length == 1, "%u reason codes", suback->reasons.length);
    uint8_t reason = suback->reasons.data[0];
    want(probe, reason <= asked || reason >= 0x80, "SUBACK 0x%02x, asked for was QoS %u", reason, asked);
    need(probe, reason < 0x80, "the subscription was refused: 0x%02x", reason);
    wire_warm_up(wire, topic);
    wire_publish(probe_connect(probe, "publisher"), topic, "message", most);
    const struct received *message = need_message(wire, topic, "message");
    want(probe, message->packet.publish.qos <= reason, "SUBACK says QoS %u, a message comes with %u", reason,
         message->packet.publish.qos);
    want(probe, message->packet.publish.qos == (most < reason ? most : reason),
         "SUBACK says QoS %u, a message of QoS %u comes with %u", reason, most, message->packet.publish.qos);
}

static void many_filters(struct conform_probe *probe)
{
    struct wire *wire = probe_connect(probe, "subscriber");
    struct mq5_subscription list[3];
    for (int i = 0; i < 3; i++)
        list[i] = subscription(probe_topic(probe, "many/%d", i), 0);
    wire_subscribe_with(wire, list, 3, 0);
    need_alive(wire, "after SUBACK");
    want(probe, wire_count_of(wire, MQ5_SUBACK) == 1, "%u SUBACKs for one SUBSCRIBE", wire_count_of(wire, MQ5_SUBACK));
    for (int i = 0; i < 3; i++)
        wire_warm_up(wire, probe_topic(probe, "many/%d", i));
    struct wire *publisher = probe_connect(probe, "publisher");
    for (int i = 0; i < 3; i++) {
        wire_publish(publisher, probe_topic(probe, "many/%d", i), "message", 0);
        want_message(wire, probe_topic(probe, "many/%d", i), "message");
    }
}

static void filter_twice(struct conform_probe *probe)
{
    const char *topic = probe_topic(probe, "twice");
    struct wire *wire = probe_connect(probe, "subscriber");
    struct mq5_subscription list[] = {subscription(topic, 1), subscription(topic, 0)};
    const struct mq5_suback *suback = wire_subscribe_with(wire, list, 2, 0);
    need(probe, suback->reasons.length == 2 && suback->reasons.data[1] == 0, "the filters were not granted");
    if (suback->reasons.data[0] != 1)
        skip(probe, "the broker grants 0x%02x where QoS 1 was asked for", suback->reasons.data[0]);
    wire_warm_up(wire, topic);
    struct wire *publisher = probe_connect(probe, "publisher");
    wire_publish(publisher, topic, "message", 1);
    wire_publish(publisher, topic, "end", 1);
    const struct received *message = need_message(wire, topic, "message");
    need_message(wire, topic, "end");
    want(probe, message->packet.publish.qos == 0, "the first of two equal filters counts: QoS %u comes",
         message->packet.publish.qos);
    want(probe, wire_count_messages(wire, topic, "message") == 1, "%u copies for one filter given twice",
         wire_count_messages(wire, topic, "message"));
}

/* One filter between two good ones is not taken, for one reason or another; as many codes as filters, its own in the middle. */
static void want_others_served(struct conform_probe *probe, const char *bad, const char *what)
{
    struct wire *wire = probe_connect(probe, "subscriber"), *publisher = probe_connect(probe, "publisher");
    const char *first = probe_topic(probe, "good/1"), *last = probe_topic(probe, "good/2");
    wire_subscribe(publisher, probe_topic(probe, "good/3"), 0); /* such filters are granted */
    struct mq5_subscription list[] = {subscription(first, 0), subscription(bad, 0), subscription(last, 0)};
    wire_send_subscribe(wire, list, 3, 0);
    const struct received *answer = want_answer_or_end(wire, MQ5_SUBACK, "SUBACK or the end of the connection");
    if (!answer)
        skip(probe, "the broker ends the connection for %s", what);
    struct span reasons = answer->packet.suback.reasons;
    need(probe, reasons.length == 3 && reasons.data[1] >= 0x80, "%s is not refused", what);
    want(probe, reasons.data[0] < 0x80 && reasons.data[2] < 0x80,
         "the good filters are refused as well: 0x%02x, 0x%02x", reasons.data[0], reasons.data[2]);
    wire_warm_up(wire, first);
    wire_warm_up(wire, last);
    wire_publish(publisher, first, "message", 0);
    wire_publish(publisher, last, "message", 0);
    want_message(wire, first, "message");
    want_message(wire, last, "message");
}

static void bad_among_good(struct conform_probe *probe)
{
    want_others_served(probe, probe_topic(probe, "bad/#/more"), "an invalid filter");
}

static void refused_among_good(struct conform_probe *probe)
{
    want_others_served(probe, probe_told(probe, "refused_filter"), "the profile's refused_filter");
}

/* Last, first, and in the middle: its code stands where it stood. */
static void refused_in_its_place(struct conform_probe *probe)
{
    const char *refused = probe_told(probe, "refused_filter");
    struct wire *wire = probe_connect(probe, "client");
    struct mq5_subscription list[4] = {subscription(refused, 0)};
    wire_send_subscribe(wire, list, 1, 0);
    const struct received *alone = want_answer_or_end(wire, MQ5_SUBACK, "SUBACK or the end of the connection");
    if (!alone)
        skip(probe, "the broker ends the connection for the profile's refused_filter");
    need(probe, first_reason(&alone->packet.suback) >= 0x80, "the profile's refused_filter is granted");
    for (uint32_t place = 4; place-- > 0;) {
        for (uint32_t i = 0; i < 4; i++)
            list[i] = subscription(i == place ? refused : probe_topic(probe, "good/%u", i), 0);
        struct span reasons = wire_subscribe_with(wire, list, 4, 0)->reasons;
        want(probe, reasons.length == 4, "%u reason codes for 4 filters", reasons.length);
        uint32_t bad = 0, count = 0;
        for (uint32_t i = 0; i < 4; i++)
            if (reasons.data[i] >= 0x80)
                bad = i, count++;
        need(probe, count == 1, "of 4 filters one is refused_filter, %u are refused", count);
        want(probe, bad == place, "filter %u of 4 is the one that is refused, code %u says so", place + 1, bad + 1);
    }
}

/* ---- what is said in words ------------------------------------------------------------------------------------------------------ */

static void ask_well(struct conform_probe *probe, struct wire *wire)
{
    struct mq5_subscription list = subscription(probe_topic(probe, "words"), 0);
    wire_send_subscribe(wire, &list, 1, 0);
}

/* Many brokers have no words for what is no filter, and end the connection; they have some for who may not subscribe. */
static void ask_badly(struct conform_probe *probe, struct wire *wire)
{
    const char *refused = probe_told(probe, "refused_filter");
    struct mq5_subscription list = subscription(refused ? refused : probe_topic(probe, "#/words"), 0);
    wire_send_subscribe(wire, &list, 1, 0);
}

static void (*const asking[])(struct conform_probe *, struct wire *) = {ask_badly, ask_well, NULL};

static void reason_string(struct conform_probe *probe)
{
    want_words_left_out(probe, MQ5_SUBACK, MQ5_REASON_STRING, asking);
}

static void user_properties(struct conform_probe *probe)
{
    want_words_left_out(probe, MQ5_SUBACK, MQ5_USER_PROPERTY, asking);
}

/* ---- what is replaced ---------------------------------------------------------------------------------------------------------- */

static const uint8_t qos_changes[][2] = {{1, 0}, {0, 1}, {2, 0}, {0, 2}, {2, 1}};

static uint32_t changes_count(void)
{
    return sizeof(qos_changes) / sizeof(qos_changes[0]);
}

static void changes_row(uint32_t row, struct conform_row *out)
{
    snprintf(out->name, sizeof(out->name), "QoS %u becomes %u", qos_changes[row][0], qos_changes[row][1]);
}

static void replaced_qos(struct conform_probe *probe)
{
    uint8_t old = qos_changes[probe_row(probe)][0], now = qos_changes[probe_row(probe)][1];
    need_qos(probe, old);
    need_qos(probe, now);
    const char *topic = probe_topic(probe, "replaced");
    struct wire *wire = probe_connect(probe, "subscriber"), *publisher = probe_connect(probe, "publisher");
    wire_subscribe(wire, topic, old);
    wire_subscribe(wire, topic, now);
    wire_publish(publisher, topic, "message", old > now ? old : now);
    wire_publish(publisher, topic, "end", old > now ? old : now);
    const struct received *message = need_message(wire, topic, "message");
    need_message(wire, topic, "end");
    need_alive(wire, "after the last message");
    want(probe, message->packet.publish.qos == now, "a message comes with QoS %u, the last SUBSCRIBE was granted %u",
         message->packet.publish.qos, now);
    want(probe, wire_count_messages(wire, topic, "message") == 1, "%u copies of one message for one filter",
         wire_count_messages(wire, topic, "message"));
}

static uint32_t options_count(void)
{
    return 4;
}

static void options_row(uint32_t row, struct conform_row *out)
{
    snprintf(out->name, sizeof(out->name), "%s is turned %s", row < 2 ? "No Local" : "Retain As Published",
             row & 1 ? "off" : "on");
}

/* A subscription that does not hear its own client is warmed up by another. */
static void warm_up_by(struct conform_probe *probe, struct wire *other, struct wire *wire, const char *topic)
{
    for (int i = 0; i < 40 && !try_message(wire, topic, "warm-up", US_PER_S / 4); i++)
        wire_publish(other, topic, "warm-up", 0);
    need(probe, wire_count_messages(wire, topic, "warm-up") > 0, "another client's messages do not arrive");
}

static void replaced_no_local(struct conform_probe *probe, bool on)
{
    const char *topic = probe_topic(probe, "local");
    struct wire *wire = probe_connect(probe, "subscriber"), *other = probe_connect(probe, "other");
    struct mq5_subscription list = subscription(topic, 1);
    list.no_local = !on;
    wire_subscribe_with(wire, &list, 1, 0);
    list.no_local = on;
    wire_subscribe_with(wire, &list, 1, 0);
    wire_subscribe(other, topic, 1);
    warm_up_by(probe, other, wire, topic);
    wire_publish(wire, topic, "own", 1);
    need_message(other, topic, "own");
    wire_publish(other, topic, "end", 1);
    need_message(wire, topic, "end");
    want(probe, (wire_count_messages(wire, topic, "own") == 0) == on, "No Local was turned %s, own messages %s",
         on ? "on" : "off", on ? "come still" : "do not come");
}

static void replaced_options(struct conform_probe *probe)
{
    bool on = !(probe_row(probe) & 1);
    if (probe_row(probe) < 2) {
        replaced_no_local(probe, on);
        return;
    }
    if (!probe_has(probe, CONFORM_RETAIN))
        skip(probe, "needs retained messages");
    const char *topic = probe_topic(probe, "published");
    struct wire *wire = probe_connect(probe, "subscriber");
    struct mq5_subscription list = subscription(topic, 0);
    list.retain_handling = MQ5_RETAIN_DO_NOT_SEND;
    list.retain_as_published = !on;
    wire_subscribe_with(wire, &list, 1, 0);
    list.retain_as_published = on;
    wire_subscribe_with(wire, &list, 1, 0);
    wire_warm_up(wire, topic);
    wire_publish_retained(probe_connect(probe, "publisher"), topic, "message", 1);
    bool retain = need_message(wire, topic, "message")->packet.publish.retain;
    want(probe, retain == on, "Retain As Published was turned %s, a message comes with RETAIN %u", on ? "on" : "off",
         retain);
}

static void replaced_identifier(struct conform_probe *probe, uint32_t now)
{
    const char *topic = probe_topic(probe, "identified");
    struct wire *wire = probe_connect(probe, "subscriber");
    struct mq5_subscription list = subscription(topic, 0);
    const struct mq5_suback *suback = wire_subscribe_with(wire, &list, 1, 11);
    need(probe, suback->reasons.length == 1 && suback->reasons.data[0] < 0x80, "the subscription was refused");
    wire_warm_up(wire, topic);
    struct wire *publisher = probe_connect(probe, "publisher");
    uint32_t id;
    wire_publish(publisher, topic, "before", 0);
    need(probe, subscription_ids(need_message(wire, topic, "before"), &id) == 1 && id == 11,
         "the first identifier does not come with messages");
    wire_subscribe_with(wire, &list, 1, now);
    wire_warm_up(wire, topic);
    wire_publish(publisher, topic, "after", 0);
    uint32_t count = subscription_ids(need_message(wire, topic, "after"), &id);
    want(probe, count == (now != 0) && id == now, "%u identifiers come with a message, the first is %u", count, id);
}

static void new_identifier(struct conform_probe *probe)
{
    replaced_identifier(probe, 22);
}

static void no_identifier(struct conform_probe *probe)
{
    replaced_identifier(probe, 0);
}

static void retained_again(struct conform_probe *probe)
{
    const char *topic = probe_topic(probe, "kept");
    struct wire *publisher = probe_connect(probe, "publisher"), *wire = probe_connect(probe, "subscriber");
    wire_publish_retained(publisher, topic, "kept", 1);
    struct mq5_subscription list = subscription(topic, 1);
    wire_subscribe_with(wire, &list, 1, 0);
    need_message(wire, topic, "kept");
    wire_subscribe_with(wire, &list, 1, 0);
    want_message(wire, topic, "kept");
}

/* Messages while the subscription is replaced again and again; two options change so that there is something to replace. */
static void nothing_lost(struct conform_probe *probe)
{
    enum { MESSAGES = 60 };
    const char *topic = probe_topic(probe, "stream");
    struct wire *wire = probe_connect(probe, "subscriber"), *publisher = probe_connect(probe, "publisher");
    struct mq5_subscription list = subscription(topic, 1);
    list.retain_handling = MQ5_RETAIN_DO_NOT_SEND;
    wire_subscribe(wire, topic, 1);
    for (int i = 0; i < MESSAGES; i++) {
        list.retain_as_published = i & 1;
        if (i % 3)
            wire_send_subscribe(wire, &list, 1, 0);
        struct mq5_packet packet = {.type = MQ5_PUBLISH, .publish = message(topic, probe_text(probe, "%d", i), 1)};
        packet.publish.packet_id = wire_packet_id(publisher);
        wire_send(publisher, &packet);
        if (i % 3 == 0)
            wire_send_subscribe(wire, &list, 1, 0);
        need(probe, need_packet(publisher, MQ5_PUBACK, "PUBACK")->packet.ack.reason < 0x80, "a message was refused");
    }
    for (int i = 0; i < MESSAGES; i++)
        want_message(wire, topic, probe_text(probe, "%d", i));
}

/* The same for messages that wait for the subscriber's acknowledgements. */
static void queue_not_lost(struct conform_probe *probe)
{
    const char *topic = probe_topic(probe, "queued");
    struct mq5_connect login = probe_login(probe, 0);
    set_receive_maximum(&login, 1);
    struct wire *wire = probe_connect_as(probe, "subscriber", &login), *publisher = probe_connect(probe, "publisher");
    wire_subscribe(wire, topic, 1);
    wire_hold_acks(wire, true);
    for (int i = 0; i < 5; i++)
        wire_publish(publisher, topic, probe_text(probe, "%d", i), 1);
    const struct received *first = need_message(wire, topic, "0");
    struct mq5_subscription list = subscription(topic, 1);
    list.retain_handling = MQ5_RETAIN_DO_NOT_SEND;
    list.retain_as_published = true;
    wire_subscribe_with(wire, &list, 1, 0);
    wire_hold_acks(wire, false);
    wire_ack(wire, MQ5_PUBACK, first->packet.publish.packet_id, MQ5_SUCCESS);
    for (int i = 1; i < 5; i++)
        want_message(wire, topic, probe_text(probe, "%d", i));
}

/* ---- No Local --------------------------------------------------------------------------------------------------------------------- */

static const struct {
    const char *name;
    uint8_t qos;
    bool wildcard, retain, resumed;
} locals[] = {
    {.name = "QoS 1", .qos = 1},
    {.name = "QoS 0", .qos = 0},
    {.name = "QoS 2", .qos = 2},
    {.name = "a filter with a wildcard", .qos = 1, .wildcard = true},
    {.name = "a retained message", .qos = 1, .retain = true},
    {.name = "over a new connection of the same session", .qos = 1, .resumed = true},
};

static uint32_t locals_count(void)
{
    return sizeof(locals) / sizeof(locals[0]);
}

static void locals_row(uint32_t row, struct conform_row *out)
{
    snprintf(out->name, sizeof(out->name), "%s", locals[row].name);
}

static void no_local(struct conform_probe *probe)
{
    uint32_t row = probe_row(probe);
    const char *topic = probe_topic(probe, "local/x");
    need_qos(probe, locals[row].qos);
    if ((locals[row].wildcard && !probe_has(probe, CONFORM_WILDCARD)) ||
        (locals[row].retain && !probe_has(probe, CONFORM_RETAIN)) ||
        (locals[row].resumed && !probe_has(probe, CONFORM_SESSION)))
        skip(probe, "needs %s", locals[row].name);
    struct mq5_connect login = probe_login(probe, 50);
    if (locals[row].resumed)
        set_session_expiry(&login, 60);
    struct wire *wire = probe_connect_as(probe, "publisher and subscriber", &login);
    struct mq5_subscription list = subscription(locals[row].wildcard ? probe_topic(probe, "local/+") : topic, 2);
    list.no_local = true;
    const struct mq5_suback *suback = wire_subscribe_with(wire, &list, 1, 0);
    need(probe, suback->reasons.length == 1 && suback->reasons.data[0] < 0x80, "the subscription was refused");
    if (locals[row].resumed) {
        wire_disconnect(wire, MQ5_SUCCESS);
        wire = probe_resume(probe, "again", &login, false);
        need(probe, wire_connack(wire)->session_present, "the session is gone");
    }
    struct wire *other = probe_subscriber(probe, "other", topic, 0);
    warm_up_by(probe, other, wire, topic);
    if (locals[row].retain)
        wire_publish_retained(wire, topic, "own", locals[row].qos);
    else
        wire_publish(wire, topic, "own", locals[row].qos);
    need_message(other, topic, "own");
    wire_publish(other, topic, "end", locals[row].qos);
    need_message(wire, topic, "end");
    want(probe, wire_count_messages(wire, topic, "own") == 0,
         "a message comes back to its publisher, who set No Local");
}

/* ---- the QoS of what is delivered ----------------------------------------------------------------------------------------------------- */

enum way { LIVE, WILDCARD, RETAINED, QUEUED };
static const char *const ways[] = {"live", "live by a wildcard", "retained", "queued"};

struct cell {
    enum way way;
    uint8_t published, granted;
};

/* Three by three for each way; what is queued for a session without a connection only where it must be kept. */
static struct cell cell_of(uint32_t row)
{
    if (row < 27)
        return (struct cell){(enum way)(row / 9), (uint8_t)(row / 3 % 3), (uint8_t)(row % 3)};
    return (struct cell){QUEUED, (uint8_t)(1 + (row - 27) / 2), (uint8_t)(1 + (row - 27) % 2)};
}

static uint32_t cells_count(void)
{
    return 31;
}

static void cells_row(uint32_t row, struct conform_row *out)
{
    struct cell cell = cell_of(row);
    snprintf(out->name, sizeof(out->name), "%s: published with QoS %u, granted QoS %u", ways[cell.way], cell.published,
             cell.granted);
}

static struct wire *subscribed_before(struct conform_probe *probe, const char *topic, const char *filter,
                                      struct cell cell)
{
    struct mq5_connect login = probe_login(probe, 50);
    if (cell.way == QUEUED)
        set_session_expiry(&login, 60);
    struct wire *wire = probe_connect_as(probe, "subscriber", &login), *publisher = probe_connect(probe, "publisher");
    wire_subscribe(wire, filter, cell.granted);
    wire_warm_up(wire, topic);
    if (cell.way == QUEUED)
        wire_disconnect(wire, MQ5_SUCCESS);
    wire_publish(publisher, topic, "message", cell.published);
    return cell.way == QUEUED ? probe_resume(probe, "again", &login, false) : wire;
}

static struct wire *subscribed_after(struct conform_probe *probe, const char *topic, struct cell cell)
{
    struct wire *publisher = probe_connect(probe, "publisher"), *wire = probe_connect(probe, "subscriber");
    wire_publish_retained(publisher, topic, "message", cell.published);
    need_alive(publisher, "after the retained message");
    struct mq5_subscription list = subscription(topic, cell.granted);
    const struct mq5_suback *suback = wire_subscribe_with(wire, &list, 1, 0);
    if (first_reason(suback) != cell.granted)
        skip(probe, "the broker grants 0x%02x where QoS %u was asked for", first_reason(suback), cell.granted);
    return wire;
}

static void delivered_qos(struct conform_probe *probe)
{
    static const uint32_t needs[] = {0, CONFORM_WILDCARD, CONFORM_RETAIN, CONFORM_SESSION};
    struct cell cell = cell_of(probe_row(probe));
    uint8_t least = cell.published < cell.granted ? cell.published : cell.granted;
    need_qos(probe, cell.published);
    need_qos(probe, cell.granted);
    if (!probe_has(probe, needs[cell.way]) ||
        (cell.way == RETAINED && cell.published == 0 && !probe_has(probe, CONFORM_RETAIN_QOS_0)))
        skip(probe, "needs %s", conform_need_name(cell.way == RETAINED ? CONFORM_RETAIN : needs[cell.way]));
    const char *topic = probe_topic(probe, "qos/x");
    struct wire *wire =
        cell.way == RETAINED
            ? subscribed_after(probe, topic, cell)
            : subscribed_before(probe, topic, cell.way == WILDCARD ? probe_topic(probe, "qos/+") : topic, cell);
    uint8_t came = need_message(wire, topic, "message")->packet.publish.qos;
    want(probe, came == least, "published with QoS %u, granted %u, comes with QoS %u", cell.published, cell.granted,
         came);
}

CHECK_TABLE(checks_subscribe,
            {.id = "B-SUB-001",
             .name = "SUBSCRIBE with other flags than 0010 ends the connection",
             .refs = {"MQTT-3.8.1-1"},
             .level = CONFORM_MUST,
             .run = flags,
             .row_count = wrong_flags_count,
             .row = flags_row},
            {.id = "B-SUB-002",
             .name = "SUBSCRIBE with a filter that is no UTF-8 ends the connection",
             .refs = {"MQTT-3.8.3-1"},
             .level = CONFORM_MUST,
             .run = texts,
             .row_count = bad_texts_count,
             .row = bad_texts_row},
            {.id = "B-SUB-003",
             .name = "SUBSCRIBE without a filter ends the connection",
             .refs = {"MQTT-3.8.3-2", "S3.8.3a"},
             .level = CONFORM_MUST,
             .run = empty,
             .row_count = no_filter_count,
             .row = empty_row},
            {.id = "B-SUB-004",
             .name = "SUBSCRIBE for QoS 3 ends the connection",
             .refs = {"S3.8.3.1a"},
             .level = CONFORM_MUST,
             .run = qos_3},
            {.id = "B-SUB-005",
             .name = "SUBSCRIBE with Retain Handling 3 ends the connection",
             .refs = {"S3.8.3.1b"},
             .level = CONFORM_MUST,
             .run = retain_handling_3},
            {.id = "B-SUB-006",
             .name = "SUBSCRIBE with reserved options ends the connection",
             .refs = {"MQTT-3.8.3-5"},
             .level = CONFORM_MUST,
             .run = reserved,
             .row_count = reserved_count,
             .row = reserved_row},
            {.id = "B-SUB-007",
             .name = "SUBSCRIBE with two Subscription Identifiers ends the connection",
             .refs = {"S3.8.2.1.2a"},
             .level = CONFORM_MUST,
             .needs = CONFORM_SUBSCRIPTION_ID,
             .run = two_identifiers},
            {.id = "B-SUB-008",
             .name = "a filter with misplaced wildcards is refused",
             .refs = {"S3.8.4b"},
             .level = CONFORM_MUST,
             .needs = CONFORM_WILDCARD,
             .run = filters,
             .row_count = filters_count,
             .row = filters_row},
            {.id = "B-SUB-009",
             .name = "SUBSCRIBE is answered with SUBACK",
             .refs = {"MQTT-3.8.4-1"},
             .level = CONFORM_MUST,
             .run = answered},
            {.id = "B-SUB-010",
             .name = "SUBACK has the packet identifier of SUBSCRIBE",
             .refs = {"MQTT-3.8.4-2"},
             .level = CONFORM_MUST,
             .run = same_identifier},
            {.id = "B-SUB-011",
             .name = "SUBACK has a reason code for each filter",
             .refs = {"MQTT-3.8.4-6", "MQTT-3.9.3-2"},
             .level = CONFORM_MUST,
             .run = one_reason_each},
            {.id = "B-SUB-012",
             .name = "reason codes of SUBACK are in the order of the filters",
             .refs = {"MQTT-3.9.3-1"},
             .level = CONFORM_MUST,
             .needs = CONFORM_QOS_2,
             .run = in_order},
            {.id = "B-SUB-013",
             .name = "SUBACK says what is granted",
             .refs = {"MQTT-3.8.4-7"},
             .level = CONFORM_MUST,
             .run = granted,
             .row_count = granted_count,
             .row = granted_row},
            {.id = "B-SUB-014",
             .name = "a SUBSCRIBE of three filters is three subscriptions and one SUBACK",
             .refs = {"MQTT-3.8.4-5"},
             .level = CONFORM_MUST,
             .run = many_filters},
            {.id = "B-SUB-015",
             .name = "of two equal filters in a SUBSCRIBE the second replaces the first",
             .refs = {"MQTT-3.8.4-5", "MQTT-3.8.4-3"},
             .level = CONFORM_MUST,
             .needs = CONFORM_QOS_1,
             .run = filter_twice},
            {.id = "B-SUB-016",
             .name = "good filters beside an invalid one are served",
             .refs = {"MQTT-3.8.4-5"},
             .level = CONFORM_MUST,
             .needs = CONFORM_WILDCARD,
             .run = bad_among_good},
            {.id = "B-SUB-028",
             .name = "good filters beside one that is refused are served",
             .refs = {"MQTT-3.8.4-5"},
             .level = CONFORM_MUST,
             .needs = CONFORM_REFUSED_FILTER,
             .run = refused_among_good},
            {.id = "B-SUB-029",
             .name = "the reason code of a filter that is refused stands in its place",
             .refs = {"MQTT-3.9.3-1", "MQTT-3.8.4-6"},
             .level = CONFORM_MUST,
             .needs = CONFORM_REFUSED_FILTER,
             .run = refused_in_its_place},
            {.id = "B-SUB-017",
             .name = "SUBACK leaves its Reason String out where it would be too large",
             .refs = {"MQTT-3.9.2-1"},
             .level = CONFORM_MUST,
             .run = reason_string},
            {.id = "B-SUB-018",
             .name = "SUBACK leaves its User Properties out where it would be too large",
             .refs = {"MQTT-3.9.2-2"},
             .level = CONFORM_MUST,
             .run = user_properties},
            {.id = "B-SUB-019",
             .name = "the same filter again replaces the QoS, and is one subscription",
             .refs = {"MQTT-3.8.4-3"},
             .level = CONFORM_MUST,
             .run = replaced_qos,
             .row_count = changes_count,
             .row = changes_row},
            {.id = "B-SUB-020",
             .name = "the same filter again replaces the options",
             .refs = {"MQTT-3.8.4-3"},
             .level = CONFORM_MUST,
             .needs = CONFORM_QOS_1,
             .run = replaced_options,
             .row_count = options_count,
             .row = options_row},
            {.id = "B-SUB-021",
             .name = "the same filter with another Subscription Identifier replaces it",
             .refs = {"MQTT-3.8.4-3"},
             .level = CONFORM_MUST,
             .needs = CONFORM_SUBSCRIPTION_ID,
             .run = new_identifier},
            {.id = "B-SUB-022",
             .name = "the same filter without a Subscription Identifier takes the old one away",
             .refs = {"S3.8.4a"},
             .level = CONFORM_MUST,
             .needs = CONFORM_SUBSCRIPTION_ID,
             .run = no_identifier},
            {.id = "B-SUB-023",
             .name = "the same filter again brings the retained message again",
             .refs = {"MQTT-3.8.4-4"},
             .level = CONFORM_MUST,
             .needs = CONFORM_RETAIN | CONFORM_QOS_1,
             .run = retained_again},
            {.id = "B-SUB-024",
             .name = "no message is lost while its subscription is replaced",
             .refs = {"MQTT-3.8.4-4"},
             .level = CONFORM_MUST,
             .needs = CONFORM_QOS_1,
             .run = nothing_lost},
            {.id = "B-SUB-025",
             .name = "messages that wait are not lost when their subscription is replaced",
             .refs = {"MQTT-3.8.4-4"},
             .level = CONFORM_MUST,
             .needs = CONFORM_QOS_1,
             .run = queue_not_lost},
            {.id = "B-SUB-026",
             .name = "No Local: a client's own messages do not come back",
             .refs = {"MQTT-3.8.3-3"},
             .level = CONFORM_MUST,
             .needs = CONFORM_QOS_1,
             .run = no_local,
             .row_count = locals_count,
             .row = locals_row},
            {.id = "B-SUB-027",
             .name = "messages come with the lower of the QoS published and the QoS granted",
             .refs = {"MQTT-3.8.4-8"},
             .level = CONFORM_MUST,
             .run = delivered_qos,
             .row_count = cells_count,
             .row = cells_row}, )
