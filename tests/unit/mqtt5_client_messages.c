/* Messages both ways: QoS, order, resending, flow control, aliases, subscribes, re-entrancy. */
#include "mqtt5_client_rig.h"

static struct rig rig;

static void set_up(enum mq5_version version)
{
    rig_defaults(&rig, version);
    rig_online(&rig);
}

static void link_with(bool session_present, uint64_t present, uint16_t receive_maximum, uint16_t aliases)
{
    struct mq5_packet packet = peer_connack(session_present, MQ5_SUCCESS);
    packet.connack.properties.present = present;
    packet.connack.properties.receive_maximum = receive_maximum;
    packet.connack.properties.topic_alias_maximum = aliases;
    rig_connect(&rig);
    rig_forget(&rig);
    peer_send(&rig, &packet);
}

static void test_publish_each_qos(void **state)
{
    for (int version = MQ5_V311; version <= MQ5_V5; version++) {
        set_up((enum mq5_version)version);
        assert_int_equal(rig_publish(&rig, 0, 0), MQ5C_DONE);
        assert_int_equal(rig_publish(&rig, 1, 1), MQ5C_DONE);
        assert_int_equal(rig_publish(&rig, 2, 2), MQ5C_DONE);
        assert_int_equal(mq5_client_inflight(&rig.client), 2);
        peer_ack(&rig, MQ5_PUBREC, 2, 0);
        peer_ack(&rig, MQ5_PUBACK, 1, 0);
        peer_ack(&rig, MQ5_PUBCOMP, 2, 0);
        rig_check(&rig,
                  "> PUBLISH q0 t=p\n! PUBLISHED t0 00\n> PUBLISH q1 #1 t=p\n> PUBLISH q2 #2 t=p\n> PUBREL #2 00\n"
                  "! PUBLISHED t1 00\n! PUBLISHED t2 00\n");
        assert_int_equal(mq5_client_inflight(&rig.client), 0);
        assert_int_equal(rig.client.quota_used, 0);
    }
}

static void test_message_passes_through(void **state)
{
    set_up(MQ5_V5);
    struct mq5_user_property user = {SPAN_LITERAL("k"), SPAN_LITERAL("v")};
    struct mq5_properties *p = &rig.messages[3].properties;
    p->present = MQ5_BIT(MQ5_MESSAGE_EXPIRY_INTERVAL) | MQ5_BIT(MQ5_USER_PROPERTY) | MQ5_BIT(MQ5_TOPIC_ALIAS);
    p->message_expiry_s = 42;
    p->topic_alias = 9; /* the session's business: not taken over */
    p->user = &user;
    p->user_count = 1;
    rig.messages[3].packet_id = 77;
    rig.messages[3].dup = true;
    rig_publish(&rig, 3, 1);
    rig_check(&rig, "> PUBLISH q1 #1 t=p message_expiry=42 k:v\n");
}

static void test_refused_by_the_server(void **state)
{
    set_up(MQ5_V5);
    rig_publish(&rig, 0, 1);
    rig_publish(&rig, 1, 2);
    rig_publish(&rig, 2, 1);
    peer_ack(&rig, MQ5_PUBACK, 1, MQ5_NOT_AUTHORIZED);
    peer_ack(&rig, MQ5_PUBREC, 2, MQ5_QUOTA_EXCEEDED); /* ends the flow: no PUBREL */
    peer_ack(&rig, MQ5_PUBACK, 3, MQ5_NO_MATCHING_SUBSCRIBERS);
    rig_check(&rig,
              "> PUBLISH q1 #1 t=p\n> PUBLISH q2 #2 t=p\n> PUBLISH q1 #3 t=p\n! PUBLISHED t0 87\n! PUBLISHED t1 97\n"
              "! PUBLISHED t2 10\n");
    rig_down(&rig);
    rig_link(&rig, true); /* and nothing of it comes back */
    rig_check(&rig, "> CONNECT clean=0 keep=60 id=car expiry=3600 receive=3 aliases=4\n! CONNACK session=1\n");
}

static void test_not_publishable(void **state)
{
    rig_defaults(&rig, MQ5_V5);
    rig_init(&rig);
    struct mq5_subscription list = {.filter = SPAN_LITERAL("f")};
    assert_int_equal(rig_publish(&rig, 0, 0), MQ5C_OFFLINE);
    assert_int_equal(mq5_client_subscribe(&rig.client, 0, 0, &list, 1, 0), MQ5C_OFFLINE);
    assert_int_equal(mq5_client_unsubscribe(&rig.client, 0, 0, &list, 1), MQ5C_OFFLINE);
    rig_link(&rig, false);
    rig_forget(&rig);
    rig.gone[0] = true;
    assert_int_equal(rig_publish(&rig, 0, 1), MQ5C_BAD);
    rig.messages[1].topic = SPAN_LITERAL("a/#");
    assert_int_equal(rig_publish(&rig, 1, 1), MQ5C_BAD);
    static uint8_t big[5000];
    rig.messages[2].payload = span_of(big, sizeof(big));
    assert_int_equal(rig_publish(&rig, 2, 1), MQ5C_BAD);
    assert_int_equal(mq5_client_subscribe(&rig.client, 0, 0, NULL, 0, 0), MQ5C_BAD);
    list.filter = SPAN_LITERAL("a/#/b");
    assert_int_equal(mq5_client_subscribe(&rig.client, 0, 0, &list, 1, 0), MQ5C_BAD);
    rig_check(&rig, "");
    assert_int_equal(mq5_client_inflight(&rig.client), 0);
}

