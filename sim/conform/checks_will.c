/* checks_will.c: the message a client leaves behind (3.1.2.5, 3.1.3.2): when it goes out, when it does not, and what it looks like. */
#include "check.h"
#include "tables.h"

#include <stdio.h>

#define NOTHING_US  (500 * US_PER_MS) /* what should not come would have come by then */
#define FAR_DELAY_S 60                /* further away than anybody waits */

/* ---- who takes part ------------------------------------------------------------------------------------------------------------ */

static struct wire *watch_will(struct conform_probe *probe, const char *topic, uint8_t qos)
{
    struct mq5_connect login = probe_login(probe, 50);
    return probe_subscriber_as(probe, "watcher", &login, topic, qos);
}

static struct mq5_connect login_with_will(struct conform_probe *probe, uint32_t number, const char *topic,
                                          uint32_t delay_s, uint32_t expiry_s)
{
    struct mq5_connect login = probe_login(probe, number);
    set_will(&login, topic, "will", 0, false, delay_s);
    if (expiry_s)
        set_session_expiry(&login, expiry_s);
    return login;
}

/* A client with a will, and who watches for it. */
struct mortal {
    const char *topic;
    struct mq5_connect login;
    struct wire *watcher, *wire;
};

static struct mortal connect_mortal(struct conform_probe *probe, uint32_t delay_s, uint32_t expiry_s)
{
    struct mortal mortal = {.topic = probe_topic(probe, "will")};
    mortal.watcher = watch_will(probe, mortal.topic, 0);
    mortal.login = login_with_will(probe, 0, mortal.topic, delay_s, expiry_s);
    mortal.wire = probe_connect_as(probe, "with a will", &mortal.login);
    return mortal;
}

/* The same again without the will. */
static struct wire *come_back(struct conform_probe *probe, const struct mq5_connect *login, bool clean_start)
{
    struct mq5_connect again = *login;
    again.has_will = again.will_retain = false;
    again.will_qos = 0;
    again.will_properties = (struct mq5_properties){0};
    return probe_resume(probe, "back", &again, clean_start);
}

/* Whatever is on its way has come when a marker has. */
static void mark(struct conform_probe *probe, struct wire *watcher, const char *topic)
{
    struct mq5_connect login = probe_login(probe, 51);
    struct wire *publisher = probe_connect_as(probe, "publisher", &login);
    wire_publish(publisher, topic, "marker", 0);
    need_message(watcher, topic, "marker");
}

static void want_no_will(struct conform_probe *probe, struct wire *watcher, const char *topic, const char *why)
{
    mark(probe, watcher, topic);
    want(probe, wire_count_messages(watcher, topic, "will") == 0, "the will is published %s", why);
}

/* ---- kinds of close -------------------------------------------------------------------------------------------------------------- */

enum close_kind { BY_RESET, BY_FIN, BY_REASON, BY_CONNECT, BY_GARBAGE, BY_QOS_3, BY_FLAGS, BY_TAKEOVER, BY_TLS };

static const struct {
    const char *name;
    enum close_kind kind;
    uint8_t reason;
} kinds[] = {
    {"a reset of the connection", BY_RESET, 0},
    {"a close without DISCONNECT", BY_FIN, 0},
    {"DISCONNECT 0x04 (with will)", BY_REASON, MQ5_DISCONNECT_WITH_WILL},
    {"DISCONNECT 0x80", BY_REASON, MQ5_UNSPECIFIED_ERROR},
    {"DISCONNECT 0x83", BY_REASON, MQ5_IMPLEMENTATION_SPECIFIC_ERROR},
    {"DISCONNECT 0x97", BY_REASON, MQ5_QUOTA_EXCEEDED},
    {"a second CONNECT", BY_CONNECT, 0},
    {"bytes that are no packet", BY_GARBAGE, 0},
    {"a PUBLISH with QoS 3", BY_QOS_3, 0},
    {"a SUBSCRIBE with wrong flags", BY_FLAGS, 0},
    {"a takeover", BY_TAKEOVER, 0},
};

static uint32_t kind_count(void)
{
    return sizeof(kinds) / sizeof(kinds[0]);
}

static void kind_row(uint32_t row, struct conform_row *out)
{
    snprintf(out->name, sizeof(out->name), "%s", kinds[row].name);
}

