/* desk.c: the operators' API, and the conversion API behind the same paths: JSON in, JSON out, on the cloud's own state.
 *
 *   operators, by their certificate                                applications, by Authorization: Bearer NAME.SECRET
 *     POST /v1/vehicles {vin, device, tenant}                        POST /v1/reference {vin} or {vinHash}
 *     GET  /v1/vehicles/REF                                          POST /v1/vin {referenceId}
 *     POST /v1/vehicles/REF/rotate|revoke|owner|swap|decommission|release
 *     POST /v1/audit   GET /v1/jobs/ID   GET /v1/verify
 *     and desk_reserved.c: /v1/shadows/..., /v1/executions/...
 * A VIN comes in and never goes out but through the conversion API. Each call is short: the cloud stands still meanwhile.
 */
#include "serve_internal.h"

#include "cloud/lifecycle.h"
#include "cloud/pki_store.h"

#include <cjson/cJSON.h>
#include <openssl/crypto.h>
#include <stdio.h>
#include <stdlib.h>

#define BODY_MAX     4096
#define LISTED_MAX   1000 /* executions, flaws: more are counted */
#define CUT_PATIENCE (1 * US_PER_S)
#define CONVERTED    512

struct desk {
    const struct cloud_serve_options *options;
    struct cloud *cloud;
    struct cloud_vehicles *vehicles;
    struct cloud_conversion *conversion; /* NULL: no client */
    struct audit_log *log;
    int64_t epoch_us;
    uint64_t saved;
    bool complained;
};

/* One request on its way through. */
struct call {
    struct desk *desk;
    int64_t now_us, now_s;
    const struct desk_request *request;
    struct desk_answer *answer;
    cJSON *body; /* an object */
    struct span reference;
    struct cloud_vehicle vehicle;
};

/* ---- answers --------------------------------------------------------------------------------------------------------- */

static void say(struct call *call, int status, cJSON *object)
{
    call->answer->status = status;
    call->answer->text = object ? cJSON_PrintUnformatted(object) : NULL;
    if (!call->answer->text)
        call->answer->status = 500;
    cJSON_Delete(object);
}

static void refuse(struct call *call, int status, const char *why)
{
    cJSON *object = cJSON_CreateObject();
    cJSON_AddStringToObject(object, "error", why);
    say(call, status, object);
}

static void refuse_method(struct call *call, const char *allow)
{
    call->answer->allow = allow;
    refuse(call, 405, strcmp(allow, "GET") == 0 ? "use GET" : "use POST");
}

void desk_release(struct desk_answer *answer)
{
    cJSON_free(answer->text);
    answer->text = NULL;
}

/* ---- questions ------------------------------------------------------------------------------------------------------- */

static void cleanse(cJSON *object)
{
    for (cJSON *item = object ? object->child : NULL; item; item = item->next)
        if (cJSON_IsString(item))
            OPENSSL_cleanse(item->valuestring, strlen(item->valuestring));
    cJSON_Delete(object);
}

/* No body is an empty object. false: answered. */
static bool read_body(struct call *call)
{
    struct span body = call->request->body;
    char text[BODY_MAX + 1] = "{}";
    if (body.length > BODY_MAX || (body.length && memchr(body.data, 0, body.length))) {
        refuse(call, 400, "the body is not a JSON object, or too long");
        return false;
    }
    if (body.length) {
        memcpy(text, body.data, body.length);
        text[body.length] = 0;
    }
    call->body = cJSON_ParseWithOpts(text, NULL, true);
    OPENSSL_cleanse(text, sizeof text);
    if (cJSON_IsObject(call->body))
        return true;
    refuse(call, 400, "the body is not a JSON object");
    return false;
}

