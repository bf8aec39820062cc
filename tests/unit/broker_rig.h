/* broker_rig.h: conversations with a broker as text, so that a rule of the standard is a page one can read.
 *
 *   opt receive_maximum=2            an option of the broker (before the first other line)
 *   a> CONNECT id=x expiry=60        what link a sends; a link is opened when it first speaks, and again after it was closed
 *   a< CONNACK 00                    the next thing link a gets; everything sent must be asked for before the next input
 *   a< CLOSE CLIENT_ERROR            the broker closed the link
 *   a! lost                          the link is lost
 *   +1500                            time passes (ms), deadlines fire on their time
 *   L> SUB q1 t/#                    L..Z are services in the same process; L< q1 t/a=payload is what they get
 *   kick x 98, shutdown, deny topic, refuse id reason [server reference]
 *   redirect x reference [for_good], forget x; restart, restart lose: every link is gone, without a word
 *   retained 3, sessions 2           so many there are now
 *   hook receive, hook reserved, hook authenticate    hooks that are not there otherwise (before the first other line)
 *   mute topic                       no client may receive it
 *   reserve 83                       what the service behind "$..." answers; R< x q1 $t=payload is what it gets from client x;
 *                                    what comes on $echo goes back to the client, on $echo/accepted
 *   a> CONNECT id=x auth=ask data=ok    method "ask" does as the data says: ok, more, no (0x87), words (more, with a reason
 *                                    in 40 letters), kick; H< a over is when it is told that link a has gone
 *   D> DELIVER x q1 t=payload        straight to client x
 *
 * The same text is run in several ways: whole, cut at every byte, and with each allocation failing.
 */
#ifndef BROKER_RIG_H
#define BROKER_RIG_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "cloud/broker.h"

#define RIG_LINKS 26

struct rig_link {
    struct rig *rig;
    char name;
    struct cloud_connection *connection;
    bool open;
    enum mq5_version version;
    struct cloud_peer peer;
    struct cloud_local *local;
    char out[16384];
    size_t out_length, out_read;
};

struct rig {
    struct cloud_broker_options options;
    struct cloud_broker *broker;
    int64_t now_us;
    struct rig_link link[2 * RIG_LINKS]; /* a..z are links, A..Z services */
    size_t piece;                        /* bytes given to the broker at once; 0: all */
    size_t cut_at;                       /* cut the stream of each link's bytes once, after so many; 0: not */
    bool lenient;                        /* allocations fail: whatever comes out is accepted */
    const char *script;
    int line;
    struct cloud_broker_ops ops;
    char deny[256], mute[256], refuse_id[64], refuse_reference[64];
    uint8_t refuse_reason, reserve_reason;
    long allocations, fail_at;
    long blocks;
    size_t bytes;
    char log[4096]; /* hooks */
    size_t log_length;
};

static void rig_fail(struct rig *rig, const char *format, ...)
{
    va_list list;
    if (rig->lenient)
        return;
    va_start(list, format);
    fprintf(stderr, "line %d (piece %zu, cut %zu): ", rig->line, rig->piece, rig->cut_at);
    vfprintf(stderr, format, list);
    fprintf(stderr, "\n");
    va_end(list);
#ifndef RIG_SHOW_ALL /* for writing scripts: prints every difference instead of stopping at the first */
    fail();
#endif
}

static void *rig_allocate(void *context, void *old, size_t old_size, size_t new_size)
{
    struct rig *rig = context;
    if (new_size == 0) {
        rig->blocks--;
        rig->bytes -= old_size;
        free(old);
        return NULL;
    }
    if (++rig->allocations == rig->fail_at)
        return NULL;
    rig->blocks++;
    rig->bytes += new_size;
    return malloc(new_size);
}

/* --- what comes out --- */

static void rig_put(struct rig_link *link, const char *format, ...)
{
    va_list list;
    va_start(list, format);
    int written = vsnprintf(link->out + link->out_length, sizeof(link->out) - link->out_length, format, list);
    va_end(list);
    if (link->out_length + (size_t)written < sizeof(link->out))
        link->out_length += (size_t)written;
}

