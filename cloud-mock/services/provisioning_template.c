/* provisioning_template.c: provisioning templates (cloud-contract 1.3): read once, checked, and kept as a few hundred bytes.
 *
 * A value is literal text and references to parameters, one behind the other: that is all that {"Ref": ...} and {"Fn::Join": ["", [...]]}
 * come to. Attributes, types and groups of a thing are checked and not kept: the registry of this cloud has names only.
 */
#include "provisioning_private.h"

#include "memory.h"

#include <stdarg.h>
#include <stdio.h>
#include <strings.h>

#define VALUE_PARTS_MAX 64

enum part { PART_LITERAL, PART_PARAMETER, PART_CERTIFICATE_ID, PART_COMMON_NAME };

#define PSEUDO_ID   "AWS::IoT::Certificate::Id"
#define PSEUDO_NAME "AWS::IoT::Certificate::CommonName"

struct compiler {
    struct provisioning_template *out; /* grows */
    uint32_t capacity;
    bool memory; /* false: there was none */
    char *error;
    size_t error_capacity;
    const cJSON *parameters; /* without the pseudo parameters */
};

/* Always false, so that whoever fails says why in the same line. */
__attribute__((format(printf, 2, 3))) static bool complain(struct compiler *c, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    if (c->error_capacity)
        vsnprintf(c->error, c->error_capacity, format, arguments);
    va_end(arguments);
    for (char *at = c->error_capacity ? c->error : ""; *at; at++) /* names in the document may hold anything */
        if ((unsigned char)*at < 0x20)
            *at = '?';
    return false;
}

/* ---- the pool -------------------------------------------------------------------------------------------------------- */

static void add(struct compiler *c, const void *data, size_t length)
{
    struct provisioning_template *t = c->out;
    if (!c->memory)
        return;
    if (t->pool_length + length > c->capacity) {
        uint32_t capacity = (uint32_t)(t->pool_length + length + 256);
        t = memory_resize(t, sizeof *t + capacity);
        if (!t) {
            c->memory = false;
            return;
        }
        c->out = t;
        c->capacity = capacity;
    }
    memcpy(t->pool + t->pool_length, data, length);
    t->pool_length += (uint32_t)length;
}

static void add_number(struct compiler *c, uint16_t value)
{
    add(c, &value, sizeof value);
}

static void add_text(struct compiler *c, const char *text)
{
    size_t length = strlen(text); /* a document is shorter than 64 KiB */
    add_number(c, (uint16_t)length);
    add(c, text, length);
}

static uint16_t get_number(const uint8_t **at)
{
    uint16_t value;
    memcpy(&value, *at, sizeof value);
    *at += sizeof value;
    return value;
}

static struct span get_text(const uint8_t **at)
{
    uint16_t length = get_number(at);
    struct span text = span_of(*at, length);
    *at += length;
    return text;
}

/* ---- compiling: values ----------------------------------------------------------------------------------------------- */

static bool is_pseudo(const char *name)
{
    return strcmp(name, PSEUDO_ID) == 0 || strcmp(name, PSEUDO_NAME) == 0;
}

static bool add_reference(struct compiler *c, const char *name, const char *where)
{
    if (is_pseudo(name)) {
        add(c, &(uint8_t){strcmp(name, PSEUDO_ID) == 0 ? PART_CERTIFICATE_ID : PART_COMMON_NAME}, 1);
        add_number(c, 0);
        return true;
    }
    uint16_t index = 0;
    const cJSON *parameter;
    cJSON_ArrayForEach(parameter, c->parameters)
    {
        if (is_pseudo(parameter->string))
            continue;
        if (strcmp(parameter->string, name) == 0) {
            add(c, &(uint8_t){PART_PARAMETER}, 1);
            add_number(c, index);
            return true;
        }
        index++;
    }
    return complain(c, "%s refers to %s, which is not a parameter", where, name);
}

