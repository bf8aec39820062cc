/* agent_cloud.h: a small scripted cloud for agent_world.h: jobs of one thing, certificates, provisioning, and a door that knows which certificates
 * are ACTIVE. It reads requests with string functions and writes answers with snprintf: nothing in it is shared with the agent.
 *
 * Faults are told by counting: the so many-th answer lost, spoiled or sent twice, a job cancelled or the link cut at the so many-th request. */
#ifndef AGENT_CLOUD_H
#define AGENT_CLOUD_H

#include "agent_world.h"

#include "vehicle/agent/agent_internal.h"

enum cloud_status { CLOUD_PENDING, CLOUD_ACTIVE, CLOUD_INACTIVE };
static const char *const cloud_job_states[] = {"QUEUED", "IN_PROGRESS", "SUCCEEDED", "FAILED", "REJECTED", "CANCELED"};
enum cloud_job_state { JOB_QUEUED, JOB_IN_PROGRESS, JOB_SUCCEEDED, JOB_FAILED, JOB_REJECTED, JOB_CANCELED };

struct cloud_certificate {
    char id[65], text[96], token[24];
    unsigned key;
    enum cloud_status status;
    bool used;
};

struct cloud_job {
    char id[65];
    const char *document;
    enum cloud_job_state state;
    int version;
    char reason[64];
    bool deleted; /* with all that is known of it */
};

struct cloud {
    struct world *world;
    char prefix[32];
    struct cloud_certificate certificates[64];
    unsigned certificate_count;
    struct cloud_job jobs[8];
    unsigned job_count;
    char waiting[8][512]; /* notifications for a vehicle that is away */
    unsigned waiting_count;
    unsigned requests, answers, deactivations, announcements, server_keys;
    char announced[65];

    enum world_door door; /* how a certificate that is not ACTIVE is refused */
    bool never_activate;  /* provision is granted, and nothing follows */
    bool grant_once;      /* a token is good for one provision */
    unsigned deny;        /* provision requests */
    unsigned reject_create;
    unsigned lose_answer, spoil_answer, cancel_at, cut_at, ignore_request; /* the so many-th; 0: none */
    bool twice;
    const char *spoilt;
    enum cloud_status cancelled_status;
};

static inline struct cloud *cloud_of(struct world *w)
{
    return w->cloud.context;
}

static inline struct cloud_certificate *cloud_issue(struct cloud *cloud, unsigned key)
{
    assert_true(cloud->certificate_count < 64);
    struct cloud_certificate *certificate = &cloud->certificates[cloud->certificate_count];
    unsigned number = ++cloud->certificate_count;
    *certificate = (struct cloud_certificate){.key = key};
    snprintf(certificate->id, sizeof(certificate->id), "%064x", number * 2654435761u);
    snprintf(certificate->token, sizeof(certificate->token), "token \"%u\"", number);
    snprintf(certificate->text, sizeof(certificate->text), "-----BEGIN-----\nCVC1|VIN-0001|%u|%u\n-----END-----\n",
             number, key);
    return certificate;
}

/* ---- the door ---- */

static inline const struct cloud_certificate *cloud_shown(struct world *w, bool second)
{
    struct cloud *cloud = cloud_of(w);
    int certificate = second ? TCU_STORE_SECOND_CERTIFICATE : TCU_STORE_OPERATIONAL_CERTIFICATE;
    int key = second ? TCU_STORE_SECOND_KEY : TCU_STORE_OPERATIONAL_KEY;
    for (unsigned i = 0; i < cloud->certificate_count; i++) {
        char number[16];
        size_t length = strlen(cloud->certificates[i].text);
        snprintf(number, sizeof(number), "key %u", cloud->certificates[i].key);
        if (w->store[certificate].length == length &&
            memcmp(w->store[certificate].data, cloud->certificates[i].text, length) == 0) {
            assert_int_equal(w->store[key].length,
                             strlen(number)); /* the halves belong together whenever they are shown */
            assert_memory_equal(w->store[key].data, number, strlen(number));
            return &cloud->certificates[i];
        }
    }
    return NULL;
}

