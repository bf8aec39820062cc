/* checks_auth.c: AUTH and enhanced authentication (3.15, 4.12).
 *
 * What a broker's method is, and what to say, the profile tells: "auth_method", and "auth_data" (the data of CONNECT and of each AUTH that is sent,
 * with '|' between them; the last is sent again and again) or "auth_user" and "auth_password" (SCRAM). Without it only what needs no method is checked.
 */
#include "check.h"
#include "tables.h"

#include <stdio.h>

static const struct span nothing_said = {NULL, 0};

/* ---- without a method ------------------------------------------------------------------------------------------------------------ */

static void unknown_method(struct conform_probe *probe)
{
    struct mq5_connect login = probe_login(probe, 0);
    set_authentication(&login.properties, "mc5-no-such-method", nothing_said);
    struct wire *wire = probe_open(probe, "client");
    wire_send(wire, &(struct mq5_packet){.type = MQ5_CONNECT, .connect = login});
    want_refused(wire, "a method of authentication that there is not",
                 REASONS(MQ5_BAD_AUTHENTICATION_METHOD, MQ5_NOT_AUTHORIZED));
}

static const struct {
    const char *name, *ref;
    uint8_t reason;
    bool method;
} uncalled[] = {
    {"AUTH 0x18 with a method", "S3.15a", MQ5_CONTINUE_AUTHENTICATION, true},
    {"AUTH 0x19 with a method", "MQTT-4.12.0-7", MQ5_RE_AUTHENTICATE, true},
    {"AUTH 0x00", "S3.15a", MQ5_SUCCESS, false},
};

static uint32_t uncalled_count(void)
{
    return sizeof(uncalled) / sizeof(uncalled[0]);
}

static void uncalled_row(uint32_t row, struct conform_row *out)
{
    snprintf(out->name, sizeof(out->name), "%s", uncalled[row].name);
    out->ref = uncalled[row].ref;
}

static void uncalled_auth(struct conform_probe *probe)
{
    struct wire *wire = probe_connect(probe, "client without a method");
    wire_send_auth(wire, uncalled[probe_row(probe)].reason, uncalled[probe_row(probe)].method ? "mc5-method" : NULL,
                   nothing_said);
    want_closed(wire, "AUTH of a client without a method", REASONS(MQ5_PROTOCOL_ERROR, MQ5_MALFORMED_PACKET));
}

static void nothing_uncalled(struct conform_probe *probe)
{
    struct wire *wire = probe_connect(probe, "client without a method");
    const struct mq5_properties *properties = &wire_connack(wire)->properties;
    need_alive(wire, "after CONNACK");
    want(probe, !(properties->present & MQ5_BIT(MQ5_AUTHENTICATION_METHOD)), "CONNACK has an Authentication Method");
    want(probe, wire_count_of(wire, MQ5_AUTH) == 0, "AUTH comes to a client without a method");
}

/* ---- with the profile's method ----------------------------------------------------------------------------------------------------- */

#define STEPS 8

static const char *method_of(const struct conform_probe *probe)
{
    return probe_told(probe, "auth_method");
}

static struct mq5_connect login_with_method(struct conform_probe *probe)
{
    struct mq5_connect login = probe_login(probe, 0);
    set_authentication(&login.properties, method_of(probe), nothing_said);
    return login;
}

/* The next AUTH, or NULL: the broker has decided (CONNACK) or closed. */
static const struct received *next_step(struct conform_probe *probe, struct wire *wire)
{
    int64_t until_us = probe_now(probe) + probe_patience(probe);
    const struct received *step = NULL;
    bool decided = false;
    while (!step && !decided && wire_is_open(wire) && !wire_is_malformed(wire) && probe_now(probe) < until_us) {
        step = try_packet(wire, MQ5_AUTH, 20 * US_PER_MS);
        decided = wire_connack(wire) != NULL;
    }
    return step;
}

/* CONNECT and the exchange; what is said is wrong from this step on. */
static struct wire *exchanged(struct conform_probe *probe, const struct mq5_connect *login, uint32_t wrong)
{
    struct wire *wire = probe_open(probe, "client with a method");
    struct exchange *exchange = exchange_begin(probe, wrong);
    struct mq5_packet packet = {.type = MQ5_CONNECT, .connect = *login};
    const struct received *asked;
    set_authentication(&packet.connect.properties, method_of(probe), exchange_say(exchange, nothing_said));
    wire_send(wire, &packet);
    for (uint32_t step = 1; step < STEPS && (asked = next_step(probe, wire)); step++)
        wire_answer(wire, exchange, asked);
    return wire;
}

