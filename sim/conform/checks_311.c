/* checks_311.c: MQTT 3.1.1, connections and sessions: what is refused and how, clean sessions, wills, keep alive. The other half is checks_311_messages.c. */
#include "check.h"
#include "tables.h"

#include <stdio.h>

#define ROWS(list) ((uint32_t)(sizeof(list) / sizeof((list)[0])))

/* ---- words ---------------------------------------------------------------------------------------------------------------------- */

static struct span connect_bytes(struct conform_probe *probe, const struct mq5_connect *login)
{
    return probe_encode(probe, &(struct mq5_packet){.type = MQ5_CONNECT, .connect = *login}, NULL);
}

/* The end, and no CONNACK that lets in. */
static void want_not_served(struct conform_probe *probe, struct wire *wire, const char *what)
{
    want_closed(wire, what, NULL);
    want(probe, !wire_connack(wire) || wire_connack(wire)->reason != 0, "%s is accepted: CONNACK 0x00", what);
}

/* ---- what is refused -------------------------------------------------------------------------------------------------------------- */

static const struct {
    const char *name;
    uint8_t bytes[8];
    uint8_t length;
} first_packets[] = {
    {"PINGREQ", {0xC0, 0}, 2},
    {"SUBSCRIBE", {0x82, 6, 0, 1, 0, 1, 'a', 0}, 8},
    {"PUBLISH", {0x30, 4, 0, 1, 'a', 'x'}, 6},
};

static uint32_t first_count(void)
{
    return ROWS(first_packets);
}

static void first_row(uint32_t row, struct conform_row *out)
{
    snprintf(out->name, sizeof(out->name), "%s", first_packets[row].name);
}

static void connect_first(struct conform_probe *probe)
{
    uint32_t row = probe_row(probe);
    struct wire *wire = probe_open(probe, "client");
    wire_send_bytes(wire, first_packets[row].bytes, first_packets[row].length);
    want_not_served(probe, wire, probe_text(probe, "%s before CONNECT", first_packets[row].name));
}

static void second_connect(struct conform_probe *probe)
{
    struct wire *wire = probe_connect(probe, "client");
    struct mq5_connect login = probe_login(probe, 0);
    struct span bytes = connect_bytes(probe, &login);
    wire_send_bytes(wire, bytes.data, bytes.length);
    want_closed(wire, "a second CONNECT", NULL);
}

#define LEVEL_AT 8 /* in a CONNECT whose length is one byte: 2 + 6 */
#define FLAGS_AT 9

static struct bytes changeable_connect(struct conform_probe *probe)
{
    struct mq5_connect login = probe_login(probe, 0);
    struct bytes bytes = probe_change(probe, &(struct mq5_packet){.type = MQ5_CONNECT, .connect = login});
    need(probe, bytes.data[1] < 0x80, "the CONNECT is longer than usual");
    return bytes;
}

/* A broker of 5.0 may answer in the manner of 5.0. */
static void protocol_level(struct conform_probe *probe)
{
    struct bytes bytes = changeable_connect(probe);
    bytes.data[LEVEL_AT] = 2;
    struct wire *wire = probe_open(probe, "client");
    wire_send_bytes(wire, bytes.data, bytes.length);
    const struct received *connack = want_packet(wire, MQ5_CONNACK, "CONNACK 0x01 to protocol level 2");
    uint8_t reason = connack->packet.connack.reason;
    want(probe, reason == 1 || reason == MQ5_UNSUPPORTED_PROTOCOL_VERSION,
         "CONNACK 0x%02x to protocol level 2 instead of 0x01", reason);
    want(probe, wire_closes(wire, probe_patience(probe)), "the connection goes on after CONNACK 0x%02x", reason);
}

static void reserved_flag(struct conform_probe *probe)
{
    struct bytes bytes = changeable_connect(probe);
    bytes.data[FLAGS_AT] |= 1;
    struct wire *wire = probe_open(probe, "client");
    wire_send_bytes(wire, bytes.data, bytes.length);
    want_not_served(probe, wire, "a CONNECT with the reserved flag");
}