static inline enum world_door cloud_door(struct world *w, bool handshake)
{
    const struct cloud *cloud = cloud_of(w);
    if (w->identity == TCU_CLAIM)
        return WORLD_ADMIT;
    assert_true(w->identity == TCU_OPERATIONAL || w->identity == TCU_OPERATIONAL_SECOND);
    const struct cloud_certificate *shown = cloud_shown(w, w->identity == TCU_OPERATIONAL_SECOND);
    assert_non_null(shown);
    if (shown->status == CLOUD_ACTIVE)
        return WORLD_ADMIT;
    if (handshake)
        return cloud->door == WORLD_TLS_FAILS ? WORLD_TLS_FAILS : WORLD_ADMIT;
    return cloud->door ? cloud->door : WORLD_REFUSE;
}

/* ---- to the vehicle ---- */

static inline void cloud_send(struct world *w, const char *topic, const char *payload)
{
    struct mq5_packet packet = {.type = MQ5_PUBLISH};
    packet.publish.topic = span_text(topic);
    packet.publish.payload = span_text(payload);
    packet.publish.qos = 1;
    packet.publish.packet_id = ++w->next_packet_id ? w->next_packet_id : ++w->next_packet_id;
    world_send(w, &packet);
}

static inline void cloud_answer(struct world *w, const char *topic, const char *end, const char *payload)
{
    struct cloud *cloud = cloud_of(w);
    char whole[256];
    cloud->answers++;
    if (cloud->answers == cloud->lose_answer || !w->connected)
        return;
    snprintf(whole, sizeof(whole), "%s%s/%s", cloud->prefix, topic, end);
    cloud_send(w, whole, cloud->answers == cloud->spoil_answer ? cloud->spoilt : payload);
    if (cloud->twice)
        cloud_send(w, whole, payload);
}

static inline struct cloud_job *cloud_next_job(struct cloud *cloud)
{
    for (unsigned i = 0; i < cloud->job_count; i++)
        if (cloud->jobs[i].state == JOB_IN_PROGRESS)
            return &cloud->jobs[i];
    for (unsigned i = 0; i < cloud->job_count; i++)
        if (cloud->jobs[i].state == JOB_QUEUED)
            return &cloud->jobs[i];
    return NULL;
}

static inline void cloud_describe(const struct cloud_job *job, char *out, size_t capacity)
{
    if (!job)
        snprintf(out, capacity, "{\"timestamp\":1700000000}");
    else
        snprintf(out, capacity,
                 "{\"timestamp\":1700000000,\"execution\":{\"jobId\":\"%s\",\"status\":\"%s\",\"queuedAt\":1,"
                 "\"statusDetails\":{\"a\":"
                 "\"}\"},\"versionNumber\":%d,\"executionNumber\":1,\"jobDocument\":%s}}",
                 job->id, cloud_job_states[job->state], job->version, job->document);
}

static inline void cloud_notify(struct world *w)
{
    struct cloud *cloud = cloud_of(w);
    char payload[512], topic[128];
    cloud_describe(cloud_next_job(cloud), payload, sizeof(payload));
    snprintf(topic, sizeof(topic), "%sthings/VIN-0001/jobs/notify-next", cloud->prefix);
    if (!w->session || !w->subscribed || w->identity == TCU_CLAIM)
        return;
    if (w->connected)
        cloud_send(w, topic, payload);
    else if (cloud->waiting_count < 8)
        memcpy(cloud->waiting[cloud->waiting_count++], payload, sizeof(payload));
}

static inline void cloud_connected(struct world *w, bool resumed)
{
    struct cloud *cloud = cloud_of(w);
    char topic[128];
    snprintf(topic, sizeof(topic), "%sthings/VIN-0001/jobs/notify-next", cloud->prefix);
    for (unsigned i = 0; resumed && i < cloud->waiting_count; i++)
        cloud_send(w, topic, cloud->waiting[i]);
    cloud->waiting_count = 0;
}

static inline struct cloud_job *cloud_job(struct world *w, const char *id, const char *document)
{
    struct cloud *cloud = cloud_of(w);
    struct cloud_job *job = &cloud->jobs[cloud->job_count++];
    snprintf(job->id, sizeof(job->id), "%s", id);
    job->document = document;
    job->version = 1;
    if (cloud_next_job(cloud) == job)
        cloud_notify(w);
    return job;
}

static inline struct cloud_job *cloud_rotate(struct world *w)
{
    return cloud_job(w, "rotate-1", "{\"operation\":\"rotate-certificate\",\"template\":\"rotation\"}");
}

static inline void cloud_cancel(struct world *w, struct cloud_job *job)
{
    if (job->state > JOB_IN_PROGRESS)
        return;
    job->state = JOB_CANCELED;
    job->version++;
    cloud_notify(w);
}

