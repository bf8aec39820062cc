/* lifecycle_rotation.c: a new certificate for a vehicle that has one, by job; and what a vehicle's own words and provisioning mean for the old.
 *
 * From the grant until the vehicle has said over the new one that it works, both are ACTIVE. Then, or when the job ends, one stays.
 */
#include "lifecycle_internal.h"

#include <cjson/cJSON.h>
#include <stdio.h>

#include "text.h"

static struct span batch_id(uint64_t number, char out[32])
{
    return span_of(out, (size_t)snprintf(out, 32, "rotate-%llu", (unsigned long long)number));
}

static const char *const documents[LIFE_REASONS] = {
    "{\"operation\":\"rotate-certificate\",\"template\":\"rotation\"}",
    "{\"operation\":\"rotate-certificate\",\"template\":\"rotation\",\"reason\":\"owner\"}",
};

/* The job that takes in what is decided now; false: it cannot be made. */
static bool open_batch(struct cloud_lifecycle *lifecycle, int64_t now_us, struct life_batch *batch,
                       const char *document)
{
    char id[32], error[160];
    if (batch->open && batch->at_us == now_us)
        return true;
    if (batch->open)
        cloud_job_close(lifecycle->jobs, now_us, batch_id(batch->number, id));
    *batch = (struct life_batch){.number = ++lifecycle->batches, .at_us = now_us};
    batch->open = cloud_job_create(lifecycle->jobs, now_us, batch_id(batch->number, id), span_text(document),
                                   &lifecycle->options.rotation, error, sizeof error);
    return batch->open;
}

void life_close_batches(struct cloud_lifecycle *lifecycle, int64_t now_us)
{
    char id[32];
    for (int i = 0; i < LIFE_REASONS; i++) {
        if (!lifecycle->batch[i].open)
            continue;
        lifecycle->batch[i].open = false;
        cloud_job_close(lifecycle->jobs, now_us, batch_id(lifecycle->batch[i].number, id));
    }
}

static bool in_service(const struct cloud_lifecycle *lifecycle, struct span thing)
{
    struct cloud_vehicle vehicle;
    return !cloud_vehicles_get(lifecycle->vehicles, thing, &vehicle) || vehicle.state == CLOUD_VEHICLE_PROVISIONED ||
           vehicle.state == CLOUD_VEHICLE_ACTIVE;
}

bool life_rotate(struct cloud_lifecycle *lifecycle, int64_t now_us, struct span thing, enum life_reason reason)
{
    struct life *life = life_find(lifecycle, thing);
    char id[32];
    if ((life && life->rotating) || !in_service(lifecycle, thing) ||
        !life_has_active(lifecycle, life_now_s(lifecycle, now_us), thing))
        return false;
    if (!open_batch(lifecycle, now_us, &lifecycle->batch[reason], documents[reason]))
        return false;
    life = life_make(lifecycle, thing);
    if (!life)
        return false;
    life->rotating = true;
    life->queued = life->started = life->issued = life->switched = false;
    life->batch = lifecycle->batch[reason].number;
    life->decided_us = now_us;
    if (cloud_job_add_target(lifecycle->jobs, now_us, batch_id(life->batch, id), thing))
        return true;
    life->rotating = false;
    life_settle(lifecycle, life);
    return false;
}

bool cloud_lifecycle_rotate(struct cloud_lifecycle *lifecycle, int64_t now_us, struct span thing)
{
    bool done = life_rotate(lifecycle, now_us, thing, LIFE_ROUTINE);
    life_due(lifecycle);
    return done;
}

bool cloud_lifecycle_rotation(const struct cloud_lifecycle *lifecycle, struct span thing,
                              char job_id[CLOUD_JOB_ID_MAX + 1])
{
    const struct life *life = life_find(lifecycle, thing);
    if (life && life->rotating)
        batch_id(life->batch, job_id);
    return life && life->rotating;
}

/* ---- the switch ------------------------------------------------------------------------------------------------------ */

