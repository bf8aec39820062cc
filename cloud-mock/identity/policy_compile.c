/* policy_compile.c: a policy document (JSON) into its compiled form. What is not understood is an error: a document that says less than was meant
 * would be found out too late.
 *
 * A mistake gets one line with its place. The parser's memory is gone when this returns; what remains is one block.
 */
#include "policy_internal.h"

#include <cjson/cJSON.h>
#include <stdarg.h>
#include <stdio.h>
#include <strings.h>

#include "memory.h"

/* No document of CLOUD_POLICY_DOCUMENT_MAX bytes has more: a statement takes 40 bytes at least, a resource or value 4, an element 1. */
#define STATEMENTS_MAX (CLOUD_POLICY_DOCUMENT_MAX / 40)
#define CONDITIONS_MAX (CLOUD_POLICY_DOCUMENT_MAX / 16)
#define PATTERNS_MAX   (CLOUD_POLICY_DOCUMENT_MAX / 3)
#define ELEMENTS_MAX   (2 * CLOUD_POLICY_DOCUMENT_MAX)
#define TEXT_MAX       (2 * CLOUD_POLICY_DOCUMENT_MAX)

struct compiler {
    struct policy_statement statements[STATEMENTS_MAX];
    struct policy_condition conditions[CONDITIONS_MAX];
    struct policy_pattern patterns[PATTERNS_MAX];
    struct policy_element elements[ELEMENTS_MAX];
    char text[TEXT_MAX];
    uint32_t statement_count, condition_count, pattern_count, element_count, text_length;
    struct policy_statement *now; /* NULL: outside of any */
    char *error;
    size_t error_capacity;
};

