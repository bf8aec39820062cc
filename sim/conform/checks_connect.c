/* checks_connect.c: CONNECT and CONNACK (3.1, 3.2): what is accepted, what is refused, what is answered. */
#include "check.h"
#include "tables.h"

#include <stdio.h>

#define SILENT_US      (32 * US_PER_S)
#define EXPIRY_GRACE_S 7 /* brokers look after sessions now and then */

/* ---- what is refused --------------------------------------------------------------------------------------------------------- */

static void second_connect(struct conform_probe *probe)
{
    struct wire *wire = probe_connect(probe, "client");
    struct mq5_packet packet = {.type = MQ5_CONNECT, .connect = probe_login(probe, 0)};
    wire_send(wire, &packet);
    want_closed(wire, "a second CONNECT", REASONS(MQ5_PROTOCOL_ERROR));
}

static void protocol_name(struct conform_probe *probe)
{
    struct wire *wire = probe_open(probe, "client");
    struct mq5_packet packet = {.type = MQ5_CONNECT, .connect = probe_login(probe, 0)};
    struct span bytes = probe_encode(probe, &packet, NULL);
    uint8_t *changed = memcpy(probe_memory(probe, bytes.length), bytes.data, bytes.length);
    changed[bytes.data[1] & 0x80 ? 7 : 6] = 'Q'; /* "MQQT" */
    wire_send_bytes(wire, changed, bytes.length);
    want_refused(wire, "the protocol name \"MQQT\"", REASONS(MQ5_UNSUPPORTED_PROTOCOL_VERSION));
}

/* ---- what is accepted --------------------------------------------------------------------------------------------------------- */

static void accepted(struct conform_probe *probe)
{
    struct wire *wire = probe_open(probe, "client");
    struct mq5_connect login = probe_login(probe, 0);
    const struct mq5_connack *connack = wire_login(wire, &login);
    want(probe, connack != NULL, "no CONNACK");
    want(probe, connack->reason == MQ5_SUCCESS, "CONNACK 0x%02x", connack->reason);
    want_alive(wire, "after CONNACK");
}

static void byte_by_byte(struct conform_probe *probe)
{
    struct wire *wire = probe_open(probe, "client");
    struct mq5_packet packet = {.type = MQ5_CONNECT, .connect = probe_login(probe, 0)};
    struct span bytes = probe_encode(probe, &packet, NULL);
    wire_send_slowly(wire, bytes.data, bytes.length, 1);
    uint8_t reason = want_packet(wire, MQ5_CONNACK, "CONNACK")->packet.connack.reason;
    want(probe, reason == MQ5_SUCCESS, "CONNACK 0x%02x", reason);
    want_alive(wire, "after a CONNECT sent byte by byte");
}

/* Every field of the payload and every property that a client without a method may send: the broker finds each of them in its place. */
static void every_field(struct conform_probe *probe)
{
    static const struct mq5_user_property user[] = {{{(const uint8_t *)"one", 3}, {(const uint8_t *)"1", 1}},
                                                    {{(const uint8_t *)"one", 3}, {(const uint8_t *)"2", 1}}};
    const char *topic = probe_topic(probe, "will");
    struct wire *watcher = probe_subscriber(probe, "watcher", topic, 0);
    struct mq5_connect login = probe_login(probe, 1);
    set_will(&login, topic, "in its place", 0, false, 0);
    SET_PROPERTY(login.will_properties, content_type, MQ5_CONTENT_TYPE, span_text("text"));
    set_receive_maximum(&login, 100);
    set_maximum_packet_size(&login, 100000);
    set_alias_maximum(&login, 5);
    set_problem_information(&login, 1);
    SET_PROPERTY(login.properties, request_response_information, MQ5_REQUEST_RESPONSE_INFORMATION, 0);
    SET_PROPERTY(login.properties, session_expiry_s, MQ5_SESSION_EXPIRY_INTERVAL, 0);
    SET_PROPERTY(login.properties, user, MQ5_USER_PROPERTY, user);
    login.properties.user_count = 2;
    struct wire *wire = probe_open(probe, "client");
    const struct mq5_connack *connack = wire_login(wire, &login);
    want(probe, connack != NULL && connack->reason == MQ5_SUCCESS, "a CONNECT with every field is not accepted: 0x%02x",
         connack ? connack->reason : 0);
    want(probe, !(connack->properties.present & MQ5_BIT(MQ5_ASSIGNED_CLIENT_IDENTIFIER)),
         "a client identifier is assigned although one was sent");
    wire_end(wire, WIRE_RESET);
    want_message(watcher, topic, "in its place");
}