static void note_certificate(struct cloud_lifecycle *lifecycle, int64_t now_us, struct span thing,
                             enum cloud_vehicle_change change, const uint8_t id[32])
{
    char hex[65];
    text_hex(id, 32, hex);
    cloud_vehicles_note(lifecycle->vehicles, life_now_s(lifecycle, now_us), thing, change, span_of(hex, 64));
}

/* The new one works: it is the vehicle's certificate from now on, and the others go. */
static void switched(struct cloud_lifecycle *lifecycle, int64_t now_us, struct life *life)
{
    struct span thing = life_span(life);
    life->switched = true;
    note_certificate(lifecycle, now_us, thing, CLOUD_CHANGE_ROTATED, life->new_id);
    if (life_fault(lifecycle, lifecycle->options.forget_deactivation, thing))
        return;
    if (life_deactivate(lifecycle, now_us, thing, life->new_id))
        life_tell(lifecycle, now_us, CLOUD_LIFE_OLD_DEACTIVATED, thing, (struct span){NULL, 0}, life->issued_us);
}

/* {"certificateId":"<64 hex>"}; false: not that. */
static bool certificate_in(struct span payload, uint8_t id[32])
{
    cJSON *root = payload.length <= 1024 ? cJSON_ParseWithLength((const char *)payload.data, payload.length) : NULL;
    const cJSON *text = cJSON_GetObjectItemCaseSensitive(root, "certificateId");
    bool found = cJSON_IsString(text) && strlen(text->valuestring) == 64 &&
                 text_unhex((const uint8_t *)text->valuestring, 64, id);
    cJSON_Delete(root);
    return found;
}

/* The vehicle's own certificate, and one that may come in. */
static bool own_and_active(const struct cloud_lifecycle *lifecycle, struct span thing, const uint8_t id[32])
{
    char owner[64];
    return cloud_registry_status(lifecycle->parts.registry, id) == CLOUD_CERTIFICATE_ACTIVE &&
           cloud_registry_thing_of(lifecycle->parts.registry, id, owner) && span_equal(span_text(owner), thing);
}

/* vehicle/<thing>/certificate/deactivate: good only over the very certificate it names. */
void life_deactivate_message(void *context, int64_t now_us, const struct mq5_publish *message)
{
    static const char before[] = "vehicle/", behind[] = "/certificate/deactivate";
    struct cloud_lifecycle *lifecycle = context;
    uint8_t id[32];
    size_t begin = strlen(lifecycle->parts.topics) + sizeof before - 1, end = sizeof behind - 1;
    if (message->topic.length <= begin + end)
        return;
    struct span thing = span_of(message->topic.data + begin, message->topic.length - begin - end);
    if (!certificate_in(message->payload, id) || !own_and_active(lifecycle, thing, id))
        return;
    const struct cloud_peer *peer = life_connected(lifecycle, thing);
    if (lifecycle->parts.broker && (!peer || !peer->has_certificate || memcmp(peer->certificate_id, id, 32) != 0))
        return;
    struct life *life = life_find(lifecycle, thing);
    if (life && life->issued && memcmp(life->new_id, id, 32) == 0) {
        if (!life->switched)
            switched(lifecycle, now_us, life);
    } else if (!life || !life->switched) { /* back on the old one: what was issued meanwhile goes */
        life_deactivate(lifecycle, now_us, thing, id);
        if (life)
            life->issued = false;
    }
    life_due(lifecycle);
}

void life_active_message(void *context, int64_t now_us, const struct mq5_publish *message)
{
    static const char before[] = "vehicleactive/";
    struct cloud_lifecycle *lifecycle = context;
    struct cloud_vehicle vehicle;
    uint8_t id[32];
    size_t begin = strlen(lifecycle->parts.topics) + sizeof before - 1;
    struct span thing = span_of(message->topic.data + begin, message->topic.length - begin);
    if (!certificate_in(message->payload, id) || !own_and_active(lifecycle, thing, id))
        return;
    if (cloud_vehicles_get(lifecycle->vehicles, thing, &vehicle)) {
        if (vehicle.state != CLOUD_VEHICLE_PROVISIONED)
            return;
        cloud_vehicles_note(lifecycle->vehicles, life_now_s(lifecycle, now_us), thing, CLOUD_CHANGE_ACTIVE,
                            (struct span){NULL, 0});
    }
    life_tell(lifecycle, now_us, CLOUD_LIFE_ACTIVE, thing, (struct span){NULL, 0}, now_us);
}

