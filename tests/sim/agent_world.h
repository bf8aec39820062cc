/* agent_world.h: a miniature virtual world for tests of the vehicle agent: seeded luck, links with latency, a tiny
 * broker with one session a vehicle, a certificate broker, a car, a store that can lose power at any write. Header
 * only, because every .c here is a test.
 *
 * It judges as it goes: a command run twice, telemetry out of order, a malformed packet or a second link at once
 * fail the test. */
#ifndef AGENT_WORLD_H
#define AGENT_WORLD_H

#include "agent_world_broker.h"

/* The port. */

static inline void world_port_link_open(void *context, enum tcu_identity identity)
{
    struct world *w = context;
    if (w->dead)
        return;
    assert_false(w->link_wanted); /* one at a time */
    w->link_wanted = true;
    w->link++;
    w->links_opened++;
    w->identity = identity;
    w->to_broker_us = w->to_vehicle_us = w->now_us;
    w->stream = (struct mq5_stream){.buffer = w->stream_buffer,
                                    .capacity = sizeof(w->stream_buffer),
                                    .version = w->version ? w->version : MQ5_V5,
                                    .sender = MQ5_FROM_CLIENT};
    if (w->cloud.door && w->cloud.door(w, true) == WORLD_TLS_FAILS) {
        world_push(w, WORLD_LINK_DOWN, w->now_us + world_delay(w))->value = TCU_LINK_TLS_FAILED;
    } else if (w->fail_links > 0) {
        w->fail_links--;
        world_push(w, WORLD_LINK_DOWN, w->now_us + world_delay(w))->value = (int)w->fail_link;
    } else if (!w->link_hangs) {
        world_push(w, WORLD_LINK_UP, w->now_us + 2 * world_delay(w));
    }
}

static inline void world_port_link_send(void *context, const uint8_t *data, size_t length)
{
    struct world *w = context;
    if (w->dead)
        return;
    assert_true(w->link_open);
    if (!world_loses(w))
        world_carry(w, WORLD_TO_BROKER, &w->to_broker_us, data, length);
}

/* What is on its way to the broker arrives at once: the next link is another stream. */
static inline void world_flush(struct world *w)
{
    struct world_event *next = w->events;
    while (next) {
        next = NULL;
        for (unsigned i = 0; i < w->event_count; i++) {
            struct world_event *event = &w->events[i];
            if (event->kind == WORLD_TO_BROKER && event->link == w->link && event->data &&
                (!next || event->sequence < next->sequence))
                next = event;
        }
        if (next) {
            uint8_t *data = next->data;
            next->data = NULL;
            world_broker_input(w, data, next->length);
            free(data);
        }
    }
}

/* A graceful close lets what was sent arrive; the broker notices either way. */
static inline void world_port_link_close(void *context, bool abort)
{
    struct world *w = context;
    if (w->dead)
        return;
    assert_true(w->link_wanted);
    w->link_wanted = w->link_open = false;
    if (abort) {
        w->aborts++;
    } else {
        w->graceful_closes++;
        world_flush(w);
    }
    w->connected = false;
    w->link++;
}

static inline void world_port_deadline(void *context, int64_t at_us)
{
    ((struct world *)context)->deadline_us = at_us;
}

static inline uint32_t world_port_random(void *context)
{
    return world_random(context);
}

#define WORLD_EPOCH_US INT64_C(1700000000000000)
static inline int64_t world_port_wall(void *context, int64_t now_us)
{
    return WORLD_EPOCH_US + now_us;
}

static inline bool world_port_store_write(void *context, enum tcu_store_item item, struct span value);

/* With a cloud that looks at keys they are in the store, by their numbers. */
static inline void world_port_key_generate(void *context, enum tcu_identity slot, struct span common_name)
{
    struct world *w = context;
    char key[16];
    assert_true(span_equal(common_name, SPAN_LITERAL("VIN-0001")));
    if (w->dead)
        return;
    w->keys++;
    snprintf(key, sizeof(key), "key %u", w->keys);
    if (w->cloud.csr) /* never beside a certificate that is another key's */
        assert_int_equal(
            w->store[slot == TCU_OPERATIONAL ? TCU_STORE_OPERATIONAL_CERTIFICATE : TCU_STORE_SECOND_CERTIFICATE].length,
            0);
    if (w->cloud.csr)
        world_port_store_write(w, slot == TCU_OPERATIONAL ? TCU_STORE_OPERATIONAL_KEY : TCU_STORE_SECOND_KEY,
                               span_text(key));
    if (!w->dead)
        world_push(w, WORLD_CSR, w->now_us + 300 * US_PER_MS);
}

