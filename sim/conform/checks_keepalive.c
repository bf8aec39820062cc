/* checks_keepalive.c: keep alive (3.1.2.10, 3.2.2.3.14): who is silent for one and a half times as long is let go, and nobody else. */
#include "check.h"
#include "tables.h"

#define LATE_US   (7 * US_PER_S) /* brokers look after it now and then */
#define PROMPT_US (3 * US_PER_S)
#define LONGEST_S 10 /* a keep alive that is still worth waiting for */

static bool server_keep_alive(const struct wire *wire, uint16_t *seconds)
{
    const struct mq5_properties *properties = &wire_connack(wire)->properties;
    bool told = properties->present & MQ5_BIT(MQ5_SERVER_KEEP_ALIVE);
    if (told)
        *seconds = properties->server_keep_alive_s;
    return told;
}

/* When the last packet was sent: not before, not after. */
struct sent {
    int64_t from_us, until_us;
};

/* Logs in with this keep alive, or learns the broker's own; skips where that is too long to wait for. */
static struct wire *connect_for(struct conform_probe *probe, const char *name, uint16_t *seconds, struct sent *sent)
{
    struct mq5_connect login = probe_login(probe, 10);
    login.keep_alive_s = *seconds;
    struct wire *wire = probe_open(probe, name);
    sent->from_us = probe_now(probe);
    const struct mq5_connack *connack = wire_login(wire, &login);
    sent->until_us = probe_now(probe);
    need(probe, connack && connack->reason == MQ5_SUCCESS, "not accepted");
    if (server_keep_alive(wire, seconds) && (*seconds < login.keep_alive_s || *seconds > LONGEST_S))
        skip(probe, "the broker's own keep alive is %u s for %u s", *seconds, login.keep_alive_s);
    return wire;
}

static void want_let_go(struct conform_probe *probe, struct wire *wire, struct sent sent, uint16_t seconds)
{
    wire_closes(wire, sent.until_us + seconds * US_PER_S * 3 / 2 + LATE_US - probe_now(probe));
    want(probe, !wire_is_open(wire), "open %d ms after the last packet, with a keep alive of %u s",
         (int)((probe_now(probe) - sent.until_us) / 1000), seconds);
    want(probe, wire_closed_at(wire) - sent.from_us >= seconds * US_PER_S,
         "closed after %d ms, with a keep alive of %u s", (int)((wire_closed_at(wire) - sent.from_us) / 1000), seconds);
    int64_t took_us = wire_closed_at(wire) - sent.until_us;
    should(probe, "promptly", NULL, took_us <= seconds * US_PER_S * 3 / 2 + PROMPT_US,
           "closed %d ms after the last packet, with a keep alive of %u s", (int)(took_us / 1000), seconds);
}

static void silence(struct conform_probe *probe)
{
    struct sent sent;
    uint16_t seconds = 5; /* three times as long would be found out */
    struct wire *wire = connect_for(probe, "silent", &seconds, &sent);
    want_let_go(probe, wire, sent, seconds);
}

/* The timer begins anew with a packet, and still runs out. */
static void silence_after_ping(struct conform_probe *probe)
{
    struct sent sent;
    uint16_t seconds = 2;
    struct wire *wire = connect_for(probe, "silent later", &seconds, &sent);
    probe_wait(probe, seconds * US_PER_S * 3 / 4);
    sent.from_us = probe_now(probe);
    need_alive(wire, "within keep alive");
    sent.until_us = probe_now(probe);
    want_let_go(probe, wire, sent, seconds);
}

/* Only what the client sends counts. */
static void only_client_counts(struct conform_probe *probe)
{
    const char *topic = probe_topic(probe, "to/the/silent");
    struct wire *publisher = probe_connect(probe, "publisher");
    struct sent sent;
    uint16_t seconds = 2;
    struct wire *wire = connect_for(probe, "silent", &seconds, &sent);
    wire_subscribe(wire, topic, 0);
    int64_t from_us = probe_now(probe), until_us = from_us + seconds * US_PER_S * 3 / 2 + LATE_US;
    int count = 0;
    while (wire_is_open(wire) && probe_now(probe) < until_us) {
        wire_publish(publisher, topic, probe_text(probe, "%d", count++), 0);
        probe_wait(probe, US_PER_S / 4);
    }
    need(probe, wire_count_messages(wire, topic, NULL) >= 4, "few of %d messages arrived", count);
    want(probe, !wire_is_open(wire), "open %d ms after the client's last packet, with a keep alive of %u s",
         (int)((probe_now(probe) - from_us) / 1000), seconds);
}

/* A client that sends something in time stays. */
static void stays(struct conform_probe *probe, bool pings)
{
    enum { ROUNDS = 6 };
    const char *topic = probe_topic(probe, "from/time/to/time");
    struct sent sent;
    uint16_t seconds = 2;
    struct wire *wire = connect_for(probe, "in time", &seconds, &sent);
    int64_t last_us = probe_now(probe), longest_us = 0;
    for (int i = 0; i < ROUNDS; i++) {
        probe_wait(probe, seconds * US_PER_S * 3 / 4);
        int64_t gap_us = probe_now(probe) - last_us;
        longest_us = gap_us > longest_us ? gap_us : longest_us;
        last_us = probe_now(probe);
        if (pings)
            want_alive(wire, "of a client that pings in time");
        else
            wire_publish(wire, topic, "here", 0);
        need(probe, longest_us < seconds * US_PER_S, "%d ms between two packets of ours", (int)(longest_us / 1000));
        want(probe, wire_is_open(wire),
             "closed although the client sent something every %d ms, with a keep alive of %u s",
             (int)(longest_us / 1000), seconds);
    }
    want_alive(wire, "of a client that sent something in time");
}