/* A text or a reference; a join is taken apart by its caller, and joins do not nest deeper than that. */
static bool add_part(struct compiler *c, const cJSON *value, const char *where)
{
    if (cJSON_IsString(value)) {
        add(c, &(uint8_t){PART_LITERAL}, 1);
        add_text(c, value->valuestring);
        return true;
    }
    const cJSON *reference = cJSON_GetObjectItemCaseSensitive(value, "Ref");
    if (cJSON_IsString(reference) && cJSON_GetArraySize(value) == 1)
        return add_reference(c, reference->valuestring, where);
    return complain(c, "%s is neither a text nor {\"Ref\": NAME} nor {\"Fn::Join\": [\"\", [...]]}", where);
}

static bool add_join(struct compiler *c, const cJSON *join, const char *where)
{
    const cJSON *between = cJSON_GetArrayItem(join, 0), *list = cJSON_GetArrayItem(join, 1), *item;
    int count = cJSON_GetArraySize(list);
    if (cJSON_GetArraySize(join) != 2 || !cJSON_IsString(between) || !cJSON_IsArray(list))
        return complain(c, "%s: Fn::Join is a list of a text and a list", where);
    bool spaced = between->valuestring[0] && count > 1;
    int parts = spaced ? 2 * count - 1 : count;
    if (count == 0 || parts > VALUE_PARTS_MAX)
        return complain(c, "%s: Fn::Join joins nothing, or too much", where);
    add(c, &(uint8_t){(uint8_t)parts}, 1);
    bool first = true;
    cJSON_ArrayForEach(item, list)
    {
        if ((spaced && !first && !add_part(c, between, where)) || !add_part(c, item, where))
            return false;
        first = false;
    }
    return true;
}

static bool add_value(struct compiler *c, const cJSON *value, const char *where)
{
    const cJSON *join = cJSON_GetObjectItemCaseSensitive(value, "Fn::Join");
    if (join && cJSON_GetArraySize(value) == 1)
        return add_join(c, join, where);
    add(c, &(uint8_t){1}, 1);
    return add_part(c, value, where);
}

/* As add_value(), for what is checked and not kept. */
static bool check_value(struct compiler *c, const cJSON *value, const char *where)
{
    uint32_t before = c->out->pool_length;
    bool good = add_value(c, value, where);
    if (c->memory)
        c->out->pool_length = before;
    return good;
}

/* ---- compiling: sections --------------------------------------------------------------------------------------------- */

static bool add_parameters(struct compiler *c)
{
    const cJSON *parameter;
    c->out->parameters = c->out->pool_length;
    cJSON_ArrayForEach(parameter, c->parameters)
    {
        struct span type = provisioning_member(parameter, "Type");
        const cJSON *standard = cJSON_GetObjectItemCaseSensitive(parameter, "Default");
        if (!span_equal(type, SPAN_LITERAL("String")))
            return complain(c, "Parameters.%s: its Type must be \"String\"", parameter->string);
        if (standard && !cJSON_IsString(standard))
            return complain(c, "Parameters.%s: its Default must be a text", parameter->string);
        if (strncmp(parameter->string, "AWS::", 5) == 0) {
            if (!is_pseudo(parameter->string))
                return complain(c, "Parameters.%s is not filled in here: only ...::Id and ...::CommonName are",
                                parameter->string);
            continue;
        }
        if (c->out->parameter_count == TEMPLATE_PARAMETERS_MAX)
            return complain(c, "Parameters: more than %d", TEMPLATE_PARAMETERS_MAX);
        add_text(c, parameter->string);
        add(c, &(uint8_t){standard != NULL}, 1);
        add_text(c, standard ? standard->valuestring : "");
        if (!c->memory)
            return complain(c, "out of memory");
        c->out->parameter_count++;
    }
    return true;
}

static bool add_configuration(struct compiler *c, const cJSON *configuration)
{
    const cJSON *item;
    if (!configuration)
        return true;
    if (!cJSON_IsObject(configuration))
        return complain(c, "DeviceConfiguration must be an object");
    if (c->memory)
        c->out->configuration = c->out->pool_length;
    cJSON_ArrayForEach(item, configuration)
    {
        char where[128];
        snprintf(where, sizeof where, "DeviceConfiguration.%s", item->string);
        add_text(c, item->string);
        if (!add_value(c, item, where))
            return false;
        if (!c->memory)
            return complain(c, "out of memory");
        c->out->configuration_count++;
    }
    return true;
}

