/* tables.c: which tables of checks there are. A new file of checks is a new line here. */
#include "tables.h"

extern const struct check_table rows_wire;
extern const struct check_table rows_text;
extern const struct check_table rows_properties;
extern const struct check_table checks_seen;
extern const struct check_table checks_connect;
extern const struct check_table checks_connect_refused;
extern const struct check_table checks_will;
extern const struct check_table checks_keepalive;
extern const struct check_table checks_connect_limits;
extern const struct check_table checks_connack;
extern const struct check_table checks_publish;
extern const struct check_table checks_forward;
extern const struct check_table checks_alias;
extern const struct check_table checks_expiry;
extern const struct check_table checks_retain;
extern const struct check_table checks_overlap;
extern const struct check_table checks_session;
extern const struct check_table checks_session_time;
extern const struct check_table checks_qos_receive;
extern const struct check_table checks_qos_errors;
extern const struct check_table checks_qos_send;
extern const struct check_table checks_flow;
extern const struct check_table checks_order;
extern const struct check_table checks_subscribe;
extern const struct check_table checks_topic;
extern const struct check_table checks_unsubscribe;
extern const struct check_table checks_shared;
extern const struct check_table checks_disconnect;
extern const struct check_table checks_errors;
extern const struct check_table checks_auth;
extern const struct check_table checks_tls;
extern const struct check_table checks_websocket;
extern const struct check_table checks_311;
extern const struct check_table checks_311_messages;

/* One a line. */
/* clang-format off */
const struct check_table *const check_tables[] = {
    &rows_wire,
    &rows_text,
    &rows_properties,
    &checks_seen,
    &checks_connect,
    &checks_connect_refused,
    &checks_will,
    &checks_keepalive,
    &checks_connect_limits,
    &checks_connack,
    &checks_publish,
    &checks_forward,
    &checks_alias,
    &checks_expiry,
    &checks_retain,
    &checks_overlap,
    &checks_session,
    &checks_session_time,
    &checks_qos_receive,
    &checks_qos_errors,
    &checks_qos_send,
    &checks_flow,
    &checks_order,
    &checks_subscribe,
    &checks_topic,
    &checks_unsubscribe,
    &checks_shared,
    &checks_disconnect,
    &checks_errors,
    &checks_auth,
    &checks_tls,
    &checks_websocket,
    &checks_311,
    &checks_311_messages,
};
/* clang-format on */
const uint32_t check_table_count = sizeof(check_tables) / sizeof(check_tables[0]);
