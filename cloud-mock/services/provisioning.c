/* provisioning.c: fleet provisioning: a certificate for who shows a claim, another one for who has one already, and what makes them count.
 *
 * create and create-from-csr issue at once, note the certificate as PENDING_ACTIVATION and hand out an ownership token; provision with that token, by the
 * same client id, asks the hook, makes the thing, attaches the certificate and activates it. An answer can be lost on the way to a vehicle, so a granted
 * token stays good for the same answer until it runs out; a token nobody used takes its certificate with it.
 */
#include "provisioning_private.h"

#include "due.h"
#include "memory.h"

#define HOOK_MAX_US      (5 * US_PER_S)
#define TOKEN_LIFE_US    US_PER_HOUR
#define TOKEN_BYTES      16
#define ANSWER_MAX       8192
#define TOPIC_MAX        256
#define BUCKETS_AT_FIRST 8 /* a power of two; doubled when there are more tokens than buckets */

struct token {
    struct token *next;  /* in its bucket */
    struct token *later; /* all live equally long: the order of issuing is the order of running out */
    int64_t due_us;
    uint8_t value[TOKEN_BYTES], certificate_id[32];
    bool granted;
    uint16_t client_id_length;
    uint8_t client_id[];
};

/* What is due later: an answer, or (token_used) a grant whose hook is still at work. Texts lie in `bytes` one behind the other. */
struct work {
    bool token_used, renewal;
    enum cloud_certificate_status status;
    uint8_t token[TOKEN_BYTES];
    char thing[64], policy[64], template_name[CLOUD_TEMPLATE_NAME_MAX + 1];
    struct span client_id, topic, payload;
    uint8_t bytes[];
};

struct cloud_provisioning {
    struct cloud_provisioning_options options;
    struct provisioning_template *templates;
    struct token **bucket;
    struct token *first, *last;
    uint32_t bucket_count, token_count;
    struct due_heap heap;
    uint64_t orders, tokens_made, bytes;
    struct cloud_provisioning_counts count;
};

/* Who asks, and what for. */
struct asking {
    int64_t now_us, now_s;
    const struct cloud_request *request;
    bool renewal;
    char own[64]; /* the thing of the operational certificate, when renewal */
};

struct refusal {
    int status;
    const char *code, *message;
};

static const struct refusal bad_token = {400, "InvalidCertificateOwnershipToken",
                                         "Certificate ownership token is not valid for this client."},
                            no_memory = {500, "InternalFailure", "The request cannot be served at the moment."};

/* ---- tokens ---------------------------------------------------------------------------------------------------------- */

static uint64_t mix(uint64_t x)
{
    x += UINT64_C(0x9E3779B97F4A7C15);
    x = (x ^ x >> 30) * UINT64_C(0xBF58476D1CE4E5B9);
    x = (x ^ x >> 27) * UINT64_C(0x94D049BB133111EB);
    return x ^ x >> 31;
}

static struct token **place_of(struct cloud_provisioning *p, const uint8_t value[TOKEN_BYTES])
{
    uint32_t hash;
    memcpy(&hash, value, sizeof hash);
    struct token **place = &p->bucket[hash & (p->bucket_count - 1)];
    while (*place && memcmp((*place)->value, value, TOKEN_BYTES) != 0)
        place = &(*place)->next;
    return place;
}

static bool buckets_grow(struct cloud_provisioning *p)
{
    uint32_t old_count = p->bucket_count, count = old_count ? 2 * old_count : BUCKETS_AT_FIRST;
    struct token **bucket = memory_allocate_zero(count, sizeof *bucket);
    if (!bucket)
        return old_count > 0; /* longer chains, nothing worse */
    memory_free(p->bucket);
    p->bucket = bucket;
    p->bucket_count = count;
    for (struct token *token = p->first; token; token = token->later) {
        token->next = NULL;
        *place_of(p, token->value) = token;
    }
    return true;
}

static size_t token_size(const struct token *token)
{
    return sizeof *token + token->client_id_length;
}