/* Its members are texts of these names (commas before and behind each) and no others. false: answered. */
static bool has_only(struct call *call, const char *names)
{
    char wanted[80];
    for (const cJSON *item = call->body->child; item; item = item->next) {
        bool known = strlen(item->string) < 64 && !strchr(item->string, ',');
        if (known) {
            snprintf(wanted, sizeof wanted, ",%s,", item->string);
            known = strstr(names, wanted) != NULL;
        }
        if (!known || !cJSON_IsString(item)) {
            refuse(call, 400,
                   known ? "every member of the body is a text" : "the body has a member that is not known here");
            return false;
        }
    }
    return true;
}

/* Empty when it is not there. */
static struct span member(const struct call *call, const char *name)
{
    const char *text = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(call->body, name));
    return text ? span_text(text) : (struct span){NULL, 0};
}

static bool nothing_in_body(struct call *call)
{
    return has_only(call, ",");
}

/* ---- a vehicle, as it is told --------------------------------------------------------------------------------------- */

static void add_hex(cJSON *object, const char *name, const uint8_t *bytes, size_t length)
{
    char text[2 * 32 + 1] = "";
    for (size_t i = 0; i < length; i++)
        snprintf(text + 2 * i, 3, "%02x", bytes[i]);
    cJSON_AddStringToObject(object, name, text);
}

struct listing {
    cJSON *list;
    struct cloud_registry *registry;
    const uint8_t *connected; /* with this one; NULL: not connected */
};

static bool add_certificate(void *context, const struct cloud_certificate *certificate,
                            enum cloud_certificate_status status)
{
    struct listing *listing = context;
    char serial[17];
    cJSON *item = cJSON_CreateObject();
    snprintf(serial, sizeof serial, "%016llX", (unsigned long long)certificate->serial);
    add_hex(item, "certificateId", certificate->id, 32);
    cJSON_AddStringToObject(item, "serial", serial);
    cJSON_AddStringToObject(item, "status", cloud_certificate_status_name(status));
    cJSON_AddBoolToObject(item, "revoked", cloud_registry_is_revoked(listing->registry, certificate->id));
    cJSON_AddNumberToObject(item, "notBefore", (double)certificate->not_before_s);
    cJSON_AddNumberToObject(item, "notAfter", (double)certificate->not_after_s);
    cJSON_AddBoolToObject(item, "connected",
                          listing->connected && memcmp(listing->connected, certificate->id, 32) == 0);
    cJSON_AddItemToArray(listing->list, item);
    return true;
}

static void add_history(const struct call *call, cJSON *object)
{
    cJSON *list = cJSON_AddArrayToObject(object, "history");
    struct cloud_vehicle_entry *entries = calloc(call->vehicle.changes, sizeof *entries);
    uint32_t count =
        entries ? cloud_vehicles_history(call->desk->vehicles, call->reference, entries, call->vehicle.changes) : 0;
    for (uint32_t i = 0; i < count && i < call->vehicle.changes; i++) {
        cJSON *item = cJSON_CreateObject();
        cJSON_AddNumberToObject(item, "at", (double)entries[i].at_s);
        cJSON_AddStringToObject(item, "change", cloud_vehicle_change_name(entries[i].change));
        if (entries[i].detail[0])
            cJSON_AddStringToObject(item, "detail", entries[i].detail);
        cJSON_AddItemToArray(list, item);
    }
    free(entries);
}