static void test_nothing_resent_on_a_live_link(void **state)
{
    set_up(MQ5_V5);
    rig.connect.keep_alive_s = 60;
    rig_publish(&rig, 0, 1);
    rig_publish(&rig, 1, 2);
    rig_forget(&rig);
    for (int i = 0; i < 100; i++) {
        rig.now_us += 30 * US_PER_S;
        mq5_client_tick(&rig.client, rig.now_us);
        peer_simple(&rig, MQ5_PINGRESP, 0);
    }
    for (const char *line = rig.log; *line; line += 10)
        assert_memory_equal(line, "> PINGREQ\n", 10);
    assert_true(rig.log_length > 0);
}

static void test_resume(void **state)
{
    set_up(MQ5_V5);
    for (uint32_t token = 0; token < 6; token++)
        rig_publish(&rig, token, token % 2 ? 2 : 1);
    struct mq5_subscription list = {.filter = SPAN_LITERAL("f")};
    mq5_client_subscribe(&rig.client, 0, 40, &list, 1, 0);
    mq5_client_unsubscribe(&rig.client, 0, 41, &list, 1);
    peer_ack(&rig, MQ5_PUBREC, 6, 0); /* shuffled: PUBRELs follow the PUBRECs, not the PUBLISHes */
    peer_ack(&rig, MQ5_PUBREC, 2, 0);
    peer_ack(&rig, MQ5_PUBACK, 3, 0);
    rig_forget(&rig);
    rig_down(&rig);
    rig_check(&rig, "! DROPPED t40 00\n! DROPPED t41 00\n"); /* subscribes do not outlive their link */
    rig_link(&rig, true);
    rig_check(&rig, "> CONNECT clean=0 keep=60 id=car expiry=3600 receive=3 aliases=4\n> PUBREL #6 00\n> PUBREL #2 00\n"
                    "> PUBLISH q1 #1 dup t=p\n> PUBLISH q2 #4 dup t=p\n> PUBLISH q1 #5 dup t=p\n! CONNACK session=1\n");
    peer_ack(&rig, MQ5_PUBCOMP, 6, 0);
    peer_ack(&rig, MQ5_PUBREC, 4, 0);
    rig_check(&rig, "! PUBLISHED t5 00\n> PUBREL #4 00\n");
    rig_down(&rig);
    rig_link(&rig, true);
    rig_check(&rig, "> CONNECT clean=0 keep=60 id=car expiry=3600 receive=3 aliases=4\n> PUBREL #2 00\n> PUBREL #4 00\n"
                    "> PUBLISH q1 #1 dup t=p\n> PUBLISH q1 #5 dup t=p\n! CONNACK session=1\n");
    peer_ack(&rig, MQ5_PUBCOMP, 2, 0);
    peer_ack(&rig, MQ5_PUBCOMP, 4, MQ5_PACKET_ID_NOT_FOUND);
    peer_ack(&rig, MQ5_PUBACK, 1, 0);
    peer_ack(&rig, MQ5_PUBACK, 5, 0);
    rig_check(&rig, "! PUBLISHED t1 00\n! PUBLISHED t3 92\n! PUBLISHED t0 00\n! PUBLISHED t4 00\n");
    assert_int_equal(mq5_client_inflight(&rig.client), 0);
    assert_int_equal(rig.client.quota_used, 0);
}

/* The new connection allows less than is in flight: the rest follows as acknowledgements come, before anything new. */
static void test_resume_within_the_new_quota(void **state)
{
    set_up(MQ5_V5);
    for (uint32_t token = 0; token < 4; token++)
        rig_publish(&rig, token, 1);
    rig_down(&rig);
    link_with(true, MQ5_BIT(MQ5_RECEIVE_MAXIMUM), 1, 0);
    rig_check(&rig, "> PUBLISH q1 #1 dup t=p\n! CONNACK session=1 receive=1\n");
    assert_int_equal(rig_publish(&rig, 9, 1), MQ5C_WAIT);
    assert_int_equal(rig_publish(&rig, 9, 0), MQ5C_DONE);
    struct mq5_subscription list = {.filter = SPAN_LITERAL("f")};
    assert_int_equal(mq5_client_subscribe(&rig.client, 0, 40, &list, 1, 0), MQ5C_DONE); /* not held up (3.3.4-8) */
    rig_forget(&rig);
    peer_ack(&rig, MQ5_PUBACK, 2, 0); /* not resent yet on this link: not awaited */
    peer_ack(&rig, MQ5_PUBREC, 2, MQ5_QUOTA_EXCEEDED);
    rig_check(&rig, "");
    for (uint16_t id = 1; id <= 4; id++)
        peer_ack(&rig, MQ5_PUBACK, id, 0);
    rig_check(&rig, "> PUBLISH q1 #2 dup t=p\n! PUBLISHED t0 00\n> PUBLISH q1 #3 dup t=p\n! PUBLISHED t1 00\n"
                    "> PUBLISH q1 #4 dup t=p\n! PUBLISHED t2 00\n! PUBLISHED t3 00\n");
    assert_int_equal(rig_publish(&rig, 9, 1), MQ5C_DONE);
    rig_check(&rig, "> PUBLISH q1 #6 t=p\n");
}

