/* provisioning_rig.h: plays the clients of fleet provisioning: requests in, answers collected; modelled or real cryptography. */
#ifndef PROVISIONING_RIG_H
#define PROVISIONING_RIG_H

#include "cloud/provisioning.h"

#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cjson/cJSON.h>
#include <cmocka.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>

#define EPOCH_S INT64_C(1790000000)
#define YEAR_S  INT64_C(31536000)

#define CREATE     "certificates/create/json"
#define CREATE_CSR "certificates/create-from-csr/json"
#define CLAIM      "provisioning-templates/claim/provision/json"
#define ROTATION   "provisioning-templates/rotation/provision/json"

struct identity {
    struct cloud_peer peer;
    struct cloud_certificate certificate;
    uint8_t bytes[2048];
};

struct rig {
    struct cloud_pki *pki;
    struct cloud_registry *registry;
    struct cloud_provisioning *provisioning;
    bool modelled;
    char directory[64];
    /* the last answer, and how many there were */
    uint32_t answers;
    int64_t at_us;
    char client_id[100], topic[200], payload[8192];
    cJSON *json;
    /* hook, faults */
    struct cloud_hook_answer hook;
    char hook_saw[800];
    uint32_t hooks, provisioned;
    struct cloud_provisioned last;
    char last_thing[64], last_policy[64], last_template[64];
    uint8_t last_id[32];
    bool lose, leave_pending;
};

static inline void rig_copy(char *out, size_t capacity, struct span text)
{
    assert_true(text.length < capacity);
    memcpy(out, text.data, text.length);
    out[text.length] = 0;
}

static inline void rig_answer(void *context, int64_t now_us, struct span client_id, struct span topic,
                              struct span payload)
{
    struct rig *rig = context;
    rig->answers++;
    rig->at_us = now_us;
    rig_copy(rig->client_id, sizeof rig->client_id, client_id);
    rig_copy(rig->topic, sizeof rig->topic, topic);
    rig_copy(rig->payload, sizeof rig->payload, payload);
    cJSON_Delete(rig->json);
    rig->json = cJSON_Parse(rig->payload);
    assert_non_null(rig->json);
}

static inline struct cloud_hook_answer rig_hook(void *context, int64_t now_us, const struct cloud_hook_request *request)
{
    struct rig *rig = context;
    rig->hooks++;
    assert_int_equal(request->certificate_id.length, 64);
    snprintf(rig->hook_saw, sizeof rig->hook_saw, "%.*s %.*s %.*s %.*s", (int)request->claim_certificate_id.length,
             (const char *)request->claim_certificate_id.data, (int)request->template_name.length,
             (const char *)request->template_name.data, (int)request->client_id.length,
             (const char *)request->client_id.data, (int)request->parameters.length,
             (const char *)request->parameters.data);
    return rig->hook;
}

static inline void rig_provisioned(void *context, int64_t now_us, const struct cloud_provisioned *provisioned)
{
    struct rig *rig = context;
    rig->provisioned++;
    rig->last = *provisioned;
    rig_copy(rig->last_thing, sizeof rig->last_thing, provisioned->thing);
    rig_copy(rig->last_policy, sizeof rig->last_policy, provisioned->policy);
    rig_copy(rig->last_template, sizeof rig->last_template, provisioned->template_name);
    memcpy(rig->last_id, provisioned->certificate->id, 32);
}

static inline bool rig_activate(void *context, struct span thing)
{
    return !((struct rig *)context)->leave_pending;
}

static inline bool rig_pass(void *context, struct span client_id, struct span topic)
{
    return !((struct rig *)context)->lose;
}

