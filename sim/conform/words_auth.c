/* words_auth.c: what a client says in enhanced authentication (4.12): words of the profile's, or SCRAM's by libgsasl. */
#include "internal.h"

#include <gsasl.h>
#include <stdio.h>

#define WRONG "mc5-wrong"

struct exchange {
    struct conform_probe *probe;
    struct exchange *next;
    uint32_t wrong, step;
    Gsasl *gsasl; /* NULL: auth_data is said */
    Gsasl_session *session;
};

static bool is_scram(const struct conform_probe *probe)
{
    return probe_told(probe, "auth_user") && strncmp(probe_told(probe, "auth_method"), "SCRAM-", 6) == 0;
}

/* A check may end at any word: what libgsasl has taken goes with the probe. */
void probe_end_exchanges(struct conform_probe *probe)
{
    for (struct exchange *each = probe->exchanges; each; each = each->next) {
        if (each->session)
            gsasl_finish(each->session);
        if (each->gsasl)
            gsasl_done(each->gsasl);
    }
    probe->exchanges = NULL;
}

static void begin_scram(struct exchange *exchange)
{
    struct conform_probe *probe = exchange->probe;
    const char *method = probe_told(probe, "auth_method"), *password = probe_told(probe, "auth_password");
    bool right = exchange->wrong == EXCHANGE_RIGHT;
    if (gsasl_init(&exchange->gsasl) != GSASL_OK)
        probe_end(probe, CONFORM_ERROR, 0, "libgsasl does not begin");
    if (gsasl_client_start(exchange->gsasl, method, &exchange->session) != GSASL_OK)
        skip(probe, "libgsasl knows no method %s", method);
    gsasl_property_set(exchange->session, GSASL_AUTHID, probe_told(probe, "auth_user"));
    gsasl_property_set(exchange->session, GSASL_PASSWORD,
                       probe_text(probe, "%s%s", password ? password : "", right ? "" : WRONG));
}

struct exchange *exchange_begin(struct conform_probe *probe, uint32_t wrong)
{
    struct exchange *exchange = probe_memory(probe, sizeof(*exchange));
    exchange->probe = probe;
    exchange->wrong = wrong;
    exchange->next = probe->exchanges;
    probe->exchanges = exchange;
    if (is_scram(probe))
        begin_scram(exchange);
    return exchange;
}

/* Part n of auth_data; behind the last: the last. NULL: nothing. */
static const char *data_of(struct conform_probe *probe, uint32_t step)
{
    const char *data = probe_told(probe, "auth_data"), *bar;
    while (data && step-- && (bar = strchr(data, '|')))
        data = bar + 1;
    return data && data[0] && data[0] != '|' ? probe_text(probe, "%.*s", (int)strcspn(data, "|"), data) : NULL;
}

static struct span say_scram(struct exchange *exchange, struct span heard)
{
    char *said = NULL;
    size_t length = 0;
    int status = gsasl_step(exchange->session, (const char *)heard.data, heard.length, &said, &length);
    struct span out = {NULL, 0};
    if (length)
        out = span_of(memcpy(probe_memory(exchange->probe, length), said, length), length);
    gsasl_free(said);
    if (status != GSASL_OK && status != GSASL_NEEDS_MORE)
        note(exchange->probe, "what the broker says is not as the method has it: %s", gsasl_strerror(status));
    return out;
}

struct span exchange_say(struct exchange *exchange, struct span heard)
{
    uint32_t step = exchange->step++;
    const char *data = exchange->session ? NULL : data_of(exchange->probe, step);
    if (exchange->session && exchange->wrong > 0)
        return say_scram(exchange, heard);
    if (step >= exchange->wrong &&
        (data || step > 0 || exchange->session)) /* without data in CONNECT nothing is wrong there */
        return SPAN_LITERAL(WRONG);
    return data ? span_text(data) : (struct span){NULL, 0};
}

void set_authentication(struct mq5_properties *properties, const char *method, struct span data)
{
    if (method)
        SET_PROPERTY(*properties, authentication_method, MQ5_AUTHENTICATION_METHOD, span_text(method));
    if (data.data)
        SET_PROPERTY(*properties, authentication_data, MQ5_AUTHENTICATION_DATA, data);
}

void wire_send_auth(struct wire *wire, uint8_t reason, const char *method, struct span data)
{
    struct mq5_packet packet = {.type = MQ5_AUTH, .auth = {.reason = reason}};
    set_authentication(&packet.auth.properties, method, data);
    wire_send(wire, &packet);
}

void wire_answer(struct wire *wire, struct exchange *exchange, const struct received *asked)
{
    const struct mq5_properties *properties = &asked->packet.auth.properties;
    bool has = properties->present & MQ5_BIT(MQ5_AUTHENTICATION_DATA);
    wire_send_auth(wire, MQ5_CONTINUE_AUTHENTICATION, probe_told(wire->probe, "auth_method"),
                   exchange_say(exchange, has ? properties->authentication_data : (struct span){NULL, 0}));
}