static const struct {
    const char *name, *ref;
    uint8_t flags; /* of the CONNECT, whose payload has nothing but the client identifier */
    bool left_over;
} wrong_connects[] = {
    {"a will flag without a will", "V3-MQTT-3.1.4-1", 0x06, false},
    {"a will of QoS 3", "V3-MQTT-3.1.2-14", 0x1E, false},
    {"a will QoS without a will", "V3-MQTT-3.1.4-1", 0x0A, false},
    {"will retain without a will", "V3-MQTT-3.1.4-1", 0x22, false},
    {"a user name flag without a user name", "V3-MQTT-3.1.4-1", 0x82, false},
    {"a password without a user name", "V3-MQTT-3.1.2-22", 0x42, true},
};

static uint32_t wrong_connect_count(void)
{
    return ROWS(wrong_connects);
}

static void wrong_connect_row(uint32_t row, struct conform_row *out)
{
    snprintf(out->name, sizeof(out->name), "%s", wrong_connects[row].name);
    out->ref = wrong_connects[row].ref;
}

/* Without user and password of the run: what is wrong must be the only reason. */
static void wrong_connect(struct conform_probe *probe)
{
    uint32_t row = probe_row(probe);
    struct mq5_connect login = probe_login(probe, 0);
    login.has_user_name = login.has_password = false;
    if (wrong_connects[row].flags == 0x1E) { /* will topic "w", will message "m" */
        set_will(&login, probe_topic(probe, "w"), "m", 0, false, 0);
    }
    struct mq5_raw raw = {.trailing = {(const uint8_t *)"\0\4word", wrong_connects[row].left_over ? 6 : 0}};
    struct span plain = probe_encode(probe, &(struct mq5_packet){.type = MQ5_CONNECT, .connect = login}, &raw);
    uint8_t *bytes = memcpy(probe_bytes(probe, plain.length, 0), plain.data, plain.length);
    need(probe, bytes[1] < 0x80, "the CONNECT is longer than usual");
    bytes[FLAGS_AT] = wrong_connects[row].flags;
    struct wire *wire = probe_open(probe, "client");
    wire_send_bytes(wire, bytes, plain.length);
    want_not_served(probe, wire, wrong_connects[row].name);
    want(probe, !wire_connack(wire), "CONNACK 0x%02x comes before the end of the connection",
         wire_connack(wire) ? wire_connack(wire)->reason : 0);
}

static void empty_id_kept(struct conform_probe *probe)
{
    struct mq5_connect login = probe_login_kept(probe, 0);
    login.client_id = (struct span){0};
    struct span bytes = connect_bytes(probe, &login);
    struct wire *wire = probe_open(probe, "nameless");
    wire_send_bytes(wire, bytes.data, bytes.length);
    uint8_t code = want_packet(wire, MQ5_CONNACK, "CONNACK 0x02")->packet.connack.reason;
    want(probe, code == 2, "CONNACK 0x%02x to an empty client identifier with Clean Session 0 instead of 0x02", code);
    want(probe, wire_closes(wire, probe_patience(probe)), "the connection goes on after CONNACK 0x02");
}

static void long_id(struct conform_probe *probe)
{
    struct mq5_connect login = probe_login(probe, 0);
    const char *id = probe_text(probe, "%sUVWXYZ", probe_client_id(probe, 0));
    need(probe, strlen(id) == 23, "a client identifier of %zu bytes", strlen(id));
    login.client_id = span_text(id);
    struct wire *wire = probe_open(probe, "client");
    const struct mq5_connack *connack = wire_login(wire, &login);
    want(probe, connack && connack->reason == 0, "a client identifier of 23 letters and digits: CONNACK 0x%02x",
         connack ? connack->reason : 0);
    want_alive(wire, "of a client whose identifier has 23 bytes");
}

/* ---- sessions ----------------------------------------------------------------------------------------------------------------------- */