static void test_what_cannot_be_resent(void **state)
{
    static uint8_t big[3000];
    set_up(MQ5_V5);
    for (uint32_t token = 0; token < 6; token++)
        rig_publish(&rig, token, token == 1 ? 2 : 1);
    rig_down(&rig);
    rig.gone[0] = true;
    rig.messages[2].retain = true;
    rig.messages[3].payload = span_of(big, sizeof(big));
    rig.messages[4].topic = SPAN_LITERAL("#");
    struct mq5_packet packet = peer_connack(true, MQ5_SUCCESS);
    packet.connack.properties.present =
        MQ5_BIT(MQ5_MAXIMUM_QOS) | MQ5_BIT(MQ5_RETAIN_AVAILABLE) | MQ5_BIT(MQ5_MAXIMUM_PACKET_SIZE);
    packet.connack.properties.maximum_qos = 1;
    packet.connack.properties.maximum_packet_size = 2000;
    rig_connect(&rig);
    rig_forget(&rig);
    peer_send(&rig, &packet);
    rig_check(&rig, "! DROPPED t0 80\n! DROPPED t1 9b\n! DROPPED t2 9a\n! DROPPED t3 95\n! DROPPED t4 80\n"
                    "> PUBLISH q1 #6 dup t=p\n! CONNACK session=1 size=2000\n");
    assert_int_equal(mq5_client_inflight(&rig.client), 1);
    peer_ack(&rig, MQ5_PUBACK, 1, 0); /* a late answer to what was dropped */
    rig_check(&rig, "");
}

static void test_session_lost(void **state)
{
    set_up(MQ5_V5);
    rig_publish(&rig, 0, 1);
    rig_publish(&rig, 1, 2);
    peer_ack(&rig, MQ5_PUBREC, 2, 0);
    peer_publish(&rig, 2, 9, "a", "b");
    rig_down(&rig);
    rig_forget(&rig);
    rig_link(&rig, false);
    rig_check(&rig,
              "> CONNECT clean=0 keep=60 id=car expiry=3600 receive=3 aliases=4\n! SESSION_LOST\n! DROPPED t1 00\n"
              "! DROPPED t0 00\n! CONNACK session=0\n");
    peer_publish(&rig, 2, 9, "a", "b"); /* the id means another message now */
    rig_publish(&rig, 0, 1);
    rig_check(&rig, "! MESSAGE q2 #9 a=b\n> PUBREC #9 00\n> PUBLISH q1 #3 t=p\n");
}

static void publish_again(struct rig *r, const struct mq5_client_event *event)
{
    if (event->kind == MQ5C_EV_DROPPED)
        assert_int_equal(mq5_client_publish(&r->client, r->now_us, event->token, 0), MQ5C_DONE);
}

static void test_publish_anew_from_dropped(void **state)
{
    set_up(MQ5_V5);
    for (uint32_t token = 0; token < 8; token++)
        rig_publish(&rig, token, 1);
    rig_down(&rig);
    rig_forget(&rig);
    rig.on_event = publish_again;
    rig_link(&rig, false);
    assert_int_equal(mq5_client_inflight(&rig.client), 8);
    assert_non_null(strstr(rig.log, "! SESSION_LOST\n! DROPPED t0 00\n> PUBLISH q1 #9 t=p\n! DROPPED t1 00\n"));
    assert_non_null(strstr(rig.log, "> PUBLISH q1 #16 t=p\n! CONNACK session=0\n"));
    assert_null(strstr(rig.log, "dup"));
}

static void publish_while_resuming(struct rig *r, const struct mq5_client_event *event)
{
    if (event->kind == MQ5C_EV_DROPPED)
        assert_int_equal(mq5_client_publish(&r->client, r->now_us, 9, 0), event->token == 2 ? MQ5C_DONE : MQ5C_WAIT);
}

/* What is new stands behind all that is resent, also when the quota has room. */
static void test_new_waits_for_old(void **state)
{
    set_up(MQ5_V5);
    for (uint32_t token = 0; token < 3; token++)
        rig_publish(&rig, token, 1);
    rig_down(&rig);
    rig.gone[0] = rig.gone[2] = true;
    rig.on_event = publish_while_resuming;
    rig_forget(&rig);
    rig_link(&rig, true);
    rig_check(&rig, "> CONNECT clean=0 keep=60 id=car expiry=3600 receive=3 aliases=4\n! DROPPED t0 80\n"
                    "> PUBLISH q1 #2 dup t=p\n! DROPPED t2 80\n> PUBLISH q1 #4 t=p\n! CONNACK session=1\n");
}

static void disconnect_on_lost(struct rig *r, const struct mq5_client_event *event)
{
    if (event->kind == MQ5C_EV_SESSION_LOST || event->kind == MQ5C_EV_DROPPED)
        rig_down(r);
}

static void test_link_lost_while_settling(void **state)
{
    set_up(MQ5_V5);
    rig_publish(&rig, 0, 1);
    rig_publish(&rig, 1, 1);
    rig_down(&rig);
    rig_forget(&rig);
    rig.on_event = disconnect_on_lost;
    rig_link(&rig, false);
    rig_check(&rig, "> CONNECT clean=0 keep=60 id=car expiry=3600 receive=3 aliases=4\n! SESSION_LOST\n");
    assert_int_equal(mq5_client_inflight(&rig.client), 2); /* dropped when a link holds */
    rig.gone[0] = true;
    rig_link(&rig, true); /* the new session may hold them */
    rig_check(&rig, "> CONNECT clean=0 keep=60 id=car expiry=3600 receive=3 aliases=4\n! DROPPED t0 80\n");
    assert_int_equal(mq5_client_inflight(&rig.client), 1);
}

