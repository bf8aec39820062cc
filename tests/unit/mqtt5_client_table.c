/* What may come when: every cell of the state machine's tables, and every split of the server's bytes. */
#include "mqtt5_client_rig.h"

static struct rig rig;

static void event_nothing(struct rig *r, const struct mq5_client_event *event)
{
    (void)r, (void)event;
}

/* A packet of each type that is right by itself. */
static struct mq5_packet sample(uint8_t type)
{
    struct mq5_packet packet = {.type = type};
    static const struct mq5_subscription list = {.filter = {(const uint8_t *)"f", 1}};
    switch (type) {
    case MQ5_CONNECT: packet.connect.version = MQ5_V5; break;
    case MQ5_PUBLISH: packet.publish.topic = SPAN_LITERAL("t"); break;
    case MQ5_PUBACK:
    case MQ5_PUBREC:
    case MQ5_PUBREL:
    case MQ5_PUBCOMP: packet.ack.packet_id = 1; break;
    case MQ5_SUBSCRIBE:
    case MQ5_UNSUBSCRIBE:
        packet.subscribe.packet_id = 1;
        packet.subscribe.list = &list;
        packet.subscribe.count = 1;
        break;
    case MQ5_SUBACK:
    case MQ5_UNSUBACK:
        packet.suback.packet_id = 1;
        packet.suback.reasons = span_of("\0", 1);
        break;
    case MQ5_AUTH:
        packet.auth.reason = MQ5_CONTINUE_AUTHENTICATION;
        packet.auth.properties.present = MQ5_BIT(MQ5_AUTHENTICATION_METHOD);
        packet.auth.properties.authentication_method = SPAN_LITERAL("M");
        break;
    default: break;
    }
    if (type == MQ5_CONNACK) {
        packet.connack.properties.present = MQ5_BIT(MQ5_AUTHENTICATION_METHOD);
        packet.connack.properties.authentication_method = SPAN_LITERAL("M");
    }
    return packet;
}

/* Brings a fresh session into a state in which every packet that is legal there is also waited for. */
static void go_to(enum mq5_client_state wanted, uint8_t type)
{
    struct mq5_subscription list = {.filter = SPAN_LITERAL("f")};
    struct mq5_packet auth = sample(MQ5_AUTH), connack = sample(MQ5_CONNACK);
    rig_defaults(&rig, MQ5_V5);
    rig.connect.authentication_method = SPAN_LITERAL("M");
    rig.on_event = event_nothing;
    rig_init(&rig);
    if (wanted >= MQ5C_CONNECTING)
        rig_connect(&rig);
    if (wanted == MQ5C_AUTH)
        peer_send(&rig, &auth);
    if (wanted == MQ5C_ONLINE)
        peer_send(&rig, &connack);
    if (wanted == MQ5C_CLOSED)
        mq5_client_disconnect(&rig.client, 0, 0, 3600);
    if (wanted == MQ5C_ONLINE && type == MQ5_SUBACK)
        mq5_client_subscribe(&rig.client, 0, 0, &list, 1, 0);
    if (wanted == MQ5C_ONLINE && type == MQ5_UNSUBACK)
        mq5_client_unsubscribe(&rig.client, 0, 0, &list, 1);
    if (wanted == MQ5C_ONLINE && type == MQ5_AUTH)
        mq5_client_auth(&rig.client, 0, MQ5_RE_AUTHENTICATE, SPAN_LITERAL("M"), SPAN_LITERAL("x"));
    assert_int_equal(rig.client.state, wanted);
    rig_forget(&rig);
}

/* Next state for each cell, written down from the specification: 0 IDLE, C CONNECTING, A AUTH, O ONLINE, X CLOSED and our
 * DISCONNECT with 0x82, x CLOSED without one. Column 0 is the reserved type, the others are the types in their order. */
/* clang-format off */
static const char *const expected_cells[CLIENT_STATES] = {
    /* type:             0123456789ABCDEF */
    [MQ5C_IDLE]       = "0000000000000000",
    [MQ5C_CONNECTING] = "XXOXXXXXXXXXXXXA",
    [MQ5C_AUTH]       = "XXOXXXXXXXXXXXXA",
    [MQ5C_ONLINE]     = "XXXOOOOOXOXOXOxO",
    [MQ5C_CLOSED]     = "xxxxxxxxxxxxxxxx",
};
/* clang-format on */