static bool fail(struct compiler *compiler, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* One line, whatever is quoted in it. */
static bool fail(struct compiler *compiler, const char *format, ...)
{
    char text[256];
    va_list list;
    va_start(list, format);
    vsnprintf(text, sizeof(text), format, list);
    va_end(list);
    for (char *at = text; *at; at++)
        if ((uint8_t)*at < ' ' || *at == 127)
            *at = '?';
    if (compiler->now)
        snprintf(compiler->error, compiler->error_capacity, "statement %u: %s", compiler->statement_count, text);
    else
        snprintf(compiler->error, compiler->error_capacity, "%s", text);
    return false;
}

/* --- patterns --- */

static bool put_element(struct compiler *compiler, struct policy_element element)
{
    if (compiler->element_count == ELEMENTS_MAX)
        return fail(compiler, "too much in one document");
    compiler->elements[compiler->element_count++] = element;
    return true;
}

/* Copies text; adjacent pieces of one pattern become one. */
static bool put_text(struct compiler *compiler, uint32_t first, const char *text, size_t length)
{
    struct policy_element *last =
        compiler->element_count > first ? &compiler->elements[compiler->element_count - 1] : NULL;
    if (compiler->text_length + length > TEXT_MAX)
        return fail(compiler, "too much in one document");
    uint16_t at = (uint16_t)compiler->text_length;
    memcpy(compiler->text + at, text, length);
    compiler->text_length += (uint32_t)length;
    if (last && last->kind == POLICY_TEXT && last->at + last->length == at) {
        last->length = (uint16_t)(last->length + length);
        return true;
    }
    return put_element(compiler, (struct policy_element){POLICY_TEXT, 0, at, (uint16_t)length});
}

/* The name of a thing's attribute is kept in the text; *at and *length say where. */
static bool keep_attribute(struct compiler *compiler, struct span name, uint16_t *at, uint16_t *length)
{
    if (compiler->text_length + name.length > TEXT_MAX)
        return fail(compiler, "too much in one document");
    *at = (uint16_t)compiler->text_length;
    *length = (uint16_t)name.length;
    if (name.length)
        memcpy(compiler->text + *at, name.data, name.length);
    compiler->text_length += name.length;
    return true;
}

/* "${...}" at *text, which is set behind it. ${*}, ${?} and ${$} are those characters themselves. */
static bool put_variable(struct compiler *compiler, uint32_t first, const char **text)
{
    const char *name = *text + 2, *end = strchr(name, '}');
    struct policy_element element = {POLICY_VARIABLE, 0, 0, 0};
    struct span attribute;
    if (!end)
        return fail(compiler, "'${' without '}' in '%.60s'", *text);
    *text = end + 1;
    if (end - name == 1 && strchr("*?$", name[0]))
        return put_text(compiler, first, name, 1);
    element.variable = (uint8_t)policy_variable_of(span_of(name, (size_t)(end - name)), &attribute);
    compiler->now->needs |= POLICY_BIT(element.variable);
    return keep_attribute(compiler, attribute, &element.at, &element.length) && put_element(compiler, element);
}

static bool put_wildcard(struct compiler *compiler, uint32_t first, char wildcard)
{
    struct policy_element *last =
        compiler->element_count > first ? &compiler->elements[compiler->element_count - 1] : NULL;
    if (wildcard == '*')
        return (last && last->kind == POLICY_ANY) ||
               put_element(compiler, (struct policy_element){POLICY_ANY, 0, 0, 0});
    if (last && last->kind == POLICY_ONE) {
        last->length++;
        return true;
    }
    return put_element(compiler, (struct policy_element){POLICY_ONE, 0, 0, 1});
}

static bool put_pattern(struct compiler *compiler, const char *text, enum policy_resource resource, bool wildcards)
{
    uint32_t first = compiler->element_count;
    if (compiler->pattern_count == PATTERNS_MAX)
        return fail(compiler, "too much in one document");
    while (*text) {
        bool done;
        if (text[0] == '$' && text[1] == '{') {
            done = put_variable(compiler, first, &text);
        } else if (wildcards && (*text == '*' || *text == '?')) {
            done = put_wildcard(compiler, first, *text++);
        } else {
            size_t length = 1;
            while (text[length] && !strchr("$*?", text[length]))
                length++;
            done = put_text(compiler, first, text, length);
            text += length;
        }
        if (!done)
            return false;
    }
    compiler->patterns[compiler->pattern_count++] =
        (struct policy_pattern){(uint16_t)first, (uint16_t)(compiler->element_count - first), (uint8_t)resource};
    return true;
}

/* --- resources --- */

/* Behind the `count`-th colon, those within ${...} not counted; NULL: there are fewer. */
static const char *behind_colon(const char *text, int count)
{
    for (; *text; text++) {
        if (text[0] == '$' && text[1] == '{') {
            const char *end = strchr(text, '}');
            if (!end)
                return NULL;
            text = end;
        } else if (*text == ':' && --count == 0) {
            return text + 1;
        }
    }
    return NULL;
}

/* "topic/..." */
static bool put_named(struct compiler *compiler, const char *whole, const char *rest)
{
    static const char *const others[] = {"thing", "thinggroup", "thingtype",  "rolealias",
                                         "cert",  "cacert",     "policy",     "job",
                                         "index", "rule",       "authorizer", "provisioningtemplate",
                                         "stream"};
    size_t length = strcspn(rest, "/*?$");
    if (rest[length] != '/') { /* wildcards reach into the name from before it */
        char text[CLOUD_POLICY_DOCUMENT_MAX + 32];
        if (!rest[length])
            return fail(compiler, "resource '%.80s' has no name: client/, topic/ or topicfilter/ and what", whole);
        snprintf(text, sizeof(text), "arn:aws:iot:::%s", rest);
        return put_pattern(compiler, text, POLICY_WHOLE, true);
    }
    struct span type = span_of(rest, length);
    enum policy_resource resource = span_equal(type, SPAN_LITERAL("client"))        ? POLICY_CLIENT
                                    : span_equal(type, SPAN_LITERAL("topic"))       ? POLICY_TOPIC
                                    : span_equal(type, SPAN_LITERAL("topicfilter")) ? POLICY_FILTER
                                                                                    : POLICY_NO_RESOURCE;
    for (size_t i = 0; i < sizeof(others) / sizeof(*others); i++)
        if (span_equal(type, span_text(others[i])))
            resource = POLICY_OTHER;
    if (resource == POLICY_NO_RESOURCE)
        return fail(compiler, "unknown resource type '%.*s': client, topic or topicfilter", (int)length, rest);
    return put_pattern(compiler, rest + length + 1, resource, true);
}

static bool put_resource(struct compiler *compiler, const char *text)
{
    const char *region = behind_colon(text, 3), *rest = behind_colon(text, 5), *star = strchr(text, '*');
    if (text[0] == '*')
        return put_pattern(compiler, text, POLICY_WHOLE, true);
    if (strncmp(text, "arn:", 4) != 0)
        return fail(compiler, "resource '%.80s' is no ARN: arn:aws:iot:<region>:<account>:topic/...", text);
    if (region && strncmp(region - 5, ":iot:", 5) != 0 && !(star && star < region))
        return fail(compiler, "resource '%.80s' is not one of iot", text);
    if (rest)
        return put_named(compiler, text, rest);
    if (star && !strchr(text, '$')) /* it stands for what is missing */
        return put_pattern(compiler, star, POLICY_WHOLE, true);
    return fail(compiler, "resource '%.80s' is cut: arn:aws:iot:<region>:<account>:topic/...", text);
}

/* --- actions --- */

static bool glob(const char *pattern, const char *text)
{
    const char *again = NULL, *again_text = NULL;
    while (*text) {
        if (*pattern == '*') {
            again = ++pattern;
            again_text = text;
        } else if (*pattern == '?' || (*pattern && strncasecmp(pattern, text, 1) == 0)) {
            pattern++;
            text++;
        } else if (again) {
            pattern = again;
            text = ++again_text;
        } else {
            return false;
        }
    }
    while (*pattern == '*')
        pattern++;
    return !*pattern;
}

static bool put_action(struct compiler *compiler, const char *action)
{
    /* First those of enum cloud_action; the others exist, and mean nothing to a client's connection. */
    static const char *const names[] = {"Connect",
                                        "Publish",
                                        "Subscribe",
                                        "Receive",
                                        "RetainPublish",
                                        "GetRetainedMessage",
                                        "ListRetainedMessages",
                                        "GetThingShadow",
                                        "UpdateThingShadow",
                                        "DeleteThingShadow",
                                        "ListNamedShadowsForThing",
                                        "DescribeJobExecution",
                                        "GetPendingJobExecutions",
                                        "StartNextPendingJobExecution",
                                        "UpdateJobExecution",
                                        "AssumeRoleWithCertificate",
                                        "CreateCertificateFromCsr",
                                        "RegisterThing",
                                        "DescribeCertificate"};
    bool known = false;
    if (strcmp(action, "*") != 0 && strncasecmp(action, "iot:", 4) != 0)
        return fail(compiler, "unknown action '%.60s': iot:...", action);
    const char *name = action[0] == '*' ? action : action + 4;
    for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
        bool matches = glob(name, names[i]);
        known = known || matches;
        if (matches && i < CLOUD_ACTION_COUNT)
            compiler->now->actions |= (uint8_t)(1u << i);
    }
    return known || fail(compiler, "unknown action '%.60s'", action);
}

