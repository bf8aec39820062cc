/* tcu.c: the reference TCU as a program: the agent's platform, and the loop that turns what happens into calls of the agent.
 *
 * Answers to the agent's wishes never come from inside its call: key_generate() and execute() note what is done, the loop tells it on its
 * next turn. The loop sleeps in curl_multi_poll(), which watches libcurl's sockets, the wake-up of Paho's thread and the stop. */
#include "ports_internal.h"

#include <errno.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

enum {
    SLOTS = 32,
    COMMAND_MAX = 64,
    BODY_MAX = 256,
    SCRATCH = 8192,
    QUEUE = 1000,
    GOOD_BYE_US = 3000000,
    LONGEST_MS = 60000
};

struct program {
    const struct tcu_run_options *options;
    struct tcu_profile profile;
    struct tcu *tcu;
    struct ports_session session;
    struct ports_token *token;
    struct ports_store store;
    struct ports_enroll enroll;
    int wake_fd;
    int64_t now_us, deadline_us, wall_offset_us;
    uint8_t request[TCU_REQUEST_MAX];
    size_t request_length;
    bool request_ready, no_answer;
    uint32_t executing; /* a bit a slot */
    char commands[SLOTS][COMMAND_MAX];
    uint8_t command_key[TCU_KEY_MAX], vehicle_key[32]; /* of sealed commands */
    size_t command_key_length;                         /* 0: none */
    char detail[256];
    _Alignas(64) uint8_t scratch[SCRATCH];
};

static int64_t clock_us(clockid_t clock)
{
    struct timespec now;
    clock_gettime(clock, &now);
    return (int64_t)now.tv_sec * US_PER_S + now.tv_nsec / 1000;
}

/* ---- the platform ------------------------------------------------------------------------------------------------------ */

static void port_deadline(void *context, int64_t at_us)
{
    ((struct program *)context)->deadline_us = at_us;
}

static uint32_t port_random(void *context)
{
    uint32_t value = 0;
    ASSERT(getrandom(&value, sizeof(value), 0) == (ssize_t)sizeof(value));
    return value;
}

static int64_t port_wall_us(void *context, int64_t now_us)
{
    return now_us + ((struct program *)context)->wall_offset_us;
}

static void port_key_generate(void *context, enum tcu_identity slot, struct span common_name)
{
    struct program *program = context;
    program->request_length = ports_store_make_key(&program->store, slot == TCU_OPERATIONAL_SECOND, common_name,
                                                   program->request, sizeof(program->request));
    program->request_ready = true;
}

static size_t port_device(void *context, char *out, size_t capacity)
{
    const char *device = ((struct program *)context)->options->device;
    size_t length = device ? strlen(device) : 0;
    if (length > capacity)
        return 0;
    if (length)
        memcpy(out, device, length);
    return length;
}

static void port_http_request(void *context, const struct tcu_http_request *request)
{
    struct program *program = context;
    program->no_answer = !ports_enroll_begin(&program->enroll, program->options, request);
}

static bool port_store_write(void *context, enum tcu_store_item item, struct span value)
{
    struct program *program = context;
    if (ports_store_write(&program->store, item, value))
        return true;
    snprintf(program->detail, sizeof(program->detail), "%s",
             item == TCU_STORE_STATE || item == TCU_STORE_ROTATION
                 ? "the store cannot be written"
                 : "the answer holds no certificate for our key, or the store cannot be written");
    return false;
}

static size_t port_store_read(void *context, enum tcu_store_item item, uint8_t *out, size_t capacity)
{
    struct program *program = context;
    int64_t now_s = (program->now_us + program->wall_offset_us) / US_PER_S;
    return ports_store_read(&program->store, item, now_s, out, capacity);
}

/* There is no car: signals that follow from the number, so that a message sent again is the same message. */
static size_t port_telemetry_body(void *context, uint32_t number, int64_t intended_us, uint8_t *out, size_t capacity)
{
    const struct program *program = context;
    unsigned speed = program->options->driving ? 30 + number * 7 % 90 : 0;
    int length = snprintf((char *)out, capacity, "\"speed\":%u,\"soc\":%u,\"odo\":%u", speed, 100 - number / 8 % 90,
                          12000 + number);
    return length > 0 && (size_t)length < capacity ? (size_t)length : 0;
}

