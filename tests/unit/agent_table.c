/* Every state and every event: agent_enter() does what this independent copy of the table says, and no more. */
#include "tests/sim/agent_world.h"

#include "vehicle/agent/agent_internal.h"

/* A letter a cell: the next state, '.' nothing happens, '!' only the agent raises this event and never here. */
/* clang-format off */
static const char *const expected[AGENT_EVENTS] = {
    /*                       OFF PROVISIONING WAITING CONNECTING ONLINE */
    [AGENT_START]        = "W....",
    [AGENT_STOP]         = ".FFFF",
    [AGENT_ATTEMPT]      = "!!C!!",
    [AGENT_PROVISION]    = "!!P!!",
    [AGENT_TIMEOUT]      = "!W!W!",
    [AGENT_KEY_READY]    = ".P...",
    [AGENT_CERTIFIED]    = ".C...",
    [AGENT_UNCERTIFIED]  = ".W...",
    [AGENT_LINK_UP]      = "...C.",
    [AGENT_LINK_DOWN]    = "...WW",
    [AGENT_ACCEPTED]     = "...O.",
    [AGENT_REFUSED]      = "...W.",
    [AGENT_DISCONNECTED] = "...WW",
    [AGENT_REDIRECTED]   = "...WW",
    [AGENT_DISTRUST]     = "!!!!W",
    [AGENT_RECONNECT]    = "!!!!W",
    [AGENT_SLEEP]        = "!WWWW",
    [AGENT_WAKE]         = "!.W..",
};
/* clang-format on */

static const char letters[] = "FPWCO"; /* off, provisioning, waiting, connecting, online */

/* A vehicle in the wanted state, brought there by what the outside does. */
static struct world *vehicle_in(enum tcu_connection wanted)
{
    struct world *w = world_new(1);
    w->profile.provisioning = TCU_PROVISION_CERTIFICATE_BROKER;
    w->key_failures = wanted == TCU_WAITING;
    world_begin(w);
    if (wanted == TCU_OFF)
        return w;
    world_start(w, TCU_PARKED);
    while (tcu_connection(w->tcu) != wanted)
        assert_true(world_step(w, 1000 * US_PER_S));
    return w;
}

static void every_cell(void **state)
{
    for (unsigned from = 0; from < AGENT_STATES; from++) {
        for (unsigned event = 0; event < AGENT_EVENTS; event++) {
            struct world *w = vehicle_in((enum tcu_connection)from);
            char cell = expected[event][from];
            if (cell != '!') {
                uint64_t hash = tcu_state_hash(w->tcu);
                agent_begin(w->tcu, w->now_us);
                bool taken = agent_enter(w->tcu, (enum agent_event)event, 0, 0);
                agent_end(w->tcu);
                assert_int_equal(taken, cell != '.');
                assert_int_equal(tcu_connection(w->tcu),
                                 cell == '.' ? from : (unsigned)(strchr(letters, cell) - letters));
                assert_true(cell != '.' || hash == tcu_state_hash(w->tcu));
                if (tcu_connection(w->tcu) == TCU_OFF || event == AGENT_SLEEP)
                    assert_int_equal(w->deadline_us, TIME_NEVER);
                else /* nowhere can it get stuck */
                    assert_true(w->deadline_us != TIME_NEVER);
            }
            const struct agent_cell *written = &agent_table[from][event];
            assert_int_equal(written->action == ACTION_BROKEN, cell == '!');
            assert_int_equal(written->action == ACTION_IGNORE, cell == '.');
            world_end(w);
        }
    }
}

/* From everywhere back online, as soon as the world lets it. */
static void every_state_leads_online(void **state)
{
    for (unsigned from = 0; from < AGENT_STATES; from++) {
        struct world *w = vehicle_in((enum tcu_connection)from);
        world_start(w, TCU_DRIVING);
        world_run(w, 100 * US_PER_S);
        assert_int_equal(tcu_connection(w->tcu), TCU_ONLINE);
        world_end(w);
    }
}

static void states_have_names(void **state)
{
    assert_string_equal(tcu_connection_name(TCU_OFF), "off");
    assert_string_equal(tcu_connection_name(TCU_ONLINE), "online");
    assert_string_equal(tcu_connection_name((enum tcu_connection)77), "?");
}

/* Events of the session that the agent did not ask for change nothing. */
static void events_without_meaning(void **state)
{
    struct world *w = vehicle_in(TCU_ONLINE);
    world_run(w, US_PER_S);
    uint64_t hash = tcu_state_hash(w->tcu);
    struct mq5_client_event event = {.kind = MQ5C_EV_AUTH};
    tcu_mqtt_event(w->tcu, w->now_us, &event);
    static const uint32_t tokens[] = {4000, TOKEN_ANSWER + 2, TOKEN_PRESENCE, TOKEN_DIRECT, UINT32_MAX};
    static const enum mq5_client_event_kind kinds[] = {MQ5C_EV_PUBLISHED, MQ5C_EV_DROPPED, MQ5C_EV_UNSUBSCRIBED};
    for (unsigned i = 0; i < 15; i++) {
        event = (struct mq5_client_event){.kind = kinds[i % 3], .token = tokens[i / 3]};
        tcu_mqtt_event(w->tcu, w->now_us, &event);
    }
    struct mq5_publish publish;
    assert_false(tcu_mqtt_load(w->tcu, 4000, &publish));
    assert_false(tcu_mqtt_load(w->tcu, TOKEN_ANSWER + 2, &publish));
    assert_false(tcu_mqtt_load(w->tcu, TOKEN_DIRECT, &publish));
    assert_false(tcu_mqtt_load(w->tcu, UINT32_MAX, &publish));
    assert_true(hash == tcu_state_hash(w->tcu));
    world_end(w);
}