static void need_in(struct conform_probe *probe, const struct wire *wire)
{
    need(probe, wire_connack(wire) && wire_connack(wire)->reason == MQ5_SUCCESS,
         "the profile's method does not let the client in: CONNACK 0x%02x",
         wire_connack(wire) ? wire_connack(wire)->reason : 0);
}

static struct wire *authenticated(struct conform_probe *probe)
{
    struct mq5_connect login = login_with_method(probe);
    struct wire *wire = exchanged(probe, &login, EXCHANGE_RIGHT);
    need_in(probe, wire);
    return wire;
}

/* What a new exchange begins with. */
static struct span first_word(struct conform_probe *probe)
{
    return exchange_say(exchange_begin(probe, EXCHANGE_RIGHT), nothing_said);
}

static uint32_t count_steps(const struct wire *wire)
{
    return wire_count_of(wire, MQ5_AUTH);
}

/* The connection ends, and the exchange does not go on before. */
static void want_no_step(struct conform_probe *probe, struct wire *wire, const char *what, const uint8_t *reasons)
{
    uint32_t steps = count_steps(wire);
    want_closed(wire, what, reasons);
    want(probe, count_steps(wire) == steps, "%s is answered with AUTH", what);
}

static void bad_reason(struct conform_probe *probe)
{
    struct wire *wire = authenticated(probe);
    wire_send_auth(wire, 0x01, method_of(probe), first_word(probe));
    want_no_step(probe, wire, "AUTH with a reason that is none", REASONS(MQ5_MALFORMED_PACKET, MQ5_PROTOCOL_ERROR));
}

static void continues(struct conform_probe *probe)
{
    struct mq5_connect login = login_with_method(probe);
    struct wire *wire = exchanged(probe, &login, EXCHANGE_RIGHT);
    want(probe, !wire_is_malformed(wire), "what comes is no legal AUTH");
    if (count_steps(wire) == 0)
        skip(probe, "this method needs no AUTH");
    for (uint32_t i = 0; i < wire_count(wire); i++) {
        const struct mq5_packet *packet = &wire_at(wire, i)->packet;
        if (packet->type == MQ5_AUTH)
            want(probe, packet->auth.reason == MQ5_CONTINUE_AUTHENTICATION, "AUTH 0x%02x asks for more",
                 packet->auth.reason);
    }
}

static uint32_t refused_count(void)
{
    return 2;
}

static void refused_row(uint32_t row, struct conform_row *out)
{
    snprintf(out->name, sizeof(out->name), "wrong data in %s", row ? "AUTH" : "CONNECT");
}

static void refused(struct conform_probe *probe)
{
    uint32_t row = probe_row(probe);
    struct mq5_connect login = login_with_method(probe);
    struct wire *wire = exchanged(probe, &login, row);
    if (row && count_steps(wire) == 0)
        skip(probe, "this method needs no AUTH");
    need(probe, !wire_connack(wire) || wire_connack(wire)->reason >= 0x80, "any data will do for this method");
    want(probe, wire_closes(wire, probe_patience(probe)), "the connection stays open after authentication has failed");
}

static void want_method(struct conform_probe *probe, const struct wire *wire)
{
    struct span method = span_text(method_of(probe));
    for (uint32_t i = 0; i < wire_count(wire); i++) {
        const struct mq5_packet *packet = &wire_at(wire, i)->packet;
        const struct mq5_properties *properties =
            packet->type == MQ5_CONNACK ? &packet->connack.properties : &packet->auth.properties;
        bool bare = packet->type == MQ5_AUTH && packet->auth.reason == MQ5_SUCCESS && properties->present == 0;
        if ((packet->type != MQ5_CONNACK && packet->type != MQ5_AUTH) || bare) /* f0 00 has no room for one */
            continue;
        want(probe,
             properties->present & MQ5_BIT(MQ5_AUTHENTICATION_METHOD) &&
                 span_equal(properties->authentication_method, method),
             "%s has no Authentication Method, or another", mq5_type_name(packet->type));
    }
}