static void port_execute(void *context, uint32_t slot, struct span command)
{
    struct program *program = context;
    ASSERT(slot < SLOTS);
    snprintf(program->commands[slot], COMMAND_MAX, "%.*s", (int)command.length,
             command.length ? (const char *)command.data : "");
    program->executing |= UINT32_C(1) << slot;
}

static size_t port_unseal(void *context, struct span sealed, uint8_t *out, size_t capacity, enum tcu_refusal *why)
{
    const struct program *program = context;
    bool forged = false;
    size_t length = program->command_key_length
                        ? tcu_crypto_unseal(span_of(program->command_key, program->command_key_length),
                                            program->vehicle_key, sealed, out, capacity, &forged)
                        : 0;
    *why = length ? TCU_REFUSED_NOTHING : forged ? TCU_REFUSED_FORGED : TCU_REFUSED_UNREADABLE;
    return length;
}

static void port_probe(void *context, int64_t now_us, const struct tcu_probe *probe)
{
    struct program *program = context;
    const char *detail = program->detail;
    if (probe->kind == TCU_PROBE_REFUSED || probe->kind == TCU_PROBE_OFFLINE)
        detail = program->session.why;
    if (program->options->report)
        program->options->report(program->options->context, now_us, probe, detail);
    program->session.why[0] = 0;
}

static const struct tcu_port port = {
    .deadline = port_deadline,
    .random = port_random,
    .wall_us = port_wall_us,
    .key_generate = port_key_generate,
    .http_request = port_http_request,
    .store_write = port_store_write,
    .store_read = port_store_read,
    .device = port_device,
    .telemetry_body = port_telemetry_body,
    .execute = port_execute,
    .unseal = port_unseal,
    .probe = port_probe,
};

/* ---- the loop ------------------------------------------------------------------------------------------------------------ */

static void run_request(struct program *program)
{
    if (!program->request_ready)
        return;
    program->request_ready = false;
    if (program->token && !program->request_length)
        ports_token_why(program->token, program->detail, sizeof(program->detail));
    else
        snprintf(program->detail, sizeof(program->detail), "no key pair could be made");
    tcu_csr_ready(program->tcu, program->now_us, span_of(program->request, program->request_length));
}

static void run_answer(struct program *program)
{
    int status = 0;
    bool ended = ports_enroll_step(&program->enroll, &status);
    if (!ended && !program->no_answer)
        return;
    program->no_answer = false;
    snprintf(program->detail, sizeof(program->detail), "%s", status ? "" : program->enroll.error);
    tcu_http_response(program->tcu, program->now_us, status,
                      span_of(program->enroll.answer, status ? program->enroll.answer_length : 0));
}

static void run_executed(struct program *program)
{
    while (program->executing) {
        uint32_t slot = (uint32_t)__builtin_ctz(program->executing);
        program->executing &= program->executing - 1;
        snprintf(program->detail, sizeof(program->detail), "%s", program->commands[slot]);
        tcu_executed(program->tcu, program->now_us, slot, true);
    }
}

static void turn(struct program *program)
{
    uint64_t count;
    while (read(program->wake_fd, &count, sizeof(count)) > 0)
        ;
    program->now_us = clock_us(CLOCK_MONOTONIC);
    ports_session_run(&program->session, program->now_us);
    run_answer(program);
    run_request(program);
    run_executed(program);
    program->detail[0] = 0;
    if (program->now_us >= program->deadline_us)
        tcu_tick(program->tcu, program->now_us);
}

static bool has_work(const struct program *program)
{
    return program->request_ready || program->no_answer || program->executing;
}

/* true: told to stop. */
static bool sleep_until(struct program *program, int64_t at_us)
{
    struct curl_waitfd extra[2] = {{program->wake_fd, CURL_WAIT_POLLIN, 0},
                                   {program->options->stop_fd, CURL_WAIT_POLLIN, 0}};
    unsigned count = program->options->stop_fd >= 0 ? 2 : 1;
    int64_t wait_us = at_us - clock_us(CLOCK_MONOTONIC);
    int64_t wait_ms = wait_us <= 0 || has_work(program) ? 0 : (wait_us + US_PER_MS - 1) / US_PER_MS;
    int running;
    curl_multi_poll(program->enroll.multi, extra, count, (int)(wait_ms < LONGEST_MS ? wait_ms : LONGEST_MS), &running);
    return extra[1].revents != 0;
}