static struct token *token_make(struct cloud_provisioning *p, int64_t now_us, const uint8_t certificate_id[32],
                                struct span client_id)
{
    if (p->token_count >= p->bucket_count && !buckets_grow(p))
        return NULL;
    struct token *token = memory_allocate_zero(1, sizeof *token + client_id.length);
    if (!token)
        return NULL;
    uint64_t key = mix(p->options.seed), number = p->tokens_made++;
    uint64_t value[2] = {mix(key ^ 2 * number), mix(mix(key + 1) ^ (2 * number + 1))};
    _Static_assert(sizeof value == TOKEN_BYTES, "two words");
    memcpy(token->value, value, sizeof value);
    memcpy(token->certificate_id, certificate_id, 32);
    token->client_id_length = (uint16_t)client_id.length;
    memcpy(token->client_id, client_id.data, client_id.length);
    token->due_us = now_us + p->options.issue_us + p->options.token_life_us;
    struct token **place = place_of(p, token->value);
    token->next = *place;
    *place = token;
    *(p->last ? &p->last->later : &p->first) = token;
    p->last = token;
    p->token_count++;
    p->bytes += token_size(token);
    return token;
}

static void token_drop_first(struct cloud_provisioning *p)
{
    struct token *token = p->first;
    *place_of(p, token->value) = token->next;
    p->first = token->later;
    if (!p->first)
        p->last = NULL;
    p->token_count--;
    p->bytes -= token_size(token);
    memory_free(token);
}

/* NULL: unknown, run out, or given to another client. */
static struct token *token_find(struct cloud_provisioning *p, const uint8_t value[TOKEN_BYTES], struct span client_id)
{
    struct token *token = p->token_count ? *place_of(p, value) : NULL;
    bool own = token && span_equal(span_of(token->client_id, token->client_id_length), client_id);
    return own ? token : NULL;
}

static void token_expire(struct cloud_provisioning *p)
{
    const struct token *token = p->first;
    if (!token->granted &&
        cloud_registry_status(p->options.registry, token->certificate_id) == CLOUD_CERTIFICATE_PENDING_ACTIVATION) {
        cloud_registry_forget_certificate(p->options.registry, token->certificate_id);
        p->count.expired++;
    }
    token_drop_first(p);
}

/* ---- what is due later ----------------------------------------------------------------------------------------------- */

static size_t work_size(const struct work *work)
{
    return sizeof *work + work->client_id.length + work->topic.length + work->payload.length;
}

static struct span keep(uint8_t **at, struct span text)
{
    struct span kept = span_of(*at, text.length);
    if (text.length)
        memcpy(*at, text.data, text.length);
    *at += text.length;
    return kept;
}

/* A copy of `work` with its texts, done `delay_us` from now. false: out of memory. */
static bool work_later(struct cloud_provisioning *p, int64_t now_us, int64_t delay_us, const struct work *work)
{
    struct work *later = memory_allocate_zero(1, work_size(work));
    if (!later)
        return false;
    *later = *work;
    uint8_t *at = later->bytes;
    later->client_id = keep(&at, work->client_id);
    later->topic = keep(&at, work->topic);
    later->payload = keep(&at, work->payload);
    if (due_push(&p->heap, (struct due_entry){.at_us = now_us + delay_us, .order = p->orders++, .item = later})) {
        p->bytes += work_size(later);
        return true;
    }
    memory_free(later);
    return false;
}

/* ---- answering ------------------------------------------------------------------------------------------------------- */

static void send(struct cloud_provisioning *p, int64_t now_us, const struct work *work)
{
    if (p->options.pass && !p->options.pass(p->options.context, work->client_id, work->topic))
        return;
    p->options.speaker.answer(p->options.speaker.context, now_us, work->client_id, work->topic, work->payload);
}

static struct span topic_behind(struct span topic, const char *suffix, char out[TOPIC_MAX])
{
    struct text_writer w = {out, 0, TOPIC_MAX};
    text_put(&w, topic.data, topic.length);
    text_put_string(&w, suffix);
    ASSERT(text_fits(&w)); /* cloud_provisioning_request() has looked at its length */
    return span_of(out, w.at);
}

static struct span refusal_text(const struct refusal *refusal, char *out, size_t capacity)
{
    struct text_writer w = {out, 0, capacity};
    TEXT_PUT(&w, "{\"statusCode\":");
    text_put_number(&w, refusal->status);
    TEXT_PUT(&w, ",\"errorCode\":\"");
    text_put_string(&w, refusal->code);
    TEXT_PUT(&w, "\",\"errorMessage\":");
    provisioning_put_json(&w, span_text(refusal->message));
    TEXT_PUT(&w, "}");
    return span_of(out, text_fits(&w) ? w.at : 0);
}

