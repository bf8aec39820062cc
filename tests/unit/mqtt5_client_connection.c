/* The life of a connection: CONNECT and its answer, limits, authentication, keep alive, ends. */
#include "mqtt5_client_rig.h"

static struct rig rig;

static void test_size(void **state)
{
    assert_int_equal(sizeof(struct mq5_client), 96);
    assert_int_equal(sizeof(struct mq5_inflight), 8);
    struct mq5_client_config config = {.outgoing_maximum = 16, .receive_maximum = 10};
    assert_int_equal(mq5_client_memory(&config), 128);
    config.qos2_in = true;
    config.alias_bytes = 100;
    config.stream_bytes = 50;
    assert_int_equal(mq5_client_memory(&config), 128 + 8 + 40 + 150);
    config.receive_maximum = config.alias_bytes = config.stream_bytes = 0;
    assert_int_equal(mq5_client_memory(&config), 128 + 8 + 128);
    config.qos2_in = false;
    config.outgoing_maximum = 1;
    assert_int_equal(mq5_client_memory(&config), 0);
}

static void test_connect_says_everything(void **state)
{
    struct mq5_user_property user = {SPAN_LITERAL("k"), SPAN_LITERAL("v")};
    struct mq5_publish will = {.qos = 1, .retain = true, .topic = SPAN_LITERAL("w"), .payload = SPAN_LITERAL("gone")};
    will.properties.present = MQ5_BIT(MQ5_WILL_DELAY_INTERVAL) | MQ5_BIT(MQ5_MESSAGE_EXPIRY_INTERVAL);
    will.properties.will_delay_s = 30;
    will.properties.message_expiry_s = 90;
    rig_defaults(&rig, MQ5_V5);
    rig.config.maximum_packet_size = 2000;
    rig_init(&rig);
    rig.connect = (struct mq5_client_connect){.clean_start = true,
                                              .keep_alive_s = 7,
                                              .session_expiry_s = 11,
                                              .client_id = SPAN_LITERAL("car"),
                                              .user_name = SPAN_LITERAL("u"),
                                              .password = SPAN_LITERAL("secret"),
                                              .will = &will,
                                              .authentication_method = SPAN_LITERAL("M"),
                                              .authentication_data = SPAN_LITERAL("D"),
                                              .user = &user,
                                              .user_count = 1,
                                              .request_response_information = true};
    rig_connect(&rig);
    rig_check(
        &rig,
        "> CONNECT clean=1 keep=7 id=car user=u password=secret expiry=11 receive=3 size=2000 aliases=4 problem=0 "
        "response=1 method=M data=D k:v will q1 retain w=gone message_expiry=90 delay=30\n");
    assert_int_equal(mq5_client_keep_alive(&rig.client), 7);
    assert_int_equal(rig.client.state, MQ5C_CONNECTING);
}

static void test_connect_says_little(void **state)
{
    rig_defaults(&rig, MQ5_V5);
    rig.config.receive_maximum = UINT16_MAX;
    rig.connect = (struct mq5_client_connect){.request_problem_information = true};
    rig_init_sized(&rig, false, 0, 0);
    rig_connect(&rig);
    rig_check(&rig, "> CONNECT clean=0 keep=0 id=\n");
    struct mq5_packet packet = peer_connack(false, MQ5_SUCCESS);
    packet.connack.properties.present = MQ5_BIT(MQ5_ASSIGNED_CLIENT_IDENTIFIER);
    packet.connack.properties.assigned_client_id = SPAN_LITERAL("auto-1");
    peer_send(&rig, &packet);
    rig_check(&rig, "! CONNACK session=0 assigned=auto-1\n");
    assert_true(mq5_client_next_deadline(&rig.client) == TIME_NEVER); /* keep alive 0: no pings */
}