static void close_by(struct conform_probe *probe, struct wire *wire, enum close_kind kind, uint8_t reason)
{
    static const uint8_t garbage[] = {0x00, 0x00}, qos_3[] = {0x36, 0x07, 0, 1, 'x', 0, 1, 0, 'y'},
                         wrong_flags[] = {0x80, 0x07, 0, 1, 0, 0, 1, 'x', 0};
    struct mq5_packet connect = {.type = MQ5_CONNECT, .connect = probe_login(probe, 0)};
    switch (kind) {
    case BY_RESET: wire_end(wire, WIRE_RESET); return;
    case BY_FIN: wire_end(wire, WIRE_FIN); return;
    case BY_TLS: wire_end(wire, WIRE_TLS_SILENT); return;
    case BY_REASON: wire_disconnect(wire, reason); return;
    case BY_CONNECT: wire_send(wire, &connect); break;
    case BY_TAKEOVER: probe_connect_as(probe, "young", &connect.connect); break;
    case BY_GARBAGE: wire_send_bytes(wire, garbage, sizeof(garbage)); break;
    case BY_QOS_3: wire_send_bytes(wire, qos_3, sizeof(qos_3)); break;
    case BY_FLAGS: wire_send_bytes(wire, wrong_flags, sizeof(wrong_flags)); break;
    }
    need(probe, wire_closes(wire, probe_patience(probe)), "the broker does not end the connection");
}

static void published_after(struct conform_probe *probe, enum close_kind kind, uint8_t reason)
{
    struct mortal mortal = connect_mortal(probe, 0, 0);
    want_no_will(probe, mortal.watcher, mortal.topic, "while its client is connected");
    close_by(probe, mortal.wire, kind, reason);
    want_message(mortal.watcher, mortal.topic, "will");
    mark(probe, mortal.watcher, mortal.topic);
    want(probe, wire_count_messages(mortal.watcher, mortal.topic, "will") == 1, "the will is published %u times",
         wire_count_messages(mortal.watcher, mortal.topic, "will"));
}

static void every_close(struct conform_probe *probe)
{
    published_after(probe, kinds[probe_row(probe)].kind, kinds[probe_row(probe)].reason);
}

static void silent_tls(struct conform_probe *probe)
{
    published_after(probe, BY_TLS, 0);
}

static void keep_alive_over(struct conform_probe *probe)
{
    const char *topic = probe_topic(probe, "will");
    struct wire *watcher = watch_will(probe, topic, 0);
    struct mq5_connect login = login_with_will(probe, 0, topic, 0, 0);
    login.keep_alive_s = 2;
    struct wire *wire = probe_connect_as(probe, "silent", &login);
    const struct mq5_properties *properties = &wire_connack(wire)->properties;
    if (properties->present & MQ5_BIT(MQ5_SERVER_KEEP_ALIVE))
        login.keep_alive_s = properties->server_keep_alive_s;
    if (login.keep_alive_s == 0 || login.keep_alive_s > 8)
        skip(probe, "the broker's own keep alive is %u s", login.keep_alive_s);
    need(probe, wire_closes(wire, login.keep_alive_s * US_PER_S * 3 / 2 + probe_patience(probe)),
         "the broker does not end the connection");
    want_message(watcher, topic, "will");
}

static void taken_over(struct conform_probe *probe)
{
    struct mortal mortal = connect_mortal(probe, 0, 60);
    want_alive(come_back(probe, &mortal.login, false), "of who took over");
    want_message(mortal.watcher, mortal.topic, "will");
}

/* ---- what takes it away ------------------------------------------------------------------------------------------------------------ */

static void normal_disconnect(struct conform_probe *probe)
{
    struct mortal mortal = connect_mortal(probe, 0, 0);
    wire_disconnect(mortal.wire, MQ5_SUCCESS);
    probe_wait(probe, NOTHING_US);
    want_no_will(probe, mortal.watcher, mortal.topic, "after DISCONNECT 0x00");
}

/* It is gone for good, not only for this time. */
static void normal_disconnect_forgets(struct conform_probe *probe)
{
    struct mortal mortal = connect_mortal(probe, 0, 60);
    wire_disconnect(mortal.wire, MQ5_SUCCESS);
    struct wire *wire = come_back(probe, &mortal.login, false);
    need(probe, wire_connack(wire)->session_present, "Session Present 0");
    wire_end(wire, WIRE_RESET);
    probe_wait(probe, NOTHING_US);
    want_no_will(probe, mortal.watcher, mortal.topic, "by a later connection that has none");
}