/* Clients need not wait for CONNACK. */
static void pipelined(struct conform_probe *probe)
{
    const char *topic = probe_topic(probe, "pipelined");
    struct wire *watcher = probe_subscriber(probe, "watcher", topic, 0);
    struct mq5_subscription list = subscription(probe_topic(probe, "own"), 0);
    struct wire *wire = probe_open(probe, "client");
    wire_gather(wire);
    wire_send(wire, &(struct mq5_packet){.type = MQ5_CONNECT, .connect = probe_login(probe, 7)});
    wire_send(wire, &(struct mq5_packet){.type = MQ5_SUBSCRIBE,
                                         .subscribe = {.packet_id = wire_packet_id(wire), .list = &list, .count = 1}});
    wire_send(wire, &(struct mq5_packet){.type = MQ5_PUBLISH, .publish = message(topic, "pipelined", 0)});
    wire_flush(wire);
    want_packet(wire, MQ5_CONNACK, "CONNACK");
    want_packet(wire, MQ5_SUBACK, "SUBACK of a SUBSCRIBE sent before CONNACK");
    want_message(watcher, topic, "pipelined");
}

/* How long is reasonable the standard does not say. */
static void silent(struct conform_probe *probe)
{
    struct wire *wire = probe_open(probe, "silent client");
    want(probe, wire_closes(wire, SILENT_US), "open for %d s, and no CONNECT has come", (int)(SILENT_US / US_PER_S));
}

/* ---- client identifiers -------------------------------------------------------------------------------------------------------- */

static const char *const id_names[] = {"17 letters and digits",      "22 bytes",  "23 bytes",  "23 bytes, capitals",
                                       "capitals and small letters", "23 digits", "17 letters"};

static uint32_t id_count(void)
{
    return sizeof(id_names) / sizeof(id_names[0]);
}

static void id_row(uint32_t row, struct conform_row *out)
{
    snprintf(out->name, sizeof(out->name), "a client identifier of %s", id_names[row]);
}

/* Made of the check's own id, so that nobody else has it. */
static const char *id_of(struct conform_probe *probe, uint32_t row)
{
    const char *own = probe_client_id(probe, 0);
    if (row < 5 && row > 0)
        own = probe_text(probe, "%s%s", own, row == 1 ? "VWXYZ" : "UVWXYZ");
    if (row == 5)
        own = probe_text(probe, "%s%s", own, "012345");
    char *id = probe_memory(probe, 24);
    for (uint32_t i = 0; own[i]; i++) {
        char each = own[i];
        bool letter = each >= 'a' && each <= 'z', digit = each >= '0' && each <= '9';
        if ((row == 3 || (row == 4 && i % 2)) && letter)
            each = (char)(each - 'a' + 'A');
        else if (row == 5 && letter)
            each = (char)('0' + (each - 'a') % 10);
        else if (row == 6 && digit)
            each = (char)(each - '0' + 'k');
        id[i] = each;
    }
    return id;
}

static void accepted_with(struct conform_probe *probe, const char *id)
{
    struct mq5_connect login = probe_login(probe, 0);
    login.client_id = span_text(id);
    struct wire *wire = probe_open(probe, "client");
    const struct mq5_connack *connack = wire_login(wire, &login);
    want(probe, connack != NULL, "no CONNACK for the client identifier \"%s\"", id);
    need(probe,
         connack->reason == MQ5_SUCCESS || connack->reason == MQ5_CLIENT_IDENTIFIER_NOT_VALID ||
             connack->reason == MQ5_MALFORMED_PACKET || connack->reason == MQ5_PROTOCOL_ERROR,
         "CONNACK 0x%02x says nothing of the client identifier", connack->reason);
    want(probe, connack->reason == MQ5_SUCCESS, "the client identifier \"%s\" is refused: CONNACK 0x%02x", id,
         connack->reason);
    want_alive(wire, "with this client identifier");
}