static void test_connect_311(void **state)
{
    struct mq5_publish will = {.qos = 2, .topic = SPAN_LITERAL("w"), .payload = SPAN_LITERAL("gone")};
    will.properties.present = MQ5_BIT(MQ5_WILL_DELAY_INTERVAL);
    rig_defaults(&rig, MQ5_V311);
    rig.connect.will = &will;
    rig.connect.authentication_method = SPAN_LITERAL("M");
    rig_init(&rig);
    rig_link(&rig, false);
    rig_check(&rig, "> CONNECT clean=0 keep=60 id=car will q2 w=gone\n! CONNACK session=0\n");
    assert_int_equal(mq5_client_session_expiry(&rig.client), MQ5_SESSION_NEVER_EXPIRES);
    mq5_client_disconnect(&rig.client, 0, MQ5_DISCONNECT_WITH_WILL, 0);
    rig_check(&rig, "> DISCONNECT 00\n");
    rig_down(&rig);
    rig.connect.clean_start = true;
    rig_link(&rig, false);
    assert_int_equal(mq5_client_session_expiry(&rig.client), 0);
}

static void test_connect_that_cannot_be_sent(void **state)
{
    rig_defaults(&rig, MQ5_V5);
    rig_init(&rig);
    rig.connect.client_id = span_of("a\0b", 3);
    assert_int_equal(mq5_client_connect(&rig.client, 0, &rig.connect), MQ5_ILLEGAL);
    assert_int_equal(rig.client.state, MQ5C_IDLE);
    static uint8_t big[5000];
    memset(big, 'a', sizeof(big));
    rig.connect.client_id = span_of(big, sizeof(big));
    assert_int_equal(mq5_client_connect(&rig.client, 0, &rig.connect), MQ5_NO_SPACE);
    rig.config.scratch = NULL; /* 1 KiB of stack instead */
    rig.connect.client_id = span_of(big, 1025);
    assert_int_equal(mq5_client_connect(&rig.client, 0, &rig.connect), MQ5_NO_SPACE);
    rig.connect.client_id = span_of(big, 900);
    assert_int_equal(mq5_client_connect(&rig.client, 0, &rig.connect), MQ5_OK);
}

static void test_refused(void **state)
{
    static const uint8_t reasons[] = {0x80, 0x85, 0x87, 0x88, 0x89, 0x9C, 0x9F};
    for (uint32_t i = 0; i < sizeof(reasons); i++) {
        char expected[64];
        rig_defaults(&rig, MQ5_V5);
        rig_init(&rig);
        rig_connect(&rig);
        rig_forget(&rig);
        struct mq5_packet packet = peer_connack(false, reasons[i]);
        peer_send(&rig, &packet);
        snprintf(expected, sizeof(expected), "! REFUSED %02x told\n", reasons[i]);
        rig_check(&rig, expected);
        assert_int_equal(rig.client.state, MQ5C_CLOSED);
        assert_int_equal(mq5_client_publish(&rig.client, 0, 0, 0), MQ5C_OFFLINE);
        rig_down(&rig);
        assert_int_equal(rig.client.state, MQ5C_IDLE);
    }
    rig_defaults(&rig, MQ5_V311);
    rig_init(&rig);
    rig_connect(&rig);
    rig_forget(&rig);
    rig_bytes(&rig, "\x20\x02\x00\x05", 4);
    rig_check(&rig, "! REFUSED 05 told\n");
}

static void test_no_connack_in_time(void **state)
{
    rig_defaults(&rig, MQ5_V5);
    rig_init(&rig);
    rig.now_us = 1000;
    rig_connect(&rig);
    rig_forget(&rig);
    assert_int_equal(mq5_client_next_deadline(&rig.client), 1000 + 30 * US_PER_S);
    mq5_client_tick(&rig.client, 999 + 30 * US_PER_S);
    assert_int_equal(rig.client.state, MQ5C_CONNECTING);
    mq5_client_tick(&rig.client, 1000 + 30 * US_PER_S);
    rig_check(&rig, "! REFUSED 8d\n");
    assert_int_equal(rig.client.state, MQ5C_CLOSED);
    assert_true(mq5_client_next_deadline(&rig.client) == TIME_NEVER);
    rig_down(&rig);
    rig.config.connack_timeout_us = 5000;
    rig_connect(&rig);
    assert_int_equal(mq5_client_next_deadline(&rig.client), 6000);
}

