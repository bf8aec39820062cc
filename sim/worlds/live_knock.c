/* live_knock.c: certificates that were replaced, shown once more when the run is over: on a fresh connection, with their key and the vehicle's name.
 *
 * Nobody but the door answers, so anything but a refusal (TLS ends, the connection ends without CONNACK, CONNACK with an error) counts against it. Which
 * ones are kept is drawn evenly from all that were replaced, so that time and memory have a bound.
 */
#include "live.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#define ANSWER_S      5
#define KNOCKING_US   (30 * US_PER_S) /* a door that says nothing at all does not hold up the report */
#define SALT_REPLACED 0x1D008

enum answer { REFUSED, LET_IN, NO_ANSWER };

/* ---- keeping ---------------------------------------------------------------------------------------------------------- */

static uint32_t most(const struct live_world *world)
{
    return LIVE_KNOCKS / world->ranks + (world->rank < LIVE_KNOCKS % world->ranks);
}

void live_knock_keep(struct live_vehicle *vehicle, struct span certificate, struct span key)
{
    struct live_world *world = vehicle->world;
    if (!certificate.length || !key.length || !world->lives || !world->scenario->cloud.lifecycle.probe_old ||
        !world->brokers[0].embedded || world->scenario->cohorts[vehicle->trace.cohort].steals != MEASURE_ANY)
        return;
    if (!world->replaced && !(world->replaced = calloc(LIVE_KNOCKS, sizeof *world->replaced)))
        return;
    uint64_t seen = world->replaced_seen++, place = seen;
    if (seen >= most(world))
        place = sim_random_at(world->scenario->seed, world->rank, SALT_REPLACED, seen) % (seen + 1);
    uint8_t *bytes = place < most(world) ? malloc(certificate.length + key.length) : NULL;
    if (!bytes)
        return;
    memcpy(bytes, certificate.data, certificate.length);
    memcpy(bytes + certificate.length, key.data, key.length);
    free(world->replaced[place].bytes);
    world->replaced[place] =
        (struct live_replaced){live_place(vehicle), (uint16_t)certificate.length, (uint16_t)key.length, bytes};
    if (place >= world->replaced_kept)
        world->replaced_kept = (uint32_t)place + 1;
}

void live_knock_forget(struct live_world *world)
{
    for (uint32_t i = 0; i < world->replaced_kept; i++)
        free(world->replaced[i].bytes);
    free(world->replaced);
    world->replaced = NULL;
    world->replaced_kept = 0;
}

/* ---- one knock -------------------------------------------------------------------------------------------------------- */

static int dial(const struct live_door *door)
{
    struct timeval patience = {.tv_sec = ANSWER_S};
    int on = 1, fd = door->address_length ? socket(door->address.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0) : -1;
    if (fd < 0)
        return -1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
    if (connect(fd, (const struct sockaddr *)&door->address, door->address_length) == 0)
        return fd;
    close(fd);
    return -1;
}

/* An end is a refusal, silence is not. */
static enum answer ended(SSL *ssl, int result)
{
    int error = SSL_get_error(ssl, result);
    ERR_clear_error();
    return error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE ? NO_ANSWER : REFUSED;
}

static enum answer ask(SSL *ssl, struct span name)
{
    uint8_t bytes[256];
    size_t length = 0, got = 0;
    uint32_t whole = 0;
    struct mq5_packet packet = {.type = MQ5_CONNECT}, answer;
    packet.connect = (struct mq5_connect){.version = MQ5_V5, .clean_start = true, .client_id = name};
    int result = SSL_connect(ssl);
    if (result != 1)
        return ended(ssl, result);
    if (mq5_encode(MQ5_V5, &packet, bytes, sizeof bytes, &length) != MQ5_OK)
        return NO_ANSWER;
    result = SSL_write(ssl, bytes, (int)length);
    if (result <= 0)
        return ended(ssl, result);
    while (got < sizeof bytes) {
        result = SSL_read(ssl, bytes + got, (int)(sizeof bytes - got));
        if (result <= 0)
            return ended(ssl, result);
        got += (size_t)result;
        if (mq5_frame(bytes, got, 0, &whole) != MQ5_OK || whole > got)
            continue;
        bool read = mq5_decode(MQ5_V5, MQ5_FROM_SERVER, bytes, whole, &answer, NULL) == MQ5_OK;
        return read && answer.type == MQ5_CONNACK && answer.connack.reason != MQ5_SUCCESS ? REFUSED : LET_IN;
    }
    return NO_ANSWER;
}

static enum answer knock(struct live_world *world, const struct live_replaced *replaced)
{
    const struct live_vehicle *vehicle = &world->vehicles[replaced->place];
    const struct live_door *door = &world->brokers[vehicle->broker].doors[IDENTITY_CERTIFICATE];
    int fd = dial(door);
    SSL *ssl = fd >= 0 ? SSL_new(world->tls) : NULL;
    enum answer answer = NO_ANSWER;
    if (ssl && SSL_set_fd(ssl, fd) == 1 &&
        SSL_use_certificate_ASN1(ssl, replaced->bytes, replaced->certificate_length) == 1 &&
        SSL_use_PrivateKey_ASN1(EVP_PKEY_EC, ssl, replaced->bytes + replaced->certificate_length,
                                replaced->key_length) == 1)
        answer = ask(ssl, tcu_name(vehicle->tcu));
    ERR_clear_error();
    SSL_free(ssl);
    if (fd >= 0)
        close(fd);
    return answer;
}

/* ---- all of them ------------------------------------------------------------------------------------------------------ */

void live_knock(struct live_world *world)
{
    int64_t begun_us = live_clock();
    uint32_t count[3] = {0}, knocked = 0;
    if (world->result->status != WORLD_COMPLETED || !world->replaced_kept)
        return;
    world->closing = true; /* whoever is pushed out by a door that lets them in has been counted as connected */
    for (; knocked < world->replaced_kept && live_clock() - begun_us < KNOCKING_US; knocked++) {
        const struct live_replaced *replaced = &world->replaced[knocked];
        enum answer answer = knock(world, replaced);
        count[answer]++;
        if (answer != REFUSED)
            fleet_identity_flaw(&world->fleet, COUNTER_FLAW_OLD_ACCEPTED,
                                tcu_name(world->vehicles[replaced->place].tcu), world->duration_us - 1);
    }
    live_tick(world);
    live_group_note(world,
                    "%u of %llu replaced certificates were shown again: %u refused, %u let in, %u without an answer",
                    knocked, (unsigned long long)world->replaced_seen, count[REFUSED], count[LET_IN], count[NO_ANSWER]);
}