/* options: what differs from the usual; the hook is set when with_hook. */
static inline void rig_open(struct rig *rig, bool modelled, bool with_hook, struct cloud_provisioning_options options)
{
    char error[200] = "";
    memset(rig, 0, sizeof *rig);
    rig->modelled = modelled;
    rig->hook.allow = true;
    strcpy(rig->directory, "/tmp/convoy-provisioning-XXXXXX");
    if (!modelled)
        assert_non_null(mkdtemp(rig->directory));
    rig->pki = modelled ? cloud_pki_modelled(5) : cloud_pki_open(rig->directory, true, error, sizeof error);
    assert_non_null(rig->pki);
    rig->registry = cloud_registry_open(NULL, NULL, 0);
    options.pki = rig->pki;
    options.registry = rig->registry;
    options.speaker = (struct cloud_speaker){.answer = rig_answer, .context = rig};
    options.epoch_us = EPOCH_S * US_PER_S;
    if (!options.certificate_lifetime_s)
        options.certificate_lifetime_s = YEAR_S;
    options.hook = with_hook ? rig_hook : NULL;
    options.provisioned = rig_provisioned;
    options.activate = rig_activate;
    options.pass = rig_pass;
    options.context = rig;
    rig->provisioning = cloud_provisioning_create(&options);
    assert_non_null(rig->provisioning);
}

static inline void rig_close(struct rig *rig)
{
    char path[128];
    cloud_provisioning_destroy(rig->provisioning);
    cloud_registry_close(rig->registry);
    cloud_pki_close(rig->pki);
    cJSON_Delete(rig->json);
    if (rig->modelled)
        return;
    DIR *folder = opendir(rig->directory);
    assert_non_null(folder);
    for (struct dirent *entry; (entry = readdir(folder));) {
        snprintf(path, sizeof path, "%s/%.60s", rig->directory, entry->d_name);
        if (entry->d_type == DT_REG)
            unlink(path);
    }
    closedir(folder);
    assert_int_equal(rmdir(rig->directory), 0);
}

static inline void rig_identity(struct rig *rig, enum cloud_ca ca, const char *name, struct identity *out)
{
    uint8_t key[512];
    size_t length = sizeof out->bytes, key_length = sizeof key;
    memset(out, 0, sizeof *out);
    assert_true(cloud_pki_make(rig->pki, ca, name, EPOCH_S - 60, 10 * YEAR_S, out->bytes, &length, key, &key_length));
    assert_true(cloud_pki_read(rig->pki, span_of(out->bytes, length), &out->certificate));
    cloud_peer_from_certificate(&out->peer, &out->certificate, span_of(out->bytes, length));
}

/* A vehicle in service: its thing, and an ACTIVE certificate attached to it. */
static inline void rig_vehicle(struct rig *rig, const char *name, struct identity *out)
{
    rig_identity(rig, CLOUD_CA_OPERATIONAL, name, out);
    assert_true(cloud_registry_put_thing(rig->registry, name, EPOCH_S));
    assert_true(
        cloud_registry_put_certificate(rig->registry, &out->certificate, CLOUD_CERTIFICATE_ACTIVE, name, EPOCH_S));
}

static inline bool rig_ask_from(struct rig *rig, int64_t now_us, const struct cloud_peer *peer, const char *client_id,
                                const char *topic, const char *payload)
{
    struct cloud_request request = {
        .client_id = span_text(client_id), .peer = peer, .topic = span_text(topic), .payload = span_text(payload)};
    return cloud_provisioning_request(rig->provisioning, now_us, &request);
}

/* Asks; an answer is there at once, on topic/<ending>. */
static inline void rig_ask(struct rig *rig, int64_t now_us, const struct cloud_peer *peer, const char *client_id,
                           const char *topic, const char *payload, const char *ending)
{
    char wanted[200];
    uint32_t before = rig->answers;
    assert_true(rig_ask_from(rig, now_us, peer, client_id, topic, payload));
    assert_int_equal(rig->answers, before + 1);
    snprintf(wanted, sizeof wanted, "%s/%s", topic, ending);
    if (strcmp(wanted, rig->topic) != 0)
        fail_msg("%s: %s", rig->topic, rig->payload);
    assert_string_equal(rig->client_id, client_id);
    assert_int_equal(rig->at_us, now_us);
}