/* The server's values stand in place of ours; what it does not say has the protocol's default again on the next link. */
static void test_limits_of_the_server(void **state)
{
    rig_defaults(&rig, MQ5_V5);
    rig_init(&rig);
    rig_connect(&rig);
    struct mq5_packet packet = peer_connack(false, MQ5_SUCCESS);
    struct mq5_properties *p = &packet.connack.properties;
    p->present = MQ5_BIT(MQ5_SERVER_KEEP_ALIVE) | MQ5_BIT(MQ5_SESSION_EXPIRY_INTERVAL) | MQ5_BIT(MQ5_MAXIMUM_QOS) |
                 MQ5_BIT(MQ5_RETAIN_AVAILABLE) | MQ5_BIT(MQ5_MAXIMUM_PACKET_SIZE) |
                 MQ5_BIT(MQ5_WILDCARD_SUBSCRIPTION_AVAILABLE) | MQ5_BIT(MQ5_SHARED_SUBSCRIPTION_AVAILABLE) |
                 MQ5_BIT(MQ5_SUBSCRIPTION_IDENTIFIER_AVAILABLE);
    p->server_keep_alive_s = 5;
    p->session_expiry_s = 10;
    p->maximum_qos = 1;
    p->maximum_packet_size = 20;
    peer_send(&rig, &packet);
    rig_forget(&rig);
    assert_int_equal(mq5_client_keep_alive(&rig.client), 5);
    assert_int_equal(mq5_client_session_expiry(&rig.client), 10);
    assert_int_equal(mq5_client_next_deadline(&rig.client), 5 * US_PER_S);
    assert_int_equal(rig_publish(&rig, 0, 2), MQ5C_NOT_WITH_PEER);
    rig.messages[1].retain = true;
    assert_int_equal(rig_publish(&rig, 1, 0), MQ5C_NOT_WITH_PEER);
    rig.messages[2].payload = SPAN_LITERAL("ABCDEFGHIJKLM");
    assert_int_equal(rig_publish(&rig, 2, 1), MQ5C_NOT_WITH_PEER); /* 21 bytes */
    rig.messages[2].payload = SPAN_LITERAL("ABCDEFGHIJKL");
    struct mq5_subscription list[2] = {{.filter = SPAN_LITERAL("plain"), .qos = 1}, {.filter = SPAN_LITERAL("a/+/b")}};
    assert_int_equal(mq5_client_subscribe(&rig.client, 0, 5, list, 2, 0), MQ5C_NOT_WITH_PEER);
    list[1].filter = SPAN_LITERAL("a/#");
    assert_int_equal(mq5_client_subscribe(&rig.client, 0, 5, list, 2, 0), MQ5C_NOT_WITH_PEER);
    list[1].filter = SPAN_LITERAL("$share/g/x");
    assert_int_equal(mq5_client_subscribe(&rig.client, 0, 5, list, 2, 0), MQ5C_NOT_WITH_PEER);
    assert_int_equal(mq5_client_subscribe(&rig.client, 0, 5, list, 1, 9), MQ5C_NOT_WITH_PEER);
    list[0].filter = SPAN_LITERAL("much-longer-than-20-bytes");
    assert_int_equal(mq5_client_subscribe(&rig.client, 0, 5, list, 1, 0), MQ5C_NOT_WITH_PEER);
    assert_int_equal(mq5_client_unsubscribe(&rig.client, 0, 5, list, 1), MQ5C_NOT_WITH_PEER);
    rig_check(&rig, "");
    assert_int_equal(rig_publish(&rig, 2, 1), MQ5C_DONE); /* 20 bytes; no id was used up by what was not sent */
    rig_check(&rig, "> PUBLISH q1 #1 t=ABCDEFGHIJKL\n");

    rig_down(&rig);
    rig_link(&rig, true);
    rig_forget(&rig);
    assert_int_equal(mq5_client_keep_alive(&rig.client), 60);
    assert_int_equal(mq5_client_session_expiry(&rig.client), 3600);
    assert_int_equal(rig_publish(&rig, 1, 2), MQ5C_DONE);
    list[0] = (struct mq5_subscription){.filter = SPAN_LITERAL("$share/g/a/#"), .qos = 1};
    assert_int_equal(mq5_client_subscribe(&rig.client, 0, 5, list, 1, 9), MQ5C_DONE);
    rig_check(&rig, "> PUBLISH q2 #2 retain t=p\n> SUBSCRIBE #3 $share/g/a/# subscription=9\n");
}