static void tell_vehicle(struct call *call, int status)
{
    struct desk *desk = call->desk;
    char job[CLOUD_JOB_ID_MAX + 1];
    uint8_t id[32];
    cJSON *object = cJSON_CreateObject();
    if (!cloud_vehicles_get(desk->vehicles, call->reference, &call->vehicle)) {
        cJSON_Delete(object);
        refuse(call, 404, "no such vehicle");
        return;
    }
    const struct cloud_peer *peer = cloud_broker_peer(desk->cloud->broker, call->reference);
    if (peer && peer->has_certificate)
        memcpy(id, peer->certificate_id, sizeof id);
    struct listing listing = {.registry = desk->cloud->registry,
                              .connected = peer && peer->has_certificate ? id : NULL};
    cJSON_AddStringToObject(object, "referenceId", call->vehicle.reference);
    cJSON_AddStringToObject(object, "state", cloud_vehicle_state_name(call->vehicle.state));
    cJSON_AddStringToObject(object, "device", call->vehicle.device);
    cJSON_AddStringToObject(object, "tenant", call->vehicle.tenant);
    cJSON_AddNumberToObject(object, "owner", call->vehicle.owner);
    cJSON_AddNumberToObject(object, "dataSince", (double)call->vehicle.data_since_s);
    cJSON_AddBoolToObject(object, "connected", cloud_broker_is_connected(desk->cloud->broker, call->reference));
    if (cloud_lifecycle_rotation(desk->cloud->lifecycle, call->reference, job))
        cJSON_AddStringToObject(object, "jobId", job);
    listing.list = cJSON_AddArrayToObject(object, "certificates");
    cloud_registry_of_thing(desk->cloud->registry, call->vehicle.reference, add_certificate, &listing);
    add_history(call, object);
    say(call, status, object);
}

/* ---- what an operator does ------------------------------------------------------------------------------------------ */

static void tell_result(struct call *call, enum cloud_vehicles_result result)
{
    switch (result) {
    case CLOUD_VEHICLES_DONE: tell_vehicle(call, 200); return;
    case CLOUD_VEHICLES_UNKNOWN: refuse(call, 404, "no such vehicle"); return;
    case CLOUD_VEHICLES_MEMORY: refuse(call, 500, "out of memory"); return;
    case CLOUD_VEHICLES_BAD_VIN:
        refuse(call, 400, "this is no VIN: 17 characters, its check digit, its model year");
        return;
    case CLOUD_VEHICLES_DEVICE_WRONG: refuse(call, 409, "this device is not the one in the vehicle"); return;
    case CLOUD_VEHICLES_DEVICE_TAKEN: refuse(call, 409, "this device is in another vehicle"); return;
    case CLOUD_VEHICLES_VIN_KNOWN: refuse(call, 409, "this VIN is registered already, to another tenant"); return;
    default: refuse(call, 409, cloud_vehicles_result_name(result)); return;
    }
}

static bool is_name(struct span text, uint32_t longest)
{
    for (uint32_t i = 0; i < text.length; i++)
        if (text.data[i] <= ' ' || text.data[i] >= 127)
            return false;
    return text.length > 0 && text.length <= longest;
}

static void build(struct call *call)
{
    struct desk *desk = call->desk;
    struct cloud_vehicle known;
    struct span vin = member(call, "vin"), device = member(call, "device"), tenant = member(call, "tenant");
    if (!has_only(call, ",vin,device,tenant,"))
        return;
    if (vin.length == 0 || !is_name(tenant, CLOUD_TENANT_MAX) ||
        (device.length && !is_name(device, CLOUD_DEVICE_MAX))) {
        refuse(call, 400, "needs vin, tenant (up to 31 characters) and, unless it has none yet, device (up to 63)");
        return;
    }
    bool there = cloud_vehicles_by_vin(desk->vehicles, vin, &known);
    enum cloud_vehicles_result result =
        cloud_lifecycle_build(desk->cloud->lifecycle, call->now_us, vin, device, tenant, (struct span){NULL, 0});
    if (result == CLOUD_VEHICLES_DONE && cloud_vehicles_by_vin(desk->vehicles, vin, &known)) {
        call->reference = span_text(known.reference);
        tell_vehicle(call, there ? 200 : 201);
        return;
    }
    tell_result(call, result);
}

struct serials {
    uint64_t *numbers;
    uint32_t count, capacity;
};