/* --- conditions --- */

/* A string, or an array of them, each given to `put`. */
static bool each_string(struct compiler *compiler, const cJSON *item, const char *what,
                        bool (*put)(struct compiler *compiler, const char *text))
{
    const cJSON *one;
    if (cJSON_IsString(item))
        return put(compiler, item->valuestring);
    if (!cJSON_IsArray(item) || !item->child)
        return fail(compiler, "%s: a string or an array of strings", what);
    cJSON_ArrayForEach(one, item)
    {
        if (!cJSON_IsString(one))
            return fail(compiler, "%s: a string or an array of strings", what);
        if (!put(compiler, one->valuestring))
            return false;
    }
    return true;
}

static struct policy_condition *condition_now(struct compiler *compiler)
{
    return &compiler->conditions[compiler->condition_count - 1];
}

static bool put_equal(struct compiler *compiler, const char *text)
{
    condition_now(compiler)->count++;
    return put_pattern(compiler, text, POLICY_NO_RESOURCE, false);
}

static bool put_like(struct compiler *compiler, const char *text)
{
    condition_now(compiler)->count++;
    return put_pattern(compiler, text, POLICY_NO_RESOURCE, true);
}

static bool put_truth(struct compiler *compiler, const char *text)
{
    if (strcmp(text, "true") != 0 && strcmp(text, "false") != 0)
        return fail(compiler, "condition Bool: 'true' or 'false', not '%.40s'", text);
    return put_equal(compiler, text);
}