/* From AUTH 0x19 to the broker's AUTH 0x00, or the end. */
static bool again(struct conform_probe *probe, struct wire *wire, uint32_t wrong)
{
    struct exchange *exchange = exchange_begin(probe, wrong);
    wire_send_auth(wire, MQ5_RE_AUTHENTICATE, method_of(probe), exchange_say(exchange, nothing_said));
    for (uint32_t step = 1; step < STEPS; step++) {
        const struct received *received = try_packet(wire, MQ5_AUTH, probe_patience(probe));
        if (!received || received->packet.auth.reason == MQ5_SUCCESS)
            return received;
        wire_answer(wire, exchange, received);
    }
    return false;
}

static void same_method(struct conform_probe *probe)
{
    struct mq5_connect login = login_with_method(probe);
    struct wire *wire = exchanged(probe, &login, EXCHANGE_RIGHT);
    want(probe, !wire_is_malformed(wire), "what comes is no legal AUTH or CONNACK");
    need_in(probe, wire);
    want_method(probe, wire);
    if (!again(probe, wire, EXCHANGE_RIGHT))
        note(probe, "the broker does not authenticate again");
    want(probe, !wire_is_malformed(wire), "what comes is no legal AUTH");
    want_method(probe, wire);
}

static void other_method(struct conform_probe *probe)
{
    struct wire *wire = authenticated(probe);
    wire_send_auth(wire, MQ5_RE_AUTHENTICATE, "mc5-other-method", first_word(probe));
    want_no_step(probe, wire, "re-authentication by another method",
                 REASONS(MQ5_PROTOCOL_ERROR, MQ5_BAD_AUTHENTICATION_METHOD, MQ5_NOT_AUTHORIZED));
}

static void again_row(uint32_t row, struct conform_row *out)
{
    snprintf(out->name, sizeof(out->name), "wrong data in AUTH 0x%x",
             row ? MQ5_CONTINUE_AUTHENTICATION : MQ5_RE_AUTHENTICATE);
}

static void fails_again(struct conform_probe *probe)
{
    struct wire *wire = authenticated(probe);
    uint32_t row = probe_row(probe), steps = count_steps(wire);
    bool accepted = again(probe, wire, row);
    if (row && accepted && count_steps(wire) == steps + 1)
        skip(probe, "this method needs no AUTH");
    need(probe, !accepted, "any data will do for this method");
    want_closed(wire, "re-authentication that failed", NULL);
}

static void no_method(struct conform_probe *probe)
{
    struct wire *wire = authenticated(probe);
    wire_send_auth(wire, MQ5_RE_AUTHENTICATE, NULL, nothing_said);
    want_no_step(probe, wire, "AUTH without a method", REASONS(MQ5_PROTOCOL_ERROR));
}

/* ---- flags ------------------------------------------------------------------------------------------------------------------------- */

static void flags_row(uint32_t row, struct conform_row *out)
{
    wrong_flags_row(out, wrong_flags(row, 0));
}

/* With the profile's method only the flags are wrong. */
static void flags(struct conform_probe *probe)
{
    const char *method = method_of(probe);
    struct wire *wire = method ? authenticated(probe) : probe_connect(probe, "client");
    struct mq5_packet packet = {
        .type = MQ5_AUTH, .flags = wrong_flags(probe_row(probe), 0), .auth = {.reason = MQ5_RE_AUTHENTICATE}};
    set_authentication(&packet.auth.properties, method ? method : "mc5-method",
                       method ? first_word(probe) : nothing_said);
    wire_send_raw(wire, &packet, &(struct mq5_raw){.set_flags = true});
    want_no_step(probe, wire, "AUTH with wrong flags", REASONS(MQ5_MALFORMED_PACKET, MQ5_PROTOCOL_ERROR));
}

/* ---- what is said in words --------------------------------------------------------------------------------------------------------- */

static const struct received *worded(struct conform_probe *probe, const struct mq5_connect *login,
                                     enum mq5_property property)
{
    struct wire *wire = exchanged(probe, login, EXCHANGE_RIGHT);
    const struct received *longest = NULL;
    for (uint32_t i = 0; i < wire_count(wire); i++) {
        const struct received *each = wire_at(wire, i);
        if (each->packet.type == MQ5_AUTH && each->packet.auth.properties.present & MQ5_BIT(property) &&
            (!longest || each->bytes.length > longest->bytes.length))
            longest = each;
    }
    return longest;
}