static void test_waits(void **state)
{
    rig_defaults(&rig, MQ5_V5);
    rig_init(&rig);
    link_with(false, MQ5_BIT(MQ5_RECEIVE_MAXIMUM), 2, 0);
    assert_int_equal(rig_publish(&rig, 0, 2), MQ5C_DONE);
    assert_int_equal(rig_publish(&rig, 1, 1), MQ5C_DONE);
    assert_int_equal(rig_publish(&rig, 2, 1), MQ5C_WAIT);
    peer_ack(&rig, MQ5_PUBREC, 1, 0); /* does not free (4.9) */
    assert_int_equal(rig_publish(&rig, 2, 1), MQ5C_WAIT);
    peer_ack(&rig, MQ5_PUBCOMP, 1, 0);
    assert_int_equal(rig_publish(&rig, 2, 2), MQ5C_DONE);
    assert_int_equal(rig_publish(&rig, 3, 1), MQ5C_WAIT);
    peer_ack(&rig, MQ5_PUBREC, 3, MQ5_QUOTA_EXCEEDED); /* frees */
    assert_int_equal(rig_publish(&rig, 3, 1), MQ5C_DONE);
    /* our own bound */
    set_up(MQ5_V311);
    struct mq5_subscription list = {.filter = SPAN_LITERAL("f")};
    for (uint32_t token = 0; token < 8; token++)
        assert_int_equal(rig_publish(&rig, token, 1), MQ5C_DONE);
    assert_int_equal(rig_publish(&rig, 8, 1), MQ5C_WAIT);
    assert_int_equal(mq5_client_subscribe(&rig.client, 0, 9, &list, 1, 0), MQ5C_WAIT);
    assert_int_equal(rig_publish(&rig, 8, 0), MQ5C_DONE);
}

static void test_answers_that_fit_nothing(void **state)
{
    struct mq5_subscription list = {.filter = SPAN_LITERAL("f")};
    for (int version = MQ5_V311; version <= MQ5_V5; version++) {
        set_up((enum mq5_version)version);
        peer_ack(&rig, MQ5_PUBACK, 5, 0);
        peer_ack(&rig, MQ5_PUBCOMP, 5, 0);
        rig_check(&rig, "");
        peer_ack(&rig, MQ5_PUBREC, 5, 0);
        peer_ack(&rig, MQ5_PUBREL, 5, 0);
        rig_check(&rig, version == MQ5_V5 ? "> PUBREL #5 92\n> PUBCOMP #5 92\n" : "> PUBREL #5 00\n> PUBCOMP #5 00\n");
        /* wrong: {what is in flight under id 1, answer} */
        static const uint8_t wrong[][2] = {{1, MQ5_PUBREC},  {1, MQ5_PUBCOMP},  {1, MQ5_SUBACK}, {2, MQ5_PUBACK},
                                           {2, MQ5_PUBCOMP}, {3, MQ5_PUBACK},   {3, MQ5_SUBACK}, {4, MQ5_PUBACK},
                                           {4, MQ5_PUBREC},  {4, MQ5_UNSUBACK}, {5, MQ5_SUBACK}, {5, MQ5_PUBCOMP},
                                           {0, MQ5_SUBACK},  {0, MQ5_UNSUBACK}};
        for (uint32_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
            set_up((enum mq5_version)version);
            if (wrong[i][0] >= 1 && wrong[i][0] <= 3)
                rig_publish(&rig, 0, wrong[i][0] == 1 ? 1 : 2);
            if (wrong[i][0] == 3)
                peer_ack(&rig, MQ5_PUBREC, 1, 0);
            if (wrong[i][0] == 4)
                mq5_client_subscribe(&rig.client, 0, 0, &list, 1, 0);
            if (wrong[i][0] == 5)
                mq5_client_unsubscribe(&rig.client, 0, 0, &list, 1);
            rig_forget(&rig);
            if (wrong[i][1] >= MQ5_SUBACK)
                peer_suback(&rig, (enum mq5_type)wrong[i][1], 1, span_of("\0", 1));
            else
                peer_ack(&rig, (enum mq5_type)wrong[i][1], 1, 0);
            rig_check(&rig, version == MQ5_V5 ? "> DISCONNECT 82\n! DISCONNECTED 82\n" : "! DISCONNECTED 82\n");
        }
    }
    set_up(MQ5_V5); /* a second PUBREC: answered again; one that takes the first one back: wrong */
    rig_publish(&rig, 0, 2);
    rig_forget(&rig);
    peer_ack(&rig, MQ5_PUBREC, 1, 0);
    peer_ack(&rig, MQ5_PUBREC, 1, 0);
    rig_check(&rig, "> PUBREL #1 00\n> PUBREL #1 00\n");
    peer_ack(&rig, MQ5_PUBREC, 1, MQ5_NOT_AUTHORIZED);
    rig_check(&rig, "> DISCONNECT 82\n! DISCONNECTED 82\n");
}

