/* authentication.c: AUTH (3.15) and enhanced authentication (4.12): who proves who it is by a method, in steps; what the steps say is the hook's.
 *
 * The CONNECT waits as it came until the exchange has succeeded; the link's deadline of BROKER_CONNECT_TIMEOUT_US goes on meanwhile. What is known of
 * a link stands in a list of its own: few have a method.
 */
#include "internal.h"

static struct authentication *of(const struct cloud_broker *broker, const struct cloud_connection *connection)
{
    uint32_t place = connection->more ? connection->more->authentication : 0;
    return place ? broker->authentications[place - 1] : NULL;
}

static size_t size_of(const struct authentication *authentication)
{
    return sizeof(*authentication) + authentication->method_length;
}

static struct authentication *create(struct cloud_broker *broker, struct cloud_connection *connection,
                                     struct span method, struct span bytes)
{
    size_t size = sizeof(struct authentication) + method.length;
    if (!broker_link_more(broker, connection) ||
        !broker_memory_reserve(broker, (void **)&broker->authentications, &broker->authentication_capacity,
                               broker->authentication_count + 1, sizeof(struct authentication *)))
        return NULL;
    struct authentication *authentication = broker_memory_get_clear(broker, size);
    uint8_t *connect = authentication ? broker_memory_get(broker, bytes.length) : NULL;
    if (!connect) {
        broker_memory_put(broker, authentication, size);
        return NULL;
    }
    memcpy(connect, bytes.data, bytes.length);
    authentication->connection = connection;
    authentication->connect = connect;
    authentication->connect_length = bytes.length;
    authentication->method_length = method.length;
    memcpy(authentication->method, method.data, method.length);
    broker->authentications[broker->authentication_count++] = authentication;
    connection->more->authentication = broker->authentication_count;
    return authentication;
}

void broker_authentication_free(struct cloud_broker *broker, struct cloud_connection *connection)
{
    struct authentication *authentication = of(broker, connection);
    if (!authentication)
        return;
    struct authentication *last = broker->authentications[--broker->authentication_count];
    broker->authentications[connection->more->authentication - 1] = last;
    last->connection->more->authentication = connection->more->authentication;
    connection->more->authentication = 0;
    broker_memory_put(broker, authentication->connect, authentication->connect_length);
    broker_memory_put(broker, authentication, size_of(authentication));
}

static struct cloud_authentication ask(struct cloud_broker *broker, const struct authentication *authentication,
                                       int64_t now_us, enum cloud_authentication_step step, struct span data)
{
    return broker->ops.authenticate(broker->context, now_us, authentication->connection->link, step,
                                    span_of(authentication->method, authentication->method_length), data);
}

void broker_authentication_over(struct cloud_broker *broker, struct cloud_connection *connection, int64_t now_us)
{
    const struct authentication *authentication = of(broker, connection);
    if (!authentication)
        return;
    ask(broker, authentication, now_us, CLOUD_AUTHENTICATION_OVER, (struct span){NULL, 0});
    broker_authentication_free(broker, connection);
}

bool broker_authentication_waits(const struct cloud_broker *broker, const struct cloud_connection *connection)
{
    const struct authentication *authentication = of(broker, connection);
    return authentication && authentication->connect;
}

/* ---- what becomes of it --------------------------------------------------------------------------------------------------- */

/* Before CONNACK: a refusal; afterwards: DISCONNECT. */
static void fail(struct cloud_broker *broker, struct cloud_connection *connection, int64_t now_us, uint8_t reason,
                 const char *what, enum cloud_close_reason close_reason)
{
    if (connection->session)
        broker_link_fail(broker, connection, now_us, reason, what, close_reason);
    else
        broker_refuse_connect(broker, connection, now_us, MQ5_V5, reason, what, close_reason);
}

static void name_method(const struct authentication *authentication, struct span data, struct mq5_properties *out)
{
    out->present = MQ5_BIT(MQ5_AUTHENTICATION_METHOD);
    out->authentication_method = span_of(authentication->method, authentication->method_length);
    if (!data.data)
        return;
    out->present |= MQ5_BIT(MQ5_AUTHENTICATION_DATA);
    out->authentication_data = data;
}

static void say(struct cloud_broker *broker, struct cloud_connection *connection, int64_t now_us,
                const struct authentication *authentication, const struct cloud_authentication *answer)
{
    struct mq5_packet packet = {.type = MQ5_AUTH, .auth = {.reason = answer->reason}};
    struct mq5_properties *properties = &packet.auth.properties;
    name_method(authentication, answer->data, properties);
    if (answer->what && !(connection->flags & LINK_NO_PROBLEM_INFORMATION)) { /* 3.1.2-29 */
        properties->present |= MQ5_BIT(MQ5_REASON_STRING);
        properties->reason_string = span_text(answer->what);
        if (broker_send(broker, connection, &packet))
            return;
        properties->present &= ~MQ5_BIT(MQ5_REASON_STRING); /* 3.15.2-2 */
    }
    if (!broker_send(broker, connection, &packet))
        broker_link_end(broker, connection, now_us, CLOUD_CLOSED_CLIENT_ERROR, true);
}