static void check_cell(enum mq5_client_state from, uint8_t type, char expected)
{
    static const char letters[] = {'0', 'C', 'A', 'O', 'X'};
    char wanted = expected == 'x' ? 'X' : expected;
    if (letters[rig.client.state] != wanted)
        fail_msg("state %d, packet %d: now in %c, not %c", from, type, letters[rig.client.state], wanted);
    bool told = strstr(rig.log, "> DISCONNECT 82\n! DISCONNECTED 82\n") != NULL;
    if (told != (expected == 'X'))
        fail_msg("state %d, packet %d: %s", from, type, rig.log);
    if (from == MQ5C_IDLE || from == MQ5C_CLOSED)
        assert_string_equal(rig.log, "");
}

static void test_every_cell(void **state)
{
    for (int from = 0; from < CLIENT_STATES; from++) {
        for (uint8_t type = 0; type < CLIENT_PACKET_TYPES; type++) {
            const struct client_cell *cell = &mq5_client_cells[from][type];
            assert_false(cell->handle && cell->reason);
            go_to((enum mq5_client_state)from, type);
            struct mq5_packet packet = sample(type);
            mq5_client_dispatch(&rig.client, 0, &packet);
            check_cell((enum mq5_client_state)from, type, expected_cells[from][type]);
        }
    }
}

/* The same from the wire: packets of the wrong direction are already the codec's to refuse. */
static void test_every_packet_from_the_wire(void **state)
{
    for (int from = 0; from < CLIENT_STATES; from++) {
        for (uint8_t type = MQ5_CONNECT; type < CLIENT_PACKET_TYPES; type++) {
            go_to((enum mq5_client_state)from, type);
            struct mq5_packet packet = sample(type);
            peer_send(&rig, &packet);
            check_cell((enum mq5_client_state)from, type, expected_cells[from][type]);
        }
    }
}

static void test_every_edge(void **state)
{
    static const char *const expected[CLIENT_STATES] = {"01000", "10111", "10111", "10001", "10000"};
    for (int from = 0; from < CLIENT_STATES; from++)
        for (int to = 0; to < CLIENT_STATES; to++)
            assert_int_equal(mq5_client_edges[from][to], expected[from][to] == '1');
}

/* An application that answers everything, so that the log depends on the server's bytes alone. */
static void lively(struct rig *r, const struct mq5_client_event *event)
{
    struct mq5_subscription list[2] = {{.filter = SPAN_LITERAL("a/#"), .qos = 2}, {.filter = SPAN_LITERAL("b")}};
    switch (event->kind) {
    case MQ5C_EV_CONNACK:
        mq5_client_subscribe(&r->client, 0, 40, list, 2, 0);
        for (uint32_t token = 0; token < 4; token++)
            mq5_client_publish(&r->client, 0, token, 0);
        break;
    case MQ5C_EV_AUTH:
        mq5_client_auth(&r->client, 0, MQ5_CONTINUE_AUTHENTICATION, SPAN_LITERAL("M"), SPAN_LITERAL("y"));
        break;
    case MQ5C_EV_MESSAGE: mq5_client_publish(&r->client, 0, 4 + (r->log_length & 1), 0); break;
    case MQ5C_EV_SUBSCRIBED: mq5_client_unsubscribe(&r->client, 0, 41, list, 1); break;
    default: break;
    }
}

static size_t append(uint8_t *bytes, size_t length, struct mq5_packet packet)
{
    return length + peer_encode(&rig, &packet, bytes + length, 4096 - length);
}

static struct mq5_packet ack(enum mq5_type type, uint16_t packet_id)
{
    struct mq5_packet packet = {.type = (uint8_t)type};
    packet.ack.packet_id = packet_id;
    return packet;
}

static struct mq5_packet aliased(uint8_t qos, uint16_t packet_id, const char *topic)
{
    struct mq5_packet packet = peer_message(qos, packet_id, topic, "payload");
    packet.publish.properties.present = MQ5_BIT(MQ5_TOPIC_ALIAS);
    packet.publish.properties.topic_alias = 2;
    return packet;
}

