/* check.h: what a check is written with.
 *
 * A check is a function that plays clients (wires) in straight lines: it blocks, and ends at the first word that decides. Three kinds of words:
 *   need_...: a precondition or a control. When it does not hold the check is inconclusive: nothing was learnt about the statement.
 *   want...:  the statement itself. When it does not hold the check has failed (at the check's level).
 *   should(): a part of its own, of the standard's "should": a warning beside the verdict.
 * A check that ends without having wanted anything is an error of the rig. All memory and all wires are the probe's and end with it; words may
 * end the check from any depth (longjmp): keep nothing that must be freed.
 *
 * Every wire reads all the time, whatever is waited for; packets are kept in the order they came, judged by the monitors, and acknowledged as
 * the standard says unless wire_hold_acks(). Waiting for one packet leaves the others where they are.
 *
 * "Nothing arrives" is never a silence alone: send a marker afterwards by the same way, need it, then want the other's absence.
 * Deadlines of what must come are generous (10 s and more, scaled by the round trip); a late answer costs time, never a verdict.
 */
#ifndef CONFORM_CHECK_H
#define CONFORM_CHECK_H

#include "sim/conform.h"

struct wire;

/* ---- names: all under this run's, this check's own ------------------------------------------------------------------- */

/* "mc5/RUN/CHECK/<name>": a topic or filter nobody else uses. */
const char *probe_topic(struct conform_probe *probe, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* A client id of 17 letters and digits; the same number, the same id. wire n of a check has number n unless told otherwise. */
const char *probe_client_id(struct conform_probe *probe, uint32_t number);
const char *probe_share(struct conform_probe *probe, uint32_t number); /* a share name */
const char *probe_text(struct conform_probe *probe, const char *format, ...) __attribute__((format(printf, 2, 3)));
void *probe_memory(struct conform_probe *probe, size_t size); /* zeroed */
uint8_t *probe_bytes(struct conform_probe *probe, size_t size, uint8_t fill);
uint32_t probe_row(const struct conform_probe *probe);
const struct conform_broker *probe_broker(const struct conform_probe *probe);
bool probe_has(const struct conform_probe *probe, uint32_t need); /* of struct conform_check.needs */
/* What the profile tells: "refused_topic", "refused_filter", "refused_user", "refused_password", "refused_id", "auth_method", "auth_data",
 * "auth_user", "auth_password"; NULL: nothing. */
const char *probe_told(const struct conform_probe *probe, const char *key);

/* ---- verdicts -------------------------------------------------------------------------------------------------------- */

/* The statement, in words of what was expected; the text is of what came instead. Ends the check when false. */
void want(struct conform_probe *probe, bool holds, const char *format, ...) __attribute__((format(printf, 3, 4)));
/* From here on it is this one of the check's statements that is asserted: a failure counts against it. Without, it is the first. */
void judge_as(struct conform_probe *probe, const char *ref);
/* What a monitor ("M-FLAGS") has found in this check so far; NULL: nothing. */
const char *probe_hit(const struct conform_probe *probe, const char *monitor);
/* A part at the level of SHOULD; goes on either way. `part` is a short name, `ref` its statement or NULL for the check's. */
void should(struct conform_probe *probe, const char *part, const char *ref, bool holds, const char *format, ...)
    __attribute__((format(printf, 5, 6)));
/* A precondition, a control. */
void need(struct conform_probe *probe, bool holds, const char *format, ...) __attribute__((format(printf, 3, 4)));
/* What the broker lacks for this check, found out on the way. */
_Noreturn void skip(struct conform_probe *probe, const char *format, ...) __attribute__((format(printf, 2, 3)));
void note(struct conform_probe *probe, const char *format, ...)
    __attribute__((format(printf, 2, 3))); /* into the trace */

/* ---- a wire's life ---------------------------------------------------------------------------------------------------- */

/* CONNECT of a client with its own id: clean start, keep alive 60 s, no properties but a session expiry of 0, no will; user and password as the
 * run was given. To be changed before it is sent. */
struct mq5_connect probe_login(struct conform_probe *probe, uint32_t number);
void set_session_expiry(struct mq5_connect *login, uint32_t seconds); /* sessions: at most 300 s */
void set_receive_maximum(struct mq5_connect *login, uint16_t maximum);
void set_maximum_packet_size(struct mq5_connect *login, uint32_t bytes);
void set_alias_maximum(struct mq5_connect *login, uint16_t maximum);
void set_problem_information(struct mq5_connect *login, uint8_t wanted);
void set_will(struct mq5_connect *login, const char *topic, const char *payload, uint8_t qos, bool retain,
              uint32_t delay_s);

/* The transport alone, nothing sent. `name` is for the trace: "publisher". */
struct wire *probe_open(struct conform_probe *probe, const char *name);
/* Sends the CONNECT and waits for the answer; NULL: the broker closed without one. Does not judge. */
const struct mq5_connack *wire_login(struct wire *wire, const struct mq5_connect *login);
/* Opens and logs in; needs 0x00. */
struct wire *probe_connect(struct conform_probe *probe, const char *name);
struct wire *probe_connect_as(struct conform_probe *probe, const char *name, const struct mq5_connect *login);
const struct mq5_connack *wire_connack(const struct wire *wire); /* NULL: none came */
/* A second client with the same login as an earlier wire but clean_start as told: resumes or throws away. Needs 0x00. */
struct wire *probe_resume(struct conform_probe *probe, const char *name, const struct mq5_connect *login,
                          bool clean_start);

/* TLS on a connection of its own, and nothing else: at most this version (0x0303: TLS 1.2), offering the protocol "mqtt" (ALPN) or none. true: the
 * broker has agreed; *chosen: the protocol it chose, "": none. */
bool probe_handshake(struct conform_probe *probe, uint16_t highest, bool offer_mqtt, const char **chosen);

enum wire_ending {
    WIRE_FIN,        /* closes, no DISCONNECT */
    WIRE_RESET,      /* RST */
    WIRE_HALF_CLOSE, /* our direction only */
    WIRE_TLS_SILENT, /* FIN without close_notify */
};
void wire_end(struct wire *wire, enum wire_ending ending);
/* DISCONNECT, and waits for the broker to close (as long as it takes, up to the deadline), then closes. */
void wire_disconnect(struct wire *wire, uint8_t reason);
bool wire_is_open(const struct wire *wire); /* as far as we have seen */
bool wire_was_reset(const struct wire *wire);
bool wire_is_malformed(const struct wire *wire); /* what came last could not be decoded */
bool wire_is_legal(
    const struct wire *wire); /* false: something came that is no legal packet, and nothing is read after it */
int64_t wire_closed_at(const struct wire *wire); /* when the broker's end came; TIME_NEVER */

/* ---- sending ---------------------------------------------------------------------------------------------------------- */

/* As it stands: legality is not looked at. */
void wire_send(struct wire *wire, const struct mq5_packet *packet);
void wire_send_raw(struct wire *wire, const struct mq5_packet *packet, const struct mq5_raw *raw);
void wire_send_bytes(struct wire *wire, const void *bytes, size_t length);
/* In pieces of `piece` bytes, each a segment of its own. */
void wire_send_slowly(struct wire *wire, const void *bytes, size_t length, size_t piece);
/* From now on what is sent is gathered and goes out as one write with wire_flush(). */
void wire_gather(struct wire *wire);
void wire_flush(struct wire *wire);
/* Encodes without sending, for checks that change the bytes. */
struct span probe_encode(struct conform_probe *probe, const struct mq5_packet *packet, const struct mq5_raw *raw);
uint16_t wire_packet_id(struct wire *wire); /* one not in use */

/* ---- receiving --------------------------------------------------------------------------------------------------------- */

struct received {
    int64_t at_us;
    struct mq5_packet packet; /* spans point into bytes */
    struct span bytes;
    uint32_t line; /* of the trace */
    bool taken;    /* handed out by a waiting word */
};

/* The next packet of a type not handed out yet. need_: inconclusive when it does not come; want_: failed. `what` is for the text. */
const struct received *need_packet(struct wire *wire, enum mq5_type type, const char *what);
const struct received *want_packet(struct wire *wire, enum mq5_type type, const char *what);
/* The same within a time; NULL: it has not come. */
const struct received *try_packet(struct wire *wire, enum mq5_type type, int64_t within_us);
/* The next PUBLISH not handed out yet on this topic (NULL: any) with this payload (NULL: any). */
const struct received *need_message(struct wire *wire, const char *topic, const char *payload);
const struct received *want_message(struct wire *wire, const char *topic, const char *payload);
const struct received *try_message(struct wire *wire, const char *topic, const char *payload, int64_t within_us);
/* What has come so far, handed out or not. */
uint32_t wire_count(const struct wire *wire);
const struct received *wire_at(const struct wire *wire, uint32_t index);
uint32_t wire_count_of(const struct wire *wire, enum mq5_type type);
uint32_t wire_count_messages(const struct wire *wire, const char *topic, const char *payload);
/* Lets time pass; every wire goes on reading. */
void probe_wait(struct conform_probe *probe, int64_t us);
int64_t probe_now(const struct conform_probe *probe);
int64_t probe_patience(const struct conform_probe *probe); /* how long a must-come is waited for */

/* The broker must end the connection: no more than a DISCONNECT (or a CONNACK of a refusal) first, whose code should be one of `reasons` (0 ends;
 * NULL: any). Half-closes our side after a moment, so that a broker that waits for the rest of a packet stops waiting. */
void want_closed(struct wire *wire, const char *what, const uint8_t *reasons);
#define REASONS(...) ((const uint8_t[]){__VA_ARGS__, 0})
/* The same for a connection after its CONNECT was sent by hand: no CONNACK with 0x00 either. */
void want_refused(struct wire *wire, const char *what, const uint8_t *reasons);
/* The connection lives: PINGREQ is answered. */
void want_alive(struct wire *wire, const char *what);
void need_alive(struct wire *wire, const char *what);
/* true: the broker ended it within the time. */
bool wire_closes(struct wire *wire, int64_t within_us);

/* ---- whole conversations ------------------------------------------------------------------------------------------------ */

/* Acknowledge by hand: PUBLISH of QoS 1 and 2 and PUBREL are left unanswered from now on. */
void wire_hold_acks(struct wire *wire, bool hold);
void wire_ack(struct wire *wire, enum mq5_type type, uint16_t packet_id, uint8_t reason);

/* Skips when a lower QoS is granted than was asked for. A probe message has been through before it returns (a subscription may take a moment to
 * work) unless the filter has wildcards or is shared: then use wire_warm_up(). */
void wire_subscribe(struct wire *wire, const char *filter, uint8_t qos);
/* A client that connects and does that. */
struct wire *probe_subscriber(struct conform_probe *probe, const char *name, const char *filter, uint8_t qos);
struct wire *probe_subscriber_as(struct conform_probe *probe, const char *name, const struct mq5_connect *login,
                                 const char *filter, uint8_t qos);
/* Everything chosen by hand; needs an answer, returns it. subscription_id 0: none. No warming up. */
const struct mq5_suback *wire_subscribe_with(struct wire *wire, const struct mq5_subscription *list, uint32_t count,
                                             uint32_t subscription_id);
struct mq5_subscription subscription(const char *filter, uint8_t qos); /* other options 0 */
/* Publishes on `topic` (QoS 0, by a client of its own, payload "warm-up") until `wire` sees it; what came of it is taken out of the wire's list. */
void wire_warm_up(struct wire *wire, const char *topic);
const struct mq5_suback *wire_unsubscribe(struct wire *wire, const char *filter);

/* ---- requests without their answers (words_requests.c) ------------------------------------------------------------------ */

/* Sends and does not wait; returns the packet identifier. */
uint16_t wire_send_subscribe(struct wire *wire, const struct mq5_subscription *list, uint32_t count,
                             uint32_t subscription_id);
uint16_t wire_send_unsubscribe(struct wire *wire, const char *const *filters, uint32_t count);
/* An answer, or the end of the connection (NULL). Neither in time is a failure. */
const struct received *want_answer_or_end(struct wire *wire, enum mq5_type type, const char *what);
/* 0xFF: there is none. */
uint8_t first_reason(const struct mq5_suback *suback);
/* Rows of the values of a fixed header's flags that are not `right`: 15 of them. */
uint8_t wrong_flags(uint32_t row, uint8_t right);
uint32_t wrong_flags_count(void);
void wrong_flags_row(struct conform_row *out, uint8_t flags);
/* Rows of texts that are none, in the four bytes before the last `behind` of the packet; the connection must end. */
uint32_t bad_texts_count(void);
void bad_texts_row(uint32_t row, struct conform_row *out);
void want_bad_text_refused(struct conform_probe *probe, const struct mq5_packet *packet, uint32_t behind,
                           const char *what);
/* Rows of SUBSCRIBE and UNSUBSCRIBE without a filter; the row's statement is the caller's. */
uint32_t no_filter_count(void);
void no_filter_row(uint32_t row, struct conform_row *out);
void want_no_filter_refused(struct conform_probe *probe, enum mq5_type type);
/* Bytes of a packet, to be changed. */
struct bytes {
    uint8_t *data;
    uint32_t length;
};
struct bytes probe_change(struct conform_probe *probe, const struct mq5_packet *packet);
/* The broker may add Reason String or User Property to its packets of this type: where one of the provocations (NULL ends) shows that it does, the
 * same is done with a Maximum Packet Size one byte below, and no such packet may be larger. Skips when the broker adds nothing. */
void want_words_left_out(struct conform_probe *probe, enum mq5_type type, enum mq5_property property,
                         void (*const *provocations)(struct conform_probe *probe, struct wire *wire));
/* How many subscription identifiers a message has; *first is one of them, 0 without any. */
uint32_t subscription_ids(const struct received *received, uint32_t *first);

/* Publishes and finishes the handshake; needs it to be finished with a reason below 0x80. Returns that reason. */
uint8_t wire_publish(struct wire *wire, const char *topic, const char *payload, uint8_t qos);
uint8_t wire_publish_retained(struct wire *wire, const char *topic, const char *payload,
                              uint8_t qos); /* journalled, expires in 60 s */
/* A packet id is found when it is 0 and QoS is not. Finishes the handshake; returns its reason, whatever it is. */
uint8_t wire_publish_packet(struct wire *wire, const struct mq5_publish *publish);
struct mq5_publish message(const char *topic, const char *payload, uint8_t qos);

/* A client with Receive Maximum 1 that acknowledges by hand, and two messages for it: "first" has come with *packet_id, "second" waits. */
struct wire *probe_one_in_flight(struct conform_probe *probe, const char *topic, uint8_t qos, uint16_t *packet_id);

/* ---- sessions left and taken up again (words_session.c) ------------------------------------------------------------------- */

/* The CONNECT of a client that resumes its session, or begins one, which is kept for KEPT_S (in 3.1.1: Clean Session 0, until somebody clears it). */
#define KEPT_S 120
struct mq5_connect probe_login_kept(struct conform_probe *probe, uint32_t number);
/* As probe_connect_as(), acknowledging by hand from the first packet on. */
struct wire *probe_connect_holding(struct conform_probe *probe, const char *name, const struct mq5_connect *login);
/* The same without a clean start; needs Session Present 1. */
struct wire *probe_resume_holding(struct conform_probe *probe, const char *name, const struct mq5_connect *login);
/* The Session Expiry Interval that is in force: the broker's, if it named one. */
uint32_t wire_granted_expiry(const struct wire *wire, uint32_t asked_s);
/* probe_wait() with a PINGREQ a second over every connection that is up: a broker may shorten the Keep Alive to a few seconds. */
void probe_wait_connected(struct conform_probe *probe, int64_t us);
/* Publishes `count` messages with the payloads "first", "first + 1"..., as many at a time as the broker takes; needs every handshake to be
 * finished and none refused. */
void wire_publish_many(struct wire *wire, const char *topic, uint32_t first, uint32_t count, uint8_t qos);
/* What has come on the topic with this QoS (below 0: any), of those whose payload is a number: how many. */
uint32_t wire_count_numbered(const struct wire *wire, const char *topic, int qos);
/* The same: ever higher ones. Needs all `count` of them (more than half with QoS 0, which may be dropped). */
void want_in_order(struct wire *wire, const char *topic, int qos, uint32_t first, uint32_t count);
/* The same from 0 on, once the last of them has come. */
void want_all_in_order(struct wire *wire, const char *topic, uint8_t qos, uint32_t count);
/* The whole conversation: so many of one publisher's on one topic, to a subscriber. */
void want_order_kept(struct conform_probe *probe, uint8_t qos, uint32_t count);

/* ---- enhanced authentication (words_auth.c) ------------------------------------------------------------------------------- */

/* What a client says in one exchange of the profile's method (CONFORM_AUTH_METHOD): out of auth_data, or as SCRAM has it for auth_user. From step
 * `wrong` on it is not what the broker is to be told; step 0 is CONNECT, or AUTH 0x19. */
#define EXCHANGE_RIGHT UINT32_MAX
struct exchange;
struct exchange *exchange_begin(struct conform_probe *probe, uint32_t wrong);
/* The next step's; `heard`: what the broker has said to the last. .data NULL: nothing. */
struct span exchange_say(struct exchange *exchange, struct span heard);
/* NULL, or .data NULL: without. */
void set_authentication(struct mq5_properties *properties, const char *method, struct span data);
void wire_send_auth(struct wire *wire, uint8_t reason, const char *method, struct span data);
/* AUTH 0x18 with what is said next. */
void wire_answer(struct wire *wire, struct exchange *exchange, const struct received *asked);

/* ---- messages: refused, kept, held for later ------------------------------------------------------------------------------ */

/* Sends a PUBLISH of QoS 1 or 2 that may not be taken: the broker answers with a reason of 0x80 and above, or ends the connection; the code should
 * be one of `reasons`. */
void want_message_refused(struct wire *wire, const struct mq5_publish *publish, const char *what,
                          const uint8_t *reasons);
/* Needs as many reason codes as filters, none of them a refusal. */
void need_granted(struct wire *wire, const struct mq5_suback *suback, uint32_t count);
/* After the marker has come: a moment for what may still be under way beside it. */
void probe_settle(struct conform_probe *probe);
/* The retained message that a new subscriber of `topic` is given; NULL: none, while another topic's has come. `expected`: its payload, or NULL for
 * none: asks several times before it returns anything else, since a broker of many nodes may take its time. */
const struct received *probe_kept(struct conform_probe *probe, const char *topic, const char *expected);
/* The same for a subscriber with a filter that may match the topic, or not. */
const struct received *probe_kept_for(struct conform_probe *probe, const char *filter, const char *topic,
                                      const char *expected);
/* A client with a session of 60 s that has subscribed, and has gone; what it logs in with again. */
struct mq5_connect probe_away(struct conform_probe *probe, uint32_t number, const struct mq5_subscription *list,
                              uint32_t count, uint32_t subscription_id);
/* It comes back; needs its session to be there. */
struct wire *probe_return(struct conform_probe *probe, const struct mq5_connect *login);

/* ---- WebSocket below MQTT ------------------------------------------------------------------------------------------------- */

enum frame_kind {
    FRAME_CONTINUATION = 0,
    FRAME_TEXT = 1,
    FRAME_BINARY = 2,
    FRAME_CLOSE = 8,
    FRAME_PING = 9,
    FRAME_PONG = 10,
};
/* What the broker sent. */
struct web_seen {
    char protocol[64];                          /* the subprotocol it chose; "": none */
    uint32_t binary, text, other, pings, pongs; /* messages, and frames of neither kind */
    uint8_t pong[125];                          /* of the last one */
    uint32_t pong_length;
    bool closed; /* by a close frame */
    uint16_t close_code;
};
const struct web_seen *wire_web(const struct wire *wire); /* NULL: no WebSocket, or over */
/* As probe_open(), offering other subprotocols ("chat, mqtt"); NULL: the broker refuses the upgrade (*why). */
struct wire *probe_open_web(struct conform_probe *probe, const char *name, const char *protocols, const char **why);
/* The packets are in the trace from now on, and what they would leave behind is noted; the frames that carry them are sent by hand. */
void wire_announce(struct wire *wire, const void *bytes, size_t length);
/* One frame; `last`: its message ends with it. */
void wire_send_frame(struct wire *wire, enum frame_kind kind, bool last, const void *bytes, size_t length);

/* Properties: sets the bit as well. */
#define SET_PROPERTY(properties, field, id, value) ((properties).field = (value), (properties).present |= MQ5_BIT(id))

#endif