/* The CONNECT that has waited is handled now. */
static void admit(struct cloud_broker *broker, struct cloud_connection *connection, int64_t now_us,
                  struct authentication *authentication, struct span data)
{
    struct mq5_properties proof = {0};
    struct mq5_packet packet;
    uint8_t *bytes = authentication->connect;
    uint32_t length = authentication->connect_length;
    authentication->connect = NULL; /* ours: the link may end in between */
    authentication->connect_length = 0;
    connection->last_input_us = now_us;
    name_method(authentication, data, &proof);
    if (mq5_decode(MQ5_V5, MQ5_FROM_CLIENT, bytes, length, &packet, NULL) == MQ5_OK)
        broker_admit(broker, connection, now_us, &packet.connect, &proof);
    broker_memory_put(broker, bytes, length);
}

static void go_on(struct cloud_broker *broker, struct cloud_connection *connection, int64_t now_us,
                  struct authentication *authentication, enum cloud_authentication_step step, struct span data)
{
    struct cloud_authentication answer = ask(broker, authentication, now_us, step, data);
    if (connection->flags & LINK_DEAD)
        return;
    authentication->under_way = answer.reason == MQ5_CONTINUE_AUTHENTICATION;
    if (answer.reason == MQ5_SUCCESS && authentication->connect)
        admit(broker, connection, now_us, authentication, answer.data);
    else if (answer.reason == MQ5_SUCCESS || answer.reason == MQ5_CONTINUE_AUTHENTICATION)
        say(broker, connection, now_us, authentication, &answer);
    else
        fail(broker, connection, now_us, answer.reason, answer.what, CLOUD_CLOSED_NOT_AUTHORISED);
}

static struct span data_of(const struct mq5_properties *properties)
{
    return properties->present & MQ5_BIT(MQ5_AUTHENTICATION_DATA) ? properties->authentication_data
                                                                  : (struct span){NULL, 0};
}

/* ---- what comes ------------------------------------------------------------------------------------------------------------- */

void broker_authentication_begin(struct cloud_broker *broker, struct cloud_connection *connection, int64_t now_us,
                                 const struct mq5_connect *connect, struct span bytes)
{
    struct authentication *authentication =
        create(broker, connection, connect->properties.authentication_method, bytes);
    if (authentication)
        go_on(broker, connection, now_us, authentication, CLOUD_AUTHENTICATION_BEGINS, data_of(&connect->properties));
    else
        broker_refuse_connect(broker, connection, now_us, MQ5_V5, MQ5_QUOTA_EXCEEDED, NULL, CLOUD_CLOSED_LIMIT);
}

void broker_handle_within(struct cloud_broker *broker, struct cloud_connection *connection, int64_t now_us,
                          const struct mq5_packet *packet)
{
    if (packet->type == MQ5_AUTH)
        broker_handle_auth(broker, connection, now_us, &packet->auth);
    else if (packet->type == MQ5_DISCONNECT)
        broker_link_end(broker, connection, now_us, CLOUD_CLOSED_BY_CLIENT, true);
    else /* 3.1.2-30 */
        fail(broker, connection, now_us, MQ5_PROTOCOL_ERROR, "other packets come after CONNACK",
             CLOUD_CLOSED_CLIENT_ERROR);
}

void broker_handle_auth(struct cloud_broker *broker, struct cloud_connection *connection, int64_t now_us,
                        const struct mq5_disconnect *auth)
{
    struct authentication *authentication = of(broker, connection);
    bool again = auth->reason == MQ5_RE_AUTHENTICATE;
    const char *what = NULL;
    if (!authentication) /* 4.12.0-7 */
        what = "AUTH without an authentication method in CONNECT";
    else if (!span_equal(auth->properties.authentication_method,
                         span_of(authentication->method, authentication->method_length)))
        what = "another authentication method"; /* 4.12.0-5, 4.12.1-1; without one it is not decoded */
    else if (again ? authentication->connect != NULL : !authentication->under_way)
        what = "no authentication is under way that this AUTH could go on with";
    if (what)
        fail(broker, connection, now_us, MQ5_PROTOCOL_ERROR, what, CLOUD_CLOSED_CLIENT_ERROR);
    else
        go_on(broker, connection, now_us, authentication,
              again ? CLOUD_AUTHENTICATION_AGAIN : CLOUD_AUTHENTICATION_GOES_ON, data_of(&auth->properties));
}