static bool put_connect_attribute(struct compiler *compiler, const char *text)
{
    uint8_t bit = strcmp(text, "PersistentConnect") == 0 ? POLICY_PERSISTENT_CONNECT
                  : strcmp(text, "LastWill") == 0        ? POLICY_LAST_WILL
                                                         : 0;
    condition_now(compiler)->attributes |= bit;
    return bit || fail(compiler, "iot:ConnectAttributes: 'PersistentConnect' or 'LastWill', not '%.40s'", text);
}

struct condition_kind {
    const char *name;
    enum policy_test test;
    const char *key; /* the only one it takes; NULL: any */
    bool (*put)(struct compiler *compiler, const char *text);
};
static const struct condition_kind condition_kinds[] = {
    {"StringEquals", POLICY_STRING, NULL, put_equal},
    {"StringNotEquals", POLICY_STRING_NOT, NULL, put_equal},
    {"StringLike", POLICY_STRING, NULL, put_like},
    {"StringNotLike", POLICY_STRING_NOT, NULL, put_like},
    {"Bool", POLICY_STRING, "iot:Connection.Thing.IsAttached", put_truth},
    {"ForAllValues:StringEquals", POLICY_FOR_ALL, "iot:ConnectAttributes", put_connect_attribute},
    {"ForAnyValue:StringEquals", POLICY_FOR_ANY, "iot:ConnectAttributes", put_connect_attribute},
};

/* "key": value or values */
static bool put_condition(struct compiler *compiler, const struct condition_kind *kind, const cJSON *item)
{
    struct policy_condition condition = {.test = (uint8_t)kind->test, .first = (uint16_t)compiler->pattern_count};
    struct span attribute;
    if (kind->key && strcmp(item->string, kind->key) != 0)
        return fail(compiler, "condition %s: the key %s, not '%.60s'", kind->name, kind->key, item->string);
    if (!kind->key && strcmp(item->string, "iot:ConnectAttributes") == 0)
        return fail(compiler, "condition %s: iot:ConnectAttributes wants ForAllValues: or ForAnyValue:", kind->name);
    if (compiler->condition_count == CONDITIONS_MAX)
        return fail(compiler, "too much in one document");
    if (condition.test == POLICY_STRING || condition.test == POLICY_STRING_NOT) {
        condition.variable = (uint8_t)policy_variable_of(span_text(item->string), &attribute);
        compiler->now->needs |= POLICY_BIT(condition.variable);
        if (!keep_attribute(compiler, attribute, &condition.at, &condition.length))
            return false;
    }
    compiler->conditions[compiler->condition_count++] = condition;
    compiler->now->condition_count++;
    if (kind->put == put_truth && cJSON_IsBool(item))
        return put_equal(compiler, cJSON_IsTrue(item) ? "true" : "false");
    return each_string(compiler, item, item->string, kind->put);
}