static inline const char *rig_text(const struct rig *rig, const char *member)
{
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(rig->json, member);
    if (!cJSON_IsString(item))
        fail_msg("%s: no text %s", rig->payload, member);
    return cJSON_IsString(item) ? item->valuestring : "";
}

static inline void rig_refused(struct rig *rig, int status, const char *code)
{
    assert_int_equal((int)cJSON_GetNumberValue(cJSON_GetObjectItemCaseSensitive(rig->json, "statusCode")), status);
    assert_string_equal(rig_text(rig, "errorCode"), code);
    assert_true(strlen(rig_text(rig, "errorMessage")) > 5);
    assert_int_equal(cJSON_GetArraySize(rig->json), 3);
}

/* {"certificateSigningRequest": ...} for a name; real: PEM. Returns out. */
static inline const char *rig_csr(struct rig *rig, const char *name, char *out, size_t capacity)
{
    char text[2048];
    size_t length;
    if (rig->modelled) {
        length = cloud_modelled_csr(span_text(name), 77, (uint8_t *)text, sizeof text);
    } else {
        EVP_PKEY *key = EVP_EC_gen("P-256");
        X509_REQ *request = X509_REQ_new();
        X509_NAME_add_entry_by_txt(X509_REQ_get_subject_name(request), "CN", MBSTRING_UTF8, (const unsigned char *)name,
                                   -1, -1, 0);
        X509_REQ_set_pubkey(request, key);
        X509_REQ_sign(request, key, EVP_sha256());
        BIO *bio = BIO_new(BIO_s_mem());
        PEM_write_bio_X509_REQ(bio, request);
        length = (size_t)BIO_read(bio, text, sizeof text);
        BIO_free(bio);
        X509_REQ_free(request);
        EVP_PKEY_free(key);
    }
    text[length] = 0;
    cJSON *object = cJSON_CreateObject();
    cJSON_AddStringToObject(object, "certificateSigningRequest", text);
    char *json = cJSON_PrintUnformatted(object);
    snprintf(out, capacity, "%s", json);
    cJSON_free(json);
    cJSON_Delete(object);
    return out;
}

/* The last answer's certificate, checked; and its token. */
static inline void rig_issued(struct rig *rig, const char *name, struct cloud_certificate *certificate, char token[129])
{
    const char *pem = rig_text(rig, "certificatePem"), *why = "";
    char hex[65];
    assert_true(cloud_pki_read(rig->pki, span_text(pem), certificate));
    if (!cloud_pki_verify(rig->pki, span_text(pem), CLOUD_CA_OPERATIONAL, EPOCH_S + rig->at_us / US_PER_S, &why))
        fail_msg("%s", why);
    assert_string_equal(certificate->common_name, name);
    for (int i = 0; i < 32; i++)
        snprintf(hex + 2 * i, 3, "%02x", certificate->id[i]);
    assert_string_equal(rig_text(rig, "certificateId"), hex);
    snprintf(token, 129, "%s", rig_text(rig, "certificateOwnershipToken"));
}

static inline const char *rig_provision(const char *token, const char *reference)
{
    static char out[400];
    snprintf(
        out, sizeof out,
        "{\"certificateOwnershipToken\":\"%.128s\",\"parameters\":{\"reference\":\"%.100s\",\"device\":\"TCU-9\"}}",
        token, reference);
    return out;
}

static inline void rig_counts(struct rig *rig, uint64_t issued, uint64_t granted, uint64_t denied, uint64_t rejected,
                              uint64_t expired)
{
    struct cloud_provisioning_counts count;
    cloud_provisioning_count(rig->provisioning, &count);
    assert_int_equal(count.issued, issued);
    assert_int_equal(count.granted, granted);
    assert_int_equal(count.denied, denied);
    assert_int_equal(count.rejected, rejected);
    assert_int_equal(count.expired, expired);
}

#endif