static struct mq5_packet answer(enum mq5_type type, uint16_t packet_id, struct span reasons)
{
    struct mq5_packet packet = {.type = (uint8_t)type};
    packet.suback.packet_id = packet_id;
    packet.suback.reasons = reasons;
    return packet;
}

/* A whole connection as the server sees it; `ending` decides how it ends. */
static size_t server_bytes(uint8_t *bytes, int ending)
{
    size_t length = 0;
    length = append(bytes, length, sample(MQ5_AUTH));
    length = append(bytes, length, sample(MQ5_CONNACK));
    length = append(bytes, length, ack(MQ5_PUBREC, 3));
    length = append(bytes, length, aliased(0, 0, "a/long/topic"));
    length = append(bytes, length, answer(MQ5_SUBACK, 1, span_of("\2\0", 2)));
    length = append(bytes, length, ack(MQ5_PUBACK, 2));
    length = append(bytes, length, aliased(1, 9, ""));
    length = append(bytes, length, aliased(2, 10, ""));
    length = append(bytes, length, ack(MQ5_PUBCOMP, 3));
    length = append(bytes, length, answer(MQ5_UNSUBACK, 6, span_of("\0", 1)));
    length = append(bytes, length, aliased(2, 10, ""));
    length = append(bytes, length, ack(MQ5_PUBREL, 10));
    if (ending == 0)
        length = append(bytes, length, sample(MQ5_DISCONNECT));
    if (ending == 1)
        length = append(bytes, length, aliased(3, 1, "qos three"));
    if (ending == 2)
        length = append(bytes, length, sample(MQ5_CONNACK));
    if (ending == 3)
        length = append(
            bytes, length,
            peer_message(0, 0, "t", "a payload that is longer than what we said we would take in a single packet"));
    return append(bytes, length, peer_message(0, 0, "after", "the end"));
}

static void start_split(void)
{
    rig_defaults(&rig, MQ5_V5);
    rig.config.maximum_packet_size = 64;
    rig.connect.authentication_method = SPAN_LITERAL("M");
    rig.messages[1].qos = 2;
    rig.messages[3].qos = 0;
    rig.on_event = lively;
    rig_init_sized(&rig, true, 64, 64);
    rig_connect(&rig);
}

static void test_every_split(void **state)
{
    static char whole[sizeof(rig.log)];
    for (int ending = 0; ending < 4; ending++) {
        uint8_t bytes[4096];
        start_split();
        size_t length = server_bytes(bytes, ending);
        rig_bytes(&rig, bytes, length);
        memcpy(whole, rig.log, sizeof(whole));
        assert_int_equal(rig.client.state, MQ5C_CLOSED);
        assert_null(strstr(whole, "after"));
        for (size_t first = 0; first <= length; first++) {
            for (size_t second = first; second <= length; second += 1 + (second - first) / 3) {
                start_split();
                rig_bytes(&rig, bytes, first);
                rig_bytes(&rig, bytes + first, second - first);
                rig_bytes(&rig, bytes + second, length - second);
                assert_string_equal(rig.log, whole);
            }
        }
        for (size_t chunk = 1; chunk < 80; chunk++) {
            start_split();
            for (size_t at = 0; at < length; at += chunk)
                rig_bytes(&rig, bytes + at, length - at < chunk ? length - at : chunk);
            assert_string_equal(rig.log, whole);
        }
    }
    assert_non_null(strstr(whole, "> DISCONNECT 95\n"));
}

/* Half a packet of a link that died is no part of the next link's first packet. */
static void test_half_a_packet_dies_with_its_link(void **state)
{
    rig_defaults(&rig, MQ5_V5);
    rig_online(&rig);
    rig_bytes(&rig, "\x30\x20\x00\x05xyz", 7);
    rig_down(&rig);
    rig_link(&rig, true);
    assert_true(mq5_client_online(&rig.client));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_cell),
        cmocka_unit_test(test_every_packet_from_the_wire),
        cmocka_unit_test(test_every_edge),
        cmocka_unit_test(test_every_split),
        cmocka_unit_test(test_half_a_packet_dies_with_its_link),
    };
    return rig_both(tests);
}