static void reject_later(struct cloud_provisioning *p, const struct asking *a, int64_t delay_us,
                         const struct refusal *refusal)
{
    char topic[TOPIC_MAX], payload[512];
    struct work work = {.client_id = a->request->client_id,
                        .topic = topic_behind(a->request->topic, "/rejected", topic),
                        .payload = refusal_text(refusal, payload, sizeof payload)};
    if (delay_us <= 0 || !work_later(p, a->now_us, delay_us, &work))
        send(p, a->now_us, &work);
}

static void reject(struct cloud_provisioning *p, const struct asking *a, const struct refusal *refusal)
{
    p->count.rejected++;
    reject_later(p, a, 0, refusal);
}

#define REJECT(p, a, status, code, message) reject(p, a, &(struct refusal){status, code, message})

/* ---- who asks -------------------------------------------------------------------------------------------------------- */

static bool issued_by(const struct cloud_provisioning *p, const struct cloud_peer *peer, enum cloud_ca ca)
{
    return memcmp(peer->issuer_id, cloud_pki_ca(p->options.pki, ca)->id, 32) == 0;
}

/* NULL: may ask. On somebody else's broker nothing but the client id is known, which that broker answers for. */
static const char *identify(const struct cloud_provisioning *p, struct asking *a)
{
    const struct cloud_peer *peer = a->request->peer;
    struct span client_id = a->request->client_id;
    if (!peer) {
        if (client_id.length == 0 || client_id.length >= sizeof a->own)
            return "The client id is no thing's name.";
        memcpy(a->own, client_id.data, client_id.length);
        a->renewal = cloud_registry_has_thing(p->options.registry, a->own);
        return NULL;
    }
    if (!peer->has_certificate)
        return "A client certificate is required.";
    if (a->now_s < peer->not_before_s || a->now_s > peer->not_after_s)
        return "The client certificate is out of its validity.";
    enum cloud_certificate_status status = cloud_registry_status(p->options.registry, peer->certificate_id);
    if (issued_by(p, peer, CLOUD_CA_CLAIM)) /* registered or not, as long as nobody has locked it */
        return status == CLOUD_CERTIFICATE_UNKNOWN || status == CLOUD_CERTIFICATE_ACTIVE
                   ? NULL
                   : "The claim certificate is not active.";
    a->renewal = true;
    bool own = issued_by(p, peer, CLOUD_CA_OPERATIONAL) && status == CLOUD_CERTIFICATE_ACTIVE &&
               cloud_registry_thing_of(p->options.registry, peer->certificate_id, a->own) &&
               span_equal(span_text(a->own), client_id);
    return own ? NULL : "Neither a claim certificate nor this thing's own active certificate.";
}

/* ---- create, create-from-csr ----------------------------------------------------------------------------------------- */

struct made {
    uint8_t certificate[4096], key[512];
    size_t length, key_length;
    struct cloud_certificate read;
};

/* The name a certificate will carry: a thing's own; over a claim the request's, or, where the cloud makes the key, the client id. */
static bool make(struct cloud_provisioning *p, const struct asking *a, struct span csr, struct made *made)
{
    const struct cloud_provisioning_options *o = &p->options;
    char client[64] = "";
    if (a->request->client_id.length < sizeof client)
        memcpy(client, a->request->client_id.data, a->request->client_id.length);
    const char *name = a->renewal ? a->own : csr.data ? NULL : client;
    made->length = sizeof made->certificate;
    made->key_length = sizeof made->key;
    if (csr.data)
        made->length = cloud_pki_issue(o->pki, CLOUD_CA_OPERATIONAL, csr, name, a->now_s, o->certificate_lifetime_s,
                                       made->certificate, sizeof made->certificate);
    else if (!cloud_pki_make(o->pki, CLOUD_CA_OPERATIONAL, name, a->now_s, o->certificate_lifetime_s, made->certificate,
                             &made->length, made->key, &made->key_length))
        made->length = 0;
    if (made->length == 0 || !cloud_certificate_read(span_of(made->certificate, made->length), &made->read))
        return false;
    memcpy(made->read.issuer_id, cloud_pki_ca(o->pki, CLOUD_CA_OPERATIONAL)->id, 32);
    return true;
}