static bool put_conditions(struct compiler *compiler, const cJSON *conditions)
{
    const cJSON *test, *key;
    if (!cJSON_IsObject(conditions))
        return fail(compiler, "Condition: an object");
    cJSON_ArrayForEach(test, conditions)
    {
        const struct condition_kind *kind = NULL;
        for (size_t i = 0; i < sizeof(condition_kinds) / sizeof(*condition_kinds); i++)
            if (strcmp(test->string, condition_kinds[i].name) == 0)
                kind = &condition_kinds[i];
        if (!kind)
            return fail(compiler, "condition '%.60s' is not supported", test->string);
        if (!cJSON_IsObject(test))
            return fail(compiler, "condition %s: an object of keys and values", kind->name);
        cJSON_ArrayForEach(key, test)
        {
            if (!put_condition(compiler, kind, key))
                return false;
        }
    }
    return true;
}

/* --- statements, documents --- */

/* Every field of the object is one of `names` (up to NULL) and there once. */
static bool fields_known(struct compiler *compiler, const cJSON *object, const char *const *names)
{
    const cJSON *item, *other;
    cJSON_ArrayForEach(item, object)
    {
        const char *const *name = names;
        while (*name && strcmp(item->string, *name) != 0)
            name++;
        if (!*name)
            return fail(compiler, "%.40s is not supported", item->string);
        for (other = item->next; other; other = other->next)
            if (strcmp(item->string, other->string) == 0)
                return fail(compiler, "%s twice", item->string);
    }
    return true;
}

static bool put_statement(struct compiler *compiler, const cJSON *object)
{
    static const char *const names[] = {"Sid", "Effect", "Action", "Resource", "Condition", NULL};
    struct policy_statement *statement = &compiler->statements[compiler->statement_count];
    if (compiler->statement_count == STATEMENTS_MAX)
        return fail(compiler, "too much in one document");
    *statement = (struct policy_statement){.first = (uint16_t)compiler->pattern_count};
    compiler->statement_count++;
    compiler->now = statement;
    if (!cJSON_IsObject(object))
        return fail(compiler, "an object with Effect, Action and Resource");
    if (!fields_known(compiler, object, names))
        return false;
    const cJSON *effect = cJSON_GetObjectItemCaseSensitive(object, "Effect");
    const cJSON *action = cJSON_GetObjectItemCaseSensitive(object, "Action");
    const cJSON *resource = cJSON_GetObjectItemCaseSensitive(object, "Resource");
    const cJSON *condition = cJSON_GetObjectItemCaseSensitive(object, "Condition");
    statement->deny = cJSON_IsString(effect) && strcmp(effect->valuestring, "Deny") == 0;
    if (!statement->deny && !(cJSON_IsString(effect) && strcmp(effect->valuestring, "Allow") == 0))
        return fail(compiler, "Effect: Allow or Deny");
    if (!each_string(compiler, action, "Action", put_action) ||
        !each_string(compiler, resource, "Resource", put_resource))
        return false;
    statement->count = (uint16_t)(compiler->pattern_count - statement->first);
    statement->first_condition = (uint16_t)compiler->condition_count;
    return !condition || put_conditions(compiler, condition);
}

static bool put_document(struct compiler *compiler, const cJSON *root)
{
    static const char *const names[] = {"Version", "Id", "Statement", NULL};
    const cJSON *version, *statement, *one;
    if (!cJSON_IsObject(root))
        return fail(compiler, "a policy is an object with Version and Statement");
    if (!fields_known(compiler, root, names))
        return false;
    version = cJSON_GetObjectItemCaseSensitive(root, "Version");
    if (!cJSON_IsString(version) || strcmp(version->valuestring, "2012-10-17") != 0)
        return fail(compiler, "Version: \"2012-10-17\"");
    statement = cJSON_GetObjectItemCaseSensitive(root, "Statement");
    if (cJSON_IsObject(statement))
        return put_statement(compiler, statement);
    if (!cJSON_IsArray(statement) || !statement->child)
        return fail(compiler, "Statement: an array of statements");
    cJSON_ArrayForEach(one, statement)
    {
        if (!put_statement(compiler, one))
            return false;
    }
    return true;
}