static void test_subscribe(void **state)
{
    struct mq5_subscription list[2] = {{.filter = SPAN_LITERAL("a/+"), .qos = 1},
                                       {.filter = SPAN_LITERAL("$share/g/b"), .qos = 2}};
    set_up(MQ5_V5);
    assert_int_equal(mq5_client_subscribe(&rig.client, 0, 5, list, 2, 7), MQ5C_DONE);
    assert_int_equal(mq5_client_unsubscribe(&rig.client, 0, 6, list, 1), MQ5C_DONE);
    peer_suback(&rig, MQ5_UNSUBACK, 2, span_of("\x11", 1));
    peer_suback(&rig, MQ5_SUBACK, 1, span_of("\x01\x87", 2));
    rig_check(&rig, "> SUBSCRIBE #1 a/+ $share/g/b subscription=7\n> UNSUBSCRIBE #2 a/+\n! UNSUBSCRIBED t6 11\n"
                    "! SUBSCRIBED t5 01 87\n");
    mq5_client_subscribe(&rig.client, 0, 5, list, 2, 0);
    peer_suback(&rig, MQ5_SUBACK, 3, span_of("\x01", 1)); /* one reason short */
    rig_check(&rig, "> SUBSCRIBE #3 a/+ $share/g/b\n> DISCONNECT 82\n! DISCONNECTED 82\n");

    set_up(MQ5_V311);
    assert_int_equal(mq5_client_subscribe(&rig.client, 0, 5, list, 1, 7), MQ5C_DONE);
    assert_int_equal(mq5_client_unsubscribe(&rig.client, 0, 6, list, 1), MQ5C_DONE);
    rig_bytes(&rig, "\x90\x03\x00\x01\x80\xb0\x02\x00\x02", 9);
    rig_check(&rig, "> SUBSCRIBE #1 a/+\n> UNSUBSCRIBE #2 a/+\n! SUBSCRIBED t5 80\n! UNSUBSCRIBED t6\n");
}

static void test_inbound_each_qos(void **state)
{
    for (int version = MQ5_V311; version <= MQ5_V5; version++) {
        set_up((enum mq5_version)version);
        peer_publish(&rig, 0, 0, "a", "0");
        peer_publish(&rig, 1, 7, "a", "1");
        peer_publish(&rig, 1, 7, "a", "1"); /* after the PUBACK the id is free: a new message */
        peer_publish(&rig, 2, 7, "a", "2");
        peer_publish(&rig, 2, 7, "a", "2"); /* before PUBREL: the same one */
        peer_ack(&rig, MQ5_PUBREL, 7, 0);
        peer_publish(&rig, 2, 7, "a", "3");
        rig_check(&rig, "! MESSAGE q0 a=0\n! MESSAGE q1 #7 a=1\n> PUBACK #7 00\n! MESSAGE q1 #7 a=1\n> PUBACK #7 00\n"
                        "! MESSAGE q2 #7 a=2\n> PUBREC #7 00\n> PUBREC #7 00\n> PUBCOMP #7 00\n! MESSAGE q2 #7 a=3\n"
                        "> PUBREC #7 00\n");
    }
}

static void test_inbound_qos2_over_links(void **state)
{
    set_up(MQ5_V5);
    peer_publish(&rig, 2, 1, "a", "x");
    peer_publish(&rig, 2, 2, "a", "y");
    rig_down(&rig);
    rig_link(&rig, true);
    rig_forget(&rig);
    peer_publish(&rig, 2, 2, "a", "y");
    peer_ack(&rig, MQ5_PUBREL, 1, 0);
    peer_ack(&rig, MQ5_PUBREL, 2, 0);
    peer_ack(&rig, MQ5_PUBREL, 2, 0);
    rig_check(&rig, "> PUBREC #2 00\n> PUBCOMP #1 00\n> PUBCOMP #2 00\n> PUBCOMP #2 92\n");
}

static void test_receive_maximum_of_ours(void **state)
{
    set_up(MQ5_V5);
    for (uint16_t id = 1; id <= 3; id++)
        peer_publish(&rig, 2, id, "a", "x");
    peer_publish(&rig, 2, 3, "a", "x"); /* known: no overrun */
    rig_forget(&rig);
    peer_publish(&rig, 2, 4, "a", "x");
    rig_check(&rig, "> DISCONNECT 93\n! DISCONNECTED 93\n");
    /* the server's quota starts full on a new link, and what is left of the old one comes on top */
    rig_down(&rig);
    rig_link(&rig, true);
    peer_publish(&rig, 2, 11, "a", "x");
    peer_ack(&rig, MQ5_PUBREL, 2, 0);
    peer_publish(&rig, 2, 12, "a", "x");
    peer_publish(&rig, 2, 13, "a", "x");
    assert_true(mq5_client_online(&rig.client));
    rig_forget(&rig);
    peer_publish(&rig, 1, 14, "a", "x"); /* QoS 1 counts too */
    rig_check(&rig, "> DISCONNECT 93\n! DISCONNECTED 93\n");
    rig_down(&rig);
    rig_link(&rig, true);
    peer_publish(&rig, 2, 21, "a", "x");
    rig_forget(&rig);
    peer_publish(&rig, 2, 22, "a", "x"); /* 1 3 11 12 13 21: that is all we can keep */
    rig_check(&rig, "> DISCONNECT 97\n! DISCONNECTED 97\n");
    /* 3.1.1 has no receive maximum: the table's size is the only bound */
    set_up(MQ5_V311);
    for (uint16_t id = 1; id <= 6; id++)
        peer_publish(&rig, 2, id, "a", "x");
    peer_publish(&rig, 1, 9, "a", "x");
    assert_true(mq5_client_online(&rig.client));
    rig_forget(&rig);
    peer_publish(&rig, 2, 7, "a", "x");
    rig_check(&rig, "! DISCONNECTED 97\n");
}