static void put_private_key(struct text_writer *w, bool modelled, const struct made *made)
{
    TEXT_PUT(w, ",\"privateKey\":");
    if (!modelled) {
        provisioning_put_pem(w, false, "PRIVATE KEY", span_of(made->key, made->key_length));
        return;
    }
    char digits[17];
    text_hex(made->read.key_id, 8, digits); /* the number of the modelled key */
    TEXT_PUT(w, "\"CVK1|");
    text_put(w, digits, 16);
    TEXT_PUT(w, "\"");
}

static void create(struct cloud_provisioning *p, const struct asking *a, struct span csr)
{
    struct made made;
    char topic[TOPIC_MAX], payload[ANSWER_MAX], hex[65];
    bool modelled = cloud_pki_is_modelled(p->options.pki);
    if (!make(p, a, csr, &made)) {
        REJECT(p, a, 400, csr.data ? "InvalidCsr" : "InvalidParameters",
               csr.data ? "Not a certificate request with proof of possession for a name this client may have."
                        : "The client id cannot be a certificate's name.");
        return;
    }
    struct token *token = token_make(p, a->now_us, made.read.id, a->request->client_id);
    if (!token || !cloud_registry_put_certificate(p->options.registry, &made.read, CLOUD_CERTIFICATE_PENDING_ACTIVATION,
                                                  NULL, a->now_s)) {
        reject(p, a, &no_memory); /* a token without its certificate is good for nothing and runs out */
        return;
    }
    struct text_writer w = {payload, 0, sizeof payload};
    text_hex(made.read.id, 32, hex);
    TEXT_PUT(&w, "{\"certificateId\":\"");
    text_put(&w, hex, 64);
    TEXT_PUT(&w, "\",\"certificatePem\":");
    provisioning_put_pem(&w, modelled, "CERTIFICATE", span_of(made.certificate, made.length));
    if (!csr.data)
        put_private_key(&w, modelled, &made);
    text_hex(token->value, TOKEN_BYTES, hex);
    TEXT_PUT(&w, ",\"certificateOwnershipToken\":\"");
    text_put(&w, hex, 2 * (size_t)TOKEN_BYTES);
    TEXT_PUT(&w, "\"}");
    ASSERT(text_fits(&w)); /* 4 KiB of certificate and a short key, a third longer in base64 */
    p->count.issued++;
    struct work work = {.client_id = a->request->client_id,
                        .topic = topic_behind(a->request->topic, "/accepted", topic),
                        .payload = span_of(payload, w.at)};
    if (p->options.issue_us <= 0 || !work_later(p, a->now_us, p->options.issue_us, &work))
        send(p, a->now_us, &work);
}

/* ---- provision ------------------------------------------------------------------------------------------------------- */

static bool thing_name_valid(const char *name)
{
    for (const char *at = name; *at; at++)
        if (!((*at >= '0' && *at <= '9') || (*at >= 'a' && *at <= 'z') || (*at >= 'A' && *at <= 'Z') || *at == '_' ||
              *at == '-' || *at == ':'))
            return false;
    return name[0];
}

/* Shipped ones are compiled when they are first asked for. */
static const struct provisioning_template *template_find(struct cloud_provisioning *p, struct span name)
{
    char text[CLOUD_TEMPLATE_NAME_MAX + 1] = "";
    for (const struct provisioning_template *t = p->templates; t; t = t->next)
        if (span_equal(span_text(t->name), name))
            return t;
    if (name.length >= sizeof text)
        return NULL;
    memcpy(text, name.data, name.length);
    const char *body = cloud_template_shipped(text);
    return body && cloud_provisioning_template(p, text, span_text(body), NULL, 0) ? p->templates : NULL;
}

/* The hook is done: from here on the certificate counts. */
static const struct refusal *grant(struct cloud_provisioning *p, int64_t now_us, const struct work *work)
{
    struct cloud_registry *registry = p->options.registry;
    struct cloud_certificate certificate;
    int64_t now_s = (p->options.epoch_us + now_us) / US_PER_S;
    struct token *token = token_find(p, work->token, work->client_id);
    if (!token)
        return &bad_token;
    if (token->granted)
        return NULL; /* its answer was lost: the same again */
    enum cloud_certificate_status status = work->status;
    if (cloud_registry_status(registry, token->certificate_id) != CLOUD_CERTIFICATE_PENDING_ACTIVATION ||
        !cloud_registry_certificate(registry, token->certificate_id, &certificate))
        return &bad_token;
    if (p->options.activate && !p->options.activate(p->options.context, span_text(work->thing)))
        status = CLOUD_CERTIFICATE_PENDING_ACTIVATION;
    if (!cloud_registry_put_thing(registry, work->thing, now_s) ||
        !cloud_registry_put_certificate(registry, &certificate, status, work->thing, now_s))
        return &no_memory;
    token->granted = true;
    p->count.granted++;
    if (p->options.provisioned)
        p->options.provisioned(p->options.context, now_us,
                               &(struct cloud_provisioned){.thing = span_text(work->thing),
                                                           .client_id = work->client_id,
                                                           .template_name = span_text(work->template_name),
                                                           .policy = span_text(work->policy),
                                                           .certificate = &certificate,
                                                           .renewal = work->renewal});
    return NULL;
}