static void rig_put_span(struct rig_link *link, struct span span)
{
    for (uint32_t i = 0; i < span.length && i < 40; i++)
        rig_put(link, span.data[i] > 32 && span.data[i] < 127 ? "%c" : "%%%02X", span.data[i]);
    if (span.length > 40)
        rig_put(link, "..%u", span.length);
}

static bool rig_has(const struct mq5_properties *properties, int property)
{
    return properties->present & MQ5_BIT(property);
}

static void rig_put_text(struct rig_link *link, const struct mq5_properties *p, int property, const char *name,
                         struct span value)
{
    if (!rig_has(p, property))
        return;
    rig_put(link, " %s=", name);
    rig_put_span(link, value);
}

static void rig_put_number(struct rig_link *link, const struct mq5_properties *p, int property, const char *name,
                           uint32_t value)
{
    if (rig_has(p, property))
        rig_put(link, " %s=%u", name, value);
}

static void rig_put_properties(struct rig_link *link, const struct mq5_properties *p)
{
    struct mq5_user_property pair;
    uint32_t id;
    rig_put_number(link, p, MQ5_TOPIC_ALIAS, "alias", p->topic_alias);
    rig_put_number(link, p, MQ5_PAYLOAD_FORMAT_INDICATOR, "pf", p->payload_format);
    rig_put_number(link, p, MQ5_MESSAGE_EXPIRY_INTERVAL, "exp", p->message_expiry_s);
    rig_put_text(link, p, MQ5_CONTENT_TYPE, "ct", p->content_type);
    rig_put_text(link, p, MQ5_RESPONSE_TOPIC, "rt", p->response_topic);
    rig_put_text(link, p, MQ5_CORRELATION_DATA, "cd", p->correlation_data);
    rig_put_number(link, p, MQ5_SESSION_EXPIRY_INTERVAL, "expiry", p->session_expiry_s);
    rig_put_number(link, p, MQ5_RECEIVE_MAXIMUM, "rm", p->receive_maximum);
    rig_put_number(link, p, MQ5_MAXIMUM_QOS, "qmax", p->maximum_qos);
    rig_put_number(link, p, MQ5_RETAIN_AVAILABLE, "ra", p->retain_available);
    rig_put_number(link, p, MQ5_MAXIMUM_PACKET_SIZE, "max", p->maximum_packet_size);
    rig_put_text(link, p, MQ5_ASSIGNED_CLIENT_IDENTIFIER, "assigned", p->assigned_client_id);
    rig_put_number(link, p, MQ5_TOPIC_ALIAS_MAXIMUM, "tam", p->topic_alias_maximum);
    rig_put_text(link, p, MQ5_AUTHENTICATION_METHOD, "auth", p->authentication_method);
    rig_put_text(link, p, MQ5_AUTHENTICATION_DATA, "data", p->authentication_data);
    rig_put_text(link, p, MQ5_REASON_STRING, "why", p->reason_string);
    rig_put_text(link, p, MQ5_SERVER_REFERENCE, "ref", p->server_reference);
    rig_put_number(link, p, MQ5_WILDCARD_SUBSCRIPTION_AVAILABLE, "wa", p->wildcard_available);
    rig_put_number(link, p, MQ5_SUBSCRIPTION_IDENTIFIER_AVAILABLE, "sia", p->subscription_id_available);
    rig_put_number(link, p, MQ5_SHARED_SUBSCRIPTION_AVAILABLE, "sha", p->shared_available);
    rig_put_number(link, p, MQ5_SERVER_KEEP_ALIVE, "ska", p->server_keep_alive_s);
    for (uint32_t offset = 0; mq5_subscription_id_next(p->encoded, &offset, &id);)
        rig_put(link, " sid=%u", id);
    for (uint32_t i = 0; i < p->subscription_id_count && p->subscription_ids; i++)
        rig_put(link, " sid=%u", p->subscription_ids[i]);
    for (uint32_t offset = 0; rig_has(p, MQ5_USER_PROPERTY) && mq5_user_property_next(p->encoded, &offset, &pair);) {
        rig_put(link, " up=");
        rig_put_span(link, pair.name);
        rig_put(link, ":");
        rig_put_span(link, pair.value);
    }
}