static void test_without_room_for_qos2(void **state)
{
    rig_defaults(&rig, MQ5_V5);
    rig_init_sized(&rig, false, 0, 64);
    rig_link(&rig, false);
    rig_forget(&rig);
    peer_publish(&rig, 2, 1, "a", "x");
    peer_ack(&rig, MQ5_PUBREL, 1, 0);
    rig_check(&rig, "> PUBREC #1 83\n> PUBCOMP #1 92\n");
    rig_defaults(&rig, MQ5_V311);
    rig_init_sized(&rig, false, 0, 64);
    rig_link(&rig, false);
    rig_forget(&rig);
    peer_publish(&rig, 2, 1, "a", "x");
    rig_check(&rig, "! DISCONNECTED 83\n");
}

static void test_outgoing_aliases(void **state)
{
    rig_defaults(&rig, MQ5_V5);
    rig_init(&rig);
    link_with(false, MQ5_BIT(MQ5_TOPIC_ALIAS_MAXIMUM), 0, 2);
    rig_forget(&rig);
    for (int round = 0; round < 2; round++) {
        for (uint8_t slot = 0; slot <= 4; slot++) {
            rig.messages[slot].qos = slot == 1;
            assert_int_equal(mq5_client_publish(&rig.client, 0, slot, slot), MQ5C_DONE);
        }
    }
    rig_check(&rig, "> PUBLISH q0 t=p\n! PUBLISHED t0 00\n> PUBLISH q1 #1 t=p alias=1\n"
                    "> PUBLISH q0 t=p alias=2\n! PUBLISHED t2 00\n> PUBLISH q0 t=p\n! PUBLISHED t3 00\n"
                    "> PUBLISH q0 t=p\n! PUBLISHED t4 00\n"
                    "> PUBLISH q0 t=p\n! PUBLISHED t0 00\n> PUBLISH q1 #2 =p alias=1\n"
                    "> PUBLISH q0 =p alias=2\n! PUBLISHED t2 00\n> PUBLISH q0 t=p\n! PUBLISHED t3 00\n"
                    "> PUBLISH q0 t=p\n! PUBLISHED t4 00\n");
    rig_down(&rig); /* gone with the link, also for what is resent */
    link_with(true, MQ5_BIT(MQ5_TOPIC_ALIAS_MAXIMUM), 0, 9);
    assert_int_equal(mq5_client_publish(&rig.client, 0, 1, 1), MQ5C_DONE);
    assert_int_equal(mq5_client_publish(&rig.client, 0, 1, 1), MQ5C_DONE);
    assert_int_equal(mq5_client_publish(&rig.client, 0, 0, 5), MQ5C_DONE); /* no such slot of ours */
    rig_check(
        &rig,
        "> PUBLISH q1 #1 dup t=p\n> PUBLISH q1 #2 dup t=p\n! CONNACK session=1 aliases=9\n> PUBLISH q1 #3 t=p alias=1\n"
        "> PUBLISH q1 #4 =p alias=1\n> PUBLISH q0 t=p\n! PUBLISHED t0 00\n");
    rig_down(&rig);
    rig_link(&rig, true); /* this one allows none */
    rig_forget(&rig);
    assert_int_equal(mq5_client_publish(&rig.client, 0, 1, 1), MQ5C_DONE);
    rig_check(&rig, "> PUBLISH q1 #5 t=p\n");
    set_up(MQ5_V311);
    assert_int_equal(mq5_client_publish(&rig.client, 0, 1, 1), MQ5C_DONE);
    rig_check(&rig, "> PUBLISH q1 #1 t=p\n");
}

/* A name that was not sent has not been established. */
static void test_alias_not_sent(void **state)
{
    rig_defaults(&rig, MQ5_V5);
    rig_init(&rig);
    link_with(false, MQ5_BIT(MQ5_TOPIC_ALIAS_MAXIMUM), 0, 2);
    rig.messages[0].topic = SPAN_LITERAL("a/+");
    assert_int_equal(mq5_client_publish(&rig.client, 0, 0, 1), MQ5C_BAD);
    rig_forget(&rig);
    assert_int_equal(mq5_client_publish(&rig.client, 0, 1, 1), MQ5C_DONE);
    rig_check(&rig, "> PUBLISH q1 #1 t=p alias=1\n");
}

static void test_incoming_aliases(void **state)
{
    set_up(MQ5_V5);
    peer_alias(&rig, 1, "one");
    peer_alias(&rig, 4, "four");
    peer_alias(&rig, 1, "");
    peer_alias(&rig, 4, "");
    peer_alias(&rig, 1, "one");
    peer_alias(&rig, 1, "uno");
    peer_alias(&rig, 4, "");
    peer_alias(&rig, 1, "");
    rig_check(&rig, "! MESSAGE q0 one=x alias=1\n! MESSAGE q0 four=x alias=4\n! MESSAGE q0 one=x alias=1\n"
                    "! MESSAGE q0 four=x alias=4\n! MESSAGE q0 one=x alias=1\n! MESSAGE q0 uno=x alias=1\n"
                    "! MESSAGE q0 four=x alias=4\n! MESSAGE q0 uno=x alias=1\n");
    rig_down(&rig);
    rig_link(&rig, true);
    rig_forget(&rig);
    peer_alias(&rig, 1, ""); /* of the last link */
    rig_check(&rig, "> DISCONNECT 82\n! DISCONNECTED 82\n");
    set_up(MQ5_V5);
    peer_alias(&rig, 5, "five");
    rig_check(&rig, "> DISCONNECT 94\n! DISCONNECTED 94\n");
    set_up(MQ5_V5);
    peer_alias(&rig, 0, "zero");
    rig_check(&rig, "> DISCONNECT 94\n! DISCONNECTED 94\n");
    set_up(MQ5_V5);
    peer_publish(&rig, 0, 0, "", "x");
    rig_check(&rig, "> DISCONNECT 82\n! DISCONNECTED 82\n");
}

