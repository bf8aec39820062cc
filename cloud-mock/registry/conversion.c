/* conversion.c: from VIN to Reference ID and back, for applications that may: who is it, how often, which way, whose vehicle; and every request is written down.
 *
 * The rate is a bucket of one minute's worth that fills steadily, kept as the moment at which it will be full again. A refused request takes nothing out of it.
 */
#include "vehicles_internal.h"

#include "memory.h"

#include <cjson/cJSON.h>
#include <openssl/crypto.h>

#define AUDIT_FIRST   32u
#define BODY_MAX      1024u
#define NS_PER_US     INT64_C(1000)
#define NS_PER_MIN    (US_PER_MIN * NS_PER_US)
#define RATE_MAX      1e9
#define WINDOW_COUNT  12
#define WINDOW_US     (US_PER_HOUR / WINDOW_COUNT)
#define SUSPECT_LEAST 10 /* refusals */
#define NOBODY        UINT16_MAX
#define CLIENTS_MAX   1024u

enum direction { TO_NOWHERE, TO_REFERENCE, TO_VIN };
static const char *const direction_names[] = {"", "to-reference", "to-vin"};

struct client {
    char name[32], tenant[CLOUD_TENANT_MAX + 1];
    uint8_t token[32]; /* keyed hash */
    bool to_reference, to_vin;
    int64_t interval_ns, full_ns; /* between two conversions; when the bucket is full again */
    uint32_t burst;
    uint32_t refused[WINDOW_COUNT]; /* for rate; of the last hour, by five minutes */
    int64_t window;                 /* number of the one being filled */
};

struct record {
    int64_t at_s;
    uint32_t vehicle; /* NAME_NONE */
    uint16_t client, status;
    uint8_t direction;
};

struct cloud_conversion {
    struct cloud_vehicles *vehicles;
    struct client *clients;
    uint32_t client_count, client_capacity;
    struct record *audit; /* a ring: record n at n % audit_capacity, once it is as long as it gets */
    uint32_t audit_capacity;
    uint64_t total;
};

struct cloud_conversion *cloud_conversion_create(struct cloud_vehicles *vehicles)
{
    struct cloud_conversion *conversion = memory_allocate_zero(1, sizeof(*conversion));
    if (!conversion)
        return NULL;
    conversion->vehicles = vehicles;
    conversion->audit = memory_allocate(AUDIT_FIRST * sizeof(*conversion->audit));
    conversion->audit_capacity = AUDIT_FIRST;
    if (conversion->audit)
        return conversion;
    memory_free(conversion);
    return NULL;
}

void cloud_conversion_destroy(struct cloud_conversion *conversion)
{
    if (!conversion)
        return;
    memory_free(conversion->clients);
    memory_free(conversion->audit);
    memory_free(conversion);
}

/* ---- clients ------------------------------------------------------------------------------------------------------ */

static uint32_t find_client(const struct cloud_conversion *conversion, struct span name)
{
    for (uint32_t i = 0; i < conversion->client_count; i++)
        if (span_equal(name, span_text(conversion->clients[i].name)))
            return i;
    return NOBODY;
}

static struct client *place_for(struct cloud_conversion *conversion, const char *name)
{
    uint32_t number = find_client(conversion, span_text(name));
    if (number != NOBODY)
        return &conversion->clients[number];
    if (conversion->client_count == CLIENTS_MAX)
        return NULL;
    if (conversion->client_count == conversion->client_capacity) {
        uint32_t wanted = conversion->client_capacity + conversion->client_capacity / 2 + 2;
        struct client *clients = memory_resize(conversion->clients, wanted * sizeof(*clients));
        if (!clients)
            return NULL;
        conversion->clients = clients;
        conversion->client_capacity = wanted;
    }
    struct client *client = &conversion->clients[conversion->client_count++];
    memset(client, 0, sizeof(*client));
    strcpy(client->name, name);
    return client;
}