static void id_forms(struct conform_probe *probe)
{
    accepted_with(probe, id_of(probe, probe_row(probe)));
}

static void id_of_one_byte(struct conform_probe *probe)
{
    accepted_with(probe, "Q");
}

static struct wire *connect_nameless(struct conform_probe *probe, const char *name, uint32_t expiry_s)
{
    struct mq5_connect login = probe_login(probe, 0);
    login.client_id = (struct span){0};
    if (expiry_s)
        set_session_expiry(&login, expiry_s);
    return probe_connect_as(probe, name, &login);
}

static struct span assigned_id(const struct wire *wire)
{
    const struct mq5_properties *properties = &wire_connack(wire)->properties;
    return properties->present & MQ5_BIT(MQ5_ASSIGNED_CLIENT_IDENTIFIER) ? properties->assigned_client_id
                                                                         : (struct span){0};
}

static void assigned(struct conform_probe *probe)
{
    struct wire *wire = connect_nameless(probe, "nameless", 0);
    want(probe, assigned_id(wire).length > 0, "CONNACK 0x00 for an empty client identifier, and none is assigned");
    struct wire *other = connect_nameless(probe, "nameless, too", 0);
    judge_as(probe, "MQTT-3.1.3-6");
    want(probe, !span_equal(assigned_id(wire), assigned_id(other)),
         "two clients without an identifier are given the same");
    want_alive(wire, "when another client without an identifier has come");
}

static void assigned_distinct(struct conform_probe *probe)
{
    enum { MANY = 8 };
    struct wire *wires[MANY];
    for (int i = 0; i < MANY; i++) {
        wires[i] = connect_nameless(probe, probe_text(probe, "nameless %d", i), 0);
        need(probe, assigned_id(wires[i]).length > 0, "no client identifier is assigned");
        for (int j = 0; j < i; j++)
            want(probe, !span_equal(assigned_id(wires[i]), assigned_id(wires[j])),
                 "two connections are assigned the same client identifier");
    }
    for (int i = 0; i < MANY; i++)
        want_alive(wires[i], "among several without a client identifier");
}

/* Nobody among them is taken for another one. */
static void assigned_apart(struct conform_probe *probe)
{
    const char *topic = probe_topic(probe, "of/the/first");
    struct wire *first = connect_nameless(probe, "first", 0);
    wire_subscribe(first, topic, 0);
    struct wire *second = connect_nameless(probe, "second", 0);
    want(probe, !wire_connack(second)->session_present, "Session Present 1 for a client without a client identifier");
    wire_publish(second, topic, "from the second", 0);
    want_message(first, topic, "from the second");
    need_alive(second, "of the second");
    want(probe, wire_count_messages(second, topic, NULL) == 0,
         "a client without a client identifier has the subscription of another one");
}

static void assigned_used(struct conform_probe *probe)
{
    struct wire *wire = connect_nameless(probe, "nameless", 30);
    struct mq5_connect login = probe_login(probe, 0);
    login.client_id = assigned_id(wire);
    need(probe, login.client_id.length > 0, "no client identifier is assigned");
    set_session_expiry(&login, 30);
    wire_disconnect(wire, MQ5_SUCCESS);
    wire = probe_resume(probe, "again, by name", &login, false);
    judge_as(probe, "MQTT-3.1.3-7");
    want(probe, wire_connack(wire)->session_present, "Session Present 0 for the client identifier that was assigned");
}