/* ---- the job --------------------------------------------------------------------------------------------------------- */

/* How an execution ended says which certificate stays. SUCCEEDED: the new one, unless what the vehicle uses shows otherwise. */
static void settle_certificates(struct cloud_lifecycle *lifecycle, int64_t now_us, struct life *life, bool succeeded)
{
    struct span thing = life_span(life);
    if (!life->issued || life->switched)
        return;
    const struct cloud_peer *peer = life_connected(lifecycle, thing);
    bool on_another = peer && peer->has_certificate && memcmp(peer->certificate_id, life->new_id, 32) != 0 &&
                      own_and_active(lifecycle, thing, peer->certificate_id);
    if (succeeded && !on_another && own_and_active(lifecycle, thing, life->new_id)) {
        switched(lifecycle, now_us, life);
        return;
    }
    life->issued = false;
    life_deactivate_one(lifecycle, now_us, thing, life->new_id);
}

static void ended(struct cloud_lifecycle *lifecycle, int64_t now_us, struct life *life,
                  const struct cloud_execution *execution)
{
    settle_certificates(lifecycle, now_us, life, execution->state == CLOUD_EXECUTION_SUCCEEDED);
    life->started = life->issued = life->switched = false;
    if (execution->will_be_retried)
        return;
    life->rotating = false;
    life_tell_state(lifecycle, now_us, CLOUD_LIFE_ROTATION_ENDED, life_span(life), execution->state, life->decided_us);
    if (life->again)
        life->again_us = now_us;
    life_settle(lifecycle, life);
}

/* The jobs are in the middle of something: nothing is asked of them here. */
void life_execution_changed(void *context, int64_t now_us, const struct cloud_execution *execution)
{
    struct cloud_lifecycle *lifecycle = context;
    struct life *life = life_find(lifecycle, execution->thing);
    char id[32];
    if (!life || !life->rotating || !span_equal(execution->job_id, batch_id(life->batch, id)))
        return;
    switch (execution->state) {
    case CLOUD_EXECUTION_QUEUED:
        if (!life->queued)
            life_tell_state(lifecycle, now_us, CLOUD_LIFE_ROTATION_QUEUED, life_span(life), execution->state,
                            life->decided_us);
        life->queued = true;
        return;
    case CLOUD_EXECUTION_IN_PROGRESS:
        if (!life->started)
            life_tell_state(lifecycle, now_us, CLOUD_LIFE_ROTATION_STARTED, life_span(life), execution->state,
                            life->decided_us);
        life->started = true;
        return;
    default:
        if (execution->before != execution->state)
            ended(lifecycle, now_us, life, execution);
    }
}

/* ---- provisioning ---------------------------------------------------------------------------------------------------- */

static struct span parameter(const cJSON *root, const char *name)
{
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(root, name);
    return cJSON_IsString(item) ? span_text(item->valuestring) : (struct span){NULL, 0};
}

static bool admits(struct cloud_lifecycle *lifecycle, const struct cloud_hook_request *request, struct span reference,
                   struct span device)
{
    struct cloud_vehicle vehicle;
    uint8_t asking[32];
    char thing[64];
    bool known = cloud_vehicles_get(lifecycle->vehicles, reference, &vehicle);
    if (known && vehicle.state != CLOUD_VEHICLE_BUILT && vehicle.state != CLOUD_VEHICLE_PROVISIONED &&
        vehicle.state != CLOUD_VEHICLE_ACTIVE)
        return false;
    if (lifecycle->options.require_device && (!known || !span_equal(span_text(vehicle.device), device)))
        return false;
    bool renewal = request->claim_certificate_id.length == 64 &&
                   text_unhex(request->claim_certificate_id.data, 64, asking) &&
                   cloud_registry_thing_of(lifecycle->parts.registry, asking, thing);
    if (!renewal)
        return true;
    /* Over an operational certificate: for itself, and while a rotation is in progress. */
    const struct life *life = life_find(lifecycle, reference);
    return span_equal(span_text(thing), reference) && life && life->rotating && life->started;
}

