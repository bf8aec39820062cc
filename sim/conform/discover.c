/* discover.c: what a broker can do, before anything is judged: what its CONNACK says, then small conversations that show whether it is so.
 *
 * Each conversation is written as a check is, and its verdict decides one bit of `has`. What was learnt, and from what, stands in `learnt`.
 */
#include "internal.h"

#include <stdio.h>
#include <stdlib.h>

#define SESSION_ASKED_S    300
#define SESSION_LEAST_S    5
#define SMALL_PACKET_BYTES (1u << 20)
#define PINGS              40

static void learn(struct suite *suite, uint32_t bit, bool has, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
static void learn(struct suite *suite, uint32_t bit, bool has, const char *format, ...)
{
    uint32_t index = (uint32_t)__builtin_ctz(bit);
    va_list arguments;
    suite->broker.has = has ? suite->broker.has | bit : suite->broker.has & ~bit;
    va_start(arguments, format);
    vsnprintf(suite->broker.learnt[index], sizeof(suite->broker.learnt[index]), format, arguments);
    va_end(arguments);
}

/* ---- what the CONNACK says ----------------------------------------------------------------------------------------------------- */

static bool told(const struct mq5_properties *properties, enum mq5_property property)
{
    return properties->present & MQ5_BIT(property);
}

static bool available(const struct mq5_properties *properties, enum mq5_property property, uint8_t value)
{
    return !told(properties, property) || value != 0;
}

static void read_connack(struct suite *suite, const struct mq5_properties *properties)
{
    struct conform_broker *broker = &suite->broker;
    broker->maximum_qos = told(properties, MQ5_MAXIMUM_QOS) ? properties->maximum_qos : 2;
    broker->receive_maximum = told(properties, MQ5_RECEIVE_MAXIMUM) ? properties->receive_maximum : 65535;
    broker->topic_alias_maximum = told(properties, MQ5_TOPIC_ALIAS_MAXIMUM) ? properties->topic_alias_maximum : 0;
    broker->maximum_packet_size = told(properties, MQ5_MAXIMUM_PACKET_SIZE) ? properties->maximum_packet_size : 0;
    broker->session_expiry_s =
        told(properties, MQ5_SESSION_EXPIRY_INTERVAL) ? properties->session_expiry_s : SESSION_ASKED_S;
    bool retain = available(properties, MQ5_RETAIN_AVAILABLE, properties->retain_available);
    bool wildcard = available(properties, MQ5_WILDCARD_SUBSCRIPTION_AVAILABLE, properties->wildcard_available);
    bool identifiers =
        available(properties, MQ5_SUBSCRIPTION_IDENTIFIER_AVAILABLE, properties->subscription_id_available);
    bool shared = available(properties, MQ5_SHARED_SUBSCRIPTION_AVAILABLE, properties->shared_available);
    learn(suite, CONFORM_QOS_1, broker->maximum_qos >= 1, "CONNACK: Maximum QoS %u", broker->maximum_qos);
    learn(suite, CONFORM_QOS_2, broker->maximum_qos >= 2, "CONNACK: Maximum QoS %u", broker->maximum_qos);
    learn(suite, CONFORM_LOW_QOS, broker->maximum_qos < 2, "CONNACK: Maximum QoS %u", broker->maximum_qos);
    learn(suite, CONFORM_RETAIN, retain, "CONNACK: Retain Available %d", retain);
    learn(suite, CONFORM_NO_RETAIN, !retain, "CONNACK: Retain Available %d", retain);
    learn(suite, CONFORM_WILDCARD, wildcard, "CONNACK: Wildcard Subscription Available %d", wildcard);
    learn(suite, CONFORM_NO_WILDCARD, !wildcard, "CONNACK: Wildcard Subscription Available %d", wildcard);
    learn(suite, CONFORM_SUBSCRIPTION_ID, identifiers, "CONNACK: Subscription Identifiers Available %d", identifiers);
    learn(suite, CONFORM_NO_SUBSCRIPTION_ID, !identifiers, "CONNACK: Subscription Identifiers Available %d",
          identifiers);
    learn(suite, CONFORM_SHARED, shared, "CONNACK: Shared Subscription Available %d", shared);
    learn(suite, CONFORM_NO_SHARED, !shared, "CONNACK: Shared Subscription Available %d", shared);
    learn(suite, CONFORM_ALIAS_IN, broker->topic_alias_maximum > 0, "CONNACK: Topic Alias Maximum %u",
          broker->topic_alias_maximum);
    learn(suite, CONFORM_SESSION, broker->session_expiry_s >= SESSION_LEAST_S, "CONNACK: Session Expiry %u s for %d s",
          broker->session_expiry_s, SESSION_ASKED_S);
    learn(suite, CONFORM_SMALL_PACKETS,
          broker->maximum_packet_size > 0 && broker->maximum_packet_size <= SMALL_PACKET_BYTES,
          "CONNACK: Maximum Packet Size %u", broker->maximum_packet_size);
}

/* A span that outlives the probe. */
static struct span kept(struct suite *suite, struct span text)
{
    uint8_t *copy = arena_take(&suite->arena, text.length + 1);
    if (text.length)
        memcpy(copy, text.data, text.length);
    return (struct span){copy, text.length};
}

static void ask_connack(struct conform_probe *probe)
{
    struct suite *suite = probe->suite;
    struct mq5_connect login = probe_login(probe, 1);
    wire_end(probe_connect(probe, "first of all"),
             WIRE_FIN); /* who is not let in has asked for nothing that may stay */
    set_session_expiry(&login, SESSION_ASKED_S);
    set_alias_maximum(&login, 10);
    set_problem_information(&login, 1);
    SET_PROPERTY(login.properties, request_response_information, MQ5_REQUEST_RESPONSE_INFORMATION, 1);
    struct wire *wire = probe_connect_as(probe, "discovery", &login);
    struct mq5_properties *properties = &suite->broker.told;
    *properties = wire_connack(wire)->properties;
    properties->assigned_client_id = kept(suite, properties->assigned_client_id);
    properties->response_information = kept(suite, properties->response_information);
    properties->server_reference = kept(suite, properties->server_reference);
    properties->reason_string = kept(suite, properties->reason_string);
    properties->authentication_method = kept(suite, properties->authentication_method);
    properties->encoded = kept(suite, properties->encoded);
    read_connack(suite, properties);
    want_alive(wire, "of the first connection");
}

/* ---- what it does ------------------------------------------------------------------------------------------------------------------ */

static int by_size(const void *a, const void *b)
{
    int64_t left = *(const int64_t *)a, right = *(const int64_t *)b;
    return left < right ? -1 : left > right;
}

static void measure(struct conform_probe *probe)
{
    int64_t times[PINGS];
    struct wire *wire = probe_connect(probe, "round trips");
    for (int i = 0; i < PINGS; i++) {
        int64_t began_us = probe_now(probe);
        want_alive(wire, "of a round trip");
        times[i] = probe_now(probe) - began_us;
    }
    qsort(times, PINGS, sizeof(times[0]), by_size);
    probe->suite->broker.round_trip_median_us = times[PINGS / 2];
    probe->suite->broker.round_trip_p99_us = times[PINGS - 1];
}

/* From SUBACK to the first message: several times, the longest counts. */
static void measure_subscription(struct conform_probe *probe)
{
    struct wire *wire = probe_connect(probe, "subscriber");
    struct wire *publisher = probe_connect(probe, "publisher");
    int64_t longest_us = 0;
    for (int round = 0; round < 5; round++) {
        const char *topic = probe_topic(probe, "delay/%d", round);
        struct mq5_subscription list = subscription(topic, 0);
        wire_subscribe_with(wire, &list, 1, 0);
        int64_t began_us = probe_now(probe);
        struct mq5_packet packet = {.type = MQ5_PUBLISH, .publish = message(topic, "probe", 0)};
        bool seen = false;
        for (int i = 0; i < 40 && !seen; i++) {
            wire_send(publisher, &packet);
            need_alive(publisher, "after a message"); /* the broker has read it */
            seen = try_message(wire, topic, "probe", 250 * US_PER_MS) != NULL;
            if (!seen && i == 0)
                note(probe, "a message right after SUBACK did not arrive");
            if (seen && i > 0 && probe_now(probe) - began_us > longest_us)
                longest_us = probe_now(probe) - began_us;
        }
        want(probe, seen, "no message arrives at its subscriber");
    }
    probe->suite->broker.subscription_delay_us = longest_us;
}

static void empty_id(struct conform_probe *probe)
{
    struct mq5_connect login = probe_login(probe, 0);
    login.client_id = (struct span){0};
    struct wire *wire = probe_open(probe, "nameless");
    const struct mq5_connack *connack = wire_login(wire, &login);
    want(probe, connack && connack->reason == 0, "CONNACK 0x%02x", connack ? connack->reason : 0);
}

static void arrives(struct conform_probe *probe, const char *topic, const char *filter, uint8_t qos)
{
    struct wire *wire = probe_connect(probe, "subscriber");
    struct mq5_subscription list = subscription(filter, qos);
    const struct mq5_suback *suback = wire_subscribe_with(wire, &list, 1, 0);
    want(probe, suback->reasons.length == 1 && suback->reasons.data[0] == qos, "SUBACK 0x%02x",
         suback->reasons.length ? suback->reasons.data[0] : 0);
    struct wire *publisher = probe_connect(probe, "publisher");
    for (int i = 0; i < 8; i++) {
        struct mq5_publish publish = message(topic, "probe", qos);
        want(probe, wire_publish_packet(publisher, &publish) < 0x80, "PUBLISH is refused");
        if (try_message(wire, topic, "probe", US_PER_S / 2))
            return;
    }
    want(probe, false, "nothing arrives");
}

static void qos_2(struct conform_probe *probe)
{
    arrives(probe, probe_topic(probe, "qos2"), probe_topic(probe, "qos2"), 2);
}

static void dollar(struct conform_probe *probe)
{
    const char *topic = probe_text(probe, "$mc5%s/d", probe->suite->run);
    arrives(probe, topic, topic, 0);
}

static void wildcard(struct conform_probe *probe)
{
    arrives(probe, probe_topic(probe, "w/x"), probe_topic(probe, "+/x"), 0);
}

static void shared(struct conform_probe *probe)
{
    const char *topic = probe_topic(probe, "shared");
    arrives(probe, topic, probe_text(probe, "$share/%s/%s", probe_share(probe, 0), topic), 0);
}

static void retained(struct conform_probe *probe, uint8_t qos)
{
    const char *topic = probe_topic(probe, "kept");
    struct wire *publisher = probe_connect(probe, "publisher");
    wire_publish_retained(publisher, topic, "kept", qos);
    need_alive(publisher, "after a retained message");
    struct wire *wire = probe_connect(probe, "late subscriber");
    struct mq5_subscription list = subscription(topic, 1);
    wire_subscribe_with(wire, &list, 1, 0);
    want(probe, try_message(wire, topic, "kept", 2 * US_PER_S) != NULL, "the retained message does not come");
}

static void retained_1(struct conform_probe *probe)
{
    retained(probe, 1);
}

static void retained_0(struct conform_probe *probe)
{
    retained(probe, 0);
}

static void session(struct conform_probe *probe)
{
    struct mq5_connect login = probe_login(probe, 0);
    set_session_expiry(&login, SESSION_ASKED_S);
    login.clean_start = login.version == MQ5_V5; /* in 3.1.1 it says that nothing is to be kept */
    wire_disconnect(probe_connect_as(probe, "first", &login), MQ5_SUCCESS);
    struct wire *again = probe_resume(probe, "again", &login, false);
    want(probe, wire_connack(again)->session_present, "Session Present 0");
}

static void aliases_out(struct conform_probe *probe)
{
    const char *topic = probe_topic(probe, "alias");
    struct mq5_connect login = probe_login(probe, 0);
    set_alias_maximum(&login, 10);
    struct wire *wire = probe_connect_as(probe, "subscriber", &login);
    wire_subscribe(wire, topic, 1);
    struct wire *publisher = probe_connect(probe, "publisher");
    bool used = false;
    for (int i = 0; i < 4; i++) {
        wire_publish(publisher, topic, probe_text(probe, "%d", i), 1);
        const struct received *received = need_message(wire, NULL, probe_text(probe, "%d", i));
        used |= told(&received->packet.publish.properties, MQ5_TOPIC_ALIAS);
    }
    want(probe, used, "none of four messages on one topic has an alias");
}

static void version_311(struct conform_probe *probe)
{
    struct mq5_connect login = probe_login(probe, 0);
    login.version = MQ5_V311;
    struct wire *wire = probe_open(probe, "3.1.1");
    const struct mq5_connack *connack = wire_login(wire, &login);
    want(probe, connack && connack->reason == 0, "CONNACK %u", connack ? connack->reason : 0);
}

static enum conform_verdict hold(struct suite *suite, void (*run)(struct conform_probe *), const char *name,
                                 enum mq5_version version, uint32_t number, char *why, size_t capacity)
{
    struct conform_check check = {.id = name,
                                  .name = name,
                                  .refs = {"MQTT-4.2-1"},
                                  .level = CONFORM_MUST,
                                  .run = run,
                                  .version = suite_protocol(suite) == MQ5_V311 ? MQ5_V311 : version};
    struct conform_result result = {.check = &check, .ref = check.refs[0]};
    probe_run(suite, &result, 0, 400000 + number, 0);
    snprintf(why, capacity, "%.280s", result.why);
    struct arena *arena = result.memory;
    arena_free(&arena);
    return result.verdict;
}

static const struct question {
    uint32_t bit, needs;
    void (*run)(struct conform_probe *probe);
    const char *name;
    enum mq5_version version;
    bool only_5;
} questions[] = {
    {CONFORM_EMPTY_ID, 0, empty_id, "an empty client identifier", MQ5_V5, false},
    {CONFORM_QOS_2, CONFORM_QOS_2, qos_2, "a message of QoS 2", MQ5_V5, false},
    {CONFORM_DOLLAR, 0, dollar, "a topic that begins with $", MQ5_V5, false},
    {CONFORM_WILDCARD, CONFORM_WILDCARD, wildcard, "a filter with +", MQ5_V5, false},
    {CONFORM_SHARED, CONFORM_SHARED, shared, "a shared subscription", MQ5_V5, true},
    {CONFORM_RETAIN, CONFORM_RETAIN, retained_1, "a retained message", MQ5_V5, false},
    {CONFORM_RETAIN_QOS_0, CONFORM_RETAIN, retained_0, "a retained message of QoS 0", MQ5_V5, false},
    {CONFORM_SESSION, CONFORM_SESSION, session, "a session resumed", MQ5_V5, false},
    {CONFORM_ALIAS_OUT, 0, aliases_out, "topic aliases from the broker", MQ5_V5, true},
    {CONFORM_VERSION_311, 0, version_311, "a client of MQTT 3.1.1", MQ5_V311, false},
};

static void told_by_hand(struct suite *suite)
{
    const struct conform_profile *profile = suite->options->profile;
    enum transport_scheme scheme = target_scheme(suite->target);
    bool web = scheme == TRANSPORT_WS || scheme == TRANSPORT_WSS;
    learn(suite, CONFORM_SOCKET, !web, "the address");
    learn(suite, CONFORM_WEBSOCKET, web, "the address");
    learn(suite, CONFORM_TLS, scheme == TRANSPORT_TLS || scheme == TRANSPORT_WSS, "the address");
    learn(suite, CONFORM_OWN_BROKER, suite->options->own_broker, "--own-broker");
    learn(suite, CONFORM_REFUSED_TOPIC, profile_told(profile, "refused_topic"), "the profile");
    learn(suite, CONFORM_REFUSED_FILTER, profile_told(profile, "refused_filter"), "the profile");
    learn(suite, CONFORM_REFUSED_LOGIN, profile_told(profile, "refused_user"), "the profile");
    learn(suite, CONFORM_REFUSED_ID, profile_told(profile, "refused_id"), "the profile");
    learn(suite, CONFORM_AUTH_METHOD, profile_told(profile, "auth_method"), "the profile");
}

bool discover(struct suite *suite, char *error, size_t error_capacity)
{
    char why[300] = "";
    uint32_t number = 0;
    suite->broker.subscription_delay_us = 1; /* nothing is known of it yet */
    if (hold(suite, ask_connack, "discovery", MQ5_V5, number++, why, sizeof(why)) != CONFORM_PASS) {
        snprintf(error, error_capacity, "%s: %s", target_name(suite->target), why);
        return false;
    }
    if (hold(suite, measure, "round trips", MQ5_V5, number++, why, sizeof(why)) != CONFORM_PASS ||
        hold(suite, measure_subscription, "subscriptions", MQ5_V5, number++, why, sizeof(why)) != CONFORM_PASS) {
        snprintf(error, error_capacity, "%s cannot be checked: %s", target_name(suite->target), why);
        return false;
    }
    if (suite->broker.round_trip_p99_us * 20 > suite->patience_us)
        suite->patience_us = suite->broker.round_trip_p99_us * 20;
    for (size_t i = 0; i < sizeof(questions) / sizeof(questions[0]) && !suite_stopped(suite); i++) {
        const struct question *question = &questions[i];
        if ((suite->broker.has & question->needs) != question->needs)
            continue;
        if (suite_protocol(suite) == MQ5_V311 && question->only_5)
            continue;
        bool has =
            hold(suite, question->run, question->name, question->version, number++, why, sizeof(why)) == CONFORM_PASS;
        learn(suite, question->bit, has, "tried: %s%s%.60s", question->name, has ? " works" : ": ", has ? "" : why);
    }
    told_by_hand(suite);
    return true;
}