bool cloud_conversion_allow(struct cloud_conversion *conversion, const struct cloud_conversion_client *wanted)
{
    if (!wanted->name || !wanted->secret || !wanted->tenant || !wanted->name[0] || !wanted->secret[0] ||
        !wanted->tenant[0] || strchr(wanted->name, '.') || strlen(wanted->name) >= sizeof(conversion->clients->name) ||
        strlen(wanted->tenant) > CLOUD_TENANT_MAX || !(wanted->per_minute > 0) || !(wanted->per_minute <= RATE_MAX))
        return false;
    double interval_ns = (double)NS_PER_MIN / wanted->per_minute;
    struct client *client = interval_ns < 1e18 ? place_for(conversion, wanted->name) : NULL;
    if (!client)
        return false;
    strcpy(client->tenant, wanted->tenant);
    seal_token(conversion->vehicles, span_text(wanted->secret), client->token);
    client->interval_ns = (int64_t)interval_ns;
    client->burst = wanted->per_minute < 1 ? 1 : (uint32_t)wanted->per_minute;
    client->full_ns = INT64_MIN;
    client->to_reference = wanted->to_reference;
    client->to_vin = wanted->to_vin;
    return true;
}

/* The same work whether there is such a client or not. */
static uint32_t who_is_it(const struct cloud_conversion *conversion, struct span token, uint32_t *claimed)
{
    static const uint8_t nothing[32];
    struct span bearer = SPAN_LITERAL("Bearer ");
    if (token.length > bearer.length && memcmp(token.data, bearer.data, bearer.length) == 0)
        token = span_of(token.data + bearer.length, token.length - bearer.length);
    const uint8_t *dot = token.length ? memchr(token.data, '.', token.length) : NULL;
    struct span name = dot ? span_of(token.data, (size_t)(dot - token.data)) : (struct span){NULL, 0};
    struct span secret = dot ? span_of(dot + 1, token.length - name.length - 1) : (struct span){NULL, 0};
    uint8_t hash[32];
    *claimed = find_client(conversion, name);
    seal_token(conversion->vehicles, secret, hash);
    const uint8_t *expected = *claimed == NOBODY ? nothing : conversion->clients[*claimed].token;
    return CRYPTO_memcmp(hash, expected, sizeof(hash)) == 0 ? *claimed : NOBODY;
}

/* ---- rate --------------------------------------------------------------------------------------------------------- */

static void move_window(struct client *client, int64_t now_us)
{
    int64_t window = now_us / WINDOW_US;
    for (int i = 0; i < WINDOW_COUNT && client->window < window; i++)
        client->refused[++client->window % WINDOW_COUNT] = 0;
    if (client->window < window)
        client->window = window;
}

static bool take_one(struct client *client, int64_t now_us, uint32_t *retry_after_s)
{
    int64_t now_ns = now_us * NS_PER_US;
    int64_t room_ns = client->interval_ns > NS_PER_MIN ? client->interval_ns : NS_PER_MIN;
    int64_t full_ns = (client->full_ns > now_ns ? client->full_ns : now_ns) + client->interval_ns;
    if (full_ns - now_ns <= room_ns) {
        client->full_ns = full_ns;
        return true;
    }
    int64_t ns_per_s = US_PER_S * NS_PER_US, wait_s = (full_ns - now_ns - room_ns + ns_per_s - 1) / ns_per_s;
    *retry_after_s = wait_s > UINT32_MAX ? UINT32_MAX : (uint32_t)wait_s;
    move_window(client, now_us);
    client->refused[client->window % WINDOW_COUNT]++;
    return false;
}

/* Somebody who hurries a little is refused a few times; who is refused a tenth of a minute's worth and more is taking the whole list. */
static bool is_suspect(const struct client *client, int64_t now_us)
{
    struct client now = *client;
    uint64_t refused = 0;
    move_window(&now, now_us);
    for (int i = 0; i < WINDOW_COUNT; i++)
        refused += now.refused[i];
    return refused >= SUSPECT_LEAST && refused * 10 >= now.burst;
}

uint32_t cloud_conversion_suspects(const struct cloud_conversion *conversion, int64_t now_us, char names[][32],
                                   uint32_t capacity)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < conversion->client_count; i++) {
        if (!is_suspect(&conversion->clients[i], now_us))
            continue;
        if (count < capacity)
            memcpy(names[count], conversion->clients[i].name, sizeof(conversion->clients[i].name));
        count++;
    }
    return count;
}