static void test_smaller_than_an_answer(void **state)
{
    rig_defaults(&rig, MQ5_V5);
    rig_init(&rig);
    rig_connect(&rig);
    struct mq5_packet packet = peer_connack(false, MQ5_SUCCESS);
    packet.connack.properties.present = MQ5_BIT(MQ5_MAXIMUM_PACKET_SIZE);
    packet.connack.properties.maximum_packet_size = 3;
    peer_send(&rig, &packet);
    rig_forget(&rig);
    peer_publish(&rig, 1, 7, "a", "b");
    rig_check(&rig, "! MESSAGE q1 #7 a=b\n> DISCONNECT 95\n! DISCONNECTED 95\n");
}

static void test_session_present_without_session(void **state)
{
    rig_defaults(&rig, MQ5_V5);
    rig_init(&rig);
    rig_link(&rig, true);
    rig_check(&rig,
              "> CONNECT clean=0 keep=60 id=car expiry=3600 receive=3 aliases=4\n> DISCONNECT 82\n! DISCONNECTED 82\n");

    rig_init(&rig); /* storage knows of one */
    rig.connect.session_kept = true;
    rig_link(&rig, true);
    assert_true(mq5_client_online(&rig.client));
    rig_down(&rig);
    rig.connect.clean_start = true; /* cleaned, and still there */
    rig_link(&rig, true);
    assert_int_equal(rig.client.state, MQ5C_CLOSED);
    rig_down(&rig);

    rig_defaults(&rig, MQ5_V311);
    rig_init(&rig);
    rig_link(&rig, true); /* 3.1.1 leaves it to us */
    assert_true(mq5_client_online(&rig.client));
    rig_down(&rig);
    rig.connect.clean_start = true;
    rig_forget(&rig);
    rig_link(&rig, true);
    rig_check(&rig, "> CONNECT clean=1 keep=60 id=car\n! DISCONNECTED 82\n");
}

/* What the last connection left decides whether Session Present may come. */
static void test_session_known(void **state)
{
    rig_defaults(&rig, MQ5_V5);
    rig_init(&rig);
    rig_connect(&rig); /* not answered: the server may have made a session */
    rig_down(&rig);
    rig_link(&rig, true);
    assert_true(mq5_client_online(&rig.client));
    mq5_client_disconnect(&rig.client, 0, 0, 0); /* ends the session */
    rig_down(&rig);
    rig_link(&rig, true);
    assert_int_equal(rig.client.state, MQ5C_CLOSED);
    rig_down(&rig);
    rig_link(&rig, false);
    rig_down(&rig);
    rig.connect.session_expiry_s = 0;
    rig_connect(&rig); /* refused: changes nothing */
    struct mq5_packet packet = peer_connack(false, MQ5_SERVER_BUSY);
    peer_send(&rig, &packet);
    rig_down(&rig);
    rig_link(&rig, true);
    assert_true(mq5_client_online(&rig.client));
    rig_down(&rig); /* with expiry 0: gone */
    rig_link(&rig, true);
    assert_int_equal(rig.client.state, MQ5C_CLOSED);
    rig_down(&rig);
    rig_connect(&rig); /* expiry 0, not answered: nothing is left of it */
    rig_down(&rig);
    rig_down(&rig); /* twice does no harm */
    rig_link(&rig, true);
    assert_int_equal(rig.client.state, MQ5C_CLOSED);
}

static void test_disconnect(void **state)
{
    rig_defaults(&rig, MQ5_V5);
    rig_online(&rig);
    mq5_client_disconnect(&rig.client, 0, MQ5_DISCONNECT_WITH_WILL, 3600);
    rig_check(&rig, "> DISCONNECT 04\n");
    mq5_client_disconnect(&rig.client, 0, 0, 3600); /* once */
    peer_publish(&rig, 1, 1, "a", "b");             /* deaf */
    rig_check(&rig, "");
    assert_int_equal(rig.client.state, MQ5C_CLOSED);

    rig_online(&rig);
    mq5_client_disconnect(&rig.client, 0, 0, 99);
    rig_check(&rig, "> DISCONNECT 00 expiry=99\n");
    assert_int_equal(mq5_client_session_expiry(&rig.client), 99);

    rig.connect.session_expiry_s = 0; /* zero cannot be raised */
    rig_online(&rig);
    mq5_client_disconnect(&rig.client, 0, 0, 99);
    rig_check(&rig, "> DISCONNECT 00\n");
    rig.connect.session_expiry_s = 3600;

    rig_init(&rig); /* before CONNACK */
    rig_connect(&rig);
    rig_forget(&rig);
    mq5_client_disconnect(&rig.client, 0, 0, 3600);
    rig_check(&rig, "> DISCONNECT 00\n");

    rig_online(&rig); /* a reason a client may not give */
    mq5_client_disconnect(&rig.client, 0, MQ5_SERVER_BUSY, 3600);
    rig_check(&rig, "> DISCONNECT 80\n");
    assert_int_equal(rig.client.state, MQ5C_CLOSED);
}