static void test_alias_memory_is_bounded(void **state)
{
    rig_defaults(&rig, MQ5_V5);
    rig_init_sized(&rig, true, 16, 64);
    rig_link(&rig, false);
    rig_forget(&rig);
    peer_alias(&rig, 1, "1234");
    peer_alias(&rig, 2, "1234");
    peer_alias(&rig, 1, "4321"); /* the room of the old name serves the new one */
    peer_alias(&rig, 2, "");
    assert_true(mq5_client_online(&rig.client));
    rig_forget(&rig);
    peer_alias(&rig, 1, "12345");
    rig_check(&rig, "> DISCONNECT 97\n! DISCONNECTED 97\n");
    rig_init_sized(&rig, true, 0, 64); /* no memory: none advertised, none accepted */
    rig_link(&rig, false);
    rig_check(&rig, "> CONNECT clean=0 keep=60 id=car expiry=3600 receive=3\n! CONNACK session=0\n");
    peer_alias(&rig, 1, "a");
    rig_check(&rig, "> DISCONNECT 94\n! DISCONNECTED 94\n");
}

/* Handlers publish from inside; the answer to a message follows what its handler sent. */
static void echo(struct rig *r, const struct mq5_client_event *event)
{
    struct mq5_subscription list = {.filter = SPAN_LITERAL("f")};
    if (event->kind == MQ5C_EV_MESSAGE)
        assert_int_equal(mq5_client_publish(&r->client, r->now_us, 20 + event->packet->publish.packet_id, 0),
                         MQ5C_DONE);
    if (event->kind == MQ5C_EV_PUBLISHED && event->token < 30)
        assert_int_equal(mq5_client_publish(&r->client, r->now_us, event->token + 10, 0), MQ5C_DONE);
    if (event->kind == MQ5C_EV_CONNACK)
        assert_int_equal(mq5_client_subscribe(&r->client, r->now_us, 1, &list, 1, 0), MQ5C_DONE);
    if (event->kind == MQ5C_EV_SUBSCRIBED)
        assert_int_equal(mq5_client_unsubscribe(&r->client, r->now_us, 2, &list, 1), MQ5C_DONE);
}

static void test_reentrancy(void **state)
{
    rig_defaults(&rig, MQ5_V5);
    rig_init(&rig);
    rig.on_event = echo;
    rig_link(&rig, false);
    rig_forget(&rig);
    peer_suback(&rig, MQ5_SUBACK, 1, span_of("\0", 1));
    peer_publish(&rig, 1, 3, "a", "x");
    peer_publish(&rig, 2, 4, "a", "y");
    peer_ack(&rig, MQ5_PUBACK, 3, 0);
    peer_ack(&rig, MQ5_PUBACK, 4, 0);
    rig_check(&rig,
              "! SUBSCRIBED t1 00\n> UNSUBSCRIBE #2 f\n! MESSAGE q1 #3 a=x\n> PUBLISH q1 #3 t=p\n> PUBACK #3 00\n"
              "! MESSAGE q2 #4 a=y\n> PUBLISH q1 #4 t=p\n> PUBREC #4 00\n! PUBLISHED t23 00\n> PUBLISH q1 #5 t=p\n"
              "! PUBLISHED t24 00\n> PUBLISH q1 #6 t=p\n");
}

static void drop_link_on_message(struct rig *r, const struct mq5_client_event *event)
{
    if (event->kind == MQ5C_EV_MESSAGE)
        rig_down(r);
}

static void test_link_lost_in_a_message(void **state)
{
    set_up(MQ5_V5);
    rig.on_event = drop_link_on_message;
    peer_publish(&rig, 2, 4, "a", "y");
    rig.on_event = NULL;
    rig_link(&rig, true);
    rig_forget(&rig);
    peer_publish(&rig, 2, 4, "a", "y"); /* seen already */
    rig_check(&rig, "> PUBREC #4 00\n");
}

/* All 65535 ids go round, past one that stays in flight and past others that do. */
static void test_packet_ids(void **state)
{
    set_up(MQ5_V311);
    rig_publish(&rig, 0, 1);
    rig_publish(&rig, 0, 1);
    peer_ack(&rig, MQ5_PUBACK, 1, 0);
    uint16_t last = 2, stuck = 2, also_stuck = 0;
    for (uint32_t i = 0; i < 200000; i++) {
        uint16_t next = rig.client.next_packet_id;
        rig_forget(&rig);
        assert_int_equal(rig_publish(&rig, 1, 1), MQ5C_DONE);
        uint16_t id = mq5_outgoing_at(&rig.client, rig.client.outgoing_count - 1u)->packet_id;
        assert_int_not_equal(id, 0);
        assert_int_not_equal(id, stuck);
        assert_int_not_equal(id, also_stuck);
        if (next != stuck && next != also_stuck)
            assert_int_equal(id, last == UINT16_MAX ? 1 : next);
        last = id;
        if (i == 100000)
            also_stuck = id;
        else
            peer_ack(&rig, MQ5_PUBACK, id, 0);
    }
    assert_int_equal(mq5_client_inflight(&rig.client), 2);
    peer_ack(&rig, MQ5_PUBACK, stuck, 0);
    peer_ack(&rig, MQ5_PUBACK, also_stuck, 0);
    assert_int_equal(rig_publish(&rig, 1, 1), MQ5C_DONE);
    assert_false(rig.client.ids_unordered);
}