static void delayed_disconnect(struct conform_probe *probe)
{
    const char *topic = probe_topic(probe, "will");
    struct wire *watcher = watch_will(probe, topic, 0);
    struct mq5_connect login = login_with_will(probe, 0, topic, 2, 60),
                       control = login_with_will(probe, 1, topic, 2, 60);
    set_will(&control, topic, "control", 0, false, 2);
    struct wire *wire = probe_connect_as(probe, "with a will", &login);
    struct wire *other = probe_connect_as(probe, "control", &control);
    wire_disconnect(wire, MQ5_SUCCESS);
    wire_end(other, WIRE_RESET);
    need(probe, try_message(watcher, topic, "control", 2 * US_PER_S + probe_patience(probe)), "no will of the control");
    probe_wait(probe, 2 * US_PER_S);
    want_no_will(probe, watcher, topic, "some time after DISCONNECT 0x00");
}

static void published_once(struct conform_probe *probe)
{
    struct mortal mortal = connect_mortal(probe, 0, 60);
    wire_end(mortal.wire, WIRE_RESET);
    need_message(mortal.watcher, mortal.topic, "will");
    wire_end(come_back(probe, &mortal.login, false), WIRE_RESET);
    probe_wait(probe, NOTHING_US);
    mark(probe, mortal.watcher, mortal.topic);
    want(probe, wire_count_messages(mortal.watcher, mortal.topic, "will") == 1,
         "a will that was published is published again");
}

/* The end of the session is no second occasion. */
static void not_again_with_session(struct conform_probe *probe)
{
    struct mortal mortal = connect_mortal(probe, 0, 2);
    uint32_t expiry_s = wire_granted_expiry(mortal.wire, 2);
    if (expiry_s > 8)
        skip(probe, "a session expiry of %u s was granted for 2 s", expiry_s);
    wire_end(mortal.wire, WIRE_RESET);
    need_message(mortal.watcher, mortal.topic, "will");
    probe_wait(probe, (expiry_s + 4) * US_PER_S);
    mark(probe, mortal.watcher, mortal.topic);
    want(probe, wire_count_messages(mortal.watcher, mortal.topic, "will") == 1,
         "the will is published again as its session ends");
}

static void replaced(struct conform_probe *probe)
{
    const char *topic = probe_topic(probe, "will");
    struct wire *watcher = watch_will(probe, topic, 0);
    struct mq5_connect login = login_with_will(probe, 0, topic, 0, 60);
    wire_disconnect(probe_connect_as(probe, "first will", &login), MQ5_SUCCESS);
    set_will(&login, topic, "second", 0, false, 0);
    wire_end(probe_resume(probe, "second will", &login, false), WIRE_RESET);
    want_message(watcher, topic, "second");
    want_no_will(probe, watcher, topic, "although a later CONNECT has another one");
}

/* ---- delay -------------------------------------------------------------------------------------------------------------------------- */

/* Seconds may be rounded: one less than was asked for is accepted. */
static void want_after(struct conform_probe *probe, struct wire *watcher, const char *topic, int64_t from_us,
                       uint32_t seconds, const char *what)
{
    const struct received *will = try_message(watcher, topic, "will", seconds * US_PER_S + probe_patience(probe));
    if (!will)
        will = want_message(watcher, topic, "will");
    want(probe, will->at_us - from_us >= (int64_t)(seconds - 1) * US_PER_S, "the will comes after %d ms, before %s",
         (int)((will->at_us - from_us) / 1000), what);
}

static void delayed_after(struct conform_probe *probe, enum close_kind kind)
{
    struct mortal mortal = connect_mortal(probe, 3, 60);
    int64_t from_us = probe_now(probe);
    close_by(probe, mortal.wire, kind, MQ5_DISCONNECT_WITH_WILL);
    want_after(probe, mortal.watcher, mortal.topic, from_us, 3, "its delay of 3 s is over");
}

static void delayed(struct conform_probe *probe)
{
    delayed_after(probe, BY_RESET);
}

static void delayed_after_last_word(struct conform_probe *probe)
{
    delayed_after(probe, BY_REASON);
}

static void capped_by_session(struct conform_probe *probe)
{
    struct mortal mortal = connect_mortal(probe, FAR_DELAY_S, 2);
    uint32_t expiry_s = wire_granted_expiry(mortal.wire, 2);
    if (expiry_s == 0 || expiry_s > 8)
        skip(probe, "a session expiry of %u s was granted for 2 s", expiry_s);
    int64_t from_us = probe_now(probe);
    wire_end(mortal.wire, WIRE_RESET);
    want_after(probe, mortal.watcher, mortal.topic, from_us, expiry_s, "the session is over");
}