static void stays_with_pings(struct conform_probe *probe)
{
    stays(probe, true);
}

static void stays_with_messages(struct conform_probe *probe)
{
    stays(probe, false);
}

static void never(struct conform_probe *probe)
{
    struct sent sent;
    uint16_t seconds = 0;
    struct wire *wire = connect_for(probe, "without keep alive", &seconds, &sent);
    if (seconds)
        skip(probe, "the broker has a keep alive of %u s", seconds);
    want(probe, !wire_closes(wire, 15 * US_PER_S), "closed although Keep Alive 0 turns it off");
    want_alive(wire, "of a client without keep alive");
}

/* Brokers that have a shortest or a longest keep alive tell it. */
static void told_by_broker(struct conform_probe *probe)
{
    static const uint16_t asked[] = {1, 65535, 0};
    for (uint32_t i = 0; i < 3; i++) {
        struct mq5_connect login = probe_login(probe, 10 + i);
        uint16_t seconds = 0;
        login.keep_alive_s = asked[i];
        struct wire *wire = probe_open(probe, probe_text(probe, "asks for %u s", asked[i]));
        struct sent sent = {.from_us = probe_now(probe)};
        const struct mq5_connack *connack = wire_login(wire, &login);
        sent.until_us = probe_now(probe);
        need(probe, connack && connack->reason == MQ5_SUCCESS, "not accepted");
        if (!server_keep_alive(wire, &seconds) || seconds == 0 || seconds > LONGEST_S)
            continue;
        want_let_go(probe, wire, sent, seconds);
        return;
    }
    skip(probe, "no Server Keep Alive of at most %d s", LONGEST_S);
}

/* Without a word of the broker's each client has the keep alive that it asked for. */
static void each_its_own(struct conform_probe *probe)
{
    static const uint16_t asked[] = {2, 40};
    struct wire *wires[2];
    struct sent sent[2];
    uint16_t told = 0;
    for (uint32_t i = 0; i < 2; i++) {
        struct mq5_connect login = probe_login(probe, 10 + i);
        login.keep_alive_s = asked[i];
        wires[i] = probe_open(probe, probe_text(probe, "asks for %u s", asked[i]));
        sent[i].from_us = probe_now(probe);
        const struct mq5_connack *connack = wire_login(wires[i], &login);
        sent[i].until_us = probe_now(probe);
        need(probe, connack && connack->reason == MQ5_SUCCESS, "not accepted");
        if (server_keep_alive(wires[i], &told) && told != asked[i])
            skip(probe, "the broker's own keep alive is %u s for %u s", told, asked[i]);
    }
    want_let_go(probe, wires[0], sent[0], asked[0]);
    probe_wait(probe, sent[1].until_us + 12 * US_PER_S - probe_now(probe));
    want_alive(wires[1], "of the client that asked for more");
}

CHECK_TABLE(checks_keepalive,
            {.id = "B-KA-001",
             .name = "a silent client is let go after one and a half times its keep alive",
             .refs = {"MQTT-3.1.2-22"},
             .level = CONFORM_MUST,
             .lane = CONFORM_SLOW,
             .run = silence},
            {.id = "B-KA-002",
             .name = "keep alive begins anew with every packet",
             .refs = {"MQTT-3.1.2-22"},
             .level = CONFORM_MUST,
             .lane = CONFORM_SLOW,
             .run = silence_after_ping},
            {.id = "B-KA-003",
             .name = "what the broker sends does not keep a client alive",
             .refs = {"MQTT-3.1.2-22"},
             .level = CONFORM_MUST,
             .lane = CONFORM_SLOW,
             .run = only_client_counts},
            {.id = "B-KA-004",
             .name = "a client that pings in time stays",
             .refs = {"MQTT-3.1.2-22"},
             .level = CONFORM_MUST,
             .lane = CONFORM_SLOW,
             .run = stays_with_pings},
            {.id = "B-KA-005",
             .name = "a client that sends messages in time stays",
             .refs = {"MQTT-3.1.2-22"},
             .level = CONFORM_MUST,
             .lane = CONFORM_SLOW,
             .run = stays_with_messages},
            {.id = "B-KA-006",
             .name = "Keep Alive 0 turns it off",
             .refs = {"S3.1.2.10b"},
             .level = CONFORM_MAY,
             .lane = CONFORM_SLOW,
             .run = never},
            {.id = "B-KA-007",
             .name = "the broker's own keep alive holds",
             .refs = {"S3.2.2.3.14a"},
             .level = CONFORM_MUST,
             .lane = CONFORM_SLOW,
             .run = told_by_broker},
            {.id = "B-KA-008",
             .name = "each client has the keep alive that it asked for",
             .refs = {"MQTT-3.2.2-22", "MQTT-3.1.2-22"},
             .level = CONFORM_MUST,
             .lane = CONFORM_SLOW,
             .run = each_its_own}, )