static void left_out(struct conform_probe *probe, enum mq5_property property)
{
    struct mq5_connect login = login_with_method(probe);
    set_problem_information(&login, 1);
    const struct received *answer = worded(probe, &login, property);
    if (!answer)
        skip(probe, "the broker adds no %s to AUTH", mq5_property_name((uint8_t)property));
    uint32_t limit = answer->bytes.length - 1;
    set_maximum_packet_size(&login, limit);
    login.client_id = span_text(probe_client_id(probe, 1));
    answer = worded(probe, &login, property);
    want(probe, !answer || answer->bytes.length <= limit, "AUTH of %u bytes for a client that allows %u",
         answer ? answer->bytes.length : 0, limit);
}

static void reason_string(struct conform_probe *probe)
{
    left_out(probe, MQ5_REASON_STRING);
}

static void user_properties(struct conform_probe *probe)
{
    left_out(probe, MQ5_USER_PROPERTY);
}

CHECK_TABLE(checks_auth,
            {.id = "B-AUTH-001",
             .name = "an unknown method of authentication is refused",
             .refs = {"MQTT-4.12.0-1"},
             .level = CONFORM_MUST,
             .run = unknown_method},
            {.id = "B-AUTH-002",
             .name = "AUTH of a client that gave no method ends the connection",
             .refs = {"S3.15a", "MQTT-4.12.0-7"},
             .level = CONFORM_MUST,
             .run = uncalled_auth,
             .row_count = uncalled_count,
             .row = uncalled_row},
            {.id = "B-AUTH-003",
             .name = "a client that gave no method gets none, and no AUTH",
             .refs = {"MQTT-4.12.0-6"},
             .level = CONFORM_MUST,
             .run = nothing_uncalled},
            {.id = "B-AUTH-004",
             .name = "AUTH with flags ends the connection",
             .refs = {"MQTT-3.15.1-1"},
             .level = CONFORM_MUST,
             .run = flags,
             .row_count = wrong_flags_count,
             .row = flags_row},
            {.id = "B-AUTH-005",
             .name = "AUTH with another reason than its table has ends the connection",
             .refs = {"MQTT-3.15.2-1"},
             .level = CONFORM_MUST,
             .needs = CONFORM_AUTH_METHOD,
             .run = bad_reason},
            {.id = "B-AUTH-006",
             .name = "the broker asks for more with AUTH 0x18",
             .refs = {"MQTT-4.12.0-2"},
             .level = CONFORM_MUST,
             .needs = CONFORM_AUTH_METHOD,
             .run = continues},
            {.id = "B-AUTH-007",
             .name = "authentication that fails ends the connection",
             .refs = {"MQTT-4.12.0-4"},
             .level = CONFORM_MUST,
             .needs = CONFORM_AUTH_METHOD,
             .run = refused,
             .row_count = refused_count,
             .row = refused_row},
            {.id = "B-AUTH-008",
             .name = "every AUTH, and CONNACK, names the client's method",
             .refs = {"MQTT-4.12.0-5"},
             .level = CONFORM_MUST,
             .needs = CONFORM_AUTH_METHOD,
             .run = same_method},
            {.id = "B-AUTH-009",
             .name = "re-authentication by another method ends the connection",
             .refs = {"MQTT-4.12.1-1"},
             .level = CONFORM_MUST,
             .needs = CONFORM_AUTH_METHOD,
             .run = other_method},
            {.id = "B-AUTH-010",
             .name = "re-authentication that fails ends the connection",
             .refs = {"MQTT-4.12.1-2"},
             .level = CONFORM_MUST,
             .needs = CONFORM_AUTH_METHOD,
             .run = fails_again,
             .row_count = refused_count,
             .row = again_row},
            {.id = "B-AUTH-011",
             .name = "AUTH without a method ends the connection",
             .refs = {"S3.15.2.2.2a"},
             .level = CONFORM_MUST,
             .needs = CONFORM_AUTH_METHOD,
             .run = no_method},
            {.id = "B-AUTH-012",
             .name = "AUTH leaves its Reason String out where it would be too large",
             .refs = {"MQTT-3.15.2-2"},
             .level = CONFORM_MUST,
             .needs = CONFORM_AUTH_METHOD,
             .run = reason_string},
            {.id = "B-AUTH-013",
             .name = "AUTH leaves its User Properties out where it would be too large",
             .refs = {"MQTT-3.15.2-3"},
             .level = CONFORM_MUST,
             .needs = CONFORM_AUTH_METHOD,
             .run = user_properties}, )