static void two_ids(struct conform_probe *probe)
{
    struct mq5_connect one = probe_login(probe, 11), two = probe_login(probe, 12);
    const char *topic = probe_topic(probe, "one");
    set_session_expiry(&one, 60);
    set_session_expiry(&two, 60);
    struct wire *wire = probe_subscriber_as(probe, "one", &one, topic, 1);
    wire_disconnect(wire, MQ5_SUCCESS);
    wire = probe_resume(probe, "two", &two, false);
    want(probe, !wire_connack(wire)->session_present, "a client is given the session of another client identifier");
    wire_publish(probe_connect(probe, "publisher"), topic, "for one", 1);
    need_alive(wire, "of the other client");
    want(probe, wire_count_messages(wire, topic, "for one") == 0,
         "a client is sent what another client identifier subscribed to");
    wire = probe_resume(probe, "one again", &one, false);
    want(probe, wire_connack(wire)->session_present, "Session Present 0 for the first client identifier");
    want_message(wire, topic, "for one");
}

/* ---- sessions -------------------------------------------------------------------------------------------------------------------- */

static void session_present(struct conform_probe *probe)
{
    struct mq5_connect login = probe_login(probe, 0);
    set_session_expiry(&login, 60);
    struct wire *wire = probe_resume(probe, "first", &login, false);
    want(probe, !wire_connack(wire)->session_present, "Session Present 1 for a client that was never seen");
    wire_disconnect(wire, MQ5_SUCCESS);
    wire = probe_resume(probe, "again", &login, false);
    want(probe, wire_connack(wire)->session_present, "Session Present 0 for a session that was to be kept for 60 s");
    wire_disconnect(wire, MQ5_SUCCESS);
    wire = probe_resume(probe, "clean", &login, true);
    judge_as(probe, "MQTT-3.2.2-2");
    want(probe, !wire_connack(wire)->session_present, "Session Present 1 after a clean start");
}

/* Subscribes, goes, and a message waits for it. */
static struct mq5_connect leave_behind(struct conform_probe *probe, const char *topic, bool rudely)
{
    struct mq5_connect login = probe_login(probe, 0);
    set_session_expiry(&login, 60);
    struct wire *wire = probe_subscriber_as(probe, "first", &login, topic, 1);
    if (rudely) {
        wire_end(wire, WIRE_FIN);
        probe_wait(probe, 500 * US_PER_MS);
    } else {
        wire_disconnect(wire, MQ5_SUCCESS);
    }
    wire_publish(probe_connect(probe, "publisher"), topic, "waiting", 1);
    return login;
}

static void resumed(struct conform_probe *probe, bool rudely)
{
    const char *topic = probe_topic(probe, "kept");
    struct mq5_connect login = leave_behind(probe, topic, rudely);
    struct wire *wire = probe_resume(probe, "again", &login, false);
    want(probe, wire_connack(wire)->session_present, "Session Present 0 for a session that was to be kept for 60 s");
    want_message(wire, topic, "waiting");
    want(probe, wire_at(wire, 0)->packet.type == MQ5_CONNACK, "%s comes before CONNACK",
         mq5_type_name(wire_at(wire, 0)->packet.type));
    wire_publish(probe_connect(probe, "second publisher"), topic, "live", 1);
    want_message(wire, topic, "live");
}

static void resumed_after_disconnect(struct conform_probe *probe)
{
    resumed(probe, false);
}

static void resumed_after_loss(struct conform_probe *probe)
{
    resumed(probe, true);
}

static void cleaned(struct conform_probe *probe)
{
    const char *topic = probe_topic(probe, "thrown/away"), *marked = probe_topic(probe, "marker");
    struct mq5_connect login = leave_behind(probe, topic, false);
    struct wire *wire = probe_resume(probe, "clean", &login, true);
    struct wire *publisher = probe_connect(probe, "second publisher");
    wire_publish(publisher, topic, "to the old subscription", 1);
    wire_subscribe(wire, marked, 1);
    wire_publish(publisher, marked, "marker", 1);
    need_message(wire, marked, "marker");
    want(probe, wire_count_messages(wire, topic, "waiting") == 0, "a message of the old session after a clean start");
    want(probe, wire_count_messages(wire, topic, NULL) == 0, "a subscription of the old session after a clean start");
}