/* Removal from any place of a ring that wraps keeps the others in order. */
static void test_ring(void **state)
{
    for (uint32_t turn = 0; turn < 8; turn++) {
        for (uint32_t gap = 0; gap < 8; gap++) {
            set_up(MQ5_V5);
            for (uint32_t i = 0; i < turn; i++) {
                rig_publish(&rig, 50, 1);
                peer_ack(&rig, MQ5_PUBACK, (uint16_t)(i + 1), 0);
            }
            for (uint32_t token = 0; token < 8; token++)
                assert_int_equal(rig_publish(&rig, token, 1), MQ5C_DONE);
            peer_ack(&rig, MQ5_PUBACK, (uint16_t)(turn + gap + 1), 0);
            for (uint32_t i = 0; i < 7; i++)
                assert_int_equal(mq5_outgoing_at(&rig.client, i)->token, i + (i >= gap));
        }
    }
}

/* Nothing is held by a session with nothing to keep; with no memory to be had it waits or refuses, and goes on when there is. */
static void test_memory_on_demand(void **state)
{
    if (!rig_on_demand)
        return;
    rig_defaults(&rig, MQ5_V5);
    rig_online(&rig);
    assert_int_equal(rig.blocks, 0);
    assert_int_equal(rig_publish(&rig, 1, 1), MQ5C_DONE); /* lies in the client itself */
    assert_int_equal(rig.blocks, 0);
    rig.no_memory = true;
    assert_int_equal(rig_publish(&rig, 2, 1), MQ5C_WAIT);
    struct mq5_subscription filter = {.filter = SPAN_LITERAL("f")};
    assert_int_equal(mq5_client_subscribe(&rig.client, 0, 3, &filter, 1, 0), MQ5C_WAIT);
    rig.no_memory = false;
    for (uint32_t token = 2; token <= 8; token++) {
        assert_int_equal(rig_publish(&rig, token, 1), MQ5C_DONE);
        assert_int_equal(rig.blocks, 1);
        assert_int_equal(rig.bytes, token <= 4 ? 4 * 8 : 8 * 8);
    }
    assert_int_equal(rig_publish(&rig, 9, 1), MQ5C_WAIT);
    for (uint16_t id = 1; id <= 8; id++)
        peer_ack(&rig, MQ5_PUBACK, id, 0);
    assert_int_equal(rig.blocks, 0);
    rig_forget(&rig);
    peer_publish(&rig, 2, 7, "t", "x"); /* its id is kept until the PUBREL */
    assert_int_equal(rig.blocks, 1);
    peer_ack(&rig, MQ5_PUBREL, 7, 0);
    assert_int_equal(rig.blocks, 0);
    rig_bytes(&rig, "\x40", 1); /* half a packet is kept until the rest comes */
    assert_int_equal(rig.blocks, 1);
    rig_bytes(&rig, "\x02\x00\x63", 3);
    assert_int_equal(rig.blocks, 0);
    peer_alias(&rig, 1, "a"); /* aliases last as long as the link */
    assert_int_equal(rig.blocks, 1);
    rig_down(&rig);
    assert_int_equal(rig.blocks, 0);
    static const struct {
        const char *bytes, *answer;
        size_t length;
    } refused[] = {{"\x40", "> DISCONNECT 95\n! DISCONNECTED 95\n", 1},
                   {"\x34\x06\x00\x01t\x00\x07\x00", "> DISCONNECT 97\n! DISCONNECTED 97\n", 8},
                   {"\x30\x07\x00\x01t\x03\x23\x00\x01", "> DISCONNECT 97\n! DISCONNECTED 97\n", 9}};
    for (unsigned i = 0; i < 3; i++) {
        rig_link(&rig, true);
        rig_forget(&rig);
        rig.no_memory = true;
        rig_bytes(&rig, refused[i].bytes, refused[i].length);
        rig_check(&rig, refused[i].answer);
        rig.no_memory = false;
        rig_down(&rig);
    }
    assert_int_equal(rig.blocks, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_publish_each_qos),
        cmocka_unit_test(test_message_passes_through),
        cmocka_unit_test(test_refused_by_the_server),
        cmocka_unit_test(test_not_publishable),
        cmocka_unit_test(test_nothing_resent_on_a_live_link),
        cmocka_unit_test(test_resume),
        cmocka_unit_test(test_resume_within_the_new_quota),
        cmocka_unit_test(test_what_cannot_be_resent),
        cmocka_unit_test(test_session_lost),
        cmocka_unit_test(test_publish_anew_from_dropped),
        cmocka_unit_test(test_new_waits_for_old),
        cmocka_unit_test(test_link_lost_while_settling),
        cmocka_unit_test(test_waits),
        cmocka_unit_test(test_answers_that_fit_nothing),
        cmocka_unit_test(test_subscribe),
        cmocka_unit_test(test_inbound_each_qos),
        cmocka_unit_test(test_inbound_qos2_over_links),
        cmocka_unit_test(test_receive_maximum_of_ours),
        cmocka_unit_test(test_without_room_for_qos2),
        cmocka_unit_test(test_outgoing_aliases),
        cmocka_unit_test(test_alias_not_sent),
        cmocka_unit_test(test_incoming_aliases),
        cmocka_unit_test(test_alias_memory_is_bounded),
        cmocka_unit_test(test_reentrancy),
        cmocka_unit_test(test_link_lost_in_a_message),
        cmocka_unit_test(test_packet_ids),
        cmocka_unit_test(test_ring),
        cmocka_unit_test(test_memory_on_demand),
    };
    return rig_both(tests);
}