static void at_once_without_session(struct conform_probe *probe)
{
    struct mortal mortal = connect_mortal(probe, FAR_DELAY_S, 0);
    need(probe, wire_granted_expiry(mortal.wire, 0) == 0, "the broker keeps the session of its own accord");
    wire_end(mortal.wire, WIRE_RESET);
    want_message(mortal.watcher, mortal.topic, "will");
}

static void at_once_on_takeover(struct conform_probe *probe)
{
    struct mortal mortal = connect_mortal(probe, FAR_DELAY_S, 0);
    need(probe, wire_granted_expiry(mortal.wire, 0) == 0, "the broker keeps the session of its own accord");
    come_back(probe, &mortal.login, false);
    want_message(mortal.watcher, mortal.topic, "will");
}

static void at_once_on_clean_start(struct conform_probe *probe)
{
    struct mortal mortal = connect_mortal(probe, FAR_DELAY_S, 60);
    come_back(probe, &mortal.login, true);
    want_message(mortal.watcher, mortal.topic, "will");
}

/* The session ends with a clean start although its connection was lost before. */
static void at_once_on_late_clean_start(struct conform_probe *probe)
{
    struct mortal mortal = connect_mortal(probe, FAR_DELAY_S, 60);
    wire_end(mortal.wire, WIRE_RESET);
    probe_wait(probe, NOTHING_US);
    want_no_will(probe, mortal.watcher, mortal.topic, "before its delay is over");
    come_back(probe, &mortal.login, true);
    want_message(mortal.watcher, mortal.topic, "will");
}

static void at_once_with_last_word(struct conform_probe *probe)
{
    struct mortal mortal = connect_mortal(probe, FAR_DELAY_S, 60);
    struct mq5_packet packet = {.type = MQ5_DISCONNECT, .disconnect.reason = MQ5_DISCONNECT_WITH_WILL};
    SET_PROPERTY(packet.disconnect.properties, session_expiry_s, MQ5_SESSION_EXPIRY_INTERVAL, 0);
    wire_send(mortal.wire, &packet);
    wire_closes(mortal.wire, probe_patience(probe));
    want_message(mortal.watcher, mortal.topic, "will");
}

/* Of two equal clients only one comes back. */
static void cancelled(struct conform_probe *probe, bool takeover)
{
    enum { DELAY_S = 3 };
    const char *topic = probe_topic(probe, "will");
    struct wire *watcher = watch_will(probe, topic, 0);
    struct mq5_connect login = login_with_will(probe, 0, topic, DELAY_S, 60);
    struct mq5_connect control = login_with_will(probe, 1, topic, DELAY_S, 60);
    set_will(&control, topic, "control", 0, false, DELAY_S);
    struct wire *wire = probe_connect_as(probe, "with a will", &login);
    struct wire *other = probe_connect_as(probe, "control", &control);
    if (!takeover) {
        wire_end(wire, WIRE_RESET);
        probe_wait(probe, US_PER_S);
    }
    wire_end(other, WIRE_RESET);
    struct wire *back = come_back(probe, &login, false);
    need(probe, wire_connack(back)->session_present, "Session Present 0");
    need(probe, try_message(watcher, topic, "control", DELAY_S * US_PER_S + probe_patience(probe)),
         "no will of the control");
    probe_wait(probe, 2 * US_PER_S);
    want_alive(back, "of who is back");
    want_no_will(probe, watcher, topic,
                 takeover ? "although its session goes on with a new connection"
                          : "although its client came back before the delay was over");
}

static void cancelled_by_return(struct conform_probe *probe)
{
    cancelled(probe, false);
}

static void cancelled_by_takeover(struct conform_probe *probe)
{
    cancelled(probe, true);
}

/* ---- what it looks like -------------------------------------------------------------------------------------------------------------- */

static struct wire *subscribe_late(struct conform_probe *probe, const char *topic)
{
    struct wire *late = probe_connect(probe, "late subscriber");
    struct mq5_subscription list = subscription(topic, 1);
    wire_subscribe_with(late, &list, 1, 0);
    return late;
}

static struct wire *retained_or_not(struct conform_probe *probe, const char *topic, bool retain)
{
    struct wire *watcher = watch_will(probe, topic, 1);
    struct mq5_connect login = probe_login(probe, 10);
    set_will(&login, topic, "will", 1, retain, 0);
    if (retain)
        SET_PROPERTY(login.will_properties, message_expiry_s, MQ5_MESSAGE_EXPIRY_INTERVAL, 60);
    wire_end(probe_connect_as(probe, "with a will", &login), WIRE_RESET);
    const struct received *will = need_message(watcher, topic, "will");
    need(probe, !will->packet.publish.retain, "RETAIN 1 at a subscriber of before");
    return watcher;
}