static bool gather_revoked(void *context, const struct cloud_certificate *certificate,
                           enum cloud_certificate_status status)
{
    struct serials *serials = context;
    if (status != CLOUD_CERTIFICATE_REVOKED)
        return true;
    if (serials->count == serials->capacity) {
        uint32_t capacity = serials->capacity ? serials->capacity * 2 : 8;
        uint64_t *numbers = realloc(serials->numbers, capacity * sizeof *numbers);
        if (!numbers)
            return false; /* the index is told within a second anyway, without the reason */
        serials->numbers = numbers;
        serials->capacity = capacity;
    }
    serials->numbers[serials->count++] = certificate->serial;
    return true;
}

/* The list and the responder say it when the operator has the answer, with the reason. */
static void tell_index(struct call *call, int reason)
{
    struct cloud *cloud = call->desk->cloud;
    struct serials serials = {0};
    char error[160];
    cloud_registry_of_thing(cloud->registry, call->vehicle.reference, gather_revoked, &serials);
    for (uint32_t i = 0; i < serials.count; i++)
        if (!cloud_pki_is_revoked(cloud->pki, CLOUD_CA_OPERATIONAL, serials.numbers[i]))
            cloud_pki_revoke(cloud->pki, CLOUD_CA_OPERATIONAL, serials.numbers[i], reason, call->now_s, error,
                             sizeof error);
    free(serials.numbers);
}

static void done(struct call *call, bool good, const char *otherwise)
{
    if (good)
        tell_vehicle(call, 200);
    else
        refuse(call, 409, otherwise);
}

static void rotate(struct call *call)
{
    if (nothing_in_body(call))
        done(call, cloud_lifecycle_rotate(call->desk->cloud->lifecycle, call->now_us, call->reference),
             "nothing to rotate: not in service, without a valid certificate, or rotating already");
}

static void revoke(struct call *call)
{
    struct span given = member(call, "reason");
    if (!has_only(call, ",reason,"))
        return;
    const char *reason = given.length ? (const char *)given.data : "unspecified";
    int number = cloud_revocation_reason(reason);
    if (number < 0) {
        refuse(call, 400,
               "reason is one of RFC 5280: unspecified, keyCompromise, superseded, cessationOfOperation, ...");
        return;
    }
    bool good = cloud_lifecycle_revoke(call->desk->cloud->lifecycle, call->now_us, call->reference, reason);
    if (good)
        tell_index(call, number);
    done(call, good, "it has no certificate that is not revoked already");
}

static void change_owner(struct call *call)
{
    struct span tenant = member(call, "tenant");
    if (!has_only(call, ",tenant,"))
        return;
    if (!is_name(tenant, CLOUD_TENANT_MAX))
        refuse(call, 400, "needs tenant (up to 31 characters)");
    else
        done(call, cloud_lifecycle_change_owner(call->desk->cloud->lifecycle, call->now_us, call->reference, tenant),
             "it has been decommissioned");
}

static void swap(struct call *call)
{
    struct span device = member(call, "device"), next = member(call, "next");
    if (!has_only(call, ",device,next,"))
        return;
    if (next.length && !is_name(next, CLOUD_DEVICE_MAX)) {
        refuse(call, 400, "next is a device (up to 63 characters), or left out to take the TCU out only");
        return;
    }
    enum cloud_vehicles_result result =
        cloud_lifecycle_swap(call->desk->cloud->lifecycle, call->now_us, call->reference, device, next);
    if (result == CLOUD_VEHICLES_DONE)
        tell_index(call, cloud_revocation_reason("superseded"));
    tell_result(call, result);
}

static void decommission(struct call *call)
{
    if (!nothing_in_body(call))
        return;
    bool good = cloud_lifecycle_decommission(call->desk->cloud->lifecycle, call->now_us, call->reference);
    if (good)
        tell_index(call, cloud_revocation_reason("cessationOfOperation"));
    done(call, good, "it has been decommissioned already");
}

static void release(struct call *call)
{
    if (nothing_in_body(call))
        done(call, cloud_lifecycle_release(call->desk->cloud->lifecycle, call->now_us, call->reference),
             "it is not in quarantine");
}