static void rig_put_publish(struct rig_link *link, const struct mq5_publish *publish)
{
    rig_put(link, "q%u ", publish->qos);
    if (publish->packet_id)
        rig_put(link, "#%u ", publish->packet_id);
    if (publish->dup)
        rig_put(link, "dup ");
    if (publish->retain)
        rig_put(link, "retain ");
    rig_put_span(link, publish->topic);
    rig_put(link, "=");
    rig_put_span(link, publish->payload);
    rig_put_properties(link, &publish->properties);
}

static void rig_put_packet(struct rig_link *link, const struct mq5_packet *packet)
{
    rig_put(link, "%s", mq5_type_name(packet->type));
    switch (packet->type) {
    case MQ5_CONNACK:
        rig_put(link, " %02X%s", packet->connack.reason, packet->connack.session_present ? " present" : "");
        rig_put_properties(link, &packet->connack.properties);
        break;
    case MQ5_PUBLISH:
        rig_put(link, " ");
        rig_put_publish(link, &packet->publish);
        break;
    case MQ5_PUBACK:
    case MQ5_PUBREC:
    case MQ5_PUBREL:
    case MQ5_PUBCOMP:
        rig_put(link, " #%u %02X", packet->ack.packet_id, packet->ack.reason);
        rig_put_properties(link, &packet->ack.properties);
        break;
    case MQ5_SUBACK:
    case MQ5_UNSUBACK:
        rig_put(link, " #%u", packet->suback.packet_id);
        for (uint32_t i = 0; i < packet->suback.reasons.length; i++)
            rig_put(link, " %02X", packet->suback.reasons.data[i]);
        rig_put_properties(link, &packet->suback.properties);
        break;
    case MQ5_DISCONNECT:
        rig_put(link, " %02X", packet->disconnect.reason);
        rig_put_text(link, &packet->disconnect.properties, MQ5_SERVER_REFERENCE, "ref",
                     packet->disconnect.properties.server_reference);
        break;
    case MQ5_AUTH:
        rig_put(link, " %02X", packet->auth.reason);
        rig_put_properties(link, &packet->auth.properties);
        break;
    default: break;
    }
    rig_put(link, "\n");
}

static void rig_send(void *context, void *link_handle, const uint8_t *data, size_t length)
{
    struct rig_link *link = link_handle;
    struct mq5_packet packet;
    struct mq5_error error;
    enum mq5_status status = mq5_decode(link->version, MQ5_FROM_SERVER, data, length, &packet, &error);
    if (!link->open)
        rig_fail(link->rig, "bytes after close to %c", link->name);
    if (status != MQ5_OK) {
        rig_fail(link->rig, "broker sent what a client may not take: %s (%s)", error.what, error.ref);
        return;
    }
    rig_put_packet(link, &packet);
}

static void rig_close(void *context, void *link_handle, enum cloud_close_reason reason)
{
    struct rig_link *link = link_handle;
    if (!link->open)
        rig_fail(link->rig, "%c closed twice", link->name);
    link->open = false;
    link->connection = NULL;
    rig_put(link, "CLOSE %s\n", cloud_close_reason_name(reason));
}

static void rig_log(struct rig *rig, const char *format, ...)
{
    va_list list;
    va_start(list, format);
    int written = vsnprintf(rig->log + rig->log_length, sizeof(rig->log) - rig->log_length, format, list);
    va_end(list);
    if (rig->log_length + (size_t)written < sizeof(rig->log))
        rig->log_length += (size_t)written;
}

static struct cloud_authorisation
rig_authorise_connect(void *context, int64_t now_us, const struct mq5_connect *connect, const struct cloud_peer *peer)
{
    struct rig *rig = context;
    if (rig->refuse_id[0] && span_equal(connect->client_id, span_text(rig->refuse_id)))
        return (struct cloud_authorisation){.reason = rig->refuse_reason ? rig->refuse_reason : MQ5_NOT_AUTHORIZED,
                                            .silent = rig->refuse_reason == 0,
                                            .server_reference = span_text(rig->refuse_reference)};
    return (struct cloud_authorisation){.reason = MQ5_SUCCESS, .silent = false};
}