static void test_server_disconnects(void **state)
{
    static const uint8_t reasons[] = {0x00, 0x81, 0x8B, 0x8D, 0x8E, 0x93, 0x98, 0x9C, 0xA0};
    for (uint32_t i = 0; i < sizeof(reasons); i++) {
        char expected[64];
        rig_defaults(&rig, MQ5_V5);
        rig_online(&rig);
        peer_simple(&rig, MQ5_DISCONNECT, reasons[i]);
        snprintf(expected, sizeof(expected), "! DISCONNECTED %02x told\n", reasons[i]);
        rig_check(&rig, expected);
        assert_int_equal(rig.client.state, MQ5C_CLOSED);
        mq5_client_link_down(&rig.client, 0);
    }
    rig_online(&rig);
    struct mq5_packet packet = {.type = MQ5_DISCONNECT};
    packet.disconnect.properties.present = MQ5_BIT(MQ5_SESSION_EXPIRY_INTERVAL);
    packet.disconnect.properties.session_expiry_s = 1;
    peer_send(&rig, &packet);
    rig_check(&rig, "> DISCONNECT 82\n! DISCONNECTED 82\n");
    rig_defaults(&rig, MQ5_V311);
    rig_online(&rig);
    rig_bytes(&rig, "\xe0\x00", 2);
    assert_int_equal(rig.client.state, MQ5C_CLOSED); /* 3.1.1 servers do not say it */
}

static void test_ping(void **state)
{
    rig_defaults(&rig, MQ5_V5);
    rig.connect.keep_alive_s = 40;
    rig_online(&rig);
    mq5_client_tick(&rig.client, 40 * US_PER_S - 1);
    rig_check(&rig, "");
    mq5_client_tick(&rig.client, 40 * US_PER_S);
    rig_check(&rig, "> PINGREQ\n");
    assert_int_equal(mq5_client_next_deadline(&rig.client), 70 * US_PER_S);
    mq5_client_tick(&rig.client, 69 * US_PER_S);
    rig_check(&rig, "");
    rig.now_us = 69 * US_PER_S;
    peer_simple(&rig, MQ5_PINGRESP, 0);
    /* sent at 40, heard at 69: the next one is due 40 s after the older of the two */
    assert_int_equal(mq5_client_next_deadline(&rig.client), 80 * US_PER_S);
    rig.now_us = 75 * US_PER_S;
    rig_publish(&rig, 0, 0);
    assert_int_equal(mq5_client_next_deadline(&rig.client), 109 * US_PER_S); /* nothing heard since 69 */
    rig.now_us = 100 * US_PER_S;
    peer_publish(&rig, 0, 0, "a", "b");
    assert_int_equal(mq5_client_next_deadline(&rig.client), 115 * US_PER_S); /* nothing sent since 75 */
    rig_forget(&rig);
    mq5_client_tick(&rig.client, 115 * US_PER_S);
    rig.now_us = 120 * US_PER_S;
    peer_publish(&rig, 0, 0, "a", "b"); /* noise is no PINGRESP */
    mq5_client_tick(&rig.client, 145 * US_PER_S);
    rig_check(&rig, "> PINGREQ\n! MESSAGE q0 a=b\n! DISCONNECTED 8d\n");
    assert_int_equal(rig.client.state, MQ5C_CLOSED);
    assert_true(mq5_client_next_deadline(&rig.client) == TIME_NEVER);
}

