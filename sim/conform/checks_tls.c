/* checks_tls.c: TLS below MQTT (5.4): which versions, and the protocol's name. */
#include "check.h"
#include "tables.h"

#include <stdio.h>

static uint32_t versions_count(void)
{
    return 2;
}

static void versions_row(uint32_t row, struct conform_row *out)
{
    snprintf(out->name, sizeof(out->name), "TLS 1.%u", row);
}

/* The control is the version that all of them have. */
static void old_version(struct conform_probe *probe)
{
    const char *chosen;
    need(probe, probe_handshake(probe, 0x0303, false, &chosen) || probe_handshake(probe, 0x0304, false, &chosen),
         "no version of TLS is agreed upon");
    want(probe, !probe_handshake(probe, (uint16_t)(0x0301 + probe_row(probe)), false, &chosen),
         "TLS 1.%u is agreed upon", probe_row(probe));
}

static void protocol_name(struct conform_probe *probe)
{
    const char *chosen;
    need(probe, probe_handshake(probe, 0x0304, false, &chosen), "no version of TLS is agreed upon");
    want(probe, probe_handshake(probe, 0x0304, true, &chosen), "a client that offers the protocol mqtt is sent away");
    want(probe, !chosen[0] || strcmp(chosen, "mqtt") == 0, "the protocol %s was not offered", chosen);
}

CHECK_TABLE(checks_tls,
            {.id = "B-TLS-001",
             .name = "versions of TLS before 1.2 are refused",
             .refs = {"S5.4b"},
             .level = CONFORM_SHOULD,
             .needs = CONFORM_TLS,
             .run = old_version,
             .row_count = versions_count,
             .row = versions_row},
            {.id = "B-TLS-002",
             .name = "a client may offer the protocol mqtt",
             .refs = {"S5.4b"},
             .level = CONFORM_SHOULD,
             .needs = CONFORM_TLS | CONFORM_SOCKET,
             .run = protocol_name}, )