static uint8_t rig_authorise_publish(void *context, struct span client_id, const struct cloud_peer *peer,
                                     const struct mq5_publish *publish)
{
    struct rig *rig = context;
    return rig->deny[0] && span_equal(publish->topic, span_text(rig->deny)) ? MQ5_NOT_AUTHORIZED : MQ5_SUCCESS;
}

static uint8_t rig_authorise_subscribe(void *context, struct span client_id, const struct cloud_peer *peer,
                                       struct span filter, uint8_t qos)
{
    struct rig *rig = context;
    return rig->deny[0] && span_equal(filter, span_text(rig->deny)) ? MQ5_NOT_AUTHORIZED : MQ5_SUCCESS;
}

static bool rig_authorise_receive(void *context, struct span client_id, const struct cloud_peer *peer,
                                  struct span topic)
{
    struct rig *rig = context;
    return !rig->mute[0] || !span_equal(topic, span_text(rig->mute));
}

static uint8_t rig_reserved(void *context, int64_t now_us, struct span client_id, const struct cloud_peer *peer,
                            const struct mq5_publish *publish)
{
    struct rig *rig = context;
    struct rig_link *link = &rig->link[RIG_LINKS + 'R' - 'A'];
    struct mq5_publish answer = {.topic = SPAN_LITERAL("$echo/accepted"), .payload = publish->payload};
    rig_put_span(link, client_id);
    rig_put(link, " ");
    rig_put_publish(link, publish);
    rig_put(link, "\n");
    answer.qos = publish->qos ? 1 : 0;
    if (span_equal(publish->topic, SPAN_LITERAL("$echo")) &&
        cloud_broker_deliver(rig->broker, now_us, client_id, &answer) != MQ5_SUCCESS)
        rig_fail(rig, "no answer from the reserved topic");
    return rig->reserve_reason;
}

static bool rig_is(struct span span, const char *text)
{
    return span_equal(span, span_text(text));
}

static struct cloud_authentication rig_authenticate(void *context, int64_t now_us, void *link_handle,
                                                    enum cloud_authentication_step step, struct span method,
                                                    struct span data)
{
    static const struct span answers[] = {SPAN_LITERAL("begun"), SPAN_LITERAL("on"), SPAN_LITERAL("again")};
    struct rig *rig = context;
    struct rig_link *link = link_handle;
    if (step == CLOUD_AUTHENTICATION_OVER) {
        rig_put(&rig->link[RIG_LINKS + 'H' - 'A'], "%c over\n", link->name);
        return (struct cloud_authentication){0};
    }
    if (!rig_is(method, "ask"))
        return (struct cloud_authentication){.reason = MQ5_BAD_AUTHENTICATION_METHOD, .what = "ask"};
    if (rig_is(data, "kick"))
        cloud_broker_cut(rig->broker, link->connection, now_us, MQ5_ADMINISTRATIVE_ACTION);
    if (rig_is(data, "no"))
        return (struct cloud_authentication){.reason = MQ5_NOT_AUTHORIZED};
    return (struct cloud_authentication){
        .reason = rig_is(data, "more") || rig_is(data, "words") ? MQ5_CONTINUE_AUTHENTICATION : MQ5_SUCCESS,
        .data = data.data ? answers[step] : data,
        .what = rig_is(data, "words") ? "a reason in forty letters, no more no less" : NULL};
}

static void rig_connected(void *context, int64_t now_us, struct span client_id, const struct cloud_peer *peer,
                          const struct mq5_connect *connect, bool resumed)
{
    rig_log(context, "+%.*s%s ", (int)client_id.length, (const char *)client_id.data, resumed ? "*" : "");
}

static void rig_disconnected(void *context, int64_t now_us, struct span client_id, const struct cloud_peer *peer,
                             enum cloud_close_reason reason)
{
    rig_log(context, "-%.*s:%s ", (int)client_id.length, (const char *)client_id.data, cloud_close_reason_name(reason));
}