static void expiry_absent(struct conform_probe *probe)
{
    struct mq5_connect login = probe_login(probe, 0);
    struct wire *wire = probe_subscriber_as(probe, "first", &login, probe_topic(probe, "short"), 1);
    need(probe,
         !(wire_connack(wire)->properties.present & MQ5_BIT(MQ5_SESSION_EXPIRY_INTERVAL)) ||
             wire_connack(wire)->properties.session_expiry_s == 0,
         "the broker keeps sessions of its own accord, and says so");
    wire_disconnect(wire, MQ5_SUCCESS);
    wire = probe_resume(probe, "again", &login, false);
    want(probe, !wire_connack(wire)->session_present,
         "Session Present 1: the session of a client without a Session Expiry Interval outlived its connection");
}

static uint32_t granted_expiry(const struct wire *wire, uint32_t asked_s)
{
    const struct mq5_properties *properties = &wire_connack(wire)->properties;
    return properties->present & MQ5_BIT(MQ5_SESSION_EXPIRY_INTERVAL) ? properties->session_expiry_s : asked_s;
}

/* What CONNACK does not say otherwise holds: a session lives as long as was asked for, and no longer. */
static void expiry_holds(struct conform_probe *probe)
{
    struct mq5_connect longer = probe_login(probe, 1), shorter = probe_login(probe, 2);
    set_session_expiry(&longer, 10);
    set_session_expiry(&shorter, 2);
    struct wire *wire = probe_connect_as(probe, "10 s", &longer);
    uint32_t longer_s = granted_expiry(wire, 10);
    struct wire *other = probe_connect_as(probe, "2 s", &shorter);
    uint32_t shorter_s = granted_expiry(other, 2);
    if (longer_s < 8 || shorter_s > 5)
        skip(probe, "granted %u s for 10 and %u s for 2", longer_s, shorter_s);
    wire_disconnect(other, MQ5_SUCCESS);
    wire_disconnect(wire, MQ5_SUCCESS);
    probe_wait(probe, 5 * US_PER_S);
    wire = probe_resume(probe, "10 s, after 5 s", &longer, false);
    want(probe, wire_connack(wire)->session_present, "Session Present 0 after 5 s of %u s", longer_s);
    probe_wait(probe, (shorter_s + EXPIRY_GRACE_S - 5) * US_PER_S);
    other = probe_resume(probe, "2 s, much later", &shorter, false);
    want(probe, !wire_connack(other)->session_present, "Session Present 1 %d s after a session of %u s was left",
         (int)(shorter_s + EXPIRY_GRACE_S), shorter_s);
}

static void takeover(struct conform_probe *probe)
{
    struct mq5_connect login = probe_login(probe, 0);
    struct wire *old = probe_connect_as(probe, "old", &login), *young = probe_open(probe, "new");
    const struct mq5_connack *connack = wire_login(young, &login);
    want(probe, wire_closes(old, probe_patience(probe)), "the old connection stays open");
    const struct received *last = wire_at(old, wire_count(old) - 1);
    should(probe, "reason", NULL,
           last->packet.type == MQ5_DISCONNECT && last->packet.disconnect.reason == MQ5_SESSION_TAKEN_OVER,
           "no DISCONNECT 0x8e (Session taken over) before the old connection is closed");
    need(probe, connack && connack->reason == MQ5_SUCCESS, "the new connection is not accepted");
    want_alive(young, "on the new connection");
}

/* Clean Start 1 over a connection that is still there. */
static void clean_takeover(struct conform_probe *probe)
{
    const char *topic = probe_topic(probe, "thrown/away"), *marked = probe_topic(probe, "marker");
    struct mq5_connect login = probe_login(probe, 10);
    set_session_expiry(&login, 60);
    wire_subscribe(probe_connect_as(probe, "old", &login), topic, 0);
    struct wire *wire = probe_resume(probe, "clean", &login, true);
    wire_subscribe(wire, marked, 0);
    struct wire *publisher = probe_connect(probe, "publisher");
    wire_publish(publisher, topic, "to the old subscription", 0);
    wire_publish(publisher, marked, "marker", 0);
    need_message(wire, marked, "marker");
    need_alive(wire, "after the marker");
    want(probe, wire_count_messages(wire, topic, NULL) == 0,
         "a subscription of the old session after a clean start that took over");
}

