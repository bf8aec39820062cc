/* checks_connect.c: CONNECT and CONNACK (3.1, 3.2): what is accepted, what is refused, what is answered. */
#include "check.h"
#include "tables.h"

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

/* ---- what is answered ---------------------------------------------------------------------------------------------------------- */

static void accepted(struct conform_probe *probe)
{
    struct wire *wire = probe_open(probe, "client");
    struct mq5_connect login = probe_login(probe, 0);
    const struct mq5_connack *connack = wire_login(wire, &login);
    want(probe, connack != NULL, "no CONNACK");
    want(probe, connack->reason == MQ5_SUCCESS, "CONNACK 0x%02x", connack->reason);
    want_alive(wire, "after CONNACK");
}

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
    want(probe, !wire_connack(wire)->session_present, "Session Present 1 after a clean start");
}

static void takeover(struct conform_probe *probe)
{
    struct mq5_connect login = probe_login(probe, 0);
    struct wire *old = probe_connect_as(probe, "old", &login);
    struct wire *young = probe_connect_as(probe, "new", &login);
    want(probe, wire_closes(old, probe_patience(probe)), "the old connection stays open");
    const struct received *last = wire_at(old, wire_count(old) - 1);
    should(probe, "reason", NULL,
           last->packet.type == MQ5_DISCONNECT && last->packet.disconnect.reason == MQ5_SESSION_TAKEN_OVER,
           "no DISCONNECT 0x8e (Session taken over) before the old connection is closed");
    want_alive(young, "on the new connection");
}

CHECK_TABLE(checks_connect,
            {.id = "B-CONN-001",
             .name = "a second CONNECT ends the connection",
             .refs = {"MQTT-3.1.0-2"},
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
             .run = takeover}, )