static void test_ping_timeout_within_keep_alive(void **state)
{
    rig_defaults(&rig, MQ5_V5);
    rig.connect.keep_alive_s = 10;
    rig_online(&rig);
    mq5_client_tick(&rig.client, 10 * US_PER_S);
    assert_int_equal(mq5_client_next_deadline(&rig.client), 20 * US_PER_S);
    rig.config.ping_timeout_us = 3000;
    rig_online(&rig);
    mq5_client_tick(&rig.client, 10 * US_PER_S);
    assert_int_equal(mq5_client_next_deadline(&rig.client), 10 * US_PER_S + 3000);
    rig.connect.keep_alive_s = 0;
    rig_online(&rig);
    assert_true(mq5_client_next_deadline(&rig.client) == TIME_NEVER);
    mq5_client_tick(&rig.client, US_PER_DAY);
    peer_simple(&rig, MQ5_PINGRESP, 0); /* nobody asked: no harm */
    rig_check(&rig, "");
    assert_true(mq5_client_online(&rig.client));
}

static struct mq5_packet peer_auth(enum mq5_type type, uint8_t reason, const char *method)
{
    struct mq5_packet packet = {.type = (uint8_t)type};
    struct mq5_properties *p = type == MQ5_CONNACK ? &packet.connack.properties : &packet.auth.properties;
    if (type == MQ5_AUTH)
        packet.auth.reason = reason;
    if (method) {
        p->present = MQ5_BIT(MQ5_AUTHENTICATION_METHOD) | MQ5_BIT(MQ5_AUTHENTICATION_DATA);
        p->authentication_method = span_text(method);
        p->authentication_data = SPAN_LITERAL("d");
    }
    return packet;
}

static void start_auth(void)
{
    rig_defaults(&rig, MQ5_V5);
    rig.connect.authentication_method = SPAN_LITERAL("SCRAM");
    rig_init(&rig);
    rig_connect(&rig);
    rig_forget(&rig);
}

static const struct span scram = {(const uint8_t *)"SCRAM", 5};

static void test_extended_authentication(void **state)
{
    start_auth();
    assert_int_equal(mq5_client_auth(&rig.client, 0, 0x18, scram, scram), MQ5C_OFFLINE);
    struct mq5_packet packet = peer_auth(MQ5_AUTH, 0x18, "SCRAM");
    rig.now_us = 20 * US_PER_S;
    peer_send(&rig, &packet);
    assert_int_equal(rig.client.state, MQ5C_AUTH);
    assert_int_equal(mq5_client_next_deadline(&rig.client), 50 * US_PER_S);
    assert_int_equal(mq5_client_publish(&rig.client, 0, 0, 0), MQ5C_OFFLINE);
    assert_int_equal(mq5_client_auth(&rig.client, 0, 0x19, scram, scram), MQ5C_BAD);
    assert_int_equal(mq5_client_auth(&rig.client, 0, 0x18, SPAN_LITERAL("OTHER"), scram), MQ5C_BAD);
    assert_int_equal(mq5_client_auth(&rig.client, 0, 0x18, scram, SPAN_LITERAL("proof")), MQ5C_DONE);
    peer_send(&rig, &packet);
    assert_int_equal(mq5_client_auth(&rig.client, 0, 0x18, scram, (struct span){NULL, 0}), MQ5C_DONE);
    packet = peer_auth(MQ5_CONNACK, 0, "SCRAM");
    peer_send(&rig, &packet);
    rig_check(&rig, "! AUTH 18 method=SCRAM data=d\n> AUTH 18 method=SCRAM data=proof\n! AUTH 18 method=SCRAM data=d\n"
                    "> AUTH 18 method=SCRAM\n! CONNACK session=0 method=SCRAM data=d\n");
    /* again, while online */
    assert_int_equal(mq5_client_auth(&rig.client, 0, 0x18, scram, scram), MQ5C_BAD);
    assert_int_equal(mq5_client_auth(&rig.client, 0, 0x19, scram, scram), MQ5C_DONE);
    assert_int_equal(mq5_client_auth(&rig.client, 0, 0x19, scram, scram), MQ5C_BAD);
    packet = peer_auth(MQ5_AUTH, 0x18, "SCRAM");
    peer_send(&rig, &packet);
    assert_int_equal(mq5_client_auth(&rig.client, 0, 0x18, scram, scram), MQ5C_DONE);
    packet = peer_auth(MQ5_AUTH, 0x00, "SCRAM");
    peer_send(&rig, &packet);
    rig_check(&rig,
              "> AUTH 19 method=SCRAM data=SCRAM\n! AUTH 18 method=SCRAM data=d\n> AUTH 18 method=SCRAM data=SCRAM\n"
              "! AUTH 00 method=SCRAM data=d\n");
    peer_send(&rig, &packet); /* the server cannot begin one */
    rig_check(&rig, "> DISCONNECT 82\n! DISCONNECTED 82\n");
}