static void say_good_bye(struct program *program)
{
    int64_t end_us = clock_us(CLOCK_MONOTONIC) + GOOD_BYE_US;
    tcu_stop(program->tcu, clock_us(CLOCK_MONOTONIC));
    struct tcu_run_options without_stop = *program->options;
    without_stop.stop_fd = -1; /* it stays readable */
    program->options = &without_stop;
    while (!ports_session_left(&program->session) && clock_us(CLOCK_MONOTONIC) < end_us) {
        sleep_until(program, end_us);
        turn(program);
    }
}

static void loop(struct program *program)
{
    int64_t end_us = program->options->duration_us ? program->now_us + program->options->duration_us : TIME_NEVER;
    bool stop = false;
    while (!stop && clock_us(CLOCK_MONOTONIC) < end_us) {
        turn(program);
        stop = sleep_until(program, program->deadline_us < end_us ? program->deadline_us : end_us);
    }
}

/* ---- beginning and end ---------------------------------------------------------------------------------------------------- */

static void fill_profile(struct program *program)
{
    const struct tcu_run_options *options = program->options;
    struct tcu_profile *profile = &program->profile;
    profile->mqtt = (struct mq5_client_config){.version = MQ5_V5, .outgoing_maximum = PORTS_OUTGOING_MAX};
    for (int power = 0; power < TCU_POWER_STATES; power++)
        profile->power[power] = (struct tcu_power_profile){.keep_alive_s = options->keep_alive_s,
                                                           .telemetry_period_us = options->period_us};
    profile->session_expiry_s = 3600;
    profile->reconnect_on_power_change = true; /* Paho pings at the rate of the keep alive only */
    profile->provisioning = options->certificate_broker  ? TCU_PROVISION_CERTIFICATE_BROKER
                            : options->claim_certificate ? TCU_PROVISION_CLAIM
                                                         : TCU_PROVISION_NONE;
    profile->drop_rule = TCU_DROP_OLDEST;
    profile->queue_capacity = QUEUE;
    profile->telemetry_qos = 1;
    profile->backoff_base_us = US_PER_S;
    profile->backoff_cap_us = 60 * US_PER_S;
    profile->stable_us = 30 * US_PER_S;
    profile->connect_timeout_us = 15 * US_PER_S;
    profile->acknowledge_timeout_us = 30 * US_PER_S;
    profile->http_timeout_us = 15 * US_PER_S;
    snprintf(profile->topics.telemetry, sizeof(profile->topics.telemetry), "dt/%%/telemetry");
    snprintf(profile->topics.command_request, sizeof(profile->topics.command_request), "cmd/%%/request");
    snprintf(profile->topics.command_response, sizeof(profile->topics.command_response), "cmd/%%/response");
    if (options->reserved) {
        struct tcu_topics *topics = &profile->topics;
        snprintf(topics->reserved, sizeof(topics->reserved), "%s", options->reserved);
        snprintf(topics->deactivate, sizeof(topics->deactivate), "vehicle/%%/certificate/deactivate");
        snprintf(topics->active, sizeof(topics->active), "vehicleactive/%%");
    }
    snprintf(profile->firmware, sizeof(profile->firmware), "convoy-tcu");
    snprintf(profile->schema, sizeof(profile->schema), "telemetry-1");
    snprintf(profile->encoding, sizeof(profile->encoding), "json");
    snprintf(profile->user_name, sizeof(profile->user_name), "%s", options->user_name ? options->user_name : "");
    snprintf(profile->password, sizeof(profile->password), "%s", options->password ? options->password : "");
    profile->sealed_commands = options->command_key != NULL;
    profile->telemetry_payload_max = BODY_MAX;
    profile->scratch = program->scratch;
    profile->scratch_size = sizeof(program->scratch);
    tcu_profile_prepare(profile);
}

static bool readable(const char *what, const char *path, char *error, size_t error_capacity)
{
    if (!path || access(path, R_OK) == 0)
        return true;
    snprintf(error, error_capacity, "cannot read the %s %s: %s", what, path, strerror(errno));
    return false;
}

/* A certificate without a key file must have its key in the token. */
static bool has_key(struct ports_token *token, const char *path, const char *key_path, char *error,
                    size_t error_capacity)
{
    uint8_t certificate[TCU_CERTIFICATE_MAX];
    if (!path || key_path)
        return true;
    size_t length = tcu_crypto_read_certificate(path, certificate, sizeof(certificate), error, error_capacity);
    EVP_PKEY *key = length ? ports_token_key(token, span_of(certificate, length)) : NULL;
    if (length && !key)
        snprintf(error, error_capacity, "the token has no key for %s", path);
    EVP_PKEY_free(key);
    return key != NULL;
}