struct cloud_hook_answer life_hook(void *context, int64_t now_us, const struct cloud_hook_request *request)
{
    struct cloud_hook_answer answer = {0};
    cJSON *root = cJSON_ParseWithLength((const char *)request->parameters.data, request->parameters.length);
    answer.allow = root && admits(context, request, parameter(root, "reference"), parameter(root, "device"));
    cJSON_Delete(root);
    return answer;
}

/* Beside the new one stays what the vehicle is connected with: an earlier attempt's goes. */
static void renewed(struct cloud_lifecycle *lifecycle, int64_t now_us, struct life *life, const uint8_t id[32])
{
    const struct cloud_peer *peer = life_connected(lifecycle, life_span(life));
    if (life->issued && memcmp(life->new_id, id, 32) != 0 &&
        !(peer && memcmp(peer->certificate_id, life->new_id, 32) == 0))
        life_deactivate_one(lifecycle, now_us, life_span(life), life->new_id);
    life->issued = true;
    life->switched = false;
    life->issued_us = now_us;
    memcpy(life->new_id, id, 32);
    if (cloud_registry_status(lifecycle->parts.registry, id) == CLOUD_CERTIFICATE_ACTIVE)
        life_tell(lifecycle, now_us, CLOUD_LIFE_ROTATION_ISSUED, life_span(life), (struct span){NULL, 0},
                  life->decided_us);
}

/* A vehicle without history in hand has a new identity: nothing of before is good any more. */
static void begun(struct cloud_lifecycle *lifecycle, int64_t now_us, struct span thing, const uint8_t id[32])
{
    struct life *life = life_find(lifecycle, thing);
    if (life)
        life->issued = life->switched = false;
    life_deactivate(lifecycle, now_us, thing, id);
    note_certificate(lifecycle, now_us, thing, CLOUD_CHANGE_PROVISIONED, id);
    if (cloud_registry_status(lifecycle->parts.registry, id) == CLOUD_CERTIFICATE_ACTIVE)
        life_tell(lifecycle, now_us, CLOUD_LIFE_PROVISIONED, thing, (struct span){NULL, 0}, now_us);
}

void life_provisioned(void *context, int64_t now_us, const struct cloud_provisioned *provisioned)
{
    struct cloud_lifecycle *lifecycle = context;
    struct life *life = provisioned->renewal ? life_find(lifecycle, provisioned->thing) : NULL;
    if (life && life->rotating)
        renewed(lifecycle, now_us, life, provisioned->certificate->id);
    else
        begun(lifecycle, now_us, provisioned->thing, provisioned->certificate->id);
}

void cloud_lifecycle_activated(void *context, int64_t now_us, const struct cloud_certificate *certificate)
{
    struct cloud_lifecycle *lifecycle = context;
    struct span thing = span_text(certificate->common_name);
    struct cloud_vehicle vehicle;
    if (life_outdated(lifecycle, thing, certificate->not_before_s)) /* changed while it was pending */
        life_deactivate_one(lifecycle, now_us, thing, certificate->id);
    else if (cloud_vehicles_get(lifecycle->vehicles, thing, &vehicle) &&
             (vehicle.state == CLOUD_VEHICLE_QUARANTINED || vehicle.state == CLOUD_VEHICLE_WITHOUT_DEVICE ||
              vehicle.state == CLOUD_VEHICLE_DECOMMISSIONED))
        life_deactivate_one(lifecycle, now_us, thing, certificate->id);
    else
        begun(lifecycle, now_us, thing, certificate->id);
    life_due(lifecycle);
}