static void not_retained(struct conform_probe *probe)
{
    const char *topic = probe_topic(probe, "will");
    retained_or_not(probe, topic, false);
    struct wire *late = subscribe_late(probe, topic);
    wire_warm_up(late, topic);
    mark(probe, late, topic);
    want(probe, wire_count_messages(late, topic, "will") == 0, "a will with Will Retain 0 is retained");
}

static void retained(struct conform_probe *probe)
{
    const char *topic = probe_topic(probe, "will");
    retained_or_not(probe, topic, true);
    const struct received *will = NULL;
    for (int i = 0; i < 4 && !will; i++)
        will = try_message(subscribe_late(probe, topic), topic, "will", 2 * US_PER_S);
    want(probe, will != NULL, "a will with Will Retain 1 does not reach who subscribes later");
    want(probe, will->packet.publish.retain, "RETAIN 0 on the will at who subscribes later");
}

/* A retained message without payload takes the earlier one away; a will is no exception. */
static void retained_and_empty(struct conform_probe *probe)
{
    const char *topic = probe_topic(probe, "will");
    struct mq5_connect login = probe_login(probe, 10);
    set_will(&login, topic, "", 1, true, 0);
    wire_publish_retained(probe_connect(probe, "publisher"), topic, "earlier", 1);
    struct wire *watcher = subscribe_late(probe, topic);
    need_message(watcher, topic, "earlier");
    wire_end(probe_connect_as(probe, "with a will", &login), WIRE_RESET);
    want_message(watcher, topic, "");
    struct wire *late = subscribe_late(probe, topic);
    wire_warm_up(late, topic);
    mark(probe, late, topic);
    want(probe, wire_count_messages(late, topic, "earlier") == 0,
         "a retained will without payload leaves the earlier retained message in its place");
    want(probe, wire_count_messages(late, topic, "") == 0, "a retained will without payload is kept");
}

/* The client's own session has subscribed to the will's topic: it waits there like any message. */
static void to_own_session(struct conform_probe *probe)
{
    const char *topic = probe_topic(probe, "will");
    struct wire *watcher = watch_will(probe, topic, 1);
    struct mq5_connect login = probe_login(probe, 10);
    set_will(&login, topic, "will", 1, false, 0);
    set_session_expiry(&login, 60);
    struct wire *wire = probe_subscriber_as(probe, "with a will", &login, topic, 1);
    wire_end(wire, WIRE_RESET);
    need_message(watcher, topic, "will");
    want_message(come_back(probe, &login, false), topic, "will");
}

static void with_qos(struct conform_probe *probe)
{
    const char *topic = probe_topic(probe, "will");
    struct wire *watcher = watch_will(probe, topic, 2);
    uint8_t qos = (uint8_t)probe_row(probe);
    struct mq5_connect login = probe_login(probe, 0);
    set_will(&login, topic, "will", qos, false, 0);
    wire_end(probe_connect_as(probe, "with a will", &login), WIRE_RESET);
    uint8_t came = want_message(watcher, topic, "will")->packet.publish.qos;
    want(probe, came == qos, "a will of QoS %u is sent with QoS %u", qos, came);
}

static uint32_t qos_count(void)
{
    return 3;
}

static void qos_row(uint32_t row, struct conform_row *out)
{
    snprintf(out->name, sizeof(out->name), "a will of QoS %u", row);
}

static const struct mq5_publish *publish_with(struct conform_probe *probe, struct mq5_connect *login,
                                              const char *payload, size_t length)
{
    const char *topic = probe_topic(probe, "will");
    struct wire *watcher = watch_will(probe, topic, 0);
    struct mq5_properties properties = login->will_properties;
    set_will(login, topic, "", 0, false, 0);
    login->will_properties = properties;
    login->will_payload = (struct span){(const uint8_t *)payload, (uint32_t)length};
    wire_end(probe_connect_as(probe, "with a will", login), WIRE_RESET);
    return &want_message(watcher, topic, NULL)->packet.publish;
}