static bool open_token(struct program *program, char *error, size_t error_capacity)
{
    const struct tcu_run_options *options = program->options;
    if (!options->token)
        return true;
    program->token = ports_token_open(options, error, error_capacity);
    return program->token &&
           has_key(program->token, options->attestation_certificate, options->attestation_key, error, error_capacity) &&
           has_key(program->token, options->claim_certificate, options->claim_key, error, error_capacity);
}

static bool read_command_keys(struct program *program, char *error, size_t error_capacity)
{
    const struct tcu_run_options *options = program->options;
    if (!options->command_key)
        return true;
    program->command_key_length = tcu_crypto_read_public_key(options->command_key, program->command_key,
                                                             sizeof(program->command_key), error, error_capacity);
    return program->command_key_length &&
           tcu_crypto_read_vehicle_key(options->vehicle_key, program->vehicle_key, error, error_capacity);
}

static bool open_parts(struct program *program, char *error, size_t error_capacity)
{
    const struct tcu_run_options *options = program->options;
    if (!readable("CA file", options->ca_file, error, error_capacity) ||
        !readable("attestation certificate", options->attestation_certificate, error, error_capacity) ||
        !readable("attestation key", options->attestation_key, error, error_capacity) ||
        !readable("claim certificate", options->claim_certificate, error, error_capacity) ||
        !readable("claim key", options->claim_key, error, error_capacity) ||
        !read_command_keys(program, error, error_capacity) || !open_token(program, error, error_capacity) ||
        !ports_store_open(&program->store, options->store_directory, program->token, error, error_capacity))
        return false;
    program->wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (program->wake_fd < 0 || !ports_enroll_open(&program->enroll, program->token)) {
        snprintf(error, error_capacity, "cannot begin: %s",
                 program->wake_fd < 0 ? strerror(errno) : "libcurl does not start");
        return false;
    }
    return ports_session_open(&program->session, options, &program->store, program->wake_fd, error, error_capacity);
}

static bool run(struct program *program, char *error, size_t error_capacity)
{
    size_t bytes = (tcu_memory(&program->profile, &port, false) + 63) & ~(size_t)63;
    void *memory = aligned_alloc(64, bytes);
    if (!memory) {
        snprintf(error, error_capacity, "out of memory");
        return false;
    }
    program->deadline_us = TIME_NEVER;
    program->now_us = clock_us(CLOCK_MONOTONIC);
    program->wall_offset_us = clock_us(CLOCK_REALTIME) - program->now_us;
    program->tcu = tcu_init(memory, &program->profile, &port, program, &ports_session_mqtt, &program->session,
                            span_text(program->options->name));
    program->session.tcu = program->tcu;
    tcu_start(program->tcu, program->now_us, program->options->driving ? TCU_DRIVING : TCU_PARKED);
    loop(program);
    say_good_bye(program);
    ports_session_close(&program->session);
    free(memory);
    return true;
}

bool tcu_run(const struct tcu_run_options *options, char *error, size_t error_capacity)
{
    struct program *program = aligned_alloc(64, (sizeof(*program) + 63) & ~(size_t)63);
    if (!program) {
        snprintf(error, error_capacity, "out of memory");
        return false;
    }
    memset(program, 0, sizeof(*program));
    program->options = options;
    program->wake_fd = -1;
    fill_profile(program);
    bool good = open_parts(program, error, error_capacity) && run(program, error, error_capacity);
    if (program->enroll.multi)
        ports_enroll_close(&program->enroll);
    if (program->wake_fd >= 0)
        close(program->wake_fd);
    ports_store_close(&program->store);
    ports_token_close(program->token);
    free(program);
    return good;
}

size_t tcu_token_attestation(const struct tcu_run_options *options, uint8_t *request, size_t capacity, char *error,
                             size_t error_capacity)
{
    static const char purpose[] = "attestation";
    struct ports_token *token = ports_token_open(options, error, error_capacity);
    if (!token)
        return 0;
    EVP_PKEY *key = ports_token_sweep(token, purpose, NULL, NULL) ? ports_token_generate(token, purpose) : NULL;
    size_t length = key ? ports_crypto_request(key, span_text(options->name), request, capacity) : 0;
    if (!length)
        ports_token_why(token, error, error_capacity);
    EVP_PKEY_free(key);
    ports_token_close(token);
    return length;
}