static void test_authentication_gone_wrong(void **state)
{
    struct mq5_packet wrong[] = {peer_auth(MQ5_AUTH, 0x18, "OTHER"), peer_auth(MQ5_AUTH, 0x00, "SCRAM"),
                                 peer_auth(MQ5_CONNACK, 0, NULL), peer_auth(MQ5_CONNACK, 0, "OTHER")};
    for (uint32_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        start_auth();
        peer_send(&rig, &wrong[i]);
        rig_check(&rig, "> DISCONNECT 82\n! DISCONNECTED 82\n");
    }
    start_auth(); /* silence in the middle */
    struct mq5_packet packet = peer_auth(MQ5_AUTH, 0x18, "SCRAM");
    peer_send(&rig, &packet);
    rig_forget(&rig);
    mq5_client_tick(&rig.client, 30 * US_PER_S);
    rig_check(&rig, "! REFUSED 8d\n");
    rig_defaults(&rig, MQ5_V5); /* never named a method */
    rig_online(&rig);
    assert_int_equal(mq5_client_auth(&rig.client, 0, 0x19, scram, scram), MQ5C_BAD);
    peer_send(&rig, &packet);
    rig_check(&rig, "> DISCONNECT 82\n! DISCONNECTED 82\n");
    rig_init(&rig);
    rig_connect(&rig);
    rig_forget(&rig);
    peer_send(&rig, &packet);
    rig_check(&rig, "> DISCONNECT 82\n! DISCONNECTED 82\n");
}

static void test_malformed_input(void **state)
{
    rig_defaults(&rig, MQ5_V5);
    rig_online(&rig);
    rig_bytes(&rig, "\x30\xff\xff\xff\xff\x01", 6);
    rig_check(&rig, "> DISCONNECT 81\n! DISCONNECTED 81\n");
    rig_online(&rig);
    rig_bytes(&rig, "\xd0\x01\x00", 3); /* PINGRESP with a body */
    rig_check(&rig, "> DISCONNECT 81\n! DISCONNECTED 81\n");
    rig_online(&rig);
    rig_bytes(&rig, "\x36\x05\x00\x01t\x00\x01", 7); /* QoS 3 */
    rig_check(&rig, "> DISCONNECT 81\n! DISCONNECTED 81\n");
    rig_defaults(&rig, MQ5_V311);
    rig_online(&rig);
    rig_bytes(&rig, "\x36\x05\x00\x01t\x00\x01", 7);
    rig_check(&rig, "! DISCONNECTED 81\n");
    assert_int_equal(rig.client.state, MQ5C_CLOSED);
}

static void test_too_large_for_us(void **state)
{
    rig_defaults(&rig, MQ5_V5);
    rig.config.maximum_packet_size = 10;
    rig_online(&rig);
    peer_publish(&rig, 0, 0, "t", "12345"); /* 2 + 3 + 1 + 5 = 11 */
    rig_check(&rig, "> DISCONNECT 95\n! DISCONNECTED 95\n");
    rig_online(&rig);
    peer_publish(&rig, 0, 0, "t", "1234");
    rig_check(&rig, "! MESSAGE q0 t=1234\n");
    /* no limit told, but a cut packet does not fit the gathering buffer */
    rig.config.maximum_packet_size = 0;
    rig_init_sized(&rig, true, 0, 8);
    rig_link(&rig, false);
    rig_forget(&rig);
    peer_publish(&rig, 0, 0, "t", "12345");
    rig_check(&rig, "! MESSAGE q0 t=12345\n");
    rig_bytes(&rig, "\x30\x09\x00\x01", 4);
    rig_check(&rig, "> DISCONNECT 95\n! DISCONNECTED 95\n");
}