static void payload_as_it_was(struct conform_probe *probe)
{
    uint32_t length = probe_broker(probe)->maximum_packet_size, most = 3000;
    length = length && length < 2 * most ? length / 2 : most;
    struct mq5_connect login = probe_login(probe, 0);
    char *payload = (char *)probe_bytes(probe, length, 0);
    for (uint32_t i = 0; i < length; i++)
        payload[i] = (char)(i * 7 ^ i >> 8);
    const struct mq5_publish *will = publish_with(probe, &login, payload, length);
    want(probe, span_equal(will->payload, (struct span){(const uint8_t *)payload, length}),
         "the payload of the will has changed: %u bytes", will->payload.length);
}

static void empty_payload(struct conform_probe *probe)
{
    struct mq5_connect login = probe_login(probe, 0);
    const struct mq5_publish *will = publish_with(probe, &login, "", 0);
    want(probe, will->payload.length == 0, "a will without payload has %u bytes", will->payload.length);
}

static void properties_as_they_were(struct conform_probe *probe)
{
    struct mq5_connect login = probe_login(probe, 0);
    struct mq5_properties *set = &login.will_properties;
    SET_PROPERTY(*set, payload_format, MQ5_PAYLOAD_FORMAT_INDICATOR, 1);
    SET_PROPERTY(*set, content_type, MQ5_CONTENT_TYPE, span_text("text/plain"));
    SET_PROPERTY(*set, response_topic, MQ5_RESPONSE_TOPIC, span_text(probe_topic(probe, "answer")));
    SET_PROPERTY(*set, correlation_data, MQ5_CORRELATION_DATA, span_text("0815"));
    const struct mq5_properties *came = &publish_with(probe, &login, "text", 4)->properties;
    want(probe, came->present & MQ5_BIT(MQ5_PAYLOAD_FORMAT_INDICATOR) && came->payload_format == 1,
         "Payload Format Indicator of the will is not 1");
    want(probe, came->present & MQ5_BIT(MQ5_CONTENT_TYPE) && span_equal(came->content_type, set->content_type),
         "Content Type of the will is missing or different");
    want(probe, came->present & MQ5_BIT(MQ5_RESPONSE_TOPIC) && span_equal(came->response_topic, set->response_topic),
         "Response Topic of the will is missing or different");
    want(probe,
         came->present & MQ5_BIT(MQ5_CORRELATION_DATA) && span_equal(came->correlation_data, set->correlation_data),
         "Correlation Data of the will is missing or different");
}

static void user_properties_in_order(struct conform_probe *probe)
{
    static const char *const words[][2] = {{"b", "1"}, {"a", "2"}, {"b", "3"}, {"", ""}, {"a", "2"}, {"c", "4"}};
    enum { COUNT = sizeof(words) / sizeof(words[0]) };
    struct mq5_user_property user[COUNT], came;
    for (int i = 0; i < COUNT; i++)
        user[i] = (struct mq5_user_property){span_text(words[i][0]), span_text(words[i][1])};
    struct mq5_connect login = probe_login(probe, 0);
    SET_PROPERTY(login.will_properties, user, MQ5_USER_PROPERTY, user);
    login.will_properties.user_count = COUNT;
    const struct mq5_publish *will = publish_with(probe, &login, "will", 4);
    uint32_t offset = 0;
    for (int i = 0; i < COUNT; i++) {
        bool more = mq5_user_property_next(will->properties.encoded, &offset, &came);
        want(probe, more && span_equal(came.name, user[i].name) && span_equal(came.value, user[i].value),
             "User Property %d of the will is not \"%s\"=\"%s\"", i + 1, words[i][0], words[i][1]);
    }
}

/* The delay does not count: what is left of the interval begins when the will is published. */
static void message_expiry(struct conform_probe *probe)
{
    enum { DELAY_S = 4, INTERVAL_S = 30 };
    const char *topic = probe_topic(probe, "will");
    struct wire *watcher = watch_will(probe, topic, 0);
    struct mq5_connect login = login_with_will(probe, 0, topic, DELAY_S, 60);
    SET_PROPERTY(login.will_properties, message_expiry_s, MQ5_MESSAGE_EXPIRY_INTERVAL, INTERVAL_S);
    wire_end(probe_connect_as(probe, "with a will", &login), WIRE_RESET);
    const struct received *will = try_message(watcher, topic, "will", DELAY_S * US_PER_S + probe_patience(probe));
    need(probe, will != NULL, "no will");
    const struct mq5_properties *came = &will->packet.publish.properties;
    want(probe, came->present & MQ5_BIT(MQ5_MESSAGE_EXPIRY_INTERVAL), "the will has no Message Expiry Interval");
    want(probe, came->message_expiry_s <= INTERVAL_S && came->message_expiry_s >= INTERVAL_S - 2,
         "Message Expiry Interval %u of a will that was published just now with %d", came->message_expiry_s,
         INTERVAL_S);
}