/* ---- from the vehicle ---- */

/* The text of a member without escapes but \"; "" if there is none. */
static inline void cloud_member(const char *payload, const char *name, char *out, size_t capacity)
{
    char wanted[64];
    size_t length = 0;
    snprintf(wanted, sizeof(wanted), "\"%s\":\"", name);
    const char *at = strstr(payload, wanted);
    for (at = at ? at + strlen(wanted) : ""; *at && *at != '"' && length + 1 < capacity; at++) {
        if (*at == '\\')
            at++;
        out[length++] = *at;
    }
    out[length] = 0;
}

static inline void cloud_start_next(struct world *w, const char *topic)
{
    char payload[512];
    struct cloud_job *job = cloud_next_job(cloud_of(w));
    if (job && job->state == JOB_QUEUED) {
        job->state = JOB_IN_PROGRESS;
        job->version++;
    }
    cloud_describe(job, payload, sizeof(payload));
    cloud_answer(w, topic, "accepted", payload);
}

static inline void cloud_update(struct world *w, const char *topic, struct cloud_job *job, const char *payload)
{
    char status[16], answer[256];
    const char *expected = strstr(payload, "\"expectedVersion\":");
    const char *code = job->state > JOB_IN_PROGRESS ? "TerminalStateReached" : "VersionMismatch";
    cloud_member(payload, "status", status, sizeof(status));
    if (job->deleted) {
        cloud_answer(w, topic, "rejected", "{\"code\":\"ResourceNotFound\",\"message\":\"\",\"timestamp\":1}");
        return;
    }
    if (job->state > JOB_IN_PROGRESS || (expected && atoi(expected + 18) != job->version)) {
        snprintf(answer, sizeof(answer),
                 "{\"code\":\"%s\",\"message\":\"no\",\"timestamp\":1,\"executionState\":{\"status\":\"%s\","
                 "\"versionNumber\":%d}}",
                 code, cloud_job_states[job->state], job->version);
        cloud_answer(w, topic, "rejected", answer);
        return;
    }
    for (unsigned i = JOB_SUCCEEDED; i <= JOB_REJECTED; i++)
        if (strcmp(status, cloud_job_states[i]) == 0)
            job->state = (enum cloud_job_state)i;
    assert_true(job->state > JOB_IN_PROGRESS);
    cloud_member(payload, "reason", job->reason, sizeof(job->reason));
    job->version++;
    cloud_answer(w, topic, "accepted", "{\"timestamp\":1}");
    cloud_notify(w);
}

static inline void cloud_create(struct world *w, const char *topic, const char *payload, bool with_key)
{
    struct cloud *cloud = cloud_of(w);
    char csr[128], answer[1024], text[192];
    unsigned key = 0;
    if (cloud->reject_create > 0) {
        cloud->reject_create--;
        cloud_answer(w, topic, "rejected", "{\"statusCode\":429,\"errorCode\":\"Throttling\",\"errorMessage\":\"\"}");
        return;
    }
    cloud_member(payload, "certificateSigningRequest", csr, sizeof(csr));
    if (with_key)
        key = 1000 + ++cloud->server_keys;
    else
        assert_int_equal(sscanf(csr, "CVR1|VIN-0001|%u", &key), 1);
    const struct cloud_certificate *made = cloud_issue(cloud, key);
    size_t length = 0;
    for (const char *at = made->text; *at; at++) {
        if (*at == '\n') {
            text[length++] = '\\';
            text[length++] = 'n';
        } else if (*at == '|') { /* as some write what they need not */
            length += (size_t)snprintf(text + length, 8, "\\u007C");
        } else {
            text[length++] = *at;
        }
    }
    text[length] = 0;
    snprintf(answer, sizeof(answer),
             "{\"certificateId\":\"%s\", \"certificatePem\" : \"%s\",%s%u\",\"certificateOwnershipToken\":\"token "
             "\\\"%u\\\"\"}",
             made->id, text, with_key ? "\"privateKey\":\"key " : "\"ignored\":\"", key, cloud->certificate_count);
    cloud_answer(w, topic, "accepted", answer);
}