static const struct cloud_broker_ops rig_ops = {.send = rig_send,
                                                .close = rig_close,
                                                .authorise_connect = rig_authorise_connect,
                                                .authorise_publish = rig_authorise_publish,
                                                .authorise_subscribe = rig_authorise_subscribe,
                                                .connected = rig_connected,
                                                .disconnected = rig_disconnected};

static void rig_deliver(void *context, int64_t now_us, const struct mq5_publish *message)
{
    struct rig_link *link = context;
    rig_put_publish(link, message);
    rig_put(link, "\n");
}

/* --- what goes in --- */

#include "tests/unit/broker_rig_words.h"

static void rig_feed(struct rig_link *link, const uint8_t *bytes, size_t length)
{
    struct rig *rig = link->rig;
    for (size_t at = 0; at < length && link->open;) {
        size_t piece = length - at;
        if (rig->piece && piece > rig->piece)
            piece = rig->piece;
        if (rig->cut_at && at == 0 && rig->cut_at < length)
            piece = rig->cut_at;
        /* A copy of its own, so that a sanitizer sees every byte read too far or too late. */
        uint8_t *copy = malloc(piece);
        memcpy(copy, bytes + at, piece);
        bool alive = cloud_broker_input(rig->broker, link->connection, rig->now_us, copy, piece);
        free(copy);
        if (alive != link->open)
            rig_fail(rig, "input() and close() do not agree");
        at += piece;
    }
}

static bool rig_open(struct rig_link *link)
{
    if (link->open)
        return true;
    link->out_length = link->out_read = 0;
    link->open = true;
    link->connection = cloud_broker_opened(link->rig->broker, link->rig->now_us, link, &link->peer);
    if (!link->connection) {
        link->open = false;
        rig_put(link, "FULL\n");
    }
    return link->open;
}

static void rig_service(struct rig_link *link, const struct rig_words *words)
{
    struct rig *rig = link->rig;
    struct mq5_user_property pairs[16];
    char name[2] = {link->name, 0};
    uint8_t reason = 0;
    if (strcmp(words->word[0], "DELIVER") == 0) {
        struct mq5_publish publish;
        rig_make_publish(words, &publish, pairs);
        reason = cloud_broker_deliver(rig->broker, rig->now_us, span_text(words->word[1]), &publish);
        if (reason)
            rig_put(link, "reason %02X\n", reason);
        return;
    }
    if (!link->local)
        link->local = cloud_broker_attach(rig->broker, span_text(name), rig_deliver, link);
    if (!link->local)
        return;
    if (strcmp(words->word[0], "SUB") == 0)
        reason = cloud_local_subscribe(link->local, rig->now_us, span_text(words->word[2]),
                                       (uint8_t)(words->word[1][1] - '0'));
    else if (strcmp(words->word[0], "UNSUB") == 0)
        cloud_local_unsubscribe(link->local, span_text(words->word[1]));
    else if (strcmp(words->word[0], "DETACH") == 0) {
        cloud_local_detach(link->local);
        link->local = NULL;
        return;
    } else {
        struct mq5_publish publish;
        rig_make_publish(words, &publish, pairs);
        if (publish.properties.user_count)
            publish.properties.present |= MQ5_BIT(MQ5_USER_PROPERTY);
        reason = cloud_local_publish(link->local, rig->now_us, &publish);
    }
    if (reason > 2)
        rig_put(link, "reason %02X\n", reason);
}

static struct rig_link *rig_link(struct rig *rig, char name)
{
    return name >= 'a' && name <= 'z' ? &rig->link[name - 'a'] : &rig->link[RIG_LINKS + name - 'A'];
}

static void rig_input(struct rig_link *link, const char *text)
{
    static uint8_t bytes[200000];
    struct rig_words words;
    size_t length = 0;
    rig_split(text, &words);
    if (link->name < 'a') {
        rig_service(link, &words);
        return;
    }
    if (!rig_open(link) || strcmp(text, "OPEN") == 0)
        return;
    char whole[4096]; /* several packets in one segment: joined by " & " */
    snprintf(whole, sizeof(whole), "%s", text);
    for (char *part = whole; part;) {
        char *next = strstr(part, " & ");
        if (next) {
            *next = 0;
            next += 3;
        }
        rig_split(part, &words);
        length += rig_encode(link, &words, bytes + length, sizeof(bytes) - length);
        part = next;
    }
    rig_feed(link, bytes, length);
}