/* ---- audit -------------------------------------------------------------------------------------------------------- */

/* Grows until it is as long as it gets, or memory ends: then the oldest go. While it grows, records lie from the beginning. */
static void write_down(struct cloud_conversion *conversion, struct record record)
{
    uint32_t capacity = conversion->audit_capacity;
    if (conversion->total == capacity && capacity < CLOUD_CONVERSION_AUDIT_MAX) {
        struct record *audit = memory_resize(conversion->audit, 2 * capacity * sizeof(*audit));
        if (audit) {
            conversion->audit = audit;
            conversion->audit_capacity = 2 * capacity;
        }
    }
    conversion->audit[conversion->total++ % conversion->audit_capacity] = record;
}

uint32_t cloud_conversion_audit(const struct cloud_conversion *conversion, struct cloud_conversion_record *out,
                                uint32_t capacity, uint64_t *total)
{
    uint64_t kept = conversion->total < conversion->audit_capacity ? conversion->total : conversion->audit_capacity;
    uint32_t count = kept < capacity ? (uint32_t)kept : capacity;
    if (total)
        *total = conversion->total;
    for (uint32_t i = 0; i < count; i++) {
        const struct record *record = &conversion->audit[(conversion->total - count + i) % conversion->audit_capacity];
        memset(&out[i], 0, sizeof(out[i]));
        out[i].at_s = record->at_s;
        out[i].status = record->status;
        strcpy(out[i].direction, direction_names[record->direction]);
        if (record->client != NOBODY)
            strcpy(out[i].client, conversion->clients[record->client].name);
        if (record->vehicle != NAME_NONE)
            names_text(&conversion->vehicles->references, record->vehicle, out[i].reference);
    }
    return count;
}

/* ---- requests ----------------------------------------------------------------------------------------------------- */

static bool read_hash(const char *text, uint8_t hash[VIN_HASH_BYTES])
{
    if (strlen(text) != 2 * VIN_HASH_BYTES)
        return false;
    for (int i = 0; i < 2 * VIN_HASH_BYTES; i++) {
        const char *digit = strchr("0123456789abcdef", text[i]);
        if (!digit)
            return false;
        uint8_t value = (uint8_t)(digit - "0123456789abcdef");
        hash[i / 2] = i % 2 ? (uint8_t)(hash[i / 2] | value) : (uint8_t)(value << 4);
    }
    return true;
}

/* The vehicle asked for. false: the question is none. */
static bool read_question(const struct cloud_conversion *conversion, enum direction direction, const cJSON *body,
                          uint32_t *vehicle)
{
    const char *reference = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(body, "referenceId"));
    const char *vin = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(body, "vin"));
    const char *hashed = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(body, "vinHash"));
    uint8_t hash[VIN_HASH_BYTES];
    if (direction == TO_VIN) {
        if (!reference || !reference[0] || strlen(reference) > CLOUD_REFERENCE_MAX)
            return false;
        *vehicle = vehicles_find(conversion->vehicles, span_text(reference));
        return true;
    }
    if (!vin == !hashed || (vin && !cloud_vin_valid(span_text(vin))) || (hashed && !read_hash(hashed, hash)))
        return false;
    if (vin)
        seal_hash(conversion->vehicles, span_text(vin), hash);
    *vehicle = vehicles_find_hash(conversion->vehicles, hash);
    return true;
}

static bool is_theirs(const struct cloud_conversion *conversion, const struct client *client, uint32_t number)
{
    struct cloud_vehicle vehicle;
    vehicles_copy(conversion->vehicles, number, &vehicle);
    return strcmp(client->tenant, "*") == 0 || strcmp(client->tenant, vehicle.tenant) == 0;
}