/* One after another: each is let go when the next one comes, and the last one stays. */
static void takeovers(struct conform_probe *probe)
{
    enum { TIMES = 6 };
    struct wire *wires[TIMES];
    struct mq5_connect login = probe_login(probe, 10);
    set_session_expiry(&login, 60);
    for (int i = 0; i < TIMES; i++)
        wires[i] = probe_resume(probe, probe_text(probe, "number %d", i), &login, i % 2);
    for (int i = 0; i < TIMES - 1; i++)
        want(probe, wire_closes(wires[i], probe_patience(probe)), "connection %d of %d stays open", i + 1, TIMES);
    want_alive(wires[TIMES - 1], "on the last connection");
}

/* Capitals are other letters. */
static void case_of_id(struct conform_probe *probe)
{
    struct mq5_connect small = probe_login(probe, 10), large = small;
    char *id = probe_memory(probe, small.client_id.length);
    for (uint32_t i = 0; i < small.client_id.length; i++) {
        char each = (char)small.client_id.data[i];
        id[i] = each >= 'a' && each <= 'z' ? (char)(each - 'a' + 'A') : each;
    }
    large.client_id = (struct span){(const uint8_t *)id, small.client_id.length};
    struct wire *first = probe_connect_as(probe, "small letters", &small);
    struct wire *second = probe_connect_as(probe, "capitals", &large);
    want_alive(second, "of the client in capitals");
    want_alive(first, "of the client in small letters: the two identifiers are taken for one");
}