/* --- the script --- */

static void rig_expect(struct rig_link *link, const char *text)
{
    const char *out = link->out + link->out_read;
    size_t available = link->out_length - link->out_read;
    const char *end = available ? memchr(out, '\n', available) : NULL;
    size_t length = end ? (size_t)(end - out) : 0;
    if (!end)
        rig_fail(link->rig, "%c got nothing, expected: %s", link->name, text);
    else if (length != strlen(text) || strncmp(out, text, length) != 0)
        rig_fail(link->rig, "%c\n  got:      %.*s\n  expected: %s", link->name, (int)length, out, text);
    if (end)
        link->out_read += length + 1;
}

static void rig_all_read(struct rig *rig)
{
    for (int i = 0; i < 2 * RIG_LINKS; i++) {
        struct rig_link *link = &rig->link[i];
        if (link->out_read < link->out_length)
            rig_fail(rig, "%c got more: %.*s", link->name, (int)(link->out_length - link->out_read),
                     link->out + link->out_read);
        link->out_read = link->out_length = 0;
    }
}

static void rig_pass_time(struct rig *rig, int64_t us)
{
    int64_t until = rig->now_us + us;
    while (cloud_broker_next_deadline(rig->broker) <= until) {
        int64_t deadline = cloud_broker_next_deadline(rig->broker);
        if (deadline > rig->now_us)
            rig->now_us = deadline;
        cloud_broker_tick(rig->broker, rig->now_us);
    }
    rig->now_us = until;
}