/* Where in the document, as people count. */
static bool fail_at(struct compiler *compiler, struct span document, const char *at, const char *what)
{
    uint32_t line = 1, column = 1;
    for (const char *c = (const char *)document.data; c < at; c++, column++)
        if (*c == '\n') {
            line++;
            column = 0;
        }
    return fail(compiler, "line %u, column %u: %s", line, column, what);
}

static const char *skip_space(const char *at, const char *end)
{
    while (at < end && strchr(" \t\r\n", *at) && *at)
        at++;
    return at;
}

static bool compile(struct compiler *compiler, struct span document)
{
    const char *text = (const char *)document.data, *end = text + document.length, *stopped = text;
    if (document.length > CLOUD_POLICY_DOCUMENT_MAX)
        return fail(compiler, "the document has %u bytes, more than %u", document.length, CLOUD_POLICY_DOCUMENT_MAX);
    if (document.length == 0)
        return fail(compiler, "the document is empty");
    for (const char *at = text; at < end; at++)
        if (!*at || (end - at >= 6 && memcmp(at, "\\u0000", 6) == 0)) /* a text would end there */
            return fail_at(compiler, document, at, "a NUL character");
    cJSON *root = cJSON_ParseWithLengthOpts(text, document.length, &stopped, false);
    bool done;
    if (!root)
        done = fail_at(compiler, document, stopped, "not JSON");
    else if (skip_space(stopped, end) != end)
        done = fail_at(compiler, document, skip_space(stopped, end), "more after the end of the policy");
    else
        done = put_document(compiler, root);
    cJSON_Delete(root);
    return done;
}

/* One block: the policy, then what it points to, in the order of alignment. */
static struct cloud_policy *pack(const struct compiler *compiler, struct span document)
{
    size_t statements = compiler->statement_count * sizeof(*compiler->statements);
    size_t conditions = compiler->condition_count * sizeof(*compiler->conditions);
    size_t patterns = compiler->pattern_count * sizeof(*compiler->patterns);
    size_t elements = compiler->element_count * sizeof(*compiler->elements);
    struct cloud_policy *policy = memory_allocate(sizeof(*policy) + statements + conditions + patterns + elements +
                                                  compiler->text_length + document.length);
    if (!policy)
        return NULL;
    uint8_t *at = (uint8_t *)(policy + 1);
    *policy = (struct cloud_policy){.statement_count = (uint16_t)compiler->statement_count,
                                    .document_length = document.length};
#define PUT(field, source, size)                                                                                       \
    policy->field = memcpy(at, source, size);                                                                          \
    at += (size)
    PUT(statements, compiler->statements, statements);
    PUT(conditions, compiler->conditions, conditions);
    PUT(patterns, compiler->patterns, patterns);
    PUT(elements, compiler->elements, elements);
    PUT(text, compiler->text, compiler->text_length);
    PUT(document, document.data, document.length);
#undef PUT
    for (uint32_t i = 0; i < compiler->statement_count; i++)
        policy->needs |= compiler->statements[i].needs;
    return policy;
}

struct cloud_policy *cloud_policy_compile(struct span document, char *error, size_t error_capacity)
{
    /* Too much for a stack, and gone again at once: not from the heap of a partition, which would keep the room. */
    struct memory_heap *heap = memory_enter(NULL);
    struct compiler *compiler = memory_allocate_zero(1, sizeof(*compiler));
    struct cloud_policy *policy = NULL;
    bool done = false;
    if (compiler) {
        compiler->error = error;
        compiler->error_capacity = error_capacity;
        done = compile(compiler, document);
    }
    memory_enter(heap);
    if (done)
        policy = pack(compiler, document);
    if (!compiler || (done && !policy))
        snprintf(error, error_capacity, "out of memory");
    memory_free(compiler);
    return policy;
}