static const struct {
    const char *name;
    void (*act)(struct call *call);
} acts[] = {
    {"rotate", rotate},  {"revoke", revoke}, {"owner", change_owner}, {"swap", swap}, {"decommission", decommission},
    {"release", release}};

/* path: behind "/v1/vehicles/". */
static void about_vehicle(struct call *call, const char *path)
{
    const char *slash = strchr(path, '/'), *method = call->request->method;
    void (*act)(struct call * call) = NULL;
    call->reference = span_of(path, slash ? (size_t)(slash - path) : strlen(path));
    for (size_t i = 0; slash && i < sizeof acts / sizeof acts[0]; i++)
        if (strcmp(acts[i].name, slash + 1) == 0)
            act = acts[i].act;
    if ((slash && !act) || !cloud_vehicles_get(call->desk->vehicles, call->reference, &call->vehicle))
        refuse(call, 404, slash && !act ? "no such resource" : "no such vehicle");
    else if (strcmp(method, act ? "POST" : "GET") != 0)
        refuse_method(call, act ? "POST" : "GET");
    else if (!act)
        tell_vehicle(call, 200);
    else if (read_body(call))
        act(call);
}

/* ---- audit, proof, jobs ---------------------------------------------------------------------------------------------- */

static void audit(struct call *call)
{
    if (!nothing_in_body(call))
        return;
    cJSON *object = cJSON_CreateObject();
    cJSON_AddNumberToObject(object, "acted", cloud_lifecycle_audit(call->desk->cloud->lifecycle, call->now_us));
    say(call, 200, object);
}

static void add_flaw(void *context, enum cloud_flaw_kind kind, struct span thing)
{
    cJSON *list = context, *item;
    char name[CLOUD_REFERENCE_MAX + 1] = "";
    if (cJSON_GetArraySize(list) >= LISTED_MAX || !(item = cJSON_CreateObject()))
        return;
    if (thing.length && thing.length < sizeof name)
        memcpy(name, thing.data, thing.length);
    cJSON_AddStringToObject(item, "flaw", cloud_flaw_name(kind));
    cJSON_AddStringToObject(item, "referenceId", name);
    cJSON_AddItemToArray(list, item);
}

static void verify(struct call *call)
{
    cJSON *object = cJSON_CreateObject(), *list = cJSON_CreateArray();
    uint32_t count = cloud_lifecycle_verify(call->desk->cloud->lifecycle, call->now_us,
                                            call->desk->options->cut_delay_us + CUT_PATIENCE, add_flaw, list);
    cJSON_AddNumberToObject(object, "count", count);
    cJSON_AddItemToObject(object, "flaws", list);
    say(call, 200, object);
}

struct executions {
    const struct call *call;
    struct span job;
    cJSON *list;
    uint32_t listed;
};

static void add_time(const struct executions *executions, cJSON *object, const char *name, int64_t at_us)
{
    if (at_us >= 0)
        cJSON_AddNumberToObject(object, name, (double)((executions->call->desk->epoch_us + at_us) / US_PER_S));
}

static void add_execution(void *context, const struct cloud_execution *execution)
{
    struct executions *executions = context;
    char name[CLOUD_REFERENCE_MAX + 1] = "";
    if (!span_equal(execution->job_id, executions->job) || executions->listed == LISTED_MAX)
        return;
    executions->listed++;
    if (execution->thing.length && execution->thing.length < sizeof name)
        memcpy(name, execution->thing.data, execution->thing.length);
    cJSON *item = cJSON_CreateObject();
    cJSON_AddStringToObject(item, "referenceId", name);
    cJSON_AddStringToObject(item, "status", cloud_execution_state_name(execution->state));
    add_time(executions, item, "queuedAt", execution->queued_us);
    add_time(executions, item, "startedAt", execution->started_us);
    add_time(executions, item, "updatedAt", execution->updated_us);
    cJSON_AddNumberToObject(item, "executionNumber", execution->number);
    cJSON_AddNumberToObject(item, "versionNumber", (double)execution->version);
    cJSON *details = execution->details.length
                         ? cJSON_ParseWithLength((const char *)execution->details.data, execution->details.length)
                         : NULL;
    if (details)
        cJSON_AddItemToObject(item, "statusDetails", details);
    cJSON_AddItemToArray(executions->list, item);
}