static inline void cloud_provision(struct world *w, const char *topic, const char *payload)
{
    struct cloud *cloud = cloud_of(w);
    char token[32], reference[64], device[64];
    cloud_member(payload, "certificateOwnershipToken", token, sizeof(token));
    cloud_member(payload, "reference", reference, sizeof(reference));
    cloud_member(payload, "device", device, sizeof(device));
    assert_string_equal(reference, "VIN-0001");
    assert_string_equal(device, w->port.device ? "SERIAL-7" : "VIN-0001");
    for (unsigned i = 0; i < cloud->certificate_count && cloud->deny == 0; i++) {
        struct cloud_certificate *certificate = &cloud->certificates[i];
        if (strcmp(certificate->token, token) != 0 || (cloud->grant_once && certificate->used))
            continue;
        certificate->used = true;
        if (!cloud->never_activate && certificate->status == CLOUD_PENDING)
            certificate->status = CLOUD_ACTIVE;
        cloud_answer(w, topic, "accepted", "{\"deviceConfiguration\":{},\"thingName\":\"VIN-0001\"}");
        return;
    }
    cloud->deny -= cloud->deny > 0;
    cloud_answer(w, topic, "rejected",
                 "{\"statusCode\":400,\"errorCode\":\"InvalidCertificateOwnershipToken\",\"errorMessage\":\"\"}");
}

static inline bool cloud_ends(const char *topic, const char *end)
{
    size_t length = strlen(topic), wanted = strlen(end);
    return length >= wanted && strcmp(topic + length - wanted, end) == 0;
}

static inline void cloud_job_request(struct world *w, const char *topic, const char *payload)
{
    struct cloud *cloud = cloud_of(w);
    char answer[512];
    const char *verb = topic + strlen("things/VIN-0001/jobs/");
    if (strcmp(verb, "start-next") == 0) {
        cloud_start_next(w, topic);
    } else if (strcmp(verb, "$next/get") == 0) {
        cloud_describe(cloud_next_job(cloud), answer, sizeof(answer));
        cloud_answer(w, topic, "accepted", answer);
    } else {
        for (unsigned i = 0; i < cloud->job_count; i++) {
            size_t length = strlen(cloud->jobs[i].id);
            if (strncmp(verb, cloud->jobs[i].id, length) == 0 && strcmp(verb + length, "/update") == 0) {
                cloud_update(w, topic, &cloud->jobs[i], payload);
                return;
            }
        }
        fail_msg("no such job: %s", topic);
    }
}

/* Only over the certificate that is to stay. */
static inline void cloud_deactivate(struct world *w, const char *id)
{
    struct cloud *cloud = cloud_of(w);
    const struct cloud_certificate *shown = cloud_shown(w, w->identity == TCU_OPERATIONAL_SECOND);
    assert_string_equal(id, shown->id);
    cloud->deactivations++;
    for (unsigned i = 0; i < cloud->certificate_count; i++)
        if (&cloud->certificates[i] != shown && cloud->certificates[i].status == CLOUD_ACTIVE)
            cloud->certificates[i].status = CLOUD_INACTIVE;
}

static inline bool cloud_heard(struct world *w, const struct mq5_publish *publish)
{
    struct cloud *cloud = cloud_of(w);
    char topic[256], payload[2048], id[80];
    snprintf(topic, sizeof(topic), "%.*s", (int)publish->topic.length, publish->topic.data);
    snprintf(payload, sizeof(payload), "%.*s", (int)publish->payload.length, publish->payload.data);
    bool reserved = strncmp(topic, cloud->prefix, strlen(cloud->prefix)) == 0;
    bool deactivate = strcmp(topic, "vehicle/VIN-0001/certificate/deactivate") == 0;
    bool active = strcmp(topic, "vehicleactive/VIN-0001") == 0;
    if (!reserved && !deactivate && !active)
        return false;
    assert_int_equal(publish->qos, 1);
    cloud->requests++;
    if (cloud->requests == cloud->cancel_at)
        cloud_cancel(w, &cloud->jobs[0]);
    if (cloud->requests == cloud->cut_at)
        world_push(w, WORLD_LINK_DOWN, w->now_us)->value = TCU_LINK_LOST;
    if (cloud->requests == cloud->ignore_request)
        return true;
    cloud_member(payload, "certificateId", id, sizeof(id));
    const char *rest = topic + strlen(cloud->prefix);
    if (deactivate) {
        cloud_deactivate(w, id);
    } else if (active) {
        cloud->announcements++;
        memcpy(cloud->announced, id, sizeof(cloud->announced));
        assert_string_equal(id, cloud_shown(w, w->identity == TCU_OPERATIONAL_SECOND)->id);
    } else if (strncmp(rest, "things/VIN-0001/jobs/", 21) == 0) {
        cloud_job_request(w, rest, payload);
    } else if (strcmp(rest, "certificates/create-from-csr/json") == 0) {
        cloud_create(w, rest, payload, false);
    } else if (strcmp(rest, "certificates/create/json") == 0) {
        cloud_create(w, rest, payload, true);
    } else if (cloud_ends(rest, "/provision/json")) {
        assert_string_equal(rest, w->identity == TCU_CLAIM ? "provisioning-templates/claim/provision/json"
                                                           : "provisioning-templates/rotation/provision/json");
        cloud_provision(w, rest, payload);
    } else {
        fail_msg("no such request: %s", topic);
    }
    return true;
}