/* Another MQTT client under the agent: it has no deadlines of its own to tell, and reports from outside any call of
 * ours. */
struct other_mqtt {
    unsigned connects, publishes, subscribes, disconnects, aborts;
    struct mq5_client_connect last;
    enum mq5_client_result answer;
};

static void other_connect(void *mqtt, int64_t now_us, enum tcu_identity identity,
                          const struct mq5_client_connect *connect)
{
    struct other_mqtt *other = mqtt;
    other->connects++;
    other->last = *connect;
}

static enum mq5_client_result other_publish(void *mqtt, int64_t now_us, uint32_t token, uint8_t alias_slot)
{
    struct other_mqtt *other = mqtt;
    other->publishes++;
    return other->answer;
}

static enum mq5_client_result other_subscribe(void *mqtt, int64_t now_us, uint32_t token,
                                              const struct mq5_subscription *list, uint32_t count)
{
    struct other_mqtt *other = mqtt;
    other->subscribes++;
    return other->answer;
}

static void other_disconnect(void *mqtt, int64_t now_us, uint8_t reason)
{
    ((struct other_mqtt *)mqtt)->disconnects++;
}

static void other_abort(void *mqtt, int64_t now_us)
{
    ((struct other_mqtt *)mqtt)->aborts++;
}

static void runs_on_another_client(void **state)
{
    static const struct tcu_mqtt ops = {.connect = other_connect,
                                        .publish = other_publish,
                                        .subscribe = other_subscribe,
                                        .disconnect = other_disconnect,
                                        .abort = other_abort};
    struct other_mqtt other = {.answer = MQ5C_WAIT};
    struct world *w = world_new(2);
    tcu_profile_prepare(&w->profile);
    uint8_t *memory = aligned_alloc(64, (tcu_memory(&w->profile, &w->port, false) + 63) / 64 * 64);
    w->tcu = tcu_init(memory, &w->profile, &w->port, w, &ops, &other, SPAN_LITERAL("VIN-0001"));
    world_start(w, TCU_DRIVING);
    assert_int_equal(other.connects, 1);
    assert_true(span_equal(other.last.client_id, SPAN_LITERAL("VIN-0001")));
    struct mq5_packet packet = {.type = MQ5_CONNACK};
    struct mq5_client_event event = {.kind = MQ5C_EV_CONNACK, .packet = &packet};
    tcu_mqtt_event(w->tcu, w->now_us, &event);
    assert_int_equal(tcu_connection(w->tcu), TCU_ONLINE);
    assert_int_equal(other.subscribes, 1);
    assert_int_equal(other.publishes, 1);
    other.answer = MQ5C_OFFLINE; /* it knows already, and will say so in a moment */
    world_run(w, 25 * US_PER_S);
    assert_int_equal(tcu_telemetry_pending(w->tcu), 3);
    other.answer = MQ5C_DONE;
    event = (struct mq5_client_event){.kind = MQ5C_EV_DISCONNECTED, .reason = MQ5_SERVER_BUSY};
    tcu_mqtt_event(w->tcu, w->now_us, &event);
    assert_int_equal(tcu_connection(w->tcu), TCU_WAITING);
    assert_int_equal(other.aborts, 1);
    world_run(w, 2 * US_PER_S);
    assert_int_equal(other.connects, 2);
    event = (struct mq5_client_event){.kind = MQ5C_EV_CONNACK, .packet = &packet};
    tcu_mqtt_event(w->tcu, w->now_us, &event);
    for (uint32_t number = 3; number >= 1; number--) {
        event = (struct mq5_client_event){.kind = MQ5C_EV_PUBLISHED, .token = number};
        tcu_mqtt_event(w->tcu, w->now_us, &event);
    }
    assert_int_equal(tcu_telemetry_pending(w->tcu), 0);
    assert_int_equal(w->acked[1] + w->acked[2] + w->acked[3], 3);
    tcu_stop(w->tcu, w->now_us);
    assert_int_equal(other.disconnects, 1);
    tcu_power_cut(w->tcu);
    assert_int_equal(w->blocks, 0);
    free(memory);
    free(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_cell),
        cmocka_unit_test(every_state_leads_online),
        cmocka_unit_test(states_have_names),
        cmocka_unit_test(events_without_meaning),
        cmocka_unit_test(runs_on_another_client),
    };
    return world_both(tests);
}