static void about_job(struct call *call, const char *id)
{
    struct cloud_jobs *jobs = cloud_lifecycle_jobs(call->desk->cloud->lifecycle);
    enum cloud_job_state state;
    uint64_t counts[CLOUD_EXECUTION_STATES];
    if (!cloud_job_state_of(jobs, span_text(id), &state, counts)) {
        refuse(call, 404, "no such job");
        return;
    }
    cJSON *object = cJSON_CreateObject();
    cJSON_AddStringToObject(object, "jobId", id);
    cJSON_AddStringToObject(object, "status", cloud_job_state_name(state));
    cJSON *numbers = cJSON_AddObjectToObject(object, "counts");
    for (int i = 0; i < CLOUD_EXECUTION_STATES; i++)
        if (counts[i])
            cJSON_AddNumberToObject(numbers, cloud_execution_state_name((enum cloud_execution_state)i),
                                    (double)counts[i]);
    struct executions executions = {
        .call = call, .job = span_text(id), .list = cJSON_AddArrayToObject(object, "executions")};
    cloud_jobs_each(jobs, add_execution, &executions);
    say(call, 200, object);
}

/* ---- conversion ------------------------------------------------------------------------------------------------------ */

/* What is not written down is not answered. */
static void convert(struct call *call)
{
    struct desk *desk = call->desk;
    const char *token = call->request->authorisation ? call->request->authorisation : "";
    struct cloud_conversion_record record;
    size_t length = 0;
    char *text = cJSON_malloc(CONVERTED);
    if (!text) {
        call->answer->status = 500;
        return;
    }
    int status = cloud_conversion_handle(desk->conversion, call->now_us, call->now_s, span_text(token),
                                         call->request->method, call->request->path, call->request->body, text,
                                         CONVERTED - 1, &length, &call->answer->retry_after_s);
    text[length] = 0;
    if (cloud_conversion_audit(desk->conversion, &record, 1, NULL) != 1 ||
        !cloud_registry_flush(desk->cloud->registry) || !audit_note(desk->log, &record)) {
        OPENSSL_cleanse(text, CONVERTED);
        cJSON_free(text);
        refuse(call, 500, "the request cannot be noted in the audit log");
        return;
    }
    call->answer->status = status;
    call->answer->allow = "POST";
    call->answer->text = text;
}

/* ---- who and what ---------------------------------------------------------------------------------------------------- */

bool desk_is_asked(const char *path)
{
    return strncmp(path, "/v1/", 4) == 0;
}

static void operate(struct call *call)
{
    static const char vehicles[] = "/v1/vehicles/", jobs[] = "/v1/jobs/";
    static const struct {
        const char *path, *method;
        void (*act)(struct call *call);
    } places[] = {{"/v1/vehicles", "POST", build}, {"/v1/audit", "POST", audit}, {"/v1/verify", "GET", verify}};
    const char *path = call->request->path, *method = call->request->method;
    if (desk_reserved(call->desk->cloud, call->now_us, call->desk->epoch_us, call->request, call->answer))
        return;
    for (size_t i = 0; i < sizeof places / sizeof places[0]; i++) {
        if (strcmp(path, places[i].path) != 0)
            continue;
        if (strcmp(method, places[i].method) != 0)
            refuse_method(call, places[i].method);
        else if (read_body(call))
            places[i].act(call);
        return;
    }
    if (strncmp(path, vehicles, sizeof vehicles - 1) == 0)
        about_vehicle(call, path + sizeof vehicles - 1);
    else if (strncmp(path, jobs, sizeof jobs - 1) != 0)
        refuse(call, 404, "no such resource");
    else if (strcmp(method, "GET") != 0)
        refuse_method(call, "GET");
    else
        about_job(call, path + sizeof jobs - 1);
}