static inline size_t cloud_csr(struct world *w, char *out, size_t capacity)
{
    return (size_t)snprintf(out, capacity, "CVR1|VIN-0001|%u", w->keys);
}

/* ---- life ---- */

static inline struct world *cloud_world(uint64_t seed, struct cloud *cloud, const char *reserved)
{
    struct world *w = world_new(seed);
    *cloud = (struct cloud){.world = w, .door = WORLD_REFUSE};
    w->cloud = (struct world_cloud){cloud_door, cloud_heard, cloud_connected, cloud_csr, cloud};
    snprintf(cloud->prefix, sizeof(cloud->prefix), "%s", strchr(reserved, '%') ? "convoy/VIN-0001/" : reserved);
    snprintf(w->profile.topics.reserved, sizeof(w->profile.topics.reserved), "%s", reserved);
    snprintf(w->profile.topics.deactivate, sizeof(w->profile.topics.deactivate), "vehicle/%%/certificate/deactivate");
    snprintf(w->profile.topics.active, sizeof(w->profile.topics.active), "vehicleactive/%%");
    w->profile.mqtt.maximum_packet_size = 2048;
    return w;
}

/* A vehicle on its first certificate. */
static inline struct world *cloud_vehicle(uint64_t seed, struct cloud *cloud)
{
    struct world *w = cloud_world(seed, cloud, "$aws/");
    struct cloud_certificate *first = cloud_issue(cloud, ++w->keys);
    first->status = CLOUD_ACTIVE;
    w->store[TCU_STORE_OPERATIONAL_CERTIFICATE].length = strlen(first->text);
    memcpy(w->store[TCU_STORE_OPERATIONAL_CERTIFICATE].data, first->text, strlen(first->text));
    w->store[TCU_STORE_OPERATIONAL_KEY].length = 5;
    memcpy(w->store[TCU_STORE_OPERATIONAL_KEY].data, "key 1", 5);
    return w;
}

/* A new one, with nothing but a claim certificate. */
static inline struct world *cloud_new_vehicle(uint64_t seed, struct cloud *cloud, const char *reserved)
{
    struct world *w = cloud_world(seed, cloud, reserved);
    w->profile.provisioning = TCU_PROVISION_CLAIM;
    return w;
}

/* One identity, the one in use and ACTIVE; nothing else in the store; nothing under way. Returns its number from 0. */
static inline unsigned cloud_check_end(struct world *w)
{
    struct cloud *cloud = cloud_of(w);
    bool second = w->store[TCU_STORE_STATE].data[1] & 4;
    const struct cloud_certificate *current = cloud_shown(w, second);
    assert_non_null(current);
    assert_int_equal(current->status, CLOUD_ACTIVE);
    assert_int_equal(w->store[second ? TCU_STORE_OPERATIONAL_CERTIFICATE : TCU_STORE_SECOND_CERTIFICATE].length, 0);
    assert_int_equal(w->store[second ? TCU_STORE_OPERATIONAL_KEY : TCU_STORE_SECOND_KEY].length, 0);
    assert_int_equal(w->store[TCU_STORE_ROTATION].length, 0);
    assert_int_equal(tcu_connection(w->tcu), TCU_ONLINE);
    assert_int_equal(w->identity, second ? TCU_OPERATIONAL_SECOND : TCU_OPERATIONAL);
    assert_null(agent_rotation(w->tcu));
    return (unsigned)(current - cloud->certificates);
}

/* The newest ACTIVE one, and the only one. */
static inline void cloud_check_newest(struct world *w, unsigned current)
{
    const struct cloud *cloud = cloud_of(w);
    for (unsigned i = 0; i < cloud->certificate_count; i++)
        assert_true(i == current || cloud->certificates[i].status != CLOUD_ACTIVE);
}

#endif