static inline void world_port_http_request(void *context, const struct tcu_http_request *request)
{
    struct world *w = context;
    w->requests++;
    w->http_identity = request->identity;
    assert_string_equal(request->path, "/.well-known/est/simpleenroll");
    if (!w->dead && !w->http_silent)
        world_push(w, WORLD_HTTP, w->now_us + 200 * US_PER_MS);
}

static inline bool world_port_store_write(void *context, enum tcu_store_item item, struct span value)
{
    struct world *w = context;
    if (w->dead || w->store_fails)
        return false;
    bool cut = ++w->store_writes == w->cut_at_write;
    if (cut)
        w->dead = true;
    if (cut && w->cut_before_write)
        return false;
    assert_true(value.length <= TCU_STORE_MAX);
    if (value.length > 0)
        memcpy(w->store[item].data, value.data, value.length);
    w->store[item].length = value.length;
    return true;
}

static inline size_t world_port_store_read(void *context, enum tcu_store_item item, uint8_t *out, size_t capacity)
{
    struct world *w = context;
    size_t length = w->store[item].length;
    if (length > capacity) /* the strictest reading of the port */
        return 0;
    memcpy(out, w->store[item].data, length);
    return length;
}

static inline size_t world_port_body(void *context, uint32_t number, int64_t intended_us, uint8_t *out, size_t capacity)
{
    return (size_t)snprintf((char *)out, capacity, "\"v\":%u", number * 7);
}

static inline void world_port_execute(void *context, uint32_t slot, struct span command)
{
    struct world *w = context;
    char text[64];
    snprintf(text, sizeof(text), "%.*s", (int)command.length, command.data);
    if (w->dead)
        return;
    assert_in_range(slot, 0, 7);
    uint32_t number = strncmp(text, "do-", 3) == 0 ? (uint32_t)strtoul(text + 3, NULL, 10) : 0;
    assert_in_range(number, 0, WORLD_COMMANDS - 1);
    w->executed[number]++;
    assert_int_equal(w->executed[number], 1); /* never twice */
    if (!w->car_hangs)
        world_push(w, WORLD_EXECUTED, w->now_us + w->execute_us)->value = (int)slot;
}

static inline void world_port_probe(void *context, int64_t now_us, const struct tcu_probe *probe)
{
    struct world *w = context;
    if (w->dead)
        return;
    assert_int_equal(now_us, w->now_us);
    w->probes.count[probe->kind]++;
    w->probes.last_number[probe->kind] = probe->number;
    w->probes.reason[probe->kind] = probe->reason;
    if (probe->kind == TCU_PROBE_STEP)
        w->probes.steps[probe->number]++;
    if (probe->kind == TCU_PROBE_TELEMETRY_INTENDED) {
        assert_in_range(probe->number, 1, WORLD_NUMBERS - 1);
        assert_int_equal(w->intended[probe->number], 0); /* a number is never used twice */
        w->intended[probe->number] = 1;
        w->intended_at_us[probe->number] = probe->at_us;
    } else if (probe->kind == TCU_PROBE_TELEMETRY_DROPPED) {
        w->dropped[probe->number]++;
    } else if (probe->kind == TCU_PROBE_TELEMETRY_ACKED) {
        assert_int_equal(probe->at_us, w->intended_at_us[probe->number]);
        w->acked[probe->number]++;
    }
}

/* Every test runs twice (world_both()): the agent has all its memory at once, or takes it block by block. */
static bool world_on_demand;

#define world_both(tests)                                                                                              \
    (world_on_demand = false, cmocka_run_group_tests_name("all at once", tests, NULL, NULL)) ||                        \
        (world_on_demand = true, cmocka_run_group_tests_name("on demand", tests, NULL, NULL))

/* A platform that gives memory block by block holds as many as the agent has not given back. */
static inline void *world_port_take(void *context, size_t size)
{
    struct world *w = context;
    if (w->no_memory || (w->memory_luck > 0 && world_below(w, w->memory_luck) == 0) ||
        (w->blocks_left > 0 && w->blocks_left++ == 2))
        return NULL;
    w->blocks++;
    w->block_bytes += size;
    void *block = malloc(size);
    memset(block, 0xA5, size);
    return block;
}

static inline void world_port_give(void *context, void *block, size_t size)
{
    struct world *w = context;
    assert_true(w->blocks > 0 && w->block_bytes >= size);
    w->blocks--;
    w->block_bytes -= size;
    memset(block, 0x5A, size);
    free(block);
}

/* Life. */