static void test_problem_information(void **state)
{
    static const uint8_t types[] = {MQ5_PUBACK, MQ5_PUBREC, MQ5_PUBREL, MQ5_PUBCOMP, MQ5_SUBACK, MQ5_UNSUBACK};
    for (uint32_t i = 0; i < sizeof(types) * 2; i++) {
        rig_defaults(&rig, MQ5_V5);
        rig.connect.request_problem_information = i >= sizeof(types);
        rig_online(&rig);
        struct mq5_packet packet = {.type = types[i % sizeof(types)]};
        bool suback = packet.type >= MQ5_SUBACK;
        struct mq5_properties *p = suback ? &packet.suback.properties : &packet.ack.properties;
        p->present = MQ5_BIT(MQ5_REASON_STRING);
        p->reason_string = SPAN_LITERAL("because");
        if (suback) {
            struct mq5_subscription list = {.filter = SPAN_LITERAL("f")};
            if (packet.type == MQ5_SUBACK)
                mq5_client_subscribe(&rig.client, 0, 1, &list, 1, 0);
            else
                mq5_client_unsubscribe(&rig.client, 0, 1, &list, 1);
            packet.suback.packet_id = 1;
            packet.suback.reasons = span_of("\0", 1);
        } else {
            packet.ack.packet_id = 5;
        }
        peer_send(&rig, &packet);
        assert_int_equal(mq5_client_online(&rig.client), rig.connect.request_problem_information);
    }
}

static void test_swallowed(void **state)
{
    rig_defaults(&rig, MQ5_V5);
    rig_online(&rig);
    rig.swallow = 1u << MQ5_PUBLISH;
    peer_publish(&rig, 1, 3, "a", "b");
    peer_simple(&rig, MQ5_DISCONNECT, 0);
    rig_check(&rig, "! DISCONNECTED 00 told\n");
}

/* Handlers that end, lose or replace the link in the middle of an input. */
static void replace_link(struct rig *r, const struct mq5_client_event *event)
{
    if (event->kind != MQ5C_EV_MESSAGE)
        return;
    rig_down(r);
    rig_connect(r);
}

static void end_link(struct rig *r, const struct mq5_client_event *event)
{
    if (event->kind == MQ5C_EV_MESSAGE)
        mq5_client_disconnect(&r->client, 0, 0, 3600);
}

static void test_link_ends_in_handler(void **state)
{
    static const uint8_t two[] = {0x32, 6, 0, 1, 'a', 0, 1, 0, 0x32, 6, 0, 1, 'a', 0, 2, 0};
    rig_defaults(&rig, MQ5_V5);
    rig_online(&rig);
    rig.on_event = replace_link;
    rig_bytes(&rig, two, sizeof(two));
    rig_check(&rig, "! MESSAGE q1 #1 a=\n> CONNECT clean=0 keep=60 id=car expiry=3600 receive=3 aliases=4\n");
    assert_int_equal(rig.client.state, MQ5C_CONNECTING);
    rig_defaults(&rig, MQ5_V5);
    rig_online(&rig);
    rig.on_event = end_link;
    rig_bytes(&rig, two, sizeof(two));
    rig_check(&rig, "! MESSAGE q1 #1 a=\n> DISCONNECT 00\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_size),
        cmocka_unit_test(test_connect_says_everything),
        cmocka_unit_test(test_connect_says_little),
        cmocka_unit_test(test_connect_311),
        cmocka_unit_test(test_connect_that_cannot_be_sent),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_no_connack_in_time),
        cmocka_unit_test(test_limits_of_the_server),
        cmocka_unit_test(test_smaller_than_an_answer),
        cmocka_unit_test(test_session_present_without_session),
        cmocka_unit_test(test_session_known),
        cmocka_unit_test(test_disconnect),
        cmocka_unit_test(test_server_disconnects),
        cmocka_unit_test(test_ping),
        cmocka_unit_test(test_ping_timeout_within_keep_alive),
        cmocka_unit_test(test_extended_authentication),
        cmocka_unit_test(test_authentication_gone_wrong),
        cmocka_unit_test(test_malformed_input),
        cmocka_unit_test(test_too_large_for_us),
        cmocka_unit_test(test_problem_information),
        cmocka_unit_test(test_swallowed),
        cmocka_unit_test(test_link_ends_in_handler),
    };
    return rig_both(tests);
}