CHECK_TABLE(checks_will,
            {.id = "B-WILL-001",
             .name = "the will is published after every close but DISCONNECT 0x00",
             .refs = {"MQTT-3.1.2-8", "MQTT-3.1.2-7"},
             .level = CONFORM_MUST,
             .run = every_close,
             .row_count = kind_count,
             .row = kind_row},
            {.id = "B-WILL-002",
             .name = "the will is published after a TLS connection that breaks off",
             .refs = {"MQTT-3.1.2-8"},
             .level = CONFORM_MUST,
             .needs = CONFORM_TLS,
             .run = silent_tls},
            {.id = "B-WILL-003",
             .name = "the will is published when keep alive has run out",
             .refs = {"MQTT-3.1.2-22", "MQTT-3.1.2-8"},
             .level = CONFORM_MUST,
             .lane = CONFORM_SLOW,
             .run = keep_alive_over},
            {.id = "B-WILL-004",
             .name = "the will of a connection that is taken over is published",
             .refs = {"S3.1.4c", "MQTT-3.1.2-8"},
             .level = CONFORM_MUST,
             .needs = CONFORM_SESSION,
             .run = taken_over},
            {.id = "B-WILL-005",
             .name = "no will after DISCONNECT 0x00",
             .refs = {"MQTT-3.1.2-8", "MQTT-3.1.2-10"},
             .level = CONFORM_MUST,
             .run = normal_disconnect},
            {.id = "B-WILL-006",
             .name = "DISCONNECT 0x00 takes the will out of the session",
             .refs = {"MQTT-3.1.2-10"},
             .level = CONFORM_MUST,
             .needs = CONFORM_SESSION,
             .run = normal_disconnect_forgets},
            {.id = "B-WILL-007",
             .name = "DISCONNECT 0x00 takes away a will with a delay",
             .refs = {"MQTT-3.1.2-10"},
             .level = CONFORM_MUST,
             .needs = CONFORM_SESSION,
             .lane = CONFORM_SLOW,
             .run = delayed_disconnect},
            {.id = "B-WILL-008",
             .name = "the will is published once",
             .refs = {"MQTT-3.1.2-10"},
             .level = CONFORM_MUST,
             .needs = CONFORM_SESSION,
             .run = published_once},
            {.id = "B-WILL-030",
             .name = "the will is not published again when its session ends",
             .refs = {"MQTT-3.1.2-10"},
             .level = CONFORM_MUST,
             .needs = CONFORM_SESSION,
             .lane = CONFORM_SLOW,
             .run = not_again_with_session},
            {.id = "B-WILL-009",
             .name = "the last CONNECT says what the will is",
             .refs = {"MQTT-3.1.2-7"},
             .level = CONFORM_MUST,
             .needs = CONFORM_SESSION,
             .run = replaced},
            {.id = "B-WILL-010",
             .name = "the will waits for its delay",
             .refs = {"MQTT-3.1.2-8", "S3.1.3.2.2c"},
             .level = CONFORM_MUST,
             .needs = CONFORM_SESSION,
             .lane = CONFORM_SLOW,
             .run = delayed},
            {.id = "B-WILL-027",
             .name = "DISCONNECT 0x04 leaves the will its delay",
             .refs = {"MQTT-3.1.2-8"},
             .level = CONFORM_MUST,
             .needs = CONFORM_SESSION,
             .lane = CONFORM_SLOW,
             .run = delayed_after_last_word},
            {.id = "B-WILL-011",
             .name = "the will is published when the session ends before its delay",
             .refs = {"S3.1.3.2.2a", "MQTT-3.1.2-8"},
             .level = CONFORM_MUST,
             .needs = CONFORM_SESSION,
             .lane = CONFORM_SLOW,
             .run = capped_by_session},
            {.id = "B-WILL-012",
             .name = "the will of a session that ends with its connection does not wait",
             .refs = {"S3.1.3.2.2b", "MQTT-3.1.2-8"},
             .level = CONFORM_MUST,
             .run = at_once_without_session},
            {.id = "B-WILL-013",
             .name = "nor does it when the connection is taken over",
             .refs = {"S3.1.3.2.2b", "S3.1.4c"},
             .level = CONFORM_MUST,
             .run = at_once_on_takeover},
            {.id = "B-WILL-014",
             .name = "a clean start that takes over ends the session: its will is published",
             .refs = {"S3.1.3.2.2a", "S3.1.4c"},
             .level = CONFORM_MUST,
             .needs = CONFORM_SESSION,
             .run = at_once_on_clean_start},
            {.id = "B-WILL-015",
             .name = "a clean start ends a session that waits: its will is published",
             .refs = {"S3.1.3.2.2a", "MQTT-3.1.2-8"},
             .level = CONFORM_MUST,
             .needs = CONFORM_SESSION,
             .run = at_once_on_late_clean_start},
            {.id = "B-WILL-016",
             .name = "DISCONNECT 0x04 that ends the session does not let the will wait",
             .refs = {"S3.1.3.2.2b", "MQTT-3.1.2-8"},
             .level = CONFORM_MUST,
             .needs = CONFORM_SESSION,
             .run = at_once_with_last_word},
            {.id = "B-WILL-017",
             .name = "a client that comes back before the delay is over cancels its will",
             .refs = {"MQTT-3.1.3-9"},
             .level = CONFORM_MUST,
             .needs = CONFORM_SESSION,
             .lane = CONFORM_SLOW,
             .run = cancelled_by_return},
            {.id = "B-WILL-018",
             .name = "taking over a session whose will has a delay cancels the will",
             .refs = {"S3.1.4c", "MQTT-3.1.3-9"},
             .level = CONFORM_MUST,
             .needs = CONFORM_SESSION,
             .lane = CONFORM_SLOW,
             .run = cancelled_by_takeover},
            {.id = "B-WILL-019",
             .name = "a will with Will Retain 0 is not retained",
             .refs = {"MQTT-3.1.2-14"},
             .level = CONFORM_MUST,
             .needs = CONFORM_RETAIN | CONFORM_QOS_1,
             .run = not_retained},
            {.id = "B-WILL-020",
             .name = "a will with Will Retain 1 is retained",
             .refs = {"MQTT-3.1.2-15"},
             .level = CONFORM_MUST,
             .needs = CONFORM_RETAIN | CONFORM_QOS_1,
             .run = retained},
            {.id = "B-WILL-028",
             .name = "a retained will without payload takes the retained message away",
             .refs = {"MQTT-3.1.2-15", "MQTT-3.3.1-6"},
             .level = CONFORM_MUST,
             .needs = CONFORM_RETAIN | CONFORM_QOS_1,
             .run = retained_and_empty},
            {.id = "B-WILL-029",
             .name = "a will waits for those who are away, its own client as well",
             .refs = {"MQTT-3.1.2-8"},
             .level = CONFORM_MUST,
             .needs = CONFORM_SESSION | CONFORM_QOS_1,
             .run = to_own_session},
            {.id = "B-WILL-021",
             .name = "the will has the QoS that CONNECT gave it",
             .refs = {"MQTT-3.1.2-7", "MQTT-3.8.4-8"},
             .level = CONFORM_MUST,
             .needs = CONFORM_QOS_1 | CONFORM_QOS_2,
             .run = with_qos,
             .row_count = qos_count,
             .row = qos_row},
            {.id = "B-WILL-022",
             .name = "the payload of the will is published as it was",
             .refs = {"MQTT-3.1.2-7"},
             .level = CONFORM_MUST,
             .run = payload_as_it_was},
            {.id = "B-WILL-023",
             .name = "a will without payload is published",
             .refs = {"MQTT-3.1.2-8"},
             .level = CONFORM_MUST,
             .run = empty_payload},
            {.id = "B-WILL-024",
             .name = "the properties of the will are published as they were",
             .refs = {"MQTT-3.3.2-4", "MQTT-3.3.2-15", "MQTT-3.3.2-16", "MQTT-3.3.2-20", "MQTT-3.1.2-7"},
             .level = CONFORM_MUST,
             .run = properties_as_they_were},
            {.id = "B-WILL-025",
             .name = "the User Properties of the will keep their order",
             .refs = {"MQTT-3.1.3-10"},
             .level = CONFORM_MUST,
             .run = user_properties_in_order},
            {.id = "B-WILL-026",
             .name = "the Message Expiry Interval of the will begins when it is published",
             .refs = {"S3.1.3.2.4a"},
             .level = CONFORM_MUST,
             .needs = CONFORM_SESSION,
             .lane = CONFORM_SLOW,
             .run = message_expiry}, )