/* work->topic is the request's; the answer's follows from how it ends. */
static void grant_and_answer(struct cloud_provisioning *p, int64_t now_us, const struct work *work)
{
    char topic[TOPIC_MAX], payload[512];
    struct work answer = {.client_id = work->client_id, .payload = work->payload};
    const struct refusal *refusal = grant(p, now_us, work);
    answer.topic = topic_behind(work->topic, refusal ? "/rejected" : "/accepted", topic);
    if (refusal) {
        p->count.rejected++;
        answer.payload = refusal_text(refusal, payload, sizeof payload);
    }
    send(p, now_us, &answer);
}

static struct cloud_hook_answer ask_hook(struct cloud_provisioning *p, const struct asking *a,
                                         const uint8_t certificate_id[32], struct span template_name,
                                         const cJSON *parameters)
{
    char claim[65] = "", id[65];
    if (a->request->peer)
        text_hex(a->request->peer->certificate_id, 32, claim);
    text_hex(certificate_id, 32, id);
    char *text = parameters ? cJSON_PrintUnformatted(parameters) : NULL;
    struct cloud_hook_request request = {.claim_certificate_id = span_text(claim),
                                         .certificate_id = span_of(id, 64),
                                         .template_name = template_name,
                                         .client_id = a->request->client_id,
                                         .parameters = span_text(text ? text : "{}")};
    struct cloud_hook_answer answer = p->options.hook(p->options.context, a->now_us, &request);
    cJSON_free(text);
    return answer;
}

/* true: goes on; else answered already. */
static bool hook_allows(struct cloud_provisioning *p, const struct asking *a, const struct cloud_hook_answer *answer)
{
    if (answer->delay_us > HOOK_MAX_US) {
        p->count.rejected++;
        reject_later(p, a, HOOK_MAX_US,
                     &(struct refusal){500, "InternalFailure", "The pre-provisioning hook did not answer within 5 s."});
        return false;
    }
    if (answer->allow)
        return true;
    p->count.denied++;
    reject_later(p, a, answer->delay_us,
                 &(struct refusal){403, "AccessDenied", "The pre-provisioning hook does not allow it."});
    return false;
}

/* NULL: this certificate may be this thing's. */
static const struct refusal *thing_refused(const struct asking *a, const char *thing,
                                           const struct cloud_certificate *certificate)
{
    static const struct refusal no_name = {400, "InvalidParameters", "The template gives no valid thing name."},
                                not_own = {403, "AccessDenied", "A thing may renew its own identity only."},
                                other = {400, "InvalidParameters", "The certificate is made out to another name."};
    if (!thing_name_valid(thing))
        return &no_name;
    if (a->renewal && strcmp(thing, a->own) != 0)
        return &not_own;
    return certificate && strcmp(thing, certificate->common_name) != 0 ? &other : NULL;
}

struct provision { /* what a request to provision comes to */
    const struct provisioning_template *template;
    const cJSON *parameters;
    struct token *token;
    struct cloud_certificate certificate;
    struct template_bindings bindings;
    char id[65];
    struct work work;
};

static bool read_token(struct cloud_provisioning *p, const struct asking *a, const cJSON *body, struct provision *out)
{
    struct span text = provisioning_member(body, "certificateOwnershipToken");
    if (text.length == 0) {
        REJECT(p, a, 400, bad_token.code, "Certificate ownership token cannot be empty.");
        return false;
    }
    out->token = text.length == 2 * TOKEN_BYTES && text_unhex(text.data, text.length, out->work.token)
                     ? token_find(p, out->work.token, a->request->client_id)
                     : NULL;
    if (out->token && cloud_registry_certificate(p->options.registry, out->token->certificate_id, &out->certificate))
        return true;
    reject(p, a, &bad_token);
    return false;
}