CHECK_TABLE(checks_connect,
            {.id = "B-CONN-001",
             .name = "a second CONNECT ends the connection",
             .refs = {"MQTT-3.1.0-2", "MQTT-3.2.0-2"},
             .level = CONFORM_MUST,
             .run = second_connect},
            {.id = "B-CONN-002",
             .name = "another protocol name is not served",
             .refs = {"MQTT-3.1.2-1"},
             .level = CONFORM_MUST,
             .run = protocol_name},
            {.id = "B-CONN-003",
             .name = "a good CONNECT is accepted with 0x00",
             .refs = {"MQTT-3.1.4-5"},
             .level = CONFORM_MUST,
             .run = accepted},
            {.id = "B-CONN-004",
             .name = "Session Present tells whether there is a session",
             .refs = {"MQTT-3.2.2-3", "MQTT-3.1.2-6", "MQTT-3.2.2-2"},
             .level = CONFORM_MUST,
             .needs = CONFORM_SESSION,
             .run = session_present},
            {.id = "B-CONN-005",
             .name = "the same client identifier: the old connection is closed",
             .refs = {"MQTT-3.1.4-3"},
             .level = CONFORM_MUST,
             .run = takeover},
            {.id = "B-CONN-034",
             .name = "the same client identifier, again and again: only the last connection stays",
             .refs = {"MQTT-3.1.4-3"},
             .level = CONFORM_MUST,
             .run = takeovers},
            {.id = "B-CONN-018",
             .name = "a CONNECT that comes byte by byte is accepted",
             .refs = {"MQTT-3.1.4-5"},
             .level = CONFORM_MUST,
             .needs = CONFORM_SOCKET,
             .run = byte_by_byte},
            {.id = "B-CONN-019",
             .name = "every field of CONNECT is found in its place",
             .refs = {"MQTT-3.1.3-1"},
             .level = CONFORM_MUST,
             .run = every_field},
            {.id = "B-CONN-020",
             .name = "packets sent before CONNACK are processed once it is accepted",
             .refs = {"S3.1.4b"},
             .level = CONFORM_MAY,
             .run = pipelined},
            {.id = "B-CONN-021",
             .name = "a connection without CONNECT is closed in reasonable time",
             .refs = {"S3.1.4a"},
             .level = CONFORM_SHOULD,
             .lane = CONFORM_SLOW,
             .run = silent},
            {.id = "B-CONN-022",
             .name = "client identifiers of up to 23 letters and digits are accepted",
             .refs = {"MQTT-3.1.3-5"},
             .level = CONFORM_MUST,
             .run = id_forms,
             .row_count = id_count,
             .row = id_row},
            {.id = "B-CONN-023",
             .name = "a client identifier of one byte is accepted",
             .refs = {"MQTT-3.1.3-5"},
             .level = CONFORM_MUST,
             .needs = CONFORM_OWN_BROKER, /* somebody else may have it */
             .run = id_of_one_byte},
            {.id = "B-CONN-024",
             .name = "an empty client identifier that is accepted is replaced by one of the broker's",
             .refs = {"MQTT-3.1.3-7", "MQTT-3.1.3-6"},
             .level = CONFORM_MUST,
             .needs = CONFORM_EMPTY_ID,
             .run = assigned},
            {.id = "B-CONN-025",
             .name = "assigned client identifiers are not in use",
             .refs = {"MQTT-3.2.2-16", "MQTT-3.1.3-6"},
             .level = CONFORM_MUST,
             .needs = CONFORM_EMPTY_ID,
             .run = assigned_distinct},
            {.id = "B-CONN-026",
             .name = "the session belongs to the client identifier that was assigned",
             .refs = {"MQTT-3.1.3-7", "MQTT-3.1.3-6"},
             .level = CONFORM_MUST,
             .needs = CONFORM_EMPTY_ID | CONFORM_SESSION,
             .run = assigned_used},
            {.id = "B-CONN-036",
             .name = "clients without a client identifier are not one",
             .refs = {"MQTT-3.1.3-6"},
             .level = CONFORM_MUST,
             .needs = CONFORM_EMPTY_ID,
             .run = assigned_apart},
            {.id = "B-CONN-027",
             .name = "the client identifier names the session",
             .refs = {"MQTT-3.1.3-2"},
             .level = CONFORM_MUST,
             .needs = CONFORM_SESSION | CONFORM_QOS_1,
             .run = two_ids},
            {.id = "B-CONN-035",
             .name = "client identifiers that differ in capitals are two",
             .refs = {"MQTT-3.1.3-2"},
             .level = CONFORM_MUST,
             .run = case_of_id},
            {.id = "B-CONN-028",
             .name = "a session is resumed after DISCONNECT, behind its CONNACK",
             .refs = {"MQTT-3.1.2-5", "MQTT-3.2.0-1"},
             .level = CONFORM_MUST,
             .needs = CONFORM_SESSION | CONFORM_QOS_1,
             .run = resumed_after_disconnect},
            {.id = "B-CONN-029",
             .name = "a session with an expiry outlives the loss of its connection",
             .refs = {"MQTT-3.1.2-23"},
             .level = CONFORM_MUST,
             .needs = CONFORM_SESSION | CONFORM_QOS_1,
             .run = resumed_after_loss},
            {.id = "B-CONN-030",
             .name = "a clean start throws the old session away",
             .refs = {"MQTT-3.1.2-4"},
             .level = CONFORM_MUST,
             .needs = CONFORM_SESSION | CONFORM_QOS_1,
             .run = cleaned},
            {.id = "B-CONN-037",
             .name = "a clean start that takes over begins anew",
             .refs = {"MQTT-3.1.4-4", "MQTT-3.1.2-4"},
             .level = CONFORM_MUST,
             .run = clean_takeover},
            {.id = "B-CONN-031",
             .name = "without a Session Expiry Interval the session ends with its connection",
             .refs = {"S3.1.2.11.2a"},
             .level = CONFORM_MUST,
             .run = expiry_absent},
            {.id = "B-CONN-032",
             .name = "a session lives as long as CONNACK leaves it",
             .refs = {"S3.2.2.3.2a", "S3.1.2.11.2a"},
             .level = CONFORM_MUST,
             .needs = CONFORM_SESSION,
             .lane = CONFORM_SLOW,
             .run = expiry_holds}, )