static bool add_thing(struct compiler *c, const cJSON *properties)
{
    const cJSON *item, *part;
    cJSON_ArrayForEach(item, properties)
    {
        if (strcmp(item->string, "ThingName") == 0) {
            c->out->thing = c->out->pool_length;
            if (!add_value(c, item, "ThingName"))
                return false;
        } else if (strcmp(item->string, "ThingTypeName") == 0) {
            if (!check_value(c, item, item->string))
                return false;
        } else if ((strcmp(item->string, "AttributePayload") == 0 && cJSON_IsObject(item)) ||
                   (strcmp(item->string, "ThingGroups") == 0 && cJSON_IsArray(item))) {
            cJSON_ArrayForEach(part, item) if (!check_value(c, part, item->string)) return false;
        } else {
            return complain(c, "a thing has no property %s of this kind", item->string);
        }
    }
    return c->out->thing || complain(c, "AWS::IoT::Thing needs Properties.ThingName");
}

static bool add_certificate(struct compiler *c, const cJSON *properties)
{
    struct span status = provisioning_member(properties, "Status");
    const cJSON *id = cJSON_GetObjectItemCaseSensitive(properties, "CertificateId");
    if (!span_equal(provisioning_member(id, "Ref"), SPAN_LITERAL(PSEUDO_ID)))
        return complain(c, "AWS::IoT::Certificate needs Properties.CertificateId {\"Ref\": \"" PSEUDO_ID "\"}");
    bool active = status.length == 6 && strncasecmp((const char *)status.data, "ACTIVE", 6) == 0;
    bool inactive = status.length == 8 && strncasecmp((const char *)status.data, "INACTIVE", 8) == 0;
    if (status.data && !active && !inactive)
        return complain(c, "AWS::IoT::Certificate: Status is \"ACTIVE\" or \"INACTIVE\"");
    c->out->status = inactive ? CLOUD_CERTIFICATE_INACTIVE : CLOUD_CERTIFICATE_ACTIVE;
    return true;
}

static bool add_policy(struct compiler *c, const cJSON *properties)
{
    const cJSON *name = cJSON_GetObjectItemCaseSensitive(properties, "PolicyName");
    if (!name)
        return complain(c, "AWS::IoT::Policy needs Properties.PolicyName: a document within a template is not taken");
    if (c->out->policy)
        return complain(c, "one AWS::IoT::Policy at most");
    c->out->policy = c->out->pool_length;
    return add_value(c, name, "PolicyName");
}

/* DO_NOTHING, REPLACE and MERGE say what becomes of a thing's attributes and groups, which are not kept; FAIL refuses a thing that exists. */
static bool add_override(struct compiler *c, const cJSON *settings, const char *resource, bool thing)
{
    const cJSON *item;
    if (settings && !cJSON_IsObject(settings))
        return complain(c, "Resources.%s.OverrideSettings must be an object", resource);
    cJSON_ArrayForEach(item, settings)
    {
        const char *value = cJSON_IsString(item) ? item->valuestring : "";
        bool fail = strcmp(value, "FAIL") == 0, merge = strcmp(value, "MERGE") == 0;
        bool known = thing ? strcmp(item->string, "AttributePayload") == 0 ||
                                 strcmp(item->string, "ThingTypeName") == 0 || strcmp(item->string, "ThingGroups") == 0
                           : strcmp(item->string, "Status") == 0;
        if (!known || !(fail || (merge && thing && strcmp(item->string, "ThingTypeName") != 0) ||
                        strcmp(value, "REPLACE") == 0 || strcmp(value, "DO_NOTHING") == 0))
            return complain(c, "Resources.%s.OverrideSettings.%s: not known", resource, item->string);
        c->out->only_new |= fail && thing;
    }
    return true;
}