static bool read_parameters(struct cloud_provisioning *p, const struct asking *a, const cJSON *body,
                            struct provision *out)
{
    struct span missing;
    out->parameters = cJSON_GetObjectItemCaseSensitive(body, "parameters");
    if (out->parameters && !cJSON_IsObject(out->parameters)) {
        REJECT(p, a, 400, "InvalidParameters", "parameters must be an object.");
        return false;
    }
    text_hex(out->certificate.id, 32, out->id);
    out->bindings.certificate_id = span_of(out->id, 64);
    out->bindings.common_name = span_text(out->certificate.common_name);
    if (template_bind(out->template, out->parameters, &out->bindings, &missing))
        return true;
    char message[128];
    struct text_writer w = {message, 0, sizeof message - 1};
    TEXT_PUT(&w, "Parameter ");
    text_put(&w, missing.data, missing.length > 64 ? 64 : missing.length);
    TEXT_PUT(&w, " is missing or not a text.");
    message[w.at] = 0;
    REJECT(p, a, 400, "InvalidParameters", message);
    return false;
}

/* The thing: from the template, checked before the hook acts on it, and again if the hook has named another. delay_us: the hook's. */
static bool choose_thing(struct cloud_provisioning *p, const struct asking *a, struct provision *out, int64_t *delay_us)
{
    static const struct refusal conflict = {409, "ResourceConflict", "The thing exists already."};
    struct work *work = &out->work;
    struct text_writer w = {work->thing, 0, sizeof work->thing - 1};
    template_value(out->template, out->template->thing, &out->bindings, &w);
    if (!text_fits(&w))
        work->thing[0] = 0;
    bool ask = p->options.hook && !out->token->granted;
    const struct refusal *refusal = thing_refused(a, work->thing, ask ? NULL : &out->certificate);
    if (!refusal && ask) {
        struct cloud_hook_answer answer =
            ask_hook(p, a, out->certificate.id, span_text(out->template->name), out->parameters);
        if (!hook_allows(p, a, &answer))
            return false;
        *delay_us = answer.delay_us;
        if (answer.thing[0])
            memcpy(work->thing, answer.thing, sizeof work->thing - 1);
        refusal = thing_refused(a, work->thing, &out->certificate);
    }
    if (!refusal && out->template->only_new && !a->renewal && !out->token->granted &&
        cloud_registry_has_thing(p->options.registry, work->thing))
        refusal = &conflict;
    if (!refusal)
        return true;
    reject(p, a, refusal);
    return false;
}

static void provision(struct cloud_provisioning *p, const struct asking *a, struct span template_name,
                      const cJSON *body)
{
    struct provision it = {.template = template_find(p, template_name)};
    int64_t delay_us = 0;
    char payload[ANSWER_MAX];
    if (!it.template) {
        REJECT(p, a, 404, "ResourceNotFound", "There is no such provisioning template.");
        return;
    }
    if (!read_token(p, a, body, &it) || !read_parameters(p, a, body, &it) || !choose_thing(p, a, &it, &delay_us))
        return;
    struct text_writer policy = {it.work.policy, 0, sizeof it.work.policy - 1}, w = {payload, 0, sizeof payload};
    template_value(it.template, it.template->policy, &it.bindings, &policy);
    template_answer(it.template, &it.bindings, span_text(it.work.thing), &w);
    if (!text_fits(&policy) || !text_fits(&w)) {
        REJECT(p, a, 400, "InvalidTemplate", "What the template comes to is too long.");
        return;
    }
    strcpy(it.work.template_name, it.template->name);
    it.work.token_used = true;
    it.work.renewal = a->renewal;
    it.work.status = it.template->status;
    it.work.client_id = a->request->client_id;
    it.work.topic = a->request->topic;
    it.work.payload = span_of(payload, w.at);
    if (delay_us <= 0)
        grant_and_answer(p, a->now_us, &it.work);
    else if (!work_later(p, a->now_us, delay_us, &it.work))
        reject(p, a, &no_memory);
}

/* ---- the outside ----------------------------------------------------------------------------------------------------- */