static void session_resumed(struct conform_probe *probe)
{
    const char *topic = probe_topic(probe, "kept");
    struct mq5_connect login = probe_login_kept(probe, 0);
    struct wire *wire = probe_connect_as(probe, "first", &login);
    want(probe, !wire_connack(wire)->session_present, "Session Present 1 for a client that was never here");
    wire_subscribe(wire, topic, 1);
    wire_disconnect(wire, MQ5_SUCCESS);
    wire = probe_connect_as(probe, "again", &login);
    want(probe, wire_connack(wire)->session_present, "Session Present 0 although there is a session");
    wire_publish(probe_connect(probe, "publisher"), topic, "still subscribed", 1);
    want_message(wire, topic, "still subscribed");
}

static uint32_t qos_count(void)
{
    return 2;
}

static void qos_row(uint32_t row, struct conform_row *out)
{
    snprintf(out->name, sizeof(out->name), "QoS %u", row + 1);
}

static void kept_while_away(struct conform_probe *probe)
{
    uint8_t qos = (uint8_t)(probe_row(probe) + 1);
    const char *topic = probe_topic(probe, "away");
    if (qos == 2 && !probe_has(probe, CONFORM_QOS_2))
        skip(probe, "needs QoS 2");
    struct mq5_connect login = probe_login_kept(probe, 0);
    struct wire *wire = probe_subscriber_as(probe, "first", &login, topic, qos);
    wire_disconnect(wire, MQ5_SUCCESS);
    wire_publish(probe_connect(probe, "publisher"), topic, "while away", qos);
    wire = probe_connect_as(probe, "again", &login);
    need(probe, wire_connack(wire)->session_present, "Session Present 0");
    const struct received *message = want_message(wire, topic, "while away");
    want(probe, message->packet.publish.qos == qos, "QoS %u instead of %u", message->packet.publish.qos, qos);
    want(probe, wire_at(wire, 0)->packet.type == MQ5_CONNACK, "%s comes before CONNACK",
         mq5_type_name(wire_at(wire, 0)->packet.type));
}

static void clean_session(struct conform_probe *probe)
{
    const char *topic = probe_topic(probe, "forgotten"), *other = probe_topic(probe, "marker");
    struct mq5_connect kept = probe_login_kept(probe, 0), clean = probe_login(probe, 0);
    struct wire *wire = probe_subscriber_as(probe, "first", &kept, topic, 1);
    wire_disconnect(wire, MQ5_SUCCESS);
    wire = probe_connect_as(probe, "clean", &clean);
    want(probe, !wire_connack(wire)->session_present, "Session Present 1 with Clean Session 1");
    wire_subscribe(wire, other, 1);
    struct wire *publisher = probe_connect(probe, "publisher");
    wire_publish(publisher, topic, "to a session that is no more", 1);
    wire_publish(publisher, other, "marker", 1);
    need_message(wire, other, "marker");
    probe_settle(probe);
    want(probe, wire_count_messages(wire, topic, NULL) == 0, "a subscription of before Clean Session 1 still works");
    wire_disconnect(wire, MQ5_SUCCESS);
    wire = probe_connect_as(probe, "afterwards", &kept);
    want(probe, !wire_connack(wire)->session_present, "Session Present 1 after a clean session has ended");
}

static void retained_stays(struct conform_probe *probe)
{
    const char *topic = probe_topic(probe, "retained");
    struct mq5_connect login = probe_login(probe, 0);
    struct wire *wire = probe_connect_as(probe, "publisher", &login);
    wire_publish_retained(wire, topic, "stays", 1);
    wire_disconnect(wire, MQ5_SUCCESS);
    wire_disconnect(probe_connect_as(probe, "again", &login), MQ5_SUCCESS);
    want(probe, probe_kept(probe, topic, "stays") != NULL, "a retained message has gone with its publisher's session");
}