static void rig_option(struct rig *rig, const char *text)
{
    struct rig_words words;
    rig_split(text, &words);
    struct cloud_broker_options *o = &rig->options;
    uint32_t n;
#define RIG_OPTION(name)                                                                                               \
    if (rig_number(&words, #name, &n))                                                                                 \
    o->name = (__typeof__(o->name))n
    RIG_OPTION(maximum_connections);
    RIG_OPTION(maximum_sessions);
    RIG_OPTION(maximum_retained);
    RIG_OPTION(maximum_subscriptions_per_session);
    RIG_OPTION(maximum_queued_per_session);
    RIG_OPTION(maximum_queued_bytes);
    RIG_OPTION(maximum_packet_size);
    RIG_OPTION(maximum_session_expiry_s);
    RIG_OPTION(receive_maximum);
    RIG_OPTION(topic_alias_maximum);
    RIG_OPTION(outbound_topic_aliases);
    RIG_OPTION(keep_alive_minimum_s);
    RIG_OPTION(keep_alive_maximum_s);
    RIG_OPTION(maximum_qos);
    RIG_OPTION(retain_available);
    RIG_OPTION(wildcard_available);
    RIG_OPTION(subscription_ids_available);
    RIG_OPTION(shared_available);
    RIG_OPTION(require_client_id);
    RIG_OPTION(allow_v311);
    RIG_OPTION(dollar_topics_reserved);
    RIG_OPTION(denied_publish_closes_v5);
    RIG_OPTION(denied_publish_closes_v311);
    RIG_OPTION(denied_subscribe_closes);
#undef RIG_OPTION
}

/* The restarted broker calls no close(): the door forgets its links. */
static void rig_restart(struct rig *rig, bool keep_sessions)
{
    bool open[RIG_LINKS];
    for (int i = 0; i < RIG_LINKS; i++)
        open[i] = rig->link[i].open;
    cloud_broker_restart(rig->broker, rig->now_us, keep_sessions);
    for (int i = 0; i < RIG_LINKS; i++) {
        if (rig->link[i].open != open[i])
            rig_fail(rig, "a restart closed %c", rig->link[i].name);
        rig->link[i].open = false;
    }
}

static void rig_counted(struct rig *rig, const char *what, uint64_t count, const char *expected)
{
    if (count != strtoull(expected, NULL, 10))
        rig_fail(rig, "%llu %s, expected %s", (unsigned long long)count, what, expected);
}

static bool rig_administer(struct rig *rig, const struct rig_words *words)
{
    struct cloud_broker_counts counts;
    struct span id = span_text(words->count > 1 ? words->word[1] : "");
    cloud_broker_count(rig->broker, &counts);
    if (strcmp(words->word[0], "redirect") == 0) {
        if (!cloud_broker_redirect(rig->broker, rig->now_us, id, span_text(words->word[2]),
                                   rig_flag(words, "for_good")))
            rig_fail(rig, "nobody to redirect");
    } else if (strcmp(words->word[0], "forget") == 0) {
        if (!cloud_broker_forget(rig->broker, rig->now_us, id))
            rig_fail(rig, "nobody to forget");
    } else if (strcmp(words->word[0], "restart") == 0) {
        rig_restart(rig, !rig_flag(words, "lose"));
    } else if (strcmp(words->word[0], "retained") == 0) {
        rig_counted(rig, "retained", counts.retained, words->word[1]);
    } else if (strcmp(words->word[0], "sessions") == 0) {
        rig_counted(rig, "sessions", counts.sessions, words->word[1]);
    } else {
        return false;
    }
    return true;
}

static void rig_command(struct rig *rig, const char *line)
{
    struct rig_words words;
    rig_split(line, &words);
    if (rig_administer(rig, &words))
        return;
    if (strcmp(words.word[0], "kick") == 0) {
        if (!cloud_broker_kick(rig->broker, rig->now_us, span_text(words.word[1]),
                               (uint8_t)strtoul(words.word[2], NULL, 16)))
            rig_fail(rig, "nobody to kick");
    } else if (strcmp(words.word[0], "shutdown") == 0) {
        cloud_broker_shutdown(rig->broker, rig->now_us);
    } else if (strcmp(words.word[0], "deny") == 0) {
        snprintf(rig->deny, sizeof(rig->deny), "%s", words.count > 1 ? words.word[1] : "");
    } else if (strcmp(words.word[0], "mute") == 0) {
        snprintf(rig->mute, sizeof(rig->mute), "%s", words.count > 1 ? words.word[1] : "");
    } else if (strcmp(words.word[0], "reserve") == 0) {
        rig->reserve_reason = (uint8_t)strtoul(words.word[1], NULL, 16);
    } else if (strcmp(words.word[0], "refuse") == 0) {
        snprintf(rig->refuse_id, sizeof(rig->refuse_id), "%s", words.word[1]);
        rig->refuse_reason = (uint8_t)strtoul(words.word[2], NULL, 16);
        snprintf(rig->refuse_reference, sizeof(rig->refuse_reference), "%s", words.count > 3 ? words.word[3] : "");
    } else {
        rig_fail(rig, "unknown line: %s", line);
    }
}

static bool rig_start(struct rig *rig)
{
    if (!rig->broker)
        rig->broker = cloud_broker_create(&rig->options, &rig->ops, rig, 7);
    return rig->broker;
}

static bool rig_line(struct rig *rig, const char *line)
{
    if (!line[0] || line[0] == '/')
        return true;
    if (strncmp(line, "opt ", 4) == 0) {
        rig_option(rig, line);
        return true;
    }
    if (strncmp(line, "hook ", 5) == 0) {
        if (strcmp(line + 5, "receive") == 0)
            rig->ops.authorise_receive = rig_authorise_receive;
        else if (strcmp(line + 5, "authenticate") == 0)
            rig->ops.authenticate = rig_authenticate;
        else
            rig->ops.reserved = rig_reserved;
        return true;
    }
    if (!rig_start(rig))
        return false;
    struct rig_link *link = line[1] && strchr("><!", line[1]) && line[2] == ' ' ? rig_link(rig, line[0]) : NULL;
    if (link && line[1] == '<') {
        rig_expect(link, line + 3);
        return true;
    }
    rig_all_read(rig);
    if (link && line[1] == '>') {
        rig_input(link, line + 3);
    } else if (link) {
        if (link->open) {
            link->open = false;
            cloud_broker_closed(rig->broker, link->connection, rig->now_us);
        } else {
            rig_fail(rig, "%c is not open", link->name);
        }
    } else if (line[0] == '+') {
        rig_pass_time(rig, strtoll(line + 1, NULL, 10) * US_PER_MS);
    } else {
        rig_command(rig, line);
    }
    return true;
}

static void rig_init(struct rig *rig)
{
    memset(rig, 0, sizeof(*rig));
    rig->ops = rig_ops;
    cloud_broker_defaults(&rig->options);
    rig->options.allocate = rig_allocate;
    rig->options.allocate_context = rig;
    for (int i = 0; i < 2 * RIG_LINKS; i++) {
        rig->link[i].rig = rig;
        rig->link[i].version = MQ5_V5;
        rig->link[i].name = (char)(i < RIG_LINKS ? 'a' + i : 'A' + i - RIG_LINKS);
    }
}

static void rig_end(struct rig *rig)
{
    if (rig->broker) {
        struct cloud_broker_counts counts;
        cloud_broker_state_hash(rig->broker);
        cloud_broker_count(rig->broker, &counts);
        if (counts.memory_bytes != rig->bytes) {
            rig->lenient = false;
            rig_fail(rig, "memory counted %llu, held %zu", (unsigned long long)counts.memory_bytes, rig->bytes);
        }
    }
    cloud_broker_destroy(rig->broker);
    rig->broker = NULL;
    assert_int_equal(rig->blocks, 0);
    assert_int_equal(rig->bytes, 0);
}

/* Runs the lines, up to the end of the text. */
static void rig_play(struct rig *rig, const char *script)
{
    char line[4096];
    rig->line = 0;
    while (*script) {
        const char *end = strchr(script, '\n');
        size_t length = end ? (size_t)(end - script) : strlen(script);
        snprintf(line, sizeof(line), "%.*s", (int)length, script);
        rig->line++;
        if (!rig_line(rig, line))
            break;
        script += length + (end != NULL);
    }
    if (rig->broker)
        rig_all_read(rig);
}

static struct rig *rig_new(void)
{
    struct rig *rig = malloc(sizeof(*rig));
    rig_init(rig);
    return rig;
}

/* Whole, byte by byte, and every packet cut once at each of its first 40 bytes: always the same answers. */
static void rig_run(const char *script)
{
    struct rig *rig = rig_new();
    for (size_t way = 0; way < 42; way++) {
        rig_init(rig);
        rig->piece = way == 1;
        rig->cut_at = way < 2 ? 0 : way - 1;
        rig_play(rig, script);
        rig_end(rig);
    }
    free(rig);
}

/* Each allocation fails once: nothing breaks, nothing leaks. Returns how many there were. */
static long rig_sweep(const char *script)
{
    struct rig *rig = rig_new();
    long last;
    for (long at = 1;; at++) {
        rig_init(rig);
        rig->lenient = true;
        rig->fail_at = at;
        rig_play(rig, script);
        last = rig->allocations;
        rig_end(rig);
        if (last < at)
            break;
    }
    free(rig);
    return last;
}

struct rig_case {
    const char *name, *script;
};

static inline void rig_run_cases(const struct rig_case *cases, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        fprintf(stderr, "           %s\n", cases[i].name);
        rig_run(cases[i].script);
    }
}

static inline void rig_sweep_cases(const struct rig_case *cases, size_t count)
{
    for (size_t i = 0; i < count; i++)
        assert_true(rig_sweep(cases[i].script) > 0);
}

#define RIG_MAIN(cases)                                                                                                \
    static void conversations(void **state)                                                                            \
    {                                                                                                                  \
        rig_run_cases(cases, sizeof(cases) / sizeof(*cases));                                                          \
    }                                                                                                                  \
    static void each_allocation_fails(void **state)                                                                    \
    {                                                                                                                  \
        rig_sweep_cases(cases, sizeof(cases) / sizeof(*cases));                                                        \
    }                                                                                                                  \
    int main(void)                                                                                                     \
    {                                                                                                                  \
        const struct CMUnitTest tests[] = {cmocka_unit_test(conversations), cmocka_unit_test(each_allocation_fails)};  \
        return cmocka_run_group_tests(tests, NULL, NULL);                                                              \
    }

#endif