static inline void world_default_profile(struct tcu_profile *profile, uint8_t *scratch, size_t scratch_size)
{
    *profile = (struct tcu_profile){
        .mqtt = {.version = MQ5_V5,
                 .receive_maximum = 8,
                 .maximum_packet_size = 256,
                 .outgoing_maximum = 8,
                 .outgoing_alias_slots = 1},
        .power = {[TCU_PARKED] = {600, 300 * US_PER_S, 0}, [TCU_DRIVING] = {60, 10 * US_PER_S, 0}},
        .session_expiry_s = 3600,
        .queue_capacity = 32,
        .telemetry_qos = 1,
        .alias_slots = 1,
        .backoff_base_us = 1 * US_PER_S,
        .backoff_cap_us = 60 * US_PER_S,
        .stable_us = 60 * US_PER_S,
        .connect_timeout_us = 20 * US_PER_S,
        .acknowledge_timeout_us = 30 * US_PER_S,
        .http_timeout_us = 15 * US_PER_S,
        .topics = {.telemetry = "dt/%/telemetry",
                   .command_request = "cmd/%/request",
                   .command_response = "cmd/%/response"},
        .firmware = "1.4.2",
        .schema = "s7",
        .encoding = "json",
        .telemetry_payload_max = 256,
        .scratch = scratch,
        .scratch_size = scratch_size,
    };
}

static inline struct world *world_new(uint64_t seed)
{
    struct world *w = calloc(1, sizeof(*w));
    w->luck = seed;
    assert_context.seed = seed;
    w->latency_us = 20 * US_PER_MS;
    w->execute_us = 100 * US_PER_MS;
    w->receive_maximum = 8;
    w->maximum_qos = 2;
    w->deadline_us = TIME_NEVER;
    w->port = (struct tcu_port){.link_open = world_port_link_open,
                                .link_send = world_port_link_send,
                                .link_close = world_port_link_close,
                                .deadline = world_port_deadline,
                                .random = world_port_random,
                                .wall_us = world_port_wall,
                                .key_generate = world_port_key_generate,
                                .http_request = world_port_http_request,
                                .store_write = world_port_store_write,
                                .store_read = world_port_store_read,
                                .telemetry_body = world_port_body,
                                .execute = world_port_execute,
                                .probe = world_port_probe};
    if (world_on_demand) {
        w->port.memory_take = world_port_take;
        w->port.memory_give = world_port_give;
    }
    snprintf(w->command_topic, sizeof(w->command_topic), "cmd/VIN-0001/request");
    world_default_profile(&w->profile, w->scratch, sizeof(w->scratch));
    return w;
}

/* With a guard behind the agent's memory: it must stay within what it asked for. */
static inline void world_begin(struct world *w)
{
    tcu_profile_prepare(&w->profile);
    w->memory_size = tcu_memory(&w->profile, &w->port, true);
    w->memory = aligned_alloc(64, (w->memory_size + 64 + 63) / 64 * 64);
    memset(w->memory, 0xA5, w->memory_size + 64);
    w->tcu = tcu_init(w->memory, &w->profile, &w->port, w, NULL, NULL, SPAN_LITERAL("VIN-0001"));
}

static inline void world_end(struct world *w)
{
    for (unsigned i = 0; i < 64; i++)
        assert_int_equal(w->memory[w->memory_size + i], 0xA5);
    tcu_release(w->tcu);
    assert_int_equal(w->blocks, 0);
    assert_int_equal(w->block_bytes, 0);
    for (unsigned i = 0; i < w->event_count; i++)
        free(w->events[i].data);
    free(w->memory);
    free(w);
}

/* The power is gone, and comes back later by tcu_start(). */
static inline void world_power_cut(struct world *w)
{
    w->dead = false;
    w->cut_at_write = w->cut_again_at_write;
    w->cut_again_at_write = 0;
    w->cut_before_write = w->cut_again_before_write;
    w->life++;
    w->link++;
    w->link_wanted = w->link_open = w->connected = false;
    tcu_power_cut(w->tcu);
    assert_int_equal(tcu_connection(w->tcu), TCU_OFF);
    assert_int_equal(w->deadline_us, TIME_NEVER);
}

static inline void world_start(struct world *w, enum tcu_power power)
{
    tcu_start(w->tcu, w->now_us, power);
}

/* The link breaks under both. */
static inline void world_cut_link(struct world *w)
{
    if (!w->link_wanted)
        return;
    w->link_wanted = w->link_open = w->connected = false;
    w->link++;
    tcu_link_down(w->tcu, w->now_us, TCU_LINK_LOST);
}

static inline void world_to_vehicle(struct world *w, const struct world_event *event)
{
    size_t piece = w->split ? w->split : event->length;
    for (size_t at = 0; at < event->length && event->link == w->link; at += piece)
        tcu_bytes(w->tcu, w->now_us, event->data + at, event->length - at < piece ? event->length - at : piece);
}