static bool add_resources(struct compiler *c, const cJSON *resources)
{
    const cJSON *item;
    bool certificate = false;
    cJSON_ArrayForEach(item, resources)
    {
        struct span type = provisioning_member(item, "Type");
        const cJSON *properties = cJSON_GetObjectItemCaseSensitive(item, "Properties"),
                    *settings = cJSON_GetObjectItemCaseSensitive(item, "OverrideSettings");
        bool is_thing = span_equal(type, SPAN_LITERAL("AWS::IoT::Thing")),
             is_certificate = span_equal(type, SPAN_LITERAL("AWS::IoT::Certificate")), good;
        if ((is_thing && c->out->thing) || (is_certificate && certificate))
            return complain(c, "Resources.%s: one thing and one certificate", item->string);
        if (is_thing)
            good = add_thing(c, properties);
        else if (is_certificate)
            good = add_certificate(c, properties);
        else if (span_equal(type, SPAN_LITERAL("AWS::IoT::Policy")))
            good = add_policy(c, properties);
        else
            return complain(c, "Resources.%s: Type is AWS::IoT::Thing, Certificate or Policy", item->string);
        certificate |= is_certificate;
        if (!good || !add_override(c, settings, item->string, is_thing))
            return false;
    }
    return (c->out->thing && certificate) || complain(c, "Resources: an AWS::IoT::Thing and an AWS::IoT::Certificate");
}

static bool compile(struct compiler *c, const cJSON *document)
{
    static const char *const sections[] = {"Parameters", "Resources", "DeviceConfiguration"};
    const cJSON *item;
    cJSON_ArrayForEach(item, document)
    {
        size_t i = 0;
        while (i < 3 && strcmp(item->string, sections[i]) != 0)
            i++;
        if (i == 3)
            return complain(c, "%s is no section of a template", item->string);
    }
    c->parameters = cJSON_GetObjectItemCaseSensitive(document, sections[0]);
    if (c->parameters && !cJSON_IsObject(c->parameters))
        return complain(c, "Parameters must be an object");
    add(c, "", 1); /* so that no value lies at 0 */
    return c->memory && add_parameters(c) &&
           add_resources(c, cJSON_GetObjectItemCaseSensitive(document, sections[1])) &&
           add_configuration(c, cJSON_GetObjectItemCaseSensitive(document, sections[2]));
}

bool template_name_valid(struct span name)
{
    for (uint32_t i = 0; i < name.length; i++) {
        uint8_t ch = name.data[i];
        if (!((ch >= '0' && ch <= '9') || (ch >= 'a' && ch <= 'z') || (ch >= 'A' && ch <= 'Z') || ch == '_' ||
              ch == '-'))
            return false;
    }
    return name.length > 0 && name.length <= CLOUD_TEMPLATE_NAME_MAX;
}

struct provisioning_template *template_compile(const char *name, struct span body, char *error, size_t error_capacity)
{
    struct compiler c = {.error = error, .error_capacity = error_capacity, .memory = true};
    if (!template_name_valid(span_text(name))) {
        complain(&c, "template name: 1 to %d characters of [0-9A-Za-z_-]", CLOUD_TEMPLATE_NAME_MAX);
        return NULL;
    }
    if (body.length > CLOUD_TEMPLATE_BODY_MAX) {
        complain(&c, "template %s: longer than %d bytes", name, CLOUD_TEMPLATE_BODY_MAX);
        return NULL;
    }
    cJSON *document = cJSON_ParseWithLength((const char *)body.data, body.length);
    struct provisioning_template *out = c.out = memory_allocate_zero(1, sizeof *c.out);
    bool good = false;
    if (!cJSON_IsObject(document)) {
        complain(&c, "template %s: not a JSON object", name);
    } else if (out) {
        strcpy(out->name, name);
        out->status = CLOUD_CERTIFICATE_ACTIVE;
        good = compile(&c, document);
    }
    cJSON_Delete(document);
    if (!out || !c.memory)
        good = complain(&c, "template %s: out of memory", name);
    if (good)
        return c.out;
    memory_free(c.out);
    return NULL;
}

/* ---- using ----------------------------------------------------------------------------------------------------------- */