void desk_handle(struct desk *desk, int64_t now_us, const struct desk_request *request, struct desk_answer *answer)
{
    struct call call = {.desk = desk,
                        .now_us = now_us,
                        .now_s = (desk->epoch_us + now_us) / US_PER_S,
                        .request = request,
                        .answer = answer};
    desk->cloud->now_us = now_us; /* for hooks that are not told the time */
    if (strcmp(request->path, "/v1/reference") == 0 || strcmp(request->path, "/v1/vin") == 0) {
        if (desk->conversion)
            convert(&call);
        else
            refuse(&call, 404, "no conversion client is configured");
    } else if (!request->has_certificate) {
        refuse(&call, 401, "show an operator's certificate");
    } else if (!request->operator_name) {
        refuse(&call, 403, "this certificate is not an operator's");
    } else {
        operate(&call);
    }
    cleanse(call.body);
}

/* ---- life ------------------------------------------------------------------------------------------------------------ */

static bool allow_clients(struct desk *desk, char *error, size_t error_capacity)
{
    const struct cloud_serve_options *options = desk->options;
    if (options->conversion_client_count == 0)
        return true;
    if (!options->registry_path) {
        snprintf(error, error_capacity, "conversion: its audit log needs a registry file");
        return false;
    }
    desk->log = audit_open(options->registry_path, error, error_capacity);
    if (!desk->log)
        return false;
    desk->conversion = cloud_conversion_create(desk->vehicles);
    for (uint32_t i = 0; desk->conversion && i < options->conversion_client_count; i++)
        if (!cloud_conversion_allow(desk->conversion, &options->conversion_clients[i])) {
            snprintf(error, error_capacity, "conversion: client '%.40s' has a name, tenant or rate that cannot be",
                     options->conversion_clients[i].name);
            return false;
        }
    if (!desk->conversion)
        snprintf(error, error_capacity, "conversion: out of memory");
    return desk->conversion != NULL;
}

struct desk *desk_open(const struct cloud_serve_options *options, struct cloud *cloud, int64_t epoch_us, char *error,
                       size_t error_capacity)
{
    struct desk *desk = calloc(1, sizeof *desk);
    if (!desk) {
        snprintf(error, error_capacity, "cloud: out of memory");
        return NULL;
    }
    desk->options = options;
    desk->cloud = cloud;
    desk->epoch_us = epoch_us;
    desk->vehicles = cloud_lifecycle_vehicles(cloud->lifecycle);
    bool good = (!options->registry_path ||
                 (cloud_registry_flush(cloud->registry) &&
                  vehicles_file_load(options->registry_path, desk->vehicles, error, error_capacity))) &&
                allow_clients(desk, error, error_capacity);
    desk->saved = cloud_vehicles_changes(desk->vehicles);
    if (good)
        return desk;
    desk_close(desk);
    return NULL;
}

void desk_save(struct desk *desk)
{
    char error[256] = "its registry refuses";
    uint64_t changes = cloud_vehicles_changes(desk->vehicles);
    if (!desk->options->registry_path || changes == desk->saved)
        return;
    if (cloud_registry_flush(desk->cloud->registry) &&
        cloud_vehicles_save(desk->vehicles, desk->options->registry_path, error, sizeof error)) {
        desk->saved = changes;
        desk->complained = false;
        return;
    }
    if (!desk->complained) /* every second would be too often */
        fprintf(stderr, "convoy: cloud: vehicles are not saved: %s\n", error);
    desk->complained = true;
}

void desk_close(struct desk *desk)
{
    if (!desk)
        return;
    desk_save(desk);
    cloud_conversion_destroy(desk->conversion);
    audit_close(desk->log);
    free(desk);
}