static inline void world_http_answer(struct world *w)
{
    if (w->http_failures > 0) {
        w->http_failures--;
        tcu_http_response(w->tcu, w->now_us, w->http_status, SPAN_LITERAL("no"));
    } else {
        tcu_http_response(w->tcu, w->now_us, 200, SPAN_LITERAL("certificate"));
    }
}

static inline void world_handle(struct world *w, const struct world_event *event)
{
    bool same_life = event->life == w->life, same_link = event->link == w->link && w->link_wanted;
    switch (event->kind) {
    case WORLD_LINK_UP:
        if (same_link) {
            w->link_open = true;
            tcu_link_up(w->tcu, w->now_us);
        }
        break;
    case WORLD_LINK_DOWN:
        if (same_link) {
            w->link_wanted = w->link_open = w->connected = false;
            w->link++;
            tcu_link_down(w->tcu, w->now_us, (enum tcu_link_end)event->value);
        }
        break;
    case WORLD_TO_BROKER:
        if (same_link && event->data)
            world_broker_input(w, event->data, event->length);
        break;
    case WORLD_TO_VEHICLE:
        if (same_link && event->data && w->link_open)
            world_to_vehicle(w, event);
        break;
    case WORLD_CSR:
        if (same_life && w->key_failures > 0) {
            w->key_failures--;
            tcu_csr_ready(w->tcu, w->now_us, (struct span){NULL, 0});
        } else if (same_life && w->cloud.csr) {
            char csr[512];
            tcu_csr_ready(w->tcu, w->now_us, span_of(csr, w->cloud.csr(w, csr, sizeof(csr))));
        } else if (same_life) {
            tcu_csr_ready(w->tcu, w->now_us, SPAN_LITERAL("request"));
        }
        break;
    case WORLD_HTTP:
        if (same_life)
            world_http_answer(w);
        break;
    case WORLD_EXECUTED:
        if (same_life)
            tcu_executed(w->tcu, w->now_us, (uint32_t)event->value, !w->execute_fails);
        break;
    case WORLD_BROKER_CLOSE: break;
    }
}

static inline int world_earliest(const struct world *w)
{
    int best = -1;
    for (unsigned i = 0; i < w->event_count; i++)
        if (best < 0 || w->events[i].at_us < w->events[best].at_us ||
            (w->events[i].at_us == w->events[best].at_us && w->events[i].sequence < w->events[best].sequence))
            best = (int)i;
    return best;
}

/* One thing happens, if anything does up to then; false: the time is there. A dead vehicle is cut and started again. */
static inline bool world_step(struct world *w, int64_t until_us)
{
    int next = world_earliest(w);
    int64_t event_us = next >= 0 ? w->events[next].at_us : TIME_NEVER;
    int64_t at_us = event_us <= w->deadline_us ? event_us : w->deadline_us;
    if (at_us > until_us) {
        w->now_us = until_us;
        return false;
    }
    w->now_us = at_us > w->now_us ? at_us : w->now_us;
    assert_context.now_us = w->now_us;
    if (event_us <= w->deadline_us) {
        struct world_event event = w->events[next];
        w->events[next] = w->events[--w->event_count];
        world_handle(w, &event);
        free(event.data);
    } else {
        int64_t told_us = w->deadline_us;
        tcu_tick(w->tcu, w->now_us);
        assert_true(w->deadline_us > told_us || w->dead || w->deadline_us > w->now_us - 1); /* no standing still */
    }
    if (w->dead) {
        world_power_cut(w);
        w->now_us += 5 * US_PER_S;
        world_start(w, w->restarts_parked ? TCU_PARKED : TCU_DRIVING);
    }
    return true;
}

static inline void world_run(struct world *w, int64_t duration_us)
{
    int64_t until_us = w->now_us + duration_us;
    unsigned same = 0;
    for (int64_t before_us = w->now_us; world_step(w, until_us); before_us = w->now_us) {
        same = w->now_us == before_us ? same + 1 : 0;
        assert_true(same < 10000);
    }
}

/* Every number intended is either with the broker, or was dropped with a word, or is still waiting, or died with the
 * power. */
static inline unsigned world_missing(const struct world *w)
{
    unsigned missing = 0;
    for (unsigned i = 1; i < WORLD_NUMBERS; i++)
        missing += w->intended[i] && !w->received[i] && !w->dropped[i];
    return missing;
}

static inline void world_check_delivered(const struct world *w)
{
    assert_int_equal(world_missing(w), tcu_telemetry_pending(w->tcu));
    for (unsigned i = 1; i < WORLD_NUMBERS; i++)
        assert_false(w->acked[i] && !w->received[i]);
}

#endif
