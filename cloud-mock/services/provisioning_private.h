/* provisioning_private.h: what the files of fleet provisioning share: templates and the JSON they speak. */
#ifndef PROVISIONING_PRIVATE_H
#define PROVISIONING_PRIVATE_H

#include "cloud/provisioning.h"

#include <cjson/cJSON.h>

#include "text.h"

/* ---- templates (provisioning_template.c): compiled to what a request needs of them ----------------------------------- */

#define TEMPLATE_PARAMETERS_MAX 32

/* Values, parameters and deviceConfiguration lie one behind the other in `pool`; 0: none. */
struct provisioning_template {
    struct provisioning_template *next;
    char name[CLOUD_TEMPLATE_NAME_MAX + 1];
    enum cloud_certificate_status status; /* of the certificate once granted */
    bool only_new;                        /* OverrideSettings FAIL: a thing that exists already is a conflict */
    uint16_t parameter_count, configuration_count;
    uint32_t parameters, configuration, thing, policy;
    uint32_t pool_length;
    uint8_t pool[];
};

/* What "Ref" may name; a span's data NULL: not given. */
struct template_bindings {
    struct span certificate_id, common_name; /* AWS::IoT::Certificate::Id, ::CommonName */
    struct span parameter[TEMPLATE_PARAMETERS_MAX];
};

/* NULL: *error one line. */
struct provisioning_template *template_compile(const char *name, struct span body, char *error, size_t error_capacity);
bool template_name_valid(struct span name);
/* Defaults and what the request gives; the spans borrow from both. false: *missing is a parameter without value, or whose value is no text. */
bool template_bind(const struct provisioning_template *template, const cJSON *parameters,
                   struct template_bindings *bindings, struct span *missing);
/* Writes a value's text; what it refers to and is not there counts as nothing (CommonName of a certificate without). */
void template_value(const struct provisioning_template *template, uint32_t value,
                    const struct template_bindings *bindings, struct text_writer *w);
/* {"deviceConfiguration":{...},"thingName":"..."} */
void template_answer(const struct provisioning_template *template, const struct template_bindings *bindings,
                     struct span thing, struct text_writer *w);

/* ---- JSON (provisioning_text.c) -------------------------------------------------------------------------------------- */

/* With its quotes; a line's end is \n. */
void provisioning_put_json(struct text_writer *w, struct span text);
void provisioning_put_json_inside(struct text_writer *w, struct span text); /* without */
/* A certificate or key as JSON wants it: PEM, or the modelled form as it is. */
void provisioning_put_pem(struct text_writer *w, bool modelled, const char *label, struct span der);
/* NULL: not an object of at most PROVISIONING_PAYLOAD_MAX bytes. An empty payload is an empty object. cJSON_Delete() it. */
#define PROVISIONING_PAYLOAD_MAX 16384
cJSON *provisioning_parse(struct span payload);
/* data NULL: no such member, or not a text. */
struct span provisioning_member(const cJSON *object, const char *name);

enum provisioning_call { CALL_NONE, CALL_CREATE, CALL_CREATE_FROM_CSR, CALL_PROVISION };
/* Takes a topic apart; *template_name only for CALL_PROVISION. */
enum provisioning_call provisioning_topic(struct span topic, struct span *template_name);

#endif