static void taken_over(struct conform_probe *probe)
{
    struct mq5_connect login = probe_login(probe, 0);
    struct wire *first = probe_connect_as(probe, "first", &login);
    struct wire *second = probe_connect_as(probe, "second", &login);
    want(probe, wire_closes(first, probe_patience(probe)), "the first client's connection is still open");
    want_alive(second, "of the second client");
}

/* ---- wills ---------------------------------------------------------------------------------------------------------------------------- */

static void die(struct conform_probe *probe, uint32_t number, const char *topic, const char *will, bool retain)
{
    struct mq5_connect login = probe_login(probe, number);
    set_will(&login, topic, will, 1, retain, 0);
    wire_end(probe_connect_as(probe, "mortal", &login), WIRE_FIN);
}

static void will_published(struct conform_probe *probe)
{
    const char *topic = probe_topic(probe, "will");
    struct wire *watcher = probe_subscriber(probe, "watcher", topic, 1);
    die(probe, 1, topic, "gone", false);
    want(probe, !want_message(watcher, topic, "gone")->packet.publish.retain, "the will comes with RETAIN 1");
}

static void will_taken_away(struct conform_probe *probe)
{
    const char *topic = probe_topic(probe, "will");
    struct wire *watcher = probe_subscriber(probe, "watcher", topic, 1);
    struct mq5_connect login = probe_login(probe, 1);
    set_will(&login, topic, "not gone", 1, false, 0);
    wire_disconnect(probe_connect_as(probe, "client", &login), MQ5_SUCCESS);
    die(probe, 2, topic, "control", false);
    need_message(watcher, topic, "control");
    probe_settle(probe);
    want(probe, wire_count_messages(watcher, topic, "not gone") == 0, "the will is published after DISCONNECT");
}

static void will_retained(struct conform_probe *probe)
{
    const char *topic = probe_topic(probe, "will");
    struct wire *watcher = probe_subscriber(probe, "watcher", topic, 1);
    die(probe, 1, topic, "kept", true);
    need_message(watcher, topic, "kept");
    const struct received *kept = probe_kept(probe, topic, "kept");
    want(probe, kept != NULL, "a will with Will Retain 1 is not retained");
    want(probe, kept->packet.publish.retain, "RETAIN 0 on a retained will");
}

/* ---- time ------------------------------------------------------------------------------------------------------------------------------ */

#define KEEP_ALIVE_S 2
#define LATE_US      (15 * US_PER_S) /* brokers look now and then */

static void keep_alive(struct conform_probe *probe)
{
    struct mq5_connect login = probe_login(probe, 0);
    login.keep_alive_s = KEEP_ALIVE_S;
    struct wire *wire = probe_connect_as(probe, "silent client", &login);
    int64_t from_us = probe_now(probe);
    want(probe, wire_closes(wire, KEEP_ALIVE_S * US_PER_S * 3 / 2 + LATE_US),
         "open %d s after the last packet, with a keep alive of %d s", (int)((probe_now(probe) - from_us) / US_PER_S),
         KEEP_ALIVE_S);
}

static void answers_ping(struct conform_probe *probe)
{
    struct wire *wire = probe_connect(probe, "client");
    for (int i = 0; i < 3; i++)
        want_alive(wire, "of a client of 3.1.1");
}