bool template_bind(const struct provisioning_template *template, const cJSON *parameters,
                   struct template_bindings *bindings, struct span *missing)
{
    const uint8_t *at = template->pool + template->parameters;
    for (uint16_t i = 0; i < template->parameter_count; i++) {
        struct span name = get_text(&at);
        bool has_default = *at++;
        struct span value = get_text(&at);
        const cJSON *given;
        bool wrong = !has_default;
        cJSON_ArrayForEach(given, parameters)
        {
            if (!span_equal(span_text(given->string), name))
                continue;
            wrong = !cJSON_IsString(given);
            if (!wrong)
                value = span_text(given->valuestring);
            break;
        }
        if (wrong) {
            *missing = name;
            return false;
        }
        bindings->parameter[i] = value;
    }
    return true;
}

static struct span part_text(const uint8_t **at, const struct template_bindings *bindings)
{
    enum part part = (enum part) * (*at)++;
    if (part == PART_LITERAL)
        return get_text(at);
    uint16_t index = get_number(at);
    if (part == PART_PARAMETER)
        return bindings->parameter[index];
    return part == PART_CERTIFICATE_ID ? bindings->certificate_id : bindings->common_name;
}

/* Texts of a value one behind the other; in JSON they are escaped, which joins as well. Returns where the value ends. */
static const uint8_t *put_value(const uint8_t *at, const struct template_bindings *bindings, bool json,
                                struct text_writer *w)
{
    uint8_t parts = *at++;
    if (json)
        TEXT_PUT(w, "\"");
    for (uint8_t i = 0; i < parts; i++) {
        struct span text = part_text(&at, bindings);
        if (!json) {
            text_put(w, text.data, text.length);
            continue;
        }
        provisioning_put_json_inside(w, text);
    }
    if (json)
        TEXT_PUT(w, "\"");
    return at;
}

void template_value(const struct provisioning_template *template, uint32_t value,
                    const struct template_bindings *bindings, struct text_writer *w)
{
    if (value)
        put_value(template->pool + value, bindings, false, w);
}

void template_answer(const struct provisioning_template *template, const struct template_bindings *bindings,
                     struct span thing, struct text_writer *w)
{
    const uint8_t *at = template->pool + template->configuration;
    TEXT_PUT(w, "{\"deviceConfiguration\":{");
    for (uint16_t i = 0; i < template->configuration_count; i++) {
        if (i > 0)
            TEXT_PUT(w, ",");
        provisioning_put_json(w, get_text(&at));
        TEXT_PUT(w, ":");
        at = put_value(at, bindings, true, w);
    }
    TEXT_PUT(w, "},\"thingName\":");
    provisioning_put_json(w, thing);
    TEXT_PUT(w, "}");
}

/* ---- shipped --------------------------------------------------------------------------------------------------------- */

#define SHIPPED_HEAD                                                                                                   \
    "{\"Parameters\":{\"reference\":{\"Type\":\"String\"},\"device\":{\"Type\":\"String\"},"                           \
    "\"" PSEUDO_ID "\":{\"Type\":\"String\"}},"                                                                        \
    "\"Resources\":{\"thing\":{\"Type\":\"AWS::IoT::Thing\",\"Properties\":{\"ThingName\":{\"Ref\":\"reference\"},"    \
    "\"AttributePayload\":{\"device\":{\"Ref\":\"device\"},\"certificate_id\":{\"Ref\":\"" PSEUDO_ID "\"},"            \
    "\"provisioned_by_template\":\""
#define SHIPPED_TAIL                                                                                                   \
    "\"}},\"OverrideSettings\":{\"AttributePayload\":\"MERGE\"}},"                                                     \
    "\"certificate\":{\"Type\":\"AWS::IoT::Certificate\",\"Properties\":{\"CertificateId\":{\"Ref\":\"" PSEUDO_ID      \
    "\"},\"Status\":\"ACTIVE\"},\"OverrideSettings\":{\"Status\":\"REPLACE\"}},"                                       \
    "\"policy\":{\"Type\":\"AWS::IoT::Policy\",\"Properties\":{\"PolicyName\":\"vehicle\"}}},"                         \
    "\"DeviceConfiguration\":{}}"

const char *cloud_template_shipped(const char *name)
{
    if (strcmp(name, "claim") == 0)
        return SHIPPED_HEAD "claim" SHIPPED_TAIL;
    return strcmp(name, "rotation") == 0 ? SHIPPED_HEAD "rotation" SHIPPED_TAIL : NULL;
}