static int answer(const struct cloud_conversion *conversion, enum direction direction, const struct client *client,
                  struct span body, uint32_t *vehicle, char value[CLOUD_REFERENCE_MAX + 1])
{
    char text[BODY_MAX + 1];
    if (body.length == 0 || body.length > BODY_MAX || memchr(body.data, 0, body.length))
        return 400;
    memcpy(text, body.data, body.length);
    text[body.length] = 0;
    cJSON *object = cJSON_ParseWithOpts(text, NULL, true);
    bool good = cJSON_IsObject(object) && read_question(conversion, direction, object, vehicle);
    if (object && cJSON_IsObject(object))
        for (cJSON *item = object->child; item; item = item->next)
            if (cJSON_IsString(item))
                OPENSSL_cleanse(item->valuestring, strlen(item->valuestring));
    cJSON_Delete(object);
    OPENSSL_cleanse(text, sizeof(text));
    if (!good)
        return 400;
    if (*vehicle == NAME_NONE || !is_theirs(conversion, client, *vehicle))
        return 404;
    if (direction == TO_REFERENCE)
        names_text(&conversion->vehicles->references, *vehicle, value);
    else if (!vehicles_vin(conversion->vehicles, *vehicle, value))
        return 500;
    return 200;
}

static int handle(struct cloud_conversion *conversion, int64_t now_us, struct span token, const char *method,
                  const char *path, struct span body, struct record *record, char value[CLOUD_REFERENCE_MAX + 1],
                  uint32_t *retry_after_s)
{
    uint32_t claimed, number = who_is_it(conversion, token, &claimed);
    enum direction direction = (enum direction)record->direction;
    record->client = (uint16_t)claimed;
    if (number == NOBODY)
        return 401;
    struct client *client = &conversion->clients[number];
    if (!take_one(client, now_us, retry_after_s))
        return 429;
    if (direction == TO_NOWHERE)
        return 404;
    if (strcmp(method, "POST") != 0)
        return 405;
    if (!(direction == TO_REFERENCE ? client->to_reference : client->to_vin))
        return 403;
    return answer(conversion, direction, client, body, &record->vehicle, value);
}

static const char *reason(int status)
{
    switch (status) {
    case 400: return "not a question this can answer";
    case 401: return "who are you";
    case 403: return "not this direction";
    case 404: return "not found";
    case 405: return "POST only";
    case 429: return "too many requests";
    default: return "cannot be answered";
    }
}

/* false: no room. */
static bool write_answer(int status, enum direction direction, const char *value, char *out, size_t capacity,
                         size_t *length)
{
    cJSON *object = cJSON_CreateObject();
    const char *name = status != 200 ? "error" : direction == TO_VIN ? "vin" : "referenceId";
    bool good = object && cJSON_AddStringToObject(object, name, status == 200 ? value : reason(status)) &&
                cJSON_PrintPreallocated(object, out, capacity > INT32_MAX ? INT32_MAX : (int)capacity, false);
    *length = good ? strlen(out) : 0;
    if (!good && capacity > 0)
        OPENSSL_cleanse(out, capacity);
    cJSON *item = object ? object->child : NULL;
    if (item && cJSON_IsString(item))
        OPENSSL_cleanse(item->valuestring, strlen(item->valuestring));
    cJSON_Delete(object);
    return good;
}

int cloud_conversion_handle(struct cloud_conversion *conversion, int64_t now_us, int64_t now_s, struct span token,
                            const char *method, const char *path, struct span body, char *out, size_t capacity,
                            size_t *length, uint32_t *retry_after_s)
{
    enum direction direction = strcmp(path, "/v1/reference") == 0 ? TO_REFERENCE
                               : strcmp(path, "/v1/vin") == 0     ? TO_VIN
                                                                  : TO_NOWHERE;
    struct record record = {.at_s = now_s, .vehicle = NAME_NONE, .client = NOBODY, .direction = (uint8_t)direction};
    char value[CLOUD_REFERENCE_MAX + 1] = "";
    *retry_after_s = 0;
    int status = handle(conversion, now_us, token, method, path, body, &record, value, retry_after_s);
    if (!write_answer(status, direction, value, out, capacity, length))
        status = 500;
    OPENSSL_cleanse(value, sizeof(value));
    record.status = (uint16_t)status;
    write_down(conversion, record);
    return status;
}