/* clang-format off */
CHECK_TABLE(checks_311,
    {.id = "B-V311-001", .name = "nothing is served before CONNECT", .refs = {"V3-MQTT-3.1.0-1", "V3-MQTT-4.8.0-1"},
     .level = CONFORM_MUST, .version = MQ5_V311, .run = connect_first, .row_count = first_count, .row = first_row},
    {.id = "B-V311-002", .name = "a second CONNECT ends the connection", .refs = {"V3-MQTT-3.1.0-2"},
     .level = CONFORM_MUST, .version = MQ5_V311, .run = second_connect},
    {.id = "B-V311-003", .name = "a protocol level that is not served is refused with 0x01", .refs = {"V3-MQTT-3.1.2-2"},
     .level = CONFORM_MUST, .version = MQ5_V311, .run = protocol_level},
    {.id = "B-V311-004", .name = "the reserved connect flag is looked at", .refs = {"V3-MQTT-3.1.2-3"},
     .level = CONFORM_MUST, .version = MQ5_V311, .run = reserved_flag},
    {.id = "B-V311-005", .name = "a CONNECT that is wrong ends the connection without CONNACK", .refs = {"V3-MQTT-3.1.4-1", "V3-MQTT-3.1.2-14", "V3-MQTT-3.1.2-22"},
     .level = CONFORM_MUST, .version = MQ5_V311, .run = wrong_connect, .row_count = wrong_connect_count, .row = wrong_connect_row},
    {.id = "B-V311-006", .name = "an empty client identifier with Clean Session 0 is refused with 0x02", .refs = {"V3-MQTT-3.1.3-8"},
     .level = CONFORM_MUST, .version = MQ5_V311, .run = empty_id_kept},
    {.id = "B-V311-007", .name = "client identifiers of 23 letters and digits are taken", .refs = {"V3-MQTT-3.1.3-5"},
     .level = CONFORM_MUST, .version = MQ5_V311, .run = long_id},
    {.id = "B-V311-008", .name = "Clean Session 0 takes up the session", .refs = {"V3-MQTT-3.1.2-4", "V3-MQTT-3.2.2-2"},
     .level = CONFORM_MUST, .needs = CONFORM_QOS_1, .version = MQ5_V311, .run = session_resumed},
    {.id = "B-V311-009", .name = "what comes for a client that is away is kept", .refs = {"V3-MQTT-3.1.2-5", "V3-MQTT-3.2.0-1"},
     .level = CONFORM_MUST, .needs = CONFORM_QOS_1, .version = MQ5_V311, .run = kept_while_away, .row_count = qos_count, .row = qos_row},
    {.id = "B-V311-010", .name = "Clean Session 1 throws the session away", .refs = {"V3-MQTT-3.1.2-6", "V3-MQTT-3.2.2-1"},
     .level = CONFORM_MUST, .needs = CONFORM_QOS_1, .version = MQ5_V311, .run = clean_session},
    {.id = "B-V311-011", .name = "a retained message outlives its publisher's session", .refs = {"V3-MQTT-3.1.2-7"},
     .level = CONFORM_MUST, .needs = CONFORM_QOS_1 | CONFORM_RETAIN, .version = MQ5_V311, .run = retained_stays},
    {.id = "B-V311-012", .name = "the same client identifier takes the connection over", .refs = {"V3-MQTT-3.1.4-2"},
     .level = CONFORM_MUST, .version = MQ5_V311, .run = taken_over},
    {.id = "B-V311-013", .name = "the will is published when the connection ends", .refs = {"V3-MQTT-3.1.2-8"},
     .level = CONFORM_MUST, .needs = CONFORM_QOS_1, .version = MQ5_V311, .run = will_published},
    {.id = "B-V311-014", .name = "DISCONNECT takes the will away", .refs = {"V3-MQTT-3.1.2-10"},
     .level = CONFORM_MUST, .needs = CONFORM_QOS_1, .version = MQ5_V311, .run = will_taken_away},
    {.id = "B-V311-015", .name = "a will is retained when it says so", .refs = {"V3-MQTT-3.1.2-17"},
     .level = CONFORM_MUST, .needs = CONFORM_QOS_1 | CONFORM_RETAIN, .version = MQ5_V311, .run = will_retained},
    {.id = "B-V311-016", .name = "a silent client is let go", .refs = {"V3-MQTT-3.1.2-24"},
     .level = CONFORM_MUST, .lane = CONFORM_SLOW, .version = MQ5_V311, .run = keep_alive},
    {.id = "B-V311-017", .name = "PINGREQ is answered", .refs = {"V3-MQTT-3.12.4-1"},
     .level = CONFORM_MUST, .version = MQ5_V311, .run = answers_ping})
/* clang-format on */