bool cloud_provisioning_request(struct cloud_provisioning *provisioning, int64_t now_us,
                                const struct cloud_request *request)
{
    struct span template_name;
    enum provisioning_call call = provisioning_topic(request->topic, &template_name);
    if (call == CALL_NONE || request->topic.length > TOPIC_MAX - sizeof "/accepted" || request->client_id.length > 1024)
        return false;
    struct asking asking = {
        .now_us = now_us, .now_s = (provisioning->options.epoch_us + now_us) / US_PER_S, .request = request};
    const char *why = identify(provisioning, &asking);
    cJSON *body = why ? NULL : provisioning_parse(request->payload);
    struct span csr = body ? provisioning_member(body, "certificateSigningRequest") : (struct span){0};
    if (why)
        REJECT(provisioning, &asking, 403, "AccessDenied", why);
    else if (!body)
        REJECT(provisioning, &asking, 400, "InvalidParameters", "The payload is not a JSON object.");
    else if (call == CALL_PROVISION)
        provision(provisioning, &asking, template_name, body);
    else if (call == CALL_CREATE)
        create(provisioning, &asking, (struct span){0});
    else if (csr.length == 0)
        REJECT(provisioning, &asking, 400, "InvalidCsr", "certificateSigningRequest is missing.");
    else
        create(provisioning, &asking, csr);
    cJSON_Delete(body);
    return true;
}

int64_t cloud_provisioning_next_deadline(const struct cloud_provisioning *provisioning)
{
    int64_t work_us = due_next_us(&provisioning->heap);
    int64_t token_us = provisioning->first ? provisioning->first->due_us : TIME_NEVER;
    return work_us < token_us ? work_us : token_us;
}

void cloud_provisioning_tick(struct cloud_provisioning *provisioning, int64_t now_us)
{
    for (int64_t due_us; (due_us = cloud_provisioning_next_deadline(provisioning)) <= now_us && due_us != TIME_NEVER;) {
        if (due_next_us(&provisioning->heap) > due_us) {
            token_expire(provisioning);
            continue;
        }
        struct work *work = due_pop(&provisioning->heap).item;
        provisioning->bytes -= work_size(work);
        if (work->token_used)
            grant_and_answer(provisioning, now_us, work);
        else
            send(provisioning, now_us, work);
        memory_free(work);
    }
}

bool cloud_provisioning_template(struct cloud_provisioning *provisioning, const char *name, struct span body,
                                 char *error, size_t error_capacity)
{
    struct provisioning_template *template = template_compile(name, body, error, error_capacity);
    if (!template)
        return false;
    for (struct provisioning_template **place = &provisioning->templates; *place; place = &(*place)->next)
        if (strcmp((*place)->name, name) == 0) { /* another version of it */
            struct provisioning_template *old = *place;
            *place = old->next;
            provisioning->bytes -= sizeof *old + old->pool_length;
            memory_free(old);
            break;
        }
    template->next = provisioning->templates;
    provisioning->templates = template;
    provisioning->bytes += sizeof *template + template->pool_length;
    return true;
}

struct cloud_provisioning *cloud_provisioning_create(const struct cloud_provisioning_options *options)
{
    struct cloud_provisioning *provisioning = memory_allocate_zero(1, sizeof *provisioning);
    if (!provisioning)
        return NULL;
    provisioning->options = *options;
    if (provisioning->options.token_life_us <= 0)
        provisioning->options.token_life_us = TOKEN_LIFE_US;
    if (provisioning->options.issue_us < 0)
        provisioning->options.issue_us = 0;
    return provisioning;
}

void cloud_provisioning_destroy(struct cloud_provisioning *provisioning)
{
    if (!provisioning)
        return;
    while (provisioning->first)
        token_drop_first(provisioning);
    for (uint32_t i = 0; i < provisioning->heap.count; i++)
        memory_free(provisioning->heap.entries[i].item);
    while (provisioning->templates) {
        struct provisioning_template *template = provisioning->templates;
        provisioning->templates = template->next;
        memory_free(template);
    }
    memory_free(provisioning->bucket);
    memory_free(provisioning->heap.entries);
    memory_free(provisioning);
}

void cloud_provisioning_count(const struct cloud_provisioning *provisioning, struct cloud_provisioning_counts *out)
{
    *out = provisioning->count;
}

uint64_t cloud_provisioning_bytes(const struct cloud_provisioning *provisioning)
{
    return sizeof *provisioning + provisioning->bytes + provisioning->bucket_count * sizeof *provisioning->bucket +
           due_bytes(&provisioning->heap);
}
